"""What is known of an expression that `flow` reads: texts, parts of the dataset, and what was done to these.

What is known of folders and libraries stands in ``auditor.toml``.
"""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

UNKNOWN = "*"
#: More possible texts, letters or items than these, and no more is known of them.
TEXTS, LETTERS, ITEMS = 12, 1000, 100
PARTS, SIDES = {"train", "val", "test", "all"}, {"split", "grouped"}
RULES = tomllib.loads(Path(__file__).with_name("auditor.toml").read_text("utf-8"))
CALLS, ALIKE, TURNED = RULES.pop("calls"), RULES.pop("alike"), RULES.pop("turned")
WORDS = {name: re.compile(pattern) for name, pattern in RULES.pop("words").items()}


def is_a(what: str, name: str) -> bool:
    """Return whether a name is one of these ``[words]``."""
    return WORDS[what].fullmatch(name) is not None


@dataclass(eq=False)
class Value:
    """What is known of an expression.

    Attributes
    ----------
    texts : iterable of str
        What it may be, as a string or path; `UNKNOWN` stands for what is not known in it.
    marks : iterable of str
        Of which `parts` its images are ("train", "val", "test", or "all" of a folder that holds them together), and
        what was done to them, such as "split", "shuffled", "resampled", "answers", "score".
    items : dict
        What it holds, by key or number, where that is written out.
    what : object
        The function or class of the program, with the names that it sees and its place; of libraries its name (str).
    """

    texts: Iterable[str] = frozenset()
    marks: Iterable[str] = frozenset()
    items: dict[Any, Value] = field(default_factory=dict)
    what: Any = None

    def __post_init__(self):
        few = len(self.texts) <= TEXTS and all(len(text) <= LETTERS for text in self.texts)
        self.texts, self.marks = frozenset(self.texts if few else ()), frozenset(self.marks)

    @property
    def parts(self) -> frozenset[str]:
        """Return the parts of the dataset that its images are of."""
        return self.marks & PARTS

    def key(self) -> Any:
        """Return the key or number that it is, where that is known."""
        text = min(self.texts) if len(self.texts) == 1 else ""
        return int(text) if text.isdecimal() else text or None

    def flat(self) -> Value:
        """Return the marks of it and of all that it holds."""
        held, todo = set(), {self}
        while todo:
            held |= todo
            todo = {one for each in todo for one in each.items.values()} - held
        return Value(marks=frozenset().union(*(each.marks for each in held)))

    def but(self, *marks: str, parts: Iterable[str] | None = None) -> Value:
        """Return such images after something was done to them."""
        kept = self.flat().marks
        return Value(marks={*marks, *(kept if parts is None else kept - PARTS), *(parts or ())})

    def one(self) -> Value:
        """Return what one of many is."""
        return joined([Value(self.texts, self.marks - {"many", "sides"}), *self.items.values()])

    def passed(self, name: object) -> Value:
        """Return it as it comes in one pass over it: if it is shuffled, then in an order of its own."""
        marks = {f"pass {name}" if mark == "shuffled" else mark for mark in self.marks}
        return Value(self.texts, marks, self.items, self.what)

    def then(self, other: Value, between: str = "") -> Value:
        """Return its text and then the other, or what both lists hold."""
        ends = itertools.product(self.texts or [UNKNOWN], other.texts or [UNKNOWN]) if self.texts or other.texts else ()
        items = [*self.items.values(), *other.items.values()][:ITEMS] if self.items and other.items else []
        texts = {start.removesuffix(between) + between + end for start, end in ends}
        return Value(texts, mixed([self, other]).marks, dict(enumerate(items)))

    def filled(self, values: Iterable[Value]) -> Value:
        """Return a text whose places, such as ``%s`` or ``{}``, hold these."""
        ways = itertools.product(self.texts, *(each.texts or [UNKNOWN] for each in values))
        few = itertools.islice(ways, TEXTS + 1)  # one more than are kept: then no more is known of them
        texts = {WORDS["place"].sub(lambda at, new=new: new.pop(0) if new else at[0], text) for text, *new in few}
        return Value(texts, self.marks)

    def column(self, name: str) -> Value:
        """Return what stands under a name: images, or figures of a table, of the part that the name says."""
        several, sides = "score" in self.marks and len(self.parts) > 1, WORDS["side"].findall(name)[-1:]
        named = sides if several else {part_of(name)} - {None} if len(self.parts - {"all"}) != 1 else ()
        guess = ["guessed"] * bool(named and not self.parts)  # the name alone tells it
        return Value(self.texts, {*named, *guess, *(self.marks - (PARTS if named else set()))}, self.items)


class Call(NamedTuple):
    """A call: its code, what it calls by its last name, the object before that, arguments and options."""

    node: ast.Call
    name: str
    owner: Value
    args: list[Value]
    options: dict[str, Value]

    def given(self) -> dict[Any, Value]:
        """Return all that it works on, by number and name."""
        return {"of": self.owner, **dict(enumerate(self.args)), **self.options}

    def data(self) -> Value:
        """Return the images that it works on: the object's and the arguments', else the options'."""
        return mixed([self.owner, *self.args] if self.args else self.given().values())

    def folders(self) -> Value:
        """Return the images of the folders that it reads."""
        named = [each for key, each in self.given().items() if is_a("where", str(key))]
        where = [each for each in named if each.texts or (each.parts and "guessed" not in each.marks)]
        return mixed(where).but(parts=mixed(where).parts.union(part_of(t) or "all" for v in where for t in v.texts))

    def rules(self, asked: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield those of `CALLS` that fit; ``auditor.toml`` says what they may need."""
        asked = {*asked, self.name, *self.given(), *ast.unparse(self.node.func).split("."), f"{len(self.args)} args"}
        asked |= {"no shuffle"} - {f"no {key}" for key in self.given()}
        asked |= {f"{k} {said}" for k, v in self.given().items() for said in (*v.marks, *v.texts, *parts_in(v))}
        for rule in CALLS:
            needs = rule.get("needs", [self.name])
            if re.fullmatch(rule["names"], self.name) and any(asked.issuperset(n.split(" and ")) for n in needs):
                yield rule


def joined(values: Iterable[Value], deep: int = 2) -> Value:
    """Return what may be any of these."""
    values = list(dict.fromkeys(values))
    if len(values) == 1 or not deep:
        return values[0] if len(values) == 1 else mixed(values)
    items = {key: joined((v.items[key] for v in values if key in v.items), deep - 1) for v in values for key in v.items}
    texts, marks = (frozenset().union(*each) for each in zip(*((v.texts, v.marks) for v in values), strict=True))
    return Value(texts, marks, items, next((v.what for v in values if v.what), None))


def mixed(values: Iterable[Value]) -> Value:
    """Return images made from all of these."""
    return Value(marks=frozenset().union(*(value.flat().marks for value in values)))


def part_of(path: str) -> str | None:
    """Return the part of the dataset that a path names: the last of its folders that does.

    Parameters
    ----------
    path : str
        With ``/`` or ``\\``.

    Returns
    -------
    str or None
        "train", "test" or "val".

    Examples
    --------
    >>> part_of("data/chest_xray/test/NORMAL"), part_of("chest_xray"), part_of("val_loss")
    ('test', None, None)
    """
    folders = map(WORDS["part"].match, reversed(re.split(r"[/\\]+", path.lower())))
    return next((found.lastgroup for found in folders if found), None)


def parts_in(*values: Value) -> set[str]:
    """Return the parts that values are of, or that their texts name."""
    return {part for value in values for part in (*value.parts, *map(part_of, value.texts)) if part}


def apart(*both: Value) -> bool:
    """Return whether one is of one pass over a shuffled loader, the other of another or in the order of files."""
    for said, true in itertools.permutations([each.flat().marks for each in both], 2):
        one, other = ({mark for mark in marks if mark.startswith("pass ")} for marks in (said, true))
        in_order = "in order" in true or (true & said & PARTS and "shuffled" not in true)
        if one and one.isdisjoint(other) and (other or in_order):
            return True
    return False
