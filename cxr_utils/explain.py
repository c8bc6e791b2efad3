"""Where a network looks: heat maps by Grad-CAM, and the tests that a heat map has to pass before it is believed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from cxr_utils import evaluation, files
from cxr_utils.dataset import CLASSES
from cxr_utils.errors import BadInput, one_of

METHODS = ("hirescam", "gradcam")
#: The colours of heat: part of one of matplotlib's scales, from dark purple to light orange. They get ever lighter, so
#: can be told apart without seeing hue, and even the lightest stands out from the white of a film.
COLOURS = ("inferno", 0.3, 0.8)

_AT_ONCE = 64


def heat_maps(
    model: Any, images: np.ndarray, *, how: str = "hirescam", toward: str = "PNEUMONIA", layer: str | None = None
) -> np.ndarray:
    """Say which places of each image speak for a class.

    The score y is the log-odds of the class, taken before the sigmoid or softmax. With A the maps of the last
    convolution (after its activation), Grad-CAM [1]_ weighs each map by the mean of its gradient, and HiResCAM [2]_
    by the gradient of each place::

        gradcam   relu(sum over maps (mean over places dy/dA) * A)
        hirescam  relu(sum over maps dy/dA * A)

    Where a mean over places follows the convolutions (global average pooling) both are the same. The networks here
    flatten instead: each place has a weight of its own, which the mean throws away.

    Parameters
    ----------
    model : keras.Model
        Of layers in a row, such as each recipe builds.
    images : ndarray
        float32 in [0, 1], shape (n, s, s, 1), with s the model's image size.
    how : {"hirescam", "gradcam"}
        See above.
    toward : {"PNEUMONIA", "NORMAL"}
        The class.
    layer : str, optional
        Name of the layer whose maps are weighed; the last convolution if not given.

    Returns
    -------
    ndarray
        float32 in [0, 1], shape (n, s, s). Each map is divided by its maximum; it is all 0 where no place speaks for
        the class. The map is stretched over the image, so near its edges it is out of place by some pixels.

    Raises
    ------
    BadInput
        An unknown `how`, `toward` or `layer`, images of another size, a model whose layers are no row, or a Keras
        backend other than TensorFlow and JAX.

    References
    ----------
    .. [1] Selvaraju and others, Grad-CAM, ICCV 2017, doi:10.1109/ICCV.2017.74.
    .. [2] Draelos, Carin, Use HiResCAM instead of Grad-CAM for faithful explanations, arXiv:2011.08891, 2020.

    Examples
    --------
    >>> heat_maps(model, pictures).shape
    (4, 32, 32)
    """
    one_of("how", how, METHODS)
    one_of("toward", toward, CLASSES)
    wanted = (*model.input_shape[1:3], 1)
    if np.ndim(images) != 4 or images.shape[1:] != wanted or images.dtype == np.uint8:
        raise BadInput(f"images: {images.dtype}, shape {images.shape}; expected float32 in [0, 1], (n, {wanted[0]}, "
                       f"{wanted[1]}, 1)")  # fmt: skip
    head, tail = _halves(model, layer)
    heats = np.zeros(images.shape[:3], dtype="float32")
    for start in range(0, len(images), _AT_ONCE):
        pictures = np.repeat(images[start : start + _AT_ONCE], model.input_shape[-1], axis=-1).astype("float32")
        maps, gradient = _gradient(head, tail, pictures)
        if start == 0:
            _check_row(model, tail, maps, pictures)
        if how == "gradcam":
            gradient = gradient.mean(axis=(1, 2), keepdims=True)
        found = (gradient * maps).sum(axis=-1) * (1 if toward == "PNEUMONIA" else -1)
        for row, each in enumerate(np.maximum(found, 0), start=start):
            heats[row] = cv2.resize(each, images.shape[2:0:-1], interpolation=cv2.INTER_LINEAR)
    return heats / np.maximum(heats.max(axis=(1, 2), keepdims=True), np.finfo("float32").tiny)


def overlay(picture: np.ndarray, heat: np.ndarray, *, strength: float = 0.75) -> np.ndarray:
    """Lay a heat map over its picture. The more heat, the more of its colour; without heat the picture stays as it is.

    Parameters
    ----------
    picture : ndarray
        uint8, shape (h, w) or (h, w, 1).
    heat : ndarray
        float in [0, 1], of any size: it is stretched over the picture.
    strength : float
        In [0, 1]: how much of the colour at full heat.

    Returns
    -------
    ndarray
        uint8, shape (h, w, 3): red, green, blue. The colours are `COLOURS`.

    Raises
    ------
    BadInput
        Another shape or range.

    Examples
    --------
    >>> overlay(np.zeros((8, 8), "uint8"), np.ones((2, 2))).shape
    (8, 8, 3)
    """
    picture, heat = np.asarray(picture), np.asarray(heat, dtype="float32")
    picture = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
    if picture.ndim != 2 or heat.ndim != 2 or picture.dtype != np.uint8:
        raise BadInput(f"picture and heat: {picture.dtype} {picture.shape} and {heat.shape}; expected uint8 (h, w) and "
                       "float (h, w)")  # fmt: skip
    if not (0 <= strength <= 1 and heat.min() >= 0 and heat.max() <= 1):
        raise BadInput(f"strength {strength}, heat {heat.min()} to {heat.max()}; both must lie in [0, 1]")
    heat = cv2.resize(heat, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    colour, heat = colours(heat) * 255, heat[..., None]
    return np.round(picture[..., None] * (1 - strength * heat) + colour * strength * heat).astype("uint8")


def colours(heat: np.ndarray) -> np.ndarray:
    """Colour heat.

    Parameters
    ----------
    heat : ndarray
        float in [0, 1], shape (h, w).

    Returns
    -------
    ndarray
        float64 in [0, 1], shape (h, w, 3): red, green, blue.

    Examples
    --------
    >>> colours(np.zeros((2, 2))).shape
    (2, 2, 3)
    """
    from matplotlib import colormaps

    scale, first, last = COLOURS
    return colormaps[scale](first + (last - first) * np.asarray(heat))[..., :3]


# --- is it where the lesion is? ------------------------------------------------------------------


def lesion_masks(folder: str | Path, paths: Iterable[str], *, size: int) -> np.ndarray:
    """Read where the lesions of phantoms lie.

    Parameters
    ----------
    folder : str or Path
        Of the sample, from `sources.fetch`.
    paths : iterable of str
        Of the images, as in the index.
    size : int
        Pixels a side. A pixel belongs to the lesion if at least half of it does.

    Returns
    -------
    ndarray
        bool, shape (n, size, size); all False for a NORMAL image.

    Raises
    ------
    BadInput
        There are no masks: only of phantoms it is known where the lesions are.

    Examples
    --------
    >>> lesion_masks(folder, index["path"][:3], size=32).any(axis=(1, 2))
    array([False, False, False])
    """
    from cxr_utils import images

    folder = files.resolve(folder)
    if not (folder / "masks").is_dir():
        raise BadInput(f"{folder / 'masks'}: no such folder; lesions are known of the built-in sample alone")
    shares = [images.resize(images.read(folder / "masks" / f"{Path(path).stem}.png"), size) for path in paths]
    return np.array(shares).reshape(-1, size, size) >= 128


def score(heats: np.ndarray, masks: np.ndarray) -> pd.DataFrame:
    """Score heat maps against masks.

    Parameters
    ----------
    heats : ndarray
        float in [0, 1], shape (n, s, s).
    masks : ndarray
        bool, shape (n, s, s): the lesions.

    Returns
    -------
    DataFrame
        One row an image. ``share``: of the heat, how much lies in the mask [1]_. ``pointing``: 1 if the hottest pixel
        does, else 0 (the pointing game [2]_, without its tolerance). A map without heat gets 0 in both.

    Raises
    ------
    BadInput
        Shapes differ, or a mask is empty.

    References
    ----------
    .. [1] Wang and others, Score-CAM, CVPR workshops 2020, doi:10.1109/CVPRW50498.2020.00020.
    .. [2] Zhang and others, Top-down neural attention by excitation backprop, ECCV 2016.

    Examples
    --------
    >>> score(np.array([[[0, 0.5], [0, 1]]]), np.array([[[False, False], [False, True]]]))
          share  pointing
    0  0.666667       1.0
    """
    if heats.shape != masks.shape or not masks.any(axis=(1, 2)).all():
        raise BadInput(f"heats {heats.shape} and masks {masks.shape}: expected equal shapes, and a lesion in each mask")
    total = heats.sum(axis=(1, 2), dtype="float64")
    hottest = heats.reshape(len(heats), -1).argmax(axis=1)
    inside = masks.reshape(len(masks), -1)[np.arange(len(masks)), hottest]
    share = (heats * masks).sum(axis=(1, 2), dtype="float64") / np.where(total > 0, total, 1)
    return pd.DataFrame({"share": share, "pointing": (inside & (total > 0)).astype(float)})


def blind_maps(name: str, n: int, *, size: int, seed: int = 0) -> np.ndarray:
    """Return maps made without looking at any image, which a heat map has to beat.

    Parameters
    ----------
    name : {"random", "centre"}
        Noise on a grid of 12 x 12, drawn anew for each image; or one bump in the middle, with a standard deviation of
        a quarter of the side.
    n, size : int
        How many, and their pixels a side.
    seed : int
        Of the noise.

    Returns
    -------
    ndarray
        float32 in [0, 1], shape (n, size, size).

    Raises
    ------
    BadInput
        Another `name`.

    Examples
    --------
    >>> blind_maps("centre", 2, size=33)[0].argmax() == 33 * 16 + 16
    np.True_
    """
    one_of("name", name, ("random", "centre"))
    if name == "centre":
        far = (np.arange(size) - (size - 1) / 2) / (size / 4)
        return np.repeat(np.exp(-(far[:, None] ** 2 + far**2) / 2).astype("float32")[None], n, axis=0)
    noise = np.random.default_rng(seed).random((n, 12, 12), dtype="float32")
    return np.array([cv2.resize(each, (size, size), interpolation=cv2.INTER_LINEAR) for each in noise])


def of_another(heats: np.ndarray, patients: Sequence, *, seed: int = 0) -> np.ndarray:
    """Return, for each image, the heat map of an image of another patient.

    What scores no better than these says where lesions mostly are, not where this one is.

    Parameters
    ----------
    heats : ndarray
        float, shape (n, s, s).
    patients : sequence, length n
        Whose image each is; at least two.
    seed : int
        Decides which other.

    Returns
    -------
    ndarray
        As `heats`.

    Raises
    ------
    BadInput
        All are of one patient.

    Examples
    --------
    >>> of_another(np.zeros((2, 3, 3)), ["person1", "person2"]).shape
    (2, 3, 3)
    """
    rng, whose = np.random.default_rng(seed), pd.factorize(np.asarray(patients, dtype="object"))[0]
    if len(set(whose)) < 2:
        raise BadInput("patients: all images are of one patient; expected at least two")
    return heats[[rng.choice(np.flatnonzero(whose != own)) for own in whose]]


def means(table: pd.DataFrame, patients: Sequence | None = None, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Return the mean of each column with a 95% interval, from a bootstrap over patients.

    Parameters
    ----------
    table : DataFrame
        One row an image, numbers only; such as `score` gives, or the difference of two of its tables.
    patients : sequence, optional
        Whose image each row is; images of one patient are drawn together. None, or a missing one: a patient each.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Index: the columns of `table`; value, low, high.

    Examples
    --------
    >>> means(pd.DataFrame({"share": [0.5, 0.5]}), draws=10)
           value  low  high
    share    0.5  0.5   0.5
    """
    group = evaluation.groups([None] * len(table) if patients is None else patients)
    number, values = np.bincount(group), table.to_numpy(dtype="float64")
    sums = np.array([np.bincount(group, weights=column) for column in values.T])
    counts = evaluation.draw_groups(len(number), draws, np.random.default_rng(seed))
    drawn = (counts @ sums.T) / (counts @ number)[:, None]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return pd.DataFrame({"value": values.mean(axis=0), "low": low, "high": high}, index=table.columns)


def scoreboard(
    maps: Mapping[str, np.ndarray], masks: np.ndarray, patients: Sequence | None = None, *, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Score several maps of the same images, and compare them in pairs with the first.

    Parameters
    ----------
    maps : mapping of str to ndarray
        As for `score`.
    masks, patients, seed
        As for `score` and `means`.

    Returns
    -------
    dict of str to DataFrame
        ``share`` and ``pointing``. Index: the maps. ``value``, ``low``, ``high``: mean and 95% interval; ``less``,
        ``less_low``, ``less_high``: by how much it is less than the first, from differences image by image.

    Examples
    --------
    >>> maps = {name: blind_maps(name, 3, size=9) for name in ("random", "centre")}
    >>> board = scoreboard(maps, np.ones((3, 9, 9), bool))
    >>> board["pointing"]["value"].tolist()
    [1.0, 1.0]
    """
    scores = {name: score(heats, masks) for name, heats in maps.items()}
    first = next(iter(scores.values()))
    own = {name: means(each, patients, seed=seed) for name, each in scores.items()}
    less = {name: means(first - each, patients, seed=seed) for name, each in scores.items()}
    columns = {"value": "less", "low": "less_low", "high": "less_high"}
    rows = {name: own[name].join(less[name].rename(columns=columns)) for name in maps}
    return {measure: pd.DataFrame({name: row.loc[measure] for name, row in rows.items()}).T for measure in first}


# --- does it depend on what was learned? ---------------------------------------------------------


def randomised(model: Any, *, layers: int | None = None, seed: int = 0) -> Any:
    """Return a copy of a model whose last layers have forgotten what they learned.

    Parameters
    ----------
    model : keras.Model
        It stays as it is.
    layers : int, optional
        How many layers with weights, from the output on, get fresh ones, as at the start of a training; all if not
        given.
    seed : int
        Of the fresh weights.

    Returns
    -------
    keras.Model
        Not trained, or only its first layers.

    References
    ----------
    Adebayo and others, Sanity checks for saliency maps, NeurIPS 2018, arXiv:1810.03292.

    Examples
    --------
    >>> randomised(model, layers=1).count_params() == model.count_params()
    True
    """
    from cxr_utils.backend import keras

    keras.utils.set_random_seed(seed)
    fresh = keras.models.clone_model(model)
    learned = [(old, new) for old, new in zip(model.layers, fresh.layers, strict=True) if old.weights]
    kept = learned[: len(learned) - layers] if layers is not None else []
    for old, new in kept:
        new.set_weights(old.get_weights())
    return fresh


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how alike two heat maps of the same image are: Spearman's rank correlation over the pixels.

    Parameters
    ----------
    first, second : ndarray
        float, shape (n, s, s).

    Returns
    -------
    ndarray
        float64 in [-1, 1], shape (n,): 1 the same order of heat, 0 nothing in common; 0 also where a map is flat.

    Examples
    --------
    >>> similarity(np.array([[[0, 1], [2, 3]]]), np.array([[[0, 2], [4, 9]]]))
    array([1.])
    """
    from scipy.stats import rankdata

    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return (centred[0] * centred[1]).sum(axis=1) / np.where(spread > 0, spread, 1)


def cascade(model: Any, images: np.ndarray, *, seeds: Sequence[int] = (0, 1, 2), **options: Any) -> pd.DataFrame:
    """Randomise a model from its output on, a layer more each time, and see what is left of its heat maps.

    Parameters
    ----------
    model : keras.Model
        A trained one.
    images : ndarray
        As for `heat_maps`.
    seeds : sequence of int
        Each draws fresh weights.
    **options
        Of `heat_maps`.

    Returns
    -------
    DataFrame
        Index: how many layers with weights are fresh, and the kind of the last of them ("none" first). ``value``: the
        similarity to the maps of the trained model, mean over images and seeds; ``low`` and ``high``: the least and
        the greatest mean of a seed.

    Examples
    --------
    >>> cascade(model, pictures, seeds=(0,)).loc["none", "value"]
    np.float64(1.0)
    """
    trained = heat_maps(model, images, **options)
    kinds = [type(layer).__name__ for layer in reversed(model.layers) if layer.weights]
    rows = {"none": [similarity(trained, trained).mean()]}
    for number, kind in enumerate(kinds, start=1):
        name = f"the last {number}, from {kind} on" if number > 1 else f"the last ({kind})"
        copies = (randomised(model, layers=number, seed=seed) for seed in seeds)
        rows[name] = [similarity(trained, heat_maps(copy, images, **options)).mean() for copy in copies]
    return pd.DataFrame({name: {"value": np.mean(v), "low": min(v), "high": max(v)} for name, v in rows.items()}).T


# --- inside ---------------------------------------------------------------------------------------


def _halves(model: Any, name: str | None) -> tuple[Callable, Callable]:
    """Cut a model behind a convolution: images → its maps, and its maps → log-odds of PNEUMONIA."""
    from cxr_utils.backend import keras

    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    kinds = keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, kinds)]
    chosen = [i for i in range(len(layers)) if layers[i].name == name] if name else convolutions[-1:]
    last = layers[-1]
    if not chosen or chosen[0] == len(layers) - 1 or len(layers[chosen[0]].output.shape) != 4:
        known = ", ".join(layers[i].name for i in convolutions) or "none"
        raise BadInput(f"layer: {name!r}; expected a layer with maps, such as a convolution; there are {known}")
    cut = chosen[0] + 1

    def through(part, values):
        for layer in part:
            values = layer(values, training=False)
        return values

    def tail(maps):
        values = through(layers[cut:-1], maps)
        if isinstance(last, keras.layers.Dense):  # its sum, before sigmoid or softmax bends it
            values = keras.ops.matmul(values, last.kernel)
            values = values + last.bias if last.use_bias else values
        return values[:, -1] if values.shape[-1] == 1 else values[:, 1] - values[:, 0]

    return lambda pictures: through(layers[:cut], pictures), tail


def _gradient(head: Callable, tail: Callable, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps, and the gradient of the log-odds in them: the one place where the backends differ."""
    from cxr_utils.backend import keras

    backend = keras.backend.backend()
    maps = head(pictures)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = keras.ops.sum(tail(maps))
        gradient = tape.gradient(total, maps)
    elif backend == "jax":
        import jax

        gradient = jax.grad(lambda values: tail(values).sum())(maps)
    else:
        raise BadInput(f"KERAS_BACKEND={backend!r}: heat maps need tensorflow or jax")
    return keras.ops.convert_to_numpy(maps), keras.ops.convert_to_numpy(gradient)


def _check_row(model: Any, tail: Callable, maps: np.ndarray, pictures: np.ndarray) -> None:
    """See that the layers one after the other give what the model gives."""
    from scipy.special import expit

    from cxr_utils.backend import keras

    log_odds = keras.ops.convert_to_numpy(tail(maps)).astype("float64")
    answers = keras.ops.convert_to_numpy(model(pictures, training=False))[:, -1]
    if not np.allclose(expit(log_odds), answers, atol=1e-4):
        raise BadInput(f"model {model.name}: its layers are no row that ends with sigmoid or softmax")
