"""The model card of a run: what the model is, for what, how well it does, and where it fails [1]_.

References
----------
.. [1] Mitchell M et al., Model cards for model reporting, FAT* 2019, doi 10.1145/3287560.3287596.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from cxr_utils import dataset, evaluation, files
from cxr_utils.errors import printable

_SHOWN = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "sensitivity": "sensitivity",
    "specificity": "specificity", "auc": "AUC", "brier": "Brier score", "ece": "expected calibration error",
}  # fmt: skip
_PROTOCOLS = {
    "honest": "validation patients were kept apart inside train; the epoch was chosen on them alone",
    "published": "as the system's authors did, mistakes included",
}
_CHOSEN = {"honest": ", and so was the threshold"}


def mark(about: dict[str, Any]) -> str:
    """Return the line by which a card is known to be of a run."""
    return f"<!-- run {files.digest(json.dumps(about, sort_keys=True))} -->"


def text(
    record: dict[str, Any],
    note: dict[str, Any],
    about: dict[str, Any],
    counts: pd.DataFrame,
    metrics: dict[str, Any] | None,
    predictions: pd.DataFrame,
    *,
    judged: str,
) -> str:
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
        Markdown, in the sections of Mitchell 2019.
    """
    synthetic, size = note["synthetic"], note["image_size"]
    on_test = record["validate_on"] == "test"
    title = f"{record['recipe']['name']}, protocol {record['protocol']}, seed {record['seed']}"
    chosen = (
        "test itself, which is a mistake of the replicated system" if on_test else f"{record['validate_on']} images"
    )
    fixed = "threshold" in record["recipe"]
    rule = "fixed before it was trained" if fixed else f"the best balanced accuracy on {chosen}"
    views = note.get("views", 0)
    restored = (record["recipe"]["early_stopping"] or {}).get("restore_best_weights")
    kept = ", with the weights of the epoch that validation chose" if restored else ""
    protocol = _PROTOCOLS.get(record["protocol"], "not stated")
    return "\n".join(
        [
            f"# Model card: {title}",
            "",
            mark(note["run"]),
            "",
            "Made from the run's own files; the sections are those of Mitchell et al., *Model cards for model "
            "reporting* (2019).",
            "",
            "## Model details",
            "",
            f"- A convolutional network with {record['parameters']:,} parameters, recipe `{record['recipe']['name']}` "
            "of cxr-utils, trained from scratch.",
            f"- Takes grayscale images of {size} x {size} pixels ({note['resize']}, values from 0 to 1). Gives the "
            "probability of PNEUMONIA.",
            *([f"- Its answer is the mean over the image and {views} mildly changed views of it."] if views else []),
            f"- Trained for {record['epochs_run']} epochs in {record['seconds'] / 60:.1f} minutes, "
            f"{record['precision']}{kept}; saved in float32.",
            f"- Versions: {', '.join(f'{name} {version}' for name, version in record['versions'].items())}.",
            f"- Threshold: {note['threshold']:.4f}, {rule}.",
            "- Opened as `.onnx` without cxr-utils: set the variable `ORT_DISABLE_TELEMETRY=1` before ONNX Runtime is "
            "imported. Its newer versions report to Microsoft otherwise.",
            "- Licence of the code and weights: MIT.",
            "",
            "## Intended use",
            "",
            "Teaching, and research on how such models are judged. Its users are learners, teachers and researchers.",
            "",
            "**Must not be used** for diagnosis, triage or any decision about a person; on adults, lateral views, "
            "other parts of the body or photographs of films; as proof that a network reads lungs. It is no medical "
            "device, and no clinical study was done. An answer says what labels similar images had, "
            "not what a child has.",
            *(
                ["", "It was trained on synthetic phantoms: on real radiographs its answers mean nothing."]
                if synthetic
                else []
            ),
            "",
            "## Factors",
            "",
            *_factors(synthetic),
            "",
            "## Metrics",
            "",
            "Accuracy, sensitivity (PNEUMONIA found) and specificity (NORMAL found) at .5 and at the threshold, AUC "
            "and calibration. Intervals: 95%, bootstrap over patient groups, 2,000 draws. By kind: 95%, "
            "Clopper-Pearson.",
            "",
            "## Training and evaluation data",
            "",
            f"- {printable(about['title'])} ({printable(about['licence'])}). {printable(about.get('attribution', ''))}",
            f"- Images as trained on: {printable(record['image_source']) or 'not stated'}.",
            f"- Protocol *{record['protocol']}*: {protocol}{'' if fixed else _CHOSEN.get(record['protocol'], '')}. "
            f"Split {record['split']}, validation on {record['validate_on']}.",
            "",
            _markdown(counts.rename_axis(None, axis=1).reset_index()),
            "",
            "## Quantitative analyses",
            "",
            *_figures(metrics),
            "",
            *_kinds(predictions[predictions["split"] == judged], note["threshold"], judged),
            "",
            "## Images that are not known",
            "",
            "A check fitted on the training images says when an image does not look like them. It flags "
            + "; ".join(f"{v['outside']} of {v['images']:,} ({name})" for name, v in note["false_alarm"].items())
            + " of the dataset's own. It sees photographs, blanks, noise, inverted and turned films; it does not see "
            "another age or hospital, and only a DICOM header tells it of another view.",
            "",
            "## Ethical considerations",
            "",
            "The images are of children, published without names by the dataset's authors. Consent and how each label "
            "was reached are not documented beyond their paper."
            if not synthetic
            else "No person's data are in it.",
            "",
            "## Caveats and known failures",
            "",
            *_failures(metrics, predictions, note["threshold"], synthetic, on_test),
            *_seeds(record),
            "",
        ]
    )


def _factors(synthetic: bool) -> list[str]:
    if synthetic:
        return ["Phantoms drawn by cxr-utils: normal, and with the signs that stand for bacterial and viral pneumonia."]
    return [
        "Children of one to five years, one hospital (Guangzhou), anterior-posterior views. Sex, device and severity "
        "are not published; bacterial and viral kinds come from the file names. Numbers of NORMAL images are not known "
        "to be patients."
    ]


def _figures(metrics: dict[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["Test was not read for this run, so there are no figures on it. Evaluate it first, then export again."]
    rows = []
    for part, name in (("validation", "validation"), ("test", "test"), ("test_without_known", "test, unknown persons")):
        for cut in ("at_half", "at_threshold") if metrics["threshold"] != 0.5 else ("at_half",):
            if cut in metrics.get(part, {}):
                values = metrics[part][cut]
                at = "0.5" if cut == "at_half" else f"{metrics['threshold']:.3f}"
                row = {"part": f"{name} ({metrics[part]['images']})", "cut": at}
                rows.append(row | {label: evaluation.words(values[key]) for key, label in _SHOWN.items()})
    return [_markdown(pd.DataFrame(rows))]


def _kinds(predictions: pd.DataFrame, threshold: float, judged: str) -> list[str]:
    from scipy.stats import binomtest

    table = evaluation.by_kind(predictions, threshold=threshold)
    rows = []
    for kind, row in table.iterrows():
        sure = binomtest(int(row["right"]), int(row["images"])).proportion_ci(method="exact")
        share = f"{row['share_right']:.3f} ({sure.low:.3f} to {sure.high:.3f})"
        rows.append({"kind": kind, "images": int(row["images"]), "wrong": int(row["wrong"]), "right": share})
    return [f"By kind, on {judged}, at the threshold:", "", _markdown(pd.DataFrame(rows))]


def _failures(
    metrics: dict[str, Any] | None, predictions: pd.DataFrame, threshold: float, synthetic: bool, on_test: bool
) -> list[str]:
    found = []
    if on_test:
        found.append("Epochs or threshold were chosen on test: its figures on test are too good.")
    if metrics is not None:
        cut = metrics["test"]["at_threshold"]
        missed, alarms = 1 - cut["sensitivity"]["value"], 1 - cut["specificity"]["value"]
        found.append(
            f"On test it misses {missed:.1%} of PNEUMONIA and calls {alarms:.1%} of NORMAL similar to PNEUMONIA, at "
            "the threshold."
        )
        gap = metrics["test"]["at_half"]["ece"]["value"]
        found.append(f"Its probabilities are off by {gap:.3f} on average on test (expected calibration error).")
        if not on_test:
            before, after = (metrics[part]["at_half"]["auc"]["value"] for part in ("validation", "test"))
            found.append(f"AUC is {before:.3f} on validation and {after:.3f} on test.")
    if not synthetic:
        from cxr_utils import claims

        if (line := files.resolve("results/scores/eight_statistics.json")).is_file():
            auc = claims.score_row(files.read_record(line), where=line)["auc"]
            found.append(
                "Eight statistics of the whole picture, such as brightness and sharpness, already tell the classes "
                f"apart with AUC {auc:.3f} on the official test set: a good figure there says little about lungs."
            )
        if metrics is not None:
            found += acquisition(predictions, threshold)
        if metrics is not None and "test_without_known" in metrics:
            all_of, alone = (metrics[part]["images"] for part in ("test", "test_without_known"))
            found.append(
                f"{all_of - alone} of {all_of} test images carry a person number that other parts know, too; whether "
                "they are the same children can't be proved."
            )
        found.append(
            "Another network trained on this dataset had AUC .95 here and .54 on children of the same age from another "
            "hospital (Xin, Li, Yi, 2021, doi 10.1007/s10140-021-01954-x). This one was not tried elsewhere."
        )
    return [f"- {one}" for one in found]


def acquisition(predictions: pd.DataFrame, threshold: float) -> list[str]:
    """Say what a network calls the NORMAL images of test that were acquired as many of PNEUMONIA, where it is known."""
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
        f"{run['stamped']} have a stamp (\"KV59\", or another number) that, outside test, is on {stamped['NORMAL']} "
        f"NORMAL and {stamped['PNEUMONIA']} PNEUMONIA images. So the way of acquisition goes with the label."
    ]


def _seeds(record: dict[str, Any]) -> list[str]:
    """Say what other seeds of the same training gave, where they are kept: one run's figures are partly luck."""
    from cxr_utils import grid

    same = ("recipe", "protocol", "split", "pixels")
    alike = [r for r in grid.results("results").values() if all(r.get(key) == record[key] for key in same)]
    if len(alike) < 2:
        return []
    on_test = [r["metrics"]["test"]["at_half"] for r in alike]
    found = {metric: [figures[metric]["value"] for figures in on_test] for metric in ("accuracy", "auc")}
    told = " and ".join(
        f"{_SHOWN[metric]} {min(values):.3f} to {max(values):.3f} (mean {sum(values) / len(values):.3f})"
        for metric, values in found.items()
    )
    return [f"- This is one of {len(alike)} runs that differ by their seed alone: on test they gave {told}, at .5."]


def _markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, "| " + " | ".join("---" for _ in table.columns) + " |", *rows])
