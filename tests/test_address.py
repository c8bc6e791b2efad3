"""The repository's address stands in pyproject.toml alone, and all that speaks of it is made from there."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from effects import FOLDER, builder

address = builder.address
ROOT = FOLDER.parent
STAND_IN = "https://github.com/someone/chests"
SHOWS = """
import json, os, sys
print(json.dumps([os.getcwd(), sys.path[0], "cxr_utils" in sys.modules, os.environ.get("PYTHONPATH")]))
"""


def project(tmp_path, value):
    """Return a copy of what is made from the address, with another address."""
    folder = tmp_path / "project"
    for name in ("CITATION.cff", "pyproject.toml", *address.PAGES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "notebooks").mkdir()
    for path in FOLDER.glob("[0-9][0-9]_*.ipynb"):
        (folder / "notebooks" / path.name).touch()
    text = re.sub(r"(?m)^\[project\.urls\]\n(\w.*\n)*", "", (folder / "pyproject.toml").read_text(encoding="utf-8"))
    if value:
        text += f'\n[project.urls]\nRepository = "{value}"\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_all_that_speaks_of_the_address_is_as_pyproject_says():
    for path, wanted in address.written().items():
        assert path.read_text(encoding="utf-8") == wanted, f"{path}: run python notebooks/source/address.py"


def test_without_an_address_nothing_is_shown(tmp_path):
    folder = project(tmp_path, "")
    assert address.repository(folder) == ""
    pages = address.written(folder)
    assert "repository-code" not in pages[folder / "CITATION.cff"]
    assert not any(re.search(r"colab\.research|mybinder|kernels/welcome|git clone", page) for page in pages.values())
    assert address.buttons("", "notebooks/00.ipynb") == "" and "git" in address.setup("")
    assert 'address = Path.cwd(), Path("/kaggle/input"), ""' in address.setup("")


@pytest.mark.parametrize("found", ["", STAND_IN])
def test_the_site_has_buttons_to_the_repository_where_there_is_an_address(monkeypatch, found):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "address", address)
    monkeypatch.setattr(address, "repository", lambda root: found)
    options = runpy.run_path(str(ROOT / "site" / "conf.py"))["html_theme_options"]
    shown = {name: options.get(name) for name in ("repository_url", "repository_branch", "use_edit_page_button")}
    assert shown == ({"repository_url": STAND_IN, "repository_branch": "main", "use_edit_page_button": True} if found
                     else dict.fromkeys(shown))  # fmt: skip


def test_with_an_address_all_show_it(tmp_path):
    folder = project(tmp_path, STAND_IN + ".git")
    assert address.repository(folder) == STAND_IN
    pages = address.written(folder)
    cited = yaml.safe_load(pages[folder / "CITATION.cff"])
    assert cited["repository-code"] == STAND_IN and cited["license"] == "MIT"
    browser = pages[folder / "docs" / "browser.md"]
    for path in FOLDER.glob("[0-9][0-9]_*.ipynb"):
        assert f"github/someone/chests/blob/main/notebooks/{path.name}" in browser
        assert f"someone/chests/main?urlpath=lab/tree/notebooks/{path.name}" in browser
    for path, text in pages.items():  # and taken back, it is gone without a trace
        name = path.relative_to(folder)
        without = (address.citation if name.suffix == ".cff" else address.page)(text, "")
        assert without == address.written(project(tmp_path / "back", ""))[tmp_path / "back" / "project" / name]
        shutil.rmtree(tmp_path / "back")


def test_notebooks_get_the_address(monkeypatch):
    monkeypatch.setattr(address, "repository", lambda root=ROOT: STAND_IN)
    for solved, place in ((False, "notebooks"), (True, "notebooks/solutions")):
        book = builder.build(FOLDER / "source" / "04_train.py", solved=solved)
        assert f'"{STAND_IN}"' in book.cells[1].source and book.cells[1].metadata.tags == ["setup", "core"]
        assert f"blob/main/{place}/04_train.ipynb)" in book.cells[0].source
        assert re.search(r"(?m)^\*\*Minutes\*\*: \d+ core \+ \d+ further$", book.cells[0].source)
        nbformat.validate(book)
    assert builder.minutes(book, "core") == builder.minutes(
        builder.build(FOLDER / "source" / "04_train.py", solved=True), "core"
    )


@pytest.mark.parametrize("value", ["github.com/a/b", "https://x.org/a b", "https://x.org/a'b", "git@github.com:a/b"])
def test_what_is_no_address_is_named(tmp_path, value):
    with pytest.raises(ValueError, match="pyproject.toml: Repository is"):
        address.repository(project(tmp_path, value))


def test_other_hosts_get_no_buttons():
    assert address.buttons("https://codeberg.org/someone/chests", "notebooks/00.ipynb") == ""
    assert "codeberg" in address.setup("https://codeberg.org/someone/chests")


def test_no_address_stands_anywhere_else():
    """Neither in a page nor in a setting: what names the repository is made from pyproject.toml."""
    known = address.repository()
    if not known:
        pytest.skip("no address is set")
    made = {"pyproject.toml", "CITATION.cff", *address.PAGES}
    listed = subprocess.run(["git", "grep", "-lF", known], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    assert {name for name in listed if name and not name.startswith("notebooks/")} <= made


# The set-up cell, as a kernel without the package runs it.


@pytest.fixture
def course(tmp_path):
    """Return a folder that stands for a clone of the course."""
    folder = tmp_path / "far" / "clone"
    for name in ("cxr_utils", "notebooks/solutions"):
        (folder / name).mkdir(parents=True)
    (folder / "cxr_utils" / "__init__.py").touch()
    (folder / "notebooks" / "00.ipynb").touch()
    return folder


def bare(code, cwd):
    """Run code in a Python that has the standard library alone."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, encoding="utf-8")


def run(cwd, *, value="", attached=None):
    """Run the cell so; return what it did, or its error."""
    cwd.mkdir(parents=True, exist_ok=True)
    code = address.setup(value).replace("/kaggle/input", (attached or cwd / "nothing").as_posix())
    done = bare(code + SHOWS, cwd)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    place, first, *rest = json.loads(done.stdout)
    return Path(place), Path(first), *rest


def test_where_the_course_can_be_imported_it_does_nothing(tmp_path, course):
    code = f"import sys; sys.path.insert(0, {str(course)!r})\n{address.setup('')}{SHOWS}"
    done = bare(code, tmp_path)
    assert json.loads(done.stdout) == [str(tmp_path), str(course), False, None], done.stderr


@pytest.mark.parametrize("place", [".", "notebooks", "notebooks/solutions"])
def test_in_a_clone_it_finds_it(course, place):
    assert run(course / place) == (course / "notebooks", course, False, str(course))


def test_a_folder_that_was_uploaded_beside_is_found(course):
    assert run(course.parent)[:2] == (course / "notebooks", course)


@pytest.mark.parametrize("depth", range(1, 6))
def test_what_is_attached_is_found_and_left_alone(tmp_path, course, depth):
    attached = tmp_path / "input"
    place = attached.joinpath(*[f"d{n}" for n in range(1, depth)], "course")
    place.parent.mkdir(parents=True, exist_ok=True)
    course.rename(place)
    working = tmp_path / "working"
    assert run(working, attached=attached)[:2] == (working, place)  # what it makes goes to the working folder


def test_else_it_is_fetched_once(tmp_path, course):
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=course, check=True)
    working = tmp_path / "content"
    wanted = working / "course"
    for _ in range(2):
        assert run(working, value=course.as_uri())[:2] == (wanted / "notebooks", wanted)
    (course / ".git").rename(course / "gone")  # so that a third clone would fail
    assert run(working, value=course.as_uri())[:2] == (wanted / "notebooks", wanted)


def test_what_is_not_to_be_had_is_said_with_the_way_out(tmp_path):
    said = run(tmp_path / "a")
    assert said.startswith("ModuleNotFoundError: the course's folder is not here: upload it (Colab)")
    said = run(tmp_path / "b", value=(tmp_path / "none").as_uri())
    assert said.startswith("ModuleNotFoundError: the course could not be fetched") and "docs/browser.md" in said
