"""Paths of the project, and files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import logging
import os
import platform
import re
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_utils.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd


#: Seconds that a process waits for another's lock before it says so.
PATIENCE = 2.0
#: Of a table, unpacked; the largest public set of chest radiographs has 370,000 rows.
MOST_CSV, MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 64 * 2**20, 1_000_000, 1_000, 10_000_000
_NUMBER = re.compile(r"[+-]?\d*,?\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_log = logging.getLogger("cxr_utils")


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
    _tidy(path)
    temporary = path.with_name(f".{path.stem}-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _tidy(path: Path) -> None:
    """Remove what writers of `path` left beside it when they were killed; those of other machines may live."""
    name = re.compile(rf"\.{re.escape(path.stem)}-{_HOST}-(\d+)-[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}")
    with os.scandir(path.parent) as entries:
        found = [(entry.path, int(match[1])) for entry in entries if (match := name.fullmatch(entry.name))]
    for left, process in found:
        if process != os.getpid() and not _alive(process):
            if os.path.isdir(left):
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # another process tidies up, too
                    os.unlink(left)


def reserve(path: str | Path) -> None:
    """Take the room on the disk that a new memory-mapped file needs by its length.

    Without that a disk that gets full while the map is written to ends the process (SIGBUS), without a word.

    Raises
    ------
    OSError
        There is too little room; the file's name is in it.
    """
    length = os.stat(path).st_size
    if not hasattr(os, "posix_fallocate"):
        if length > shutil.disk_usage(Path(path).parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return
    with open(path, "r+b") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, length)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that can't reserve
                raise OSError(error.errno, error.strerror, str(path)) from None


def _alive(process: int) -> bool:
    import psutil

    return psutil.pid_exists(process)


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
        The file is missing or is not JSON; NaN and infinities are not.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not a readable JSON file ({error}); delete it to have it made again") from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} in it is no number")


def read_record(path: str | Path, *keys: str) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Parameters
    ----------
    path : str or Path
        The file.
    *keys : str
        What the object must have.

    Raises
    ------
    BadInput
        As `read_json`; or it holds something else than an object, or one without these keys.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds a {type(content).__name__}, not an object; delete it to have it made again")
    if missing := [key for key in keys if key not in content]:
        raise BadInput(f"{path}: {missing[0]!r} is missing in it; delete it to have it made again")
    return content


def write_csv(path: str | Path, table: Any) -> None:
    """Write a pandas table without its row numbers, atomically; with a name in .gz the same bytes each time."""
    content = table.to_csv(index=False, lineterminator="\n").encode()
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content)


def read_csv(path: str | Path, *, columns: Iterable[str] = (), **options: Any) -> pd.DataFrame:
    """Read a CSV table, packed or not.

    Parameters
    ----------
    path : str or Path
        The file; one with a name in ``.gz`` is unpacked.
    columns : iterable of str
        What the table must have, beside others.
    **options
        Of `pandas.read_csv`.

    Raises
    ------
    BadInput
        The file is missing, is not such a table, or lacks a column.
    """
    try:
        # Opened here: pandas would take a name like http://... for an address and fetch it.
        with gzip.open(path) if Path(path).suffix == ".gz" else open(path, "rb") as opened:
            content = opened.read(MOST_CSV + 1)
        table = _parsed(content, options)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not UTF-8 text; save it as CSV UTF-8 (in Excel: File, Save As)") from None
    except (OSError, ValueError, TypeError, EOFError, OverflowError, zlib.error) as error:
        raise BadInput(f"{path}: not a readable CSV table ({' '.join(str(error).split())})") from None
    if missing := [column for column in columns if column not in table.columns]:
        raise BadInput(f"{path}: column {missing[0]!r} is missing; expected {', '.join(columns)}")
    return table


def _parsed(content: bytes, options: dict[str, Any]) -> pd.DataFrame:
    """Read a table as any spreadsheet saves it: columns parted by comma, semicolon or tab, decimal points or commas."""
    import pandas as pd

    if len(content) > MOST_CSV or max(map(content.count, (b"\n", b"\r"))) > MOST_ROWS:
        raise ValueError(f"more than {MOST_CSV / 2**20:.0f} MB or {MOST_ROWS:,} rows; is it the right file?")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # Excel's "Unicode text"
        content = content.decode("utf-16").encode()
    lines = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").splitlines() or [b""]
    if lines[0].lower().startswith(b"sep="):  # Excel's own first line
        lines = lines[1:] or [b""]
        content = b"\n".join(lines)
    separator = max(b",", b";", b"\t", b"|", key=lines[0].count)
    counts = [line.count(separator) + 1 for line in lines]
    if max(counts) > MOST_COLUMNS or sum(counts) > MOST_CELLS:
        raise ValueError(f"{max(counts):,} columns and {sum(counts):,} values; is it the right file?")
    del lines, counts
    table = pd.read_csv(io.BytesIO(content), **{"sep": separator.decode(), "low_memory": False} | options)
    if not isinstance(table.index, pd.RangeIndex) and "index_col" not in options:
        raise ValueError("its rows hold more values than its first line names columns; where numbers have decimal "
                         "commas, part the columns by semicolons")  # fmt: skip
    for name in table.select_dtypes(exclude="number") if "dtype" not in options else ():
        given = [str(value) for value in table[name].dropna().unique()]
        commas = [value for value in given if "," in value]
        if all(map(_NUMBER.fullmatch, given)) and not all(map(_THOUSANDS.fullmatch, commas)):
            table[name] = table[name].str.replace(",", ".", regex=False).astype("float64")
    return table


def digest(text: str, *, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `text`.

    Examples
    --------
    >>> digest("a")
    'ca978112ca1bbdca'
    """
    # A file's name need not be Unicode.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]


@contextlib.contextmanager
def lock(folder: str | Path, *, wait: float = -1) -> Iterator[None]:
    """Hold `folder` against a second process; the lock goes with the process, however it ends.

    Parameters
    ----------
    folder : str or Path
        What is to be changed; ``<folder>.lock`` is made beside it, and while it is held
        ``<folder>.lock.holder``, which says by whom.
    wait : float
        Seconds to wait for another holder; below zero without limit.

    Raises
    ------
    BadInput
        Another process held it for longer than `wait`; the message says which, on which machine.
    """
    from filelock import FileLock, Timeout

    path = Path(folder).with_name(Path(folder).name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    held, holder = FileLock(path), path.with_name(path.name + ".holder")
    patience = PATIENCE if wait < 0 else min(wait, PATIENCE)
    try:
        try:
            held.acquire(timeout=patience)
        except Timeout:
            if patience == wait:
                raise
            _log.warning("%s: waiting for %s, which works in this folder", folder, _holder(holder))
            held.acquire(timeout=-1 if wait < 0 else wait - patience)
    except Timeout:
        raise BadInput(f"{folder}: {_holder(holder)} works in this folder; wait for it to end") from None
    try:
        # What a killed holder left is overwritten here; the lock itself went with its process.
        with contextlib.suppress(OSError):  # on a full disk one can still read
            write_json(holder, {"process": os.getpid(), "machine": platform.node()})
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        held.release()


def _holder(path: Path) -> str:
    """Say who holds a lock, from the file beside it."""
    try:
        known = read_json(path)
        return f"another process ({known['process']} on {known['machine']})"
    except (BadInput, KeyError, TypeError):  # it just came or went
        return "another process"
