"""Rules that the notebooks keep, measured; and their solutions, executed."""

import ast
import re
import statistics
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import effects
import nbformat
import pandas as pd
import pytest
from effects import FOLDER, builder
from PIL import Image

from cxr_utils import files
from cxr_utils.course import exercises, notebooks
from cxr_utils.errors import BadInput

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "test"  # what the stages nbval and papermill of `make test` leave behind
NEEDS_RUNS = "needs the notebooks executed by the earlier stages of make test"

SCRIPTS = builder.scripts([])
COURSE = {script.stem: builder.build(script, solved=False) for script in SCRIPTS}
SOLVED = {script.stem: builder.build(script, solved=True) for script in SCRIPTS}
COMMON = dict.fromkeys(("source", "path", "data_dir", "run_dir", "profile", "seed"))  # None: as lessons.chosen says
each = pytest.mark.parametrize("name", COURSE)


def cells(name, kind=None, tag=None, course=COURSE):
    """Yield the cells of a notebook, of one type or with one tag."""
    for cell in course[name].cells:
        if kind in (None, cell.cell_type) and (tag is None or tag in cell.metadata.tags):
            yield cell


def ordinary(name):
    """Yield the sources of the code cells that are to be read: no exercise, and not the set-up."""
    for cell in cells(name, "code"):
        if not {"exercise", "setup"} & set(cell.metadata.tags):
            yield cell.source


def calls(name, function):
    """Yield the calls of a function, such as plots.show, as syntax trees."""
    for cell in cells(name, "code"):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                yield node


def test_notebooks_are_what_the_scripts_say():
    assert [line for script in SCRIPTS for line in builder.differences(script)] == []
    there, wanted = builder.readme()
    assert there == wanted


def test_numbers_follow_each_other():
    assert [name[:2] for name in COURSE] == [f"{number:02d}" for number in range(len(COURSE))]


@each
def test_half_of_the_cells_are_prose(name):
    prose, everything = len(list(cells(name, "markdown"))), len(list(cells(name))) - len(list(cells(name, tag="setup")))
    assert 0.4 <= prose / everything <= 0.6, f"{prose} of {everything}"


@each
def test_code_cells_are_short(name):
    lengths = sorted(len([line for line in source.splitlines() if line.strip()]) for source in ordinary(name))
    assert statistics.median(lengths) <= 6, lengths
    assert sum(length <= 15 for length in lengths) >= 0.9 * len(lengths), lengths


@each
def test_no_definitions_but_in_exercises(name):
    for source in ordinary(name):
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), source


@each
def test_each_cell_is_core_or_further(name):
    for cell in cells(name):
        tags = set(cell.metadata.tags)
        assert len(tags & {"core", "further"}) == 1, cell.source
        assert tags <= {
            "core",
            "further",
            "setup",
            "parameters",
            "exercise",
            "check",
            "guess",
            "answer",
            "nbval-check-output",
            "slide",
        }, tags


@each
def test_where_further_begins_and_ends_is_seen(name):
    before = "core"
    for cell in cells(name):
        (path,) = {"core", "further"} & set(cell.metadata.tags)
        mark = {"core": builder.CORE, "further": builder.FURTHER}[path]
        if path != before:
            assert cell.cell_type == "markdown" and re.match(rf"(#+ .*\n\n)?{re.escape(mark)}(\n\n|\Z)", cell.source), (
                cell.source
            )
        else:
            assert mark not in cell.source
        before = path


@each
def test_one_parameters_cell_with_the_common_names(name):
    (cell,) = cells(name, tag="parameters")
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    assert COMMON.items() <= given.items()
    assert "core" in cell.metadata.tags


@each
def test_head_and_figures(name):
    first = COURSE[name].cells[0]
    form = r"# \d+\. .+\n\n\*\*You will be able to\*\* .+?\n\n\*\*Before you start\*\*: .+?\n\n\*\*Minutes\*\*: "
    assert first.cell_type == "markdown" and re.match(form, first.source, re.S), first.source
    prose = "\n".join(cell.source for cell in cells(name, "markdown"))
    for part in ("What to remember", "predict, then run", "what went wrong"):
        assert part.lower() in prose.lower(), part
    alts = [{word.arg: word.value for word in call.keywords}["alt"] for call in calls(name, "plots.show")]
    assert len(alts) >= 2
    assert all(not isinstance(alt, ast.Constant) or len(alt.value) > 10 for alt in alts)


@each
def test_each_guess_is_compared_with_what_came_out(name):
    """A question has a place for the guess; the cell that answers puts both side by side, in values made from data."""
    code = list(cells(name, "code"))
    guesses = [number for number, cell in enumerate(code) if "guess" in cell.metadata.tags]
    prose = "\n".join(cell.source for cell in cells(name, "markdown"))
    assert prose.count("**Predict, then run**") == len(guesses) <= 5
    for number in guesses:
        (assigned,) = ast.parse(code[number].source).body
        assert isinstance(assigned.value, ast.Constant) and assigned.value.value is None and "#" in code[number].source
        variable = assigned.targets[0].id
        calls = [
            call
            for cell in code[number + 1 :]
            if "answer" in cell.metadata.tags
            for call in ast.walk(ast.parse(cell.source))
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "lessons.compare"
        ]
        (call,) = (call for call in calls if ast.unparse(call.args[1]) == variable)
        assert not isinstance(call.args[2], ast.Constant), ast.unparse(call)  # not what the author saw
    assert not guesses or any("lessons.score()" in cell.source for cell in code)


@each
def test_each_figure_is_explained(name):
    book = list(COURSE[name].cells)
    for cell, after in zip(book, book[1:], strict=False):
        if "plots.show(" in cell.source and cell.cell_type == "code":
            assert "**How to read it**" in after.source, cell.source


@each
def test_exercises_come_in_four_parts(name):
    """But in 00, which is a door: ten minutes for one who looks on, in a talk too."""
    stubs, answers = list(cells(name, tag="exercise")), list(cells(name, tag="solution", course=SOLVED))
    checks = [ast.literal_eval(call.args[0]) for call in calls(name, "exercises.check")]
    assert (name.startswith("00") or 2 <= len(checks) <= 3) and checks == [
        f"{name[:2]}.{n}" for n in range(1, len(checks) + 1)
    ]
    assert len(stubs) == len(answers) == len(checks) == len(list(cells(name, tag="check")))
    assert all("..." in stub.source for stub in stubs)
    for number, cell in zip(checks, cells(name, tag="check"), strict=True):  # hint and solution on request
        for ask in ("hint", "solution"):
            assert cell.source.count(f'\n#exercises.{ask}("{number}")') == 1, cell.source
    assert not any("solution" in cell.metadata.tags for cell in cells(name))


def test_the_core_is_half_a_day():
    """By a stated formula, `minutes` of the build script, which also writes the minutes into the lessons."""
    core = {name: builder.minutes(book, "core") for name, book in COURSE.items()}
    assert sum(core[name] for name in core if "01" <= name[:2] <= "06") <= 150
    for name, book in COURSE.items():
        head = re.search(r"^\*\*Minutes\*\*: (\d+) core \+ (\d+) further$", book.cells[0].source, re.M)
        assert head and int(head[1]) == round(core[name]), name


def _anchors():
    titles = re.findall(r"(?m)^## (.+)$", (FOLDER / "glossary.md").read_text(encoding="utf-8"))
    return {title.lower().replace(" ", "-"): title for title in titles}


def test_glossary_is_alphabetical_and_all_links_lead_somewhere():
    anchors = _anchors()
    assert list(anchors) == sorted(anchors, key=lambda a: a.replace("-", " "))
    text = (FOLDER / "glossary.md").read_text(encoding="utf-8")
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", text)} <= set(anchors)
    linked = set()
    for name in COURSE:
        for cell in cells(name, "markdown"):
            linked |= set(re.findall(r"\]\(glossary\.md#([^)]+)\)", cell.source))
            for target in re.findall(r"\]\((\w+\.ipynb)", cell.source):
                assert (FOLDER / target).is_file(), f"{name}: {target}"
    assert linked - set(anchors) == set()
    assert set(anchors) - linked == set()


def test_terms_are_linked_at_first_use():
    """Heads (what one will be able to do), headings, code and links elsewhere do not count as a use."""
    prose = ""
    for name in COURSE:
        for cell in list(cells(name, "markdown"))[1:-1]:
            source = re.sub(r"(?s:```.*?```)|`[^`]*`|(?m:^[#|].*$)", " ", cell.source)
            prose += f"\n\n[{name}]\n" + source
    late = []
    for anchor, title in _anchors().items():
        link = re.search(rf"\[[^\]]*\]\(glossary\.md#{re.escape(anchor)}\)", prose)
        bare = re.sub(r"\]\([^)]*\)", lambda m: "]" + " " * (len(m[0]) - 1), prose)
        use = re.search(
            rf"(?<![\w-]){re.escape(title)}s?(?![\w-])", bare, re.I if title.islower() or title[1:].islower() else 0
        )
        if link and use and use.start() < link.start():
            late.append((title, " ".join(prose[max(use.start() - 60, 0) : use.end() + 30].split())))
    assert late == []


@each
def test_committed_outputs(name):
    path = FOLDER / f"{name}.ipynb"
    book = nbformat.read(path, as_version=4)
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs, "not executed; run make notebooks"
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert [out for out in outputs if out.output_type == "error" or out.get("name") == "stderr"] == []
    folded = [
        cell.metadata.get("jupyter", {}).get("source_hidden") for cell in book.cells if "setup" in cell.metadata.tags
    ]
    assert folded == [True]  # it is no part of the lesson
    figures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(figures) >= 2
    for figure in figures:
        assert figure.metadata.get("image/png", figure.metadata).get("alt"), "a figure without a text alternative"
        assert Image.open(BytesIO(b64decode(figure.data["image/png"]))).width >= 1_000, "too small for a projector"
    assert path.stat().st_size <= 1_200_000
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/Users/|/tmp/|/root/|site-packages", re.sub(r'"image/png": "[^"]*"', "", text))


@pytest.mark.slow
@each
def test_solutions_are_right_and_wrong_answers_get_a_hint(name, tmp_path, monkeypatch, capsys):
    """As a learner gets them printed; in the run folder of the papermill stage, where everything is trained already.

    There the effects must show, too.
    """
    if not (BUILT / "course" / "runs" / "sample" / "course.json").is_file():
        pytest.skip(NEEDS_RUNS)
    monkeypatch.setenv("CXR_HOME", str(BUILT / "course"))
    book = builder.build(FOLDER / "source" / f"{name}.py", solved=True)
    for number, cell in enumerate((cell for cell in book.cells if "solution" in cell.metadata.tags), 1):
        exercises.solution(f"{name[:2]}.{number}")
        cell.source = capsys.readouterr().out
    for cell in [cell for cell in book.cells if "check" in cell.metadata.tags]:
        call = next(
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "exercises.check"
        )
        for wrong in ("...", "-12345", "'nonsense'", "None"):
            call.args = [call.args[0], *[ast.parse(wrong, mode="eval").body for _ in call.args[1:]]]
            added = nbformat.v4.new_code_cell(
                ast.unparse(call), metadata={"tags": ["not yet" if wrong == "..." else "wrong"]}
            )
            book.cells.insert(book.cells.index(cell) + 1, added)
    book.cells.append(effects.cell(name))
    output = tmp_path / f"{name}.ipynb"
    notebooks.execute(book, output, given={}, cwd=FOLDER)
    starts = {"check": "✅", "wrong": "Hint: ", "not yet": "Not yet"}
    seen = 0
    for cell in nbformat.read(output, as_version=4).cells:
        for tag in starts.keys() & set(cell.metadata.tags):
            printed = "".join(out.get("text", "") for out in cell.outputs)
            assert printed.startswith(starts[tag]) and "✅" not in printed[1:], cell.source + printed
            seen += 1
    assert seen >= 10 or name.startswith("00")
    assert effects.failing(effects.of(name), effects.seen(output)) == []


@pytest.mark.slow
@each
def test_stubs_run_and_say_not_yet(name):
    path = BUILT / "course" / "runs" / "sample" / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip(NEEDS_RUNS)
    for cell in nbformat.read(path, as_version=4).cells:
        if "check" in cell.metadata.tags:
            assert "".join(out.get("text", "") for out in cell.outputs).startswith("Not yet"), cell.source


def test_of_a_real_run_what_was_drawn_is_not_kept(tmp_path, monkeypatch):
    """Lesson 09 draws its hospitals whatever the others use; its real figures come from elsewhere."""
    monkeypatch.setattr(builder, "SOURCE", tmp_path / "notebooks" / "source")
    (tmp_path / "results" / "course").mkdir(parents=True)
    run = tmp_path / "run"
    (run / "facts").mkdir(parents=True)
    given = {"profile": "workshop", "source": "folder", "seed": 0}
    files.write_json(run / "course.json", {name: {"parameters": given} for name in ("08_x", "09_x")})
    for name, source in (("08_x", "folder"), ("09_x", "sample")):
        files.write_json(run / "facts" / f"{name}.json", {"source": source, "facts": {"AUC": 0.9}})
    builder.keep(str(run), "all")
    assert [path.name for path in (tmp_path / "results" / "course").iterdir()] == ["08_x.json"]
    files.write_json(run / "course.json", {"09_x": {"parameters": given | {"source": "sample"}}}, ours=True)
    (run / "facts" / "08_x.json").unlink()
    with pytest.raises(BadInput, match="made from phantoms"):
        builder.keep(str(run), "all")


@pytest.mark.slow
def test_two_runs_predict_the_same():
    first, second = (BUILT / stage / "runs" / "sample" for stage in ("nbval", "course"))
    if not (first.is_dir() and second.is_dir()):
        pytest.skip(NEEDS_RUNS)
    tables = {path.relative_to(first) for path in first.rglob("predictions.csv")}
    assert tables and tables == {path.relative_to(second) for path in second.rglob("predictions.csv")}
    for table in tables:
        pd.testing.assert_frame_equal(pd.read_csv(first / table), pd.read_csv(second / table))


@pytest.mark.slow
def test_nbval_notices_a_changed_output(tmp_path):
    book = nbformat.v4.new_notebook(metadata={"kernelspec": builder.KERNEL})
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["nbval-check-output"]})
    cell.execution_count = 1
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)]
    book.cells = [cell]
    command = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider"]
    sanitize = ["--nbval-sanitize-with", str(FOLDER / "source" / "nbval_sanitize.cfg")]
    for shown, status in (("2", 0), ("3", 1)):
        cell.outputs[0].data["text/plain"] = shown
        nbformat.write(book, tmp_path / "sum.ipynb")
        done = subprocess.run([*command, *sanitize, "sum.ipynb"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stdout


@pytest.mark.long
@each
def test_each_notebook_alone_by_plain_papermill(name, tmp_path, monkeypatch):
    """On a bare project, started from another folder than its own."""
    monkeypatch.setenv("CXR_HOME", str(tmp_path))
    command = [sys.executable, "-m", "papermill", "-k", "python3", str(FOLDER / f"{name}.ipynb"), "out.ipynb"]
    done = subprocess.run(
        [*command, "--cwd", str(ROOT), "-p", "seed", "1"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
