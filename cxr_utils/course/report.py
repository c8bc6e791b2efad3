"""One HTML page of all executed notebooks of a run, which asks for nothing outside itself."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from cxr_utils import _ownership, evaluation, files
from cxr_utils.errors import BadInput

TITLE = "Pneumonia on chest X-rays: the course as run"
METRICS = ("auc", "accuracy", "sensitivity", "specificity")
HEAD = ("network", "images", *METRICS)

TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
main { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
.jp-InputPrompt, .jp-OutputPrompt { display: none; }
.jp-OutputArea-output img { max-width: 100%; height: auto; }
.cxr-banner { background: #fff3cd; color: #664d03; border: 1px solid #ffe69c; padding: .6rem 1rem; }
.cxr-part { border-top: 3px solid #0072B2; margin-top: 3rem; }
</style>
{%- endblock -%}
{%- block data_png scoped -%}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
alt="{{ (output | get_metadata('alt', 'image/png') or '') | escape_html }}">
</div>
{%- endblock -%}
"""

BANNER = (
    '<div class="cxr-banner" role="note"><strong>Synthetic phantoms.</strong> Every radiograph on this '
    "page is drawn by a program. The figures and numbers say nothing about patients.</div>"
)
NOTICE = "For teaching and research. This is no medical device and not for clinical use."


def write(folder: str | Path, *, synthetic: bool, glossary: str | Path | None = None) -> Path:
    """Write ``report.html`` of a run folder from its executed notebooks.

    Parameters
    ----------
    folder : str or Path
        The run folder; ``notebooks/*.ipynb`` in it are read.
    synthetic : bool
        The images are phantoms, which a banner then says.
    glossary : str or Path, optional
        A Markdown file to put at the end; links to it lead there.

    Returns
    -------
    Path
        The page: one file with all figures and styles inside.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    folder = Path(folder)
    parts = []
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        try:
            parts.append((path.stem, nbformat.read(path, as_version=4)))
        except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
            remark = f"# {path.stem}\n\nCut off while it was written; `cxr run {path.stem}` executes it anew."
            cell = nbformat.v4.new_markdown_cell(remark)
            parts.append((path.stem, nbformat.v4.new_notebook(cells=[cell])))
    words = Path(glossary) if glossary else None
    merged = nbformat.v4.new_notebook(metadata={"title": TITLE})
    merged.cells.append(nbformat.v4.new_markdown_cell(_front(folder, parts, synthetic=synthetic)))
    for name, notebook in parts:
        merged.cells.append(nbformat.v4.new_markdown_cell(f'<div class="cxr-part" id="{name}"></div>'))
        merged.cells += [_linked(cell) for cell in notebook.cells]
    if words and words.is_file():
        text = re.sub(
            r"(?m)^## (.+)$", lambda m: f'<a id="word-{anchor(m[1])}"></a>\n\n## {m[1]}', words.read_text("utf-8")
        )
        merged.cells.append(nbformat.v4.new_markdown_cell('<div class="cxr-part" id="glossary"></div>'))
        merged.cells.append(_linked(nbformat.v4.new_markdown_cell(text)))
    for number, cell in enumerate(merged.cells):
        cell["id"] = f"cell-{number}"  # notebooks made from scripts may share ids
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"report.html.j2": TEMPLATE})], template_file="report.html.j2", anchor_link_text=""
    )
    page, _ = exporter.from_notebook_node(merged)
    with files.atomic(folder / "report.html", ours=is_ours) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / "report.html"


def is_ours(path: Path) -> bool:
    """Tell whether a page is one of `write`.

    Examples
    --------
    >>> is_ours(Path("gone.html"))
    False
    """
    try:
        return TITLE.encode() in path.read_bytes()
    except OSError:
        return False


def summary(folder: str | Path) -> list[tuple[str, ...]]:
    """Return the rows of the closing table: network, images, then each of `METRICS` with its 95% interval.

    Read from ``metrics.json`` of each run folder in `folder`; the threshold is that from validation.
    """
    rows = []
    for path in sorted(Path(folder).glob("*/metrics.json")):
        try:
            rows += _rows(path)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if _ownership.is_run(path.parent):  # else it is a stranger's
                said = error if isinstance(error, BadInput) else f"{path}: not as cxr writes it; put back that file"
                raise BadInput(str(said)) from None
    return rows


def _rows(path: Path) -> list[tuple[str, ...]]:
    rows = []
    for part, entry in files.read_record(path).items():
        if isinstance(entry, dict) and (found := entry.get("at_threshold")):
            values = [evaluation.words(found.get(metric, {})) for metric in METRICS]
            rows.append((path.parent.name, f"{part} ({entry['images']})", *values))
    return rows


def closing_table(folder: str | Path, *, synthetic: bool) -> str:
    """Write `summary` for a terminal; nothing if no network was evaluated yet."""
    rows = summary(folder)
    if not rows:
        return ""
    table = [HEAD, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    marked = "synthetic phantoms: says nothing about patients" if synthetic else "not for clinical use"
    return "\n".join([f"What the networks reached, with 95% intervals ({marked})", *lines])


def _front(folder: Path, parts: list[tuple[str, Any]], *, synthetic: bool) -> str:
    """Write the head of the page: banner, metrics, contents."""
    lines = [f"# {TITLE}", "", NOTICE, ""]
    lines += [BANNER, ""] if synthetic else []
    if rows := summary(folder):
        lines += ["| " + " | ".join(row) + " |" for row in (HEAD, [":---"] * len(HEAD), *rows)]
        lines += ["", "With 95% intervals; the threshold is that chosen on validation.", ""]
    lines += ["## Contents", ""] + [f"- [{_title(name, notebook)}](#{name})" for name, notebook in parts]
    return "\n".join([*lines, "- [Glossary](#glossary)"])


def _title(name: str, notebook: Any) -> str:
    """Return the first heading of a notebook, else its name."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"(?m)^# (.+)$", cell.source)):
            return html.escape(found[1])
    return name


def _linked(cell: Any) -> Any:
    """Turn links between the notebooks and to the glossary into links within the page."""
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"\]\((?:\.\./)?glossary\.md#([^)]+)\)", r"](#word-\1)", cell.source)
        cell.source = re.sub(r"\]\((?:\.\./)?glossary\.md\)", "](#glossary)", cell.source)
        cell.source = re.sub(r"\]\((?:\./)?(\d\d_\w+)\.ipynb(?:#[^)]*)?\)", r"](#\1)", cell.source)
    return cell


def anchor(title: str) -> str:
    """Return the anchor that GitHub and JupyterLab give a heading, in lower case.

    Examples
    --------
    >>> anchor("Learning rate")
    'learning-rate'
    """
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
