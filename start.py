"""Install the course and run it, with nothing but Python 3.11 to 3.13: on Linux, macOS and Windows.

    python start.py                    install into .venv, then run all notebooks on the built-in sample
    python start.py lab                your own copies of the notebooks, in JupyterLab
    python start.py test               everything that must hold
    python start.py check              the quick half of it
    python start.py lint               ruff; the floors of the package; docstrings; types
    python start.py install [--dev]    only install; --dev: what the tests need too

What follows `course` or `lab` goes to `cxr run` or `cxr lab`: python start.py lab --reset 04
The Makefile calls this file, so that both do the same. An older Python must be able to read it: it says what is needed.
"""

import concurrent.futures
import glob
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WINDOWS = os.name == "nt"
ENVIRONMENT = os.path.join(HERE, ".venv")
BIN = os.path.join(ENVIRONMENT, "Scripts" if WINDOWS else "bin")
BROWSER = "Or do the course in a browser, without installing: docs/browser.md"
LONGEST = 71  # characters of this folder: below it lie paths of 189 more, and Windows takes 260 unless told otherwise


def refusal(system, machine, version, bits=64, release=None, libc=None, rosetta=False):
    """Say why the course can't be installed here, empty if it can: before pip fails with words about wheels.

    `system` as platform.system() gives it; `machine` what this Python was made for; `version` Python's, such as
    (3, 12); `release` that of macOS and `libc` that of glibc, None if unknown, () if it is another C library.
    """
    machine, made = machine.lower(), ".".join(map(str, release or ()))
    if not (3, 11) <= tuple(version[:2]) <= (3, 13):
        another = "py -3.12 start.py" if system == "Windows" else "python3.12 start.py"
        return (
            f"Python 3.11, 3.12 or 3.13 is needed, and this is {version[0]}.{version[1]}: "
            f"install one of them (python.org), and start this with it, such as {another}"
        )
    if bits != 64:
        return "TensorFlow needs 64 bits, and this Python has 32: install the 64-bit Python from python.org"
    if system == "Darwin" and machine == "x86_64" and rosetta:
        return "This Python is made for Intel, and this Mac is none: install Python from python.org, which fits both"
    if system == "Darwin" and machine == "x86_64":
        return f"TensorFlow is no longer made for Macs with an Intel processor. {BROWSER}"
    if system == "Darwin" and release and (10, 16) < tuple(release[:2]) < (14, 0):  # old programs are told 10.16
        return f"macOS 14 or later is needed, and this is {made}. {BROWSER}"
    if system == "Windows" and machine == "arm64":
        return f"TensorFlow is not made for Windows on ARM. {BROWSER}"
    if machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        return f"TensorFlow is not made for processors of the kind {machine}. {BROWSER}"
    if system == "Linux" and libc is not None and libc < (2, 28):
        kind = f"is {'.'.join(map(str, libc))}" if libc else "is another, such as Alpine's"
        return f"The C library glibc 2.28 or later is needed, and the one here {kind}. {BROWSER}"
    return ""


def obstacle(system, folder, long_paths, ensurepip):
    """Say what stands in the way and can be put right, empty if nothing does."""
    if system == "Windows" and len(folder) > LONGEST and not long_paths:
        return (
            f"{folder}: this path has {len(folder)} characters, and on this Windows {LONGEST} are the most: "
            "move the folder, for example to C:\\cxr, or switch on long paths (docs/install.md)"
        )
    if not ensurepip:
        return (
            "This Python can make no virtual environment. Debian and Ubuntu: apt install python3-venv; "
            "elsewhere: install Python from python.org"
        )
    return ""


def here():
    """Return what `refusal` asks, of this Python and this machine."""
    system, machine = platform.system(), platform.machine()
    release = libc = None
    rosetta = False
    if system == "Windows":
        machine = sysconfig.get_platform().split("-")[-1]  # of the Python: an Intel one runs on ARM as well
    elif system == "Darwin":
        release = numbers(platform.mac_ver()[0])
        told = subprocess.run(["sysctl", "-n", "sysctl.proc_translated"], capture_output=True)
        rosetta = told.stdout.strip() == b"1"
    elif system == "Linux":
        library, made = platform.libc_ver()
        libc = numbers(made) if library == "glibc" else ()
    return system, machine, sys.version_info[:3], 64 if sys.maxsize > 2**32 else 32, release, libc, rosetta


def numbers(text):
    """Return a version as numbers, None if it is none."""
    found = tuple(int(part) for part in text.split(".") if part.isdigit())
    return found or None


def long_paths():
    """Tell whether Windows was told to take paths of more than 260 characters."""
    try:
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except (ImportError, OSError):
        return False


def program(name):
    """Return the path of a program of the environment."""
    return os.path.join(BIN, name + (".exe" if WINDOWS else ""))


def installing(dev):
    """Return the commands that install, in their order."""
    pip = [program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    course = [
        [sys.executable, "-m", "venv", ENVIRONMENT],
        [*pip, "--require-hashes", "-r", "requirements.txt"],
        [*pip, "--no-build-isolation", "--no-deps", "-e", "."],
    ]
    return [*course, [*pip, "--require-hashes", "-r", "requirements-dev.txt"]] if dev else course


def linting():
    """Return the commands that look at the code: its style, floors, docstrings with their examples, types, imports."""
    modules = sorted(glob.glob(os.path.join("cxr_utils", "**", "*.py"), recursive=True))
    with_example = [
        path for path in modules if not re.match("cxr_utils.(sources.[a-z]|predict|replication|course)", path)
    ]
    return [
        [program("ruff"), "check", "."],
        [program("ruff"), "format", "--check", "."],
        [program("lint-imports"), "--no-cache", "--no-logo"],
        [program("numpydoc"), "lint", "--ignore", "EX01", *modules],
        [program("numpydoc"), "lint", *with_example],
        [program("mypy")],
        [*light(2), "cxr_utils", "tests/test_environment.py::test_each_import_is_declared"],
    ]


def needs(name):
    """Return the digest of what an installation was made from: another one is installed anew."""
    content = []
    for path in ("requirements.txt", "pyproject.toml") + (("requirements-dev.txt",) if name == "dev" else ()):
        with open(os.path.join(HERE, path), "rb") as file:
            content.append(file.read().replace(b"\r\n", b"\n"))
    return hashlib.sha256(b"\0".join(content)).hexdigest()


def installed(name):
    """Tell whether the course, or with it what the tests need ("dev"), lies in the environment."""
    try:
        with open(stamp(name), encoding="ascii") as file:
            return os.path.exists(program("python")) and file.read() == needs(name)
    except OSError:
        return False


def stamp(name):
    """Return the file that says from what the environment was made."""
    return os.path.join(ENVIRONMENT, ".installed-" + name)


def install(dev=False):
    """Make the environment if it is not there, or not of these requirements; return the exit status."""
    name = "dev" if dev else "course"
    if installed(name):
        return 0
    fault = refusal(*here()) or obstacle(
        platform.system(), HERE, long_paths(), importlib.util.find_spec("ensurepip") is not None
    )
    if fault:
        print(fault, file=sys.stderr)
        return 1
    print("installing into .venv: a few minutes, once", flush=True)
    for command in installing(dev)[3 if installed("course") else 0 :]:
        status = run(command)
        if status:
            print(f"start.py: this failed, and left .venv unfinished: {' '.join(command)}", file=sys.stderr)
            return status
    for each in ("course", "dev") if dev else ("course",):
        with open(stamp(each), "w", encoding="ascii") as file:
            file.write(needs(each))
    return 0


def run(command, into=None, **variables):
    """Run a program in this folder, with UTF-8 whatever code page Windows has, and return its exit status.

    Ctrl-C is left to it, which knows what to do; a file `into` gets what it says.
    """
    said = {"stdout": into, "stderr": subprocess.STDOUT} if into else {}
    child = subprocess.Popen(command, cwd=HERE, env=dict(os.environ, PYTHONUTF8="1", **variables), **said)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def lint(into=None):
    """Run all that looks at the code, up to the first that finds something."""
    return next((status for status in (run(command, into) for command in linting()) if status), 0)


def light(workers):
    """Return the command of the tests that train nothing."""
    spread = ["-n", str(workers), "--dist", "loadfile"]
    return [program("pytest"), "-q", *spread, "-m", "not long and not slow"]


def stage(name, work):
    """Do a part of the tests, and say how long it took."""
    begun = time.time()
    print(f"== {name}", flush=True)
    status = work()
    if not status:
        print(f"== {name}: {time.time() - begun:.0f} s", flush=True)
    return status


def test():
    """Do everything that must hold: the course, lint and light tests beside it; nbval; the tests that train."""
    built = os.path.join(HERE, "build", "test")
    shutil.rmtree(built, ignore_errors=True)
    course, again = os.path.join(built, "course"), os.path.join(built, "nbval")
    pytest = [program("pytest"), "-n", "2", "--dist", "loadfile"]
    nbval = ["-q", "--nbval-lax", "--nbval-current-env", "--nbval-sanitize-with", "notebooks/source/nbval_sanitize.cfg"]

    def papermill():  # it takes one and a half of two cores: what is light runs beside it, and is told after it
        os.makedirs(built)
        log = os.path.join(built, "beside.log")
        with open(log, "wb") as into, concurrent.futures.ThreadPoolExecutor(1) as pool:
            beside = pool.submit(lambda: lint(into) or run([*light(1), "tests", "--durations=10"], into))
            status = run([program("cxr"), "run", "--fresh"], CXR_HOME=course)
        with open(log, encoding="utf-8", errors="replace") as said:
            print(said.read(), flush=True)
        return status or beside.result()

    def notebooks():  # nbval trains one seed of each kind anew: tests/test_notebooks.py compares
        shutil.copytree(course, again)
        runs = os.path.join(again, "runs", "sample")
        for folder in ("plain_224-s0", os.path.join("trials", "*-s0"), os.path.join("mistakes", "honest-s0")):
            for path in glob.glob(os.path.join(runs, folder)):
                shutil.rmtree(path)
        return run([*pytest, *nbval, "notebooks"], CXR_HOME=again)

    def tests():
        sample = os.path.join(course, "data", "sample")
        heavy = ["--no-loadscope-reorder", "-m", "slow and not long", "--durations=10"]
        return run([*pytest, *heavy], CXR_TEST_SAMPLE=sample)

    stages = {"papermill, lint and light tests": papermill, "nbval": notebooks, "tests that train": tests}
    return next((status for status in map(stage, stages, stages.values()) if status), 0)


def check():
    """Do the quick half: lint, and the tests that train nothing."""
    return lint() or stage("light tests", lambda: run([*light(2), "tests", "--durations=10"]))


def main(arguments):
    """Do what is asked, and return the exit status."""
    wanted, given = (arguments or ["course"])[0], arguments[1:]
    tools = {"test": test, "check": check, "lint": lint}
    if wanted in ("-h", "--help"):
        print(__doc__)
        return 0
    if wanted == "install" and given in ([], ["--dev"]):
        return install(dev=bool(given))
    if wanted in ("course", "lab"):
        return install() or run([program("cxr"), "run" if wanted == "course" else "lab", *given])
    if wanted in tools and not given:
        return install(dev=True) or tools[wanted]()
    known = "choose from course, lab, test, check, lint, install [--dev]"
    print(f"start.py: {' '.join(arguments)!r} is unknown; {known}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
