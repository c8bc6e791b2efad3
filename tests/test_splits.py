"""Splits: every image once, test untouched, patients whole, and the leaks counted."""

import numpy as np
import pandas as pd
import pytest
from helpers import RESULTS
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_utils import dataset, splits
from cxr_utils.errors import BadInput
from cxr_utils.replication import score


@st.composite
def indexes(draw):
    """Indexes without images: patients with several images, some with two kinds, some unknown."""
    size = draw(st.integers(12, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    people, unknown = draw(st.integers(2, 30)), draw(st.sampled_from([0.0, 0.3, 1.0]))
    rows = []
    for number in range(size):
        kind = dataset.KINDS[rng.integers(3)]
        who, split = int(rng.integers(people)), rng.choice(dataset.SPLITS, p=[0.7, 0.1, 0.2])
        ill = kind != "normal"
        name = f"person{who}_{kind}_{number}" if ill else f"IM-{who:04d}-{number:04d}"
        patient = None if rng.random() < unknown else name.rpartition("_" if ill else "-")[0].split("_")[0]
        path = f"chest_xray/{split}/{dataset.CLASSES[ill]}/{name}.jpeg"
        rows.append((path, split, int(ill), kind, patient, f"{number:064d}"))
    index = pd.DataFrame(rows, columns=["path", "split", "label", "kind", "patient", "sha256"])
    return index.astype({"patient": "string"}).sort_values("path", ignore_index=True)


@settings(deadline=None, max_examples=60)
@given(indexes(), st.sampled_from(list(splits.METHODS)), st.integers(0, 1000))
def test_every_image_once_and_test_untouched(index, how, seed):
    split = splits.make(index, how, seed=seed)
    assert split["path"].tolist() == index["path"].tolist() and split.index.equals(index.index)
    assert split.columns.tolist() == ["path", "patient", "label", "kind", "part", "patient_known"]
    assert set(split["part"]) <= set(splits.PARTS)
    assert ((split["part"] == "test") == (index["split"] == "test")).all()
    assert (split["patient_known"] == index["patient"].notna()).all() and not split.attrs
    pd.testing.assert_frame_equal(split, splits.make(index, how, seed=seed))
    assert splits.sizes(split).to_numpy().sum() == len(index)
    shuffled = index.sample(frac=1, random_state=1)
    assert splits.digest(splits.make(shuffled, how, seed=seed)) == splits.digest(split)


@settings(deadline=None, max_examples=60)
@given(indexes(), st.integers(0, 1000), st.floats(0.05, 0.5))
def test_patients_stay_whole_and_shares_hold(index, seed, share):
    split = splits.grouped(index, seed=seed, validation=share)
    outside = split[split["part"] != "test"]
    assert outside.dropna(subset="patient").groupby("patient")["part"].nunique().le(1).all()
    table = splits.leaks(split, index).set_index(["between", "leak"])["count"]
    here = table["train / validation"].dropna()
    assert (here == 0).all()
    everywhere = splits.group_names(index)
    groups, kinds = everywhere[outside.index], pd.crosstab(everywhere, index["kind"])
    sole = kinds[(kinds > 0).sum(axis=1) == 1].idxmax(axis=1)
    if len(sole) == len(kinds) == groups.nunique():  # no group has two kinds, or images in test alone
        chosen = set(groups[outside["part"] == "validation"])
        for _, names in sole.groupby(sole):
            expected = min(max(1, round(share * len(names))), len(names) - 1)
            assert len(chosen & set(names.index)) == expected


def test_shares_per_kind_on_many_patients():
    rows = []
    for kind, people in (("bacteria", 200), ("virus", 100), ("normal", 80)):
        for who in range(people):
            for image in range(1 + who % 3):
                rows.append((f"chest_xray/train/X/{kind}{who}-{image}.png", kind, f"{kind}{who}"))
    index = pd.DataFrame(rows, columns=["path", "kind", "patient"]).assign(split="train")
    index["label"] = (index["kind"] != "normal").astype("int64")
    index["sha256"] = [f"{row:064d}" for row in range(len(index))]
    index["patient"] = index["patient"].astype("string")
    split = splits.grouped(index)
    validation = split[split["part"] == "validation"].groupby("kind")["patient"].nunique()
    assert validation.to_dict() == {"bacteria": 30, "normal": 12, "virus": 15}
    by_image = splits.stratified(index)
    shares = by_image.groupby("label")["part"].agg(lambda part: (part == "validation").mean())
    assert shares.between(0.145, 0.155).all()


def test_a_patient_with_two_kinds_counts_as_the_larger(tiny_index):
    groups = splits.group_names(tiny_index)
    images = pd.crosstab(groups, tiny_index["kind"]).loc["person6"]
    assert images["bacteria"] == 3 and images["virus"] == 1
    for seed in range(20):
        parts = splits.grouped(tiny_index, seed=seed).set_index("path")["part"]
        assert parts[parts.index.str.contains("person6_")].nunique() == 1


def test_unknown_patients_but_identical_files_stay_together(tiny_index):
    index = tiny_index.assign(patient=pd.array([pd.NA] * len(tiny_index), dtype="string"))
    for seed in range(10):
        split = splits.grouped(index, seed=seed)
        table = splits.leaks(split, index).set_index(["between", "leak"])
        assert table.loc[("train / validation", "images with an exact duplicate"), "count"] == 0
        assert table.loc[("train / validation", "patients on both sides")].isna().all()
        assert not split["patient_known"].any()


def test_seeds_differ(tiny_index):
    for how in ("stratified", "grouped"):
        assert len({splits.digest(splits.make(tiny_index, how, seed=seed)) for seed in range(5)}) == 5
    assert splits.digest(splits.official(tiny_index)) == splits.digest(splits.make(tiny_index, "official", seed=9))


def test_digest_is_of_names_and_parts(tiny_index):
    split = splits.grouped(tiny_index)
    renamed = split.assign(path=split["path"].str.replace("chest_xray", "x").str.replace(".jpeg", ".png"))
    assert splits.digest(renamed[::-1]) == splits.digest(split)
    other = split.copy()
    other.loc[0, "part"] = "train"
    assert splits.digest(other) != splits.digest(split)
    copies = tiny_index.assign(path=renamed["path"], sha256=tiny_index["sha256"].str[::-1], width=224)
    assert splits.digest(splits.grouped(copies)) == splits.digest(split)


def test_leaks_are_counted_where_they_are_known(tiny_index):
    table = splits.leaks(splits.official(tiny_index), tiny_index)
    assert table.shape == (9, 4) and str(table["count"].dtype) == "Int64"
    counted = table.set_index(["between", "leak"])["count"]
    assert counted["train / test", "patients on both sides"] == 5
    assert counted["train / test", "images of these patients"] == 5
    shares = table.set_index(["between", "leak"])["share"]
    assert shares["train / test", "images of these patients"] == pytest.approx(5 / 15)
    split = splits.official(tiny_index)
    split.loc[split["path"].str.contains("person2_bacteria_7"), "part"] = "validation"
    counted = splits.leaks(split, tiny_index).set_index(["between", "leak"])["count"]
    assert counted["train / validation"].tolist() == [1, 1, 1]


def test_sizes(tiny_index):
    table = splits.sizes(splits.official(tiny_index))
    assert table.index.tolist() == list(splits.PARTS) and table.loc["train"].tolist() == [18, 28]


@settings(deadline=None, max_examples=60)
@given(indexes(), st.floats(0.1, 0.5), st.sampled_from(["train", "train and val"]), st.integers(0, 1000))
def test_a_published_share_is_drawn_by_image_from_where_it_was(index, share, of, seed):
    index["label"] = np.arange(len(index)) % 2  # both classes often enough to be stratified
    inside = index["split"].isin(["train", "val"] if of == "train and val" else ["train"])
    if min(inside.sum() * share, index["label"][inside].value_counts().min(), inside.sum() * (1 - share)) < 2:
        return
    split = splits.published(index, validation=share, of=of, seed=seed)
    assert split["path"].tolist() == index["path"].tolist()
    assert ((split["part"] == "test") == (index["split"] == "test")).all()
    assert set(split["part"][inside]) == {"train", "validation"}
    aside = (index["split"] == "val") & ~inside
    assert ((split["part"] == "unused") == aside).all()
    validation = split["part"] == "validation"
    assert validation.sum() == np.ceil(share * inside.sum())
    expected = index["label"][inside].mean() * validation.sum()
    assert abs(index["label"][validation].sum() - expected) <= 1
    shuffled = index.sample(frac=1, random_state=1)
    again = splits.published(shuffled, validation=share, of=of, seed=seed)
    assert splits.digest(again) == splits.digest(split)


def test_a_published_share_is_that_of_scikit_learn(tiny_index):
    from sklearn.model_selection import train_test_split

    rows = tiny_index[tiny_index["split"] != "test"].assign(name=lambda t: t["path"].map(dataset.stem_of))
    rows = rows.sort_values("name")
    _, chosen = train_test_split(rows["path"], test_size=0.2, random_state=42, stratify=rows["label"])
    how = {"validation": 0.2, "of": "train and val", "random_state": 42}
    for seed in (0, 1):  # the authors' own state, whatever the seed of the run
        split = splits.published(tiny_index, **how, seed=seed)
        assert set(split["path"][split["part"] == "validation"]) == set(chosen)
    free = {splits.digest(splits.published(tiny_index, validation=0.2, seed=seed)) for seed in range(4)}
    assert len(free) == 4
    plain = splits.published(tiny_index, validation=0.2, stratify=False, seed=0)
    assert splits.digest(plain) != splits.digest(splits.published(tiny_index, validation=0.2, seed=0))


def test_published_folders_as_validation(tiny_index):
    as_val = splits.published(tiny_index, validation="val")
    assert splits.digest(as_val) == splits.digest(splits.official(tiny_index))
    on_test = splits.published(tiny_index, validation="test")
    parts = tiny_index["split"].map({"train": "train", "val": "unused", "test": "test"})
    assert on_test["part"].tolist() == parts.tolist()
    joined = splits.published(tiny_index, validation="test", of="train and val")
    assert set(joined["part"][tiny_index["split"] == "val"]) == {"train"}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"validation": "train"}, "validation: 'train'"),
        ({"validation": 1.0}, "validation: 1.0"),
        ({"validation": 0}, "validation: 0"),
        ({"validation": 0.2, "of": "all"}, "of: 'all'"),
    ],
)
def test_a_wrong_published_split_is_refused(tiny_index, how, words):
    with pytest.raises(BadInput, match=words):
        splits.published(tiny_index, **how)


@pytest.mark.parametrize("share", [0, 1, -0.1, 15])
def test_a_wrong_share_is_refused(tiny_index, share):
    for method in (splits.stratified, splits.grouped):
        with pytest.raises(BadInput, match="validation"):
            method(tiny_index, validation=share)


def test_wrong_method_and_wrong_index(tiny_index):
    with pytest.raises(BadInput, match="official, stratified, grouped"):
        splits.make(tiny_index, "random")
    with pytest.raises(BadInput, match="not made from this index"):
        splits.leaks(splits.official(tiny_index), tiny_index[::-1])


def test_the_real_splits(real):
    index = dataset.scan(real)
    counted = splits.leaks(splits.official(index), index).set_index(["between", "leak"])["count"]
    assert counted["train / test", "patients on both sides"] == 170
    assert counted["train / test", "images of these patients"] == 320
    assert counted["train / test", "images with an exact duplicate"] == 0
    leaking = splits.leaks(splits.stratified(index), index).set_index(["between", "leak"])["count"]
    assert leaking["train / validation", "patients on both sides"] > 300
    split = splits.grouped(index)
    assert (splits.leaks(split, index)["count"][:3] == 0).all()
    assert splits.sizes(split).loc["test"].tolist() == [234, 390]
    assert splits.digest(split) == score.HONEST == "98ef3b64854cd068"  # names and seed alone: the same everywhere


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 1])), min_size=4, max_size=120), st.integers(1, 20))
def test_rarer_moves_whole_patients_of_one_class(rows, one_for):
    table = pd.DataFrame(rows, columns=["patient", "label"])
    table = table.assign(path=[f"{n}.png" for n in range(len(rows))], patient="p" + table["patient"].astype(str))
    split = table.assign(part="train")
    if not ((split["label"] == 0).any() and (split["label"] == 1).any()):
        return
    found = splits.rarer(split, one_for=one_for)
    assert (split["part"] == "train").all()  # what was given stays
    kept = found[found["label"] == 1]
    assert (kept["part"] == "train").all()
    mine = found[found["label"] == 0]
    assert mine.groupby("patient")["part"].nunique().le(1).all()
    torn = mine["patient"].isin(kept["patient"])
    assert (mine["part"] == "unused").equals(torn)
    largest = mine.loc[~torn].groupby("patient").size()
    assert (mine["part"] == "train").sum() <= max(len(kept) // one_for, largest.max() if len(largest) else 0)


# Five folds


@settings(deadline=None, max_examples=40)
@given(indexes(), st.integers(1, 8), st.integers(0, 1000))
def test_folds_keep_persons_files_and_blocks_whole_and_leave_test_out(index, block, seed):
    index["sha256"] = index["sha256"].where(index.index % 7 > 0, "twins")  # these tie whatever blocks they are in
    outside = index[index["split"] != "test"].reset_index(drop=True)
    try:
        table = splits.folds(index, block=block, seed=seed)
    except BadInput as error:
        assert "can't be dealt" in str(error)
        return
    assert table["path"].tolist() == outside["path"].tolist()
    assert set(table["part"]) == set(splits.FOLDS)
    for whole in ("group", "block", splits.group_names(outside), outside["sha256"]):
        assert table.groupby(whole)["part"].nunique().max() == 1
    number = table["path"].str.extract(r"(?:person|IM-)(\d+)")[0].astype(int)
    assert (table["block"] == table["source"] + " " + (number // block * block).astype(str).str.zfill(4)).all()
    shuffled = index.sample(frac=1, random_state=seed)
    renamed = shuffled.assign(path=shuffled["path"].str.replace("chest_xray", "x").str.replace(".jpeg", ".png"))
    assert splits.digest(splits.folds(renamed, block=block, seed=seed)) == splits.digest(table)


def committed(digest):
    table = pd.read_csv(RESULTS / "splits" / f"{digest}.csv.gz", dtype={"patient": "string"})
    assert splits.digest(table) == digest
    return table


def test_the_committed_folds_come_from_names_alone():
    index = committed(score.FOLDS).assign(split="train", sha256=lambda table: table["path"])
    table = splits.folds(index)
    assert splits.digest(table) == score.FOLDS and len(table) == 5232
    assert not table["path"].str.contains("/test/").any()
    made = {fold: splits.fold(index, fold) for fold in splits.FOLDS}
    for fold, split in made.items():
        assert (committed(splits.digest(split))["part"] == split["part"]).all()
        assert ((split["part"] == "test") == (table["part"] == fold)).all()
        assert split.groupby("group")["part"].nunique().max() == 1
        assert 0.08 < (split["part"] == "validation").mean() < 0.15


def test_the_committed_folds_are_even():
    table = committed(score.FOLDS)
    for column, most in {"kind": 0.09, "label": 0.05}.items():
        counts = pd.crosstab(table["part"], table[column])
        assert (counts / counts.mean() - 1).abs().max().max() < most
    assert table.groupby("part")["label"].mean().between(0.73, 0.76).all()


def test_too_few_blocks_are_said(tiny_index):
    with pytest.raises(BadInput, match="index: 3 blocks of numbers can't be dealt into 5 parts"):
        splits.folds(tiny_index, block=10_000)
    with pytest.raises(BadInput, match="fold: 'test'; choose one of fold1"):
        splits.fold(tiny_index, "test")
