"""Claims + results → the replication table: what was published, what came out here, and one verdict a claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxr_utils import dataset, evaluation, files, grid, recipes
from cxr_utils.errors import BadInput
from cxr_utils.recipes import Claim

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


class Metric(NamedTuple):
    """What a claim is compared with: in words, of a run under its own protocol, and of test under the honest one."""

    words: str
    ours: Callable[[dict, pd.DataFrame], float] | None
    honest: Callable[[dict], Any]
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


def _half(record: dict, part: str) -> dict[str, float]:
    """Return the metrics of a part at .5, without their intervals; NaN where there is none."""
    half = record["metrics"][part]["at_half"]
    return {metric: np.nan if found["value"] is None else found["value"] for metric, found in half.items()}


def _accuracy(metrics: dict) -> Any:
    return metrics["accuracy"]


def _recall_minus_precision(metrics: dict) -> Any:
    return metrics["sensitivity"] - metrics["ppv"]


#: What claims are compared with, by the name in `Claim.metric`. Under the honest protocol it is always read on test.
METRICS: dict[str, Metric] = {
    "train_accuracy": Metric(
        "accuracy in training", lambda run, _: run["history"][run["kept_epoch"] - 1]["accuracy"], _accuracy
    ),
    "validation_accuracy": Metric(
        "accuracy in validation", lambda run, _: _accuracy(_half(run, "validation")), _accuracy
    ),
    "best_validation_accuracy": Metric(
        "accuracy in validation, best epoch", lambda run, _: max(e["val_accuracy"] for e in run["history"]), _accuracy
    ),
    "last_validation_accuracy": Metric(
        "accuracy in validation, last epoch", lambda run, _: run["history"][-1]["val_accuracy"], _accuracy
    ),
    "test_accuracy": Metric("accuracy on test", lambda run, _: _accuracy(_half(run, "test")), _accuracy),
    "permuted_accuracy": Metric("accuracy of permuted answers", lambda _, test: permuted(test)[0], _accuracy),
    "recall_minus_precision": Metric(
        "recall less precision on test",
        lambda run, _: _recall_minus_precision(_half(run, "test")),
        _recall_minus_precision,
        least=-1.0,
    ),
    # No published system trained both ways: the grid's ablation of plain_224 answers.
    "augmentation_gain": Metric("accuracy with augmentation less without, plain_224", None, _accuracy),
}
_GAIN = ("plain_224", "plain_224-unaugmented")
#: What each ablation asks about, and the recipes (or variants) with it and without.
ABLATIONS = (
    ("augmentation", *_GAIN),
    ("augmentation", "reference", "reference-unaugmented"),
    ("SMOTE", "smote_224", "smote_224-unbalanced"),
    ("class weights", "smote_224-class_weight", "smote_224-unbalanced"),
)


def interval(value: float, n: int) -> tuple[float, float]:
    """Return the 95% interval of a share of `n` images, after Clopper and Pearson [1]_.

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
    if rival is None or not (_is_share(claim) and _is_share(rival)) or not (n := claim.n or rival.n):
        return None
    (low, high), (least, most) = interval(claim.value, n), interval(rival.value, rival.n or n)
    if low <= rival.value <= high or least <= claim.value <= most:
        return None
    ours = f"; our seeds gave {_seeds(found)}" if found.ours else ""
    doubt = "" if claim.n or _countable(claim, n) else f"; its set is not stated, and no count of {n:,} images gives it"
    return (
        f"The same source says {published(found.rival)}; on {n:,} images the 95% interval of "
        f"{published(claim)} is {_range(low, high)}{doubt}{ours}."
    )


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
    elif claim.n and _is_share(claim):
        low, high = interval(claim.value, claim.n)
        if high - low > WIDE:
            right = round(claim.value * claim.n)
            return f"{right} of {claim.n} right: the 95% interval is {_range(low, high)}."
        if not _countable(claim, claim.n):
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
    if not _is_share(claim):
        return low, high
    low, high = max(low, 0.0), min(high, 1.0)
    if claim.n and found.others_images:
        return interval(low, claim.n)[0], interval(high, claim.n)[1]
    return low, high


def _is_share(claim: Claim) -> bool:
    return claim.metric in METRICS and not isinstance(claim.value, tuple)


def _countable(claim: Claim, n: int) -> bool:
    """Tell whether some count of `n` images gives the share, with the digits that were published, rounded or cut.

    The library mlscorecheck says the same of every share here; it would bring a solver of integer programs for this.
    """
    digit = 10.0 ** -_places(claim)
    return np.floor((claim.value + digit) * n - 1e-6) >= np.ceil((claim.value - digit / 2) * n - 1e-6)


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

    Raises
    ------
    BadInput
        The claim's metric is not known.

    Examples
    --------
    >>> verdict(Claim(text="4,538 images", source="README", metric="images", value=4538), Found())[0]
    'not a fact of the dataset'
    """
    if claim.metric not in METRICS and claim.metric not in FACTS:
        known = ", ".join([*METRICS, *FACTS])
        raise BadInput(f"claim {claim.text!r}: metric {claim.metric!r} is not known; there are {known}")
    if _is_share(claim) and not -1 <= claim.value <= 1:
        raise BadInput(f"claim {claim.text!r}: value {claim.value!r} is no share; write 93% as 0.93")
    for name, rule in VERDICTS.items():
        if why := rule(claim, found):
            return name, f"{why} {claim.note}".rstrip()
    raise BadInput(f"claim {claim.text!r}: value {claim.value!r} can't be compared with {found.ours}")


def shown(value: Any, places: int = 3) -> str:
    """Write a value as the tables show it: counts with commas, shares with some places and no zero before the point.

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
    less = "" if len(found.ours) >= found.planned else f" ({_count(len(found.ours), found.planned)} seeds)"
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


def _count(seeds: int, planned: int) -> str:
    """Say how many of the seeds are there: "2 of 3"."""
    return f"{seeds} of {max(seeds, planned)}"


class _Results:
    """The finished cells of a folder, grouped by recipe (or variant) and protocol, in order of their seeds."""

    def __init__(self, out: str | Path):
        self.out = files.resolve(out)
        self.records: dict[tuple[str, str], list[dict]] = {}
        self.kept: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for record in sorted(grid.results(out).values(), key=lambda record: record["seed"]):
            key = record["cell"].rsplit("-", 2)[0], record["protocol"]
            alike = self.records.setdefault(key, [])
            for what in ("version", "recipe", *(["split"] if record["protocol"] == "honest" else [])):
                if alike and alike[0][what] != record[what]:
                    raise BadInput(
                        f"{self.out / 'runs'}: {alike[0]['cell']} and {record['cell']} differ in their {what}, so no "
                        "mean can be taken; delete the JSON of the older one to have it made again"
                    )
            alike.append(record)

    def of(self, recipe: str, protocol: str) -> list[dict]:
        return self.records.get((recipe, protocol), [])

    def test(self, record: dict) -> pd.DataFrame:
        """Return the predictions of test, sorted by path, if they are those that the record was made from."""
        path = self.out / "runs" / f"{record['cell']}.predictions.csv.gz"
        table = evaluation.read_predictions(path)
        split = self.out / "splits" / f"{record['split']}.csv.gz"
        if split.is_file():
            evaluation.check(table, files.read_csv(split, columns=("path", "label", "part")), where=path)
        test = table[table["split"] == "test"].sort_values("path", ignore_index=True)
        known, now = _half(record, "test"), evaluation.metrics(test["label"], test["probability"])
        if wrong := [name for name in MEASURES if abs(now[name] - known[name]) > 1e-5]:
            raise BadInput(
                f"{path}: gives {wrong[0]} {now[wrong[0]]:.3f} on test, but the record beside it says "
                f"{known[wrong[0]]:.3f}; put back both files, or move both away to have them made again"
            )
        return test

    def draws(self, recipe: str, protocol: str) -> dict[str, np.ndarray]:
        """Return the mean over the seeds of every metric on each bootstrap sample of test: the same for all cells."""
        if (recipe, protocol) not in self.kept:
            drawn = [evaluation.resample(self.test(record)) for record in self.of(recipe, protocol)]
            self.kept[recipe, protocol] = {m: np.mean([one[m] for one in drawn], axis=0) for m in drawn[0]}
        return self.kept[recipe, protocol]

    def honest(self, claim: Claim, recipe: str) -> tuple[tuple[float, float, float] | None, int]:
        """Return a claim's metric on test under the honest protocol (mean, low, high), and the number of seeds."""
        names = _GAIN if claim.metric == "augmentation_gain" else (recipe,)
        seeds = min(len(self.of(name, "honest")) for name in names)
        metric = METRICS[claim.metric]
        return (self.mean(metric.honest, *names, least=metric.least) if seeds else None), seeds

    def mean(
        self, take: Callable[[dict], Any], recipe: str, without: str = "", *, protocol="honest", least=0.0
    ) -> tuple[float, float, float]:
        """Return the mean over the runs of what `take` takes of their test, less another's, and its interval."""
        names = [recipe, *([without] if without else [])]
        arms = [[take(_half(run, "test")) for run in self.of(name, protocol)] for name in names]
        drawn = [take(self.draws(name, protocol)) for name in names]
        bounds = (-1.0, 1.0) if without else (least, 1.0)
        return evaluation.over_seeds(arms, drawn[0] - sum(drawn[1:]), bounds=bounds)

    def found(self, claim: Claim, recipe: recipes.Recipe, others: list[str]) -> Found:
        """Gather what a claim is judged by."""
        if claim.metric not in METRICS:
            return Found()
        ours = METRICS[claim.metric].ours
        shuffled = claim.metric == "permuted_accuracy"

        def values(name):
            runs = self.of(name, "published") if ours else []
            made = [float(ours(run, self.test(run) if shuffled else None)) for run in runs]
            return tuple(value for value in made if np.isfinite(value))

        metric_of_test = claim.metric in ("test_accuracy", "permuted_accuracy", "recall_minus_precision")
        drawn = recipe.split.get("validation") not in (None, "test", "val")
        spread = [permuted(self.test(run))[1] for run in self.of(recipe.name, "published")] if shuffled else []
        honest, honest_seeds = self.honest(claim, recipe.name)
        return Found(
            ours=values(recipe.name),
            planned=grid.planned(_GAIN[0] if claim.metric == "augmentation_gain" else recipe.name),
            others_images=drawn and not metric_of_test and "random_state" in recipe.split,
            spread=max(spread, default=0.0),
            honest=honest,
            honest_seeds=honest_seeds,
            rival=_rival(claim, recipe.number),
            others={name: values(name) for name in others},
        )


def _rival(claim: Claim, system: str) -> Claim | None:
    if not claim.contradicts:
        return None
    for recipe in map(recipes.get, recipes.names()):
        for other in recipe.claims if recipe.number == system else ():
            if other.text == claim.contradicts:
                return other
    raise BadInput(
        f"system {system}: claim {claim.text!r} contradicts {claim.contradicts!r}, "
        "which is not the text of another of its claims"
    )


def table(out: str | Path) -> pd.DataFrame:
    """Judge every claim of every recipe by the results that are there.

    Parameters
    ----------
    out : str or Path
        A folder of results, see `grid.evaluate`. It may hold any part of the grid, also none.

    Returns
    -------
    DataFrame
        One row a claim, by system. ``system``, ``recipe``, ``claim``, ``source``, ``place``, ``address`` (where it
        can be read), ``metric`` (str); ``published``
        (str, as shown) and ``value`` (float, <NA> unless a single share), ``n`` (Int64, images of its set) and
        ``low``, ``high`` (its binomial 95% interval there); ``dataset`` (str, what the dataset has, of facts);
        ``reconstruction`` (bool: set or settings were not published); ``ours``, ``ours_min``, ``ours_max`` (under
        the published protocol: mean and range over the seeds) and ``seeds`` (str, "2 of 3"); ``honest``,
        ``honest_low``, ``honest_high`` (under the honest protocol, on test: mean over the seeds, and the 95% interval
        that `summary` explains) and ``honest_seeds``; ``verdict`` (one of `VERDICTS`) and ``why`` (str).
        Figures of runs that are not there are <NA>.

    Raises
    ------
    BadInput
        A claim's metric is not known, or it contradicts a claim that is not there; results are broken.
    """
    return _table(_Results(out))


def _table(results: _Results) -> pd.DataFrame:
    every = sorted((recipes.get(name) for name in recipes.names()), key=lambda r: (r.system, r.name))
    rows = []
    for recipe in every:
        others = [r.name for r in every if r.system == recipe.system and r.name != recipe.name]
        for claim in recipe.claims:
            found = results.found(claim, recipe, others)
            judged, why = verdict(claim, found)
            share = _is_share(claim)
            low, high = interval(claim.value, claim.n) if share and claim.n else (None, None)
            ours, fact = found.ours, claim.metric in FACTS
            rows.append(
                {
                    "system": recipe.system,
                    "recipe": recipe.name,
                    "claim": claim.text,
                    "source": claim.source,
                    "place": claim.place,
                    "address": recipe.published.link(claim),
                    "metric": claim.metric,
                    "published": published(claim),
                    "value": claim.value if share else None,
                    "n": claim.n,
                    "low": low,
                    "high": high,
                    "dataset": shown(FACTS[claim.metric]) if fact else "",
                    "reconstruction": bool(claim.unstated),
                    "ours": np.mean(ours) if ours else None,
                    "ours_min": min(ours, default=None),
                    "ours_max": max(ours, default=None),
                    "seeds": "" if fact or METRICS[claim.metric].ours is None else _count(len(ours), found.planned),
                    **dict(zip(("honest", "honest_low", "honest_high"), found.honest or (None,) * 3, strict=True)),
                    "honest_seeds": "" if fact else _count(found.honest_seeds, found.planned),
                    "verdict": judged,
                    "why": why,
                }
            )
    numbers = ["value", "low", "high", "ours", "ours_min", "ours_max", "honest", "honest_low", "honest_high"]
    done = pd.DataFrame(rows)
    return done.astype({"n": "Int64"} | {name: "Float64" for name in numbers}).round(dict.fromkeys(numbers, 4))


MEASURES = ("accuracy", "auc", "sensitivity", "specificity")
_WITHOUT = ("accuracy_without_known", "auc_without_known")


def summary(out: str | Path) -> pd.DataFrame:
    """Sum up the grid: one row a recipe (or variant) and protocol, and one a table of `cxr score`.

    The 95% interval is of the mean over the seeds, and holds the error of training as well as that of the test set,
    which does not shrink with more seeds: `evaluation.over_seeds` says how, with the patient groups of 2,000 draws, the
    same for all seeds. Of one seed it holds the test set's error alone. NORMAL numbers are not known to be patients, so
    for them it may be too narrow.

    Parameters
    ----------
    out : str or Path
        As for `table`; ``scores/*.json`` there are added as rows.

    Returns
    -------
    DataFrame
        ``recipe``, ``protocol``, ``seeds`` (str, "0 of 3" where nothing was run); of accuracy, auc, sensitivity and
        specificity, on test at .5, the mean over the seeds, and with ``_min``, ``_max``, ``_low`` and ``_high`` their
        range and the interval; ``validation_auc`` and ``validation_images``, ``validates_on`` ("test" is the mistake
        of some systems); ``accuracy_without_known`` and ``auc_without_known`` (test without known person numbers:
        of its 304 images 234 are NORMAL, so that its accuracy can't be set beside that of the whole test);
        ``epochs`` (trained) and ``minutes`` (training), both means; ``parameters``, ``precision``, ``hardware`` and
        ``images`` (the source). Figures of runs that are not there are <NA>.

    Raises
    ------
    BadInput
        Results are broken.
    """
    return _summary(_Results(out))


def _summary(results: _Results) -> pd.DataFrame:
    rows = []
    planned = dict.fromkeys((cell.recipe, cell.protocol) for cell in grid.cells(seeds=[0]))
    for recipe, protocol in planned:
        runs = results.of(recipe, protocol)
        row: dict[str, Any] = {"recipe": recipe, "protocol": protocol, "seeds": _count(len(runs), grid.planned(recipe))}
        for metric in MEASURES if runs else ():
            values = [_half(run, "test")[metric] for run in runs]
            limits = results.mean(lambda metrics, metric=metric: metrics[metric], recipe, protocol=protocol)[1:]
            row |= _five(metric, values, *limits)
        rows.append(row | (_run_facts(runs) if runs else {}))
    usual = {run["metrics"]["test"]["images"] for runs in results.records.values() for run in runs}
    for path in sorted((results.out / "scores").glob("*.json")):
        record = files.read_record(path)
        row = score_row(record, where=path)
        if usual and (count := record["metrics"]["test"]["images"]) not in usual:
            row["recipe"] += f" (other test, {count:,} images)"
        rows.append(row)
    measures = [f"{metric}{end}" for metric in MEASURES for end in ("", "_min", "_max", "_low", "_high")]
    numbers = [*measures, "validation_auc", *_WITHOUT, "epochs", "minutes"]
    counts = ["validation_images", "parameters"]
    words = ["validates_on", "precision", "hardware", "images"]
    done = pd.DataFrame(rows, columns=["recipe", "protocol", "seeds", *numbers, *counts, *words])
    types = {"Float64": numbers, "Int64": counts, object: words}
    done = done.astype({name: kind for kind, names in types.items() for name in names})
    places = dict.fromkeys(numbers, 4) | {"epochs": 1, "minutes": 1}
    return done.round(places).fillna({name: "" for name in words})


def _five(metric: str, values: list[float], low: float, high: float) -> dict[str, float]:
    named = {"": np.mean(values), "_min": min(values), "_max": max(values), "_low": low, "_high": high}
    return {f"{metric}{end}": value for end, value in named.items()}


def _run_facts(runs: list[dict]) -> dict[str, Any]:
    """Say what runs of one kind have in common, and the means of what they have not."""

    def every(take):
        return "; ".join(dict.fromkeys(str(take(run)) for run in runs))

    def mean(take):
        return np.mean([take(run) for run in runs])

    known = all("test_without_known" in run["metrics"] for run in runs)
    without = {name: mean(lambda run, name=name: _without_known(run)[name]) for name in _WITHOUT} if known else {}
    return without | {
        "validation_auc": mean(lambda run: _half(run, "validation")["auc"]),
        "validation_images": runs[0]["metrics"]["validation"]["images"],
        "validates_on": runs[0]["validate_on"],
        "epochs": mean(lambda run: run["epochs_run"]),
        "minutes": mean(lambda run: run["seconds"] / 60),
        "parameters": runs[0]["parameters"],
        "precision": every(lambda run: run["precision"]),
        "hardware": every(lambda run: ", ".join(f"{name} {value}" for name, value in run["hardware"].items())),
        "images": every(lambda run: run["image_source"]),
    }


def _without_known(record: dict) -> dict[str, float]:
    part = _half(record, "test_without_known")
    return {name: part[name.partition("_")[0]] for name in _WITHOUT}


def score_row(record: dict[str, Any], *, where: str | Path = "record") -> dict[str, Any]:
    """Make the row of `summary` for predictions that `cxr_utils.score.score` judged: one model, its bootstrap limits.

    Parameters
    ----------
    record : dict
        With name and metrics.
    where : str or Path
        What errors call it.

    Raises
    ------
    BadInput
        It is not such a record.
    """
    try:
        metrics = record["metrics"]
        row = {"recipe": record["name"].replace("_", " "), "protocol": "scored", "seeds": "1 of 1"}
        for metric in MEASURES:
            found = metrics["test"]["at_half"][metric]
            row |= _five(metric, [found["value"]], found["low"], found["high"])
        if "validation" in metrics:
            row |= {"validation_auc": _half(record, "validation")["auc"], "validates_on": "validation"}
            row |= {"validation_images": metrics["validation"]["images"]}
        return row | (_without_known(record) if "test_without_known" in metrics else {})
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{where}: not a record of `cxr score` ({error}); make it again") from None


def ablations(out: str | Path) -> pd.DataFrame:
    """Compare networks trained with and without one thing, under the honest protocol.

    Parameters
    ----------
    out : str or Path
        As for `table`.

    Returns
    -------
    DataFrame
        One row of `ABLATIONS` whose runs are there. ``setting``, ``recipe``, ``without``, ``seeds`` and
        ``seeds_without`` (str, "3 of 3"); of accuracy, auc, sensitivity and specificity on test at .5 the mean over
        the seeds less that without the setting, and with ``_low`` and ``_high`` its 95% interval, from
        `evaluation.over_seeds`: the same patient groups are drawn for both, seeds are not paired.

    Raises
    ------
    BadInput
        Results are broken.
    """
    return _ablations(_Results(out))


def _ablations(results: _Results) -> pd.DataFrame:
    ends = ("", "_low", "_high")
    columns = ["setting", "recipe", "without", "seeds", "seeds_without"]
    figures = [f"{metric}{end}" for metric in MEASURES for end in ends]
    rows = []
    for setting, recipe, without in ABLATIONS:
        counts = [len(results.of(name, "honest")) for name in (recipe, without)]
        if not all(counts):
            continue
        told = [_count(count, grid.planned(name)) for count, name in zip(counts, (recipe, without), strict=True)]
        row: dict[str, Any] = dict(zip(columns, (setting, recipe, without, *told), strict=True))
        for metric in MEASURES:
            found = results.mean(lambda metrics, metric=metric: metrics[metric], recipe, without)
            row |= {f"{metric}{end}": value for end, value in zip(ends, found, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*columns, *figures]).round(dict.fromkeys(figures, 4))


HEAD = (
    "| network | protocol | seeds | accuracy (seeds) [95%] | AUC (seeds) [95%] | sens. | spec. | AUC val. "
    "| AUC new | min |"
)


def grid_row(row: Any) -> str:
    """Write a row of `summary`, or one of `score_row`, as Markdown under `HEAD`.

    Examples
    --------
    >>> grid_row({"recipe": "mine", "protocol": "scored", "seeds": "1 of 1", "accuracy": 0.9})[:28]
    '| mine | scored | 1 | .900 |'
    """
    cells = [row["recipe"], row["protocol"], row["seeds"].removesuffix(f" of {row['seeds'].split()[0]}")]
    for metric in ("accuracy", "auc"):
        low, high = _at(row, f"{metric}_min"), _at(row, f"{metric}_max")
        limits = "–".join(filter(None, (_at(row, f"{metric}_low"), _at(row, f"{metric}_high"))))
        cell = [_at(row, metric), f"({low}–{high})" if low != high else "", f"[{limits}]" if limits else ""]
        cells.append(" ".join(filter(None, cell)))
    cells += [_at(row, name) for name in ("sensitivity", "specificity", "validation_auc", "auc_without_known")]
    cells.append("" if pd.isna(row.get("minutes")) else f"{row['minutes']:.1f}")
    return f"| {' | '.join(cells)} |"


def _at(row: Any, name: str) -> str:
    return "" if pd.isna(row.get(name)) else shown(float(row[name]))


def write(out: str | Path) -> list[Path]:
    """Write ``claims.csv`` (`table`), ``grid.csv`` (`summary`) and ``ablations.csv`` to `out`, and return their paths.

    Raises
    ------
    BadInput
        As for `table`.
    """
    made = tables(out)
    for name, content in made.items():
        files.write_csv(files.resolve(out) / name, content, ours=content.columns[:3])
    return [files.resolve(out) / name for name in made]


def tables(out: str | Path) -> dict[str, pd.DataFrame]:
    """Return `table`, `summary` and `ablations` by the names of their files, read from the results once."""
    results = _Results(out)
    return {"claims.csv": _table(results), "grid.csv": _summary(results), "ablations.csv": _ablations(results)}
