"""Code that trains on this dataset, read and never run → the mistakes that the course teaches, each with its place.

``auditor.toml`` says of each what it is, what it does to a figure and how to mend it; here stands how it is seen.
"""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cxr_utils.errors import BadInput, printable
from cxr_utils.replication import flow
from cxr_utils.replication.flow import PARTS, SIDES, WORDS, Event, Value
from cxr_utils.replication.pages import cells, figures

FOUND, CANT_TELL, NOT_FOUND = "found", "can't tell", "not found"


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
    program, texts, broken = flow.Program(path.parent), [], ["it is empty"]
    try:
        for place, source, is_code in cells(path):
            if not is_code:
                texts.append((place, source))
                continue
            try:
                program.read("" if WORDS["no_python"].match(source) else WORDS["magic"].sub(r"\1pass", source), place)
            except (SyntaxError, ValueError) as error:
                broken.append(f"{place}: {error}".removeprefix(": "))
            texts += [(flow.at(place, n), line.partition("#")[2]) for n, line in enumerate(source.splitlines(), 1)]
        program.finish()
    except (RecursionError, MemoryError):
        raise BadInput(f"{path}: is nested too deeply to be read") from None
    if not program.nodes:
        raise BadInput(f"{path}: no code in it that Python 3 can read ({printable(broken[-1][:100])})")
    return [
        {"mistake": name, "result": result, "place": place, "says": rule["look" if result == CANT_TELL else "found"],
         **{key: rule[key] for key in ("why", "mend", "lesson")}}
        for (name, rule), (result, place) in zip(flow.RULES.items(), _judged(program, texts), strict=True)
    ]  # fmt: skip


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
        inside = [p for p in inside if not WORDS["left_out"].search(f"{top.name}/{p.relative_to(top).as_posix()}")]
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


def _judged(program: flow.Program, texts: list) -> Iterator[tuple[str, str]]:
    """Yield result and place of each rule, in their order."""

    def those(*names: str, of: str | None = None, marks: Iterable[str] = (), no: Iterable[str] = ()) -> list[Event]:
        """Return the events of these names whose images are of one part, have all of `marks`, and none of `no`."""
        found = [each for each in program.events if each.name in names and each.value.marks.issuperset(marks)]
        return [e for e in found if e.value.marks.isdisjoint(no) and (of is None or e.value.parts == {of})]

    def result(found: list[Event], unsure: list[Event] = ()) -> tuple[str, str]:
        return (FOUND, found[0].place) if found else (CANT_TELL, unsure[0].place) if unsure else (NOT_FOUND, "")

    judged, unknown = ("score", "compare"), those("validate", no=PARTS | SIDES)
    real = those(*judged, of="test", no=["named"])  # then a side of a split that is called test is another
    yield result(those("validate", of="test", no=["named"] if real else []), unknown)
    sixteen = those("validate", of="val", no=SIDES)
    yield result([] if those("moved") else sixteen, sixteen or unknown)
    yield result([each for each in those("compare", "equal") if _apart(*each.value.items.values())])
    cut = those("validate", marks=["slice"]) if those("train", marks=["slice"]) else []
    drawn = those("validate", *judged, marks=["split"], no=["grouped"])
    yield result([*those("moved"), *drawn, *cut])
    yield result(those("split", marks=["resampled"]) + those("split", marks=["plain", "changed"]))
    several = len(those("train")) > 1 and len(those(*judged, of="test")) > 1
    yield result(those("choose", of="test", marks=["score"]), those(*judged) if several else [])
    yield result([Event("typed", place) for place, text in _said(program, texts) if WORDS["figure"].search(text)])
    sides = [each for each in those("leak") if each.value.marks & SIDES]
    yield result(those("scale", marks=["test"]) + those("split", marks=["scaled"]) + sides)
    nowhere = [Event("", "nowhere")] if those("train") else []
    yield result([] if those("seed") or those("train", marks=["seed"]) else nowhere)
    yield result([] if any(map(WORDS["measure"].search, _names(program))) else nowhere)


def _apart(*both: Value) -> bool:
    """Return whether one is of one pass over a shuffled loader, the other of another or in the order of files."""
    for said, true in itertools.permutations([each.flat().marks for each in both], 2):
        one, other = ({mark for mark in marks if mark.startswith("pass ")} for marks in (said, true))
        in_order = "in order" in true or (true & said & PARTS and "shuffled" not in true)
        if one and one.isdisjoint(other) and (other or in_order):
            return True
    return False


def _said(program: flow.Program, texts: list) -> Iterator[tuple[str, str]]:
    """Yield what people read: prose, comments, and what is printed as it stands."""
    for place, text in texts:
        yield from ((place, each[:3000]) for each in re.split(r"\n\s*\n", text) if not WORDS["cited"].search(each))
    for place, node in program.nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            text = " ".join(str(each.value) for each in node.args if isinstance(each, ast.Constant))
            yield flow.at(place, node.lineno), WORDS["share"].sub(r"accuracy \g<0>", text[:3000])


def _names(program: flow.Program) -> Iterator[str]:
    """Yield the names of what is called, measured and assigned."""
    for _, node in program.nodes:
        match node:
            case ast.keyword(arg="metrics", value=named) | ast.Call(func=named) | (ast.Name(ctx=ast.Store()) as named):
                yield ast.unparse(named)
