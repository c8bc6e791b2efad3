"""Augmentation and views of `cxr_utils.augment`."""

from dataclasses import fields

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import augment, recipes
from cxr_utils.augment import Augmentation
from cxr_utils.errors import BadInput


@pytest.mark.parametrize(
    "change", [{"rotation": -1}, {"rotation": 181}, {"zoom": 1}, {"shear": 90}, {"gamma": float("nan")}]
)
def test_augmentation_out_of_range(change):
    with pytest.raises(BadInput, match=next(iter(change))):
        Augmentation(**change)


@pytest.fixture(scope="module")
def pictures():
    """Smooth pictures: interpolation is what is compared, not noise."""
    rng = np.random.default_rng(0)
    small = rng.random((6, 12, 12), dtype=np.float32)
    import cv2

    return np.stack([cv2.resize(image, (64, 64), interpolation=cv2.INTER_CUBIC) for image in small]).clip(0, 1)[
        ..., None
    ]


MOVES = [
    {"theta": 12.0},
    {"theta": -90.0},
    {"tx": 5.5},
    {"ty": -7.25},
    {"shear": 15.0},
    {"zx": 1.2},
    {"zy": 0.8},
    {"theta": 7.0, "tx": 3.0, "ty": -4.0, "shear": -9.0, "zx": 0.9, "zy": 1.15},
]


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("move", MOVES, ids=str)
def test_the_affine_map_is_that_of_keras(pictures, move):
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = augment.affine_matrices(64, 64, **move)[0]
    for picture in pictures:
        ours = cv2.warpAffine(picture[:, :, 0], matrix[:2], (64, 64), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        keras = apply_affine_transform(picture, row_axis=0, col_axis=1, channel_axis=2, **move)[:, :, 0]
        assert np.abs(ours - keras).mean() < 2e-3 and np.abs(ours - keras).max() < 0.03


def test_augment_is_the_affine_map_of_its_draws(pictures):
    """The same draws through scipy's affine_transform, order 1, nearest edges."""
    from scipy.ndimage import affine_transform

    ours = augment.augment(pictures, Augmentation(rotation=20, zoom=0.2), rng=np.random.default_rng(3))
    draws = np.random.default_rng(3).uniform(-1, 1, (10, len(pictures)))
    matrices = augment.affine_matrices(64, 64, theta=20 * draws[0], zx=1 + 0.2 * draws[4], zy=1 + 0.2 * draws[9])
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # scipy counts rows first
    for picture, matrix, our in zip(pictures, matrices, ours, strict=True):
        matrix = swap @ matrix @ swap
        there = affine_transform(picture[:, :, 0], matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")
        assert np.abs(there - our[:, :, 0]).mean() < 2e-3


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("name", [n for n in recipes.names() if recipes.get(n).augmentation and recipes.get(n).claims])
def test_augment_is_what_the_published_generator_did(pictures, name):
    """The draws of `augment`, handed as they are to the ImageDataGenerator with the authors' arguments."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    how = recipes.get(name).augmentation
    generator = ImageDataGenerator(
        rotation_range=how.rotation, width_shift_range=how.width_shift, height_shift_range=how.height_shift,
        shear_range=how.shear, zoom_range=how.zoom, horizontal_flip=how.horizontal_flip,
    )  # fmt: skip
    many = np.concatenate([pictures] * 3)
    ours = augment.augment(many, how, rng=np.random.default_rng(7))
    draws = np.random.default_rng(7).uniform(-1, 1, (10, len(many)))
    for number, picture in enumerate(many):
        at = dict(zip([*(field.name for field in fields(Augmentation)[:9]), "zoom_y"], draws[:, number], strict=True))
        move = {
            "theta": how.rotation * at["rotation"], "shear": how.shear * at["shear"],
            "tx": how.width_shift * 64 * at["width_shift"], "ty": how.height_shift * 64 * at["height_shift"],
            "zx": 1 + how.zoom * at["zoom"], "zy": 1 + how.zoom * at["zoom_y"],
            "flip_horizontal": how.horizontal_flip and at["horizontal_flip"] < 0,
        }  # fmt: skip
        theirs = generator.apply_transform(picture, move)
        assert np.abs(ours[number] - theirs).mean() < 2e-3 and np.abs(ours[number] - theirs).max() < 0.05
    # The generator's own draws have the ranges that are handed over above: degrees, pixels, one factor an axis.
    np.random.seed(0)
    found = [generator.get_random_transform((64, 64, 1)) for _ in range(1500)]
    for key, centre, reach in (
        ("theta", 0, how.rotation), ("shear", 0, how.shear), ("tx", 0, 64 * how.height_shift),
        ("ty", 0, 64 * how.width_shift), ("zx", 1, how.zoom), ("zy", 1, how.zoom),
    ):  # fmt: skip
        values = np.array([one[key] for one in found])
        assert [values.min(), values.max()] == pytest.approx([centre - reach, centre + reach], abs=0.01 * reach + 1e-9)
    if how.zoom:
        assert abs(np.corrcoef([[one["zx"], one["zy"]] for one in found], rowvar=False)[0, 1]) < 0.1
    assert np.mean([one["flip_horizontal"] for one in found]) == pytest.approx(0.5 * how.horizontal_flip, abs=0.05)


def test_augment_moves_along_the_named_axis():
    image = np.zeros((40, 32, 32, 1), np.float32)
    image[:, 12:20, 12:20] = 1
    for change, axis in ((Augmentation(width_shift=0.2), 1), (Augmentation(height_shift=0.2), 2)):
        moved = augment.augment(image, change, rng=np.random.default_rng(0))
        assert np.allclose(moved.sum(axis=axis)[:, :, 0].max(axis=1), 8, atol=0.05)
        still = moved.sum(axis=3 - axis)[:, :, 0]  # summed along the moved axis: unchanged
        assert np.allclose(still, image.sum(axis=3 - axis)[:, :, 0], atol=0.05)
        assert np.abs(moved - image).max() == 1


def test_flip_mirrors_half_of_the_images_exactly(pictures):
    many = np.concatenate([pictures] * 20)
    flipped = augment.augment(many, Augmentation(horizontal_flip=True), rng=np.random.default_rng(0))
    mirrored = np.array([np.array_equal(a[:, ::-1], b) for a, b in zip(many, flipped, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(many, flipped, strict=True)])
    assert (mirrored ^ same).all() and 0.35 < mirrored.mean() < 0.65


def test_tones(pictures):
    def change(**how):
        return augment.augment(pictures, Augmentation(**how), rng=np.random.default_rng(1))

    added = (change(brightness=0.1) - pictures)[:, 30, 30, 0]
    assert (np.abs(added) <= 0.1001).all() and added.std() > 0
    assert np.abs(change(contrast=0.3).mean() - pictures.mean()) < 0.03
    assert len({round(float(image.std()), 4) for image in change(contrast=0.3)}) == len(pictures)
    dark = change(gamma=0.5)
    assert np.allclose(dark[pictures == 0], 0) and np.allclose(dark[pictures == 1], 1)
    for how in ({"brightness": 0.9}, {"contrast": 0.9}, {"gamma": 0.9}, {"brightness": 0.5, "gamma": 0.9}):
        assert 0 <= change(**how).min() and change(**how).max() <= 1


def test_resolution_is_lost_in_every_second_image_and_noise_added_to_each():
    rough = np.random.default_rng(2).random((400, 24, 32, 1), dtype=np.float32)

    def change(**how):
        return augment.augment(rough, Augmentation(**how), rng=np.random.default_rng(1))

    for how in ({"coarse": 0.6}, {"blur": 1.5}):
        changed = change(**how)
        touched = (changed != rough).any(axis=(1, 2, 3))
        assert 0.4 < touched.mean() < 0.6
        assert np.abs(np.diff(changed[touched], axis=1)).mean() < 0.9 * np.abs(np.diff(rough[touched], axis=1)).mean()
    added = change(noise=0.1) - rough
    spread = added[:, 4:20, 4:28].std(axis=(1, 2, 3))
    assert 0 < spread.min() < 0.02 and 0.07 < spread.max() < 0.11


def test_what_came_later_leaves_older_draws_and_records_alone(pictures):
    old, more = Augmentation(rotation=20, gamma=0.3), Augmentation(rotation=20, gamma=0.3, noise=1e-6)
    first, second = (augment.augment(pictures, how, rng=np.random.default_rng(4)) for how in (old, more))
    assert np.allclose(first, second, atol=1e-4)
    assert "noise" not in old.settings() and more.settings() == old.settings() | {"noise": 1e-6}
    last = augment.augment(pictures, Augmentation(rotation=20, gamma=0.3, void=0.1), rng=np.random.default_rng(4))
    assert np.array_equal(first, last)  # covered later, in `training.batches`
    assert not {"histogram", "surround", "void"} & set(more.settings())


def test_some_images_get_the_histogram_of_another_and_keep_their_order():
    rng = np.random.default_rng(0)
    some = (rng.random((40, 16, 16, 1)) * rng.uniform(0.2, 1, (40, 1, 1, 1))).astype(np.float32)
    made = augment.augment(some, Augmentation(histogram=0.5), rng=np.random.default_rng(1))
    given = (made != some).any(axis=(1, 2, 3))
    assert 0.3 < given.mean() < 0.7
    means = some.mean(axis=(1, 2, 3))
    for before, after in zip(some[given], made[given], strict=True):
        order = before.ravel().argsort()
        assert (np.diff(after.ravel()[order]) >= 0).all()
        assert np.abs(means - after.mean()).min() < 0.01


def test_surroundings_come_from_another_image_and_the_chest_stays():
    flat = np.broadcast_to(np.linspace(0, 1, 50, dtype=np.float32)[:, None, None, None], (50, 40, 40, 1))
    made = augment.augment(np.array(flat), Augmentation(surround=0.7), rng=np.random.default_rng(2))[..., 0]
    assert np.array_equal(made[:, 9:31, 9:31], flat[:, 9:31, 9:31, 0])  # .22 of the side, and within
    corners = made[:, 0, 0]
    assert np.isin(corners, flat[:, 0, 0, 0]).all() and np.array_equal(corners, made[:, -1, -1])
    assert 0.5 < (corners != flat[:, 0, 0, 0]).mean() < 0.85


def test_chests_are_hidden_by_chance():
    some = np.random.default_rng(5).random((200, 20, 20, 1), dtype=np.float32)
    made, hidden = augment.hide_chests(some, 0.3, rng=np.random.default_rng(3))
    assert 0.2 < hidden.mean() < 0.4 and np.array_equal(made[~hidden], some[~hidden])
    assert np.ptp(made[hidden, 5:15, 5:15], axis=(1, 2)).max() == 0
    assert np.array_equal(made[:, 0], some[:, 0]) and made.dtype == np.float32


@settings(deadline=None, max_examples=30)
@given(
    st.builds(
        Augmentation,
        rotation=st.floats(0, 180), width_shift=st.floats(0, 0.9), height_shift=st.floats(0, 0.9),
        shear=st.floats(0, 60), zoom=st.floats(0, 0.9), horizontal_flip=st.booleans(),
        brightness=st.floats(0, 0.9), contrast=st.floats(0, 0.9), gamma=st.floats(0, 0.9),
        coarse=st.floats(0, 0.95), blur=st.floats(0, 5), noise=st.floats(0, 0.9),
        histogram=st.floats(0, 0.9), surround=st.floats(0, 0.9),
    ),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_augment_is_repeatable_and_in_range(augmentation, seed):
    some = np.random.default_rng(5).random((3, 20, 28, 1), dtype=np.float32)
    before = some.copy()
    first = augment.augment(some, augmentation, rng=np.random.default_rng(seed))
    again = augment.augment(some, augmentation, rng=np.random.default_rng(seed))
    assert np.array_equal(first, again) and np.array_equal(some, before)
    assert first.shape == some.shape and first.dtype == np.float32
    assert np.isfinite(first).all() and first.min() >= 0 and first.max() <= 1
    assert not np.shares_memory(first, some)


def test_nothing_switched_on_changes_nothing(pictures):
    assert np.array_equal(augment.augment(pictures, Augmentation(), rng=np.random.default_rng(0)), pictures)


def test_views_are_the_same_whatever_lies_beside(pictures):
    all_of = list(augment.views(pictures, 3))
    assert len(all_of) == 4 and all_of[0] is pictures
    for number, view in enumerate(augment.views(pictures[1:2], 3)):
        np.testing.assert_array_equal(view, all_of[number][1:2])
    assert all(0.002 < np.abs(view - pictures).mean() < 0.2 for view in all_of[1:])
    assert len(list(augment.views(pictures[:0], 2))) == 3


def test_augment_wants_floats():
    for wrong in (np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8, 8), np.float32)):
        with pytest.raises(BadInput, match="images"):
            augment.augment(wrong, Augmentation(), rng=np.random.default_rng(0))
