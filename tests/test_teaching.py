"""What a teacher gets: built from the lessons, nothing left out, no request to outside, readable by all."""

import ast
import builtins
import contextlib
import hashlib
import importlib.util
import io
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from cxr_utils.course import lessons
from cxr_utils.errors import BadInput
from cxr_utils.plots import _base

ROOT = Path(__file__).parents[1]
TEACHING = ROOT / "teaching"
spec = importlib.util.spec_from_file_location("build_teaching", TEACHING / "build.py")
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)

COURSE = builder.course()
QUIZZES = sorted(path.stem for path in Path(lessons.__file__).with_name("quizzes").glob("*.toml"))
each = pytest.mark.parametrize("number", COURSE)


# --- pages ---------------------------------------------------------------------------------------


def test_pages_are_what_the_sources_give():
    made = builder.pages()
    old = [path.name for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    assert old == [], "run make teaching"
    assert {path.name for path in (TEACHING / "guide").iterdir()} == {
        path.name for path in made if "guide" in path.parts
    }


@each
def test_a_question_or_exercise_that_the_guide_leaves_out_fails(number, tmp_path, monkeypatch):
    lesson = COURSE[number]
    text = (builder.SOURCE / "guide" / f"{number}.md.in").read_text(encoding="utf-8")
    (tmp_path / "guide").mkdir()
    monkeypatch.setattr(builder, "SOURCE", tmp_path)
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    places = re.findall(r"\{(?:question|exercise): [\w.]+\}", text)
    assert len(places) == len(lesson.questions) + len(lesson.tasks) > 1
    for place in places:
        for spoilt in (text.replace(place, ""), text + place, text + place.replace("}", "x}")):
            (tmp_path / "guide" / f"{number}.md.in").write_text(spoilt, encoding="utf-8")
            with pytest.raises(builder.Missing, match=f"{number}.md.in"):
                builder.guide(lesson)


def test_a_lesson_without_a_page_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "SOURCE", tmp_path)
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    with pytest.raises(builder.Missing, match=r"00\.md\.in: missing"):
        builder.guide(COURSE["00"])


@each
def test_a_page_has_its_parts(number):
    page = builder.guide(COURSE[number])
    for part in ("**Aim**: ", "**On the projector**: ", "## At each question", "## Where people may get stuck",
                 "## What may be asked", "## The five questions at its end"):  # fmt: skip
        assert page.count(part) == 1, part
    asked = page.partition("## What may be asked")[2].partition("\n## ")[0]
    answers = re.split(r'(?m)^\*\*".+\?"\*\*', asked)[1:]
    assert answers and all("](" in answer for answer in answers), "each answer has a source"
    assert page.count("- **Say**: ") == page.count("- **Expect**: ") == len(COURSE[number].questions)
    for name, (_, solution) in COURSE[number].tasks.items():
        assert solution in page and builder.hints(name)[0] in page


#: The solutions that need a trained network; where the answer is read off a table, the cell that shows it.
TRAINED = ("06.2", "06.3", "08.1", "08.2", "08.3", "09.1", "09.2")
SHOWN = {"05.2": "summary", "07.2": "worth"}


def needed(number):
    """Return the code that an exercise needs: its solution, and the cells before it that define what that uses."""
    (script,) = builder.build.scripts([number[:2]])
    code = [cell.source for cell in builder.build.build(script, solved=True).cells
            if cell.cell_type == "code" and "setup" not in cell.metadata.tags]  # fmt: skip
    at = next(n for n, source in enumerate(code) if f'exercises.check("{number}"' in source)
    call = next(node for node in ast.walk(ast.parse(code[at]))
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "exercises.check")  # fmt: skip
    kept = ["\n".join(line for line in code[at].splitlines() if not line.startswith(("#", "exercises.")))]
    wanted = {node.id for node in ast.walk(ast.parse(code[at])) if isinstance(node, ast.Name)}
    for source in reversed(code[:at]):
        nodes = list(ast.walk(ast.parse(source)))
        names = [node for node in nodes if isinstance(node, ast.Name)]
        made = {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
        made |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        made |= {node.value.id for node in nodes if isinstance(node, ast.Subscript)
                 and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)}  # fmt: skip
        if made & wanted:
            kept.insert(0, source)
            wanted |= {node.id for node in names}
    return "\n".join(kept), [ast.unparse(answer) for answer in call.args[1:]]


#: What a process of its own does with the solutions: numbers get three digits or are whole, and names keep their order.
RUN = """
import json, sys

def words(answer):
    if isinstance(answer, str):
        return answer
    if hasattr(answer, "__iter__"):
        return ", ".join(sorted(answer) if isinstance(answer, set) else answer)
    return f"{answer:,}" if float(answer).is_integer() and "float" not in type(answer).__name__ else f"{answer:.3g}"

found = {}
for number, (code, answers) in json.load(sys.stdin).items():
    space = {}
    exec(code, space)
    found[number] = " and ".join(words(eval(answer, space)) for answer in answers)
print("ANSWERS", json.dumps(found))
"""


def answered(numbers, home):
    """Run the solutions of exercises, and return their answers in words."""
    env = os.environ | {"CXR_HOME": str(home), "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=ROOT / "notebooks", env=env, capture_output=True,
                          text=True, input=json.dumps({number: needed(number) for number in numbers}))  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(re.search("(?m)^ANSWERS (.+)$", done.stdout)[1])


def test_an_answer_stands_beside_its_exercise():
    for number, answer in builder.answers().items():
        assert (
            f"On the sample with seed 0 it gives {answer}.{builder.OTHERWISE * (number in builder.TRAINED)}\n"
            in builder.guide(COURSE[number[:2]])
        )
    without = {"03.1", "04.1", "04.3"}  # an array, a kernel, what fit returns
    assert set(builder.answers()) | without == {number for lesson in COURSE.values() for number in lesson.tasks}
    assert f"{eval(COURSE['04'].tasks['04.2'][1].rpartition('added = ')[2]):,}" == builder.answers()["04.2"]
    at_five_percent = COURSE["06"].questions["at_five_percent"][2]  # exercise 6.3 counts the same children
    assert at_five_percent == builder.answers()["06.3"]


@pytest.mark.parametrize("number", SHOWN)
def test_an_answer_is_what_the_executed_lesson_shows(number):
    lesson = COURSE[number[:2]]
    for cell in lesson.cells:
        for out in lesson.shown(cell):
            if cell.source.splitlines()[-1].startswith(SHOWN[number]) and "text/html" in out.get("data", {}):
                lines = [line.split() for line in out.data["text/plain"].splitlines()]
                head, *rows = (words for words in lines if words not in (["name"], ["mistake"]))
                found = {" ".join(row[: -len(head)]): list(map(float, row[-len(head) :])) for row in rows}
                table = pd.DataFrame(found, index=head).T
                space = {SHOWN[number]: table}
                exec(lesson.tasks[number][1], space)
    _, answers = needed(number)
    assert ", ".join(space[answers[0]]) == builder.answers()[number]


def test_answers_are_what_the_solutions_give(sample_data, tmp_path):
    shutil.copytree(sample_data, tmp_path / "home" / "data")
    light = {each: answer for each, answer in builder.answers().items() if each not in {*TRAINED, *SHOWN, "04.2"}}
    assert answered(light, tmp_path / "home") == light


@pytest.mark.slow
def test_answers_are_what_the_trained_networks_give():
    home = ROOT / "build" / "test" / "course"
    if not (home / "runs" / "sample" / "course.json").is_file():
        pytest.skip("needs the runs of the earlier stages of make test")
    for number, said in answered(TRAINED, home).items():
        kept = builder.answers()[number]
        assert abs(float(said) - float(kept)) < 0.1 if kept[0].isdigit() else said == kept, number


#: What a person typed into the guide, and what the executed lesson shows in its place.
TYPED = (
    ("04", "from 91% to 85%", r"the weights of epoch 25 kept: of the others 91% right, in place of 85%"),
    ("04", "From epoch 25 on it climbs", r"the weights of epoch 25 kept"),
    ("05", "21 of 347 training images", r"train +21 +326\b"),
    ("05", "Of 247 synthetic images 238 leak", r"247 synthetic images"),
    ("06", r"on test, \.98 and \.41: 49 of 614", r"test +0\.919 +0\.766 +0\.984 +0\.405"),
    ("06", r"\.855 in place of \.695", r"(?s)carried from validation +\S+ +0\.695.+chosen on test +\S+ +0\.855"),
    ("07", r"12\.7 points", r"12\.7 points, mean of"),
    ("08", "about twice as much as evenly spread heat", r"2\.2 times as much"),
    ("09", r"\.53, about as good as a coin", r"AUC elsewhere: it is 0\.527"),
    ("09", r"\.87 in place of \.89", r"(?s)AP alone: it is 0\.893.+chest covered: it is 0\.866"),
    ("09", r"at home \.80, here \.47", r"(?s)home +0\.80\s.*here +0\.47"),
    ("10", "the tool finds 6", r"tool finds: it is 6\."),
)


@pytest.mark.parametrize(("number", "typed", "shown"), TYPED)
def test_a_typed_figure_is_that_of_the_executed_lesson(number, typed, shown):
    lesson = COURSE[number]
    outputs = [out.get("text", "") or out.get("data", {}).get("text/plain", "")
               for cell in lesson.cells for out in lesson.shown(cell)]  # fmt: skip
    assert re.search(typed, " ".join(builder.guide(lesson).split()))
    assert re.search(shown, "\n".join(outputs))


def test_what_the_guide_says_of_other_networks_is_in_the_results():
    page, rows = builder.guide(COURSE["04"]), (ROOT / "results" / "how-far.md").read_text(encoding="utf-8").splitlines()
    asked = page.partition("trained on millions of photographs")[2].partition("learns by heart always bad")[0]
    for name in ("ResNet-18, from scratch", "ResNet-18, fine-tuned", "Inception V3", "DINO", "**ours, from scratch"):
        (row,) = (line for line in rows if line.startswith(f"| {name}"))
        for figure in re.findall(r"\.\d{3}", row)[:1] + re.findall(r"\| (\.\d{3})", row)[1:2]:
            assert figure in asked, (name, figure)


def test_nothing_is_reported_as_if_it_had_been_taught():
    went, paper = ((TEACHING / name).read_text(encoding="utf-8") for name in ("how_it_went.md", "paper.md"))
    if "*not yet taught* |" in went:
        assert "**Not yet taught.**" in went and "\nNot yet taught." in paper


def test_the_paper_cites_what_it_lists_and_has_the_journals_parts():
    paper = (TEACHING / "paper.md").read_text(encoding="utf-8")
    listed = re.findall(r"(?m)^@\w+\{(\w+),", (TEACHING / "paper.bib").read_text(encoding="utf-8"))
    assert set(re.findall(r"@(\w+)", paper)) == set(listed) and len(listed) == len(set(listed))
    for part in ("Summary", "Statement of need", "Learning objectives", "Instructional design", "Experience of use"):
        assert f"\n# {part}\n" in paper
    assert len(paper.partition("# Summary")[2].split()) <= 1_000


# --- plans ---------------------------------------------------------------------------------------


def plans():
    for part in builder.plans().split("\n## ")[1:]:
        for day in re.findall(r"(?m)(?:^\| \d\d:\d\d .+\n)+", part):
            rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in day.splitlines()]
            yield (
                part.partition("\n")[0],
                [(*(datetime.strptime(at.strip("| "), "%H:%M") for at in row[:2]), row[2]) for row in rows],
            )


def test_plans_have_no_gap_and_enough_breaks():
    lengths = {"90 minutes": 90, "Half a day": 240, "Two days": 7 * 60}
    assert {title for title, _ in plans()} == set(lengths)
    for title, rows in plans():
        assert all(before[1] == after[0] for before, after in zip(rows, rows[1:], strict=False)), title
        whole = (rows[-1][1] - rows[0][0]).seconds / 60
        assert whole == 90 if title == "90 minutes" else whole <= lengths[title]
        since = rows[0][0]
        for _, until, what in rows:
            since = until if what.startswith(("Break", "Lunch", "Stand up")) else since
            assert (until - since).seconds / 60 <= 90, f"{title}: no break until {until:%H:%M}"


def undefined(cells):
    """Return the names that cells use and that neither they, nor one before them, define."""
    known, missing = set(dir(builtins)), []
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        for node in (nodes := list(ast.walk(ast.parse(cell.source)))):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                known.add(node.id)
            elif isinstance(node, ast.alias):
                known.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.FunctionDef | ast.ExceptHandler):
                known.add(node.name)
        missing += [f"{cell.id}: {node.id}" for node in nodes if isinstance(node, ast.Name) and node.id not in known]
    return missing


def rows_of(plan):
    """Return the rows of a plan that are about a lesson, by lesson: one kernel runs all of them."""
    rows = {}
    for item in (item for items in plan["days"] for item in items if "lesson" in item):
        rows.setdefault(item["lesson"], []).append(item)
    return rows


@pytest.mark.parametrize("plan", builder.planned()["plan"], ids=lambda plan: plan["title"])
def test_no_cell_of_a_plan_needs_what_the_plan_leaves_out(plan):
    for items in rows_of(plan).values():
        for choices in itertools.product(*(range(len(item.get("late", [])) + 1) for item in items)):
            kept = [cell for item, choice in zip(items, choices, strict=True) for cell in builder.cells(item, choice)]
            assert undefined(kept) == [], (plan["title"], choices)


def test_what_a_plan_left_out_would_be_seen():
    left = {"lesson": "01", "late": [{"leave": ["Who made the real dataset"]}]}
    assert undefined(builder.cells(left)) == []
    assert undefined(builder.cells(left, 1)) == ["01-013: record"]
    with pytest.raises(builder.Missing, match="leaves out what it does not hold"):
        builder.cells({"lesson": "01", "headings": ["One row an image"], "late": [{"leave": ["Exercise 1.1"]}]}, 1)


def test_twenty_minutes_can_be_regained_at_each_lesson_of_the_half_day():
    (items,) = next(plan["days"] for plan in builder.planned()["plan"] if plan["title"] == "Half a day")
    for number, item in enumerate(items):
        if "lesson" in item:
            assert sum(sum(builder.regained(later)) for later in items[number:]) >= 20, item["lesson"]
            assert len(item["late"]) >= 2
    assert not re.search(r"(?<!Never take \*\*)Run All(?! Above Selected Cell\*\*)", builder.plans())


def test_what_is_to_be_started_is_there():
    pages = {page.name[:2]: page.read_text(encoding="utf-8") for page in (builder.SOURCE / "guide").glob("*.in")}
    rows = [(number, item.get("what", "")) for plan in builder.planned()["plan"]
            for number, items in rows_of(plan).items() for item in items]  # fmt: skip
    letter = (TEACHING / "setup" / "letter.md").read_text(encoding="utf-8")
    steps = re.findall(r"(?m)^\d\. .*`(\d\d)_\w+\.ipynb`(.+(?:\n   .+)*)", letter)
    told = [(number, begins) for number, text in [*rows, *pages.items(), *steps]
            for begins in re.findall(r"begins\s+with\s+`([^`]+)`", text)]  # fmt: skip
    assert {number for number, _ in told} == {"01", "04", "05", "06"}
    for number, begins in told:
        assert any(cell.source.startswith(begins) for cell in COURSE[number].cells), (number, begins)


def test_a_lessons_length_is_the_formulas():
    assert [builder.room(minutes) for minutes in (30, 29, 1)] == [45, 40, 5]
    whole = {number: builder.room(lesson.minutes()) for number, lesson in COURSE.items()}
    seen = {
        what[8]: (until - begun).seconds / 60
        for _, rows in plans()
        for begun, until, what in rows
        if re.match(r"\[Lesson \d\]\([^)]*\): all of the core\.", what)
    }
    assert len(seen) >= 7 and all(whole[number.zfill(2)] == length for number, length in seen.items())
    with pytest.raises(builder.Missing, match="no heading"):
        COURSE["02"].minutes(["Nowhere"])


# --- quizzes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", QUIZZES)
def test_a_quiz_has_five_questions_and_a_reason_for_each_answer(number, capsys):
    asked = lessons.questions(number)
    assert len(asked) == 5 and len({question["asks"] for question in asked}) == 5
    assert len({question["right"] for question in asked}) > 1
    for question in asked:
        answers = dict(zip("abcd", question["answers"], strict=False))
        assert question["right"] in answers and 3 <= len(question["answers"]) <= 4
        assert len({text for text, _ in answers.values()}) == len(answers)
        assert all(reason.endswith(".") and len(reason.split()) >= 4 for _, reason in answers.values())
    lessons.quiz(number, *(question["right"].upper() for question in asked))
    assert capsys.readouterr().out.endswith("5 of 5 right.\n")


def test_each_lesson_ends_with_its_quiz():
    assert set(COURSE) <= set(QUIZZES)
    for number, lesson in COURSE.items():
        (call,) = (cell.source for cell in lesson.cells if "lessons.quiz(" in cell.source)
        assert call == f'lessons.quiz("{number}", ...)'


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["a", " B", "c", "x", 3, None, ...]), max_size=7))
def test_any_letters_are_answered(letters):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        lessons.quiz("06", *letters)
    said, asked = out.getvalue(), lessons.questions("06")
    right = sum(str(a).strip().lower() == q["right"] for a, q in zip(letters, asked, strict=False))
    assert said.count("✅") == right
    assert said.count("?\n   a)") == 5 - sum(letter is not ... for letter in letters[:5])


def test_a_quiz_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="lesson: '99'"):
        lessons.quiz("99")


def test_ten_questions_before_and_after_have_the_same_ideas_and_other_numbers():
    asked = tomllib.loads((builder.SOURCE / "tests.toml").read_text(encoding="utf-8"))["question"]
    assert len(asked) == 10 and len({each["idea"] for each in asked}) == 10
    for each in asked:
        before, after = each["before"], each["after"]
        assert before["asks"] != after["asks"]
        for one in (before, after):
            assert len(one["answers"]) == 3 == len(set(one["answers"])) and one["right"] in "abc"
    rights = {when: "".join(each[when]["right"] for each in asked) for when in ("before", "after")}
    assert all(len(set(letters)) == 3 for letters in rights.values())

    def said(number, when):
        one = asked[number - 1][when]
        return one["answers"]["abc".index(one["right"])]

    assert f"{binomtest(20, 20).proportion_ci().low:.0%}" in said(1, "before")
    assert f"{binomtest(10, 10).proportion_ci().low:.0%}" in said(1, "after")
    assert f"{0.009 / (0.009 + 0.1 * 0.99):.0%}" in said(7, "before")
    assert said(7, "after") == "About 25%" and abs(0.016 / (0.016 + 0.05 * 0.98) - 0.25) < 0.005


# --- the deck ------------------------------------------------------------------------------------


def test_reveal_is_as_it_was_fetched():
    known = dict(re.findall(r"\| `([\w.]+)` \| `(\w{64})` \|", (TEACHING / "reveal" / "README.md").read_text("utf-8")))
    found = {name: hashlib.sha256((TEACHING / "reveal" / name).read_bytes()).hexdigest() for name in known}
    assert known == found and set(known) == {"reset.css", "reveal.css", "reveal.js"}


def contrast(one, other="#ffffff"):
    """Return the contrast of two colours, from 1 to 21, as WCAG 2 defines it."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_of_the_deck_stands_out():
    style = (builder.SOURCE / "deck.html.j2").read_text(encoding="utf-8")
    colours = set(re.findall(r"[{;] ?color: (#\w{6}|#\w{3});", style))
    assert len(colours) >= 4
    for colour in colours:
        assert contrast("#" + "".join(2 * c for c in colour[1:]) if len(colour) == 4 else colour) >= 7, colour


@pytest.mark.slow
def test_the_deck_asks_nobody_and_is_readable_from_the_last_row(tmp_path, browser):
    path = tmp_path / "deck.html"
    path.write_text(builder.deck(), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("Reveal.isReady()")
    slides = page.evaluate("""() => Reveal.getSlides().map(slide => {
        const at = Reveal.getIndices(slide); Reveal.slide(at.h, at.v);
        const box = each => { const b = each.getBoundingClientRect(); return [b.width, b.bottom]; };
        return {text: slide.innerText, bottom: Math.max(...[...slide.children].map(each => box(each)[1])),
                size: Math.min(...[...slide.querySelectorAll('p:not(.lesson), li, td, h2')].map(
                    each => parseFloat(getComputedStyle(each).fontSize))),
                pictures: [...slide.querySelectorAll('img')].map(each => (
                    {alt: each.alt, natural: [each.naturalWidth, each.naturalHeight], width: each.clientWidth,
                     height: each.clientHeight, slide: box(each)}))};
    })""")
    assert {lesson.number for lesson in COURSE.values() if lesson.tagged("slide")} == {"00", "02", "06", "07"}
    assert 20 <= len(slides) <= 45
    for slide in slides:
        assert slide["bottom"] <= 721 and len(slide["text"].split()) <= 110, slide
        assert slide["size"] >= 28, slide
        for picture in slide["pictures"]:
            assert len(slide["pictures"]) == 1, "a figure has a slide of its own"
            assert len(picture["alt"].split()) >= 5 and picture["natural"][0] >= 1000
            assert picture["width"] == 1280 and picture["height"] == 720, slide
            assert picture["slide"][0] >= 1200 and picture["slide"][1] >= 680, "in the room it is that large"
    page.evaluate("Reveal.slide(0)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("Reveal.getIndices().v") == 1
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == 4
    page.close()
    assert said == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []


# --- set-up pages --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["windows", "macos", "linux", "browser"])
def test_a_set_up_page_has_five_errors_and_true_words(name):
    page = (TEACHING / "setup" / f"{name}.md").read_text(encoding="utf-8")
    errors = page.partition("## Five errors, and the way out\n")[2]
    assert re.findall(r"(?m)^(\d)\. ", errors) == list("12345")
    quoted = re.findall(r"(?m)^ *> (.+)$", page)
    start = ROOT / "start.py"
    if not start.is_file() or name == "browser":
        return
    texts = []
    for node in ast.walk(ast.parse(start.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(p.value if isinstance(p, ast.Constant) else "…" for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    for line in quoted:
        pieces = [re.escape(piece.strip()) for piece in line.split("…") if piece.strip()]
        assert any(re.search(".*".join(pieces), text) for text in texts), line


# --- who can take part ---------------------------------------------------------------------------


@each
def test_each_figure_has_a_text_of_its_own(number):
    alts = []
    for cell in COURSE[number].cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "plots.show":
                    alts.append(ast.unparse(next(word.value for word in node.keywords if word.arg == "alt")))
    assert len(alts) == len(set(alts)) and all(len(alt.split()) >= 5 for alt in alts), alts


@each
def test_no_lesson_needs_a_mouse(number):
    code = "\n".join(cell.source for cell in COURSE[number].cells if cell.cell_type == "code")
    assert not re.search(r"widget|interact|%matplotlib|bokeh|plotly|mpld3", code)


#: Machado, Oliveira and Fernandes, 2009, https://doi.org/10.1109/TVCG.2009.113, full severity, in linear RGB.
BLINDNESS = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_two_classes_stay_apart_and_stand_out(kind):
    def seen(colour):
        linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
        return [max(sum(w * c for w, c in zip(row, linear, strict=True)), 0) ** (1 / 2.2) for row in BLINDNESS[kind]]

    normal, pneumonia = (seen(colour) for colour in _base.CLASS_COLOURS.values())
    assert sum((a - b) ** 2 for a, b in zip(normal, pneumonia, strict=True)) ** 0.5 > 0.25
    assert all(contrast(colour) >= 3 for colour in _base.CLASS_COLOURS.values())


def sentences(text):
    """Return the lengths of the sentences of prose, in words."""
    text = re.sub(r"(?ms)^```.*?^```|^\|.*?$|^#+ .*?$", "", builder.unlinked(text))
    text = re.sub(r"`[^`]*`", "x", text)
    parts = re.split(r"\n\n|\n(?=- |\d+\. )|(?<=[.!?])\s+", text)
    return [len(words) for words in (re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", part) for part in parts) if words]


def test_sentences_of_the_core_are_short(capsys):
    lengths = {}
    for number, lesson in COURSE.items():
        prose = [c.source for c in lesson.cells if c.cell_type == "markdown" and "core" in c.metadata.tags]
        lengths[number] = [words for text in prose for words in sentences(text)]
    means = {number: statistics.mean(each) for number, each in lengths.items()}
    whole = statistics.mean(words for each in lengths.values() for words in each)
    with capsys.disabled():
        print(f"\nwords a sentence of the core: {whole:.1f}, at most {max(means.values()):.1f} a lesson")
    assert whole <= 13 and max(means.values()) <= 15, means
