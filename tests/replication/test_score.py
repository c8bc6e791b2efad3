"""Predictions of any framework: judged like the grid's own, or refused by name; and what is kept of them."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import RESULTS, same

from cxr_utils import cli, dataset, evaluation, files, images, sources, splits
from cxr_utils.errors import BadInput
from cxr_utils.replication import claims, grid, score

KEPT = grid.results(RESULTS)
SCORES = sorted(path.stem for path in (RESULTS / "scores").glob("*.json"))
HONEST = RESULTS / "splits" / f"{score.HONEST}.csv.gz"


# What is kept


@pytest.mark.parametrize("name", SCORES)
def test_a_kept_score_is_what_its_predictions_say(name):
    kept = files.read_json(RESULTS / "scores" / f"{name}.json")
    path = RESULTS / "scores" / f"{name}.predictions.csv.gz"
    found = score.score(path, split=RESULTS / "splits" / f"{kept['split']}.csv.gz")
    same(kept, found)
    assert kept["name"] == name
    ledger = pd.read_csv(RESULTS / "test_reads.csv", dtype="string", keep_default_na=False)
    row = ledger[(ledger["cell"] == name) & (ledger["identity"] == kept["identity"])]
    assert row[["protocol", "reads"]].to_numpy().tolist() == [["other", "1"]]


def test_the_baseline_is_kept():
    assert "eight_statistics" in SCORES


def test_the_readme_of_results_names_all_that_is_there():
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    there = [path.name + "/" * path.is_dir() for path in RESULTS.iterdir() if path.suffix != ".lock"]
    assert [name for name in there if f"`{name}" not in text and name != "README.md"] == []
    assert f"splits/{score.HONEST}.csv.gz" in text
    for script in re.findall(r"`python ([^\s`]+)", text):
        assert (RESULTS.parent / script).is_file(), script
    for command in re.findall(r"`(?:KERAS_BACKEND=jax )?cxr (\w+)", text):
        assert cli.main([command, "--help"]) == 0, command


def test_readings_before_the_ledger_are_in_it():
    ledger = pd.read_csv(RESULTS / "test_reads.csv").set_index("cell")
    for cell in ("exploration", "course-trial", "course-workshop", "course-full", "smote_224-first"):
        rows = ledger.loc[[cell]]
        assert (rows["protocol"] == "other").all() and (rows["reads"] > 0).all() and rows["remark"].all()
        assert rows["identity"].isna().all()


def test_a_run_of_the_grid_scores_as_its_record_says(tmp_path):
    """The way of `cxr score`, with a file as another framework would write it, against the way of the grid."""
    record = next((kept for kept in KEPT.values() if kept["split"] == score.HONEST), None)
    if record is None:
        pytest.skip("no cell of the honest protocol is kept yet")
    table = evaluation.read_predictions(RESULTS / "runs" / f"{record['cell']}.predictions.csv.gz")
    foreign = table.sample(frac=1, random_state=0).drop(columns=["patient", "kind"])
    foreign["path"] = "C:\\images\\" + foreign["path"].map(dataset.stem_of) + ".PNG"
    foreign[["probability", "label", "split", "path"]].assign(extra=1).to_csv(tmp_path / "mine.csv", index=False)
    found = score.score(tmp_path / "mine.csv", split=HONEST)
    same(record["metrics"], found["metrics"])
    assert found["name"] == "mine" and found["split"] == score.HONEST


def test_honest_is_the_split_of_the_honest_runs(home):
    assert {kept["split"] for kept in KEPT.values() if kept["protocol"] == "honest"} <= {score.HONEST}
    with pytest.raises(BadInput, match=score.HONEST):
        score.read_split()
    there = home / "results" / "splits"
    there.mkdir(parents=True)
    (there / HONEST.name).write_bytes(HONEST.read_bytes())
    table = score.read_split()
    assert splits.digest(table) == score.HONEST and len(table) == 5856
    pd.testing.assert_frame_equal(score.read_split(score.HONEST), table)
    files.write_csv(there / HONEST.name, table.assign(label=(table["label"] + (table.index == 7)) % 2), ours=True)
    with pytest.raises(BadInput, match="label 1 and part test can't be those of chest_xray/test/NORMAL"):
        score.read_split()
    table.loc[table["part"] == "train", "part"] = "validation"
    files.write_csv(there / HONEST.name, table, ours=True)
    with pytest.raises(BadInput, match="was changed"):
        score.read_split()


# A small split, without images


@pytest.fixture
def split(tiny_index, tmp_path):
    """Return the honest split of the tiny dataset, as a file."""
    files.write_csv(tmp_path / "split.csv", splits.grouped(tiny_index, validation=0.3))
    return tmp_path / "split.csv"


def test_a_split_whose_paths_are_none_is_refused(split):
    table = pd.read_csv(split)
    files.write_csv(split, table.assign(path=table["path"].where(table.index != 3)), ours=True)
    with pytest.raises(BadInput, match="split.csv, line 5: path is empty"):
        score.read_split(split)
    files.write_csv(split, table.assign(path=table.index), ours=True)
    assert score.read_split(split)["path"].tolist()[:2] == ["0", "1"]


def test_something_else_is_not_overwritten(tmp_path, split, good):
    (tmp_path / "mine.json").write_text("5")
    with pytest.raises(BadInput, match=r"mine\.json: is there already, and cxr did not write it"):
        score.score(write(tmp_path, good), split=split, out=tmp_path / "mine.json")


@pytest.fixture
def good(split):
    """Return faultless predictions of that split, all parts."""
    table = score.read_split(split)
    noise = np.random.default_rng(0).normal(0, 0.25, len(table))
    table = table.assign(split=table["part"], probability=(0.3 + 0.4 * table["label"] + noise).clip(0, 1))
    return table[["path", "split", "label", "probability"]]


def write(tmp_path, table, name="mine.csv"):
    table.to_csv(tmp_path / name, index=False)
    return tmp_path / name


def test_patients_come_from_the_split(tmp_path, split, good):
    table = score.align(good, score.read_split(split))
    assert table.columns.tolist() == [*evaluation.COLUMNS, "kind"]
    parts = score.read_split(split).set_index("path")
    assert set(table["split"]) == {"test", "validation"}
    assert table["patient"].tolist() == parts["patient"][table["path"]].tolist()
    assert table["kind"].tolist() == parts["kind"][table["path"]].tolist()
    wrong = good.assign(patient="all the same")
    pd.testing.assert_frame_equal(score.align(wrong, score.read_split(split)), table)
    expected = evaluation.judge(table, score.read_split(split))
    assert score.score(write(tmp_path, good), split=split)["metrics"] == expected


def test_probabilities_of_the_other_class_are_asked_about_and_can_be_said(tmp_path, split, good, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good = good.assign(probability=0.2 + 0.4 * good["label"] + 0.2 * good["probability"])
    wanted = score.score(write(tmp_path, good), split=split)
    assert "notes" not in wanted and "classes" not in wanted
    write(tmp_path, good.assign(probability=1 - good["probability"]), "other.csv")
    arguments = ["score", "other.csv", "--split", str(split), "--out", "other.json"]
    option = "--classes PNEUMONIA,NORMAL"
    assert cli.main(arguments) == 0
    record, shown = files.read_json(tmp_path / "other.json"), capsys.readouterr().out
    auc = record["metrics"]["test"]["at_half"]["auc"]
    assert auc["high"] < 0.5 and option in record["notes"][0] and f"NORMAL? Then add {option}" in shown
    assert cli.main([*arguments, *option.split()]) == 0
    record, shown = files.read_json(tmp_path / "other.json"), capsys.readouterr().out
    same(wanted["metrics"], record["metrics"])
    assert record["classes"] == ["PNEUMONIA", "NORMAL"] and "notes" not in record
    assert "Taken as the probability of NORMAL." in shown


def test_rows_of_train_change_nothing(tmp_path, split, good):
    without = score.score(write(tmp_path, good[good["split"] != "train"]), split=split)
    assert without == score.score(write(tmp_path, good), split=split)


def test_test_alone_is_judged_at_half_only(tmp_path, split, good):
    record = score.score(write(tmp_path, good[good["split"] == "test"]), split=split)
    both = score.score(write(tmp_path, good), split=split)
    assert record["metrics"]["threshold"] is None and "validation" not in record["metrics"]
    assert record["metrics"]["test"]["at_half"] == both["metrics"]["test"]["at_half"]
    assert "only .5 is judged" in score.as_text(record)
    assert claims.grid_row(claims.score_row(record)).startswith("| mine | scored | 1 |")


TEST_NORMAL = "chest_xray/test/NORMAL/NORMAL2-IM-0097-0001.jpeg"


def moved(table, **changes):
    return table.assign(**{k: table[k].mask(table["path"] == TEST_NORMAL, v) for k, v in changes.items()})


def called_test(table):
    """Say of an image of train that it is of test."""
    name = "IM-0115-0001"
    return table.assign(split=table["split"].mask(table["path"].str.contains(name), "test"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: moved(t, label=1), "NORMAL2-IM-0097-0001.jpeg has label 1, but the dataset says 0"),
        (lambda t: t.assign(label=1 - t["label"]), r"has label \d, .* \(and 64 more\)"),
        (called_test, "IM-0115-0001.jpeg is called test, but in this split it is (train|validation)"),
        (lambda t: moved(t, split="validation"), "is called validation, but in this split it is test"),
        (lambda t: moved(t, split="val"), "has split 'val'; it must be train, validation or test"),
        (lambda t: moved(t, path="IM-9999-0001.jpeg"), "IM-9999-0001.jpeg is no image of this split.*--split"),
        (lambda t: pd.concat([t, t[t["path"] == TEST_NORMAL]]), "line 67: .*0097.* stands there twice"),
        (lambda t: t[t["path"] != TEST_NORMAL], "1 of 15 images of test are missing, first .*0097"),
        (lambda t: t[t["split"] != "test"], "15 of 15 images of test are missing"),
        (lambda t: t.drop(t.index[t["split"] == "validation"][0]), "1 of .* images of validation are missing"),
        (lambda t: moved(t, probability=1.2), "probability is 1.2"),
        (lambda t: moved(t, probability=np.nan), "probability is nan"),
        (lambda t: t.drop(columns="split"), "'split' is missing"),
        (lambda t: t[:0], "15 of 15 images of test are missing"),
    ],
)
def test_wrong_predictions_are_refused_by_name(tmp_path, split, good, change, words):
    path = write(tmp_path, change(good))
    out = tmp_path / "scores" / "mine.json"
    with pytest.raises(BadInput, match=words) as caught:
        score.score(path, split=split, out=out)
    assert "mine.csv" in str(caught.value) and "\n" not in str(caught.value)
    assert not out.parent.exists() and not (tmp_path / "test_reads.csv").exists()  # nothing was read


def test_a_hand_made_split_is_checked(tmp_path, split, good):
    table = score.read_split(split)
    for changed, words in (
        (table.drop(columns="part"), "'part' is missing"),
        (pd.concat([table, table[:1]]), "stands there twice"),
    ):
        with pytest.raises(BadInput, match=words):
            score.read_split(write(tmp_path, changed, "other.csv"))
    with pytest.raises(BadInput, match="no such file"):
        score.read_split(tmp_path / "gone.csv")


def test_unknown_patients_are_judged_image_by_image(tmp_path, split, good):
    unknown = write(tmp_path, score.read_split(split).assign(patient=pd.NA).drop(columns="kind"), "unknown.csv")
    record = score.score(write(tmp_path, good), split=unknown)
    assert "test_without_known" not in record["metrics"] and "known persons" not in score.as_text(record)


def test_what_is_kept_and_entered(tmp_path, split, good):
    path, out = write(tmp_path, good), tmp_path / "results" / "scores" / "net.json"
    record = score.score(path, split=split, out=out)
    assert files.read_json(out) == record and record["name"] == "net"
    beside = out.with_name("net.predictions.csv.gz")
    assert score.score(beside, split=split, name="net") == record
    ledger = out.parent.parent / "test_reads.csv"

    def rows():
        return pd.read_csv(ledger)[["cell", "identity", "protocol", "reads"]].to_numpy().tolist()

    first = ["net", record["identity"], "other", 1]
    assert rows() == [first]
    score.score(path, split=split, out=out)  # the same answers: nothing new was read
    assert rows() == [first]
    other = score.score(write(tmp_path, moved(good, probability=0.123)), split=split, out=out)
    assert rows() == [first, ["net", other["identity"], "other", 1]] and other["identity"] != record["identity"]
    assert files.read_json(out) == other
    score.score(path, split=split, name="elsewhere", out=tmp_path / "plain.json")
    assert pd.read_csv(tmp_path / "test_reads.csv")["cell"].tolist() == ["elsewhere"]


def test_the_reading_is_entered_before_it_happens(tmp_path, split, good, monkeypatch):
    monkeypatch.setattr(evaluation, "judge", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score.score(write(tmp_path, good), split=split, out=tmp_path / "net.json")
    assert pd.read_csv(tmp_path / "test_reads.csv")["cell"].tolist() == ["net"]
    assert not (tmp_path / "net.json").exists()


def test_out_does_not_fall_on_something_else(tmp_path, split, good):
    path = write(tmp_path, good)
    with pytest.raises(BadInput, match=r"named \.json"):
        score.score(path, split=split, out=tmp_path / "net.csv")
    files.write_json(tmp_path / "run.json", {"cell": "plain_64-honest-s0"})
    with pytest.raises(BadInput, match="run of the grid"):
        score.score(path, split=split, out=tmp_path / "run.json")
    (tmp_path / "new.predictions.csv.gz").write_bytes(b"mine")
    with pytest.raises(BadInput, match=r"new.predictions.csv.gz: is there already"):
        score.score(path, split=split, out=tmp_path / "new.json")
    assert not (tmp_path / "test_reads.csv").exists()  # refused before anything was read


def test_the_text_shows_the_figures(tmp_path, split, good):
    record = score.score(write(tmp_path, good), split=split)
    text = score.as_text(record)
    assert max(map(len, text.splitlines())) <= 110
    for part in ("validation", "test"):
        for cut in ("at_half", "at_threshold"):
            for metric in ("accuracy", "specificity"):
                figure = record["metrics"][part][cut][metric]
                assert f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})" in text
    assert f"answers from {record['metrics']['threshold']:.3f} on" in text
    assert "NORMAL numbers are not known to be patients" in text


# The eight statistics


@pytest.fixture(scope="module")
def baseline():
    """Return the script that makes the baseline, as a module."""
    path = Path(__file__).parents[2] / "workflow" / "eight_statistics.py"
    spec = importlib.util.spec_from_file_location("eight_statistics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_baseline_learns_from_train_alone(baseline, tiny_index, tiny_pixels):
    split = splits.grouped(tiny_index)
    table = baseline.predict(tiny_index, tiny_pixels, split)
    assert set(table["split"]) == {"validation", "test"} and len(table) == (split["part"] != "train").sum()
    assert evaluation.metrics(table["label"], table["probability"])["auc"] > 0.5
    train = split["part"] == "train"
    blind = tiny_index.assign(label=tiny_index["label"].where(train, 1 - tiny_index["label"]))
    again = baseline.predict(blind, tiny_pixels, split)
    assert again["probability"].equals(table["probability"])
    darker = np.where(train.to_numpy()[:, None, None, None], tiny_pixels // 2, tiny_pixels)
    assert not baseline.predict(tiny_index, darker, split)["probability"].equals(table["probability"])


def test_the_baseline_s_script_leaves_what_is_kept(baseline, tiny, home, monkeypatch, capsys):
    monkeypatch.setattr(sources, "fetch", lambda source, data_dir: tiny)
    baseline.main(["--source", "folder"])
    results = home / "results"
    record = files.read_json(results / "scores" / "eight_statistics.json")
    assert score.as_text(record) in capsys.readouterr().out
    assert (results / "splits" / f"{record['split']}.csv.gz").is_file()
    assert pd.read_csv(results / "test_reads.csv", dtype="string")["cell"].tolist() == ["eight_statistics"]
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    baseline.main(["--source", "folder"])
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


@pytest.mark.long
def test_the_kept_baseline_is_made_again_from_the_images(baseline, real):
    index = dataset.scan(real)
    made = baseline.predict(index, images.cache(index, real, size=baseline.SIZE), splits.grouped(index))
    kept = evaluation.read_predictions(RESULTS / "scores" / "eight_statistics.predictions.csv.gz")
    assert made["path"].tolist() == kept["path"].tolist()
    np.testing.assert_allclose(made["probability"], kept["probability"], atol=2e-3)
    assert grid.Cell("plain_224", "honest", 0).split(index).equals(splits.grouped(index))
