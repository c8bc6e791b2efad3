"""The lock, conda's environment and the bounds agree."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
USERS = ("app", "dicom", "export", "grid")  # the extras that "dev" holds


def blocks(name):
    """Read a lock: each pin's requirement and its hashes."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        head = block.split("\\")[0].split("#")[0].strip()
        yield Requirement(head), re.findall(r"--hash=sha256:[0-9a-f]{64}", block)


def pins(name):
    return {str(requirement) for requirement, _ in blocks(name)}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_pin_is_exact_and_hashed_and_no_address_is_in_the_lock(name):
    found = list(blocks(name))
    assert len(found) > 100
    for requirement, hashes in found:
        assert [clause.operator for clause in requirement.specifier] == ["=="] and hashes, requirement
        assert requirement.url is None
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--index|--find-links|-e ", text)


def test_the_development_lock_holds_the_course_lock():
    assert pins("requirements.txt") <= pins("requirements-dev.txt")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dev.txt", PROJECT["dependencies"] + sum((EXTRAS[name] for name in (*USERS, "dev")), [])),
    ],
)
def test_the_lock_keeps_the_bounds(name, wanted):
    locked = [requirement for requirement, _ in blocks(name)]
    for text in wanted:
        bound = Requirement(text)
        if bound.name == PROJECT["name"]:  # "dev" holds these by this project's own name
            assert bound.extras == set(USERS)
            continue
        versions = [next(iter(pin.specifier)).version for pin in locked if pin.name == bound.name]
        assert versions and all(version in bound.specifier for version in versions), text


def test_conda_gets_python_pip_and_the_same_lock():
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python, pip, locked = wanted
    assert python.startswith("python ") and SpecifierSet(python[7:]) == SpecifierSet(PROJECT["requires-python"])
    assert pip == "pip" and locked == {"pip": ["--require-hashes", "-r requirements.txt"]}


def test_text_has_lf_on_every_system_and_nothing_else_is_taken_for_text():
    """As `git add --renormalize .` would leave it."""
    asked = ["git", "ls-files", "--eol"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        pytest.skip("not a clone, or there is no git here")
    found = [line.partition("\t") for line in done.stdout.splitlines()]
    text = [name for said, _, name in found if said.startswith("i/lf")]
    assert {said.split()[0] for said, _, _ in found} <= {"i/lf", "i/none", "i/-text"} and len(text) > 300
    assert [name for said, _, name in found if said.startswith("i/-text") and "attr/-text" not in said] == []
    assert [name for said, _, name in found if said.startswith("i/lf") and "eol=lf" not in said] == []


def test_ci_calls_make_test():
    path = ROOT / ".ci" / "run"
    assert (
        os.access(path, os.X_OK)
        and "set -euo pipefail" in path.read_text()
        and "make test" in path.read_text()
        and "export CXR_TEST_DATA=" in path.read_text()
    )


@pytest.mark.slow
def test_what_is_skipped_for_want_of_the_real_images_is_counted(tmp_path):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/sources/test_pack.py", "-kreal_images"]
    environment = {**os.environ, "CXR_TEST_DATA": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "1 skipped for want of the real images" in done.stdout, done.stdout
    assert f"CXR_TEST_DATA names their folder, {tmp_path} now" in done.stdout


def imported(places):
    """Yield each package that code imports, as its file and the names of the distributions that bring it."""
    provided = importlib.metadata.packages_distributions()
    paths = [
        path for place in places for path in sorted((ROOT / place).rglob("*.py")) if path.parent.name != "audited"
    ]  # programs to be read, never run
    scripts = [*paths, *(ROOT / "notebooks" / "source").glob("*.py")]  # where the site finds its address
    ours = {path.stem for path in scripts if not path.is_relative_to(ROOT / "cxr_utils")} | {"cxr_utils"}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - ours:
                yield f"{path.relative_to(ROOT)}: {top}", set(map(canonicalize_name, provided.get(top, [top])))


JAX = "jax"  # the other backend of Keras, which its user installs: no command or notebook of ours needs it


@pytest.mark.parametrize(
    ("places", "extras"),
    [(("cxr_utils", "workflow", "notebooks"), USERS), (("tests", "benchmarks", "site"), (*USERS, "dev"))],
)
def test_each_import_is_declared(places, extras):
    wanted = PROJECT["dependencies"] + sum((EXTRAS[name] for name in extras), [])
    declared = {canonicalize_name(Requirement(text).name) for text in wanted} | {JAX}
    missing = {where for where, brought_by in imported(places) if not brought_by & declared}
    assert missing - {"notebooks/source/build.py: jupytext"} == set()  # of "dev": it builds the notebooks
