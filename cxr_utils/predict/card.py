"""The model card of a run: what the model is, for what, how well it does, and where it fails.

Its sections are those of [1]_.

References
----------
.. [1] Mitchell M et al., Model cards for model reporting, FAT* 2019, doi 10.1145/3287560.3287596.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cxr_utils import _pages, dataset, evaluation, files
from cxr_utils.course.report import anchor

_SHOWN = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "sensitivity": "sensitivity",
    "specificity": "specificity", "auc": "AUC", "brier": "Brier score", "ece": "expected calibration error",
}  # fmt: skip


def mark(about: dict[str, Any]) -> str:
    """Return the line by which a card is known to be of a run.

    Parameters
    ----------
    about : dict
        What names the run, in the JSON beside the model.

    Returns
    -------
    str
    """
    return f"<!-- run {files.digest(json.dumps(about, sort_keys=True))} -->"


def text(
    record: dict[str, Any], note: dict[str, Any], about: dict[str, Any], counts: pd.DataFrame,
    metrics: dict[str, Any] | None, predictions: pd.DataFrame, *, judged: str,
) -> str:  # fmt: skip
    """Write the card.

    Parameters
    ----------
    record : dict
        The run's ``run.json``.
    note : dict
        What `export.describe` returns first.
    about : dict
        From `sources.describe`: what the images are.
    counts : DataFrame
        Images by part (rows) and kind (columns).
    metrics : dict or None
        From `evaluation.judge`; None where test was not read.
    predictions : DataFrame
        Of the part `judged`, and perhaps others, with kind.
    judged : str
        The part whose kinds are counted, "test" or the validating one.

    Returns
    -------
    str
        Markdown, in the sections of Mitchell 2019; before them, for Hugging Face's hub, the head in YAML that it reads.
    """
    synthetic, threshold = note["synthetic"], note["threshold"]
    return _pages.fill(
        Path(__file__).with_name("card.md.j2"), record=record, note=note, about=about, mark=mark(note["run"]),
        dataset_id=anchor(about["title"]),
        counts=_pages.table(["part", *counts], counts.itertuples()), metrics=metrics, shown=_SHOWN,
        words=evaluation.words, kinds=_kinds(predictions[predictions["split"] == judged], threshold), judged=judged,
        statistics_auc=None if synthetic else _statistics_auc(),
        acquisition=[] if synthetic or metrics is None else acquisition(predictions, threshold), seeds=_seeds(record),
    )  # fmt: skip


def _kinds(predictions: pd.DataFrame, threshold: float) -> str:
    from cxr_utils.replication.verdicts import interval

    rows = []
    for kind, row in evaluation.by_kind(predictions, threshold=threshold).iterrows():
        low, high = interval(row["share_right"], int(row["images"]))
        share = f"{row['share_right']:.3f} ({low:.3f} to {high:.3f})"
        rows.append([kind, int(row["images"]), int(row["wrong"]), share])
    return _pages.table(["kind", "images", "wrong", "right"], rows)


def _statistics_auc() -> float | None:
    from cxr_utils.replication import claims

    line = files.resolve("results/scores/eight_statistics.json")
    return claims.score_row(files.read_record(line), where=line)["auc"] if line.is_file() else None


def acquisition(predictions: pd.DataFrame, threshold: float) -> list[str]:
    """Say what a network calls the NORMAL images of test that were acquired as many of PNEUMONIA, where it is known.

    Parameters
    ----------
    predictions : DataFrame
        With path, split, label and probability.
    threshold : float
        From this probability on an image is called similar to PNEUMONIA.

    Returns
    -------
    list of str
        One line, or none where nothing is known of these images.
    """
    if not (kept := files.resolve("results/acquisition.json")).is_file():
        return []
    known = files.read_json(kept)
    run, counts = known["run"], pd.DataFrame(known["stamp"]["counts"])
    number = predictions["path"].map(dataset.stem_of).str[: len(run["first"])]
    normal = (predictions["split"] == "test") & (predictions["label"] == 0)
    inside, wrong = number.between(run["first"], run["last"]), predictions["probability"] >= threshold
    if not (normal & inside).any():
        return []
    counts = counts[counts["part"] != "test"].groupby("class")[["stamped", "images"]].sum()
    stamped = {name: f"{row['stamped']:,} of {row['images']:,}" for name, row in counts.iterrows()}
    alarms, others = (f"{(rows & wrong).sum()} of {rows.sum()}" for rows in (normal & inside, normal & ~inside))
    return [
        f"Of NORMAL in test it calls {alarms} from {run['first']} to {run['last'][-4:]} similar to PNEUMONIA, and "
        f"{others} others. This range was chosen {run['chosen']}. Its images look as if another machine had made them: "
        f'{run["stamped"]} have a stamp ("KV59", or another number) that, outside test, is on {stamped["NORMAL"]} '
        f"NORMAL and {stamped['PNEUMONIA']} PNEUMONIA images. So the way of acquisition goes with the label."
    ]


def _seeds(record: dict[str, Any]) -> dict[str, list[float]]:
    """Find what other seeds of the same training gave, where they are kept: one run's figures are partly luck."""
    from cxr_utils.replication import grid

    same = ("recipe", "protocol", "split", "pixels")
    alike = [r for r in grid.results("results").values() if all(r.get(key) == record[key] for key in same)]
    if len(alike) < 2:
        return {}
    on_test = [r["metrics"]["test"]["at_half"] for r in alike]
    return {metric: [figures[metric]["value"] for figures in on_test] for metric in ("accuracy", "auc")}
