"""Look of the figures, and how one reaches the page: small in bytes, marked if synthetic, with a text."""

import io
import tomllib
from itertools import cycle
from pathlib import Path
from typing import Any

import IPython.display
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from cxr_utils import sources
from cxr_utils.errors import BadInput

LOOK: dict[str, Any] = tomllib.loads(Path(__file__).with_name("look.toml").read_text(encoding="utf-8"))
CLASS_COLOURS, KIND_COLOURS = LOOK["class_colours"], LOOK["kind_colours"]
LINES = (("#333333", "-"), ("#009E73", "--"), ("#CC79A7", "-."), ("#56B4E9", ":"), ("#E69F00", (0, (5, 1, 1, 1, 1, 1))))
GREY = "#6B6B6B"  # reference lines and marks: dark enough to be read on white
BESIDE = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "frameon": False}  # a legend that hides no data
MEAN = {"color": "black", "markersize": 22, "markeredgewidth": 3, "zorder": 4}  # an upright stroke between dots
MARK = "synthetic (phantoms)"
WIDE = 1_010  # pixels, of each figure: readable on a projector
BYTES = 240_000  # a figure that is larger gets fewer colours


def style(source: str, data_dir: str | Path = "data", *, synthetic: bool | None = None) -> None:
    """Set the look of all figures that are made from now on, and whether `show` marks them as synthetic.

    Parameters
    ----------
    source : str
        Where the images come from, as in `sources.fetch`.
    data_dir : str or Path
        The folder that holds them; what lies there says whether they are phantoms.
    synthetic : bool, optional
        Says it outright, for figures of other images.

    Examples
    --------
    >>> style("sample")
    """
    synthetic = sources.synthetic(source, data_dir) if synthetic is None else synthetic
    hooks = [f"{__name__}:_mark"] if synthetic else []  # what matplotlib does to each new figure
    sns.set_theme(**LOOK["theme"], rc=LOOK["rc"] | {"figure.hooks": hooks})


def _mark(figure: Figure) -> None:
    figure.set_gid(MARK)


def show(figure_or_axes: Figure | Axes, alt: str) -> None:
    """Display a figure as PNG, 1,000 pixels wide, with a text alternative, and close it.

    Under phantoms it carries the mark "synthetic (phantoms)". Outside Jupyter the text is printed.

    Parameters
    ----------
    figure_or_axes : Figure or Axes
        What a function of this package returned.
    alt : str
        What the figure shows, in a sentence. The values that it draws are added where the function has said them.

    Raises
    ------
    BadInput
        `alt` is empty, or the first argument is no figure.

    Examples
    --------
    >>> show(plt.figure(figsize=(1, 1)), alt="An empty figure")
    [figure: An empty figure]
    """
    if not isinstance(alt, str) or not alt.strip():
        raise BadInput(f"alt: {alt!r}; say in a sentence what the figure shows, for those who can't see it")
    picture, figure = render(figure_or_axes), figure_or_axes.get_figure()
    said = [": ".join(filter(None, (ax.get_title(), ax.said))) for ax in figure.axes if getattr(ax, "said", "")]
    told = ": ".join(filter(None, (alt, getattr(figure, "said", ""), "; ".join(said))))
    IPython.display.display(_Shown(picture, alt=" ".join(told.split())))


def render(figure_or_axes: Figure | Axes) -> bytes:
    """Return a figure as PNG, 1,000 pixels wide, marked if synthetic, and close it.

    Parameters
    ----------
    figure_or_axes : Figure or Axes
        What a function of this package returned.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    BadInput
        The argument is no figure.

    Examples
    --------
    >>> render(plt.figure(figsize=(1, 1)))[1:4]
    b'PNG'
    """
    if not isinstance(figure_or_axes, Figure | Axes):
        kind = type(figure_or_axes).__name__
        raise BadInput(f"figure_or_axes: a {kind}; expected a Figure or Axes, such as plots.roc(…) returns")
    figure = figure_or_axes.get_figure()
    buffer = io.BytesIO()
    try:
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        box = box if np.isfinite(box.x1) else Bbox.from_extents(0, 0, width, height)  # nothing is drawn
        if figure.get_gid() == MARK:  # below all that is drawn: the tight box makes room for it, so it covers nothing
            x, y = box.x1 / width, (box.y0 - 0.05) / height
            figure.text(x, y, MARK, ha="right", va="top", fontsize=11, fontstyle="italic", color=GREY)
        look = {"format": "png", "bbox_inches": "tight", "pad_inches": 0.06}
        figure.savefig(buffer, dpi=(dpi := WIDE / (box.width + 0.12)), **look)
        if (wide := Image.open(buffer).width) < 0.99 * WIDE:  # where sides are equal, the layout settles as it is drawn
            figure.savefig(buffer := io.BytesIO(), dpi=dpi * WIDE / wide, **look)
    finally:
        plt.close(figure)
    return _small(Image.open(buffer).convert("RGB"))


def _small(image: Image.Image) -> bytes:
    """Write a palette PNG: a third of the bytes, and fewer colours still for a large photographic grid."""
    for colours in (256, 128, 64, 32, 16):
        buffer = io.BytesIO()
        image.quantize(colours, method=Image.Quantize.MAXCOVERAGE).save(buffer, "PNG", optimize=True)
        if buffer.tell() < BYTES:
            break
    return buffer.getvalue()


class _Shown(IPython.display.Image):
    """A PNG with its text, as Jupyter takes it; its plain form is the text."""

    def __repr__(self) -> str:
        return f"[figure: {self.alt}]"


def new_axes(ax: Axes | None, width: float = 8, height: float = 4) -> Axes:
    """Return `ax`, or the axes of a new figure of this size in inches.

    Parameters
    ----------
    ax : Axes or None
        Where to draw.
    width, height : float
        Of a new figure, inches.

    Returns
    -------
    Axes
        `ax`, or that of the new figure.

    Examples
    --------
    >>> new_axes(None, 4, 3).figure.get_size_inches().tolist()
    [4.0, 3.0]
    """
    return ax if ax is not None else plt.subplots(figsize=(width, height), layout="constrained")[1]


def lines():
    """Give each line its look.

    Returns
    -------
    iterator of dict
        Colour and line style, without end.

    Examples
    --------
    >>> next(lines())["linestyle"]
    '-'
    """
    return ({"color": colour, "linestyle": dashes} for colour, dashes in cycle(LINES))


def pretty(metric: str) -> str:
    """Write a metric's name as it stands on an axis.

    Parameters
    ----------
    metric : str
        As in a table of ours.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> pretty("balanced_accuracy"), pretty("auc")
    ('balanced accuracy', 'AUC')
    """
    return LOOK["names"].get(metric, metric.replace("_", " "))


def above(ax: Axes, columns: int = 4) -> Axes:
    """Put the legend above the axes, where it hides no data; what has one name several times stands there once.

    Parameters
    ----------
    ax : Axes
        That has the legend.
    columns : int
        Entries a row at most: fewer if the figure is not wide enough, for what stands out makes its words smaller.

    Returns
    -------
    Axes
        The same.

    Examples
    --------
    >>> ax = new_axes(None)
    >>> ax.plot([0, 1], label="a line")
    [...]
    >>> above(ax) is ax
    True
    """
    handles, names = ax.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    if ax.get_legend():
        ax.get_legend().remove()
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "frameon": False}
    beside = max((label.get_window_extent().width for label in ax.get_yticklabels()), default=0)
    room = 0.95 * ax.figure.bbox.width - beside
    for ncols in range(columns, 0, -1):
        look = {"ncols": ncols, "columnspacing": 1.4, "handletextpad": 0.5} | place
        if ax.legend(list(once.values()), list(once), **look).get_window_extent().width <= room:
            break
    return ax
