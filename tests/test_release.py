"""What a release says of itself agrees, and the program that makes one sees what fails."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer
import yaml
from helpers import workflow

from cxr_utils import __version__, cli

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
CODECHECK = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(cli.app).commands
TARGETS = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
MADE_BY = (ROOT / "results" / "README.md").read_text("utf-8").partition("## Which command makes which figure")[2]


def test_the_version_stands_in_one_place_and_the_others_agree():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert content["project"]["dynamic"] == ["version"] and "version" not in content["project"]
    assert content["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cxr_utils.__version__"}
    released = re.findall(r"(?m)^## \[(\d.+?)\] - (\S+)$", CHANGELOG)
    assert released[0] == (__version__, str(CITATION["date-released"]))
    assert released == sorted(released, key=lambda one: one[1], reverse=True)
    assert CITATION["version"] == ZENODO["version"] == __version__
    assert ZENODO["publication_date"] == str(CITATION["date-released"])


def test_the_changelog_has_the_form_of_keep_a_changelog():
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    parts = re.split(r"(?m)^## ", CHANGELOG)[1:]
    assert parts[0].startswith("[Unreleased]\n")
    for part in parts:
        found = re.findall(r"(?m)^### (.+)$", part)
        assert found and set(found) <= kinds and len(found) == len(set(found))
        assert all(line[:2] in ("- ", "##", "") for line in part.splitlines()[1:])


def test_zenodo_is_told_what_the_citation_says():
    assert ZENODO["title"] == CITATION["title"] and ZENODO["license"] == CITATION["license"]
    assert [one["name"] for one in ZENODO["creators"]] == [one["name"] for one in CITATION["authors"]]
    assert ZENODO["upload_type"] == "software" and ZENODO["access_right"] == "open"
    for wanted, told, linked in zip(
        CITATION["references"], ZENODO["references"], ZENODO["related_identifiers"], strict=True
    ):
        assert wanted["title"] in told and f"https://doi.org/{wanted['doi']}" in told
        assert all(author["family-names"] in told for author in wanted["authors"])
        assert (linked["identifier"], linked["scheme"]) == (wanted["doi"], "doi")


@pytest.mark.parametrize("entry", CODECHECK["manifest"], ids=lambda entry: entry["file"])
def test_codecheck_names_files_and_the_commands_that_make_them(entry):
    assert (ROOT / entry["file"]).is_file()
    command = re.match(r"`([^`]+)`: \w", entry["comment"])[1]
    assert f"`{command}" in MADE_BY or f"then `{command}`" in MADE_BY, "results/README.md says another command"
    words = [word for word in shlex.split(command) if "=" not in word or word.startswith("-")]
    if words[0] == "make":
        assert words[1] in TARGETS
    elif words[0] == "python":
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in words if word.startswith("--"))
    else:
        options = {name for option in COMMANDS[words[1]].params for name in option.opts}
        assert words[0] == "cxr" and {word for word in words if word.startswith("-")} <= options


def test_codecheck_names_each_table_of_the_results():
    many = ("runs", "splits", "trials")  # a file a run or split: the command stands in results/README.md
    found = [path for path in (ROOT / "results").rglob("*.csv*") if path.parent.name not in many]
    tables = {path.relative_to(ROOT).as_posix() for path in found if not re.search("predictions|nih", path.name)}
    kept = {"published", "test_reads", "trials", "folds/test_reads", "submissions/test_reads"}
    kept |= {"audited/works", "audited/systems"}
    assert tables - {entry["file"] for entry in CODECHECK["manifest"]} == {
        f"results/{name}.csv"
        for name in kept  # read elsewhere, ledgers, a diary
    }


def test_the_page_for_replicators_has_the_headings_of_the_data_editors():
    page = (ROOT / "results" / "replication.md").read_text(encoding="utf-8")
    assert [title.lower() for title in re.findall(r"(?m)^## (.+)$", page)] == [
        "overview", "data availability and provenance statements", "dataset list", "computational requirements",
        "description of programs", "instructions to replicators", "list of tables and programs", "references",
    ]  # fmt: skip


def stand_in(program, answers):
    """Write a program that answers to its first word as a wheel's command might."""
    program.write_text(f"#!{sys.executable}\nimport sys\nstatus, words = {answers!r}[sys.argv[1]]\nprint(words)\n"
                       "sys.exit(status)\n")  # fmt: skip
    program.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a script with a first line")
def test_what_a_wheel_does_wrong_is_seen(tmp_path, capsys):
    release = workflow("release")
    program = tmp_path / "cxr"
    good = {words[0]: (status, f"so: {said}") for words, status, said in release.TRIED}
    for change, wrong in (
        ({}, 0), ({"predict": (1, '"probability"')}, 1), ({"fetch": (0, "nothing")}, 1), ({"lab": (0, "opened")}, 1),
        ({"score": (2, "two lines\ninside a clone of the course")}, 1),
    ):  # fmt: skip
        stand_in(program, good | change)
        assert len(release.attempt(program, tmp_path)) == wrong, change
    assert "== cxr score" in capsys.readouterr().out


#: A stand-in for uv: it builds something, and installs the stand-in for the command.
UV = """#!{python}
import os, shutil, sys
from pathlib import Path

words = sys.argv[1:]
if words[0] == "build":
    assert words[words.index("--python") + 1] == {python!r}
    assert Path(words[-1], "cxr_utils", "__init__.py").is_file()
    out = Path(words[words.index("--out-dir") + 1])
    for name in ("-py3-none-any.whl", ".tar.gz"):
        (out / ("cxr_utils-{version}" + name)).write_text(os.environ["SOURCE_DATE_EPOCH"])
elif words[0] == "venv":
    assert words[words.index("--python") + 1] == {python!r}
    Path(words[-1], "bin").mkdir(parents=True)
elif words[0] == "pip":
    assert words[-1].endswith(".whl")
    shutil.copy({cxr!r}, Path(words[words.index("--python") + 1]).with_name("cxr"))
"""


@pytest.fixture
def making(tmp_path, monkeypatch):
    """Return the program that makes releases, in a small repository, with a stand-in for uv and a wheel that works."""
    if os.name == "nt":
        pytest.skip("the stand-ins are scripts with a first line")
    release = workflow("release")
    root = tmp_path / "clone"
    (root / "cxr_utils").mkdir(parents=True)
    (root / "cxr_utils" / "__init__.py").write_text(f'__version__ = "{__version__}"\n')
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-21\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    stand_in(tmp_path / "cxr", {words[0]: (status, said) for words, status, said in release.TRIED})
    (tmp_path / "uv").write_text(UV.format(python=sys.executable, cxr=str(tmp_path / "cxr"), version=__version__))
    (tmp_path / "uv").chmod(0o755)
    for name, value in {"ROOT": root, "OUT": root / "build" / "release", "UV": tmp_path / "uv"}.items():
        monkeypatch.setattr(release, name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return release


def git(root, *words):
    """Call git, whoever its user is."""
    user = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *user, *words], cwd=root, check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def test_what_passed_gets_its_checksums_and_its_commit(making, capfd):
    making.main()
    lines = (making.OUT / "SHA256SUMS").read_text().splitlines()
    names = [
        f"cxr-course-{__version__}.zip",
        f"cxr_utils-{__version__}-py3-none-any.whl",
        f"cxr_utils-{__version__}.tar.gz",
    ]
    assert lines == [f"{hashlib.sha256((making.OUT / name).read_bytes()).hexdigest()}  {name}" for name in names]
    about = json.loads((making.OUT / "release.json").read_text())
    assert about == {"version": __version__, "commit": git(making.ROOT, "rev-parse", "HEAD")}
    assert (making.OUT / names[1]).read_text() == git(making.ROOT, "show", "-s", "--format=%ct")
    assert zipfile.ZipFile(making.OUT / names[0]).namelist()[0] == f"cxr-course-{__version__}/"
    assert capfd.readouterr().err == ""


def test_a_wheel_that_fails_gets_no_checksums(making):
    making.main()
    stand_in(making.UV.with_name("cxr"), {words[0]: (1, "broken") for words, _, _ in making.TRIED})
    with pytest.raises(SystemExit, match="the wheel does not do what it should"):
        making.main()
    assert list(making.OUT.glob("*.whl")) and not list(making.OUT.glob("SHA256SUMS"))


def test_what_git_says_against_it_is_seen(making, capfd):
    shutil.rmtree(making.ROOT / ".git")
    with pytest.raises(SystemExit, match="git rev-parse HEAD: ended with status 128; see above"):
        making.main()
    assert "not a git repository" in capfd.readouterr().err


def test_a_version_that_is_not_committed_is_refused(making):
    (making.ROOT / "cxr_utils" / "__init__.py").write_text('__version__ = "9.9.9"\n')
    git(making.ROOT, "commit", "-qam", "another version")
    with pytest.raises(SystemExit, match=f"{re.escape(__version__)} in this folder, and not in its last commit"):
        making.main()
    assert not making.OUT.exists()


def test_changes_that_no_version_has_are_told(making, capfd):
    changelog = making.ROOT / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- A fault.\n"))
    git(making.ROOT, "commit", "-qam", "a change")
    making.main()
    assert capfd.readouterr().err == (
        "release: note: CHANGELOG.md has changes under [Unreleased]: give them a version before you publish this as "
        f"{__version__}\n"
    )
