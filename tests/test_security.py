"""What SECURITY.md promises of the checks holds."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from cxr_utils import _limits

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_each_promise_names_a_test_that_is_there():
    assert all((ROOT / name).is_file() for name in re.findall(r"tests/\w+\.py", TEXT))
    sections = TEXT.split("\n## ")[1:-1]  # the last says of itself what it checks
    assert len(sections) == 6 and all("`tests/" in section for section in sections)


def test_the_bounds_are_those_of_the_code():
    text = " ".join(TEXT.split())
    named = (
        f"at most {_limits.MAX_BYTES >> 20} MiB", f"{_limits.MAX_PIXELS // 10**6} million pixels",
        f"more than {_limits.MOST_FILES:,} files, {_limits.MOST_BYTES_A_FILE >> 20} MiB a file or "
        f"{_limits.MOST_BYTES >> 30} GiB in all",
        f"(above {_limits.FREE_BYTES >> 20} MiB), would grow to more than {_limits.MOST_RATIO} times",
        f"at most {_limits.MOST_CSV >> 20} MiB unpacked, {_limits.MOST_ROWS:,} rows, {_limits.MOST_COLUMNS:,} columns "
        f"and {_limits.MOST_CELLS:,} values",
        f"at most {_limits.PAGE_BYTES >> 20} MiB and {_limits.PAGE_FILES} in one request",
        f"other requests at {_limits.MOST_BYTES_ASKED >> 20} MiB; {_limits.MOST_BYTES_KEPT >> 30} GiB may wait",
    )  # fmt: skip
    assert [one for one in named if one not in text] == []


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
