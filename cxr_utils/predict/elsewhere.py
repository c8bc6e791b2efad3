"""A saved model and labelled images, such as another hospital's → its figures, as all others are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import _pages, dataset, evaluation, explain, files, models, predict, shortcuts, sources
from cxr_utils.errors import BadInput, one_of, printable
from cxr_utils.predict import labelled
from cxr_utils.replication import score

PARTS = (*dataset.SPLITS, "all")
#: What the record that `judge_model` keeps has.
RECORD = ("identity", "model", "source", "part")
#: What is changed, of `shortcuts.changes`.
SHORTCUTS = ("as it is", "central chest covered", "all but border covered", "surroundings of the other class")


def judge_model(
    model: str | Path | None = None, *, source: str, data_dir: str | Path = "data", path: str | Path | None = None,
    part: str | None = None, out: str | Path | None = None, meaning: models.Meaning = models.UNSAID,
    table: str | Path | None = None, by: Sequence[str] = (), covered: bool = False,
    named: Mapping[str, int] | None = None, origin: str | None = None, licence: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Let a model answer for labelled images, and judge the answers by the labels of the images' folders.

    It answers as in `predict.predict`. Images that it calls outside of what it knows are judged like the others,
    counted, and left out in one of the groups; those that can't be read are left out, and named. With `out` a reading
    of the official test set, known by the images' names, is entered first in the ledger, as by `score.score`
    (``evaluations`` and ``elsewhere`` count as ``scores``); one of images of another origin where a ledger is there.
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
        For the source "folder": a folder or zip file as for `labelled.opened`, read where it lies. Without it what
        `sources.fetch` copied before is judged.
    part : {"test", "val", "train", "all"}, optional
        Which images; by default test, or all where there is no test.
    out : str or Path, optional
        A JSON file to keep the record in. Without it nothing is written, but what fetching leaves.
    meaning : cxr_utils.models.Meaning
        What the model takes and gives; as for `predict.load`.
    table : str or Path, optional
        As for `labelled.read_table`; its column ``patient`` says whose the images are.
    by : sequence of str
        Columns of the table: each of their values is a group.
    covered : bool
        Also cover parts of the images, `SHORTCUTS`, and see what the model still knows, by a single view.
    named : mapping of str to int, optional
        From `labelled.classes`.
    origin, licence : str, optional
        What is to be said of the images.
    progress : bool
        Show bars.

    Returns
    -------
    dict
        ``name``; ``identity`` (12 hexadecimal digits of model and images); ``model`` (file, sha256, run, views, and its
        `models.Meaning`: classes, pixels, logits);
        ``source`` (name, title, place, origin, licence, synthetic, digest of names and contents of the images);
        ``part``; ``of_test`` (how many of the images are of the official test set) and ``seen`` (of train and val of
        this dataset or of the sample); ``patients``, ``patients_unknown`` and ``outside`` (numbers; the latter None
        without a check); ``reasons`` (why outside: of each the images by class); ``unreadable`` and ``left_out``
        (paths); ``threshold`` (None without JSON); ``metrics`` (from `evaluation.judge_part`; of one class alone its
        sensitivity or specificity); ``kinds`` (of each kind the images, and how many were answered wrongly at both
        thresholds); ``groups`` (of all, of those inside and of each value of `by` the images by class, patients,
        outside and metrics); ``shortcuts`` (of the same groups, from `shortcuts.measure`; empty if not wanted);
        ``notes`` (questions, from `models.Meaning.doubts`, and what is to be known of columns).

    Raises
    ------
    BadInput
        The model, the source or the table is refused, the part has no image, or `out` can't be used.

    Examples
    --------
    >>> judge_model("runs/mine", source="folder", path="hospital")  # doctest: +SKIP
    """
    one_of("part", "all" if part is None else part, PARTS)
    out = Path(out) if out is not None else None
    again = _check(out) if out is not None else False
    if by and table is None:
        raise BadInput(f"--by {','.join(by)}: no table has it; name one by --table")
    predictor = predict.load(model, meaning=meaning, bare=True)
    threshold, meaning = predictor.note.get("threshold"), predictor.model.meaning
    lies = source == "folder" and path is not None
    place = sources.fetch(source, data_dir=data_dir, path=path, progress=progress) if not lies else files.resolve(path)
    top = None if lies else Path(place.anchor)
    with labelled.opened(place, named=named or labelled.classes(), top=top) as (films, left_out, about, content):
        part = part or ("test" if "test" in set(films["split"]) else "all")
        rows, said = _chosen(films, part, place, table)
        rows["named"] &= not sources.get(source).another
        values = {column: labelled.values(said, column, where=table) for column in by}
        of_test, sha256 = _of_test(rows), files.sha256(predictor.model.path)
        settings = {"views": predictor.note.get("views", 0)}
        if meaning != models.Meaning(pixels=(0, 1)):
            settings |= asdict(meaning)
        images, synthetic = files.digest(files.as_csv(rows[["path", "sha256"]])), about["synthetic"]
        record: dict[str, Any] = {
            "name": out.stem if out else predictor.model.path.stem,
            "identity": files.digest(f"{sha256} {settings} {images}", length=12),
            "model": {"file": predictor.model.path.name, "sha256": sha256, "run": predictor.note.get("run"), **settings,
                      **asdict(meaning)},
            "source": {"name": source, "title": about["title"], "place": printable(place.name), "origin": origin,
                       "licence": licence or about["licence"], "synthetic": synthetic, "digest": images},
            "part": part, "of_test": 0 if synthetic else int(of_test.sum()),
            "seen": int((rows["named"] & ~of_test).sum()),
        }  # fmt: skip
        foreign = not (synthetic or rows["named"].all())
        if out is not None and (record["of_test"] or (foreign and score.ledger_of(out).is_file())):
            score.enter(record, out, command="evaluate")
        pixels: list[np.ndarray] | None = [] if covered else None
        answers = pd.DataFrame(predict.predict(
            predictor, rows["path"], progress=progress, kept=pixels, content=lambda path: content(path.as_posix())
        ))  # fmt: skip
    read = answers["error"] == ""
    if not read.any():
        raise BadInput(f"part {part}: none of the {len(read):,} images of {place} can be read ({answers['error'][0]})")
    rows = rows.assign(split=rows["split"].replace("val", "validation")).join(answers[["probability", "outside"]])
    judged = rows.loc[read, [*evaluation.COLUMNS, "kind", "outside"]].reset_index(drop=True)
    strange = judged[judged["outside"] != ""]
    parts = {"all": judged} | ({"inside": judged.drop(strange.index)} if 0 < len(strange) < len(judged) else {})
    notes: list[str] = []
    for column, value in values.items():
        value = value[read].reset_index(drop=True)
        parts |= {printable(f"{column} {name}"): group for name, group in judged.groupby(value, observed=True)}
        notes += filter(None, [labelled.goes_with(column, value, judged)])
    groups = {name: _figures(group, threshold) for name, group in parts.items()}
    metrics, kinds = groups["all"]["metrics"], evaluation.by_kind(judged)[["images"]]
    notes = meaning.doubts(judged["probability"], predictor.threshold, auc=metrics["at_half"]["auc"]) + notes
    for name, cut in evaluation.cuts(threshold).items():
        kinds[f"wrong_{name}"] = evaluation.by_kind(judged, threshold=cut)["wrong"]
    if out is not None and again and files.read_json(out)["source"].get("digest") != images:
        notes.append(f"these images are not those that the figures in {out.name} were of before")
    reasons = dataset.count_parts(strange["outside"], strange["label"], sorted(set(strange["outside"])))
    record |= {
        "patients": groups["all"]["patients"], "patients_unknown": int(judged["patient"].isna().sum()),
        "outside": len(strange) if predictor.check else None, "reasons": reasons.to_dict(orient="index"),
        "unreadable": [printable(name) for name in rows["path"][~read]],
        "left_out": [printable(name) for name in left_out] if lies else [],
        "threshold": threshold, "metrics": metrics, "kinds": kinds.to_dict(orient="index"),
        "groups": groups, "notes": notes,
        "shortcuts": {name: _covered(predictor, np.stack(pixels)[group.index], group)
                      for name, group in parts.items() if covered and name != "inside"},
    }  # fmt: skip
    if out is not None:
        files.write_csv(out.with_suffix(".predictions.csv.gz"), judged, ours=again)
        files.write_json(out, record, ours=RECORD)
    return record


def _chosen(films: pd.DataFrame, part: str, place: Path, table: str | Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the images of a part, and row by row what a table says of them; patients are those of the table if named."""
    rows = films[(films["split"] == part) | (part == "all")]
    if rows.empty:
        raise BadInput(f"part {part}: {place} has no image in it; there is {', '.join(sorted(set(films['split'])))}")
    said = pd.DataFrame(index=films.index) if table is None else labelled.read_table(Path(table), films["path"])
    if len(without := rows.index.difference(said.index)):
        raise BadInput(f"{table}: no row fits {len(without):,} of {len(rows):,} images, first "
                       f"{printable(rows.at[without[0], 'path'])}; give each image its row")  # fmt: skip
    said, rows = said.loc[rows.index].reset_index(drop=True), rows.reset_index(drop=True)
    patients = dataset.join_duplicates(said.get("patient", rows["patient"]), rows["sha256"])
    return rows.assign(patient=pd.Series(patients, dtype="string")), said


def _figures(group: pd.DataFrame, threshold: float | None) -> dict[str, Any]:
    """Count and judge images; of one class alone its sensitivity or specificity."""
    label, metrics = group["label"], {"images": len(group)}
    if label.nunique() == 2:
        metrics = evaluation.judge_part(group, threshold)
    else:
        none = {metric: dict.fromkeys(("value", "low", "high")) for metric in evaluation.METRICS}
        only = ("specificity", "sensitivity")[label.iat[0]]
        for name, cut in evaluation.cuts(threshold).items():
            right = pd.DataFrame({only: (group["probability"] >= cut) == label})
            metrics[name] = none | evaluation.plain(explain.means(right, group["patient"]))
    return {
        **{name: int((label == number).sum()) for number, name in enumerate(dataset.CLASSES)},
        "patients": int(evaluation.groups(group["patient"]).max()) + 1,
        "outside": int((group["outside"] != "").sum()), "metrics": metrics,
    }  # fmt: skip


def _covered(predictor: predict.Predictor, pixels: np.ndarray, group: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what `shortcuts.measure` gives; nothing for one class alone."""
    if group["label"].nunique() < 2:
        return {}
    found = shortcuts.measure(predictor.model, pixels, group, threshold=predictor.threshold, only=SHORTCUTS)
    return evaluation.plain(found, 4)


def _check(out: Path) -> bool:
    """Refuse an --out that is none, or that others read or wrote; tell whether an earlier call wrote it."""
    if out.suffix != ".json" or out.parent.name in ("runs", "scores"):
        raise BadInput(f"--out {out}: must be a file named .json, such as results/evaluations/{out.stem}.json, "
                       "and not among runs or scores")  # fmt: skip
    return score.check_out(out, RECORD)


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
    blocks, threshold = {"at_half": "answers from probability .5 on"}, record["threshold"]
    if threshold not in (None, 0.5):
        blocks["at_threshold"] = f"answers from {threshold:.3f} on, the model's own threshold"
    return _pages.fill(
        Path(__file__).with_name("evaluation.txt.j2"), **record, blocks=blocks, words=evaluation.words,
        changes=SHORTCUTS, meaning=models.Meaning(*(record["model"][key] for key in ("classes", "pixels", "logits"))),
        tables=score.tables({record["part"]: record["metrics"]}, blocks),
    ).strip()  # fmt: skip
