"""What a release says of itself agrees, and the program that makes one sees what fails."""

import json
import os
import re
import shlex
import sys
import tomllib
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
    tables = {f"results/{path.name}" for path in (ROOT / "results").glob("*.csv")}
    assert tables - {entry["file"] for entry in CODECHECK["manifest"]} == {
        "results/published.csv", "results/test_reads.csv", "results/trials.csv"  # read elsewhere, a ledger, a diary
    }  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the command is a script with a first line")
def test_what_a_wheel_does_wrong_is_seen(tmp_path, capsys):
    release = workflow("release")
    program = tmp_path / "cxr"
    program.write_text(f"#!{sys.executable}\nimport sys\nstatus, words = {{0}}[sys.argv[1]]\nprint(words)\n"
                       "sys.exit(status)\n")  # fmt: skip
    script = program.read_text()
    good = {words[0]: (status, f"so: {said}") for words, status, said in release.TRIED}
    for change, wrong in (
        ({}, 0), ({"predict": (1, '"probability"')}, 1), ({"fetch": (0, "nothing")}, 1), ({"lab": (0, "opened")}, 1),
        ({"score": (2, "two lines\ninside a clone of the course")}, 1),
    ):  # fmt: skip
        program.write_text(script.replace("{0}", repr(good | change)))
        program.chmod(0o755)
        assert len(release.attempt(program, tmp_path)) == wrong, change
    assert "== cxr score" in capsys.readouterr().out
