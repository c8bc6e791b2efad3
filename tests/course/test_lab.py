"""The learner's copies: clean, resettable, and nothing of a learner's is ever lost."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr_utils import cli
from cxr_utils.course import lab, notebooks
from cxr_utils.errors import BadInput

COURSE = Path(__file__).parents[2]
LESSONS = sorted(path.name for path in (COURSE / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A project of two small lessons, with a glossary."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/glossary.md").write_text("# Glossary\n\n## Model card\n\nA page.\n")
    for name in ("01_one", "02_two"):
        lesson(tmp_path, name, "print(1)")
    return tmp_path


def lesson(course, name, code):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {"tags": ["core"]}, "source": "# See [it](../README.md#x)."},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": [code], "execution_count": 3,
         "outputs": [{"output_type": "stream", "name": "stdout", "text": ["the answer"]}]},
    ]  # fmt: skip
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (course / f"notebooks/{name}.ipynb").write_text(json.dumps(content))


def change(path, **fields):
    """Change a copy as a learner does in JupyterLab, which also writes its own metadata."""
    content = json.loads(path.read_text())
    content["metadata"]["language_info"] = {"version": "3.12"}
    content["cells"][1].update(fields)
    path.write_text(json.dumps(content))


def all_files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_the_copies_of_the_course_are_clean(tmp_path):
    lab.write(tmp_path / "lab")
    assert sorted(all_files(tmp_path / "lab")) == sorted([*LESSONS, "course.toml", "glossary.md", "lab.json"])
    for name in LESSONS:
        copy = json.loads((tmp_path / "lab" / name).read_text())
        code = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
        assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)
        assert not any({"solution", "setup"} & set(cell["metadata"]["tags"]) for cell in copy["cells"])
        assert not any("](../" in "".join(cell["source"]) for cell in copy["cells"] if cell not in code)
        notebooks.load(tmp_path / "lab" / name)


def test_every_link_to_the_glossary_has_its_anchor(tmp_path):
    lab.write(tmp_path / "lab")
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', (tmp_path / "lab/glossary.md").read_text()))
    for name in LESSONS:
        used = re.findall(r"\]\(glossary\.md#([^)]+)\)", (tmp_path / "lab" / name).read_text())
        assert set(used) <= anchors, name


def test_git_does_not_see_the_folder():
    asked = subprocess.run(["git", "check-ignore", "lab/04_train.ipynb"], cwd=COURSE, capture_output=True)
    assert asked.returncode == 0


def test_a_second_call_writes_nothing(course):
    assert len(lab.write()) == 4
    before = all_files(course / "lab")
    assert lab.write() == [] and all_files(course / "lab") == before


def test_a_lesson_that_changed_renews_an_untouched_copy(course):
    lab.write()
    change(course / "lab/02_two.ipynb")  # opened and saved, no more
    lesson(course, "02_two", "print(2)")
    assert lab.write() == ["02_two.ipynb: renewed, as you had not touched it"]
    assert "print(2)" in (course / "lab/02_two.ipynb").read_text()


@pytest.mark.parametrize("mine", [{"source": "print('mine')"}, {"execution_count": 1}])
def test_a_lesson_that_changed_comes_beside_a_learners_copy_once(course, mine):
    lab.write()
    change(course / "lab/02_two.ipynb", **mine)
    kept = (course / "lab/02_two.ipynb").read_bytes()
    for number, code in ((1, "print(2)"), (2, "print(3)")):
        lesson(course, "02_two", code)
        new = f"02_two-new{'-2' * (number > 1)}.ipynb"
        assert lab.write() == [f"{new}: the lesson has changed; this is the new one, yours stays as it is"]
        assert code in (course / "lab" / new).read_text()
        assert lab.write() == [] and (course / "lab/02_two.ipynb").read_bytes() == kept


@pytest.mark.parametrize("touch", [lambda copy: change(copy, source="print('mine')"), lambda copy: copy.write_text("")])
def test_a_lesson_that_did_not_change_comes_at_most_once_beside_a_learners_copy(course, touch):
    lab.write()
    touch(course / "lab/02_two.ipynb")
    lab.write()
    before = all_files(course / "lab")
    assert (course / "lab/02_two-new.ipynb").exists() == (
        before["02_two.ipynb"] == b""
    )  # what can't be read helps nobody
    for _ in range(2):
        assert lab.write() == [] and all_files(course / "lab") == before


def test_a_reset_keeps_the_learners_copy(course):
    lab.write()
    for name in ("02_two-mine.ipynb", "02_two-mine-2.ipynb"):
        change(course / "lab/02_two.ipynb", source="print('mine')")
        assert lab.write(reset=["2"]) == [f"02_two.ipynb: a fresh copy; yours is {name} now"]
        assert "mine" in (course / "lab" / name).read_text()
        assert "mine" not in (course / "lab/02_two.ipynb").read_text()


def test_what_can_not_be_read_is_never_taken_for_ours(course):
    lab.write()
    (course / "lab/01_one.ipynb").write_text("mine, and broken")
    (course / "lab/lab.json").write_text('{"lessons": {"01_one.ipynb": ""}}')
    lab.write()
    assert (course / "lab/01_one.ipynb").read_text() == "mine, and broken"


def test_a_lost_copy_is_written_again(course):
    lab.write()
    (course / "lab/01_one.ipynb").unlink()
    assert lab.write() == ["01_one.ipynb: written"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(st.sampled_from(["write", "learn", "lesson", "reset", "break", "lose"]), max_size=8), data=st.data()
)
def test_nothing_that_a_learner_wrote_is_ever_lost(course, acts, data):
    place, written = course / f"lab{data.draw(st.integers(0, 10**9))}", []
    for number, act in enumerate(acts):
        copy = place / "01_one.ipynb"
        if act == "lesson":
            lesson(course, "01_one", f"print('lesson {number}')")
        elif act == "reset":
            lab.write(place, reset=["01"])
        elif act == "learn" and copy.is_file():
            copy.write_text(copy.read_text() + f" mine {number}")  # also what is no notebook any more
            written.append(f" mine {number}")
        elif act == "break" and copy.is_file():
            copy.write_text(f"mine {number}")
            written = [text for text in written if any(text in other.read_text() for other in place.iterdir())]
            written.append(f"mine {number}")
        elif act == "lose" and copy.is_file():
            copy.unlink()
            written = [text for text in written if any(text in other.read_text() for other in place.iterdir())]
        else:
            lab.write(place)
        there = [other.read_text() for other in place.iterdir()] if place.is_dir() else []
        assert all(any(text in content for content in there) for text in written)


def test_a_folder_that_holds_other_things_is_refused(course):
    (course / "lab").mkdir()
    (course / "lab/mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="in .*lab: holds what cxr did not make, such as mine.txt"):
        lab.write()
    (course / "pyproject.toml").write_text('[project]\nname = "cxr-utils"\n')
    with pytest.raises(BadInput, match="is or holds the project"):
        lab.write(".")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lab --only --reset 77", "notebook '77' is unknown; choose from 01_one, 02_two"),
        ("lab --only --in notebooks", "notebooks, which is part of the project"),
        ("lab --only --port 0", "Invalid value for '--port'"),
        ("lab 04", "extra argument"),
    ],
)
def test_bad_names_give_one_line(course, words, said, capsys):
    (course / "pyproject.toml").write_text('[project]\nname = "cxr-utils"\n')
    before = {path for path in course.rglob("*") if not path.name.endswith(".lock")}
    assert cli.main(words.split()) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1
    assert {path for path in course.rglob("*") if not path.name.endswith(".lock")} == before


def test_jupyterlab_is_started_there_and_asks_nobody(course, monkeypatch):
    called = {}

    class Server:
        def __init__(self, command, env):
            called.update(command=command, env=env, asked=0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait(self):
            called["asked"] += 1
            if called["asked"] == 1:
                raise KeyboardInterrupt  # JupyterLab answers this by itself
            return 0

    monkeypatch.setattr(lab.subprocess, "Popen", Server)
    with pytest.raises(BadInput, match="write them with cxr lab"):
        lab.start()
    assert cli.main(["lab", "--no-browser", "--port", "9999"]) == 0
    line = " ".join(called["command"])
    assert f"--ServerApp.root_dir={course / 'lab'}" in line and "NeverCheckForUpdate" in line
    assert called["command"][-2:] == ["--no-browser", "--port=9999"]
    assert called["env"]["CXR_HOME"] == str(course)
