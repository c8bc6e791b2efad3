"""What is opened on test for `reference`, tried small on phantoms; and that what is kept is whole."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_utils import dataset, evaluation, explain, files, images, predict, recipes, training
from cxr_utils.recipes import reference, reference_2
from cxr_utils.replication import grid

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
spec = importlib.util.spec_from_file_location("opened", ROOT / "workflow" / "reference.py")
opened = importlib.util.module_from_spec(spec)
spec.loader.exec_module(opened)


def test_the_recipes_can_be_read_in_class():
    for module, most in ((reference, 120), (reference_2, 60)):
        lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= most and max(map(len, lines)) <= 120
    assert recipes.get("reference").threshold == 0.5


def test_the_second_recipe_is_the_first_but_for_how_it_is_trained_and_where_it_cuts():
    first, second = (recipes.get(name).settings() for name in ("reference", "reference_2"))
    changed = {name for name in first | second if first.get(name) != second.get(name)}
    assert changed == {"name", "image_size", "epochs", "early_stopping", "augmentation", "threshold", "sensitivity"}
    more = {name: value for name, value in second["augmentation"].items() if name not in first["augmentation"]}
    assert set(more) == {"histogram", "surround", "void"}
    assert first["augmentation"] == {name: second["augmentation"][name] for name in first["augmentation"]}


def test_the_second_recipe_keeps_its_last_epoch_and_finds_its_sensitivity(sample_data, tmp_path):
    folder = sample_data / "sample"
    index = dataset.scan(folder)
    cell = grid.Cell("reference_2", "honest", 0)
    split, epochs = cell.split(index), 3
    stops = cell.get_recipe().early_stopping
    assert stops["start_from_epoch"] == cell.get_recipe().epochs - 1 and stops["restore_best_weights"]
    small = cell.get_recipe().at(image_size=32, width=0.25)
    small = small.but(views=0, epochs=epochs, early_stopping=stops | {"start_from_epoch": epochs - 1})
    run = training.fit(small, images.cache(index, folder, size=32), split, run_dir=tmp_path / "short")
    assert grid._kept_epoch(run.record, run.history) == epochs
    found = evaluation.predict(run.load_model(), images.cache(index, folder, size=32), split)
    judged = evaluation.judge(found, sensitivity=small.sensitivity)
    assert judged["validation"]["at_threshold"]["sensitivity"]["value"] >= 0.95


def test_all_that_the_protocol_opens_is_made_and_entered(sample_data, tmp_path, home, monkeypatch):

    def shallow(width):  # two convolutions: depth is not what is tried here
        return [*reference.layers(width)[:6], *reference.layers(width)[-3:]]

    small = reference.RECIPE.at(image_size=32, width=0.25).but(layers=shallow, epochs=1, views=1)
    monkeypatch.setattr(reference, "RECIPE", small)
    monkeypatch.setattr(opened, "SEEDS", range(2))
    cascade = explain.cascade  # of few pictures and one seed: test_explain has more
    monkeypatch.setattr(explain, "cascade", lambda model, some, **how: cascade(model, some[:6], seeds=(0,), **how))
    folder, out = sample_data / "sample", home / "results"
    index = dataset.scan(folder)
    pixels = images.cache(index, folder, size=32)
    for seed in opened.SEEDS:
        cell = grid.Cell("reference", "honest", seed)
        split = cell.split(index)
        run = training.fit(cell.get_recipe(), pixels, split, seed=seed, epochs=None, image_source="sample",
                           run_dir=tmp_path / "work" / f"{cell.name}-{cell.identity(split, index)}")  # fmt: skip
        grid.evaluate(cell, run, pixels, split, index=index, out=out, source="sample")
    arguments = ["--source", "sample", "--data-dir", str(sample_data), "--work", str(tmp_path / "work"),
                 "--out", str(out), "--covered"]  # fmt: skip
    opened.main(arguments)

    found = files.read_json(out / "reference.json")
    assert [row["seed"] for row in found["plain"]] == [0, 1] and found["shipped"] == "reference-honest-s0"
    assert found["tests"]["images"] == (split["part"] == "test").sum()
    ledger = pd.read_csv(out / "test_reads.csv")
    assert [set(row) for row in found["covered"]] == [{"seed", *opened.COVERED}] * 2
    assert len(ledger) == 2 + 1 + 2 + 2 + 1 and ledger["reads"].eq(1).all()
    first = evaluation.read_predictions(out / "runs" / "reference-honest-s0.predictions.csv.gz")
    mean = evaluation.read_predictions(out / "scores" / "reference_mean_of_five.predictions.csv.gz")
    assert len(mean) == len(first) and not np.allclose(mean["probability"], first["probability"])
    test = first[first["split"] == "test"].head(20)
    paths = [folder / path for path in test["path"]]
    for suffix, tolerance in ((".keras", 1e-6), (".onnx", 1e-4)):
        predictor = predict.load(out / "models" / f"reference{suffix}")
        answers = np.array([one.probability for one in predict.predict(predictor, paths)])
        assert np.abs(answers - test["probability"]).max() < tolerance
    monkeypatch.setattr(opened.shortcuts, "judge", lambda *_, **__: found["tests"])
    opened.main(arguments)  # again: the ledger has each reading once
    pd.testing.assert_frame_equal(pd.read_csv(out / "test_reads.csv"), ledger)
    assert "one of 2 runs that differ by their seed alone" in (out / "models/model-card.md").read_text()


def test_the_mean_of_five_is_that_of_the_five():
    kept = evaluation.read_predictions(RESULTS / "scores" / "reference_mean_of_five.predictions.csv.gz")
    expected = opened.mean_of_five(RESULTS)
    assert kept["path"].equals(expected["path"])
    np.testing.assert_allclose(kept["probability"], expected["probability"], atol=1e-6)


def test_what_is_said_of_the_shipped_network_is_said_of_its_run():
    found = files.read_json(RESULTS / "reference.json")
    record = files.read_json(RESULTS / "runs" / f"{found['shipped']}.json")
    test = evaluation.read_predictions(RESULTS / "runs" / f"{found['shipped']}.predictions.csv.gz")
    test = test[test["split"] == "test"]
    called = int((test["probability"] >= record["metrics"]["threshold"]).sum())
    assert (found["tests"]["images"], found["tests"]["called_pneumonia"]) == (len(test), called)
    auc = record["metrics"]["test"]["at_half"]["auc"]["value"]
    assert abs(found["tests"]["shortcuts"]["as it is"]["value"] - auc) < 1e-3
    assert [row["seed"] for row in found["plain"]] == list(opened.SEEDS)
    for suffix in (".keras", ".onnx"):
        note = predict.load(RESULTS / "models" / f"reference{suffix}").note
        assert (note["threshold"], note["views"], note["synthetic"]) == (0.5, 4, False)
        same = ("seed", "split", "pixels", "protocol")
        assert {key: note["run"][key] for key in same if key in note["run"]} == {
            key: record[key] for key in same if key in note["run"]
        }
        assert note["false_alarm"]["test"]["outside"] <= 0.02 * note["false_alarm"]["test"]["images"]


def test_the_shipped_network_gives_what_its_run_saved(real):
    kept = evaluation.read_predictions(RESULTS / "runs" / "reference-honest-s0.predictions.csv.gz")
    few = kept[kept["split"] == "validation"].iloc[::10]
    for suffix, tolerance in ((".keras", 1e-6), (".onnx", 1e-4)):
        predictor = predict.load(RESULTS / "models" / f"reference{suffix}")
        answers = predict.predict(predictor, [real / path for path in few["path"]])
        gap = np.abs(np.array([one.probability for one in answers]) - few["probability"])
        assert gap.max() < tolerance
