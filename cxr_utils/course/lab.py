"""The learner's copies of the lessons: without outputs, in a folder of their own, where nothing is written over."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxr_utils import _machine, _ownership, files
from cxr_utils.course import lessons, notebooks, report
from cxr_utils.errors import BadInput

MARK = "lab.json"
_GLOSSARY = "glossary.md"


def write(folder: str | Path = "lab", *, reset: Sequence[str] = ()) -> list[str]:
    """Write the copies of all lessons and of the glossary; what a learner wrote stays as it is.

    A copy that nobody has touched is renewed when its lesson changed. One that a learner has written in or run stays,
    and the changed lesson comes beside it, once, as ``04_train-new.ipynb``.

    Parameters
    ----------
    folder : str or Path
        Made if missing; a relative one is taken from the project's root. In it `MARK` says what was written.
    reset : sequence of str
        Lessons (numbers or names) that are wanted afresh: what is there is kept as ``04_train-mine.ipynb``.

    Returns
    -------
    list of str
        What was done, a sentence each; empty if all was there already.

    Raises
    ------
    BadInput
        There are no notebooks here, a name fits none, or the folder holds what cxr did not make.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "lab"
    >>> write(folder)[-1]
    'glossary.md: written'
    >>> write(folder, reset=["04"])
    ['04_train.ipynb: a fresh copy; yours is 04_train-mine.ipynb now']
    """
    source, place = notebooks.folder(), files.resolve(folder)
    afresh = {path.name for path in notebooks.select(reset, source)} if reset else set()
    _ownership.check_folder(place, "in", marked=lambda there: files.has_keys("lessons")(there / MARK))
    said = []
    with files.lock(place):
        known = files.read_record(place / MARK, lessons=dict)["lessons"] if (place / MARK).is_file() else {}
        texts = {path.name: _lesson(path) for path in notebooks.select((), source)}
        if (source / _GLOSSARY).is_file():
            texts[_GLOSSARY] = report.anchored((source / _GLOSSARY).read_text(encoding="utf-8"))
        if not os.path.lexists(place / lessons.FILE):  # the learner's own from then on
            with files.atomic(place / lessons.FILE) as temporary:
                temporary.write_text(lessons.TEXT, encoding="utf-8")
            said.append(f"{lessons.FILE}: says which images the lessons use, and how big a run")
        for name, text in texts.items():
            said += _put(place / name, text, known, fresh=name in afresh)
            files.write_json(place / MARK, {"lessons": known}, ours=("lessons",))
    return said


def _put(path: Path, text: str, known: dict[str, str], *, fresh: bool) -> Iterable[str]:
    """Write one copy where that costs nothing that a learner has; `known` gets what was written."""
    wanted, there = files.digest(text), _written(path)
    beside = [digest for name, digest in known.items() if name.startswith(f"{path.stem}-new")]
    if there is not None and fresh:
        kept = _free(path, "mine")
        path.rename(kept)
        yield f"{path.name}: a fresh copy; yours is {kept.name} now"
    elif there == wanted or (there and known.get(path.name) == wanted) or (there is not None and wanted in beside):
        return  # nothing new in the lesson, or it lies beside the learner's already
    elif there is not None and (not there or there != known.get(path.name)):
        path = _free(path, "new")
        yield f"{path.name}: the lesson has changed; this is the new one, yours stays as it is"
    else:
        yield f"{path.name}: {'written' if there is None else 'renewed, as you had not touched it'}"
    with files.atomic(path, ours=True) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    known[path.name] = wanted


def _free(path: Path, word: str) -> Path:
    number = 1
    while os.path.lexists(free := path.with_stem(f"{path.stem}-{word}{f'-{number}' * (number > 1)}")):
        number += 1
    return free


def _written(path: Path) -> str | None:
    """Return the digest of what a copy holds, as a learner sees it; None if it is not there."""
    if not os.path.lexists(path):
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return files.digest(_bare(json.loads(text)) if path.suffix == ".ipynb" else text)
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # whatever it is, it is not ours


def _bare(notebook: dict[str, Any]) -> str:
    """Write a notebook without what JupyterLab adds when it saves; outputs and numbers of runs stay, if there are."""
    cells = []
    for cell in notebook["cells"]:
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        tags = {"tags": cell["metadata"].get("tags", [])}
        kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": tags}
        if cell["cell_type"] == "code":
            kept |= {"execution_count": cell["execution_count"], "outputs": cell["outputs"]}
        cells.append(kept | {"source": source.splitlines(keepends=True)})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _lesson(path: Path) -> str:
    """Take the outputs out of a lesson, and the links that lead out of the learner's folder."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    # Where this runs, the course is installed: nothing is to be set up.
    notebook["cells"] = [one for one in notebook["cells"] if "setup" not in one["metadata"].get("tags", [])]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"execution_count": None, "outputs": []}
        else:
            cell["source"] = re.sub(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (`\2`)", "".join(cell["source"]))
    return _bare(notebook)


def start(folder: str | Path = "lab", *, browser: bool = True, port: int | None = None) -> int:
    """Open JupyterLab in the learner's folder, and wait until it ends.

    It looks for no updates and no news, and its list of extensions can't be changed: nothing leaves the machine.

    Parameters
    ----------
    folder : str or Path
        From `write`.
    browser : bool
        Open a browser; else JupyterLab prints the address.
    port : int, optional
        By default JupyterLab's own, 8888 or the next that is free.

    Returns
    -------
    int
        JupyterLab's exit status.

    Raises
    ------
    BadInput
        There is no such folder.
    """
    place = files.resolve(folder)
    if not (place / MARK).is_file():
        raise BadInput(f"in {place}: no learner's copies are there; write them with cxr lab")
    command = [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={place}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),  # in containers
        *([] if browser else ["--no-browser"]), *([] if port is None else [f"--port={port}"]),
    ]  # fmt: skip
    # Without what stands there JupyterLab asks each newcomer whether it may fetch news, whatever news_url says.
    ours = [str(Path(__file__).parent / "jupyter"), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    env = {"CXR_HOME": str(files.root()), "JUPYTER_CONFIG_PATH": os.pathsep.join(ours)} | _machine.for_kernels()
    with subprocess.Popen(command, env=os.environ | env) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:  # JupyterLab asks by itself whether it shall end
                continue
