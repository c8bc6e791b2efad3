"""Nothing that the project did not make is written over or deleted, whatever is called and wherever it lies."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from helpers import RUN, notebook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_utils import _ownership, cli, course, dataset, evaluation, files, images, ledger, sources, splits, training
from cxr_utils.errors import BadInput
from cxr_utils.predict import export
from cxr_utils.replication import replicate

ROOT = Path(__file__).parents[1]


# A small project, and every command that writes; nothing is trained or drawn for long


def executed(notebook, output, **_):
    """Stand in for papermill: write the notebook, as it does, straight to its place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, output)


@contextlib.contextmanager
def no_snakemake(command, log):
    log.write_text("stood in for\n")
    yield type("Ended", (), {"poll": lambda self: 1, "returncode": 1})()


@pytest.fixture(scope="module")
def stand_ins(trained):  # which has to be made without them
    """Let commands write all that they write, but for what takes long."""
    import nbconvert

    from cxr_utils.course import notebooks, report
    from cxr_utils.sources import phantom

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "execute", executed)
        patch.setattr(nbconvert.HTMLExporter, "from_notebook_node", lambda self, made: (report.TITLE, {}))
        patch.setattr(replicate, "_started", no_snakemake)
        patch.setattr(replicate, "workflow_folder", lambda: ROOT / "workflow")
        patch.setitem(phantom.write.__kwdefaults__, "n", 36)
        yield patch


@pytest.fixture(scope="module")
def template(stand_ins, tmp_path_factory):
    """Return a project with a fetched sample, predictions and their split."""
    home = tmp_path_factory.mktemp("template")
    (home / "notebooks").mkdir()
    for name in ("01_a", "02_b"):
        notebook(home / "notebooks", name, "1")
    folder = sources.fetch("sample", data_dir=home / "data")  # of few pictures: see `stand_ins`
    split = splits.grouped(dataset.scan(folder), validation=0.4)
    files.write_csv(home / "split.csv", split)
    split = split.assign(split=split["part"], probability=np.linspace(0.1, 0.9, len(split)).round(3))
    split[["path", "split", "label", "probability"]].to_csv(home / "mine.csv", index=False)

    def copied(into, **_):
        shutil.copytree(folder / "chest_xray", into / "chest_xray")

    stand_ins.setattr("cxr_utils.sources.phantom.write", copied)
    return home


COMMANDS = {
    "run": "run --run-dir lab/r",
    "fresh": "run --fresh --run-dir lab/r",
    "run here": "run --fresh --run-dir .",
    "run among the notebooks": "run --run-dir notebooks",
    "lab": "lab --only",
    "fetch": "fetch --source sample --data-dir other",
    "fetch again": "fetch --source sample",
    "pack": "pack out/mine.zip --source sample",
    "score": "score mine.csv --split split.csv --out out/mine.json",
    "replicate": "replicate --rehearse --recipe plain_64 --protocol honest --seeds 0 --out out",
}
PLACES = (".", "lab", "lab/r", "lab/r/notebooks", "lab/r/facts", "lab/r/trials", "lab/r/trials/a-s0", "lab/r/plain-s0",
          "lab/r/plain-s0/exported", "lab/r/thesis", "notebooks", "data", "data/sample", "data/.sample-download",
          "data/.sample-mine.tmp", "other", "other/sample", "other/.sample-download", "out", "out/runs", "out/splits",
          "out/work", "out/work/jobs", "out/work/notebooks")  # fmt: skip
NAMES = (*_ownership.RUN, "course.json", "source.json", "report.html", "01_a.ipynb", "02_b.ipynb", "01_a.json",
         "copy.keras", "test_reads.csv", "grid.csv", "claims.csv", "plan.json", "snakemake.log", "quarantine.csv",
         "mine.json", "mine.predictions.csv.gz", "mine.zip", "r.lock", "sample.lock", "r.lock.holder", "work.lock",
         "chapter 1.docx", "tmpnotes", "plain_64-honest-s0.json", "notebooks", "facts", "runs", "sample")  # fmt: skip
CONTENTS = (b"precious", b"{}", b"[]", b"null", b'{"01_a": null}', b'{"name": "their-package"}', b"path,label\na,1\n")


def carry_out(home, words, planted, *, before=()):
    """Give a command in a home where strangers' files lie; it may refuse, but must leave them as they are."""
    for one in before:
        cli.main(one.split())
    put = {}
    for place, name, content in planted:
        path = home / place / name
        with contextlib.suppress(OSError):  # a planted file stands where another's folder should be
            path.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(path):
                path.write_bytes(content)
                put[path] = content
    status = cli.main(words.split())
    for path, content in put.items():
        assert path.is_file() and path.read_bytes() == content, f"cxr {words}: {path.relative_to(home)}"
    return status


strangers = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(NAMES), st.sampled_from(CONTENTS)), min_size=1, max_size=3
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", COMMANDS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(planted=strangers, again=st.booleans())
def test_what_others_made_stays(command, planted, again, template, tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("planted")
    shutil.copytree(template, home, dirs_exist_ok=True)
    monkeypatch.setenv("CXR_HOME", str(home))
    monkeypatch.chdir(home)
    words = COMMANDS[command]
    carry_out(home, words, planted, before=[words.replace("--fresh ", "")] if again else [])
    shutil.rmtree(home)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("command", COMMANDS)
def test_our_own_is_written_again(command, template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path / "p")
    monkeypatch.setenv("CXR_HOME", str(tmp_path / "p"))
    monkeypatch.chdir(tmp_path / "p")
    here = {"run here": 2, "run among the notebooks": 2}
    status = here.get(command, 1 if command == "replicate" else 0)  # Snakemake is stood in for
    assert cli.main(COMMANDS[command].split()) == status
    assert cli.main(COMMANDS[command].split()) == (2 if command == "pack" else status)


def test_export_evaluate_and_heat_maps_fall_on_nothing(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture = next((trained / "data/sample/chest_xray/test").rglob("*.jpeg"))
    shutil.copy(picture, tmp_path / "a.jpeg")
    for words, names in {
        f"export {trained / 'gray'} --to h5 --out mine.h5": ("mine.h5", "mine.json", "model-card.md"),
        f"evaluate --model {trained / 'out-gray/m.keras'} --source sample --part val --out mine.json": (
            "mine.json",
            "mine.predictions.csv.gz",
        ),
        f"predict {trained / 'out-gray/m.keras'} a.jpeg --explain .": ("a-heat.png",),
    }.items():
        words += "" if words.startswith("predict") else f" --data-dir {trained / 'data'}"
        for name in names:
            (tmp_path / name).write_bytes(b"precious")
            assert cli.main(words.split()) == 2, words
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and f"{name}: is there already, and cxr did not write it" in said
            assert (tmp_path / name).read_bytes() == b"precious"
            (tmp_path / name).unlink()
            for made in names:
                (tmp_path / made).unlink(missing_ok=True)
        assert cli.main(words.split()) == cli.main(words.split()) == 0
        for made in names:
            (tmp_path / made).unlink()


def test_a_model_that_a_killed_export_left_is_known_by_its_answers(trained, tmp_path):
    options = {"to": "keras", "out": tmp_path / "mine.keras", "data_dir": trained / "data"}
    export.export(trained / "gray", **options)
    for name in ("mine.json", "model-card.md"):
        (tmp_path / name).unlink()
    assert export.export(trained / "gray", **options).is_file()
    (tmp_path / "mine.json").unlink()
    (tmp_path / "model-card.md").unlink()
    with pytest.raises(BadInput, match="mine.keras: is there already"):
        export.export(trained / "colour", **options)


# Folders


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Return a folder that counts as a checkout, with a notebook."""
    folder = tmp_path / "clone"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "cxr-utils"\n')
    notebook(folder / "notebooks", "01_a", "1")
    monkeypatch.setenv("CXR_HOME", str(folder))
    return folder


def test_the_project_s_folders_are_those_that_git_tracks():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout by git")
    folders = {name.partition("/")[0] for name in listed.stdout.splitlines() if "/" in name}
    assert folders - {"data"} <= set(_ownership.TRACKED)


@pytest.mark.parametrize("option", ["--run-dir", "--data-dir"])
@pytest.mark.parametrize(
    ("place", "words"),
    [(".", "is or holds the project"), ("..", "is or holds the project"), ("~", "home folder"), ("/", "is or holds"),
     ("notebooks/mine", "part of the project"), ("results", "part of the project"), ("link", "is or holds the project"),
     ("cxr_utils/../tests/x", "part of the project"), ("pyproject.toml", "is a file, not a folder"),
     ("Notebooks/mine", "part of the project"), ("pyproject.toml/x/y", "pyproject.toml: is a file, not a folder"),
     ("fifo", "is a pipe, not a folder"), ("nowhere", "is a link to nothing, not a folder")],
)  # fmt: skip
def test_folders_that_are_refused(clone, option, place, words, capsys, monkeypatch):
    (clone / "link").symlink_to(clone)
    (clone / "nowhere").symlink_to(clone / "gone")
    os.mkfifo(clone / "fifo")
    before = sorted(clone.rglob("*"))
    assert cli.main(["run", "1", option, place]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said and option[2:].replace("-", "_") in said
    assert sorted(clone.rglob("*")) == before


def test_fresh_removes_what_is_known_and_counts_the_rest(clone, stand_ins):
    folder = clone / "lab" / "r"
    course.run(run_dir="lab/r", progress=False)
    for name in ("plain-s0", "trials/a-s0"):
        files.write_json(folder / name / "run.json", RUN)
        for kept in ("model.keras", "notes.txt"):
            (folder / name / kept).write_bytes(b"PK zipped" if kept == "model.keras" else b"mine")
    (folder / "thesis").mkdir()
    (folder / "thesis" / "state.json").write_text("{}")
    (folder / "plain-s0" / "metrics.json").write_text("[]")
    with pytest.warns(UserWarning, match="4 files that cxr did not make, or that were changed since, stay"):
        course.run(run_dir="lab/r", progress=False, fresh=True)
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left == {"course.json", "report.html", "notebooks/01_a.ipynb", "thesis/state.json", "plain-s0/notes.txt",
                    "plain-s0/metrics.json", "trials/a-s0/notes.txt"}  # fmt: skip


def test_what_links_lead_to_elsewhere_stays(clone, stand_ins):
    folder, other = clone / "lab" / "r", clone / "lab" / "other"
    files.write_json(other / "a-s0" / "run.json", RUN)
    course.run(run_dir="lab/r", progress=False)
    (folder / "trials").symlink_to(other)
    (folder / "b-s0").symlink_to(other / "a-s0")
    course.run(run_dir="lab/r", progress=False, fresh=True)
    assert files.read_record(other / "a-s0" / "run.json") == RUN
    shutil.rmtree(folder / "notebooks")
    (folder / "notebooks").symlink_to(clone / "notebooks")
    before = (clone / "notebooks/01_a.ipynb").read_bytes()
    with pytest.raises(BadInput, match="r/notebooks: lies in .*notebooks, which is part of the project"):
        course.run(run_dir="lab/r", progress=False, seed=3)
    assert (clone / "notebooks/01_a.ipynb").read_bytes() == before


def test_a_folder_is_known_by_any_name(clone):
    (clone.parent / "again").symlink_to(clone)
    assert _ownership._holds(clone.parent / "again", clone / "notebooks/x")
    assert not _ownership._holds(clone / "notebooks", clone)


def test_a_notebook_that_was_changed_is_not_written_over(clone, stand_ins):
    first = course.run(run_dir="lab/r", progress=False)
    path = first.folder / "notebooks" / "01_a.ipynb"
    path.write_text(path.read_text() + "\n")
    assert course.run(run_dir="lab/r", progress=False).skipped == ("01_a",)
    changed = path.read_bytes()
    for options in ({"seed": 7}, {"fresh": True}):
        with pytest.raises(BadInput, match="01_a.ipynb: is there already, and cxr did not write it"):
            course.run(run_dir="lab/r", progress=False, **options)
    assert path.read_bytes() == changed
    path.rename(path.with_name("mine.ipynb"))
    assert course.run(run_dir="lab/r", progress=False, seed=7).executed == ("01_a",)


def test_what_was_ended_in_the_middle_is_ours(clone, stand_ins, monkeypatch):
    def half(notebook, output, **_):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{ cut off")
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(course.notebooks, "execute", half)
        with pytest.raises(SystemExit):
            course.run(run_dir="lab/r", progress=False)
    assert course.run(run_dir="lab/r", progress=False).executed == ("01_a",)
    state = json.loads((clone / "lab/r/course.json").read_text())
    assert state["01_a"]["sha256"] == files.sha256(clone / "lab/r/notebooks/01_a.ipynb")
    # As an earlier version left it, and as a kill leaves it: without a digest of the file.
    del state["01_a"]["sha256"]
    files.write_json(clone / "lab/r/course.json", state, ours=True)
    assert course.run(run_dir="lab/r", progress=False, seed=3).executed == ("01_a",)


def test_a_run_folder_that_notebooks_filled_by_hand_is_ours(clone, stand_ins):
    course.beside_real("01_a", {"n": 3}, run_dir="lab/r", source="folder")
    assert course.run(run_dir="lab/r", progress=False).executed == ("01_a",)
    (clone / "lab/r/facts/02_b.json").write_text('{"mine": 1}')
    with pytest.raises(BadInput, match="02_b.json: is there already"):
        course.beside_real("02_b", {"n": 3}, run_dir="lab/r", source="folder")


def test_results_get_only_what_is_named(clone, stand_ins, monkeypatch):
    monkeypatch.setenv("CXR_HOME", str(clone))
    found = replicate.plan(recipe=["plain_64"], protocol=["honest"], seeds=[0], out="results", rehearsal=True)
    assert found.work == clone / "runs/results/work"
    (clone / "results").mkdir()
    (clone / "results/thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="results: holds what cxr did not make, such as thesis.txt"):
        replicate.plan(recipe=["plain_64"], out="results", rehearsal=True)
    ledger.enter(clone / "results", cell="a")
    replicate.plan(recipe=["plain_64"], out="results", rehearsal=True)
    with pytest.raises(BadInput, match="work .*lies in .*results, which is part of the project"):
        replicate.plan(recipe=["plain_64"], out="results", work="results/work", rehearsal=True)


def test_a_ledger_of_others_is_refused(tmp_path):
    (tmp_path / "test_reads.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="test_reads.csv: column 'date' is missing"):
        ledger.enter(tmp_path, cell="a")


@pytest.mark.parametrize(("content", "good"), [(b"", True), (b"4711\nhost\n", True), (b"version = 1\n", False)])
def test_a_list_of_packages_is_no_lock(tmp_path, content, good):
    (tmp_path / "uv.lock").write_bytes(content)
    with contextlib.nullcontext() if good else pytest.raises(BadInput, match="uv.lock: is there already"):
        with files.lock(tmp_path / "uv"):
            pass
    assert good or (tmp_path / "uv.lock").read_bytes() == content


def test_a_training_takes_no_folder_of_others(tiny_index, tiny_pixels, tmp_path):
    from cxr_utils import recipes

    recipe = recipes.get("plain_64").at(image_size=32, width=0.1)
    for name in ("model.keras", "history.csv", "notes.txt", "run.json", "state.json"):
        folder = tmp_path / name.partition(".")[0] / "run"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"{}")
        with pytest.raises(BadInput, match="holds what cxr did not make"):
            training.fit(recipe, tiny_pixels, splits.grouped(tiny_index), run_dir=folder)
        assert [path.name for path in folder.iterdir()] == [name]
    files.write_json(tmp_path / "ours/state.json", RUN)
    (tmp_path / "ours/model.keras").write_bytes(b"precious")
    with pytest.raises(BadInput, match="model.keras: is there already"):
        training.fit(recipe, tiny_pixels, splits.grouped(tiny_index), run_dir=tmp_path / "ours")


# Downloads


def test_a_kept_archive_is_never_spoiled_or_deleted(tmp_path, monkeypatch):
    from cxr_utils.sources import download, medmnist

    kept = tmp_path / "medmnist-archive" / sources.get("medmnist").archive
    kept.parent.mkdir()
    kept.write_bytes(b"mine, and damaged")
    (tmp_path / ".medmnist-download").mkdir()
    (tmp_path / ".medmnist-download" / "tmp-notes.txt").write_text("mine")
    monkeypatch.setattr(download, "WAITS", ())
    monkeypatch.setenv("CXR_MEDMNIST_URL", "http://127.0.0.1:1")
    monkeypatch.setitem(medmnist.ARCHIVES["medmnist"], "needed_bytes", 10)
    assert cli.main(["fetch", "--source", "medmnist", "--data-dir", str(tmp_path)]) == 1
    assert kept.read_bytes() == b"mine, and damaged"
    assert (tmp_path / ".medmnist-download" / "tmp-notes.txt").read_text() == "mine"


# Predictions that are read again


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[t.index % 2 == 0], "of 4 images of test 2 are missing"),
        (lambda t: t.assign(label=1 - t["label"]), "label of 4 images is not that of the split"),
        (lambda t: pd.concat([t, t[:1]]), "1 are there twice"),
        (lambda t: t.assign(path=t["path"].replace("b.jpeg", "x.jpeg")), "1 are missing"),
        (lambda t: pd.concat([t, t[:1].assign(path="x.jpeg")]), "1 are there that the split does not have"),
        (lambda t: t.assign(patient="one"), "patient of 4 images"),
        (lambda t: t.assign(split="train"), "are there that the split does not have"),
    ],
)
def test_a_table_that_is_not_of_the_split_is_refused(change, words, tmp_path):
    paths = [f"{letter}.jpeg" for letter in "abcd"]
    split = {"path": paths, "patient": [*"pqr", None], "label": [0, 1, 0, 1], "kind": "k", "part": "test"}
    split = pd.DataFrame(split)
    table = split.rename(columns={"part": "split"}).assign(probability=0.5)
    path = tmp_path / "predictions.csv"
    table.to_csv(path, index=False)
    assert len(evaluation.check(evaluation.read_predictions(path), split, where=path)) == 4
    change(table).to_csv(path, index=False)
    with pytest.raises(BadInput, match=f"predictions.csv: .*{words}"):
        evaluation.check(evaluation.read_predictions(path), split, where=path)


def test_a_run_is_not_judged_by_a_table_that_lost_rows(trained, tmp_path):
    run = training.Run(shutil.copytree(trained / "gray", tmp_path / "gray"))
    folder = trained / "data/sample"
    index = dataset.scan(folder)
    pixels, split = images.cache(index, folder, size=32), splits.grouped(index, seed=0)
    whole = evaluation.predict(run, pixels, split)
    path = run.folder / "predictions.csv"
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[:1] + text[1::2]))
    with pytest.raises(BadInput, match=r"predictions\.csv: of .* are missing, first .*predicted again"):
        evaluation.predict(run, pixels, split)
    path.unlink()
    assert evaluation.predict(run, pixels, split)["path"].tolist() == whole["path"].tolist()


# Records, one reader; streams; names


def test_an_empty_description_says_the_way_that_works(tmp_path, capsys):
    (tmp_path / "data/folder").mkdir(parents=True)
    number = json.dumps(dict.fromkeys(sources.RECORD, "x") | {"synthetic": 0})
    for content in ("", "[]", '{"source": "folder"}', number):
        (tmp_path / "data/folder/source.json").write_text(content)
        assert cli.main(["fetch", "--source", "folder", "--data-dir", str(tmp_path / "data")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"move {tmp_path / 'data/folder'} away and fetch again" in said


@pytest.mark.parametrize("content", ["[]", "null", '{"01_a": null}', '{"01_a": {"digest": 5}}', "{"])
def test_a_state_of_the_course_that_is_none(clone, stand_ins, content, capsys):
    course.run(run_dir="lab/r", progress=False)
    course.beside_real("01_a", {"n": 1}, run_dir="lab/r", source="folder")
    (clone / "lab/r/course.json").write_text(content)
    assert cli.main(["run", "--run-dir", "lab/r"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "course.json" in said


@pytest.mark.parametrize("content", ["[]", "null", '{"test": {"at_threshold": {"auc": 5}}}', '{"test": {"images": 1}}',
                                     '{"test": {"at_threshold": []}}', '{"test": 5}'])  # fmt: skip
@pytest.mark.parametrize("ours", [True, False])
def test_metrics_that_are_none(tmp_path, content, ours):
    from cxr_utils.course import report

    (tmp_path / "a").mkdir()
    (tmp_path / "a/metrics.json").write_text(content)
    if ours:
        files.write_json(tmp_path / "a/run.json", RUN)
    try:
        assert report.summary(tmp_path) == []
    except BadInput as error:
        assert ours and "metrics.json" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("words", ["predict ~chest.jpeg", "fetch --source folder --path ~nouser/d",
                                   "check --no-speed --data-dir ~nouser/d", "run 01 --run-dir ~nouser/d",
                                   "score ~nouser/a.csv", "pack ~nouser/x.zip"])  # fmt: skip
def test_a_name_with_a_tilde_is_a_name(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) in (0, 1, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_others_project_files_may_be_anything(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_bytes('name = "größe"'.encode("latin-1"))
    monkeypatch.delenv("CXR_HOME")
    monkeypatch.chdir(tmp_path)
    assert files.root() == tmp_path


def test_braces_in_a_folder_s_name_are_part_of_it(clone):
    made = course.run(run_dir="lab/a{b}{seed}", progress=False)
    assert (clone / "lab/a{b}{seed}/notebooks/01_a.ipynb").is_file() and made.executed == ("01_a",)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- 2>&-"])
def test_without_standard_error_it_works(closed, template, tmp_path):
    shutil.copytree(template, tmp_path / "p")
    command = f"python -c 'import sys; from cxr_utils.cli import main; sys.exit(main())' pack mine.zip {closed}"
    environment = os.environ | {"CXR_HOME": str(tmp_path / "p"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command.replace("python", __import__("sys").executable, 1), shell=True, cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and zipfile.is_zipfile(tmp_path / "mine.zip")
    assert (">&- 2" in closed) or "mine.zip" in done.stdout


@pytest.mark.parametrize("words", ["run --seed", "fetch --source sample --seed", "replicate --seeds"])
def test_a_seed_that_no_generator_takes_is_refused_at_once(words, capsys):
    assert cli.main([*words.split(), "4294967296"]) == 2
    said = capsys.readouterr().err
    assert "4294967295" in said and said.count("\n") == 1
    assert cli.main([*words.split(), "9" * 5000]) == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("kind", ["pipe", "socket", "link"])
def test_what_is_no_folder_is_called_what_it_is(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for path in (Path("odd"), Path("d/sample")):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            socket.socket(socket.AF_UNIX).bind(str(path))
        else:
            path.symlink_to("gone")
    for place in ("odd", "d"):
        assert cli.main(["fetch", "--source", "sample", "--data-dir", str(tmp_path / place)]) == 2
        said = capsys.readouterr().err
        assert kind in said and "room" not in said and "not a folder" in said
    assert cli.main(["fetch", "--source", "folder", "--path", "odd"]) in (1, 2)
    assert "room" not in capsys.readouterr().err


def test_a_folder_that_many_share_is_read_only(tiny, monkeypatch):
    index = dataset.scan(tiny)
    expected = np.array(images.cache(index, tiny, size=24))
    shutil.rmtree(tiny / "cache")
    for name in ("index.csv", "index.json", "quarantine.csv"):
        (tiny / name).unlink()
    before = sorted(tiny.rglob("*"))
    monkeypatch.setattr(files, "writable", lambda folder: not Path(folder).is_relative_to(tiny))
    with pytest.warns(UserWarning, match="can't be written into; the index is made anew each time"):
        assert dataset.scan(tiny).equals(index)
    with pytest.warns(UserWarning, match="can't be written into; the images are decoded anew each time"):
        assert np.array_equal(images.cache(index, tiny, size=24), expected)
    assert dataset.quarantine(tiny).empty and sorted(tiny.rglob("*")) == before


def test_long_names_of_images_get_heat_maps(trained, tmp_path, capsys):
    picture = next((trained / "data/sample/chest_xray/test").rglob("*.jpeg"))
    for number in range(2):
        shutil.copy(picture, tmp_path / f"{'ä' * 120}{number:05d}.jpeg")
    words = ["predict", str(trained / "out-gray/m.keras"), str(tmp_path), "--explain", str(tmp_path / "heat")]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert len(list((tmp_path / "heat").iterdir())) == 2
