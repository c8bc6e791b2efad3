"""Build the notebooks from the scripts beside this file.

``notebooks/NN_name.ipynb`` has the stubs of the exercises and is executed on the sample;
``notebooks/solutions/NN_name.ipynb`` has the answers and no outputs. ``workflow/cell.ipynb``, the cell of the grid,
is made from ``workflow/cell.py`` and has no outputs.

    python notebooks/source/build.py                # build and execute all
    python notebooks/source/build.py 04 05          # these two; "cell" is the grid's
    python notebooks/source/build.py --no-run       # build without outputs
    python notebooks/source/build.py --picture      # only README's picture, from the outputs there are
    python notebooks/source/build.py --check        # do the notebooks hold what the scripts say?
    python notebooks/source/build.py --keep RUN_DIR --images "all 5,856"    # figures of a run on real images
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import address
import jupytext
import nbformat

from cxr_utils import files
from cxr_utils.course import notebooks
from cxr_utils.errors import BadInput, CxrError

SOURCE = Path(__file__).resolve().parent
README = SOURCE.parents[1] / "README.md"
CELL = SOURCE.parents[1] / "workflow" / "cell.py"
FURTHER = "*Further: skip this part if time is short.*"
CORE = "*Core goes on here.*"
BACK = "**Back after a break?** Click into the cell where you stopped, and choose *Run → Run All Above Selected Cell*."
ASK = """
#exercises.hint("{0}")  # stuck? Delete the first # of a line, and run the cell again
#exercises.solution("{0}")"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def scripts(names: list[str]) -> list[Path]:
    """Return the scripts whose name or number is among `names`, or all."""
    found = sorted(SOURCE.glob("[0-9][0-9]_*.py"))
    return [path for path in found if not names or any(path.stem.startswith(name.zfill(2)) for name in names)]


def build(script: Path, *, solved: bool) -> nbformat.NotebookNode:
    """Turn a script into a notebook without outputs, with the stubs or with the answers."""
    notebook = jupytext.read(script)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    dropped = "exercise" if solved else "solution"
    notebook.cells = [cell for cell in notebook.cells if dropped not in cell.metadata.get("tags", [])]
    further = False
    for number, cell in enumerate(notebook.cells):
        before, further = further, "further" in cell.metadata.get("tags", [])
        if before != further and cell.cell_type == "markdown":
            mark = FURTHER if further else CORE
            cell.source = re.sub(r"\A(#+ .*|)\n*", rf"\1\n\n{mark}\n\n", cell.source).strip()
        cell.id = f"{script.stem[:2]}-{number:03d}"  # the same at each build, so that differences stay small
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.get("tags", [])})
        if not solved and "check" in cell.metadata.tags:
            cell.source += ASK.format(re.search(r'exercises\.check\("([^"]+)"', cell.source)[1])
        if solved and cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((?=\w+\.md|\.\./)", "](../", cell.source)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    core, further = (round(minutes(notebook, path)) for path in ("core", "further"))
    head = notebook.cells[0]
    head.source = re.sub(
        r"(?m)^\*\*Minutes\*\*:.*$", f"**Minutes**: {core} core + {further} further\n\n{BACK}", head.source
    )
    if script != CELL:
        here = address.repository()
        if opened := address.buttons(here, target(script, solved=solved).relative_to(SOURCE.parents[1]).as_posix()):
            head.source += f"\n\n{opened}"
        found = nbformat.v4.new_code_cell(address.setup(here), metadata={"tags": ["setup", "core"]})
        found.id = f"{script.stem[:2]}-setup"  # no number of its own: the others keep theirs
        notebook.cells.insert(1, found)
    return notebook


def minutes(notebook: nbformat.NotebookNode, path: str) -> float:
    """Return the minutes that a learner needs for the cells of a path, "core" or "further".

    165 words a minute, 6 s a line of code, 30 s a figure or a question, also of the five at the end, 4.5 minutes an
    exercise with all its cells. What runs meanwhile is read meanwhile.
    """
    cells = [cell for cell in notebook.cells if path in cell.metadata.get("tags", [])]
    text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    unread = {"setup", "exercise", "solution", "check"}
    code = [c for c in cells if c.cell_type == "code" and not unread & set(c.metadata.tags)]
    tasks = sum("check" in cell.metadata.tags for cell in cells)
    words = len(re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", re.sub(r"\]\([^)]*\)|\*\*(?:Minutes|Back).*", "]", text)))
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.splitlines())
    figures = sum(cell.source.count("plots.show(") for cell in code)
    questions = text.lower().count("predict, then run") + 5 * sum("lessons.quiz(" in cell.source for cell in code)
    return words / 165 + lines / 10 + (figures + questions) / 2 + 4.5 * tasks


def target(script: Path, *, solved: bool) -> Path:
    """Return where the notebook of a script is written."""
    if script == CELL:
        return CELL.with_suffix(".ipynb")
    return SOURCE.parent / ("solutions" if solved else "") / f"{script.stem}.ipynb"


def executed(notebook: nbformat.NotebookNode, name: str, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook, and take out what differs from run to run without meaning."""
    output = folder / f"{name}.ipynb"
    notebooks.execute(notebook, output, given={}, cwd=SOURCE.parent)
    result = nbformat.read(output, as_version=4)
    result.metadata = notebook.metadata
    for cell in result.cells:
        tags = cell.metadata.get("tags", [])
        folded = {"outputs_hidden": True} if "answer" in tags else {}  # until asked for, where one can
        folded |= {"source_hidden": True} if "setup" in tags else {}
        cell.metadata = nbformat.from_dict({"tags": tags} | ({"jupyter": folded} if folded else {}))
    return result


def differences(script: Path) -> list[str]:
    """Say how the notebooks of a script differ from what it gives now."""
    found = []
    for solved in (True,) if script == CELL else (False, True):
        path, wanted = target(script, solved=solved), build(script, solved=solved)
        if not path.is_file():
            found.append(f"{path}: missing")
            continue
        there = nbformat.read(path, as_version=4)

        def plain(notebook):
            return [(c.cell_type, c.id, c.source, list(c.metadata.get("tags", []))) for c in notebook.cells]

        if plain(there) != plain(wanted):
            found.append(f"{path}: not what {script.name} gives; run make notebooks")
    return found


def readme() -> tuple[str, str]:
    """Return README as it is, and with the table of notebooks that the scripts give."""
    rows = ["| notebook | core | further |", "| --- | ---: | ---: |"]
    for script in scripts([]):
        text = build(script, solved=False).cells[0].source
        title = re.search(r"(?m)^# \d+\. (.+)$", text)[1]
        core, further = re.search(r"\*\*Minutes\*\*: (\d+) core \+ (\d+) further", text).groups()
        rows.append(f"| [{script.stem[:2]} {title}](notebooks/{script.stem}.ipynb) | {core} min | {further} min |")
    there = README.read_text(encoding="utf-8")
    return there, re.sub(
        r"(?s)(<!-- notebooks:begin[^>]*-->\n).*?(<!-- notebooks:end -->)",
        lambda m: m[1] + "\n".join(rows) + "\n" + m[2],
        there,
    )


def picture() -> None:
    """Compose README's picture from figures that the notebooks show."""
    import base64
    import io

    import matplotlib.pyplot as plt

    chosen = {  # title, and the call that made the figure
        "01_download": ("Know your data (drawn phantoms)", "image_grid", 1),
        "03_preprocess": ("See what leaks between the parts of a split", "leak_bars", 0),
        "04_train": ("Look inside a network", "feature_maps", -1),
        "05_improve": ("Tell an improvement from luck", "comparison", 0),
        "06_evaluate": ("Validation against test", "roc", -1),
    }
    panels = plt.figure(figsize=(12, 7.5), layout="constrained").subplot_mosaic([[0, 0, 4], [0, 0, 4], [1, 2, 3]])
    for (name, (title, call, which)), ax in zip(chosen.items(), (panels[i] for i in range(5)), strict=True):
        cells = nbformat.read(SOURCE.parent / f"{name}.ipynb", as_version=4).cells
        shown = [o.data["image/png"] for c in cells if c.cell_type == "code" and f"plots.{call}(" in c.source
                 for o in c.outputs if "image/png" in o.get("data", {})]  # fmt: skip
        ax.imshow(plt.imread(io.BytesIO(base64.b64decode(shown[which]))), interpolation="lanczos")
        ax.set_title(f"{name[:2]}  {title}", fontsize=11, loc="left")
        ax.axis("off")
    plt.savefig(SOURCE.parent / "course_at_work.png", dpi=100, metadata={"Software": None})


def keep(run_dir: str, images: str) -> None:
    """Take the figures of a run on real images into ``results/course``, for the boxes of the notebooks."""
    folder = files.resolve(run_dir)
    finished = files.read_json(folder / "course.json")
    for path in sorted((folder / "facts").glob("*.json")):
        given = finished[path.stem]["parameters"]
        content = files.read_json(path)
        if content["source"] == "sample" != given["source"]:  # 09 draws its hospitals whatever the others use
            continue
        if content["source"] == "sample":
            raise BadInput(f"{path}: made from phantoms; results/ holds figures of real images only")
        command = f"cxr run {path.stem} --profile {given['profile']} --source {given['source']} --seed {given['seed']}"
        usual = ("profile", "source", "seed", "data_dir", "run_dir")
        command += "".join(f" -p {name}={value}" for name, value in given.items() if name not in usual)
        kept = {"images": images, "command": command, "facts": content["facts"]}
        files.write_json(SOURCE.parents[1] / "results" / "course" / path.name, kept, ours=("facts",))


def main(arguments: list[str] | None = None) -> int:
    """Build, execute or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="numbers or names, such as 04 or 04_train; none is all")
    parser.add_argument("--check", action="store_true", help="only compare, and fail if a notebook is not up to date")
    parser.add_argument("--no-run", action="store_true", help="build without executing")
    parser.add_argument("--picture", action="store_true", help="only compose README's picture")
    parser.add_argument("--keep", metavar="RUN_DIR", help="only take the figures of a run into results/course")
    parser.add_argument("--images", help="with --keep: which images these were")
    options = parser.parse_args(arguments)
    if options.picture:
        picture()
        return 0
    if options.keep:
        keep(options.keep, options.images or parser.error("--keep needs --images"))
        return 0
    chosen = scripts(options.names) + [CELL] * (not options.names or "cell" in options.names)
    if not chosen:
        parser.error(f"no script is called {', '.join(options.names)}")
    if options.check:
        found = [line for script in chosen for line in differences(script)]
        there, wanted = readme()
        found += [f"{README}: its table of notebooks is old; run make notebooks"] if there != wanted else []
        print("\n".join(found) or f"{len(chosen)} notebooks are up to date")
        return bool(found)
    with tempfile.TemporaryDirectory() as home:
        os.environ["CXR_HOME"] = home  # a bare project: each notebook makes what it needs
        for script in chosen:
            if script == CELL:
                nbformat.write(build(CELL, solved=True), target(CELL, solved=True))
                continue
            notebook = build(script, solved=False)
            if not options.no_run:
                try:
                    notebook = executed(notebook, script.stem, SOURCE.parents[1] / "build" / "notebooks")
                except CxrError as error:
                    print(f"cxr: {error}", file=sys.stderr)
                    return error.exit_status
            for solved, content in ((False, notebook), (True, build(script, solved=True))):
                path = target(script, solved=solved)
                path.parent.mkdir(exist_ok=True)
                nbformat.write(content, path)
            print(f"built {script.stem}", flush=True)
    README.write_text(readme()[1], encoding="utf-8")
    picture()
    return 0


if __name__ == "__main__":
    sys.exit(main())
