"""Augmentation of training images, and the views of an image whose answers are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import cv2
import numpy as np

from cxr_utils.errors import BadInput

_LATER = ("coarse", "blur", "noise")  # than the first runs that are kept: their records and draws stay
_LAST = ("histogram", "surround", "void")  # than `reference`: the same


@dataclass(frozen=True)
class Augmentation:
    """How far images are changed at random while training; all 0 and False changes nothing.

    The first six mean what they mean in Keras' ``ImageDataGenerator``; edges are filled with the nearest
    pixel. The others are ours.

    Attributes
    ----------
    rotation : float
        Largest rotation to either side, degrees.
    width_shift, height_shift : float
        Largest shift to either side, as a fraction of the width or height.
    shear : float
        Largest shear angle to either side, degrees.
    zoom : float
        Each axis is zoomed by a factor of its own in [1 - zoom, 1 + zoom]; above 1 shows more around.
    horizontal_flip : bool
        Mirror every second image (by chance). It mirrors the heart too.
    brightness : float
        Largest amount that is added, as a fraction of the full range.
    contrast : float
        Differences from the image's mean are multiplied by a factor in [1 - contrast, 1 + contrast].
    gamma : float
        Pixels are raised to a power in [1 / (1 + gamma), 1 + gamma].
    coarse : float
        Every second image (by chance) is shrunk to a share in [1 - coarse, 1] of its width, and to another of its
        height, and enlarged again: the resolution and the proportions of the original leave no trace.
    blur : float
        Every second image (by chance) is blurred by a Gaussian of a standard deviation up to this, pixels.
    noise : float
        Largest standard deviation of the noise that is added, as a fraction of the full range.
    histogram : float
        Share of images that get the histogram of another one of the batch, whatever its class.
    surround : float
        Share of images whose surroundings of the chest are those of another one of the batch, whatever its class.
    void : float
        Share of images whose chest `hide_chests` covers in training; their label is then one half.

    Raises
    ------
    BadInput
        A value is outside of its range: rotation up to 180, shear below 90, blur below 10, all others below 1.

    Examples
    --------
    >>> Augmentation(rotation=10, zoom=.1).shear
    0.0
    """

    rotation: float = 0.0
    width_shift: float = 0.0
    height_shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    horizontal_flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    coarse: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    histogram: float = 0.0
    surround: float = 0.0
    void: float = 0.0

    def __post_init__(self):
        """Check the ranges."""
        below = {"rotation": 180.001, "shear": 90, "blur": 10}
        for each in fields(self):
            value, limit = getattr(self, each.name), below.get(each.name, 1)
            if each.name != "horizontal_flip" and not 0 <= value < limit:
                raise BadInput(f"{each.name}: {value!r}; expected a number from 0 to below {limit:.0f}")

    def settings(self) -> dict[str, float | bool]:
        """Gather what decides the changes, ready for JSON; what came later stands in it only where it is used.

        Returns
        -------
        dict
            Attribute to value.

        Examples
        --------
        >>> Augmentation(rotation=10).settings()["rotation"]
        10
        """
        return {name: value for name, value in asdict(self).items() if value or name not in _LATER + _LAST}


def augment(images: np.ndarray, augmentation: Augmentation, *, rng: np.random.Generator) -> np.ndarray:
    """Change images at random, each in its own way.

    Every image takes the same number of draws from `rng` whatever is switched on, so that two settings
    can be compared on the same draws; but `_LATER` and `_LAST` draw only where one of them is.

    Parameters
    ----------
    images : ndarray
        float32 in [0, 1], shape (n, h, w, 1).
    augmentation : Augmentation
        How far.
    rng : Generator
        The only source of chance.

    Returns
    -------
    ndarray
        float32 in [0, 1], shape (n, h, w, 1); a new array.

    Raises
    ------
    BadInput
        `images` is not float32 of that shape.

    Examples
    --------
    >>> few = np.zeros((2, 8, 8, 1), np.float32)
    >>> augment(few, Augmentation(rotation=5), rng=np.random.default_rng(0)).shape
    (2, 8, 8, 1)
    """
    if images.ndim != 4 or images.shape[3] != 1 or images.dtype != np.float32:
        raise BadInput(f"images: {images.dtype} of shape {images.shape}; expected float32 of shape (n, h, w, 1)")
    count, height, width, _ = images.shape
    names = [*(field.name for field in fields(Augmentation) if field.name not in _LATER + _LAST), "zoom_y"]
    if any(getattr(augmentation, name) for name in _LATER):
        names += [*_LATER, "coarse_y", "blurred"]
    draws = dict(zip(names, rng.uniform(-1, 1, (len(names), count)), strict=True))
    if augmentation.histogram:
        images = _exchanged_histograms(images, augmentation.histogram, rng)
    matrices = affine_matrices(
        height,
        width,
        theta=augmentation.rotation * draws["rotation"],
        tx=augmentation.width_shift * width * draws["width_shift"],
        ty=augmentation.height_shift * height * draws["height_shift"],
        shear=augmentation.shear * draws["shear"],
        zx=1 + augmentation.zoom * draws["zoom"],
        zy=1 + augmentation.zoom * draws["zoom_y"],
    )
    if augmentation.horizontal_flip:  # of the result: x in it is looked up at w - 1 - x
        matrices[draws["horizontal_flip"] < 0] @= np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    moved = ~np.isclose(matrices, np.eye(3), atol=1e-9).all(axis=(1, 2))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result = np.empty_like(images)
    factor = 1 + augmentation.contrast * draws["contrast"]
    added = augmentation.brightness * draws["brightness"]
    power = (1 + augmentation.gamma) ** draws["gamma"]
    tone = augmentation.contrast or augmentation.brightness
    for row in range(count):
        image = images[row, :, :, 0]
        if moved[row]:
            size = (width, height)
            image = cv2.warpAffine(image, matrices[row, :2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if augmentation.coarse and draws["coarse"][row] < 0:
            few = (max(1, round(side * (1 + augmentation.coarse * share))) for side, share in
                   ((width, draws["coarse"][row]), (height, -abs(draws["coarse_y"][row]))))  # fmt: skip
            image = cv2.resize(cv2.resize(image, tuple(few), interpolation=cv2.INTER_AREA), (width, height))
        if augmentation.blur and draws["blurred"][row] < 0:
            image = cv2.GaussianBlur(image, (0, 0), max(0.1, augmentation.blur * abs(draws["blur"][row])))
        if tone:
            offset = image.mean(dtype=np.float64) * (1 - factor[row]) + added[row]
            image = np.clip(image * np.float32(factor[row]) + np.float32(offset), 0, 1)
        if augmentation.gamma:
            image = cv2.pow(image, float(power[row]))
        result[row, :, :, 0] = image
    if augmentation.noise:
        amount = np.abs(draws["noise"], dtype=np.float32)[:, None, None, None] * np.float32(augmentation.noise)
        result += amount * rng.standard_normal(result.shape, dtype=np.float32)
        np.clip(result, 0, 1, out=result)
    if augmentation.surround:
        own = _chests(result, rng) | (rng.random((count, 1, 1, 1)) >= augmentation.surround)
        result = np.where(own, result, result[rng.permutation(count)])
    return result


def _exchanged_histograms(images: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Give some images the histogram of another, whatever its class: exposure then tells nothing about a class."""
    others, chosen = rng.permutation(len(images)), rng.random(len(images)) < share
    levels, result = np.round(images * 255).astype(np.uint8), images.copy()
    below = [np.bincount(one.ravel(), minlength=256).cumsum() for one in levels]
    for row in np.flatnonzero(chosen):
        tones = np.searchsorted(below[others[row]], below[row]).clip(max=255).astype(np.float32) / 255
        result[row] = tones[levels[row]]
    return result


def _chests(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw where the chest of each image lies: within edges of .05 to .22 of the side; bool, shape (n, h, w, 1)."""
    count, height, width, _ = images.shape
    x, y = (np.arange(width) + 0.5) / width, ((np.arange(height) + 0.5) / height)[:, None]
    left, right, top, bottom = rng.uniform(0.05, 0.22, (4, count, 1, 1))
    return ((x >= left) & (x < 1 - right) & (y >= top) & (y < 1 - bottom))[..., None]


def hide_chests(images: np.ndarray, share: float, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cover the chest in some images, so that a network learns to know nothing where it sees none.

    Parameters
    ----------
    images : ndarray
        float32 in [0, 1], shape (n, h, w, 1).
    share : float
        Of the images, by chance.
    rng : Generator
        The only source of chance.

    Returns
    -------
    images : ndarray
        As `images`: each covered with a gray of its own, the place of the chest drawn as in `augment`.
    hidden : ndarray
        bool, shape (n,): which.

    Examples
    --------
    >>> hidden = hide_chests(np.zeros((4, 8, 8, 1), np.float32), 1.0, rng=np.random.default_rng(0))[1]
    >>> int(hidden.sum())
    4
    """
    hidden, gray = rng.random(len(images)) < share, rng.random((len(images), 1, 1, 1), dtype=np.float32)
    return np.where(_chests(images, rng) & hidden[:, None, None, None], gray, images), hidden


#: How far the further views of an image differ from it.
VIEW = Augmentation(rotation=8, width_shift=0.05, height_shift=0.05, shear=4, zoom=0.12, contrast=0.15, gamma=0.25)


def views(images: np.ndarray, further: int) -> Iterator[np.ndarray]:
    """Yield the images as they are, and then mildly changed, always in the same ways.

    The mean of a network's answers to several views is steadier than one answer [1]_.

    Parameters
    ----------
    images : ndarray
        float32 in [0, 1], shape (n, h, w, 1).
    further : int
        How many changed views follow, each as far from the images as `VIEW` allows by chance.

    Yields
    ------
    ndarray
        As `images`. An image's views do not depend on those beside it.

    References
    ----------
    .. [1] Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural networks, NIPS 2012.

    Examples
    --------
    >>> len(list(views(np.zeros((2, 8, 8, 1), np.float32), 4)))
    5
    """
    yield images
    for number in range(further):
        parts = [augment(one[None], VIEW, rng=np.random.default_rng([7, number])) for one in images]
        yield np.concatenate(parts) if parts else images


def affine_matrices(height: int, width: int, *, theta=0.0, tx=0.0, ty=0.0, shear=0.0, zx=1.0, zy=1.0) -> np.ndarray:
    """Combine rotation, shift, shear and zoom about the centre, as Keras' image generator did.

    The order and the form of the matrices are those of ``apply_affine_transform`` in
    ``keras.src.legacy.preprocessing.image``: centre, rotation, shift, shear, zoom, and back. Keras feeds
    its *height* shift to ``tx``, which moves along the width; here each shift moves along its own axis.

    Parameters
    ----------
    height, width : int
        Of the images, pixels.
    theta, shear : float or ndarray
        Degrees.
    tx, ty : float or ndarray
        Pixels along the width and along the height.
    zx, zy : float or ndarray
        Factors along the width and along the height.

    Returns
    -------
    ndarray
        float64, shape (n, 3, 3): takes (x, y, 1) in the result to the place in the image that it shows.

    Examples
    --------
    >>> affine_matrices(4, 4, tx=2.)[0].tolist()
    [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    theta, tx, ty, shear, zx, zy = np.broadcast_arrays(*map(np.atleast_1d, (theta, tx, ty, shear, zx, zy)))
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    zero, one = np.zeros(len(theta)), np.ones(len(theta))

    def stack(*entries: np.ndarray) -> np.ndarray:
        return np.stack([*entries, zero, zero, one], axis=-1).reshape(-1, 3, 3)

    x, y = one * (width / 2 - 0.5), one * (height / 2 - 0.5)
    return (
        stack(one, zero, x, zero, one, y)
        @ stack(np.cos(theta), -np.sin(theta), zero, np.sin(theta), np.cos(theta), zero)
        @ stack(one, zero, tx, zero, one, ty)
        @ stack(one, -np.sin(shear), zero, zero, np.cos(shear), zero)
        @ stack(zx, zero, zero, zero, zy, zero)
        @ stack(one, zero, -x, zero, one, -y)
    )
