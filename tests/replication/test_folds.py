"""The five folds as a benchmark: anyone's answers are judged, or refused by name, and other code says the same."""

import functools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import RESULTS, same, workflow

from cxr_utils import cli, evaluation, files, models, splits
from cxr_utils.errors import BadInput
from cxr_utils.replication import grid, replicate, score

workflow("eight_statistics")  # which it imports
folds = workflow("folds")
TABLE = files.read_csv(RESULTS / "splits" / f"{score.FOLDS}.csv.gz")
FIRST = TABLE["path"][0]
JUDGED = sorted([*(RESULTS / "submissions").glob("*.json"), *(RESULTS / "folds" / "scores").glob("*.json")])


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Let the committed tables be found."""
    monkeypatch.setenv("CXR_HOME", str(RESULTS.parent))


@pytest.fixture
def few(monkeypatch):
    """Draw seldom: 2,000 draws of 5,232 images take seconds, and most tests ask for no interval."""
    monkeypatch.setattr(evaluation, "bootstrap", functools.partial(evaluation.bootstrap, draws=20))


@pytest.fixture
def good(few):
    """Return faultless answers for every picture of the folds."""
    noise = np.random.default_rng(0).normal(0, 0.25, len(TABLE))
    return TABLE[["path"]].assign(probability=(0.3 + 0.4 * TABLE["label"] + noise).clip(0, 1).round(6), threshold=0.6)


def write(tmp_path, table):
    table.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


# Other code


@pytest.mark.parametrize("path", JUDGED, ids=lambda path: path.stem)
def test_scikit_learn_gives_the_same_figures(path):
    """Twenty lines without this package."""
    import json

    from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

    answers = pd.read_csv(str(path).replace(".json", ".predictions.csv.gz"))
    truth = pd.read_csv(RESULTS / "splits" / f"{score.FOLDS}.csv.gz").set_index("path").loc[answers["path"]]
    figures = json.loads(path.read_text())["figures"]
    for name, found in figures.items():
        mine = np.array(truth["part"] == name) | (name == "all")
        label, probability = truth["label"][mine].to_numpy(), answers["probability"][mine].to_numpy()
        cuts = {"at_half": 0.5} | ({"at_threshold": answers["threshold"][mine]} if "threshold" in answers else {})
        assert found.keys() == {"images", *cuts} and found["images"] == mine.sum()
        assert found["at_half"]["auc"]["value"] == pytest.approx(roc_auc_score(label, probability), abs=1e-6)
        for cut, threshold in cuts.items():
            called = (probability >= np.asarray(threshold)).astype(int)
            for metric, value in {"accuracy": accuracy_score(label, called), "sensitivity": recall_score(label, called),
                                  "specificity": recall_score(label, called, pos_label=0)}.items():  # fmt: skip
                assert found[cut][metric]["value"] == pytest.approx(value, abs=1e-6), (name, cut, metric)


# Anyone's answers


def test_answers_for_the_other_class_are_asked_about_and_can_be_said(tmp_path, good, capsys):
    path = write(tmp_path, good[["path", "probability"]].assign(probability=1 - good["probability"]))
    command = ["score", "--benchmark", "folds", str(path)]
    assert cli.main(command) == 0
    assert "Then add --classes PNEUMONIA,NORMAL" in capsys.readouterr().out
    turned = score.folds(path, meaning=models.Meaning.parse("PNEUMONIA,NORMAL"))
    (tmp_path / "right").mkdir()
    right = score.folds(write(tmp_path / "right", good[["path", "probability"]]))
    same(turned["figures"], right["figures"])
    assert "notes" not in turned and cli.main([*command, "--classes", "PNEUMONIA,NORMAL"]) == 0
    assert "--classes" not in capsys.readouterr().out
    assert cli.main([*command, "--split", "mine.csv"]) == 2 and "--split mine.csv: only with" in capsys.readouterr().err


def test_answers_are_judged_by_fold_and_in_groups(tmp_path, good):
    mine = good.sample(frac=1, random_state=1).assign(path=lambda t: "C:\\x\\" + t["path"].str.rpartition("/")[2])
    record = score.folds(write(tmp_path, mine))
    assert list(record["figures"]) == ["all", *splits.FOLDS] and record["name"] == "mine"
    table = TABLE.assign(probability=good["probability"], patient=TABLE["group"]).sort_values(["part", "path"])
    same(
        record["figures"]["all"],
        evaluation.judge_part(table) | {"at_threshold": record["figures"]["all"]["at_threshold"]},
    )
    at_cut = evaluation.metrics(table["label"], table["probability"], threshold=0.6)
    for metric, found in record["figures"]["all"]["at_threshold"].items():
        assert found["value"] == pytest.approx(at_cut[metric], abs=1e-6)
    by_person = evaluation.judge_part(table.assign(patient=TABLE["patient"]))["at_half"]["auc"]
    wide = record["figures"]["all"]["at_half"]["auc"]
    assert (by_person["low"], by_person["high"]) != (wide["low"], wide["high"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[1:], f"1 of 1,\\d+ images of fold\\d are missing, first {FIRST}"),
        (lambda t: pd.concat([t, t[:1]]), f"line 5234: {FIRST} stands there twice"),
        (
            lambda t: t.replace({FIRST: "chest_xray/test/NORMAL/IM-0001-0001.jpeg"}),
            "line 2: .*IM-0001-0001.jpeg is no image of the five folds: they hold train and val",
        ),  # fmt: skip
        (lambda t: t.assign(probability=t["probability"].mask(t.index == 3, 1.5)), "line 5: probability is 1.5"),
        (lambda t: t.assign(probability=t["probability"].mask(t.index == 3)), "line 5: probability is nan"),
        (lambda t: t.assign(threshold="often"), "line 2: threshold is 'often'"),
        (lambda t: t.assign(label=1), "has label 1, but the dataset says 0"),
        (lambda t: t.drop(columns="probability"), "'probability' is missing"),
    ],
)
def test_wrong_answers_are_refused_by_name(tmp_path, good, change, words):
    path = write(tmp_path, change(good))
    with pytest.raises(BadInput, match=words) as caught:
        score.folds(path, out=tmp_path / "scores" / "mine.json")
    assert "mine.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert {found.name for found in tmp_path.rglob("*") if found.is_file()} == {"mine.csv"}


def test_the_command_keeps_figures_and_enters_no_reading_of_test(tmp_path, good, capsys):
    out = tmp_path / "mine.json"
    arguments = ["score", str(write(tmp_path, good)), "--benchmark", "folds", "--out", str(out)]
    assert cli.main(arguments) == 0 and cli.main(arguments) == 0
    said, record = capsys.readouterr().out, files.read_json(out)
    for part in ("all", "fold3"):
        assert evaluation.words(record["figures"][part]["at_half"]["auc"]) in said
    assert pd.read_csv(tmp_path / "test_reads.csv")["reads"].tolist() == [0]
    assert score.folds(tmp_path / "mine.predictions.csv.gz") == record
    assert cli.main(["score", str(tmp_path / "mine.csv"), "--benchmark", "fold"]) == 2
    assert "benchmark: 'fold'; choose one of test, folds" in capsys.readouterr().err


# Cells of the grid


def test_a_cell_of_a_fold_has_no_image_of_test_and_counts_no_reading(tiny_index, tmp_path, monkeypatch):
    assert [c.name for c in grid.cells(recipe=["plain_64"], protocol=["folds"], seeds=[2])] == [
        f"plain_64-{fold}-s2" for fold in splits.FOLDS
    ]
    assert not any(cell.protocol in splits.FOLDS for cell in grid.cells())
    cell = grid.Cell("plain_64", "fold2", 0)
    index = TABLE.assign(split="train", sha256=TABLE["path"], width=224, height=224)
    split = cell.split(index)
    assert splits.digest(split) == "01f104e67fee2164" and cell.validate_on == "validation"
    assert not split["path"].str.contains("/test/").any()


def test_the_fold_is_entered_before_it_is_read_and_test_is_not(tmp_path, few, monkeypatch):
    cell = grid.Cell("plain_64", "fold2", 0)
    index = TABLE.assign(split="train", sha256=TABLE["path"], width=224, height=224)
    split = cell.split(index)
    asked = []

    def answer(run, pixels, split, *, parts, entered):
        asked.extend(parts)
        row = pd.read_csv(tmp_path / "test_reads.csv").iloc[0]
        assert entered and row["protocol"] == "fold2" and row["reads"] == 0 and "fold2 was read once" in row["remark"]
        rows = split[split["part"].isin(parts)]
        return rows.assign(split=rows["part"], probability=0.2 + 0.6 * rows["label"])[[*evaluation.COLUMNS]]

    monkeypatch.setattr(evaluation, "predict", answer)
    run = SimpleNamespace(record={"recipe": {"early_stopping": None}}, history=pd.DataFrame({"val_loss": [0.5]}))
    path = grid.evaluate(cell, run, None, split, index=index, out=tmp_path, source="drawn")
    assert asked == ["test", "validation"]
    assert files.read_json(path)["metrics"]["test"]["images"] == (TABLE["part"] == "fold2").sum()
    assert (tmp_path / "splits" / "01f104e67fee2164.csv.gz").is_file()


def kept(tmp_path, good):
    """Write what five cells leave behind."""
    records = {}
    for cell in grid.cells(recipe=["plain_64"], protocol=["folds"], seeds=[0]):
        rows = TABLE["part"] == cell.protocol
        table = TABLE[rows].assign(split="test", probability=good["probability"][rows])
        path = tmp_path / "runs" / f"{cell.name}.predictions.csv.gz"
        files.write_csv(path, table[list(evaluation.COLUMNS)])
        records[cell.name] = {"protocol": cell.protocol, "metrics": {"threshold": 0.6}}
    return records


def test_five_cells_are_joined_and_judged_as_anyone_s_answers(tmp_path, good):
    cells = grid.cells(recipe=["plain_64"], protocol=["folds"], seeds=[0])
    plan = replicate.Plan(cells, "folder", "", tmp_path, tmp_path, tmp_path, False, records=kept(tmp_path, good))
    (made,) = replicate.write_tables(plan)
    assert made == tmp_path / "scores" / "plain_64-folds-s0.json"
    wanted = score.folds(write(tmp_path, good), name="plain_64-folds-s0")
    assert files.read_json(made) == wanted
    assert replicate.write_tables(plan) == [made] and files.read_json(made) == wanted
    del plan.records["plain_64-fold4-s0"]
    assert replicate.write_tables(plan) == []


@pytest.mark.parametrize("path", sorted((RESULTS / "folds" / "scores").glob("*.json")), ids=lambda path: path.stem)
def test_what_is_kept_of_cells_is_what_their_answers_give(path):
    joined = score.folds(path.with_suffix(".predictions.csv.gz"), name=path.stem)
    assert files.read_json(path) == joined
    recipe, _, seed = path.stem.rpartition("-folds-s")
    ledger = pd.read_csv(RESULTS / "folds" / "test_reads.csv").set_index("cell")
    answers = evaluation.read_predictions(path.with_suffix(".predictions.csv.gz")).set_index("path")
    for fold in splits.FOLDS:
        cell = grid.Cell(recipe, fold, int(seed))
        record = files.read_json(RESULTS / "folds" / "runs" / f"{cell.name}.json")
        split = files.read_csv(RESULTS / "splits" / f"{record['split']}.csv.gz")
        index = pd.DataFrame({"width": [224], "height": [224]})
        assert record["identity"] == cell.identity(split, index) and record["protocol"] == fold
        rows = ledger.loc[[cell.name]]
        assert rows["reads"].tolist() == [0] and f"{fold} was read once" in rows["remark"].iloc[0]
        table = evaluation.read_predictions(RESULTS / "folds" / "runs" / f"{cell.name}.predictions.csv.gz")
        rule = {name: record["recipe"].get(name) for name in ("threshold", "sensitivity")}
        same(record["metrics"], evaluation.judge(table, split, **rule))
        table = table[table["split"] == "test"]
        mine = answers.loc[table["path"]]
        assert (mine["split"] == fold).all() and (mine["probability"].to_numpy() == table["probability"]).all()
        assert mine["threshold"].to_numpy() == pytest.approx(record["metrics"]["threshold"])


# Submissions


def test_each_submission_is_what_its_answers_give():
    found = folds.submitted(RESULTS / "submissions")
    assert {"always_pneumonia", "eight_statistics"} <= found.keys()
    assert found.keys() == {path.stem for path in (RESULTS / "submissions").glob("*.json")}
    always = found["always_pneumonia"]["record"]["figures"]["all"]["at_half"]
    assert (always["auc"]["value"], always["sensitivity"]["value"], always["specificity"]["value"]) == (0.5, 1, 0)


def test_a_submission_is_read_with_its_protocol(submission):
    found = folds.submitted(submission)["mine"]
    assert found["code"] == "said" and found["record"]["figures"]["all"]["images"] == 5232


@pytest.fixture
def submission(tmp_path, good):
    """Submit faultless answers to a folder of our own."""
    score.folds(write(tmp_path, good), out=tmp_path / "sent" / "mine.json")
    words = "\n".join(f'{name} = "said"' for name in folds.SAYS)
    (tmp_path / "sent" / "mine.toml").write_text(words)
    return tmp_path / "sent"


def improved(folder):
    record = files.read_json(folder / "mine.json")
    record["figures"]["all"]["at_half"]["auc"]["value"] += 0.001
    files.write_json(folder / "mine.json", record, ours=True)


def silent(folder):
    text = (folder / "mine.toml").read_text()
    (folder / "mine.toml").write_text(text.replace('code = "said"', 'code = " "'))


def other_answers(folder):
    path = folder / "mine.predictions.csv.gz"
    table = files.read_csv(path)
    files.write_csv(path, table.assign(probability=table["probability"].mask(table.index == 9, 0.123)), ours=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (improved, r"mine\.json: its figures is not what mine\.predictions\.csv\.gz gives"),
        (other_answers, r"mine\.json: its identity is not what"),
        (silent, r"mine\.toml: does not say code"),
        (lambda folder: (folder / "mine.toml").write_text("name"), r"mine\.toml: is no TOML"),
        (lambda folder: (folder / "mine.predictions.csv.gz").unlink(), r"mine\.predictions\.csv\.gz: .*no such file"),
        (lambda folder: (folder / "mine.json").unlink(), r"mine\.json: .*no such file"),
    ],
)
def test_a_submission_that_was_tampered_with_is_refused(submission, change, words):
    change(submission)
    with pytest.raises(BadInput, match=words) as caught:
        folds.submitted(submission)
    assert "\n" not in str(caught.value)


# The table of every picture


def test_the_table_of_every_picture_is_what_is_kept():
    path = RESULTS / "folds" / "images.csv.gz"
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    again = folds.every_picture(TABLE.assign(duplicate_group=table["duplicate_group"]), RESULTS)
    pd.testing.assert_frame_equal(again.astype("string").fillna("").astype(str), table.astype(str), check_dtype=False)
    assert table["path"].tolist() == TABLE["path"].tolist()
    assert (table["answered"].astype(int) > 0).equals(table["missed"] != "")
    assert (table["acquisition"] == "stamped").sum() == 199
    for _, rows in TABLE[table["duplicate_group"] != ""].groupby(table["duplicate_group"]):
        assert len(rows) > 1 and rows["group"].nunique() == 1
