"""The mechanism of the exercises; the checkers themselves are tested through the solutions."""

import inspect
import re
from types import SimpleNamespace

import numpy as np
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


@pytest.fixture(scope="module")
def networks():
    """A network of one convolution, and others with one more: fitted or not, of 64 kernels or of 8."""
    from cxr_utils.backend import keras

    def made(*more, kernels=64):
        layers = [keras.layers.Conv2D(64, 3), *(keras.layers.Conv2D(kernels, 3) for _ in more)]
        network = keras.Sequential([keras.Input((7, 7, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(1)])
        network.compile(loss="mse")
        return network

    fitted = made(1)
    fitted.fit(np.zeros((2, 7, 7, 1)), np.zeros((2, 1)), verbose=0)
    more = {"fitted": fitted, "not fitted": made(1), "of 8": made(1, kernels=8), "two more": made(1, 2)}
    return {"plain": made()} | more


@pytest.mark.parametrize(
    "answer, added, hint",
    [
        ("fitted", 36928, "✅"),
        ("fitted", 36864, "now add one bias"),
        ("fitted", 640, "reaches through all 64 maps"),
        ("fitted", 1, "plus biases"),
        ("not fitted", 36928, "not taken a step"),
        ("of 8", 36928, "8 kernels"),
        ("plain", 36928, "has 1 convolutions"),
        ("two more", 36928, "has 3 convolutions"),
    ],
)
def test_a_network_is_judged_by_its_layers(networks, capsys, answer, added, hint):
    exercises.check("04.2", networks[answer], added, network=networks["plain"])
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    "losses, hint",
    [([0.9, 0.8, 0.6], "✅"), ([0.7, float("nan"), float("nan")], "✅"), ([0.5, 0.3, 0.1], "it learned"),
     ([0.9, 0.9], "2 epoch")],
)  # fmt: skip
def test_a_broken_training_is_judged_by_its_last_loss(capsys, losses, hint):
    exercises.check("04.3", SimpleNamespace(history={"loss": losses}), truth=[1, 1, 1, 0])
    assert hint in capsys.readouterr().out


@pytest.fixture
def told():
    """Two views whose answers are right within each and wrong together; the sex tells nothing."""
    rows = [(0, "AP", 0.6), (0, "AP", 0.7), (0, "AP", 0.8), (1, "AP", 0.9)]
    rows += [(0, "PA", 0.1), (1, "PA", 0.2), (1, "PA", 0.3), (1, "PA", 0.4)]
    return pd.DataFrame([(*row, sex) for row in rows for sex in "FM"], columns=["label", "view", "probability", "sex"])


@pytest.mark.parametrize(
    "answer, hint",
    [("view", "✅"), ("sex", "within sex a group has an AUC of 0.44"), ("label", "in columns: sex, view")],
)
def test_the_column_is_the_one_within_which_the_network_ranks(told, capsys, answer, hint):
    exercises.check("09.1", answer, told=told, columns=["sex", "view"])
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint", [(1, "✅"), (0.75, "AP among all healthy"), (0.1, "at least threshold"), (3, "from 0 to 1")]
)
def test_the_share_of_false_alarms_in_bed(told, capsys, answer, hint):
    exercises.check("09.2", answer, told=told, threshold=0.55)
    assert hint in capsys.readouterr().out
