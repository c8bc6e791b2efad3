"""What all tests share: a home of their own, a tiny dataset, and the real images where they are at hand."""

import os
import shutil
import signal
import zipfile
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from filelock import FileLock
from helpers import SHARED, draw_tiny
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # on a busy machine everything takes long
settings.load_profile("untimed")

# Tests that a shell started in the background ignore Ctrl-C, and would hand that on to what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory):
    """Keep fixtures that live longer than a test away from the checkout, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Make relative paths of each test relative to an empty folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("CXR_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder with the real archives."""
    if not (SHARED / "chest-xray-pneumonia-224.zip").is_file():
        pytest.skip(f"the real images are not at hand: no archive in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def real(shared_data, tmp_path_factory):
    """Unpack all 5,856 real images, squashed to 224 px; treat it as read-only."""
    folder = tmp_path_factory.mktemp("real")
    with zipfile.ZipFile(shared_data / "chest-xray-pneumonia-224.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def originals(shared_data, tmp_path_factory):
    """Unpack 56 real images at full size; treat it as read-only."""
    folder = tmp_path_factory.mktemp("originals")
    with zipfile.ZipFile(shared_data / "chest-xray-originals-sample.zip") as archive:
        archive.extractall(folder)
    return folder


#: Test files that train, start kernels, servers, browsers or many processes, or judge every kept run anew, in whole or
#: in large part.
SLOW = (
    "acquisition", "app", "backend", "benchmarks", "check", "course", "crash", "elsewhere", "explain", "export",
    "faults", "kaggle", "lab", "leaving", "limits", "mistakes", "models", "outside", "ownership", "predict",
    "reference", "replicate", "results", "saved", "shift", "sources", "tables", "training", "trials",
)  # fmt: skip
HEAVY = {"trained", "real", "originals", "sample_data"}  # fixtures that take as long


#: Test files that take longest: begun first, so that no worker waits for one of them at the end.
FIRST = ("reference", "learner", "notebooks", "saved", "replicate", "ownership")


def pytest_collection_modifyitems(items):
    """Mark what `make check` leaves out; begin with what takes longest."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in FIRST)
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW or HEAVY & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter):
    """Say how many tests were skipped for want of the real images."""
    skipped = sum("not at hand: no" in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        where = f"CXR_TEST_DATA names their folder, {SHARED} now"
        terminalreporter.write_line(f"{skipped} skipped for want of the real images and what comes with them: {where}")


@pytest.fixture
def tiny(tmp_path):
    """Return a folder with a new tiny dataset, junk included, that a test may change."""
    return draw_tiny(tmp_path / "tiny")


@pytest.fixture
def tiny_index(tiny):
    """Return the index of the tiny dataset."""
    from cxr_utils import dataset

    return dataset.scan(tiny)


@pytest.fixture
def tiny_pixels(tiny_index, tiny):
    """Return the tiny dataset's images, 32 px a side."""
    from cxr_utils import images

    return images.cache(tiny_index, tiny, size=32)


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory):
    """Return a data folder with the sample in it; treat it as read-only."""
    from cxr_utils import sources

    folder = tmp_path_factory.mktemp("sample")
    if drawn := os.environ.get("CXR_TEST_SAMPLE"):  # by the course, just before
        only = shutil.ignore_patterns("cache", "index*", "quarantine.csv")
        return Path(shutil.copytree(drawn, folder / "sample", ignore=only)).parent
    sources.fetch("sample", data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def trained(sample_data, tmp_path_factory):
    """Return a home with a sample and two evaluated runs, gray with sigmoid and colour with softmax, exported."""
    several = "PYTEST_XDIST_WORKER" in os.environ  # then one worker trains, and all copy
    made = tmp_path_factory.getbasetemp().parent / "trained" if several else tmp_path_factory.mktemp("made") / "trained"
    with FileLock(made.with_suffix(".lock")):
        if not made.is_dir():
            _train(sample_data, made.with_name("training")).rename(made)
    return shutil.copytree(made, tmp_path_factory.mktemp("trained") / "home")


def _train(sample_data, home):
    from cxr_utils import dataset, evaluation, images, recipes, splits, training
    from cxr_utils.predict import export

    folder = shutil.copytree(sample_data, home / "data") / "sample"
    index = dataset.scan(folder)
    pixels, split = images.cache(index, folder, size=32), splits.grouped(index, seed=0)
    for name, recipe in (("gray", "plain_224"), ("colour", "softmax_64")):
        recipe = recipes.get(recipe).at(image_size=32, width=0.25)
        if name == "colour":
            recipe = recipe.but(views=2, threshold=0.5)
        run = training.fit(recipe, pixels, split, run_dir=home / name, epochs=2, precision="float32")
        evaluation.predict(run, pixels, split)
        for to in ("keras", "h5", "onnx"):
            export.export(run.folder, to=to, out=home / f"out-{name}" / f"m.{to}", data_dir=home / "data")
    return home


@pytest.fixture(scope="module")
def browser():
    """Return a Chromium that reaches nothing beyond loopback."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium here; Debian and Ubuntu: apt install chromium")
    known = "MAP cxr.example.org 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    blocked = [f"--host-resolver-rules={known}", "--disable-background-networking"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        blocked.append("--no-sandbox")  # Chromium refuses to start as root otherwise
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=blocked)
        yield opened
        opened.close()
