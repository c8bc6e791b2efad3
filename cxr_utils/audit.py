"""What is wrong with the data: duplicates, patients across splits, and shortcuts a model can learn."""

import cv2
import numpy as np
import pandas as pd

from cxr_utils import dataset, images, splits
from cxr_utils.errors import BadInput

STATISTICS = ("mean", "std", "p2", "p98", "sharpness", "centre_mean", "centre_std", "black_border")


def duplicates(index: pd.DataFrame) -> pd.DataFrame:
    """List the images whose files are equal byte by byte.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    DataFrame
        ``group`` (int64, from 1), ``path``, ``patient``, ``kind``, ``split``; sorted by group and path.
        Empty if there are none.

    Examples
    --------
    >>> duplicates(index)["group"].nunique()
    4
    """
    again = index[index.duplicated("sha256", keep=False)].sort_values("path")
    table = again.assign(group=again.groupby("sha256", sort=False).ngroup().astype("int64") + 1)
    return table[["group", "path", "patient", "kind", "split"]].sort_values(["group", "path"], ignore_index=True)


def near_duplicates(
    index: pd.DataFrame, pixels: np.ndarray, *, correlation: float = 0.99, limit: int = 200
) -> pd.DataFrame:
    """Find pairs of different files that look nearly alike, by their thumbnails of 16 x 16 pixels.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    pixels : ndarray
        uint8, shape (n, size, size, 1), in the order of `index`.
    correlation : float
        Pearson's correlation between the two thumbnails that a pair must reach, in (0, 1].
    limit : int
        Largest number of pairs; the most alike come first.

    Returns
    -------
    DataFrame
        ``path_a``, ``path_b``, ``correlation`` (float64), ``same_patient`` (boolean, <NA> if one is
        unknown).

    Raises
    ------
    BadInput
        `pixels` are not of this index, or `correlation` is out of range.

    Examples
    --------
    >>> pairs = near_duplicates(index, pixels, correlation=0.9, limit=5)
    >>> len(pairs), bool(pairs["correlation"].is_monotonic_decreasing)
    (5, True)
    """
    _check(index, pixels)
    if not 0 < correlation <= 1:
        raise BadInput(f"correlation: {correlation!r}; expected a number above 0, up to 1")
    thumbs = np.stack([cv2.resize(image[:, :, 0], (16, 16), interpolation=cv2.INTER_AREA) for image in pixels])
    thumbs = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.maximum(np.linalg.norm(thumbs, axis=1, keepdims=True), 1e-6)
    content = pd.factorize(index["sha256"])[0]
    values, first, second = np.empty(0), np.empty(0, int), np.empty(0, int)
    for start in range(0, len(thumbs), 512):  # in blocks: all pairs at once would take n * n floats
        alike = np.triu(thumbs[start : start + 512] @ thumbs[start:].T, k=1)
        row, column = np.nonzero(alike >= correlation)
        different = content[start + row] != content[start + column]
        row, column = row[different], column[different]
        values = np.concatenate([values, alike[row, column]])
        first, second = np.concatenate([first, start + row]), np.concatenate([second, start + column])
        best = np.lexsort((second, first, -values))[:limit]
        values, first, second = values[best], first[best], second[best]
    paths, known = index["path"].to_numpy(object), index["patient"].array
    table = pd.DataFrame({"path_a": paths[first].astype(str), "path_b": paths[second].astype(str)})
    same = pd.array(known[first] == known[second], dtype="boolean")
    return table.assign(correlation=np.minimum(values, 1.0), same_patient=same)


def patients(index: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each patient.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    DataFrame
        ``patient`` (string), ``images`` (int64), ``kinds`` and ``splits`` (str, such as "bacteria,
        virus"); most images first. Images of unknown patients are not in it.

    Examples
    --------
    >>> patients(index).loc[0, ["patient", "kinds", "splits"]].tolist()
    ['person1656', 'bacteria, virus', 'train, test']
    """
    by = index.dropna(subset="patient").groupby("patient", sort=True)
    if not by.ngroups:
        return pd.DataFrame({"patient": pd.array([], "string"), "images": [], "kinds": [], "splits": []})
    table = by.agg(images=("kind", "size"), kinds=("kind", _listed), splits=("split", _listed))
    return table.reset_index().sort_values(["images", "patient"], ascending=[False, True], ignore_index=True)


def _listed(values: pd.Series) -> str:
    """Join the different values, official splits in their order, others by the alphabet."""
    order = {name: place for place, name in enumerate(dataset.SPLITS)}
    return ", ".join(sorted(set(values), key=lambda value: (order.get(value, 0), value)))


def shared_patients(index: pd.DataFrame) -> pd.DataFrame:
    """List the patients that occur in more than one official split.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    DataFrame
        ``patient`` (string), ``train``, ``val``, ``test`` (int64, images), ``kinds`` (str) and
        ``same_kind`` (bool: one kind occurs in two splits); sorted by patient. In the dataset a shared
        number has different kinds in train and test, so it may not be the same child.

    Examples
    --------
    >>> shared_patients(index)["patient"].tolist()[:2]
    ['person150', 'person151']
    """
    known = index.dropna(subset="patient")
    table = pd.crosstab(known["patient"].astype(object), known["split"].astype(object))
    table = table.reindex(columns=list(dataset.SPLITS), fill_value=0).astype("int64")
    table = table[(table > 0).sum(axis=1) > 1].rename_axis(columns=None).reset_index()
    kinds = known.groupby("patient")["kind"].agg(_listed)
    most_splits = known.groupby(["patient", "kind"])["split"].nunique().groupby("patient").max()
    table["kinds"] = table["patient"].map(kinds).astype(str)
    table["same_kind"] = table["patient"].map(most_splits).gt(1).astype(bool)
    return table.astype({"patient": "string"})


def picture_statistics(pixels: np.ndarray) -> pd.DataFrame:
    """Compute eight plain statistics of whole pictures; none knows what a lung is.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, h, w, 1); taken as values in [0, 1].

    Returns
    -------
    DataFrame
        float64, one row an image: ``mean``, ``std``, ``p2`` and ``p98`` (percentiles), ``sharpness`` (mean
        absolute Laplacian), ``centre_mean`` and ``centre_std`` (of the central half of each side),
        ``black_border`` (share of the rows' and columns' ends, a tenth of a side wide, darker than .04).

    Examples
    --------
    >>> picture_statistics(np.full((1, 32, 32, 1), 255, np.uint8))["mean"].item()
    1.0
    """
    _check(None, pixels)
    rows = images.in_threads(_statistics, pixels)
    return pd.DataFrame(np.array(rows, dtype=float).reshape(-1, len(STATISTICS)), columns=list(STATISTICS))


def _statistics(picture: np.ndarray) -> tuple[float, ...]:
    image = np.ascontiguousarray(picture[:, :, 0])
    height, width = image.shape
    values = image.astype(np.float32) / 255
    share = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size
    p2, p98 = (float(np.searchsorted(share, q)) / 255 for q in (0.02, 0.98))
    sharpness = float(np.abs(cv2.Laplacian(values, cv2.CV_32F)).mean())
    centre = values[height // 4 : height - height // 4, width // 4 : width - width // 4]
    frame = np.ones(image.shape, dtype=bool)
    frame[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    border = float((values[frame] < 0.04).mean()) if frame.any() else 0.0
    return (
        float(values.mean()), float(values.std()), p2, p98, sharpness,
        float(centre.mean()), float(centre.std()), border,
    )  # fmt: skip


def shortcuts(index: pd.DataFrame, pixels: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Measure how well the class is told by things that are no medicine.

    Gradient-boosted trees (scikit-learn's HistGradientBoostingClassifier) are judged by five-fold
    cross-validation on the official train set, patients kept whole, and fitted on all of it for test.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    pixels : ndarray
        uint8, shape (n, size, size, 1), in the order of `index`.
    seed : int
        Of the folds and the trees.

    Returns
    -------
    DataFrame
        Rows "always PNEUMONIA", "width, height, mode", "eight statistics"; columns ``accuracy_cv`` and
        ``accuracy_test`` (float64 in [0, 1]) and ``note`` (str). NaN, and a note that says why, where the
        images can't show it.

    Raises
    ------
    BadInput
        `pixels` are not of this index, or train holds too few images of a class or patient.

    Examples
    --------
    >>> shortcuts(index, pixels).loc["always PNEUMONIA", "accuracy_test"]
    np.float64(0.625)
    """
    _check(index, pixels)
    labels = index["label"].to_numpy()
    train, test = (index["split"] == "train").to_numpy(bool), (index["split"] == "test").to_numpy(bool)

    def row(scores: np.ndarray, note: str) -> tuple[float, float, str]:
        right = pd.Series((scores >= 0.5) == labels)
        return right[train].mean(), right[test].mean(), note

    rows = {"always PNEUMONIA": row(np.ones(len(index)), "the majority's share; nothing is learned")}
    file = index[["width", "height"]].assign(mode=pd.factorize(index["mode"], sort=True)[0])
    if (file.nunique() <= 1).all():
        why = "can't be shown: all images here have one size and mode (they were resized before)"
        rows["width, height, mode"] = (np.nan, np.nan, why)
    else:
        scores = boosted_scores(file.to_numpy(float), index, seed=seed)
        rows["width, height, mode"] = row(scores, "of the file, not of the picture")
    scores = boosted_scores(picture_statistics(pixels).to_numpy(), index, seed=seed)
    rows["eight statistics"] = row(scores, "of brightness and borders, not of shapes")
    return pd.DataFrame.from_dict(rows, orient="index", columns=["accuracy_cv", "accuracy_test", "note"])


def boosted_scores(values: np.ndarray, index: pd.DataFrame, *, seed: int = 0, folds: int = 5) -> np.ndarray:
    """Give each image a probability from boosted trees that were not fitted on it.

    Images of train get it by cross-validation within train, patients kept whole; those of other splits from
    trees fitted on all of train.

    Parameters
    ----------
    values : ndarray
        float64, shape (n, features), in the order of `index`.
    index : DataFrame
        From `dataset.scan`.
    seed, folds : int
        Of the trees and the folds; how many folds.

    Returns
    -------
    ndarray
        float64 in [0, 1], shape (n,), the probability of PNEUMONIA.

    Raises
    ------
    BadInput
        A class has fewer groups in train than there are folds.

    Examples
    --------
    >>> boosted_scores(index[["width", "height"]].to_numpy(float), index).shape
    (60,)
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    train = (index["split"] == "train").to_numpy(bool)
    labels, groups = index["label"].to_numpy(), splits.group_names(index).to_numpy(str)
    least = min(len(set(groups[train & (labels == label)])) for label in (0, 1))
    if least < folds:
        raise BadInput(f"index: {least} patients of one class in train; {folds} folds need at least {folds}")
    trees = HistGradientBoostingClassifier(random_state=seed)
    by_patient = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    scores = np.empty(len(index))
    ours = (values[train], labels[train])
    with threadpool_limits(1):  # sums in one order, and no threads that wait for each other on a busy machine
        answered = cross_val_predict(trees, *ours, groups=groups[train], cv=by_patient, method="predict_proba")
        scores[train] = answered[:, 1]
        if not train.all():
            scores[~train] = trees.fit(*ours).predict_proba(values[~train])[:, 1]
    return scores


def _check(index: pd.DataFrame | None, pixels: np.ndarray) -> None:
    if pixels.ndim != 4 or pixels.shape[3] != 1 or pixels.dtype != np.uint8:
        raise BadInput(f"pixels: {pixels.dtype} of shape {pixels.shape}; expected uint8 of shape (n, h, w, 1)")
    if index is not None and len(index) != len(pixels):
        raise BadInput(f"pixels: {len(pixels)} images, but {len(index)} rows in the index")
