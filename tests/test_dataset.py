"""Names, the index, the quarantine, and what is known of the real dataset."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import draw_tiny, tiny_names

from cxr_utils import dataset
from cxr_utils.errors import BadInput


@pytest.mark.parametrize(
    ("name", "kind", "patient"),
    [
        ("person23_bacteria_78.jpeg", "bacteria", "person23"),
        ("person1_virus_6.jpeg", "virus", "person1"),
        ("person447_virus_921_1.jpeg", "virus", "person447"),
        ("IM-0115-0001.jpeg", "normal", "IM-0115"),
        ("IM-0131-0001-0002.jpeg", "normal", "IM-0131"),
        ("NORMAL2-IM-0095-0001.jpeg", "normal", "NORMAL2-IM-0095"),
        ("chest_xray/train/NORMAL/IM-0115-0001.JPG", "normal", "IM-0115"),
        ("chest_xray\\train\\NORMAL\\IM-0115-0001.png", "normal", "IM-0115"),
        ("IM-0115-0001", "normal", "IM-0115"),
        ("BACTERIA-7422-0001.jpeg", "bacteria", "PNEUMONIA-7422"),
        ("VIRUS-7422-0002.jpeg", "virus", "PNEUMONIA-7422"),
        ("NORMAL-7422-0001.jpeg", "normal", "NORMAL-7422"),
        ("medmnist-train-00001-normal.png", "normal", None),
        ("medmnist-test-00623-pneumonia.png", "unknown", None),
        ("clinic-p0012-3-virus.png", "virus", "clinic-p0012"),
    ],
)
def test_names(name, kind, patient):
    assert dataset.parse_name(name) == (kind, patient)


@pytest.mark.parametrize(
    "name",
    ["", "scan.jpeg", "person_bacteria_1.jpeg", "person1_fungus_1.jpeg", "IM-1.jpeg", "xIM-1-1.jpeg", "a-p1-1-flu.png"],
)
def test_other_names_are_refused_by_name(name):
    with pytest.raises(BadInput, match=r"not a file name of this dataset"):
        dataset.parse_name(name)


def test_index(tiny, tiny_index):
    index = tiny_index
    assert tuple(index.columns) == dataset.COLUMNS
    assert index["path"].tolist() == sorted(tiny_names())
    assert {name: str(index[name].dtype) for name in ("label", "width", "height", "patient")} == {
        "label": "int64", "width": "int64", "height": "int64", "patient": "string",
    }  # fmt: skip
    assert set(index["kind"]) == set(dataset.KINDS) and set(index["mode"]) == {"L", "RGB"}
    assert ((index["kind"] == "normal") == (index["label"] == 0)).all()
    assert index["height"].between(40, 48).all() and index["sha256"].str.len().eq(64).all()
    assert len(dataset.quarantine(tiny)) == 0


def test_exact_duplicates_share_the_smallest_patient(tiny_index):
    patient = tiny_index.set_index("path")["patient"]
    assert patient["chest_xray/test/NORMAL/NORMAL2-IM-0096-0001.jpeg"] == "NORMAL2-IM-0095"
    assert patient["chest_xray/test/NORMAL/NORMAL2-IM-0097-0001.jpeg"] == "NORMAL2-IM-0097"


def test_duplicates_join_in_chains():
    patients = pd.Series(["d", "c", "c", "b", "a", "e", None, None], dtype="string")
    hashes = pd.Series(list("11223455"))
    assert dataset.join_duplicates(patients, hashes) == ["b", "b", "b", "b", "a", "e", None, None]


def test_the_kept_index_is_used_and_equal(tiny, tiny_index, monkeypatch):
    monkeypatch.setattr(dataset, "_look", None)  # a second look would fail
    pd.testing.assert_frame_equal(dataset.scan(tiny), tiny_index)
    assert not list(tiny.glob(".*"))


def test_a_changed_folder_is_scanned_again(tiny, tiny_index):
    gone = tiny / tiny_index.loc[0, "path"]
    gone.unlink()
    assert dataset.scan(tiny)["path"].tolist() == tiny_index["path"].tolist()[1:]


@pytest.mark.parametrize(
    ("name", "content"),
    [("index.csv", None), ("index.json", None), ("quarantine.csv", None), ("index.json", ""), ("index.json", "{"),
     ("index.json", "[]"), ("index.json", "{}"), ("index.json", "[" * 100_000)],
)  # fmt: skip
def test_an_index_without_a_part_is_made_again(tiny, tiny_index, name, content):
    if content is None:
        (tiny / name).unlink()
    else:
        (tiny / name).write_text(content)
    pd.testing.assert_frame_equal(dataset.scan(tiny), tiny_index)
    assert len(dataset.quarantine(tiny)) == 0


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("index.csv", None, ""),
        ("index.csv", None, "path\nx"),
        ("index.csv", None, "\0" * 99),
        ("index.csv", "NORMAL,0", "NORMAL,2"),  # no such text: a header alone is left
        ("index.csv", ",train,0,", ",train,1,"),
        ("index.csv", ",IM-0115,", ",IM-0116,"),
        ("index.csv", "label", "class"),
        ("index.csv", "\n", "\r\n"),
        ("quarantine.csv", None, ""),
        ("quarantine.csv", None, "name\nx"),
        ("quarantine.csv", "path,reason\n", "path,reason\nx,y\n"),
    ],
)
def test_a_table_edited_by_hand_is_made_again_and_says_so(tiny, tiny_index, name, old, new):
    text = (tiny / name).read_text()
    (tiny / name).write_text(new if old is None or old not in text else text.replace(old, new), newline="")
    with pytest.warns(UserWarning, match="index.csv or quarantine.csv is not as it was written; they are made again"):
        index = dataset.scan(tiny)
    pd.testing.assert_frame_equal(index, tiny_index)
    assert len(dataset.quarantine(tiny)) == 0


def test_a_quarantine_table_that_is_none_is_refused(tiny, tiny_index):
    (tiny / "quarantine.csv").write_text("name\nx")
    with pytest.raises(BadInput, match="quarantine.csv: column 'path' is missing"):
        dataset.quarantine(tiny)


def test_odd_names_and_things_that_are_no_files_are_listed(tiny):
    train = tiny / "chest_xray/train/NORMAL"
    whole = (train / "IM-0115-0001.jpeg").read_bytes()
    names = ["IM-0900-0001\n.jpeg", "IM 0900.jpeg", "it's \"quoted\", yes.jpeg", "IM-0900-0001,.jpeg",
             "Röntgen 胸.jpeg", "IM-٠٩٠٠-0001.jpeg", "\x1b[31mred.jpeg", "=1+1.jpeg"]  # fmt: skip
    for name in names:
        (train / name).write_bytes(whole)
    with open(bytes(train) + b"/IM-09\xff-0001.jpeg", "wb") as opened:
        opened.write(whole)
    (train / "IM-0901-0001.jpeg").mkdir()
    (train / "IM-0902-0001.jpeg").symlink_to(train / "nowhere.jpeg")
    (train / "IM-0903-0001.jpeg").symlink_to(train / "IM-0903-0001.jpeg")
    os.mkfifo(train / "IM-0904-0001.jpeg")
    with pytest.warns(UserWarning, match="13 of 78 images can't be used"):
        index = dataset.scan(tiny, allow=0.5)
    assert index["path"].tolist() == sorted(tiny_names())
    with pytest.warns(UserWarning, match="13 of 78"):  # and once more from the kept tables
        pd.testing.assert_frame_equal(dataset.scan(tiny, allow=0.5), index)
    table = dataset.quarantine(tiny)
    reasons = {path.rpartition("/")[2]: reason for path, reason in zip(table["path"], table["reason"], strict=True)}
    assert len(reasons) == 13
    assert "\\x1b[31mred.jpeg" in reasons and "IM-0900-0001\\n.jpeg" in reasons and "IM-09\\udcff-0001.jpeg" in reasons
    assert reasons["IM-0901-0001.jpeg"] == "is a folder, not a file"
    assert reasons["IM-0902-0001.jpeg"] == "is a link to nothing"
    assert reasons["IM-0903-0001.jpeg"].startswith("can't be read (")
    assert reasons["IM-0904-0001.jpeg"] == "is a pipe or device, not a file"
    assert reasons["IM-٠٩٠٠-0001.jpeg"].startswith("not a file name of this dataset")
    lines = (tiny / "quarantine.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 14 and all(line.isprintable() for line in lines)


@pytest.mark.skipif(os.name == "nt", reason="permissions of this kind are not Windows'")
def test_a_file_that_may_not_be_read_is_listed():
    from cxr_utils import images  # noqa: F401 (loaded while it may be)

    with tempfile.TemporaryDirectory() as name:  # where anybody may look
        folder = draw_tiny(Path(name) / "tiny")
        folder.parent.chmod(0o755)
        locked, open_ = (f"chest_xray/train/NORMAL/IM-{number}-0001.jpeg" for number in ("0115", "0116"))
        (folder / locked).chmod(0)
        as_root = not os.geteuid()
        try:
            if as_root:
                os.seteuid(65534)
            found = [dataset._look(folder, path) for path in (locked, open_)]
        finally:
            if as_root:
                os.seteuid(0)
    assert found[0] == {"path": locked, "reason": "can't be read (permission denied)"}
    assert found[1]["patient"] == "IM-0116"


def test_unusable_images_are_left_out_with_a_reason(tiny):
    train = tiny / "chest_xray/train"
    whole = (train / "NORMAL/IM-0115-0001.jpeg").read_bytes()
    (train / "NORMAL/IM-0900-0001.jpeg").write_bytes(whole[: len(whole) // 2])
    (train / "NORMAL/IM-0901-0001.jpeg").write_bytes(b"")
    (train / "NORMAL/IM-0902-0001.png").write_text("no image")
    (train / "NORMAL/holiday.jpeg").write_bytes(whole)
    (train / "PNEUMONIA/IM-0115-0001.jpeg").write_bytes(whole)
    (train / "NORMAL/notes.txt").write_text("no image by its name: passed over")
    with pytest.raises(BadInput, match=r"5 of 70 images can't be used.*allow"):
        dataset.scan(tiny)
    with pytest.warns(UserWarning, match="5 of 70 images can't be used.*left out"):
        index = dataset.scan(tiny, allow=0.1)
    assert index["path"].tolist() == sorted(tiny_names())
    reasons = dataset.quarantine(tiny).set_index("path")["reason"]
    assert len(reasons) == 5
    assert "its name says normal" in reasons["chest_xray/train/PNEUMONIA/IM-0115-0001.jpeg"]
    assert "truncated" in reasons["chest_xray/train/NORMAL/IM-0900-0001.jpeg"]
    assert "no known format" in reasons["chest_xray/train/NORMAL/IM-0902-0001.png"]
    with pytest.warns(UserWarning, match="left out"):  # the kept index says so too
        dataset.scan(tiny, allow=0.1)
    with pytest.raises(BadInput, match="5 of 70"):
        dataset.scan(tiny)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(BadInput, match="cxr fetch"):
        dataset.scan(tmp_path)
    with pytest.raises(BadInput, match="scan first"):
        dataset.quarantine(tmp_path)


def test_relative_folders_are_under_home(tiny, home, monkeypatch):
    tiny.rename(home / "sets")
    assert len(dataset.scan("sets")) == len(tiny_names())


def test_unknown_patients_stay_unknown(tmp_path):
    from PIL import Image

    for label, name in (("NORMAL", "normal"), ("PNEUMONIA", "pneumonia")):
        place = tmp_path / "chest_xray/train" / label
        place.mkdir(parents=True)
        for number in range(2):  # equal files: still unknown
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(place / f"medmnist-train-{number:05d}-{name}.png")
    for _ in range(2):
        index = dataset.scan(tmp_path)
        assert index["patient"].isna().all() and str(index["patient"].dtype) == "string"
    assert index["kind"].tolist() == ["normal", "normal", "unknown", "unknown"]


def test_counts_and_their_differences(tiny_index):
    table = dataset.counts(tiny_index)
    assert table.index.tolist() == ["train", "val", "test"] and list(table.columns) == list(dataset.CLASSES)
    assert table.to_numpy().tolist() == [[18, 28], [2, 2], [7, 8]]
    lines = dataset.count_differences(tiny_index)
    assert len(lines) == 6 and lines[0] == "train/NORMAL: 18 found, 1,341 expected"
    assert dataset.counts(tiny_index[tiny_index["label"] == 0])["PNEUMONIA"].tolist() == [0, 0, 0]


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, cxr_utils.dataset, cxr_utils.splits, cxr_utils.audit, cxr_utils.images\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'imblearn', 'scipy', 'matplotlib', 'papermill'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_real_names_are_read(shared_data):
    with zipfile.ZipFile(shared_data / "chest-xray-pneumonia-224.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpeg")]
    assert len(names) == 5856
    assert all((dataset.parse_name(name).kind == "normal") == ("/NORMAL/" in name) for name in names)
    assert len({dataset.stem_of(name) for name in names}) == len(names)


def test_facts_of_the_real_dataset(real):
    index = dataset.scan(real)
    assert dataset.count_differences(index) == [] and len(dataset.quarantine(real)) == 0
    pneumonia = index[index["label"] == 1]
    train, test = pneumonia[pneumonia["split"] == "train"], pneumonia[pneumonia["split"] == "test"]
    assert train["patient"].nunique() == 1635 and test["patient"].nunique() == 202
    assert (train["patient"] == "person23").sum() == 30
    numbers = set(train["patient"])
    assert len(numbers & set(test["patient"])) == 170 and test["patient"].isin(numbers).sum() == 320
    kinds = pneumonia.groupby(["patient", "kind"])["split"].nunique()
    assert (kinds == 1).all()  # a shared number never has the same kind on both sides
    named = index["path"].map(lambda path: dataset.parse_name(path).patient)
    joined = index[named != index["patient"]]
    assert joined["path"].tolist() == ["chest_xray/test/NORMAL/NORMAL2-IM-0096-0001.jpeg"]
    assert joined["patient"].tolist() == ["NORMAL2-IM-0095"]
