"""Figures of a model's answers: errors, thresholds, curves, intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from cxr_utils.dataset import CLASSES
from cxr_utils.errors import BadInput
from cxr_utils.plots._base import BESIDE, CLASS_COLOURS, GREY, LINES, above, lines, new_axes, pretty

Predictions: TypeAlias = pd.DataFrame | Mapping[str, pd.DataFrame]
UNIT = (-0.02, 1.02)


def confusion(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix.

    Parameters
    ----------
    table : DataFrame
        From `evaluation.confusion`: int counts, rows the truth, columns the answer.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A cell says the count and its share of the row; the darker, the larger that share.

    Examples
    --------
    >>> from cxr_utils import evaluation
    >>> confusion(evaluation.confusion(predictions["label"], predictions["probability"])).get_xlabel()
    'answer'
    """
    ax = new_axes(ax, height=4.2)
    shares = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    texts = table.map("{:,}\n".format) + shares.map("{:.0%} of\n".format).add(list(table.index), axis=0)
    sns.heatmap(
        shares, annot=texts, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False,
        linewidths=2, annot_kws={"fontsize": 14}, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="answer", ylabel="truth")
    ax.tick_params(axis="both", labelrotation=0)
    told = [f"of {row.sum():,} {truth} {row.iloc[-1]:,} are called {row.index[-1]}" for truth, row in table.iterrows()]
    ax.said = ", ".join(told)
    return ax


def roc(predictions: Predictions, *, ax: Axes | None = None) -> Axes:
    """Draw sensitivity against the share of false alarms, over all thresholds.

    Parameters
    ----------
    predictions : DataFrame or dict of str to DataFrame
        ``label`` and ``probability`` of one model, or of several by name.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A curve a model with its area (AUC), and the diagonal of chance.

    Raises
    ------
    BadInput
        A table without both classes.

    Examples
    --------
    >>> print(roc({"mine": predictions}).get_ylabel())
    share of PNEUMONIA found
    (sensitivity)
    """
    from sklearn.metrics import auc, roc_curve

    ax = new_axes(ax, height=4.8)
    for (name, y_true, y_score), look in zip(_each(predictions), lines(), strict=False):
        false_alarms, found, _ = roc_curve(y_true, y_score)
        text = f"{name}: AUC {auc(false_alarms, found):.3f}".removeprefix(": ")
        ax.plot(false_alarms, found, label=text, **look)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="chance: AUC 0.500")
    return _square(ax, "share of NORMAL called PNEUMONIA (1 − specificity)", "share of PNEUMONIA found (sensitivity)")


def precision_recall(predictions: Predictions, *, ax: Axes | None = None) -> Axes:
    """Draw precision against recall, over all thresholds.

    Parameters
    ----------
    predictions, ax
        As for `roc`.

    Returns
    -------
    Axes
        A curve a model with its average precision, and at the height of the prevalence the line of chance.

    Raises
    ------
    BadInput
        A table without both classes.

    Examples
    --------
    >>> print(precision_recall(predictions).get_xlabel())
    recall
    (share of PNEUMONIA found)
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    ax = new_axes(ax, height=4.8)
    prevalences = {}
    for (name, y_true, y_score), look in zip(_each(predictions), lines(), strict=False):
        precision, recall, _ = precision_recall_curve(y_true, y_score)
        text = f"{name}: average precision {average_precision_score(y_true, y_score):.3f}".removeprefix(": ")
        ax.plot(recall, precision, label=text, drawstyle="steps-post", **look)
        prevalences[f"{y_true.mean():.1%}"] = y_true.mean()
    for text, prevalence in prevalences.items():
        ax.axhline(prevalence, color=GREY, linewidth=1, label=f"chance = prevalence, {text}")
    return _square(ax, "recall (share of PNEUMONIA found)", "precision (share of the called that are PNEUMONIA)")


def calibration(table: pd.DataFrame) -> Figure:
    """Draw the observed share of PNEUMONIA over the probability that the model gave.

    Parameters
    ----------
    table : DataFrame
        From `evaluation.calibration`: ``mean_probability``, ``observed`` (in [0, 1]), ``images``.

    Returns
    -------
    Figure
        Above the curve with the diagonal, on which a calibrated model lies; below the images of each bin.

    Examples
    --------
    >>> from cxr_utils import evaluation
    >>> table = evaluation.calibration(predictions["label"], predictions["probability"])
    >>> len(calibration(table).axes)
    2
    """
    figure, (ax, counts) = plt.subplots(2, 1, figsize=(8, 5.6), layout="constrained", sharex=True, height_ratios=(3, 1))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfectly calibrated")
    ax.plot(table["mean_probability"], table["observed"], "o-", color=LINES[1][0], label="model")
    ax.set(ylabel="observed share of PNEUMONIA", xlim=UNIT, ylim=(-0.04, 1.04))
    ax.legend(loc="upper left")
    bars = counts.bar(table["mean_probability"], table["images"], width=0.03, color=LINES[1][0])
    counts.bar_label(bars, fmt="{:,.0f}", fontsize=10, padding=1)
    counts.set(xlabel="mean predicted probability of PNEUMONIA", ylabel="images")
    counts.margins(y=0.3)
    both = zip(table["mean_probability"], table["observed"], strict=True)
    ax.said = ", ".join(f"where it says {given:.2f}, {observed:.2f} are ill" for given, observed in both)
    return figure


def decision_curve(table: pd.DataFrame) -> Figure:
    """Draw the net benefit of treating by the model, of treating all and of treating none, over the threshold.

    Parameters
    ----------
    table : DataFrame
        From `evaluation.net_benefit`: ``prevalence``, ``threshold``, ``model``, ``treat_all``, ``treat_none``.

    Returns
    -------
    Figure
        A panel a prevalence, three lines each; what lies far below 0 is cut off.

    Examples
    --------
    >>> from cxr_utils import evaluation
    >>> table = evaluation.net_benefit(predictions["label"], predictions["probability"], prevalence=(0.05, 0.5))
    >>> len(decision_curve(table).axes)
    2
    """
    prevalences = table["prevalence"].unique()
    inches = (3.6 * max(2, len(prevalences)), 4.4)
    figure, axes = plt.subplots(1, len(prevalences), figsize=inches, layout="constrained", squeeze=False)
    looks = {"model": (LINES[1][0], "-"), "treat_all": ("black", "--"), "treat_none": (GREY, ":")}
    for ax, prevalence in zip(axes[0], prevalences, strict=True):
        rows = table[table["prevalence"] == prevalence]
        for column, (colour, dashes) in looks.items():
            ax.plot(rows["threshold"], rows[column], color=colour, linestyle=dashes, label=pretty(column))
        ax.set(xlabel="threshold", xlim=(0, 1), ylim=(-0.25 * prevalence, 1.05 * prevalence))
        ax.set_title(f"prevalence {prevalence:.1%}".replace(".0%", "%"))
    axes[0, 0].set_ylabel("net benefit, a person examined")
    axes[0, 0].legend(loc="lower left")
    return figure


def score_histogram(predictions: pd.DataFrame, threshold: float = 0.5, *, ax: Axes | None = None) -> Axes:
    """Draw how the probabilities of each class are spread.

    Parameters
    ----------
    predictions : DataFrame
        ``label`` and ``probability``.
    threshold : float
        From here on the answer is PNEUMONIA; drawn as a line.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A stepped area a class; PNEUMONIA is hatched.

    Examples
    --------
    >>> score_histogram(predictions).get_xlim()
    (np.float64(0.0), np.float64(1.0))
    """
    ax = new_axes(ax)
    for label, (name, hatch) in enumerate(zip(CLASSES, ("", "///"), strict=True)):
        scores = predictions.loc[predictions["label"] == label, "probability"]
        counts, edges = np.histogram(scores, 20, (0, 1))
        colour = CLASS_COLOURS[name]
        ax.stairs(counts, edges, color=colour, fill=False)
        ax.stairs(counts, edges, facecolor=(colour, 0.35), edgecolor=colour, fill=True, hatch=hatch, label=name)
    ax.axvline(threshold, color="black", linestyle="--", linewidth=1.5, label=f"threshold {threshold:.2f}")
    ax.set(xlabel="probability of PNEUMONIA", ylabel="images", xlim=(0, 1))
    return above(ax)


def threshold_sweep(predictions: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw sensitivity, specificity and balanced accuracy over the threshold.

    Parameters
    ----------
    predictions : DataFrame
        ``label`` and ``probability``.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Three lines, and a vertical one at the threshold of `evaluation.best_threshold`.

    Raises
    ------
    BadInput
        A table without both classes.

    Examples
    --------
    >>> len(threshold_sweep(predictions).lines)
    4
    """
    from cxr_utils import evaluation

    ((_, y_true, y_score),) = _each(predictions)
    threshold = evaluation.best_threshold(y_true, y_score)
    cuts = np.linspace(0, 1, 501)
    sensitivity, called = ((y_score[y_true == label, None] >= cuts).mean(axis=0) for label in (1, 0))
    balanced = (1 + sensitivity - called) / 2
    curves = {"sensitivity": sensitivity, "specificity": 1 - called, "balanced accuracy": balanced}
    looks = ((CLASS_COLOURS["PNEUMONIA"], "--"), (CLASS_COLOURS["NORMAL"], "-."), ("black", "-"))
    ax = new_axes(ax, height=4.4)
    for (name, values), (colour, dashes) in zip(curves.items(), looks, strict=True):
        ax.plot(cuts, values, color=colour, linestyle=dashes, label=name)
    ax.axvline(threshold, color=GREY, linestyle=":", label=f"best threshold {threshold:.2f}")
    ax.set(xlabel="threshold on the probability of PNEUMONIA", ylabel="share", xlim=(0, 1), ylim=UNIT)
    return above(ax)


def intervals(
    table: Predictions, *, metrics: Sequence[str] | None = None, label: str = "value", ax: Axes | None = None
) -> Axes:
    """Draw metrics with their 95% intervals.

    Parameters
    ----------
    table : DataFrame or dict of str to DataFrame
        From `evaluation.bootstrap`, or several by name: index metric; ``value``, ``low``, ``high``.
    metrics : sequence of str, optional
        Which, from top to bottom; by default all of the first table.
    label : str
        What the values are.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A row a metric: the point is the value, the bar the interval.

    Examples
    --------
    >>> from cxr_utils import evaluation
    >>> table = evaluation.bootstrap(predictions, draws=20)
    >>> [tick.get_text() for tick in intervals(table, metrics=["auc"]).get_yticklabels()]
    ['AUC']
    """
    tables = table if isinstance(table, Mapping) else {"": table}
    metrics = list(metrics if metrics is not None else next(iter(tables.values())).index)
    ax = new_axes(ax, height=1.3 + len(metrics) * (0.26 + 0.12 * len(tables)))
    rows = np.arange(len(metrics))
    for number, (name, each) in enumerate(tables.items()):
        value, low, high = each.loc[metrics, ["value", "low", "high"]].to_numpy(float).T
        place = rows + (number - (len(tables) - 1) / 2) * 0.6 / len(tables)
        colour, marker = LINES[number % len(LINES)][0], "osD^v"[number % 5]
        look = {"fmt": marker, "color": colour, "capsize": 4, "markersize": 7, "label": name}
        ax.errorbar(value, place, xerr=np.clip([value - low, high - value], 0, None), **look)
    ax.set_yticks(rows, [pretty(metric) for metric in metrics])
    ax.set(xlabel=f"{label} with 95% interval", ylim=(len(metrics) - 0.5, -0.5))
    if len(tables) > 1:
        above(ax)
    ax.said = "; ".join(f"{name} {pretty(row.Index)} {row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
                        for name, each in tables.items() for row in each.loc[metrics].itertuples())  # fmt: skip
    return ax


def predictive_values(table: pd.DataFrame, *, marks: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw what a positive and a negative answer are worth, over the prevalence.

    Parameters
    ----------
    table : DataFrame
        From `evaluation.predictive_values`: ``prevalence``, ``ppv``, ``npv``, all in [0, 1].
    marks : dict of str to float, optional
        Prevalences to mark by a vertical line, by name; by default the official test set's 62.5% and 5%.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Two curves, and at each mark their values.

    Examples
    --------
    >>> from cxr_utils import evaluation
    >>> table = evaluation.predictive_values(0.9, 0.9, np.linspace(0, 1, 5))
    >>> predictive_values(table).get_ylabel()
    'share of such answers that are right'
    """
    marks = {"a clinic, say": 0.05, "official test set": 0.625} if marks is None else marks
    ax = new_axes(ax, height=4.6)
    looks = {"ppv": (CLASS_COLOURS["PNEUMONIA"], "-"), "npv": (CLASS_COLOURS["NORMAL"], "--")}
    for column, (colour, dashes) in looks.items():
        ax.plot(table["prevalence"], table[column], color=colour, linestyle=dashes, label=pretty(column))
    for name, place in marks.items():
        ax.axvline(place, color=GREY, linestyle=":", linewidth=1.5)
        left = place > 0.5
        text = f"{name}\n{place:.1%}".replace(".0%", "%")
        where = {"xytext": (-6 if left else 6, 0), "ha": "right" if left else "left", "va": "bottom"}
        ax.annotate(text, (place, 0.02 if left else 0.45), textcoords="offset points", fontsize=13, **where)
        for column, (colour, _) in looks.items():
            known = table.dropna(subset=column)
            value = np.interp(place, known["prevalence"], known[column])
            ax.plot(place, value, "o", color=colour, markersize=7)
    ax.set_xlabel("prevalence (share of PNEUMONIA among those examined)")
    ax.set(ylabel="share of such answers that are right", xlim=UNIT, ylim=UNIT)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    return above(ax)


def _square(ax: Axes, xlabel: str, ylabel: str) -> Axes:
    """Give both axes the length from 0 to 1, and put the legend beside them."""
    xlabel, ylabel = (label.replace(" (", "\n(") for label in (xlabel, ylabel))  # a side is short
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=UNIT, ylim=UNIT, aspect="equal")
    ax.legend(**BESIDE)
    return ax


def _each(predictions: Predictions) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, labels and probabilities of each table."""
    for name, table in (predictions if isinstance(predictions, Mapping) else {"": predictions}).items():
        y_true, y_score = table["label"].to_numpy(int), table["probability"].to_numpy(float)
        if set(y_true) != {0, 1}:
            raise BadInput(f"predictions {name!r}: labels {sorted(set(y_true))}; expected both 0 and 1 among them")
        yield str(name), y_true, y_score
