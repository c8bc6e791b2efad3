"""The grid as a whole: `grid.cells` → Snakemake → one papermill run of ``workflow/cell.ipynb`` a cell → the tables."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cxr_utils import _machine, _ownership, _pages, files, ledger, sources
from cxr_utils.course import notebooks
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.replication import grid


class Rehearsal(grid.Cell):
    """A cell made small: at most 96 px and 8 epochs, a quarter of the filters. It tries the way, and says nothing."""

    @property
    def name(self) -> str:
        """The cell's name, marked, so that it is never taken for one of the grid."""
        return f"rehearsal_{super().name}"

    def get_recipe(self, index=None):
        """Return the small recipe: it is part of the identity and of the record, as any.

        Parameters
        ----------
        index : DataFrame, optional
            As for `grid.Cell.get_recipe`.

        Returns
        -------
        Recipe
        """
        recipe = super().get_recipe(index)
        stop = recipe.early_stopping and {k: v for k, v in recipe.early_stopping.items() if k != "start_from_epoch"}
        small = recipe.at(image_size=min(recipe.image_size, 96), width=recipe.width / 4)
        return small.but(epochs=min(recipe.epochs, 8), early_stopping=stop)


def cell(recipe: str, protocol: str, seed: int, *, rehearsal: bool = False) -> grid.Cell:
    """Return a cell of the grid, or its rehearsal.

    Parameters
    ----------
    recipe, protocol, seed
        As for `grid.Cell`.
    rehearsal : bool
        See `Rehearsal`.

    Returns
    -------
    Cell
    """
    return (Rehearsal if rehearsal else grid.Cell)(recipe, protocol, seed)


@dataclass
class Plan:
    """What is to be done, what is done, and where it lies.

    Attributes
    ----------
    cells : list of Cell
        All that were asked for.
    identity : dict of str to str
        Of each cell by name; empty while no images are there.
    records : dict of str to dict
        The results there are, by name of the cell, made from these images; of cells that were not asked for too.
    source, images : str
        The source's name, and what its images are (`grid.image_source`); empty while no images are there.
    data_dir, out, work : Path
        Absolute: the images, the results, and what lies between.
    rehearsal : bool
        Whether the cells are small.
    """

    cells: list[grid.Cell]
    source: str
    images: str
    data_dir: Path
    out: Path
    work: Path
    rehearsal: bool
    identity: dict[str, str] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def key(self, cell: grid.Cell) -> str:
        """Name a cell and what decides its result: its run folder, stamp, log and notebook are called so.

        Parameters
        ----------
        cell : Cell
            One of those whose identity is known.

        Returns
        -------
        str
        """
        return f"{cell.name}-{self.identity[cell.name]}"

    def done(self, cell: grid.Cell) -> bool:
        """Tell whether the cell's result is there; without images, whether one of its name is.

        Parameters
        ----------
        cell : Cell
            One of the plan.

        Returns
        -------
        bool
        """
        there = self.records.get(cell.name)
        return there is not None and there["identity"] == self.identity.get(cell.name, there["identity"])

    def begun(self, cell: grid.Cell) -> bool:
        """Tell whether there is something of a training.

        Parameters
        ----------
        cell : Cell
            One of the plan.

        Returns
        -------
        bool
        """
        return bool(self.identity) and (self.work / self.key(cell)).is_dir()


def plan(
    *, recipe: Sequence[str] = (), protocol: Sequence[str] = (), seeds: Sequence[int] | None = None,
    source: str | None = None, data_dir: str | Path = "data", out: str | Path | None = None,
    work: str | Path | None = None, rehearsal: bool = False, fetch: bool = False,
) -> Plan:  # fmt: skip
    """Say which cells there are, and which of them are done.

    Parameters
    ----------
    recipe, protocol, seeds
        As for `grid.cells`.
    source : str, optional
        One of `sources.names`. By default the real images that are in `data_dir`, "kaggle" or "folder"; for a
        rehearsal "sample".
    data_dir, out, work : str or Path
        Folders, relative to the project's root: images; results, by default ``runs/replication``, and
        ``runs/rehearsal`` for a rehearsal; everything else, by default `out`/work.
    rehearsal : bool
        Small cells: see `Rehearsal`.
    fetch : bool
        Get images that are not there yet. Otherwise the cells are only named then.

    Returns
    -------
    Plan

    Raises
    ------
    BadInput
        A name is unknown; no images are there and `fetch` can't choose; `out` holds results of other images; or
        `out` or `work` is no folder of ours, see `ownership.check_folder`.
    """
    chosen = [cell(c.recipe, c.protocol, c.seed, rehearsal=rehearsal) for c in
              grid.cells(recipe=recipe, protocol=protocol, seeds=seeds)]  # fmt: skip
    out = files.resolve(out or ("runs/rehearsal" if rehearsal else "runs/replication"))
    data_dir = files.resolve(data_dir)
    source = source or ("sample" if rehearsal else _fetched(data_dir, needed=fetch))
    # Among what git tracks, only results are written.
    inside = (files.root() / "runs" / out.name if _ownership.tracked(out) else out) / "work"
    found = Plan(chosen, source, "", data_dir, out, files.resolve(work) if work else inside, rehearsal)
    _ownership.check_place(data_dir, "data_dir")
    _ownership.check_folder(out, "out", marked=_is_out, allowed=("results",))
    _ownership.check_folder(found.work, "work", marked=_is_work)
    found.records = grid.results(out)
    index = _index(source, data_dir, fetch=fetch)
    if index is None:
        return found
    found.images = grid.image_source(source, index)
    for name, record in found.records.items():
        if record["image_source"] != found.images:
            other = f"made from other images ({record['image_source']}) than those asked for ({found.images})"
            raise BadInput(f"{out / 'runs' / name}.json: {other}; choose another --out, or that --source")
    splits: dict[str, Any] = {}  # many cells share one
    for one in chosen:
        way = f"{one.get_recipe().split} {one.seed}" if one.protocol == "published" else one.protocol
        if way not in splits:
            splits[way] = one.split(index)
        found.identity[one.name] = one.identity(splits[way], index)
    return found


#: What the plan for Snakemake has, by which the folder of the work is known.
PLAN = ("root", "notebook", "work", "cells")


def _is_work(folder: Path) -> bool:
    return files.has_keys(*PLAN)(folder / "plan.json") or any(map(_ownership.is_run, _ownership.entries(folder)))


def _is_out(folder: Path) -> bool:
    """Tell whether a folder has results of ours: the ledger, a cell, or the work towards the first one."""
    cells = map(files.has_keys(*grid.KEYS), folder.glob("runs/*.json"))
    return files.has_columns(*ledger.COLUMNS)(folder / "test_reads.csv") or any(cells) or _is_work(folder / "work")


def _fetched(data_dir: Path, *, needed: bool) -> str:
    """Return which real images are there; an empty text if none are and that is no harm."""
    there = [name for name in sources.names("originals", "given") if (data_dir / name / "source.json").is_file()]
    if len(there) > 1:
        raise BadInput(f"source: both {' and '.join(there)} are in {data_dir}; choose with --source")
    if not there and needed:
        way_out = "run `cxr fetch --source kaggle` (or folder), or try the way on phantoms with --rehearse"
        raise BadInput(f"source: no real images are in {data_dir} yet; {way_out}")
    return there[0] if there else ""


def _index(source: str, data_dir: Path, *, fetch: bool):
    """Return the index of the images, or None if they are not there."""
    from cxr_utils import dataset

    if source:
        sources.get(source)
    if not fetch and not (source and (data_dir / source / "source.json").is_file()):
        return None
    return dataset.scan(sources.fetch(source, data_dir=data_dir, progress=sys.stderr.isatty()))


def parse_seeds(text: str) -> list[int]:
    """Read seeds with commas between them.

    Parameters
    ----------
    text : str
        As on the command line.

    Returns
    -------
    list of int

    Raises
    ------
    BadInput
        Something else is there, or a seed twice.

    Examples
    --------
    >>> parse_seeds("0,1,2")
    [0, 1, 2]
    """
    words = [word.strip() for word in text.split(",")]
    good = all(word.isdecimal() and len(word) < 12 and int(word) <= files.MOST_SEED for word in words)
    if not good or len(set(map(int, words))) < len(words):
        raise BadInput(f"seeds {text!r}: give whole numbers from 0 to {files.MOST_SEED}, each once, such as 0,1,2")
    return [int(word) for word in words]


def listing(found: Plan) -> str:
    """Write what `plan` found: a line a cell, and the sum.

    Parameters
    ----------
    found : Plan
        From `plan`.

    Returns
    -------
    str
    """
    said = {one.name: "done" if found.done(one) else "begun" if found.begun(one) else "to come" for one in found.cells}
    return _pages.fill(Path(__file__).with_name("plan.txt.j2"), found=found, states=said).rstrip()


def workflow_folder() -> Path:
    """Find the folder ``workflow``: the project's, else that of this checkout.

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        There is none; an installed package does not bring it along.
    """
    found = files.project("workflow/Snakefile")
    if found is None:
        raise BadInput(f"{files.root()}: holds no workflow/Snakefile; run this inside a clone of the course")
    return found.parent


def _profile(name: str, where: Path) -> Path:
    """Find a profile by its name, or by its folder."""
    known = sorted(path.parent.name for path in where.glob("profiles/*/config.yaml"))
    folder = where / "profiles" / name if name in known else files.resolve(name)
    if not any((folder / config).is_file() for config in ("config.yaml", "config.v8+.yaml", "config.v9+.yaml")):
        raise BadInput(f"profile {name!r}: choose {' or '.join(known)}, or a folder with Snakemake's config.yaml")
    return folder


def run(found: Plan, *, cores: int | None = None, profile: str = "local") -> dict[str, str]:
    """Do all cells of a plan that are not done; those that fail stop only themselves.

    After a kill at any moment the same call goes on: a finished cell is not touched, a training resumes after its
    last whole epoch, and an evaluation enters the ledger once.

    Parameters
    ----------
    found : Plan
        From `plan`; its ``records`` are renewed.
    cores : int, optional
        CPU cores in all; a cell takes four, or what there is. By default those of this machine, and without limit
        where the profile sends cells to others.
    profile : str
        "local", "slurm", or a folder with a profile for Snakemake.

    Returns
    -------
    dict of str to str
        The cells that failed, by name, with what is known of why and the way to the notebook.

    Raises
    ------
    BadInput
        Another process works in the same folder, or the profile is unknown.
    CxrError
        Snakemake is missing, or did not start.
    """
    where = workflow_folder()
    settings = _profile(profile, where)
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.lock(found.work, wait=0))
        found.records = grid.results(found.out)  # another call may have ended just now
        todo = {found.key(cell): cell for cell in found.cells if not found.done(cell)}
        if not todo:
            return {}
        here = []
        if settings == where / "profiles" / "local":
            cores = cores or _machine.cores()
            here = ["--resources", f"mem_mb={_machine.memory()[0] // 2**20}"]
        for key in todo:
            for old in (found.work / "stamps" / key, _marker(found.work, key)):
                old.unlink(missing_ok=True)
        plan_file = found.work / "plan.json"
        places = {"data_dir": str(found.data_dir), "out": str(found.out), "work": str(found.work)}
        all_have = {"rehearsal": found.rehearsal, "source": found.source} | places
        given = {key: asdict(cell) | all_have for key, cell in todo.items()}
        where_all = {"root": str(files.root()), "notebook": str(where / "cell.ipynb"), "work": str(found.work)}
        files.write_json(plan_file, where_all | {"cells": given}, ours=PLAN)
        command = [
            sys.executable, "-m", "cxr_utils.replication.replicate", "--snakemake",
            "--snakefile", str(where / "Snakefile"), "--directory", str(found.work), "--profile", str(settings),
            "--config", f"plan={plan_file}", "--keep-going", "--nolock", "--rerun-incomplete",
            "--rerun-triggers", "params", "--scheduler", "greedy", *(["--cores", str(cores)] if cores else []),
            *here,
        ]  # fmt: skip
        log = found.work / "snakemake.log"
        status = stack.enter_context(_started(command, log))
        said = ""
        while status.poll() is None:
            if (now := _progress(found, todo)) != said:
                print(said := now, file=sys.stderr, flush=True)
            with contextlib.suppress(subprocess.TimeoutExpired):
                status.wait(1)
    found.records = grid.results(found.out)
    failed = {cell.name: _why(found.work, key) for key, cell in todo.items() if not found.done(cell)}
    if failed and not any(_marker(found.work, key).is_file() for key in todo):
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
        raise CxrError(f"Snakemake ended with status {status.returncode} before any cell began ({said[-1]}); see {log}")
    return failed


@contextlib.contextmanager
def _started(command: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """Start Snakemake beside this process; it ends when this process does, however that happens."""
    import importlib.util

    if importlib.util.find_spec("snakemake") is None:
        raise CxrError("snakemake is not installed; run `pip install -r requirements-dev.txt` in this environment")
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: Ctrl-C in a terminal comes to this process alone, which passes it on once.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    except BaseException:
        with contextlib.suppress(ValueError):
            process.send_signal(signal.SIGINT)  # cells on a cluster are cancelled
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        raise
    finally:
        process.stdin.close()
        process.wait()


def _snakemake(arguments: list[str]) -> int:
    """Be Snakemake, until the process that started this one is gone: then end with everything below."""

    def ends_with_the_other() -> None:
        import psutil

        while os.read(0, 1024):
            pass
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(137)

    from snakemake.cli import main

    threading.Thread(target=ends_with_the_other, daemon=True).start()
    main(arguments)
    return 0


def _marker(work: Path, key: str) -> Path:
    return work / "jobs" / f"{key}.json"


def _notebook(work: Path, key: str) -> Path:
    return work / "notebooks" / f"{key}.ipynb"


def run_cell(plan_file: str | Path, key: str, *, threads: int) -> None:
    """Execute ``workflow/cell.ipynb`` for one cell: what a job of the Snakefile does.

    The executed notebook is kept as ``WORK/notebooks/<cell>-<identity>.ipynb``, up to the failing cell if one fails.

    Parameters
    ----------
    plan_file : str or Path
        What `run` wrote.
    key : str
        Name and identity of the cell.
    threads : int
        How many CPU cores it may use.

    Raises
    ------
    CxrError
        A cell of the notebook failed.
    """
    given = files.read_record(plan_file, *PLAN)
    work = Path(given["work"])
    # Each library sizes its own pool by the machine; side by side they would fight over the cores.
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                 "OPENCV_FOR_THREADS_NUM"):  # fmt: skip
        os.environ[name] = str(threads)
    # Several cells may share a GPU: none shall take all of its memory at the start.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["CXR_HOME"] = given["root"]
    files.write_json(_marker(work, key), {"state": "running"}, ours=("state",))
    try:
        notebook = notebooks.load(Path(given["notebook"]))
        notebooks.execute(notebook, _notebook(work, key), given=given["cells"][key], cwd=work)
    except Exception as error:
        files.write_json(_marker(work, key), {"state": "failed", "why": str(error)}, ours=("state",))
        raise
    files.write_json(_marker(work, key), {"state": "done"}, ours=("state",))


def _state(work: Path, key: str) -> dict[str, str]:
    path = _marker(work, key)
    return files.read_record(path, state=str) if path.is_file() else {"state": "to come"}


def _why(work: Path, key: str) -> str:
    """Say why a cell is not done, and where to look."""
    found = _state(work, key)
    reasons = {
        "to come": "not begun",
        "running": f"its process was ended (by a time limit?); {_machine.why_ended()}",
        "done": "its result is not there",
    }
    why = re.sub(r"\s+", " ", found.get("why") or reasons[found["state"]])
    places = [p for p in (_notebook(work, key), work / "logs" / f"{key}.log") if p.is_file() and str(p) not in why]
    return f"{why}; see {' and '.join(map(str, places))}" if places else why


def _progress(found: Plan, todo: dict[str, grid.Cell]) -> str:
    """Say how many cells are done and failed, and which ones are running."""
    states = {cell.name: _state(found.work, key)["state"] for key, cell in todo.items()}
    count = Counter(states.values())
    line = f"{len(found.cells) - len(todo) + count['done']} of {len(found.cells)} cells done"
    line += f", {count['failed']} failed" if count["failed"] else ""
    running = ", ".join(name for name, state in states.items() if state == "running")
    return f"{line}; running {running}" if running else line


def write_tables(found: Plan) -> list[Path]:
    """Write the tables of `claims.write` beside the results, and judge what has all five folds by `score.folds`.

    Of phantoms and rehearsals there are none.

    Parameters
    ----------
    found : Plan
        From `plan`.

    Returns
    -------
    list of Path
        What was written.
    """
    if found.rehearsal or found.source == "sample" or not found.records:
        return []
    import pandas as pd

    from cxr_utils import evaluation, splits
    from cxr_utils.replication import claims, score

    made, known = [], found.records
    for recipe, seed in dict.fromkeys((cell.recipe, cell.seed) for cell in found.cells):
        names = [grid.Cell(recipe, fold, seed).name for fold in splits.FOLDS]
        if not known.keys() >= {*names}:
            continue
        out = found.out / "scores" / f"{recipe}-folds-s{seed}.json"
        answers = pd.concat([
            evaluation.read_predictions(found.out / "runs" / f"{name}.predictions.csv.gz")
            .query("split == 'test'").assign(threshold=known[name]["metrics"]["threshold"])
            for name in names
        ])  # fmt: skip
        joined = out.with_suffix(".predictions.csv.gz")
        files.write_csv(joined, answers[["path", "probability", "threshold"]], ours=("path", "probability"))
        score.folds(joined, out=out)
        made.append(out)
    others = any(record["protocol"] not in splits.FOLDS for record in known.values())
    return made + (claims.write(found.out) if others else [])


def _main(arguments: list[str]) -> int:
    if arguments[0] == "--snakemake":
        return _snakemake(arguments[1:])
    plan_file, key, threads = arguments
    try:
        run_cell(plan_file, key, threads=int(threads))
    except CxrError as error:
        print(f"cxr: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
