"""What `start.py` decides before it installs, what it runs, and that the Makefile does the same."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
SOURCE = (ROOT / "start.py").read_text(encoding="utf-8")
spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)
FINE = {
    "Ubuntu": {"system": "Linux", "machine": "x86_64", "version": (3, 12, 3), "libc": (2, 39)},
    "a Raspberry Pi of 64 bits": {"system": "Linux", "machine": "aarch64", "version": (3, 13, 0), "libc": (2, 41)},
    "Apple silicon": {"system": "Darwin", "machine": "arm64", "version": (3, 11, 9), "release": (14, 0)},
    "a newer macOS": {"system": "Darwin", "machine": "arm64", "version": (3, 13, 1), "release": (26, 1)},
    "Windows": {"system": "Windows", "machine": "AMD64", "version": (3, 12, 0)},
}


@pytest.mark.parametrize("given", FINE.values(), ids=FINE)
def test_where_the_course_runs_nothing_is_said(given):
    assert start.refusal(**given) == ""


@pytest.mark.parametrize(
    ("base", "change", "words"),
    [
        ("Ubuntu", {"version": (3, 10, 12)}, "Python 3.11, 3.12 or 3.13 is needed, and this is 3.10"),
        ("Ubuntu", {"version": (3, 14, 0)}, "and this is 3.14"),
        ("Windows", {"version": (3, 14, 0)}, "py -3.12 start.py"),
        ("Apple silicon", {"version": (3, 9, 6)}, "python3.12 start.py"),
        ("Windows", {"bits": 32}, "64-bit Python"),
        ("Windows", {"machine": "win32", "bits": 32}, "64-bit Python"),
        ("Windows", {"machine": "arm64"}, "Windows on ARM. Or do the course in a browser"),
        ("Apple silicon", {"machine": "x86_64"}, "Intel processor. Or do the course in a browser"),
        ("Apple silicon", {"machine": "x86_64", "rosetta": True}, "made for Intel, and this Mac is none"),
        ("Apple silicon", {"release": (13, 7, 1)}, "macOS 14 or later is needed, and this is 13.7.1"),
        ("Ubuntu", {"machine": "armv7l"}, "processors of the kind armv7l"),
        ("Ubuntu", {"libc": (2, 27)}, "glibc 2.28 or later is needed, and the one here is 2.27"),
        ("Ubuntu", {"libc": ()}, "such as Alpine's"),
    ],
)
def test_what_has_no_wheels_is_said_before_pip_fails(base, change, words):
    assert words in start.refusal(**FINE[base] | change)


def test_what_can_be_put_right_is_said():
    short, long = "C:\\cxr", "C:\\Users\\" + 63 * "x"
    assert start.obstacle("Windows", short, False, True) == ""
    assert start.obstacle("Windows", long[: start.LONGEST], False, True) == ""
    assert "has 72 characters" in start.obstacle("Windows", long, False, True)
    assert start.obstacle("Windows", long, True, True) == start.obstacle("Linux", long, False, True) == ""
    assert "apt install python3-venv" in start.obstacle("Linux", "/course", False, False)


def test_the_bounds_are_those_of_the_project():
    wanted = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"])
    for minor in range(8, 20):
        refused = bool(start.refusal(**FINE["Ubuntu"] | {"version": (3, minor, 0)}))
        assert refused != (f"3.{minor}.0" in wanted), minor


def test_old_pythons_can_read_it_and_it_needs_nothing():
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    assert "removeprefix" not in SOURCE and "tomllib" not in SOURCE  # came later


def test_this_machine_is_read():
    system, machine, version, bits, release, libc, rosetta = start.here()
    assert version == sys.version_info[:3] and bits in (32, 64) and machine and rosetta in (False, True)
    assert (release is None) == (system != "Darwin") and (libc is None) == (system != "Linux")
    assert start.refusal(*start.here()) == ""  # these tests run here


@pytest.mark.parametrize(("text", "found"), [("14.6.1", (14, 6, 1)), ("2.39", (2, 39)), ("", None)])
def test_versions_are_read(text, found):
    assert start.numbers(text) == found


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Let start.py work on a copy of what it installs from, and write down what it would run."""
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(f"of {name}\n", encoding="utf-8")
    place = tmp_path / ".venv"
    bin_ = place / "bin"
    for name, value in {"HERE": tmp_path, "ENVIRONMENT": place, "BIN": bin_}.items():
        monkeypatch.setattr(start, name, str(value))
    ran = []

    def run(command, **variables):
        ran.append([Path(command[0]).stem, *command[1:]])
        bin_.mkdir(parents=True, exist_ok=True)
        Path(start.program("python")).touch()
        return 7 if command[-1] in project_fails else 0

    project_fails = []
    monkeypatch.setattr(start, "run", run)
    return tmp_path, ran, project_fails


def test_it_installs_once_and_anew_when_the_lock_changes(project):
    folder, ran, _ = project
    assert start.main(["lab", "--reset", "04"]) == 0
    venv, lock, own, lab = ran
    assert venv[1:] == ["-m", "venv", str(folder / ".venv")]
    assert lock[1:] == "-m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt".split()
    assert own[-4:] == ["--no-build-isolation", "--no-deps", "-e", "."]
    assert lab == ["cxr", "lab", "--reset", "04"]
    ran.clear()
    assert start.main([]) == 0 and ran == [["cxr", "run"]]
    (folder / "requirements.txt").write_bytes(b"of requirements.txt\r\n")  # as Windows may check it out
    ran.clear()
    assert start.main(["install"]) == 0 and ran == []
    assert start.main(["install", "--dev"]) == 0
    assert [command[-1] for command in ran] == ["requirements-dev.txt"]
    (folder / "requirements.txt").write_text("another\n", encoding="utf-8")
    ran.clear()
    assert start.main(["course"]) == 0 and len(ran) == 4


def test_what_fails_is_said_and_tried_again(project, capsys):
    _, ran, fails = project
    fails.append("requirements.txt")
    assert start.main(["course"]) == 7 and len(ran) == 2
    assert "this failed, and left .venv unfinished" in capsys.readouterr().err
    fails.clear()
    ran.clear()
    assert start.main(["course"]) == 0 and len(ran) == 4


def test_a_refusal_ends_it_before_anything_is_made(project, monkeypatch, capsys):
    folder, ran, _ = project
    monkeypatch.setattr(start, "here", lambda: ("Windows", "arm64", (3, 12, 1)))
    assert start.main(["course"]) == 1
    assert ran == [] and not (folder / ".venv").exists()
    assert capsys.readouterr().err.startswith("TensorFlow is not made for Windows on ARM")


@pytest.mark.parametrize("words", [["corse"], ["install", "--all"], ["lint", "x"]])
def test_unknown_words_are_named(words, capsys):
    assert start.main(words) == 2 and " ".join(words) in capsys.readouterr().err


def test_each_program_that_it_calls_is_there_and_gets_what_the_makefile_gave():
    lines = start.linting()
    programs = ["ruff", "ruff", "lint-imports", "numpydoc", "numpydoc", "mypy", "pytest"]
    assert [Path(line[0]).stem for line in lines] == programs
    assert "cxr_utils" in lines[-1] and (ROOT / lines[-1][-1].partition("::")[0]).is_file()
    with_example = set(lines[4]) & set(lines[3])
    assert os.path.join("cxr_utils", "splits.py") in with_example
    assert os.path.join("cxr_utils", "sources", "__init__.py") in with_example
    assert os.path.join("cxr_utils", "sources", "unzip.py") not in with_example


def test_make_does_what_start_py_does():
    """So that they can't drift: make has no command of its own for these, and start.py knows each."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (targets,) = re.findall(r"(?m)^([a-z ]+):\n\t@\$\(PYTHON\) start\.py \$@$", text)
    assert set(targets.split()) == {"course", "lab", "test", "check", "lint"}
    for target in targets.split():
        assert f"python start.py {target} " in start.__doc__ or target == "course"
    assert not re.search(r"pip install|-m venv", text.replace("uv pip install", ""))
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "test", "PYTHON=python3.12"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "python3.12 start.py test\n", done.stdout + done.stderr


def test_it_can_be_started_from_anywhere(tmp_path):
    command = [sys.executable, str(ROOT / "start.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "python start.py lab" in done.stdout


def test_what_must_hold_is_done_in_its_order(project, monkeypatch, capsys):
    """Lint and light tests beside the course; nbval on a copy that lacks one seed of each kind; the others."""
    folder, _, _ = project
    course, again = folder / "build" / "test" / "course", folder / "build" / "test" / "nbval"
    kept = ("plain_224-s0", "plain_224-s1", "trials/a-s0", "trials/a-s1", "mistakes/honest-s0", "mistakes/honest-s1")
    ran, beside, status = [], [], {}

    def run(command, into=None, **variables):
        told = (Path(command[0]).stem, command[1:], variables)
        if into:  # beside the course
            into.write(b"light\n")
            beside.append(told)
            return status.get("beside", 0)
        ran.append(told)
        if "run" in command:
            for name in kept:
                (course / "runs" / "sample" / name).mkdir(parents=True)
        return status.get(len(ran), 0)

    monkeypatch.setattr(start, "run", run)
    monkeypatch.setattr(start, "installed", lambda name: True)
    (folder / "build" / "test").mkdir(parents=True)
    (folder / "build" / "test" / "old").touch()
    assert start.main(["test"]) == 0
    papermill, nbval, tests = ran
    assert [name for name, *_ in beside] == [Path(command[0]).stem for command in start.linting()] + ["pytest"]
    assert "not long and not slow" in beside[-1][1] and "slow and not long" in tests[1]
    assert papermill == ("cxr", ["run", "--fresh"], {"CXR_HOME": str(course)})
    assert nbval[0] == "pytest" and nbval[1][-1] == "notebooks" and nbval[2] == {"CXR_HOME": str(again)}
    assert {"--nbval-lax", "--nbval-current-env"} <= set(nbval[1])
    left = {path.relative_to(again / "runs" / "sample").as_posix() for path in again.glob("runs/sample/**/*-s?")}
    assert left == {name for name in kept if name.endswith("-s1")} and not (folder / "build" / "test" / "old").exists()
    assert tests[0] == "pytest" and tests[2] == {"CXR_TEST_SAMPLE": str(course / "data" / "sample")}
    assert re.search(r"(?ms)^light$.*^== nbval: \d+ s$", capsys.readouterr().out)
    for wrong, most in (({"beside": 1}, 1), ({1: 1}, 1), ({2: 1}, 2)):  # whatever fails ends it, and is its status
        ran.clear()
        status.clear()
        status.update(wrong)
        assert start.main(["test"]) == 1 and len(ran) == most
