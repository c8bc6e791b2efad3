"""Code that trains on this dataset, read and never run → the mistakes that the course teaches, each with its place.

``auditor.toml`` says of each what it is, what it does to a figure and how to mend it; here stands how it is seen.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cxr_utils.errors import BadInput, printable
from cxr_utils.replication import flow
from cxr_utils.replication.flow import SIDES, Event
from cxr_utils.replication.verdicts import countable, interval

FOUND, CANT_TELL, NOT_FOUND = "found", "can't tell", "not found"
MOST_BYTES = 100_000_000
_LEFT_OUT = {"site-packages", "node_modules", "__pycache__"}
_MEASURE = re.compile(
    r"(?i)(?<!matmul_)precision(?!_policy)|recall|f1_?s|f1$|fbeta|(?<![a-z])roc(?![a-z])|(?<![a-z])auc|confusion|"
    r"classification_report|sensitiv|specific|kappa|matthews|balanced_acc|average_prec"
)
_WORD = r"(?:acc\w*|recall|precision|sensitivity|specificity|auc|f1\S*)"
_SHARE = r"(?:0?\.\d{2,}|\d{2,3}(?:\.\d+)?\s?%)"
_FIGURE = re.compile(
    rf"(?i)\b{_WORD}\b[^.\d\n]{{0,70}}?(?<![\w.]){_SHARE}|(?<![\w.]){_SHARE}[^.\d\n]{{0,30}}?\b{_WORD}\b"
)
#: Prose about what others found is no figure of this code.
_CITED = re.compile(r"(?i)\]\(|https?:|report|published|paper|claim|et al|and others")
#: Commands of IPython, in place of which Python gets `pass`.
_MAGIC = re.compile(r"(?m)^([ \t]*)(?:[%!?].*|[^#'\"\n]*\?[ \t]*$|\w+[ \t]*=[ \t]*[!%].*)$")


def audit(path: Path) -> list[dict[str, str]]:
    """Look for the mistakes in a notebook or script, with the modules beside it that it imports. Nothing is run.

    Parameters
    ----------
    path : Path
        A file that ends in ``.ipynb`` or ``.py``.

    Returns
    -------
    list of dict
        Of each of `flow.RULES`: ``mistake``, ``result`` ("found", "not found", "can't tell"), ``place`` (cell and line;
        empty where nothing was found), and of the rule ``says``, ``why``, ``mend`` and ``lesson``.

    Raises
    ------
    BadInput
        It can't be read, or is no Python of today.

    Examples
    --------
    >>> path = Path("train.py")
    >>> _ = path.write_text("model.fit(X, y, validation_split=0.1)", encoding="utf-8")
    >>> next(one["place"] for one in audit(path) if one["mistake"] == "image_split")
    'line 1'
    """
    program, texts, trees = flow.Program(path.parent), [], []
    try:
        cells, broken = list(_cells(path)), []
        for place, source, is_code in cells:
            if not is_code:
                texts.append((place, source))
                continue
            try:
                with warnings.catch_warnings(action="ignore"):
                    trees.append((place, ast.parse(_plain(source))))
                    program.read(_plain(source), place)
            except (SyntaxError, ValueError) as error:
                broken.append(f"{place}: {error}".removeprefix(": "))
            lines = enumerate(source.splitlines(), 1)
            texts += [(_at(place, n), line.partition("#")[2]) for n, line in lines if "#" in line]
        program.finish()
    except (RecursionError, MemoryError):
        raise BadInput(f"{path}: is nested too deeply to be read") from None
    if not trees:
        raise BadInput(
            f"{path}: no code in it that Python 3 can read ({printable((broken or ['it is empty'])[0][:100])})"
        )
    return [
        {"mistake": name, "result": result, "place": place, "says": rule["look" if result == CANT_TELL else "found"],
         **{key: rule[key] for key in ("why", "mend", "lesson")}}
        for (name, rule), (result, place) in zip(flow.RULES.items(), _judged(program, texts, trees), strict=True)
    ]  # fmt: skip


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
        for said in _FIGURE.finditer(line[:3000]):
            text = re.search(rf"(?<![\w.]){_SHARE}", said[0])[0]
            value, digits = float(text.rstrip("% ")), len(text.rstrip("% ").partition(".")[2])
            value, digits = (value / 100, digits + 2) if text.endswith("%") else (value, digits)
            if 0 <= value <= 1:
                low, high = interval(value, 624)
                possible = [n for n in (624, 5216, 16) if countable(value, digits, n)]
                found.append({"line": number, "figure": text, "possible": possible, "low": low, "high": high})
    return found


def report(paths: Iterable[Path]) -> tuple[list[dict[str, Any]], int]:
    """Audit files, and all that lie in folders.

    Parameters
    ----------
    paths : iterable of Path
        Notebooks, scripts, pages (``.md``, for their figures) and folders; what is hidden in these, or installed, is
        left out.

    Returns
    -------
    files : list of dict
        ``path``, and ``results`` (from `audit`), ``figures`` (from `figures`) or ``error`` (why it can't be read).
    status : int
        0: nothing found; 1: something; 2: something can't be read.

    Raises
    ------
    BadInput
        There is nothing to read.

    Examples
    --------
    >>> _ = Path("train.py").write_text("keras.utils.set_random_seed(0)", encoding="utf-8")
    >>> report([Path("train.py")])[1]
    0
    """
    files: list[dict[str, Any]] = []
    for top in paths:
        inside = [p for p in sorted(top.rglob("*")) if p.suffix in (".py", ".ipynb", ".md") and p.is_file()]
        inside = [
            p for p in inside if not _LEFT_OUT & {*p.parts} and not any(x[0] == "." for x in p.relative_to(top).parts)
        ]
        if top.is_dir() and not inside:
            raise BadInput(f"{top}: has no notebook, script or page in it")
        for path in inside if top.is_dir() else [top]:
            try:
                what, read = ("figures", figures) if path.suffix == ".md" else ("results", audit)
                files.append({"path": printable(str(path)), what: read(path)})
            except BadInput as error:
                files.append({"path": printable(str(path)), "error": str(error).removeprefix(f"{path}: ")})
    hit = any(one["result"] == FOUND for each in files for one in each.get("results", []))
    return files, 2 if any("error" in each for each in files) else int(hit)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path}: has more than {MOST_BYTES // 10**6} MB; clear its outputs first")
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}; name a notebook, a script or a folder") from None


def _cells(path: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield of each cell, or of a script, what it is called, its text, and whether it is code."""
    import nbformat

    text = _text(path)
    if path.suffix != ".ipynb":
        yield "", text, True
        return
    try:
        book = nbformat.reads(text, as_version=4)
        language = str(book.metadata.get("kernelspec", {}).get("language") or "python")
        cells = [(str(cell.source), cell.cell_type) for cell in book.cells]
    except Exception:  # whatever nbformat trips over
        raise BadInput(f"{path}: is no notebook, or not a whole one; open and save it in JupyterLab") from None
    if not language.lower().startswith("python"):
        raise BadInput(f"{path}: is written in {printable(language)}; only Python can be read")
    yield from ((f"cell {n}", source, kind == "code") for n, (source, kind) in enumerate(cells) if kind != "raw")


def _plain(source: str) -> str:
    return "" if re.match(r"\s*%%(?!time|capture)", source) else _MAGIC.sub(r"\1pass", source)


def _at(place: str, line: int) -> str:
    return f"{place}, line {line}".removeprefix(", ")


def _judged(program: flow.Program, texts: list, trees: list) -> Iterator[tuple[str, str]]:
    """Yield result and place of each rule, in their order."""

    def events(*names: str) -> list[Event]:
        return [event for event in program.events if event.name in names]

    def result(found: list[Event], unsure: list[Event] = ()) -> tuple[str, str]:
        return (FOUND, found[0].place) if found else (CANT_TELL, unsure[0].place) if unsure else (NOT_FOUND, "")

    validates, trains, judged, split = events("validate"), events("train"), events("score", "compare"), events("split")
    moved = events("moved")
    unknown = [e for e in validates if not e.value.parts and not e.value.marks & SIDES]
    real = any(e.value.flat().parts == {"test"} and "named" not in e.value.flat().marks for e in judged)
    yield result(
        [e for e in validates if e.value.parts == {"test"} and not ("named" in e.value.marks and real)], unknown
    )
    sixteen = [e for e in validates if e.value.parts == {"val"} and not e.value.marks & SIDES]
    yield result([] if moved else sixteen, sixteen or unknown)
    pairs = [(e, *list(e.value.items.values())[:2]) for e in events("compare") if len(e.value.items) > 1]
    yield result(
        [
            e
            for e, true, said in pairs
            if {"answers", "shuffled"} <= said.flat().marks and "in order" in true.flat().marks
        ]
    )
    cut = any("slice" in e.value.marks for e in trains)
    drawn = [
        e for e in (*validates, *judged) if "split" in e.value.flat().marks and "grouped" not in e.value.flat().marks
    ]
    yield result([*moved, *drawn, *(e for e in validates if cut and "slice" in e.value.marks)])
    yield result([e for e in split if "resampled" in e.value.marks])
    several = judged[:1] if len(trains) > 1 and sum(e.value.flat().parts == {"test"} for e in judged) > 1 else []
    yield result(events("choose"), several)
    yield result([Event("typed", place) for place, text in _said(texts, trees) if _FIGURE.search(text)])
    yield result(
        [e for e in events("scale") if "test" in e.value.parts] + [e for e in split if "scaled" in e.value.marks]
    )
    nowhere = [Event("", "nowhere")] if trains else []
    yield result([] if events("seed") else nowhere)
    yield result([] if any(map(_MEASURE.search, _names(program, trees))) else nowhere)


def _said(texts: list, trees: list) -> Iterator[tuple[str, str]]:
    """Yield what people read: prose, comments, and what is printed as it stands."""
    for place, text in texts:
        yield from ((place, each[:3000]) for each in re.split(r"\n\s*\n", text) if not _CITED.search(each))
    for place, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                for each in node.args:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield (
                            _at(place, node.lineno),
                            re.sub(r"(?<![\w.])0?\.[1-9]\d{3,}", r"accuracy \g<0>", each.value),
                        )


def _names(program: flow.Program, trees: list) -> Iterator[str]:
    """Yield the names of what is called, measured and assigned."""
    yield from program.calls
    for node in (node for _, tree in trees for node in ast.walk(tree)):
        match node:
            case ast.keyword(arg="metrics", value=value) | ast.Call(func=value):
                yield ast.unparse(value)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
