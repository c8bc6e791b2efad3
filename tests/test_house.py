"""The package stays small: its lines of code, without docstrings, comments and blank lines."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "cxr_utils"
FACE = (
    "dataset", "audit", "images", "augment", "splits", "imbalance", "models", "training", "evaluation", "explain",
    "shortcuts",
)  # fmt: skip
ROOM = ("flow", "auditor", "values")  # of replication: what `cxr audit` knows and does
MOST_A_MODULE, MOST_FACE, MOST_ROOM, MOST = 350, 2_500, 450, 10_500
_BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines(source):
    """Count the lines that hold code."""
    docs = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            docs |= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({n for t in tokens if t.type not in _BLANK for n in range(t.start[0], t.end[0] + 1)} - docs)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("", 0),
        ('"""Doc\n\nstring."""\n\n# why\nx = 1  # what\n', 1),
        ('def f():\n    """Doc."""\n\n    return (\n        1\n    )\n', 4),
        ('x = """\ntext\n"""\n', 3),
    ],
)
def test_lines_are_counted(source, count):
    assert lines(source) == count


def test_the_house_is_small(capsys):
    counts = {path.relative_to(HOUSE).as_posix(): lines(path.read_text("utf-8")) for path in HOUSE.rglob("*.py")}
    face, whole, largest = sum(counts[f"{name}.py"] for name in FACE), sum(counts.values()), max(counts, key=counts.get)
    room = sum(counts[f"replication/{name}.py"] for name in ROOM)
    with capsys.disabled():
        print(
            f"\nlines of code: {whole:,}, the face {face:,}, the auditor {room}, most in {largest} ({counts[largest]})"
        )
    assert {name: count for name, count in counts.items() if count > MOST_A_MODULE} == {}
    assert face <= MOST_FACE and room <= MOST_ROOM and whole <= MOST
