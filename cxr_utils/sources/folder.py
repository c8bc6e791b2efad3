"""Images that are there already: a folder or a zip file in the original layout."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from cxr_utils import files, images
from cxr_utils._limits import MOST_BYTES_OF_A_NOTE
from cxr_utils.dataset import CLASSES, GIVEN, LAYOUT, SPLITS, parse_name, stem_of
from cxr_utils.errors import BadInput
from cxr_utils.sources import PUBLISHED, Source
from cxr_utils.sources.unzip import GIVE, check_sizes, choose, is_junk, members, store, unzip

# How far below the given folder chest_xray is looked for (/kaggle/input/datasets/<owner>/<name>/chest_xray).
DEEPEST = 5
#: Takes a name, and how many bytes are wanted if not all, and gives a file's content.
Read = Callable[..., bytes]
#: What an archive of `pack.pack` holds beside ``chest_xray``, and is read here; README.txt is for people.
BESIDE = ("source.json", "manifest.csv")

MARKS = {"title": str, "licence": str, "attribution": str, "synthetic": bool, "packed": dict}


def fill(folder: Path, *, path: Path, progress: bool = False) -> dict[str, Any]:
    """Copy the images of `path` to ``folder/chest_xray``; `path` is only read.

    Parameters
    ----------
    folder : Path
        An empty folder.
    path : Path
        A zip file, ``chest_xray`` itself, the folder that holds it, or one further up that holds just one.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        What is to stand in ``source.json``: origin, left_out, what is published of the dataset, and for images that
        this package made what it knows of them.

    Raises
    ------
    BadInput
        There is no such path, it holds no such images or none that can be read, it holds two copies side by side,
        links that lead out of it, devices, or more than an archive may hold, or an archive of `pack.pack` is not as
        it was packed.
    CxrError
        The disk has too little room.
    """
    if path.is_dir():
        found = find(path)
        left_out = _copy(found, folder, top=path, progress=progress)
        known = marks(found.parent)
    else:
        left_out = unzip(path, folder, beside=BESIDE, progress=progress)
        check(folder, where=path)
        known = marks(folder, where=path)
        for name in BESIDE:
            (folder / name).unlink(missing_ok=True)
        if "packed" in known:
            left_out = [name for name in left_out if name != "README.txt"]  # it says what source.json says
    _need_one(folder, where=path)
    names = (each.name for each in (folder / "chest_xray").rglob("*"))
    record = about(known, names) | {"origin": str(path), "left_out": left_out}
    return record if record["title"] == PUBLISHED["title"] else record | {"expected": None}


def about(known: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Put what is known of images before what is published of the dataset, if one of them has a name of it.

    Parameters
    ----------
    known : dict
        From `marks`.
    names : iterable of str
        Of their files.

    Returns
    -------
    dict
        At least title, licence and attribution.

    Examples
    --------
    >>> about({}, ["film 1.png"])["title"]
    'Images of another origin'
    """
    for name in names if not known else ():
        with contextlib.suppress(BadInput):
            if parse_name(name) and not GIVEN.fullmatch(stem_of(name)):
                known = PUBLISHED
    unknown = "not known: no name is one of the dataset"
    foreign = {"title": "Images of another origin", "licence": "licence not known", "attribution": unknown}
    return {"synthetic": False, **PUBLISHED, **(known or foreign)}


def _need_one(folder: Path, *, where: Path) -> None:
    """Refuse what holds no image that can be read: kept, it would stand in the way of the right folder or archive."""
    first, found = "", sorted(path for path in (folder / "chest_xray").rglob("*") if path.is_file())
    for path in found:
        try:
            images.read(path)
            return
        except BadInput as error:
            first = first or str(error).replace(f"{folder}/chest_xray/", "")
    raise BadInput(f"path {where}: none of its {len(found):,} images can be read ({first}); give another copy")


def find(path: Path) -> Path:
    """Return the outermost folder at or below `path` that holds train, val or test with their classes.

    Links are followed where they lead to something below `path`.

    Parameters
    ----------
    path : Path
        What was given.

    Returns
    -------
    Path
        What holds the images.

    Raises
    ------
    BadInput
        There is none, or there are several.
    """
    found, out = [], []
    for here, folders, names in _walk(path, top=path, deepest=DEEPEST):
        out += [here / name for name in names if (here / name).is_symlink() and (here / name).is_dir()]
        folders[:] = [name for name in folders if not is_junk(name)]
        if any((here / split / name).is_dir() for split in SPLITS for name in CLASSES):
            found.append(here)
            folders.clear()
    if len(found) == 1:
        return found[0]
    if not found:
        links = f" (the link {out[0].name} leads out of it and is not followed)" if out else ""
        raise BadInput(f"path {path}: holds no folder {LAYOUT}{links}; {GIVE}")
    listed = ", ".join(str(each) for each in found[:4])
    raise BadInput(f"path {path}: holds {len(found)} copies of the layout ({listed}); give one of them")


@contextlib.contextmanager
def opened(path: Path, *, top: Path | None = None, layout: Collection[str] = ()) -> Iterator[tuple[list[str], Read]]:
    r"""Open a folder or zip file to read in it; nothing is copied or unpacked.

    Parameters
    ----------
    path : Path
        The folder or zip file.
    top : Path, optional
        Links are followed to what lies below it; by default below `path`.
    layout : collection of str
        Names of folders, in small letters, that may not be links which lead out: a whole class would be missing.

    Yields
    ------
    names : list of str
        Of its files, with ``/``; links to folders that lead out are among them.
    read : Read
        What would not be copied from there is a BadInput.

    Raises
    ------
    BadInput
        There is no such path, or `unzip` would refuse the archive.

    Examples
    --------
    >>> with opened(folder) as (names, read):
    ...     index["path"][0] in names, read(index["path"][0], 2)
    (True, b'\xff\xd8')
    """
    if not path.is_dir():
        with members(path) as (there, read):
            yield list(there), read
        return
    top = top or path
    found = [(here / name).relative_to(path).as_posix() for here, _, names in _walk(path, top=top, deepest=2 * DEEPEST)
             for name in names]  # fmt: skip

    def content(name: str, most: int = -1) -> bytes:
        check_sizes({name: _size(path / name, name, top)}, where=f"path {path}")
        if most < 0:
            return images.read_bytes(path / name)
        with (path / name).open("rb") as file:
            return file.read(most)

    for name in found:
        if name.rpartition("/")[2].casefold() in layout:
            content(name, 1)
    yield found, content


def _walk(path: Path, *, top: Path, deepest: int) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk like `os.walk`, through links to folders below `top` too, but into no folder twice.

    A link to a folder elsewhere comes among the names of files.
    """
    seen = set()
    for name, folders, names in os.walk(path, followlinks=True):
        here = Path(name)
        real = os.path.realpath(here)
        if real in seen or len(here.relative_to(path).parts) > deepest:
            folders.clear()
            continue
        seen.add(real)
        out = [each for each in folders if not _within(here / each, top)]
        folders[:] = sorted(set(folders) - set(out), key=lambda name: (is_junk(name), name))  # stores last
        yield here, folders, sorted([*names, *out])


def _within(path: Path, top: Path) -> bool:
    """Tell whether a path, all links followed, lies below `top`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(top))


def _size(path: Path, name: str, top: Path) -> int:
    """Return the bytes of a regular file below `top`, or refuse it as `unzip` would in an archive."""
    try:
        found = path.stat()
    except OSError as error:
        reason = "is a link that leads to nothing" if path.is_symlink() else (error.strerror or "").lower()
        raise BadInput(f"path {top}: {name!r} in it {reason}; remove it") from None
    if not _within(path, top):
        raise BadInput(f"path {top}: {name!r} in it is a link that leads out of it; put a copy in its place, or give "
                       "the folder that holds both")  # fmt: skip
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"path {top}: {name!r} in it is a folder, a pipe or a device, not a file; remove it")
    return found.st_size


def _copy(source: Path, folder: Path, *, top: Path, progress: bool) -> list[str]:
    with opened(source, top=top, layout=(*SPLITS, *map(str.casefold, CLASSES))) as (names, read):
        check_sizes({}, count=len(names), where=f"path {source}")
        kept, left_out = choose(names, where=f"path {source}")
        sizes = {name: _size(source / name, name, top) for name in kept}
        check_sizes(sizes, where=f"path {source}")
        targets = {name: f"chest_xray/{place}" for name, place in kept.items()}
        store(targets, sizes, read, folder, doing="copying", progress=progress)
    return left_out


def marks(folder: str | Path, *, where: str | Path | None = None) -> dict[str, Any]:
    """Return what ``folder/source.json`` says of the images beside it, so that phantoms stay marked as such.

    Parameters
    ----------
    folder : str or Path
        What `cxr fetch` filled, or an unpacked archive of `pack.pack`.
    where : str or Path, optional
        The archive, for messages.

    Returns
    -------
    dict
        title, licence, attribution (str), synthetic (bool) and packed (dict), as far as they are there.

    Raises
    ------
    BadInput
        The file is no JSON, or a value is of another type.
    """
    path = Path(folder) / "source.json"
    if not path.is_file():
        return {}
    if path.is_symlink() or path.stat().st_size > MOST_BYTES_OF_A_NOTE:
        raise BadInput(f"{where or folder}: its source.json is a link, or far too large; remove it")
    return read_marks(path.read_bytes(), where or folder)


def read_marks(content: bytes, where: str | Path) -> dict[str, Any]:
    """Read a ``source.json`` as `marks` does, where it is no file.

    Parameters
    ----------
    content : bytes
        What it holds.
    where : str or Path
        The archive, for messages.

    Returns
    -------
    dict
        As `marks`.

    Raises
    ------
    BadInput
        As `marks`.

    Examples
    --------
    >>> read_marks(b'{"synthetic": true, "other": 1}', "a.zip")
    {'synthetic': True}
    """
    try:
        known = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: source.json: not a readable JSON file ({error}); get another copy") from None
    found = {name: known[name] for name in MARKS if name in known} if isinstance(known, dict) else {}
    for name, value in found.items():
        odd = isinstance(value, str) and not (value.isprintable() and len(value) < 2000)
        if odd or not isinstance(value, MARKS[name]):
            raise BadInput(f"{where}: {name} in its source.json is not what `cxr` writes; get another copy")
    return found


def check(folder: str | Path, *, where: str | Path) -> None:
    """Compare the images of an unpacked archive with its manifest, if `pack.pack` made it.

    Parameters
    ----------
    folder : str or Path
        What was unpacked.
    where : str or Path
        The archive, for messages.

    Raises
    ------
    BadInput
        An image is missing, was changed or was added, or the manifest is missing; one is named.
    """
    folder = Path(folder)
    if "packed" not in marks(folder, where=where):
        return
    try:
        table = files.read_csv(folder / "manifest.csv")
        expected = dict(zip(table["path"], table["sha256"], strict=True))
    except (BadInput, KeyError):
        raise BadInput(f"{where}: has no manifest of its images; get the archive again") from None
    inside = (file for file in (folder / "chest_xray").rglob("*") if file.is_file())
    found = {file.relative_to(folder).as_posix(): files.sha256(file) for file in inside}
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            how = "is missing" if path not in found else "was added" if path not in expected else "was changed"
            raise BadInput(f"{where}: {path} in it {how} since it was packed; get the archive again")


SOURCE = Source(name="folder", about="your copy of the dataset", holds="given", fill=fill, takes="path")
