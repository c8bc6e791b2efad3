"""The floors of the package: the contract in pyproject.toml sees what it must, and notebooks stay on the face."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/source").glob("[0-9]*.py"))
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]["layers"]
MACHINERY = {"export", "grid"} | set(re.findall(r"\w+", next(layer for layer in LAYERS if "files" in layer.split())))


def lint_imports(folder):
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )


@pytest.fixture
def house(tmp_path):
    """Return a copy of the package, beside the contract, that a test may spoil."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cxr_utils", tmp_path / "cxr_utils", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("images", "from cxr_utils.course import report", "cxr_utils.images is not allowed to import cxr_utils.course"),
        ("files", "from cxr_utils import dataset", "cxr_utils.files is not allowed to import cxr_utils.dataset"),
        ("course/lab", "def late():\n    from cxr_utils import cli", "is not allowed to import cxr_utils.cli"),
        ("images", "from cxr_utils import explain", "No circle BROKEN"),
        ("plots/_base", "from cxr_utils.plots import data", "No circle BROKEN"),
        ("another", "", "cxr_utils.another (Since this contract is marked as"),
    ],
)
def test_the_contract_sees(house, module, line, said):
    with (house / "cxr_utils" / f"{module}.py").open("a", encoding="utf-8") as opened:
        opened.write(f"\n{line}\n")
    done = lint_imports(house)
    assert done.returncode == 1 and said in " ".join(done.stdout.split()), done.stdout


def test_the_contract_holds():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_imports_no_machinery(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cxr_utils":
            found |= set(node.module.split(".")[1:]) | {each.name for each in node.names}
    assert {name for name in found if name in MACHINERY or name.startswith("_")} == set()
