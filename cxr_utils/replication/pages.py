"""Files of other people, read and never run: the cells of notebooks and scripts, and the figures of pages."""

from pathlib import Path
from typing import Any

from cxr_utils.errors import BadInput, printable
from cxr_utils.replication.flow import WORDS
from cxr_utils.replication.verdicts import countable, interval


def figures(path: Path) -> list[dict[str, Any]]:
    """Look at the figures of results that a page, such as a README, has.

    Parameters
    ----------
    path : Path
        A text.

    Returns
    -------
    list of dict
        ``line`` (from 1), ``figure`` (as it stands), ``possible`` (of 624, 5,216 and 16 images, those of which it can
        be a share, rounded or cut), ``low`` and ``high`` (its 95% interval if it is of the 624 of test).

    Raises
    ------
    BadInput
        It can't be read.

    Examples
    --------
    >>> path = Path("README.md")
    >>> _ = path.write_text("It reaches an accuracy of 91.51% on test.", encoding="utf-8")
    >>> [(one["figure"], one["possible"]) for one in figures(path)]
    [('91.51%', [624, 5216])]
    """
    found = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        for said in WORDS["figure"].finditer(line[:3000]):
            text, percent = said[1] or said[2], "%" in (said[1] or said[2])
            digits = text.rstrip("% ")
            value, places = float(digits) / (100 if percent else 1), len(digits.partition(".")[2]) + 2 * percent
            if value <= 1:
                low, high = interval(value, 624)
                possible = [n for n in (624, 5216, 16) if countable(value, places, n)]
                found.append({"line": number, "figure": text, "possible": possible, "low": low, "high": high})
    return found


def _text(path: Path) -> str:
    most = 100 if path.suffix == ".ipynb" else 2  # with its outputs a notebook may be large
    try:
        if path.stat().st_size > most * 10**6:
            raise BadInput(f"{path}: has more than {most} MB; clear its outputs, or name the part that matters")
        return path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}; name a notebook, a script or a folder") from None


def cells(path: Path) -> list[tuple[str, str, bool]]:
    """Return of each cell, or of a script, what it is called, its text, and whether it is code."""
    import nbformat

    text = _text(path)
    if path.suffix != ".ipynb":
        return [("", text, True)]
    try:
        book = nbformat.reads(text, as_version=4)
        language = str(book.metadata.get("kernelspec", {}).get("language") or "python")
        found = [(f"cell {n}", str(cell.source), cell.cell_type == "code") for n, cell in enumerate(book.cells)]
    except Exception:  # whatever nbformat trips over
        raise BadInput(f"{path}: is no notebook, or not a whole one; open and save it in JupyterLab") from None
    if not language.lower().startswith("python"):
        raise BadInput(f"{path}: is written in {printable(language)}; only Python can be read")
    return found
