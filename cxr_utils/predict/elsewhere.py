"""A saved model and a folder of labelled images, such as another hospital's → its figures, as all others are judged."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import _pages, dataset, evaluation, files, models, predict, sources
from cxr_utils.errors import BadInput, one_of, printable
from cxr_utils.replication import score

PARTS = (*dataset.SPLITS, "all")
RECORD = ("identity", "model", "source", "part")
"""What the record that `judge_model` keeps has."""


def judge_model(
    model: str | Path | None = None, *, source: str, data_dir: str | Path = "data", path: str | Path | None = None,
    part: str | None = None, out: str | Path | None = None, meaning: models.Meaning = models.UNSAID,
    progress: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Let a model answer for the images of a source, and judge the answers by their folders' labels.

    It answers as in `predict.predict`. Images that it calls outside of what it knows are judged like the others, and
    counted; those that can't be read are left out, and named. With `out` a reading of the official test set, known
    by the images' names, is entered first in the ledger, as by `score.score` (``evaluations`` counts as ``scores``).
    Then the predictions are written beside `out`, as ``<name>.predictions.csv.gz``, and last `out`.

    Parameters
    ----------
    model : str or Path, optional
        As for `predict.load`; a model's file may also be without JSON: it gets images squashed to its size, and no
        threshold but .5 is judged.
    source : str
        One of `sources.names`; what is not there yet is fetched.
    data_dir : str or Path
        As for `sources.fetch`.
    path : str or Path, optional
        For the source "folder", the first time: a folder or zip file with ``{train,val,test}/{NORMAL,PNEUMONIA}``;
        one of the three is enough. Files may have any name; patient and kind are known where it is one of this dataset.
    part : {"test", "val", "train", "all"}, optional
        Which images; by default test, or all where there is no test.
    out : str or Path, optional
        A JSON file to keep the record in. Without it nothing is written, but what fetching leaves.
    meaning : cxr_utils.models.Meaning
        What the model takes and gives; as for `predict.load`.
    progress : bool
        Show bars.

    Returns
    -------
    dict
        ``name``; ``identity`` (12 hexadecimal digits of model and images); ``model`` (file, sha256, run, views, and its
        `models.Meaning`: classes, pixels, logits);
        ``source`` (name, title, synthetic, digest of names and contents of the images); ``part``; ``of_test`` (how
        many of the images are of the official test set) and ``seen`` (of train and val of this dataset or of the
        sample); ``patients_unknown`` and ``outside`` (numbers of images; the latter None without a check);
        ``unreadable`` (paths); ``threshold`` (None without JSON); ``metrics`` (from `evaluation.judge_part`);
        ``kinds`` (of each kind the images, and how many were answered wrongly at both thresholds); ``notes``
        (questions, from `models.Meaning.doubts`).

    Raises
    ------
    BadInput
        The model or the source is refused, the part has no image or only one class, or `out` can't be used.

    Examples
    --------
    >>> judge_model("runs/mine", source="folder", path="hospital", data_dir="hospital-data")  # doctest: +SKIP
    """
    one_of("part", "all" if part is None else part, PARTS)
    out = Path(out) if out is not None else None
    again = _check(out) if out is not None else False
    predictor = predict.load(model, meaning=meaning, bare=True)
    folder = sources.fetch(source, data_dir=data_dir, path=path, progress=progress)
    about, table = sources.describe(folder), dataset.labelled(folder)
    there = set(table["split"])
    part = part or ("test" if "test" in there else "all")
    if part != "all" and part not in there:
        raise BadInput(f"part {part}: {folder} has no image in it; there is {', '.join(sorted(there))}")
    table = table[(table["split"] == part) | (part == "all")].reset_index(drop=True)
    _need_both(table, folder, part)
    of_test = _of_test(table)
    file, settings, meaning = predictor.model.path, {"views": predictor.note.get("views", 0)}, predictor.model.meaning
    if meaning != models.Meaning(pixels=(0, 1)):
        settings |= asdict(meaning)
    sha256, images = files.sha256(file), files.digest(table[["path", "sha256"]].to_csv(index=False))
    record: dict[str, Any] = {
        "name": out.stem if out else file.stem,
        "identity": files.digest(f"{sha256} {settings} {images}", length=12),
        "model": {"file": file.name, "sha256": sha256, "run": predictor.note.get("run"), **settings, **asdict(meaning)},
        "source": {"name": source, "title": about["title"], "synthetic": bool(about["synthetic"]), "digest": images},
        "part": part,
        "of_test": 0 if about["synthetic"] else int(of_test.sum()),
        "seen": int((table["named"] & ~of_test).sum()),
    }
    if out is not None and record["of_test"]:
        score.enter(record, out, command="evaluate")
    answers = list(predict.predict(predictor, [folder / name for name in table["path"]], progress=progress))
    read = np.array([not answer.error for answer in answers])
    judged = table[read].assign(
        split=table["split"].replace("val", "validation"),
        probability=[answer.probability for answer in answers if not answer.error],
        outside=[answer.outside for answer in answers if not answer.error],
    )
    judged = judged[[*evaluation.COLUMNS, "kind", "outside"]].sort_values(["split", "path"], ignore_index=True)
    _need_both(judged, folder, part)
    threshold = predictor.note.get("threshold")
    kinds = evaluation.by_kind(judged)[["images"]]
    for name, cut in {"at_half": 0.5, "at_threshold": threshold}.items():
        if cut is not None:
            kinds[f"wrong_{name}"] = evaluation.by_kind(judged, threshold=cut)["wrong"]
    record |= {
        "patients_unknown": int(judged["patient"].isna().sum()),
        "outside": int((judged["outside"] != "").sum()) if predictor.check else None,
        "unreadable": [printable(name) for name in table["path"][~read]],
        "threshold": threshold,
        "metrics": evaluation.judge_part(judged, threshold),
        "kinds": kinds.to_dict(orient="index"),
    }
    auc = record["metrics"]["at_half"]["auc"]
    record["notes"] = meaning.doubts(judged["probability"], predictor.threshold, auc=auc)
    if out is not None:
        files.write_csv(out.with_suffix(".predictions.csv.gz"), judged, ours=again)
        files.write_json(out, record, ours=RECORD)
    return record


def _check(out: Path) -> bool:
    """Refuse an --out that is none, or that others read or wrote; tell whether an earlier call wrote it."""
    if out.suffix != ".json" or out.parent.name in ("runs", "scores"):
        raise BadInput(f"--out {out}: must be a file named .json, such as results/evaluations/{out.stem}.json, "
                       "and not among runs or scores")  # fmt: skip
    return score.check_out(out, RECORD)


def _need_both(table: pd.DataFrame, folder: Path, part: str) -> None:
    if table["label"].nunique() < 2:
        only = f"only {dataset.CLASSES[table['label'].iat[0]]}" if len(table) else "none"
        raise BadInput(f"part {part}: of the images of {folder} that can be read there {only} is left; the metrics "
                       "need NORMAL and PNEUMONIA: add the other class, or choose another --part")  # fmt: skip


def _of_test(table: pd.DataFrame) -> pd.Series:
    """Tell which images are of test, by the names of the honest split if it is at hand, else by their folder."""
    try:
        known = score.read_split()
        parts = dict(zip(known["path"].map(dataset.stem_of), known["part"], strict=True))
    except BadInput:  # not a checkout
        parts = {}
    part = table["path"].map(dataset.stem_of).map(parts).astype(object).fillna(table["split"])
    return table["named"] & (part == "test")


def as_text(record: dict[str, Any]) -> str:
    """Lay out what `judge_model` returned for people.

    Parameters
    ----------
    record : dict
        From `judge_model`.

    Returns
    -------
    str
    """
    threshold, kinds = record["threshold"], pd.DataFrame(record["kinds"]).T
    blocks = {"at_half": "answers from probability .5 on"}
    if threshold not in (None, 0.5):
        blocks["at_threshold"] = f"answers from {threshold:.3f} on, the model's own threshold"
    if threshold == 0.5:
        kinds = kinds.drop(columns="wrong_at_threshold")
    kinds.columns = [name.replace("_at_half", ", from .5 on").replace("_at_", ", from the ") for name in kinds]
    return _pages.fill(
        Path(__file__).with_name("evaluation.txt.j2"), **record,
        meaning=models.Meaning(*(record["model"][key] for key in ("classes", "pixels", "logits"))),
        tables=score.tables({record["part"]: record["metrics"]}, blocks),
        by_kind=kinds.to_string() if {"bacteria", "virus"} & set(record["kinds"]) else "",
    ).strip()  # fmt: skip
