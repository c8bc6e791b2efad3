"""One HTML page of all executed notebooks of a run, which asks for nothing outside itself."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from cxr_utils import _ownership, _pages, evaluation, files
from cxr_utils.errors import BadInput

TITLE = "Pneumonia on chest X-rays: the course as run"
METRICS = ("auc", "accuracy", "sensitivity", "specificity")
HEAD = ("network", "images", *METRICS)
_HERE = Path(__file__).parent


def write(folder: str | Path, *, synthetic: bool, glossary: str | Path | None = None, code: bool = True) -> Path:
    """Write ``report.html`` of a run folder from its executed notebooks.

    Parameters
    ----------
    folder : str or Path
        The run folder; ``notebooks/*.ipynb`` in it are read.
    synthetic : bool
        The images are phantoms, which a banner then says.
    glossary : str or Path, optional
        A Markdown file to put at the end; links to it lead there.
    code : bool
        Show what was executed, not only what came of it.

    Returns
    -------
    Path
        The page: one file with all figures and styles inside.
    """
    import nbformat
    from jinja2 import FileSystemLoader
    from nbconvert import HTMLExporter

    folder = Path(folder)
    parts = []
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        try:
            parts.append((path.stem, nbformat.read(path, as_version=4)))
        except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
            remark = f"# {path.stem}\n\nCut off while it was written; `cxr run {path.stem}` executes it anew."
            parts.append((path.stem, nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(remark)])))
    merged = nbformat.v4.new_notebook(metadata={"title": TITLE})
    figures, titles = summary(folder), [(name, _title(name, notebook)) for name, notebook in parts]
    shown = _pages.table(HEAD, figures) if figures else ""
    front = _pages.fill(_HERE / "front.md.j2", title=TITLE, synthetic=synthetic, figures=shown, parts=titles)
    merged.cells.append(nbformat.v4.new_markdown_cell(front))
    for name, notebook in parts:
        merged.cells.append(nbformat.v4.new_markdown_cell(f'<div class="cxr-part" id="{name}"></div>'))
        merged.cells += [_linked(cell) for cell in notebook.cells if "setup" not in cell.metadata.get("tags", [])]
    if glossary and Path(glossary).is_file():
        text = anchored(Path(glossary).read_text("utf-8"), "word-")
        merged.cells.append(nbformat.v4.new_markdown_cell('<div class="cxr-part" id="glossary"></div>'))
        merged.cells.append(_linked(nbformat.v4.new_markdown_cell(text)))
    for number, cell in enumerate(merged.cells):
        cell["id"] = f"cell-{number}"  # notebooks made from scripts may share ids
    own = {"extra_loaders": [FileSystemLoader(_HERE)], "template_file": "report.html.j2"}
    exporter = HTMLExporter(**own, anchor_link_text="", exclude_input=not code)
    page, _ = exporter.from_notebook_node(merged)
    with files.atomic(folder / "report.html", ours=is_ours) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / "report.html"


def is_ours(path: Path) -> bool:
    """Tell whether a page is one of `write`.

    Parameters
    ----------
    path : Path
        A file; it need not be there.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_ours(Path("gone.html"))
    False
    """
    return TITLE.encode() in _ownership.begins(path, -1)


def summary(folder: str | Path) -> list[tuple[str, ...]]:
    """Return the rows of the closing table: network, images, then each of `METRICS` with its 95% interval.

    Read from ``metrics.json`` of each run folder in `folder`; the threshold is that from validation.

    Parameters
    ----------
    folder : str or Path
        The run folder.

    Returns
    -------
    list of tuple of str
        One row a network and part, in the order of `HEAD`.

    Raises
    ------
    BadInput
        A file of a run of ours is broken.
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
    """Write `summary` for a terminal; nothing if no network was evaluated yet.

    Parameters
    ----------
    folder : str or Path
        The run folder.
    synthetic : bool
        The images are phantoms, which the title then says.

    Returns
    -------
    str
    """
    rows = summary(folder)
    if not rows:
        return ""
    marked = "synthetic phantoms: says nothing about patients" if synthetic else "not for clinical use"
    return f"What the networks reached, with 95% intervals ({marked})\n{_pages.columns([HEAD, *rows])}"


def told(run: Any, *, as_json: bool = False) -> str:
    """Tell what a batch run left behind.

    Parameters
    ----------
    run : CourseRun
        From `course.run`.
    as_json : bool
        For a program: an object with the attributes of `run`, paths as text.

    Returns
    -------
    str
    """
    if as_json:
        return json.dumps(dataclasses.asdict(run), indent=2, default=str)
    table = closing_table(run.folder, synthetic=run.synthetic) if run.report else ""
    return _pages.fill(_HERE / "run.txt.j2", run=run, table=table).rstrip()


def _title(name: str, notebook: Any) -> str:
    """Return the first heading of a notebook, else its name."""
    found = (re.search(r"(?m)^# (.+)$", cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    return next((heading[1] for heading in found if heading), name)


def _linked(cell: Any) -> Any:
    """Turn links between the notebooks and to the glossary into links within the page."""
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"\]\((?:\.\./)?glossary\.md#([^)]+)\)", r"](#word-\1)", cell.source)
        cell.source = re.sub(r"\]\((?:\.\./)?glossary\.md\)", "](#glossary)", cell.source)
        cell.source = re.sub(r"\]\((?:\./)?(\d\d_\w+)\.ipynb(?:#[^)]*)?\)", r"](#\1)", cell.source)
    return cell


def anchored(text: str, prefix: str = "") -> str:
    """Give each term of the glossary the anchor that links name: JupyterLab makes others from headings.

    Parameters
    ----------
    text : str
        Markdown, a heading of the second level a term.
    prefix : str
        What the anchors begin with.

    Returns
    -------
    str

    Examples
    --------
    >>> anchored("## Batch size")
    '<a id="batch-size"></a>\\n\\n## Batch size'
    """
    return re.sub(r"(?m)^## (.+)$", lambda found: f'<a id="{prefix}{anchor(found[1])}"></a>\n\n{found[0]}', text)


def anchor(title: str) -> str:
    """Return the anchor that GitHub and JupyterLab give a heading, in lower case.

    Parameters
    ----------
    title : str
        The heading, without its marks.

    Returns
    -------
    str

    Examples
    --------
    >>> anchor("Learning rate")
    'learning-rate'
    """
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
