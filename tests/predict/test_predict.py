"""Image files get answers, in the words they should have; broken ones get an error of their own."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import dicom_file
from PIL import Image

from cxr_utils import _dicom, cli, evaluation, files, images, models, predict
from cxr_utils.errors import BadInput
from cxr_utils.predict import export

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def model(trained):
    return trained / "out-gray/m.onnx"


@pytest.fixture
def films(trained):
    return sorted((trained / "data/sample/chest_xray/test/NORMAL").iterdir())[:3]


def test_an_answer_says_where_it_lies(model, films, trained):
    predictor = predict.load(model)
    saved = evaluation.read_predictions(trained / "gray/predictions.csv")
    for one in predict.predict(predictor, films):
        assert one.above == (one.probability >= predictor.threshold) and not one.error and not one.outside
        assert one.verdict == (predict.LIKE_PNEUMONIA if one.above else predict.LIKE_NORMAL)
        for label, below in ((0, one.normal_below), (1, one.pneumonia_below)):
            chosen = saved[(saved["split"] == "validation") & (saved["label"] == label)]["probability"]
            assert below == pytest.approx((chosen < one.probability).mean(), abs=0.06)


def test_jpeg_png_and_dicom_of_one_picture_agree(model, tmp_path, films):
    picture = images.read(films[0])
    Image.fromarray(picture).save(tmp_path / "a.png")
    dicom_file(tmp_path / "b.dcm", picture, PatientAge="003Y", ViewPosition="AP", BodyPartExamined="CHEST")
    dicom_file(tmp_path / "c", picture, PatientAge="040Y", ViewPosition="LATERAL")
    named = predict.find([films[0], tmp_path])
    assert [path.name for path in named[1:]] == ["a.png", "b.dcm", "c"]
    jpeg, png, child, adult = predict.predict(predict.load(model), named)
    assert abs(jpeg.probability - png.probability) < 0.05 and abs(png.probability - child.probability) < 0.02
    assert child.remarks == "" and child.verdict != predict.OUTSIDE
    assert adult.verdict == predict.OUTSIDE
    assert _dicom.OTHER_AGE in adult.outside and _dicom.OTHER_VIEW in adult.outside and "no body part" in adult.remarks


def test_what_does_not_look_like_a_film_is_outside(model, tmp_path, films):
    picture = images.read(films[0])
    for name, other in {"inverted": 255 - picture, "turned": picture[::-1, ::-1], "blank": picture * 0}.items():
        Image.fromarray(np.ascontiguousarray(other)).save(tmp_path / f"{name}.png")
    blank, inverted, turned = predict.predict(predict.load(model), predict.find([tmp_path]))
    assert {one.verdict for one in (blank, inverted, turned)} == {predict.OUTSIDE}
    assert "inverted" in inverted.outside and "upside down" in turned.outside


def test_a_broken_file_does_not_stop_the_others(model, films, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(films[0].read_bytes()[:200])
    (tmp_path / "text.jpeg").write_text("hello")
    arguments = [
        "predict",
        *map(str, [model, tmp_path / "broken.png", films[0], tmp_path / "text.jpeg", tmp_path / "no"]),
    ]
    assert cli.main(arguments) == 1
    shown = capsys.readouterr()
    assert films[0].name in shown.out and predict.NOTICE in shown.out and "broken.png" not in shown.out
    lines = shown.err.splitlines()
    assert len(lines) == 3 and all(line.startswith(f"cxr: {tmp_path}") for line in lines)
    assert "can't be read as an image" in lines[0] and "there is no such file" in lines[2]


def test_json_csv_and_table_say_the_same(model, films, tmp_path, capsys):
    (tmp_path / "text.jpeg").write_text("hello")
    arguments = ["predict", str(model), str(films[0].parent / "*"), str(tmp_path)]
    assert cli.main([*arguments, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert cli.main([*arguments, "--csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert cli.main(arguments) == 1
    table = capsys.readouterr().out
    count = len(list(films[0].parent.iterdir()))
    assert len(content["answers"]) == len(rows) == count + 1 and content["notice"] == predict.NOTICE
    for one, row in zip(content["answers"][:-1], rows[:-1], strict=True):
        assert float(row["probability"]) == one["probability"] and f"{one['probability']:.3f}" in table
        assert row["verdict"] == one["verdict"]
    assert rows[-1]["error"] and content["answers"][-1]["probability"] is None
    assert "phantoms" in table
    assert cli.main([*arguments, "--json", "--csv"]) == 2


def test_heat_maps_are_written_with_their_scale(trained, films, tmp_path, capsys):
    (tmp_path / "$x$.png").write_bytes(films[0].read_bytes())
    (tmp_path / "text.jpeg").write_text("hello")
    shutil.copytree(trained / "out-gray", tmp_path / "both")
    for path in (tmp_path / "both").glob("m.*"):
        path.rename(path.with_stem("model"))
    named = [*films[:2], films[0], tmp_path / "$x$.png", tmp_path / "text.jpeg"]
    found = list(predict.predict(predictor := predict.load(tmp_path / "both", heat=True), named))
    assert predictor.model.path.name == "model.keras" and predict.load(tmp_path / "both").model.network is None
    written = predict.write_heat_maps(predictor, found, tmp_path / "out")
    names = [f"{films[0].stem}-heat.png", f"{films[1].stem}-heat.png", f"{films[0].stem}-heat-2.png", "$x$-heat.png"]
    assert [path.name for path in written] == names
    for path in written:
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        assert max(picture.shape) > 400 and (picture.max(2) - picture.min(2)).max() > 60  # heat has colour
    assert cli.main(["predict", str(tmp_path / "both"), str(films[0]), "--explain", str(tmp_path / "more")]) == 0
    assert "heat maps: 1 in" in capsys.readouterr().out and len(list((tmp_path / "more").iterdir())) == 1


def test_onnx_has_no_heat_maps(model, films, tmp_path, capsys):
    assert cli.main(["predict", str(model), str(films[0]), "--explain", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert "ONNX, which has no gradients" in shown.err and not shown.out and not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match="no heat map"):
        predict.load(model).heats(np.zeros((1, 32, 32, 1), "uint8"))


def test_without_a_model_it_is_said_that_none_is_shipped_yet(films, capsys, monkeypatch):
    monkeypatch.setattr(predict, "REFERENCE", "results/models/none")
    assert cli.main(["predict", str(films[0])]) == 2
    assert "the shipped one, results/models/none, is not there yet" in capsys.readouterr().err


def test_a_wheel_brings_the_shipped_model_beside_the_module(trained, tmp_path, films, capsys, monkeypatch):
    monkeypatch.setattr(predict.files, "CHECKOUT", tmp_path)
    monkeypatch.setattr(predict, "__file__", str(tmp_path / "predict" / "__init__.py"))
    assert cli.main(["predict", str(films[0])]) == 2 and "not there yet" in capsys.readouterr().err
    (tmp_path / "predict/shipped").mkdir(parents=True)
    for suffix in (".onnx", ".json"):
        shutil.copy(trained / f"out-gray/m{suffix}", tmp_path / f"predict/shipped/reference{suffix}")
    assert cli.main(["predict", str(films[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith("shipped/reference.onnx")


def test_the_shipped_model_is_taken_without_a_name(home, trained, films, capsys):
    (home / predict.REFERENCE).parent.mkdir(parents=True)
    for suffix in (".onnx", ".keras", ".h5", ".json"):
        shutil.copy(trained / f"out-gray/m{suffix}", (home / predict.REFERENCE).with_suffix(suffix))
    assert cli.main(["predict", str(films[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith("models/reference.onnx")
    assert predict.load(heat=True).model.path.name == "reference.keras"


def test_opening_a_run_writes_nothing_and_answers_by_what_was_exported_from_it(trained, tmp_path):
    shutil.copytree(trained / "gray", run := tmp_path / "run")
    shutil.rmtree(run / "exported", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(BadInput, match=f"not exported yet; what an answer needs is made by: cxr export {run}"):
        predict.load(run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    made = export.export(run, to="h5", data_dir=trained / "data")
    assert predict.load(run).model.path == predict.load(made.parent).model.path == made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n: n | {"threshold": 2.0}, "'threshold' in it is not"),
        (lambda n: n | {"validation": {"NORMAL": [0.5], "PNEUMONIA": []}}, "'validation' in it is not"),
        (lambda n: n | {"resize": "crop"}, "'resize' in it is not"),
        (lambda n: n | {"interpolation": ["nearest"]}, "'interpolation' in it is not"),
        (lambda n: {k: v for k, v in n.items() if k != "outside"}, "'outside' is missing"),
        (lambda n: n | {"outside": {}}, "outside: 'mean'"),
        (lambda n: n | {"files": {".onnx": "0"}}, "was not made for this m.onnx"),
        (lambda n: n | {"image_size": 64}, "was not made for this m.onnx"),
        (lambda n: [], "not an object"),
    ],
)
def test_a_json_that_does_not_fit_is_refused(model, tmp_path, change, reason):
    shutil.copy(model, tmp_path)
    files.write_json(tmp_path / "m.json", change(files.read_json(model.with_suffix(".json"))))
    with pytest.raises(BadInput, match=reason):
        predict.load(tmp_path / "m.onnx")


def test_a_picture_is_shrunk_as_those_that_the_model_was_trained_on(model, tmp_path, films):
    shutil.copy(model, tmp_path)
    note = files.read_json(model.with_suffix(".json"))
    files.write_json(tmp_path / "m.json", note | {"interpolation": "nearest"})
    picture = images.read(films[0])
    for path, how, at_least in ((model, "area", 2 * note["image_size"]), (tmp_path / "m.onnx", "nearest", None)):
        predictor = predict.load(path)
        wanted = images.resize(picture, note["image_size"], interpolation=how)
        assert np.array_equal(predictor.prepare(picture)[:, :, 0], wanted) and predictor.at_least == at_least


def test_a_model_without_its_json_is_refused(model, tmp_path):
    shutil.copy(model, tmp_path)
    with pytest.raises(BadInput, match="m.json: there is no such file; it belongs to the model"):
        predict.load(tmp_path / "m.onnx")


def test_folders_patterns_and_files(tmp_path):
    for name in ("b.png", "a.JPEG", ".hidden.png", "notes.txt", "deep/c.dcm", "x[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path.relative_to(tmp_path).as_posix() for path in predict.find([tmp_path])]
    assert found == ["a.JPEG", "b.png", "deep/c.dcm", "x[1].png"]
    assert predict.find([tmp_path / "x[1].png"]) == [tmp_path / "x[1].png"]
    assert predict.find([f"{tmp_path}/*.png", tmp_path / "b.png"]) == [tmp_path / "b.png", tmp_path / "x[1].png"]
    assert predict.find([tmp_path / "none*"]) == [tmp_path / "none*"]


def test_a_folder_without_an_image_is_said_to_be_that_and_others_are_answered(model, films, tmp_path, capsys):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/notes.txt").write_text("x")
    assert cli.main(["predict", str(model), str(tmp_path), str(films[0])]) == 1
    shown = capsys.readouterr()
    assert films[0].name in shown.out and shown.err.splitlines()[-1] == f"cxr: {tmp_path}: {predict.EMPTY}"


def test_pictures_of_other_formats_in_a_folder_are_named(tmp_path):
    for name in ("a.gif", "b.HEIC", "c.jp2", "d.jfif", "1.2.840.113", "notes.txt", "e.json", ".hidden.gif"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" if name[0] == "1" else b"GIF89a")
    found = [path.name for path in predict.find([tmp_path])]
    assert found == ["1.2.840.113", "a.gif", "b.HEIC", "c.jp2", "d.jfif"]


def test_the_answering_model_is_named_above_the_table(model, films, capsys):
    assert cli.main(["predict", str(model), str(films[0])]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"model: {model}\n") and "  NORMAL below  PNEUMONIA below  " in shown
    assert f"how often it is wrong, on its own test images and elsewhere: {model.with_name('model-card.md')}" in shown


@pytest.mark.parametrize(
    "name", ["net.pt", "net.tflite", "net.pkl", "saved_model", "net.bestmodel", "planted", "later"]
)
def test_no_model_answers_in_place_of_another(trained, films, tmp_path, capsys, name):
    path = tmp_path / name
    if name in ("saved_model", "planted"):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"\x08\x01")
    else:
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    named = [path, films[0]]
    if name == "planted":
        (path / "saved_model.pb").unlink()
        for suffix in (".onnx", ".json"):
            shutil.copy(trained / f"out-gray/m{suffix}", path / f"model{suffix}")
        shutil.copy(films[0], path)
    if name == "later":
        named = [films[0], trained / "out-gray/m.onnx"]
    assert cli.main(["predict", *map(str, named)]) == 2
    shown = capsys.readouterr()
    assert not shown.out and shown.err.count("\n") == 1 and "model" in shown.err
    assert str(named[name == "later"]) in shown.err


def test_a_model_alone_answers_if_it_is_said_what_it_gives(trained, films, tmp_path, capsys):

    network = models.load_keras(trained / "out-gray/m.keras")
    last = network.layers[-1]
    last.set_weights([-w for w in last.get_weights()])
    network.save(path := tmp_path / "says_normal.keras")
    arguments = ["predict", str(path), str(films[0].parent / "*")]
    assert cli.main(arguments) == 2
    assert "--classes" in capsys.readouterr().err
    assert cli.main([*arguments, "--classes", "PNEUMONIA,NORMAL", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["output"] == {"classes": ["PNEUMONIA", "NORMAL"], "pixels": [0, 1], "logits": False}
    predictor = predict.load(trained / "out-gray/m.keras", heat=True)
    known = list(predict.predict(predictor, sorted(films[0].parent.iterdir())))
    assert [one["path"] for one in content["answers"]] == [one.path for one in known] and content["threshold"] == 0.5
    np.testing.assert_allclose(
        [one["probability"] for one in content["answers"]], [one.probability for one in known], atol=1e-6
    )
    small = predictor.prepare(images.read(films[0]))[None]
    for pixels in ("0..1", "0..255"):
        first = next(layer for layer in network.layers if layer.weights)
        first.set_weights([first.get_weights()[0] / (255 if pixels == "0..255" else 1), *first.get_weights()[1:]])
        network.save(path)
        meaning = models.Meaning.parse("PNEUMONIA,NORMAL", pixels)
        found = predict.load(path, meaning=meaning, bare=True).heats(small)
        np.testing.assert_allclose(found, predictor.heats(small), atol=1e-4)
    # With all answers on one side it asks, on the screen and in the record.
    last.set_weights([0 * last.get_weights()[0], last.get_weights()[1] * 0 - 9])
    network.save(path)
    assert cli.main([*arguments, "--classes", "PNEUMONIA,NORMAL", "--json"]) == 0
    shown = capsys.readouterr()
    (note,) = json.loads(shown.out)["notes"]
    assert shown.err == f"cxr: note: {note}\n" and "does it want 0..255? Then add --pixels 0..255" in note
    assert cli.main([*arguments[:2], str(films[0]), "--pixels", "-1..1"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:2] == [f"model: {path}", "taken as: classes NORMAL,PNEUMONIA, pixels -1..1"]
    assert "no JSON of cxr export" in shown.out and not shown.err


def test_formats_that_are_not_read_are_named_in_all_that_is_written(model, films, tmp_path, capsys):
    """A folder as people have them: each file is answered, or named with its reason."""
    shutil.copy(films[0], tmp_path / "a.jfif")
    Image.open(films[0]).save(tmp_path / "a.png")
    others = {"a.gif": b"GIF89a", "a.heic": b"\0\0\0\x18ftypheic", "a.avif": b"\0\0\0\x1cftypavif",
              "a.jp2": b"\0\0\0\x0cjP  \r\n\x87\n"}  # fmt: skip
    for name, begin in others.items():
        (tmp_path / name).write_bytes(begin + bytes(100))
    (tmp_path / "notes.txt").write_text("x")
    assert cli.main(["predict", str(model), str(tmp_path), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert [(Path(one["path"]).name, one["reason"]) for one in content["left_out"]] == [("notes.txt", predict.LEFT_OUT)]
    found = {Path(one["path"]).name: one["error"] for one in content["answers"]}
    assert found.keys() == {"a.jfif", "a.png", *others}
    assert cli.main(["predict", str(model), str(tmp_path), "--csv"]) == 1
    shown = capsys.readouterr()
    rows = {Path(row["path"]).name: row["error"] for row in csv.DictReader(io.StringIO(shown.out))}
    assert rows == found | {"notes.txt": predict.LEFT_OUT}
    for name, kind in zip(others, ("GIF", "HEIC", "AVIF", "JPEG 2000"), strict=True):
        assert kind in found[name] and "save it as JPEG, PNG, TIFF, BMP, WebP or DICOM" in found[name]
        assert f"{name}: {found[name]}" in shown.err
    assert found["a.jfif"] == found["a.png"] == ""


def test_files_left_out_of_a_folder_are_counted_and_named(model, films, tmp_path, capsys):
    shutil.copy(films[0], tmp_path / "a.jfif")
    for name in ("a.raw", "b.txt", ".DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    assert cli.main(["predict", str(model), str(tmp_path), "--csv"]) == 0
    shown = capsys.readouterr()
    assert "2 files" in shown.err and "a.raw" in shown.err and "b.txt" in shown.err and ".DS_Store" not in shown.err
    assert "a.jfif" in shown.out


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png"])
def test_a_name_is_no_formula_in_a_spreadsheet(model, films, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(films[0], name)
    predictor = predict.load(model)
    (row,) = csv.DictReader(io.StringIO(predict.as_csv(predictor, list(predict.predict(predictor, [name])))))
    assert row["path"] == f"./{name}" and (tmp_path / row["path"]).is_file()


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]])
def test_answers_survive_a_legacy_code_page(model, films, tmp_path, form):
    shutil.copy(films[0], tmp_path / "胸片.png")
    program = "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"
    for page in ("cp1252", "ascii"):
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", str(model), str(tmp_path / "胸片.png"), *form],
            capture_output=True, env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": page}, check=False,
        )  # fmt: skip
        # Typer writes UTF-8 where Python believes that it can write ASCII alone.
        assert done.returncode == 0 and (b"\\u80f8" in done.stdout or "胸".encode() in done.stdout), done.stderr
