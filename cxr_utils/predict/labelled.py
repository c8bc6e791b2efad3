"""Labelled images of any folder or zip file, and what a table says of them: read where they lie, nothing is copied."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cxr_utils import dataset, evaluation, files, images, predict
from cxr_utils.errors import BadInput, printable

#: The bands of a column that is called age, in years, and from when on each is.
AGES = {0: "0 to 4", 5: "5 to 10", 11: "11 to 17", 18: "18 to 39", 40: "40 to 64", 65: "65 and over"}
#: Of a column, to make groups.
MOST_VALUES = 20
NOT_KNOWN = "not known"
#: More images than these lie in a folder on average: it is hardly that of a patient.
FEW_A_PATIENT = 10


def classes(normal: str = "NORMAL", pneumonia: str = "PNEUMONIA") -> dict[str, int]:
    """Read the options ``--normal`` and ``--pneumonia``.

    Parameters
    ----------
    normal, pneumonia : str
        Names of folders, parted by commas.

    Returns
    -------
    dict of str to int
        Each name, in small letters, and its label.

    Raises
    ------
    BadInput
        A name stands for both, or is empty.

    Examples
    --------
    >>> classes("0_normal,Healthy")
    {'0_normal': 0, 'healthy': 0, 'pneumonia': 1}
    """
    names = [(name.strip().casefold(), label) for label, said in enumerate((normal, pneumonia))
             for name in said.split(",")]  # fmt: skip
    if len(dict(names)) < len(names) or "" in dict(names):
        raise BadInput(f"--normal {normal}, --pneumonia {pneumonia}: each names other folders, parted by commas")
    return dict(names)


@contextlib.contextmanager
def opened(place: Path, *, named: Mapping[str, int], top: Path | None = None) -> Iterator[tuple]:
    """List the images of a folder or zip file with the labels that the names of their folders give.

    The innermost folder with the name of a class, in any case, counts; above it may stand train, val or test, below it
    anything. Of copies within each other the outermost is taken.

    Parameters
    ----------
    place : Path
        The folder or zip file.
    named : mapping of str to int
        From `classes`.
    top : Path, optional
        As for `folder.opened`.

    Yields
    ------
    table : DataFrame
        A row an image, sorted by split and path: ``path``, ``split`` ("test" where no folder says it), ``label``,
        ``kind``, ``patient``, ``sha256`` (None if it can't be read) and ``named`` (bool): the name is one of the
        dataset, and does not contradict the label. ``patient`` is then that of the name, else the folder below that of
        the class, where these are folders of patients.
    left_out : list of str
        What might have been meant: images in no folder of a class, and other files in one.
    about : dict
        Title, licence and the like of the images.
    read : callable
        A path of the table to its content.

    Raises
    ------
    BadInput
        As `folder.opened`, or no image has a label, or there are two such layouts side by side.
    """
    from cxr_utils.sources import folder, unzip

    with folder.opened(place, top=top, layout=(*named, *dataset.SPLITS, "chest_xray")) as (there, read):
        pictures, rows = set(), {}
        for name in there:
            *folders, _ = name.split("/")
            if any(map(unzip.is_junk, name.split("/"))):
                continue
            if at := [number for number, each in enumerate(folders) if each.casefold() in named]:
                above, below = folders[: at[-1]], folders[at[-1] + 1 :]
                split = above.pop().lower() if above and above[-1].lower() in dataset.SPLITS else "test"
                rows[name] = (tuple(above), split, named[folders[at[-1]].casefold()], *below[:1])
            if predict.is_image(Path(name), lambda path: read(path.as_posix(), 132)):
                pictures.add(name)
        if not (roots := {row[0] for name, row in rows.items() if name in pictures}):
            seen = ", ".join(sorted({name.rpartition("/")[0] or "." for name in pictures})[:4]) or "none"
            raise BadInput(f"path {place}: no image in it lies in a folder named {' or '.join(named)}, in any case; "
                           f"images lie in {seen}; name the classes' folders by --normal and --pneumonia")  # fmt: skip
        root = unzip.outermost(roots, where=f"path {place}")
        chosen = {name: row for name, row in rows.items() if name in pictures and row[0] == root}
        left_out = sorted((pictures | rows.keys()) - chosen.keys())
        made = images.in_threads(lambda name: _row(name, read, *chosen[name][1:]), list(chosen))
        table = pd.DataFrame(made).sort_values(["split", "path"], ignore_index=True)
        below = table.groupby("label")["below"]
        several, many = below.transform("nunique"), below.transform("count")
        patients = table.pop("below").where((several > 1) & (many <= FEW_A_PATIENT * several))
        table["patient"] = table["patient"].astype("string").fillna(patients.astype("string"))
        note = "/".join([*root[:-1], "source.json"])
        known = folder.marks((place / "/".join(root)).parent) if place.is_dir() else (
            folder.read_marks(read(note), place) if note in there else {})  # fmt: skip
        yield table, left_out, folder.about(known, chosen), read


def _row(name: str, read: Callable[..., bytes], split: str, label: int, below: str | None = None) -> dict[str, Any]:
    row = {"path": name, "split": split, "label": label, "kind": ("normal", dataset.UNKNOWN)[label], "patient": None,
           "below": below, "named": False, "sha256": None}  # fmt: skip
    with contextlib.suppress(BadInput):
        kind, patient = dataset.parse_name(name)
        if (kind == "normal") == (label == 0):
            row |= {"kind": kind, "patient": patient, "below": None, "named": True}
    with contextlib.suppress(BadInput):  # whoever wants its pixels will be told why
        row["sha256"] = hashlib.sha256(read(name)).hexdigest()
    return row


def read_table(path: Path, paths: pd.Series) -> pd.DataFrame:
    """Read what a table says of images.

    Parameters
    ----------
    path : Path
        A CSV file with ``path``: as long as one likes, or as short as it stays clear which image is meant.
    paths : Series of str
        Of all images.

    Returns
    -------
    DataFrame
        All its columns as strings; its index is that of `paths`, for the images that it has.

    Raises
    ------
    BadInput
        No such table or column, or a path that fits none of the images, several, or one that had its row already.
    """
    table = files.read_csv(path, columns=("path",), dtype="string")
    whole, ends = set(paths), {}
    for row, name in paths.items():
        for tail in _tails(name):
            ends.setdefault(tail, []).append(row)
    rows: dict[int, int] = {}
    for line, name in enumerate(table["path"].fillna(""), start=2):
        tails = _tails(name.replace("\\", "/").removeprefix("./"))
        fits = ends.get(tails[0]) or next((ends[tail] for tail in tails if tail in whole), [])
        if len(fits) != 1 or fits[0] in rows:
            what = f"fits {len(fits)} images" if len(fits) > 1 else "stands there twice" if fits else "fits no image"
            raise BadInput(f"{path}, line {line}: path {name!r} {what}; each row names one image, such as "
                           f"{printable(paths.iloc[0])}")  # fmt: skip
        rows[fits[0]] = line
    return table.set_index(pd.Index(list(rows)))


def _tails(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def values(table: pd.DataFrame, column: str, *, where: str | Path) -> pd.Series:
    """Return the values of a column that make groups; ages in bands.

    Parameters
    ----------
    table : DataFrame
        From `read_table`.
    column : str
        One of its columns.
    where : str or Path
        The table, for messages.

    Returns
    -------
    Series of category

    Raises
    ------
    BadInput
        There is no such column, or it has one value, or more than `MOST_VALUES`.

    Examples
    --------
    >>> ages = pd.DataFrame({"age": ["3", "044Y", None]}, dtype="string")
    >>> values(ages, "age", where="a.csv").tolist()
    ['0 to 4', '40 to 64', 'not known']
    """
    if column not in table:
        raise BadInput(f"--by {column}: {where} has no such column; it has {', '.join(map(printable, table.columns))}")
    found = table[column].str.strip()
    if column.casefold() == "age":
        years = pd.to_numeric(found.str.upper().str.removesuffix("Y"), errors="coerce")
        found = pd.cut(years, [*AGES, float("inf")], right=False, labels=list(AGES.values()))
    found = found.astype("category").cat.add_categories(NOT_KNOWN).fillna(NOT_KNOWN).cat.remove_unused_categories()
    if not 1 < (count := len(found.cat.categories)) <= MOST_VALUES:
        raise BadInput(f"--by {column}: has {count} values for these images in {where}; groups need 2 to {MOST_VALUES}")
    return found


def goes_with(column: str, value: pd.Series, answered: pd.DataFrame) -> str:
    """Warn where a column goes with the label: a figure over all its values then mixes both (Simpson's paradox).

    Parameters
    ----------
    column : str
        What it is called.
    value : Series of category
        From `values`.
    answered : DataFrame
        Row by row with `value`: ``label`` and ``probability``.

    Returns
    -------
    str
        Empty where both are nearly independent (Cramér's V below .1, or p of chi squared above .01), or nothing can be
        compared.

    Examples
    --------
    >>> view = pd.Series(["AP"] * 20 + ["PA"] * 20, dtype="category")
    >>> answered = pd.DataFrame({"label": [0] * 16 + [1] * 8 + [0] * 4 + [1] * 12, "probability": 0.5})
    >>> goes_with("view", view, answered)[:59]
    'view goes with the label: PNEUMONIA is 80% of PA, 20% of AP'
    """
    from scipy.stats import chi2_contingency, contingency

    counts = pd.crosstab(value, answered["label"])
    if min(counts.shape) < 2 or chi2_contingency(counts).pvalue > 0.01 or contingency.association(counts) < 0.1:
        return ""
    auc, pairs = (lambda part: evaluation.metrics(part["label"], part["probability"])["auc"]), counts.prod(axis=1)
    both = answered[value.map(pairs > 0).astype(bool)]
    within = both.groupby(value, observed=True)[["label", "probability"]].apply(auc) if len(both) else pairs
    said = f"{(within * pairs).sum() / pairs.sum():.3f}" if len(both) else "not known"
    shares = counts[1].div(counts.sum(axis=1)).sort_values()
    return (f"{column} goes with the label: PNEUMONIA is {shares.iloc[-1]:.0%} of {printable(shares.index[-1])}, "
            f"{shares.iloc[0]:.0%} of {printable(shares.index[0])}. A figure over all mixes both: AUC is "
            f"{auc(answered):.3f} over all, {said} within its values")  # fmt: skip
