"""The one unzip of this project, and the guard of both doors: archives and folders that none vouches for.

The archive on Kaggle holds every image twice (``chest_xray/chest_xray``), a ``__MACOSX`` folder and
``.DS_Store`` files. `choose` tells the images from the rest, for archives and for folders alike, and `check_sizes`
bounds both.
"""

import contextlib
import io
import lzma
import re
import stat
import struct
import threading
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from cxr_utils import _limits, _machine
from cxr_utils.dataset import CLASSES, LAYOUT, SPLITS
from cxr_utils.errors import BadInput
from cxr_utils.images import SUFFIXES
from cxr_utils.sources.download import check_room

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, MemoryError)
GIVE = "give the folder or the zip file that holds chest_xray"
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows, with any suffix


class Damaged(BadInput):
    """An archive that is cut off, changed on its way, or none at all: another copy may be good."""


def is_junk(name: str) -> bool:
    """Tell whether a file or folder name is one that operating systems leave behind.

    Parameters
    ----------
    name : str
        Without folders.

    Returns
    -------
    bool
        True for what systems leave behind.

    Examples
    --------
    >>> is_junk(".DS_Store"), is_junk("__MACOSX"), is_junk("IM-0001-0001.jpeg")
    (True, True, False)
    """
    return name.startswith(".") or name == "__MACOSX"


def choose(names: Iterable[str], *, where: str | Path) -> tuple[dict[str, str], list[str]]:
    """Pick the images of the layout, the outermost copy only, and name what is left out.

    Parameters
    ----------
    names : iterable of str
        Relative paths of files, with ``/``.
    where : str or Path
        The archive or folder, for messages.

    Returns
    -------
    kept : dict of str to str
        Name to its place in the layout, e.g. ``"train/NORMAL/IM-0115-0001.jpeg"``.
    left_out : list of str
        What is not taken; a nested copy or ``__MACOSX`` as one line with its number of files.

    Raises
    ------
    BadInput
        No image of the layout is there, there are two copies side by side, or two files for one place.

    Examples
    --------
    >>> choose(["chest_xray/val/NORMAL/a.jpeg", "chest_xray/.DS_Store"], where="a.zip")
    ({'chest_xray/val/NORMAL/a.jpeg': 'val/NORMAL/a.jpeg'}, ['chest_xray/.DS_Store'])
    """
    files = {name: PurePosixPath(name).parts for name in names}
    copies = {parts[:-3] for parts in files.values() if is_image(parts)}
    if not copies:
        raise BadInput(f"{where}: holds no images in the layout {LAYOUT}; {GIVE}")
    outer = outermost(copies, where=where)
    nested = sorted((copy for copy in copies if copy != outer), key=len)
    kept: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for name, parts in files.items():
        if is_image(parts) and parts[:-3] == outer:
            kept[name] = "/".join(parts[-3:])
        else:
            left_out[_junk_root(parts, nested)] += 1
        # Windows takes NORMAL/a:b.jpeg for a part of the file a; no system takes more than 255 bytes. What steers a
        # terminal is in no honest name.
        odd = any(c in '<>:"|?*' or unicodedata.category(c) in ("Cc", "Cs") for c in "".join(parts[-1:]))
        if name in kept and (odd or _DEVICE.fullmatch(parts[-1]) or len(parts[-1].encode()) > 255):
            raise BadInput(f"{where}: {parts[-1]!r} in it is no file name on every system; rename it")
    # Windows and macOS do not tell Image.jpeg from image.jpeg: one would silently replace the other.
    same = {name: unicodedata.normalize("NFC", place).casefold() for name, place in kept.items()}
    places = Counter(same.values())
    if twice := [name for name in kept if places[same[name]] > 1]:
        raise BadInput(f"{where}: holds two files for one place ({twice[0]}); rename or delete one of them")
    return kept, _shorten(left_out)


def outermost(copies: Collection[tuple[str, ...]], *, where: str | Path) -> tuple[str, ...]:
    """Return the place that holds all others: copies within a copy are left out.

    Parameters
    ----------
    copies : collection of tuple of str
        The parts of their paths.
    where : str or Path
        The archive or folder, for messages.

    Returns
    -------
    tuple of str

    Raises
    ------
    BadInput
        Two lie side by side.

    Examples
    --------
    >>> outermost([("chest_xray", "chest_xray"), ("chest_xray",)], where="a.zip")
    ('chest_xray',)
    """
    outer = [one for one in copies if not any(one != other and one[: len(other)] == other for other in copies)]
    if len(outer) > 1:
        listed = ", ".join(sorted("/".join(copy) or "." for copy in outer)[:4])
        raise BadInput(f"{where}: holds {len(outer)} copies of the layout ({listed}); give one of them")
    return outer[0]


def is_image(parts: tuple[str, ...]) -> bool:
    """Tell whether a path ends in split, class and an image, with no junk on the way.

    Parameters
    ----------
    parts : tuple of str
        Of a path.

    Returns
    -------
    bool
        True for an image in the layout.

    Examples
    --------
    >>> is_image(("chest_xray", "val", "NORMAL", "a.jpeg")), is_image(("__MACOSX", "val", "NORMAL", "a.jpeg"))
    (True, False)
    """
    ends = len(parts) >= 3 and parts[-3] in SPLITS and parts[-2] in CLASSES and parts[-1].lower().endswith(SUFFIXES)
    return ends and not any(map(is_junk, parts))


def _junk_root(parts: tuple[str, ...], nested: list[tuple[str, ...]]) -> str:
    """Return the folder that is left out as a whole, or the file itself."""
    if "__MACOSX" in parts[:-1]:
        return "/".join(parts[: parts.index("__MACOSX") + 1]) + "/"
    for copy in nested:
        if parts[: len(copy)] == copy:
            return "/".join(copy) + "/"
    return "/".join(parts)


def _shorten(left_out: Counter[str], *, most: int = 50) -> list[str]:
    """List what was left out: folders with their number of files, and after `most` lines the rest as one."""
    folders = {name: f" ({n:,} file{'s' * (n > 1)})" for name, n in left_out.items() if name.endswith("/")}
    lines = sorted(name + folders.get(name, "") for name in left_out)
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most:,} more"]


def unzip(
    archive: str | Path, into: str | Path, *, whole: bool = False, beside: Iterable[str] = (), progress: bool = False
) -> list[str]:
    """Unpack the images of an archive to ``into/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}``.

    Nothing is written outside `into`. When it fails, what was unpacked so far stays in `into`.

    Parameters
    ----------
    archive : str or Path
        A zip file.
    into : str or Path
        A folder, made if missing.
    whole : bool
        Check the checksum of what is left out, too; that of each image is always checked.
    beside : iterable of str
        Names of files beside ``chest_xray`` that are taken as well, to ``into/<name>``, where they are there.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of str
        What was left out, see `choose`.

    Raises
    ------
    Damaged
        Not a zip file, cut off, or changed.
    BadInput
        Encrypted, out of bounds, with links, with paths that lead outside, or without the layout.
    CxrError
        The disk has too little room.
    """
    archive, into = Path(archive), Path(into)
    with members(archive) as (there, read):
        kept, left_out = choose(there, where=archive)
        name, place = next(iter(kept.items()))
        top = name.removesuffix(place).removesuffix("chest_xray/")
        extra = {top + name: name for name in beside if top + name in there}
        left_out = [line for line in left_out if line not in extra]
        targets = {name: f"chest_xray/{place}" for name, place in kept.items()} | extra
        wanted = [*targets, *(name for name in there if whole and name not in targets)]
        _check_growth([there[name] for name in wanted], archive)
        sizes = {name: there[name].file_size for name in wanted}
        check_sizes(sizes, where=archive, notes=extra)
        into.mkdir(parents=True, exist_ok=True)
        store(targets, sizes, read, into, doing="unpacking", progress=progress)
    return left_out


def store(
    targets: Mapping[str, str], sizes: Mapping[str, int], read: Callable[..., bytes], into: Path, *, doing: str,
    progress: bool = False,
) -> None:  # fmt: skip
    """Write files into a folder, if there is room; their content only, whatever may be done to it where it lies.

    Parameters
    ----------
    targets : mapping of str to str
        Name to its place in the folder.
    sizes : mapping of str to int
        Bytes of each file that is read; one without a place is only checked by that.
    read : callable
        Name to content.
    into : Path
        The folder.
    doing : str
        What the progress bar says.
    progress : bool
        Show one.

    Raises
    ------
    CxrError
        The disk has too little room.

    Examples
    --------
    >>> store({"a.png": "chest_xray/b.png"}, {"a.png": 1}, lambda name: b"x", Path("."), doing="copying")
    >>> Path("chest_xray/b.png").read_bytes()
    b'x'
    """
    from tqdm import tqdm

    check_room(sum(sizes[name] for name in targets), into)
    for place in {(into / target).parent for target in targets.values()}:
        place.mkdir(parents=True, exist_ok=True)
    for name in tqdm(sizes, desc=doing, unit="file", **_machine.bar(progress)):
        content = read(name)  # which checks its checksum in an archive
        if name in targets:
            with (into / targets[name]).open("xb") as sink:
                sink.write(content)


@contextlib.contextmanager
def members(archive: Path) -> Iterator[tuple[dict[str, zipfile.ZipInfo], Callable[..., bytes]]]:
    """Open an archive, and refuse it if an honest one would not have such members.

    Parameters
    ----------
    archive : Path
        A zip file.

    Yields
    ------
    there : dict of str to ZipInfo
        Its files by their names, with ``/``.
    read : callable
        A name, and how many bytes are wanted if not all, to its content; from several threads, too.

    Raises
    ------
    BadInput
        As `unzip`; reading raises it, too, of a member that is out of bounds.

    Examples
    --------
    >>> with zipfile.ZipFile("a.zip", "w") as made:
    ...     made.writestr("NORMAL/a.png", "x")
    >>> with members(Path("a.zip")) as (there, read):
    ...     list(there), read("NORMAL/a.png")
    (['NORMAL/a.png'], b'x')
    """
    if not archive.is_file():
        what = "is no file; give a zip file" if archive.exists() else "there is no such folder or file"
        raise BadInput(f"path {archive}: {what}")
    with contextlib.ExitStack() as stack:
        with _reading(archive):
            stream = stack.enter_context(_Bounded(archive.open("rb", buffering=0)))
            stream.left = _limits.MOST_BYTES_OF_NAMES  # ZipFile reads the whole list of members at once
            opened = stack.enter_context(zipfile.ZipFile(stream))
            stream.left = float("inf")
        there, turn = {}, threading.Lock()
        for info in opened.infolist():
            name = _checked_name(info, archive)
            if name in there:
                raise BadInput(f"{archive}: holds {name!r} twice; get the archive again")
            if not name.endswith("/"):
                there[name] = info
        check_sizes({}, count=len(there), where=archive)

        def read(name: str, most: int = -1) -> bytes:
            _check_growth([there[name]], archive)
            check_sizes({name: there[name].file_size}, where=archive)
            with turn, _reading(archive), opened.open(there[name]) as member:
                return member.read(most)

        yield there, read


@contextlib.contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Turn whatever zipfile raises on an archive that is none, or a broken one, into one line."""
    try:
        yield
    except BadInput:
        raise
    except (FileNotFoundError, PermissionError) as error:
        raise BadInput(f"{archive}: {(error.strerror or 'cannot be read').lower()}") from None
    # Damaged offsets, sizes and streams also show as these errors.
    except (OSError, EOFError, ValueError, RuntimeError, *_BROKEN) as error:
        raise Damaged(f"{archive}: {_what_is_wrong(archive, error)}") from None


class _Bounded(io.BufferedReader):
    """An archive that refuses to be read when its list of members is so long that it would fill the memory."""

    left: float

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= max(size or 0, 0)
        if self.left < 0:
            raise BadInput(f"{self.name}: refused, it holds far more files than {_limits.MOST_FILES:,}")
        return super().read(size)


def _checked_name(info: zipfile.ZipInfo, archive: Path) -> str:
    """Return a member's name with ``/``, or refuse the archive: an honest one has no such member at all."""
    name = info.filename.replace("\\", "/")
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or name[1:2] == ":":
        raise BadInput(f"{archive}: refused, the name {info.filename!r} in it leads outside the folder")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind and not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise BadInput(f"{archive}: refused, {info.filename!r} in it is a link or a device, not a file")
    if info.flag_bits & 0x1:
        raise BadInput(f"{archive}: is encrypted ({info.filename!r}); unpack it yourself and give the folder")
    return name


def check_sizes(
    sizes: Mapping[str, int], *, where: str | Path, count: int | None = None, notes: Iterable[str] = ()
) -> None:
    """Refuse too many files, one that is too large, and too much of all together, before anything is written.

    Parameters
    ----------
    sizes : mapping of str to int
        Name to bytes.
    where : str or Path
        The archive or folder, for messages.
    count : int, optional
        How many files there are in all, if more than those.
    notes : iterable of str
        Which of them are notes beside the images.

    Raises
    ------
    BadInput
        A limit is exceeded; the message names the file, or the sum.

    Examples
    --------
    >>> check_sizes({"train/NORMAL/a.jpeg": 200_000}, where="a.zip")
    """
    count = len(sizes) if count is None else count
    if count > _limits.MOST_FILES:
        raise BadInput(f"{where}: refused, it holds {count:,} files, more than {_limits.MOST_FILES:,}")
    notes = set(notes)
    for name, size in sizes.items():
        most = _limits.MOST_BYTES_OF_A_NOTE if name in notes else _limits.MOST_BYTES_A_FILE
        if size > most:
            raise BadInput(f"{where}: refused, {name!r} in it has {size:,} bytes; at most {most:,} are taken")
    if (total := sum(sizes.values())) > _limits.MOST_BYTES:
        most = f"{_limits.MOST_BYTES >> 30} GiB"
        raise BadInput(f"{where}: refused, its files have {total / 2**30:,.1f} GiB together, more than {most}")


def _check_growth(members: list[zipfile.ZipInfo], archive: Path) -> None:
    """Refuse a bomb by its own account, each member and all together; zipfile never reads more than that account."""
    for info in members:
        ratio = info.file_size / max(info.compress_size, 1)
        if ratio > _limits.MOST_RATIO and info.file_size > 2**20:
            grown = f"would grow to {info.file_size:,} bytes ({ratio:,.0f} times its size in the archive)"
            raise BadInput(f"{archive}: refused, {info.filename!r} in it {grown}")
    total, own = sum(info.file_size for info in members), archive.stat().st_size
    # Against what the archive really has: members may share bytes.
    if total > max(_limits.FREE_BYTES, _limits.MOST_RATIO * own):
        grown = f"{total:,} bytes ({total / max(own, 1):,.0f} times its own size)"
        raise BadInput(f"{archive}: refused, it would grow to {grown}")


def _what_is_wrong(archive: Path, error: Exception) -> str:
    """Say in one line why this is no archive that can be read."""
    with archive.open("rb") as opened:
        head = opened.read(512).lstrip()
    if head[:1] == b"<":
        return "is a web page, not a zip file: the server asked for a login, or failed; download it again"
    if not head:
        return "is empty; download it again"
    if isinstance(error, NotImplementedError):
        return f"is packed in a way that is not read ({error}); unpack it yourself and give the folder"
    if head[:2] == b"PK":
        return f"is cut off or damaged ({error}); download it again"
    return "is not a zip file; give a zip file or the unpacked folder"
