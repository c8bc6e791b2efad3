"""Where images go in a program that is read and never run: from folders through splits into training and figures.

Each expression gets a `Value`: which texts it may be, of which parts of the dataset its images are, and what was done
to them. Calls of the program's own functions and classes are followed, branches are joined, loops are gone through once
(over what is written out, once for each). What happens to images is noted as `Event`; `auditor` judges these. What is
known of libraries stands in ``auditor.toml``.
"""

import ast
import contextlib
import functools
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cxr_utils.replication.values import (
    CALLS,
    ITEMS,
    PARTS,
    SIDES,
    UNKNOWN,
    WORDS,
    Value,
    added,
    apart,
    column,
    filled,
    is_a,
    joined,
    mixed,
    part_of,
    parts_in,
)

#: Deeper calls are not followed, more steps are not made, a longer source is not read.
DEEP, STEPS, SOURCE = 14, 60_000, 2_000_000
SPLIT = "sides "  # among the items of a value: it holds the sides of a split


def at(place: str, line: int) -> str:
    """Return how a place is called."""
    return f"{place}, line {line}".removeprefix(", ")


@dataclass(frozen=True)
class Event:
    """What happens to images.

    Attributes
    ----------
    name : str
        "train", "validate", "score", "split", "moved", "scale", "leak", "compare", "equal", "choose", "seed"; of what
        `auditor` itself sees "typed" and "measure".
    place : str
        The cell and the line.
    value : Value
        The images; "apart" if labels and answers that are compared are in different orders.
    """

    name: str
    place: str
    value: Value = field(default_factory=Value)


@dataclass
class _Loop:
    epochs: bool
    trains: int = 0  # 1: there is a step of training in it, 2: a loop with such a step, 3: a loop with such a loop
    events: list[Event] = field(default_factory=list)


class Program:
    """Reads a program: `events` has what happens in it, in order, and `nodes` each piece of its code with its place.

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
        self.events, self.nodes, self.calls = [], [], set()
        self.env, self.attrs, self.methods = {}, {}, {}  # the last two of all objects of the program together
        self.uncalled, self.modules, self.stack = {}, {}, []
        self.listed, self.grown = set(), set()  # folders whose images were read, and where copies came to these
        self.loops = [_Loop(epochs=False, events=self.events)]

    def read(self, source: str, place: str, env: dict[str, Value] | None = None) -> None:
        """Go through a cell or script.

        Parameters
        ----------
        source : str
            Python.
        place : str
            What events call it.
        env : dict, optional
            The names that it sees, if not those of the program.

        Raises
        ------
        SyntaxError, ValueError
            It is no Python of today, or too long.
        """
        if len(source) > SOURCE:
            raise ValueError(f"it has more than {SOURCE:,} letters")
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source)
        self.nodes += ((place, node) for node in ast.walk(tree))
        self.place = place
        self._run(tree.body, self.env if env is None else env)

    def finish(self) -> None:
        """Go through the functions that nobody called: another file may."""
        while self.uncalled:
            self._follow(next(iter(self.uncalled.values())), [], {})

    def _note(self, name: str, value: Value) -> None:
        self.loops[-1].events.append(Event(name, at(self.place, self.line), value))

    # --- each kind of statement and expression

    def _run(self, body: Iterable[ast.AST], env: dict[str, Value]) -> None:
        for node in body:
            self._see(node, env)

    def _see(self, node: ast.AST | None, env: dict[str, Value]) -> Value:
        """Go through any node by the method of its name, else through what it is made of."""
        self.steps += 1
        if node is None or self.steps > STEPS:
            return Value()
        self.line = node.lineno if isinstance(node, ast.stmt) else self.line
        if see := getattr(self, f"_see_{type(node).__name__}", None):
            return see(node, env) or Value()
        return mixed([self._see(each, env) for each in ast.iter_child_nodes(node)])

    def _see_FunctionDef(self, node, env):
        self.uncalled[id(node)] = node, env, self.place
        env[node.name] = Value(what=self.uncalled[id(node)])

    def _see_ClassDef(self, node, env):
        own = {each.name: (each, env, self.place) for each in node.body if isinstance(each, ast.FunctionDef)}
        self.methods |= own
        self.uncalled |= {id(each[0]): each for each in own.values()}
        env[node.name] = Value(what=own.get("__init__"))

    def _see_Assign(self, node, env):
        value = self._see(node.value, env)
        for target in getattr(node, "targets", None) or [node.target]:
            self._assign(target, value, env)
        return value

    _see_AnnAssign = _see_NamedExpr = _see_Assign

    def _see_AugAssign(self, node, env):
        self._assign(node.target, self._see(ast.BinOp(node.target, node.op, node.value), env), env)

    def _see_withitem(self, node, env):
        self._assign(node.optional_vars, self._see(node.context_expr, env), env)

    def _see_Return(self, node, env):
        env["return "] = joined([self._see(node.value, env), env.get("return ", Value())])

    def _see_If(self, node, env):
        test = self._see(node.test, env).texts
        ways = [(dict(env), body) for body, no in ((node.body, {"False"}), (node.orelse, {"True"})) if test != no]
        for way, body in ways:
            self._run(body, way)
        env |= {name: joined(way[name] for way, _ in ways if name in way) for way, _ in ways for name in way}

    def _see_For(self, node, env):
        """Go through a loop; what is judged between the epochs of a training validates it, and chooses nothing else."""
        over, target = self._see(getattr(node, "iter", None), env), getattr(node, "target", None)
        self.loops.append(_Loop(target is None or "epoch" in ast.unparse(target).lower()))
        for item in self._each(over):
            self._assign(target, item, env)
            self._run([*node.body, *node.orelse], env)
        loop, outer, data = self.loops.pop(), self.loops[-1], over.flat()
        if loop.trains == 2 or (loop.trains and loop.epochs):
            loop.events = [replace(each, name="validate") if each.name == "score" else each for each in loop.events]
        outer.events += [each for each in loop.events if not (loop.epochs and each.name == "choose")]
        if loop.trains:
            self._note("train", data)
            outer.trains = max(outer.trains, 3 if loop.epochs else loop.trains + 1)
        elif data.marks & (PARTS | SIDES):
            self._note("score", data)

    _see_AsyncFor = _see_While = _see_For

    def _see_Import(self, node, env):
        own = self._module(getattr(node, "module", node.names[0].name) or "")
        self.attrs |= own
        env |= own if node.names[0].name == "*" else {}
        for name in node.names:
            env[(name.asname or name.name).partition(".")[0]] = own.get(name.name) or Value(what=name.name)

    _see_ImportFrom = _see_Import

    def _see_Constant(self, node, env):
        return Value([str(node.value)]) if isinstance(node.value, str | int) else Value()

    def _see_Name(self, node, env):
        return env.get(node.id) or Value(what=node.id)

    def _see_JoinedStr(self, node, env):
        found = [self._see(each.value if isinstance(each, ast.FormattedValue) else each, env) for each in node.values]
        return functools.reduce(added, found, Value([""]))

    def _see_Tuple(self, node, env):
        return Value(items={number: self._see(each, env) for number, each in enumerate(node.elts[:ITEMS])})

    _see_List = _see_Set = _see_Tuple

    def _see_Dict(self, node, env):
        pairs = zip(node.keys[:ITEMS], node.values[:ITEMS], strict=True)
        return Value(items={_key(self._see(key, env)): self._see(each, env) for key, each in pairs})

    def _see_BinOp(self, node, env):
        left, right = self._see(node.left, env), self._see(node.right, env)
        between = {ast.Add: "", ast.Div: "/"}.get(type(node.op))
        if (
            "mean" in right.marks
            and isinstance(node.op, ast.Sub | ast.Div)
            and right.marks.isdisjoint({"score", "answers"})
        ):
            self._note("scale" if right.parts != {"test"} else "", right)  # each by its own mean tells nothing
            return left.but("scaled")
        if isinstance(node.op, ast.Mod) and any(map(WORDS["place"].search, left.texts)):
            return filled(left, right.items.values() or [right])
        return mixed([left, right]) if between is None else added(left, right, between)

    def _see_IfExp(self, node, env):
        test = self._see(node.test, env)
        ways = [each for each, no in ((node.body, {"False"}), (node.orelse, {"True"})) if test.texts != no]
        found = joined(self._see(each, env) for each in ways)
        return found if found.marks or found.items or found.what else Value(found.texts, test.flat().marks)

    def _see_Compare(self, node, env):
        found = [self._see(each, env) for each in (node.left, *node.comparators)]
        equal = isinstance(node.ops[0], ast.Eq | ast.NotEq)
        if equal and all(len(each.texts) == 1 and UNKNOWN not in min(each.texts) for each in found):
            return Value([str((found[0].texts == found[1].texts) == isinstance(node.ops[0], ast.Eq))])
        if equal or not any(isinstance(each, ast.Constant) for each in (node.left, *node.comparators)):
            self._note("equal" if equal else "choose", mixed(found).but(*["apart"] * apart(*found)))
        return mixed(found).but(*["score"] * (equal and all(each.flat().parts for each in found)))

    def _see_ListComp(self, node, env):
        inner, made, (first, *others) = dict(env), {}, node.generators
        for number, item in enumerate(self._each(self._see(first.iter, env))):
            self._assign(first.target, item, inner)
            for other in others:
                self._assign(other.target, self._see(other.iter, inner).one(), inner)
            key = _key(self._see(node.key, inner)) if isinstance(node, ast.DictComp) else number
            made[key] = self._see(getattr(node, "elt", None) or node.value, inner)
        return Value(marks=["many"], items=made)

    _see_SetComp = _see_GeneratorExp = _see_DictComp = _see_ListComp

    def _see_Attribute(self, node, env, owner=None):
        owner = owner or self._see(node.value, env)
        if node.attr in self.attrs and not owner.parts:
            return self.attrs[node.attr]
        if node.attr in owner.items:
            return owner.items[node.attr]
        if is_a("labels", node.attr) and owner.parts:
            return owner.but("in order")
        return Value(owner.texts, column(owner.flat(), node.attr).marks, what=node.attr)

    def _see_Subscript(self, node, env):
        owner, index = self._see(node.value, env), self._see(node.slice, env)
        key = _key(index)
        if key in owner.items:
            return owner.items[key]
        found = owner.one() if isinstance(key, str) else owner.one().passed(ast.unparse(node))
        found = column(found, key) if isinstance(key, str) else found
        if isinstance(key, str) and (named := part_of(key)) and len(found.parts - {"all"}) != 1:
            return Value(found.texts, {named, *(found.marks - PARTS)})
        whole = owner.marks & {"many"} if isinstance(node.slice, ast.Slice | ast.Tuple) else set()
        cut = (
            {"slice"}
            if isinstance(node.slice, ast.Slice)
            else {"changed"}
            if whole and "::-1" in ast.unparse(node)
            else set()
        )
        return Value(found.texts, found.marks | cut | whole | index.marks & {*SIDES, "named", "changed"}, found.items)

    def _see_Call(self, node, env):
        args = [self._see(each, env) for each in node.args]
        options = {each.arg or "**": self._see(each.value, env) for each in node.keywords}
        options |= options.pop("**", Value()).items
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = self._see(node.func.value, env) if isinstance(node.func, ast.Attribute) else None
        func = self._see_Attribute(node.func, env, owner) if owner else self._see(node.func, env)
        self.calls.add(name)
        if is_a("steps", name) or (is_a("fits", name) and self.loops[-1].epochs):
            self.loops[-1].trains = max(self.loops[-1].trains, 1)
        given = [owner or Value(), *args, *options.values()]
        if is_a("joins", name) and args:  # images with changed ones, or with some of themselves
            kinds = {(part.flat().parts, "changed" in part.flat().marks) for part in args[0].items.values() or given}
            grows = WORDS["again"].search(ast.unparse(node)) or any((of, not new) in kinds for of, new in kinds)
            args[0].marks |= {"many", "resampled"} if grows else {"many"}
        data = mixed(given)
        own = func.what if isinstance(func.what, tuple) else self.methods.get(name) if owner else None
        found = self._follow(own, args, options) if own else None
        found = found or self._library(name, ast.unparse(node.func), given, args, options, data)
        if is_a("judges", name) and data.parts and "answers" not in data.marks:
            self._note("score", data)
        return found

    # --- what is assigned, gone over, called, imported

    def _assign(self, target: ast.expr | None, value: Value, env: dict[str, Value], sides: bool = False) -> None:
        match target:
            case ast.Name():  # which tells of what part it is, if its folder doesn't
                words = WORDS["side"].findall(target.id.lower())[-1:]
                by_name = words and (sides or value.parts == {"all"})
                env[target.id] = value.but(*["named"] * sides, parts=words) if by_name else value
            case ast.Tuple() | ast.List():
                for number, each in enumerate(target.elts):
                    self._assign(each, value.items.get(number) or value.one(), env, SPLIT in value.items)
            case ast.Attribute(attr="shuffle"):
                self._see(target.value, env).marks -= {"shuffled"} if "False" in value.texts else set()
            case ast.Attribute():
                self.attrs[target.attr] = joined([self.attrs.get(target.attr, value), value])
            case ast.Subscript():
                owner = self._see(target.value, env)
                owner.items = {**owner.items, _key(self._see(target.slice, env)): value}

    def _each(self, over: Value) -> list[Value]:
        """Return what a loop goes over: each one where they differ in what matters."""
        items = list(over.items.values())[:8]
        return items if any(parts_in(each.one()) for each in items) else [over.one().passed(self.steps)]

    def _follow(self, own: Any, args: list[Value], options: dict[str, Value]) -> Value | None:
        """Go through a function of the program as it is called; None where that is no use."""
        node, env, place = own
        if id(node) in self.stack or len(self.stack) >= DEEP:
            return None
        self.uncalled.pop(id(node), None)
        spec, inner = node.args, {name: value for name, value in env.items() if name != "return "}
        names = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs) if each.arg != "self"]
        given = [*spec.defaults, *spec.kw_defaults]
        defaults = [*[None] * (len(names) - len(given)), *given]
        inner |= {name: self._see(default, env) for name, default in zip(names, defaults, strict=True)}
        inner |= dict(zip(names, args, strict=False)) | options
        here = self.place, self.line
        self.place = place
        self.stack.append(id(node))
        self._run(node.body, inner)
        self.stack.pop()
        self.place, self.line = here
        return None if node.name == "__init__" else inner.get("return ") or Value()

    def _module(self, name: str) -> dict[str, Value]:
        """Read a module of the program's own, if it lies beside it."""
        tops = [self.folder, *self.folder.parents[:2]] if self.folder and name not in self.modules else []
        env, here = self.modules.setdefault(name, {}), (self.place, self.line)
        for path in (top / f"{name.replace('.', '/')}{end}" for top in tops for end in (".py", "/__init__.py")):
            with contextlib.suppress(SyntaxError, ValueError, OSError):  # it is not what is audited
                if not env and path.is_file():
                    self.read(path.read_text("utf-8-sig", errors="replace"), path.name, env)
        self.place, self.line = here
        return env

    # --- what libraries do

    def _library(self, name, full, given, args, options, data) -> Value:
        """Say what a function of a library gives, by its name, and note what it does to images."""
        owner, first = given[0], args[0] if args else given[0]
        if is_a("paths", name) or (name == "join" and not (owner.texts and len(args) == 1)):
            return functools.reduce(lambda left, right: added(left, right, "/"), given[not owner.texts :] or [Value()])
        if name == "sorted":
            self._note("choose", data)
        if is_a("same", name) and (args or owner.texts):
            return filled(owner, given[1:]) if owner.texts else first.passed(self.steps)
        if is_a("adds", name) and len(args) == 1:
            kind = "changed" if "changed" in mixed(args).marks else "plain"
            owner.marks |= data.marks - {"plain"} | parts_in(*given) | {"many", kind}
            return Value()
        if name == "items" and owner.items:
            args = [Value(items=dict(enumerate(Value([str(key)]) for key in owner.items))), owner]
        if name in ("zip", "items") and args:
            rows = zip(*((each.items or {0: each.one()}).values() for each in args), strict=False)
            return Value(items={n: Value(items=dict(enumerate(row))) for n, row in enumerate(rows)})
        asked = {*full.split("."), *(f"of {mark}" for mark in owner.marks), *(f"after {call}" for call in self.calls)}
        asked |= options.keys() | {f"on {mark}" for mark in first.marks}
        asked |= {f"{key}={text}" for key, each in [*enumerate(args), *options.items()] for text in each.texts}
        copies = self._copies(name, given, options)
        data = mixed([owner, *args]) if args else data
        data = options["key"].flat() if "key" in options and options["key"].flat().parts else data
        for rule in CALLS:
            if re.fullmatch(rule["names"], name) and asked.intersection(rule.get("needs", [name])):
                named = options.get(rule.get("named"))
                each = data.but(*rule.get("marks", ()), parts=parts_in(named) if named else rule.get("parts"))
                owner.marks |= {*rule.get("owner", ()), *(data.marks & SIDES)} if "owner" in rule else set()
                each = each.passed(self.steps) if "pass" in rule else each
                if "note" in rule:
                    self._note(rule["note"], each.but(*["apart"] * apart(*given[1:3])))
                return Value(marks=each.marks, items={SPLIT: each} if rule.get("note") == "split" else {})
        if is_a("fits", name):
            return self._fit(args, options, owner)
        if is_a("moves", name) and "train" in parts_in(*args[:1]) and parts_in(*args[1:2]) & {"val", "test"}:
            self._note("moved", data)
        if is_a("folders", name):
            return self._folders(name, args, options, copies)
        found = (owner if owner.texts else first).texts if is_a("globs", name) else ()
        return Value(
            marks=data.marks | copies | parts_in(*given),
            items={"dict": options, "DataFrame": first.items}.get(name, {}),
            texts=found,
        )

    def _copies(self, name, given, options) -> set[str]:
        """Note where copies of images are written beside these, and say whether such a folder is read."""
        texts = {text for each in given for text in each.texts}
        tops = {WORDS["in_it"].sub("", text) for text in texts}
        self.grown |= options.get("save_to_dir", Value()).texts
        if is_a("lists", name):
            self.listed |= tops | texts
        elif is_a("writes", name) and len(tops) == 1 and (name.startswith("copy") or not texts <= self.listed):
            self.grown |= tops & self.listed
        again = any(is_a("made", top) or new.startswith(top) for top in tops - {""} for new in {"", *self.grown})
        return {"resampled"} if again else set()

    def _folders(self, name, args, options, copies) -> Value:
        """Say what Keras' and torchvision's readers of folders give."""
        where = [*args, *(options[key] for key in ("directory", "root", "dataframe") if key in options)]
        found = joined([Value(), *(each for each in where if each.texts or each.parts)])
        parts = {part_of(text) or "all" for text in found.texts} | found.parts
        shuffled = name != "ImageFolder" and options.get("shuffle", Value(["True"])).texts == {"True"}
        drawn = {"subset", "validation_split"} & options.keys() and parts != {"val"}
        changed = "random" in mixed([*args, *options.values()]).marks
        found = found.but(*copies, *["shuffled"] * shuffled, *["changed"] * changed, parts=parts)
        if drawn:
            self._note("split", found)
        return found.but(*["split"] * bool(drawn))

    def _fit(self, args, options, owner) -> Value:
        """Note what trains and what validates."""
        held = [each for key, each in options.items() if is_a("validation", key)]
        data = mixed([owner, *args[:2], *(each for each in options.values() if each not in held)])
        self._note("train", data.but(*{"seed"} & options.keys()))
        if "validation_split" in options:
            self._note("split", data)
            held.append(data.but("split"))
        held += (each for each in args[2:3] if each.flat().marks & (PARTS | SIDES))  # Lightning's trainer
        if "val_dataloader" in self.methods:
            held.append(self._follow(self.methods["val_dataloader"], [], {}) or Value())
        for each in held:
            self._note("validate", each.flat())
        return Value()


def _key(value: Value) -> Any:
    """Return the key or number that a value is, where that is known."""
    (text, *others) = value.texts or [""]
    return None if others or not text else int(text) if text.isdecimal() else text
