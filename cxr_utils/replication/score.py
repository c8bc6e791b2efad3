"""Predictions of any framework, judged as the cells of the grid are, after a check against the table of a split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxr_utils import _pages, dataset, evaluation, files, ledger, models, splits
from cxr_utils.errors import BadInput

#: The digest of `splits.grouped` with seed 0 on all 5,856 images: the split of the honest protocol.
HONEST = "98ef3b64854cd068"
#: Of `splits.folds` with seed 0: the benchmark that leaves the official test set closed.
FOLDS = "e3049a07fc8cbdaf"
COLUMNS = tuple(column for column in evaluation.COLUMNS if column != "patient")
#: What the record that `score` keeps has.
RECORD = ("name", "identity", "split", "metrics")
FIGURES = ("auc", "accuracy", "sensitivity", "specificity")
FOLDS_RECORD = ("name", "benchmark", "identity", "split", "figures")
TITLES = {"validation": "validation", "test": "test", "test_without_known": "test without known persons"}


def read_split(which: str | Path = "honest") -> pd.DataFrame:
    """Read the table of a split.

    Parameters
    ----------
    which : str or Path
        "honest", the digest of a split in ``results/splits``, or a file with the columns path, patient, label
        and part.

    Returns
    -------
    DataFrame
        path (str), patient (string), label (int64, 0 or 1), part (str) and what else it has, such as kind.

    Raises
    ------
    BadInput
        There is no such file, a column is missing, a path is empty, a name stands there twice, a label or part is
        none or not that of the image's folder, or a file that is named by its digest was changed.

    Examples
    --------
    >>> len(read_split("honest"))  # doctest: +SKIP
    5856
    """
    digest = HONEST if which == "honest" else str(which)
    path = files.resolve("results") / "splits" / f"{digest}.csv.gz"
    named = path.is_file()
    if not named and which == "honest":
        way_out = "run this inside a clone of the course, or name the table of your own split by --split"
        raise BadInput(f"{path}: there is no such file; {way_out}")
    path = path if named else Path(which)
    table = files.read_csv(path, columns=("path", "patient", "label", "part"))
    if table["path"].isna().any():
        line = int(table["path"].isna().argmax()) + 2
        raise BadInput(f"{path}, line {line}: path is empty; each row names its image")
    table = table.astype({"path": str, "patient": "string"})
    names = table["path"].map(dataset.stem_of)
    if names.duplicated().any():
        raise BadInput(f"{path}: {names[names.duplicated()].iloc[0]} stands there twice; an image has one part")
    folder = table["path"].str.extract(r"/(NORMAL|PNEUMONIA)/", expand=False).map({"NORMAL": 0, "PNEUMONIA": 1})
    wrong = ~table["label"].isin([0, 1]) | (folder.notna() & (folder != table["label"]))
    wrong |= ~table["part"].isin([*splits.PARTS, "unused", *splits.FOLDS])
    if wrong.any():
        row = table[wrong].iloc[0]
        raise BadInput(f"{path}: label {row['label']} and part {row['part']} can't be those of {row['path']}")
    if named and splits.digest(table) != digest:
        raise BadInput(f"{path}: was changed, its content is {splits.digest(table)}; take the committed file")
    return table


def align(predictions: pd.DataFrame, split: pd.DataFrame, *, where: str | Path = "predictions") -> pd.DataFrame:
    """Hold predictions against a split: every image of test once, none of train, the labels as they are.

    Images are known by their names, whatever their folder and suffix. Rows of train are checked, and left out.

    Parameters
    ----------
    predictions : DataFrame
        path, split (the part: "validation", "test", "train"), label, probability; from
        `evaluation.read_predictions`. Without split or label those of `split` are taken.
    split : DataFrame
        From `read_split`.
    where : str or Path
        What errors call the predictions.

    Returns
    -------
    DataFrame
        The rows of validation and test (or of all folds) in the form of `evaluation.predict`; path, patient, kind and
        group are those of the split. ``threshold`` stays where it is given.

    Raises
    ------
    BadInput
        An image is unknown, there twice, in another part, of another label, or missing. Without any row of
        validation the rest of test is taken.
    """
    table = pd.DataFrame({"name": predictions["path"].map(dataset.stem_of), "given": predictions["path"]})
    table = table.join(predictions.reindex(columns=["split", "label", "probability", "threshold"]))
    table["line"] = range(2, len(table) + 2)
    truth = split.assign(name=split["path"].map(dataset.stem_of)).drop(columns="split", errors="ignore")
    table = table.merge(truth.rename(columns={"label": "label_there"}), on="name", how="left")
    whole, known = "this split; name the table of yours by --split", splits.PARTS
    if "split" not in predictions:
        whole, known = "the five folds: they hold train and val of the dataset, not test", split["part"].unique()
        table["split"] = table["part"].fillna(known[0])
    if "label" not in predictions:
        table["label"] = table["label_there"]

    def refuse(bad: pd.Series, what: str) -> None:
        if bad.any():
            first, more = table[bad].iloc[0], int(bad.sum()) - 1
            also = f" (and {more:,} more)" if more else ""
            raise BadInput(f"{where}, line {first['line']}: {first['given']} {what.format_map(first)}{also}")

    refuse(~table["split"].isin(known), "has split {split!r}; it must be train, validation or test")
    refuse(table["part"].isna(), f"is no image of {whole}")
    refuse(table["name"].duplicated(), "stands there twice; give each image one row")
    refuse(table["split"] != table["part"], "is called {split}, but in this split it is {part}")
    refuse(table["label"] != table["label_there"], "has label {label}, but the dataset says {label_there:.0f}")
    table = table[table["split"] != "train"]
    for part in sorted({*truth["part"]} - {"train", "unused"}):
        rows = truth[truth["part"] == part]
        missing = rows[~rows["name"].isin(table["name"])]
        if len(missing) and not (part == "validation" and len(missing) == len(rows)):
            raise BadInput(
                f"{where}: {len(missing):,} of {len(rows):,} images of {part} are missing, "
                f"first {missing['path'].iloc[0]}; a figure needs all of them"
            )
    columns = [*evaluation.COLUMNS, *(c for c in ("kind", "group") if c in truth)]
    columns += ["threshold"] * ("threshold" in predictions)
    table["probability"] = table["probability"].astype("float64")
    return table[columns].sort_values(["split", "path"], ignore_index=True)


def score(
    path: str | Path, *, split: str | Path = "honest", name: str | None = None, out: str | Path | None = None,
    meaning: models.Meaning = models.UNSAID,
) -> dict[str, Any]:  # fmt: skip
    """Judge a file of predictions by `evaluation.judge`, and keep what came of it.

    With `out` the reading is entered first in the ledger of the same results: ``test_reads.csv`` beside the
    folder ``scores`` that holds `out`, else beside `out` itself. Then the checked predictions are written beside
    `out`, as ``<name>.predictions.csv.gz``, and last `out`.

    Parameters
    ----------
    path : str or Path
        A CSV file with path, split, label, probability (of PNEUMONIA); see `align`.
    split : str or Path
        As for `read_split`.
    name : str, optional
        What the predictions are called; by default as `out` or, without it, as the file.
    out : str or Path, optional
        A JSON file to keep the record in. Without it nothing is written.
    meaning : cxr_utils.models.Meaning
        Of its classes the last is the one whose probability the file holds.

    Returns
    -------
    dict
        ``name``, ``identity`` (12 hexadecimal digits of split and predictions), ``split`` (its digest) and
        ``metrics``. Without predictions of validation, no threshold but .5 is judged. ``classes`` if they are not the
        usual ones, and ``notes`` (from `models.Meaning.doubts`) if there are any.

    Raises
    ------
    BadInput
        As `read_split` and `align`, or `out` can't be used.

    Examples
    --------
    >>> import tempfile
    >>> folder, names = Path(tempfile.mkdtemp()), [f"IM-{n:04d}-0001.jpeg" for n in range(40)]
    >>> parts = pd.DataFrame({"path": names, "patient": names, "label": [0, 1] * 20, "part": "test"})
    >>> mine = parts.assign(split="test", probability=[0.2, 0.8] * 20)
    >>> parts.to_csv(folder / "split.csv", index=False)
    >>> mine.to_csv(folder / "mine.csv", index=False)
    >>> score(folder / "mine.csv", split=folder / "split.csv")["metrics"]["test"]["at_half"]["auc"]["value"]
    1.0
    """
    again = out is not None and check_out(out := Path(out), RECORD, judged=files.expand(path))
    parts = read_split(split)
    table = align(evaluation.read_predictions(path, columns=COLUMNS), parts, where=path)
    table["probability"] = meaning.gives(table[["probability"]])
    record = {
        "name": name or (out.stem if out else Path(path).name.partition(".")[0]),
        "identity": files.digest(splits.digest(parts) + files.as_csv(table), length=12),
        "split": splits.digest(parts),
    }
    if out is not None:
        enter(record, out, command="score")
    chosen_on = "validation" if (table["split"] == "validation").any() else None
    record["metrics"] = evaluation.judge(table, parts, validate_on=chosen_on)
    if meaning.classes != models.Meaning.classes:
        record["classes"] = list(meaning.classes)
    if notes := meaning.doubts(auc=record["metrics"]["test"]["at_half"]["auc"]):
        record["notes"] = notes
    if out is not None:
        files.write_csv(out.with_suffix(".predictions.csv.gz"), table, ours=again)
        files.write_json(out, record, ours=RECORD)
    return record


def folds(
    path: str | Path, *, name: str | None = None, out: str | Path | None = None, meaning: models.Meaning = models.UNSAID
) -> dict[str, Any]:
    """Judge a file of predictions by the five folds: each image of train and val, answered without its own fold.

    Intervals come from a bootstrap over the groups of the folds, in which persons and blocks of neighbouring numbers
    are whole. Of one fold they are of a dozen groups, so rough.

    Parameters
    ----------
    path : str or Path
        A CSV file with path and probability (of PNEUMONIA); and, where one was chosen on the four other folds, the
        ``threshold`` of each image's fold.
    name, out, meaning
        As for `score`. The ledger gets a row that counts no reading of test.

    Returns
    -------
    dict
        ``name``, ``benchmark`` ("folds"), ``identity``, ``split`` (the folds' digest) and ``figures``: for "all" and
        each fold ``images`` and ``at_half``, and where thresholds are given ``at_threshold``, as in `evaluation.judge`;
        ``notes`` as of `score`.

    Raises
    ------
    BadInput
        An image is unknown, there twice or missing, a probability or a threshold is not in [0, 1], or `out` can't be
        used.

    Examples
    --------
    >>> folds("results/submissions/eight_statistics.predictions.csv.gz")["figures"]["all"]["images"]  # doctest: +SKIP
    5232
    """
    again = out is not None and check_out(out := Path(out), FOLDS_RECORD, judged=files.expand(path))
    parts = read_split(FOLDS)
    given = evaluation.read_predictions(path, columns=("path", "probability")).drop(columns="split", errors="ignore")
    table = align(given, parts, where=path)
    table["probability"] = meaning.gives(table[["probability"]])
    identity = files.digest(FOLDS + files.as_csv(table), length=12)
    record = {"name": name or (out.stem if out else Path(path).name.partition(".")[0]), "benchmark": "folds",
              "identity": identity, "split": FOLDS}  # fmt: skip
    if out is not None:
        enter(record | {"of_test": 0}, out, command="score --benchmark folds")
    record["figures"] = {"all": _judge_fold(table)}
    record["figures"] |= {fold: _judge_fold(rows) for fold, rows in table.groupby("split")}
    if notes := meaning.doubts(auc=record["figures"]["all"]["at_half"]["auc"]):
        record["notes"] = notes
    if out is not None:
        files.write_csv(out.with_suffix(".predictions.csv.gz"), table, ours=again)
        files.write_json(out, record, ours=FOLDS_RECORD)
    return record


def _judge_fold(table: pd.DataFrame) -> dict[str, Any]:
    """Judge some folds' answers, groups drawn whole; by their own thresholds only what is counted, not ranked."""
    table = table.assign(patient=table["group"])
    found = evaluation.judge_part(table)
    if "threshold" in table:
        called = table.assign(probability=(table["probability"] >= table["threshold"]).astype(float))
        counted = evaluation.judge_part(called)["at_half"]
        found["at_threshold"] = {metric: counted[metric] for metric in evaluation.METRICS[:7]}
    return found


def check_out(out: Path, keys: Sequence[str], *, judged: Path | None = None) -> bool:
    """Refuse a file for a record, before any work, if it or its ledger would fall on another's.

    Parameters
    ----------
    out : Path
        The JSON.
    keys : sequence of str
        What a record of ours has.
    judged : Path, optional
        The predictions, which may lie where they will be written.

    Returns
    -------
    bool
        Whether a record of ours is there: then the predictions beside it are ours, too.

    Raises
    ------
    BadInput
        Something else is there, of a run of the grid, too; or it is not named .json.

    Examples
    --------
    >>> check_out(Path("gone.json"), RECORD)
    False
    """
    if out.suffix != ".json":
        raise BadInput(f"--out {out}: must be a file named .json, such as results/scores/{out.stem}.json")
    if files.has_keys("cell")(out):
        raise BadInput(f"--out {out}: holds a run of the grid; choose another file")
    files.check_ours(out, files.has_keys(*keys))
    files.check_ours(ledger_of(out), files.has_columns(*ledger.COLUMNS))
    kept = out.with_suffix(".predictions.csv.gz")
    there = out.is_file() or (kept.is_file() and judged is not None and judged.exists() and judged.samefile(kept))
    files.check_ours(kept, there)
    return there


def ledger_of(out: Path) -> Path:
    """Return the ledger of the results that a record belongs to.

    Parameters
    ----------
    out : Path
        The file that keeps the record.

    Returns
    -------
    Path

    Examples
    --------
    >>> ledger_of(Path("results/elsewhere/nih.json")).as_posix()
    'results/test_reads.csv'
    """
    among = out.parent.name in ("scores", "evaluations", "elsewhere")
    return (out.parent.parent if among else out.parent) / "test_reads.csv"


def enter(record: dict[str, Any], out: Path, *, command: str) -> None:
    """Enter a reading of test in the ledger of the results that `out` belongs to: `score` says which.

    Parameters
    ----------
    record : dict
        With name and identity; where ``of_test`` is 0, the images are others, and the entry counts no reading of test.
    out : Path
        The file that keeps the record.
    command : str
        Of `cxr`.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "mine.json"
    >>> enter({"name": "mine", "identity": "0123456789ab"}, out, command="score")
    >>> len(files.read_csv(out.with_name("test_reads.csv")))
    1
    """
    reads, remark = int(record.get("of_test", 1) > 0), f"cxr {command}, {out.name}"
    ledger.enter(ledger_of(out).parent, cell=record["name"], identity=record["identity"], reads=reads, remark=remark)


def as_text(record: dict[str, Any]) -> str:
    """Lay out what `score` returned for people: one block a threshold, one column a part.

    Parameters
    ----------
    record : dict
        From `score`.

    Returns
    -------
    str
    """
    metrics = record["metrics"]
    blocks = {"at_half": "answers from probability .5 on"}
    if metrics["threshold"] is not None:
        blocks["at_threshold"] = f"answers from {metrics['threshold']:.3f} on, chosen in validation"
    shown = tables({title: metrics[part] for part, title in TITLES.items() if part in metrics}, blocks)
    return _pages.fill(Path(__file__).with_name("score.txt.j2"), **record, tables=shown, words=evaluation.words).strip()


def folds_as_text(record: dict[str, Any]) -> str:
    """Lay out what `folds` returned for people: one block a threshold, one row a fold.

    Parameters
    ----------
    record : dict
        From `folds`.

    Returns
    -------
    str
    """
    lines = [f"{record['name']}, five folds {record['split']}"]
    blocks = {"at_half": "answers from probability .5 on", "at_threshold": "answers from each fold's own threshold on"}
    for block, title in blocks.items():
        shown = {part: {metric: evaluation.words(found[block][metric]) for metric in FIGURES if metric in found[block]}
                 | {"images": f"{found['images']:,}"}
                 for part, found in record["figures"].items() if block in found}  # fmt: skip
        lines += ["", title, pd.DataFrame(shown).T.to_string()] if shown else []
    lines += ["", *record["notes"]] if "notes" in record else []
    about = "In brackets: 95% interval, bootstrap over persons and blocks of neighbouring numbers; rough for one fold."
    return "\n".join([*lines, "", about])


def tables(parts: dict[str, dict[str, Any]], blocks: dict[str, str]) -> str:
    """Lay out metrics with their intervals: one block a threshold, one column a part.

    Parameters
    ----------
    parts : dict of str to dict
        Title of a column to what `evaluation.judge_part` returned.
    blocks : dict of str to str
        "at_half" or "at_threshold" to the title of the block.

    Returns
    -------
    str

    Examples
    --------
    >>> table = pd.DataFrame({"patient": list("abcd"), "label": [0, 1] * 2, "probability": [0.1, 0.9, 0.2, 0.8]})
    >>> print(tables({"test": evaluation.judge_part(table)}, {"at_half": "from .5 on"}).splitlines()[1])
    from .5 on
    """
    lines = []
    for block, title in blocks.items():
        cuts = evaluation.METRICS if block == "at_half" else evaluation.METRICS[:7]
        shown = {name: [evaluation.words(part[block][metric]) for metric in cuts] for name, part in parts.items()}
        table = pd.DataFrame(shown, index=[metric.replace("_", " ") for metric in cuts])
        table.loc["images"] = [f"{part['images']:,}" for part in parts.values()]
        lines += ["", title, table.to_string()]
    return "\n".join(lines)
