"""The dataset's record, what a file's name says, and the index: a table with one row an image."""

import hashlib
import os
import re
import tomllib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from cxr_utils import files, images
from cxr_utils.errors import BadInput, printable

CLASSES = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")
KINDS = ("normal", "bacteria", "virus")
UNKNOWN = "unknown"  # the kind of a pneumonia whose name does not tell it, such as PneumoniaMNIST's
LAYOUT = "chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}"
COLUMNS = ("path", "split", "label", "kind", "patient", "width", "height", "mode", "sha256")

_VERSION = 1  # of index.csv; a new one makes old tables to be made again
_KAGGLE_PNEUMONIA = re.compile(r"person([0-9]+)_(bacteria|virus)_[0-9]+(?:_[0-9]+)?")
_KAGGLE_NORMAL = re.compile(r"((?:NORMAL2-)?IM-[0-9]+)-[0-9]+(?:-[0-9]+)?")
_MENDELEY = re.compile(r"(NORMAL|BACTERIA|VIRUS)-([0-9]+)-[0-9]+")
#: The names that sources give to files which came without a name of the dataset: <source>-<split>-<number>-<kind>, or
#: with p and the patient's number in the split's place.
GIVEN = re.compile(r"([a-z][a-z0-9_]*)-(?:train|val|test|(p[0-9]+))-[0-9]+-(normal|bacteria|virus|pneumonia)")


@dataclass(frozen=True)
class DatasetRecord:
    """What is published about the dataset: where it comes from, its licence and its counts.

    Examples
    --------
    >>> RECORD.counts["val"]
    {'NORMAL': 8, 'PNEUMONIA': 8}
    """

    title: str
    url: str
    kaggle: str
    kaggle_version: int
    doi: str
    licence: str
    licence_url: str
    citation: str
    counts: dict[str, dict[str, int]]


RECORD = DatasetRecord(**tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))


class ImageName(NamedTuple):
    """What a file's name says of an image.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or "unknown" for a pneumonia whose name does not tell it.
    patient : str or None
        The key of the images that belong together; None where the name has none.

    Examples
    --------
    >>> ImageName("virus", "person1").kind
    'virus'
    """

    kind: str
    patient: str | None


def parse_name(name: str | Path) -> ImageName:
    """Read the kind and the patient's key from a file's name.

    The key is the person number whatever the kind (``person23``), else prefix and number
    (``IM-0115``, ``NORMAL2-IM-0095``). Nothing shows that the numbers of NORMAL images are patients.
    The names of the authors' own archive (``BACTERIA-7422-0001.jpeg``) give ``PNEUMONIA-7422`` and
    ``NORMAL-7422``. Sources without names of the dataset give their own, see `GIVEN`: those of PneumoniaMNIST
    (``medmnist-train-00001-normal.png``) tell no patient, and of a pneumonia no kind.

    Parameters
    ----------
    name : str or Path
        A file's name, with or without folders, with or without its suffix.

    Returns
    -------
    ImageName
        The kind and the patient's key.

    Raises
    ------
    BadInput
        The name has none of these forms.

    Examples
    --------
    >>> parse_name("person23_bacteria_78.jpeg")
    ImageName(kind='bacteria', patient='person23')
    >>> parse_name("NORMAL2-IM-0095-0001.jpeg").patient
    'NORMAL2-IM-0095'
    """
    stem = stem_of(name)
    if found := _KAGGLE_PNEUMONIA.fullmatch(stem):
        return ImageName(found[2], f"person{found[1]}")
    if found := _KAGGLE_NORMAL.fullmatch(stem):
        return ImageName("normal", found[1])
    if found := _MENDELEY.fullmatch(stem):
        return ImageName(found[1].lower(), f"{'NORMAL' if found[1] == 'NORMAL' else 'PNEUMONIA'}-{found[2]}")
    if found := GIVEN.fullmatch(stem):
        return ImageName(UNKNOWN if found[3] == "pneumonia" else found[3], found[2] and f"{found[1]}-{found[2]}")
    raise BadInput(f"{printable(name)}: not a file name of this dataset; expected e.g. person1_bacteria_2.jpeg")


def stem_of(path: str | Path) -> str:
    """Take a file's name without folder and image suffix: originals and copies share it.

    Parameters
    ----------
    path : str or Path
        Of a file; parts may be joined by ``/`` or ``\\``.

    Returns
    -------
    str
        The name without a known image suffix; other suffixes stay.

    Examples
    --------
    >>> stem_of("chest_xray/train/NORMAL/IM-0115-0001.jpeg")
    'IM-0115-0001'
    """
    name = PurePosixPath(str(path).replace("\\", "/")).name
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in images.SUFFIXES else name


def scan(folder: str | Path, *, refresh: bool = False, allow: float = 0.01) -> pd.DataFrame:
    """Make the index of a folder: one row an image, sorted by path.

    The index is kept as ``index.csv`` (and ``index.json``) in `folder` and read from there as long as
    the images' names and sizes stay the same. Images that can't be read, and images whose name is not
    of this dataset or contradicts their folder, are left out with a warning and listed in
    ``quarantine.csv`` with the reason (what can't be printed of a name as escapes). Other files
    (``.DS_Store``, ``__MACOSX``, a nested second copy ``chest_xray/chest_xray``) are passed over.

    Parameters
    ----------
    folder : str or Path
        A folder that holds ``chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}``.
    refresh : bool
        Read every image again.
    allow : float
        The largest share of images that may be left out, in [0, 1].

    Returns
    -------
    DataFrame
        ``path`` (str, relative to `folder`, with ``/``), ``split`` ("train", "val" or "test"), ``label``
        (int64, 0 NORMAL, 1 PNEUMONIA), ``kind`` (str), ``patient`` (string; exact duplicates are joined to
        one group under the smallest name; <NA> if unknown), ``width`` and ``height`` (int64, pixels, as
        shown), ``mode`` (str, "L" or "RGB", or what else Pillow calls it), ``sha256`` (str, of the file).

    Raises
    ------
    BadInput
        No such folder, no image in it, or more than `allow` of them can't be used.

    Warns
    -----
    UserWarning
        Images were left out; or a kept table is not as it was written, and is made again from the images.

    Examples
    --------
    >>> found = scan(folder)
    >>> found.loc[0, ["split", "kind", "patient"]].tolist(), len(found)
    (['test', 'normal', 'IM-0068'], 60)
    """
    folder = files.resolve(folder)
    listing = _list(folder)
    key = files.digest("\n".join(f"{path} {size}" for path, size in listing))
    index, left_out = None if refresh else _load(folder, key), None
    if index is None:
        index, left_out = _look_at_all(folder, [path for path, _ in listing])
        _keep(folder, index, left_out, key)
    if without := len(listing) - len(index):
        first = (quarantine(folder) if left_out is None else left_out).iloc[0]
        message = f"{folder}: {without} of {len(listing)} images can't be used, first {first.path} ({first.reason})"
        if without > allow * len(listing):
            raise BadInput(f"{message}; fetch the dataset again, or scan with a larger allow than {allow}")
        warnings.warn(f"{message}; they are left out, quarantine.csv there lists them", stacklevel=2)
    return index


def _keep(folder: Path, index: pd.DataFrame, left_out: pd.DataFrame, key: str) -> None:
    """Write the tables of `scan`, unless the folder may not be written into, or others' tables have their names."""
    tables = {"index.csv": COLUMNS, "quarantine.csv": ("path", "reason")}
    marks = {"source.json": ("source", "title"), "index.json": ("listing", "tables")}
    ours = any(files.has_keys(*keys)(folder / name) for name, keys in marks.items())
    try:
        if not files.writable(folder):
            raise BadInput(f"{folder}: can't be written into")
        for name, columns in tables.items():
            files.check_ours(folder / name, ours or files.has_columns(*columns))
        files.check_ours(folder / "index.json", ours or all(os.path.lexists(folder / name) for name in tables))
    except BadInput as error:
        warnings.warn(f"{error}; the index is made anew each time", stacklevel=3)
        return
    with files.lock(folder / "index.csv"):
        (folder / "index.json").unlink(missing_ok=True)  # while the tables change it vouches for nothing
        files.write_csv(folder / "quarantine.csv", left_out, ours=True)
        files.write_csv(folder / "index.csv", index, ours=True)
        note = {"version": _VERSION, "listing": key, "images": len(index), "tables": _tables(folder)}
        files.write_json(folder / "index.json", note, ours=True)


def quarantine(folder: str | Path) -> pd.DataFrame:
    """List the images that `scan` left out.

    Parameters
    ----------
    folder : str or Path
        That was scanned.

    Returns
    -------
    DataFrame
        ``path`` and ``reason`` (both str), a row an image.

    Raises
    ------
    BadInput
        The folder was not scanned yet, or the table is not as `scan` writes it.

    Examples
    --------
    >>> len(quarantine(folder))
    0
    """
    folder = files.resolve(folder)
    table = folder / "quarantine.csv"
    if not table.exists() and not files.writable(folder):
        return _look_at_all(folder, [path for path, _ in _list(folder)])[1]
    if not table.is_file():
        raise BadInput(f"{table}: there is no such file; call dataset.scan first")
    return files.read_csv(table, columns=("path", "reason"), dtype=str)


def counts(index: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each official split and class.

    Parameters
    ----------
    index : DataFrame
        From `scan`.

    Returns
    -------
    DataFrame
        int64, rows train, val, test, columns NORMAL, PNEUMONIA.

    Examples
    --------
    >>> counts(index).loc["train"].tolist()
    [10, 30]
    """
    return count_parts(index["split"], index["label"], SPLITS).rename_axis(index="split")


def count_parts(parts: pd.Series, labels: pd.Series, order: Iterable[str]) -> pd.DataFrame:
    """Count images by part and class, zeros included.

    Parameters
    ----------
    parts : Series of str
        Of each image, such as "train".
    labels : Series of int
        0 NORMAL, 1 PNEUMONIA, row by row with `parts`.
    order : iterable of str
        The parts, in the order of the rows.

    Returns
    -------
    DataFrame
        int64, rows `order`, columns NORMAL, PNEUMONIA.

    Examples
    --------
    >>> count_parts(pd.Series(["a", "a"]), pd.Series([0, 1]), "ab").to_numpy().tolist()
    [[1, 1], [0, 0]]
    """
    order = list(order)
    table = pd.crosstab(parts.astype(object), labels.astype("int64"))
    table = table.reindex(index=order, columns=range(len(CLASSES)), fill_value=0).astype("int64")
    return pd.DataFrame(table.to_numpy(), index=order, columns=list(CLASSES))


def count_differences(index: pd.DataFrame) -> list[str]:
    """Compare the counts with the dataset's record.

    Parameters
    ----------
    index : DataFrame
        From `scan`.

    Returns
    -------
    list of str
        One line a difference, such as "train/NORMAL: 1,340 found, 1,341 expected"; empty if there is none.

    Examples
    --------
    >>> count_differences(index)[0]
    'train/NORMAL: 10 found, 1,341 expected'
    """
    return differences(counts(index).to_dict(orient="index"), RECORD.counts)


def differences(found: Mapping[str, Mapping], expected: Mapping[str, Any]) -> list[str]:
    """Name each split whose count differs, and the class where those are published.

    Parameters
    ----------
    found : mapping of str to mapping of str to int
        The images of each split and class.
    expected : mapping of str to int, or of str to mapping of str to int
        Those of each split, or of each split and class.

    Returns
    -------
    list of str
        One line a difference, empty if there is none.

    Examples
    --------
    >>> differences({"val": {"NORMAL": 8, "PNEUMONIA": 7}}, {"val": 16})
    ['val: 15 found, 16 expected']
    """
    pairs = []
    for split, numbers in expected.items():
        if isinstance(numbers, int):
            pairs.append((split, sum(found[split].values()), numbers))
        else:
            pairs += [(f"{split}/{name}", found[split][name], n) for name, n in numbers.items()]
    return [f"{where}: {is_:,} found, {wanted:,} expected" for where, is_, wanted in pairs if is_ != wanted]


def _list(folder: Path) -> list[tuple[str, int]]:
    """List the layout's image files and their sizes in bytes (-1 if there is none), sorted by path."""
    places = [f"chest_xray/{split}/{name}" for split in SPLITS for name in CLASSES]
    try:
        there = [(place, one) for place in places if (folder / place).is_dir() for one in os.scandir(folder / place)]
    except OSError as error:
        raise BadInput(f"{error.filename}: can't be listed ({error.strerror})") from None
    kept = [one for one in there if not one[1].name.startswith(".") and one[1].name.lower().endswith(images.SUFFIXES)]
    found = [(f"{place}/{one.name}", _size(one)) for place, one in kept]
    if not found:
        raise BadInput(f"{folder}: no image in {LAYOUT}; run `cxr fetch` first")
    return sorted(found)


def _size(entry: os.DirEntry) -> int:
    try:
        return entry.stat().st_size if entry.is_file() else -1
    except OSError:  # a link to nothing, or one that may not be followed
        return -1


def _tables(folder: Path) -> str:
    """Return a hash of both kept tables, by which a later change is noticed."""
    content = [(folder / name).read_bytes() for name in ("index.csv", "quarantine.csv")]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def _load(folder: Path, key: str) -> pd.DataFrame | None:
    """Read a kept index if it is of these files; None if it has to be made."""
    try:
        kept = files.read_record(folder / "index.json", "version", "listing", "images", "tables")
        if (kept["version"], kept["listing"]) != (_VERSION, key):
            return None
        if kept["tables"] == _tables(folder):
            index = _typed(files.read_csv(folder / "index.csv", dtype={"patient": "string"}))
            if len(index) == kept["images"]:
                return index
    except (BadInput, FileNotFoundError):
        return None  # broken or missing: making it again is the cure
    except (OSError, KeyError, TypeError, ValueError):
        pass
    warnings.warn(f"{folder}: index.csv or quarantine.csv is not as it was written; they are made again", stacklevel=3)
    return None


def _look_at_all(folder: Path, paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Look at each file; return the index, and a table of what was left out."""
    looks = images.in_threads(lambda path: _look(folder, path), paths)
    rows = [look for look in looks if "reason" not in look]
    left_out = pd.DataFrame([look for look in looks if "reason" in look], columns=["path", "reason"])
    index = pd.DataFrame(rows, columns=list(COLUMNS))
    index["patient"] = join_duplicates(index["patient"], index["sha256"])
    return _typed(index), left_out


def _look(folder: Path, path: str) -> dict[str, Any]:
    """Read one file's name, header and hash; a dictionary with ``reason`` if it can't be used."""
    _, split, name = PurePosixPath(path).parent.parts
    shown = printable(path)
    try:
        kind, patient = parse_name(path)
        if (kind == "normal") != (name == "NORMAL"):
            return {"path": shown, "reason": f"its name says {kind}, its folder {name}"}
        content = images.read_bytes(folder / path)
        width, height, mode = images.check(content, path)
    except BadInput as error:
        reason = str(error).removeprefix(f"{printable(folder)}/").removeprefix(f"{shown}: ")
        return {"path": shown, "reason": reason}
    values = (path, split, CLASSES.index(name), kind, patient, width, height, mode)
    return dict(zip(COLUMNS, (*values, hashlib.sha256(content).hexdigest()), strict=True))


def join_duplicates(patients: pd.Series, hashes: pd.Series) -> list[str | None]:
    """Give patients that share a file one name: the smallest of theirs.

    Parameters
    ----------
    patients : Series of str
        Whose image each is, or None.
    hashes : Series of str
        Of each image's file, row by row with `patients`.

    Returns
    -------
    list of str or None

    Examples
    --------
    >>> join_duplicates(pd.Series(["b", "a", "c", None]), pd.Series(["1", "1", "2", "2"]))
    ['a', 'a', 'c', None]
    """
    patients = patients.astype(object).where(patients.notna(), None)
    parent = {patient: patient for patient in patients if patient is not None}

    def top(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient]
        return patient

    for members in patients[patients.notna()].groupby(hashes).unique():
        tops = {top(patient) for patient in members}
        for other in tops:
            parent[other] = min(tops)
    return [None if patient is None else top(patient) for patient in patients]


def _typed(index: pd.DataFrame) -> pd.DataFrame:
    """Give each column its type, the same whether just made or read from the file."""
    numbers = dict.fromkeys(("label", "width", "height"), "int64")
    return index[list(COLUMNS)].astype(dict.fromkeys(COLUMNS, str) | numbers | {"patient": "string"})
