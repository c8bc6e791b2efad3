"""The sources: one layout, whole or not there."""

from __future__ import annotations

import ast
import graphlib
import hashlib
import importlib
import io
import os
import re
import shutil
import socket
import stat
import sys
import threading
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from kaggle_server import COUNTS, Server, here, images, make_folder, names, running
from PIL import Image

from cxr_utils import _limits, cli, dataset, files, sources
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources import download, medmnist

few = pytest.mark.filterwarnings("ignore:.*the number of images is not the one of")


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def server():
    with running() as server:
        yield server


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
    for name in (".DS_Store", "train/NORMAL/.DS_Store", "train/NORMAL/Thumbs.db", "__MACOSX/train/NORMAL/._a.jpeg"):
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
def test_folder_follows_links_within_but_not_in_circles(tmp_path, data):
    """As tools that keep versions of data do: an image is a link to a file in a store beside it."""
    given = make_folder(tmp_path / "all" / "in")
    (given / "circle").symlink_to(tmp_path / "all" / "in")
    (tmp_path / "all" / ".store").mkdir()
    (given / "train/NORMAL/IM-0000-0001.jpeg").rename(tmp_path / "all/.store/0")
    (given / "train/NORMAL/IM-0000-0001.jpeg").symlink_to("../../../../.store/0")
    (given / "test").rename(tmp_path / "all/.store/test")
    (given / "test").symlink_to("../../.store/test")
    folder = sources.fetch("folder", path=tmp_path / "all", data_dir=data)
    assert images(folder) == sorted(names())
    assert not any(path.is_symlink() for path in folder.rglob("*"))


IMAGE = "train/NORMAL/IM-9999-0001.jpeg"


def _sparse(path, size=20 * 2**30):
    with path.open("wb") as opened:
        opened.truncate(size)
    return path


def _socket(path):
    made = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # its name may not be long
    try:
        made.bind(path.name)
    finally:
        os.chdir(here)
        made.close()


def _moved(folder, outside):
    folder.rename(outside / "moved")
    folder.symlink_to(outside / "moved")


HOSTILE = {  # what is done to a folder, given one outside; and the words of the refusal
    "device": (lambda f, o: (f / IMAGE).symlink_to("/dev/zero"), "is a link that leads out"),
    "passwords": (lambda f, o: (f / IMAGE).symlink_to("/etc/passwd"), "is a link that leads out"),
    "relative link": (lambda f, o: (f / IMAGE).symlink_to("../../../../../outside/secret"), "is a link that leads out"),
    "link to a link": (
        lambda f, o: ((f / "a").symlink_to(o / "secret"), (f / IMAGE).symlink_to("../../a")),
        "is a link that leads out",
    ),
    "sparse, linked": (lambda f, o: (f / IMAGE).symlink_to(_sparse(o / "large")), "is a link that leads out"),
    "sparse": (lambda f, o: _sparse(f / IMAGE), "has 21,474,836,480 bytes; at most"),
    "pipe": (lambda f, o: os.mkfifo(f / IMAGE), "a pipe or a device, not a file"),
    "socket": (lambda f, o: _socket(f / IMAGE), "a pipe or a device, not a file"),
    "folder": (lambda f, o: ((f / "x").mkdir(), (f / IMAGE).symlink_to("../../x"))[1], None),
    "link to nothing": (lambda f, o: (f / IMAGE).symlink_to(f / "none"), "leads to nothing"),
    "link to itself": (lambda f, o: (f / IMAGE).symlink_to(f / IMAGE), "IM-9999-0001.jpeg' in it"),
    "a class outside": (lambda f, o: _moved(f / "train/NORMAL", o), "'train/NORMAL' in it is a link that leads out"),
    "a split outside": (lambda f, o: _moved(f / "train", o), "'train' in it is a link that leads out"),
    "all outside": (lambda f, o: _moved(f, o), "the link chest_xray leads out of it and is not followed"),
    "a linked note": (lambda f, o: (f.parent / "source.json").symlink_to(o / "secret"), "source.json is a link"),
    "a large note": (lambda f, o: _sparse(f.parent / "source.json"), "far too large"),
}


@few
@pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices of POSIX")
@pytest.mark.parametrize("kind", HOSTILE)
def test_folder_of_a_stranger(tmp_path, data, kind):
    """Nothing from outside is read, nothing without bound is written, and the next folder is taken."""
    given, outside = make_folder(tmp_path / "in" / "given"), tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    harm, says = HOSTILE[kind]
    harm(given, outside)
    if says is None:
        assert images(sources.fetch("folder", path=given.parent, data_dir=data)) == sorted(names())
        return
    with pytest.raises(BadInput, match=says) as caught:
        sources.fetch("folder", path=given.parent, data_dir=data)
    said = str(caught.value)
    assert str(given.parent) in said and "\n" not in said and "secret" not in said
    assert here(data) == []
    assert images(sources.fetch("folder", path=make_folder(tmp_path / "good"), data_dir=data)) == sorted(names())


@few
@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("target", ["/", "..", "/etc", "/proc/self"])
def test_folder_says_nothing_of_what_lies_outside(tmp_path, data, target):
    given = make_folder(tmp_path / "in")
    (tmp_path / "in" / "diary.txt").write_text("")
    (given / "more").symlink_to(target)
    folder = sources.fetch("folder", path=given, data_dir=data)
    assert images(folder) == sorted(names()) and sources.describe(folder)["left_out"] == ["more"]


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 5), ("MOST_BYTES", 900), ("MOST_BYTES_A_FILE", 100)])
def test_both_doors_have_the_same_limits(tmp_path, data, monkeypatch, limit, value):
    given = make_folder(tmp_path / "in")
    packed = shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "in")
    monkeypatch.setattr(_limits, limit, value)
    for path in (given, packed):
        with pytest.raises(BadInput, match=f"{path}: refused, "):
            sources.fetch("folder", path=path, data_dir=data)
    assert here(data) == []


def test_both_doors_look_for_room(tmp_path, data, monkeypatch):
    given = make_folder(tmp_path / "in")
    packed = shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "in")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5}))
    for path in (given, packed):
        with pytest.raises(CxrError, match="are free; make room"):
            sources.fetch("folder", path=path, data_dir=data)
    assert here(data) == []


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
def test_what_is_neither_folder_nor_file(tmp_path, data):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(BadInput, match=r"is a (pipe|device).*; give a folder or a zip file"):
            sources.fetch("folder", path=path, data_dir=data)


@few
@pytest.mark.parametrize("door", ["folder", "zip"])
def test_junk_never_stands_in_the_way(tmp_path, data, door):
    given = make_folder(tmp_path / "in")
    for name in names():
        (tmp_path / "in" / name).write_bytes(bytes(1000))
    path = given if door == "folder" else shutil.make_archive(str(tmp_path / "in"), "zip", tmp_path / "in")
    says = r"none of its 10 images can be read \(test/NORMAL/IM-0000-0001.jpeg: .*another copy"
    with pytest.raises(BadInput, match=says):
        sources.fetch("folder", path=path, data_dir=data)
    assert here(data) == []
    good = make_folder(tmp_path / "good")
    (good / "train/NORMAL/IM-0000-0001.jpeg").write_bytes(b"one of them is broken")
    assert images(sources.fetch("folder", path=good, data_dir=data)) == sorted(names())


def test_folder_warns_of_another_count(tmp_path, data):
    given = make_folder(tmp_path / "in")
    with pytest.warns(UserWarning, match=r"train/NORMAL: 2 found, 1,341 expected; train/PNEUMONIA: 3 found, 3,875"):
        sources.fetch("folder", path=given, data_dir=data)


@few
def test_folder_again_and_with_another_path(tmp_path, data, monkeypatch):
    given, other = make_folder(tmp_path / "in"), make_folder(tmp_path / "other")
    folder = sources.fetch("folder", path=given, data_dir=data)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert sources.fetch("folder", data_dir=data) == folder
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    assert sources.fetch("folder", path="in/chest_xray", data_dir=data) == folder
    with pytest.raises(BadInput, match="already holds the images of .*in/chest_xray; to replace it delete") as caught:
        sources.fetch("folder", path=other, data_dir=data)
    assert str(other) in str(caught.value)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@few
def test_folder_of_phantoms_stays_synthetic(data, phantoms):
    sample = sources.fetch("sample", data_dir=data)
    folder = sources.fetch("folder", path=sample, data_dir=data)
    assert sources.describe(folder)["synthetic"] is True
    assert sources.synthetic("folder", folder.parent) and not sources.synthetic("kaggle", folder.parent)
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
    threads = [threading.Thread(target=lambda: found.append(sources.fetch("sample", data_dir=data))) for _ in range(4)]
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

    killed = f".sample-{files._HOST}-{2**22 + 1}-0123abcd.tmp"  # of a process that is no more
    (data / killed / "half").mkdir(parents=True)
    (data / ".sample-mine.tmp").mkdir()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(phantom, "write", fail)
        sources.fetch("sample", data_dir=data)
    assert here(data) == [".sample-mine.tmp"]
    (data / ".sample-mine.tmp").rmdir()
    (data / "sample").mkdir()  # an empty folder is no obstacle
    sources.fetch("sample", data_dir=data)
    assert here(data) == ["sample"]


def test_a_folder_of_unknown_origin_is_left_alone(data, phantoms):
    make_folder(data / "sample")
    with pytest.raises(BadInput, match="not made by `cxr fetch`"):
        sources.fetch("sample", data_dir=data)
    assert images(data / "sample") == sorted(names())
    (data / "sample" / "source.json").write_text("[]")
    with pytest.raises(BadInput, match="holds a list, not an object; move .*sample away and fetch again"):
        sources.fetch("sample", data_dir=data)


def test_wrong_arguments(data):
    with pytest.raises(
        BadInput, match="source 'samples': choose one of kaggle, folder, medmnist, sample, chestmnist, elsewhere"
    ):
        sources.fetch("samples", data_dir=data)
    with pytest.raises(BadInput, match="only the source folder takes a path"):
        sources.fetch("kaggle", path="x.zip", data_dir=data)
    with pytest.raises(BadInput, match="folder is not downloaded"):
        sources.fetch("folder", path="x.zip", data_dir=data, keep_archive=True)
    data.write_text("")
    with pytest.raises(CxrError, match="choose another --data-dir"):
        sources.fetch("sample", data_dir=data)


# a new one, as the page adds it

PAGE = (Path(sources.__file__).parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def added(tmp_path, monkeypatch, server):
    """Put the page's example among the sources, with an address that answers, and nothing else anywhere."""
    name = re.search(r"`cxr_utils/sources/(\w+)\.py`", PAGE)[1]
    code = re.search(r"(?ms)^```python\n(.*?)^```$", PAGE)[1].replace("https://clinic.example", server.url)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / f"{name}.py").write_text(code, encoding="utf-8")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for member in ("p0012/1-NORMAL", "p0012/2-NORMAL", "p0013/1-PNEUMONIA", "p0015/1-PNEUMONIA", "p0020/1-NORMAL"):
            picture = io.BytesIO()
            Image.new("L", (40, 40), len(archive.namelist())).save(picture, "PNG")
            archive.writestr(f"{member}.png", picture.getvalue())
    server.content = sink.getvalue()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path / "more")])
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(f"{sources.__name__}.{name}", None)
    vars(sources).pop(name, None)


def test_a_new_source_is_one_file(added, data, tmp_path, capsys, server):
    assert added in sources.names("other") and sources.names()[-1] == "elsewhere"
    assert cli.main(["fetch", "--help"]) == 0
    assert re.search(rf"(?m)^  {added} +{sources.get(added).about}$", capsys.readouterr().out)
    assert cli.main(["fetch", "--source", added, "--data-dir", str(data), "--keep-archive"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Chest radiographs of a clinic (CC BY 4.0)\n")
    assert "the number of images" not in shown.err and server.downloads == 1
    assert here(data) == [added, f"{added}-archive"] and not sources.synthetic(added, data)
    index = dataset.scan(data / added)
    assert list(index["patient"].dropna().unique()) == [f"{added}-p{n:04d}" for n in (20, 15, 12, 13)]
    assert list(index["kind"]) == ["normal", "unknown", "normal", "normal", "unknown"]
    assert cli.main(["pack", str(tmp_path / "p.zip"), "--data-dir", str(data)]) == 0
    assert f"from the source {added}" in capsys.readouterr().out
    # A folder of such files without their record is not taken for the dataset.
    bare = sources.fetch("folder", path=data / added / "chest_xray", data_dir=tmp_path / "with")
    assert sources.describe(bare)["title"] == "Chest radiographs of a clinic"
    (data / added / "source.json").unlink()
    bare = sources.fetch("folder", path=data / added, data_dir=tmp_path / "without")
    assert sources.describe(bare)["title"] == "Images of another origin"
    with pytest.raises(
        BadInput, match=f"choose one of kaggle, folder, {added}, medmnist, sample, chestmnist, elsewhere"
    ):
        sources.get("web")


def test_no_module_of_the_sources_leads_back_to_itself():
    """As the code says it; which sources there are is looked up while it runs."""
    modules = {path.stem: path for path in Path(sources.__file__).parent.glob("*.py")}
    leads = {}
    for name, path in modules.items():
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        full = [f"{node.module}.{each.name}" for node in imports for each in node.names]
        parts = [each.split(".")[2:] for each in full if each.startswith("cxr_utils.sources")]
        leads[name] = {part[0] if part and part[0] in modules else "__init__" for part in parts} - {name}
    assert leads["pack"] == {"__init__"} and "download" in leads["__init__"]
    graphlib.TopologicalSorter(leads).prepare()


@few
def test_a_path_that_has_changed_since_it_was_copied_is_told(data, tmp_path):
    folder = make_folder(tmp_path / "in")
    sources.fetch("folder", data_dir=data, path=folder)
    with warnings.catch_warnings(action="error"):
        sources.fetch("folder", data_dir=data, path=folder)
    before = images(data / "folder")
    picture = next(folder.glob("train/NORMAL/*"))
    shutil.copy(picture, picture.with_name("IM-9999-0001.jpeg"))
    with pytest.warns(UserWarning, match="has changed since .* was made from it, which is taken; to replace it delete"):
        sources.fetch("folder", data_dir=data, path=folder)
    assert images(data / "folder") == before


# medmnist


@pytest.fixture
def to_zenodo(server: Server, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, labels in (("train", [0, 1, 1]), ("val", [1]), ("test", [0, 1])):
        arrays[f"{split}_images"] = rng.integers(0, 256, (len(labels), 224, 224), np.uint8)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)[:, None]
    serve(server, arrays, monkeypatch)
    monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "needed_bytes", 10**6)
    monkeypatch.setattr(download, "WAITS", (0,))
    monkeypatch.setenv("CXR_MEDMNIST_URL", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return server, arrays


def serve(server: Server, arrays: dict[str, np.ndarray], monkeypatch) -> None:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    server.content = sink.getvalue()
    monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "md5", hashlib.md5(server.content).hexdigest())


def test_medmnist(data, to_zenodo):
    server, arrays = to_zenodo
    with pytest.warns(UserWarning, match="train: 3 found, 4,708 expected; val: 1 found, 524 .*; test: 2 found, 624"):
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


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks5h://127.0.0.1:9", "socks://127.0.0.1:9/"])
def test_a_proxy_that_can_not_be_used_is_named_at_once(data, to_zenodo, monkeypatch, name, proxy):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, proxy)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("CXR_MEDMNIST_URL", "http://zenodo.example")
    kind = proxy.partition("://")[0]
    says = f"source medmnist: {name}={proxy}: a proxy of the kind {kind}:// .*unset the variable"
    with pytest.raises(CxrError, match=says):
        sources.fetch("medmnist", data_dir=data)
    assert to_zenodo[0].requests == [] and here(data) == []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("CXR_MEDMNIST_URL", to_zenodo[0].url)
    with pytest.warns(UserWarning, match="the number of images"):
        sources.fetch("medmnist", data_dir=data)


def test_medmnist_names_are_understood(tmp_path, to_zenodo):
    from cxr_utils import dataset

    assert dataset.parse_name("medmnist-train-00001-normal.png") == ("normal", None)
    assert dataset.parse_name("medmnist-train-00002-pneumonia.png") == ("unknown", None)


FAULTS = {  # words, and how many downloads were begun
    "wrong hash": ("what came, twice, has another checksum: ", 2),
    "not found": (r"Zenodo does not have it \(404", 0),
    "busy": (r"Zenodo answers too many requests \(429\); try again in an hour \(tried 2 times\)", 0),
    "out of order": (r"Zenodo is out of order \(503 .*\(tried 2 times\)", 0),
    "nobody there": ("no connection to 127.0.0.1", 0),
    "always breaks": (r"the connection broke .*\(tried 2 times\)", 2),
    "no room": ("GB are needed", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_medmnist_failure_shows_the_way_out(data, to_zenodo, monkeypatch, fault):
    server, _ = to_zenodo
    good = server.content
    if fault == "wrong hash":
        server.content = b"something else"
    elif fault == "nobody there":
        monkeypatch.setenv("CXR_MEDMNIST_URL", "http://127.0.0.1:9")
    elif fault == "always breaks":
        server.breaks_always = 1000
    elif fault == "no room":
        monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "needed_bytes", 10**18)
    else:
        server.error = ({"not found": 404, "busy": 429, "out of order": 503}[fault], "")
    says, downloads = FAULTS[fault]
    with pytest.raises(CxrError, match=f"source medmnist: .*{says}.*cxr fetch --source sample") as caught:
        sources.fetch("medmnist", data_dir=data)
    assert "\n" not in str(caught.value) and caught.value.exit_status == 1
    assert here(data) == [] and server.downloads == downloads
    # The same command finishes the work when the fault is gone.
    server.content, server.error, server.breaks_always = good, None, None
    monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "needed_bytes", 0)
    monkeypatch.setenv("CXR_MEDMNIST_URL", server.url)
    with pytest.warns(UserWarning, match="the number of images"):
        sources.fetch("medmnist", data_dir=data)
    assert here(data) == ["medmnist"]


FAULTS_TO_OUTLAST = ("breaks", "another content", "busy")


def outlast(server, fault):
    """Let the first try of a download fail, and the next one not."""
    if fault == "breaks":
        server.breaks = [len(server.content) // 2]
    elif fault == "another content":
        server.contents = [b"<html>"]
    else:
        server.error, server.errors = (503, ""), 1


@few
@pytest.mark.parametrize("fault", FAULTS_TO_OUTLAST)
def test_medmnist_starts_over(data, to_zenodo, fault):
    outlast(to_zenodo[0], fault)
    sources.fetch("medmnist", data_dir=data)
    assert len(images(data / "medmnist")) == 6 and here(data) == ["medmnist"]


@few
def test_medmnist_keeps_its_archive_when_asked_to(data, to_zenodo):
    server, _ = to_zenodo
    (data / ".medmnist-download").mkdir(parents=True)
    (data / ".medmnist-download" / "tmp0123abcd").write_bytes(b"of a killed process")
    sources.fetch("medmnist", data_dir=data, keep_archive=True)
    assert here(data) == ["medmnist", "medmnist-archive"] and here(data / "medmnist-archive") == [
        "pneumoniamnist_224.npz"
    ]
    shutil.rmtree(data / "medmnist")
    sources.fetch("medmnist", data_dir=data)
    assert server.downloads == 1


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
        monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "md5", hashlib.md5(b"PK").hexdigest())
    with pytest.raises(CxrError, match="is not what was published"):
        sources.fetch("medmnist", data_dir=data)
    assert here(data) == []


# chestmnist


@pytest.fixture
def to_chest(to_zenodo, monkeypatch):
    """Serve seven films: ill, healthy, healthy, with another finding, ill with others, healthy, with others."""
    server, _ = to_zenodo
    labels = np.zeros((7, 14), np.uint8)
    labels[[0, 4], 6] = labels[[3, 4, 6], 2] = labels[6, 13] = 1
    arrays = {"test_images": np.random.default_rng(1).integers(0, 256, (7, 64, 64), np.uint8), "test_labels": labels}
    serve_chest(server, arrays, monkeypatch)
    monkeypatch.setitem(medmnist.ARCHIVES["chestmnist"], "needed_bytes", 10**6)
    return server, arrays


def serve_chest(server, arrays, monkeypatch):
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    server.content = sink.getvalue()
    monkeypatch.setitem(medmnist.ARCHIVES["chestmnist"], "md5", hashlib.md5(server.content).hexdigest())


def test_chestmnist_takes_the_ill_and_the_healthy_of_test_and_says_what_it_left_out(data, to_chest):
    server, arrays = to_chest
    with pytest.warns(UserWarning) as warned:
        folder = sources.fetch("chestmnist", data_dir=data)
    said = " ".join(str(each.message) for each in warned)
    assert "NORMAL: 3 found, 11,928 expected" in said and "PNEUMONIA: 2 found, 242 expected" in said
    assert images(folder) == [
        "chest_xray/test/NORMAL/chestmnist-test-00002-normal.png",
        "chest_xray/test/NORMAL/chestmnist-test-00003-normal.png",
        "chest_xray/test/NORMAL/chestmnist-test-00006-normal.png",
        "chest_xray/test/PNEUMONIA/chestmnist-test-00001-pneumonia.png",
        "chest_xray/test/PNEUMONIA/chestmnist-test-00005-pneumonia.png",
    ]
    for name, number in (("NORMAL/chestmnist-test-00006-normal", 5), ("PNEUMONIA/chestmnist-test-00005-pneumonia", 4)):
        with Image.open(folder / f"chest_xray/test/{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), arrays["test_images"][number])
    assert server.requests == ["GET /records/10519652/files/chestmnist_64.npz?download=1 "]
    assert sources.describe(folder)["left_out"] == ["2 films of test with other findings, but no pneumonia"]


@few
def test_chestmnist_is_no_reading_of_the_official_test_set(data, to_chest):
    from cxr_utils.predict import elsewhere

    model = Path(__file__).parents[2] / "results/models/reference.onnx"
    record = elsewhere.judge_model(model, source="chestmnist", data_dir=data)
    assert (record["of_test"], record["seen"], record["metrics"]["images"]) == (0, 0, 5)


@few
@pytest.mark.parametrize("fault", FAULTS_TO_OUTLAST)
def test_chestmnist_starts_over(data, to_chest, fault):
    outlast(to_chest[0], fault)
    sources.fetch("chestmnist", data_dir=data)
    assert len(images(data / "chestmnist")) == 5 and here(data) == ["chestmnist"]


@pytest.mark.parametrize("fault", ["shape", "findings", "label", "missing"])
def test_chestmnist_refuses_another_content(data, to_chest, monkeypatch, fault):
    server, arrays = to_chest
    if fault == "shape":
        arrays["test_images"] = arrays["test_images"][:, :28, :28]
    elif fault == "findings":
        arrays["test_labels"] = arrays["test_labels"][:, :1]
    elif fault == "label":
        arrays["test_labels"] = arrays["test_labels"] + 1
    else:
        del arrays["test_labels"]
    serve_chest(server, arrays, monkeypatch)
    with pytest.raises(CxrError, match="source chestmnist: .* is not what was published .*cxr fetch --source sample"):
        sources.fetch("chestmnist", data_dir=data)
    assert here(data) == []
