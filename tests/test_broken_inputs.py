"""A table of broken and hostile inputs, each with its expected answer: an error of ours that names it, or a picture.

Hostile models are in test_models.py, downloads in test_kaggle.py, odd names and things that are no files in
test_dataset.py.
"""

import json
import os
import stat
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from helpers import GOOD, NOISE, PLANTED, RAMP, ROW, deep, packed, picture, png, radiograph, table_of
from PIL import Image

from cxr_utils import _dicom, dataset, evaluation, files, images, sources
from cxr_utils.errors import BadInput
from cxr_utils.sources.unzip import unzip


def link(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def patched(content, old, new, *, at=0):
    place = content.index(old) + at
    return content[:place] + new + content[place + len(new) :]


def without_meta(content):
    """Drop the preamble and the file's meta information, as some archives do."""
    return content[144 + int.from_bytes(content[140:144], "little") :]


SUM = int(RAMP.sum())

ARCHIVES = {
    "absolute path": (packed((GOOD, b"x"), (f"/tmp/{GOOD}", b"x")), "leads outside"),
    "drive letter": (packed((GOOD, b"x"), (f"C:/{GOOD}", b"x")), "leads outside"),
    "two dots": (packed((GOOD, b"x"), (f"../../{GOOD}", b"x")), "leads outside"),
    "two dots with backslashes": (packed((GOOD, b"x"), ("..\\..\\x.jpeg", b"x")), "leads outside"),
    "link to a file": (packed((link(GOOD), b"/etc/passwd")), "is a link"),
    "link to a folder": (packed((link("chest_xray/train"), b"/tmp"), (GOOD, b"x")), "is a link"),
    "letter case": (packed((GOOD, b"x"), (GOOD.replace("IM-", "im-"), b"y")), "two files for one place"),
    "a name twice": (packed((GOOD, b"x"), (GOOD, b"y")), "twice"),
    "stream of a file": (packed(("chest_xray/train/NORMAL/a:b.jpeg", b"x")), "no file name"),
    "line break in a name": (packed(("chest_xray/train/NORMAL/a\nb.jpeg", b"x")), "no file name"),
    "10,000:1 bomb": (packed((GOOD, bytes(32 * 2**20)), how=zipfile.ZIP_LZMA), "would grow"),
    "bomb of one zip byte": (packed((GOOD, bytes(8 * 2**20)), how=zipfile.ZIP_DEFLATED), "would grow"),
    "too many members": (packed(*((f"chest_xray/train/NORMAL/{n}.jpeg", b"") for n in range(40))), "40 files"),
    "encrypted": (
        patched(patched(packed((GOOD, b"x")), b"PK\x03\x04", b"\1", at=6), b"PK\1\2", b"\1", at=8), "encrypted",
    ),
    "cut off": (packed((GOOD, NOISE.tobytes()))[:1500], "cut off or damaged"),
    "changed byte": (patched(packed((GOOD, bytes(999))), bytes(99), b"x", at=50), "damaged"),
    "lies about a size": (
        patched(packed((GOOD, bytes(2**20)), how=zipfile.ZIP_DEFLATED), b"PK\1\2", b"\n\0\0\0", at=24), "damaged",
    ),
    "unknown compression": (patched(packed((GOOD, b"x")), b"PK\1\2", b"\x63", at=10), "packed in a way that is not"),
    "no layout": (packed(("images/a.jpeg", b"x")), "holds no images"),
    "two copies": (packed((f"a/{GOOD}", b"x"), (f"b/{GOOD}", b"y")), "2 copies"),
    "nothing in it": (packed(), "holds no images"),
    "empty": (b"", "is empty"),
    "web page": (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
    "other kind": (b"\x1f\x8b\x08tar", "is not a zip file"),
}  # fmt: skip

IMAGES = {
    "cut.jpeg": (picture(pixels=NOISE)[:700], "can't be read as an image .*truncated"),
    "cut.png": (picture("PNG", pixels=NOISE)[:900], "can't be read as an image"),
    "cut.tiff": (picture("TIFF", pixels=NOISE)[:900], "can't be read as an image"),
    "empty.jpeg": (b"", r"can't be read as an image \(empty\)"),
    "text.jpeg": (b"hello, this is text", "of no known format"),
    "page.jpeg": (b"<html>not found</html>", "of no known format"),
    "script.jpeg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "of no known format"),
    "moving.jpeg": (picture("GIF"), "GIF is not read; save it as JPEG, PNG, TIFF, BMP, WebP or DICOM"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC, as phones make it, is not read; save it as JPEG, PNG"),
    "new.avif": (b"\0\0\0\x20ftypavif" + bytes(99), "AVIF is not read; save it as"),
    "j2k.jp2": (picture("JPEG2000"), "JPEG 2000 is not read; save it as"),
    "stream.j2k": (picture("JPEG2000", no_jp2=True), "JPEG 2000 is not read; save it as"),
    "scan.pdf": (b"%PDF-1.7\n", "PDF is not read; save it as"),
    "volume.nii": (bytes(344) + b"n+1\0", "NIfTI is not read; save it as"),
    "ten bits.tiff": (patched(picture("TIFF"), b"\x02\x01\x03\0\x01\0\0\0\x08", b"\x0a", at=8), "a TIFF whose bits"),
    "lossless.jpeg": (picture().replace(b"\xff\xc0", b"\xff\xc3", 1), "a lossless or other rare kind of JPEG"),
    "zip.jpeg": (packed((GOOD, b"x")), "of no known format"),
    "head only.jpeg": (picture()[:2], "can't be read as an image"),
    "30000.png": (png(30_000, 30_000), "far too many pixels; at most 50,000,000"),
    "8000.png": (png(8000, 8000), "8000 x 8000 pixels; at most 50,000,000"),
    "no pixels.png": (png(0, 5), "can't be read as an image"),
    "too little data.png": (png(60, 40, data=b"\0" * 99), "can't be read as an image"),
    "text bomb.png": (
        png(1, 1, data=b"\0\0", extra=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))]), "can't be read as an image",
    ),
    "floating.tiff": (picture("TIFF", "F"), "floating-point"),
    "wrong suffix.jpeg": (picture("PNG"), SUM),
    "wrong suffix.png": (picture("BMP"), SUM),
    "chrome's.jfif": (picture(), SUM),
    "bmp.jpg": (picture("BMP"), SUM),
    "webp.jpeg": (picture("WEBP", lossless=True), SUM),
    "palette.png": (picture("PNG", "P"), SUM),
    "rgb.png": (picture("PNG", "RGB"), SUM),
    "rgba.png": (picture("PNG", "RGBA"), SUM),
    "gray and alpha.png": (picture("PNG", "LA"), SUM),
    "sixteen bits.png": (picture("PNG", "I;16", RAMP.astype(np.uint16) * 257), SUM),
    "cmyk.tiff": (picture("TIFF", "CMYK"), SUM),
    "1x1.png": (png(1, 1, data=b"\0\x37"), 0x37),
    "4x3.jpeg": (picture(pixels=np.full((3, 4), 99, np.uint8)), 12 * 99),
    "it's \"1\", ü 胸.png": (picture("PNG"), SUM),
    "line\nbreak.jpeg": (b"", r"line\\nbreak\.jpeg: can't be read as an image"),
    "escape\x1b[31m.jpeg": (b"", r"escape\\x1b\[31m\.jpeg: can't be read as an image"),
}  # fmt: skip

DICOMS = {
    "whole.dcm": (lambda: radiograph(), "ramp"),
    "named so.jpeg": (lambda: radiograph(), "ramp"),
    "monochrome1.dcm": (lambda: radiograph(PhotometricInterpretation="MONOCHROME1"), "inverted"),
    "inverse.dcm": (
        lambda: radiograph(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"), "inverted",
    ),
    "window.dcm": (lambda: deep(WindowCenter=2048, WindowWidth=4096), "window"),
    "rescaled.dcm": (
        lambda: deep(WindowCenter=20480, WindowWidth=40960, RescaleSlope=10, RescaleIntercept=0), "window",
    ),
    "two windows.dcm": (lambda: deep(WindowCenter=[2048, 9], WindowWidth=[4096, 9]), "window"),
    "window of no width.dcm": (lambda: deep(WindowCenter=2048, WindowWidth=0), "ramp"),
    "window of less than none.dcm": (lambda: deep(WindowCenter=2048, WindowWidth=-4096), "ramp"),
    "window of text.dcm": (lambda: patched(deep(WindowCenter=2048, WindowWidth=4096), b"4096", b"SECR"), "ramp"),
    "window function of none.dcm": (lambda: deep(WindowCenter=2048, WindowWidth=4096, VOILUTFunction=""), "window"),
    "window below 1.dcm": (
        lambda: deep(WindowCenter=0.5, WindowWidth=1 - 1 / 4096, RescaleSlope=1 / 4096, RescaleIntercept=0), "window",
    ),
    "rescaled by text.dcm": (
        lambda: patched(deep(RescaleSlope="1234567", RescaleIntercept=0), b"1234567", b"SECRETX"), "its rescaling is",
    ),
    "rescaled by zero.dcm": (lambda: deep(RescaleSlope=0, RescaleIntercept=0), "its rescaling is by nothing"),
    "no modality.dcm": (lambda: radiograph(drop=["Modality"]), "ramp"),
    "empty modality.dcm": (lambda: radiograph(Modality=""), "ramp"),
    "no preamble.dcm": (lambda: radiograph()[132:], "ramp"),
    "no preamble but DICM.dcm": (lambda: radiograph()[128:], "ramp"),
    "neither preamble nor meta.dcm": (lambda: without_meta(radiograph()), "ramp"),
    "32 bits.dcm": (
        lambda: radiograph(pixels=RAMP.astype("<u4"), BitsAllocated=32, BitsStored=32, HighBit=31), "other than 8",
    ),
    "ct.dcm": (lambda: radiograph(Modality="CT"), "no radiograph: its modality is none of CR, DX"),
    "modality is a name.dcm": (lambda: radiograph(Modality=PLANTED), "no radiograph"),
    "colour.dcm": (lambda: radiograph(PhotometricInterpretation="RGB", SamplesPerPixel=3), "in colour"),
    "two frames.dcm": (lambda: radiograph(NumberOfFrames=2), "several frames"),
    "no pixels.dcm": (lambda: radiograph(drop=["PixelData"]), "without pixels"),
    "no size.dcm": (lambda: radiograph(drop=["Rows"]), r"its header can't be read \(AttributeError\)"),
    "too large.dcm": (lambda: radiograph(Rows=60000, Columns=60000), "60000 x 60000 pixels; at most"),
    "cut.dcm": (lambda: radiograph()[:-1000], "DICOM"),
    "header only.dcm": (lambda: bytes(128) + b"DICM", "DICOM"),
    "damaged header.dcm": (lambda: bytes(128) + b"DICM" + NOISE.tobytes(), "DICOM"),
    "deflated.dcm": (lambda: bytes(128) + b"DICM\2\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99", "DICOM, deflated"),
    "unknown compression.dcm": (
        lambda: radiograph().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"), "transfer syntax.*not known",
    ),
}  # fmt: skip

TABLES = {
    "no such column": (table_of("a,1", head="path,label"), "column 'patient' is missing"),
    "a label of 2": (table_of(ROW, ROW.replace(",1,", ",2,")), "line 3: label is 2, it must be 0 or 1"),
    "a label of text": (table_of(ROW.replace(",1,", ",ill,")), "line 2: label is 'ill'"),
    "a probability of NaN": (table_of(ROW.replace("0.5", "NaN")), "line 2: probability is nan"),
    "a probability of 1.2": (table_of(ROW, ROW.replace("0.5", "1.2")), "line 3: probability is 1.2"),
    "no probability": (table_of(ROW.replace("0.5", "")), "line 2: probability is nan"),
    "infinite": (table_of(ROW.replace("0.5", "inf")), "line 2: probability is inf"),
    "too many fields": (table_of(ROW, ROW + ",1,2,3"), "not a readable CSV table"),
    "empty": (b"", "not a readable CSV table"),
    "no text": (b"\xff\xfe\x00" * 50, "not a readable CSV table|is missing"),
    "zero bytes": (bytes(500), "not a readable CSV table|is missing"),
    "open quote": (table_of('"' + ROW), "not a readable CSV table|is missing|it must be"),
}

JSONS = {
    "half": ('{"a": 1', "not a readable JSON file"),
    "empty": ("", "not a readable JSON file"),
    "a list": ("[1, 2]", "holds a list, not an object"),
    "a number": ("5", "holds a int, not an object"),
    "nothing": ("null", "holds a NoneType"),
    "another object": ('{"b": 1}', "'a' is missing in it"),
    "NaN": ('{"a": NaN}', "NaN in it is no number"),
    "infinity": ('{"a": -Infinity}', "-Infinity in it is no number"),
    "too deep": ("[" * 200_000, "not a readable JSON file"),
    "too long a number": ('{"a": ' + "9" * 10_000 + "}", "not a readable JSON file"),
    "two documents": ('{"a": 1} {"a": 2}', "not a readable JSON file"),
    "byte order mark": ("\ufeff{}", "not a readable JSON file"),
}


def test_the_table_is_long_enough():
    assert sum(map(len, (ARCHIVES, IMAGES, DICOMS, TABLES, JSONS))) >= 60


def refuses(call, path, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        call(path)
    message = str(caught.value)
    assert path.name.split("\n")[0].split("\x1b")[0] in message and message.isprintable()
    return message


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives(tmp_path, monkeypatch, name):
    monkeypatch.setattr("cxr_utils._limits.MOST_FILES", 30)
    content, reason = ARCHIVES[name]
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / "given.zip"
    archive.write_bytes(content)
    refuses(lambda path: unzip(path, tmp_path / "deep" / "out"), archive, reason)
    inside = {"IM-0115-0001.jpeg"}  # at most what was unpacked before the damage was met
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} - inside == {"given.zip"}
    refuses(lambda path: sources.fetch("folder", path=path, data_dir=tmp_path / "data"), archive, reason)
    assert not [path for path in (tmp_path / "data").glob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize("name", IMAGES)
def test_images(tmp_path, name):
    content, expected = IMAGES[name]
    path = tmp_path / name
    path.write_bytes(content)
    calls = (images.read, lambda path: images.check(path.read_bytes(), path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        if isinstance(expected, str):
            for call in calls:
                refuses(call, path, expected)
        else:
            pixels = images.read(path)
            assert pixels.dtype == np.uint8 and abs(int(pixels.sum()) - expected) <= 2 * pixels.size
            assert images.check(content, path)[:2] == pixels.shape[::-1]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing", "no file", "too large", "zero byte"])
def test_things_that_are_no_image_files(tmp_path, monkeypatch, kind):
    path = tmp_path / "x.jpeg"
    reason = {"folder": "is a folder", "pipe": "is a pipe", "link to nothing": "is a link to nothing",
              "no file": "no such file", "too large": "at most 9 are read", "zero byte": "can't be read"}  # fmt: skip
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to nothing":
        path.symlink_to("nowhere")
    elif kind == "too large":
        monkeypatch.setattr(images, "MAX_BYTES", 9)
        path.write_bytes(picture())
    elif kind == "zero byte":
        path = tmp_path / "x\0.jpeg"
    with pytest.raises(BadInput, match=reason[kind]):
        images.read(path)


@pytest.mark.parametrize("name", DICOMS)
def test_dicoms(tmp_path, capfd, caplog, recwarn, name):
    make, expected = DICOMS[name]
    path = tmp_path / name
    path.write_bytes(make())
    recwarn.clear()  # writing such values is met with warnings, too
    caplog.clear()
    if expected not in ("ramp", "inverted", "window"):
        message = refuses(images.read, path, expected)
        refuses(lambda path: images.check(path.read_bytes(), path), path, expected)
    else:
        pixels, message = images.read(path), ""
        plain = np.rint(RAMP * (255 / RAMP.max())) if expected != "window" else np.rint(RAMP * (20 * 255 / 4095))
        plain = 255 - plain if expected == "inverted" else plain
        assert np.abs(pixels.astype(int) - plain).max() <= 1
        assert images.check(path.read_bytes(), path) == (60, 40, "L")
    if name.startswith("window of "):  # it is said that the window was not taken
        assert [one for one in recwarn if "its window is none" in str(one.message)]
    seen = [message, *capfd.readouterr(), caplog.text, *(str(one.message) for one in recwarn)]
    assert not [text for text in seen if "SECR" in text or PLANTED in text]


@pytest.mark.parametrize(
    ("elements", "remark"),
    [
        ({"PatientAge": "045Y"}, "the age is outside"),
        ({"PatientAge": "006Y"}, "the age is outside"),
        ({"PatientAge": "006M"}, "the age is outside"),
        ({"PatientAge": "005Y"}, None),
        ({"PatientAge": "030M"}, None),
        ({"PatientAge": ""}, "no age is given"),
        ({"PatientAge": PLANTED}, "the age is given in a form that is not known"),
        ({"PatientAge": "045"}, "the age is outside"),
        ({"PatientAge": "45Y"}, "the age is outside"),
        ({"PatientAge": "45 years"}, "the age is outside"),
        ({"PatientAge": "3"}, None),
        ({"PatientAge": "03y"}, None),
        ({"PatientAge": "30 M"}, None),
        ({"drop": ["Modality"]}, "no modality is given"),
        ({"ViewPosition": "AP PORTABLE"}, None),
        ({"ViewPosition": "Antero-Posterior"}, None),
        ({"ViewPosition": "PA"}, "the view is not"),
        ({"ViewPosition": PLANTED}, "the view is not"),
        ({"drop": ["ViewPosition"]}, "no view is given"),
        ({"BodyPartExamined": "HAND"}, "the body part is not"),
        ({"BodyPartExamined": PLANTED}, None),
        ({"BodyPartExamined": "PORTABLE CHEST"}, None),
        ({"BodyPartExamined": "T\u00f3rax"}, None),
        ({"BodyPartExamined": "CHEST ABDOMEN"}, None),
        ({"BodyPartExamined": "ANYTHING"}, None),
        ({"BodyPartExamined": "LEFT HAND"}, "the body part is not"),
        ({"BodyPartExamined": "ABDOMINAL"}, "the body part is not"),
        ({"BodyPartExamined": "THORACIC SPINE"}, "the body part is not"),
        ({"BodyPartExamined": "CSPINE"}, "the body part is not"),
        ({"drop": ["BodyPartExamined"]}, "no body part is given"),
        ({"BurnedInAnnotation": "YES"}, "text is written into the picture"),
        ({}, None),
    ],
)
def test_what_no_model_here_has_seen_is_said(tmp_path, elements, remark):
    path = tmp_path / "a.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(radiograph(**elements))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        images.read(path)
    messages = [str(one.message) for one in found]
    assert [remark in message and message.startswith(str(path)) for message in messages] == [True] * bool(remark)
    assert not [message for message in messages if PLANTED in message or "045" in message]


def test_no_identifier_is_even_read(tmp_path, monkeypatch):
    import pydicom

    seen, read = [], pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **options: seen.append(read(*args, **options)) or seen[-1])
    pixels, remarks = _dicom.read(radiograph(), most_pixels=10_000)
    assert remarks == [] and PLANTED not in str(seen[0]) and "PatientBirthDate" not in seen[0]
    assert set(seen[0].dir()) <= set(_dicom.ELEMENTS)


def test_lookup_tables_and_padding():
    from pydicom.dataset import Dataset

    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [256, 0, 8], np.arange(255, -1, -1, dtype="<u2").tobytes()
    content = radiograph(VOILUTSequence=[lut])
    assert np.array_equal(_dicom.read(content, most_pixels=9999)[0], 255 - RAMP)
    framed = np.maximum(RAMP, 1)
    framed[:5] = 0
    content = radiograph(pixels=framed, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1")
    shown = _dicom.read(content, most_pixels=9999)[0]
    assert shown[:5].max() == 0 and shown[5:].max() == 255  # padding stays black where white was meant by 0


def test_an_adult_from_the_front():
    """The chest radiograph of pydicom-data: an adult's, posterior-anterior, MONOCHROME1, compressed or not."""
    from pydicom.data import get_testdata_file

    read = {}
    for name in ("RG1_UNCR.dcm", "RG1_J2KR.dcm"):
        path = get_testdata_file(name, download=False)
        assert path, "pydicom-data is not installed"
        with pytest.warns(UserWarning) as found:
            read[name] = images.read(path)
        said = " ".join(str(one.message) for one in found)
        assert "no age is given" in said and "the view is not anterior-posterior" in said and "Compressed" not in said
    whole, compressed = read.values()
    assert whole.shape == (1955, 1841) and np.abs(whole.astype(int) - compressed).mean() < 0.01
    spine, lung = whole[700:1100, 880:940].mean(), whole[500:700, 450:600].mean()
    assert spine > lung + 40  # bones are white


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path, name, suffix):
    import gzip

    content, reason = TABLES[name]
    path = tmp_path / f"predictions{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    refuses(evaluation.read_predictions, path, reason)


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x00\x99", "cut"])
def test_a_packed_table_that_is_damaged(tmp_path, content):
    path = tmp_path / "predictions.csv.gz"
    files.write_csv(path, evaluation.pd.DataFrame({"path": [str(n) for n in range(500)]}))
    path.write_bytes(path.read_bytes()[:-30] if content == "cut" else content)
    refuses(evaluation.read_predictions, path, "not a readable CSV table")


@pytest.mark.parametrize("name", JSONS)
def test_jsons(tmp_path, name):
    content, reason = JSONS[name]
    path = tmp_path / "note.json"
    path.write_text(content, encoding="utf-8")
    refuses(lambda path: files.read_record(path, "a"), path, reason)


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null", '{"source": NaN}'])
def test_a_folder_with_a_broken_description_is_refused(tmp_path, content):
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(BadInput, match="source.json"):
        sources.describe(tmp_path)


def test_more_than_one_in_a_hundred_stops_unless_told_otherwise(tiny):
    for number in range(2):
        (tiny / f"chest_xray/train/NORMAL/IM-{900 + number:04d}-0001.jpeg").write_bytes(b"")
    with pytest.raises(BadInput, match="2 of 67 images can't be used, first .*empty.*larger allow than 0.01"):
        dataset.scan(tiny)
    with pytest.warns(UserWarning, match="2 of 67 .*left out"):
        assert len(dataset.scan(tiny, allow=0.03)) == 65


def test_what_is_broken_in_the_middle_is_left_out_of_the_cache_too(tiny):
    """A JPEG with a whole head and end, and rubbish between, is met when the index is made: the rest goes on."""
    name = tiny / "chest_xray/train/NORMAL/IM-0900-0001.jpeg"
    content = picture(pixels=np.kron(NOISE, np.ones((8, 8), np.uint8)), quality=90, progressive=True)
    middle = content.index(b"\xff\xc4") + 4
    name.write_bytes(content[:middle] + b"\xff" * 60 + content[middle + 60 :])
    with pytest.warns(UserWarning, match="1 of 66 .*IM-0900"):
        index = dataset.scan(tiny, allow=0.1)
    assert images.cache(index, tiny, size=16).shape == (65, 16, 16, 1)


def test_a_broken_record_of_json_never_reaches_a_run(tmp_path):
    from cxr_utils import training

    (tmp_path / "run.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(BadInput, match="run.json: 'recipe' is missing"):
        training.load(tmp_path)
