"""Duplicates, patients across splits, statistics and shortcuts."""

import numpy as np
import pandas as pd
import pytest

from cxr_utils import audit, dataset, images
from cxr_utils.errors import BadInput


def test_duplicates(tiny_index):
    table = audit.duplicates(tiny_index)
    assert table.columns.tolist() == ["group", "path", "patient", "kind", "split"]
    assert table["group"].tolist() == [1, 1, 2, 2]
    assert table["path"].str.extract(r"([^/]+)\.jpeg")[0].tolist() == [
        "NORMAL2-IM-0095-0001", "NORMAL2-IM-0096-0001", "person2_bacteria_6", "person2_bacteria_7",
    ]  # fmt: skip
    assert audit.duplicates(tiny_index.drop_duplicates("sha256")).empty


def test_near_duplicates_find_what_was_planted(tiny_index, tiny_pixels):
    pixels = np.array(tiny_pixels)
    pixels[10] = np.clip(pixels[3].astype(int) * 0.9 + 11, 0, 255).astype(np.uint8)  # another exposure
    pixels[50] = pixels[49]
    table = audit.near_duplicates(tiny_index, pixels, correlation=0.995)
    pairs = set(zip(table["path_a"], table["path_b"], strict=True))
    path = tiny_index["path"]
    assert {(path[3], path[10]), (path[49], path[50])} <= pairs
    assert table["correlation"].is_monotonic_decreasing and table["correlation"].between(0.995, 1).all()
    twins = audit.duplicates(tiny_index)["path"].tolist()
    assert (twins[0], twins[1]) not in pairs  # exact ones are listed by `duplicates`
    assert str(table["same_patient"].dtype) == "boolean"
    assert len(audit.near_duplicates(tiny_index, pixels, correlation=0.5, limit=7)) == 7


def test_near_duplicates_over_blocks():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1300, 16, 16, 1), dtype=np.uint8)
    index = pd.DataFrame({"path": [f"{row:05d}" for row in range(1300)]})
    index["sha256"], index["patient"] = index["path"], pd.array([pd.NA] * 1300, dtype="string")
    for first, second in ((2, 1290), (600, 1100), (700, 701)):
        pixels[second] = pixels[first]
    table = audit.near_duplicates(index, pixels)
    assert sorted(zip(table["path_a"], table["path_b"], strict=True)) == [
        ("00002", "01290"), ("00600", "01100"), ("00700", "00701"),
    ]  # fmt: skip
    assert table["same_patient"].isna().all()
    assert audit.near_duplicates(index[:1], pixels[:1]).empty


def test_patients(tiny_index):
    table = audit.patients(tiny_index).set_index("patient")
    assert table["images"].sum() == len(tiny_index) and table["images"].is_monotonic_decreasing
    assert table.loc["person6"].tolist() == [4, "bacteria, virus", "train"]
    assert table.loc["person1"].tolist() == [4, "bacteria, virus", "train, test"]
    nobody = tiny_index.assign(patient=pd.array([pd.NA] * len(tiny_index), dtype="string"))
    assert audit.patients(nobody).empty and audit.shared_patients(nobody).empty


def test_shared_patients(tiny_index):
    table = audit.shared_patients(tiny_index)
    assert table["patient"].tolist() == [f"person{number}" for number in range(1, 6)]
    assert table.loc[0, ["train", "val", "test"]].tolist() == [3, 0, 1]
    assert not table["same_kind"].any() and table["kinds"].eq("bacteria, virus").all()
    more = tiny_index.copy()
    more.loc[more["path"].str.contains("person2_bacteria_7"), "split"] = "test"
    assert audit.shared_patients(more).set_index("patient")["same_kind"].to_dict()["person2"]


def test_statistics_of_known_pictures():
    black, white = np.zeros((40, 40, 1), np.uint8), np.full((40, 40, 1), 255, np.uint8)
    framed = white.copy()
    framed[:4] = framed[-4:] = framed[:, :4] = framed[:, -4:] = 0
    board = (np.indices((40, 40)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None]
    table = audit.picture_statistics(np.stack([black, white, framed, board]))
    assert table.columns.tolist() == list(audit.STATISTICS) and table.dtypes.eq("float64").all()
    assert table.loc[0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert table.loc[1].tolist() == [1, 0, 1, 1, 0, 1, 0, 0]
    assert table.loc[2, "black_border"] == 1 and table.loc[2, "centre_mean"] == 1
    assert table.loc[2, "mean"] == pytest.approx(32 * 32 / 1600, abs=1e-5)
    assert table.loc[3, "sharpness"] > 1 and table.loc[3, "std"] == pytest.approx(0.5)


def test_statistics_agree_with_numpy(tiny_pixels):
    table = audit.picture_statistics(tiny_pixels)
    scaled = tiny_pixels[:, :, :, 0] / 255
    assert np.allclose(table["mean"], scaled.mean(axis=(1, 2)), atol=1e-5)
    assert np.allclose(table["std"], scaled.std(axis=(1, 2)), atol=1e-5)
    for name, q in (("p2", 2), ("p98", 98)):
        assert np.allclose(table[name], np.percentile(scaled, q, axis=(1, 2)), atol=2 / 255)


def test_shortcuts(tiny_index, tiny_pixels):
    table = audit.shortcuts(tiny_index, tiny_pixels)
    assert table.index.tolist() == ["always PNEUMONIA", "width, height, mode", "eight statistics"]
    assert table.columns.tolist() == ["accuracy_cv", "accuracy_test", "note"]
    assert table.loc["always PNEUMONIA"].tolist()[:2] == pytest.approx([28 / 46, 8 / 15])
    assert table[["accuracy_cv", "accuracy_test"]].stack().between(0, 1).all()
    pd.testing.assert_frame_equal(table, audit.shortcuts(tiny_index, tiny_pixels))


def test_shortcuts_say_what_cannot_be_shown(tiny_index, tiny_pixels):
    alike = tiny_index.assign(width=224, height=224, mode="RGB")
    row = audit.shortcuts(alike, tiny_pixels).loc["width, height, mode"]
    assert np.isnan(row["accuracy_cv"]) and np.isnan(row["accuracy_test"]) and "can't be shown" in row["note"]
    unknown = tiny_index.assign(patient=pd.array([pd.NA] * len(tiny_index), dtype="string"))
    assert audit.shortcuts(unknown, tiny_pixels)["accuracy_cv"].notna().all()


def test_size_is_learned_where_it_tells_the_class(tiny_index, tiny_pixels):
    told = tiny_index.assign(width=np.where(tiny_index["label"] == 1, 300, 400))
    many = pd.concat([told.assign(path=told["path"] + str(turn)) for turn in range(4)], ignore_index=True)
    table = audit.shortcuts(many, np.concatenate([tiny_pixels] * 4))
    assert table.loc["width, height, mode"].tolist()[:2] == [1, 1]


def test_wrong_pixels_are_refused(tiny_index, tiny_pixels):
    for wrong in (tiny_pixels[:-1], tiny_pixels[:, :, :, 0], tiny_pixels / 255):
        with pytest.raises(BadInput, match="pixels"):
            audit.shortcuts(tiny_index, wrong)
    with pytest.raises(BadInput, match="correlation"):
        audit.near_duplicates(tiny_index, tiny_pixels, correlation=0)
    few = tiny_index["split"] != "train"
    with pytest.raises(BadInput, match="folds"):
        audit.shortcuts(tiny_index[few], tiny_pixels[few.to_numpy()])


def test_facts_of_the_real_dataset(real):
    from sklearn.metrics import roc_auc_score

    index = dataset.scan(real)
    pixels = images.cache(index, real)
    twins = audit.duplicates(index)
    assert twins["group"].nunique() == 30 and len(twins) == 62
    assert twins.groupby("group")[["split", "kind", "patient"]].nunique().eq(1).all(axis=None)
    shared = audit.shared_patients(index)
    assert len(shared) == 170 and not shared["same_kind"].any() and shared["test"].sum() == 320
    assert audit.patients(index).loc[0].tolist() == ["person23", 31, "bacteria, virus", "train, test"]
    scores = audit.boosted_scores(audit.picture_statistics(pixels).to_numpy(), index)
    train, test = index["split"] == "train", index["split"] == "test"
    assert roc_auc_score(index["label"][train], scores[train]) == pytest.approx(0.967, abs=0.01)
    assert roc_auc_score(index["label"][test], scores[test]) == pytest.approx(0.911, abs=0.02)
    assert np.mean((scores >= 0.5) == index["label"]) > 0.9
