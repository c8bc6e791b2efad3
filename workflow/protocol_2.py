"""What came of protocol 2: its aims beside what the networks of both protocols reached, for ``how-far.md``."""

from pathlib import Path
from typing import NamedTuple

from cxr_utils import files
from cxr_utils.replication import grid, score
from cxr_utils.replication.verdicts import NOT_RUN, shown

RECIPES = ("reference", "reference_2")
CHEST, BORDER = "central chest covered", "all but border covered"
METRICS = ("accuracy", "auc", "sensitivity", "specificity")


class Measured(NamedTuple):
    """The mean over seeds, the lowest and highest seed, and how many there are."""

    mean: float
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: list[float]) -> "Measured | None":
        """Summarise the seeds; None if there are none."""
        return cls(sum(values) / len(values), min(values), max(values), len(values)) if values else None

    def __str__(self) -> str:
        """Write the mean, and in brackets the range where seeds differ."""
        low, high = shown(self.low), shown(self.high)
        return shown(self.mean) + (f" ({low}–{high})" if low != high else "")


def measured(out: Path, recipe: str) -> dict[str, Measured | None]:
    """Read what is kept of a recipe: on the folds, on the official test set, and in the other hospital."""
    folds = [
        files.read_record(path, *score.FOLDS_RECORD)["figures"]["all"]
        for path in sorted((out / "folds" / "scores").glob(f"{recipe}-folds-s*.json"))
    ]
    runs = [record for name, record in grid.results(out).items() if name.rpartition("-s")[0] == f"{recipe}-honest"]
    found = {f"{where}, {metric}": [at(one, metric) for one in judged]
             for where, judged in (("folds", folds), ("test", [run["metrics"]["test"] for run in runs]))
             for metric in METRICS}  # fmt: skip
    opened = out / f"{recipe}.json"
    covered = files.read_json(opened).get("covered", []) if opened.is_file() else []
    found |= {change: [row[change] for row in covered] for change in (CHEST, BORDER)}
    said = {name: Measured.of(values) for name, values in found.items()}
    kept = out / "elsewhere" / "networks.csv"
    rows = files.read_csv(kept).set_index("network") if kept.is_file() else None
    if rows is not None and recipe in rows.index:
        row = rows.loc[recipe].dropna()
        for view in ("AP", "PA"):
            said[view] = Measured(*(float(row[f"{view}{end}"]) for end in ("", "_min", "_max")), int(row["seeds"]))
        if (chest := f"AP, {CHEST}") in row:  # of which the mean alone is kept
            said[chest] = said["AP"]._replace(mean=float(row[chest]), low=float(row[chest]), high=float(row[chest]))
    return said


def at(judged: dict, metric: str) -> float:
    """Return a figure at the bound threshold; AUC needs none."""
    return judged["at_half" if metric == "auc" else "at_threshold"][metric]["value"]


def reached(first: dict[str, Measured | None], second: dict[str, Measured | None]) -> dict[str, bool | None]:
    """Say of each aim of the protocol whether it was reached; None where a seed is not measured yet."""

    def every(condition, *needed, seeds=5):
        there = all(one is not None and one.seeds >= seeds for one in needed)
        return bool(condition(*needed)) if there else None

    def above(old, new):
        return new.low > old.high

    return {
        "specificity": every(lambda sp, se: sp.mean >= 0.90 and se.mean >= 0.95,
                             second["test, specificity"], second["test, sensitivity"]),
        "spread": every(lambda one: round(one.high - one.low, 6) <= 0.02, second["test, accuracy"]),
        "chest": every(lambda one: 0.30 <= one.mean <= 0.70, second[CHEST]),
        "border": every(lambda one: 0.40 <= one.mean <= 0.60, second[BORDER]),
        "elsewhere": every(lambda ap, pa, covered: ap.mean >= 0.80 and pa.mean >= 0.70 and covered.mean < ap.mean,
                           second.get("AP"), second.get("PA"), second.get(f"AP, {CHEST}")),
        "folds": every(lambda a, b, c, d: above(a, b) and above(c, d), first["folds, auc"], second["folds, auc"],
                       first["folds, accuracy"], second["folds, accuracy"], seeds=3),
        "context": every(lambda accuracy, auc: accuracy.mean >= 0.946 and auc.mean >= 0.991,
                         second["test, accuracy"], second["test, auc"]),
    }  # fmt: skip


#: Of each aim: what is measured, the aim in words, and the measures that its row shows.
ROWS = {
    "folds": ("five folds: AUC / accuracy", "each seed above each of protocol 1",
              ("folds, auc", "folds, accuracy")),
    "specificity": ("official test: specificity / sensitivity", "at least .90 / .95",
                    ("test, specificity", "test, sensitivity")),
    "spread": ("official test: accuracy, largest less smallest seed", "at most .02", ("test, accuracy",)),
    "chest": ("official test: AUC, central chest covered", ".30 to .70", (CHEST,)),
    "border": ("official test: AUC, outermost tenth alone", ".40 to .60", (BORDER,)),
    "elsewhere": ("NIH sample: AUC, AP / PA / AP with the chest covered", "at least .80 / .70 / lower than AP",
                  ("AP", "PA", f"AP, {CHEST}")),
    "context": ("official test: accuracy / AUC", ".946 / .991", ("test, accuracy", "test, auc")),
}  # fmt: skip


def block(out: Path) -> str:
    """Lay out the aims and what was reached."""
    found = [measured(out, recipe) for recipe in RECIPES]
    answers = {True: "yes", False: "**no**", None: "not known yet"}
    verdicts = reached(*found)
    lines = ["| means over seeds | aim | protocol 1 | protocol 2 | reached |", "| --- | --- | ---: | ---: | --- |"]
    for name, (what, aim, measures) in ROWS.items():
        cells = [" / ".join("…" if one.get(m) is None else str(one[m]) for m in measures) for one in found]
        if name == "spread":
            cells = ["…" if (m := one[measures[0]]) is None else shown(m.high - m.low) for one in found]
        cells = [NOT_RUN if set(cell) <= set("… /") else cell for cell in cells]
        for place, one in enumerate(found):
            if (kept := one.get(measures[0])) and kept.seeds < (planned := 3 if name == "folds" else 5):
                cells[place] += f" ({kept.seeds} of {planned} seeds)"
        lines.append(f"| {what} | {aim} | {' | '.join(cells)} | {answers[verdicts[name]]} |")
    return "\n".join(lines)
