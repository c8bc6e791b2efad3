import json

import numpy as np
import pandas as pd
import pytest

from cxr_utils import evaluation, imbalance, recipes, training
from cxr_utils.augment import Augmentation
from cxr_utils.errors import BadInput

SIZE = 24


@pytest.fixture
def data():
    """120 tiny images: a bright spot marks PNEUMONIA."""
    rng = np.random.default_rng(0)
    label = np.tile([0, 1, 1], 40)
    pixels = rng.integers(60, 140, (120, SIZE, SIZE, 1), dtype="uint8")
    pixels[label == 1, 8:14, 8:14] += 80
    part = np.repeat(["train", "validation", "test"], [72, 24, 24])
    names = [f"chest_xray/train/x/person{i}_virus_{i}.jpeg" for i in range(120)]
    split = pd.DataFrame({"path": names, "patient": [f"person{i}" for i in range(120)], "label": label,
                          "kind": np.where(label, "virus", "normal"), "part": part})  # fmt: skip
    return pixels, split


@pytest.fixture
def recipe():
    stops = {"monitor": "val_loss", "patience": 2, "restore_best_weights": True}
    slower = {"monitor": "val_loss", "factor": 0.5, "patience": 1}
    return recipes.get("plain_224").at(image_size=SIZE, width=0.25).but(
        dropout=0.25, epochs=4, batch_size=16, early_stopping=stops, reduce_lr=slower,
        augmentation=Augmentation(rotation=5, horizontal_flip=True),
    )  # fmt: skip


def test_a_run_folder_holds_what_was_done(tmp_path, data, recipe):
    run = training.fit(recipe, *data, run_dir=tmp_path / "run", seed=4, image_source="drawn")
    assert {p.name for p in run.folder.iterdir()} == {"run.json", "history.csv", "model.keras"}
    record = run.record
    assert (record["seed"], record["image_source"], record["protocol"]) == (4, "drawn", "honest")
    assert record["recipe"]["augmentation"]["rotation"] == 5
    assert record["epochs_run"] == len(run.history)
    assert set(record["versions"]) >= {"python", "keras", "numpy"}
    model = run.load_model()
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    again = training.fit(recipe, *data, run_dir=tmp_path / "run", seed=4, image_source="drawn")
    assert again.record == record


def test_the_same_seed_gives_the_same_model_and_another_one_another(tmp_path, data, recipe):
    runs = [training.fit(recipe, *data, run_dir=tmp_path / str(i), seed=s) for i, s in enumerate((1, 1, 2))]
    first, same, other = (evaluation.predict(r, *data)["probability"].to_numpy() for r in runs)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-4


def test_a_network_that_is_used_again_keeps_nothing_of_its_last_training(tmp_path, data, recipe):
    recipe, traced = recipe.but(batchnorm=True), {}
    training.fit(recipe, *data, run_dir=tmp_path / "before", seed=1, traced=traced)
    (network,) = traced.values()
    again = training.fit(recipe, *data, run_dir=tmp_path / "again", seed=2, traced=traced)
    training.fit(recipe.but(imbalance="oversample"), *data, run_dir=tmp_path / "more", seed=2, traced=traced)
    assert list(traced.values()) == [network]
    alone = training.fit(recipe, *data, run_dir=tmp_path / "alone", seed=2)
    for one, other in zip(again.load_model().get_weights(), alone.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    different = training.fit(recipe.but(dropout=0.1), *data, run_dir=tmp_path / "different", seed=2, traced=traced)
    assert different.record["recipe"]["dropout"] == 0.1
    assert len(traced) == 1 and network not in traced.values()


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_training_ends_like_an_undisturbed_one(tmp_path, data, recipe, monkeypatch, after):
    recipe = recipe.but(imbalance="smote")
    whole = training.fit(recipe, *data, run_dir=tmp_path / "whole", seed=1)
    save, calls = training.np.savez, []

    def interrupted(*arguments, **arrays):
        save(*arguments, **arrays)
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.fit(recipe, *data, run_dir=tmp_path / "cut", seed=1)
    assert not (tmp_path / "cut" / "run.json").exists()
    monkeypatch.undo()
    cut = training.fit(recipe, *data, run_dir=tmp_path / "cut", seed=1)
    pd.testing.assert_frame_equal(whole.history.drop(columns="seconds"), cut.history.drop(columns="seconds"))
    for expected, got in zip(whole.load_model().get_weights(), cut.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(expected, got)


def test_order_and_augmentation_differ_between_epochs_and_depend_on_the_seed(data, recipe):
    pixels, split = data
    table = imbalance.balance(pixels, split["label"], how="none").table
    served = training.batches(pixels, table, recipe, seed=3)
    served.epoch = 0
    first = served[0]
    served.epoch = 1
    second = served[0]
    served.epoch = 0
    np.testing.assert_array_equal(first[0], served[0][0])
    assert np.abs(first[0] - second[0]).max() > 0.05
    assert first[0].dtype == np.float32 and first[0].min() >= 0 and first[0].max() <= 1
    shown = np.concatenate([served[i][1] for i in range(len(served))])
    assert shown.sum() == split["label"].sum()


def test_every_epoch_of_fit_sees_each_image_once_in_a_new_order(tmp_path, data, recipe, monkeypatch):
    seen = []
    render = imbalance.render

    def recorded(pixels, table):
        seen.append(table["first"].tolist())
        return render(pixels, table)

    monkeypatch.setattr(training.imbalance, "render", recorded)
    training.fit(recipe.but(epochs=3, early_stopping=None), *data, run_dir=tmp_path / "run")
    batches = [rows for rows in seen if rows and max(rows) < 72 and len(rows) <= 16]
    per_epoch = -(-72 // 16)
    epochs = [sum(batches[-per_epoch * (i + 1) : len(batches) - per_epoch * i], []) for i in range(3)]
    assert all(sorted(e) == list(range(72)) for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_colour_and_two_units_are_served_to_recipes_that_ask(data, recipe):
    pixels, split = data
    table = imbalance.balance(pixels, split["label"], how="class_weight")
    colour = recipe.but(channels=3, loss="categorical_crossentropy")
    images, labels, weights = training.batches(pixels, table.table, colour, class_weight=table.class_weight)[0]
    assert images.shape == (120, SIZE, SIZE, 3) and labels.shape == (120, 2)
    assert weights.tolist() == [table.class_weight[c] for c in split["label"]][:120]


def test_an_image_whose_chest_is_hidden_has_the_label_one_half(data, recipe):
    pixels, split = data
    table = imbalance.balance(pixels, split["label"], how="none").table
    hides = recipe.but(augmentation=Augmentation(void=0.5), batch_size=60)
    images, labels = training.batches(pixels, table, hides, seed=3)[0]
    middle = images[:, SIZE * 3 // 8 : SIZE * 5 // 8, SIZE * 3 // 8 : SIZE * 5 // 8, 0]
    hidden = np.ptp(middle, axis=(1, 2)) == 0
    assert 0.2 < hidden.mean() < 0.8 and labels.shape == (60, 1) and labels.dtype == np.float32
    assert (labels[hidden] == 0.5).all() and np.isin(labels[~hidden], [0, 1]).all()
    assert np.isin(training.batches(pixels, table, hides)[0][1], [0, 1]).all()  # validation hides nothing


def test_comparison_has_a_row_a_variant_and_seed(tmp_path, data, recipe):
    variants = {"none": recipe, "class weights": recipe.but(imbalance="class_weight")}
    table = training.compare(variants, *data, run_dir=tmp_path, seeds=(0, 1), epochs=1)
    assert table[["name", "seed"]].to_numpy().tolist() == [
        ["none", 0], ["none", 1], ["class weights", 0], ["class weights", 1]]  # fmt: skip
    shares = table[["recall_normal", "recall_pneumonia"]]
    assert np.allclose(shares.mean(axis=1), table["balanced_accuracy"])
    assert (tmp_path / "class_weights-s1" / "run.json").is_file()


def test_gains_are_paired_over_images_and_hold_both_chances(tmp_path, data, recipe):
    variants = {"none": recipe, "class weights": recipe.but(imbalance="class_weight")}
    table = training.compare(variants, *data, run_dir=tmp_path, seeds=(0, 1), epochs=1)
    found = training.gains(table, against="none", metric="balanced_accuracy")
    assert list(found.index) == ["class weights"]
    means = table.groupby("name")["balanced_accuracy"].mean()
    assert np.isclose(found["gain"].iloc[0], means["class weights"] - means["none"])
    assert found["low"].iloc[0] <= found["gain"].iloc[0] <= found["high"].iloc[0]
    same = pd.concat([table[table["name"] == "none"], table[table["name"] == "none"].assign(name="twin")])
    twin = training.gains(same, against="none").iloc[0]
    assert twin["gain"] == 0 and twin["low"] <= 0 <= twin["high"]
    with pytest.raises(BadInput, match="against: 'nobody'; choose one of none, class weights"):
        training.gains(table, against="nobody")


def test_a_run_of_other_settings_is_trained_beside(tmp_path, data, recipe, capsys):
    first = training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1)
    before = (first.folder / "run.json").read_bytes()
    other = training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=2, beside=True)
    assert other.folder != first.folder and other.folder.name.startswith("run-") and other.record["epochs"] == 2
    assert training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=2, beside=True).folder == other.folder
    assert training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1, beside=True).folder == first.folder
    assert (first.folder / "run.json").read_bytes() == before and capsys.readouterr().out == ""
    training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1, progress=True)
    assert "run: trained before" in capsys.readouterr().out


def test_another_run_is_never_overwritten(tmp_path, data, recipe):
    training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(BadInput, match="its seed is 0, asked for is 1"):
        training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1, seed=1)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_what_does_not_fit_together_is_named(tmp_path, data, recipe):
    pixels, split = data
    with pytest.raises(BadInput, match="wants 32"):
        training.fit(recipe.at(image_size=32), pixels, split, run_dir=tmp_path / "run")
    with pytest.raises(BadInput, match="119 images"):
        training.fit(recipe, pixels[1:], split, run_dir=tmp_path / "run")
    with pytest.raises(BadInput, match="'validation'"):
        training.fit(recipe, pixels, split.assign(part="train"), run_dir=tmp_path / "run")
    with pytest.raises(BadInput, match="no finished run"):
        training.load(tmp_path / "nothing")


def test_precision_is_chosen_and_can_be_forced(monkeypatch):
    monkeypatch.delenv("CXR_PRECISION", raising=False)
    assert training.choose_precision() in ("float32", "mixed_bfloat16")
    monkeypatch.setenv("CXR_PRECISION", "float32")
    assert training.choose_precision() == "float32"
    assert training.choose_precision("mixed_bfloat16") == "mixed_bfloat16"
    monkeypatch.setenv("CXR_PRECISION", "half")
    with pytest.raises(BadInput, match="half"):
        training.choose_precision()


@pytest.mark.parametrize("processor", [[], ["AMX"]])
@pytest.mark.parametrize(
    ("found", "wanted"),
    [([], None), ([(7, 5)], "float32"), ([(8, 0)], "mixed_bfloat16"), ([(9, 0), (7, 0)], "float32")],
)
def test_what_trains_must_have_bfloat16(processor, found, wanted, monkeypatch):
    """A T4, of compute capability 7.5, has none, also beside a processor that has it."""
    from cxr_utils import _machine, backend

    monkeypatch.delenv("CXR_PRECISION", raising=False)
    monkeypatch.setattr(_machine, "cpu", lambda: {"name": "", "bfloat16": processor})
    monkeypatch.setattr(backend, "_capabilities", lambda: found)
    assert training.choose_precision() == (wanted or ("mixed_bfloat16" if processor else "float32"))


def test_the_record_is_json_without_surprises(tmp_path, data, recipe):
    run = training.fit(recipe, *data, run_dir=tmp_path / "run", epochs=1)
    assert json.loads((run.folder / "run.json").read_text())["pixels"].startswith("[120, 24, 24, 1] crc32 ")


def test_the_rate_of_a_cosine_grows_in_the_first_epoch_and_falls_to_nearly_nothing(tmp_path, data, recipe):
    recipe = recipe.but(optimizer="adamw", weight_decay=0.02, cosine=True, label_smoothing=0.1,
                        early_stopping=None, reduce_lr=None, epochs=5)  # fmt: skip
    run = training.fit(recipe, *data, run_dir=tmp_path / "run")
    rates = run.history["learning_rate"] / recipe.learning_rate
    np.testing.assert_allclose(rates, [0.1, 1, 0.853553, 0.5, 0.146447], rtol=1e-4)
    assert {"cosine", "weight_decay", "label_smoothing"} <= set(run.record["recipe"])
