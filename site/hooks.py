"""What the site needs beside its settings: contents, folded answers, the figures' texts, links to code and folders."""

import hashlib
import re
from base64 import b64decode
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.util.osutil import relative_uri

ROOT = Path(__file__).parents[1]
#: Which cells are folded until asked for, and what stands on the fold.
FOLDED = {
    "answer": ("hide-output", "Show the answer"),
    "solution": ("hide-input", "Show the solution"),
    "setup": ("hide-input", "Show the set-up"),
}
_TEXTS: dict[str, str] = {}  # alternative texts, by the hash that myst-nb names a picture by


def read(text):
    """Read a notebook with its answers folded, and keep the alternative texts of its figures."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        for tag, (how, prompt) in FOLDED.items():
            if tag in tags and (cell.get("outputs") or how == "hide-input"):
                cell.metadata["tags"] = [*tags, how]
                cell.metadata["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": "Hide it again"}
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                _TEXTS[hashlib.sha256(b64decode(output.data["image/png"])).hexdigest()] = alt
    return notebook


def contents(app, name, source):
    """Put the contents below the first page; a pattern gives the pages that are there."""
    if name != app.config.root_doc:
        return
    for title, patterns in app.config.contents.items():
        found = [page for pattern in patterns for page in sorted(ROOT.glob(pattern))]
        pages = [str(page.relative_to(ROOT).with_suffix("")) for page in found]
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])


def texts(app, doctree):
    """Give each figure the text that its notebook gives it: myst-nb drops it."""
    for image in doctree.findall(nodes.image):
        if alt := _TEXTS.get(image["uri"].rpartition("/")[2].partition(".")[0]):
            image["alt"] = alt


def solved(app, doctree):
    """Tell the pages of solutions from those of the lessons, in contents and search."""
    if app.env.docname.startswith("notebooks/solutions/"):
        next(doctree.findall(nodes.title)).append(nodes.Text(" (solutions)"))


def folders(app, doctree):
    """Lead a link to a folder to the page that describes it: its README, or that of a folder above."""
    name = app.env.docname
    for node in list(doctree.findall(addnodes.pending_xref)):
        path = (ROOT / name).parent.joinpath(node["reftarget"]).resolve()
        page = node.get("refdomain") == "doc"  # whose target has no suffix: results/folds.md, beside the folder folds
        if node.get("reftype") == "myst" and not page and path.is_dir() and path.is_relative_to(ROOT):
            pages = ((above / "README").relative_to(ROOT).as_posix() for above in (path, *path.parents))
            page = next(page for page in pages if page in app.env.found_docs)
            uri = relative_uri(app.builder.get_target_uri(name), app.builder.get_target_uri(page))
            node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=uri))


def code(app, doctree, name):
    """Lead a link to a module of the package to its page, and to the function that it names; others load the file."""
    known = app.env.domains["py"].objects
    for node in list(doctree.findall(addnodes.download_reference)):
        path = (ROOT / name).parent.joinpath(node["reftarget"]).resolve()
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        said = re.fullmatch(r"\w+\.(\w+)", node.astext())
        for wanted in (f"{module}.{said[1]}" if said else "", module):
            if path.suffix == ".py" and wanted in known:
                there = known[wanted]
                uri = relative_uri(app.builder.get_target_uri(name), app.builder.get_target_uri(there.docname))
                link = nodes.reference("", "", *node.children, internal=True, refuri=f"{uri}#{there.node_id}")
                node.replace_self(link)
                break


def explore(app, error):
    """Write what the page with the figures to explore draws."""
    if error is None:
        import figures

        figures.write(Path(app.outdir) / "_static")


def setup(app):
    """Connect the hooks."""
    app.add_config_value("contents", {}, "env")
    app.connect("source-read", contents)
    app.connect("doctree-read", solved, priority=100)  # before the titles are collected
    app.connect("doctree-read", texts)
    app.connect("doctree-read", folders)
    app.connect("doctree-resolved", code)
    app.connect("build-finished", explore)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
