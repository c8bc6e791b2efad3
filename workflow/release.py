"""Make a release into ``build/release``: wheel, sdist, an archive for Zenodo, their checksums; and try the wheel.

The wheel is installed, with the newest packages that it allows, into an environment of its own, and tried from an empty
folder outside this checkout: below it, cxr would find the project that it lies in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from cxr_utils import __version__

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "release"
TWINE = "twine>=6.1"
UV = Path(sysconfig.get_path("scripts"), "uv")

#: What is tried in the empty folder: the command, its exit status, and words that it must say.
TRIED = (
    (("check", "--no-speed"), 0, "a package without a checkout"),
    (("fetch", "--source", "sample"), 0, "synthetic"),
    (("predict", "data/sample/chest_xray/test/NORMAL", "--json"), 0, '"probability"'),
    (("run",), 2, "inside a clone of the course"),
    (("lab", "--only"), 2, "inside a clone of the course"),
    (("score", "mine.csv"), 2, "inside a clone of the course"),
)


def say(what: str) -> None:
    """Say which step begins."""
    print(f"== {what}", flush=True)


def call(*command: object, **options: object) -> subprocess.CompletedProcess:
    """Call a program, and end if it fails; what it says on standard error is for whoever reads along."""
    done = subprocess.run([str(word) for word in command], text=True, **options)
    if options.get("check", True) and done.returncode:
        sys.exit(f"release: {' '.join(map(str, command))}: ended with status {done.returncode}; see above")
    return done


def asked(*words: str) -> str:
    """Return what git answers."""
    return call("git", *words, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8").stdout


def build(commit: str) -> list[Path]:
    """Build wheel and sdist of a commit, without what lies in this folder beside it, and pack the archive."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    name = f"cxr-course-{__version__}"
    archive = OUT / f"{name}.zip"
    call("git", "archive", "--format=zip", f"--prefix={name}/", "-o", archive, commit, cwd=ROOT)
    shutil.unpack_archive(archive, OUT)
    # With the commit's own time in it, the wheel is the same byte by byte whoever builds it again.
    dated = os.environ | {"SOURCE_DATE_EPOCH": asked("show", "-s", "--format=%ct", commit).strip()}
    call(UV, "build", "--quiet", "--python", sys.executable, "--out-dir", OUT, OUT / name, env=dated)
    shutil.rmtree(OUT / name)
    made = [archive, *sorted(OUT.glob("*.whl")), *sorted(OUT.glob("*.tar.gz"))]
    call(UV, "tool", "run", "--quiet", "--from", TWINE, "twine", "check", "--strict", *made[1:])
    return made


def attempt(cxr: Path, folder: Path) -> list[str]:
    """Try the wheel's commands from an empty folder, and return what went wrong."""
    wrong = []
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CXR_HOME", "VIRTUAL_ENV")}
    for words, status, said in TRIED:
        say(f"cxr {' '.join(words)}")
        done = call(cxr, *words, cwd=folder, env=env, capture_output=True, check=False)
        lines = (done.stdout + done.stderr).rstrip().splitlines()
        print("\n".join([*lines[:6], *(["…"] if len(lines) > 6 else [])]))
        if done.returncode != status or said not in done.stdout + done.stderr or "Traceback" in done.stderr:
            wrong.append(f"cxr {' '.join(words)}: status {done.returncode}, not {status}, or it does not say {said!r}")
        if status and len(lines) != 1:
            wrong.append(f"cxr {' '.join(words)}: {len(lines)} lines, not one")
    return wrong


def main() -> None:
    """Build, check, try, and write the checksums last, so that they stand beside what passed alone."""
    commit = asked("rev-parse", "HEAD").strip()
    if f'__version__ = "{__version__}"' not in asked("show", f"{commit}:cxr_utils/__init__.py"):
        sys.exit(f"release: __version__ is {__version__} in this folder, and not in its last commit: commit it first")
    if asked("status", "--porcelain"):
        print("release: note: what is not committed is left out", file=sys.stderr)
    if asked("show", f"{commit}:CHANGELOG.md").partition("## [Unreleased]\n")[2].partition("\n## [")[0].strip():
        what = "CHANGELOG.md has changes under [Unreleased]: give them a version before you publish this as"
        print(f"release: note: {what} {__version__}", file=sys.stderr)
    say(f"build {__version__} of {commit}")
    made = build(commit)
    with tempfile.TemporaryDirectory(prefix="cxr-release-") as place:
        say(f"install the wheel into an empty environment, in {place}")
        scripts, folder = Path(place, "empty", "Scripts" if os.name == "nt" else "bin"), Path(place, "folder")
        call(UV, "venv", "--quiet", "--python", sys.executable, scripts.parent)
        call(UV, "pip", "install", "--quiet", "--python", scripts / "python", made[1])
        folder.mkdir()
        wrong = attempt(scripts / "cxr", folder)
    if wrong:
        sys.exit("\n".join(["release: the wheel does not do what it should:", *wrong]))
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
    (OUT / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")
    (OUT / "release.json").write_text(json.dumps({"version": __version__, "commit": commit}) + "\n", encoding="utf-8")
    for path in made:
        print(f"{path.stat().st_size / 1e6:6.1f} MB  {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
