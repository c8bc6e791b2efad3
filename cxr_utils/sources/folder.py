"""Images that are there already: a folder or a zip file in the original layout."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxr_utils.dataset import CLASSES, SPLITS, parse_name
from cxr_utils.errors import BadInput
from cxr_utils.sources import pack
from cxr_utils.sources.unzip import choose, is_junk, unzip

# How far below the given folder chest_xray is looked for (/kaggle/input/datasets/<owner>/<name>/chest_xray).
DEEPEST = 5


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
        What is to stand in ``source.json``: origin, left_out, and for images that this package made what it
        knows of them.

    Raises
    ------
    BadInput
        There is no such path, it holds no such images, it holds two copies side by side, or an archive of
        `pack.pack` is not as it was packed.
    """
    if not path.exists():
        raise BadInput(f"path {path}: there is no such folder or file")
    if path.is_dir():
        found = find(path)
        left_out = _copy(found, folder, progress=progress)
        return {**(pack.marks(found.parent) or _foreign(folder)), "origin": str(path), "left_out": left_out}
    left_out = unzip(path, folder, beside=pack.BESIDE, progress=progress)
    pack.check(folder, where=path)
    known = pack.marks(folder, where=path)
    for name in pack.BESIDE:
        (folder / name).unlink(missing_ok=True)
    if "packed" in known:
        left_out = [name for name in left_out if name != "README.txt"]  # it says what source.json says
    return {**(known or _foreign(folder)), "origin": str(path), "left_out": left_out}


def _foreign(folder: Path) -> dict[str, str]:
    """Return what is to be said of images none of which has a name of the dataset: not its title and licence."""
    for path in (folder / "chest_xray").rglob("*"):
        with contextlib.suppress(BadInput):
            parse_name(path)
            return {}
    unknown = "not known: no name is one of the dataset"
    return {"title": "Images of another origin", "licence": "licence not known", "attribution": unknown}


def find(path: Path) -> Path:
    """Return the outermost folder at or below `path` that holds train, val or test with their classes.

    Raises
    ------
    BadInput
        There is none, or there are several.
    """
    found = []
    for here, folders, _ in _walk(path, deepest=DEEPEST):
        folders[:] = [name for name in folders if not is_junk(name)]
        if any((here / split / name).is_dir() for split in SPLITS for name in CLASSES):
            found.append(here)
            folders.clear()
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(
            f"path {path}: holds no folder chest_xray/{{train,val,test}}/{{NORMAL,PNEUMONIA}}; "
            "give the folder or the zip file that holds chest_xray"
        )
    listed = ", ".join(str(each) for each in found[:4])
    raise BadInput(f"path {path}: holds {len(found)} copies of the layout ({listed}); give one of them")


def _walk(path: Path, *, deepest: int) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk like `os.walk`, through links to folders too, but into no folder twice."""
    seen = set()
    for name, folders, names in os.walk(path, followlinks=True):
        here = Path(name)
        real = os.path.realpath(here)
        if real in seen or len(here.relative_to(path).parts) > deepest:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield here, folders, sorted(names)


def _copy(source: Path, folder: Path, *, progress: bool) -> list[str]:
    from tqdm import tqdm

    names = [
        (here / name).relative_to(source).as_posix()
        for here, _, names in _walk(source, deepest=DEEPEST)
        for name in names
    ]
    kept, left_out = choose(names, where=f"path {source}")
    for place in {os.path.dirname(place) for place in kept.values()}:
        (folder / "chest_xray" / place).mkdir(parents=True)
    for name, place in tqdm(kept.items(), desc="copying", unit="image", disable=not progress):
        # The content only: a read-only source must not give files that nobody can delete.
        shutil.copyfile(source / name, folder / "chest_xray" / place)
    return left_out
