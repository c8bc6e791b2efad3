"""What SECURITY.md promises of the checks holds."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_bandit_is_clean():
    command = [sys.executable, "-m", "bandit", "-q", "-r", "cxr_utils", "-c", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_exception_is_argued():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["bandit"]["skips"] == re.findall(r"\bB\d{3}\b", TEXT)
    for path in (ROOT / "cxr_utils").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "nosec" not in line or re.search(r"# nosec B\d{3}\b.{10}", line), f"{path}: {line}"


def test_programs_are_started_without_a_shell():
    for path in (ROOT / "cxr_utils").rglob("*.py"):
        assert not re.search(r"shell=True|os\.system|os\.popen", path.read_text(encoding="utf-8")), path
