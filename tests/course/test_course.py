"""The batch run, over two small notebooks made here."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import nbformat
import pytest
from helpers import RUN, notebook

from cxr_utils import cli, course, files
from cxr_utils.course import notebooks, report
from cxr_utils.errors import BadInput, CxrError


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    notebook(folder, "01_a", "import sys\nprint(sys.executable, epochs)", more="epochs = 1\n")
    notebook(folder, "02_b", "import os\nos.write(2, b'from C')\nprint('second', seed)")
    (folder / "glossary.md").write_text("# Glossary\n\n## Word\n\nWhat is said.\n")
    return tmp_path


def text(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(out.get("text", "") for cell in cells for out in cell.get("outputs", []))


def test_run_resume_and_fresh(project, capfd):
    first = course.run(seed=3, parameters={"epochs": 7})
    assert first.executed == ("01_a", "02_b") and first.skipped == ()
    printed = text(first.folder / "notebooks" / "01_a.ipynb")
    assert sys.executable in printed and " 7" in printed and "for the curious" in printed
    printed = text(first.folder / "notebooks" / "02_b.ipynb")
    assert "second 3" in printed and "from C" not in printed
    errors = capfd.readouterr().err
    assert "01_a (1 of 2)" in errors and re.search(r"02_b \(2 of 2\) +100%", errors) and "TCP" not in errors

    again = course.run(seed=3, parameters={"epochs": 7})
    assert again.skipped == ("01_a", "02_b") and again.executed == () and again.seconds < 5
    # Other parameters, other content, or a lost notebook: executed anew.
    assert course.run(["2"], seed=4).executed == ("02_b",)
    assert course.run(["02_b"], seed=3).executed == ("02_b",)
    assert course.run(["1"], seed=3, parameters={"epochs": 7}, core=True).executed == ("01_a",)
    assert "for the curious" not in text(first.folder / "notebooks" / "01_a.ipynb")

    mine = first.folder / "mine.txt"
    mine.write_text("kept")
    run_folder = first.folder / "plain-s0"
    run_folder.mkdir()
    files.write_json(run_folder / "run.json", RUN)
    files.write_json(first.folder / "trials" / "half-done" / "state.json", RUN)
    with pytest.warns(UserWarning, match=r"1 files that cxr did not make, .* stay; first mine.txt"):
        fresh = course.run(["2"], seed=3, fresh=True)
    assert fresh.executed == ("02_b",) and mine.exists() and not run_folder.exists()
    assert not list(first.folder.glob("trials/*"))
    assert [path.name for path in (first.folder / "notebooks").iterdir()] == ["02_b.ipynb"]


def test_a_failure_ends_the_run_or_is_gone_past(project, capsys):
    for name in ("01_a", "03_c"):
        notebook(project / "notebooks", name, "raise ValueError('too bad')")
    assert cli.main(["run", "--json"]) == 1
    caught = capsys.readouterr()
    told = json.loads(caught.out)
    assert [one["status"] for one in told["notebooks"]] == ["failed", "not run", "not run"]
    assert "ValueError: too bad" in told["notebooks"][0]["error"] and caught.err.rstrip().endswith("01_a.ipynb")
    assert told["notebooks"][1]["notebook"] is None and os.path.isfile(told["report"])

    assert cli.main(["run", "--keep-going"]) == 1
    caught = capsys.readouterr()
    assert "executed in" in caught.out and "failed: 01_a, 03_c (" in caught.out
    assert caught.err.splitlines()[-1].count("`raise ValueError") == 2


def test_json_names_what_each_notebook_left(project, capsys):
    figures = "from pathlib import Path\nfrom cxr_utils import files\nfolder = files.resolve(run_dir)\n"
    wanted = ["plain-s0/metrics.json", "facts/02_b.json"]
    for name in wanted:
        figures += f"if not (folder / '{name}').exists():\n"
        figures += f"    files.write_json(folder / '{name}', {{'source': 's', 'facts': {{}}}})\n"
    notebook(project / "notebooks", "02_b", figures)
    (project / "params.yaml").write_text("1:\n  epochs: 5\n")
    for status in ("executed", "finished earlier", "executed"):  # the last: what stands already is its own still
        assert cli.main(["run", "-f", str(project / "params.yaml"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        first, second = told["notebooks"]
        assert first["status"] == status and first["parameters"]["epochs"] == 5 and first["results"] == []
        assert text(first["notebook"]).strip().endswith("curious") and first["seconds"] > 0 and first["error"] is None
        assert sorted(second["results"]) == sorted(str(project / "runs/sample" / name) for name in wanted)
        if status == "finished earlier":
            for one in told["notebooks"]:
                os.unlink(one["notebook"])


def test_a_dry_run_writes_nothing(project, capsys):
    before = sorted(project.rglob("*"))
    assert cli.main(["run", "--dry-run", "--fresh", "-p", "epochs=4", "--run-dir", "runs/x"]) == 0
    out = capsys.readouterr().out
    assert out.count("would run") == 2 and "epochs=4" in out and "seed=0" in out and str(project / "runs/x") in out
    assert cli.main(["run", "2", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["status"]) for one in told["notebooks"]] == [("02_b", "would run")]
    assert told["report"] is None and sorted(project.rglob("*")) == before


def test_the_report_can_leave_out_the_code(project):
    notebook(project / "notebooks", "02_b", "print('a' + 'nswer')")
    pages = [course.run(["2"], code=code, progress=False).report.read_text("utf-8") for code in (True, False)]
    assert ["answer" in page for page in pages] == [True, True]
    assert ["hl-ipython3" in page for page in pages] == [True, False]


def test_the_report_leaves_out_what_sets_up(project):
    notebook(project / "notebooks", "02_b", "print('lesson')")
    path = project / "notebooks" / "02_b.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells.insert(1, nbformat.v4.new_code_cell("fetched = 1", metadata={"tags": ["setup"]}))
    nbformat.write(book, path)
    page = course.run(["2"], progress=False).report.read_text("utf-8")
    assert "lesson" in page and "fetched" not in page


def test_failing_cell_names_it_and_keeps_the_notebook(project):
    notebook(project / "notebooks", "02_b", "kept = 1\nprint('before')", "\nraise ValueError('too bad')\n")
    with pytest.raises(CxrError) as caught:
        course.run(progress=False)
    message, kept = str(caught.value), project / "runs" / "sample" / "notebooks" / "02_b.ipynb"
    assert "`raise ValueError('too bad')`" in message and "ValueError: too bad" in message
    assert "cell [4]" in message and str(kept) in message and "\n" not in message
    assert "before" in text(kept)
    notebook(project / "notebooks", "02_b", "print('mended')")
    mended = course.run(progress=False)
    assert mended.skipped == ("01_a",) and mended.executed == ("02_b",)


def test_a_dying_kernel_is_one_line(project):
    notebook(project / "notebooks", "01_a", "import os\nos._exit(9)")
    with pytest.raises(CxrError, match="kernel ended after .* memory"):
        course.run(["1"], progress=False)


def test_a_kernel_that_does_not_start_is_tried_twice(project, monkeypatch):
    import papermill

    calls = []
    real = papermill.execute_notebook

    def flaky(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*args, **kwargs)

    monkeypatch.setattr(papermill, "execute_notebook", flaky)
    assert course.run(["2"], progress=False).executed == ("02_b",) and len(calls) == 2


def test_wrong_input(project):
    for names, options, words in [
        (["9"], {}, ("'9'", "01_a, 02_b")),
        ([], {"parameters": {"epoch": 2}}, ("'epoch'", "'epochs'")),
        ([], {"parameters": {"seed": 2}}, ("--seed",)),
        ([], {"parameters": {"epochs": "many"}}, ("'epochs'", "'many'", "such as 1")),
        ([], {"parameter_file": "gone.yaml"}, ("gone.yaml", "no such file")),
        ([], {"profile": "big"}, ("'big'", "sample, workshop, full")),
        ([], {"profile": "full"}, ("--source",)),
        ([], {"source": "web"}, ("'web'", "kaggle")),
        ([], {"notebooks_dir": "nowhere"}, ("nowhere",)),
    ]:
        with pytest.raises(BadInput) as caught:
            course.run(names, **options)
        assert all(word in str(caught.value) for word in words)
        assert not (project / "runs").exists()


def test_one_process_a_run_folder(project):
    with files.lock(project / "runs" / "sample"), pytest.raises(BadInput, match="another process"):
        course.run(["2"])


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of Ctrl-C as POSIX does")
def test_ctrl_c_leaves_it_resumable(project):
    notebook(project / "notebooks", "02_b", "import os\nprint(os.getpid(), flush=True)", "import time\ntime.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main(['run']))"],
        stderr=subprocess.PIPE,
        text=True,
    )
    kept = project / "runs" / "sample" / "notebooks" / "02_b.ipynb"
    killer = threading.Timer(60, process.kill)
    killer.start()
    while process.poll() is None and not _printed(kept):
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    killer.cancel()
    assert process.returncode == 130 and "goes on from here" in errors and "Traceback" not in errors
    kernel = int(text(kept).split()[0])
    for _ in range(50):  # the kernel ends with its notebook
        if not _alive(kernel):
            break
        time.sleep(0.1)
    assert not _alive(kernel)
    notebook(project / "notebooks", "02_b", "print('on')")
    assert course.run(progress=False).skipped == ("01_a",)


def _printed(path):
    try:
        return text(path)
    except (OSError, nbformat.reader.NotJSONError):  # not there yet, or being written
        return ""


def _alive(pid):
    import psutil

    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_report_is_one_page_that_asks_for_nothing(project):
    folder = project / "runs" / "x"
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    picture = "import base64\nfrom IPython.display import Image\n"
    picture += f"Image(base64.b64decode('{pixel}'), alt='one pixel')"
    notebook(project / "notebooks", "01_a", picture)
    (folder / "plain-s0").mkdir(parents=True)
    entry = {"auc": {"value": 0.9, "low": 0.85, "high": None}, "accuracy": {"value": None, "low": None, "high": None}}
    metrics = {"threshold": 0.4, "test": {"images": 20, "at_half": entry, "at_threshold": entry}}
    files.write_json(folder / "plain-s0" / "run.json", RUN)
    files.write_json(folder / "plain-s0" / "metrics.json", metrics)
    result = course.run(run_dir="runs/x", progress=False)
    page = result.report.read_text(encoding="utf-8")
    for word in ("Synthetic phantoms", 'href="#02_b"', 'id="02_b"', 'href="#word-word"', 'id="word-word"', "plain-s0"):
        assert word in page
    assert 'alt="one pixel"' in page and "data:image/png;base64" in page and "0.900 (0.850 to -)" in page
    for asks in ('src="http', "src='http", "@import", "url(http", '<link rel="stylesheet"', "<script"):
        assert asks not in page
    table = report.closing_table(folder, synthetic=True)
    assert "synthetic" in table and "test (20)" in table
    assert "synthetic" not in report.closing_table(folder, synthetic=False)
    assert report.closing_table(project, synthetic=True) == ""


def test_relative_folders_are_the_roots_wherever_the_kernel_is(project):
    notebook(project / "notebooks", "02_b", "from cxr_utils import files\nprint(files.resolve(run_dir))")
    result = course.run(["2"], run_dir="runs/y", progress=False)
    assert str(project / "runs" / "y") in text(result.folder / "notebooks" / "02_b.ipynb")


def test_beside_real(project):
    facts = {"images": 720, "share | ill": 0.7431, "nothing": float("nan")}
    shown = course.beside_real("02_explore", facts, run_dir="runs/x", source="sample").data
    assert "synthetic" in shown and "| images | 720 |\n" in shown and "share \\| ill" in shown
    assert "on the real images |" not in shown, "no column of dashes"
    kept = json.loads((project / "runs" / "x" / "facts" / "02_explore.json").read_text())
    assert kept == {"source": "sample", "facts": {"images": 720, "share | ill": 0.7431, "nothing": None}}
    real = {"facts": {"images": 5856}, "images": "all 5,856 images", "command": "cxr run"}
    files.write_json(project / "results" / "course" / "02_explore.json", real)
    shown = course.beside_real("02_explore", facts, run_dir="runs/x", source="sample").data
    assert "| images | 720 | 5,856 |" in shown and "all 5,856 images" in shown
    assert "synthetic" not in course.beside_real("02_explore", facts, run_dir="runs/x", source="kaggle").data


def test_profiles():
    assert set(course.PROFILES) == {"sample", "workshop", "full"}
    with pytest.raises(BadInput, match="sample, workshop, full"):
        course.profile("huge")


def test_select(project):
    where = notebooks.folder()
    assert [p.stem for p in notebooks.select(["02", "notebooks/01_a.ipynb"], where)] == ["01_a", "02_b"]
