"""The mechanism of the exercises; the checkers themselves are tested through the solutions."""

import ast
import inspect
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxr_utils import files
from cxr_utils.course import exercises
from cxr_utils.errors import BadInput


@pytest.fixture(autouse=True)
def doubled(monkeypatch):
    monkeypatch.setattr(exercises, "CHECKERS", dict(exercises.CHECKERS))

    @exercises.exercise("99.1")
    def _(answer, *, number):
        """Add it to itself."""
        if answer < 0:
            return ""
        return None if answer == 2 * number else f"twice {number} is {'more' if answer < number else 'other'}"


def said(capsys, *answers, **given):
    exercises.check("99.1", *answers, **given)
    return capsys.readouterr().out


def test_right_wrong_and_not_yet(capsys):
    assert said(capsys, 4, number=2) == "✅ 99.1: right.\n"
    assert said(capsys, 1, number=2) == "Hint: twice 2 is more\n"
    assert said(capsys, ..., number=2).startswith("Not yet: ")


def test_the_way_is_told_before_a_try_and_after_one_that_tells_nothing(capsys):
    exercises.hint("99.1")
    assert capsys.readouterr().out == said(capsys, -1, number=2) == "Hint: Add it to itself.\n"


@pytest.mark.parametrize("name", exercises.CHECKERS)
def test_each_exercise_has_a_hint_and_a_solution_and_they_differ(name, capsys):
    """From an empty project, as in a learner's folder outside the checkout."""
    exercises.hint(name)
    hint = capsys.readouterr().out
    assert 20 < len(hint) < 240 and hint.count("\n") == 1
    exercises.solution(name)
    solution = capsys.readouterr().out
    ast.parse(solution)
    for line in solution.splitlines():
        answer = re.sub(r"\s", "", line.partition(" = ")[2] or line)
        assert answer not in re.sub(r"\s", "", hint), answer


def test_without_a_checkout_no_solution(home, monkeypatch):
    monkeypatch.setattr(files, "CHECKOUT", home / "site-packages")
    with pytest.raises(BadInput, match="home: holds no notebooks/solutions; .* clone"):
        exercises.solution("04.1")


def test_an_answer_of_another_kind_gets_a_hint(capsys):
    for answer in (None, "four", pd.DataFrame({"a": [1, 2]})):
        assert said(capsys, answer, number=2).startswith("Hint: the answer could not be compared")


def test_rows_instead_of_their_names_get_a_hint(capsys):
    summary = pd.DataFrame({"gain": [0.2, 0.0], "spread": 0.1, "low": [0.1, -0.1]}, index=["a", "b"])
    exercises.check("05.2", summary[summary["gain"] > 0.1], summary=summary)
    assert capsys.readouterr().out == "Hint: these are the rows; take their names: .index\n"
    exercises.check("05.2", summary.index[summary["gain"] > 0.1], summary=summary)
    assert capsys.readouterr().out.startswith("✅")


def test_unknown_and_double_names():
    for ask in (exercises.check, exercises.hint, exercises.solution):
        with pytest.raises(BadInput, match="'98.7'.*99.1"):
            ask("98.7")
    with pytest.raises(ValueError, match="two checkers"):
        exercises.exercise("99.1")(lambda answer: None)


def test_names_follow_the_notebooks():
    for name, checker in exercises.CHECKERS.items():
        assert re.fullmatch(r"\d\d\.\d", name)
        if name != "99.1":
            assert inspect.isfunction(checker) and checker.__name__ == "_" + name.replace(".", "_")


@pytest.fixture(scope="module")
def networks():
    """A network of one convolution, and others with one more: fitted or not, with ReLU in each form or without."""
    from cxr_utils.backend import keras

    layers = keras.layers

    def made(*more, kernels=64, relu="relu", behind=(), fit=False):
        convolutions = [layers.Conv2D(kernels, 3, activation=relu) for _ in more]
        parts = [layers.Conv2D(64, 3), *convolutions, *behind, layers.Flatten(), layers.Dense(1)]
        network = keras.Sequential([keras.Input((7, 7, 1)), *parts])
        network.compile(loss="mse")
        if fit:
            network.fit(np.zeros((2, 7, 7, 1)), np.zeros((2, 1)), verbose=0)
        return network

    return {
        "plain": made(), "fitted": made(1, fit=True), "not fitted": made(1), "of 8": made(1, kernels=8),
        "two more": made(1, 2), "without ReLU": made(1, relu=None), "another": made(1, relu="tanh"),
        "a layer of ReLU": made(1, relu=None, behind=[layers.ReLU()], fit=True),
        "an Activation": made(1, relu=None, behind=[layers.Activation("relu")], fit=True),
        "no ReLU in it": made(1, relu=None, behind=[layers.Activation("tanh")]),
        "pooled": made(1, behind=[layers.MaxPooling2D()]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "answer, added, hint",
    [
        ("fitted", 36928, "✅"),
        ("fitted", 36864, "now add one bias"),
        ("fitted", 640, "reaches through all 64 maps"),
        ("fitted", 1, "for all 64 kernels"),
        ("fitted", "36928", "not text"),
        ("a layer of ReLU", 36928, "✅"),
        ("an Activation", 36928, "✅"),
        ("without ReLU", 36928, "no ReLU"),
        ("another", 36928, "no ReLU"),
        ("no ReLU in it", 36928, "no ReLU"),
        ("pooled", 36928, "directly before Flatten"),
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


INDEX = pd.DataFrame({"split": ["train"] * 5 + ["test"] * 8, "kind": ["virus"] * 3 + ["normal"] * 2 + ["bacteria"] * 8,
                      "label": [1, 1, 1, 0, 0] + [1] * 5 + [0] * 3})  # fmt: skip


@pytest.mark.parametrize(
    "name, answer, hint",
    [
        ("01.1", 3, "✅"),
        ("01.1", "3", "give a number, not text: without quotes\n"),
        ("01.1", float("nan"), "Hint: Compare"),
        (
            "01.1",
            INDEX["kind"] == "virus",
            "this is a Series of 13; put the whole mask in brackets, and count them: (…).sum()",
        ),
        ("01.1", INDEX, "this is a DataFrame of 13; put"),
        ("02.1", 0.625, "✅"),
        ("02.1", 62.5, "write 62.5% as 0.625"),
        ("02.1", 61.2, "write 61.2% as 0.612"),
        ("02.1", 62, "write 62% as 0.62"),
        ("02.1", 5, "divide by the number of test images"),
        ("02.1", "62.5%", "not text: without quotes, and .62 for 62%"),
        ("02.1", INDEX["label"] == 1, "take the share: (…).mean()"),
    ],
)
def test_a_number_of_another_kind_is_told_the_way_to_one(capsys, name, answer, hint):
    exercises.check(name, answer, index=INDEX)
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize("sensitivity, specificity", [(float("nan"), 0.5), (0.8, float("nan"))])
def test_what_is_no_number_is_not_right(capsys, sensitivity, specificity):
    exercises.check("06.1", 0.8, 0.5, counts=(1, 1, 2, 8))
    exercises.check("06.1", sensitivity, specificity, counts=(1, 1, 2, 8))
    right, wrong = capsys.readouterr().out.splitlines()
    assert right.startswith("✅") and wrong.startswith(
        f"Hint: {'sensitivity' if sensitivity != 0.8 else 'specificity'}"
    )


def test_a_batch_may_be_a_tensor(capsys):
    from cxr_utils import images
    from cxr_utils.backend import keras

    image = np.random.default_rng(0).integers(0, 256, (300, 400), "uint8")
    batch = images.resize(image, 224).astype("float32").reshape(1, 224, 224, 1) / 255
    for answer in (batch, keras.ops.convert_to_tensor(batch), batch[0], batch * 255, image):
        exercises.check("03.1", answer, image=image)
    said = capsys.readouterr().out.splitlines()
    assert [line[0] for line in said] == list("✅✅HHH")


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
    "answer, hint", [(1, "✅"), (0.75, "AP among all healthy"), (0.1, "at least the threshold"), (3, "from 0 to 1")]
)
def test_the_share_of_false_alarms_in_bed(told, capsys, answer, hint):
    exercises.check("09.2", answer, told=told, threshold=0.55)
    assert hint in capsys.readouterr().out
