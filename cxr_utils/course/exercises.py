"""The exercises of the notebooks: each has a checker that is silent about the answer, not about the way.

A checker takes the learner's answers and what else it needs, and returns None if they are right, otherwise one sentence
that helps: what went wrong, or "" where it can't tell. Its docstring says the way: `hint` prints it before anything was
tried, `check` where the checker returned "". None of these shows the answer; `solution` does, on request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import dataset, files
from cxr_utils.course import notebooks
from cxr_utils.errors import BadInput, one_of

CHECKERS: dict[str, Callable[..., str | None]] = {}


def exercise(name: str) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register the function below as the checker of exercise `name`, such as ``02.1``.

    Parameters
    ----------
    name : str
        Number of the exercise: notebook, dot, number.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    ValueError
        There is a checker of this name already.
    """

    def register(checker: Callable[..., str | None]) -> Callable[..., str | None]:
        if name in CHECKERS:
            raise ValueError(f"exercise {name!r} has two checkers")
        CHECKERS[name] = checker
        return checker

    return register


def check(name: str, *answers: Any, **given: Any) -> None:
    """Print one line: ``✅`` for a right answer, ``Not yet`` for dots, otherwise what may help.

    Parameters
    ----------
    name : str
        Number of the exercise: notebook, dot, number.
    *answers
        What the learner worked out; ``...`` (the stub's dots) means that it is not there yet.
    **given
        Tables or arrays that the checker compares with.

    Raises
    ------
    BadInput
        There is no exercise called `name`.

    Examples
    --------
    >>> check("02.1", ...)
    Not yet: replace the dots in exercise 02.1 by your answer, run its cell, then this one.
    """
    one_of("exercise", name, sorted(CHECKERS))
    if any(answer is ... for answer in answers):
        print(f"Not yet: replace the dots in exercise {name} by your answer, run its cell, then this one.")
        return
    # A table or an array of a single value is that value.
    answers = [a.item() if getattr(a, "size", 0) == 1 and hasattr(a, "item") else a for a in answers]
    try:
        said = CHECKERS[name](*answers, **given)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # An answer of a wrong kind or shape is a learner's mistake, not the checker's failure.
        kinds = ", ".join(type(answer).__name__ for answer in answers)
        said = f"the answer could not be compared ({kinds}: {error}); is it of the kind that was asked for?"
    if said == "":
        hint(name)
    else:
        print(f"✅ {name}: right." if said is None else f"Hint: {said}")


def hint(name: str) -> None:
    """Print the way to an answer, and not the answer.

    Parameters
    ----------
    name : str
        Number of the exercise: notebook, dot, number.

    Raises
    ------
    BadInput
        There is no exercise called `name`.

    Examples
    --------
    >>> hint("06.2")
    Hint: In `higher` an entry is True where the ill child got the higher probability. Take the share of these.
    """
    one_of("exercise", name, sorted(CHECKERS))
    print("Hint:", " ".join((CHECKERS[name].__doc__ or "").split()))


def solution(name: str) -> None:
    """Print the code that solves an exercise, as it stands in ``notebooks/solutions``.

    Parameters
    ----------
    name : str
        Number of the exercise: notebook, dot, number.

    Raises
    ------
    BadInput
        There is no exercise called `name`, or the solutions are not at hand: an installed package brings none along.

    Examples
    --------
    >>> solution("06.2")
    auc = higher.mean()
    """
    one_of("exercise", name, sorted(CHECKERS))
    book = files.project(f"notebooks/solutions/{name[:2]}_*.ipynb")
    if book is None:
        raise BadInput(f"{files.root()}: holds no notebooks/solutions; they come with a clone of the course")
    solved = [cell.source for cell in notebooks.load(book).cells if "solution" in cell.metadata.get("tags", [])]
    print(solved[int(name[3:]) - 1])


def _number(
    answer: float, right: float, wrong: Mapping[str, Any], *, within: float = 5e-3, share: str = ""
) -> str | None:
    """Judge a number; NaN is never right.

    Parameters
    ----------
    answer, right : float
        The learner's, which may be text or a table by mistake, and the one that is asked for.
    wrong : mapping of str to float or array
        Hints, and the wrong numbers that call for each.
    within : float
        How far from such a number an answer may be to be taken for it.
    share : str
        What to do where a share is above 1.

    Returns
    -------
    str or None
        "" for any other number.
    """
    if isinstance(answer, str):
        return "give a number, not text: without quotes" + ", and .62 for 62%" * bool(share)
    if np.ndim(answer):
        ways = "take the share: (…).mean()" if share else "count them: (…).sum()"
        kind = f"{type(answer).__name__} of {len(answer)}"
        return f"one number is asked, and this is a {kind}; put the whole mask in brackets, and {ways}"
    if abs(answer - right) < within:
        return None
    if share and answer > 1:
        percent = abs(answer / 100 - right) < 1e-2 or not float(answer).is_integer()  # else it may be a count
        return "a share runs from 0 to 1: " + (f"write {answer:g}% as {answer / 100:.3g}" if percent else share)
    return next((hint for hint, number in wrong.items() if np.any(abs(answer - number) < within)), "")


def _names(answer: Any, right: set[str], known: Iterable[str], where: str) -> tuple[set[str], str | None]:
    """Judge a name or several.

    Parameters
    ----------
    answer : str or iterable of str
        What was given.
    right, known : set or iterable of str
        The names that are right, and those that there are.
    where : str
        What a known name is, in words.

    Returns
    -------
    tuple of set and str or None
        The names given; None if they are right, a hint where one is not known, else an empty text.
    """
    given = {answer} if isinstance(answer, str) else set(answer)
    if unknown := given - set(known):
        if not all(isinstance(name, str) for name in unknown):
            return given, "these are values, not names; take the names of the rows: .index[mask]"
        word = sorted(unknown)[0]
        return given, f"{word!r} is not {where}" + '; write several as a list: ["…", "…"]' * ("," in word)
    return given, None if given == right else ""


# --- 01 download ---------------------------------------------------------------------------------


@exercise("01.1")
def _01_1(viral: int, *, index: Any) -> str | None:
    """Compare the column split with one word and the column kind with another, each in brackets, and join both by &."""
    virus = index["kind"] == "virus"
    wrong = {"you counted all splits; keep the rows whose split is 'train'": virus.sum()}
    return _number(viral, (virus & (index["split"] == "train")).sum(), wrong)


@exercise("01.2")
def _01_2(total: int) -> str | None:
    """RECORD.counts holds one dictionary for each split. Sum the .values() of each, and add up these sums."""
    splits = pd.DataFrame(dataset.RECORD.counts).sum()
    return _number(total, splits.sum(), {"that is one split; add up all three": splits})


# --- 02 explore ----------------------------------------------------------------------------------


@exercise("02.1")
def _02_1(lazy: float, *, index: Any) -> str | None:
    """It is right whenever the label is 1. Keep the rows of test; the mean of zeros and ones is the share of ones."""
    means = index.groupby("split")["label"].mean()
    wrong = {
        "that is the share it gets wrong: the NORMAL ones": 1 - means["test"],
        "keep the rows whose split is 'test' first": pd.Series([index["label"].mean(), means["train"]]),
    }
    return _number(lazy, means["test"], wrong, share="divide by the number of test images")


@exercise("02.2")
def _02_2(spare: int, *, twice: Any) -> str | None:
    """A group of n files holds one picture, so n - 1 of them can go. Compare the number of rows with that of groups."""
    groups = twice["group"].nunique()
    return _number(spare, len(twice) - groups, {"one file of each group has to stay": len(twice)} if groups else {})


@exercise("02.3")
def _02_3(strongest: str, *, statistics: Any, index: Any) -> str | None:
    """Group the rows of statistics by the label and take means; divide their difference by .std(), take away its sign,
    and let .idxmax() name the largest."""
    if strongest not in statistics.columns:
        return f"name a column of statistics: {', '.join(statistics.columns)}"
    means = statistics.groupby(index["label"].to_numpy()).mean()
    apart = (means.loc[1] - means.loc[0]) / statistics.std()
    if strongest == apart.abs().idxmax():
        return None
    if strongest == apart.idxmax():
        return "that is the largest difference upwards; take absolute values"
    return "did you divide by statistics.std()? Without it columns of large numbers always win"


# --- 03 preprocess -------------------------------------------------------------------------------


@exercise("03.1")
def _03_1(batch: Any, *, image: Any) -> str | None:
    """Resize first, for images.resize takes uint8; then .astype for the type, a division, .reshape for the shape."""
    from cxr_utils import images

    square, batch = images.resize(image, 224), np.asarray(batch)  # a tensor is welcome
    if batch.size != square.size:
        return "start from images.resize(image, 224): 224 x 224 numbers, no more"
    if batch.dtype != np.float32:
        return f"the numbers are {batch.dtype}; change them with .astype('float32')"
    if batch.max() > 1:
        return "the values go beyond 1; divide by 255"
    if not np.allclose(batch.reshape(224, 224), square / 255, atol=3e-3):
        return "the values differ from those of the resized picture / 255; use images.resize(image, 224), then scale"
    if batch.shape != (1, 224, 224, 1):
        return f"the shape is {batch.shape}; picture first, channel last: .reshape(1, 224, 224, 1)"
    return None


@exercise("03.2")
def _03_2(share: float, *, split: Any) -> str | None:
    """Take the patients of both parts, and ask with .isin() which of validation are in training. Then the mean."""
    train, validation = (split.loc[split["part"] == part, "patient"] for part in ("train", "validation"))
    right, other = validation.isin(train.dropna()).mean(), train.isin(validation.dropna()).mean()
    wrong = {
        "that is the share of the others, whose patient is not in training": 1 - right,
        "that is the share of the training images; ask it of the validation images": other,
    }
    return _number(share, right, wrong, share="divide by the number of validation images, or take the mean")


# --- 04 train ------------------------------------------------------------------------------------


@exercise("04.1")
def _04_1(kernel: Any) -> str | None:
    """The kernel above compares left with right. Let yours compare the upper row with the lower one in the same way."""
    kernel = np.asarray(kernel, dtype=float)
    if kernel.shape != (3, 3):
        return f"the shape is {kernel.shape}; a kernel here has 3 rows of 3 numbers"
    if np.abs(kernel.sum(axis=0)).max() > 1e-6:
        if np.abs(kernel.sum(axis=1)).max() < 1e-6 and kernel.any():
            return "this one still answers to edges that run up and down; turn it by a quarter"
        return "at an edge that runs up and down it must give 0: let each column add up to 0"
    above_bright = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    two_rows = above_bright + np.roll(above_bright, 1, axis=0)
    answers = [(kernel * above_bright).sum(), (kernel * two_rows).sum()]
    if min(answers) < 0:
        return "bright above and dark below gives a negative sum; change the signs"
    return None if max(answers) > 0 else "it gives 0 everywhere; make the upper row positive"


@exercise("04.2")
def _04_2(deeper: Any, added: int, *, network: Any) -> str | None:
    """Copy the network of this lesson, and add a line before Flatten. A kernel has 3 x 3 numbers for each map that
    comes in, and one bias; count them for all 64 kernels."""
    new, old = ([layer for layer in model.layers if hasattr(layer, "filters")] for model in (deeper, network))
    if len(new) != len(old) + 1:
        return (
            f"your network has {len(new)} convolutions, and network has {len(old)}; it needs one more. "
            "If you changed network itself, run its cell again"
        )
    place = deeper.layers.index(new[-1])
    behind = [type(layer).__name__ for layer in deeper.layers[place + 1 :]]
    apart = behind[:1] in (["ReLU"], ["Activation"])  # ReLU as a layer of its own
    if behind[apart : apart + 1] != ["Flatten"]:
        return "the new convolution stands directly before Flatten, so that its maps go into the long row"
    if (new[-1].filters, *new[-1].kernel_size) != (64, 3, 3):
        return f"its last convolution has {new[-1].filters} kernels of {new[-1].kernel_size}; it needs 64 of 3 x 3"
    active = getattr(deeper.layers[place + apart], "activation", deeper.layers[place + apart])
    if getattr(active, "__name__", type(active).__name__).lower() != "relu":
        return 'its last convolution has no ReLU; add activation="relu", as the others have'
    if not getattr(deeper, "optimizer", None) or not float(deeper.optimizer.iterations):
        return "it has not taken a step yet: call deeper.compile(...), then deeper.fit(...)"
    hints = {
        "the kernels are right; now add one bias for each of them": 3 * 3 * 64 * 64,
        "each kernel reaches through all 64 maps that come in: 3 x 3 x 64 numbers": 3 * 3 * 64 + 64,
        "each kernel reaches through all 64 maps that come in, and each has a bias": 3 * 3 * 64,
        "one bias for each kernel, not for each pair of maps": (3 * 3 * 64 + 64) * 64,
    }
    return _number(added, new[-1].count_params(), hints)


@exercise("04.3")
def _04_3(broken: Any, *, truth: Any) -> str | None:
    """A rate of .002 works. Take one so large that each step jumps far over the lowest point, and look at the loss."""
    share, losses = np.mean(truth), broken.history["loss"]
    if len(losses) < 3:
        return f"it ran {len(losses)} epoch(s); three show whether the loss falls: fit(x, y, epochs=3)"
    lazy = -(share * np.log(share) + (1 - share) * np.log(1 - share))  # for giving every picture that share
    if not losses[-1] < 0.98 * lazy:  # NaN is broken too
        return None
    return f"it learned: its loss of {losses[-1]:.2f} is below {lazy:.2f}, that of one answer for all; go further"


# --- 05 improve ----------------------------------------------------------------------------------


@exercise("05.1")
def _05_1(leaking: int, *, mixed: Any, part: Any) -> str | None:
    """Compare the part of each parent with 'validation', join the two by |, for one is enough, and sum."""
    one, other = (part[mixed[parent]] == "validation" for parent in ("first", "second"))
    wrong = {
        "you looked at one of the parents; a leak through either counts": pd.Series([one.sum(), other.sum()]),
        "you counted those with both parents in validation; one is enough": (one & other).sum(),
        "you counted those with both parents in validation twice; join the two by |": one.sum() + other.sum(),
    }
    return _number(leaking, (one | other).sum(), wrong)


@exercise("05.2")
def _05_2(improved: Any, *, summary: Any) -> str | None:
    """Compare the column gain with the column spread, and the column low with 0; join both by &, each in brackets."""
    if hasattr(improved, "columns"):
        return "these are the rows; take their names: .index"
    right = set(summary.index[(summary["gain"] > summary["spread"]) & (summary["low"] > 0)])
    given, said = _names(improved, right, summary.index, "a name in summary")
    much = "you trust too much: leave out whose gain is not larger than its spread, and whose interval reaches 0"
    return much if said == "" and given > right else said


# --- 06 evaluate ---------------------------------------------------------------------------------


@exercise("06.1")
def _06_1(sensitivity: float, specificity: float, *, counts: tuple[int, int, int, int]) -> str | None:
    """A row of the matrix holds all who are ill, or all who are healthy. Divide its right answers by its sum."""
    true_negative, false_positive, false_negative, true_positive = counts
    right = true_positive / (true_positive + false_negative), true_negative / (true_negative + false_positive)
    missed = not abs(sensitivity - right[0]) <= 5e-3  # NaN is not
    if not missed and abs(specificity - right[1]) <= 5e-3:
        return None
    if abs(sensitivity - right[1]) + abs(specificity - right[0]) < 1e-2:
        return "you exchanged the two: sensitivity is about the ill, specificity about the healthy"
    name = "sensitivity" if missed else "specificity"
    return f"{name}: divide the right answers of a row by the sum of that row, which stands in brackets: a / (a + b)"


@exercise("06.2")
def _06_2(auc: float, *, predictions: Any) -> str | None:
    """In `higher` an entry is True where the ill child got the higher probability. Take the share of these."""
    ill, healthy = (predictions.loc[predictions["label"] == c, "probability"].to_numpy() for c in (1, 0))
    share = "divide the number of pairs won by the number of all pairs"
    return _number(auc, (ill[:, None] > healthy[None, :]).mean(), {}, within=5e-4, share=share)


@exercise("06.3")
def _06_3(share_ill: float, *, final: Any) -> str | None:
    """How many of the 50 are called ill, and how many of the other 950? Divide the first number by the sum of both."""
    true_alarms, false_alarms = 50 * final["sensitivity"], 950 * (1 - final["specificity"])
    wrong = {"divide by those called ill, not by all children": true_alarms / 1000}
    return _number(share_ill, true_alarms / (true_alarms + false_alarms), wrong, within=5e-4)


# --- 07 replicate --------------------------------------------------------------------------------


@exercise("07.1")
def _07_1(same: float, *, runs: Any) -> str | None:
    """Keep the rows whose protocol is 'published'. Compare validation with test, and take the mean."""
    published = runs["protocol"] == "published"
    equal = runs["validation"] == runs["test"]
    wrong = {"you took all runs; keep those whose protocol is 'published'": equal.mean()}
    return _number(same, equal[published].mean(), wrong, share="divide by the number of published runs")


@exercise("07.2")
def _07_2(told: Any, *, worth: Any) -> str | None:
    """An interval leaves 0 out if its low end is above 0, or if its high end is below 0. Join the two by |."""
    right = set(worth.index[(worth["low"] > 0) | (worth["high"] < 0)])
    given, said = _names(told, right, worth.index, "a name in worth")
    below = given < right and right - given <= set(worth.index[worth["high"] < 0])
    return "an interval can also lie wholly below 0" if below else said


# --- 08 explain and predict ----------------------------------------------------------------------


@exercise("08.1")
def _08_1(below: float, *, validation: Any, probability: float) -> str | None:
    """Keep the rows whose label is 1: .loc[mask, column] takes the rows where the mask is true. Compare their
    probability with that of the new image, and take the share."""
    of_ill = (validation.loc[validation["label"] == 1, "probability"] < probability).mean()
    wrong = {"that is the share with a higher probability": 1 - of_ill}
    return _number(below, of_ill, wrong, share="divide by the number of those labelled PNEUMONIA")


@exercise("08.2")
def _08_2(inside: float, *, heat: Any, lesion: Any) -> str | None:
    """A mask in square brackets picks pixels: sum the heat inside the lesion, and divide it by the sum of all heat."""
    wrong = {
        "that is the lesion's share of the picture; weigh each pixel by its heat": lesion.mean(),
        "that is the mean heat inside; take the sum inside, and divide it by the sum of all heat": heat[lesion].mean(),
    }
    return _number(inside, heat[lesion].sum() / heat.sum(), wrong, within=5e-4)


@exercise("08.3")
def _08_3(still: Any, *, tests: Any, suspects: Any) -> str | None:
    """Each change has a row in `tests`. Keep the names where the column low, the interval's lower end, is above .7."""
    return _names(still, {name for name in suspects if tests.loc[name, "low"] > 0.7}, suspects, "among the suspects")[1]


# --- 09 elsewhere --------------------------------------------------------------------------------


@exercise("09.1")
def _09_1(column: str, *, told: Any, columns: Any) -> str | None:
    """Group `told` by each of the columns, and ask for the AUC in each group: one column has high ones alone."""
    from sklearn.metrics import roc_auc_score

    if column not in columns:
        return f"give one of the names in columns: {', '.join(columns)}"
    lowest = {n: min(roc_auc_score(g["label"], g["probability"]) for _, g in told.groupby(n)) for n in columns}
    if lowest[column] == max(lowest.values()):
        return None
    return f"within {column} a group has an AUC of {lowest[column]:.2f}; of the right one all are far higher"


@exercise("09.2")
def _09_2(in_bed: float, *, told: Any, threshold: float) -> str | None:
    """Keep the rows with label 0 and a probability of at least the threshold. Take the share whose view is AP."""
    called, healthy, ap = told["probability"] >= threshold, told["label"] == 0, told["view"] == "AP"
    wrong = {
        "that is the share of those called ill; a false alarm is healthy, too: label 0": ap[called].mean(),
        "that is the share of AP among all healthy children; keep those who are called ill": ap[healthy].mean(),
    }
    return _number(in_bed, ap[healthy & called].mean(), wrong, share="divide by the number of false alarms")


# --- 10 audit ------------------------------------------------------------------------------------


@exercise("10.1")
def _10_1(cell: int) -> str | None:
    """Look for PNEUMONIA in code that reads a picture: what happens to those pictures? What to the others? Compare."""
    if cell in (4, 6):
        return "there all pictures are treated alike; look at how a single one is read"
    return None if cell == 3 else "look for code that asks which class a picture is of, before the network sees it"


@exercise("10.2")
def _10_2(verdict: str, reasons: Any, *, verdicts: Any) -> str | None:
    """A typed figure may be right or wrong. Ask which mistakes touch the images of test, or the figure itself."""
    if verdict not in verdicts:
        return f"give one of {', '.join(verdicts)} as the verdict"
    if verdict != "not shown":
        return "nothing in the notebook says which it is: the figure is typed, and test chose the epoch"
    spoilt = {"image_split", "resample_before_split"} & set(reasons)
    if spoilt:
        return f"{min(spoilt)} spoils the part x_check; the figure is said to be of test"
    return None if set(reasons) == {"test_validates", "typed_figure"} else ""
