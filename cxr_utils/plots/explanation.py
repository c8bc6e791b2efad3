"""Figures of heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from cxr_utils import explain
from cxr_utils.plots.pictures import image_grid

OUTLINE = "#56B4E9"


def heat_maps(
    pictures: Sequence[np.ndarray],
    heats: np.ndarray | Sequence[np.ndarray],
    titles: Sequence[Any] | None = None,
    *,
    masks: Sequence[np.ndarray] | None = None,
    strength: float = 0.75,
    columns: int = 4,
    height: float = 2.4,
) -> Figure:
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
    strength : float
        As for `explain.overlay`.
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
    laid = [explain.overlay(picture, heat, strength=strength) for picture, heat in zip(pictures, heats, strict=True)]
    figure = image_grid([each[..., 0] for each in laid], titles, columns=columns, height=height)
    for ax, each in zip(figure.axes, laid, strict=False):
        ax.images[0].set_data(each)
    if masks is not None:
        for ax, mask, picture in zip(figure.axes, masks, pictures, strict=False):
            if mask.any():
                high, wide = np.squeeze(picture).shape
                at = [(np.arange(n) + 0.5) * full / n - 0.5 for n, full in zip(mask.shape, (high, wide), strict=True)]
                ax.contour(at[1], at[0], mask.astype(float), levels=[0.5], colors=OUTLINE, linestyles="--")
    steps = np.linspace(0, 1, 256)
    ramp = explain.overlay(np.full((1, 256), 128, "uint8"), steps[None], strength=strength)[0] / 255
    scale = ScalarMappable(cmap=ListedColormap(ramp))
    bar = figure.colorbar(scale, ax=figure.axes, location="right", aspect=22, fraction=0.04)
    bar.set_label("heat, as a share of the picture's greatest")
    return figure
