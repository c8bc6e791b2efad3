"""Execute notebooks by papermill, always with the Python that runs this code."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_utils import __version__, _machine, files
from cxr_utils.errors import BadInput, CxrError


def folder(path: str | Path | None = None) -> Path:
    """Find the folder of the notebooks: `path`, else the project's, else that of this checkout.

    Parameters
    ----------
    path : str or Path, optional
        A folder of notebooks.

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        There is none; an installed package brings no notebooks along.
    """
    books = "[0-9][0-9]_*.ipynb"
    found = next(files.resolve(path).glob(books), None) if path else files.project(f"notebooks/{books}")
    if found is None:
        where = files.resolve(path) if path else files.root()
        raise BadInput(f"{where}: holds no notebooks; run this inside a clone of the course")
    return found.parent


def select(names: Sequence[str], where: Path) -> list[Path]:
    """Return the notebooks called `names` in `where`, in the order of the course.

    Parameters
    ----------
    names : sequence of str
        Number (``4``, ``04``), name (``04_train``) or file of each; empty is all.
    where : Path
        The folder of notebooks.

    Returns
    -------
    list of Path

    Raises
    ------
    BadInput
        A name fits no notebook.
    """
    known = {path.stem: path for path in sorted(where.glob("[0-9][0-9]_*.ipynb"))}
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        hits = [key for key in known if key == stem or (stem.isdigit() and int(key[:2]) == int(stem))]
        if not hits:
            raise BadInput(f"notebook {name!r} is unknown; choose from {', '.join(known)}")
        chosen.update(hits)
    return [path for key, path in known.items() if key in chosen or not names]


def load(path: Path, *, core: bool = False) -> Any:
    """Read a notebook; `core` drops the cells tagged ``further``.

    Parameters
    ----------
    path : Path
        The file.
    core : bool
        Leave out what the half-day workshop does not need.

    Returns
    -------
    nbformat.NotebookNode
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    if core:
        notebook.cells = [cell for cell in notebook.cells if "further" not in cell.metadata.get("tags", [])]
    return notebook


def parameters(path: Path) -> dict[str, Any]:
    """Return the parameters that a notebook declares in its ``parameters`` cell.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to object
        Its value there by name; None where that is no literal of Python.
    """
    import papermill

    with _machine.quiet("papermill"):
        found = papermill.inspect_notebook(str(path))
    return {name: literal(about["default"], None) for name, about in found.items()}


def literal(text: str, otherwise: Any) -> Any:
    """Read a literal of Python.

    Parameters
    ----------
    text : str
        Such as ``[1, 2]``.
    otherwise : object
        What to return for another text.

    Returns
    -------
    object

    Examples
    --------
    >>> literal("3", None), literal("pad", "pad")
    (3, 'pad')
    """
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return otherwise


def digest(notebook: Any, given: Mapping[str, Any]) -> str:
    """Return a short hash of what a notebook does: its cells, its parameters and this package's version.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        From `load`.
    given : mapping
        Its parameters.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return files.digest(json.dumps([cells, dict(given), __version__], sort_keys=True, default=str))


def execute(
    notebook: Any, output: Path, *, given: Mapping[str, Any], cwd: Path, on_cell: Callable[[], None] = lambda: None
) -> None:
    """Execute a notebook into `output`; it is kept there up to the failing cell if there is one.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        From `load`.
    output : Path
        The file of the executed notebook.
    given : mapping
        Parameters; all must be declared by the notebook.
    cwd : Path
        Working folder of the kernel.
    on_cell : callable
        Called after each executed cell.

    Raises
    ------
    CxrError
        A cell raised an error, or the kernel died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    executed = 0

    def count(**_: Any) -> None:
        nonlocal executed
        executed += 1
        on_cell()

    for attempt in (1, 2):
        try:
            with _machine.quiet("papermill"), _machine.environment(_kernel_environment()):
                papermill.execute_notebook(
                    notebook, str(output).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                    parameters=dict(given), kernel_name="python3", progress_bar=False, start_timeout=120, cwd=str(cwd),
                    kernel_manager_class=_kernel_manager(), on_cell_complete=count,
                )  # fmt: skip
            return
        except PapermillExecutionError as error:
            line = next((line for line in error.source.splitlines() if line.strip()), "")
            what = f"{error.ename}: {str(error.evalue).strip().splitlines()[0]}" if error.evalue else error.ename
            raise CxrError(
                f"{output.stem}: cell [{error.exec_count}] `{line}` failed with {what}; "
                f"the notebook is kept with all output in {output}"
            ) from None
        except RuntimeError as error:
            # A kernel that does not come up, once in many, does so at the second try.
            if executed or attempt == 2:
                raise CxrError(
                    f"{output.stem}: the kernel ended after {executed} cells ({error}); "
                    f"{_machine.why_ended()}; the notebook up to there is kept in {output}"
                ) from None


def _kernel_environment() -> dict[str, str]:
    """Return what lets the kernel see the same root as this process, and keeps third-party chatter out of outputs."""
    return {
        "CXR_HOME": str(files.root()),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "TQDM_DISABLE": "1",  # bars are for who watches a kernel; an executed notebook would keep them
    } | _machine.for_kernels()


def _kernel_manager() -> type:
    """Return a kernel manager that starts this very Python, whatever kernels the user has registered."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    # TensorFlow's C++ parts write past Python to the error stream; that is no output of a cell.
    spec = KernelSpec(**get_kernel_dict(extra_arguments=["--IPKernelApp.capture_fd_output=False"]))

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options: Any) -> None:
            # Its own log (a warning at each start that it talks over TCP, errors when it is stopped) would
            # tear the progress bars; what cells print goes to the notebook by another way.
            await super().start_kernel(**{**options, "stderr": subprocess.DEVNULL})

    return ThisPython
