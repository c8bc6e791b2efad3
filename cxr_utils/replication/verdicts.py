"""What a claim is compared with, and the one verdict on it."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxr_utils import dataset, files
from cxr_utils.errors import BadInput, one_of
from cxr_utils.recipes import Claim
from cxr_utils.replication import grid
from cxr_utils.replication.values import WORDS

_COUNTS = dataset.RECORD.counts
#: What the dataset's record says, to compare statements about it with.
FACTS: dict[str, Any] = {
    "images": sum(sum(classes.values()) for classes in _COUNTS.values()),
    "train_normal": _COUNTS["train"]["NORMAL"],
    "train_pneumonia": _COUNTS["train"]["PNEUMONIA"],
    "train_classes": tuple(_COUNTS["train"].values()),
    "ages": "children of one to five years",  # Kermany and others, Cell 172:1122, 2018
}
#: An interval wider than this says next to nothing, be it of a figure (16 right of 16, 84 of 93) or of a training.
WIDE = 0.15
NOT_RUN = "not run yet"


def _gap(metrics: dict) -> Any:
    """Return recall minus precision."""
    return metrics["sensitivity"] - metrics["ppv"]


class Metric(NamedTuple):
    """What a claim is compared with: of a run under its own protocol, and of test under the honest one."""

    ours: Callable[[dict, pd.DataFrame], float] | None
    honest: Callable[[dict], Any] = itemgetter("accuracy")
    least: float = 0.0


def permuted(predictions: pd.DataFrame, *, threshold: float = 0.5) -> tuple[float, float]:
    """Return the accuracy to expect when answers in random order are compared with labels in theirs.

    Parameters
    ----------
    predictions : DataFrame
        With label and probability, two rows at least.
    threshold : float
        As for `evaluation.metrics`.

    Returns
    -------
    mean, sd : float
        Of the accuracy over all orders. With a share p of PNEUMONIA among the n labels and q among the answers the
        mean is p q + (1 - p) (1 - q); the hits follow a hypergeometric distribution [1]_, which gives
        2 sqrt(p (1 - p) q (1 - q) / (n - 1)).

    References
    ----------
    .. [1] Feller, An introduction to probability theory and its applications, volume 1, 1968, chapter II.6.

    Examples
    --------
    >>> permuted(pd.DataFrame({"label": [0, 0, 1, 1], "probability": [0.1, 0.2, 0.7, 0.9]}))[0]
    0.5
    """
    p, q = predictions["label"].mean(), (predictions["probability"] >= threshold).mean()
    sd = 2 * np.sqrt(p * (1 - p) * q * (1 - q) / (len(predictions) - 1))
    return float(p * q + (1 - p) * (1 - q)), float(sd)


def at_half(record: dict, part: str) -> dict[str, float]:
    """Return the metrics of a part at .5, without their intervals; NaN where there is none.

    Parameters
    ----------
    record : dict
        Of a cell, or of `score.score`.
    part : str
        One of those in its metrics.

    Returns
    -------
    dict of str to float
    """
    half = record["metrics"][part]["at_half"]
    return {metric: np.nan if found["value"] is None else found["value"] for metric, found in half.items()}


#: What claims are compared with, by the name in `Claim.metric`. Under the honest protocol it is always read on test.
METRICS: dict[str, Metric] = {
    "train_accuracy": Metric(lambda run, _: run["history"][run["kept_epoch"] - 1]["accuracy"]),
    "validation_accuracy": Metric(lambda run, _: at_half(run, "validation")["accuracy"]),
    "best_validation_accuracy": Metric(lambda run, _: max(epoch["val_accuracy"] for epoch in run["history"])),
    "last_validation_accuracy": Metric(lambda run, _: run["history"][-1]["val_accuracy"]),
    "test_accuracy": Metric(lambda run, _: at_half(run, "test")["accuracy"]),
    "permuted_accuracy": Metric(lambda _, test: permuted(test)[0]),
    "recall_minus_precision": Metric(lambda run, _: _gap(at_half(run, "test")), _gap, least=-1.0),
    # No published system trained both ways: the grid's ablation of plain_224 answers.
    "augmentation_gain": Metric(None),
}
GAIN = ("plain_224", "plain_224-unaugmented")


@cache
def interval(value: float, n: int) -> tuple[float, float]:
    """Return the 95% interval of a share of `n` images, after Clopper and Pearson [1]_.

    Parameters
    ----------
    value : float
        The share, in [0, 1].
    n : int
        Images.

    Returns
    -------
    low, high : float

    References
    ----------
    .. [1] Clopper, Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
       Biometrika 26:404, 1934.

    Examples
    --------
    >>> [round(limit, 2) for limit in interval(1.0, 16)]
    [0.79, 1.0]
    """
    from scipy.stats import binomtest

    found = binomtest(round(value * n), n).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a claim is judged by.

    Attributes
    ----------
    ours : tuple of float
        The claim's metric under the published protocol, one value a seed.
    planned : int
        How many seeds there will be.
    others_images : bool
        Whether ours is of other images than the claim, and of the same for all seeds.
    spread : float
        Of `permuted`: the largest standard deviation over the seeds.
    honest : tuple of float, optional
        Mean over the seeds of the honest protocol, and the limits of its 95% interval.
    honest_seeds : int
        How many seeds that mean is of.
    rival : Claim, optional
        The claim that speaks against this one.
    others : dict of str to tuple of float
        `ours` of the other recipes of the same system.
    """

    ours: tuple[float, ...] = ()
    planned: int = len(grid.SEEDS)
    others_images: bool = False
    spread: float = 0.0
    honest: tuple[float, float, float] | None = None
    honest_seeds: int = 0
    rival: Claim | None = None
    others: dict[str, tuple[float, ...]] = field(default_factory=dict)


def _not_a_fact(claim: Claim, found: Found) -> str | None:
    """*not a fact of the dataset*: a statement about the dataset that its record denies."""
    if claim.metric in FACTS and claim.value != FACTS[claim.metric]:
        return f"The dataset has {shown(FACTS[claim.metric])}."
    return None


def _another_copy(claim: Claim, found: Found) -> str | None:
    """*true of another copy*: the dataset's record denies it, but it holds of the upload that its authors used."""
    denied = _not_a_fact(claim, found)
    return f"True of what it used, {claim.copy}. {denied}" if claim.copy and denied else None


def _typed(claim: Claim, found: Found) -> str | None:
    """*typed text*: the code prints the figure as fixed text, and the log beside it has another."""
    return f"The code prints it as fixed text: {claim.typed}." if claim.typed else None


def _contradicts_itself(claim: Claim, found: Found) -> str | None:
    """*contradicts itself*: another, more plausible figure of the source and this one exclude each other.

    Each lies outside the other's binomial 95% interval: that of its own set, or of the other's where none is stated.
    Which of two is the plausible one stands in the recipe, by `Claim.contradicts`.
    """
    rival = found.rival
    if rival is None or not (is_share(claim) and is_share(rival)) or not (n := claim.n or rival.n):
        return None
    (low, high), (least, most) = interval(claim.value, n), interval(rival.value, rival.n or n)
    if low <= rival.value <= high or least <= claim.value <= most:
        return None
    ours = f"; our seeds gave {_seeds(found)}" if found.ours else ""
    counts = claim.n or countable(claim.value, _places(claim), n)
    doubt = "" if counts else f"; its set is not stated, and no count of {n:,} images gives it"
    limits = f"the 95% interval of {published(claim)} is {_range(low, high)}"
    return f"The same source says {published(found.rival)}; on {n:,} images {limits}{doubt}{ours}."


def _artefact(claim: Claim, found: Found) -> str | None:
    """*an artefact*: what makes the figure is not what the network can do.

    Either its set is so small that the binomial 95% interval of the figure is wider than `WIDE`. Or no count of the
    images in its set gives it [1]_. Or it is what answers in random order give: it lies within 1.96 standard
    deviations of what `permuted` expects of our runs.

    References
    ----------
    .. [1] Brown, Heathers, The GRIM test: a simple technique detects numerous anomalies in the reporting of results
       in psychology, Social Psychological and Personality Science 8:363, 2017.
    """
    if claim.metric == "permuted_accuracy":
        if found.ours:
            low, high = min(found.ours) - 1.96 * found.spread, max(found.ours) + 1.96 * found.spread
            if low <= claim.value <= high:
                return f"Our own answers, put in random order, are right in {_range(low, high)} of the images."
    elif claim.n and is_share(claim):
        low, high = interval(claim.value, claim.n)
        if high - low > WIDE:
            right = round(claim.value * claim.n)
            return f"{right} of {claim.n} right: the 95% interval is {_range(low, high)}."
        if not countable(claim.value, _places(claim), claim.n):
            near = [shown(count / claim.n, 4) for count in (int(claim.value * claim.n), int(claim.value * claim.n) + 1)]
            return f"No count of {claim.n:,} images gives it: next to it are {' and '.join(near)}."
    return None


def _not_run(claim: Claim, found: Found) -> str | None:
    """*not run yet*: what follows needs runs, and there is none."""
    needed = found.honest if claim.metric == "augmentation_gain" else found.ours
    return None if claim.metric in FACTS or needed else "No seed of its cells is finished."


def _underspecified(claim: Claim, found: Found) -> str | None:
    """*underspecified*: set or settings that decide the figure are not published; ours is a reconstruction."""
    if not claim.unstated or claim.metric in FACTS:
        return None
    others = [f"{name} {_range(min(v), max(v))}" for name, v in found.others.items() if v]
    gave = _gave(claim, found, "our reconstruction")
    return f"{claim.unstated[0].upper()}{claim.unstated[1:]}; {'; '.join([gave, *others])}."


def prediction(values: tuple[float, ...]) -> tuple[float, float]:
    """Return the 95% interval in which one further training is to be expected, by Student's t [1]_.

    Mean ± t s sqrt(1 + 1/k), with k values of standard deviation s and t at k - 1 degrees of freedom; without limits
    for a single value. It takes trainings to be normally distributed.

    Parameters
    ----------
    values : tuple of float
        What the trainings gave.

    Returns
    -------
    low, high : float

    References
    ----------
    .. [1] Hahn, Meeker, Statistical intervals, 1991, chapter 4.

    Examples
    --------
    >>> [round(end, 2) for end in prediction((0.88, 0.90, 0.92))]
    [0.8, 1.0]
    """
    from scipy.stats import t

    if len(values) < 2:
        return -np.inf, np.inf
    reach = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * np.sqrt(1 + 1 / len(values))
    return float(np.mean(values) - reach), float(np.mean(values) + reach)


def _reach(claim: Claim, found: Found) -> tuple[float, float]:
    """Return how far ours goes: the range of the seeds and what one further training may give.

    It is widened by the binomial 95% interval of the claim's set where its images are others than ours, unless each
    seed draws its own: then the seeds hold that error.
    """
    if claim.metric == "augmentation_gain":
        return found.honest[1:]
    low, high = prediction(found.ours)
    low, high = min(low, *found.ours), max(high, *found.ours)
    if not is_share(claim):
        return low, high
    low, high = max(low, 0.0), min(high, 1.0)
    if claim.n and found.others_images:
        return interval(low, claim.n)[0], interval(high, claim.n)[1]
    return low, high


def is_share(claim: Claim) -> bool:
    """Tell whether a claim is one share, no fact and no range.

    Parameters
    ----------
    claim : Claim
        Of a recipe.

    Returns
    -------
    bool
    """
    return claim.metric in METRICS and not isinstance(claim.value, tuple)


def countable(value: float, places: int, n: int) -> bool:
    """Tell whether some count of `n` images gives a share, with the digits that were published, rounded or cut.

    The library mlscorecheck says the same of every share here; it would bring a solver of integer programs for this.

    Parameters
    ----------
    value : float
        The share, in [0, 1].
    places : int
        Its digits after the point.
    n : int
        Images.

    Returns
    -------
    bool

    Examples
    --------
    >>> countable(0.9151, 4, 624), countable(0.9151, 4, 16)
    (True, False)
    """
    digit = 10.0**-places
    return bool(np.floor((value + digit) * n - 1e-6) >= np.ceil((value - digit / 2) * n - 1e-6))


#: What numbers and lists that are written out are made of.
LITERAL = ast.Constant | ast.List | ast.Tuple | ast.Load
#: Of how many images of test, train and val a measure is: of all, of PNEUMONIA, of NORMAL.
SIZES = {"acc": (624, 5216, 16), "rec": (390, 3875, 8), "sen": (390, 3875, 8), "spe": (234, 1341, 8)}


def typed(text: str, share: str = r"\g<0>") -> Iterator[str]:
    """Look for figures of results that are typed in a text; settings, aims and chance are none.

    Parameters
    ----------
    text : str
        Prose, a comment or what is shown.
    share : str, optional
        What a number of four digits or more stands for, as `re.sub` takes it.

    Yields
    ------
    str
        For each sentence that has one: "typed", or "cited" where its paragraph names somebody else's.

    Examples
    --------
    >>> list(typed("It reaches an accuracy of 93.1%. The dropout is 0.25. We aim at an accuracy of 95%."))
    ['typed']
    """
    for part in WORDS["paragraph"].split(WORDS["row"].sub(" ", WORDS["comma"].sub(".", text.replace("_", " ")))):
        for said in WORDS["sentence"].split(part[:3000]):
            figure = WORDS["figure"].search(WORDS["share"].sub(share, WORDS["setting"].sub("", said)))
            if figure and not WORDS["aim"].search(said):
                yield "cited" if WORDS["cited"].search(part) else "typed"


def typed_in(node: ast.AST, *, own: bool = True) -> Iterator[str]:
    """Look for figures of results that are typed in a statement of Python: printed, named or in a text.

    Parameters
    ----------
    node : AST
        From `ast.parse`.
    own : bool, optional
        Whether a text that stands alone counts, and is not that of a library.

    Yields
    ------
    str
        As from `typed`.

    Examples
    --------
    >>> list(typed_in(ast.parse("test_accuracy = 0.931").body[0]))
    ['typed']
    """
    value = getattr(node, "value", None)
    named = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    for name, held in [*named, *((each, value) for each in getattr(node, "targets", []) if value)]:
        if name and all(isinstance(each, LITERAL) for each in ast.walk(held)):
            yield from typed(WORDS["points"].sub(r"\g<0>%", f"{ast.unparse(name)} {ast.unparse(held)}"))
    if isinstance(node, ast.Expr) and (own or not isinstance(value, ast.Constant)):
        is_print = ast.unparse(node).startswith("print(")
        held = [each for each in ast.walk(value) if isinstance(each, ast.Constant)]
        said = [str(each.value) for each in held if isinstance(each.value, str) or (is_print and each in value.args)]
        yield from typed(" ".join(said), r"accuracy \g<0>" if is_print else r"\g<0>")


def figures(path: Path) -> list[dict[str, Any]]:
    """Look at the figures of results that a page, such as a README, has.

    Parameters
    ----------
    path : Path
        A text.

    Returns
    -------
    list of dict
        Of accuracy, recall and specificity: ``line`` (from 1), ``figure`` (as it stands), ``of`` (how many images of
        test it is), ``possible`` (of the `SIZES` of test, train and val those of which it can be a share, rounded or
        cut), ``low`` and ``high`` (its 95% interval if it is of test), ``together`` (False if no answers to test give
        all the page's figures, precision among them; where each has one at the most, and none is said to be of train
        or validation, or somebody else's).

    Raises
    ------
    BadInput
        It can't be read.

    Examples
    --------
    >>> path = Path("README.md")
    >>> _ = path.write_text("It reaches an accuracy of 91.51% on test.", encoding="utf-8")
    >>> [(one["figure"], one["possible"]) for one in figures(path)]
    [('91.51%', [624, 5216])]
    """
    found, told, head = [], [], []
    for at, line in enumerate(files.read_text(path, most=2).splitlines(), 1):
        cells = line.split("|")
        names = len(cells) > 2 and WORDS["told"].search(line.lower()) and not WORDS["figure"].search(line[:3000])
        head = cells if names else head if len(cells) > 2 else []
        pairs = "; ".join(map(" ".join, zip(head, cells, strict=False))) if head not in ([], cells) else line
        for said in WORDS["figure"].finditer(WORDS["comma"].sub(".", pairs[:3000])):
            text, name = said[1] or said[2], (WORDS["told"].findall(said[0].lower()) or [""])[0]
            digits, percent = text.rstrip("% "), "%" in text
            # Keras prints float32: of their digits six places hold
            value, places = float(digits) / 100**percent, min(len(digits.partition(".")[2]) + 2 * percent, 6)
            if name in SIZES:
                sizes, (low, high) = SIZES[name], interval(min(value, 1), SIZES[name][0])
                possible = [n for n in sizes if value <= 1 and countable(value, places, n)]
                found += [{"line": at, "figure": text, "of": sizes[0], "possible": possible, "low": low, "high": high}]
            told += [(name, value, 10.0**-places)] * (name != "" and not WORDS["apart"].search(pairs))
    tp, tn = np.ogrid[:391, :235]
    of = {"acc": (tp + tn) / 624, "rec": tp / 390, "sen": tp / 390, "spe": tn / 234, "pre": tp / (tp + 234.001 - tn)}
    alone = len({"sen" if name == "rec" else name for name, _, _ in told}) == len(told)
    fits = np.ones((391, 235), dtype=bool)
    for name, value, digit in told if alone else []:
        fits &= abs(of[name] - value) <= digit
    return [each | {"together": bool(fits.any())} for each in found]


def _places(claim: Claim) -> int:
    return max(2, len(f"{claim.value:g}".partition(".")[2]))


def _ends(claim: Claim) -> tuple[float, float]:
    """Return the least and the most that a claim may mean: a share was rounded, to two places at least."""
    if not isinstance(claim.value, tuple):
        half = 0.5 * 10.0 ** -_places(claim)
        return claim.value - half, claim.value + half
    low, high = claim.value
    return -np.inf if low is None else low, np.inf if high is None else high


def _undecided(claim: Claim, found: Found) -> str | None:
    """*undecided*: outside the range of our seeds, and these differ so much that a further one may give it.

    That is where the interval of one further training is wider than `WIDE`.
    """
    if claim.metric in FACTS or claim.metric == "augmentation_gain":
        return None
    (low, high), (least, most) = _reach(claim, found), _ends(claim)
    within = least <= max(found.ours) and most >= min(found.ours)
    if within or high - low <= WIDE or not (least <= high and most >= low):
        return None
    if len(found.ours) < 2:
        return f"One training says nothing of the next: {_gave(claim, found, 'ours')}."
    return f"Our trainings differ too much: {_compared(claim, found)}"


def _reproduced(claim: Claim, found: Found) -> str | None:
    """*reproduced*: in the range of our seeds, or in the 95% interval of one further training; or a true fact."""
    if claim.metric in FACTS:
        return f"The dataset has {shown(FACTS[claim.metric])}."
    (low, high), (least, most) = _reach(claim, found), _ends(claim)
    return _compared(claim, found) if least <= high and most >= low else None


def _above(claim: Claim, found: Found) -> str | None:
    """*above what we can reach*: higher than that range."""
    return _compared(claim, found) if _ends(claim)[0] > _reach(claim, found)[1] else None


def _below(claim: Claim, found: Found) -> str | None:
    """*below*: lower than that range."""
    return _compared(claim, found) if _ends(claim)[1] < _reach(claim, found)[0] else None


#: The verdicts in order of precedence: the first whose rule answers is given.
VERDICTS: dict[str, Callable[[Claim, Found], str | None]] = {
    "true of another copy": _another_copy,
    "not a fact of the dataset": _not_a_fact,
    "typed text": _typed,
    "contradicts itself": _contradicts_itself,
    "an artefact": _artefact,
    NOT_RUN: _not_run,
    "underspecified": _underspecified,
    "undecided": _undecided,
    "reproduced": _reproduced,
    "above what we can reach": _above,
    "below": _below,
}


def verdict(claim: Claim, found: Found) -> tuple[str, str]:
    """Return the verdict on a claim, and why: the first of `VERDICTS` whose rule answers, and the claim's note.

    Parameters
    ----------
    claim : Claim
        Of a recipe.
    found : Found
        What it is judged by.

    Returns
    -------
    str, str

    Raises
    ------
    BadInput
        The claim's metric is not known.

    Examples
    --------
    >>> verdict(Claim(text="4,538 images", source="README", metric="images", value=4538), Found())[0]
    'not a fact of the dataset'
    """
    one_of(f"claim {claim.text!r}, its metric", claim.metric, [*METRICS, *FACTS])
    if is_share(claim) and not -1 <= claim.value <= 1:
        raise BadInput(f"claim {claim.text!r}: value {claim.value!r} is no share; write 93% as 0.93")
    for name, rule in VERDICTS.items():
        if why := rule(claim, found):
            return name, f"{why} {claim.note}".rstrip()
    raise BadInput(f"claim {claim.text!r}: value {claim.value!r} can't be compared with {found.ours}")


def shown(value: Any, places: int = 3) -> str:
    """Write a value as the tables show it: counts with commas, shares with some places and no zero before the point.

    Parameters
    ----------
    value : float, int, tuple or str
        The value.
    places : int
        Behind the point, of a share.

    Returns
    -------
    str

    Examples
    --------
    >>> shown(0.8954), shown(4538), shown((1341, 3875))
    ('.895', '4,538', '1,341 and 3,875')
    """
    if isinstance(value, tuple):
        return " and ".join(shown(part) for part in value)
    if isinstance(value, (float, np.floating)):
        return f"{value:.{places}f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def published(claim: Claim) -> str:
    """Write what a claim says, with all its digits.

    Parameters
    ----------
    claim : Claim
        Of a recipe.

    Returns
    -------
    str

    Examples
    --------
    >>> published(Claim(text="83% on test", source="README", metric="test_accuracy", value=0.83))
    '.83'
    """
    if claim.metric in FACTS:
        return shown(claim.value)
    if isinstance(claim.value, tuple):
        low, high = (None if end is None else f"{end:g}" for end in claim.value)
        return f"above {low}" if high is None else f"{high} or less" if low is None else f"{low} to {high}"
    return f"{claim.value:g}".replace("0.", ".", 1)


def _range(low: float, high: float) -> str:
    return f"{shown(low)} to {shown(high)}" if shown(low) != shown(high) else shown(low)


def _seeds(found: Found) -> str:
    less = "" if len(found.ours) >= found.planned else f" ({of_seeds(len(found.ours), found.planned)} seeds)"
    return f"{_range(min(found.ours), max(found.ours))}{less}"


def _gave(claim: Claim, found: Found, who: str) -> str:
    if claim.metric == "augmentation_gain":
        mean, low, high = found.honest
        return f"on plain_224 augmentation changed our test accuracy by {shown(mean)} ({_range(low, high)})"
    return f"{who} gave {_seeds(found)}"


def _compared(claim: Claim, found: Found) -> str:
    gave = _gave(claim, found, "our seeds")
    if claim.metric == "augmentation_gain" or len(found.ours) < 2:
        return f"{gave[0].upper()}{gave[1:]}."
    others = f" and the error of {claim.n:,} other images" if claim.n and found.others_images else ""
    return f"{gave[0].upper()}{gave[1:]}; with one further training{others} {_range(*_reach(claim, found))}."


def of_seeds(seeds: int, planned: int) -> str:
    """Say how many of the seeds are there: "2 of 3".

    Parameters
    ----------
    seeds, planned : int
        How many there are, and how many there will be.

    Returns
    -------
    str
    """
    return f"{seeds} of {max(seeds, planned)}"
