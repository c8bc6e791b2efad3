"""Is this machine ready for the course? What is here, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_utils import _machine, files, training
from cxr_utils.errors import CxrError

PACKAGES = (
    "tensorflow", "keras", "numpy", "pandas", "scikit-learn", "imbalanced-learn", "opencv-python-headless",
    "pillow", "matplotlib", "seaborn", "papermill",
    "ipykernel", "jupyterlab", "nbconvert", "kaggle", "pooch", "typer",
)  # fmt: skip
GIB = 2**30
LONGEST_FOLDER = 71  # the longest path that pip writes below it has 188 characters; Windows takes 259

# Seconds of a course = fixed + images / speed of `measure`. Fitted on two cores that did other work beside, with
# AVX512-BF16 (1,020 images/s: the sample 261 s, 222 s with nothing beside; the workshop 740 s) and held to AVX2 in
# float32 (616 images/s: the sample 274 s, the workshop's core 712 s, and by its parts about 945 s as a whole). To that
# came 25 s for the last lesson.
COST = {"sample": (240.0, 20_000), "workshop": (405.0, 326_000)}


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes
    ----------
    name, value : str
        What was looked at, and what is there.
    missing : str
        What to do about it; empty if all is well.
    needed : bool
        The course does not run without it.
    """

    name: str
    value: str
    missing: str = ""
    needed: bool = False


def findings(*, data_dir: str | Path = "data", measure_speed: bool = True) -> Iterator[Finding]:
    """Look at this machine, one thing after the other.

    Parameters
    ----------
    data_dir : str or Path
        The folder whose disk is looked at.
    measure_speed : bool
        End with a training of ten seconds in a process of its own.

    Yields
    ------
    Finding
    """
    version = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding("Python", version, "" if good else "install Python 3.11, 3.12 or 3.13 and make .venv again", True)
    yield from _packages()
    # The variable alone: what keras.json says of the backend does not count here.
    yield Finding("Keras backend", os.environ["KERAS_BACKEND"], _machine.backend_fault(), needed=True)
    yield _folder()
    info, cores, there = _machine.cpu(), _machine.cores(), os.cpu_count() or 1
    may = f"{cores} cores" if cores == there else f"{cores} of {there} cores for this container or job"
    value = f"{info['name']}, {may}, {', '.join(info['bfloat16']) or 'neither AMX nor AVX512-BF16'}"
    advice = "one core only: the course takes about twice as long" if cores < 2 else ""
    yield Finding("processor", value, advice if info["avx"] else _machine.NO_AVX, needed=not info["avx"])
    total, free = (size / GIB for size in _machine.memory())
    advice = "" if free >= 3 else "the sample needs 2 GB, the workshop 3 GB: close other programs or kernels"
    yield Finding("free memory", f"{free:.1f} of {total:.1f} GB that this process may use", advice, needed=free < 2)
    folder = files.resolve(data_dir)
    folder = next(filter(Path.exists, (folder, *folder.parents)))
    free = shutil.disk_usage(folder).free / GIB
    advice = "" if free >= 6 else "the sample needs 1 GB, the originals from Kaggle 6 GB: make room, or use --data-dir"
    yield Finding("free disk", f"{free:.1f} GB at {folder}", advice, needed=free < 1)
    yield _kaggle()
    if measure_speed:
        yield from _speed()


def _packages() -> Iterator[Finding]:
    locked = _locked()
    reinstall = "pip install --require-hashes -r requirements.txt"
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "missing", reinstall, needed=True)
            continue
        other = locked and version not in locked.get(name, {version})
        advice = f"not the locked {' or '.join(sorted(locked[name]))}; to have it: {reinstall}" if other else ""
        yield Finding(name, version, advice)


def _locked() -> dict[str, set[str]]:
    """Read the versions of the lock, where there is one: a package may be pinned once a Python version."""
    path = files.CHECKOUT / "requirements.txt"
    pins: dict[str, set[str]] = {}
    if path.is_file():
        for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8")):
            pins.setdefault(name.lower(), set()).add(version)
    return pins


def _folder() -> Finding:
    """Say before pip does that paths below this folder get longer than Windows takes."""
    if not any(map(files.is_project, (files.root(), files.CHECKOUT))):
        advice = "cxr run, lab, replicate and score start in a clone of the project: that holds notebooks and results"
        return Finding("project folder", "none; a package without a checkout", advice)
    project = files.CHECKOUT
    advice = ""
    if sys.platform == "win32" and len(str(project)) > LONGEST_FOLDER and not _long_paths():
        way_out = "move the project to a shorter one, such as C:\\cxr, or switch on long paths (LongPathsEnabled)"
        advice = f"{len(str(project))} characters: above {LONGEST_FOLDER}, paths get too long for Windows; {way_out}"
    return Finding("project folder", str(project), advice, needed=True)


def _long_paths() -> bool:
    try:
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except (ImportError, OSError):
        return False


def _kaggle() -> Finding:
    """Tell which forms of Kaggle credentials are there; their content is never read."""
    home, env = Path.home(), os.environ
    config = Path(env["KAGGLE_CONFIG_DIR"]) if env.get("KAGGLE_CONFIG_DIR") else home / ".kaggle"
    if not env.get("KAGGLE_CONFIG_DIR") and sys.platform.startswith("linux") and not config.exists():
        config = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    forms = {
        "KAGGLE_API_TOKEN": bool(env.get("KAGGLE_API_TOKEN")),
        "KAGGLE_USERNAME with KAGGLE_KEY": bool(env.get("KAGGLE_USERNAME") and env.get("KAGGLE_KEY")),
        "kaggle.json": (config / "kaggle.json").is_file(),
        "access_token": any((home / ".kaggle" / name).is_file() for name in ("access_token", "access_token.txt")),
        "credentials.json": (home / ".kaggle" / "credentials.json").is_file(),
    }
    there = ", ".join(f"{name} {'yes' if found else 'no'}" for name, found in forms.items())
    way_out = "make a token at kaggle.com/settings/api and save it as ~/.kaggle/access_token"
    advice = f"needed for --source kaggle only, which first tries without: {way_out}"
    return Finding("Kaggle credentials", there, "" if any(forms.values()) else advice)


def _speed() -> Iterator[Finding]:
    command = [sys.executable, "-W", "ignore", "-m", "cxr_utils.course.check"]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    advice = "run python -m cxr_utils.course.check to see all of it"
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=300, env=env)
    except subprocess.TimeoutExpired:
        yield Finding("training", "took over 5 minutes", advice, needed=True)
        return
    try:
        speed = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
        if done.returncode < 0:
            said, advice = f"was ended by signal {-done.returncode}", _machine.why_ended()
        yield Finding("training", said, advice, needed=True)
        return
    yield Finding("GPU", speed["gpu"] or "none; not needed for the sample and the workshop")
    yield Finding("training", f"{speed['images_per_second']:,.0f} images/s in {speed['precision']}")
    for name, (fixed, images) in COST.items():
        minutes = (fixed + images / speed["images_per_second"]) / 60
        slow = "use --core, or a machine with bfloat16" if minutes > 20 else ""
        yield Finding(f"profile {name}", f"about {minutes:.0f} minutes here, all notebooks", slow)


def measure(seconds: float = 10.0) -> dict[str, Any]:
    """Train the plain network on random images of 96 px for a while, and count.

    Parameters
    ----------
    seconds : float
        How long to train.

    Returns
    -------
    dict
        ``images_per_second`` (float), ``precision`` (str), ``gpu`` (str, empty without one).
    """
    import numpy as np

    from cxr_utils import recipes
    from cxr_utils.backend import keras

    precision = training.choose_precision()
    recipe = recipes.get("plain_224").at(image_size=96)
    with training.dtype_policy(precision):
        model = recipe.build(seed=0)
    rng = np.random.default_rng(0)
    images = rng.random((recipe.batch_size, 96, 96, recipe.channels), dtype="float32")
    labels = rng.integers(0, 2, (recipe.batch_size, 1)).astype("float32")
    for _ in range(3):  # the first batches compile
        model.train_on_batch(images, labels)
    start, batches = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        model.train_on_batch(images, labels)
        batches += 1
    gpus = keras.distribution.list_devices("gpu")
    return {"images_per_second": batches * len(images) / passed, "precision": precision, "gpu": ", ".join(gpus)}


def lines(found: Finding, *, width: int = 24) -> str:
    """Write a finding: its name, what is there, and on a second line what to do.

    Parameters
    ----------
    found : Finding
        What was looked at.
    width : int
        Characters for the name.

    Returns
    -------
    str

    Examples
    --------
    >>> print(lines(Finding("Python", "3.9", "install 3.11", needed=True), width=8))
    MISSING Python  3.9
                    install 3.11
    """
    mark = ("MISSING" if found.needed else "note") if found.missing else "ok"
    text = f"{mark:<8}{found.name:<{width}}{found.value}"
    return f"{text}\n{' ' * (8 + width)}{found.missing}" if found.missing else text


if __name__ == "__main__":
    try:
        print(json.dumps(measure()))
    except CxrError as problem:
        sys.exit(f"cxr: {problem}")
