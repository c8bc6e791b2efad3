"""The look at the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_utils.course import check


def by_name(**options):
    return {finding.name: finding for finding in check.findings(measure_speed=False, **options)}


def test_this_machine_can_run_the_course(tmp_path):
    found = by_name(data_dir=tmp_path / "not" / "yet" / "there")
    assert not [f for f in found.values() if f.missing and f.needed]
    assert found["tensorflow"].value and str(tmp_path) in found["free disk"].value
    assert found["processor"].value and "of" in found["free memory"].value


def test_limits_of_a_container_are_told(monkeypatch):
    monkeypatch.setattr(check._machine, "memory", lambda: (2 * check.GIB, 1.5 * check.GIB))
    monkeypatch.setattr(check._machine, "cores", lambda: 1)
    monkeypatch.setattr(check.os, "cpu_count", lambda: 16)
    found = by_name()
    assert found["free memory"].value.startswith("1.5 of 2.0 GB") and found["free memory"].needed
    assert "1 of 16 cores" in found["processor"].value


def test_a_package_without_a_checkout_says_what_starts_in_one_only(monkeypatch, tmp_path):
    monkeypatch.setattr(check.files, "CHECKOUT", tmp_path)
    found = by_name()["project folder"]
    assert "cxr run, lab, replicate and score" in found.missing and not found.needed


@pytest.mark.parametrize("form", ["token", "pair", "kaggle.json", "access_token", "credentials.json"])
def test_kaggle_credentials_are_found_and_never_shown(form, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    without = by_name()["Kaggle credentials"]
    assert "yes" not in without.value and without.missing and not without.needed
    secret = "0123456789abcdef"
    if form == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", secret)
    elif form == "pair":
        monkeypatch.setenv("KAGGLE_USERNAME", "someone")
        monkeypatch.setenv("KAGGLE_KEY", secret)
    else:
        (tmp_path / ".kaggle").mkdir()
        (tmp_path / ".kaggle" / form).write_text(json.dumps({"username": "someone", "key": secret}))
    found = by_name()["Kaggle credentials"]
    assert found.value.count("yes") == 1 and not found.missing
    assert secret not in check.lines(found) and "someone" not in check.lines(found)


def test_what_is_missing_is_named_with_the_way_out(monkeypatch, tmp_path):
    import psutil

    monkeypatch.setattr(check, "PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr(check, "_locked", lambda: {"numpy": {"0.1"}})
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"total": 2**30, "available": 2**30})())
    monkeypatch.setattr(check.shutil, "disk_usage", lambda folder: type("D", (), {"free": 2**29})())
    found = by_name(data_dir=tmp_path)
    for name, way_out in [
        ("Python", "3.11"),
        ("no-such-package", "requirements.txt"),
        ("free memory", "close"),
        ("free disk", "--data-dir"),
    ]:
        assert found[name].needed and way_out in found[name].missing
        assert check.lines(found[name]).startswith("MISSING")
    assert "not the locked 0.1" in found["numpy"].missing and not found["numpy"].needed


def test_minutes_come_from_a_measured_speed(monkeypatch):
    answer = {"images_per_second": 100.0, "precision": "float32", "gpu": ""}
    done = subprocess.CompletedProcess([], 0, stdout="chatter\n" + json.dumps(answer), stderr="")
    monkeypatch.setattr(check.subprocess, "run", lambda *_, **__: done)
    found = {finding.name: finding for finding in check._speed()}
    fixed, images = check.COST["sample"]
    assert f"about {(fixed + images / 100) / 60:.0f} minutes" in found["profile sample"].value
    assert "100 images/s in float32" in found["training"].value


def test_a_training_that_fails_is_reported(monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nImportError: no tensorflow")
    monkeypatch.setattr(check.subprocess, "run", lambda *_, **__: done)
    (found,) = check._speed()
    assert found.needed and "ImportError: no tensorflow" in found.value


def test_a_short_training():
    done = check.measure(seconds=0.2)
    assert done["images_per_second"] > 0 and done["precision"] in ("float32", "mixed_bfloat16")


def test_a_processor_without_avx_and_a_process_that_it_ends(monkeypatch):
    found = {"name": "Some", "bfloat16": [], "avx": False}
    monkeypatch.setattr(check._machine, "cpu", lambda: found)
    assert by_name()["processor"].missing == check._machine.NO_AVX and by_name()["processor"].needed
    done = subprocess.CompletedProcess([], -4, "", "")
    monkeypatch.setattr(check.subprocess, "run", lambda *_, **__: done)
    (ended,) = check._speed()
    assert "signal 4" in ended.value and "AVX" in ended.missing and "memory" not in ended.missing


@pytest.mark.parametrize(("letters", "long_paths", "said"), [(71, False, False), (72, False, True), (72, True, False)])
def test_a_folder_that_is_too_deep_for_windows(monkeypatch, letters, long_paths, said):
    deep = "/" + "d" * (letters - 1)
    monkeypatch.setattr(check.files, "CHECKOUT", Path(deep))
    monkeypatch.setattr(check.files, "is_project", lambda folder: True)
    assert not check._folder().missing
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(check, "_long_paths", lambda: long_paths)
    assert bool(check._folder().missing) is said
    assert not said or "LongPathsEnabled" in check._folder().missing


@pytest.mark.parametrize(("name", "words"), [("theano", "tensorflow, jax, torch"), ("torch", "not installed")])
def test_another_backend_is_a_line_of_its_own(monkeypatch, name, words):
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(check._machine.importlib.util, "find_spec", lambda _: None)
    found = by_name()["Keras backend"]
    assert found.needed and f"KERAS_BACKEND={name}" in found.missing and words in found.missing
