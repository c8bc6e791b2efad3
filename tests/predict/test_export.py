"""A run of the sample becomes .keras, .h5 and ONNX with equal answers, a JSON and a card."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from cxr_utils import cli, evaluation, files, models, predict
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.predict import export

FORMATS = ("keras", "h5", "onnx")


@pytest.mark.parametrize("name", ["gray", "colour"])
def test_the_formats_give_the_probabilities_that_the_evaluation_saved(trained, name):
    saved = evaluation.read_predictions(trained / name / "predictions.csv")
    paths = [trained / "data/sample" / path for path in saved["path"]]
    answers = {}
    for to in FORMATS:
        predictor = predict.load(trained / f"out-{name}" / f"m.{to}")
        answers[to] = np.array([one.probability for one in predict.predict(predictor, paths)])
    assert np.ptp(answers["keras"]) > 0.01
    for to in ("keras", "h5"):
        assert np.abs(answers[to] - saved["probability"]).max() < 1e-6
    assert np.abs(answers["onnx"] - saved["probability"]).max() < 1e-4


def test_what_is_saved_is_float32_with_standard_layers(trained):
    for to in ("keras", "h5"):
        model = models.load_keras(trained / "out-colour" / f"m.{to}")
        assert {str(v.dtype) for v in model.weights} == {"float32"}
        assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_the_json_serves_all_formats_and_says_what_predict_needs(trained):
    note = predict.read_note(trained / "out-gray/m.json")
    assert set(note["files"]) == {".keras", ".h5", ".onnx"}
    saved = evaluation.read_predictions(trained / "gray/predictions.csv")
    chosen = saved[saved["split"] == "validation"]
    assert note["threshold"] == evaluation.best_threshold(chosen["label"], chosen["probability"])
    normal = chosen.loc[chosen["label"] == 0, "probability"]
    assert note["validation"]["NORMAL"][50] == pytest.approx(normal.median(), abs=1e-6)
    assert note["synthetic"] is True and note["image_size"] == 32


def test_a_recipe_can_fix_the_threshold_and_average_views(trained):
    note, text = predict.read_note(trained / "out-colour/m.json"), (trained / "out-colour/model-card.md").read_text()
    assert (note["threshold"], note["views"]) == (0.5, 2)
    assert "0.5000, fixed before" in text and "2 mildly changed views" in text
    assert "| 0.5 |" in text and text.count("| test (") == 1


def test_the_card_is_made_from_the_run(trained):
    text = (trained / "out-gray/model-card.md").read_text()
    saved = evaluation.read_predictions(trained / "gray/predictions.csv")
    test, note = saved[saved["split"] == "test"], predict.read_note(trained / "out-gray/m.json")
    auc = evaluation.bootstrap(test).loc["auc"]
    assert "| {value:.3f} ({low:.3f} to {high:.3f}) |".format(**auc) in text
    for kind, row in evaluation.by_kind(test, threshold=note["threshold"]).iterrows():
        assert f"| {kind} | {row['images']:.0f} | {row['wrong']:.0f} |" in text
    for section in ("Model details", "Intended use", "Factors", "Metrics", "Quantitative analyses", "Ethical"):
        assert f"\n## {section}" in text
    assert "ORT_DISABLE_TELEMETRY=1" in text
    assert "Must not be used" in text and f"{note['threshold']:.4f}" in text and "phantoms" in text


def test_the_card_begins_with_the_head_that_the_hub_reads(trained):
    head, text = (trained / "out-colour/model-card.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    assert text.startswith("# Model card: ")
    head = yaml.safe_load(head)
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("mit", "keras", "image-classification")
    assert head["datasets"] and "synthetic-images" in head["tags"]
    saved = evaluation.read_predictions(trained / "colour/predictions.csv")
    (model,) = head["model-index"]
    found = {one["dataset"]["split"]: one for one in model["results"]}
    assert {"validation", "test"} <= set(found)
    for part, one in found.items():
        assert one["task"]["type"] == "image-classification" and one["dataset"]["type"] == head["datasets"][0]
        assert {metric["type"] for metric in one["metrics"]} <= set(head["metrics"])
        if part in ("validation", "test"):
            rows = saved[saved["split"] == part]
            figures = evaluation.metrics(rows["label"], rows["probability"])
            told = {metric["type"]: metric["value"] for metric in one["metrics"]}
            for kind, name in (("roc_auc", "auc"), ("recall", "sensitivity"), ("brier_score", "brier")):
                assert told[kind] == pytest.approx(figures[name], abs=1e-4)


def test_the_shipped_card_has_the_figures_of_its_run_and_of_another_hospital():
    results = Path(__file__).parents[2] / "results"
    head = (results / "models/model-card.md").read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n")[0]
    (model,) = yaml.safe_load(head)["model-index"]
    kept = files.read_json(results / f"runs/{model['name']}.json")["metrics"]
    kept["sample"] = files.read_json(results / "elsewhere/reference.json")["groups"]["all"]["metrics"]
    assert [one["dataset"]["split"] for one in model["results"]] == [name for name in kept if name != "threshold"]
    names = {"accuracy": "accuracy", "recall": "sensitivity", "specificity": "specificity", "roc_auc": "auc"}
    for one in model["results"]:
        at_half = kept[one["dataset"]["split"]]["at_half"]
        told = {metric["type"]: metric["value"] for metric in one["metrics"]}
        assert {kind: told[kind] for kind in names} == {k: round(at_half[m]["value"], 4) for k, m in names.items()}


def test_test_is_not_read_for_an_export(trained, tmp_path):
    shutil.copytree(trained / "gray", tmp_path / "run")
    (tmp_path / "run/predictions.csv").unlink()
    export.export(tmp_path / "run", to="keras", data_dir=trained / "data")
    there = evaluation.read_predictions(tmp_path / "run/predictions.csv")
    assert set(there["split"]) == {"validation"}
    text = (tmp_path / "run/exported/model-card.md").read_text()
    assert "Test was not read for this run" in text and "model-index" not in text


def test_the_card_says_how_epoch_and_threshold_came(trained, tmp_path):
    shutil.copytree(trained / "gray", tmp_path / "run")
    record = files.read_json(tmp_path / "run/run.json")
    stops = {"restore_best_weights": True, "start_from_epoch": record["epochs_run"] - 1}
    recipe = record["recipe"] | {"sensitivity": 0.9, "early_stopping": stops}
    files.write_json(tmp_path / "run/run.json", record | {"recipe": recipe, "protocol": "honest"}, ours=True)
    export.export(tmp_path / "run", to="keras", data_dir=trained / "data")
    text = (tmp_path / "run/exported/model-card.md").read_text()
    assert "that validation chose" not in text
    assert "the highest that finds 90% of PNEUMONIA in validation images" in text
    assert "the last epoch was kept, and the threshold was chosen on them alone" in text


def test_a_run_that_validates_on_unread_test_is_refused(trained, tmp_path):
    shutil.copytree(trained / "gray", tmp_path / "run")
    (tmp_path / "run/predictions.csv").unlink()
    record = files.read_json(tmp_path / "run/run.json")
    files.write_json(tmp_path / "run/run.json", record | {"validate_on": "test"}, ours=True)
    with pytest.raises(BadInput, match="was not evaluated yet"):
        export.export(tmp_path / "run", data_dir=trained / "data")


def test_refusals_name_the_way_out(trained, tmp_path):
    with pytest.raises(BadInput, match="to: 'pt'; choose one of keras, h5, onnx"):
        export.export(trained / "gray", to="pt")
    with pytest.raises(BadInput, match=r"named \*.onnx"):
        export.export(trained / "gray", to="onnx", out=tmp_path / "m.keras")
    with pytest.raises(BadInput, match="is the run's own model"):
        export.export(trained / "gray", out=trained / "gray/model.keras")
    with pytest.raises(BadInput, match="images that this run was trained on are not in"):
        export.export(trained / "gray", out=tmp_path / "m.keras", data_dir=tmp_path)
    with pytest.raises(BadInput, match="no finished run here"):
        export.export(tmp_path)
    with pytest.raises(BadInput, match="is the card of another model"):
        export.export(trained / "gray", out=trained / "out-colour/other.keras", data_dir=trained / "data")


def test_a_model_that_answers_otherwise_is_not_kept(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(CxrError, match="was not kept"):
        export.export(trained / "gray", out=tmp_path / "out/m.keras", data_dir=trained / "data")
    assert not list((tmp_path / "out").glob("*m*"))


def test_the_command(trained, home, capsys):
    arguments = ["export", str(trained / "gray"), "--to", "onnx", "--out", "m.onnx"]
    assert cli.main([*arguments, "--data-dir", str(home)]) == 2
    assert "--data-dir" in capsys.readouterr().err


def test_onnx_answers_without_keras(trained):
    image = next((trained / "data/sample/chest_xray/test/NORMAL").iterdir())
    program = (
        "import sys; from cxr_utils.cli import main; status = main(sys.argv[1:]); "
        "assert not {'keras', 'tensorflow', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules); "
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "predict", trained / "out-gray/m.onnx", image, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["answers"][0]["probability"] <= 1
