"""Killed, or out of room, at any point where something is written: nothing half there, and the same command ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
if os.name != "nt":
    import crash_points

LIGHT = ("kaggle", "medmnist", "scan", "cache", "report", "zip", "folder", "sample")
HEAVY = ("training", "evaluation", "course")
#: How many points a stage has at least: fewer, and the hook would see too little.
FEWEST = {"kaggle": 40, "medmnist": 45, "scan": 12, "cache": 11, "report": 2, "zip": 90, "folder": 90, "sample": 80}
FEWEST |= {"training": 20, "evaluation": 15, "course": 15}


def sweep(stage, base, mode, how, *, before=()):
    """Run a sweep in a process of its own: forks and audit hooks are nothing for this one."""
    command = [*before, sys.executable, str(HERE / "crash_points.py"), stage, str(base), mode, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5000)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(found, stage, mode):
    assert not found["problems"], "\n".join(found["problems"])
    assert found["points"] >= FEWEST[stage] and found["tried"] > 0
    # A file of a few bytes is whole before the kernel kills; a note that may fail does not end the work.
    assert found["broke"] == found["tried"] if mode == "kill" else found["broke"] > 0


@pytest.mark.parametrize(
    ("stage", "mode"),
    [("zip", "kill"), ("zip", "full"), ("scan", "kill"), ("scan", "torn"), ("cache", "kill"), ("cache", "full")],
)
def test_broken_once_at_each_kind_of_point(tmp_path, stage, mode):
    check(sweep(stage, tmp_path, mode, "few"), stage, mode)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["kill", "torn", "full"])
@pytest.mark.parametrize("stage", LIGHT)
def test_broken_at_every_point(tmp_path, stage, mode):
    check(sweep(stage, tmp_path, mode, "all"), stage, mode)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["kill", "torn", "full"])
@pytest.mark.parametrize("stage", HEAVY)
def test_long_work_broken_at_its_points(tmp_path, stage, mode):
    check(sweep(stage, tmp_path, mode, "few"), stage, mode)


@pytest.fixture
def own_mounts(tmp_path):
    """Return the words before a command that may mount a small disk, which is gone with it."""
    words = ["unshare", "--map-root-user", "--mount"]
    try:
        tried = [*words, "mount", "-t", "tmpfs", "none", str(tmp_path)]
        subprocess.run(tried, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no small disk can be mounted here")
    return words


@pytest.mark.parametrize("stage", ["cache", pytest.param("zip", marks=pytest.mark.long),
                                   pytest.param("sample", marks=pytest.mark.long),
                                   pytest.param("training", marks=pytest.mark.long),
                                   pytest.param("evaluation", marks=pytest.mark.long)])  # fmt: skip
def test_a_disk_that_gets_full(tmp_path, own_mounts, stage):
    found = sweep(stage, tmp_path / "disk", "disk", "few", before=own_mounts)
    assert not found["problems"], "\n".join(found["problems"])
    assert found["broke"] == found["tried"] > 0


def test_a_training_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path):
    """Dropout, EarlyStopping that stops early, ReduceLROnPlateau and a schedule are all at work."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    for point in (
        r"2 os.rename run/\.state.*npz",  # the second epoch is over, and not yet kept
        r"1 os.rename run/\.run-",  # stopped early, all is written but the record
    ):
        assert crash_points.apart("training", cut, "kill", point)[0] == -signal.SIGKILL
        assert not (cut / "run" / "run.json").exists()
    assert (cut / "run" / "model.keras").is_file()
    crash_points.STAGES["training"].work(whole)
    run = crash_points.STAGES["training"].work(cut)
    assert crash_points.snapshot(cut) == crash_points.snapshot(whole)
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]
    assert run.history["learning_rate"].round(6).tolist() == [0.001, 0.0005, 0.0002, 0.0001]
    # Killed after the record, before the state was removed: the next call does that.
    (cut / "run" / "state.npz").write_bytes(b"PK, and cut off")
    crash_points.STAGES["training"].work(cut)
    assert crash_points.snapshot(cut) == crash_points.snapshot(whole)


HOLD = """
import sys, time
from cxr_utils import files
with files.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds ``tmp_path / "run"``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_who_holds_a_folder_is_said_and_a_killed_holder_lets_go(tmp_path, holder, monkeypatch, caplog):
    import platform
    import threading

    from cxr_utils import files

    who = f"another process ({holder.pid} on {platform.node()})"
    with pytest.raises(files.BadInput) as caught, files.lock(tmp_path / "run", wait=0):
        pass
    assert who in str(caught.value)
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    killer = threading.Timer(1, holder.kill)
    killer.start()
    begun = time.monotonic()
    with files.lock(tmp_path / "run"):
        assert 0.5 < time.monotonic() - begun < 30
        assert json.loads((tmp_path / "run.lock.holder").read_text())["process"] == os.getpid()
    assert f"waiting for {who}" in caplog.text
    assert not (tmp_path / "run.lock.holder").exists()


@pytest.mark.long
def test_two_trainings_of_one_folder_train_once(tmp_path):
    code = "import sys, crash_points\nfrom pathlib import Path\ncrash_points._train(Path(sys.argv[1]))\n"
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "history.csv", "model.keras"}
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 5


def test_two_fetches_of_one_source_both_find_it_whole(tmp_path):
    crash_points.STAGES["zip"].prepare(tmp_path)
    command = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"]
    command += ["fetch", "--source", "folder", "--path", str(tmp_path / "given.zip"), "--data-dir", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert not [name for name in crash_points.snapshot(tmp_path) if crash_points.TEMPORARY.search(name)]


def test_a_notebook_cut_off_while_written_does_not_stop_the_report(tmp_path):
    from cxr_utils.course import report

    crash_points.STAGES["report"].prepare(tmp_path)
    folder = tmp_path / "runs" / "sample"
    (folder / "notebooks" / "02_b.ipynb").write_text('{"cells": [')
    (folder / "notebooks" / "03_c.ipynb").write_text("")
    page = report.write(folder, synthetic=True).read_text()
    assert "cxr run 02_b" in page and "cxr run 03_c" in page and "Title" in page


@pytest.mark.long
def test_a_killed_course_leaves_no_kernel_at_work_and_goes_on(tmp_path):
    import psutil

    crash_points._notebooks(tmp_path)
    slow = tmp_path / "notebooks" / "01_a.ipynb"
    content = json.loads(slow.read_text())
    content["cells"][2]["source"] = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    content["cells"][2]["source"] += "time.sleep(120)"
    slow.write_text(json.dumps(content))
    command = [sys.executable, "-c", "from cxr_utils.cli import main; main(['run', '1'])"]
    process = subprocess.Popen(command, env=os.environ | {"CXR_HOME": str(tmp_path)}, stderr=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    for _ in range(600):
        if pid.is_file() and pid.read_text():
            break
        time.sleep(0.1)
    kernel = psutil.Process(int(pid.read_text()))
    process.kill()
    process.wait()
    kernel.wait(timeout=30)
    content["cells"][2]["source"] = "print('mended')"
    slow.write_text(json.dumps(content))
    done = subprocess.run(command, env=os.environ | {"CXR_HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def sample_run(home, names=()):
    """Run notebooks on the sample, and return what they predicted and how that was judged."""
    home.mkdir()
    command = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"]
    done = subprocess.run([*command, "run", *names], env=os.environ | {"CXR_HOME": str(home)}, capture_output=True,
                          text=True, timeout=7200)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    run = home / "runs" / "sample"
    tables = [*run.rglob("predictions.csv"), *run.rglob("metrics.json"), *run.rglob("history.csv")]
    return {path.relative_to(run).as_posix(): crash_points.said(path) for path in sorted(tables)}


@pytest.mark.long
def test_two_sample_runs_predict_the_same(tmp_path):
    first, second = sample_run(tmp_path / "one"), sample_run(tmp_path / "two")
    assert [name for name in first if name.endswith("predictions.csv")]
    assert [name for name in first if name.endswith("metrics.json")]
    assert first == second
