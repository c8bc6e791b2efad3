"""What runs on other people's machines: hosted checks, Binder, a development container."""

import json
import os
import re
import shlex
import stat
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from cxr_utils.course import notebooks

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = {name for line in re.findall(r"(?m)^([a-z -]+):", MAKEFILE) for name in line.split()}
PYTHONS = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"])
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def variants(job):
    """Yield each combination of a job's matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    if "include" in matrix:
        yield from matrix["include"]
        return
    found = [{}]
    for name, values in matrix.items():
        found = [one | {name: value} for one in found for value in values]
    yield from found


def filled(text, variant, env=()):
    """Put a matrix's values, and the step's variables, into a text."""
    for name, value in {f"${{{{ matrix.{name} }}}}": value for name, value in variant.items()}.items():
        text = text.replace(name, value)
    for name, value in dict(env).items():
        text = text.replace(f'"${name}"', filled(value, variant))
    return text


def steps(path):
    """Yield the steps of a workflow, as they are for each value of the matrix."""
    for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
        for variant in variants(job):
            for step in job["steps"]:
                yield step, variant


@each
def test_each_command_exists(path):
    ran = [filled(step["run"], variant, step.get("env", {})) for step, variant in steps(path) if "run" in step]
    assert ran
    for line in ran:
        assert "${{" not in line, line  # what comes from outside is no part of a command
        program, *words = shlex.split(line)
        if program == "make":
            assert set(words) <= TARGETS, line
        elif program == "bash":
            assert (ROOT / words[0]).is_file(), line
        else:
            assert [program, words[0]] == ["python", "start.py"], line
            assert words[1] in TARGETS & {"course", "check", "test", "lab"}, line
            if words[1] == "course":
                assert len(notebooks.select(words[2:], ROOT / "notebooks")) == len(words[2:])
            else:
                assert words[2:] == []


@each
def test_actions_are_pinned_by_hash_and_least_is_allowed(path):
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.+)", text)
    assert uses and all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in uses)
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in content["jobs"].values())
    for step, variant in steps(path):
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        if "setup-python" in step.get("uses", ""):
            assert filled(step["with"]["python-version"], variant) in PYTHONS


def test_one_version_of_an_action_is_used():
    found = {
        tuple(re.split("@", line)) for path in WORKFLOWS for line in re.findall(r"uses: (.+)", path.read_text("utf-8"))
    }
    assert len({name for name, _ in found}) == len(found)


def test_each_python_and_system_that_is_promised_is_tried():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    tried = {(one["os"].split("-")[0], one["python"]) for one in variants(jobs["systems"])}
    promised = [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}" in PYTHONS]
    assert tried == {(system, python) for system in ("ubuntu", "windows", "macos") for python in promised}


def test_the_site_is_published_from_where_it_is_built():
    (path,) = (path for path in WORKFLOWS if path.stem == "site")
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert jobs["build"]["steps"][-1]["with"] == {"path": "build/site"} and jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert "permissions" not in jobs["build"]


def test_binder_installs_the_lock_and_the_package():
    folder = ROOT / ".binder"
    lines = [line for line in (folder / "requirements.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines == ["--require-hashes", "-r ../requirements.txt"] and (folder / lines[1][3:]).is_file()
    assert (folder / "runtime.txt").read_text("utf-8").strip().removeprefix("python-") in PYTHONS
    build = (folder / "postBuild").read_text(encoding="utf-8")
    assert build.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in build
    assert "--no-build-isolation --no-deps -e ." in build and "cxr fetch --source sample" in build
    assert os.name == "nt" or (folder / "postBuild").stat().st_mode & stat.S_IXUSR


def test_the_container_is_made_by_start_py():
    said = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert said["image"].rpartition(":")[2].split("-")[0] in PYTHONS
    install, fetch = said["postCreateCommand"].split(" && ")
    assert install == "python start.py install" and fetch == ".venv/bin/cxr fetch --source sample"
    assert said["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].endswith("/.venv/bin/python")


def test_colabs_versions_are_dated_and_without_what_colab_lacks():
    text = (ROOT / ".ci" / "colab.txt").read_text(encoding="utf-8")
    (date,) = re.findall(r"Google Colab's image of (\d{4}-\d\d-\d\d)", text)
    assert date in (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    names = [re.split("[=<>]", line)[0] for line in text.splitlines() if line and not line.startswith("#")]
    assert names and not {"papermill", "pydicom", "onnx", "onnxruntime", "nbval", "jupyterlab", "cxr-utils"} & set(
        names
    )
