"""Predictions → metrics with intervals, thresholds, operating points. A table from any framework will do."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import files, ledger, models
from cxr_utils.dataset import CLASSES
from cxr_utils.errors import BadInput

COLUMNS = ("path", "patient", "split", "label", "probability")
METRICS = (
    "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1",
    "auc", "average_precision", "brier", "ece",
)  # fmt: skip
#: Draws times images that lie in memory at once. The tables of this dataset fit in whole; larger ones are drawn in
#: blocks an eighth of it, which are faster.
BLOCK = 2**22


def predict(
    run, pixels, split: pd.DataFrame, *, parts=("validation", "test"), views: int = 0, entered: bool = False
) -> pd.DataFrame:
    """Let a model answer, and keep the truth beside each answer so that they can't be misaligned.

    Parameters
    ----------
    run : cxr_utils.training.Run or keras.Model
        A run also gets the table as ``predictions.csv`` in its folder; parts that are there already
        are read from it. It answers as its recipe says: some average several views of an image.
    pixels : array of uint8, shape (n, s, s, 1)
        The image cache.
    split : DataFrame
        Row by row with `pixels`.
    parts : sequence of {"train", "validation", "test"}
        What is predicted.
    views : int
        How many changed views a model averages; a run's recipe says so itself.
    entered : bool
        Whether the reading of test stands in a ledger already. Else that of a run is entered into one in its folder,
        see `cxr_utils.ledger`.

    Returns
    -------
    DataFrame
        path, patient, split (the part), label (0 NORMAL, 1 PNEUMONIA), probability (of PNEUMONIA, float
        in [0, 1]) and kind; sorted by part and path.

    Raises
    ------
    BadInput
        A part that the split does not have; or the kept table is not of the split, see `check`.

    Examples
    --------
    >>> predict(run, pixels, split, parts=("validation",))["split"].unique().tolist()
    ['validation']
    """
    for part in parts:
        if not (split["part"] == part).any():
            raise BadInput(f"parts: the split has no image in part {part!r}")
    if not hasattr(run, "load_model"):
        return _predict(run, pixels, split, parts, views=views)
    path = run.folder / "predictions.csv"
    there: Any = check(read_predictions(path), split, where=path) if path.is_file() else None
    missing = [p for p in parts if there is None or p not in set(there["split"])]
    if missing:
        if "test" in missing and not entered:
            identity = files.digest(run.record, length=12)
            whose = {"protocol": run.record["protocol"], "remark": run.record.get("image_source", "")}
            ledger.enter(run.folder, cell=run.folder.name, identity=identity, **whose)
        fresh = _predict(run.load_model(), pixels, split, missing, views=run.record["recipe"].get("views", 0))
        there = pd.concat([there, fresh]).sort_values(["split", "path"], ignore_index=True)
        files.write_csv(path, there, ours=COLUMNS)
        there = read_predictions(path)
    return there[there["split"].isin(parts)].reset_index(drop=True)


def _predict(model, pixels, split, parts, *, views: int = 0) -> pd.DataFrame:
    wanted = split["part"].isin(parts)
    probability = models.answers(model, pixels, np.flatnonzero(wanted), views=views)
    table = split[wanted].assign(split=split.loc[wanted, "part"], probability=probability)
    return table[[*COLUMNS, "kind"]].sort_values(["split", "path"], ignore_index=True)


def check(predictions: pd.DataFrame, split: pd.DataFrame, *, where: str | Path) -> pd.DataFrame:
    """Hold a kept table of predictions against the split that it was made by.

    Parameters
    ----------
    predictions : DataFrame
        From `read_predictions`.
    split : DataFrame
        From `cxr_utils.splits`: path, label, part, and patient and kind where it has them.
    where : str or Path
        What errors call the table.

    Returns
    -------
    DataFrame
        The same table.

    Raises
    ------
    BadInput
        An image of a part that is there is missing or stands there twice, another is there, or its label, patient or
        kind is another.

    Examples
    --------
    >>> split = pd.DataFrame({"path": ["a.jpeg"], "label": [1], "part": ["test"]})
    >>> check(split.rename(columns={"part": "split"}), split, where="predictions.csv")["path"].tolist()
    ['a.jpeg']
    """
    way_out = "move the file away, and the images are predicted again"
    found = predictions.rename(columns={"split": "part"})
    for part in found["part"].unique():
        paths, wanted = (table.loc[table["part"] == part, "path"] for table in (found, split))
        for wrong, what in (
            (wanted[~wanted.isin(paths)], "missing"),
            (paths[~paths.isin(wanted)], "there that the split does not have"),
            (paths[paths.duplicated()], "there twice"),
        ):
            if len(wrong):
                raise BadInput(f"{where}: of {len(wanted):,} images of {part} {len(wrong):,} are {what}, first "
                               f"{wrong.iloc[0]}; {way_out}")  # fmt: skip
    both = found.merge(split, on=["path", "part"], suffixes=("", "_there"))
    for column in ("label", "patient", "kind"):
        if f"{column}_there" in both:
            is_, was = (both[name].astype("string").fillna("") for name in (column, f"{column}_there"))
            if (differ := is_ != was).any():
                first = both[differ].iloc[0]
                said = f"{first['path']}: {first[column]} for {first[f'{column}_there']}"
                count = f"{column} of {differ.sum():,} images"
                raise BadInput(f"{where}: {count} is not that of the split, first {said}; {way_out}")
    return predictions


def read_predictions(path: str | Path, *, columns=COLUMNS) -> pd.DataFrame:
    """Read a table of predictions, whoever made it.

    Parameters
    ----------
    path : str or Path
        A CSV file, also with a name in ``.csv.gz``.
    columns : sequence of str
        What it must have.

    Returns
    -------
    DataFrame
        The file's columns: path, patient and split as string, label (0 or 1), probability and threshold (in [0, 1]).

    Raises
    ------
    BadInput
        A column is missing, a label is not 0 or 1, or a probability or threshold is not in [0, 1].

    Examples
    --------
    >>> predictions.to_csv("mine.csv", index=False)
    >>> len(read_predictions("mine.csv")) == len(predictions)
    True
    """
    table = files.read_csv(path, columns=columns)
    table = table.astype({c: "string" for c in ("path", "patient", "split") if c in table})
    for column in [name for name in ("label", "probability", "threshold") if name in table]:
        values = pd.to_numeric(table[column], errors="coerce")
        good = values.isin([0, 1]) if column == "label" else values.between(0, 1)
        if not good.all():
            line = int(np.flatnonzero(~good)[0])
            wanted = "0 or 1" if column == "label" else "a number in [0, 1]"
            value = table[column].tolist()[line]
            raise BadInput(f"{path}, line {line + 2}: {column} is {value!r}, it must be {wanted}")
    return table


def _both(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    y_true, y_score = np.asarray(y_true, dtype="int64"), np.asarray(y_score, dtype="float64")
    if len(y_true) != len(y_score):
        raise BadInput(f"y_true has {len(y_true)} values and y_score {len(y_score)}: they must belong together")
    if not np.isin(y_true, (0, 1)).all() or len(np.unique(y_true)) < 2:
        raise BadInput("y_true must hold both classes, as 0 (NORMAL) and 1 (PNEUMONIA), and nothing else")
    if not ((y_score >= 0) & (y_score <= 1)).all():
        raise BadInput("y_score must hold probabilities in [0, 1], without NaN")
    return y_true, y_score


def metrics(y_true, y_score, *, threshold: float = 0.5) -> dict[str, float]:
    """Return all metrics of a set of predictions.

    Parameters
    ----------
    y_true : array of int, shape (n,)
        0 NORMAL, 1 PNEUMONIA.
    y_score : array of float in [0, 1], shape (n,)
        Probability of PNEUMONIA.
    threshold : float
        From this probability on the answer is PNEUMONIA.

    Returns
    -------
    dict of str to float
        accuracy, balanced_accuracy, sensitivity, specificity, ppv, npv, f1, auc, average_precision,
        brier [1]_ and ece (expected calibration error over ten bins of equal width [2]_). A predictive
        value without any answer of its kind is NaN.

    Raises
    ------
    BadInput
        One class only, lengths that differ, or probabilities outside [0, 1].

    References
    ----------
    .. [1] Brier, Verification of forecasts expressed in terms of probability, 1950.
    .. [2] Naeini, Cooper, Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.

    Examples
    --------
    >>> metrics([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])["specificity"]
    0.5
    """
    y_true, y_score = _both(y_true, y_score)
    table = _weighted(y_true, y_score, np.ones((1, len(y_true))), threshold)
    return {name: float(values[0]) for name, values in table.items()}


def _weighted(y_true, y_score, weights, threshold) -> dict[str, np.ndarray]:
    """Compute every metric for each row of weights, shape (draws, n), at once.

    Tied scores share one step of the curves, as in scikit-learn.
    """
    order = np.argsort(-y_score, kind="stable")
    y, p, w = y_true[order], y_score[order], weights[:, order]
    positive, negative = w * y, w * (1 - y)
    n_pos, n_neg = positive.sum(1), negative.sum(1)
    first_of_tie = np.flatnonzero(np.append(True, np.diff(p) != 0))
    tied = len(first_of_tie) < len(p)
    tp_steps, fp_steps = (np.add.reduceat(one, first_of_tie, axis=1) if tied else one for one in (positive, negative))
    tp = tp_steps.cumsum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = p >= threshold
        hits, alarms = positive[:, at].sum(1), negative[:, at].sum(1)
        sensitivity, specificity = hits / n_pos, 1 - alarms / n_neg
        auc = (fp_steps * (tp - tp_steps / 2)).sum(1) / (n_pos * n_neg)
        called = tp + fp_steps.cumsum(1)
        precision = np.divide(tp, called, out=np.zeros_like(tp), where=called > 0)
        average_precision = (precision * tp_steps).sum(1) / n_pos
        total = n_pos + n_neg
        result = {
            "accuracy": (hits + n_neg - alarms) / total,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "ppv": hits / (hits + alarms),
            "npv": (n_neg - alarms) / (n_neg - alarms + n_pos - hits),
            "f1": 2 * hits / (hits + alarms + n_pos),
            "auc": auc,
            "average_precision": average_precision,
            "brier": (w * (p - y) ** 2).sum(1) / total,
        }
    in_bin = np.eye(10)[np.minimum((p * 10).astype(int), 9)]
    result["ece"] = np.abs((w * (p - y)) @ in_bin).sum(1) / total
    return result


def bootstrap(
    predictions: pd.DataFrame, *, threshold: float = 0.5, draws: int = 2000, seed: int = 0, by: str = "patient"
) -> pd.DataFrame:
    """Return all metrics with 95% intervals from a bootstrap over patient groups.

    Images of one patient are drawn together, because they are not independent; groups are drawn with
    replacement within each class (a group of both classes counts with its larger one), and the interval
    holds the middle 95% of the draws [1]_. NORMAL numbers of this dataset are not known to be patients,
    so for that class the interval may be too narrow: see `blocks`.

    Parameters
    ----------
    predictions : DataFrame
        With patient, label and probability; a missing patient counts as a group of its own.
    threshold : float
        As for `metrics`.
    draws : int
        Number of bootstrap samples.
    seed : int
        Decides the samples.
    by : str
        The column that names the groups.

    Returns
    -------
    DataFrame
        Index metric; columns value, low, high (float).

    References
    ----------
    .. [1] Efron, Tibshirani, An introduction to the bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> bootstrap(predictions, draws=50).columns.tolist()
    ['value', 'low', 'high']
    """
    value = metrics(predictions["label"], predictions["probability"], threshold=threshold)
    drawn = resample(predictions, threshold=threshold, draws=draws, seed=seed, by=by)
    with np.errstate(invalid="ignore"):
        limits = {m: np.nanpercentile(v, [2.5, 97.5]) if np.isfinite(v).any() else (np.nan,) * 2
                  for m, v in drawn.items()}  # fmt: skip
    rows = {m: (value[m], *limits[m]) for m in METRICS}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"]).rename_axis("metric")


def resample(
    predictions: pd.DataFrame, *, threshold: float = 0.5, draws: int = 2000, seed: int = 0, by: str = "patient"
) -> dict[str, np.ndarray]:
    """Return every metric on each sample that `bootstrap` draws, with its parameters.

    Tables with the same images in the same order get the same samples, so that their metrics can be subtracted or
    averaged draw by draw.

    Parameters
    ----------
    predictions, threshold, draws, seed, by
        As for `bootstrap`.

    Returns
    -------
    dict of str to array of float, shape (draws,)
        As `metrics`.

    Examples
    --------
    >>> resample(predictions, draws=50)["auc"].shape
    (50,)
    """
    y_true, y_score = _both(predictions["label"], predictions["probability"])
    group = groups(predictions[by])
    share = np.bincount(group, weights=y_true) / np.bincount(group)
    strata = [stratum for stratum in (np.flatnonzero(share < 0.5), np.flatnonzero(share >= 0.5)) if len(stratum)]
    cells = draws * len(y_true)
    blocks = [len(part) for part in np.array_split(range(draws), 1 if cells <= BLOCK else -(-cells * 8 // BLOCK))]
    found = []
    for drawn in _drawn(tuple(map(len, strata)), draws, seed) if len(blocks) == 1 else _in_blocks(strata, blocks, seed):
        counts = np.zeros((len(drawn[0]), len(share)))
        for stratum, times in zip(strata, drawn, strict=True):
            counts[:, stratum] = times
        found.append(_weighted(y_true, y_score, counts[:, group], threshold))
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


@functools.lru_cache(maxsize=1)
def _drawn(sizes: tuple[int, ...], draws: int, seed: int) -> list[list[np.ndarray]]:
    """Draw the groups of each stratum; kept for the next table of the same images, of which there are often many."""
    rng = np.random.default_rng(seed)
    return [[draw_groups(size, draws, rng) for size in sizes]]


def _in_blocks(strata: list[np.ndarray], blocks: list[int], seed: int) -> Iterator[list[np.ndarray]]:
    """Yield the same draws a block at a time, for all at once they would be draws times images.

    The draws of the second stratum follow all of the first in one stream: those are passed by.
    """
    streams = [np.random.default_rng(seed) for _ in strata]
    for block in blocks if len(strata) == 2 else ():
        draw_groups(len(strata[0]), block, streams[1])
    for block in blocks:
        yield [draw_groups(len(one), block, stream) for one, stream in zip(strata, streams, strict=True)]


def groups(names: Sequence) -> np.ndarray:
    """Number the groups that are drawn together, from 0; a missing name is a group of its own.

    Parameters
    ----------
    names : sequence of str, length n
        Whose image each is; None or <NA> if that is not known.

    Returns
    -------
    ndarray
        int64, shape (n,).

    Examples
    --------
    >>> groups(["person2", None, "person2", None]).tolist()
    [0, 1, 0, 2]
    """
    names = pd.Series(names, dtype="object").reset_index(drop=True)
    return pd.factorize(names.where(names.notna(), [f"image {row}" for row in range(len(names))]))[0]


def draw_groups(count: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw groups with replacement, as many as there are.

    Parameters
    ----------
    count, draws : int
        How many groups there are, and how often they are drawn.
    rng : Generator
        The only source of chance.

    Returns
    -------
    ndarray
        int64, shape (draws, count): how often each group came.

    Examples
    --------
    >>> draw_groups(3, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [3, 3]
    """
    return rng.multinomial(count, np.full(count, 1 / count), size=draws)


def over_seeds(
    arms: Sequence[Sequence[float]], drawn: np.ndarray, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float, float]:
    """Return a mean over seeds, or the difference of two, with its 95% interval over seeds and images.

    The variances add up: of each arm that of its seeds' mean, s² / k with k seeds, and the images', b², that of
    `drawn`. The interval is the mean -/+ Student's t times the root of their sum, with the degrees of freedom of Welch
    and Satterthwaite [1]_::

        df = (sum(s² / k) + b²)² / sum((s² / k)² / (k - 1))

    b² comes from thousands of draws of hundreds of groups and counts as known (infinite degrees of freedom), so it
    has no term below the line. Arms are paired over images, by `drawn`, never over seeds. Of three seeds that differ
    much the interval holds the truth in somewhat less than 95%: ``results/coverage.csv`` has the simulated coverage.
    An arm of one seed tells nothing of its seeds' variance; where no arm has two, the limits are the middle 95% of
    the draws, the images' error alone.

    Parameters
    ----------
    arms : sequence of one or two sequences of float
        A metric's value for each seed; with two arms the second is subtracted.
    drawn : array of float
        Their mean, or the difference of their means, on each sample of `resample`, the same samples for all seeds.
    bounds : tuple of two floats
        The metric's range: the limits are clipped to it.

    Returns
    -------
    value, low, high : float
        NaN where the metric is.

    References
    ----------
    .. [1] Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2:110,
       1946.

    Examples
    --------
    >>> [round(x, 2) for x in over_seeds([[0.88, 0.90, 0.92]], np.random.default_rng(0).normal(0.9, 0.01, 2000))]
    [0.9, 0.86, 0.94]
    """
    from scipy.stats import t

    seeds = [np.asarray(arm, dtype="float64") for arm in arms]
    value = float(seeds[0].mean() - sum(arm.mean() for arm in seeds[1:]))
    known = drawn[np.isfinite(drawn)]
    if len(known) < 2 or not np.isfinite(value):
        return value, np.nan, np.nan
    several = [arm for arm in seeds if len(arm) > 1]
    if not several:
        low, high = np.percentile(known, [2.5, 97.5])
        return value, float(low), float(high)
    parts = [arm.var(ddof=1) / len(arm) for arm in several]
    total = sum(parts) + known.var(ddof=1)
    below = sum(part**2 / (len(arm) - 1) for part, arm in zip(parts, several, strict=True))
    half = t.ppf(0.975, total**2 / below if below else np.inf) * np.sqrt(total)
    low, high = np.clip([value - half, value + half], *bounds)
    return value, float(low), float(high)


def blocks(predictions: pd.DataFrame, *, size: int = 20) -> pd.Series:
    """Name larger groups for `bootstrap`: the NORMAL images by blocks of neighbouring numbers, the others by patient.

    Numbers of NORMAL images are not known to be patients, and neighbours resemble each other (`neighbours`), maybe
    because they were taken on one day or by one machine. Blocks allow for that as far as `size` numbers go [1]_.

    Parameters
    ----------
    predictions : DataFrame
        With label and patient, such as ``NORMAL2-IM-0171``; NORMAL images without a number keep their patient.
    size : int
        How many numbers of one prefix make a block, whether each is there or not.

    Returns
    -------
    Series of str
        Row by row, for a column that `by` of `bootstrap` names.

    References
    ----------
    .. [1] Kuensch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17:1217,
       1989.

    Examples
    --------
    >>> blocks(pd.DataFrame({"label": [0, 0, 1], "patient": ["IM-0019", "IM-0020", "person20"]})).tolist()
    ['IM, block 0', 'IM, block 1', 'person20']
    """
    number = _numbers(predictions)
    named = number["prefix"] + ", block " + (number["number"] // size).astype("string")
    return predictions["patient"].astype("string").mask(named.notna(), named)


def neighbours(predictions: pd.DataFrame) -> pd.DataFrame:
    """Say how much NORMAL images with neighbouring numbers resemble each other to a model.

    Parameters
    ----------
    predictions : DataFrame
        Of one part, with path, label, patient and probability.

    Returns
    -------
    DataFrame
        Index prefix (IM, NORMAL2-IM); images, and correlation: of each image's log-odds with those of the next one, in
        order of number (the autocorrelation at lag 1). It is NaN for fewer than three images.

    Examples
    --------
    >>> table = pd.DataFrame({"label": 0, "patient": ["IM-1", "IM-3", "IM-4"], "probability": [0.1, 0.2, 0.4]})
    >>> int(neighbours(table.assign(path="")).loc["IM", "images"])
    3
    """
    table = _numbers(predictions).assign(path=predictions["path"], odds=_log_odds(predictions["probability"]))
    ordered = table.dropna(subset="number").sort_values(["prefix", "number", "path"]).groupby("prefix")["odds"]
    alike = ordered.apply(lambda odds: odds.corr(odds.shift()) if len(odds) > 2 else np.nan)
    return pd.DataFrame({"images": ordered.size(), "correlation": alike})


def _numbers(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return prefix and number (Int64) of each NORMAL image; <NA> for the others."""
    found = predictions["patient"].astype("string").str.extract(r"^(?P<prefix>.+)-(?P<number>\d+)$")
    return found.where(predictions["label"] == 0).astype({"number": "Int64"})


def best_threshold(y_true, y_score, *, sensitivity: float | None = None) -> float:
    """Return the threshold with the largest balanced accuracy (Youden's index [1]_), or of a given sensitivity.

    Between two neighbouring scores that are equally good the middle is taken; of several best places
    the one nearest to 0.5.

    Parameters
    ----------
    y_true, y_score
        As for `metrics`; of the validation part, never of test.
    sensitivity : float, optional
        In (0, 1]: then the highest threshold that finds at least this share of the positive.

    Returns
    -------
    float
        In (0, 1).

    References
    ----------
    .. [1] Youden, Index for rating diagnostic tests, Cancer 3:32, 1950.

    Examples
    --------
    >>> best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9])
    0.4
    >>> round(best_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9], sensitivity=0.5), 2)
    0.7
    """
    y_true, y_score = _both(y_true, y_score)
    scores = np.unique(y_score)
    candidates = np.unique(np.concatenate([[scores[0] / 2], (scores[1:] + scores[:-1]) / 2, [(scores[-1] + 1) / 2]]))
    each = (np.sort(y_score[y_true == label]) for label in (0, 1))
    alarms, hits = ((len(own) - np.searchsorted(own, candidates)) / len(own) for own in each)
    if sensitivity is not None:
        return float(candidates[hits >= sensitivity].max())
    gain = hits - alarms
    best = candidates[np.isclose(gain, gain.max())]
    return float(best[np.abs(best - 0.5).argmin()])


def recalibrate(y_true, y_score, new_score) -> np.ndarray:
    """Fit a logistic curve that turns scores into probabilities (Platt scaling [1]_), and apply it.

    Parameters
    ----------
    y_true, y_score
        As for `metrics`; of the validation part, never of test.
    new_score : array of float in [0, 1], shape (m,)
        What is to be recalibrated.

    Returns
    -------
    array of float in (0, 1), shape (m,)

    References
    ----------
    .. [1] Platt, Probabilistic outputs for support vector machines, 1999.

    Examples
    --------
    >>> recalibrate([0, 1, 0, 1], [0.1, 0.4, 0.3, 0.9], [0.5]).shape
    (1,)
    """
    return _logistic(*_both(y_true, y_score)).predict_proba(_log_odds(new_score)[:, None])[:, 1]


def _log_odds(y_score) -> np.ndarray:
    from scipy.special import logit

    return logit(np.clip(np.asarray(y_score, dtype="float64"), 1e-7, 1 - 1e-7))


def _logistic(y_true, y_score):
    """Fit the labels by the log-odds of the scores."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1e6, max_iter=1000).fit(_log_odds(y_score)[:, None], y_true)


def without_known(predictions: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Leave out of test whoever is known to the other parts of a split.

    In this dataset 320 pneumonias of test have a person number that occurs in train, of another kind each; whether
    they are the same children can't be proved. No NORMAL number of test occurs in train, but those are not known to
    be patients.

    Parameters
    ----------
    predictions : DataFrame
        From `predict`.
    split : DataFrame
        Of the same images, from `cxr_utils.splits`.

    Returns
    -------
    DataFrame
        The rows of test whose patient occurs in no other part.

    Examples
    --------
    >>> len(predictions.query("split == 'test'")), len(without_known(predictions, split))
    (16, 6)
    """
    known = set(split.loc[split["part"] != "test", "patient"].dropna())
    test = predictions[predictions["split"] == "test"]
    return test[~test["patient"].isin(known)]


def judge(
    predictions: pd.DataFrame, split: pd.DataFrame | None = None, *, validate_on: str | None = "validation",
    threshold: float | None = None, sensitivity: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Judge predictions: threshold and calibration from validation, carried to test.

    Parameters
    ----------
    predictions : DataFrame
        From `predict` or `read_predictions`, with the parts test and `validate_on`.
    split : DataFrame, optional
        Adds "test_without_known", where patients are known and both classes are left: see `without_known`.
    validate_on : str, optional
        The part that chooses; "test" is a mistake, there to repeat what others did. None where there is only
        test: nothing is chosen then.
    threshold : float, optional
        Fixed beforehand, by a recipe that has one; else `best_threshold` chooses.
    sensitivity : float, optional
        In validation, for `best_threshold`.

    Returns
    -------
    dict
        ``threshold``, and for "validation", "test" and "test_without_known" the number of images (``images``)
        and the metrics ``at_half`` and ``at_threshold``, each a mapping of metric to value, low and high; NaN is
        None. "test" also has ``recalibrated``: brier and ece after `recalibrate`. Without `validate_on` the
        threshold is None, and neither "validation" nor ``at_threshold`` nor ``recalibrated`` is there.

    Raises
    ------
    BadInput
        A part has no row.

    Examples
    --------
    >>> list(judge(predictions))
    ['threshold', 'validation', 'test']
    """
    names = {"validation": validate_on, "test": "test"} if validate_on else {"test": "test"}
    parts = {part: predictions[predictions["split"] == name] for part, name in names.items()}
    for part, name in names.items():
        if parts[part].empty:
            raise BadInput(f"predictions: no row of part {name!r}; predict {' and '.join(names.values())}")
    if split is not None and split["patient"].notna().any():
        known = without_known(predictions, split)
        if known["label"].nunique() == 2:
            parts["test_without_known"] = known
    cut = None
    if validate_on:
        chosen = parts["validation"]["label"], parts["validation"]["probability"]
        cut = threshold or best_threshold(*chosen, sensitivity=sensitivity)
    result: dict[str, Any] = {"threshold": cut} | {part: judge_part(table, cut) for part, table in parts.items()}
    if validate_on:
        test = parts["test"]
        again = plain(bootstrap(test.assign(probability=recalibrate(*chosen, test["probability"]))))
        result["test"]["recalibrated"] = {metric: again[metric] for metric in ("brier", "ece")}
    return result


def judge_part(predictions: pd.DataFrame, threshold: float | None = None) -> dict[str, Any]:
    """Judge one part at .5, and at a threshold that was chosen elsewhere.

    Parameters
    ----------
    predictions : DataFrame
        As for `bootstrap`.
    threshold : float, optional
        In (0, 1).

    Returns
    -------
    dict
        ``images``, ``at_half`` and, with a threshold, ``at_threshold``, as in `judge`.

    Examples
    --------
    >>> judge_part(predictions)["images"]
    22
    """
    judged = {name: plain(bootstrap(predictions, threshold=cut)) for name, cut in cuts(threshold).items()}
    return {"images": len(predictions)} | judged


def cuts(threshold: float | None) -> dict[str, float]:
    """Name the thresholds of `judge_part`.

    Parameters
    ----------
    threshold : float, optional
        One that was chosen elsewhere.

    Returns
    -------
    dict of str to float
        ``at_half``, and ``at_threshold`` where there is one.

    Examples
    --------
    >>> cuts(0.3)
    {'at_half': 0.5, 'at_threshold': 0.3}
    """
    return {"at_half": 0.5} | ({} if threshold is None else {"at_threshold": threshold})


def plain(table: pd.DataFrame, places: int = 6) -> dict[str, dict[str, Any]]:
    """Make a table of figures ready for JSON.

    Parameters
    ----------
    table : DataFrame
        Numbers.
    places : int
        Behind the point.

    Returns
    -------
    dict of str to dict
        By row and column; None where there is no number.

    Examples
    --------
    >>> plain(pd.DataFrame({"value": [0.5, np.nan]}, index=["auc", "ppv"]))
    {'auc': {'value': 0.5}, 'ppv': {'value': None}}
    """
    rounded = table.round(places)
    return rounded.astype(object).where(rounded.notna(), None).to_dict(orient="index")


def words(found: Mapping[str, float | None]) -> str:
    """Write a metric with its interval as people read it.

    Parameters
    ----------
    found : mapping
        ``value``, ``low`` and ``high``, as `judge` keeps them; None where there is none.

    Returns
    -------
    str
        "-" without a value.

    Examples
    --------
    >>> words({"value": 0.93, "low": 0.9, "high": 0.95}), words({"value": 0.93, "low": None}), words({"value": None})
    ('0.930 (0.900 to 0.950)', '0.930', '-')
    """
    if found.get("value") is None:
        return "-"
    limits = [found.get("low"), found.get("high")]
    shown = " to ".join("-" if limit is None else f"{limit:.3f}" for limit in limits)
    return f"{found['value']:.3f}" + (f" ({shown})" if any(limit is not None for limit in limits) else "")


def evaluate(run, predictions: pd.DataFrame) -> dict[str, Any]:
    """Judge a run by the honest protocol, and keep what `judge` returns as ``metrics.json`` in its folder.

    Parameters
    ----------
    run : cxr_utils.training.Run
        Gets the file.
    predictions : DataFrame
        From `predict`, with the parts validation and test.

    Returns
    -------
    dict
        As `judge`.

    Raises
    ------
    BadInput
        A part has no row.

    Examples
    --------
    >>> answers = predict(run, pixels, split)
    >>> sorted(evaluate(run, answers)["test"])
    ['at_half', 'at_threshold', 'images', 'recalibrated']
    """
    result = judge(predictions, **{name: run.record["recipe"].get(name) for name in ("threshold", "sensitivity")})
    files.write_json(run.folder / "metrics.json", result, ours=("threshold",))
    return result


def confusion(y_true, y_score, *, threshold: float = 0.5) -> pd.DataFrame:
    """Count the answers to each truth.

    Parameters
    ----------
    y_true, y_score, threshold
        As for `metrics`.

    Returns
    -------
    DataFrame
        The confusion matrix, int64: rows the truth, columns the answer.

    Raises
    ------
    BadInput
        As `metrics`.

    Examples
    --------
    >>> confusion([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9]).to_numpy().tolist()
    [[1, 1], [0, 2]]
    """
    from sklearn.metrics import confusion_matrix

    y_true, y_score = _both(y_true, y_score)
    counts = confusion_matrix(y_true, y_score >= threshold, labels=[0, 1])
    return pd.DataFrame(counts, index=pd.Index(CLASSES, name="truth"), columns=pd.Index(CLASSES, name="answer"))


def by_kind(predictions: pd.DataFrame, *, threshold: float = 0.5) -> pd.DataFrame:
    """Count errors by the kind of image.

    Parameters
    ----------
    predictions : DataFrame
        ``label``, ``probability`` and ``kind``.
    threshold : float
        As for `metrics`.

    Returns
    -------
    DataFrame
        One row a kind (normal, bacteria, virus): images, right, wrong (int64) and share_right (float64 in [0, 1]).

    Examples
    --------
    >>> by_kind(predictions).columns.tolist()
    ['images', 'right', 'wrong', 'share_right']
    """
    right = (predictions["probability"] >= threshold).astype(int) == predictions["label"]
    table = right.groupby(predictions["kind"]).agg(images="size", right="sum")
    table["wrong"] = table["images"] - table["right"]
    table["share_right"] = table["right"] / table["images"]
    return table


def predictive_values(sensitivity: float, specificity: float, prevalence) -> pd.DataFrame:
    """Return what a positive and a negative answer are worth, by Bayes' rule, over prevalence.

    Parameters
    ----------
    sensitivity, specificity : float in [0, 1]
        Of the test at its threshold.
    prevalence : float or array of float in [0, 1]
        Share of the sick among those who are tested.

    Returns
    -------
    DataFrame
        prevalence, ppv, npv.

    References
    ----------
    Altman, Bland, Diagnostic tests 2: predictive values, BMJ 309:102, 1994.

    Examples
    --------
    >>> predictive_values(0.9, 0.9, 0.5)["ppv"].item()
    0.9
    """
    prevalence = np.atleast_1d(np.asarray(prevalence, dtype="float64"))
    with np.errstate(invalid="ignore"):
        sick, well = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        ppv = sick / (sick + well)
        clear, missed = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
        npv = clear / (clear + missed)
    return pd.DataFrame({"prevalence": prevalence, "ppv": ppv, "npv": npv})


def likelihood_ratios(sensitivity: float, specificity: float) -> dict[str, float]:
    """Tell how much a positive and a negative answer change the odds of disease.

    Parameters
    ----------
    sensitivity, specificity : float in [0, 1]
        Of the test at its threshold.

    Returns
    -------
    dict of str to float
        ``positive`` and ``negative``: what the odds are multiplied by; infinity where no such answer is wrong.

    References
    ----------
    Deeks, Altman, Diagnostic tests 4: likelihood ratios, BMJ 329:168, 2004.

    Examples
    --------
    >>> likelihood_ratios(0.9, 0.5)["positive"]
    1.8
    """
    positive = sensitivity / (1 - specificity) if specificity < 1 else float("inf")
    negative = (1 - sensitivity) / specificity if specificity > 0 else float("inf")
    return {"positive": positive, "negative": negative}


def calibration(y_true, y_score, *, bins: int = 10) -> pd.DataFrame:
    """Return a reliability table: bins of equal width over the probability, empty ones left out.

    Parameters
    ----------
    y_true, y_score
        As for `metrics`.
    bins : int
        How many.

    Returns
    -------
    DataFrame
        mean_probability, observed (share of PNEUMONIA), images.

    Raises
    ------
    BadInput
        As `metrics`.

    Examples
    --------
    >>> calibration([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9])["images"].tolist()
    [1, 1, 1, 1]
    """
    y_true, y_score = _both(y_true, y_score)
    number = np.minimum((y_score * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": number, "mean_probability": y_score, "observed": y_true, "images": 1})
    grouped = table.groupby("bin").agg({"mean_probability": "mean", "observed": "mean", "images": "sum"})
    return grouped.reset_index(drop=True)


def calibration_slope(y_true, y_score) -> dict[str, float]:
    """Return slope and intercept of the logistic curve that would recalibrate scores, and calibration in the large.

    Parameters
    ----------
    y_true, y_score
        As for `metrics`.

    Returns
    -------
    dict of str to float
        ``slope`` and ``intercept`` of log-odds(PNEUMONIA) = intercept + slope * log-odds(score), fitted together [1]_:
        1 and 0 if calibrated; a slope below 1 says that scores are too extreme, above 1 too timid. ``in_the_large``
        is the intercept with the slope held at 1 [2]_: below 0 scores are too high on the whole, above 0 too low.

    References
    ----------
    .. [1] Cox, Two further applications of a model for binary regression, Biometrika 45:562, 1958.
    .. [2] Van Calster and others, A calibration hierarchy for risk models was defined: from utopia to empirical data,
       Journal of Clinical Epidemiology 74:167, 2016.

    Examples
    --------
    >>> found = calibration_slope([0, 0, 0, 1, 0, 1, 1, 1], [0.25] * 4 + [0.75] * 4)
    >>> round(found["slope"], 3), round(abs(found["intercept"]), 3), round(abs(found["in_the_large"]), 3)
    (1.0, 0.0, 0.0)
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    y_true, y_score = _both(y_true, y_score)
    fitted, odds = _logistic(y_true, y_score), _log_odds(y_score)
    shift = brentq(lambda shift: (expit(odds + shift) - y_true).sum(), -50, 50)
    return {"slope": float(fitted.coef_[0, 0]), "intercept": float(fitted.intercept_[0]), "in_the_large": float(shift)}


def net_benefit(y_true, y_score, *, prevalence: Sequence[float | None] = (None,)) -> pd.DataFrame:
    """Return the decision curve: what treating by the score is worth, beside treating all and treating none.

    Who treats from probability t on takes a false alarm to weigh t / (1 - t) of a found case. The net benefit is then
    found cases less weighed false alarms, a person examined [1]_: sensitivity * prevalence - (1 - specificity) *
    (1 - prevalence) * t / (1 - t). Treating none is worth 0.

    Parameters
    ----------
    y_true, y_score
        As for `metrics`.
    prevalence : sequence of float in (0, 1), or None
        Shares of the sick to re-weight the images to; None is that of `y_true`. The scores stay as they are, so at a
        prevalence far from that of training they are too high or too low, as they would be in use.

    Returns
    -------
    DataFrame
        prevalence, threshold (.01 to .99), model, treat_all, treat_none (float).

    Raises
    ------
    BadInput
        A prevalence outside (0, 1); `y_true` and `y_score` as for `metrics`.

    References
    ----------
    .. [1] Vickers, Elkin, Decision curve analysis: a novel method for evaluating prediction models, Medical Decision
       Making 26:565, 2006.

    Examples
    --------
    >>> net_benefit([0, 0, 1, 1], [0.1, 0.6, 0.7, 0.9]).query("threshold == 0.5")["model"].item()
    0.25
    """
    y_true, y_score = _both(y_true, y_score)
    cuts = np.arange(1, 100) / 100
    false_alarms, found = ((y_score[y_true == label, None] >= cuts).mean(axis=0) for label in (0, 1))
    weight, tables = cuts / (1 - cuts), []
    for share in prevalence:
        share = float(y_true.mean()) if share is None else share
        if not 0 < share < 1:
            raise BadInput(f"prevalence: {share!r}; expected shares between 0 and 1, such as 0.1")
        model, everyone = (a * share - b * (1 - share) * weight for a, b in ((found, false_alarms), (1, 1)))
        columns = {"threshold": cuts, "model": model, "treat_all": everyone, "treat_none": 0.0}
        tables.append(pd.DataFrame({"prevalence": share} | columns))
    return pd.concat(tables, ignore_index=True)
