"""Claims + results → the replication table: what was published, what came out here, and one verdict a claim."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import evaluation, files, recipes
from cxr_utils.errors import BadInput
from cxr_utils.recipes import Claim
from cxr_utils.replication import grid, verdicts
from cxr_utils.replication.verdicts import FACTS, GAIN, METRICS, Found, at_half, of_seeds

#: What each ablation asks about, and the recipes (or variants) with it and without.
ABLATIONS = (
    ("augmentation", *GAIN),
    ("augmentation", "reference", "reference-unaugmented"),
    ("SMOTE", "smote_224", "smote_224-unbalanced"),
    ("class weights", "smote_224-class_weight", "smote_224-unbalanced"),
)


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
                    both = f"{self.out / 'runs'}: {alike[0]['cell']} and {record['cell']}"
                    raise BadInput(f"{both} differ in their {what}; delete the older one's JSON to have it made again")
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
        known, now = at_half(record, "test"), evaluation.metrics(test["label"], test["probability"])
        if wrong := [name for name in MEASURES if abs(now[name] - known[name]) > 1e-5]:
            differ = f"gives {wrong[0]} {now[wrong[0]]:.3f} on test, the record beside it {known[wrong[0]]:.3f}"
            raise BadInput(f"{path}: {differ}; put back both files, or move both away to have them made again")
        return test

    def draws(self, recipe: str, protocol: str) -> dict[str, np.ndarray]:
        """Return the mean over the seeds of every metric on each bootstrap sample of test: the same for all cells."""
        if (recipe, protocol) not in self.kept:
            drawn = [evaluation.resample(self.test(record)) for record in self.of(recipe, protocol)]
            self.kept[recipe, protocol] = {m: np.mean([one[m] for one in drawn], axis=0) for m in drawn[0]}
        return self.kept[recipe, protocol]

    def honest(self, claim: Claim, recipe: str) -> tuple[tuple[float, float, float] | None, int]:
        """Return a claim's metric on test under the honest protocol (mean, low, high), and the number of seeds."""
        names = GAIN if claim.metric == "augmentation_gain" else (recipe,)
        seeds = min(len(self.of(name, "honest")) for name in names)
        metric = METRICS[claim.metric]
        return (self.mean(metric.honest, *names, least=metric.least) if seeds else None), seeds

    def mean(
        self, take: Callable[[dict], Any], recipe: str, without: str = "", *, protocol="honest", least=0.0
    ) -> tuple[float, float, float]:
        """Return the mean over the runs of what `take` takes of their test, less another's, and its interval."""
        names = [recipe, *([without] if without else [])]
        arms = [[take(at_half(run, "test")) for run in self.of(name, protocol)] for name in names]
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
        spread = [verdicts.permuted(self.test(run))[1] for run in self.of(recipe.name, "published")] if shuffled else []
        honest, honest_seeds = self.honest(claim, recipe.name)
        return Found(
            ours=values(recipe.name),
            planned=grid.planned(GAIN[0] if claim.metric == "augmentation_gain" else recipe.name),
            others_images=drawn and not metric_of_test and "random_state" in recipe.split,
            spread=max(spread, default=0.0), honest=honest, honest_seeds=honest_seeds,
            rival=_rival(claim, recipe.number), others={name: values(name) for name in others},
        )  # fmt: skip


def _rival(claim: Claim, system: str) -> Claim | None:
    of_system = [recipe for recipe in map(recipes.get, recipes.names()) if recipe.number == system]
    rivals = [other for recipe in of_system for other in recipe.claims if other.text == claim.contradicts]
    if claim.contradicts and not rivals:
        said = f"claim {claim.text!r} contradicts {claim.contradicts!r}"
        raise BadInput(f"system {system}: {said}, which is not the text of another of its claims")
    return rivals[0] if rivals else None


def _gathered(out: str | Path | _Results) -> _Results:
    return out if isinstance(out, _Results) else _Results(out)


def table(out: str | Path | _Results) -> pd.DataFrame:
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
    results = _gathered(out)
    every = sorted((recipes.get(name) for name in recipes.names()), key=lambda r: (r.system, r.name))
    rows = []
    for recipe in every:
        others = [r.name for r in every if r.system == recipe.system and r.name != recipe.name]
        for claim in recipe.claims:
            found = results.found(claim, recipe, others)
            judged, why = verdicts.verdict(claim, found)
            share = verdicts.is_share(claim)
            low, high = verdicts.interval(claim.value, claim.n) if share and claim.n else (None, None)
            ours, fact = found.ours, claim.metric in FACTS
            row = {"system": recipe.system, "recipe": recipe.name, "claim": claim.text, "source": claim.source}
            row |= {"place": claim.place, "address": recipe.published.link(claim), "metric": claim.metric}
            row |= {"published": verdicts.published(claim), "value": claim.value if share else None, "n": claim.n}
            row |= {"low": low, "high": high, "dataset": verdicts.shown(FACTS[claim.metric]) if fact else ""}
            row |= {"reconstruction": bool(claim.unstated), "ours": np.mean(ours) if ours else None}
            row |= {"ours_min": min(ours, default=None), "ours_max": max(ours, default=None)}
            run = not fact and METRICS[claim.metric].ours is not None
            row["seeds"] = of_seeds(len(ours), found.planned) if run else ""
            row |= zip(("honest", "honest_low", "honest_high"), found.honest or (None,) * 3, strict=True)
            row["honest_seeds"] = "" if fact else of_seeds(found.honest_seeds, found.planned)
            rows.append(row | {"verdict": judged, "why": why})
    numbers = ["value", "low", "high", "ours", "ours_min", "ours_max", "honest", "honest_low", "honest_high"]
    done = pd.DataFrame(rows)
    return done.astype({"n": "Int64"} | {name: "Float64" for name in numbers}).round(dict.fromkeys(numbers, 4))


MEASURES = ("accuracy", "auc", "sensitivity", "specificity")
_WITHOUT = ("accuracy_without_known", "auc_without_known")


def runs(out: str | Path, metric: str = "accuracy") -> pd.DataFrame:
    """List the runs of the grid with a metric in validation and on test, answers from .5 on.

    Parameters
    ----------
    out : str or Path
        As for `table`.
    metric : str
        One of `evaluation.METRICS`.

    Returns
    -------
    DataFrame
        system ("system 001", "tutorial", "ours"), recipe, protocol (str), seed (int), validation, test (float).
    """
    rows = []
    for name, run in grid.results(out).items():
        recipe, number = name.rsplit("-", 2)[0], recipes.get(name.partition("-")[0]).number
        system = f"system {number}" if number.isdigit() else "ours" if number == "reference" else "tutorial"
        figures = {part: run["metrics"][part]["at_half"][metric]["value"] for part in ("validation", "test")}
        rows.append({"system": system, "recipe": recipe, "protocol": run["protocol"], "seed": run["seed"]} | figures)
    return pd.DataFrame(rows)


def summary(out: str | Path | _Results) -> pd.DataFrame:
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
    results, rows = _gathered(out), []
    planned = dict.fromkeys((cell.recipe, cell.protocol) for cell in grid.cells(seeds=[0]))
    for recipe, protocol in planned:
        runs = results.of(recipe, protocol)
        done = of_seeds(len(runs), grid.planned(recipe))
        row: dict[str, Any] = {"recipe": recipe, "protocol": protocol, "seeds": done}
        for metric in MEASURES if runs else ():
            values = [at_half(run, "test")[metric] for run in runs]
            limits = results.mean(lambda metrics, metric=metric: metrics[metric], recipe, protocol=protocol)[1:]
            row |= _five(metric, values, *limits)
        rows.append(row | (_run_facts(runs) if runs else {}))
    usual = {run["metrics"]["test"]["images"] for runs in results.records.values() for run in runs}
    for path in sorted((results.out / "scores").glob("*.json")):
        record = files.read_record(path)
        if "benchmark" in record:  # of the folds, not of test
            continue
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
        "validation_auc": mean(lambda run: at_half(run, "validation")["auc"]),
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
    part = at_half(record, "test_without_known")
    return {name: part[name.partition("_")[0]] for name in _WITHOUT}


def score_row(record: dict[str, Any], *, where: str | Path = "record") -> dict[str, Any]:
    """Make the row of `summary` for predictions that `score.score` judged: one model, its bootstrap limits.

    Parameters
    ----------
    record : dict
        With name and metrics.
    where : str or Path
        What errors call it.

    Returns
    -------
    dict
        By the columns of `summary`.

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
            row |= {"validation_auc": at_half(record, "validation")["auc"], "validates_on": "validation"}
            row |= {"validation_images": metrics["validation"]["images"]}
        return row | (_without_known(record) if "test_without_known" in metrics else {})
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{where}: not a record of `cxr score` ({error}); make it again") from None


def ablations(out: str | Path | _Results) -> pd.DataFrame:
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
    results = _gathered(out)
    ends = ("", "_low", "_high")
    columns = ["setting", "recipe", "without", "seeds", "seeds_without"]
    figures = [f"{metric}{end}" for metric in MEASURES for end in ends]
    rows = []
    for setting, recipe, without in ABLATIONS:
        counts = [len(results.of(name, "honest")) for name in (recipe, without)]
        if not all(counts):
            continue
        told = [of_seeds(count, grid.planned(name)) for count, name in zip(counts, (recipe, without), strict=True)]
        row: dict[str, Any] = dict(zip(columns, (setting, recipe, without, *told), strict=True))
        for metric in MEASURES:
            found = results.mean(lambda metrics, metric=metric: metrics[metric], recipe, without)
            row |= {f"{metric}{end}": value for end, value in zip(ends, found, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*columns, *figures]).round(dict.fromkeys(figures, 4))


HEAD = ("| network | protocol | seeds | accuracy (seeds) [95%] | AUC (seeds) [95%] | sens. | spec. | AUC val. "
        "| AUC new | min |")  # fmt: skip


def grid_row(row: Any) -> str:
    """Write a row of `summary`, or one of `score_row`, as Markdown under `HEAD`.

    Parameters
    ----------
    row : mapping or Series
        By the columns of `summary`.

    Returns
    -------
    str

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
    return "" if pd.isna(row.get(name)) else verdicts.shown(float(row[name]))


def write(out: str | Path) -> list[Path]:
    """Write ``claims.csv`` (`table`), ``grid.csv`` (`summary`) and ``ablations.csv`` to `out`, and return their paths.

    Parameters
    ----------
    out : str or Path
        As for `table`.

    Returns
    -------
    list of Path

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
    """Return `table`, `summary` and `ablations` by the names of their files, read from the results once.

    Parameters
    ----------
    out : str or Path
        As for `table`.

    Returns
    -------
    dict of str to DataFrame
    """
    results = _Results(out)
    return {"claims.csv": table(results), "grid.csv": summary(results), "ablations.csv": ablations(results)}
