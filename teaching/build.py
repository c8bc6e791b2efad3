"""Build what a teacher needs from the lessons' scripts, the executed lessons, and the sources beside this file.

``plans.md``, ``guide/NN_name.md`` and ``tests/*.md`` are kept in the repository; ``deck.html``, which is large, is not.
What only a person can write stands in ``source/``; questions, tasks, solutions, hints, answers, minutes are filled in.

    python teaching/build.py            # write all of it
    python teaching/build.py --check    # are the kept pages what the sources give?
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import inspect
import itertools
import json
import re
import sys
import textwrap
import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import jinja2
import jupytext
import nbformat
from nbconvert.filters import markdown2html_mistune as html

from cxr_utils.course import exercises, lessons

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
PLANS, ANSWERS = SOURCE / "plans.toml", SOURCE / "answers.toml"
ROOT = HERE.parent
#: What the formula's minute takes in a room, with people who ask. One who prepared lessons 4, 5 and 6 judged 45, 40 and
#: 45 minutes, where the formula says 30, 29 and 30. Nobody has taught it yet.
ROOM = 1.45
LETTERS = "abcd"
MADE = "<!-- Made by `make teaching` from teaching/source; edit that. -->\n\n"

sys.path.append(str(ROOT / "notebooks" / "source"))  # build.py imports what lies beside it
spec = importlib.util.spec_from_file_location("build_lessons", ROOT / "notebooks" / "source" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


class Missing(Exception):
    """A source names what the lessons don't have, or leaves out what they have."""


class Lesson:
    """A lesson as its script gives it, with the outputs of the executed edition."""

    def __init__(self, script: Path):
        self.name, self.number = script.stem, script.stem[:2]
        self.book = build.build(script, solved=False)
        self.cells = self.book.cells
        self.solved = [cell for cell in jupytext.read(script).cells if "solution" in cell.metadata.get("tags", [])]
        path = ROOT / "notebooks" / f"{self.name}.ipynb"
        done = nbformat.read(path, as_version=4).cells if path.is_file() else []
        self.outputs = {cell.id: (cell.source, cell.get("outputs", [])) for cell in done}
        self.headings = {}  # of each cell, the last heading in it or before it
        self.parts = []  # of each cell, or piece of one that holds several headings: its heading, and itself
        heading = ""
        for cell in self.cells:
            pieces = re.split(r"(?m)^(?=#{1,3} )", cell.source) if cell.cell_type == "markdown" else [cell.source]
            for piece in filter(None, pieces):
                found = re.match(r"#{1,3} (.+)", piece) if cell.cell_type == "markdown" else None
                heading = found[1] if found else heading
                self.parts.append((heading, nbformat.from_dict(cell | {"source": piece})))
            self.headings[cell.id] = heading

    @property
    def title(self) -> str:
        """The first heading, with its number."""
        return re.match(r"# (.+)", self.cells[0].source)[1]

    def tagged(self, tag: str) -> list[nbformat.NotebookNode]:
        """The cells with a tag."""
        return [cell for cell in self.cells if tag in cell.metadata.tags]

    def shown(self, cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
        """The outputs of a cell in the executed edition; none if it was changed since."""
        source, outputs = self.outputs.get(cell.id, ("", []))
        return outputs if source == cell.source else []

    def text_before(self, cell: nbformat.NotebookNode) -> str:
        """The prose right before a cell."""
        before = self.cells[: self.cells.index(cell)]
        return next(each.source for each in reversed(before) if each.cell_type == "markdown")

    @functools.cached_property
    def questions(self) -> dict[str, tuple[str, str, str]]:
        """Of each guess by its name: the question, how it is to be written, and what came out on the sample."""
        found = {}
        for cell in self.tagged("guess"):
            name, form = re.match(r"(\w+) = None  # your guess: (.+)", cell.source).groups()
            asked = re.search(r"(?s)\*\*Predict, then run\*\*: (.+?)(?:\n\n|\Z)", self.text_before(cell))[1]
            answer = next(c for c in self.tagged("answer") if re.search(rf"compare\(.+, {name}, ", c.source))
            said = "".join(out.get("text", "") for out in self.shown(answer))
            came = re.search(r"(?m): it is (.+)\.$", said)
            found[name] = (" ".join(asked.split()), form, came[1] if came else "")
        return found

    @functools.cached_property
    def tasks(self) -> dict[str, tuple[str, str]]:
        """Of each exercise by its number: the task and the solution."""
        checks = [re.search(r'exercises\.check\("([^"]+)"', cell.source)[1] for cell in self.tagged("check")]
        found = {}
        for number, stub, answer in zip(checks, self.tagged("exercise"), self.solved, strict=True):
            before = self.cells[: self.cells.index(stub)]
            texts = (c.source for c in reversed(before) if c.cell_type == "markdown" and "### Exercise" in c.source)
            task = clean(re.split(r"### Exercise \d+\.\d\n+", next(texts))[1])
            found[number] = (unlinked(task), answer.source)
        return found

    def minutes(self, headings: list[str] | None = None, path: str = "core") -> float:
        """The formula's minutes of a path, of all or of the cells under some headings."""
        cells = [cell for cell in self.below(headings) if path in cell.metadata.tags]
        return build.minutes(nbformat.NotebookNode(cells=cells), path)

    def below(self, headings: list[str] | None) -> list[nbformat.NotebookNode]:
        """The cells, or pieces of cells, under some headings, or all."""
        if unknown := set(headings or ()) - {heading for heading, _ in self.parts}:
            raise Missing(f"{self.name}: has no heading {sorted(unknown)}")
        return [cell for heading, cell in self.parts if headings is None or heading in headings]


def unlinked(text: str) -> str:
    """Leave of links to other pages their words."""
    return re.sub(r"\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", text)


@functools.cache
def course() -> dict[str, Lesson]:
    """All lessons by number."""
    return {script.stem[:2]: Lesson(script) for script in build.scripts([])}


def room(minutes: float) -> int:
    """Minutes in a room, to five.

    >>> room(30), room(29), room(1)
    (45, 40, 5)
    """
    return max(5, 5 * round(ROOM * minutes / 5))


# --- the instructor's guide ----------------------------------------------------------------------


def hints(number: str) -> tuple[str, list[str]]:
    """Return the way to an answer, and what the checker says to wrong ones."""
    checker = exercises.CHECKERS[number]
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(checker))).body
    texts, inner = [], {id(function.body[0].value)}  # its docstring
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            texts.append((node.lineno, "".join(getattr(part, "value", "…") if isinstance(part, ast.Constant) else "…"
                                               for part in node.values)))  # fmt: skip
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            texts.append((node.lineno, node.value))
    wrong = [text for _, text in sorted(texts) if len(text.split()) > 4]
    return " ".join(checker.__doc__.split()), wrong


def guide(lesson: Lesson) -> str:
    """Return the page of a lesson: what a person wrote, with what the lesson holds filled in."""
    path = SOURCE / "guide" / f"{lesson.number}.md.in"
    if not path.is_file():
        raise Missing(f"{path.relative_to(ROOT)}: missing, and there is a lesson {lesson.name}")
    text, seen = path.read_text(encoding="utf-8"), []

    def filled(match: re.Match[str]) -> str:
        kind, name = match.groups()
        seen.append((kind, name))
        if name not in (lesson.questions if kind == "question" else lesson.tasks):
            raise Missing(f"{path.relative_to(ROOT)}: {{{kind}: {name}}} is not in {lesson.name}")
        if kind == "question":
            cell = next(c for c in lesson.tagged("guess") if c.source.startswith(f"{name} = "))
            return _question(*lesson.questions[name], standing(lesson, cell))
        cell = next(c for c in lesson.tagged("check") if f'check("{name}"' in c.source)
        return _exercise(name, *lesson.tasks[name], standing(lesson, cell))

    text = re.sub(r"\{(question|exercise): ([\w.]+)\}", filled, text)
    wanted = [("question", name) for name in lesson.questions] + [("exercise", name) for name in lesson.tasks]
    for each in wanted:
        if seen.count(each) != 1:
            raise Missing(f"{path.relative_to(ROOT)}: {{{each[0]}: {each[1]}}} stands there {seen.count(each)} times")
    core, further = lesson.minutes(), lesson.minutes(path="further")
    able = re.search(r"(?s)\*\*You will be able to\*\* (.+?)\n\n", lesson.cells[0].source)[1]
    head = (
        f"# Teaching {lesson.title}\n\n[The lesson](../../notebooks/{lesson.name}.ipynb) · core {core:.0f} minutes by "
        f"the formula, {room(core)} in a room · further {further:.0f} · [all pages](../README.md)\n\n"
        f"Learners will be able to {' '.join(unlinked(able).split())}\n\n"
    )
    return MADE + head + text.strip() + "\n" + real(lesson) + asked_at_the_end(lesson)


def standing(lesson: Lesson, cell: nbformat.NotebookNode) -> str:
    """Say whether a question or an exercise is core, and which plans leave it out, or take it in though it is not."""
    with_it, without = [], []
    for each in planned()["plan"]:
        rows = [item for items in each["days"] for item in items if item.get("lesson") == lesson.number]
        if rows:
            there = any(cell.id == one.id for item in rows for one in cells(item))
            (with_it if there else without).append(each["title"].lower())
    core = "core" in cell.metadata.tags
    named = without if core else with_it
    said = f" {'Not used' if core else 'Used'} in: {', '.join(named)}." if named else ""
    return ("Core." if core else "Further.") + said


@functools.cache
def answers() -> dict[str, str]:
    """Return what the exercises' solutions give on the sample with seed 0; the tests hold it to the solutions."""
    return tomllib.loads(ANSWERS.read_text(encoding="utf-8"))


def _question(asked: str, form: str, came: str, where: str) -> str:
    asked = unlinked(asked)
    came = f"On the sample with seed 0 it is {came}." if came else "The executed lesson shows what came out."
    return f"### “{asked[0].upper()}{asked[1:]}”\n\n*{where} A guess is {form}. {came}*"


#: Whose answer hangs on a trained network.
TRAINED = ("05.2", "06.2", "06.3", "07.2", "08.1", "08.2", "08.3", "09.1")
OTHERWISE = " Networks come out a little otherwise on another processor, so a learner's figure may differ."


def _exercise(number: str, task: str, solution: str, where: str) -> str:
    way, wrong = hints(number)
    quoted = "\n".join(f"> {line}".rstrip() for line in task.splitlines())
    said = ["What the check says to wrong answers:", "\n".join(f"- “{each}”" for each in wrong)] if wrong else []
    name = f"{int(number[:2])}.{number[3:]}"
    came = (
        f"\n\nOn the sample with seed 0 it gives {answers()[number]}.{OTHERWISE * (number in TRAINED)}"
        if number in answers()
        else ""
    )
    code = f"```python\n{solution}\n```{came}"
    return "\n\n".join([f"### Exercise {name}", f"*{where}*", quoted, code, f"The hint: {way}", *said])


def real(lesson: Lesson) -> str:
    """Return the table of what the real images gave, where there is one."""
    path = ROOT / "results" / "course" / f"{lesson.name}.json"
    if not path.is_file():
        return ""
    kept = json.loads(path.read_text(encoding="utf-8"))
    shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in kept["facts"].items()}
    rows = "".join(f"| {name} | {value} |\n" for name, value in shown.items())
    return f"\n## What the real images gave\n\nOf {kept['images']}. The lesson shows it beside its own figures.\n\n" \
           f"| figure | value |\n| --- | ---: |\n{rows}"  # fmt: skip


def asked_at_the_end(lesson: Lesson) -> str:
    """Return the five questions of a lesson with the reason of each answer."""
    said = "\n## The five questions at its end\n"
    for number, asked in enumerate(lessons.questions(lesson.number), 1):
        said += f"\n{number}. {asked['asks']}\n"
        for letter, (answer, reason) in zip(LETTERS, asked["answers"], strict=False):
            mark = "**right**" if letter == asked["right"] else "wrong"
            said += f"   - {letter}) {answer} *{mark}: {reason}*\n"
    return said


# --- plans ---------------------------------------------------------------------------------------


@functools.cache
def planned() -> dict:
    """Return the plans as a person wrote them."""
    return tomllib.loads(PLANS.read_text(encoding="utf-8"))


def plan(given: dict) -> str:
    """Return a plan: a table of clock times, made from the minutes' formula."""
    said = f"## {given['title']}\n\n{given['for'].strip()}\n"
    for day, items in enumerate(given["days"], 1):
        said += f"\n### Day {day}\n" if len(given["days"]) > 1 else ""
        clock = datetime.strptime(given["starts"], "%H:%M")
        said += "\n| from | to | what | if you are late |\n| --- | --- | --- | --- |\n"
        for item in items:
            until = clock + timedelta(minutes=item.get("minutes") or room(formula(item)))
            said += f"| {clock:%H:%M} | {until:%H:%M} | {_what(item)} | {_late(item)} |\n"
            clock = until
    return said + f"\n**Homework**: {given['homework'].strip()}\n"


def cells(item: dict, choices: int = 0) -> list[nbformat.NotebookNode]:
    """Return the cells, or pieces of cells, of a row, less what its first choices leave out when it is late."""
    lesson, left = course()[item["lesson"]], {h for each in item.get("late", [])[:choices] for h in each["leave"]}
    core = lesson.below(item.get("headings")) if item.get("core", True) else []
    further = lesson.below(item["further"]) if "further" in item else []
    mine = [c for c in core if "core" in c.metadata.tags] + [c for c in further if "further" in c.metadata.tags]
    if strange := left - {heading for heading, cell in lesson.parts if cell in mine}:
        raise Missing(f"plans.toml: the row of {lesson.name} leaves out what it does not hold: {sorted(strange)}")
    gone = [cell for heading, cell in lesson.parts if heading in left]
    return [cell for cell in mine if cell not in gone]


def formula(item: dict, choices: int = 0) -> float:
    """Return the formula's minutes of a row, less what its first choices leave out."""
    book = nbformat.NotebookNode(cells=cells(item, choices))
    return sum(build.minutes(book, path) for path in ("core", "further"))


def regained(item: dict) -> list[float]:
    """Return the minutes in a room that each choice of a row gives back."""
    if "lesson" not in item:
        return [each["minutes"] for each in item.get("late", [])]
    left = [formula(item, number) for number in range(len(item.get("late", [])) + 1)]
    return [ROOM * (before - after) for before, after in itertools.pairwise(left)]


def _late(item: dict) -> str:
    said = []
    for each, minutes in zip(item.get("late", []), regained(item), strict=True):
        left = ", ".join(f"“{heading}”" for heading in each.get("leave", []))
        said.append(f"{left}{each.get('say', '')} ({max(1, round(minutes))} min)")
    return "; ".join(f"{n}. {text}" for n, text in enumerate(said, 1)) if len(said) > 1 else "".join(said)


def _what(item: dict) -> str:
    if "lesson" not in item:
        return item["what"]
    lesson = course()[item["lesson"]]
    named = [f"“{h}”" if h != lesson.title else "its beginning" for h in item.get("headings", ())]
    parts = ([", ".join(named) or "all of the core"] if item.get("core", True) else []) + (
        ["further " + ", ".join(f"“{h}”" for h in item["further"])] if "further" in item else []
    )
    more = f" {item['what']}" if "what" in item else ""
    return f"[Lesson {int(lesson.number)}](guide/{lesson.name}.md): {'; '.join(parts)}.{more}"


def plans() -> str:
    """Return the page of all plans."""
    given = planned()
    rows = "".join(f"| {lesson.title} | {lesson.minutes():.0f} | {room(lesson.minutes())} | "
                   f"{lesson.minutes(path='further'):.0f} |\n" for lesson in course().values())  # fmt: skip
    head = (
        f"{MADE}# Plans\n\n{given['head'].strip()}\n\n| lesson | core, formula | core, in a room | further, formula |\n"
    )
    return head + "| --- | ---: | ---: | ---: |\n" + rows + "".join(f"\n{plan(each)}" for each in given["plan"])


# --- tests before and after ----------------------------------------------------------------------


def tests() -> dict[str, str]:
    """Return the pages of the test before, the test after, and the key."""
    given = tomllib.loads((SOURCE / "tests.toml").read_text(encoding="utf-8"))
    pages, key = {}, f"{MADE}# Key to both tests\n\n{given['key'].strip()}\n"
    for when in ("before", "after"):
        page = f"{MADE}# Ten questions, {when} the course\n\n{given[when].strip()}\n"
        for number, asked in enumerate(given["question"], 1):
            page += f"\n**{number}.** {asked[when]['asks']}\n\n"
            page += "".join(
                f"- {letter}) {answer}\n" for letter, answer in zip(LETTERS, asked[when]["answers"], strict=False)
            )
        pages[when] = page
    key += "\n| question | before | after | idea | taught in |\n| ---: | --- | --- | --- | --- |\n"
    for number, asked in enumerate(given["question"], 1):
        place = course()[asked["lesson"]]
        key += f"| {number} | {asked['before']['right']} | {asked['after']['right']} | {asked['idea']} | "
        key += f"[{place.title.split('.')[0]}](../guide/{place.name}.md) |\n"
    return pages | {"key": key}


# --- the deck ------------------------------------------------------------------------------------


def chunks(text: str) -> list[tuple[str, str]]:
    """Cut prose at its headings; the part before the first has none."""
    parts = re.split(r"(?m)^#{1,3} (.+)\n+", unlinked(text))
    return [("", parts[0])] + list(zip(parts[1::2], parts[2::2], strict=True))


def clean(text: str) -> str:
    """Leave out of prose what is for the page alone: marks of paths, the way on."""
    marks = (build.FURTHER, build.CORE, "Next:", "Here are the ")
    kept = [part for part in text.strip().split("\n\n") if part.strip() and not part.startswith(marks)]
    return "\n\n".join(kept)


def slides(lesson: Lesson) -> list[list[str]]:
    """Return the slides of a lesson's tagged cells, each as a stack of HTML: below a figure stands how to read it."""
    made = []
    for cell in lesson.tagged("slide"):
        heading = re.sub(r"^\d+\. ", "", lesson.headings[cell.id])
        if "guess" in cell.metadata.tags:
            title, text = chunks(lesson.text_before(cell))[-1]
            text = re.sub(r"(?s)\A\*\*How to read it\*\*.+?\n\n", "", clean(text))
            made.append([f"<h2>{title or heading}</h2><div class='question'>{html(text)}</div>"])
        elif cell.cell_type == "markdown":
            for title, text in chunks(cell.source):
                if title and (text := clean(text)) and "**Predict, then run**" not in text:
                    bullets = re.search(r"(?ms)^- .+?(?=\n\n|\Z)", text) if title == "What to remember" else None
                    made.append([f"<h2>{title}</h2>{html(bullets[0] if bullets else text)}"])
        else:
            shown = [_output(out) for out in lesson.shown(cell)]
            if not shown:
                raise Missing(f"{lesson.name}: a cell for the deck has no output or was changed; run make notebooks")
            after = lesson.cells[lesson.cells.index(cell) + 1]
            read = re.match(r"(?s)\*\*How to read it\*\*.+?(?=\n\n|\Z)", after.source)
            below = [html(re.sub(r"[^.?!]+:\Z", "", unlinked(read[0])))] if read else []
            pictures = [each for each in shown if each.startswith("<img")]
            text = "".join(each for each in shown if each not in pictures)
            titled = f"<h2>{heading}</h2>"
            made += [[titled + text]] if text else []  # what came out, in words; then each figure fills a slide
            made += [[f"<h2 class='unseen'>{heading}</h2>{each}"] for each in pictures]
            made[-1] += [titled + each for each in below]
    return made


def _output(out: nbformat.NotebookNode) -> str:
    data = out.get("data", {})
    if "image/png" in data:
        alt = out.metadata["image/png"]["alt"]
        return f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/html" in data:
        return f"<div class='table'>{data['text/html']}</div>"
    return "".join(f"<p class='said'>{line}</p>" for line in out.get("text", "").splitlines() if line.strip())


def deck() -> str:
    """Return the deck: one page that asks for nothing outside."""
    content = [(lesson, stack) for lesson in course().values() for stack in slides(lesson)]
    first = next(iter(course().values()))
    warning = re.search(r"(?m)^> \*\*Not a medical device.+(?:\n> .+)*", first.cells[0].source)[0]
    page = jinja2.Template((SOURCE / "deck.html.j2").read_text(encoding="utf-8"), autoescape=False)
    vendored = {
        name: (HERE / "reveal" / name).read_text(encoding="utf-8") for name in ("reset.css", "reveal.css", "reveal.js")
    }
    return page.render(title=first.title.split(". ", 1)[1], warning=html(warning), slides=content, vendored=vendored)


# --- the command ---------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Return the pages that are kept in the repository, by their place."""
    made = {HERE / "plans.md": plans()}
    made |= {HERE / "guide" / f"{lesson.name}.md": guide(lesson) for lesson in course().values()}
    return made | {HERE / "tests" / f"{name}.md": text for name, text in tests().items()}


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare, and fail if a page is not up to date")
    options = parser.parse_args(arguments)
    try:
        made = pages()
        if options.check:
            old = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
            print("\n".join(f"{path}: not what the sources give; run make teaching" for path in old)
                  or f"{len(made)} pages are up to date")  # fmt: skip
            return bool(old)
        made[HERE / "deck.html"] = deck()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(made)} files in {HERE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
