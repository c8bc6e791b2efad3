"""Whose a folder is: what this project did not make is never written over and never deleted.

A folder is ours if it carries our mark: a record that reads as ours, whatever else lies in it. Files are ours by
their names in such a folder and, where it can be seen, by their content.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from cxr_utils import files, ledger
from cxr_utils.errors import BadInput

#: The project's own folders. What lies in others, such as runs, data and lab, git does not track.
TRACKED = (".binder", ".ci", ".devcontainer", ".git", ".github", "benchmarks", "cxr_utils", "docs", "notebooks",
           "results", "site", "teaching", "tests", "workflow")  # fmt: skip

_IDENTITY = ("version", "recipe", "protocol", "seed", "split", "pixels")
NOTE = ("format", "files", "run")


def is_note(path: Path) -> bool:
    """Tell whether a file is the JSON that ``cxr export`` puts beside a model."""
    return files.has_keys(*NOTE)(path)


def is_card(path: Path) -> bool:
    """Tell whether a file is a model card of ours."""
    return b"<!-- run " in begins(path, 2**20)


def _is_zip(path: Path) -> bool:
    """Tell a zip file, also a damaged one."""
    return begins(path, 2) == b"PK"


def begins(path: Path, most: int) -> bytes:
    """Return the first bytes of a file; none where it can't be read."""
    try:
        with path.open("rb") as opened:
            return opened.read(most)
    except OSError:
        return b""


#: What `training.fit` and what follows it leave in the folder of a training, and how each is known.
RUN: dict[str, Callable[[Path], bool]] = {
    "run.json": files.has_keys(*_IDENTITY),
    "state.json": files.has_keys(*_IDENTITY),
    "state.npz": _is_zip,
    "model.keras": _is_zip,
    "history.csv": files.has_columns("epoch", "loss"),
    "predictions.csv": files.has_columns("path", "split", "probability"),
    "metrics.json": files.has_keys("threshold"),
    ledger.NAME: files.has_columns(*ledger.COLUMNS),
    "model.json": is_note,
    "model-card.md": is_card,
}


def check_place(folder: Path, what: str, *, allowed: tuple[str, ...] = ()) -> None:
    """Refuse a folder to write into that is or holds the project or the home folder, or that git tracks.

    Parameters
    ----------
    folder : Path
        Absolute; it need not be there.
    what : str
        What errors call it, such as "run_dir".
    allowed : tuple of str
        Folders of the project, of `TRACKED`, that may be written into.

    Raises
    ------
    BadInput
        It is such a folder, or a file.

    Examples
    --------
    >>> check_place(files.root() / "runs" / "mine", "run_dir")
    """
    real = Path(os.path.realpath(folder))
    kept = {"the project": [p for p in (files.root(), files.CHECKOUT, real) if files.is_project(p)]}
    kept["the home folder"] = [Path(os.path.realpath(files.expand("~")))]
    way_out = "choose a folder of its own, such as runs/mine"
    for name, places in kept.items():
        for place in places:
            if Path(os.path.realpath(place)).is_relative_to(real) or _holds(real, place):
                raise BadInput(f"{what} {folder}: is or holds {name} ({place}); {way_out}")
    if (of_project := tracked(folder)) and of_project.name not in allowed:
        raise BadInput(f"{what} {folder}: lies in {of_project}, which is part of the project; {way_out}")
    there = next(filter(os.path.lexists, (folder, *folder.parents)), folder)
    if os.path.lexists(there) and not there.is_dir():
        option = f"--{what.replace('_', '-')}"
        raise BadInput(f"{what} {there}: is {kind_of(there)}, not a folder; choose another {option}")


def _holds(folder: Path, place: Path) -> bool:
    """Tell whether a folder is or holds another by any name: some systems do not tell A from a, or mount one twice."""
    return folder.is_dir() and any(one.is_dir() and one.samefile(folder) for one in (place, *place.parents))


def tracked(folder: Path) -> Path | None:
    """Return the folder of a checkout, of `TRACKED`, that another is or lies in; None where there is none.

    Examples
    --------
    >>> tracked(Path("/"))
    """
    for path in (folder, Path(os.path.realpath(folder))):
        for parent in filter(files.is_project, path.parents):
            if (first := path.relative_to(parent).parts[0]).casefold() in TRACKED:
                return parent / first
    return None


def kind_of(path: Path) -> str:
    """Say what lies at a path.

    Examples
    --------
    >>> kind_of(Path("gone"))
    'not there'
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if path.is_symlink() else "not there"
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def check_folder(folder: Path, what: str, *, marked: Callable[[Path], bool], allowed: tuple[str, ...] = ()) -> None:
    """Refuse what `check_place` refuses, and a folder that holds something and does not carry our mark.

    Parameters
    ----------
    folder, what, allowed
        As for `check_place`.
    marked : callable
        Whether a folder carries our mark.

    Raises
    ------
    BadInput
        It is such a folder.

    Examples
    --------
    >>> check_folder(files.root() / "runs" / "mine", "run_dir", marked=is_run)
    """
    check_place(folder, what, allowed=allowed)
    if (strange := next(entries(folder), None)) and not marked(folder):
        raise BadInput(
            f"{what} {folder}: holds what cxr did not make, such as {strange.name}; choose a new or an empty folder"
        )


def entries(folder: Path) -> Iterator[Path]:
    """Yield what lies in a folder, but locks, our temporary files and what systems leave behind.

    Examples
    --------
    >>> list(entries(Path("gone")))
    []
    """
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if not files.PASSING.fullmatch(path.name))


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a training, finished or not.

    Examples
    --------
    >>> is_run(Path("gone"))
    False
    """
    return any(RUN[name](folder / name) for name in ("run.json", "state.json"))


def check_run(folder: Path) -> None:
    """Refuse a folder for a training that is not free for it, or in which another's file has a name that we need.

    Raises
    ------
    BadInput
        As `check_folder`; or such a file is there.

    Examples
    --------
    >>> check_run(files.root() / "runs" / "mine")
    """
    check_folder(folder, "run_dir", marked=is_run)
    for name, ours in RUN.items():
        files.check_ours(folder / name, ours)


def of_run(folder: Path) -> list[Path]:
    """Return the files in the folder of a training that are ours; none where it is no such folder.

    Examples
    --------
    >>> of_run(Path("gone"))
    []
    """
    if not is_run(folder) or folder.is_symlink():
        return []
    found = [folder / name for name, ours in RUN.items() if ours(folder / name)]
    return found + exported(folder / "exported" / "model.json")


def exported(note: Path) -> list[Path]:
    """Return the JSON beside exported models, those of them that it lists as they are, and their card.

    Examples
    --------
    >>> exported(Path("gone.json"))
    []
    """
    if not is_note(note):
        return []
    listed = files.read_record(note, files=dict)["files"]
    formats = [note.with_suffix(suffix) for suffix in (".keras", ".h5", ".onnx")]
    models = [path for path in formats if files.sha256(path) == listed.get(path.suffix)]
    card = note.with_name("model-card.md")
    return [note, *models, *([card] if is_card(card) else [])]


def remove(found: list[Path], *, below: Path) -> None:
    """Delete these files, and then the folders that they leave empty, as far as they lie below `below`.

    What a link leads to elsewhere stays.

    Examples
    --------
    >>> remove([], below=Path("gone"))
    """
    real = os.path.realpath(below)
    found = [path for path in found if Path(os.path.realpath(path.parent)).is_relative_to(real)]
    for path in found:
        path.unlink(missing_ok=True)
    parents = {parent for path in found for parent in path.parents if parent.is_relative_to(below) and parent != below}
    for folder in sorted(parents, key=lambda path: -len(path.parts)):
        if folder.is_dir() and not any(entries(folder)):
            for lock in folder.glob("*.lock"):
                if files.is_lock(lock):
                    lock.unlink()
            with contextlib.suppress(OSError):  # something of the system's may be left
                folder.rmdir()
