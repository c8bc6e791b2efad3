"""The small archive for slow Wi-Fi: all images at 224 px, and what they are."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import draw_tiny, tiny_names
from PIL import Image

from cxr_utils import cli, dataset, images, sources
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources.pack import SIZE, pack

pytestmark = pytest.mark.filterwarnings("ignore:.*the number of images is not the one of")


@pytest.fixture
def data(tmp_path):
    """A data folder with the tiny dataset as the source folder."""
    folder = tmp_path / "data"
    sources.fetch("folder", path=draw_tiny(tmp_path / "tiny") / "chest_xray", data_dir=folder)
    return folder


@pytest.fixture
def packed(data, tmp_path):
    pack(tmp_path / "out.zip", source="folder", data_dir=data)
    return tmp_path / "out.zip"


def rewrite(archive: Path, change) -> Path:
    """Write an archive again, each member as `change` (name, content) gives it, or without it."""
    target = archive.with_name("changed.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if (content := change(name, old.read(name))) is not None:
                new.writestr(name, content)
    return target


def test_what_is_in_it(data, packed):
    with zipfile.ZipFile(packed) as archive:
        assert set(archive.namelist()) == {*tiny_names(), "README.txt", "source.json", "manifest.csv"}
        manifest = pd.read_csv(archive.open("manifest.csv"))
        assert set(manifest["path"]) == set(tiny_names())
        for path, digest in zip(manifest["path"], manifest["sha256"], strict=True):
            assert hashlib.sha256(archive.read(path)).hexdigest() == digest
            with Image.open(archive.open(path)) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "L", (SIZE, SIZE))
        name = tiny_names()[0]
        with Image.open(io.BytesIO(archive.read(name))) as image:
            original = images.resize(images.read(data / "folder" / name), SIZE)
            assert np.abs(np.asarray(image).astype(int) - original).mean() < 3
        text = archive.read("README.txt").decode()
        assert "CC BY 4.0" in text and "Kermany" in text and "squashed to 224 x 224" in text
        assert "SYNTHETIC" not in text
        everything = text + archive.read("source.json").decode()
    assert str(data) not in everything and "/" not in json.loads(everything[len(text) :])["packed"]["source"]


def test_the_same_images_give_the_same_bytes(data, packed, tmp_path):
    pack(tmp_path / "again.zip", data_dir=data)
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_it_is_taken_in_again_and_known_as_copies(data, packed, tmp_path):
    folder = sources.fetch("folder", path=packed, data_dir=tmp_path / "new")
    record = sources.describe(folder)
    assert record["packed"] == {"source": "folder", "size": 224, "quality": 80, "images": len(tiny_names())}
    assert (record["synthetic"], record["licence"], record["left_out"]) == (False, "CC BY 4.0", [])
    assert sorted(path.name for path in folder.iterdir()) == ["chest_xray", "source.json"]
    old, new = dataset.scan(data / "folder"), dataset.scan(folder)
    # Duplicates stay duplicates, so the groups of patients stay the same.
    pd.testing.assert_frame_equal(old[["path", "label", "patient"]], new[["path", "label", "patient"]])
    assert set(new["width"]) == {224} and set(new["mode"]) == {"L"}
    # Packed once more, and as a folder, they are still known as copies.
    again = sources.fetch("folder", path=folder, data_dir=tmp_path / "third")
    assert sources.describe(again)["packed"]["size"] == 224


def test_phantoms_stay_synthetic(data, tmp_path, capsys):
    (data / "folder").rename(data / "sample")
    record = json.loads((data / "sample" / "source.json").read_text())
    record |= {"source": "sample", "synthetic": True, "title": "Phantom chest radiographs", "licence": "MIT", "seed": 7}
    (data / "sample" / "source.json").write_text(json.dumps(record))
    assert cli.main(["pack", str(tmp_path / "p.zip"), "--data-dir", str(data)]) == 0
    assert "Phantom chest radiographs (MIT) - synthetic, from the source sample" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        assert "SYNTHETIC" in archive.read("README.txt").decode()
    arguments = ["fetch", "--source", "folder", "--path", str(tmp_path / "p.zip"), "--data-dir", str(tmp_path / "new")]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Phantom chest radiographs (MIT) - synthetic" in out and "copies at 224 px" in out
    about = sources.describe(tmp_path / "new" / "folder")
    assert (about["synthetic"], about["source"], about["packed"]["seed"]) == (True, "folder", 7)


CHANGES = {
    "changed": lambda name, content: content[:-2] + b"\xff\xd9 " if name.endswith("9-0001.jpeg") else content,
    "missing": lambda name, content: None if "person1_" in name else content,
    "no manifest": lambda name, content: None if name == "manifest.csv" else content,
    "other manifest": lambda name, content: b"a,b\n1,2\n" if name == "manifest.csv" else content,
    "broken manifest": lambda name, content: b"" if name == "manifest.csv" else content,
    "broken marks": lambda name, content: b"{" if name == "source.json" else content,
    "odd marks": lambda name, content: content.replace(b'"CC BY', b'"\\u001b[2J') if name == "source.json" else content,
    "other type": lambda name, content: content.replace(b"false", b'"no"') if name == "source.json" else content,
}
SAYS = {
    "changed": r"chest_xray/test/NORMAL/\S+ in it was changed since it was packed; get the archive again",
    "missing": r"person1_\S+ in it is missing",
    "no manifest": "has no manifest",
    "other manifest": "has no manifest",
    "broken manifest": "has no manifest",
    "broken marks": "source.json: not a readable JSON file",
    "odd marks": "licence in its source.json is not what",
    "other type": "synthetic in its source.json is not what",
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_archive_is_refused(kind, packed, tmp_path):
    archive = rewrite(packed, CHANGES[kind])
    with pytest.raises(BadInput, match=SAYS[kind]) as caught:
        sources.fetch("folder", path=archive, data_dir=tmp_path / "new")
    assert str(archive) in str(caught.value) and "\x1b" not in str(caught.value)
    assert [path.name for path in (tmp_path / "new").iterdir() if path.suffix != ".lock"] == []


def test_an_added_image_is_refused(packed, tmp_path):
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("chest_xray/train/NORMAL/IM-9999-0001.jpeg", b"x")
    with pytest.raises(BadInput, match="IM-9999-0001.jpeg in it was added"):
        sources.fetch("folder", path=packed, data_dir=tmp_path / "new")


def test_wrong_arguments(data, packed, tmp_path):
    with pytest.raises(BadInput, match="out.zip: is there already"):
        pack(packed, data_dir=data)
    with pytest.raises(BadInput, match="ends in .zip"):
        pack(tmp_path / "out.tar", data_dir=data)
    with pytest.raises(
        BadInput, match="source 'web': choose one of kaggle, folder, medmnist, sample, chestmnist, elsewhere"
    ):
        pack(tmp_path / "o.zip", source="web", data_dir=data)
    with pytest.raises(BadInput, match="sample: nothing was fetched there; first run `cxr fetch --source sample`"):
        pack(tmp_path / "o.zip", source="sample", data_dir=data)
    with pytest.raises(BadInput, match="nothing was fetched there; first run `cxr fetch --source kaggle`"):
        pack(tmp_path / "o.zip", data_dir=tmp_path)
    copy = data / "folder" / "chest_xray" / "train" / "NORMAL"
    (copy / "IM-0115-0001.png").write_bytes((copy / "IM-0115-0001.jpeg").read_bytes())
    with pytest.raises(BadInput, match="two files that would both be .*IM-0115-0001.jpeg"):
        pack(tmp_path / "o.zip", data_dir=data)


def test_what_fails_leaves_nothing(data, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cxr_utils.sources.pack._add", full)
    with pytest.raises(CxrError, match="o.zip: No space left on device; make room or"):
        pack(tmp_path / "o.zip", data_dir=data)
    assert not list(tmp_path.glob("*o*.zip"))


def test_the_real_images(shared_data, tmp_path):
    """All 5,856 real images fit in about 40 MB; here, those of which originals are at hand."""
    data = tmp_path / "data"
    sources.fetch("folder", path=shared_data / "chest-xray-originals-sample.zip", data_dir=data)
    made = pack(tmp_path / "o.zip", data_dir=data)
    assert made["images"] == 56 and 5_000 < made["bytes"] / made["images"] < 9_000
