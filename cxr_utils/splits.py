"""Who trains, who validates, who tests: three ways to split, and what leaks in each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from cxr_utils import dataset, files
from cxr_utils.errors import BadInput, one_of

PARTS = ("train", "validation", "test")


def official(index: pd.DataFrame) -> pd.DataFrame:
    """Take the dataset's own folders: train, val (16 images) and test.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    DataFrame
        Row by row as `index`: ``path`` (str), ``patient`` (string, <NA> if unknown), ``label`` (int64, 0
        or 1), ``kind`` (str), ``part`` (str, one of `PARTS`), ``patient_known`` (bool).

    Examples
    --------
    >>> sizes(official(index)).loc["validation"].tolist()
    [2, 2]
    """
    return assign(index, np.where(index["split"] == "val", "validation", index["split"]))


def stratified(index: pd.DataFrame, *, validation: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Draw validation images from train and val, the same share of each class, image by image.

    Images of one patient may fall on both sides: see `grouped`.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    validation : float
        Share of the images outside test, in (0, 1).
    seed : int
        Of the draw. It depends on names only, so originals and copies get the same split.

    Returns
    -------
    DataFrame
        As `official`; test is the official one.

    Raises
    ------
    BadInput
        `validation` is not in (0, 1).

    Examples
    --------
    >>> sizes(stratified(index, validation=0.2)).loc["validation"].tolist()
    [2, 6]
    """
    return _draw(index, index["path"].map(dataset.stem_of), index["label"].astype(str), validation, seed)


def grouped(index: pd.DataFrame, *, validation: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Draw validation patients from train and val, the same share of each kind; a patient stays whole.

    A patient is what the index calls so: a person number whatever the kind, or prefix and number of a
    NORMAL image, exact duplicates joined. Nothing shows that the numbers of NORMAL images are patients, so
    the normals can't be called free of leaks. Images of unknown patients are each a group of their own
    (identical files together). A patient with two kinds counts as the one with more images, those of
    test among them. The official test set stays as it is, also where its numbers occur in train: `leaks` counts them.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    validation : float
        Share of the groups of each kind, in (0, 1).
    seed : int
        Of the draw. It depends on names only, so originals and copies get the same split.

    Returns
    -------
    DataFrame
        As `official`.

    Raises
    ------
    BadInput
        `validation` is not in (0, 1).

    Examples
    --------
    >>> made = grouped(index, seed=0)
    >>> leaks(made, index).loc[0, "count"]
    np.int64(0)
    """
    groups = group_names(index)
    images = pd.crosstab(groups.astype(object), index["kind"].astype(object))
    order = [kind for kind in (*dataset.KINDS, dataset.UNKNOWN) if kind in images]
    return _draw(index, groups, groups.map(images[order].idxmax(axis=1)), validation, seed)


METHODS: dict[str, Callable[..., pd.DataFrame]] = {"official": official, "stratified": stratified, "grouped": grouped}


def make(index: pd.DataFrame, how: str, *, seed: int = 0) -> pd.DataFrame:
    """Split by the method named `how`, one of `METHODS`; "official" needs no seed.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    how : {"official", "stratified", "grouped"}
        The method.
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        As `official`.

    Raises
    ------
    BadInput
        There is no such method.

    Examples
    --------
    >>> digest(make(index, "grouped")) == digest(grouped(index))
    True
    """
    one_of("split", how, METHODS)
    return official(index) if how == "official" else METHODS[how](index, seed=seed)


FOLDS = tuple(f"fold{number}" for number in range(1, 6))
#: Neighbouring numbers that stay together. In train and val the eight statistics of neighbours of one source correlate
#: by up to .22 on average; from 60 numbers on by .04 or less, apart from a slow drift among bacteria: results/folds.md.
BLOCK = 60


def folds(index: pd.DataFrame, *, block: int = BLOCK, seed: int = 0) -> pd.DataFrame:
    """Deal the images of train and val into five folds that share no person, no file and no block of numbers.

    A block is a run of `block` numbers of one source (IM, NORMAL2-IM, person), so that most of what one machine took
    in a row is on one side. Persons, exact duplicates and blocks that touch are one group, and a group is in one
    fold; kinds, and both sources of NORMAL, are balanced as far as that allows. The official test set is left out.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    block : int
        How many numbers stay together.
    seed : int
        Of the deal. It depends on names, and on which files are identical.

    Returns
    -------
    DataFrame
        A row for each image outside the official test set, in the order of `index`: as `official`, with ``part``
        from "fold1" to "fold5", and ``source``, ``block`` and ``group`` (str; a group is called as its first block).

    Raises
    ------
    BadInput
        There are so few groups that a fold would be empty.

    Examples
    --------
    >>> found = folds(index, block=1)
    >>> found.groupby("group")["part"].nunique().max()
    np.int64(1)
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = index[index["split"] != "test"].reset_index(drop=True)
    key = index["path"].map(lambda path: dataset.parse_name(path).patient).astype("string")
    named = key.str.extract(r"^(.*?)-?([0-9]+)$").set_axis(["source", "number"], axis=1)
    known = named["number"].notna()
    begin = named["number"].where(known, "0").astype("int64") // block * block
    source = named["source"].where(known, "unnumbered")
    blocks = (source + " " + begin.astype("string").str.zfill(4)).where(known, group_names(index))
    ties = [pd.factorize(names)[0] for names in (blocks, group_names(index), index["sha256"])]
    ends = np.concatenate([tie + len(index) * number for number, tie in enumerate(ties, start=1)])
    starts, shape = np.tile(np.arange(len(index)), len(ties)), (len(index) * (len(ties) + 1),) * 2
    joined = connected_components(coo_array((np.ones(len(ends)), (starts, ends)), shape=shape), directed=False)[1]
    table = assign(index, np.full(len(index), "")).assign(source=source, block=blocks)
    table["group"] = table["block"].groupby(joined[: len(index)]).transform("min")
    table["part"] = np.array(FOLDS)[_deal(table, len(FOLDS), seed)]
    return table.astype(dict.fromkeys(("source", "block", "group", "part"), str))


def fold(index: pd.DataFrame, held_out: str, *, seed: int = 0) -> pd.DataFrame:
    """Split for one of the five `folds`: it is the part test, and a seventh of the others' groups validates.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    held_out : str
        One of `FOLDS`.
    seed : int
        As for `folds`.

    Returns
    -------
    DataFrame
        As `folds`, with ``part`` one of `PARTS`. No image of the official test set is in it.

    Raises
    ------
    BadInput
        There is no such fold.

    Examples
    --------
    >>> fold(index, "fold6")
    Traceback (most recent call last):
    cxr_utils.errors.BadInput: fold: 'fold6'; choose one of fold1, fold2, fold3, fold4, fold5
    """
    one_of("fold", held_out, FOLDS)
    table = folds(index, seed=seed)
    outside = (table["part"] == held_out).to_numpy()
    part = np.where(outside, "test", "train").astype(object)
    part[~outside] = np.where(_deal(table[~outside], 7, seed) == 0, "validation", "train")
    return table.assign(part=part.astype(str))


def _deal(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Number the fold of each row, from 0: groups stay whole; classes, kinds and sources of NORMAL are balanced.

    Of 200 deals, the large groups mostly first and each to where it fits best, the most even one is taken.

    Raises
    ------
    BadInput
        There are so few groups that a fold would be empty.
    """
    strata = table["kind"] + " " + table["source"].where(table["kind"] == "normal", "")
    sums = pd.concat([pd.crosstab(table["group"], one) for one in (strata, table["label"])], axis=1)
    shares, rng = (sums / sums.sum()).to_numpy() * count, np.random.default_rng(seed)
    best, found = np.inf, np.zeros(len(sums), dtype="int64")
    for _ in range(200):
        filled, fold = np.zeros((count, shares.shape[1])), found.copy()
        for group in np.argsort(-shares.sum(axis=1) * rng.uniform(0.2, 1, len(shares)), kind="stable"):
            fold[group] = np.argmin(((filled + shares[group]) ** 2 - filled**2).sum(axis=1))
            filled[fold[group]] += shares[group]
        if (uneven := np.abs(filled - 1).max()) < best:
            best, found = uneven, fold
    if len(set(found)) < count:
        raise BadInput(f"index: {len(sums)} blocks of numbers can't be dealt into {count} parts")
    return found[sums.index.get_indexer(table["group"])]


def rarer(split: pd.DataFrame, *, label: int = 0, one_for: int = 14, seed: int = 0) -> pd.DataFrame:
    """Leave few images of a class to train on, so that imbalance is felt; the class' others validate.

    Whole patients are kept or moved. Who also has training images of the other class is moved to no part at all.

    Parameters
    ----------
    split : DataFrame
        From one of the other functions here; it is not changed.
    label : int
        The class that becomes rare: 0 NORMAL, 1 PNEUMONIA.
    one_for : int
        One of its images stays for so many of the other class.
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        As `official`, with part "unused" for who is in no part.

    Examples
    --------
    >>> split = pd.DataFrame({"path": list("abcdef"), "patient": list("abcdef"), "label": [0, 0, 0, 0, 1, 1],
    ...                       "part": "train"})
    >>> rarer(split, one_for=2)["part"].value_counts().sort_index().to_dict()
    {'train': 3, 'validation': 3}
    """
    train, mine = split["part"] == "train", split["label"] == label
    names = split["patient"].astype(object).where(split["patient"].notna(), split["path"])
    torn = train & mine & names.isin(names[train & ~mine])
    sizes = names[train & mine & ~torn].value_counts(sort=False).sort_index().sample(frac=1, random_state=seed)
    kept = sizes.index[sizes.cumsum() <= max((train & ~mine).sum() // one_for, sizes.head(1).sum())]
    moved = train & mine & ~torn & ~names.isin(kept)
    return split.assign(part=split["part"].mask(moved, "validation").mask(torn, "unused"))


def published(
    index: pd.DataFrame,
    *,
    validation: str | float,
    of: str = "train",
    stratify: bool = True,
    random_state: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Split as the authors of a system did, mistakes included.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    validation : {"val", "test"} or float
        The folder that validated, or the share of images that was drawn for it, image by image.
    of : {"train", "train and val"}
        What the share is drawn from.
    stratify : bool
        Whether the draw keeps the shares of the classes.
    random_state : int, optional
        Of scikit-learn's ``train_test_split``, over the images in order of their names (the authors' own order
        is not known); without it every `seed` draws anew.
    seed : int
        See `random_state`.

    Returns
    -------
    DataFrame
        As `official`. Images of val that the authors left aside have the part "unused". Where test validated
        there is no part "validation": train with ``validate_on="test"``.

    Raises
    ------
    BadInput
        A setting is not of this kind.

    Examples
    --------
    >>> sorted(set(published(index, validation="test")["part"]))
    ['test', 'train', 'unused']
    """
    from sklearn.model_selection import train_test_split

    if validation == "val":
        return official(index)
    one_of("of", of, ("train", "train and val"))
    folder = index["split"].to_numpy(object)
    part = np.where(folder == "val", "train" if of == "train and val" else "unused", folder)
    if validation == "test":
        return assign(index, part)
    if isinstance(validation, str) or not 0 < validation < 1:
        raise BadInput(f"validation: {validation!r}; expected 'val', 'test' or a share between 0 and 1")
    names = index["path"].map(dataset.stem_of).to_numpy(object)
    rows = np.flatnonzero(part == "train")
    rows = rows[np.argsort(names[rows], kind="stable")]
    labels = index["label"].to_numpy()[rows] if stratify else None
    state = seed if random_state is None else random_state
    _, chosen = train_test_split(rows, test_size=validation, random_state=state, stratify=labels)
    part[chosen] = "validation"
    return assign(index, part)


def group_names(index: pd.DataFrame) -> pd.Series:
    """Name the group of each image: its patient, or where unknown the first name of the identical files.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    Series of str
        Row by row with `index`.

    Examples
    --------
    >>> group_names(index).iloc[-1]
    'person1953'
    """
    names = index["path"].map(dataset.stem_of)
    alone = names.groupby(index["sha256"]).transform("min")
    return index["patient"].astype(object).where(index["patient"].notna(), "image " + alone.astype(object))


def digest(split: pd.DataFrame) -> str:
    """Name a split by 16 hexadecimal digits.

    Made from the images' names without folder and suffix, and their parts: the order of the rows does not
    matter, and originals and copies agree.

    Parameters
    ----------
    split : DataFrame
        ``path`` and ``part`` are used.

    Returns
    -------
    str
        The digits.

    Examples
    --------
    >>> digest(pd.DataFrame({"path": ["a/IM-0001-0001.png"], "part": ["test"]}))
    'f5124c23f2005b42'
    """
    lines = sorted(f"{dataset.stem_of(path)} {part}" for path, part in zip(split["path"], split["part"], strict=True))
    return files.digest("\n".join(lines))


def leaks(split: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Count what two parts of a split have in common.

    Parameters
    ----------
    split : DataFrame
        A split of `index`.
    index : DataFrame
        From `dataset.scan`, in the same order.

    Returns
    -------
    DataFrame
        One row a pair of parts and kind of leak. ``between`` (str, "train / validation", "train / test",
        "validation / test"), ``leak`` (str), ``count`` (Int64), ``share`` (Float64 in [0, 1], of the
        patients or images of the second part). The kinds: "patients on both sides", "images of these
        patients" and "images with an exact duplicate", the last two counted in the second part. <NA> where
        no patient is known. A shared person number does not prove that it is the same child.

    Raises
    ------
    BadInput
        The two tables don't hold the same images in the same order.

    Examples
    --------
    >>> found = leaks(split, index)
    >>> int(found.loc[found["between"] == "train / test", "count"].iloc[0])
    3
    """
    if not np.array_equal(split["path"].to_numpy(dtype=object), index["path"].to_numpy(dtype=object)):
        raise BadInput("split: not made from this index; its images or their order differ")
    rows = []
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        inside, there = (split["part"] == first).to_numpy(bool), (split["part"] == second).to_numpy(bool)
        known = split.loc[there, "patient"].dropna()
        hit = known.isin(split.loc[inside, "patient"].dropna())
        patients = (known[hit].nunique(), known.nunique()) if len(known) else (pd.NA, 0)
        of_patients = (int(hit.sum()), int(there.sum())) if len(known) else (pd.NA, 0)
        same = index.loc[there, "sha256"].isin(index.loc[inside, "sha256"])
        for leak, (count, of) in {
            "patients on both sides": patients,
            "images of these patients": of_patients,
            "images with an exact duplicate": (int(same.sum()), int(there.sum())),
        }.items():
            rows.append((f"{first} / {second}", leak, count, count / of if of else pd.NA))
    table = pd.DataFrame(rows, columns=["between", "leak", "count", "share"])
    return table.astype({"count": "Int64", "share": "Float64"})


def assign(index: pd.DataFrame, part: np.ndarray) -> pd.DataFrame:
    """Lay out a split: give each image of an index its part.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    part : ndarray of str
        Row by row with `index`.

    Returns
    -------
    DataFrame
        As `official`.

    Examples
    --------
    >>> assign(index, np.full(len(index), "train"))["part"].unique().tolist()
    ['train']
    """
    split = index[["path", "patient", "label", "kind"]].copy()
    split["part"] = np.asarray(part, dtype=object)
    split["part"] = split["part"].astype(str)
    split["patient_known"] = index["patient"].notna().to_numpy(bool)
    return split


def sizes(split: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each part and class.

    Parameters
    ----------
    split : DataFrame
        From this module; ``part`` and ``label`` are used.

    Returns
    -------
    DataFrame
        int64, rows `PARTS`, columns NORMAL and PNEUMONIA.

    Examples
    --------
    >>> sizes(split).loc["train"].tolist()
    [10, 28]
    """
    return dataset.count_parts(split["part"], split["label"], PARTS).rename_axis(index="part")


def _draw(index: pd.DataFrame, groups: pd.Series, strata: pd.Series, validation: float, seed: int) -> pd.DataFrame:
    """Move a share of the groups of each stratum to validation; the official test set stays."""
    if not 0 < validation < 1:
        raise BadInput(f"validation: {validation!r}; expected a share between 0 and 1, such as 0.15")
    rng = np.random.default_rng(seed)
    outside = (index["split"] != "test").to_numpy(bool)
    table = pd.DataFrame({"group": groups.to_numpy(object), "stratum": strata.to_numpy(object)})[outside]
    # Sorted by name, so that neither the order of the rows nor the files' folders steer the draw.
    table = table.drop_duplicates("group").sort_values(["stratum", "group"])
    chosen: set[str] = set()
    for _, names in table.groupby("stratum", sort=True)["group"]:
        count = min(max(1, round(validation * len(names))), len(names) - 1)
        chosen.update(rng.permutation(names.to_numpy(object))[:count])
    part = np.where(groups.isin(chosen), "validation", "train")
    return assign(index, np.where(outside, part, "test"))
