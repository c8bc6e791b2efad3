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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_utils._limits import MOST_CELLS, MOST_COLUMNS, MOST_CSV, MOST_ROWS
from cxr_utils.errors import BadInput, CxrError, printable

if TYPE_CHECKING:
    import pandas as pd


#: Seconds that a process waits for another's lock before it says so.
PATIENCE = 2.0
#: NumPy's and Keras' generators take no larger one.
MOST_SEED = 2**32 - 1
_NUMBER = re.compile(r"[+-]?\d*,?\d+([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_log = logging.getLogger("cxr_utils")


def root() -> Path:
    """Find the folder that relative paths are relative to.

    The variable ``CXR_HOME`` if set, else the nearest parent of the working folder that holds this
    project's ``pyproject.toml``, else the working folder itself.

    Returns
    -------
    Path
        An absolute path.

    Examples
    --------
    >>> root() == Path.cwd()
    True
    """
    if home := os.environ.get("CXR_HOME"):
        return Path(home).absolute()
    here = Path.cwd()
    return next(filter(is_project, (here, *here.parents)), here)


def is_project(folder: Path) -> bool:
    """Tell whether a folder is a checkout of this project, by its ``pyproject.toml``; others' may be anything.

    Parameters
    ----------
    folder : Path
        It need not be there.

    Returns
    -------
    bool
        True for a checkout.

    Examples
    --------
    >>> is_project(Path("/"))
    False
    """
    try:
        return b'name = "cxr-utils"' in (folder / "pyproject.toml").read_bytes()
    except OSError:
        return False


#: The folder that this package lies in: of a checkout it is the project's, of an installed package it is not.
CHECKOUT = Path(__file__).resolve().parents[1]


def project(name: str) -> Path | None:
    """Find a file or folder of the project: under `root`, else in the checkout that this package lies in.

    Parameters
    ----------
    name : str
        With ``/``; a pattern finds the first that fits.

    Returns
    -------
    Path or None
        None where neither has it, as where the package was installed without a checkout.

    Examples
    --------
    >>> project("no/such.file") is None
    True
    """
    return next((found for folder in (root(), CHECKOUT) for found in sorted(folder.glob(name))), None)


def expand(path: str | Path) -> Path:
    """Put the home folder in place of ``~``; a name such as ``~x.jpeg``, where x is no user, stays as it is.

    Parameters
    ----------
    path : str or Path
        As a person writes it.

    Returns
    -------
    Path
        Without ``~`` for a home folder.

    Examples
    --------
    >>> expand("~x.jpeg").name
    '~x.jpeg'
    """
    return Path(os.path.expanduser(path))


def resolve(path: str | Path) -> Path:
    """Make `path` absolute: a relative one is taken from `root`, whatever the working folder.

    Parameters
    ----------
    path : str or Path
        Relative or not.

    Returns
    -------
    Path
        Absolute.

    Examples
    --------
    >>> resolve("data") == root() / "data"
    True
    """
    path = expand(path)
    return path if path.is_absolute() else root() / path


def has_keys(*keys: str) -> Callable[[Path], bool]:
    """Make the test whether a file is a JSON record with these keys.

    Parameters
    ----------
    *keys : str
        What the record must have.

    Returns
    -------
    callable
        From a path to bool; False also where the file is missing or broken.

    Examples
    --------
    >>> has_keys("recipe")("gone.json")
    False
    """
    return lambda path: can(read_record, path, *keys)


def has_columns(*columns: str) -> Callable[[Path], bool]:
    """Make the test whether a file is a CSV table with these columns.

    Parameters
    ----------
    *columns : str
        What the table must have.

    Returns
    -------
    callable
        From a path to bool; False also where the file is missing or broken.

    Examples
    --------
    >>> has_columns("path")("gone.csv")
    False
    """
    return lambda path: can(read_csv, path, columns=columns, nrows=0)


def can(call: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
    """Tell whether a call ends well, and not with one of our errors.

    Parameters
    ----------
    call : callable
        What is tried.
    *arguments, **options
        What it gets.

    Returns
    -------
    bool
        False where it raised CxrError.

    Examples
    --------
    >>> can(read_json, "gone.json")
    False
    """
    try:
        call(*arguments, **options)
    except CxrError:
        return False
    return True


def check_ours(path: str | Path, ours: bool | Callable[[Path], bool]) -> None:
    """Refuse to write over what is there, unless it is ours.

    Parameters
    ----------
    path : str or Path
        What is to be written.
    ours : bool or callable
        Whether a file of this name may be replaced: True where the caller knows its folder as ours, else a test of
        the file, such as `has_keys` and `has_columns` return. False: nothing may be there.

    Raises
    ------
    BadInput
        Something else is there.

    Examples
    --------
    >>> check_ours("not there.json", ours=False)
    """
    if ours is True or not os.path.lexists(path) or (ours and os.path.isfile(path) and ours(Path(path))):
        return
    if os.path.lexists(path):  # it may have been taken away just now
        raise BadInput(f"{path}: is there already, and cxr did not write it; move it away or choose another name")


@contextlib.contextmanager
def atomic(path: str | Path, *, ours: bool | Callable[[Path], bool] = False) -> Iterator[Path]:
    """Write a file or a folder under a temporary name beside it, and rename it when all went well.

    Parameters
    ----------
    path : str or Path
        What shall exist in the end.
    ours : bool or callable
        Whether a file that is there may be replaced, see `check_ours`; a folder must not be there.

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

    Raises
    ------
    BadInput
        Something is there that is not ours.
    """
    path = Path(path)
    check_ours(path, ours)
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    temporary = path.with_name(f".{_short(path)}-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(PermissionError):  # Windows keeps what is mapped until then: `_tidy` takes it
                temporary.unlink(missing_ok=True)


def _short(path: Path) -> str:
    """Return the stem, or what stands for one that leaves no room for the rest of a temporary name."""
    return path.stem if len(os.fsencode(path.stem)) < 150 else digest(path.stem)


#: Names that say nothing of whose a folder is: temporary files of ours, locks, and what systems leave behind.
PASSING = re.compile(
    r"\..*-[0-9a-f]{6}-\d+-[0-9a-f]{8}\.tmp.*|.+\.lock(\.holder)?|\.DS_Store|desktop\.ini|Thumbs\.db|\.ipynb_checkpoints"
)


def _tidy(path: Path) -> None:
    """Remove what writers of `path` left beside it when they were killed; those of other machines may live."""
    name = re.compile(rf"\.{re.escape(_short(path))}-{_HOST}-(\d+)-[0-9a-f]{{8}}\.tmp{re.escape(path.suffix)}")
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

    Parameters
    ----------
    path : str or Path
        The file, as long as it is to be.

    Raises
    ------
    OSError
        There is too little room; the file's name is in it.

    Examples
    --------
    >>> with open("map.npy", "wb") as opened:
    ...     opened.truncate(1024)
    1024
    >>> reserve("map.npy")
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


def writable(folder: Path) -> bool:
    """Tell whether a folder may be written into, or made; a read-only disk may not, whoever asks.

    Parameters
    ----------
    folder : Path
        It need not be there.

    Returns
    -------
    bool
        As the system says.

    Examples
    --------
    >>> writable(Path("new"))
    True
    """
    return os.access(next(filter(Path.is_dir, (folder, *folder.parents)), folder), os.W_OK)


def _alive(process: int) -> bool:
    import psutil

    return psutil.pid_exists(process)


def write_json(path: str | Path, content: Any, *, ours: bool | Iterable[str] = False) -> None:
    """Write a JSON file, indented, atomically.

    Parameters
    ----------
    path : str or Path
        The file.
    content : object
        What JSON can hold; NaN and infinities it can't.
    ours : bool or iterable of str
        A file that is there is replaced only if it is ours: by the caller's word (True), or by the keys that it has.

    Raises
    ------
    BadInput
        A file is there that is not ours.
    ValueError
        A number is NaN or infinite.

    Examples
    --------
    >>> write_json("run.json", {"seed": 0})
    >>> read_json("run.json")
    {'seed': 0}
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _write(path, text.encode(), ours if isinstance(ours, bool) else has_keys(*ours))


def _write(path: str | Path, content: bytes, ours: bool | Callable[[Path], bool]) -> None:
    """Write a file; to write what is there already takes nothing away, whoever wrote it."""

    def replaceable(there: Path) -> bool:
        return there.read_bytes() == content or (callable(ours) and ours(there))

    with atomic(path, ours=ours is True or replaceable) as temporary:
        temporary.write_bytes(content)


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    object
        What it holds.

    Raises
    ------
    BadInput
        The file is missing or is not JSON; NaN and infinities are not.

    Examples
    --------
    >>> write_json("run.json", [1, None])
    >>> read_json("run.json")
    [1, None]
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not a readable JSON file ({error}); {_AS_IT_WAS}") from None


def read_text(path: Path, *, most: int) -> str:
    """Read a text that somebody else wrote; what is no UTF-8 in it is replaced.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        Megabytes that it may have.

    Returns
    -------
    str

    Raises
    ------
    BadInput
        It is missing, can't be read, or is too large.

    Examples
    --------
    >>> Path("a.md").write_text("An accuracy of 91.5%", encoding="utf-8")
    20
    >>> read_text(Path("a.md"), most=2)
    'An accuracy of 91.5%'
    """
    try:
        if path.stat().st_size > most * 10**6:
            raise BadInput(
                f"{path}: has more than {most} MB; clear a notebook's outputs, or name the part that matters"
            )
        return path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}; name a file that is there, or a folder") from None


def read_cells(path: Path) -> list[tuple[str, str, bool]]:
    """Read a notebook or script in Python that somebody else wrote.

    Parameters
    ----------
    path : Path
        Ends in ``.ipynb``, or else is a script.

    Returns
    -------
    list of tuple
        Of each cell, or of the script, what it is called ("cell 0", ""), its text, and whether it is code.

    Raises
    ------
    BadInput
        It can't be read, is no whole notebook, or is written in another language.

    Examples
    --------
    >>> Path("train.py").write_text("x = 1", encoding="utf-8")
    5
    >>> read_cells(Path("train.py"))
    [('', 'x = 1', True)]
    """
    import nbformat

    text = read_text(path, most=100 if path.suffix == ".ipynb" else 2)  # with its outputs one may be large
    if path.suffix != ".ipynb":
        return [("", text, True)]
    try:
        book = nbformat.convert(nbformat.reader.reads(text), 4)  # not validated: odd ones are read, too
        language = str(book.metadata.get("kernelspec", {}).get("language") or "python")
        found = [(f"cell {n}", str(cell.source), cell.cell_type == "code") for n, cell in enumerate(book.cells)]
    except Exception:  # whatever nbformat trips over
        raise BadInput(f"{path}: is no notebook, or not a whole one; open and save it in JupyterLab") from None
    if not language.lower().startswith("python"):
        raise BadInput(f"{path}: is written in {printable(language)}; only Python can be read")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} in it is no number")


_AS_IT_WAS = "put back the file as cxr wrote it, or name another"


def read_record(path: str | Path, *keys: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Parameters
    ----------
    path : str or Path
        The file.
    *keys : str
        What the object must have.
    **types : type or tuple of type
        What it must have, and of which type; a number that is True or False is none.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    BadInput
        As `read_json`; or it holds something else than an object, or one without these keys or with other types.

    Examples
    --------
    >>> write_json("run.json", {"recipe": "plain_224", "seed": 0})
    >>> read_record("run.json", "recipe", seed=int)["seed"]
    0
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds a {type(content).__name__}, not an object; {_AS_IT_WAS}")
    for key in (*keys, *types):
        if key not in content:
            raise BadInput(f"{path}: {key!r} is missing in it; {_AS_IT_WAS}")
        kinds = types.get(key, object)
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        value = content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & set(kinds)):
            raise BadInput(f"{path}: {key!r} in it is {value!r:.40}, which cxr does not write; {_AS_IT_WAS}")
    return content


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, the same on every system: pandas itself ends lines as the system does.

    Parameters
    ----------
    table : DataFrame
        Its index is left out.

    Returns
    -------
    str
        Lines that end with LF.

    Examples
    --------
    >>> import pandas as pd
    >>> as_csv(pd.DataFrame({"x": [1]}))
    'x\\n1\\n'
    """
    return table.to_csv(index=False, lineterminator="\n")


def write_csv(path: str | Path, table: Any, *, ours: bool | Iterable[str] = False) -> None:
    r"""Write a pandas table without its row numbers, atomically; with a name in .gz the same bytes each time.

    Parameters
    ----------
    path : str or Path
        The file.
    table : DataFrame
        What is written.
    ours : bool or iterable of str
        A file that is there is replaced only if it is ours: by the caller's word (True), or by the columns that it has.

    Raises
    ------
    BadInput
        A file is there that is not ours.

    Examples
    --------
    >>> import pandas as pd
    >>> write_csv("a.csv", pd.DataFrame({"x": [1]}))
    >>> Path("a.csv").read_text()
    'x\n1\n'
    """
    content = as_csv(table).encode()
    content = gzip.compress(content, mtime=0) if Path(path).suffix == ".gz" else content
    _write(path, content, ours if isinstance(ours, bool) else has_columns(*ours))


def read_csv(path: str | Path, *, columns: Iterable[str] = (), **options: Any) -> pd.DataFrame:
    r"""Read a CSV table, packed or not.

    Parameters
    ----------
    path : str or Path
        The file; one with a name in ``.gz`` is unpacked.
    columns : iterable of str
        What the table must have, beside others.
    **options
        Of `pandas.read_csv`.

    Returns
    -------
    DataFrame
        The table.

    Raises
    ------
    BadInput
        The file is missing, is not such a table, or lacks a column.

    Examples
    --------
    >>> Path("a.csv").write_text("x;y\n1,5;2\n")
    10
    >>> read_csv("a.csv").loc[0].tolist()
    [1.5, 2.0]
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
        found = ", ".join(map(str, table.columns))
        raise BadInput(f"{path}: column {missing[0]!r} is missing; expected {', '.join(columns)}, found {found:.90}")
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
    usual = {"sep": separator.decode(), "low_memory": False, "skipinitialspace": True}
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):  # later ones read each float as it was written
        usual["float_precision"] = "round_trip"
    table = pd.read_csv(io.BytesIO(content), **usual | options).rename(columns=str.strip)
    if table.columns.has_duplicates:
        raise ValueError("two of its columns have one name")
    if not isinstance(table.index, pd.RangeIndex) and "index_col" not in options:
        raise ValueError("its rows hold more values than its first line names columns; where numbers have decimal "
                         "commas, part the columns by semicolons")  # fmt: skip
    for name in table.select_dtypes(exclude="number") if "dtype" not in options else ():
        given = [str(value) for value in table[name].dropna().unique()]
        commas = [value for value in given if "," in value]
        if all(map(_NUMBER.fullmatch, given)) and not all(map(_THOUSANDS.fullmatch, commas)):
            table[name] = table[name].str.replace(",", ".", regex=False).astype("float64")
    return table


def digest(content: Any, *, length: int = 16) -> str:
    """Name a text, or a record as sorted JSON, by hexadecimal digits of its SHA-256.

    Parameters
    ----------
    content : str, or what JSON can hold
        What is named.
    length : int
        How many digits.

    Returns
    -------
    str
        The first digits.

    Examples
    --------
    >>> digest("a")
    'ca978112ca1bbdca'
    """
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    # A file's name need not be Unicode.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]


def sha256(path: Path) -> str:
    """Name the content of a file by its SHA-256.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits; empty if the file is not there.

    Examples
    --------
    >>> sha256(Path("gone"))
    ''
    """
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


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

    Yields
    ------
    None
        While it is held.

    Raises
    ------
    BadInput
        Another process held it for longer than `wait`; the message says which, on which machine. Or another
        program's file has the name of the lock.

    Examples
    --------
    >>> with lock("runs"):
    ...     Path("runs.lock").exists()
    True
    """  # noqa: DOC501 (its Timeout is caught further on)
    from filelock import FileLock, Timeout

    path = Path(folder).with_name(Path(folder).name + ".lock")
    holder, known = path.with_name(path.name + ".holder"), ("process", "machine")
    check_ours(path, is_lock)
    check_ours(holder, has_keys(*known))
    path.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(path)
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
            write_json(holder, {"process": os.getpid(), "machine": platform.node()}, ours=known)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        held.release()


def is_lock(path: Path) -> bool:
    """Tell a lock of ours, empty or a process' number, from a list of packages (uv.lock): opening it would empty it.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    bool
        True for one of ours.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "uv.lock"
    >>> path.write_text("version = 1"), is_lock(path)
    (11, False)
    """
    # The length first: on Windows nobody else may read a lock that is held.
    return not path.stat().st_size or path.read_bytes()[:99].partition(b"\n")[0].strip().isdigit()


def _holder(path: Path) -> str:
    """Say who holds a lock, from the file beside it."""
    try:
        known = read_record(path, process=int, machine=str)
        return f"another process ({known['process']} on {known['machine']})"
    except BadInput:  # it just came or went
        return "another process"
