"""The grid as a whole: it can be killed at any moment, and a cell that fails stops only itself."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from cxr_utils import cli, dataset, files, sources
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.replication import grid, replicate

ROOT = Path(__file__).parents[2]
TINY = "folder: 65 images, of various sizes"


@pytest.fixture(scope="module")
def phantoms(sample_data, tmp_path_factory):
    """Return a data folder of this module's own with the sample in it."""
    return shutil.copytree(sample_data, tmp_path_factory.mktemp("data") / "data")


@pytest.fixture
def data(tiny, tmp_path):
    """Return a data folder with the tiny dataset as the source folder."""
    with pytest.warns(UserWarning, match="number of images"):
        sources.fetch("folder", data_dir=tmp_path / "data", path=tiny)
    return tmp_path / "data"


def record(cell, identity, *, images=TINY, seconds=10.0):
    """Make what the package reads of a finished cell's JSON."""
    kinds = {key: (kind if isinstance(kind, type) else kind[0])() for key, kind in grid.TYPES.items()}
    read = {"cell": cell.name, "identity": identity, "image_source": images, "seconds": seconds,
            "protocol": cell.protocol}  # fmt: skip
    return dict.fromkeys(grid.KEYS) | kinds | read


def keep(out, cell, identity, **options):
    files.write_json(Path(out) / "runs" / f"{cell.name}.json", record(cell, identity, **options))


def test_a_dry_run_in_a_fresh_clone_names_the_cells(capsys, home):
    assert cli.main(["replicate", "--dry-run"]) == 0
    text = capsys.readouterr().out
    for cell in grid.cells():
        assert f"\n{cell.name} " in text
    assert f"{len(grid.cells())} cells: 0 done" in text and "none in" in text and not list(home.iterdir())


def test_help_reads_well(capsys):
    assert cli.main(["replicate", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--rehearse" in text and "None" not in text and max(map(len, text.splitlines())) <= 100


def test_a_cell_is_done_when_its_identity_is_that_of_now(data, home, capsys):
    cells = grid.cells(recipe=["plain_64"], seeds=[0])
    index = dataset.scan(data / "folder")
    keep(home / "out", cells[0], cells[0].identity(cells[0].split(index), index))
    keep(home / "out", cells[1], "0123456789ab")
    assert cli.main([*"replicate --dry-run --recipe plain_64 --seeds 0,1 --out out --data-dir".split(), str(data)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    state = {line[0]: line[2:] for line in lines if line and line[0].startswith("plain")}
    assert state == {"plain_64-published-s0": ["done"], "plain_64-honest-s0": ["to", "come"],
                     "plain_64-published-s1": ["to", "come"], "plain_64-honest-s1": ["to", "come"]}  # fmt: skip
    assert "images   " + TINY in "\n".join(" ".join(line).replace("images ", "images   ", 1) for line in lines)


def test_results_of_other_images_are_refused_by_name(data, home):
    keep(home / "out", grid.Cell("plain_64", "honest", 2), "0" * 12, images="kaggle: 5,856 images, of various sizes")
    with pytest.raises(BadInput, match=r"plain_64-honest-s2\.json: made from other images \(kaggle.*\(folder: 65"):
        replicate.plan(recipe=["plain_300"], data_dir=data, out="out")


def test_which_images_are_meant(data, home):
    assert replicate.plan(data_dir=data).source == "folder"
    with pytest.raises(BadInput, match="no real images .* --rehearse"):
        replicate.plan(data_dir="data", fetch=True)
    shutil.copytree(data / "folder", data / "kaggle")
    with pytest.raises(BadInput, match="both kaggle and folder .* --source"):
        replicate.plan(data_dir=data)
    assert replicate.plan(data_dir=data, source="kaggle").images.startswith("kaggle: 65 images")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "plain"], "plain_64"),
        (["--protocol", "fair"], "published, honest"),
        (["--seeds", "0,x"], "'0,x'"),
        (["--seeds", "1,1"], "'1,1'"),
        (["--source", "web"], "kaggle"),
        (["--rehearse", "--source", "folder"], "cxr fetch --source folder"),
        (["--cores", "0"], "--cores"),
        (["--recipe", "plain_224-unaugmented", "--protocol", "published"], "plain_224-unaugmented was never published"),
    ],
)
def test_a_wrong_input_is_one_line_and_status_2(arguments, words, capsys):
    assert cli.main(["replicate", *arguments]) == 2
    caught = capsys.readouterr()
    assert caught.out == "" and caught.err.count("\n") == 1 and words in caught.err


def test_the_kept_epoch_is_that_of_the_weights():
    history = pd.DataFrame({"val_loss": [0.5, 0.3, 0.2, 0.4], "val_accuracy": [0.9, 0.8, 0.7, 0.6]})

    def kept(**stops):
        return grid._kept_epoch({"recipe": {"early_stopping": stops or None}}, history)

    assert kept() == kept(monitor="val_loss", restore_best_weights=False) == 4
    assert kept(monitor="val_loss", restore_best_weights=True) == 3
    assert kept(monitor="val_accuracy", restore_best_weights=True) == 1
    assert kept(monitor="val_accuracy", restore_best_weights=True, start_from_epoch=1) == 2
    assert kept(monitor="val_loss", restore_best_weights=True, start_from_epoch=3) == 4  # the last alone is looked at
    assert kept(monitor="val_loss", restore_best_weights=True, start_from_epoch=9) == 4  # cut short


def test_under_the_honest_protocol_validation_chooses_and_the_table_says_so():
    for name in ("plain_64", "batchnorm_224"):
        found = grid.Cell(name, "honest", 0).get_recipe()
        assert found.early_stopping["restore_best_weights"]
        assert found.table().loc["validation", "value"] == "15% of the patient groups of train and val"
    assert "honest" in grid.Cell("plain_64", "honest", 0).get_recipe().table().loc["early_stopping", "why ours"]


def test_a_profile_that_is_not_there(data):
    found = replicate.plan(data_dir=data, recipe=["plain_64"])
    with pytest.raises(BadInput, match="'pbs': choose local or slurm"):
        replicate.run(found, profile="pbs")


def test_without_snakemake_the_way_out_is_named(data, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CxrError, match="requirements-dev.txt"):
        replicate.run(replicate.plan(data_dir=data, recipe=["plain_64"]))


def test_two_at_once_are_told(data, home, capsys):
    found = replicate.plan(data_dir=data, recipe=["plain_64"], out="out")
    with files.lock(found.work, wait=0):
        assert cli.main(["replicate", "--recipe", "plain_64", "--out", "out", "--data-dir", str(data)]) == 2
    assert "works in this folder; wait for it to end" in capsys.readouterr().err


def test_snakemake_that_does_not_start_says_why(data, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("no-such-option: true\n")
    found = replicate.plan(data_dir=data, recipe=["plain_64"])
    with pytest.raises(CxrError, match=r"before any cell began \(.*no-such-option.*snakemake.log"):
        replicate.run(found, profile=str(tmp_path / "broken"))


def test_rehearsals_are_small_and_never_taken_for_the_grid(tiny_index):
    for cell in grid.cells(seeds=[0], protocol=["honest"]):
        small = replicate.cell(cell.recipe, cell.protocol, cell.seed, rehearsal=True)
        recipe, split = small.get_recipe(), cell.split(tiny_index)
        assert recipe.image_size <= 96 and recipe.epochs <= 8 and recipe.width == 0.25
        assert "start_from_epoch" not in recipe.early_stopping  # later than the last epoch, for separable_180
        assert small.name == f"rehearsal_{cell.name}"
        assert small.identity(split, tiny_index) != cell.identity(split, tiny_index)
        assert recipe.build(compiled=False).count_params() < cell.get_recipe().build(compiled=False).count_params()


def test_progress_says_what_is_done_failed_and_running(home, tmp_path):
    cells = grid.cells(recipe=["plain_64"], seeds=[0, 1])
    found = replicate.Plan(cells, "folder", TINY, tmp_path, tmp_path / "out", tmp_path / "work", False)
    found.identity = {cell.name: "0" * 12 for cell in cells}
    found.records[cells[0].name] = record(cells[0], "0" * 12)
    todo = {found.key(cell): cell for cell in cells[1:]}
    assert replicate._progress(found, todo) == "1 of 4 cells done"
    for key, state in zip(todo, ("running", "failed", "done"), strict=True):
        files.write_json(found.work / "jobs" / f"{key}.json", {"state": state})
    assert replicate._progress(found, todo) == f"2 of 4 cells done, 1 failed; running {cells[1].name}"
    (found.work / found.key(cells[1])).mkdir()
    states = [line.split()[-1] for line in replicate.listing(found).splitlines() if line.startswith("plain")]
    assert states == ["done", "begun", "come", "come"]


def test_the_cell_notebook_is_what_its_script_says():
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "source" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert build.differences(build.CELL) == []


def command(data, home, *, out, options=()):
    """Start a rehearsal of two cells as a user does, with nothing but a root of its own."""
    words = ["replicate", "--rehearse", "--recipe", "plain_64", "--recipe", "softmax_64", "--protocol", "honest",
             "--seeds", "0", "--data-dir", str(data), "--out", str(out), *options]  # fmt: skip
    code = "import sys; from cxr_utils.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"CXR_HOME": str(home)}, start_new_session=True,
    )  # fmt: skip
    return process


def until(condition, process, *, seconds=600):
    """Wait for something to happen while the command runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def stop(process, how):
    """Send a signal to the command alone, and see that nothing of it stays behind."""
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.send_signal(how)
    said = process.communicate(timeout=60)[0]
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive
    return said


def rows(work, name):
    """Return the epochs that an unfinished training has kept."""
    [state] = work.glob(f"{name}-*/state.npz")
    with np.load(state) as kept:
        return json.loads(str(kept["rows"]))


def test_killed_at_any_moment_it_finishes_without_redoing_or_losing_a_cell(phantoms, home):
    out = home / "out"
    first = command(phantoms, home, out=out)
    until(lambda: list((out / "work" / "jobs").glob("*.json")), first)
    assert "goes on from here" in stop(first, signal.SIGINT) and first.returncode == 130

    def half_done():
        done = [path.stem for path in (out / "runs").glob("*.json")]
        return done and [path for path in (out / "work").glob("*/state.npz") if done[0] not in str(path)]

    second = command(phantoms, home, out=out, options=["--cores", "1"])
    until(half_done, second)
    stop(second, signal.SIGKILL)
    [finished] = (out / "runs").glob("*.json")
    before = finished.read_bytes(), finished.stat().st_mtime_ns
    [other] = {"rehearsal_plain_64-honest-s0", "rehearsal_softmax_64-honest-s0"} - {finished.stem}
    begun = rows(out / "work", other)
    assert begun

    third = command(phantoms, home, out=out)
    said, _ = third.communicate(timeout=600)
    assert third.returncode == 0 and "done     2 cells" in said, said
    assert (finished.read_bytes(), finished.stat().st_mtime_ns) == before
    kept = grid.results(out)
    assert sorted(kept) == ["rehearsal_plain_64-honest-s0", "rehearsal_softmax_64-honest-s0"]
    for content in kept.values():
        assert [row["epoch"] for row in content["history"]] == [*range(1, content["epochs_run"] + 1)]
        assert content["recipe"]["image_size"] == 64 and content["image_source"].startswith("sample: 720 images")
    # The seconds of an epoch never come out the same twice: these epochs were not trained again.
    assert [row["seconds"] for row in kept[other]["history"][: len(begun)]] == [row["seconds"] for row in begun]
    ledger = pd.read_csv(out / "test_reads.csv")
    assert sorted(ledger["cell"]) == sorted(kept) and list(ledger["reads"]) == [1, 1]

    # A commit or a clone changes time stamps, and nothing else: there is nothing to do.
    for path in ROOT.glob("workflow/*"):
        os.utime(path)
    fourth = command(phantoms, home, out=out)
    said, _ = fourth.communicate(timeout=60)
    assert fourth.returncode == 0 and "done     2 cells" in said and "running" not in said
    assert (finished.read_bytes(), finished.stat().st_mtime_ns) == before


SBATCH = r"""#!{python}
import os, subprocess, sys
folder = os.environ["STAND_IN"]
with open(f"{{folder}}/calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:-1]) + "\n")
number = 100 + len(open(f"{{folder}}/calls").readlines())
job = sys.argv[-1].removeprefix("--wrap=")
output = sys.argv[sys.argv.index("--output") + 1].replace("%j", str(number))
end = f"mv {{folder}}/ended-{{number}} {{folder}}/{{number}}"
script = f"({{job}}) > {{output}} 2>&1 && s=COMPLETED || s=FAILED; echo $s > {{folder}}/ended-{{number}}; {{end}}"
open(f"{{folder}}/{{number}}", "w").write("RUNNING\n")
environment = dict(os.environ, SLURM_JOB_ID=str(number), SLURM_CPUS_PER_TASK="2")
subprocess.Popen(["sh", "-c", script], env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(number)
"""
OTHERS = {
    "sacct": 'case "$*" in *Account*) echo none; exit;; esac\n'
    'cd "$STAND_IN" && for job in [0-9]*; do echo "$job|$(cat $job)"; done',
    "squeue": 'cd "$STAND_IN" && for job in [0-9]*; do echo "$job|$(cat $job)"; done',
    "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "sinfo": "echo 'PARTITION\nall*'",
    "scontrol": "echo 'MinJobAge = 300 sec'",
    "scancel": "true",
    "sacctmgr": "true",
    "sshare": "true",
}


@pytest.mark.long
def test_on_slurm_each_cell_is_a_job_and_a_failing_one_stops_only_itself(phantoms, home, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name, text in ({"sbatch": SBATCH.format(python=sys.executable)} | OTHERS).items():
        path = tmp_path / "bin" / name
        path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("STAND_IN", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    profile = tmp_path / "profile" / "config.yaml"
    profile.parent.mkdir()
    ours = yaml.safe_load((ROOT / "workflow" / "profiles" / "slurm" / "config.yaml").read_text())
    quick = {"slurm-init-seconds-before-status-checks": 1, "latency-wait": 5}
    profile.write_text(yaml.safe_dump(ours | quick))
    found = replicate.plan(recipe=["softmax_64"], protocol=["honest"], data_dir=phantoms, rehearsal=True, out="out")
    bad = found.cells[0]
    files.write_json(found.work / found.key(bad) / "run.json", {"version": "another"})  # training refuses this folder

    process = command(phantoms, home, out=home / "out", options=["--profile", str(profile.parent)])
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1, said
    assert list(grid.results(home / "out")) == ["rehearsal_plain_64-honest-s0"], said
    assert "1 of 2 cells failed; the same command tries them again" in said
    [line] = [line for line in said.splitlines() if line.startswith("failed ")]
    notebook = found.work / "notebooks" / f"{found.key(bad)}.ipynb"
    assert bad.name in line and "holds another run" in line and str(notebook) in line and notebook.is_file()
    calls = (tmp_path / "state" / "calls").read_text().splitlines()
    assert len(calls) == 2 and all("--mem 6000" in c and "--cpus-per-task=4" in c and "-p all" in c for c in calls)

    (found.work / found.key(bad) / "run.json").unlink()
    again = command(phantoms, home, out=home / "out", options=["--profile", str(profile.parent)])
    said, _ = again.communicate(timeout=600)
    assert again.returncode == 0 and "done     2 cells" in said, said
    assert len((tmp_path / "state" / "calls").read_text().splitlines()) == 3
    assert len(pd.read_csv(home / "out" / "test_reads.csv")) == 2
