"""Where images go in a program that is read and never run: from folders through splits into training and figures.

Each expression gets a `Value`: which texts it may be, of which parts of the dataset its images are, and what was done
to them. Calls of the program's own functions and classes are followed, branches are joined, loops are gone through once
(over what is written out, once for each). What happens to images is noted as `Event`; `auditor` judges these. What is
known of libraries stands in ``auditor.toml``.
"""

import ast
import contextlib
import functools
import itertools
import re
import warnings
from collections import ChainMap
from pathlib import Path
from typing import Any, NamedTuple

from cxr_utils.replication import values
from cxr_utils.replication.values import PARTS, SIDES, WORDS, Call, Value, is_a, joined, mixed, parts_in

#: What a score and a choice are that are made between the epochs of a training.
BETWEEN = {"score": "validate", "choose": ""}
#: Deeper calls are not followed, more steps are not made, a longer source is not read, no more lines are left out.
DEEP, STEPS, SOURCE, SPARED = 14, 60_000, 2_000_000, 20


def at(place: str, line: int) -> str:
    """Return how a place is called."""
    return f"{place}, line {line}".removeprefix(", ")


def _parsed(source: str) -> tuple[ast.Module, set[int]]:
    """Return the code of a source, and which lines of it are left out: a few that are no Python of today."""
    lines, unread = source.split("\n"), []
    while True:
        try:
            with warnings.catch_warnings(action="ignore"):
                return ast.parse("\n".join(lines)), {*unread}
        except SyntaxError as error:
            unread.append(line := min(error.lineno or 1, len(lines)))
            if len(unread) > SPARED or unread.count(line) > 2:
                raise
            lines[line - 1] = re.match(r"\s*", lines[line - 1])[0] + "pass" * (unread.count(line) == 1)


class Event(NamedTuple):
    """What happens to images.

    Attributes
    ----------
    name : str
        "train", "validate", "score", "split", "moved", "scale", "leak", "compare", "equal", "choose", "seed", "kept"
        (a scaler from a file), "elsewhere" (code that is not here); what `auditor` sees itself is "typed", "cited" (a
        figure of others) and "measure".
    place : str
        The cell and the line.
    value : Value
        The images; "apart" if labels and answers that are compared are in different orders.
    """

    name: str
    place: str
    value: Value = Value()


class Program:
    """Reads a program: `events` has what happens in it, in order, `nodes` each piece of its code, `unread` other lines.

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
        self.events, self.nodes, self.stack, self.unread = [], [], [], []
        # `attrs` are those of all objects of the program together
        self.env, self.attrs, self.uncalled, self.modules = {}, {}, {}, {}
        # `listed`: folders whose images were read; `grown`: those of them where copies came to these
        self.said, self.listed, self.grown = set(), set(), set()

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
        tree, unread = _parsed(functools.reduce(lambda text, turn: re.sub(*turn, text), values.TURNED, source))
        self.unread += [at(place, line) for line in sorted(unread)]
        self.nodes += (
            (place, node) for node in ast.walk(tree) if not (unread and isinstance(node, ast.Module | ast.Pass))
        )
        self.said |= {"after skip"} if ".skip(" in source else set()
        here, self.place = self.place, place
        self._see(tree, self.env if env is None else env)
        self.place = here

    def finish(self) -> None:
        """Go through the functions that nobody called: another file may."""
        while self.uncalled:
            self._follow(next(iter(self.uncalled.values())), [], {})

    def _note(self, name: str, value: Value) -> None:
        self.events.append(Event(name, at(self.place, self.line), value))

    # --- each kind of statement and expression

    def _see(self, node: ast.AST | None, env: dict[str, Value]) -> Value:
        """Go through any node by the method of its name, else through what it is made of."""
        self.steps += 1
        if node is None or self.steps > STEPS:
            return Value()
        self.line = node.lineno if isinstance(node, ast.stmt) else self.line
        kind = type(node).__name__
        if see := getattr(self, f"_see_{values.ALIKE.get(kind, kind)}", None):
            return see(node, env) or Value()
        return mixed([self._see(each, env) for each in ast.iter_child_nodes(node)])

    def _see_FunctionDef(self, node, env):
        self.uncalled[id(node)] = node, env, self.place
        env[node.name] = Value(what=self.uncalled[id(node)])

    def _see_ClassDef(self, node, env):
        self._see(ast.Module(node.body, []), own := ChainMap({}, env))
        self.attrs |= own.maps[0]
        env[node.name] = Value(what=own.maps[0].get("__init__", Value()).what)

    def _see_Assign(self, node, env):
        given = getattr(node, "value", None) or getattr(node, "context_expr", None)
        value = self._see(ast.BinOp(node.target, node.op, given) if hasattr(node, "op") else given, env)
        for target in getattr(node, "targets", [getattr(node, "target", None) or getattr(node, "optional_vars", None)]):
            self._assign(target, value, env)
        return value

    def _see_Return(self, node, env):
        env["return "] = joined([self._see(node.value, env), env.get("return ", Value())])

    def _see_If(self, node, env):
        """Go through both ways, or the one that its test leaves; what neither tells, the test does."""
        test, found, ways = self._see(node.test, env), [], []
        for body, no in ((node.body, {"False"}), (node.orelse, {"True"})):
            if test.texts != no:
                ways.append(dict(env))
                found.append(self._see(ast.Module(body, []) if isinstance(body, list) else body, ways[-1]))
        env |= {name: joined(way[name] for way in ways if name in way) for way in ways for name in way}
        value = joined(found)
        return value if value.marks or value.items else Value(value.texts, test.flat().marks)

    def _see_For(self, node, env):
        """Go through a loop; what is judged between the epochs of a training validates it, and chooses nothing else."""
        over, target = self._see(getattr(node, "iter", None), env), getattr(node, "target", None)
        epochs, start = target is None or "epoch" in ast.unparse(target).lower(), len(self.events)
        for item in self._each(over):
            self._assign(target, item, env)
            self._see(ast.Module([*node.body, *node.orelse], []), env)
        inside, data = {each.name for each in self.events[start:]}, over.flat()
        step = max(inside & {"step 1", "step 2", "step 3", *["train"] * epochs}, default="")
        self._turn(start, **BETWEEN if step and epochs else {"choose": ""} if epochs else {})
        self._turn(start, score="validate" if step == "step 2" else "score")
        if step:
            self._note("train", data)
            self._note("step 2" if step < "step 2" and not epochs else "step 3", data)
        elif data.marks & (PARTS | SIDES):
            self._note("score", data)

    def _turn(self, start: int, **into: str) -> None:
        """Call what happened since then by another name, or by none."""
        self.events[start:] = [each._replace(name=into.get(each.name, each.name)) for each in self.events[start:]]

    def _see_Import(self, node, env):
        """Import names, from a module of the program's own if it lies beside it."""
        module = getattr(node, "module", node.names[0].name) or ""
        tops = [self.folder, *self.folder.parents[:2]] if self.folder and module not in self.modules else []
        own, here = self.modules.setdefault(module, {}), self.folder
        files = (top / f"{module.replace('.', '/')}{end}" for top in tops for end in (".py", "/__init__.py"))
        with contextlib.suppress(StopIteration, SyntaxError, ValueError, OSError):  # it is not what is audited
            path = next(filter(Path.is_file, files))
            self.folder = path.parent
            self.read(path.read_text("utf-8-sig", errors="replace"), path.name, own)
        self.folder = here
        self._note("elsewhere" if not own and (getattr(node, "level", 0) or is_a("own", module)) else "", Value())
        self.attrs |= own
        names = {(each.asname or each.name).partition(".")[0]: each.name for each in node.names}
        named = {name: own.get(of) or Value(what=of.rpartition(".")[2]) for name, of in names.items()}
        env |= own if "*" in names else named

    def _see_Constant(self, node, env):
        return Value([str(node.value)]) if isinstance(node.value, str | int) else Value()

    def _see_Name(self, node, env):
        return env.get(node.id) or Value(what=node.id)

    def _see_JoinedStr(self, node, env):
        found = [self._see(each.value if isinstance(each, ast.FormattedValue) else each, env) for each in node.values]
        return functools.reduce(Value.then, found, Value([""]))

    def _see_Tuple(self, node, env):
        return Value(items={number: self._see(each, env) for number, each in enumerate(node.elts[: values.ITEMS])})

    def _see_Dict(self, node, env):
        pairs = zip(node.keys[: values.ITEMS], node.values[: values.ITEMS], strict=True)
        return Value(items={self._see(key, env).key(): self._see(each, env) for key, each in pairs})

    def _see_BinOp(self, node, env):
        left, right = self._see(node.left, env), self._see(node.right, env)
        if isinstance(node.op, ast.Sub | ast.Div) and right.marks & {"mean", "score", "answers"} == {"mean"}:
            self._note("scale" if right.parts != {"test"} else "", right)  # each by its own mean tells nothing
            return left.but("scaled")
        if isinstance(node.op, ast.Mod) and any(map(WORDS["place"].search, left.texts)):
            return left.filled(right.items.values() or [right])
        between = {ast.Add: "", ast.Div: "/"}.get(type(node.op))
        return mixed([left, right]) if between is None else left.then(right, between)

    def _see_Compare(self, node, env):
        found = [self._see(each, env) for each in (node.left, *node.comparators)]
        equal = isinstance(node.ops[0], ast.Eq | ast.NotEq)
        if equal and not any(each.key() is None for each in found):
            return Value([str((found[0].texts == found[1].texts) == isinstance(node.ops[0], ast.Eq))])
        if equal or not any(isinstance(each, ast.Constant) for each in (node.left, *node.comparators)):
            self._note("equal" if equal else "choose", mixed(found).but(*["apart"] * values.apart(*found)))
        return mixed(found).but(*["score"] * (equal and all(each.flat().parts for each in found)))

    def _see_ListComp(self, node, env):
        inner, made, first = dict(env), {}, node.generators[0]
        marks = {"many", *["grouped"] * (isinstance(node, ast.SetComp) and is_a("persons", ast.unparse(node)))}
        for item in self._each(self._see(first.iter, env)):
            for each in node.generators:
                self._assign(each.target, item if each is first else self._see(each.iter, inner).one(), inner)
                marks |= mixed(self._see(test, inner) for test in each.ifs).marks & SIDES
            key = self._see(node.key, inner).key() if isinstance(node, ast.DictComp) else len(made)
            made[key] = self._see(getattr(node, "elt", None) or node.value, inner)
        return Value(marks=marks, items=made)

    def _see_Attribute(self, node, env, owner=None):
        owner = owner or self._see(node.value, env)
        held = owner.items if owner.parts else owner.items | self.attrs
        if is_a("labels", node.attr) and node.attr not in held:
            return owner.but("in order")
        return held.get(node.attr) or Value(owner.texts, owner.flat().column(node.attr).marks, what=node.attr)

    def _see_Subscript(self, node, env):
        owner, index = self._see(node.value, env), self._see(node.slice, env)
        key, marks = index.key(), index.marks & {*SIDES, "named", "changed"}
        if key in owner.items:
            return owner.items[key]
        found = owner.one().column(key) if isinstance(key, str) else owner.one().passed(ast.unparse(node))
        if isinstance(node.slice, ast.Slice):
            marks |= {"slice", *(owner.marks & {"many"})}
        elif isinstance(node.slice, ast.Tuple) and "many" in owner.marks:
            marks |= {"many", *["changed"] * ("::-1" in ast.unparse(node))}
        return Value(found.texts, found.marks | marks, found.items)

    def _see_Call(self, node, env):
        args = [self._see(each, env) for each in node.args]
        options = {each.arg or "**": self._see(each.value, env) for each in node.keywords}
        options |= options.pop("**", Value()).items
        owner = self._see(node.func.value, env) if isinstance(node.func, ast.Attribute) else None
        func = self._see_Attribute(node.func, env, owner) if owner else self._see(node.func, env)
        name = func.what if isinstance(func.what, str) else getattr(node.func, "attr", getattr(node.func, "id", ""))
        call = Call(node, name, owner or Value(), args, options)
        own = (self.attrs.get(name, func) if owner and func.what == name else func).what
        found, data = self._follow(own, args, options) or self._library(call), mixed(call.given().values())
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
                    self._assign(each, value.items.get(number) or value.one(), env, "sides" in value.marks)
            case ast.Attribute(attr="shuffle"):
                self._see(target.value, env).marks -= {"shuffled"} if "False" in value.texts else set()
            case ast.Attribute():
                self.attrs[target.attr] = joined([self.attrs.get(target.attr, value), value])
            case ast.Subscript():
                owner = self._see(target.value, env)
                owner.items = {**owner.items, self._see(target.slice, env).key(): value}

    def _each(self, over: Value) -> list[Value]:
        """Return what a loop goes over: each one where they differ in what matters."""
        items = list(over.items.values())[:8]
        return items if any(parts_in(each.one()) for each in items) else [over.one().passed(self.steps)]

    def _follow(self, own: Any, args: list[Value], options: dict[str, Value]) -> Value | None:
        """Go through a function of the program as it is called; None where that is no use, or it is of a library."""
        node, env, place = own if isinstance(own, tuple) else (None, {}, "")
        if node is None or id(node) in self.stack or len(self.stack) >= DEEP:
            return None
        self.uncalled.pop(id(node), None)
        spec, inner = node.args, env | {"return ": Value()}
        names = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs) if each.arg != "self"]
        defaults = itertools.zip_longest(reversed(names), reversed([*spec.defaults, *spec.kw_defaults]))
        inner |= {key: self._see(held, env) for key, held in defaults} | dict(zip(names, args, strict=False)) | options
        here, self.place, start = (self.place, self.line), place, len(self.events)
        self.stack.append(id(node))
        ends = (n for n, each in enumerate(node.body, 1) if isinstance(each, ast.Return | ast.Raise))
        self._see(ast.Module(node.body[: next(ends, None)], []), inner)
        self.stack.pop()
        self._turn(start, **BETWEEN if is_a("by_epoch", node.name) else {})
        if is_a("validates", node.name):
            self._note("validate", inner["return "].flat())
        self.place, self.line = here
        return None if node.name == "__init__" else inner["return "]

    # --- what libraries do

    def _library(self, call: Call) -> Value:
        """Say what a function of a library gives, by the rules for it, and note what it does to images."""
        marks = self._copies(call)
        for rule in call.rules({*self.said, *["persons"] * is_a("persons", ast.unparse(call.node))}):
            marks |= {*rule.get("marks", ())}
            if found := getattr(self, f"_{rule.get('does', 'mark')}")(call, rule, marks):
                return found
        first = (call.args or [call.owner])[0]
        items = {**first.items, **call.options} if is_a("holds", call.name) else {}
        texts = call.owner.texts or first.texts if is_a("globs", call.name) else ()
        return Value(texts, call.data().marks | marks | parts_in(*call.given().values()), items)

    def _mark(self, call, rule, marks):
        """Do what a rule says."""
        whole = [call.folders() if "reads" in rule else call.data()]
        for data in [call.given()[key] for key in rule["takes"] if key in call.given()] if "takes" in rule else whole:
            found = data.but(*marks, parts=rule.get("parts", parts_in(data, data.flat())))
            call.owner.marks |= {*rule["owner"], *(found.marks & SIDES)} if "owner" in rule else set()
            found = found.passed(self.steps) if "pass" in rule else found
            if "note" in rule:
                self._note(rule["note"], found.but(*["apart"] * values.apart(*[*call.given().values()][1:3])))
        return {"more": None, "nothing": Value()}.get(rule.get("then"), found)

    def _path(self, call, rule, marks):
        """Put a path together."""
        pieces = [call.owner, *call.args][not call.owner.texts :] or [Value()]
        return functools.reduce(lambda start, end: start.then(end, "/"), pieces)

    def _same(self, call, rule, marks):
        """Give what is given, as a list or as a text."""
        if call.owner.texts:
            return call.owner.filled([*call.args, *call.options.values()])
        return call.args[0].passed(self.steps) if call.args else None

    def _option(self, call, rule, marks):
        """Keep what options of a command line are where nobody gives them, and give them all."""
        names = (text.lstrip("-").replace("-", "_") for each in call.args for text in each.texts)
        call.owner.items |= dict.fromkeys(names, call.options.get("default", Value()))
        return call.owner

    def _add(self, call, rule, marks):
        """Put something into a list."""
        new = set() if "changed" in mixed(call.args).marks else {"plain"}
        call.owner.marks |= call.data().marks - {"plain"} | parts_in(*call.given().values()) | {"many", *new}

    def _pair(self, call, rule, marks):
        """Go through several things side by side, or through keys and what stands under them."""
        keys = Value(items=dict(enumerate(Value([str(key)]) for key in call.owner.items)))
        args = [keys, call.owner] if call.owner.items else call.args
        rows = zip(*((each.items or {0: each.one()}).values() for each in args), strict=False)
        return Value(items={n: Value(items=dict(enumerate(row))) for n, row in enumerate(rows)}) if args else None

    def _copies(self, call) -> set[str]:
        """Note where copies of images are written beside these, and say whether such a folder is read."""
        texts = {text for each in call.given().values() for text in each.texts}
        tops = {WORDS["in_it"].sub("", text) for text in texts} - {""}
        self.grown |= call.options.get("save_to_dir", Value()).texts
        self.listed |= tops | texts if is_a("lists", call.name) else set()
        new = is_a("copies", call.name) or (is_a("writes", call.name) and not texts <= self.listed)
        self.grown |= tops & self.listed if new and len(tops) == 1 else set()
        again = any(is_a("made", top) or folder.startswith(top) for top in tops for folder in {"", *self.grown})
        return {"resampled"} if again else set()

    def _join(self, call, rule, marks):
        """Join images: with changed ones, or with some of themselves, they are more than there were."""
        joins = (call.args or [call.owner])[0]
        kinds = {(v.parts, "changed" in v.marks) for v in map(Value.flat, (joins.items or call.given()).values())}
        grows = WORDS["again"].search(ast.unparse(call.node)) or any((of, not new) in kinds for of, new in kinds)
        joins.marks |= {"many", "resampled"} if grows else {"many"}
