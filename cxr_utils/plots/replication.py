"""Figures of the replication: claims against our intervals, validation against test, what mistakes are worth."""

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from cxr_utils.plots._base import BESIDE, GREY, LINES, MEAN, above, new_axes

PUBLISHED, OURS, HONEST = "#D55E00", "#56B4E9", "#333333"
SYSTEMS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#333333", "#56B4E9", "#882255")  # Okabe and Ito's


def claim_forest(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw published shares beside ours: a forest plot.

    Parameters
    ----------
    table : DataFrame
        From `claims.table`, or rows of it: ``recipe``, ``claim``; ``value`` with ``low`` and ``high``; ``ours`` with
        ``ours_min`` and ``ours_max``; ``honest`` with ``honest_low`` and ``honest_high``; ``seeds`` and
        ``honest_seeds`` ("1 of 3"). Rows without a published share are left out.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A row a claim. A diamond is the published share, its bar the 95% interval of its set; it is hollow where the
        size of that is not known. A circle is ours under the published protocol, its bar the range of the seeds; a
        square ours under the honest protocol on test, its bar the 95% interval. Seeds that have not been run are named.

    Examples
    --------
    >>> columns = ["value", "low", "high", "ours", "ours_min", "ours_max", "honest", "honest_low", "honest_high"]
    >>> table = pd.DataFrame([[0.95, 0.93, 0.97, 0.9, 0.88, 0.92, 0.85, 0.82, 0.88]], columns=columns)
    >>> names = {"recipe": "plain_64", "claim": "accuracy 95%", "seeds": "3 of 3", "honest_seeds": "1 of 3"}
    >>> claim_forest(table.assign(**names)).get_xlabel()
    'share of answers right'
    """
    rows = table[table["value"].notna()].reset_index(drop=True)
    ax = new_axes(ax, 9, 1.6 + 0.5 * len(rows))
    looks = {
        "published (95% interval)": ("value", "low", "high", "D", PUBLISHED, -0.22),
        "ours, published protocol (range of seeds)": ("ours", "ours_min", "ours_max", "o", OURS, 0.02),
        "ours, honest protocol, test (95% interval)": ("honest", "honest_low", "honest_high", "s", HONEST, 0.26),
    }
    for name, (value, low, high, marker, colour, shift) in looks.items():
        there = rows[rows[value].notna()]
        x, ends = there[value].to_numpy(float), there[[low, high]].to_numpy(float, na_value=np.nan).T
        bars = np.abs(np.nan_to_num(ends - x))  # a set that is not stated has no interval
        look = {"fmt": marker, "color": colour, "markersize": 7, "capsize": 3, "label": name}
        ax.errorbar(x, there.index + shift, xerr=bars, **look)
        hollow, look = np.isnan(ends[0]), {"color": colour, "markerfacecolor": "white", "markersize": 7, "zorder": 5}
        ax.plot(x[hollow], there.index[hollow] + shift, marker, **look)
    for row, claim in rows.iterrows():  # beside the axes, where it hides nothing
        text = _missing(claim["seeds"], claim["honest_seeds"])
        ax.text(1.015, row, text, va="center", fontsize=12, color=GREY, transform=ax.get_yaxis_transform())
    left = min(rows["value"].min(), *rows[["low", "ours_min", "honest_low"]].min().dropna(), 0.75) - 0.02
    names = rows["recipe"] + ": " + rows["claim"]
    ax.set_yticks(range(len(rows)), [textwrap.fill(name, 34, max_lines=2, placeholder=" …") for name in names])
    for row in range(1, len(rows)):
        ax.axhline(row - 0.5, color="#E6E6E6", linewidth=1)
    ax.set(xlabel="share of answers right", xlim=(left, 1.01), ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    return above(ax, columns=1)


def _missing(published: str, honest: str) -> str:
    """Say which seeds ("1 of 3") have not been run."""
    there = {"published": published.split(" of "), "honest": honest.split(" of ")}
    if all(done == "0" for done, _ in there.values()):
        return "not run yet"
    return "\n".join(f"{name}: {done} of {wanted} seeds" for name, (done, wanted) in there.items() if done != wanted)


def validation_against_test(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what each run reached on test over what it reached in validation.

    Parameters
    ----------
    table : DataFrame
        From `claims.runs`, or a row a run: ``system``, ``protocol`` ("published" or "honest"), ``validation`` and
        ``test`` (accuracy in [0, 1]).
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A point a run: a colour and shape a system; full under the honest protocol, hollow under the published one.
        On the diagonal validation keeps its promise; what validated on test lies on it by construction.

    Examples
    --------
    >>> runs = {"system": ["000"], "protocol": ["honest"], "validation": [0.9], "test": [0.8]}
    >>> validation_against_test(pd.DataFrame(runs)).get_legend_handles_labels()[1]
    []
    """
    ax = new_axes(ax, 8, 4.8)
    low = min([*table["validation"], *table["test"], 0.8]) - 0.02
    ax.plot([low, 1], [low, 1], color=GREY, linewidth=1, zorder=1)
    ax.text(low + 0.012, low + 0.022, "test = validation", color=GREY, fontsize=13, rotation=45)
    handles, points = [], {"linestyle": "", "markersize": 9, "markeredgewidth": 1.8}
    for number, name in enumerate(sorted(set(table["system"]), key=lambda name: (not name[-1].isdigit(), name))):
        colour, marker = SYSTEMS[number % len(SYSTEMS)], "osD^vP<>X*h"[number % 11]
        look = points | {"marker": marker, "color": colour, "alpha": 0.6}  # so that what lies below is seen
        for protocol, rows in table[table["system"] == name].groupby("protocol"):
            full = "full" if protocol == "honest" else "none"
            ax.plot(rows["validation"], rows["test"], fillstyle=full, clip_on=False, **look)  # whole at 1, too
        handles.append(Line2D([], [], label=name, **look))
    for text, fill in (("honest protocol", "full"), ("published protocol", "none")):
        handles.append(Line2D([], [], marker="o", color=GREY, label=text, fillstyle=fill, **points))
    ax.set(xlabel="accuracy in validation", ylabel="accuracy on test", xlim=(low, 1), ylim=(low, 1), aspect="equal")
    ax.legend(handles=handles, **BESIDE)
    return ax


def mistakes_worth(worth: pd.DataFrame, tables: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw what each mistake adds to a figure or takes from it, in points.

    Parameters
    ----------
    worth : DataFrame
        From `mistakes.worth`: ``points``, ``low`` and ``high``, indexed by the mistake.
    tables : dict of str to DataFrame
        What it was made from: ``wrong`` and ``right``, a row a seed.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        A row a mistake: the bar is the 95% interval, the tick the mean, a dot a seed. Right of the dotted line the
        wrong figure flatters.

    Examples
    --------
    >>> tables = {"peeking": pd.DataFrame({"wrong": [0.9, 0.92], "right": [0.8, 0.81]})}
    >>> worth = pd.DataFrame({"points": [10.5], "low": [9.0], "high": [12.0]}, index=["peeking"])
    >>> [tick.get_text() for tick in mistakes_worth(worth, tables).get_yticklabels()]
    ['peeking']
    """
    ax = new_axes(ax, 8.6, 1.4 + 0.62 * len(worth))
    ax.axvline(0, color=GREY, linestyle=":", linewidth=1.5, zorder=1)
    for row, (name, found) in enumerate(worth.iterrows()):
        gains = 100 * (tables[name]["wrong"] - tables[name]["right"]).dropna()
        if gains.empty:
            ax.text(0, row, " no patient is known", va="center", fontsize=13, color=GREY, fontstyle="italic")
            continue
        ax.hlines(row, found["low"], found["high"], color=LINES[0][0], linewidth=3, zorder=2, label="95% interval")
        ax.plot(gains, [row] * len(gains), "o", color=LINES[1][0], markersize=8, alpha=0.8, zorder=3, label="one seed")
        ax.plot(found["points"], row, "|", label="mean", **MEAN)
    ax.set_yticks(range(len(worth)), list(worth.index))
    ax.set(xlabel="wrong minus right, in points of balanced accuracy", ylim=(len(worth) - 0.5, -0.5))
    ax.margins(x=0.06)
    ax.grid(axis="y", visible=False)
    return above(ax)
