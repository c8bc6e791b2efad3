"""What a lesson asks of the learner besides exercises: images, size of a run, guesses, a protocol before test."""

import json
import os
import tomllib
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from cxr_utils import files, ledger
from cxr_utils.errors import BadInput, one_of

FILE = "course.toml"
#: What it is at first.
TEXT = Path(__file__).with_name(FILE).read_text(encoding="utf-8")


class Chosen(NamedTuple):
    """What a lesson runs on, in the order of its parameters."""

    source: str
    path: str | None
    data_dir: str
    run_dir: str
    profile: str
    seed: int


def chosen(source=None, path=None, data_dir=None, run_dir=None, profile=None, seed=None) -> Chosen:
    """Complete a lesson's parameters: what is None comes from ``course.toml`` beside it, else from the defaults.

    Parameters
    ----------
    source, path, data_dir, run_dir, profile : str, optional
        As papermill or the learner set them. Without any the lesson runs on the sample.
    seed : int, optional
        0 if nobody says otherwise.

    Returns
    -------
    Chosen
        To be unpacked: source, path, data_dir, run_dir, profile, seed.

    Raises
    ------
    BadInput
        ``course.toml`` can't be read, or a name in it, or its value, is not as it should be.

    Examples
    --------
    >>> chosen(seed=3)
    Chosen(source='sample', path=None, data_dir='data', run_dir='runs/sample', profile='sample', seed=3)
    """
    from cxr_utils.course import default_run_dir

    given = {"source": source, "path": path, "data_dir": data_dir, "run_dir": run_dir, "profile": profile, "seed": seed}
    place = Path.cwd() / FILE
    try:
        kept = tomllib.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    except (OSError, ValueError) as error:
        way_out = "mend that line, or delete the file, and cxr lab writes a new one"
        raise BadInput(f"{place}: can't be read ({error}); {way_out}") from None
    for name, value in kept.items():
        one_of(f"{place}: name", name, given)
        kind, words = (int, "a number") if name == "seed" else (str, "text in quotes")
        if type(value) is not kind:
            raise BadInput(f"{place}: {name} is {value!r}; it must be {words}")
    known = {name: kept.get(name) if value is None else value for name, value in given.items()}
    known["source"] = known["source"] or "sample"
    known["profile"] = known["profile"] or ("sample" if known["source"] == "sample" else "workshop")
    known["data_dir"] = known["data_dir"] or "data"
    known["run_dir"] = known["run_dir"] or default_run_dir(known["source"], known["profile"])
    return Chosen(**known | {"path": known["path"] or None, "seed": known["seed"] or 0})


_GUESSED: dict[str, bool] = {}


def compare(what: str, guess: Any, found: Any, *, within: float = 0.1) -> None:
    """Print a guess beside what came out, and remember whether it was right; without a guess, only what came out.

    Parameters
    ----------
    what : str
        What was asked, as a few words: the line begins with them.
    guess : number, str, list or None
        What the learner wrote before; None where nothing was written. One that can't be an answer, such as text where
        a number is asked, is not counted: the line says how to write it.
    found : number, str or list
        What came out, taken from the data. The order of a list doesn't matter.
    within : float
        How far a number may be off.

    Examples
    --------
    >>> compare("NORMAL found", 0.9, 0.02)
    NORMAL found: you said 0.9, it is 0.02. (Up to 0.1 off counts as right.)
    >>> compare("The best way", "smote", "SMOTE")
    ✅ The best way: you said smote, it is SMOTE.
    >>> compare("The share of PNEUMONIA", None, 0.706)
    The share of PNEUMONIA: it is 0.706.
    >>> compare("The share of PNEUMONIA", 70, 0.706)
    The share of PNEUMONIA: you said 70; write a share from 0 to 1, such as 0.62 for 62%.
    """
    number, several = isinstance(found, Real), isinstance(found, list)
    shown = f"{found:.3g}" if number and not float(found).is_integer() else str(found)
    if guess is None or guess is ...:
        print(f"{what}: it is {shown}.")
        return
    share = number and not isinstance(found, Integral) and 0 <= found <= 1 and within < 1
    form = "a share from 0 to 1, such as 0.62 for 62%" if share else "a number" if number else "a list, such as [1, 4]"
    kind = Real if number else (list, tuple, set) if several else object
    if not isinstance(guess, kind) or (share and guess > 1):
        print(f"{what}: you said {guess!r}; write {form}{' (without quotes)' * isinstance(guess, str)}.")
        return
    if number:
        right = abs(guess - found) <= within
    elif several:
        right = sorted(map(str, guess)) == sorted(map(str, found))
    else:
        right = str(guess).strip().lower() == str(found).strip().lower()
    _GUESSED[what] = bool(right)
    near = f" (Up to {within:g} off counts as right.)" if number and within and not right else ""
    print(f"{'✅ ' if right else ''}{what}: you said {guess}, it is {shown}.{near}")


def score() -> None:
    """Print how many of the guesses since the kernel started came true, at a lesson's end.

    Examples
    --------
    >>> _GUESSED.clear()
    >>> score()
    You wrote no guess. They are for you alone: a wrong one teaches more than none.
    """
    if not _GUESSED:
        print("You wrote no guess. They are for you alone: a wrong one teaches more than none.")
    else:
        print(f"{sum(_GUESSED.values())} of your {len(_GUESSED)} guesses came true.")


def questions(lesson: str) -> list[dict[str, Any]]:
    """Return the five questions at a lesson's end.

    Parameters
    ----------
    lesson : str
        Its number, such as ``02``.

    Returns
    -------
    list of dict
        ``asks``; ``answers``, pairs of an answer and the reason why it is right or wrong; ``right``, a letter.

    Raises
    ------
    BadInput
        There is no such lesson.

    Examples
    --------
    >>> len(questions("02"))
    5
    """
    known = {path.stem: path for path in Path(__file__).with_name("quizzes").glob("*.toml")}
    one_of("lesson", lesson, sorted(known))
    return tomllib.loads(known[lesson].read_text(encoding="utf-8"))["question"]


def quiz(lesson: str, *letters: Any) -> None:
    """Print the five questions at a lesson's end; for each letter given, whether it is right, and why.

    Parameters
    ----------
    lesson : str
        Its number, such as ``02``.
    *letters : str
        One for each question, in order. ``...`` in place of one prints the question.

    Raises
    ------
    BadInput
        There is no such lesson.

    Examples
    --------
    >>> quiz("06", ..., "b")  # doctest: +ELLIPSIS
    1. ...
    """
    right, asked = 0, questions(lesson)
    for number, question in enumerate(asked, 1):
        letter = letters[number - 1] if number <= len(letters) else ...
        answers = dict(zip("abcd", question["answers"], strict=False))
        key = str(letter).strip().lower()
        if letter is ...:
            print(f"{number}. {question['asks']}", *(f"   {k}) {text}" for k, (text, _) in answers.items()), sep="\n")
        elif key not in answers:
            print(f"{number}. {letter!r} is none of the letters: write one of {', '.join(answers)}, in quotes.")
        else:
            text, reason = answers[key]
            right += key == question["right"]
            print(f"{'✅' if key == question['right'] else '✗'} {number} {key}) {text}\n     {reason}")
    if any(letter is not ... for letter in letters):
        print(f"{right} of {len(asked)} right.")


#: What a sealed protocol is kept as.
SEALED = ("digest", "protocol")
#: What a protocol may promise to report.
FIGURES = ("balanced_accuracy", "accuracy", "sensitivity", "specificity", "auc")


def seal(protocol: Mapping[str, Any], folder: str | Path, runs: Mapping[str, Any] | None = None) -> str:
    """Write down what will be reported of test, before it is opened; another protocol is refused from then on.

    Parameters
    ----------
    protocol : mapping of str to str or number
        Such as which network, which threshold, which figure (one of `FIGURES`). Nothing may be left open.
    folder : str or Path
        Gets ``protocol.json``; a relative one is taken from the project's root.
    runs : mapping of str to cxr_utils.training.Run, optional
        The networks by name. How each was trained is sealed too, as ``networks``: another one under the same name is
        refused.

    Returns
    -------
    str
        The digest of the protocol: the same words and numbers give the same, any other give another. `open_test`
        asks for it.

    Raises
    ------
    BadInput
        Something in it is None or ``...``, its figure is none of `FIGURES` or its network none of `runs`, or another
        protocol was sealed there before, or this one of other networks.

    Examples
    --------
    >>> seal({"network": "plain", "threshold": 0.4, "figure": "auc"}, "exam")
    '5cd39552e97d81d1'
    """
    if empty := [name for name, value in protocol.items() if value is None or value is ...]:
        raise BadInput(f"protocol: {empty[0]!r} is still open; decide it before you seal the protocol")
    for name, known in {"figure": FIGURES, "network": sorted(runs or {})}.items():
        if known and name in protocol:
            one_of(name, protocol[name], known)
    path = files.resolve(folder) / "protocol.json"
    wanted = dict(protocol) | ({"networks": {name: _trained(run) for name, run in runs.items()}} if runs else {})
    digest = files.digest(json.dumps(wanted, sort_keys=True, default=str))
    if not os.path.lexists(path):
        files.write_json(path, {"digest": digest, "protocol": wanted}, ours=SEALED)
    elif (kept := files.read_record(path, *SEALED))["digest"] != digest:
        words = {name: value for name, value in kept["protocol"].items() if name != "networks"}
        if words == dict(protocol):
            _same_networks(kept["protocol"], runs or {}, folder)
        way_out = _way_out(folder, "report what that one gives")
        raise BadInput(f"{Path(folder) / path.name}: holds another protocol, sealed before ({words}); {way_out}")
    return digest


def take_back(folder: str | Path) -> None:
    """Take a sealed protocol back, as long as nothing has read test for it.

    Parameters
    ----------
    folder : str or Path
        As for `seal`.

    Raises
    ------
    BadInput
        Test was read already.

    Examples
    --------
    >>> digest = seal({"network": "plain", "threshold": 0.5, "figure": "auc"}, "exam")
    >>> take_back("exam")
    """
    path = files.resolve(folder) / "protocol.json"
    if os.path.lexists(path.with_name(ledger.NAME)):
        raise BadInput(f"{folder}: test was read for its protocol, so it stays; report what it gives")
    files.read_record(path, *SEALED)
    path.unlink()


def sealed(folder: str | Path) -> dict[str, Any]:
    """Return the protocol that was sealed: what is reported is read from it, not from what was written since.

    Parameters
    ----------
    folder : str or Path
        As for `seal`.

    Returns
    -------
    dict
        What `seal` got; with ``networks``, how each was trained, if it got runs.

    Examples
    --------
    >>> digest = seal({"network": "plain", "threshold": 0.4, "figure": "auc"}, "exam")
    >>> sealed("exam")["figure"]
    'auc'
    """
    return files.read_record(files.resolve(folder) / "protocol.json", *SEALED)["protocol"]


def _trained(run: Any) -> str:
    """Name a network by the course of its training, to the last digit: another training has another."""
    return files.digest(files.as_csv(run.history.drop(columns="seconds")))


def _way_out(folder: str | Path, rather: str) -> str:
    """Say how another protocol can be sealed: freely, until test was read for this one."""
    if os.path.lexists(files.resolve(folder) / ledger.NAME):
        return f"{rather}. For a second look at test move protocol.json away: your ledger will count it"
    return f"nothing has read test yet: if it was a slip, lessons.take_back({str(folder)!r}), and seal anew"


def _same_networks(protocol: Mapping[str, Any], runs: Mapping[str, Any], folder: str | Path) -> None:
    known = protocol.get("networks", {})
    for name, run in runs.items():
        if name in known and known[name] != _trained(run):
            way_out = _way_out(folder, "go back to its settings")
            raise BadInput(f"runs: {name!r} is another network than was sealed, trained anew since; {way_out}")


def open_test(runs: Mapping[str, Any], pixels: Any, split: Any, *, seal: str, folder: str | Path) -> dict[str, Any]:
    """Let networks answer the test images, for whoever has sealed a protocol; each reading is entered first.

    Parameters
    ----------
    runs : mapping of str to cxr_utils.training.Run
        The networks by name.
    pixels, split
        As for `evaluation.predict`.
    seal : str
        What `seal` returned.
    folder : str or Path
        Where it is sealed. Gets the ledger, ``test_reads.csv``: one reading a network and protocol.

    Returns
    -------
    dict of str to DataFrame
        The answers in validation and on test, as `evaluation.predict` gives them.

    Raises
    ------
    BadInput
        No protocol with this digest is sealed there, or a network was trained anew after it was sealed.
    """
    from cxr_utils import evaluation

    path = files.resolve(folder) / "protocol.json"
    kept = files.read_record(path, *SEALED)["digest"] if path.is_file() else "no protocol"
    if kept != seal:
        raise BadInput(f"seal: {seal!r}, but {path} holds {kept}; seal your protocol first, and give the digest")
    _same_networks(sealed(folder), runs, folder)
    for run in runs.values():
        ledger.enter(path.parent, cell=run.folder.name, identity=seal, protocol="sealed")
    return {name: evaluation.predict(run, pixels, split, entered=True) for name, run in runs.items()}


#: The ledger of a folder: who read test, and when.
readings = ledger.read


def assistant() -> Path:
    """Return the notebook that lesson 10 audits: invented, as an assistant writes one.

    Returns
    -------
    Path

    Examples
    --------
    >>> assistant().name
    'assistant.ipynb'
    """
    return Path(__file__).with_name("assistant.ipynb")
