"""Where images come from: each source is one file here, found by its name, and all have one layout.

Each fills ``data/<source>/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}`` and says in
``data/<source>/source.json`` what the images are. How to add one: README.md beside this file.
"""

import importlib
import os
import pkgutil
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_utils import _ownership, dataset, files
from cxr_utils.errors import BadInput, CxrError, advice, printable
from cxr_utils.sources.download import discard
from cxr_utils.sources.unzip import is_image

#: What a source may hold, best first: the published files; what its user gives, which may be them; other pictures, such
#: as smaller copies or another dataset; drawings.
HOLDS = ("originals", "given", "other", "phantoms")

#: What ``source.json`` has at least.
RECORD = {"source": str, "title": str, "licence": str, "attribution": str, "synthetic": bool, "origin": str}

#: What a source of the dataset itself says of it.
PUBLISHED = {
    "title": dataset.RECORD.title,
    "licence": dataset.RECORD.licence,
    "attribution": dataset.RECORD.citation,
    "expected": dataset.RECORD.counts,
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of images: its file has one, by the name ``SOURCE``.

    Attributes
    ----------
    name : str
        The file's name without its suffix; the folder that it fills is called so, too.
    about : str
        What its images are, in a few words, for the help.
    holds : str
        One of `HOLDS`.
    fill : callable
        ``fill(folder, progress=...)`` writes images to ``folder/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}``.
        It returns title, licence, attribution and origin (str) and, where there are any, left_out (list of str),
        the counts that are expected (split to number, or to class to number) and other things to be noted in
        ``source.json``.
    takes : str
        The option of `fetch` that it takes, "path" or "seed"; `fill` gets it by this name.
    archive : str
        For what is downloaded, its file's name; `fill` gets its path, as ``archive``.
    another : bool
        It is another hospital's, to be judged by: where a command may choose, it comes last.

    Examples
    --------
    >>> get("sample").takes
    'seed'
    """

    name: str
    about: str
    holds: str
    fill: Callable[..., dict[str, Any]]
    takes: str = ""
    archive: str = ""
    another: bool = False


def _all() -> dict[str, Source]:
    """Find the sources among the modules here."""
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    found = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    best_first = sorted(found, key=lambda each: (each.another, HOLDS.index(each.holds), each.name))
    return {each.name: each for each in best_first}


def names(*holds: str) -> list[str]:
    """List the names of the sources, best first.

    Parameters
    ----------
    *holds : str
        Only those that hold this, of `HOLDS`; all if none is given.

    Returns
    -------
    list of str
        Their names.

    Examples
    --------
    >>> names("originals", "given"), names()[0]
    (['kaggle', 'folder'], 'kaggle')
    """
    return [name for name, each in _all().items() if not holds or each.holds in holds]


def get(name: str) -> Source:
    """Find a source by its name.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Source
        As its file has it.

    Raises
    ------
    BadInput
        There is no source of this name.

    Examples
    --------
    >>> get("sample").holds
    'phantoms'
    """
    if name not in (found := _all()):
        raise BadInput(f"source {name!r}: choose one of {', '.join(found)}")
    return found[name]


def fetch(
    source: str, *, data_dir: str | Path = "data", path: str | Path | None = None, seed: int | None = None,
    keep_archive: bool = False, progress: bool = False,
) -> Path:  # fmt: skip
    """Make the images of a source, or find them made.

    What a download that failed has brought stays in ``data_dir/.<source>-download``, and the next call goes on
    with it.

    Parameters
    ----------
    source : str
        One of `names`: phantom radiographs drawn here ("sample"), or those of another hospital ("elsewhere"); images of
        yours in the original layout ("folder"); the dataset from Kaggle by its command line ("kaggle");
        PneumoniaMNIST, 224 px, or films of another hospital, 64 px, from Zenodo ("medmnist", "chestmnist").
    data_dir : str or Path
        Where the folder of the source lies; a relative one is taken from the project's root.
    path : str or Path, optional
        For "folder", the first time: a folder or zip file. A relative one is taken from the project's root.
    seed : int, optional
        For "sample" and "elsewhere": what the phantoms are drawn from, 0 by default. Left out, it takes any that are
        there.
    keep_archive : bool
        For sources that are downloaded: keep what came, in ``data_dir/<source>-archive``. A later call
        takes it instead of a download.
    progress : bool
        Show progress bars.

    Returns
    -------
    Path
        The folder ``data_dir/source``, which holds ``chest_xray`` and ``source.json``. It is whole or not
        there: it is filled under another name and renamed, and an existing one is never changed.

    Raises
    ------
    BadInput
        An unknown source; a path that holds no such images; or other images are there than those asked for.
    CxrError
        The download or the disk failed.

    Warns
    -----
    UserWarning
        The number of images differs from the published one, by split and class; or what is at `path` has changed since
        it was copied.

    Examples
    --------
    >>> again = fetch("folder", path=folder)
    >>> describe(again)["source"]
    'folder'
    """
    known, chosen = _all(), get(source)
    if path is not None:
        if chosen.takes != "path":
            takers = " or ".join(name for name, each in known.items() if each.takes == "path")
            raise BadInput(f"path {path}: only the source {takers} takes a path; leave it out for {source}")
        path = files.resolve(path).resolve()
        if path.exists() and not (path.is_dir() or path.is_file()):  # to open a pipe would wait for ever
            raise BadInput(f"path {path}: is {_ownership.kind_of(path)}; give a folder or a zip file")
    if keep_archive and not chosen.archive:
        downloaded = " and ".join(name for name, each in known.items() if each.archive)
        raise BadInput(f"keep_archive: {source} is not downloaded; it is for {downloaded}")
    target = files.resolve(data_dir) / source
    _ownership.check_place(target.parent, "data_dir")
    try:
        if not _is_there(target, path=path, seed=seed):
            if chosen.takes == "path" and path is None:
                way_out = f"run `cxr fetch --source {source} --path P`, where P is what holds chest_xray"
                raise BadInput(f"source {source}: no images are in {target} yet; {way_out}")
            with files.lock(target):
                if not _is_there(target, path=path, seed=seed):
                    _make(chosen, target, path=path, seed=seed or 0, keep=keep_archive, progress=progress)
        elif _archives(target, chosen)[0].parent.exists():  # killed between its last two steps
            with files.lock(target):
                _put_away(target, chosen, keep=keep_archive)
    except OSError as error:
        said = f"{error.filename or target}: {error.strerror or error}; {advice(error)}"
        raise CxrError(f"{said}, or choose another --data-dir; then the same command goes on") from error
    return target


def describe(folder: str | Path) -> dict[str, Any]:
    """Read what `fetch` wrote about a folder of images.

    Parameters
    ----------
    folder : str or Path
        What `fetch` returned.

    Returns
    -------
    dict
        Its texts are fit to be printed, since names in it come from others: source, title, licence, attribution,
        synthetic (bool), origin, counts (split to class to number),
        left_out (list of str), for a sample its seed, and for copies that `pack.pack` made packed (source, size in
        pixels, quality, images).

    Raises
    ------
    BadInput
        The folder was not made by `fetch`.

    Examples
    --------
    >>> describe(fetch("folder", path=folder))["counts"]["train"]
    {'NORMAL': 10, 'PNEUMONIA': 30}
    """
    path = files.resolve(folder) / "source.json"
    if not path.is_file():
        raise BadInput(f"{path.parent}: not made by `cxr fetch` (no source.json in it); choose another --data-dir")
    try:
        record = files.read_record(path, **RECORD)
    except BadInput as error:
        raise BadInput(f"{str(error).rpartition(';')[0]}; move {path.parent} away and fetch again") from None
    packed, left_out = record.get("packed", {}), record.setdefault("left_out", [])
    if not isinstance(packed, dict) or not isinstance(left_out, list):
        raise BadInput(f"{path}: packed or left_out is not as cxr writes it; move {path.parent} away and fetch again")
    return _printable(record)


def _printable(value: Any) -> Any:
    """Make all texts in a record fit to be printed."""
    if isinstance(value, dict):
        return {printable(name): _printable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def synthetic(source: str, data_dir: str | Path = "data") -> bool:
    """Tell whether the images of a source are phantoms, also where they were copied from somewhere else.

    Parameters
    ----------
    source : str
        As in `fetch`; one that was not fetched yet is synthetic if it holds phantoms.
    data_dir : str or Path
        As in `fetch`.

    Returns
    -------
    bool
        True for phantoms.

    Raises
    ------
    BadInput
        The source's folder does not say what it holds.

    Examples
    --------
    >>> synthetic("sample"), synthetic("kaggle", "nowhere")
    (True, False)
    """
    folder = files.resolve(data_dir) / source
    return source in names("phantoms") or ((folder / "source.json").is_file() and describe(folder)["synthetic"])


def _is_there(target: Path, *, path: Path | None, seed: int | None) -> bool:
    """Tell whether the images asked for are there; images of another origin are never replaced."""
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return False
    if not target.is_dir():
        raise BadInput(f"{target}: is {_ownership.kind_of(target)}, not a folder; choose another --data-dir")
    record = describe(target)
    way_out = f"to replace it delete that folder, or choose another --data-dir ({target.parent} now)"
    if path is not None and record.get("origin") != printable(path):
        raise BadInput(f"path {path}: {target} already holds the images of {record.get('origin')}; {way_out}")
    if path is not None and path.exists() and record.get("state", now := _state(path)) != now:
        said = f"path {path}: has changed since {target} was made from it, which is taken; {way_out}"
        warnings.warn(said, stacklevel=3)
    if seed is not None and record.get("seed", seed) != seed:
        raise BadInput(f"seed {seed}: {target} was drawn with seed {record['seed']}; {way_out}")
    return True


def _state(path: Path) -> str:
    """Name the state of a file, or of all in a folder: their names, sizes and times."""
    inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    stats = [(each.relative_to(path).as_posix(), each.stat()) for each in inside]
    return files.digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _archives(target: Path, source: Source) -> tuple[Path, Path]:
    """Name the file of a download under way, and the one that keeps what came: in folders beside the source's."""
    name = source.archive or "none"
    return target.with_name(f".{target.name}-download") / name, target.with_name(f"{target.name}-archive") / name


def _put_away(target: Path, source: Source, *, keep: bool) -> None:
    """Keep or remove what was downloaded, once it is unpacked. The lock is held."""
    archive, kept = _archives(target, source)
    if keep and archive.is_file() and not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        os.replace(archive, kept)
    discard(archive)


def _make(source: Source, target: Path, *, path: Path | None, seed: int, keep: bool, progress: bool) -> None:
    """Fill a temporary folder from the source, describe it, and rename it to `target`. The lock is held."""
    archive, kept = _archives(target, source)
    if kept.is_file() and not archive.exists():  # by another name: what is damaged is deleted there, and kept here
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(kept, archive)
        except OSError:  # a disk without links
            shutil.copyfile(kept, archive)
    if target.exists():
        target.rmdir()  # an empty one; Windows does not rename onto it
    options: dict[str, Any] = {"archive": archive} if source.archive else {}
    options |= {name: value for name, value in (("path", path), ("seed", seed)) if name == source.takes}
    with files.atomic(target) as temporary:
        temporary.mkdir()
        found = source.fill(temporary, progress=progress, **options)
        expected = found.pop("expected", None)
        record = {"source": source.name, "synthetic": source.holds == "phantoms", "left_out": [], **found}
        places = (file.relative_to(temporary).parts for file in (temporary / "chest_xray").glob("*/*/*"))
        counted = Counter(parts[-3:-1] for parts in places if is_image(parts))
        counts = {split: {name: counted[split, name] for name in dataset.CLASSES} for split in dataset.SPLITS}
        record |= {"counts": counts} | ({"state": _state(path)} if path else {})
        files.write_json(temporary / "source.json", record)
    _put_away(target, source, keep=keep)
    if expected and (differ := "; ".join(dataset.differences(record["counts"], expected))):
        warnings.warn(f"{target}: the number of images is not the one of {record['title']}: {differ}", stacklevel=3)
