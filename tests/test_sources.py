"""The four sources: one layout, whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import Server, running
from PIL import Image

from cxr_utils import sources
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources import kaggle, medmnist

COUNTS = {
    "train": {"NORMAL": 2, "PNEUMONIA": 3},
    "val": {"NORMAL": 1, "PNEUMONIA": 1},
    "test": {"NORMAL": 1, "PNEUMONIA": 2},
}
few = pytest.mark.filterwarnings("ignore:.*the number of images is not the one of")


def jpeg() -> bytes:
    sink = io.BytesIO()
    Image.new("L", (4, 3), 99).save(sink, "JPEG")
    return sink.getvalue()


def names() -> list[str]:
    return [
        f"chest_xray/{split}/{name}/"
        + (f"IM-{n:04d}-0001.jpeg" if name == "NORMAL" else f"person{n}_virus_1.jpeg")
        for split, classes in COUNTS.items()
        for name, number in classes.items()
        for n in range(number)
    ]


def make_folder(top: Path) -> Path:
    for name in names():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(jpeg())
    return top / "chest_xray"


def make_archive() -> bytes:
    """An archive as Kaggle's: every image twice, and what macOS leaves behind."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in names():
            archive.writestr(name, jpeg())
            archive.writestr(f"chest_xray/{name}", jpeg())
        archive.writestr("chest_xray/__MACOSX/chest_xray/train/NORMAL/._IM-0000-0001.jpeg", b"-")
        archive.writestr("chest_xray/train/.DS_Store", b"-")
    return sink.getvalue()


def images(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / "chest_xray").rglob("*.*"))


def here(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def to_kaggle(server: Server, monkeypatch, home):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment(home).items():
        monkeypatch.setenv(name, value)
    server.content = make_archive()
    return server


# folder


@few
@pytest.mark.parametrize("below", ["chest_xray", ".", ".."])
def test_folder_takes_chest_xray_or_what_holds_it(tmp_path, data, below):
    given = make_folder(tmp_path / "input" / "chest-xray-pneumonia")
    folder = sources.fetch("folder", path=given.parent / below, data_dir=data)
    assert folder == tmp_path / "data" / "folder"
    assert images(folder) == sorted(names())
    assert sources.describe(folder)["counts"] == COUNTS
    assert sources.describe(folder)["left_out"] == []
    assert images(given.parent) == sorted(names())


@few
def test_folder_leaves_out_junk_and_names_it(tmp_path, data, capsys):
    given = make_folder(tmp_path / "kaggle")
    make_folder(given)
    for name in (
        ".DS_Store",
        "train/NORMAL/.DS_Store",
        "train/NORMAL/Thumbs.db",
        "__MACOSX/train/NORMAL/._a.jpeg",
    ):
        (given / name).parent.mkdir(parents=True, exist_ok=True)
        (given / name).write_bytes(b"-")
    folder = sources.fetch("folder", path=given, data_dir=data, progress=True)
    assert images(folder) == sorted(names())
    assert sources.describe(folder)["left_out"] == [
        ".DS_Store",
        "__MACOSX/ (1 file)",
        "chest_xray/ (10 files)",
        "train/NORMAL/.DS_Store",
        "train/NORMAL/Thumbs.db",
    ]
    assert "copying" in capsys.readouterr().err


@few
def test_folder_only_reads_its_source_and_the_copy_can_be_deleted(tmp_path, data):
    given = make_folder(tmp_path / "in")
    os.chmod(given / "train/NORMAL/IM-0000-0001.jpeg", stat.S_IRUSR)
    folder = sources.fetch("folder", path=given, data_dir=data)
    copy = folder / "chest_xray/train/NORMAL/IM-0000-0001.jpeg"
    assert copy.stat().st_mode & stat.S_IWUSR
    assert not copy.samefile(given / "train/NORMAL/IM-0000-0001.jpeg")


@few
def test_folder_follows_links_but_not_in_circles(tmp_path, data):
    given = make_folder(tmp_path / "in")
    (given / "circle").symlink_to(tmp_path / "in")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "xrays").symlink_to(given)
    folder = sources.fetch("folder", path=tmp_path / "linked", data_dir=data)
    assert images(folder) == sorted(names())


def test_folder_warns_of_another_count(tmp_path, data):
    given = make_folder(tmp_path / "in")
    with pytest.warns(
        UserWarning, match=r"train/NORMAL: 2 found, 1,341 expected; train/PNEUMONIA: 3 found, 3,875"
    ):
        sources.fetch("folder", path=given, data_dir=data)


@few
def test_folder_again_and_with_another_path(tmp_path, data, monkeypatch):
    given, other = make_folder(tmp_path / "in"), make_folder(tmp_path / "other")
    folder = sources.fetch("folder", path=given, data_dir=data)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    start = time.perf_counter()
    assert sources.fetch("folder", data_dir=data) == folder
    assert time.perf_counter() - start < 0.1
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    assert sources.fetch("folder", path="in/chest_xray", data_dir=data) == folder
    with pytest.raises(
        BadInput, match="already holds the images of .*in/chest_xray; to replace it delete"
    ) as caught:
        sources.fetch("folder", path=other, data_dir=data)
    assert str(other) in str(caught.value)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@few
def test_folder_of_phantoms_stays_synthetic(data, phantoms):
    sample = sources.fetch("sample", data_dir=data)
    folder = sources.fetch("folder", path=sample, data_dir=data)
    assert sources.describe(folder)["synthetic"] is True
    assert sources.describe(folder)["licence"] == "MIT"
    assert sources.describe(folder)["source"] == "folder"


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda p: p.mkdir(), "holds no folder chest_xray"),
        (lambda p: None, "there is no such folder or file"),
        (lambda p: p.write_text("<html>"), "is a web page"),
        (lambda p: (make_folder(p / "a"), make_folder(p / "b")), "holds 2 copies of the layout"),
        (lambda p: (p / "chest_xray/train/NORMAL").mkdir(parents=True), "holds no images in the layout"),
    ],
)
def test_folder_says_what_is_wrong_and_leaves_nothing(tmp_path, data, prepare, says):
    prepare(tmp_path / "given")
    with pytest.raises(BadInput, match=says) as caught:
        sources.fetch("folder", path=tmp_path / "given", data_dir=data)
    assert str(tmp_path / "given") in str(caught.value)
    assert here(data) == []


def test_folder_without_a_path(data):
    with pytest.raises(BadInput, match="cxr fetch --source folder --path P"):
        sources.fetch("folder", data_dir=data)


def test_real_archives(data, shared_data):
    archive = shared_data / "chest-xray-originals-sample.zip"
    with pytest.warns(UserWarning, match="val/NORMAL: 0 found, 8 expected"):
        folder = sources.fetch("folder", path=archive, data_dir=data / "originals")
    assert sources.describe(folder)["counts"]["train"] == {"NORMAL": 16, "PNEUMONIA": 40}
    folder = sources.fetch("folder", path=shared_data / "chest-xray-pneumonia-224.zip", data_dir=data / "all")
    assert len(images(folder)) == 5856


# sample


@pytest.fixture
def phantoms(monkeypatch):
    """Take the place of drawing, which has tests of its own."""
    from cxr_utils.sources import phantom

    calls = []

    def write(folder: Path, *, seed: int, progress: bool) -> None:
        calls.append(seed)
        time.sleep(0.1)
        make_folder(folder)

    monkeypatch.setattr(phantom, "write", write)
    return calls


def test_sample_is_drawn_once(data, phantoms):
    """Of four threads at the same time one draws; the others wait and find it drawn."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(sources.fetch("sample", data_dir=data)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [data / "sample"] * 4
    assert phantoms == [0]
    record = sources.describe(found[0])
    assert record["synthetic"] is True
    assert (record["source"], record["seed"], record["counts"]) == ("sample", 0, COUNTS)
    assert set(record) >= {"title", "licence", "attribution", "origin", "left_out"}


def test_sample_with_another_seed(data, phantoms):
    sources.fetch("sample", data_dir=data, seed=3)
    assert sources.fetch("sample", data_dir=data) == data / "sample"
    with pytest.raises(BadInput, match="seed 0: .* was drawn with seed 3; to replace it delete"):
        sources.fetch("sample", data_dir=data, seed=0)
    assert phantoms == [3]


def test_nothing_is_left_of_a_try_that_failed(data, monkeypatch, phantoms):
    from cxr_utils.sources import phantom

    def fail(folder: Path, **_: object) -> None:
        make_folder(folder)
        raise KeyboardInterrupt

    (data / ".sample-12345678.tmp" / "half").mkdir(parents=True)  # of a process that was killed
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phantom, "write", fail)
        sources.fetch("sample", data_dir=data)
    assert here(data) == []
    (data / "sample").mkdir()  # an empty folder is no obstacle
    sources.fetch("sample", data_dir=data)
    assert here(data) == ["sample"]


def test_a_folder_of_unknown_origin_is_left_alone(data, phantoms):
    make_folder(data / "sample")
    with pytest.raises(BadInput, match="not made by `cxr fetch`"):
        sources.fetch("sample", data_dir=data)
    assert images(data / "sample") == sorted(names())
    (data / "sample" / "source.json").write_text("[]")
    with pytest.raises(BadInput, match="not what `cxr fetch` writes"):
        sources.fetch("sample", data_dir=data)


def test_wrong_arguments(data):
    with pytest.raises(BadInput, match="source 'samples': choose one of sample, folder, kaggle, medmnist"):
        sources.fetch("samples", data_dir=data)
    with pytest.raises(BadInput, match="only the source folder takes a path"):
        sources.fetch("kaggle", path="x.zip", data_dir=data)
    data.write_text("")
    with pytest.raises(CxrError, match="choose another --data-dir"):
        sources.fetch("sample", data_dir=data)


# kaggle: the unmodified command against a server on this machine


@few
def test_kaggle(data, to_kaggle, capfd):
    folder = sources.fetch("kaggle", data_dir=data)
    assert images(folder) == sorted(names())
    record = sources.describe(folder)
    assert record["counts"] == COUNTS
    assert record["left_out"] == [
        "chest_xray/__MACOSX/ (1 file)",
        "chest_xray/chest_xray/ (10 files)",
        "chest_xray/train/.DS_Store",
    ]
    assert record["origin"].endswith("paultimothymooney/chest-xray-pneumonia/versions/2")
    assert here(folder) == ["chest_xray", "source.json"]
    assert any('"datasetVersionNumber": 2' in request for request in to_kaggle.requests)
    asked = len(to_kaggle.requests)
    assert sources.fetch("kaggle", data_dir=data) == folder
    assert len(to_kaggle.requests) == asked
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ((404, "Dataset not found"), "failed: Dataset not found"),
        ((401, "Unauthenticated"), "valid credentials"),
    ],
)
def test_kaggle_failure_shows_the_way_out(data, to_kaggle, error, says):
    to_kaggle.error = error
    with pytest.raises(CxrError, match=says) as caught:
        sources.fetch("kaggle", data_dir=data)
    assert "cxr fetch --source sample" in str(caught.value)
    assert "cxr fetch --source medmnist" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert here(data) == []


def test_kaggle_web_page_in_place_of_the_archive(data, to_kaggle):
    to_kaggle.content = b"<html>Sign in</html>"
    with pytest.raises(
        CxrError, match=r"chest-xray-pneumonia\.zip: is a web page.*cxr fetch --source sample"
    ) as caught:
        sources.fetch("kaggle", data_dir=data)
    assert caught.value.exit_status == 1
    assert here(data) == []


def test_kaggle_command_is_missing(data, monkeypatch):
    monkeypatch.setattr(kaggle.shutil, "which", lambda *_, **__: None)
    with pytest.raises(CxrError, match="pip install kaggle"):
        sources.fetch("kaggle", data_dir=data)


def test_kaggle_messages_hold_no_secrets(monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "hunter2hunter2")
    said = kaggle.clean(
        "Dataset URL: https://www.kaggle.com/datasets/x\n"
        "\x1b[31mError\x1b[0m for user: hunter2hunter2\r 10%|#| 1/9 [00:01<00:02, 3B/s]\n"
        "Authorization: Bearer abc.def KGAT_0123abc 0123456789abcdef0123456789abcdef\n"
        "403 for https://storage.example/archive.zip?X-Signature=abc&X-Credential=def\n\n"
    )
    assert said == (
        "Error for user: ... / Authorization: ... ... ... / 403 for https://storage.example/archive.zip?..."
    )


# medmnist


@pytest.fixture
def to_zenodo(server: Server, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, labels in (("train", [0, 1, 1]), ("val", [1]), ("test", [0, 1])):
        arrays[f"{split}_images"] = rng.integers(0, 256, (len(labels), 224, 224), np.uint8)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)[:, None]
    serve(server, arrays, monkeypatch)
    monkeypatch.setenv("CXR_MEDMNIST_URL", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return server, arrays


def serve(server: Server, arrays: dict[str, np.ndarray], monkeypatch) -> None:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    server.content = sink.getvalue()
    monkeypatch.setattr(medmnist, "MD5", hashlib.md5(server.content).hexdigest())


def test_medmnist(data, to_zenodo, monkeypatch):
    server, arrays = to_zenodo
    monkeypatch.setattr(medmnist, "BLOCK", 2)
    with pytest.warns(
        UserWarning, match="train: 3 found, 4,708 expected; val: 1 found, 524 .*; test: 2 found, 624"
    ):
        folder = sources.fetch("medmnist", data_dir=data)
    assert images(folder) == [
        "chest_xray/test/NORMAL/medmnist-test-00001-normal.png",
        "chest_xray/test/PNEUMONIA/medmnist-test-00002-pneumonia.png",
        "chest_xray/train/NORMAL/medmnist-train-00001-normal.png",
        "chest_xray/train/PNEUMONIA/medmnist-train-00002-pneumonia.png",
        "chest_xray/train/PNEUMONIA/medmnist-train-00003-pneumonia.png",
        "chest_xray/val/PNEUMONIA/medmnist-val-00001-pneumonia.png",
    ]
    with Image.open(folder / "chest_xray/train/PNEUMONIA/medmnist-train-00003-pneumonia.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), arrays["train_images"][2])
    assert server.requests == ["GET /records/10519652/files/pneumoniamnist_224.npz?download=1 "]
    assert here(folder) == ["chest_xray", "source.json"]
    assert sources.describe(folder)["licence"] == "CC BY 4.0"


def test_medmnist_names_are_understood(tmp_path, to_zenodo):
    from cxr_utils import dataset

    assert dataset.parse_name("medmnist-train-00001-normal.png") == ("normal", None)
    assert dataset.parse_name("medmnist-train-00002-pneumonia.png") == ("unknown", None)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("wrong hash", "hash"), ("not found", "404"), ("nobody there", "no connection to 127.0.0.1")],
)
def test_medmnist_failure_shows_the_way_out(data, to_zenodo, monkeypatch, fault, says):
    server, _ = to_zenodo
    if fault == "wrong hash":
        server.content = b"something else"
    elif fault == "not found":
        server.error = (404, "")
    else:
        monkeypatch.setenv("CXR_MEDMNIST_URL", "http://127.0.0.1:9")
    with pytest.raises(CxrError, match=f"the download failed: .*{says}.*cxr fetch --source sample") as caught:
        sources.fetch("medmnist", data_dir=data)
    assert "\n" not in str(caught.value)
    assert here(data) == []


@pytest.mark.parametrize("fault", ["shape", "dtype", "label", "missing", "no archive"])
def test_medmnist_refuses_another_content(data, to_zenodo, monkeypatch, fault):
    server, arrays = to_zenodo
    if fault == "shape":
        arrays["val_images"] = arrays["val_images"][:, :28, :28]
    elif fault == "dtype":
        arrays["val_images"] = arrays["val_images"].astype(np.float32)
    elif fault == "label":
        arrays["val_labels"] = arrays["val_labels"] + 1
    elif fault == "missing":
        del arrays["val_images"]
    serve(server, arrays, monkeypatch)
    if fault == "no archive":
        server.content = b"PK"
        monkeypatch.setattr(medmnist, "MD5", hashlib.md5(b"PK").hexdigest())
    with pytest.raises(CxrError, match="is not what was published"):
        sources.fetch("medmnist", data_dir=data)
    assert here(data) == []
