"""Break a stage of the work at each point where it writes, give the same command again, and compare.

Used by test_crash.py in processes of their own. A point is what Python's audit hooks report: a file opened for
writing, a rename, a new folder, a removal. At a point the stage is

- killed (SIGKILL) just before: ``kill``;
- killed by the kernel (SIGXFSZ) while it writes the file, of which a few bytes are there: ``torn``;
- refused all further room, as by a full disk: ``full``.
"""

import errno
import gzip
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CXR_PRECISION"] = "float32"
TEMPORARY = re.compile(r"(^|/)\.[^/]*\.tmp(\.[^/]*)?(/|$)")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LONGEST = 300  # seconds that one stage may take on a busy machine


def written(event, arguments, home):
    """Return (what, path, whether it takes room) if an audit event is a write below `home`."""
    if event == "open":
        path, _, flags = arguments
        if not flags & WRITING or isinstance(path, int) or path is None:
            return None
    elif event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        path = arguments[0]
    else:
        return None
    path = os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else ""
    if not path.startswith(f"{home}{os.sep}"):
        return None
    if (event == "os.mkdir" and os.path.isdir(path)) or (event == "os.remove" and not os.path.lexists(path)):
        return None  # changes nothing
    return event, os.path.relpath(path, home), event in ("open", "os.mkdir")


def watch(home, mode, point, log):
    """Install the hook that lists the points, or breaks this process at one of them.

    A point is its number, or "N REGEX": the N-th of those whose event and path the expression finds.
    """
    guard, seen = threading.RLock(), []
    number, _, pattern = str(point).partition(" ")
    number = int(number)
    if mode == "torn":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def hook(event, arguments):
        if not event.startswith(("open", "os.")) or (found := written(event, arguments, home)) is None:
            return
        with guard:
            if not re.search(pattern, f"{found[0]} {found[1]}"):
                return
            seen.append(1)
            if mode == "list":
                os.write(log, (json.dumps(found) + "\n").encode())
            elif mode == "kill" and len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            elif mode == "torn" and len(seen) == number:
                resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
            elif mode == "full" and len(seen) >= number and found[2]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), found[1])

    sys.addaudithook(hook)


# The stages: what has to be there before, and what is done.


@dataclass(frozen=True)
class Stage:
    """One piece of work; `passing` are files that may hold something in between, and that it makes whole itself."""

    prepare: object
    work: object
    forks: bool = True  # False: TensorFlow or a kernel is in it, which a fork does not survive
    passing: str = "$^"


def _cxr(*arguments):
    from cxr_utils import cli

    return cli.main([str(argument) for argument in arguments])


def _small_sample(home):
    from cxr_utils.sources import phantom

    phantom.write.__kwdefaults__["n"] = 36
    return _cxr("fetch", "--source", "sample")


def _tiny(home):
    from helpers import draw_tiny

    shutil.rmtree(home / "given", ignore_errors=True)
    return draw_tiny(home / "given" / "tiny")


def _tiny_zip(home):
    folder = _tiny(home)
    with zipfile.ZipFile(home / "given.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))


def _zip(home):
    return _cxr("fetch", "--source", "folder", "--path", home / "given.zip")


def _folder(home):
    return _cxr("fetch", "--source", "folder", "--path", home / "given")


def _kaggle(home):
    return _cxr("fetch", "--source", "kaggle")


def _medmnist(home):
    return _cxr("fetch", "--source", "medmnist")


def _stand_in(home):
    """Start the stand-in for both services in this process, once: it outlives those that are killed."""
    import kaggle_server

    from cxr_utils.sources import download

    if not _stand_in.server:
        _stand_in.server.append(kaggle_server.Server())
        threading.Thread(target=_stand_in.server[0].serve_forever, daemon=True).start()
    download.WAITS = (0,)
    return _stand_in.server[0]


_stand_in.server = []


def _kaggle_served(home):
    import kaggle_server

    from cxr_utils.sources import kaggle

    server = _stand_in(home)
    server.content = kaggle_server.make_archive()
    os.environ.update(server.environment(home.parent))
    kaggle.ARCHIVE_BYTES, kaggle.IMAGES_BYTES = 10**7, 10**5


def _medmnist_served(home):
    import hashlib

    import numpy as np

    from cxr_utils.sources import medmnist

    server, rng, arrays, sink = _stand_in(home), np.random.default_rng(0), {}, io.BytesIO()
    for split, labels in (("train", [0, 1, 1]), ("val", [0, 1]), ("test", [0, 1])):
        arrays[f"{split}_images"] = rng.integers(0, 256, (len(labels), 224, 224), np.uint8)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)[:, None]
    np.savez_compressed(sink, **arrays)
    server.content = sink.getvalue()
    medmnist.ARCHIVES["medmnist"] |= {"md5": hashlib.md5(server.content).hexdigest(), "needed_bytes": 10**6}
    os.environ.update({"CXR_MEDMNIST_URL": server.url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"})


def _changed(home):
    """Leave the tables of a scan behind, and then take images away and spoil none."""
    from cxr_utils import dataset

    dataset.scan(_tiny(home))
    next((home / "given/tiny/chest_xray/train/NORMAL").glob("IM-*.jpeg")).unlink()


def _scan(home):
    from cxr_utils import dataset

    dataset.scan(home / "given/tiny")


def _cache(home):
    from cxr_utils import dataset, images

    folder = home / "given/tiny"
    images.cache(dataset.scan(folder), folder, size=24)


def _scanned(home):
    from cxr_utils import dataset

    dataset.scan(_tiny(home))


def _training():
    """Return a recipe that stops early and is slowed down twice, with Dropout, and its images and split."""
    import numpy as np
    import pandas as pd

    from cxr_utils import recipes
    from cxr_utils.augment import Augmentation

    rng, size = np.random.default_rng(0), 24
    label = np.tile([0, 1, 1], 24)
    pixels = rng.integers(60, 140, (72, size, size, 1), dtype="uint8")
    pixels[label == 1, 8:14, 8:14] += 80
    split = pd.DataFrame(
        {
            "path": [f"chest_xray/train/x/person{i}_virus_{i}.jpeg" for i in range(72)],
            "patient": [f"person{i}" for i in range(72)],
            "label": label,
            "kind": np.where(label, "virus", "normal"),
            "part": np.repeat(["train", "validation", "test"], [24, 24, 24]),
        }
    )
    never = {"monitor": "val_loss", "min_delta": 1.0}  # so that the first epoch stays the best
    recipe = recipes.get("plain_224").at(image_size=size, width=0.25).but(
        dropout=0.25, epochs=6, batch_size=12, augmentation=Augmentation(rotation=5),
        early_stopping={**never, "patience": 3, "restore_best_weights": True},
        reduce_lr={**never, "patience": 1, "factor": 0.5},
        schedule={"from_epoch": 2, "start": 0.0004, "factor": 0.5, "epochs": 1},
    )  # fmt: skip
    return recipe, pixels, split


def _train(home):
    from cxr_utils import training

    return training.fit(*_training(), run_dir=home / "run", seed=1)


def _evaluate(home):
    from cxr_utils import evaluation, training
    from cxr_utils.replication import grid

    _, pixels, split = _training()
    run = training.load(home / "run")
    evaluation.evaluate(run, evaluation.predict(run, pixels, split))
    index = split.assign(width=24, height=24)
    cell = grid.Cell("plain_64", "honest", 0)
    grid.evaluate(cell, run, pixels, split, index=index, out=home / "results", source="drawn")


def _notebooks(home):
    """Write one notebook that keeps a figure, and the report of an earlier run."""
    import nbformat

    v4 = nbformat.v4
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = v4.new_notebook(metadata={"kernelspec": kernel})
    given = 'source = "sample"\ndata_dir = "data"\nrun_dir = "runs/sample"\nprofile = "sample"\nseed = 0\n'
    keep = "from cxr_utils import course\n_ = course.beside_real('01_a', {'n': 3}, run_dir=run_dir, source=source)"
    made.cells = [
        v4.new_markdown_cell("# Title"),
        v4.new_code_cell(given, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(keep + "\nprint('kept')"),
    ]
    (home / "notebooks").mkdir(parents=True)
    nbformat.write(made, home / "notebooks" / "01_a.ipynb")


def _reported(home):
    """Leave a report behind, and then another notebook."""
    _notebooks(home)
    for name in ("01_a", "02_b"):
        (home / "runs/sample/notebooks").mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "notebooks/01_a.ipynb", home / f"runs/sample/notebooks/{name}.ipynb")
        if name == "01_a":
            _report(home)


def _course(home):
    return _cxr("run", "1")


def _report(home):
    from cxr_utils.course import report

    report.write(home / "runs/sample", synthetic=True)


STAGES = {
    "sample": Stage(lambda home: None, _small_sample),
    "kaggle": Stage(_kaggle_served, _kaggle, passing=r"data/\.kaggle-download/.*"),
    "medmnist": Stage(_medmnist_served, _medmnist, passing=r"data/\.medmnist-download/.*"),
    "zip": Stage(_tiny_zip, _zip),
    "folder": Stage(_tiny, _folder),
    "scan": Stage(_changed, _scan),
    "cache": Stage(_scanned, _cache),
    "report": Stage(_reported, _report),
    "course": Stage(_notebooks, _course, forks=False, passing=r".*/notebooks/.*\.ipynb|.*/course\.json"),
    "training": Stage(lambda home: None, _train, forks=False, passing="run/state.*"),
    "evaluation": Stage(_train, _evaluate, forks=False, passing=r"run/predictions\.csv|results/test_reads\.csv"),
}


# What is compared.


def snapshot(home):
    """Return what each file below `home` says, without wall times and dates; locks are left out."""
    found = {}
    for file in sorted(home.rglob("*")):
        if file.is_file() and not file.name.endswith((".lock", ".lock.holder")):
            name = file.relative_to(home).as_posix()
            found[name] = file.read_bytes() if TEMPORARY.search(name) else said(file)
    return found


def said(file):
    """Return the content of a file as it is compared."""
    content = file.read_bytes()
    if file.name.endswith(".gz"):
        content = gzip.decompress(content)
    name = file.name.removesuffix(".gz")
    if name.endswith(".csv"):
        import pandas as pd

        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
        return table.drop(columns=["seconds", "date"], errors="ignore").to_csv(index=False)
    if name.endswith(".json"):
        return json.dumps(_timeless(json.loads(content)))
    if name.endswith(".ipynb"):
        try:
            return [[cell["source"], cell.get("outputs")] for cell in json.loads(content)["cells"]]
        except ValueError:  # papermill writes it anew after each cell
            return "in between"
    if name.endswith(".keras"):
        import h5py

        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            kept = {}  # the weights alone: names of layers count what one process built
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
                weights.visititems(lambda key, of: kept.update({key: of[()].tobytes()} if hasattr(of, "shape") else {}))
        return kept
    if name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [archive.read(member) for member in archive.namelist()]  # checks each CRC
    return content


def _timeless(content):
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if key not in ("seconds", "date")}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


# One stage in a process of its own.


def run(stage, home, mode="", point=0, log=None):
    """Do a stage's work here, broken at a point; return the status and what it said if an error ended it."""
    os.environ["CXR_HOME"] = str(home)
    if mode:
        watch(str(home), mode, point, log)
    try:
        status = STAGES[stage].work(home)
        return status if isinstance(status, int) else 0, ""
    except Exception as error:
        return 1, f"{type(error).__name__}: {error}"


def apart(stage, home, mode="", point=0):
    """Do a stage's work in another process; return its exit status (minus a signal), words and points."""
    words, points = home.parent / "words", home.parent / "points"
    words.write_text("")
    points.write_text("")
    if STAGES[stage].forks:
        process = os.fork()
        if not process:
            _child(stage, home, mode, point, words, points)
    else:
        command = [sys.executable, __file__, "--child", stage, str(home), mode, str(point), str(words), str(points)]
        process = subprocess.Popen(command, start_new_session=True).pid
    _, status = os.waitpid(process, 0)
    listed = [json.loads(line) for line in points.read_text().splitlines()]
    return os.waitstatus_to_exitcode(status), words.read_text(), listed


def _child(stage, home, mode, point, words, points):
    signal.alarm(LONGEST)
    into = os.open(words if mode != "torn" else os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(into, stream)
    status, error = run(stage, home, mode, point, os.open(points, os.O_WRONLY))
    if error:
        print(error, file=sys.stderr)
    sys.stdout.flush()
    os._exit(status)


def chosen(points, mode, every):
    """Return the numbers of the points that a mode can break, all or one of each kind."""
    numbers, kinds = [], set()
    for number, (event, path, takes_room) in enumerate(points, 1):
        if (mode == "torn" and event != "open") or (mode == "full" and not takes_room):
            continue
        names = r"[0-9a-f]{6}-\d+-[0-9a-f]{8}|(train|val|test)(/(NORMAL|PNEUMONIA)(/.*)?)?$|masks/.*"
        kind = event, re.sub(names, "", path)
        if every or kind not in kinds:
            numbers.append(number)
        kinds.add(kind)
    return numbers


def sweep(stage, base, mode, *, every=False, only=None):
    """Break a stage at its points, one after the other, and finish it each time.

    Returns
    -------
    dict
        ``points`` of an undisturbed run, how many were ``tried`` and ``broke`` it, ``problems`` (list of str),
        ``seconds``.
    """
    begun, base = time.monotonic(), Path(base)
    home, start, whole = base / "home", base / "start", base / "whole"
    for folder in (home, start, whole):
        shutil.rmtree(folder, ignore_errors=True)
    home.mkdir(parents=True)
    prepared(stage, home)
    shutil.copytree(home, start)
    before = snapshot(home)
    status, words, points = apart(stage, home, "list")
    if status:
        return {"problems": [f"undisturbed: status {status}: {words}"], "points": 0, "tried": 0, "broke": 0}
    after, problems, broke = snapshot(home), [], 0
    numbers = chosen(points, mode, every)
    numbers = numbers if only is None else [number for number in numbers if only(points[number - 1])]
    for number in numbers:
        shutil.rmtree(home)
        shutil.copytree(start, home)
        status, words, _ = apart(stage, home, mode, number)
        where = f"{stage}, {mode} at {number} of {len(points)} ({' '.join(points[number - 1][:2])})"
        broke += status != 0
        try:
            now = snapshot(home)
            problems += [f"{where}: {why}" for why in wrong_now(stage, mode, status, words, before, after, now)]
            status, words, _ = apart(stage, home)
            problems += [f"{where}: {why}" for why in wrong_after(status, words, after, snapshot(home))]
        except Exception as error:  # a file that can't be read is a finding, too
            problems.append(f"{where}: {type(error).__name__}: {error}")
    return {
        "points": len(points),
        "tried": len(numbers),
        "broke": broke,
        "problems": problems,
        "seconds": round(time.monotonic() - begun, 1),
    }


def fill_disk(stage, base, *, shares=(0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)):
    """Do a stage on a tmpfs that has room for a share of what it needs; then make room, and finish it.

    The process must be allowed to mount: root, or in a namespace of its own (``unshare --map-root-user --mount``).
    Returns what `sweep` does.
    """
    begun, base = time.monotonic(), Path(base)
    home, kept = base / "home", base / "start"
    home.mkdir(parents=True)
    prepared(stage, home)
    home.rename(kept)
    home.mkdir()

    def mount(options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", home], check=True)

    def used():
        found = os.statvfs(home)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    problems, broke, needed, after = [], 0, 0, {}
    for share in (None, *shares):  # the first is undisturbed
        mount("size=64m")
        try:
            shutil.copytree(kept, home, dirs_exist_ok=True)
            before, start = snapshot(home), used()
            if share is not None:
                pages = max(1, (start + int(share * needed)) // 4096)  # a size of 0 would be no limit
                mount(f"remount,size={pages * 4096}")
            status, words, _ = apart(stage, home)
            now = snapshot(home)
            if share is None:
                after, needed = now, used() - start
                continue
            broke += status != 0
            where = f"{stage} on a disk with room for {share:.0%} of {needed:,} bytes"
            problems += [f"{where}: {why}" for why in wrong_now(stage, "full", status, words, before, after, now)]
            mount("remount,size=64m")
            status, words, _ = apart(stage, home)
            problems += [f"{where}: {why}" for why in wrong_after(status, words, after, snapshot(home))]
        finally:
            subprocess.run(["umount", home], check=True)
    seconds = round(time.monotonic() - begun, 1)
    return {"points": needed, "tried": len(shares), "broke": broke, "problems": problems, "seconds": seconds}


def prepared(stage, home):
    """Put there what a stage needs, in another process where it must be."""
    if STAGES[stage].forks:
        os.environ["CXR_HOME"] = str(home)
        STAGES[stage].prepare(home)
    else:
        subprocess.run([sys.executable, __file__, "--prepare", stage, str(home)], check=True, timeout=LONGEST)


def wrong_now(stage, mode, status, words, before, after, now):
    """Say what is wrong with what a broken run left."""
    if status == -signal.SIGALRM:
        yield f"took more than {LONGEST} s"
    if mode == "kill" and status != -signal.SIGKILL:
        yield f"was not killed, but ended with {status}: {words}"
    if mode == "torn" and status not in (-signal.SIGXFSZ, 0):
        yield f"ended with {status}: {words}"
    if mode == "full":
        if status == 1 and (not re.search("No space left|make room", words) or "Traceback" in words):
            yield f"does not say what happened: {words}"
        if status not in (0, 1):
            yield f"ended with {status}: {words}"
    for name, content in now.items():
        if TEMPORARY.search(name):
            if mode == "full":
                yield f"left {name} behind"
        elif content not in (before.get(name), after.get(name)) and not re.fullmatch(STAGES[stage].passing, name):
            yield f"{name} is neither the old nor the new one"


def wrong_after(status, words, after, now):
    """Say how what the same command made of it differs from an undisturbed run."""
    if status:
        yield f"the same command then ended with {status}: {words}"
        return
    for name in sorted({*after, *now}):
        if after.get(name) != now.get(name):
            fault = "is missing" if name not in now else "is left over" if name not in after else "differs"
            yield f"after the same command {name} {fault}"


def warm():
    """Import what the stages that fork need, once."""
    import filelock  # noqa: F401
    import nbconvert  # noqa: F401
    import nbformat  # noqa: F401
    import pandas  # noqa: F401
    import psutil  # noqa: F401
    import tqdm  # noqa: F401
    import typer.main  # noqa: F401
    from PIL import Image

    Image.init()
    from cxr_utils.course import report  # noqa: F401
    from cxr_utils.sources import folder, phantom, unzip  # noqa: F401


def main(arguments):
    """``--child STAGE HOME MODE POINT WORDS POINTS``, ``--prepare STAGE HOME`` or ``STAGE BASE MODE few|all``.

    The mode ``disk`` is `fill_disk`.
    """
    sys.path.insert(0, str(Path(__file__).parent))
    if arguments[0] == "--child":
        stage, home, mode, point, words, points = arguments[1:]
        _child(stage, Path(home), mode, point, Path(words), Path(points))
    elif arguments[0] == "--prepare":
        os.environ["CXR_HOME"] = arguments[2]
        STAGES[arguments[1]].prepare(Path(arguments[2]))
    else:
        stage, base, mode, how = arguments
        if STAGES[stage].forks:
            warm()
        found = fill_disk(stage, base) if mode == "disk" else sweep(stage, base, mode, every=how == "all")
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
