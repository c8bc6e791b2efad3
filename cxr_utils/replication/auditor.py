"""Code that trains on this dataset, read and never run → the mistakes that the course teaches, each with its place.

``auditor.toml`` says of each what it is, what it does to a figure and how to mend it; here stands how it is seen.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cxr_utils import files
from cxr_utils.errors import BadInput, printable
from cxr_utils.replication.flow import STEPS, Event, Program, at
from cxr_utils.replication.values import RULES, WORDS, is_a
from cxr_utils.replication.verdicts import figures, typed, typed_in

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
        Of each of `values.RULES`: ``mistake``, ``result`` ("found", "not found", "can't tell"), ``place`` (cells and
        lines, three at most; of what was not found those that could not be read, mostly none), and of the rule
        ``says``, ``why``, ``mend`` and ``lesson``.

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
    program, parts, lost = Program(path.parent), files.read_cells(path), []
    try:
        for place, source in [part[:2] for part in parts if part[2]]:
            try:
                program.read(source, place)
            except (SyntaxError, ValueError) as error:
                lost.append(f"{place}: {error}".removeprefix(": ").partition(" (<unknown>")[0][:100])
        lost += ["what stands far down, for it is too long"] if program.steps > STEPS else []
        program.finish()
    except (RecursionError, MemoryError):
        raise BadInput(f"{path}: is nested too deeply to be read") from None
    if not program.nodes and all(is_code for _, _, is_code in parts):
        raise BadInput(f"{path}: no code in it that Python 3 can read ({[*lost, *program.unread, 'it is empty'][0]})")
    program.unread += ["some of what nothing here calls, for it is too long"] if program.steps > STEPS else []
    events = [*program.events, *_told(program, parts)]
    return [
        {"mistake": name, "result": result, "place": place or "; ".join(lost or program.unread),
         "says": rule["look" if result == CANT_TELL else "found"], **{k: rule[k] for k in ("why", "mend", "lesson")}}
        for name, rule in RULES.items() for result, place in [_judged(rule, events, bool(lost))]
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
    found : list of dict
        ``path``, and ``results`` (from `audit`), ``figures`` (from `verdicts.figures`) or ``error`` (why it can't be
        read).
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
    found: list[dict[str, Any]] = []
    for top in paths:
        below = ((path, f"{top.name}/{path.relative_to(top).as_posix()}") for path in sorted(top.rglob("*")))
        inside = [path for path, name in below if path.is_file() and is_a("audited", name)]
        if top.is_dir() and not inside:
            raise BadInput(f"{top}: has no notebook, script or page in it")
        for path in inside if top.is_dir() else [top]:
            try:
                what, read = ("figures", figures) if path.suffix == ".md" else ("results", audit)
                found.append({"path": printable(str(path)), what: read(path)})
            except BadInput as error:
                found.append({"path": printable(str(path)), "error": str(error).removeprefix(f"{path}: ")})
    hit = any(one["result"] == FOUND for each in found for one in each.get("results", []))
    return found, 2 if any("error" in each for each in found) else int(hit)


def _judged(rule: dict[str, Any], events: list[Event], lost: bool) -> tuple[str, str]:
    """Return result and places of a rule; what is in none of the events may be in what is lost."""
    for result, queries in ((FOUND, rule["seen"]), (CANT_TELL, rule.get("unsure", []))):
        for query in queries:
            if found := _those(events, **query):
                return result, rule.get("where", "; ".join([*dict.fromkeys(each.place for each in found)][:3]))
    return CANT_TELL if lost else NOT_FOUND, ""


def _those(events, names, of=None, marks=(), no=(), times=1, along=(), unless=()) -> list[Event]:
    """Return the events that a query asks for; ``auditor.toml`` says what its keys mean."""
    found = [each for each in events if each.name in names and each.value.marks.issuperset(marks)]
    found = [each for each in found if each.value.marks.isdisjoint(no) and (of is None or each.value.parts == {of})]
    other = any(_those(events, **each) for each in unless) or not all(_those(events, **each) for each in along)
    return [] if other or len(found) < times else found


def _told(program: Program, parts: list[tuple[str, str, bool]]) -> Iterator[Event]:
    """Yield what is no way of images: figures in what people read, and measures by name."""
    for place, source, is_code in parts:
        lines = [(at(place, n), line.partition("#")[2]) for n, line in enumerate(source.splitlines(), 1)]
        for where, text in lines if is_code else [(place, source)]:
            yield from (Event(kind, where) for kind in typed(text))
    for place, node in program.nodes:
        yield from (Event(kind, at(place, node.lineno)) for kind in typed_in(node, own=not place.endswith(".py")))
        match node:
            case ast.Call(func=said) | (ast.Name(ctx=ast.Store()) | ast.List() | ast.keyword(arg="metrics") as said):
                if WORDS["measure"].search(getattr(said, "attr", None) or ast.unparse(said)):
                    yield Event("measure", at(place, node.lineno))
