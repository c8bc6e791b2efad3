"""The parameters of notebooks, from the command line and from a YAML file, held against what each notebook declares."""

from __future__ import annotations

import difflib
import reprlib
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_utils import files
from cxr_utils.course import notebooks
from cxr_utils.errors import BadInput


def of_each(
    paths: Sequence[Path], common: Mapping[str, Any], given: Mapping[str, Any], *, file: str | Path | None, where: Path
) -> dict[Path, dict[str, Any]]:
    """Tell which parameters each notebook gets, and refuse those that none knows.

    Parameters
    ----------
    paths : sequence of Path
        The notebooks.
    common : mapping
        Those that have an option of their own.
    given : mapping
        Others, for all notebooks that have them; these go before those of `file`.
    file : str or Path, optional
        A YAML file: either value by name, for all notebooks that have it, or such a mapping below the number or name
        of a notebook (``07``, ``07_replicate``), for it alone; or both, and what is said of one goes before.
    where : Path
        The folder of the notebooks.

    Returns
    -------
    dict of Path to dict
        Value by name, by notebook.

    Raises
    ------
    BadInput
        The file is no such YAML, a notebook or a parameter is unknown, or a value is not of its parameter's type.
    """
    known = {path: notebooks.parameters(path) for path in paths}
    offered = {name: value for each in known.values() for name, value in each.items()}
    every, own = _read(files.resolve(file), where) if file else ({}, {})
    for values, said in ((every, f"{file}: "), (given, "")):
        _check(values, offered, common, said)
    for path, values in own.items():
        if path in known:
            _check(values, known[path], common, f"{file}: {path.stem}: ")
        else:
            warnings.warn(f"{file}: what it says of {path.stem} is left out, which is not asked for", stacklevel=3)
    wanted = {path: {**common, **every, **own.get(path, {}), **given} for path in paths}
    return {path: {name: value for name, value in wanted[path].items() if name in known[path]} for path in paths}


def _read(path: Path, where: Path) -> tuple[dict[str, Any], dict[Path, dict[str, Any]]]:
    """Read a file of parameters: those for all notebooks, and those for one."""
    import yaml

    way_out = "write lines such as `draws: 500`, or the same indented below a line `06_evaluate:`"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: not a readable YAML file ({' '.join(str(error).split())}); {way_out}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: holds {reprlib.repr(content)}, which names no parameter; {way_out}")
    every, own = {}, {}
    for key, value in content.items():
        if not isinstance(value, dict):
            every[str(key)] = value
            continue
        try:
            (book,) = notebooks.select([str(key)], where)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from None
        if book in own:
            raise BadInput(f"{path}: {key!r} names {book.stem}, which is there already; put both together")
        own[book] = {str(name): one for name, one in value.items()}
    return every, own


def _check(values: Mapping[str, Any], offered: Mapping[str, Any], taken: Collection[str], said: str) -> None:
    """Refuse a parameter that is not offered, and a value of another type than the one that it would replace."""
    for name, value in values.items():
        if name in taken:
            raise BadInput(f"{said}parameter {name!r} has an option of its own: --{name.replace('_', '-')}")
        if name not in offered:
            close = difflib.get_close_matches(name, offered, 1)
            maybe = f" (did you mean {close[0]!r}?)" if close else ""
            among = ", ".join(sorted(offered.keys() - set(taken))) or "none"
            raise BadInput(f"{said}parameter {name!r} is unknown{maybe}; known here are {among}")
        usual = offered[name]
        kinds = (str, type(None)) if usual is None else (int, float) if type(usual) is float else (type(usual),)
        if type(value) not in kinds:
            expected = "a text" if usual is None else f"such as {usual!r}"
            raise BadInput(f"{said}parameter {name!r}: {reprlib.repr(value)} is of another type; expected {expected}")


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """Read parameters given as ``name=value``; a value is a Python literal, else text.

    Parameters
    ----------
    assignments : sequence of str
        As on the command line.

    Returns
    -------
    dict of str to object
        Value by name.

    Raises
    ------
    BadInput
        An assignment has no name or no ``=``.

    Examples
    --------
    >>> parse(["epochs=3", "how=pad"])
    {'epochs': 3, 'how': 'pad'}
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip().isidentifier():
            raise BadInput(f"parameter {assignment!r} is not of the form name=value")
        values[name.strip()] = notebooks.literal(text, text)
    return values
