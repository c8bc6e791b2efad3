"""The folder of uploads is gone however the page ends, and nothing else ever is."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_utils.predict import uploads

PAGE = """
import signal, sys
from cxr_utils.predict import app, uploads
with app._tidy():
    kept = uploads.folder().path / "0" / "Meier_Anna.jpeg"
    kept.parent.mkdir()
    kept.write_text("a patient")
    print(kept, flush=True)
    sys.stdin.read()
"""


ENDING = [int(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Make the system's folder for temporary files an empty one."""
    uploads.close()
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr("tempfile.tempdir", str(place))
    yield place
    uploads.close()


def page(place):
    """Start what keeps uploads as the page does; return it and what it keeps."""
    # Below nohup, or in the background of a script, some signals are ignored, and a child would inherit that.
    usual = f"import signal; [signal.signal(s, signal.SIG_DFL) for s in {ENDING}]; "
    usual += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", usual + PAGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    kept = Path(process.stdout.readline().strip())
    assert kept.read_text() == "a patient" and kept.parents[2] == place
    return process, kept


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_every_signal_leaves_nothing(place, name):
    process, _ = page(place)
    process.send_signal(getattr(signal, name))
    process.communicate()
    assert process.returncode != 0 and list(place.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_next_start_tidies_up_after_a_kill_and_lets_the_living_be(place):
    killed, left = page(place)
    killed.kill()
    killed.communicate()
    assert left.exists()
    living, kept = page(place)  # which tidied up at its start
    assert not left.parents[1].exists() and kept.exists()
    uploads.sweep()
    assert kept.exists()
    living.communicate()
    assert living.returncode == 0 and list(place.iterdir()) == []


def mark(of, **more):
    """Put the mark of a dead page beside a folder."""
    path = uploads._beside(of, "json")
    path.write_text(json.dumps(uploads._mark(of) | more))
    return path


def snapshot(folder):
    return {path: path.is_dir() or path.read_bytes() for path in folder.rglob("*") if not path.name.endswith(".lock")}


FOREIGN = {
    "without a mark": lambda folder: None,
    "a mark with more in it": lambda folder: mark(folder, more=1),
    "the mark of another": lambda folder: mark(folder, folder="cxr-app-other"),
    "a list for a mark": lambda folder: mark(folder).write_text("[]"),
    "no text for a mark": lambda folder: mark(folder).write_bytes(b"\xff\xfe"),
    "a mark in it": lambda folder: (folder / ".made").write_text(json.dumps(uploads._mark(folder))),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_is_let_be(place, kind):
    folder = place / "cxr-app-work"
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "thesis.txt").write_text("mine")
    FOREIGN[kind](folder)
    before = snapshot(place)
    uploads.folder()
    uploads.close()
    assert snapshot(place) == before


def test_a_link_is_not_followed(place, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    folder = place / "cxr-app-work"
    folder.symlink_to(tmp_path / "mine")
    mark(folder)
    uploads.sweep()
    assert (tmp_path / "mine" / "thesis.txt").exists() and folder.is_symlink()
    kept = uploads.folder()
    (kept.path / "link").symlink_to(tmp_path / "mine")
    kept.forget(-1)
    uploads.close()
    assert (tmp_path / "mine" / "thesis.txt").exists()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.from_regex(r"[a-z.-]{0,11}[a-z]", fullmatch=True), max_size=5, unique=True))
def test_foreign_files_anywhere_stay(place, names):
    for name in [*names, *(f"cxr-app-{name}" for name in names), *(f".cxr-app-{name}.json" for name in names)]:
        (place / name).write_text("mine")
    before = snapshot(place)
    uploads.folder()
    uploads.close()
    assert snapshot(place) == before


def test_what_nobody_waits_for_is_deleted_by_its_age(place):
    kept = uploads.folder()
    for name, age in (("old", 700), ("new", 10)):
        (kept.path / name).mkdir()
        for path in (kept.path / name / "a.jpeg", kept.path / name):
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
    os.utime(kept.path, (1, 1))
    (kept.path / "tmpabc").write_text("a part of an upload")  # known to nobody
    os.utime(kept.path / "tmpabc", (1, 1))
    kept.forget(600)
    assert [path.relative_to(kept.path).as_posix() for path in sorted(kept.path.rglob("*"))] == ["new", "new/a.jpeg"]
    assert kept.path.is_dir()


def test_only_uploads_are_dropped(place, tmp_path):
    kept = uploads.folder()
    mine = tmp_path / "a" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    kept.drop(mine)
    kept.drop(kept.path / "none" / "none")
    kept.drop(kept.path / ".." / "thesis.txt")
    assert mine.exists() and kept.path.exists()


def test_a_child_process_does_not_tidy_up(place, monkeypatch):
    kept = uploads.folder()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        kept.close()
    assert kept.path.is_dir()
