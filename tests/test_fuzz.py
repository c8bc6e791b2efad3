"""Whatever is thrown at the readers, nothing escapes but our own errors."""

import io
import json
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import GOOD, NOISE, ROW, deep, packed, picture, radiograph, table_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxr_utils import _dicom, dataset, evaluation, files, images, sources, splits, training
from cxr_utils.errors import BadInput, CxrError, printable
from cxr_utils.sources.unzip import choose, unzip

often = settings(deadline=None, max_examples=150)
anything = st.text(st.characters())  # with surrogates, line breaks, control characters, other scripts


@pytest.fixture(scope="module")
def place():
    """Return a folder for all examples of a test."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def ours(call, *args, **options):
    """Call it; an error of ours must be fit to be printed, and any other escapes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(*args, **options)
    except CxrError as error:
        assert all(map(str.isprintable, str(error).split("\n"))) and str(error)
        str(error).encode()


@st.composite
def damaged(draw, wholes):
    """Take a good file; change bytes, cut it, or put a piece of it elsewhere."""
    content = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(0, 6))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        start, end, to = (draw(st.integers(0, len(content))) for _ in range(3))
        content[to:to] = content[start:end]
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@often
@given(anything | st.from_regex(r"(person\d+_(bacteria|virus)_\d+|(NORMAL2-)?IM-\d+-\d+)(\.jpe?g)?"))
@example("IM-0115-0001\n")
@example("person１_virus_1.jpeg")
@example("\udcff.jpeg")
def test_names(name):
    if (found := ours(dataset.parse_name, name)) is not None:
        assert found.kind in (*dataset.KINDS, dataset.UNKNOWN)
        stem = dataset.stem_of(name)
        assert stem.isascii() and stem.isprintable() and (found.patient or "").isascii()
    assert printable(name).isprintable() and len(files.digest(name)) == 16


@often
@given(st.lists(anything | st.sampled_from([GOOD, f"chest_xray/{GOOD}", "__MACOSX/" + GOOD]), max_size=6))
def test_lists_of_names(names):
    if (found := ours(choose, names, where="here")) is not None:
        for target in found[0].values():
            split, kind, name = target.split("/")
            assert split in dataset.SPLITS and kind in dataset.CLASSES and name not in ("", ".", "..")


@often
@given(st.lists(st.tuples(anything.filter(lambda name: name.isascii()), st.binary(max_size=40)), max_size=5))
@example([("\0", b"")])
@example([(f"{GOOD}\0.exe", b"y")])
def test_archives_of_odd_names(place, members):
    content = packed(*((named(name or "x"), each) for name, each in members), (GOOD, b"x"))
    check_archive(place, content)


def named(name):
    """Return an entry of just this name: given to `ZipInfo`, it would end before its first zero byte."""
    info = zipfile.ZipInfo("x")
    info.filename = name
    return info


ZIPS = [
    packed((GOOD, NOISE.tobytes()), (GOOD.replace("0115", "0116"), b"x" * 99), how=how)
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
]


@often
@given(damaged(ZIPS) | st.binary(max_size=200))
def test_damaged_archives(place, content):
    check_archive(place, content)


def check_archive(place, content):
    (place / "a.zip").write_bytes(content)
    with tempfile.TemporaryDirectory(dir=place) as out:
        before = {path for path in place.rglob("*") if not path.is_relative_to(out)}
        ours(unzip, place / "a.zip", Path(out) / "deep" / "down")
        assert {path for path in place.rglob("*") if not path.is_relative_to(out)} == before
        inside = [path.relative_to(out).parts for path in Path(out).rglob("*") if not path.is_dir()]
        assert all(len(parts) == 6 and parts[:3] == ("deep", "down", "chest_xray") for parts in inside)


PICTURES = [
    picture(pixels=NOISE), picture(pixels=NOISE, mode="CMYK"), picture(pixels=NOISE, progressive=True, mode="RGB"),
    picture("PNG", pixels=NOISE), picture("PNG", "P"), picture("PNG", "RGBA"), picture("TIFF", pixels=NOISE),
    picture("TIFF", compression="tiff_lzw"), picture("BMP"), picture("WEBP"), radiograph(),
    deep(WindowCenter=2048, WindowWidth=4096, RescaleSlope=2, RescaleIntercept=-5, PixelPaddingValue=0),
]  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(damaged(PICTURES) | st.binary(max_size=300))
def test_damaged_images(place, content):
    path = place / "x.jpeg"
    path.write_bytes(content)
    read, seen = ours(images.read, path), ours(images.check, content, "x.jpeg")
    if read is not None:
        assert read.dtype == np.uint8 and read.ndim == 2 and read.size <= images.MAX_PIXELS
    if seen is not None and read is not None:
        assert seen[:2] == read.shape[::-1]


@often
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_damaged_headers_of_dicom(begin, end):
    whole = deep(WindowCenter=2048, WindowWidth=4096)
    try:
        pixels, remarks = _dicom.read(whole[:132] + begin + whole[132:400] + end + whole[400:], most_pixels=9999)
        assert pixels.dtype == np.uint8 and all(map(str.isprintable, remarks))
    except ValueError as error:
        assert str(error).startswith("DICOM, ") and str(error).isprintable()


keys = st.sampled_from(["source", "version", "listing", "images", "size", "recipe", "seed", "tables"])
numbers = st.integers() | st.floats() | st.booleans() | st.none()
documents = st.recursive(
    numbers | anything,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything | keys, inner, max_size=5),
    max_leaves=12,
)


def as_text(document):
    return json.dumps(document).encode()


@often
@given(documents.map(as_text) | st.binary(max_size=100) | damaged([b'{"source": "sample", "a": {"b": [1, 2.5e3]}}']))
def test_json_readers(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "json"
    folder.mkdir(exist_ok=True)
    for name in ("source.json", "run.json", "note.json"):
        (folder / name).write_bytes(content)
    ours(files.read_json, folder / "note.json")
    assert isinstance(ours(files.read_record, folder / "note.json"), dict | None)
    assert isinstance(ours(sources.describe, folder), dict | None)
    assert isinstance(ours(training.load, folder), training.Run | None)
    assert images._kept(folder / "run.json", folder / "note.json", {}, (1,)) is None


@settings(deadline=None, max_examples=25)
@given(documents.map(as_text) | st.binary(max_size=100), st.sampled_from(["index.json", "index.csv", "quarantine.csv"]))
def test_a_kept_index_of_anything(tiny_folder, content, name):
    folder, index = tiny_folder
    (folder / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert dataset.scan(folder).equals(index)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """Return a folder of three images and its index."""
    folder = tmp_path_factory.mktemp("three")
    (folder / GOOD).parent.mkdir(parents=True)
    for number in range(3):
        (folder / GOOD.replace("0115", f"011{number}")).write_bytes(picture("PNG"))
    return folder, dataset.scan(folder)


@often
@given(
    damaged([table_of(ROW, ROW), table_of(*[ROW] * 5)])
    | st.binary(max_size=200)
    | anything.map(lambda text: text.encode(errors="replace"))
)
def test_csv_readers(place, content):
    for suffix in (".csv", ".csv.gz"):
        path = place / f"table{suffix}"
        path.write_bytes(content)
        ours(files.read_csv, path)
        table = ours(evaluation.read_predictions, path)
        if table is not None:
            assert table["label"].isin([0, 1]).all() and table["probability"].between(0, 1).all()


def npy():
    target = io.BytesIO()
    np.save(target, np.zeros((1, 16, 16, 1), np.uint8))
    return target.getvalue()


NPY = npy()


@often
@given(damaged([NPY]) | st.binary(max_size=400))
def test_a_cache_of_anything(place, content):
    array, note = place / "c.npy", place / "c.json"
    array.write_bytes(content)
    files.write_json(note, {"size": 16})
    assert images._kept(array, note, {"size": 16}, (1, 16, 16, 1)) is None


def test_the_helpers_of_this_file_can_fail():
    with pytest.raises(ZeroDivisionError):
        ours(lambda: 1 / 0)
    assert ours(splits.make, None, "x") is None
    with pytest.raises(BadInput):
        splits.make(None, "x")
