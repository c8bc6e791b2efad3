"""What people read: templates beside the modules that fill them, and tables in Markdown."""

import itertools
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxr_utils.errors import printable


def fill(template: Path, **given: Any) -> str:
    """Fill a template; in one named ``*.html.j2`` everything that is put in is escaped.

    Parameters
    ----------
    template : Path
        The file.
    **given
        What it names.

    Returns
    -------
    str
    """
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    pages = Environment(loader=FileSystemLoader(template.parent), autoescape=select_autoescape(["html.j2"]),
                        trim_blocks=True, keep_trailing_newline=True)  # fmt: skip
    pages.filters |= {"printable": printable}
    return pages.get_template(template.name).render(given)


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Write a table in Markdown, all but its first column on the right.

    Parameters
    ----------
    head : sequence
        The columns' names.
    rows : iterable of sequences
        Their cells.

    Returns
    -------
    str

    Examples
    --------
    >>> print(table(["kind", "images"], [["virus", 3]]))
    | kind | images |
    | :--- | ---: |
    | virus | 3 |
    """
    lines = [head, [":---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def columns(rows: Sequence[Sequence[str]], *, width: int = 1000) -> str:
    """Set rows in columns for a terminal, the widest broken into lines where they don't fit.

    Parameters
    ----------
    rows : sequence of sequences of str
        The first is the head.
    width : int
        Characters in all.

    Returns
    -------
    str

    Examples
    --------
    >>> print(columns([("kind", "n"), ("virus", "3")]))
    kind   n
    virus  3
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        wrapped = [textwrap.wrap(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for parts in itertools.zip_longest(*wrapped, fillvalue=""):
            lines.append("  ".join(part.ljust(wide) for part, wide in zip(parts, widths, strict=True)).rstrip())
    return "\n".join(lines)
