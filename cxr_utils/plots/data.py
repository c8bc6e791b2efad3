"""Figures of the dataset: counts, sizes, patients, leaks, shortcuts."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cxr_utils.dataset import CLASSES, KINDS, SPLITS, UNKNOWN
from cxr_utils.plots._base import CLASS_COLOURS, GREY, KIND_COLOURS, LINES, above, new_axes


def class_counts(index: pd.DataFrame, *, by: str = "label", ax: Axes | None = None) -> Axes:
    """Draw the images of each class in train, val and test.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`; ``split`` and ``label`` or ``kind`` are used.
    by : {"label", "kind"}
        What the colours stand for.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A group of bars an official split, the count above each.

    Examples
    --------
    >>> class_counts(index).get_ylabel()
    'images'
    """
    counts, ax = _counted(index, by), new_axes(ax)
    counts.plot.bar(ax=ax, color=[_colour(name) for name in counts], width=0.8, rot=0, legend=False)
    for bars in ax.containers:
        ax.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=13)
    ax.set(xlabel="official split", ylabel="images")
    ax.margins(y=0.1)
    ax.grid(axis="x", visible=False)
    return above(ax)


def class_shares(index: pd.DataFrame, *, by: str = "label", ax: Axes | None = None) -> Axes:
    """Draw which share of train, val and test each class has.

    Parameters
    ----------
    index, by, ax
        As for `class_counts`.

    Returns
    -------
    Axes
        A bar from 0 to 100% an official split.

    Examples
    --------
    >>> class_shares(index).get_xlabel()
    'share of the images'
    """
    table = _counted(index, by)
    shares = table.div(table.sum(axis=1), axis=0).fillna(0)
    ax = new_axes(ax, height=3.2)
    left = np.zeros(len(shares))
    for name in shares:
        bars = ax.barh(shares.index, shares[name], left=left, color=_colour(name), label=name)
        texts = [f"{share:.0%}" if share >= 0.05 else "" for share in shares[name]]
        letters = "black" if name in ("bacteria", "PNEUMONIA", "unknown") else "white"  # that can be read on the bar
        ax.bar_label(bars, texts, label_type="center", color=letters, fontsize=12)
        left += shares[name].to_numpy()
    ax.set(xlim=(0, 1), xlabel="share of the images", ylabel="official split")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.invert_yaxis()
    ax.grid(visible=False)
    return above(ax)


def image_sizes(index: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw width against height of every image file.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`; ``width``, ``height`` (pixels) and ``label`` are used.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A point an image: discs NORMAL, crosses PNEUMONIA.

    Examples
    --------
    >>> image_sizes(index).get_xlabel()
    'width (pixels)'
    """
    ax = new_axes(ax, height=5)
    table = index.assign(label=[CLASSES[label] for label in index["label"]])
    sns.scatterplot(
        table, x="width", y="height", hue="label", hue_order=CLASSES, style="label", style_order=CLASSES,
        markers={"NORMAL": "o", "PNEUMONIA": "X"}, palette=CLASS_COLOURS, s=36, alpha=0.6, linewidth=0.3, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)")
    return above(ax)


def intensity_histograms(pixels: np.ndarray, kinds: Sequence[str], *, bins: int = 64, ax: Axes | None = None) -> Axes:
    """Draw how often each grey value occurs in the images of each kind.

    Parameters
    ----------
    pixels : ndarray
        uint8, shape (n, h, w, 1) or (n, h, w).
    kinds : sequence of str, length n
        Of each image: "normal", "bacteria", "virus" (or class names).
    bins : int
        Number of steps from 0 to 255; a power of two.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A stepped line a kind. Each sums to 100%, so kinds of unequal size compare. Black, often far more
        than all else, runs off the top; the legend says how much it is.

    Examples
    --------
    >>> intensity_histograms(pixels, index["kind"]).get_xlim()
    (np.float64(0.0), np.float64(255.0))
    """
    ax, top, step = new_axes(ax), 0.0, 256 // bins
    kinds = np.asarray(kinds, dtype=object)
    for kind, dashes in zip(_present(kinds), ("-", "--", "-.", ":"), strict=False):
        counts = np.sum([np.bincount(np.ravel(pixels[i]), minlength=256) for i in np.flatnonzero(kinds == kind)], 0)
        share = np.add.reduceat(counts, np.arange(0, 256, step)) / counts.sum()
        name = f"{kind} (below {step}: {share[0]:.0%})"
        look = {"color": _colour(kind), "linestyle": dashes, "linewidth": 1.8}
        ax.stairs(share, np.arange(0, 257, step), label=name, **look)
        top = max(top, *share[1:])
    ax.set(xlabel="pixel value (0 black – 255 white)", ylabel=f"share of the pixels, in steps of {step}")
    ax.set(xlim=(0, 255), ylim=(0, 1.15 * top or 1))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    return above(ax)


def images_per_patient(index: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many patients have one image, two, three and so on.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`; ``patient`` and ``label`` are used. Images of unknown patients are left out.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Bars by class on a logarithmic axis; nothing but a note if no patient is known.

    Examples
    --------
    >>> images_per_patient(index).get_xlabel()
    'images of one patient'
    """
    known = index.dropna(subset="patient")
    ax = new_axes(ax, height=1 if known.empty else 4)
    if known.empty:
        ax.text(0.5, 0.5, "The patients of these images are not known.", ha="center", fontsize=13)
        ax.set_axis_off()
        return ax
    each = known.groupby([known["patient"].astype(object), "label"]).size().rename("images").reset_index()
    most = int(each["images"].max())
    for label, (name, offset) in enumerate(zip(CLASSES, (-0.2, 0.2), strict=True)):
        counts = np.bincount(each.loc[each["label"] == label, "images"], minlength=most + 1)[1:]
        ax.bar(np.arange(1, most + 1) + offset, counts, width=0.4, color=CLASS_COLOURS[name], label=name)
    ax.set(xlabel="images of one patient", ylabel="patients (logarithmic)", yscale="log")
    ax.set(xlim=(0.4, most + 0.6), ylim=(0.6, None))
    ax.yaxis.set_major_formatter("{x:g}")
    if most <= 20:
        ax.set_xticks(range(1, most + 1))
    ax.grid(axis="x", visible=False)
    return above(ax)


def leak_bars(leaks: pd.DataFrame, *, between: str = "train / validation", ax: Axes | None = None) -> Axes:
    """Draw what two parts of a split have in common.

    Parameters
    ----------
    leaks : DataFrame
        From `splits.leaks`; or several, one below the other, with a column ``split`` that names them.
    between : str
        The pair of parts, as in the table's column of that name.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A group of bars a kind of leak, a bar a split; "unknown" where no patient is known.

    Examples
    --------
    >>> from cxr_utils import splits
    >>> leak_bars(splits.leaks(split, index)).get_xlabel()
    'count, train / validation'
    """
    table = leaks[leaks["between"] == between]
    kinds, ax = list(dict.fromkeys(table["leak"])), new_axes(ax)
    by_split = list(table.groupby("split", sort=False)) if "split" in table else [("", table)]
    thick = 0.8 / max(len(by_split), 1)
    for number, (name, rows) in enumerate(by_split):
        counts = rows.set_index("leak")["count"].reindex(kinds)
        bars = ax.barh(
            np.arange(len(kinds)) + (number - (len(by_split) - 1) / 2) * thick,
            counts.fillna(0).astype(float), thick * 0.9, color=LINES[number % len(LINES)][0], label=name,
            hatch=("", "//", "xx")[number % 3],
        )  # fmt: skip
        ax.bar_label(bars, ["unknown" if pd.isna(c) else f"{c:,}" for c in counts], padding=4, fontsize=13)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.set(xlabel=f"count, {between}")
    ax.margins(x=0.12)
    ax.set_xlim(left=0, right=max(ax.get_xlim()[1], 1))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    if len(by_split) > 1:
        above(ax)
    return ax


def shortcut_bars(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how well things that are no medicine tell the class.

    Parameters
    ----------
    table : DataFrame
        From `audit.shortcuts`: rows named; ``accuracy_cv`` and ``accuracy_test`` in [0, 1] or NaN.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Two bars a row, and a dotted line of the same colour where the first row, the majority, ends.

    Examples
    --------
    >>> table = pd.DataFrame({"accuracy_cv": [0.7, 0.9], "accuracy_test": [0.6, 0.8]}, index=["majority", "size"])
    >>> [tick.get_text() for tick in shortcut_bars(table).get_yticklabels()]
    ['majority', 'size']
    """
    ax = new_axes(ax)
    rows = np.arange(len(table))
    columns, told = {"accuracy_cv": "cross-validation within train", "accuracy_test": "official test set"}, {}
    for (column, name), (colour, _), offset in zip(columns.items(), LINES, (-0.2, 0.2), strict=False):
        values, hatch = table[column].astype(float), "" if offset < 0 else "//"
        bars = ax.barh(rows + offset, values.fillna(0), 0.36, color=colour, label=name, hatch=hatch)
        texts = ["can't be shown here" if np.isnan(v) else f"{v:.1%}" for v in values]
        ax.bar_label(bars, texts, padding=4, fontsize=13)
        ax.axvline(values.iloc[0], color=colour, linestyle=":", linewidth=1.5)
        told[name] = texts
    ax.set_yticks(rows, [str(name) for name in table.index])
    ax.set(xlabel="accuracy (dotted: always PNEUMONIA)", xlim=(0, 1.08))
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    both = zip(table.index, *told.values(), strict=True)
    ax.said = f"{' and '.join(told)}, " + "; ".join(f"{row} {first} and {second}" for row, first, second in both)
    return above(ax)


def _counted(index: pd.DataFrame, by: str) -> pd.DataFrame:
    """Count images: rows the official splits that occur, columns the classes or kinds."""
    names = index["kind"].astype(object) if by == "kind" else index["label"].map(dict(enumerate(CLASSES)))
    wanted = _present(names) if by == "kind" else list(CLASSES)
    counts = pd.crosstab(index["split"].astype(object), names)
    return counts.reindex(index=[split for split in SPLITS if split in counts.index], columns=wanted, fill_value=0)


def _present(kinds: Iterable[str]) -> list[str]:
    """Return the different kinds, the known ones in their order and the others after them."""
    found = set(kinds)
    known = [kind for kind in (*CLASSES, *KINDS, UNKNOWN) if kind in found]
    return known + sorted(found - set(known))


def _colour(name: str) -> str:
    return {**CLASS_COLOURS, **KIND_COLOURS}.get(name, GREY)
