"""Heat maps against what they must be by their definition, and their tests on networks that are known by heart."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from cxr_utils import explain, plots, recipes, shortcuts, training
from cxr_utils.backend import keras
from cxr_utils.errors import BadInput

kl = keras.layers
RNG = np.random.default_rng(0)
PICTURES = RNG.random((5, 32, 32, 1), dtype="float32")
SMALL = {"plain_300": 128, "batchnorm_224": 128, "separable_180": 64}


def network(*layers, size=32, channels=1, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((size, size, channels)), *layers])


def bright_patch(size=32, where=(slice(4, 12), slice(18, 26))):
    """Return a network whose log-odds is 10 x the mean of a patch - 3, and that patch."""
    patch = np.zeros((size, size), dtype=bool)
    patch[where] = True
    model = network(kl.Conv2D(1, 1, activation="relu"), kl.Flatten(), kl.Dense(1, activation="sigmoid"), size=size)
    model.layers[0].set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    model.layers[-1].set_weights([10 * patch.reshape(-1, 1) / patch.sum(), np.array([-3.0])])
    return model, patch


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("how", explain.METHODS)
def test_every_recipe_has_heat_maps(name, how):
    size = SMALL.get(name, 64)
    recipe = recipes.get(name).at(image_size=size, width=0.125)
    pictures = np.random.default_rng(1).random((3, size, size, 1), dtype="float32")
    model = recipe.build(compiled=False)
    both = [explain.heat_maps(model, pictures, how=how, toward=toward) for toward in ("PNEUMONIA", "NORMAL")]
    for heats in both:
        assert heats.shape == (3, size, size) and heats.dtype == np.float32 and heats.min() >= 0
        greatest = heats.max(axis=(1, 2))
        assert np.all(np.isclose(greatest, 1) | (greatest == 0))
    assert max(heats.max() for heats in both) == pytest.approx(1)


def test_gradient_is_that_of_the_log_odds():
    """Against differences: moving one value of the maps moves the log-odds by the gradient."""
    model = network(kl.Conv2D(4, 3, activation="relu"), kl.MaxPooling2D(), kl.Conv2D(3, 3, activation="relu"),
                    kl.Flatten(), kl.Dense(6, activation="tanh"), kl.Dense(2, activation="softmax"))  # fmt: skip
    head, tail = explain._halves(model, None)
    maps, gradient = explain._gradient(head, tail, PICTURES)
    answers = keras.ops.convert_to_numpy(model(PICTURES))
    odds = keras.ops.convert_to_numpy(tail(keras.ops.convert_to_tensor(maps)))
    np.testing.assert_allclose(odds, np.log(answers[:, 1] / answers[:, 0]), atol=1e-4)
    for place in [(0, 3, 4, 1), (2, 0, 0, 0), (4, 11, 7, 2)]:
        up, down = maps.copy(), maps.copy()
        up[place] += 0.05
        down[place] -= 0.05
        slope = (keras.ops.convert_to_numpy(tail(up)) - keras.ops.convert_to_numpy(tail(down)))[place[0]] / 0.1
        assert gradient[place] == pytest.approx(slope, rel=0.05, abs=1e-4)


def test_methods_by_their_formula():
    model = network(kl.Conv2D(3, 3, activation="relu"), kl.Flatten(), kl.Dense(1, activation="sigmoid"))
    maps = keras.ops.convert_to_numpy(model.layers[0](PICTURES))
    weights = model.layers[-1].get_weights()[0].reshape(maps.shape[1:])
    import cv2

    for how, factor in (("hirescam", weights), ("gradcam", weights.mean(axis=(0, 1)))):
        for toward, sign in (("PNEUMONIA", 1), ("NORMAL", -1)):
            found = explain.heat_maps(model, PICTURES, how=how, toward=toward)
            for heat, each in zip(found, np.maximum(sign * (maps * factor).sum(-1), 0), strict=True):
                wanted = cv2.resize(each, (32, 32))
                np.testing.assert_allclose(heat, wanted / max(wanted.max(), 1e-30), atol=1e-4)


def test_both_methods_agree_before_a_global_mean():
    model = network(kl.Conv2D(4, 3, activation="relu"), kl.GlobalAveragePooling2D(), kl.Dense(1, activation="sigmoid"))
    first, second = (explain.heat_maps(model, PICTURES, how=how) for how in explain.METHODS)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_network_that_looks_at_a_patch_is_seen_to_look_there():
    model, patch = bright_patch()
    masks = np.repeat(patch[None], 5, axis=0)
    scores = {how: explain.score(explain.heat_maps(model, PICTURES, how=how), masks) for how in explain.METHODS}
    assert scores["hirescam"]["share"].min() > 0.95 and scores["hirescam"]["pointing"].min() == 1
    assert scores["gradcam"]["share"].max() < 0.2, "its mean over places does not know where"


def test_sure_answers_have_heat_too():
    """The log-odds has a gradient where the sigmoid is flat."""
    model, patch = bright_patch()
    model.layers[-1].set_weights([1000 * patch.reshape(-1, 1) / patch.sum(), np.zeros(1)])
    assert float(keras.ops.min(model(PICTURES))) == 1
    assert explain.heat_maps(model, PICTURES).max(axis=(1, 2)) == pytest.approx(np.ones(5))


def test_what_is_refused():
    model, _ = bright_patch()
    for wrong, match in ({"how": "cam"}, "cam"), ({"toward": "ill"}, "ill"), ({"layer": "nope"}, "nope.*conv"):
        with pytest.raises(BadInput, match=match):
            explain.heat_maps(model, PICTURES, **wrong)
    for images in (PICTURES[:, :16], PICTURES[..., 0], (PICTURES * 255).astype("uint8")):
        with pytest.raises(BadInput, match="images"):
            explain.heat_maps(model, images)
    inputs = keras.Input((32, 32, 1))
    first = kl.Conv2D(2, 3, padding="same", activation="relu")(inputs)
    branched = kl.Add()([first, kl.Conv2D(2, 3, padding="same", activation="relu")(inputs)])
    branched = keras.Model(inputs, kl.Dense(1, activation="sigmoid")(kl.Flatten()(branched)))
    with pytest.raises((BadInput, ValueError)):
        explain.heat_maps(branched, PICTURES)
    bent = network(kl.Conv2D(2, 3), kl.Flatten(), kl.Dense(1, activation="tanh"))
    with pytest.raises(BadInput, match="no row"):
        explain.heat_maps(bent, PICTURES)


def test_overlay():
    picture = np.full((20, 30), 100, "uint8")
    heat = np.zeros((4, 6))
    heat[1, 1] = 1
    laid = explain.overlay(picture, heat)
    assert laid.shape == (20, 30, 3) and laid.dtype == np.uint8
    assert (laid[-1, -1] == 100).all() and laid[7, 7, 0] > 180 > laid[7, 7, 2]
    assert (explain.overlay(picture[..., None], heat, strength=0) == 100).all()
    for wrong in ({"strength": 1.5}, {"heat": heat * 2}, {"picture": picture / 255}):
        with pytest.raises(BadInput):
            explain.overlay(**({"picture": picture, "heat": heat} | wrong))


def test_score_by_hand():
    heats, masks = np.zeros((3, 2, 2)), np.zeros((3, 2, 2), dtype=bool)
    masks[:, 0, 0] = True
    heats[0] = [[0.5, 0.25], [0.25, 1]]
    heats[1, 0, 0] = 1
    found = explain.score(heats, masks)
    assert found["share"].tolist() == [0.25, 1, 0] and found["pointing"].tolist() == [0, 1, 0]
    with pytest.raises(BadInput, match="lesion in each mask"):
        explain.score(heats, np.zeros_like(masks))


def test_masks_are_those_of_the_images(tmp_path):
    (tmp_path / "masks").mkdir()
    drawn = np.zeros((40, 60), dtype=bool)
    drawn[:20, 30:] = True
    Image.fromarray(drawn).save(tmp_path / "masks" / "a.png")
    Image.fromarray(drawn & False).save(tmp_path / "masks" / "b.png")
    masks = explain.lesion_masks(tmp_path, ["chest_xray/x/a.jpeg", "b.jpeg"], size=8)
    assert masks.dtype == bool and masks.shape == (2, 8, 8) and not masks[1].any()
    assert masks[0, :4, 4:].all() and masks[0].sum() == 16
    with pytest.raises(BadInput, match="built-in sample alone"):
        explain.lesion_masks(tmp_path / "other", ["a.jpeg"], size=8)


def test_blind_maps_and_those_of_others():
    centre, noise = (explain.blind_maps(name, 3, size=33, seed=1) for name in ("centre", "random"))
    assert centre.shape == noise.shape == (3, 33, 33) and noise.min() >= 0 and noise.max() <= 1
    assert np.unravel_index(centre[0].argmax(), (33, 33)) == (16, 16) and (centre[0] == centre[0].T).all()
    assert not np.array_equal(noise[0], noise[1])
    assert np.array_equal(noise, explain.blind_maps("random", 3, size=33, seed=1))
    heats = np.arange(6.0).reshape(6, 1, 1)
    patients = ["a", "a", "b", "b", "b", "c"]
    for seed in range(5):
        whose = [patients[int(value)] for value in explain.of_another(heats, patients, seed=seed).ravel()]
        assert all(own != other for own, other in zip(patients, whose, strict=True))
    with pytest.raises(BadInput, match="one patient"):
        explain.of_another(heats, ["a"] * 6)


def test_means_draw_patients():
    values = pd.DataFrame({"share": np.repeat([0.0, 1.0] * 20, 10)})
    single, grouped = explain.means(values), explain.means(values, np.repeat(np.arange(40), 10))
    assert single.loc["share", "value"] == grouped.loc["share", "value"] == 0.5
    width = {n: t.loc["share", "high"] - t.loc["share", "low"] for n, t in {"one": single, "ten": grouped}.items()}
    assert width["ten"] == pytest.approx(4 * 0.5 / np.sqrt(40), rel=0.15)
    assert width["ten"] / width["one"] == pytest.approx(np.sqrt(10), rel=0.15)


def test_scoreboard_compares_in_pairs():
    model, patch = bright_patch()
    masks = np.repeat(patch[None], 5, axis=0)
    maps = {"ours": explain.heat_maps(model, PICTURES), "middle": explain.blind_maps("centre", 5, size=32)}
    share = explain.scoreboard(maps, masks)["share"]
    assert share.loc["ours", ["less", "less_low", "less_high"]].tolist() == [0, 0, 0]
    middle = share.loc["middle"]
    assert middle["less"] == pytest.approx(share.loc["ours", "value"] - middle["value"])
    assert 0 < middle["less_low"] <= middle["less"] <= middle["less_high"]


def test_randomising_starts_at_the_output_and_spares_the_model():
    model = recipes.get("batchnorm_224").at(image_size=128, width=0.05).build(compiled=False)
    before = [weight.copy() for weight in model.get_weights()]
    held = [layer for layer in model.layers if layer.weights]
    copy = explain.randomised(model, layers=2, seed=3)
    changed = [
        any(not np.array_equal(a, b) for a, b in zip(old.get_weights(), new.get_weights(), strict=True))
        for old, new in zip(held, [layer for layer in copy.layers if layer.weights], strict=True)
    ]
    assert changed == [False] * (len(held) - 2) + [True] * 2
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    again, other = (explain.randomised(model, seed=seed).get_weights() for seed in (3, 4))
    whole = explain.randomised(model, seed=3).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not np.array_equal(whole[0], other[0])


def test_similarity_is_spearmans():
    from scipy.stats import spearmanr

    first, second = RNG.random((2, 4, 6, 6))
    wanted = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert explain.similarity(first, second) == pytest.approx(wanted)
    assert explain.similarity(first, np.zeros((4, 6, 6))).tolist() == [0] * 4
    assert explain.similarity(first, -first) == pytest.approx([-1] * 4)


def test_cascade_forgets():
    model, _ = bright_patch()
    found = explain.cascade(model, PICTURES, seeds=(0, 1))
    assert list(found.index) == ["none", "the last (Dense)", "the last 2, from Conv2D on"]
    assert found.loc["none", "value"] == pytest.approx(1) and found["value"].iloc[1:].abs().max() < 0.6
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()


def test_regions():
    centre, outside, border, inner, corners = (
        shortcuts.region(name, 100) for name in ("centre", "outside", "border", "inner", "upper corners")
    )
    assert centre.sum() == 4900 and (centre ^ outside).all() and not (centre & border).any()
    assert border.sum() == 3600 and (border ^ inner).all() and border[0].all() and not border[50, 50]
    assert corners[0, 0] and corners[0, -1] and not corners[0, 50] and not corners[-1].any()
    shares = shortcuts.heat_shares(np.stack([np.ones((100, 100)), np.zeros((100, 100))]))
    assert shares["centre"].tolist() == [0.49, 0] and shares["border"].tolist() == [0.36, 0]
    spots = np.zeros((3, 100, 100))
    spots[[0, 1, 2], [2, 50, 98], [3, 50, 50]] = 1
    shares = shortcuts.heat_shares(spots)
    assert shares["hottest in border"].tolist() == [1, 0, 1]
    assert shares["hottest in upper corners"].tolist() == [1, 0, 0]


def test_changes_change_what_they_say():
    pixels = RNG.integers(0, 200, (6, 64, 64, 1)).astype("uint8")
    kept, label = pixels.copy(), np.array([0, 0, 1, 1, 1, 0])
    found = {name: change(pixels) for name, change in shortcuts.changes(label, grey=77).items()}
    assert np.array_equal(pixels, kept) and np.array_equal(found["as it is"], pixels)
    assert all(each.dtype == np.uint8 and each.shape == pixels.shape for each in found.values())
    for corner in ("upper left", "lower right"):
        marked = found[f"marker added, {corner}"] != pixels
        half = np.zeros((64, 64), dtype=bool)
        down, right = 32 * ("lower" in corner), 32 * ("right" in corner)
        half[down : down + 32, right : right + 32] = True
        assert not marked[0, ~half].any() and 8 < marked[0].sum() < 100
        assert found[f"marker added, {corner}"][0].max() > 200
    covered = {"central chest covered": "centre", "border covered": "border", "upper corners covered": "upper corners",
               "all but central chest covered": "outside", "all but border covered": "inner"}  # fmt: skip
    for name, part in covered.items():
        inside = shortcuts.region(part, 64)
        assert (found[name][:, inside] == 77).all()
        assert np.array_equal(found[name][:, ~inside], pixels[:, ~inside])
    other = found["surroundings of the other class"]
    centre = shortcuts.region("centre", 64)
    assert np.array_equal(other[:, centre], pixels[:, centre])
    for row, each in enumerate(other):
        (source,) = [i for i in range(6) if np.array_equal(each[~centre], pixels[i, ~centre])]
        assert label[source] != label[row]


def test_shortcuts_finds_the_shortcut():
    """A class told by the upper left corner alone is lost with the corner, and not with the chest."""
    model, corner = bright_patch(size=32, where=(slice(0, 3), slice(0, 3)))
    label = np.tile([0, 1], 20)
    pixels = RNG.integers(60, 120, (40, 32, 32, 1)).astype("uint8")
    pixels[:, corner] = np.where(label, 200, 20)[:, None, None]
    table = pd.DataFrame({"label": label, "patient": [f"p{i // 2}" for i in range(40)]})
    found = shortcuts.measure(model, pixels, table, draws=50)
    for name in ("as it is", "central chest covered", "all but border covered", "marker added, lower right"):
        assert found.loc[name, "value"] == 1, name
    assert found.loc["upper corners covered", "value"] == found.loc["border covered", "value"] == 0.5
    assert found.loc["surroundings of the other class", "value"] == 0
    assert found.loc["surroundings of the other class", "flipped"] == 1 and found.loc["as it is", "moved"] == 0
    whole = shortcuts.judge(model, pixels, table)
    json.dumps(whole)
    assert whole["heat"]["hirescam"]["centre"]["value"] == 0 and whole["heat"]["hirescam"]["without_heat"] == 0
    assert whole["called_pneumonia"] == 20 and set(whole["cascade"]) == set(explain.METHODS)


def test_the_figure_has_a_scale_and_an_outline():
    model, patch = bright_patch()
    pictures = list((PICTURES * 255).astype("uint8"))
    figure = plots.heat_maps(pictures, explain.heat_maps(model, PICTURES), list("abcde"),
                             masks=np.repeat(patch[None], 5, axis=0))  # fmt: skip
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (32, 32, 3) and [ax.get_title() for ax in figure.axes[:5]] == list("abcde")
    assert "heat" in figure.axes[-1].get_ylabel() and figure.axes[0].collections
    assert plots.render(figure).startswith(b"\x89PNG")
    plt.close("all")


def test_jax_gives_the_same_maps(tmp_path):
    pytest.importorskip("jax")
    model = recipes.get("softmax_64").at(width=0.25).build(compiled=False)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pictures.npy", RNG.random((3, 64, 64, 1), dtype="float32"))
    code = (
        "import numpy as np, keras; from cxr_utils import explain, models; "
        "m = models.load_keras('model.keras'); x = np.load('pictures.npy'); "
        "np.savez('found.npz', **{h: explain.heat_maps(m, x, how=h) for h in explain.METHODS}); "
        "print(keras.backend.backend())"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax", "CXR_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == "jax", done.stderr[-2000:]
    with np.load(tmp_path / "found.npz") as found:
        for how in explain.METHODS:
            ours = explain.heat_maps(model, np.load(tmp_path / "pictures.npy"), how=how)
            np.testing.assert_allclose(found[how], ours, atol=1e-3)


@pytest.mark.long
def test_on_the_sample_heat_beats_blind_maps_and_fresh_weights_do_not():
    """What notebook 08 says: of focal lesions HiResCAM knows more than maps that never saw the picture."""
    from cxr_utils import course, dataset, images, sources, splits

    settings = course.profile("sample")
    recipe = recipes.get("plain_224").but(augmentation=None).at(image_size=settings.image_size)
    folder = sources.fetch("sample")
    index = dataset.scan(folder)
    pixels, split = images.cache(index, folder, size=recipe.image_size), splits.grouped(index, seed=0)
    run = training.fit(recipe, pixels, split, run_dir="run", seed=0, epochs=settings.epochs)
    model = run.load_model()
    rows = np.flatnonzero((split["part"] == "test") & (split["kind"] == "bacteria"))
    inputs, patients = pixels[rows].astype("float32") / 255, split["patient"].iloc[rows]
    masks = explain.lesion_masks(folder, split["path"].iloc[rows], size=recipe.image_size)
    maps = {"trained": explain.heat_maps(model, inputs)}
    maps["another"] = explain.of_another(maps["trained"], patients)
    maps["fresh"] = explain.heat_maps(explain.randomised(model), inputs)
    maps |= {name: explain.blind_maps(name, len(rows), size=recipe.image_size) for name in ("centre", "random")}
    board = explain.scoreboard(maps, masks, patients)
    for name in ("another", "fresh", "centre", "random"):
        assert board["share"].loc[name, "less_low"] > 0 and board["pointing"].loc[name, "less_low"] > 0, name
    assert board["share"].loc["fresh", "value"] < board["share"].loc["centre", "value"]
