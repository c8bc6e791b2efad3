"""The course as a whole: its profiles, the box beside the real images, and the batch run by papermill."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxr_utils import _ownership, _pages, files
from cxr_utils.course import notebooks
from cxr_utils.course import parameters as given
from cxr_utils.errors import BadInput, CxrError, one_of


@dataclass(frozen=True)
class Profile:
    """How big a run is.

    Attributes
    ----------
    name : str
        ``sample``, ``workshop`` or ``full``.
    image_size : int or None
        Width and height of the images in pixels; None is the size that the recipe states.
    width : float
        Factor on the number of filters of each layer, above 0; 1 is the recipe's own.
    epochs : int or None
        Largest number of epochs of a single training; None is the recipe's own.
    heavy_width : float
        The same factor for `smote_224`, the network that takes longest by far.
    comparison_images : int or None
        Training images that each side of a comparison sees; None is all.
    comparison_size : int
        Width and height of the images in comparisons, in pixels.
    comparison_epochs : int
        Epochs of each side of a comparison.
    comparison_seeds : tuple of int
        One training a seed, so that a comparison shows its spread.
    """

    name: str
    image_size: int | None
    width: float
    epochs: int | None
    heavy_width: float
    comparison_images: int | None
    comparison_size: int
    comparison_epochs: int
    comparison_seeds: tuple[int, ...]


PROFILES = {
    "sample": Profile("sample", 64, 1.0, 8, 0.25, None, 48, 4, (0, 1, 2)),
    "workshop": Profile("workshop", 96, 1.0, 6, 0.5, 600, 96, 4, (0, 1, 2)),
    "full": Profile("full", None, 1.0, None, 1.0, 2000, 96, 8, (0, 1, 2)),
}


def profile(name: str) -> Profile:
    """Return the profile called `name`.

    Parameters
    ----------
    name : str
        One of `PROFILES`.

    Returns
    -------
    Profile

    Raises
    ------
    BadInput
        There is no such profile.

    Examples
    --------
    >>> profile("sample").image_size
    64
    """
    one_of("profile", name, PROFILES)
    return PROFILES[name]


def beside_real(notebook: str, facts: Mapping[str, Any], *, run_dir: str | Path, source: str) -> Any:
    """Keep the figures of a notebook, and show them beside those of the real images.

    Parameters
    ----------
    notebook : str
        The notebook's name without folder and suffix, such as ``02_explore``.
    facts : mapping of str to number or str
        Plain-language name of each figure, and the figure.
    run_dir : str or Path
        ``<run_dir>/facts/<notebook>.json`` is written.
    source : str
        Where the images come from; ``sample`` is marked synthetic.

    Returns
    -------
    IPython.display.Markdown
        A table. For the sample it has a second column, read from ``results/course/<notebook>.json``
        (``facts``, ``images``, ``command``), where the project holds that file.
    """
    from IPython.display import Markdown

    here = {name: _plain(value) for name, value in facts.items()}
    path = files.resolve(run_dir) / "facts" / f"{notebook}.json"
    files.write_json(path, {"source": source, "facts": here}, ours=FACTS)
    if source != "sample":
        return Markdown(_pages.table(["", f"here ({source})"], [[name, _shown(value)] for name, value in here.items()]))
    record = files.project(f"results/course/{notebook}.json")
    real = files.read_record(record, facts=dict) if record else {}
    there = real.get("facts", {})
    columns = 3 if there.keys() & here.keys() else 2  # no column of dashes
    rows = [[name, _shown(value), _shown(there.get(name))][:columns] for name, value in here.items()]
    table = _pages.table(["", "here (synthetic phantoms)", "on the real images"][:columns], rows)
    if columns == 2:
        return Markdown(f"{table}\n\nRun this lesson on the real images to see the same figures of them.")
    note = f"Real images: {real.get('images', 'not stated')}, by `{real.get('command', 'not stated')}`."
    return Markdown(f"{table}\n\n{note}")


def results() -> Path:
    """Return the folder of what is kept of the runs on the real images.

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        The project has none, as where the package was installed without a checkout.
    """
    found = files.project("results")
    if found is None:
        raise BadInput(f"{files.root() / 'results'}: no such folder; the results of the runs come with a checkout")
    return found


def kept(name: str) -> dict[str, Any]:
    """Return a record of `results`.

    Parameters
    ----------
    name : str
        Of its file, such as ``reference.json``.

    Returns
    -------
    dict
    """
    return files.read_record(results() / name)


def _plain(value: Any) -> Any:
    """Turn a NumPy number into Python's own; NaN and <NA> into None."""
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) else value


def _shown(value: Any) -> str:
    """Write a figure for a reader: thousands apart, three places behind the point."""
    if value is None:
        return "–"
    if isinstance(value, bool) or isinstance(value, str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


_BAR = "{desc:<22}{percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt} cells, {elapsed} passed, {remaining} left"
#: What may come of a notebook; the last are those of a call that executes none.
EXECUTED, FINISHED, FAILED, NOT_RUN, TO_RUN = STATUS = "executed", "finished earlier", "failed", "not run", "would run"
#: What the record of a notebook's figures has.
FACTS = ("source", "facts")


@dataclass(frozen=True)
class CourseRun:
    """What a batch run left behind.

    Attributes
    ----------
    folder : Path
        The run folder.
    notebooks : list of dict
        Of each ``name``, ``status`` (see `STATUS`), ``parameters``, ``seconds`` (of its last execution), ``notebook``
        (where it lies, executed), ``results`` (the files of figures that it wrote) and ``error``; None is unknown.
    report : Path, optional
        One HTML page of all executed notebooks in `folder`.
    seconds : float
        Wall time of this call.
    synthetic : bool, optional
        The images were phantoms.
    """

    folder: Path
    notebooks: list[dict[str, Any]]
    report: Path | None = None
    seconds: float = 0.0
    synthetic: bool | None = None

    def named(self, status: str) -> tuple[str, ...]:
        """Name the notebooks with a status.

        Parameters
        ----------
        status : str
            One of `STATUS`.

        Returns
        -------
        tuple of str
        """
        return tuple(one["name"] for one in self.notebooks if one["status"] == status)

    executed = property(lambda self: self.named(EXECUTED))
    skipped = property(lambda self: self.named(FINISHED))


class NotebooksFailed(CxrError):
    """Notebooks failed; `run` says what came of each.

    Parameters
    ----------
    message : str
        One line.
    run : CourseRun
        What was left behind.
    """

    def __init__(self, message: str, run: CourseRun) -> None:
        super().__init__(message)
        self.run = run


def run(
    names: Sequence[str] = (), *, profile: str = "sample", source: str | None = None, data_dir: str | Path = "data",
    run_dir: str | Path | None = None, seed: int = 0, core: bool = False, parameters: Mapping[str, Any] | None = None,
    parameter_file: str | Path | None = None, fresh: bool = False, dry_run: bool = False, keep_going: bool = False,
    code: bool = True, progress: bool = True, notebooks_dir: str | Path | None = None,
) -> CourseRun:  # fmt: skip
    """Execute notebooks in order by papermill, and gather them in one report.

    A notebook that an earlier call finished with the same content and parameters is skipped, so a
    call after an error or after Ctrl-C goes on where the last one stopped.

    Parameters
    ----------
    names : sequence of str
        The notebooks by name or number, such as ``04_train``, ``04`` or ``4``; empty is all.
    profile : {"sample", "workshop", "full"}
        How big the run is.
    source : str, optional
        One of ``sources.names()``; may be left out for the profile ``sample`` only.
    data_dir, run_dir : str or Path
        Folders, relative to ``files.root()``. The run folder is by default ``runs/sample`` for the
        sample and ``runs/<source>-<profile>`` otherwise.
    seed : int
        Start of every random choice.
    core : bool
        Leave out the cells tagged ``further``.
    parameters : mapping, optional
        Further parameters of notebooks; each goes to the notebooks that have it.
    parameter_file : str or Path, optional
        A YAML file of such, see `cxr_utils.course.parameters`; `parameters` go before it.
    fresh : bool
        First remove what earlier calls left in the run folder, see `clear`.
    dry_run : bool
        Write nothing, and execute nothing: say what would be executed (`TO_RUN`).
    keep_going : bool
        Execute the other notebooks where one fails: each can do without those before it.
    code : bool
        Show the code in the report.
    progress : bool
        Show a bar on standard error, over the cells of all notebooks.
    notebooks_dir : str or Path, optional
        Where the notebooks are; by default ``notebooks`` of the project.

    Returns
    -------
    CourseRun

    Raises
    ------
    BadInput
        A notebook, profile, source or parameter is unknown, or another process works in `run_dir`. Or that folder
        is not ours (`ownership.check_folder`), or a notebook in it was not written by an earlier call.
    NotebooksFailed
        A cell failed, or the kernel died; the message says where the notebook is kept.
    """
    from tqdm import tqdm

    from cxr_utils import sources
    from cxr_utils.course import report

    started = time.perf_counter()
    source = _source(source, profile)
    where = notebooks.folder(notebooks_dir)
    run_dir = run_dir or default_run_dir(source, profile)
    common = {"source": source, "data_dir": str(data_dir), "run_dir": str(run_dir), "profile": profile, "seed": seed}
    paths, folder = notebooks.select(names, where), files.resolve(run_dir)
    wanted = given.of_each(paths, common, parameters or {}, file=parameter_file, where=where)
    plans = [_plan(path, wanted[path], core=core) for path in paths]
    _ownership.check_place(files.resolve(data_dir), "data_dir")
    _ownership.check_folder(folder, "run_dir", marked=is_ours)
    with contextlib.nullcontext() if dry_run else files.lock(folder, wait=0):
        state = read_state(folder)
        done = {p.name for p in plans if state.get(p.name, {}).get("digest") == p.digest}
        todo = [p for p in plans if fresh or p.name not in done or not p.output(folder).is_file()]
        status = {p.name: (TO_RUN if dry_run else NOT_RUN) if p in todo else FINISHED for p in plans}
        # Now, not after an hour.
        for place in (folder / "notebooks", folder / "facts"):
            _ownership.check_place(place, "run_dir")  # it may be a link
        files.check_ours(folder / "report.html", report.is_ours)
        for plan in todo:
            files.check_ours(plan.output(folder), lambda path: _wrote(path, state))
            files.check_ours(folder / "facts" / f"{plan.name}.json", files.has_keys(*FACTS))
        if dry_run:
            return CourseRun(folder, [_told(plan, folder, state, status) for plan in plans])
        if fresh:
            left = clear(folder)
            state = {}
            if left:
                warnings.warn(
                    f"{folder}: {len(left)} files that cxr did not make, or that were changed since, stay; "
                    f"first {left[0].relative_to(folder)}", stacklevel=2,
                )  # fmt: skip
        if todo and source != "sample":
            sources.fetch(source, data_dir=data_dir, seed=seed, progress=progress)
        # Without a terminal the bar is a line as each notebook ends.
        terminal = sys.stderr.isatty()
        style = {"unit": "cell", "bar_format": _BAR, "disable": not progress}
        with tqdm(total=sum(p.cells for p in todo), file=None if terminal else io.StringIO(), **style) as bar:
            errors: dict[str, CxrError] = {}
            for number, plan in enumerate(todo, start=1):
                bar.set_description_str(f"{plan.name} ({number} of {len(todo)})")
                try:
                    _execute(plan, folder, state, cwd=where, core=core, on_cell=bar.update)
                    status[plan.name] = EXECUTED
                except CxrError as error:
                    status[plan.name], errors[plan.name] = FAILED, error
                    if not keep_going:
                        break
                if progress and not terminal:
                    print(bar, file=sys.stderr, flush=True)
        synthetic = sources.synthetic(source, data_dir)
        page = report.write(folder, synthetic=synthetic, glossary=where / "glossary.md", code=code)
        told = [_told(plan, folder, state, status, errors.get(plan.name)) for plan in plans]
    result = CourseRun(folder, told, page, time.perf_counter() - started, synthetic)
    if errors:
        raise NotebooksFailed("; ".join(map(str, errors.values())), result)
    return result


def _told(
    plan: _Plan, folder: Path, state: Mapping[str, Any], status: Mapping[str, str], error: object = None
) -> dict[str, Any]:
    """Tell what came of a notebook."""
    entry = state.get(plan.name, {}) if status[plan.name] not in (NOT_RUN, TO_RUN) else {}
    return {
        "name": plan.name, "status": status[plan.name], "parameters": plan.given, "seconds": entry.get("seconds"),
        "notebook": str(plan.output(folder)) if entry else None,
        "results": [str(folder / name) for name in entry.get("results", ())],
        "error": None if error is None else str(error),
    }  # fmt: skip


def default_run_dir(source: str, profile: str) -> str:
    """Name the run folder of a source and a profile.

    Parameters
    ----------
    source, profile : str
        Their names.

    Returns
    -------
    str
        Relative to the project's root.

    Examples
    --------
    >>> default_run_dir("sample", "sample"), default_run_dir("folder", "workshop")
    ('runs/sample', 'runs/folder-workshop')
    """
    return "runs/sample" if (source, profile) == ("sample", "sample") else f"runs/{source}-{profile}"


def read_state(folder: Path) -> dict[str, dict[str, Any]]:
    """Read ``course.json``: of each notebook that `run` wrote, or began to, its parameters and its SHA-256.

    Parameters
    ----------
    folder : Path
        A run folder.

    Returns
    -------
    dict
        Name to ``digest`` (of what was executed; empty if it did not end), ``parameters`` and, unless it was ended
        in the middle, ``sha256``. Empty where there is no such file.

    Raises
    ------
    BadInput
        The file is not as `run` writes it.

    Examples
    --------
    >>> read_state(Path("gone"))
    {}
    """
    path = folder / "course.json"
    if not os.path.lexists(path):
        return {}
    state = files.read_record(path)
    for name, entry in state.items():
        if not isinstance(entry, dict) or not (isinstance(entry.get("digest"), str) and _named(entry)):
            raise BadInput(f"{path}: {name!r} in it is not as cxr run writes it; choose another run folder")
    return state


def _named(entry: Mapping[str, Any]) -> bool:
    results = entry.get("results", [])
    return isinstance(results, list) and all(isinstance(name, str) for name in results)


def is_ours(folder: Path) -> bool:
    """Tell whether a run folder carries a record of `run`, of a notebook, or of a training.

    Parameters
    ----------
    folder : Path
        Any folder; it need not be there.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_ours(Path("gone"))
    False
    """
    with contextlib.suppress(BadInput):
        if read_state(folder):
            return True
    facts = map(files.has_keys(*FACTS), folder.glob("facts/*.json"))
    return any(facts) or any(map(_ownership.is_run, _trainings(folder)))


def _trainings(folder: Path) -> list[Path]:
    """Name the folders in which the notebooks leave trainings."""
    places = (folder, folder / "trials", folder / "mistakes")
    return [path for place in places for path in _ownership.entries(place) if path.is_dir()]


def _wrote(path: Path, state: Mapping[str, Any]) -> bool:
    """Tell whether a notebook is as `run` left it; what others wrote, or changed in it since, is theirs."""
    entry = state.get(path.stem)
    return entry is not None and entry.get("sha256") in (None, files.sha256(path))


def _execute(plan: _Plan, folder: Path, state: dict, *, cwd: Path, core: bool, on_cell: Callable[[], Any]) -> None:
    """Execute one notebook, and record it: before, as begun, and after, whatever came of it."""
    output, begun, digest = plan.output(folder), time.perf_counter(), ""
    earlier, kept = _figures(folder), state.get(plan.name, {}).get("results", ())

    def record(**more: Any) -> None:
        state[plan.name] = {"digest": digest, "parameters": plan.given, "core": core, **more}
        files.write_json(folder / "course.json", state, ours=True)

    record()
    try:
        notebooks.execute(plan.notebook, output, given=plan.given, cwd=cwd, on_cell=on_cell)
        digest = plan.digest
    finally:
        # A training that was finished before is not written again: what an earlier execution wrote, counts too.
        results = [name for name, at in _figures(folder).items() if name in kept or at != earlier.get(name)]
        record(seconds=round(time.perf_counter() - begun, 1), sha256=files.sha256(output) or None, results=results)


def _figures(folder: Path) -> dict[str, int]:
    """Find the files of figures that notebooks leave, and when each was written."""
    found = [*folder.glob("facts/*.json"), *(path / "metrics.json" for path in _trainings(folder))]
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in sorted(found) if path.is_file()}


def clear(folder: str | Path) -> list[Path]:
    """Remove from a run folder what the course made, and nothing else.

    That is, each known by the record that names it: executed notebooks as they were written, the report, figures of
    notebooks, and the files of trainings. Of trainings only those are looked for that the notebooks leave there.

    Parameters
    ----------
    folder : str or Path
        A run folder.

    Returns
    -------
    list of Path
        The files that stay, for they are not ours, or were changed.

    Examples
    --------
    >>> clear("gone")
    []
    """
    from cxr_utils import ledger
    from cxr_utils.course import lessons, report

    folder = Path(folder)
    state = read_state(folder)
    found = [path for path in (folder / "notebooks").glob("*.ipynb") if _wrote(path, state)]
    found += filter(files.has_keys(*FACTS), (folder / "facts").glob("*.json"))
    found += filter(report.is_ours, [folder / "report.html"])
    found += [path for training in _trainings(folder) for path in _ownership.of_run(training)]
    found += [folder / "course.json"] * bool(state)
    found += filter(files.has_keys(*lessons.SEALED), folder.glob("exam-s*/protocol.json"))  # of 06_evaluate
    found += filter(_ownership.RUN[ledger.NAME], folder.glob(f"exam-s*/{ledger.NAME}"))
    _ownership.remove(found, below=folder)
    return sorted(path for path in folder.rglob("*") if path.is_file() and not files.PASSING.fullmatch(path.name))


@dataclass(frozen=True)
class _Plan:
    """A notebook ready to be executed."""

    name: str
    notebook: Any
    given: dict[str, Any]
    digest: str
    cells: int

    def output(self, folder: Path) -> Path:
        return folder / "notebooks" / f"{self.name}.ipynb"


def _plan(path: Path, wanted: dict[str, Any], *, core: bool) -> _Plan:
    notebook = notebooks.load(path, core=core)
    cells = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    cells += bool(wanted)  # papermill adds the cell that sets them
    return _Plan(path.stem, notebook, wanted, notebooks.digest(notebook, wanted), cells)


def _source(source: str | None, profile_name: str) -> str:
    """Return the source that is meant, checked."""
    from cxr_utils import sources

    one_of("profile", profile_name, PROFILES)
    if source is not None:
        return sources.get(source).name
    if profile_name != "sample":
        known = map(sources.get, sources.names())
        real = ", ".join(one.name for one in known if one.holds != "phantoms" and not one.another)
        raise BadInput(f"profile {profile_name!r} is meant for real images; add --source with one of {real}")
    return "sample"
