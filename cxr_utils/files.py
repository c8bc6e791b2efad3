"""Paths of the project, and files that are either whole or not there."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_utils.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


def root() -> Path:
    """Return the folder that relative paths are relative to.

    The variable ``CXR_HOME`` if set, else the nearest parent of the working folder that holds this
    project's ``pyproject.toml``, else the working folder itself.

    Returns
    -------
    Path
        An absolute path.
    """
    if home := os.environ.get("CXR_HOME"):
        return Path(home).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        config = folder / "pyproject.toml"
        if config.is_file() and 'name = "cxr-utils"' in config.read_text(encoding="utf-8"):
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """Make `path` absolute: a relative one is taken from `root`, whatever the working folder.

    Examples
    --------
    >>> resolve("data") == root() / "data"
    True
    """
    path = Path(path).expanduser()
    return path if path.is_absolute() else root() / path


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Write a file or a folder under a temporary name beside it, and rename it when all went well.

    Parameters
    ----------
    path : str or Path
        What shall exist in the end. A folder must not be there yet; a file is replaced.

    Yields
    ------
    Path
        The temporary name, of which nothing exists yet, with the same suffix as `path`.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN is refused with ValueError."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    BadInput
        The file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a readable JSON file ({error}); delete it to have it made again") from None


def write_csv(path: str | Path, table: Any) -> None:
    """Write a pandas table without its row numbers, atomically; with a name in .gz the same bytes each time."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV table, packed or not.

    Raises
    ------
    BadInput
        The file is missing or is not such a table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path}: not a readable CSV table ({error})") from None


def digest(text: str, *, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `text`.

    Examples
    --------
    >>> digest("a")
    'ca978112ca1bbdca'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@contextlib.contextmanager
def lock(folder: str | Path, *, wait: float = -1) -> Iterator[None]:
    """Hold `folder` against a second process; the lock goes with the process, however it ends.

    Parameters
    ----------
    folder : str or Path
        What is to be changed; ``<folder>.lock`` is made beside it.
    wait : float
        Seconds to wait for another holder; below zero without limit.

    Raises
    ------
    BadInput
        Another process held it for longer than `wait`.
    """
    from filelock import FileLock, Timeout

    path = Path(folder).with_name(Path(folder).name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=wait):
            yield
    except Timeout:
        raise BadInput(f"{folder}: another process works in this folder; wait for it to end") from None
