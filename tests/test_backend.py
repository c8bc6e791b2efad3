"""The fused BatchNormalization against Keras' own."""

import json
import os
import zipfile

import numpy as np
import pandas as pd
import pytest

from cxr_utils import evaluation, recipes, training
from cxr_utils.backend import fused, keras

tf = pytest.importorskip("tensorflow")
pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is TensorFlow's"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras' own
]

SHAPES = [(8, 12, 12, 5), (3, 7, 5, 1), (2, 1, 1, 4)]


def pair(shape, **options):
    """Return Keras' layer and the fused one, with the same weights, none of them at its start."""
    own = keras.layers.BatchNormalization(**options)
    both = [own, fused(keras.layers.BatchNormalization.from_config(own.get_config()))]
    rng = np.random.default_rng(0)
    for layer in both:
        layer.build(shape)
    values = [rng.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in own.get_weights()]
    for layer in both:
        layer.set_weights(values)
    return both


def pictures(shape, seed=1):
    return np.random.default_rng(seed).normal(3, 2, shape).astype("float32")


def steps(layer, shape, number=3):
    """Run some steps of training: outputs, gradients of weights and inputs, and what the layer remembers."""
    found = []
    for seed in range(number):
        inputs = tf.constant(pictures(shape, seed))
        # A sum of squares with fixed weights: the plain sum of normalised values has no gradient.
        factor = tf.constant(pictures(shape, seed + 100))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(factor * tf.square(tf.cast(outputs, "float32")))
        sources = [inputs, *(variable.value for variable in layer.trainable_variables)]
        found += [outputs, *tape.gradient(loss, sources)]
    return [np.asarray(value) for value in [*found, *layer.get_weights()]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.7, "epsilon": 0.01}], ids=str)
def test_training_is_that_of_keras(shape, options):
    own, ours = pair(shape, **options)
    assert type(ours) is not type(own)
    for expected, found in zip(steps(own, shape), steps(ours, shape), strict=True):
        assert expected.dtype == found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * max(1, np.abs(expected).max()))


def test_moving_statistics_are_of_n_not_of_n_minus_1():
    shape = (2, 1, 1, 4)  # two values a channel: n - 1 would double the variance
    own, ours = pair(shape, momentum=0.0)
    inputs = pictures(shape)
    for layer in (own, ours):
        layer(inputs, training=True)
        np.testing.assert_allclose(layer.get_weights()[2], inputs.mean((0, 1, 2)), rtol=1e-5)
        np.testing.assert_allclose(layer.get_weights()[3], inputs.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("frozen", [False, True])
def test_answers_use_the_moving_statistics(frozen):
    own, ours = pair(SHAPES[0])
    inputs = pictures(SHAPES[0])
    for layer in (own, ours):
        layer.trainable = not frozen
    before = ours.get_weights()
    expected, found = (np.asarray(layer(inputs, training=frozen)) for layer in (own, ours))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(before, ours.get_weights(), strict=True))


def test_other_ranks_are_left_to_keras():
    own, ours = pair((16, 6))
    inputs = pictures((16, 6))
    np.testing.assert_array_equal(*(np.asarray(layer(inputs, training=True)) for layer in (own, ours)))


@pytest.mark.skipif("ONEDNN_MAX_CPU_ISA" in os.environ, reason="oneDNN is held to less than TensorFlow sees")
def test_bfloat16_is_near_float32():
    shape = SHAPES[0]
    own, _ = pair(shape)
    _, ours = pair(shape, dtype="mixed_bfloat16")
    outputs = ours(pictures(shape), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    found = np.asarray(tf.cast(outputs, "float32"))
    np.testing.assert_allclose(found, np.asarray(own(pictures(shape), training=True)), atol=0.05)
    assert {weight.dtype for weight in ours.get_weights()} == {np.dtype("float32")}


def test_a_recipe_trains_fused_and_keeps_standard_layers(tmp_path):
    recipe = recipes.get("batchnorm_224").at(image_size=128, width=0.05).but(epochs=1, augmentation=None)
    kinds = {type(layer) for layer in recipe.build().layers if layer.name.startswith("batch_norm")}
    assert kinds and keras.layers.BatchNormalization not in kinds
    label = np.tile([0, 1], 12)
    split = pd.DataFrame({"path": [f"IM-{n:04d}-0001.jpeg" for n in range(24)], "label": label})
    split = split.assign(patient=split["path"], kind="normal", part=np.repeat(["train", "validation"], 12))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 128, 128, 1), dtype="uint8")
    run = training.fit(recipe, pixels, split, run_dir=tmp_path / "run", seed=0)
    model = run.load_model()
    kept = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert kept and all(type(layer) is keras.layers.BatchNormalization for layer in kept)
    with zipfile.ZipFile(tmp_path / "run" / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert all(layer["module"].startswith("keras.") for layer in config["config"]["layers"])
    assert keras.models.load_model(tmp_path / "run" / "model.keras").count_params() == model.count_params()
    assert len(evaluation.predict(model, pixels, split, parts=("validation",))) == 12
