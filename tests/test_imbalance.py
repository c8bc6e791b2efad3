import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import imbalance
from cxr_utils.errors import BadInput


def images(n, side=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 1), dtype="uint8")


@pytest.mark.parametrize("how", imbalance.METHODS)
def test_real_images_come_first_and_unchanged(how):
    pixels, labels = images(40), np.array([0] * 10 + [1] * 30)
    balanced = imbalance.balance(pixels, labels, how=how, seed=3)
    real = balanced.table.iloc[:40]
    assert real["first"].tolist() == list(range(40))
    assert not real["synthetic"].any()
    np.testing.assert_array_equal(imbalance.render(pixels, real), pixels.astype("float32") / 255)


def test_each_method_balances_in_its_way():
    pixels, labels = images(40), np.array([0] * 10 + [1] * 30)
    counts = {how: imbalance.balance(pixels, labels, how=how).table["label"].value_counts().to_dict()
              for how in imbalance.METHODS}  # fmt: skip
    assert counts["none"] == counts["class_weight"] == {0: 10, 1: 30}
    assert counts["oversample"] == counts["smote"] == {0: 30, 1: 30}
    weights = imbalance.balance(pixels, labels, how="class_weight").class_weight
    assert weights == {0: 2.0, 1: pytest.approx(40 / 60)}


@pytest.mark.parametrize("labels", [[0] * 12 + [1] * 30, [1] * 12 + [0] * 30])
def test_smote_draws_what_imbalanced_learn_draws(labels):
    from imblearn.over_sampling import SMOTE

    pixels, labels = images(42), np.array(labels)
    ours = imbalance.balance(pixels, labels, how="smote", seed=7)
    flat = pixels.reshape(42, -1).astype("float32") / 255
    theirs, their_labels = SMOTE(random_state=7).fit_resample(flat, labels)
    assert ours.table["label"].tolist() == their_labels.tolist()
    np.testing.assert_allclose(imbalance.render(pixels, ours.table).reshape(len(theirs), -1), theirs, atol=1e-6)


@pytest.mark.parametrize(("count", "side"), [(7, 1), (60, 40), (2100, 3)])
def test_nearest_are_those_of_scikit_learn(count, side):
    from sklearn.neighbors import NearestNeighbors

    pixels = images(count, side)
    flat = pixels.reshape(count, -1).astype("float64")
    distances = NearestNeighbors(n_neighbors=6).fit(flat).kneighbors(flat)[0]
    found = imbalance.nearest(pixels, k=5)
    assert found[:, 0].tolist() == list(range(count))
    assert (np.diff(np.sort(found)) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(flat[found] - flat[:, None], axis=2), distances, atol=1e-6)


def test_distances_are_exact_at_the_widest_range():
    """Black, white, and white with one pixel a grey level darker: 1 in 3.3e9 decides."""
    pixels = np.full((7, 224, 224, 1), 255, dtype="uint8")
    pixels[0] = 0
    for row in range(2, 7):
        pixels[row, 0, :row] = 254
    assert imbalance.nearest(pixels, k=5)[0].tolist() == [0, 6, 5, 4, 3, 2]


def test_smote_on_real_images_is_that_of_imbalanced_learn(real):
    from imblearn.over_sampling import SMOTE

    from cxr_utils import dataset
    from cxr_utils.images import cache

    index = dataset.scan(real)
    index = index[index["split"] == "train"].reset_index(drop=True)
    pixels, labels = cache(index, real, size=48), index["label"].to_numpy()
    ours = imbalance.balance(pixels, labels, how="smote", seed=3).table
    flat = pixels.reshape(len(pixels), -1).astype("float32") / 255
    theirs, their_labels = SMOTE(random_state=3).fit_resample(flat, labels)
    assert ours["label"].tolist() == their_labels.tolist()
    apart = np.abs(imbalance.render(pixels, ours).reshape(len(theirs), -1) - theirs).max(axis=1)
    # Among exact duplicates either may be the other's neighbour, or its own.
    twins = index["sha256"].duplicated(keep=False).to_numpy()[ours["first"]]
    assert (apart[~twins] < 1 / 255).all() and (apart < 1 / 255).mean() > 0.999


def test_only_the_given_rows_take_part():
    pixels, labels = images(60), np.array([0, 1, 1] * 20)
    rows = np.arange(10, 50)
    table = imbalance.balance(pixels, labels, how="smote", rows=rows, seed=1).table
    assert set(table["first"]) | set(table["second"]) <= set(rows.tolist())


@given(step=st.floats(0, 1, width=32), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_synthetic_image_lies_between_its_parents(step, seed):
    import pandas as pd

    pixels = images(2, seed=seed)
    table = pd.DataFrame({"first": [0], "second": [1], "step": [step]})
    between = imbalance.render(pixels, table)[0]
    low, high = pixels.min(0) / 255, pixels.max(0) / 255
    assert (between >= low - 1e-6).all() and (between <= high + 1e-6).all()
    assert between.dtype == np.float32


def test_same_seed_same_table():
    pixels, labels = images(40), np.array([0] * 10 + [1] * 30)
    first, second, other = (imbalance.balance(pixels, labels, how="smote", seed=s).table for s in (5, 5, 6))
    assert first.equals(second) and not first.equals(other)


@pytest.mark.parametrize(
    ("labels", "how", "words"),
    [
        ([0, 1], "SMOTE", "how: 'SMOTE'"),
        ([1] * 8, "oversample", "0 NORMAL"),
        ([0] * 5 + [1] * 9, "smote", "at least 6"),
    ],
)
def test_bad_input_is_named(labels, how, words):
    with pytest.raises(BadInput, match=words):
        imbalance.balance(images(len(labels)), labels, how=how)
