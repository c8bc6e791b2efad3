"""Faults of environment and input at the command line: what must be said, what must not, and the status.

Each fault is one line of `FAULTS`: the arguments (``{}`` is the folder of the test), a set-up that may plant files or
variables there, the status, the words that must appear, and those that would name another cause.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from PIL import Image

from cxr_utils import cli

HEAD = "path,patient,split,label,probability\n"
ROW = "a/person1_virus_1.jpeg,person1,test,1,0.5\n"
ANOTHER_CAUSE = ("Traceback", "online", "memory", "make room", "Error:")


def plant(name, content=b"x"):
    """Return a set-up that writes one file."""

    def make(folder, monkeypatch):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def variable(name, value):
    """Return a set-up that sets one variable of the environment."""
    return lambda folder, monkeypatch: monkeypatch.setenv(name, value)


def socks(folder, monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hidden@127.0.0.1:9")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def pipe(folder, monkeypatch):
    os.mkfifo(folder / "x.png")


def nowhere(folder, monkeypatch):
    (folder / "x.png").symlink_to("gone")


def weights_alone(folder, monkeypatch):
    with h5py.File(folder / "w.h5", "w") as made:
        made["weights"] = np.zeros(3)


def report(folder, monkeypatch):
    """Write a DICOM file of a written report: it has no pixels, and never had."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.ExplicitVRLittleEndian, "1.2.3"
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    made = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    made.Modality = "SR"
    made.save_as(folder / "r.dcm", enforce_file_format=True)


def picture(name, form="PNG"):
    def make(folder, monkeypatch):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / name, form)

    return make


def record(text, name="data/sample/source.json"):
    return plant(name, text)


NO = None  # set-up
SPLIT = str(Path(__file__).parents[1] / "results/splits/98ef3b64854cd068.csv.gz")
SCORE = ["score", "{}/x.csv", "--split", SPLIT]
FETCH = ["fetch", "--data-dir", "{}/data"]
SAMPLE = [*FETCH, "--source", "sample"]
FOLDER = ["fetch", "--source", "folder", "--data-dir", "{}/data", "--path"]
PREDICT = ["predict", "{}/x.png"]

FAULTS = {
    # the environment
    "a SOCKS proxy": ([*FETCH, "--source", "medmnist"], socks, 1, ["ALL_PROXY=socks5://...@", "pysocks"], ["hidden"]),
    # words of the command line
    "no such home, image": (["predict", "~chest.jpeg"], NO, 1, ["~chest.jpeg"], []),
    "no such home, folder": ([*FOLDER, "~nouser/x"], NO, 2, ["~nouser"], []),
    "a seed too large": (["run", "01", "--seed", "4294967296"], NO, 2, ["--seed", "4294967295"], []),
    "a negative seed": (["run", "01", "--seed", "-1"], NO, 2, ["--seed"], []),
    "an unknown recipe": (["recipes", "resnet"], NO, 2, ["resnet", "plain_224"], []),
    "an unknown source": (["fetch", "--source", "web"], NO, 2, ["web", "medmnist"], []),
    "an unknown profile": (["run", "--profile", "huge"], NO, 2, ["huge", "workshop"], []),
    "an unknown notebook": (["run", "99"], NO, 2, ["99", "01_download"], []),
    "an unknown parameter": (["run", "-p", "no_such=1"], NO, 2, ["no_such"], []),
    "a path without its source": (["fetch", "--path", "x"], NO, 2, ["--source"], []),
    # a folder or archive of one's own
    "nothing at --path": ([*FOLDER, "{}/gone"], NO, 2, ["gone"], ["damaged"]),
    "an empty archive": ([*FOLDER, "{}/x.zip"], plant("x.zip", b""), 2, ["x.zip", "empty"], []),
    "a web page as archive": ([*FOLDER, "{}/x.zip"], plant("x.zip", "<!DOCTYPE html>"), 2, ["web page"], ["damaged"]),
    "another archive": ([*FOLDER, "{}/x.zip"], plant("x.zip", b"\x1f\x8b\x08tar"), 2, ["not a zip"], []),
    "another layout": ([*FOLDER, "{}/own"], plant("own/a/x.jpeg"), 2, ["own"], []),
    "no folders of classes": ([*FOLDER, "{}/own"], plant("own/x.jpeg"), 2, ["holds no folder", "chest_xray"], ["scan"]),
    "names in braces": ([*FOLDER, "{}/{x}"], plant("{x}/x.jpeg"), 2, ["{x}", "holds no folder"], ["KeyError"]),
    "a RAR archive": ([*FOLDER, "{}/x.rar"], plant("x.rar", b"Rar!\x1a\x07\x01\0"), 2, ["not a zip"], ["damaged"]),
    # images
    "no such image": (PREDICT, NO, 1, ["x.png"], ["model"]),
    "an empty image": (PREDICT, plant("x.png", b""), 1, ["x.png", "empty"], []),
    "text as image": (PREDICT, plant("x.png", "hello, this is text"), 1, ["no known format"], ["damaged"]),
    "a web page as image": (PREDICT, plant("x.png", "<html>"), 1, ["no known format"], []),
    "a GIF": (PREDICT, picture("x.png", "GIF"), 1, ["GIF is not read", "save it as"], []),
    "a HEIC": (PREDICT, plant("x.png", b"\0\0\0\x18ftypheic" + bytes(99)), 1, ["HEIC", "save it as"], []),
    "a PDF": (PREDICT, plant("x.png", "%PDF-1.7\n"), 1, ["PDF is not read"], []),
    "a DICOM report": (["predict", "{}/r.dcm"], report, 1, ["r.dcm", "no radiograph", "modality"], ["pixel"]),
    "a name of 300 letters": (["predict", "{}/" + "y" * 300 + ".png"], NO, 1, ["yyy.png", "too long"], ["model"]),
    "a pipe": (PREDICT, pipe, 1, ["x.png", "pipe"], []),
    "a dangling link": (PREDICT, nowhere, 1, ["x.png"], []),
    # models
    "no such model": (["predict", "{}/gone.keras", "{}/x.png"], picture("x.png"), 2, ["gone.keras"], ["x.png:"]),
    "a damaged model": (["predict", "{}/m.keras", "{}/x.png"], plant("m.keras"), 2, ["m.keras"], []),
    "weights alone": (["predict", "{}/w.h5", "{}/x.png"], weights_alone, 2, ["w.h5"], []),
    "PyTorch's": (["predict", "{}/net.pt", "{}/x.png"], plant("net.pt"), 2, ["net.pt", "model"], []),
    "hdf5": (["predict", "{}/best.hdf5", "{}/x.png"], plant("best.hdf5"), 2, ["best.hdf5"], []),
    # tables
    "no such table": (SCORE, NO, 2, ["x.csv", "no such file"], []),
    "an empty table": (SCORE, plant("x.csv", b""), 2, ["x.csv"], []),
    "another table": (SCORE, plant("x.csv", "a,b\n1,2\n"), 2, ["x.csv", "path"], []),
    "no row": (SCORE, plant("x.csv", HEAD), 2, ["x.csv"], []),
    "words as probability": (SCORE, plant("x.csv", HEAD + ROW.replace("0.5", "high")), 2, ["probability"], []),
    "percent": (SCORE, plant("x.csv", HEAD + ROW.replace("0.5", "50")), 2, ["x.csv", "probability"], []),
    "not finite": (SCORE, plant("x.csv", HEAD + ROW.replace("0.5", "nan")), 2, ["x.csv", "probability"], []),
    "twice": (SCORE, plant("x.csv", HEAD + ROW + ROW), 2, ["x.csv"], []),
    "a label of 2": (SCORE, plant("x.csv", HEAD + ROW.replace(",1,", ",2,")), 2, ["x.csv", "label"], []),
    "binary": (SCORE, plant("x.csv", bytes(range(256))), 2, ["x.csv"], []),
    # records
    "course.json []": (["run", "01", "--run-dir", "{}/r"], record("[]", "r/course.json"), 2, ["course.json"], []),
    "run.json {}": (["export", "{}/r"], record("{}", "r/run.json"), 2, ["run.json", "'version' is missing"], []),
    "source.json []": (SAMPLE, record("[]"), 2, ["source.json"], []),
    "source.json null": (SAMPLE, record("null"), 2, ["source.json"], []),
    "source.json of 0 bytes": (SAMPLE, record(""), 2, ["source.json"], []),
    "source.json of a part": (SAMPLE, record(json.dumps({"source": "folder"})), 2, ["source.json"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_in_one_line_and_nothing_else_is_blamed(name, tmp_path, monkeypatch, capfd):
    arguments, make, status, words, others = FAULTS[name]
    if make:
        make(tmp_path, monkeypatch)
    assert cli.main([argument.replace("{}", str(tmp_path)) for argument in arguments]) == status
    said = "".join(capfd.readouterr())
    assert [word for word in words if word not in said] == [], said
    assert [word for word in (*ANOTHER_CAUSE, *others) if word in said] == [], said


def test_the_table_is_long_enough():
    assert len(FAULTS) >= 40


REFERENCE = Path(__file__).parents[1] / "results/models/reference.keras"
KERAS = "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("settings", "backend", "status", "words", "others"),
    [
        ({"backend": "theano", "image_data_format": "channels_first", "floatx": "float16"}, "", 0, [], ["theano"]),
        ({}, "theano", 1, ["KERAS_BACKEND=theano", "tensorflow"], ["can't be read"]),
        ({"floatx": "float8"}, "", 1, ["keras.json", "float8"], ["can't be read"]),
    ],
)
def test_settings_of_keras_are_not_blamed_on_a_model(tmp_path, settings, backend, status, words, others):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    Image.fromarray(np.zeros((400, 400), np.uint8)).save(tmp_path / "x.png")
    variables = os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", KERAS, "predict", str(REFERENCE), str(tmp_path / "x.png")],
        env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert all(word in said for word in words) and not any(word in said for word in (*others, "Traceback")), said
