"""Four answers to class imbalance behind one call: none, class weights, random over-sampling, SMOTE.

The balanced training set is a table, not an array: each row names the two images that a training
example lies between, and how far along the way. A real image is its own pair. So the synthetic images
of SMOTE are drawn a batch at a time, and never fill the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr_utils.errors import BadInput, one_of

METHODS = ("none", "class_weight", "oversample", "smote")


@dataclass(frozen=True)
class Balanced:
    """A training set after its classes were balanced.

    Attributes
    ----------
    table : DataFrame
        One row a training example: ``first`` and ``second`` (int64, row numbers of the two parents in
        the image cache, equal for a real image), ``step`` (float32 in [0, 1), the share of the way
        from first to second), ``label`` (int64, 0 or 1), ``synthetic`` (bool). The real images come
        first, in the order of the cache.
    class_weight : dict of int to float, or None
        The weight of each class in the loss, where the method is weights.

    Examples
    --------
    >>> Balanced(pd.DataFrame({"label": [0, 1]})).class_weight is None
    True
    """

    table: pd.DataFrame
    class_weight: dict[int, float] | None = None


def _table(first, second, step, labels, synthetic) -> pd.DataFrame:
    table = pd.DataFrame({"first": first, "second": second, "step": step, "label": labels, "synthetic": synthetic})
    return table.astype({"first": "int64", "second": "int64", "step": "float32", "label": "int64"})


def balance(pixels, labels, *, how: str, rows=None, seed: int = 0) -> Balanced:
    """Balance the classes of a training set.

    Parameters
    ----------
    pixels : array of uint8, shape (n, h, w, 1)
        The image cache, 0 to 255.
    labels : array of int, shape (n,)
        0 NORMAL, 1 PNEUMONIA, one for each image of the cache.
    how : {"none", "class_weight", "oversample", "smote"}
        `class_weight` gives class c the weight n / (2 n_c); `oversample` draws images of the smaller
        class again until both are equal, by imbalanced-learn; `smote` adds points between an image of the smaller
        class and one of its five nearest neighbours [1]_, those that imbalanced-learn would add.
    rows : array of int, optional
        The rows of the cache that are training data; all of them by default. Images that validate or
        test must never be among them.
    seed : int
        Decides what is drawn.

    Returns
    -------
    Balanced

    Raises
    ------
    BadInput
        An unknown method, a single class, or too few images for five neighbours.

    References
    ----------
    .. [1] Chawla et al., SMOTE: synthetic minority over-sampling technique, JAIR 16:321, 2002.

    Examples
    --------
    >>> pixels = np.arange(10, dtype="uint8").reshape(10, 1, 1, 1)
    >>> labels = np.array([0] * 7 + [1] * 3)
    >>> balance(pixels, labels, how="oversample").table["label"].value_counts().to_dict()
    {0: 7, 1: 7}
    """
    one_of("how", how, METHODS)
    labels = np.asarray(labels)
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    labels = labels[rows]
    real = _table(rows, rows, 0, labels, False)
    counts = np.bincount(labels, minlength=2)
    if how == "none":
        return Balanced(real)
    if 0 in counts:
        raise BadInput(f"labels hold {counts[0]} NORMAL and {counts[1]} PNEUMONIA: balancing needs both classes")
    if how == "class_weight":
        return Balanced(real, {c: len(labels) / (2 * int(counts[c])) for c in (0, 1)})
    if counts[0] == counts[1]:
        return Balanced(real)
    if how == "oversample":
        from imblearn.over_sampling import RandomOverSampler

        chosen, chosen_labels = RandomOverSampler(random_state=seed).fit_resample(rows[:, None], labels)
        added, added_labels = chosen[len(rows) :, 0], chosen_labels[len(rows) :]
        extra = _table(added, added, 0, added_labels, False)
    else:
        minority = int(counts.argmin())
        extra = _smote(pixels, rows[labels == minority], minority, target=int(counts.max()), seed=seed)
    return Balanced(pd.concat([real, extra], ignore_index=True))


def _smote(pixels, rows, minority: int, *, target: int, seed: int) -> pd.DataFrame:
    """Draw parents and steps as imbalanced-learn's SMOTE does from the same seed; `render` makes the pictures later.

    It would hold all pictures as floats, and has no public way to ask for its choices alone.

    Raises
    ------
    BadInput
        The smaller class has fewer than six images.
    """
    if len(rows) < 6:
        raise BadInput(f"{len(rows)} images of the smaller class: SMOTE needs at least 6 (five neighbours each)")
    neighbours, draws = nearest(pixels[rows], k=5)[:, 1:], np.random.RandomState(seed)
    first, column = np.divmod(draws.randint(neighbours.size, size=target - len(rows)), 5)
    step = draws.uniform(size=len(first))
    return _table(rows[first], rows[neighbours[first, column]], step, np.full(len(first), minority), True)


def nearest(pixels: np.ndarray, *, k: int) -> np.ndarray:
    """Find each image's nearest others, by the sum of squared differences.

    Whole numbers below 2**24 are exact in float32, so the distances are, at the speed of a float32 product and
    without a float copy of the images. Of images that are equally near, the earlier in `pixels` counts as nearer.

    Parameters
    ----------
    pixels : array of uint8, shape (n, ...)
        The images.
    k : int
        How many others, below n.

    Returns
    -------
    array of int64, shape (n, k + 1)
        Row numbers: the image itself, then the others, nearest first.

    Examples
    --------
    >>> nearest(np.array([[0], [9], [2]], dtype="uint8"), k=2).tolist()
    [[0, 2, 1], [1, 2, 0], [2, 0, 1]]
    """
    flat = pixels.reshape(len(pixels), -1)
    count, width = flat.shape
    found = np.empty((count, k + 1), dtype="int64")
    for start in range(0, count, 2048):  # rows a time: memory grows with the images, not with their square
        some = slice(start, start + 2048)
        products = np.zeros((len(flat[some]), count))
        squares = np.zeros(count)
        for column in range(0, width, 1024):  # 1,024 products of numbers in [-128, 127] add up to 2**24 at most
            block = flat[:, column : column + 1024].astype("float32") - 128
            products += block[some] @ block.T
            squares += np.einsum("ij,ij->i", block, block)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, and |a|^2 is the same in a row.
        distances = np.subtract(squares, np.multiply(products, 2, out=products), out=products)
        itself = np.arange(len(distances))
        distances[itself, start + itself] = -np.inf
        found[some] = np.argsort(distances, axis=1, kind="stable")[:, : k + 1]
    return found


def render(pixels, table: pd.DataFrame) -> np.ndarray:
    """Draw training examples: ``first + step * (second - first)``.

    Parameters
    ----------
    pixels : array of uint8, shape (n, h, w, 1)
        The image cache, 0 to 255.
    table : DataFrame
        Rows of `Balanced.table`.

    Returns
    -------
    array of float32 in [0, 1], shape (len(table), h, w, 1)

    Examples
    --------
    >>> pixels = np.array([0, 255], dtype="uint8").reshape(2, 1, 1, 1)
    >>> render(pixels, pd.DataFrame({"first": [0], "second": [1], "step": [0.25]})).item()
    0.25
    """
    images = pixels[table["first"].to_numpy()].astype("float32")
    between = np.flatnonzero(table["first"].to_numpy() != table["second"].to_numpy())
    if len(between):
        step = table["step"].to_numpy()[between, None, None, None].astype("float32")
        second = pixels[table["second"].to_numpy()[between]].astype("float32")
        images[between] += step * (second - images[between])
    images /= 255
    return images
