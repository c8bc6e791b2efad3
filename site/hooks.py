"""What the site needs beside its settings: contents, folded answers, the figures' texts, links to code and folders."""

import hashlib
import re
from base64 import b64decode
from importlib.util import module_from_spec, spec_from_file_location
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
#: Alternative texts and widths of figures, by the hash that myst-nb names a picture by.
_FIGURES: dict[str, tuple[str, int]] = {}
LONG, SHORT = 80, 12  # signs in a cell of a table: from here on it gets room, up to here it stays on one line


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
                picture = b64decode(output.data["image/png"])
                width = int.from_bytes(picture[16:20], "big")
                _FIGURES[hashlib.sha256(picture).hexdigest()] = alt, width
            if table := output.get("data", {}).get("text/html"):
                table = re.sub(rf"<td>(?=[^<]{{{LONG // 2}}})", '<td class="long">', table)
                output.data["text/html"] = re.sub(r'<table (?=id="T_)', '<table class="dataframe" ', table)
    return notebook


def contents(app, name, source):
    """Put the contents below the first page; a pattern gives the pages that are there."""
    if name != app.config.root_doc:
        return
    for title, patterns in app.config.contents.items():
        found = dict.fromkeys(page for pattern in patterns for page in sorted(ROOT.glob(pattern)))
        pages = [str(page.relative_to(ROOT).with_suffix("")) for page in found]
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])


def article(app, name, source):
    """Show the article for a journal as a page: its title, its headings below that, its references as links."""
    if name != "teaching/paper":
        return
    title = re.search(r'(?m)^title: "(.+)"', source[0])[1]
    text = re.sub(r"(?m)^#", "##", source[0].partition("\n---\n")[2])
    listed = []
    for entry in (ROOT / "teaching" / "paper.bib").read_text("utf-8").splitlines():
        key, author, what, year, doi = (
            re.sub(r'[{}\\"]', "", re.search(rf"{part}(.+?)\}}*(?:, \w+ = |\}}$)", entry)[1])
            for part in ("^@article{", "author = {", "title = {", "year = {", "doi = {")
        )
        said = f"{author.partition(',')[0]} and others"
        text = text.replace(f"@{key}", f"[{said}, {year}](https://doi.org/{doi})")
        listed.append(f"- {said}. {what}. {year}. [doi:{doi}](https://doi.org/{doi})\n")
    text = re.sub(r"\[(\[.+?\)(?:; \[.+?\))*)\]", r"(\1)", text)
    source[0] = f"# {title}\n{text}\n" + "".join(listed)


def figures(app, doctree):
    """Give each figure its notebook's text, which myst-nb drops, and its width, by which Sphinx makes it a link."""
    for image in doctree.findall(nodes.image):
        if known := _FIGURES.get(image["uri"].rpartition("/")[2].partition(".")[0]):
            image["alt"], image["width"] = known[0], f"{known[1]}px"


def shapes(app, doctree):
    """Mark what the style sheet can't see: cells with much or little text, and lists that bring their letters."""
    for cell in doctree.findall(nodes.entry):
        length, columns = len(cell.astext()), cell.parent.parent.parent["cols"]
        cell["classes"] += ["long"] * (length >= LONG and columns > 2) + ["short"] * (length <= SHORT)
    for some in doctree.findall(nodes.bullet_list):
        if all(re.match(r"[a-e]\) ", item.astext()) for item in some):
            some["classes"].append("lettered")


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


def fields(app, what, name, found, options, lines):
    """Leave out what Python itself writes of a named tuple's field; the class says what each is."""
    if lines and lines[0].startswith("Alias for field number"):
        del lines[:]


def constants(app, doctree):
    """Cut the value of a long constant: its comment says what it holds, and the code is a click away."""
    for node in doctree.findall(addnodes.desc_annotation):
        value = node.astext()
        if value.startswith(" = ") and len(value) > LONG:
            node.children = [nodes.Text(f"{value[:LONG]} …")]


def kit(app, name, source):
    """Lead whoever reads of the deck to it: `made` writes it."""
    if name == "teaching/README":
        source[0] = source[0].replace("`teaching/deck.html`", '<a href="deck.html">teaching/deck.html</a>', 1)


def made(app, error):
    """Write what the page with the figures to explore draws, and the deck."""
    if error is None:
        from figures import write

        write(Path(app.outdir) / "_static")
        spec = spec_from_file_location("teaching_build", ROOT / "teaching" / "build.py")
        spec.loader.exec_module(teaching := module_from_spec(spec))
        (Path(app.outdir) / "teaching" / "deck.html").write_text(teaching.deck(), encoding="utf-8")


def setup(app):
    """Connect the hooks."""
    app.add_config_value("contents", {}, "env")
    app.connect("source-read", contents)
    app.connect("source-read", article)
    app.connect("source-read", kit)
    app.connect("doctree-read", solved, priority=100)  # before the titles are collected
    app.connect("doctree-read", figures)
    app.connect("doctree-read", shapes)
    app.connect("doctree-read", constants)
    app.connect("autodoc-process-docstring", fields)
    app.connect("doctree-read", folders)
    app.connect("doctree-resolved", code)
    app.connect("build-finished", made)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
