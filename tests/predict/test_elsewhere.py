"""A model is judged on any folder of labelled images: as its run was judged, and as `cxr predict` answers."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers import RESULTS, same
from PIL import Image

from cxr_utils import cli, dataset, evaluation, files, images, models, predict, sources
from cxr_utils.errors import BadInput
from cxr_utils.predict import elsewhere, export, labelled
from cxr_utils.replication import score

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def model(trained):
    return trained / "out-gray/m.keras"


@pytest.fixture
def hospital(trained, tmp_path):
    """Return a folder of another hospital: 20 phantoms of each class in test, under names of its own."""
    for name in dataset.CLASSES:
        films = sorted((trained / "data/sample/chest_xray/test" / name).iterdir())[:20]
        (tmp_path / "hospital/test" / name).mkdir(parents=True)
        for number, film in enumerate(films):
            shutil.copy(film, tmp_path / f"hospital/test/{name}/film {number}.jpg")
    return tmp_path / "hospital"


@pytest.fixture
def official(tiny, tmp_path):
    """Return a data folder with images under names of the dataset, which are no phantoms by their record."""
    with pytest.warns(UserWarning, match="the number of images is not the one"):
        sources.fetch("folder", path=tiny, data_dir=tmp_path / "official")
    return tmp_path / "official"


def table_of(out):
    return evaluation.read_predictions(out.with_suffix(".predictions.csv.gz"))


@pytest.mark.parametrize("name", ["gray", "colour"])
def test_a_run_is_judged_as_it_was(trained, tmp_path, name):
    out = tmp_path / "mine.json"
    options = {"source": "sample", "data_dir": trained / "data"}
    record = elsewhere.judge_model(trained / f"out-{name}/m.keras", **options, out=out)
    kept = evaluation.read_predictions(trained / name / "predictions.csv")
    test = kept[kept["split"] == "test"].reset_index(drop=True)
    found = table_of(out)
    columns = ["path", "patient", "split", "label", "kind"]
    pd.testing.assert_frame_equal(found[columns], test[columns], check_dtype=False)
    assert (found["probability"] - test["probability"]).abs().max() < 1e-6
    judged = evaluation.judge(kept, threshold=record["threshold"])
    same(judged["test"] | {"recalibrated": None}, record["metrics"] | {"recalibrated": None})
    assert record["threshold"] == predict.load(trained / f"out-{name}/m.keras").threshold
    assert record["part"] == "test" and record["of_test"] == record["seen"] == record["patients_unknown"] == 0
    wrong = evaluation.by_kind(test, threshold=record["threshold"])["wrong"].to_dict()
    assert {kind: row["wrong_at_threshold"] for kind, row in record["kinds"].items()} == wrong
    assert files.read_json(out) == json.loads(json.dumps(record))
    assert not (tmp_path / "test_reads.csv").exists()  # phantoms have no test set to be spent
    assert elsewhere.judge_model(trained / f"out-{name}/m.keras", **options) | {"name": "mine"} == record


def test_the_parts(trained, model, tmp_path):
    options = {"source": "sample", "data_dir": trained / "data", "out": tmp_path / "mine.json"}
    counts = sources.describe(trained / "data/sample")["counts"]
    sizes = {part: sum(of_part.values()) for part, of_part in counts.items()}
    record = elsewhere.judge_model(model, **options, part="val")
    assert record["metrics"]["images"] == record["seen"] == sizes["val"]
    assert set(table_of(options["out"])["split"]) == {"validation"}
    assert f"{sizes['val']} images are of train and val" in elsewhere.as_text(record)
    record = elsewhere.judge_model(model, **options, part="all")
    assert record["metrics"]["images"] == sum(sizes.values()) == record["seen"] + sizes["test"]
    with pytest.raises(BadInput, match="part: 'tset'; choose one of train, val, test, all"):
        elsewhere.judge_model(model, **options, part="tset")


def test_another_hospital(model, hospital, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "--model", str(model), "--source", "folder", "--path", "hospital"]
    assert cli.main([*arguments, "--out", "kept.json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and "kept in kept.json" in shown.out and "reading" not in shown.out
    for words in ("Images of another origin", "Patients of 40 images are not known", "Outside of what", "threshold"):
        assert words in shown.out
    assert "by kind" not in shown.out and max(map(len, shown.out.splitlines())) <= 120
    record, found = files.read_json(tmp_path / "kept.json"), table_of(tmp_path / "kept.json")
    assert record["of_test"] == record["seen"] == 0 and set(record["kinds"]) == {"normal", "unknown"}
    assert found["patient"].isna().all() and found["label"].tolist() == [0] * 20 + [1] * 20
    answers = list(predict.predict(predict.load(model), [hospital / path for path in found["path"]]))
    assert found["probability"].tolist() == pytest.approx([answer.probability for answer in answers], abs=1e-6)
    assert record["outside"] == sum(bool(answer.outside) for answer in answers)
    assert record["source"]["licence"] == "licence not known" and record["source"]["origin"] is None
    assert cli.main([*arguments[:-1], str(hospital / "test")]) == 0  # read where they lie: no copy stands in the way


def test_a_folder_without_test_is_judged_whole(model, hospital, tmp_path):
    (hospital / "test").rename(hospital / "train")
    options = {"source": "folder", "path": hospital, "data_dir": tmp_path / "theirs"}
    record = elsewhere.judge_model(model, **options)
    assert record["part"] == "all" and record["metrics"]["images"] == 40 and record["seen"] == 0
    with pytest.raises(BadInput, match=r"part test: .* has no image in it; there is train"):
        elsewhere.judge_model(model, **options, part="test")


def test_images_that_were_fetched_are_judged_without_a_path(model, hospital, tmp_path):
    folder = sources.fetch("folder", path=hospital, data_dir=tmp_path / "theirs")
    record = elsewhere.judge_model(model, source="folder", data_dir=tmp_path / "theirs")
    assert record["metrics"] == elsewhere.judge_model(model, source="folder", path=hospital)["metrics"]
    shutil.rmtree(folder / "chest_xray/test/NORMAL")
    record = elsewhere.judge_model(model, source="folder", data_dir=tmp_path / "theirs")
    assert record["metrics"]["at_half"]["auc"]["value"] is record["metrics"]["at_half"]["specificity"]["value"] is None


def test_what_cannot_be_read_is_left_out_and_what_is_strange_counted(model, hospital, tmp_path):
    (hospital / "test/NORMAL/film 3.jpg").write_bytes(b"no image")
    options = {"source": "folder", "path": hospital}
    before = elsewhere.judge_model(model, **options, data_dir=tmp_path / "before")
    film = hospital / "test/NORMAL/film 4.jpg"
    Image.fromarray(255 - images.read(film)).save(film)
    record = elsewhere.judge_model(model, **options, data_dir=tmp_path / "theirs")
    assert record["outside"] == before["outside"] + 1 and record["identity"] != before["identity"]
    assert record["unreadable"] == ["test/NORMAL/film 3.jpg"] and record["metrics"]["images"] == 39
    assert "left out: 1, first test/NORMAL/film 3.jpg" in elsewhere.as_text(record)


def test_a_model_alone_is_judged_at_half(trained, hospital, tmp_path):
    options = {"source": "folder", "path": hospital, "data_dir": tmp_path / "theirs"}
    whole = elsewhere.judge_model(trained / "out-gray/m.onnx", **options)
    shutil.copy(trained / "out-gray/m.onnx", tmp_path / "alone.onnx")
    bare = elsewhere.judge_model(tmp_path / "alone.onnx", **options)
    assert bare["threshold"] is None and bare["outside"] is None and "at_threshold" not in bare["metrics"]
    assert bare["metrics"]["at_half"] == whole["metrics"]["at_half"] and bare["identity"] == whole["identity"]
    assert "only .5 is judged" in elsewhere.as_text(bare) and "own threshold" not in elsewhere.as_text(bare)


def says_normal(model, keras):
    last = model.layers[-1]
    last.set_weights([w[..., ::-1] if last.units == 2 else -w for w in last.get_weights()])
    return model


def wants_255(model, keras):
    first = next(layer for layer in model.layers if layer.weights)
    first.set_weights([first.get_weights()[0] / 255, *first.get_weights()[1:]])
    return model


def gives_logits(model, keras):
    model.layers[-1].activation = keras.activations.linear
    return model


def rescales(model, keras):
    return keras.Sequential([keras.Input(model.input_shape[1:]), keras.layers.Rescaling(1 / 255), *model.layers])


HONEST = RESULTS / "splits" / f"{score.HONEST}.csv.gz"
MEANINGS = {  # how it is changed, what is said of it, and what is asked where nothing is said
    "says_normal": (says_normal, "--classes PNEUMONIA,NORMAL", "is the output the probability of NORMAL? Then add "),
    "wants_255": (wants_255, "--pixels 0..255", "the model gets pixels of 0..1, does it want 0..255? Then add "),
    "gives_logits": (gives_logits, "--logits", "its answers are no probabilities in [0, 1]"),
    "rescales": (rescales, "", ""),
}


@pytest.mark.parametrize(("kind", "run"), [("says_normal", "colour"), *((kind, "gray") for kind in MEANINGS)])
def test_what_a_model_takes_and_gives_can_be_said_and_is_asked(trained, hospital, tmp_path, capsys, kind, run):
    from cxr_utils.backend import keras

    change, options, question = MEANINGS[kind]
    right, path, out = tmp_path / "right.keras", tmp_path / "m.keras", tmp_path / "kept.json"
    shutil.copy(trained / f"out-{run}/m.keras", right)
    change(models.load_keras(right), keras).save(path)
    wanted = elsewhere.judge_model(right, source="folder", path=hospital, data_dir=tmp_path / "d")
    arguments = ["evaluate", "--source", "folder", "--path", str(hospital), "--model", str(path)]
    assert cli.main([*arguments, "--out", str(out), *options.split()]) == 0
    lines, record = capsys.readouterr().out.splitlines(), files.read_json(out)
    same(wanted["metrics"], record["metrics"])
    classes = ["NORMAL", "PNEUMONIA"][:: -1 if kind == "says_normal" else 1]
    said = {"classes": classes, "pixels": [0, 255 if kind in ("wants_255", "rescales") else 1],
            "logits": kind == "gives_logits"}  # fmt: skip
    assert said == {key: record["model"][key] for key in said} and record["identity"] != wanted["identity"]
    assert lines[0].startswith("model   m.keras")
    assert lines[1].startswith(f"taken as classes {','.join(classes)}, pixels 0..{said['pixels'][1]}")
    if not options:
        return
    status = cli.main([*arguments, "--out", str(out)])
    shown, record = capsys.readouterr(), files.read_json(out)
    if kind == "gives_logits":
        assert status == 2 and question in shown.err and options in shown.err
        return
    # Small networks don't always err as far as whole ones do: it is asked if, and only if, the figures say so.
    auc, above = record["metrics"]["at_half"]["auc"], table_of(out)["probability"] >= 0.5
    asks = auc["high"] < 0.5 if kind == "says_normal" else above.nunique() == 1
    assert any(question + options in note for note in record["notes"]) == (question + options in shown.out) == asks
    if kind == "says_normal":
        assert auc["value"] == pytest.approx(1 - wanted["metrics"]["at_half"]["auc"]["value"], abs=1e-4)


def test_a_run_folder_answers_by_what_export_made(trained, hospital, tmp_path):
    shutil.copytree(trained / "gray", tmp_path / "run", ignore=shutil.ignore_patterns("model.json", "exported"))
    options = {"source": "folder", "path": hospital, "data_dir": tmp_path / "theirs"}
    with pytest.raises(BadInput, match="made by: cxr export .*run"):
        elsewhere.judge_model(tmp_path / "run", **options)
    export.export(tmp_path / "run", data_dir=trained / "data")
    assert elsewhere.judge_model(tmp_path / "run", **options)["metrics"]["images"] == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "gone.keras"], "gone.keras: there is no such file"),
        (["--model", "broken.keras"], "can't be read as a Keras model"),
        (["--model", "broken.onnx"], "can't be read as an ONNX model"),
        (["--model", "notes.txt"], "expected a run folder or a file that ends in"),
        (["--model", "wide.keras"], "expected square grayscale images"),
        (["--path", "gone"], "gone: there is no such folder or file"),
        (["--path", "notes.txt"], "notes.txt"),
        ([], "cxr fetch --source folder"),
        (["--source", "web"], "source 'web': choose one of"),
        (["--path", "hospital", "--part", "other"], "choose one of train, val, test, all"),
        (["--out", "mine.csv"], "--out mine.csv: must be a file named .json"),
        (["--out", "scores/mine.json"], "not among runs or scores"),
        (["--out", "other.json"], "other.json: is there already, and cxr did not write it"),
    ],
)
def test_a_wrong_input_is_one_line(model, hospital, tmp_path, monkeypatch, capsys, arguments, words):
    from cxr_utils.backend import keras

    monkeypatch.chdir(tmp_path)
    for name in ("broken.keras", "broken.onnx", "notes.txt"):
        (tmp_path / name).write_text("hello")
    if "wide.keras" in arguments:
        layers = [keras.layers.Input((8, 9, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
        keras.Sequential(layers).save(tmp_path / "wide.keras")
    files.write_json(tmp_path / "other.json", {"identity": "0"})
    given = {"--model": str(model), "--source": "folder", "--data-dir": str(tmp_path / "theirs")}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert cli.main(["evaluate", *(word for pair in given.items() for word in pair)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and words in shown.err
    assert files.read_json(tmp_path / "other.json") == {"identity": "0"}


# Readings of test


def test_a_reading_of_test_is_entered_once(model, official, tmp_path, capsys):
    arguments = ["evaluate", "--model", str(model), "--source", "folder", "--data-dir", str(official)]
    results = tmp_path / "results"
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "a reading of the official test set, 15 of its images by their names: it was not entered" in said
    for _ in range(2):
        assert cli.main([*arguments, "--out", str(results / "evaluations" / "mine.json")]) == 0
    assert "it is in the ledger" in capsys.readouterr().out
    record = files.read_json(results / "evaluations" / "mine.json")
    ledger = pd.read_csv(results / "test_reads.csv")
    assert ledger[["cell", "identity", "protocol", "reads", "remark"]].to_numpy().tolist() == [
        ["mine", record["identity"], "other", 1, "cxr evaluate, mine.json"]
    ]
    elsewhere.judge_model(model, source="folder", data_dir=official, part="train", out=tmp_path / "train.json")
    assert not (tmp_path / "test_reads.csv").exists()


def test_the_reading_is_entered_before_it_happens(model, official, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "predict", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        elsewhere.judge_model(model, source="folder", data_dir=official, out=tmp_path / "mine.json")
    assert pd.read_csv(tmp_path / "test_reads.csv")["cell"].tolist() == ["mine"]
    assert not (tmp_path / "mine.json").exists()


def test_images_of_test_are_known_in_any_folder(model, official, home, tmp_path):
    split = files.read_csv(HONEST)
    film = Path(split[split["part"] == "test"]["path"].iloc[0])
    target = official / "folder/chest_xray/train/NORMAL"
    shutil.copy(next(target.glob("IM-*")), target / film.name)
    options = {"source": "folder", "data_dir": official, "part": "train"}
    assert elsewhere.judge_model(model, **options)["of_test"] == 0  # no table at hand: the folder counts
    (home / "results/splits").mkdir(parents=True)
    shutil.copy(HONEST, home / "results/splits")
    there = {path.stem for path in (official / "folder/chest_xray/train").rglob("*.jpeg")}
    named = set(split[split["part"] == "test"]["path"].map(dataset.stem_of))
    record = elsewhere.judge_model(model, **options)
    assert record["of_test"] == len(there & named) >= 1


def test_names_of_the_dataset_are_told_from_others(tiny):
    def listed():
        with labelled.opened(tiny, named=labelled.classes()) as (table, *_):
            return table.assign(patient=dataset.join_duplicates(table["patient"], table["sha256"]))

    index, table = dataset.scan(tiny), listed()
    columns = ["path", "split", "label", "kind", "patient", "sha256"]
    pd.testing.assert_frame_equal(table[columns], index[columns], check_dtype=False)
    assert table["named"].all()
    film = tiny / "chest_xray/test/NORMAL/NORMAL2-IM-0097-0001.jpeg"
    film.rename(film.parents[1] / "PNEUMONIA" / film.name)  # contradicts its folder
    (film.parents[1] / "PNEUMONIA/person1_virus_201.jpeg").rename(film.parents[1] / "PNEUMONIA/x.jpeg")
    other = listed().set_index("path")
    for name in (film.name, "x.jpeg"):
        row = other.loc[f"chest_xray/test/PNEUMONIA/{name}"]
        assert (row["kind"], row["named"], row["label"]) == ("unknown", False, 1) and pd.isna(row["patient"])
    assert other["named"].sum() == len(table) - 2
