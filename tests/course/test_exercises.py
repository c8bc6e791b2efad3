"""The mechanism of the exercises; the checkers themselves are tested through the solutions."""

import inspect
import re

import pandas as pd
import pytest

from cxr_utils.course import exercises
from cxr_utils.errors import BadInput


@pytest.fixture(autouse=True)
def doubled(monkeypatch):
    monkeypatch.setattr(exercises, "CHECKERS", dict(exercises.CHECKERS))

    @exercises.exercise("99.1")
    def _(answer, *, number):
        return None if answer == 2 * number else f"twice {number} is {'more' if answer < number else 'other'}"


def said(capsys, *answers, **given):
    exercises.check("99.1", *answers, **given)
    return capsys.readouterr().out


def test_right_wrong_and_not_yet(capsys):
    assert said(capsys, 4, number=2) == "✅ 99.1: right.\n"
    assert said(capsys, 1, number=2) == "Hint: twice 2 is more\n"
    assert said(capsys, ..., number=2).startswith("Not yet: ")


def test_an_answer_of_another_kind_gets_a_hint(capsys):
    for answer in (None, "four", pd.DataFrame({"a": [1, 2]})):
        assert said(capsys, answer, number=2).startswith("Hint: the answer could not be compared")


def test_unknown_and_double_names():
    with pytest.raises(BadInput, match="'98.7'.*99.1"):
        exercises.check("98.7", 1)
    with pytest.raises(ValueError, match="two checkers"):
        exercises.exercise("99.1")(lambda answer: None)


def test_names_follow_the_notebooks():
    for name, checker in exercises.CHECKERS.items():
        assert re.fullmatch(r"\d\d\.\d", name)
        if name != "99.1":
            assert inspect.isfunction(checker) and checker.__name__ == "_" + name.replace(".", "_")
