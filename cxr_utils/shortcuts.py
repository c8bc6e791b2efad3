"""Shortcut tests: change a part of all images, and see what a network still knows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import evaluation, explain, models
from cxr_utils.errors import one_of

#: The central chest: from here to here of width and height, about half of the picture. Both lungs lie in it.
CENTRE = (0.15, 0.85)
#: The border: what is nearer to an edge than this share of the side.
BORDER = 0.1

_MARKER = 0.07  # height of a side marker, as a share of the picture's


def region(name: str, size: int) -> np.ndarray:
    """Return a part of the picture.

    Parameters
    ----------
    name : {"centre", "outside", "border", "inner", "upper corners"}
        The central chest (`CENTRE`) and all around it; the outermost `BORDER` and all within it; both corners where
        side markers mostly stand.
    size : int
        Pixels a side.

    Returns
    -------
    ndarray
        bool, shape (size, size).

    Examples
    --------
    >>> float(region("centre", 100).mean())
    0.49
    """
    one_of("region", name, ("centre", "outside", "border", "inner", "upper corners"))
    at = (np.arange(size) + 0.5) / size
    middle = (at >= CENTRE[0]) & (at < CENTRE[1])
    if name in ("centre", "outside"):
        return (middle[:, None] & middle) ^ (name == "outside")
    outer = (at < BORDER) | (at >= 1 - BORDER)
    if name in ("border", "inner"):
        return (outer[:, None] | outer) ^ (name == "inner")
    return (at < 0.4)[:, None] & ~middle


def heat_shares(heats: np.ndarray) -> pd.DataFrame:
    """Tell how much of the heat of each map lies in the central chest and in the border.

    Parameters
    ----------
    heats : ndarray
        float in [0, 1], shape (n, s, s).

    Returns
    -------
    DataFrame
        One row a map: ``centre`` and ``border``, in [0, 1]; heat spread evenly has .49 and .36, none 0. ``hottest in
        border`` and ``hottest in upper corners``: 1 if the hottest pixel lies there, else 0.

    Examples
    --------
    >>> heat_shares(np.ones((1, 100, 100)))[["centre", "border"]].round(2).to_numpy()
    array([[0.49, 0.36]])
    """
    names = ("centre", "border", "upper corners")
    masks = {name: np.broadcast_to(region(name, heats.shape[1]), heats.shape) for name in names}
    scores = {name: explain.score(heats, mask) for name, mask in masks.items()}
    shares = {name: scores[name]["share"] for name in names[:2]}
    return pd.DataFrame(shares | {f"hottest in {name}": scores[name]["pointing"] for name in names[1:]})


def with_marker(pixels: np.ndarray, corner: str) -> np.ndarray:
    """Return the images with a side marker, a white R, drawn in a corner of the picture.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, s, s, 1).
    corner : {"upper left", "upper right", "lower left", "lower right"}
        As one sees it.

    Returns
    -------
    ndarray
        As `pixels`, a copy.

    Raises
    ------
    BadInput
        Another `corner`.

    Examples
    --------
    >>> with_marker(pixels[:2], "upper left").shape
    (2, 32, 32, 1)
    """
    from cxr_utils.sources.phantom import LETTERS

    one_of("corner", corner, [f"{v} {h}" for v in ("upper", "lower") for h in ("left", "right")])
    size = pixels.shape[1]
    y0 = 0.08 if corner.startswith("upper") else 0.92 - _MARKER
    x0 = 0.06 if corner.endswith("left") else 0.94 - _MARKER / 1.5
    fine = 4 * size  # drawn four times as fine, then averaged, so that it looks alike at each size
    y, x = ((np.arange(fine)[:, None] + 0.5) / fine - y0) / _MARKER * 1.5, ((np.arange(fine) + 0.5) / fine - x0)
    x = x / _MARKER * 1.5
    drawn = np.zeros((fine, fine), dtype=bool)
    for stroke in LETTERS["R"]:
        for (ax, ay), (bx, by) in zip(stroke[:-1], stroke[1:], strict=True):
            dx, dy = bx - ax, by - ay
            along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
            drawn |= (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 < 0.16**2
    ink = drawn.reshape(size, 4, size, 4).mean(axis=(1, 3))[None, :, :, None]
    return np.round(pixels * (1 - ink) + 250 * ink).astype("uint8")


def covered(pixels: np.ndarray, name: str, *, grey: int) -> np.ndarray:
    """Cover a `region` of the images with one and the same grey.

    The same in all images: the mean of each picture would tell its exposure, itself a shortcut.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, s, s, 1).
    name : str
        Of the region.
    grey : int
        In [0, 255].

    Returns
    -------
    ndarray
        As `pixels`, a copy.

    Examples
    --------
    >>> int(covered(pixels[:1], "centre", grey=128)[0, 16, 16, 0])
    128
    """
    return np.where(region(name, pixels.shape[1])[None, :, :, None], np.uint8(grey), pixels)


def exchanged(pixels: np.ndarray, label: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Take what lies outside of the central chest from an image of the other class.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, s, s, 1).
    label : ndarray
        int, 0 or 1, shape (n,); both must occur.
    seed : int
        Decides from which.

    Returns
    -------
    ndarray
        As `pixels`, a copy.

    Examples
    --------
    >>> made = exchanged(pixels, index["label"])
    >>> bool((made[:, 16, 16] == pixels[:, 16, 16]).all())
    True
    """
    rng, label = np.random.default_rng(seed), np.asarray(label)
    pools = [np.flatnonzero(label == 1), np.flatnonzero(label == 0)]
    others = np.array([rng.choice(pools[c]) for c in label])
    return np.where(region("outside", pixels.shape[1])[None, :, :, None], pixels[others], pixels)


def changes(label: np.ndarray, *, grey: int, seed: int = 0) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name the changes of `measure`.

    Parameters
    ----------
    label : ndarray
        int, shape (n,): the classes of the images.
    grey : int
        What covers, in [0, 255]; best the mean of the images.
    seed : int
        Of `exchanged`.

    Returns
    -------
    dict of str to callable
        Each takes images (uint8, shape (n, s, s, 1), with the classes `label`) and returns changed ones.

    Examples
    --------
    >>> list(changes(np.array([0, 1]), grey=128))[:2]
    ['as it is', 'marker added, upper left']
    """

    def moved(pixels):
        return with_marker(covered(pixels, "upper corners", grey=grey), "lower right")

    return {
        "as it is": lambda pixels: pixels,
        "marker added, upper left": lambda pixels: with_marker(pixels, "upper left"),
        "marker added, lower right": lambda pixels: with_marker(pixels, "lower right"),
        "upper corners covered": lambda pixels: covered(pixels, "upper corners", grey=grey),
        "upper corners covered, marker at lower right": moved,
        "border covered": lambda pixels: covered(pixels, "border", grey=grey),
        "all but central chest covered": lambda pixels: covered(pixels, "outside", grey=grey),
        "central chest covered": lambda pixels: covered(pixels, "centre", grey=grey),
        "all but border covered": lambda pixels: covered(pixels, "inner", grey=grey),
        "surroundings of the other class": lambda pixels: exchanged(pixels, label, seed=seed),
    }  # fmt: skip


def measure(
    model: Any, pixels: np.ndarray, table: pd.DataFrame, *, threshold: float = 0.5, views: int = 0, draws: int = 500,
    seed: int = 0, only: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Change a part of all images, and see what the model still knows.

    Parameters
    ----------
    model : keras.Model or cxr_utils.models.Model
        To be tested.
    pixels : ndarray
        uint8, shape (n, s, s, 1).
    table : DataFrame
        Row by row with `pixels`: ``label`` and ``patient``.
    threshold : float
        From here on the answer is PNEUMONIA.
    views : int
        How many changed views of each image are answered, too: see `cxr_utils.augment.views`.
    draws, seed : int
        Of the bootstrap over patients.
    only : sequence of str
        Names of changes, the first "as it is"; by default all.

    Returns
    -------
    DataFrame
        Index: the change, from `changes`. ``value``, ``low``, ``high``: AUC and its 95% interval. ``shift``: mean
        change of the probability; ``moved``: mean of its size; ``flipped``: share of answers that change.

    Examples
    --------
    >>> found = measure(model, pixels[train], split[train], draws=20)
    >>> found.loc["as it is", ["shift", "flipped"]].tolist()
    [0.0, 0.0]
    """
    label = table["label"].to_numpy()
    rows, before, known = {}, None, changes(label, grey=int(round(float(pixels.mean()))), seed=seed)
    for name in only or known:
        probability = models.answers(model, known[name](pixels), views=views)
        before = probability if before is None else before
        answered = table[["label", "patient"]].assign(probability=probability)
        found = evaluation.bootstrap(answered, threshold=threshold, draws=draws, seed=seed).loc["auc"]
        differs = (probability >= threshold) != (before >= threshold)
        rows[name] = {**found, "shift": (probability - before).mean(), "moved": np.abs(probability - before).mean(),
                      "flipped": differs.mean()}  # fmt: skip
    return pd.DataFrame(rows).T


def judge(
    model: Any, pixels: np.ndarray, table: pd.DataFrame, *, threshold: float = 0.5, views: int = 0
) -> dict[str, Any]:
    """Gather what the tests of `explain` and of this module say about a model, ready for JSON.

    Parameters
    ----------
    model, pixels, table, threshold, views
        As for `measure`. Of test images this is one more reading of test.

    Returns
    -------
    dict
        ``images``; ``heat``: by method, the `heat_shares` of the images that are called PNEUMONIA, with intervals, and
        how many of them have no heat; ``even``: what heat spread evenly would have; ``measure``: that table;
        ``cascade``: by method, that table, on the first 60 of these images.

    Examples
    --------
    >>> judge(model, pixels[:12], split[:12])["images"]  # doctest: +SKIP
    12
    """
    answers = models.answers(model, pixels, views=views)
    called = answers >= threshold
    pictures, patients = pixels[called].astype("float32") / 255, table["patient"][called]
    heat, cascades = {}, {}
    for how in explain.METHODS:
        heats = explain.heat_maps(model, pictures, how=how)
        shares = explain.means(heat_shares(heats), patients)
        heat[how] = evaluation.plain(shares, 4) | {"without_heat": int((heats.max(axis=(1, 2)) == 0).sum())}
        cascades[how] = evaluation.plain(explain.cascade(model, pictures[:60], how=how), 4)
    size = pixels.shape[1]
    return {
        "images": len(pixels), "called_pneumonia": int(called.sum()), "threshold": threshold, "heat": heat,
        "even": {name: round(float(region(name, size).mean()), 4) for name in ("centre", "border")},
        "shortcuts": evaluation.plain(measure(model, pixels, table, threshold=threshold, views=views), 4),
        "cascade": cascades,
    }  # fmt: skip
