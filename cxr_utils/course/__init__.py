"""The course as a whole: its profiles, the box beside the real images, and the batch run by papermill."""

from __future__ import annotations

import ast
import contextlib
import difflib
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
from cxr_utils.errors import BadInput, one_of


@dataclass(frozen=True)
class Profile:
    """How big a run is.

    Parameters
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
        rows = [[name, _shown(value)] for name, value in here.items()]
        return Markdown(_pages.table(["", f"here ({source})"], rows))
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
    """Return a record of `results`, such as ``reference.json``."""
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
#: What the record of a notebook's figures has.
FACTS = ("source", "facts")


@dataclass(frozen=True)
class CourseRun:
    """What a batch run left behind.

    Parameters
    ----------
    folder : Path
        The run folder.
    executed, skipped : tuple of str
        Names of the notebooks that this call executed, and that an earlier call had finished.
    report : Path
        One HTML page of all executed notebooks in `folder`.
    seconds : float
        Wall time of this call.
    synthetic : bool
        The images were phantoms.
    """

    folder: Path
    executed: tuple[str, ...]
    skipped: tuple[str, ...]
    report: Path
    seconds: float
    synthetic: bool


def run(
    names: Sequence[str] = (), *, profile: str = "sample", source: str | None = None, data_dir: str | Path = "data",
    run_dir: str | Path | None = None, seed: int = 0, core: bool = False, parameters: Mapping[str, Any] | None = None,
    fresh: bool = False, progress: bool = True, notebooks_dir: str | Path | None = None,
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
    fresh : bool
        First remove what earlier calls left in the run folder, see `clear`.
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
    CxrError
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
    plans = _plan(notebooks.select(names, where), common, dict(parameters or {}), core=core)
    folder = files.resolve(run_dir)
    _ownership.check_place(files.resolve(data_dir), "data_dir")
    _ownership.check_folder(folder, "run_dir", marked=is_ours)
    with files.lock(folder, wait=0):
        state = read_state(folder)
        done = {p.name for p in plans if state.get(p.name, {}).get("digest") == p.digest}
        todo = [p for p in plans if fresh or p.name not in done or not p.output(folder).is_file()]
        # Now, not after an hour.
        for place in (folder / "notebooks", folder / "facts"):
            _ownership.check_place(place, "run_dir")  # it may be a link
        files.check_ours(folder / "report.html", report.is_ours)
        for plan in todo:
            files.check_ours(plan.output(folder), lambda path: _wrote(path, state))
            files.check_ours(folder / "facts" / f"{plan.name}.json", files.has_keys(*FACTS))
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
            for number, plan in enumerate(todo, start=1):
                bar.set_description_str(f"{plan.name} ({number} of {len(todo)})")
                _execute(plan, folder, state, cwd=where, core=core, on_cell=bar.update)
                if progress and not terminal:
                    print(bar, file=sys.stderr, flush=True)
        synthetic = sources.synthetic(source, data_dir)
        page = report.write(folder, synthetic=synthetic, glossary=where / "glossary.md")
    executed = tuple(plan.name for plan in todo)
    skipped = tuple(plan.name for plan in plans if plan not in todo)
    return CourseRun(folder, executed, skipped, page, time.perf_counter() - started, synthetic)


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
        if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
            raise BadInput(f"{path}: {name!r} in it is not as cxr run writes it; choose another run folder")
    return state


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

    def record(**more: Any) -> None:
        state[plan.name] = {"digest": digest, "parameters": plan.given, "core": core, **more}
        files.write_json(folder / "course.json", state, ours=True)

    record()
    try:
        notebooks.execute(plan.notebook, output, given=plan.given, cwd=cwd, on_cell=on_cell)
        digest = plan.digest
    finally:
        record(seconds=round(time.perf_counter() - begun, 1), sha256=files.sha256(output) or None)


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


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """Read parameters given as ``name=value``; a value is a Python literal, else text.

    Parameters
    ----------
    assignments : sequence of str
        As on the command line.

    Returns
    -------
    dict of str to object
        Value by name.

    Raises
    ------
    BadInput
        An assignment has no name or no ``=``.

    Examples
    --------
    >>> parse(["epochs=3", "how=pad"])
    {'epochs': 3, 'how': 'pad'}
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip().isidentifier():
            raise BadInput(f"parameter {assignment!r} is not of the form name=value")
        values[name.strip()] = text
        with contextlib.suppress(SyntaxError, ValueError):
            values[name.strip()] = ast.literal_eval(text)
    return values


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


def _plan(paths: list[Path], common: dict[str, Any], extra: dict[str, Any], *, core: bool) -> list[_Plan]:
    """Give each notebook its parameters, and refuse those that none of them knows."""
    known = {path: notebooks.parameters(path) for path in paths}
    offered = sorted({name for names in known.values() for name in names} - set(common))
    for name in extra:
        if name in common:
            raise BadInput(f"parameter {name!r} has an option of its own: --{name.replace('_', '-')}")
        if name not in offered:
            close = difflib.get_close_matches(name, offered, 1)
            maybe = f" (did you mean {close[0]!r}?)" if close else ""
            raise BadInput(f"parameter {name!r} is unknown{maybe}; known here are {', '.join(offered) or 'none'}")
    plans = []
    for path in paths:
        notebook = notebooks.load(path, core=core)
        given = {name: value for name, value in {**common, **extra}.items() if name in known[path]}
        cells = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
        cells += bool(given)  # papermill adds the cell that sets them
        plans.append(_Plan(path.stem, notebook, given, notebooks.digest(notebook, given), cells))
    return plans


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
