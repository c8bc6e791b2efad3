"""Figures made of pictures: grids, means, kernels and what they do, heat maps."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxr_utils import explain
from cxr_utils.errors import BadInput
from cxr_utils.plots._base import GREY
from cxr_utils.plots.data import _present

WIDTH = 9.0  # inches, of a full figure
MOST_SAID = 12  # titles of a grid in its text alternative
OUTLINE = "#56B4E9"


def image_grid(
    pixels_or_list: np.ndarray | Sequence[np.ndarray], titles: Sequence[Any] | None = None, *, columns: int = 4,
    height: float = 2.4, cmap: str = "gray",
) -> Figure:  # fmt: skip
    """Draw pictures side by side, row by row.

    Black and white are 0 and 255 for uint8 and for floats above 16; 0 and 1 for floats in [0, 1]; else, as for feature
    maps, the picture's own range, with 0 in the middle if some values are negative.

    Parameters
    ----------
    pixels_or_list : ndarray or sequence of ndarray
        Each of shape (h, w) or (h, w, 1); sizes may differ.
    titles : sequence, optional
        One a picture; long ones are wrapped.
    columns : int
        Pictures a row.
    height : float
        Of a picture at most, in inches.
    cmap : str
        matplotlib's name of the colours.

    Returns
    -------
    Figure
        Without ticks.

    Raises
    ------
    BadInput
        No pictures, a wrong shape, or another number of titles.

    Examples
    --------
    >>> figure = image_grid(np.zeros((3, 8, 8, 1), "uint8"), titles=["a", "b", "c"])
    """
    pictures = [_flat(picture) for picture in pixels_or_list]
    if not pictures:
        raise BadInput("pixels_or_list: no pictures; expected at least one")
    if titles is not None and len(titles) != len(pictures):
        raise BadInput(f"titles: {len(titles)} for {len(pictures)} pictures; expected one a picture")
    columns = max(1, min(columns, len(pictures)))
    tallest = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    widest = max(picture.shape[1] / picture.shape[0] for picture in pictures)
    cell = min(WIDTH / columns, max(height * widest, 1.6) + 0.1)
    size = 13 if cell >= 1.6 else 11 if cell >= 1.2 else 10
    letters = max(8, int(cell * 72 / (size * 0.66)))  # a letter is about two thirds as wide as high
    given = [str(title).split("\n") for title in titles] if titles is not None else [[]] * len(pictures)
    wrapped = ["\n".join(textwrap.fill(line, letters) for line in lines) for lines in given]
    most = max(title.count("\n") + 1 if title else 0 for title in wrapped)
    rows = -(-len(pictures) // columns)
    row = min(height, (cell - 0.08) * tallest) + most * size * 1.3 / 72 + 0.1
    inches = (cell * columns, row * rows)
    figure, axes = plt.subplots(rows, columns, figsize=inches, layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0, wspace=0)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, picture, title in zip(axes.flat, pictures, wrapped, strict=False):
        _picture(ax, picture, title, cmap=cmap, size=size)
        ax.set_anchor("N")  # tops level, however tall the pictures of a row are
    figure.said = ", ".join(map(str, titles)) if titles is not None and len(titles) <= MOST_SAID else ""
    return figure


def mean_images(pixels: np.ndarray, kinds: Sequence[str]) -> Figure:
    """Draw the mean picture of each kind, and how those of pneumonia differ from the normal ones.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, h, w, 1) or (n, h, w).
    kinds : sequence of str, length n
        Of each image: "normal", "bacteria", "virus" (or class names).

    Returns
    -------
    Figure
        A panel a kind, and one with the difference (all others minus normal, in pixel values) if both exist.

    Examples
    --------
    >>> len(mean_images(pixels, index["kind"]).axes)
    5
    """
    kinds = np.asarray(kinds, dtype=object)
    names = _present(kinds)
    sums = {name: np.zeros(pixels.shape[1:3]) for name in names}
    for picture, kind in zip(pixels, kinds, strict=True):  # one by one: the cache may be larger than the memory
        sums[kind] += _flat(picture)
    counts = {name: int((kinds == name).sum()) for name in names}
    normal = [name for name in names if name.lower() == "normal"]
    others = [name for name in names if name not in normal]
    panels = len(names) + bool(normal and others)
    figure, axes = plt.subplots(1, panels, figsize=(WIDTH, WIDTH / panels + 0.75), layout="constrained", squeeze=False)
    for ax, name in zip(axes[0], names, strict=False):
        _picture(ax, sums[name] / counts[name], f"{name}\nmean of {counts[name]:,}", limits=(0, 255))
    if normal and others:
        ill = sum(sums[name] for name in others) / sum(counts[name] for name in others)
        difference = ill - sums[normal[0]] / counts[normal[0]]
        most = max(1.0, float(np.abs(difference).max()))
        title = "difference\npneumonia − normal"
        shown = _picture(axes[0, -1], difference, title, limits=(-most, most), cmap="PuOr_r")
        bar = figure.colorbar(shown, ax=axes[0, -1], location="bottom", label="pixel values", shrink=0.9)
        bar.ax.tick_params(labelsize=10)
    return figure


def resize_comparison(image: np.ndarray, size: int) -> Figure:
    """Draw a picture as it is, squashed to a square, and padded to a square.

    Parameters
    ----------
    image : ndarray
        uint8, shape (h, w).
    size : int
        Side of the square, in pixels.

    Returns
    -------
    Figure
        Three panels; the titles say the width and height in pixels.

    Examples
    --------
    >>> len(resize_comparison(np.zeros((60, 80), "uint8"), 32).axes)
    3
    """
    from cxr_utils import images

    image = _flat(image)
    made = {"as read": image, **{how: images.resize(image, size, how=how) for how in ("squash", "pad")}}
    titles = [f"{name}\n{picture.shape[1]} × {picture.shape[0]}" for name, picture in made.items()]
    return image_grid(list(made.values()), titles, columns=3, height=3)


def smote_triplet(first: np.ndarray, between: np.ndarray, second: np.ndarray, step: float) -> Figure:
    """Draw a picture made by SMOTE between its two parents.

    Parameters
    ----------
    first, second : ndarray
        Its parents, pictures of the dataset; uint8 or float in [0, 1], shape (h, w) or (h, w, 1).
    between : ndarray
        first + step × (second − first).
    step : float
        In [0, 1].

    Returns
    -------
    Figure
        Three panels.

    Examples
    --------
    >>> first, second = pictures[:2]
    >>> len(smote_triplet(first, (first + second) / 2, second, 0.5).axes)
    3
    """
    titles = ["first\n", f"made by SMOTE: first\n+ {step:.2f} × (second − first)", "second\n"]
    return image_grid([first, between, second], titles, columns=3, height=3)


def kernel_steps(image: np.ndarray, kernel: np.ndarray, result: np.ndarray) -> Figure:
    """Draw a picture, a kernel with its numbers, and what the convolution makes of the picture.

    Parameters
    ----------
    image, result : ndarray
        float or uint8, shape (h, w); the numbers stand in the pixels if there are at most 10 a side.
    kernel : ndarray
        float, shape (k, k).

    Returns
    -------
    Figure
        Three panels. In the kernel and in a result with negative values, grey is 0.

    Examples
    --------
    >>> len(kernel_steps(np.eye(5), np.ones((3, 3)), np.ones((3, 3))).axes)
    3
    """
    panels = {"picture": _flat(image), "kernel": _flat(kernel), "result": _flat(result)}
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3.5), layout="constrained", width_ratios=(3, 2, 3))
    for ax, (name, picture) in zip(axes, panels.items(), strict=True):
        high, wide = picture.shape
        most = float(np.abs(picture).max()) or 1.0
        limits = (-most, most) if name == "kernel" else _limits(picture)
        _picture(ax, picture, f"{name}\n{high} × {wide}", limits=limits)
        ax.add_patch(Rectangle((-0.5, -0.5), wide, high, fill=False, edgecolor=GREY, clip_on=False))
        if max(picture.shape) <= 10:
            _numbers(ax, picture, limits)
    return figure


def feature_maps(maps: np.ndarray, *, titles: Sequence[Any] = (), columns: int = 8) -> Figure:
    """Draw each feature map of a layer.

    Parameters
    ----------
    maps : ndarray
        float, shape (h, w, channels).
    titles : sequence, optional
        By default the channels' numbers, from 0.
    columns : int
        Maps a row.

    Returns
    -------
    Figure
        Each map in its own range: dark low, light high.

    Raises
    ------
    BadInput
        `maps` have another shape.

    Examples
    --------
    >>> len(feature_maps(np.random.default_rng(0).random((8, 8, 4)), columns=4).axes)
    4
    """
    maps = np.asarray(maps)
    if maps.ndim != 3:
        raise BadInput(f"maps: shape {maps.shape}; expected (h, w, channels), the maps of one image")
    low = maps.min(axis=(0, 1))
    span = np.maximum(maps.max(axis=(0, 1)) - low, 1e-9)
    pictures = np.moveaxis((maps - low) / span, -1, 0)
    return image_grid(pictures, titles or range(len(pictures)), columns=columns, cmap="viridis")


def heat_maps(
    pictures: Sequence[np.ndarray], heats: np.ndarray | Sequence[np.ndarray], titles: Sequence[Any] | None = None, *,
    masks: Sequence[np.ndarray] | None = None, columns: int = 4, height: float = 2.4,
) -> Figure:  # fmt: skip
    """Draw pictures with their heat over them, and the scale of its colours.

    Parameters
    ----------
    pictures : sequence of ndarray
        uint8, each of shape (h, w) or (h, w, 1).
    heats : ndarray or sequence of ndarray
        float in [0, 1], one a picture, of any size; such as `explain.heat_maps` gives.
    titles : sequence, optional
        One a picture.
    masks : sequence of ndarray, optional
        bool, one a picture: a dashed line is drawn around each.
    columns : int
        Pictures a row.
    height : float
        Of a picture at most, in inches.

    Returns
    -------
    Figure
        The scale runs from no heat to the hottest place of each picture; its colours are those over a middle grey.

    Examples
    --------
    >>> figure = heat_maps(pixels[:2], np.ones((2, 8, 8)), ["one", "two"])
    >>> len(figure.axes)
    3
    """
    laid = [explain.overlay(picture, heat) for picture, heat in zip(pictures, heats, strict=True)]
    figure = image_grid([each[..., 0] for each in laid], titles, columns=columns, height=height)
    for ax, each in zip(figure.axes, laid, strict=False):
        ax.images[0].set_data(each)
    for ax, mask, picture in zip(figure.axes, () if masks is None else masks, pictures, strict=False):
        if mask.any():
            high, wide = np.squeeze(picture).shape
            at = [(np.arange(n) + 0.5) * full / n - 0.5 for n, full in zip(mask.shape, (high, wide), strict=True)]
            ax.contour(at[1], at[0], mask.astype(float), levels=[0.5], colors=OUTLINE, linestyles="--")
    steps = np.linspace(0, 1, 256)
    ramp = explain.overlay(np.full((1, 256), 128, "uint8"), steps[None])[0] / 255
    scale = ScalarMappable(cmap=ListedColormap(ramp))
    bar = figure.colorbar(scale, ax=figure.axes, location="right", aspect=22, fraction=0.04)
    bar.set_label("heat (1 is the\npicture's greatest)")
    return figure


def _picture(ax: Axes, picture: np.ndarray, title: str, *, limits=None, cmap: str = "gray", size: int = 11) -> Any:
    low, high = limits or _limits(picture)
    between = None if min(picture.shape) > 48 else "nearest"
    shown = ax.imshow(picture, cmap=cmap, vmin=low, vmax=high, interpolation=between)
    ax.set_title(title, fontsize=size, fontweight="normal", pad=3)
    ax.set_axis_off()
    return shown


def _limits(picture: np.ndarray) -> tuple[float, float]:
    """Return the values for black and white, as `image_grid` says."""
    if picture.dtype == np.uint8:
        return 0, 255
    low, high = float(picture.min()), float(picture.max())
    if low < 0:
        most = max(-low, high)
        return -most, most
    return (0, 255) if high > 16 else (0, max(high, 1e-9)) if high > 1 else (0, 1)


def _numbers(ax: Axes, picture: np.ndarray, limits: tuple[float, float]) -> None:
    """Write each value into its pixel, in a colour that can be read there."""
    for (i, j), value in np.ndenumerate(picture):
        dark = (value - limits[0]) / (limits[1] - limits[0]) < 0.5
        text = f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"
        ax.text(j, i, text, ha="center", va="center", color="white" if dark else "black", fontsize=10)


def _flat(picture: np.ndarray) -> np.ndarray:
    """Take (h, w) or (h, w, 1), return (h, w)."""
    picture = np.asarray(picture)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim != 2 or not picture.size:
        raise BadInput(f"picture: shape {picture.shape}; expected (h, w) or (h, w, 1)")
    return picture
