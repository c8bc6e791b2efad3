"""Where images come from: four sources, one layout.

Each source fills ``data/<source>/chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}`` and says in
``data/<source>/source.json`` what the images are.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from cxr_utils import files, ownership
from cxr_utils.errors import BadInput, CxrError, advice, printable
from cxr_utils.sources import download

SOURCES = ("sample", "folder", "kaggle", "medmnist")
"""The names that `fetch` takes."""

RECORD = {"source": str, "title": str, "licence": str, "attribution": str, "synthetic": bool, "origin": str}
"""What ``source.json`` has at least."""

ARCHIVES = {"kaggle": "chest-xray-pneumonia.zip", "medmnist": "pneumoniamnist_224.npz"}
"""The sources that are downloaded, and the name of what is downloaded."""


def fetch(
    source: str,
    *,
    data_dir: str | Path = "data",
    path: str | Path | None = None,
    seed: int | None = None,
    keep_archive: bool = False,
    progress: bool = False,
) -> Path:
    """Make the images of a source, or find them made.

    What a download that failed has brought stays in ``data_dir/.<source>-download``, and the next call goes on
    with it.

    Parameters
    ----------
    source : {"sample", "folder", "kaggle", "medmnist"}
        Phantom radiographs drawn here; images of yours in the original layout; the dataset from Kaggle by its
        command line; PneumoniaMNIST (224 px) from Zenodo.
    data_dir : str or Path
        Where the folder of the source lies; a relative one is taken from the project's root.
    path : str or Path, optional
        For "folder", the first time: a folder or zip file. A relative one is taken from the project's root.
    seed : int, optional
        For "sample": what the phantoms are drawn from, 0 by default. Left out, it takes any sample that is
        there.
    keep_archive : bool
        For "kaggle" and "medmnist": keep what was downloaded, in ``data_dir/<source>-archive``. A later call
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
        The number of images differs from the published one, by split and class.

    Examples
    --------
    >>> folder = fetch("sample")                                        # doctest: +SKIP
    >>> folder = fetch("folder", path="/kaggle/input/chest-xray-pneumonia")   # doctest: +SKIP
    """
    if source not in SOURCES:
        raise BadInput(f"source {source!r}: choose one of {', '.join(SOURCES)}")
    if path is not None:
        if source != "folder":
            raise BadInput(f"path {path}: only the source folder takes a path; leave it out for {source}")
        path = files.resolve(path).resolve()
        if path.exists() and not (path.is_dir() or path.is_file()):  # to open a pipe would wait for ever
            raise BadInput(f"path {path}: is {ownership.kind_of(path)}; give a folder or a zip file")
    if keep_archive and source not in ARCHIVES:
        raise BadInput(f"keep_archive: {source} is not downloaded; it is for {' and '.join(ARCHIVES)}")
    target = files.resolve(data_dir) / source
    ownership.check_place(target.parent, "data_dir")
    try:
        if _is_there(target, path=path, seed=seed):
            if _archive(target).parent.exists():  # killed between its last two steps
                with files.lock(target):
                    _put_away(target, keep=keep_archive)
        else:
            if source == "folder" and path is None:
                raise BadInput(
                    f"source folder: no images are in {target} yet; run `cxr fetch --source folder "
                    "--path P`, where P is the folder or zip file that holds chest_xray"
                )
            with files.lock(target):
                if not _is_there(target, path=path, seed=seed):
                    _make(source, target, path=path, seed=seed or 0, keep=keep_archive, progress=progress)
    except OSError as error:
        raise CxrError(
            f"{error.filename or target}: {error.strerror or error}; {advice(error)}, or choose another --data-dir; "
            "then the same command goes on"
        ) from error
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
    """
    path = files.resolve(folder) / "source.json"
    if not path.is_file():
        raise BadInput(f"{path.parent}: not made by `cxr fetch` (no source.json in it); choose another --data-dir")
    try:
        record = files.read_record(path, **RECORD)
    except BadInput as error:
        said = str(error).rpartition(";")[0]
        raise BadInput(f"{said}; move {path.parent} away and fetch again") from None
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
        As in `fetch`; not yet fetched, only "sample" is synthetic.
    data_dir : str or Path
        As in `fetch`.

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
    return source == "sample" or ((folder / "source.json").is_file() and bool(describe(folder).get("synthetic")))


def _is_there(target: Path, *, path: Path | None, seed: int | None) -> bool:
    """Tell whether the images asked for are there; images of another origin are never replaced."""
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return False
    if not target.is_dir():
        raise BadInput(f"{target}: is {ownership.kind_of(target)}, not a folder; choose another --data-dir")
    record = describe(target)
    way_out = f"to replace it delete that folder, or choose another --data-dir ({target.parent} now)"
    if path is not None and record.get("origin") != printable(path):
        raise BadInput(f"path {path}: {target} already holds the images of {record.get('origin')}; {way_out}")
    if seed is not None and record.get("seed", seed) != seed:
        raise BadInput(f"seed {seed}: {target} was drawn with seed {record['seed']}; {way_out}")
    return True


def _archive(target: Path) -> Path:
    """Name the file of a download under way, in a folder beside that of its source."""
    return target.with_name(f".{target.name}-download") / ARCHIVES.get(target.name, "none")


def _kept(target: Path) -> Path:
    """Name the file that keeps what was downloaded."""
    return target.with_name(f"{target.name}-archive") / ARCHIVES.get(target.name, "none")


def _put_away(target: Path, *, keep: bool) -> None:
    """Keep or remove what was downloaded, once it is unpacked. The lock is held."""
    archive, kept = _archive(target), _kept(target)
    if keep and archive.is_file() and not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        os.replace(archive, kept)
    download.discard(archive)


def _make(
    source: str, target: Path, *, path: Path | None, seed: int, keep: bool, progress: bool
) -> None:
    """Fill a temporary folder from the source, describe it, and rename it to `target`. The lock is held."""
    archive, kept = _archive(target), _kept(target)
    if kept.is_file() and not archive.exists():  # by another name: what is damaged is deleted there, and kept here
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(kept, archive)
        except OSError:  # a disk without links
            shutil.copyfile(kept, archive)
    if target.exists():
        target.rmdir()  # an empty one; Windows does not rename onto it
    with files.atomic(target) as temporary:
        temporary.mkdir()
        found = _fill(source, temporary, path=path, seed=seed, archive=archive, progress=progress)
        record = {"source": source, **found}
        expected = record.pop("expected")
        record["counts"] = count(temporary)
        files.write_json(temporary / "source.json", record)
    _put_away(target, keep=keep)
    if expected and (differences := _differences(record["counts"], expected)):
        warnings.warn(
            f"{target}: the number of images is not the one of {record['title']}: {'; '.join(differences)}",
            stacklevel=3,
        )


def _fill(
    source: str, folder: Path, *, path: Path | None, seed: int, archive: Path, progress: bool
) -> dict[str, Any]:
    """Have one source fill `folder`; return its record, with the counts that are expected."""
    if source == "sample":
        from cxr_utils.sources import phantom

        phantom.write(folder, seed=seed, progress=progress)
        return {
            "title": "Phantom chest radiographs",
            "licence": "MIT",
            "attribution": "Drawn by cxr_utils.sources.phantom. Synthetic: they show no patient.",
            "synthetic": True,
            "origin": "cxr_utils.sources.phantom",
            "seed": seed,
            "left_out": [],
            "expected": None,
        }
    if source == "medmnist":
        from cxr_utils.sources import medmnist

        return {"synthetic": False, "left_out": [], **medmnist.fill(folder, archive=archive, progress=progress)}

    from cxr_utils.dataset import RECORD

    if source == "folder":
        from cxr_utils.sources import folder as given

        found = given.fill(folder, path=path, progress=progress)
    else:
        from cxr_utils.sources import kaggle

        found = kaggle.fill(folder, archive=archive, progress=progress)
    return {
        "title": RECORD.title,
        "licence": RECORD.licence,
        "attribution": RECORD.citation,
        "synthetic": False,
        **found,
        "expected": RECORD.counts if found.get("title", RECORD.title) == RECORD.title else None,
    }


def count(folder: str | Path) -> dict[str, dict[str, int]]:
    """Count the image files of a folder that `fetch` made, by split and class.

    Returns
    -------
    dict
        Split ("train", "val", "test") to class ("NORMAL", "PNEUMONIA") to number of files.
    """
    from cxr_utils.dataset import CLASSES, SPLITS
    from cxr_utils.images import SUFFIXES
    from cxr_utils.sources.unzip import is_junk

    layout = Path(folder) / "chest_xray"
    return {
        split: {
            name: sum(
                file.name.lower().endswith(SUFFIXES) and not is_junk(file.name)
                for file in (layout / split / name).glob("*")
            )
            for name in CLASSES
        }
        for split in SPLITS
    }


def _differences(found: dict[str, dict[str, int]], expected: dict[str, Any]) -> list[str]:
    """Name each split (and class, where those are published) whose count differs."""
    pairs = []
    for split, numbers in expected.items():
        if isinstance(numbers, int):
            pairs.append((split, sum(found[split].values()), numbers))
        else:
            pairs += [(f"{split}/{name}", found[split][name], n) for name, n in numbers.items()]
    return [f"{where}: {is_:,} found, {wanted:,} expected" for where, is_, wanted in pairs if is_ != wanted]
