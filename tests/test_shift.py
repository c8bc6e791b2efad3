import pandas as pd
import pytest
from helpers import workflow
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from cxr_utils import audit, dataset, images, splits
from cxr_utils.errors import BadInput

shift = workflow("shift")


@pytest.fixture(scope="module")
def sample(sample_data):
    """Return the index of the sample without test, and its images at 64 px."""
    folder = sample_data / "sample"
    index = dataset.scan(folder)
    index = index[index["split"] != "test"].reset_index(drop=True)
    return index, images.cache(index, folder, size=64)


@pytest.fixture(scope="module")
def parts(sample):
    return shift.split(*sample)


def test_each_part_has_both_classes_and_patients_stay_whole(sample, parts):
    index, _ = sample
    assert parts["path"].tolist() == index["path"].tolist()
    counts = pd.crosstab(parts["part"], parts["label"])
    assert set(counts.index) == {"train", *shift.SHARES} and (counts > 0).all(axis=None)
    assert parts["part"].groupby(splits.group_names(index).to_numpy(str)).nunique().max() == 1


def test_the_same_seed_gives_the_same_parts_and_another_moves_the_random_one(sample, parts):
    index, pixels = sample
    assert splits.digest(shift.split(index, pixels)) == splits.digest(parts)
    other = shift.split(index, pixels, seed=1)
    assert ((parts["part"] == "validation") != (other["part"] == "validation")).any()
    assert ((parts["part"] == "size") == (other["part"] == "size")).all()


def test_what_pictures_betray_helps_less_where_it_was_held_out(sample, parts):
    _, pixels = sample
    values, label = audit.picture_statistics(pixels).to_numpy(), parts["label"].to_numpy()
    train = (parts["part"] == "train").to_numpy()
    with threadpool_limits(1):
        trees = HistGradientBoostingClassifier(random_state=0).fit(values[train], label[train])
    held = {name: (parts["part"] == name).to_numpy() for name in ("exposure", "validation")}
    area = {name: roc_auc_score(label[at], trees.predict_proba(values[at])[:, 1]) for name, at in held.items()}
    assert area["exposure"] < area["validation"] - 0.1


def test_small_wide_normals_and_large_narrow_pneumonias_are_held_out_as_size(sample, parts):
    index, _ = sample
    aspect, there = index["width"] / index["height"], (parts["part"] == "size").to_numpy()
    normal = (index["label"] == 0).to_numpy()
    assert aspect[there & normal].mean() > aspect[~there & normal].mean()
    assert aspect[there & ~normal].mean() < aspect[~there & ~normal].mean()


def test_sizes_of_originals_stand_in_for_those_of_copies(sample):
    index, pixels = sample
    copies = index.assign(width=64, height=64)
    with pytest.raises(BadInput, match="sizes: these are resized copies"):
        shift.split(copies, pixels)
    with pytest.raises(BadInput, match="names 9 of these images"):
        shift.split(copies, pixels, sizes=index.head(9))
    known = shift.split(index, pixels)["part"] == "size"
    guessed = shift.split(copies, pixels, sizes=index.iloc[::2])["part"] == "size"
    assert (known & guessed).sum() > guessed.sum() / 2


def test_images_of_test_are_refused(sample):
    index, pixels = sample
    with pytest.raises(BadInput, match="holds images of test"):
        shift.split(index.assign(split="test"), pixels)
    with pytest.raises(BadInput, match="8 images, but 523 rows"):
        shift.split(index, pixels[:8])
