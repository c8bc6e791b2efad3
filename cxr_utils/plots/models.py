"""Figures of training: a gradient's steps, curves over epochs, recipes compared."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxr_utils.errors import one_of
from cxr_utils.plots._base import GREY, LINES, MEAN, above, new_axes, pretty


def descent(
    weights: np.ndarray, losses: np.ndarray, steps: np.ndarray, step_losses: np.ndarray, *, ax: Axes | None = None
) -> Axes:
    """Draw gradient descent on a curve of loss over one weight.

    Parameters
    ----------
    weights, losses : ndarray
        float, shape (n,); the curve.
    steps, step_losses : ndarray
        float, shape (m,); the places visited, in order, numbered from 0.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The curve, the numbered points and arrows between them.

    Examples
    --------
    >>> weights = np.linspace(-1, 1, 9)
    >>> ax = descent(weights, weights**2, np.array([1.0, 0.5]), np.array([1.0, 0.25]))
    """
    with plt.rc_context({"figure.hooks": []}):  # a formula's curve: it shows no images, so no phantoms
        ax = new_axes(ax, height=4.2)
    ax.plot(weights, losses, color=GREY)
    points = list(zip(np.asarray(steps, float), np.asarray(step_losses, float), strict=True))
    for start, end in zip(points, points[1:], strict=False):
        arrow = {"arrowstyle": "->", "color": "#D55E00", "linewidth": 1.5, "shrinkA": 4, "shrinkB": 4}
        ax.annotate("", xy=end, xytext=start, arrowprops=arrow)
    ax.plot(*zip(*points, strict=True), "o", color="#D55E00", markersize=7)
    # Late steps are short: numbers end where the next would lie on the one before it.
    span = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    for number, point in enumerate(points):
        if number and np.hypot(*((np.array(point) - points[number - 1]) / span)) < 0.05:
            break
        left = number + 1 < len(points) and points[number + 1][0] > point[0]
        where = {"xytext": (-9 if left else 9, -3), "ha": "right" if left else "left", "va": "top"}
        ax.annotate(str(number), point, textcoords="offset points", fontsize=12, **where)
    ax.set(xlabel="weight", ylabel="loss")
    ax.margins(y=0.1)
    return ax


def learning_curves(history: pd.DataFrame) -> Figure:
    """Draw loss and accuracy over the epochs, in training and in validation.

    Parameters
    ----------
    history : DataFrame
        Of a `training.Run`: ``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``.

    Returns
    -------
    Figure
        Two panels; a vertical line marks the epoch with the lowest validation loss.

    Examples
    --------
    >>> [ax.get_title() for ax in learning_curves(run.history).axes]
    ['accuracy', 'loss']
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    best = history.loc[history["val_loss"].idxmin(), "epoch"]
    names = {"": "training", "val_": "validation"}
    for ax, metric in zip(axes, ("accuracy", "loss"), strict=True):
        for (prefix, name), (colour, dashes), marker in zip(names.items(), LINES, "os", strict=False):
            look = {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 5, "label": name}
            ax.plot(history["epoch"], history[prefix + metric], **look)
        ax.axvline(best, color=GREY, linestyle=":", linewidth=1.5, zorder=0, label="lowest validation loss")
        ylabel = "share of answers right" if metric == "accuracy" else "cross-entropy"
        ax.set(title=metric, xlabel="epoch", ylabel=ylabel)
        first, last = history[f"val_{metric}"].iloc[[0, -1]]
        ax.said = f"in validation {first:.2f} in the first epoch, {last:.2f} in the last"
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.margins(x=0.08)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.said = f"the validation loss is lowest in epoch {best:.0f}"
    return figure


def comparison(table: pd.DataFrame, *, metric: str = "balanced_accuracy", ax: Axes | None = None) -> Axes:
    """Draw a metric of several recipes: each seed a dot, their mean and range.

    Parameters
    ----------
    table : DataFrame
        From `training.compare`: ``name``, ``seed`` and the metric, a row a run.
    metric : str
        A column of the table.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A row a recipe in the order of the table; a dotted line runs down from the first one's mean. The dots of a row
        stand at heights of their own, so that equal ones don't hide each other.

    Raises
    ------
    BadInput
        The table has no such metric.

    Examples
    --------
    >>> table = pd.DataFrame({"name": ["plain", "wide"], "seed": [0, 0], "auc": [0.8, 0.9]})
    >>> comparison(table, metric="auc").get_xlabel()
    'AUC (validation)'
    """
    one_of("metric", metric, [str(column) for column in table.columns if column not in ("name", "seed")])
    names = list(dict.fromkeys(table["name"]))
    ax = new_axes(ax, height=1.3 + 0.6 * len(names))
    for row, name in enumerate(names):
        values = table.loc[table["name"] == name, metric].to_numpy(float)
        ax.hlines(row, values.min(), values.max(), color=LINES[1][0], zorder=2)
        heights = row + 0.3 * ((np.arange(len(values)) + 0.5) / len(values) - 0.5)  # equal values side by side
        ax.plot(values, heights, "o", color=LINES[1][0], alpha=0.7, markersize=8, zorder=3, label="one seed")
        ax.plot(values.mean(), row, "|", label="mean of the seeds", **MEAN)
        if row == 0:
            ax.axvline(values.mean(), color=GREY, linestyle=":", linewidth=1.5, zorder=1, label=f"mean of {name}")
    ax.set_yticks(range(len(names)), [textwrap.fill(str(name), 24) for name in names])
    xlabel = f"{pretty(metric)} (validation)" if metric != "seconds" else "seconds of training"
    ax.set(xlabel=xlabel, ylim=(len(names) - 0.5, -0.5))
    ax.margins(x=0.08)
    ax.grid(axis="y", visible=False)
    found = table.groupby("name", sort=False)[metric].agg(["mean", "min", "max"]).itertuples()
    ax.said = "; ".join(f"{row.Index} {row.mean:.2f} ({row.min:.2f} to {row.max:.2f})" for row in found)
    return above(ax)
