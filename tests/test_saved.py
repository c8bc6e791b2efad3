"""Models cross Keras' versions: what is saved here opens in older ones, what older ones saved opens here."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cxr_utils import _saved, models, recipes
from cxr_utils.backend import keras
from cxr_utils.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
SHIPPED = Path(__file__).parents[1] / "results" / "models" / "reference.keras"
REFUSED_BY_3_8 = {
    "input_axes", "output_axes", "quantization_config", "lora_alpha", "renorm", "renorm_clipping", "renorm_momentum",
    "antialias", "ragged",
}  # fmt: skip


def options(item):
    if isinstance(item, dict):
        yield from item
    for inner in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from options(inner)


def rich():
    """Build a network with all that versions disagree on."""
    layers = [
        keras.layers.Conv2D(4, 3, kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.BatchNormalization(),
        keras.layers.LeakyReLU(),
        keras.layers.DepthwiseConv2D(3),
        keras.layers.SeparableConv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2, activation="softmax"),
    ]
    inputs = outputs = keras.Input((16, 16, 1))
    for layer in layers:
        outputs = layer(outputs)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.get_weights()])
    return model


def nested():
    """Build a network in a network, as people do on top of one that was trained before."""
    return keras.Sequential([keras.Input((16, 16, 1)), rich(), keras.layers.Dense(1, activation="sigmoid")])


def answers(model):
    pictures = np.random.default_rng(0).random((4, 16, 16, 1), dtype="float32")
    return np.asarray(model(pictures, training=False))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("make", [rich, nested])
def test_what_is_saved_has_no_option_that_keras_3_8_refuses(tmp_path, make, suffix):
    path, model = tmp_path / f"m{suffix}", make()
    model.save(path)
    plain = set(options(_saved.config(path)))
    _saved.save(model, path)
    assert not REFUSED_BY_3_8 & set(options(_saved.config(path)))
    assert plain & REFUSED_BY_3_8 or keras.__version__ < "3.15"  # there was something to leave out
    np.testing.assert_array_equal(answers(models.load_keras(path)), answers(model))
    np.testing.assert_array_equal(answers(keras.models.load_model(path, compile=False)), answers(model))


@pytest.mark.parametrize("name", recipes.names())
def test_no_recipe_needs_a_new_keras(name):
    model = recipes.get(name).at(width=0.125).build(compiled=False)
    described = _saved.portable({"class_name": type(model).__name__, "config": json.loads(model.to_json())})
    assert not REFUSED_BY_3_8 & set(options(described))


def test_the_shipped_model_and_those_of_runs_are_saved_so(trained):
    for path in (SHIPPED, *trained.glob("*/model.keras"), *trained.glob("out-*/m.keras"), *trained.glob("out-*/m.h5")):
        assert not REFUSED_BY_3_8 & set(options(_saved.config(path))), path


def test_an_option_that_was_chosen_stays():
    chosen = {"class_name": "HeNormal", "config": {"seed": None, "input_axes": [0]}}
    assert _saved.portable(chosen) == chosen


def as_keras_2(described, *, first=False, old=False, modules=False):
    """Rewrite a description of layers as Keras 2 wrote it: the way back of `saved.readable`."""

    def changed(item):
        if isinstance(item, list):
            return [changed(one) for one in item]
        if not isinstance(item, dict):
            return item
        item = {key: changed(value) for key, value in item.items()}
        if "class_name" not in item:
            return item
        inside = item.get("config")
        if item["class_name"] == "DTypePolicy":
            return inside["name"] if old else {"class_name": "Policy", "config": inside}
        for key in ("build_config",) if modules else ("module", "registered_name", "build_config"):
            item.pop(key, None)
        for name in REFUSED_BY_3_8 & set(inside):
            del inside[name]
        if item["class_name"] == "InputLayer":
            inside["batch_input_shape"] = inside.pop("batch_shape")
            inside |= {"sparse": False, "ragged": False}
        if item["class_name"] == "Functional" and old:
            item["class_name"] = "Model"
        if item["class_name"] == "BatchNormalization" and not old:
            inside["axis"] = [3]
        if item["class_name"] in ("DepthwiseConv2D", "SeparableConv2D"):
            inside["groups"] = 1
        if item["class_name"] == "SeparableConv2D":
            inside |= {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
                       "kernel_regularizer": None, "kernel_constraint": None}  # fmt: skip
        if item["class_name"] in ("HeNormal", "GlorotUniform", "Zeros"):
            inside["dtype"] = "float32"
        if item["class_name"] == "Sequential" and first:
            begin, follows = inside["layers"][:2]
            follows["config"]["batch_input_shape"] = begin["config"]["batch_input_shape"]
            del inside["layers"][0], inside["build_input_shape"]
        if item["class_name"] == "Sequential" and old:
            item["config"] = inside["layers"]
        return item

    return changed(described)


def plain_nodes(described):
    """Write the connections as Keras 2 did: [[["layer", 0, 0, {}]]] in place of arguments."""
    if isinstance(described, list):
        return [plain_nodes(one) for one in described]
    if not isinstance(described, dict):
        return described
    described = {key: plain_nodes(value) for key, value in described.items()}
    for node in described.get("inbound_nodes", []):
        if isinstance(node, dict):
            history = node["args"][0]["config"]["keras_history"]
            described["inbound_nodes"] = [[[*history, {}]]]
    for key in ("input_layers", "output_layers"):
        if key in described and isinstance(described[key][0], str):
            described[key] = [described[key]]
    return described


@pytest.mark.parametrize("make", [rich, nested])
@pytest.mark.parametrize("old", [False, True])
def test_keras_2_as_h5(tmp_path, make, old):
    import h5py

    model, path = make(), tmp_path / "m.h5"
    model.save(path)
    _saved.rewrite(path, as_keras_2(plain_nodes(_saved.config(path)), old=old))
    with h5py.File(path, "r+") as opened:
        opened.attrs["keras_version"] = "2.2.4-tf"
    before = path.read_bytes()
    np.testing.assert_allclose(answers(models.load_keras(path)), answers(model), rtol=1e-6)
    assert path.read_bytes() == before  # it is another's file


@pytest.mark.parametrize(("suffix", "old"), [(".h5", False), (".hdf5", True), (".H5", True), (".keras", False)])
def test_a_first_layer_that_carries_the_shape(tmp_path, suffix, old):
    layers = [keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    model, path = keras.Sequential([keras.Input((16, 16, 1)), *layers]), tmp_path / f"m{suffix.lower()}"
    model.save(path)
    described = as_keras_2(_saved.config(path), first=True, old=old, modules=suffix == ".keras")
    _saved.rewrite(path, described)
    path = path.rename(tmp_path / f"m{suffix}")
    np.testing.assert_allclose(answers(models.load_keras(path)), answers(model), rtol=1e-6)


def test_a_later_keras_is_read_where_its_options_say_nothing(tmp_path):
    def later(item):
        if isinstance(item, dict):
            new = {"shape_of_water": None, "quantum": False} if "name" in item and "trainable" in item else {}
            return {key: later(value) for key, value in item.items()} | new
        return [later(one) for one in item] if isinstance(item, list) else item

    model, path = rich(), tmp_path / "m.keras"
    model.save(path)
    _saved.rewrite(path, later(_saved.config(path)))
    np.testing.assert_array_equal(answers(models.load_keras(path)), answers(model))


@pytest.mark.parametrize(
    ("version", "way_out"),
    [("2.2.4", "open it with tf_keras or TensorFlow 2.15"), ("3.99.0", "open it with Keras 3.99.0")],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_else_the_end_of_keras_message_and_the_way_out(tmp_path, suffix, version, way_out):
    path = tmp_path / f"m{suffix}"
    rich().save(path)
    described = _saved.config(path)
    described["config"]["layers"][1]["config"]["flux_capacitor"] = 88
    _saved.rewrite(path, described)
    if suffix == ".h5":
        import h5py

        with h5py.File(path, "r+") as opened:
            opened.attrs["keras_version"] = version
    else:
        with zipfile.ZipFile(path) as old:
            content = {name: old.read(name) for name in old.namelist()}
        content["metadata.json"] = json.dumps({"keras_version": version})
        with zipfile.ZipFile(path, "w") as new:
            for name, each in content.items():
                new.writestr(name, each)
    with pytest.raises(BadInput) as caught:
        models.load_keras(path)
    said = str(caught.value)
    for words in ("flux_capacitor", f"saved by Keras {version}", way_out, ".onnx", str(path)):
        assert words in said
    assert "\n" not in said and len(said) < 600 and "config={" not in said
