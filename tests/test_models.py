"""Models of ours open again; models with code, other operators or other shapes don't."""

import functools
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import augment, evaluation, models, recipes, training
from cxr_utils.errors import BadInput

SIZE = 16
PICTURES = np.random.default_rng(0).random((5, SIZE, SIZE, 1), dtype=np.float32)


def network(*middle, size=SIZE, channels=1, units=1):
    from cxr_utils.backend import keras

    layers = [keras.layers.Conv2D(4, 3), *middle, keras.layers.GlobalAveragePooling2D()]
    end = keras.layers.Dense(units, activation="softmax" if units > 1 else "sigmoid")
    return keras.Sequential([keras.Input((size, size, channels)), *layers, end])


def saved(path, model):
    model.save(path)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(("channels", "units"), [(1, 1), (3, 2)])
def test_saved_models_answer_as_before(tmp_path, suffix, channels, units):
    model = network(channels=channels, units=units)
    loaded = models.load(saved(tmp_path / f"m{suffix}", model))
    assert (loaded.image_size, loaded.channels) == (SIZE, channels)
    expected = np.asarray(model(np.repeat(PICTURES, channels, axis=-1), training=False))[:, -1]
    answer = loaded.answer(PICTURES)
    assert answer.shape == (5,) and answer.dtype == np.float64 and np.abs(answer - expected).max() < 1e-6
    with pytest.raises(BadInput, match=r"images: shape \(5, 8, 16, 1\)"):
        loaded.answer(PICTURES[:, ::2])


def test_views_are_averaged_as_log_odds(tmp_path):
    loaded = models.load(saved(tmp_path / "m.keras", network()))
    each = np.array([loaded.answer(view) for view in augment.views(PICTURES, 3)])
    odds = np.exp(np.log(each / (1 - each)).mean(axis=0))
    assert len(each) == 4 and np.ptp(each, axis=0).min() > 0
    np.testing.assert_allclose(loaded.answer(PICTURES, views=3), odds / (1 + odds), atol=1e-9)
    np.testing.assert_allclose(models.mean_answer([np.array([0.0, 1]), np.array([1.0, 1])]), [0.5, 1], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(images_=st.integers(1, 70), channels=st.sampled_from([1, 3]), units=st.integers(1, 2), views=st.integers(0, 2),
       seed=st.integers(0, 9))  # fmt: skip
def test_answers_are_those_of_a_plain_loop(images_, channels, units, views, seed):
    rng, model = np.random.default_rng(seed), forward(channels, units)
    pixels = rng.integers(0, 256, (images_, SIZE, SIZE, 1), dtype="uint8")
    rows = rng.permutation(images_)[: 1 + images_ // 2]
    expected = []
    for start in range(0, len(rows), 64):
        answers = []
        for view in augment.views(pixels[rows[start : start + 64]].astype("float32") / 255, views):
            colour = np.concatenate([view] * channels, axis=-1)
            answers.append(np.asarray(model(colour, training=False))[:, units - 1])
        expected.append(models.mean_answer(answers))
    found = models.answers(model, pixels, rows, views=views)
    assert found.dtype == np.float64 and np.array_equal(found, np.concatenate(expected))
    split = pd.DataFrame({"path": np.arange(images_).astype(str), "patient": "p", "label": 1, "kind": "virus",
                          "part": np.where(np.isin(np.arange(images_), rows), "test", "train")})  # fmt: skip
    table = evaluation.predict(model, pixels, split, parts=("test",), views=views).set_index("path")
    in_order = models.answers(model, pixels, np.sort(rows), views=views)
    assert np.array_equal(table.loc[np.sort(rows).astype(str), "probability"], in_order)


@functools.cache
def forward(channels, units):
    return network(channels=channels, units=units)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_known_layers_only(name):
    recipe = recipes.get(name).at(width=0.125)
    models._check_layers(json.loads(recipe.build(compiled=False).to_json()))


def test_the_model_of_a_run_folder(tmp_path):
    saved(tmp_path / "model.keras", network())
    assert models.load(tmp_path).path == tmp_path / "model.keras"
    assert training.Run(tmp_path).load_model().input_shape == (None, SIZE, SIZE, 1)


def with_config(path, change):
    """Rewrite the description inside a .keras file."""
    with zipfile.ZipFile(path) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    content["config.json"] = change(content["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as opened:
        for name, each in content.items():
            opened.writestr(name, each)
    return path


def lambda_model(path):
    from cxr_utils.backend import keras

    return saved(path, network(keras.layers.Lambda(lambda x: x + 1)))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def weights_only(path):
    network().save_weights(path.with_suffix(".weights.h5"))
    return path.with_suffix(".weights.h5").rename(path)


REFUSED = {
    "lambda.keras": (lambda_model, "refused, it has a Lambda layer, which holds code"),
    "lambda.h5": (lambda_model, "refused, it has a Lambda layer, which holds code"),
    "oblong.keras": (
        lambda p: with_config(saved(p, network()), lambda c: c.replace("16, 16, 1", "16, 24, 1")),
        r"refused, it takes \(None, 16, 24, 1\); expected square",
    ),
    "five.keras": (lambda p: saved(p, network(channels=5)), "expected any number of images with 1 or 3 channels"),
    "classes.keras": (lambda p: saved(p, network(units=14)), r"refused, it gives \(None, 14\)"),
    "other.keras": (
        lambda p: with_config(saved(p, network()), lambda c: c.replace("GlobalAveragePooling2D", "StringLookup")),
        "refused, 'StringLookup' in it is none of the layers",
    ),
    "module.keras": (
        lambda p: with_config(saved(p, network()), lambda c: c.replace('"keras.layers"', '"os"')),
        "refused, '.*' in it is none of the layers",
    ),
    "function.keras": (
        lambda p: with_config(
            saved(p, network()),
            lambda c: c.replace('"sigmoid"', '{"module": "os", "class_name": "function", "config": "system"}'),
        ),
        "refused, 'function' in it is none of the layers",
    ),
    "weights.h5": (weights_only, "it holds weights without their network"),
    "cut.keras": (lambda p: cut(saved(p, network())), "can't be read as a Keras model"),
    "cut.h5": (lambda p: cut(saved(p, network())), "can't be read as a Keras model"),
    "empty.keras": (lambda p: p.write_bytes(b"") and p or p, "can't be read as a Keras model"),
    "text.h5": (lambda p: p.write_text("hello") and p, "can't be read as a Keras model"),
    "text.onnx": (lambda p: p.write_text("hello") and p, "can't be read as an ONNX model"),
    "empty.onnx": (lambda p: p.write_bytes(b"") and p or p, "can't be read as an ONNX model|refused"),
    "gone.keras": (lambda p: p, "there is no such file"),
    "gone.onnx": (lambda p: p, "there is no such file"),
    "model.pkl": (lambda p: p.write_bytes(b"\x80\x04.") and p, r"ends in .keras, .h5, .hdf5, .onnx"),
    "folder": (lambda p: p.mkdir() or p, r"no model in this folder"),
}


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_with_the_reason(tmp_path, name):
    make, reason = REFUSED[name]
    path = make(tmp_path / name)
    with pytest.raises(BadInput, match=reason) as caught:
        models.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def onnx_model(*, nodes=None, takes=("n", SIZE, SIZE, 1), gives=("n", 1), elem=1, domain=None, external=False):
    """Write a mean over the picture, and a sigmoid, as ONNX."""
    from onnx import TensorProto, helper

    axes = helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, gives[1]])
    if external:
        axes.ClearField("int64_data")
        axes.data_location = TensorProto.EXTERNAL
        entry = axes.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    nodes = nodes or [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sigmoid", ["mean"], ["p"], domain=domain or ""),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", elem, takes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, gives)],
        [axes, shape],
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def test_onnx_answers(tmp_path):
    (tmp_path / "m.onnx").write_bytes(onnx_model().SerializeToString())
    model = models.load(tmp_path / "m.onnx")
    assert (model.image_size, model.channels) == (SIZE, 1)
    assert np.allclose(model.answer(PICTURES), 1 / (1 + np.exp(-PICTURES.mean(axis=(1, 2, 3)))), atol=1e-6)


def in_a_branch():
    """Hide the other operator in the branch of an If."""
    from onnx import TensorProto, helper

    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 1))
    branch = helper.make_graph([helper.make_node("Evil", ["x"], ["y"], domain="evil")], "b", [], [out])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    return onnx_model(nodes=[yes, helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)])


def external_in_a_branch():
    from onnx import TensorProto, helper

    hidden = helper.make_tensor("w", TensorProto.FLOAT, [1, 1], [0.5])
    hidden.ClearField("float_data")
    hidden.data_location = TensorProto.EXTERNAL
    out = helper.make_tensor_value_info("w", TensorProto.FLOAT, (1, 1))
    branch = helper.make_graph([], "b", [], [out], [hidden])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    return onnx_model(nodes=[yes, helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)])


def with_functions():
    from onnx import helper

    model = onnx_model()
    model.functions.append(
        helper.make_function("ai.onnx.ml", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
                             [helper.make_opsetid("", 18)])
    )  # fmt: skip
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: onnx_model(domain="com.microsoft"), "operators of 'com.microsoft'"),
        (in_a_branch, "operators of 'evil'"),
        (with_functions, "functions of its own"),
        (lambda: onnx_model(external=True), "its weights lie in another file"),
        (external_in_a_branch, "its weights lie in another file"),
        (lambda: onnx_model(takes=("n", 1, SIZE, SIZE)), r"it takes \(None, 1, 16, 16\); expected square"),
        (lambda: onnx_model(takes=(1, SIZE, SIZE, 1)), "expected any number of images"),
        (lambda: onnx_model(takes=("n", "h", "h", 1)), "expected square"),
        (lambda: onnx_model(gives=("n", 7)), r"it gives \(None, 7\)"),
        (lambda: onnx_model(elem=2), "'x' of it is no array of 32-bit floats"),
    ],
)
def test_onnx_of_other_kinds_is_refused(tmp_path, make, reason):
    path = tmp_path / "m.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(BadInput, match=f"m.onnx: refused, .*{reason}"):
        models.load(path)


def test_answers_that_are_no_probabilities_are_refused(tmp_path):
    from cxr_utils.backend import keras

    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.set_weights([np.ones((SIZE * SIZE, 1)), np.ones(1)])
    with pytest.raises(BadInput, match="m.keras: its answers are no probabilities.*--logits"):
        models.load(saved(tmp_path / "m.keras", model)).answer(PICTURES)
    said = models.load(tmp_path / "m.keras", meaning=models.Meaning(logits=True)).answer(PICTURES)
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-1 - PICTURES.sum(axis=(1, 2, 3)))), atol=1e-6)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"seed": NaN}'])
def test_a_run_whose_record_is_broken_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(BadInput, match="run.json"):
        training.load(tmp_path)


# What a model takes and gives


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ((None, None), models.Meaning()),
        (("normal, pneumonia", "0..1"), models.Meaning(pixels=(0, 1))),
        (("PNEUMONIA,NORMAL", "0..255"), models.Meaning(("PNEUMONIA", "NORMAL"), (0, 255))),
        ((None, "-1..1", True), models.Meaning(pixels=(-1, 1), logits=True)),
        (("NORMAL", None), "--classes NORMAL: must be NORMAL,PNEUMONIA or"),
        (("", None), "--classes : must be"),
        (("NORMAL,PNEUMONIA,COVID", None), "--classes NORMAL,PNEUMONIA,COVID: must be"),
        *(((None, wrong), f"--pixels {wrong}: must be black and white") for wrong in
          ("255", "0-255", "255..0", "0..0", "nan..1", "0..inf", "a..b", "0..1..2", "")),
    ],
)  # fmt: skip
def test_what_is_said_of_a_model_is_read_or_refused(options, wanted):
    if isinstance(wanted, models.Meaning):
        assert models.Meaning.parse(*options) == wanted
        return
    with pytest.raises(BadInput) as caught:
        models.Meaning.parse(*options)
    assert str(caught.value).startswith(wanted)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5), st.sampled_from([(0, 1), (0, 255), (-1, 1)]))
def test_each_way_to_give_a_probability_means_the_same(logits, pixels):
    z = np.array(logits)[:, None]
    p, back = 1 / (1 + np.exp(-z)), ("PNEUMONIA", "NORMAL")
    same = [models.Meaning().gives(p), models.Meaning().gives(np.hstack([1 - p, p])),
            models.Meaning(back).gives(1 - p), models.Meaning(back).gives(np.hstack([p, 1 - p])),
            models.Meaning(logits=True).gives(z), models.Meaning(logits=True).gives(np.hstack([5 - z, 5 + 0 * z])),
            models.Meaning(back, logits=True).gives(-z)]  # fmt: skip
    for found in same:
        assert found.shape == (len(logits),) and found.dtype == np.float64
        np.testing.assert_allclose(found, p[:, 0], atol=1e-9)
    taken = models.Meaning(pixels=pixels).takes(np.array([0, 0.5, 1], np.float32))
    assert taken.dtype == np.float32 and taken.tolist() == [pixels[0], sum(pixels) / 2, pixels[1]]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("scale", "pixels"), [(1 / 255, (0, 255)), (2.0, (0, 1)), (None, (0, 1))])
def test_a_keras_model_that_rescales_gets_pixels_up_to_255(tmp_path, scale, pixels, nested):
    from cxr_utils.backend import keras

    inside, begin = network(), [keras.layers.Rescaling(scale)] if scale else []
    begin = [keras.Sequential([keras.Input((SIZE, SIZE, 1)), *begin])] if nested and begin else begin
    whole = keras.Sequential([keras.Input((SIZE, SIZE, 1)), *begin, *inside.layers])
    model = models.load(saved(tmp_path / "m.keras", whole))
    assert model.meaning.pixels == pixels
    if scale != 2.0:
        wanted = np.asarray(inside(PICTURES * 255 * (scale or 1 / 255)))[:, -1]
        np.testing.assert_allclose(model.answer(PICTURES), wanted, atol=1e-5)
    assert models.load(tmp_path / "m.keras", meaning=models.Meaning(pixels=(0, 1))).meaning.pixels == (0, 1)


def test_it_is_asked_whether_figures_can_be_meant():
    usual, back = models.Meaning(), models.Meaning(("PNEUMONIA", "NORMAL"), (0, 255), logits=True)
    assert usual.doubts(auc={"high": 0.5}) == usual.doubts(auc={"high": None}) == usual.doubts([0.9] * 9) == []
    assert usual.doubts([0.9] * 50 + [0.4]) == []
    for auc in ({"high": 0.49}, {"high": 0.01}):
        assert usual.doubts(auc=auc)[0].endswith("of NORMAL? Then add --classes PNEUMONIA,NORMAL")
        assert back.doubts(auc=auc)[0].endswith("of PNEUMONIA? Then add --classes NORMAL,PNEUMONIA")
    assert "all 10 answers lie at or above the threshold 0.500" in usual.doubts([0.5] * 10)[0]
    (one,) = back.doubts([0.1] * 12, 0.2)
    assert "all 12 answers lie below the threshold 0.200" in one and "--pixels 0..1;" in one and "--logits" in one
