"""The five mistakes on tiny images: what goes into each training, and the arithmetic of what they are worth."""

import numpy as np
import pandas as pd
import pytest

from cxr_utils import dataset, evaluation, images, plots, recipes, splits, training
from cxr_utils.errors import BadInput
from cxr_utils.replication import mistakes


@pytest.fixture
def answered(monkeypatch):
    """Note each training instead of doing it, and answer by chance: the same for the same image and folder."""
    asked = {}

    def fit(recipe, pixels, split, *, run_dir, **options):
        assert len(pixels) == len(split)
        asked[run_dir.name] = {"recipe": recipe, "pixels": pixels, "split": split, **options}
        return run_dir.name

    def predict(run, pixels, split, *, parts=("validation", "test")):
        known = split.assign(probability=np.random.default_rng(len(run)).random(len(split)).round(6))
        asked[run].setdefault("predicted", set()).update(parts)
        return known[known["part"].isin(parts)].assign(split=known["part"])

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(evaluation, "predict", predict)
    return asked


def index_of(patients, test=20):
    """Make an index: `patients` of each class, one to three images each, and `test` single images of each class."""
    rows = []
    for label, name in ((0, "IM-{:04d}-{:04d}"), (1, "person{}_virus_{}")):
        for patient in range(patients + test):
            where = "train" if patient < patients else "test"
            for image in range(1 + patient % 3 if where == "train" else 1):
                path = f"chest_xray/{where}/{dataset.CLASSES[label]}/{name.format(patient, image)}.jpeg"
                rows.append((path, where, label, f"{label}:{patient}"))
    table = pd.DataFrame(rows, columns=["path", "split", "label", "patient"]).astype({"patient": "string"})
    return table.assign(kind=table["label"].map({0: "normal", 1: "virus"}), sha256=table["path"].map(str))


def bench(index, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (len(index), 8, 8, 1)).astype("uint8")
    given = {"recipe": recipes.get("plain_64").at(image_size=8), "run_dir": "m", "seeds": (0, 1), "epochs": 2}
    return mistakes.Bench(**{"index": index, "pixels": pixels, **given, **options})


@pytest.fixture
def stand():
    index = index_of(60)
    return bench(index[(index["label"] == 1) | (np.arange(len(index)) % 5 < 3)].reset_index(drop=True))


def balanced(table, threshold=0.5):
    return evaluation.metrics(table["label"], table["probability"], threshold=threshold)["balanced_accuracy"]


def by_part(split, part):
    return set(split.loc[split["part"] == part, "path"])


def test_each_returns_both_figures_for_each_seed(stand, answered):
    for mistake in (
        mistakes.shuffled_answers, mistakes.sixteen_images, mistakes.test_as_validation, mistakes.split_by_image,
        mistakes.smote_before_split,
    ):  # fmt: skip
        table = mistake(stand)
        assert list(table.columns) == ["seed", "wrong", "right"] and list(table["seed"]) == [0, 1]
        assert table[["wrong", "right"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    for asked in answered.values():
        assert asked["recipe"].early_stopping["monitor"] == "val_accuracy"
        assert asked["epochs"] == 2


def test_shuffled_answers_have_the_right_ones_in_step(stand, answered):
    table = mistakes.shuffled_answers(stand)
    split = answered["honest-s1"]["split"]
    predictions = evaluation.predict("honest-s1", None, split)
    test, validation = (predictions[predictions["split"] == part] for part in ("test", "validation"))
    threshold = evaluation.best_threshold(validation["label"], validation["probability"])
    assert table["right"][1] == balanced(test, threshold)
    shuffled = test.assign(probability=np.random.default_rng(1).permutation(test["probability"]))
    assert table["wrong"][1] == balanced(shuffled, threshold)


def test_sixteen_images_validate_and_all_others_judge(stand, answered):
    table = mistakes.sixteen_images(stand)
    split, honest = answered["sixteen-s0"]["split"], splits.grouped(stand.index, validation=mistakes.VALIDATION, seed=0)
    assert split[split["part"] == "validation"]["label"].value_counts().to_dict() == {0: 8, 1: 8}
    assert by_part(split, "validation") | by_part(split, "other") == by_part(honest, "validation")
    assert by_part(split, "train") == by_part(honest, "train")
    others = evaluation.predict("sixteen-s0", None, split, parts=("other",))
    assert table["right"][0] == balanced(others)
    assert answered["sixteen-s0"]["predicted"] == {"validation", "other"}
    with pytest.raises(BadInput, match="validation images of a class"):
        mistakes.sixteen_images(bench(index_of(6)))


def test_peeking_trains_alike_and_chooses_on_test(stand, answered):
    table = mistakes.test_as_validation(stand)
    peeked, honest = answered["test_as_validation-s0"], answered["honest-s0"]
    assert (peeked["validate_on"], peeked["protocol"]) == ("test", "published")
    assert (honest["validate_on"], honest["protocol"]) == ("validation", "honest")
    pd.testing.assert_frame_equal(peeked["split"], honest["split"])
    test = evaluation.predict("test_as_validation-s0", None, peeked["split"], parts=("test",))
    best = evaluation.best_threshold(test["label"], test["probability"])
    assert table["wrong"][0] == balanced(test, best) >= balanced(test)


def test_siblings_are_in_training_or_not_and_all_else_is_equal(stand, answered):
    mistakes.split_by_image(stand)
    wrong, right = (answered[f"by_image_{way}-s0"]["split"] for way in ("wrong", "right"))
    assert by_part(wrong, "validation") == by_part(right, "validation")
    for split, leaks in ((wrong, True), (right, False)):
        judged = set(split.loc[split["part"] == "validation", "patient"])
        assert bool(judged & set(split.loc[split["part"] == "train", "patient"])) is leaks
    sizes = [split[split["part"] == "train"]["label"].value_counts().to_dict() for split in (wrong, right)]
    assert sizes[0] == sizes[1]


def test_without_patients_nothing_is_said_of_them(stand, answered):
    unknown = stand.index.assign(patient=pd.array([pd.NA] * len(stand.index), dtype="string"))
    table = mistakes.split_by_image(bench(unknown))
    assert table[["wrong", "right"]].isna().all(axis=None)
    worth = mistakes.worth({"split by image": table})
    assert worth["seeds"].item() == 0 and worth["points"].isna().item()
    plots.render(plots.mistakes_worth(worth, {"split by image": table}))


def test_smote_before_the_split_leaks_and_after_it_does_not(stand, answered):
    mistakes.smote_before_split(stand)
    first, after = answered["smote_first-s0"], answered["smote_after-s0"]
    assert first["recipe"].imbalance == "none" and after["recipe"].imbalance == "smote"
    made = first["split"].iloc[len(stand.index) :]
    assert set(made["part"]) == {"train", "validation"} and set(made["label"]) == {0}
    outside = first["split"][first["split"]["part"] != "test"]
    assert outside["label"].value_counts().nunique() == 1, "balanced before it was split"
    pd.testing.assert_frame_equal(first["split"].iloc[: len(stand.index)], after["split"])
    assert first["pixels"].dtype == "uint8" and len(after["pixels"]) == len(stand.index)
    assert not (set(after["split"]["path"]) & set(made["path"]))
    ends = stand.pixels[(after["split"]["label"] == 0) & (after["split"]["part"] != "test")]
    drawn = first["pixels"][len(stand.index) :]
    assert (drawn >= ends.min(axis=0)).all() and (drawn <= ends.max(axis=0)).all()


def test_a_pool_keeps_patients_whole_and_all_of_test():
    index = index_of(60)
    rows = mistakes.pool(index, images=50, seed=3)
    kept, left = index.iloc[rows], index.drop(index.index[rows])
    assert list(rows) == sorted(set(rows)) and 50 <= (kept["split"] != "test").sum() <= 52
    assert set(left["split"]) == {"train"} and not set(kept["patient"]) & set(left["patient"])
    assert list(mistakes.pool(index, images=None)) == list(range(len(index)))
    assert list(mistakes.pool(index, images=10**6)) == list(range(len(index)))
    assert list(mistakes.pool(index, images=50, seed=4)) != list(rows)


def test_worth_is_a_paired_t_interval():
    from scipy import stats

    table = pd.DataFrame({"seed": [0, 1, 2], "wrong": [0.9, 0.85, 0.99], "right": [0.8, 0.82, 0.9]})
    found = mistakes.worth({"one": table, "single": table[:1]})
    tested = stats.ttest_rel(100 * table["wrong"], 100 * table["right"]).confidence_interval(0.95)
    assert found.loc["one", "points"] == pytest.approx(22 / 3)
    assert found.loc["one", ["low", "high"]].tolist() == pytest.approx([tested.low, tested.high])
    assert found.loc["one", ["seeds", "wrong", "right"]].tolist() == pytest.approx([3, 2.74 / 3, 2.52 / 3])
    assert found.loc["single", "points"] == pytest.approx(10) and np.isnan(found.loc["single", "low"])


def test_one_mistake_trained_for_real(tiny, tiny_index):
    """The grouped validation of the tiny dataset is small, so this is the mistake that needs least."""
    pixels = images.cache(tiny_index, tiny, size=32)
    recipe = recipes.get("plain_64").but(augmentation=None, channels=1).at(image_size=32, width=0.1)
    stand = mistakes.Bench(index=tiny_index, pixels=pixels, recipe=recipe, run_dir="m", seeds=(0,), epochs=1)
    table = mistakes.smote_before_split(stand)
    assert table[["wrong", "right"]].apply(lambda column: column.between(0, 1)).all(axis=None)
    first, after = (training.load(f"m/{name}-s0") for name in ("smote_first", "smote_after"))
    assert first.record["recipe"]["imbalance"] == "none" and after.record["recipe"]["imbalance"] == "smote"
    again = mistakes.smote_before_split(stand)
    pd.testing.assert_frame_equal(table, again)
