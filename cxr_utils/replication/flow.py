"""Where images go in a program that is read and never run: from folders through splits into training and figures.

Each expression gets a `Value`: which texts it may be, of which parts of the dataset its images are, and what was done
to them. Calls of the program's own functions and classes are followed, branches are joined, loops are gone through once
(over what is written out, once for each). What happens to images is noted as `Event`; `auditor` judges these.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UNKNOWN = "*"
#: More possible texts than these, and nothing is known; deeper calls are not followed; more steps are not made.
TEXTS, DEEP, STEPS = 12, 14, 60_000
SIDES = {"split", "grouped"}
EACH, SPLIT = "each ", "sides "  # among the items of a value: what each one is, and that they are sides of a split
RULES = tomllib.loads(Path(__file__).with_name("auditor.toml").read_text("utf-8"))
RULES_OF_CALLS = RULES.pop("calls")
WORDS = {name: re.compile(pattern) for name, pattern in RULES.pop("words").items()}
_SIDE = re.compile("train|test|val")


def _is(what: str, name: str) -> bool:
    return WORDS[what].fullmatch(name) is not None


@dataclass(eq=False)
class Value:
    """What is known of an expression.

    Attributes
    ----------
    texts : frozenset of str
        What it may be, as a string or path; `UNKNOWN` stands for what is not known in it.
    parts : frozenset of str
        Of which parts its images are: "train", "val", "test", or "all" of a folder that holds them together.
    marks : frozenset of str
        What was done to them, such as "split", "shuffled", "resampled", "answers", "score".
    items : dict, optional
        What it holds, by key or number, where that is written out.
    what : object
        The function or class of the program, with the names that it sees; or a name of a library.
    """

    texts: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    items: dict[Any, Value] | None = None
    what: Any = None

    def flat(self, deep: int = 5) -> Value:
        """Return the parts and marks of it and of all that it holds."""
        held = [each.flat(deep - 1) for each in (self.items or {}).values() if deep]
        return Value(frozenset(), self.parts.union(*(each.parts for each in held)),
                     self.marks.union(*(each.marks for each in held)))  # fmt: skip

    def but(self, *marks: str, parts: Iterable[str] | None = None) -> Value:
        """Return such images after something was done to them."""
        flat = self.flat()
        return Value(frozenset(), flat.parts if parts is None else frozenset(parts), flat.marks | set(marks))

    def one(self) -> Value:
        """Return what one of many is."""
        if EACH in (self.items or {}):
            return self.items[EACH]
        return joined(self.items.values()) if self.items else Value(self.texts, self.parts, self.marks)


def joined(values: Iterable[Value]) -> Value:
    """Return what may be any of these."""
    values = list({id(value): value for value in values}.values())
    if len(values) == 1:
        return values[0]
    union = {
        name: frozenset().union(*(getattr(value, name) for value in values)) for name in ("texts", "parts", "marks")
    }
    union["texts"] = union["texts"] if len(union["texts"]) <= TEXTS else frozenset()
    held = [value.items for value in values if value.items is not None]
    items = {key: joined(each[key] for each in held if key in each) for each in held for key in each}
    return Value(
        **union, items=items if held else None, what=next((v.what for v in values if v.what is not None), None)
    )


def mixed(values: Iterable[Value]) -> Value:
    """Return images made from all of these."""
    flat = [value.flat() for value in values]
    return Value(frozenset(), frozenset().union(*(v.parts for v in flat)), frozenset().union(*(v.marks for v in flat)))


def _each(over: Value) -> list[Value]:
    """Return what a loop goes over: each one where they differ in what matters."""
    items = list((over.items or {}).values())[:8]
    return items if any(each.flat().parts or parts_in(each.one()) for each in items) else [over.one()]


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
    for folder in reversed(re.split(r"[/\\]+", path.lower())):
        if _is("no_part", folder):
            continue
        word = re.match(r"[a-z]*", folder)[0]
        if part := next((part for part in ("train", "test", "val") if _is(part, word)), None):
            return part
    return None


def parts_in(value: Value) -> frozenset[str]:
    """Return the parts that the texts of a value name."""
    return frozenset(filter(None, map(part_of, value.texts)))


@dataclass(frozen=True)
class Event:
    """What happens to images.

    Attributes
    ----------
    name : str
        "train", "validate", "score", "split", "moved", "resample", "scale", "compare", "choose" or "seed".
    place : str
        The cell and the line.
    value : Value
        The images; of "compare" its items are labels and answers.
    """

    name: str
    place: str
    value: Value = field(default_factory=Value)


@dataclass
class _Loop:
    data: Value
    epochs: bool
    trains: bool = False  # a step of training is in it
    of_epochs: bool = False  # a loop over batches that trains is in it
    judged: list[Event] = field(default_factory=list)


class Program:
    """Reads a program; `events` has what happens in it, in order, and `calls` the names that it calls.

    Parameters
    ----------
    folder : Path, optional
        Beside which modules of its own are looked for.

    Examples
    --------
    >>> program = Program()
    >>> program.read("model.fit(train, validation_data=ImageFolder('chest_xray/test'))", "cell 1")
    >>> [(event.name, sorted(event.value.parts)) for event in program.events]
    [('train', []), ('validate', ['test'])]
    """

    def __init__(self, folder: Path | None = None):
        self.folder, self.place, self.line, self.steps = folder, "", 0, 0
        self.events: list[Event] = []
        self.calls: set[str] = set()
        self.env: dict[str, Value] = {}
        self.attrs: dict[str, Value] = {}  # of all objects of the program together
        self.methods: dict[str, Any] = {}
        self.defined: list[Any] = []
        self.loops: list[_Loop] = []
        self.modules: dict[str, dict[str, Value]] = {}
        self.stack: list[int] = []
        self.followed: set[int] = set()

    def read(self, source: str, place: str) -> None:
        """Go through a cell or script.

        Parameters
        ----------
        source : str
            Python.
        place : str
            What events call it.

        Raises
        ------
        SyntaxError, ValueError
            It is no Python of today.
        """
        tree, self.place = ast.parse(source), place
        self._run(tree.body, self.env)

    def finish(self) -> None:
        """Go through the functions that nobody called: another file may."""
        for node, env in list(self.defined):
            if id(node) not in self.followed:
                self._follow((node, env), [], {})

    def _note(self, name: str, value: Value | None = None) -> None:
        place = f"{self.place}, line {self.line}".removeprefix(", ")
        self.events.append(Event(name, place, value or Value()))

    # --- statements

    def _run(self, body: Iterable[ast.AST], env: dict[str, Value]) -> None:
        for node in body:
            self.steps, self.line = self.steps + 1, getattr(node, "lineno", self.line)
            if self.steps < STEPS:
                self._statement(node, env)

    def _statement(self, node: ast.AST, env: dict[str, Value]) -> None:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                env[node.name] = Value(what=(node, env))
                inside = (
                    [each for each in node.body if isinstance(each, ast.FunctionDef)]
                    if isinstance(node, ast.ClassDef)
                    else []
                )
                self.methods |= {each.name: (each, env) for each in inside}
                self.defined += [(each, env) for each in inside or [node]]
            case ast.Assign() | ast.AnnAssign():
                value = self._value(node.value, env)
                for target in getattr(node, "targets", None) or [node.target]:
                    self._assign(target, value, env)
            case ast.AugAssign():
                self._assign(node.target, self._added(self._value(node.target, env), self._value(node.value, env)), env)
            case ast.withitem() if node.optional_vars:
                self._assign(node.optional_vars, self._value(node.context_expr, env), env)
            case ast.Return():
                found = self._value(node.value, env)
                env["return "] = joined([env["return "], found]) if "return " in env else found
            case ast.If():
                known, ways = self._truth(node.test, env), []
                self._value(node.test, env)
                for wanted, body in ((True, node.body), (False, node.orelse)):
                    if known in (None, wanted):
                        ways.append(dict(env))
                        self._run(body, ways[-1])
                env |= {name: joined(way[name] for way in ways if name in way) for way in ways for name in way}
            case ast.For() | ast.AsyncFor() | ast.While():
                self._loop(node, env)
            case ast.Import() | ast.ImportFrom():
                own = self._module(getattr(node, "module", node.names[0].name) or "")
                self.attrs |= own
                env |= own if node.names[0].name == "*" else {}
                for name in node.names:
                    env[(name.asname or name.name).partition(".")[0]] = own.get(name.name) or Value(what=name.name)
            case ast.expr():
                self._value(node, env)
            case _:
                self._run(ast.iter_child_nodes(node), env)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, env: dict[str, Value]) -> None:
        """Go through a loop; what is judged between the epochs of a training validates it."""
        over = self._value(getattr(node, "iter", None), env)
        head = ast.unparse(node.test if isinstance(node, ast.While) else node.target).lower()
        loop = _Loop(over.flat(), isinstance(node, ast.While) or "epoch" in head)
        self.loops.append(loop)
        for item in _each(over):
            if not isinstance(node, ast.While):
                self._assign(node.target, item, env)
            self._run(node.body, env)
        self.loops.pop()
        self._run(node.orelse, env)
        outer = self.loops[-1] if self.loops else None
        if loop.of_epochs or (loop.epochs and loop.trains):
            self.events += [Event("validate", each.place, each.value) for each in loop.judged]
        else:
            (outer.judged if outer else self.events).extend(loop.judged)
        if loop.trains:
            self._note("train", loop.data)
        if outer and loop.trains:
            outer.trains, outer.of_epochs = True, not loop.of_epochs or loop.epochs
        elif loop.data.parts or loop.data.marks & SIDES:
            self._judge(loop.data)

    def _judge(self, data: Value) -> None:
        """Note that images are judged, or put that off until it is known whether the loop around trains."""
        self._note("score", data)
        if self.loops:
            self.loops[-1].judged.append(self.events.pop())

    def _assign(self, target: ast.expr, value: Value, env: dict[str, Value]) -> None:
        match target:
            case ast.Name():
                words = _SIDE.findall(target.id.lower())
                by_name = value.parts == {"all"} and words  # its folder says nothing
                env[target.id] = value.but(parts=words[-1:]) if by_name else value
            case ast.Tuple() | ast.List():
                for number, each in enumerate(target.elts):
                    known = (value.items or {}).get(number) or value.one()
                    words = _SIDE.findall(getattr(each, "id", "").lower())
                    if SPLIT in (value.items or {}) and words:
                        known = known.but("named", parts=words[-1:])
                    self._assign(each, known, env)
            case ast.Starred():
                self._assign(target.value, value, env)
            case ast.Attribute():
                old = self.attrs.get(target.attr)
                self.attrs[target.attr] = joined([old, value]) if old else value
            case ast.Subscript():
                owner, key = self._value(target.value, env), self._key(target.slice, env)
                if owner.items is not None and key is not None:
                    owner.items[key] = value
                else:
                    owner.parts, owner.marks = owner.parts | value.parts, owner.marks | value.marks

    # --- expressions

    def _value(self, node: ast.expr | None, env: dict[str, Value]) -> Value:
        self.steps += 1
        if node is None or self.steps > STEPS:
            return Value()
        match node:
            case ast.Constant():
                return Value(frozenset([str(node.value)])) if isinstance(node.value, str | int) else Value()
            case ast.Name():
                return env.get(node.id) or Value(what=node.id)
            case ast.JoinedStr() | ast.FormattedValue():
                found = [self._value(each, env) for each in getattr(node, "values", None) or [node.value]]
                return functools.reduce(self._added, found, Value(frozenset([""])))
            case ast.Tuple() | ast.List() | ast.Set():
                return Value(items={number: self._value(each, env) for number, each in enumerate(node.elts)})
            case ast.Dict():
                return Value(items={self._key(key, env): self._value(each, env)
                                    for key, each in zip(node.keys, node.values, strict=True)})  # fmt: skip
            case ast.BinOp():
                left, right = self._value(node.left, env), self._value(node.right, env)
                if isinstance(node.op, ast.Div) and left.texts and right.texts:
                    return self._path([left, right])
                return self._added(left, right) if isinstance(node.op, ast.Add) else mixed([left, right])
            case ast.Attribute():
                return self._attribute(node, env)
            case ast.Subscript():
                return self._subscript(node, env)
            case ast.Call():
                return self._call(node, env)
            case ast.IfExp():
                return joined(self._value(each, env) for each in (node.body, node.orelse))
            case ast.Compare():
                found = [self._value(each, env) for each in (node.left, *node.comparators)]
                alike = isinstance(node.ops[0], ast.Eq) and all(each.flat().parts for each in found)
                if isinstance(node.ops[0], ast.Gt | ast.Lt | ast.GtE | ast.LtE):
                    self._choice(mixed(found))
                return mixed(found).but("score") if alike else mixed(found)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node, env)
            case ast.Lambda():
                return Value(what=(node, env))
        return mixed(self._value(each, env) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))

    def _comprehension(self, node: Any, env: dict[str, Value]) -> Value:
        inner, (first, *others) = dict(env), node.generators
        over, made = self._value(first.iter, env), {}
        for number, item in enumerate(_each(over)):
            self._assign(first.target, item, inner)
            for other in others:
                self._assign(other.target, self._value(other.iter, inner).one(), inner)
            key = self._key(node.key, inner) if isinstance(node, ast.DictComp) else number
            made[key] = self._value(node.value if isinstance(node, ast.DictComp) else node.elt, inner)
        return Value(items=made) if over.items else joined(made.values())

    def _attribute(self, node: ast.Attribute, env: dict[str, Value]) -> Value:
        owner = self._value(node.value, env)
        if node.attr in self.attrs and not owner.parts:
            return self.attrs[node.attr]
        if _is("labels", node.attr) and owner.parts:
            return owner.but("in order")
        texts = owner.texts if node.attr in ("parent", "stem", "name", "T", "values") else frozenset()
        return Value(texts, owner.flat().parts, owner.flat().marks, what=node.attr)

    def _subscript(self, node: ast.Subscript, env: dict[str, Value]) -> Value:
        owner, key, index = self._value(node.value, env), self._key(node.slice, env), self._value(node.slice, env)
        if owner.items is not None and key in owner.items:
            return owner.items[key]
        found = owner.one()
        if isinstance(key, str) and (named := part_of(key)) and len(found.parts) != 1:
            return Value(found.texts, frozenset([named]), found.marks)
        cut = isinstance(node.slice, ast.Slice) and (node.slice.lower or node.slice.upper) and found.parts
        marks = index.marks & {*SIDES, "named"} | ({"slice"} if cut else set())
        return Value(found.texts, found.parts, found.marks | marks, found.items)

    def _call(self, node: ast.Call, env: dict[str, Value]) -> Value:
        args = [self._value(each.value if isinstance(each, ast.Starred) else each, env) for each in node.args]
        options = {each.arg or "**": self._value(each.value, env) for each in node.keywords}
        options |= options.pop("**", Value()).items or {}
        name, func = getattr(node.func, "attr", getattr(node.func, "id", "")), self._value(node.func, env)
        owner = self._value(node.func.value, env) if isinstance(node.func, ast.Attribute) else None
        self.calls.add(name)
        if self.loops and (_is("steps", name) or (_is("fits", name) and self.loops[-1].epochs)):
            self.loops[-1].trains = True
        data = mixed([*args, *options.values(), *([owner] if owner else [])])
        own = func.what if isinstance(func.what, tuple) else self.methods.get(name) if owner is not None else None
        found = self._follow(own, args, options) if own else None
        owner = owner or Value()
        if found is None:
            found = self._library(name, ast.unparse(node.func), owner, args, options, data)
        if _is("judges", name) and data.parts and "answers" not in data.marks:
            self._judge(data)
        return found

    def _follow(self, own: Any, args: list[Value], options: dict[str, Value]) -> Value | None:
        """Go through a function or class of the program as it is called; None where it is being gone through already."""
        node, env = own
        if id(node) in self.stack or len(self.stack) >= DEEP:
            return None
        self.followed.add(id(node))
        if isinstance(node, ast.ClassDef):
            methods = {each.name: (each, env) for each in node.body if isinstance(each, ast.FunctionDef)}
            if "__init__" in methods:
                self._follow(methods["__init__"], args, options)
            if "on_epoch_end" in methods:  # a callback
                self.loops.append(_Loop(Value(), epochs=True, trains=True))
                self._follow(methods["on_epoch_end"], [], {})
                self.events += [Event("validate", each.place, each.value) for each in self.loops.pop().judged]
            given = [*args, *options.values()]
            return mixed([*given, Value(parts=frozenset().union(*map(parts_in, given)))])
        spec, inner = node.args, {name: value for name, value in env.items() if name != "return "}
        names = [*spec.posonlyargs, *spec.args]
        args = [Value(), *args] if names and names[0].arg == "self" else args
        defaults = dict(zip(names[::-1], spec.defaults[::-1], strict=False)) | dict(
            zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        )
        inner |= {each.arg: self._value(defaults.get(each), env) for each in (*names, *spec.kwonlyargs)}
        inner |= dict(zip((each.arg for each in names), args, strict=False)) | options
        self.stack.append(id(node))
        line, body = self.line, [ast.Return(node.body)] if isinstance(node, ast.Lambda) else node.body
        self._run(body, inner)
        self.line = line
        self.stack.pop()
        for each in ast.walk(node):
            env |= {
                name: inner[name]
                for name in getattr(each, "names", ())
                if isinstance(each, ast.Global) and name in inner
            }
        return inner.get("return ") or Value()

    def _library(self, name, full, owner, args, options, data) -> Value:
        """Say what a function of a library gives, by its name, and note what it does to images."""
        first, given, items = args[0] if args else owner, [*args, *options.values()], owner.items or {}
        if _is("paths", name) or (name == "join" and not (owner.texts and len(args) == 1)):
            return self._path([*([owner] if owner.texts else []), *args])
        if _is("lists", name):
            where = first if first.texts and not (owner.texts and name.endswith("glob")) else owner
            return Value(self._path([where, Value()]).texts, data.parts, data.marks)
        if _is("same", name) and (args or owner.texts):
            return owner if owner.texts else first if first.items or first.texts else first.one()
        if name == "format":
            return Value(frozenset(re.sub(r"\{[^}]*\}", UNKNOWN, text) for text in owner.texts))
        if _is("adds", name):
            owner.parts, owner.marks = owner.parts | data.parts, owner.marks | data.marks
            owner.texts = owner.texts or frozenset().union(*(each.texts for each in args))
            return Value()
        if name == "zip":
            rows = zip(*((each.items or {0: each.one()}).values() for each in args), strict=False)
            return Value(items={n: Value(items=dict(enumerate(row))) for n, row in enumerate(rows)})
        if name == "items" and items:
            pairs = enumerate(items.items())
            return Value(items={n: Value(items={0: Value(frozenset([str(key)])), 1: one}) for n, (key, one) in pairs})
        if _is("seeds", name) or (name == "seed" and "torch" in full) or (_is("fits", name) and "seed" in options):
            self._note("seed")
        asked = {
            name,
            *options,
            *(f"of {mark}" for mark in owner.marks),
            *(["after skip"] if "skip" in self.calls else []),
        }
        for rule in RULES_OF_CALLS:
            if re.fullmatch(rule["names"], name) and (not (needs := rule.get("needs")) or set(needs) & asked):
                each = (mixed(args) if rule.get("gives") == "args" else data).but(*rule.get("marks", ()))
                if named := options.get(rule.get("named", "")) or rule.get("parts"):
                    each = each.but(parts=parts_in(named) if isinstance(named, Value) else named)
                if "note" in rule:
                    self._note(rule["note"], each if named else data)
                sides = {EACH: each, SPLIT: Value()} if "split" in each.marks and rule.get("note") == "split" else None
                return Value(frozenset(), each.parts, each.marks, items=sides)
        if _is("fits", name):
            return self._fit(args, options, owner)
        if _is("metrics", name) and len(args) > 1:
            self._note("compare", Value(items={0: first.flat(), 1: args[1].flat()}))
            return mixed(args[:2]).but("score")
        ends = [parts_in(each) | each.parts for each in args[:2]]
        if _is("moves", name) and len(ends) == 2 and "train" in ends[0] and ends[1] & {"val", "test"}:
            self._note("moved", data)
        if _is("chooses", name):
            self._choice(data)
        if _is("folders", name):
            return self._folders(name, args, options)
        if name == "DataLoader" and "True" in options.get("shuffle", Value()).texts:
            return data.but("shuffled")
        made = {"resampled" for each in given for text in each.texts if _is("made", text)}
        marks = data.marks if name == "concatenate" else data.marks - {"in order"}
        return Value(frozenset(), data.parts.union(*map(parts_in, given)), marks | made)

    def _folders(self, name, args, options) -> Value:
        """Say what Keras' and torchvision's readers of folders give."""
        where = [*args, *(options[key] for key in ("directory", "root", "dataframe") if key in options)]
        found = joined([each for each in where if each.texts or each.parts] or [Value()])
        parts = {part_of(text) or "all" for text in found.texts} | found.parts
        in_order = name == "ImageFolder" or "False" in options.get("shuffle", Value()).texts
        drawn = {"subset", "validation_split"} & options.keys() and parts != {"val"}
        if drawn:
            self._note("split", Value().but(parts=parts))
        return found.but(*([] if in_order else ["shuffled"]), *(["split"] if drawn else []), parts=parts)

    def _fit(self, args, options, owner) -> Value:
        """Note what trains and what validates."""
        given = [each for key, each in options.items() if _is("validation", key)]
        data = mixed([*args[:2], *(each for key, each in options.items() if each not in given), owner])
        self._note("train", data)
        if "validation_split" in options:
            self._note("split", data)
            given.append(data.but("split"))
        if len(args) > 2 and (args[2].flat().parts or args[2].flat().marks & SIDES):  # Lightning's trainer
            given.append(args[2])
        if "val_dataloader" in self.methods:
            given.append(self._follow(self.methods["val_dataloader"], [], {}) or Value())
        for each in given:
            self._note("validate", each.flat())
        return Value()

    # --- helpers

    def _choice(self, value: Value) -> None:
        """Note a choice by figures of test after training."""
        if "score" in value.marks and value.parts == {"test"} and not any(loop.epochs for loop in self.loops):
            self._note("choose", value)

    def _added(self, left: Value, right: Value) -> Value:
        both, data = left.texts or right.texts, mixed([left, right])
        texts = {a + b for a in left.texts or [UNKNOWN] for b in right.texts or [UNKNOWN]} if both else set()
        items = dict(enumerate([*left.items.values(), *right.items.values()])) if left.items and right.items else None
        return Value(frozenset(texts if len(texts) <= TEXTS else ()), data.parts, data.marks, items)

    def _path(self, values: list[Value]) -> Value:
        slash = Value(frozenset("/"))
        return functools.reduce(lambda left, right: self._added(self._added(left, slash), right), values)

    def _key(self, node: ast.expr | None, env: dict[str, Value]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        (text, *others) = self._value(node, env).texts or [""]
        return None if others or not text else int(text) if text.isdecimal() else text

    def _truth(self, node: ast.expr | None, env: dict[str, Value]) -> bool | None:
        """Return whether a test holds, where that can be seen."""
        match node:
            case ast.Compare(left=ast.Name(id="__name__")):
                return True
            case ast.Compare(ops=[ast.Eq() | ast.NotEq() as op]):
                sides = [self._value(each, env).texts for each in (node.left, *node.comparators)]
                if all(len(side) == 1 and UNKNOWN not in "".join(side) for side in sides):
                    return (sides[0] == sides[1]) == isinstance(op, ast.Eq)
        return None

    def _module(self, name: str) -> dict[str, Value]:
        """Read a module of the program's own, if it lies beside it."""
        tops = [self.folder, *self.folder.parents[:2]] if self.folder and name not in self.modules else []
        env, place, line = self.modules.setdefault(name, {}), self.place, self.line
        for path in (top / f"{name.replace('.', '/')}{end}" for top in tops for end in (".py", "/__init__.py")):
            if path.is_file() and not env:
                self.place = path.name
                with contextlib.suppress(SyntaxError, ValueError):  # it is not what is audited
                    self._run(ast.parse(path.read_text("utf-8", errors="replace")).body, env)
        self.place, self.line = place, line
        return env
