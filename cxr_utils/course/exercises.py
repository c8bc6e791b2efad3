"""The exercises of the notebooks: each has a checker that is silent about the answer, not about the way.

A checker takes the learner's answers and what else it needs, and returns None if they are right,
otherwise one sentence that helps: the hint. It never shows the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import dataset
from cxr_utils.errors import one_of

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
    """Print one line: ``✅`` for a right answer, ``Not yet`` for dots, otherwise a hint.

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
        hint = CHECKERS[name](*answers, **given)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # An answer of a wrong kind or shape is a learner's mistake, not the checker's failure.
        kinds = ", ".join(type(answer).__name__ for answer in answers)
        hint = f"the answer could not be compared ({kinds}: {error}); is it of the kind that was asked for?"
    print(f"✅ {name}: right." if hint is None else f"Hint: {hint}")


def _number(
    answer: float, right: float, wrong: Mapping[str, Any], otherwise: str, *, within: float = 5e-3, share: str = ""
) -> str | None:
    """Judge a number.

    Parameters
    ----------
    answer, right : float
        The learner's, and the one that is asked for.
    wrong : mapping of str to float or array
        Hints, and the wrong numbers that call for each.
    otherwise : str
        The hint for any other number.
    within : float
        How far from such a number an answer may be to be taken for it.
    share : str
        What to do where a share is above 1.

    Returns
    -------
    str or None
    """
    if abs(answer - right) < within:
        return None
    if share and answer > 1:
        return f"a share runs from 0 to 1: {share}"
    return next((hint for hint, number in wrong.items() if np.any(abs(answer - number) < within)), otherwise)


# --- 01 download ---------------------------------------------------------------------------------


@exercise("01.1")
def _01_1(viral: int, *, index: Any) -> str | None:
    virus = index["kind"] == "virus"
    wrong = {"you counted all splits; keep the rows whose split is 'train'": virus.sum()}
    way = "compare the columns split and kind with a word each, join the two by &, and sum"
    return _number(int(viral), (virus & (index["split"] == "train")).sum(), wrong, way)


@exercise("01.2")
def _01_2(total: int) -> str | None:
    splits = pd.DataFrame(dataset.RECORD.counts).sum()
    wrong = {"that is one split; add up all three": splits}
    return _number(int(total), splits.sum(), wrong, "add up the counts of both classes in all three splits")


# --- 02 explore ----------------------------------------------------------------------------------


@exercise("02.1")
def _02_1(lazy: float, *, index: Any) -> str | None:
    means = index.groupby("split")["label"].mean()
    wrong = {
        "that is the share it gets wrong: the NORMAL ones": 1 - means["test"],
        "keep the rows whose split is 'test' first": pd.Series([index["label"].mean(), means["train"]]),
    }
    way = "it is right whenever the label is 1; which share of the test images is that?"
    return _number(lazy, means["test"], wrong, way, share="divide by the number of test images")


@exercise("02.2")
def _02_2(spare: int, *, twice: Any) -> str | None:
    groups = twice["group"].nunique()
    wrong = {"one file of each group has to stay": len(twice)} if groups else {}
    way = "a group of n files holds one picture, so n - 1 of them can go: compare rows with groups"
    return _number(int(spare), len(twice) - groups, wrong, way)


@exercise("02.3")
def _02_3(strongest: str, *, statistics: Any, index: Any) -> str | None:
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
    from cxr_utils import images

    square = images.resize(image, 224)
    if not isinstance(batch, np.ndarray) or batch.size != square.size:
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
    train, validation = (split.loc[split["part"] == part, "patient"] for part in ("train", "validation"))
    right, other = validation.isin(train.dropna()).mean(), train.isin(validation.dropna()).mean()
    wrong = {
        "that is the share of the others, whose patient is not in training": 1 - right,
        "that is the share of the training images; ask it of the validation images": other,
    }
    way = "take the patient column of each part; .isin() and .mean() do the rest"
    return _number(share, right, wrong, way, share="divide by the number of validation images, or take the mean")


# --- 04 train ------------------------------------------------------------------------------------


@exercise("04.1")
def _04_1(kernel: Any) -> str | None:
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
    new, old = ([layer for layer in model.layers if hasattr(layer, "filters")] for model in (deeper, network))
    if len(new) != len(old) + 1:
        return f"your network has {len(new)} convolutions; it needs one more than the {len(old)} of network"
    kinds = [type(layer).__name__ for layer in deeper.layers]
    if "Flatten" not in kinds or kinds[kinds.index("Flatten") - 1] != "Conv2D":
        return "the new convolution stands directly before Flatten, so that its maps go into the long row"
    if (new[-1].filters, *new[-1].kernel_size) != (64, 3, 3):
        return f"its last convolution has {new[-1].filters} kernels of {new[-1].kernel_size}; it needs 64 of 3 x 3"
    if not getattr(deeper, "optimizer", None) or not float(deeper.optimizer.iterations):
        return "it has not taken a step yet: call deeper.compile(...), then deeper.fit(...)"
    hints = {
        3 * 3 * 64 * 64: "the kernels are right; now add one bias for each of them",
        3 * 3 * 64 + 64: "each kernel reaches through all 64 maps that come in: 3 x 3 x 64 numbers",
        3 * 3 * 64: "each kernel reaches through all 64 maps that come in, and each has a bias",
        (3 * 3 * 64 + 64) * 64: "one bias for each kernel, not for each pair of maps",
    }
    way = "numbers in a kernel (3 x 3 x maps that come in), times kernels, plus biases"
    return None if int(added) == new[-1].count_params() else hints.get(int(added), way)


@exercise("04.3")
def _04_3(broken: Any, *, truth: Any) -> str | None:
    import numpy as np

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
    one, other = (part[mixed[parent]] == "validation" for parent in ("first", "second"))
    wrong = {
        "you looked at one of the parents; a leak through either counts": pd.Series([one.sum(), other.sum()]),
        "you counted those with both parents in validation; one is enough": (one & other).sum(),
    }
    way = "compare the part of both parents with 'validation', join the two by |, and sum"
    return _number(leaking, (one | other).sum(), wrong, way)


@exercise("05.2")
def _05_2(improved: Any, *, summary: Any) -> str | None:
    improved = {improved} if isinstance(improved, str) else set(improved)
    if unknown := improved - set(summary.index):
        return f"{sorted(map(str, unknown))[0]} is not a name in summary"
    right = set(summary.index[(summary["gain"] > summary["spread"]) & (summary["low"] > 0)])
    if improved == right:
        return None
    if improved > right:
        return "you trust too much: leave out whose gain is not larger than its spread, and whose interval reaches 0"
    return "go row by row: gain > spread, and low > 0; join the two by &"


# --- 06 evaluate ---------------------------------------------------------------------------------


@exercise("06.1")
def _06_1(sensitivity: float, specificity: float, *, counts: tuple[int, int, int, int]) -> str | None:
    true_negative, false_positive, false_negative, true_positive = counts
    right = true_positive / (true_positive + false_negative), true_negative / (true_negative + false_positive)
    missed = abs(sensitivity - right[0]) > 5e-3
    if not missed and abs(specificity - right[1]) <= 5e-3:
        return None
    if abs(sensitivity - right[1]) + abs(specificity - right[0]) < 1e-2:
        return "you exchanged the two: sensitivity is about the ill, specificity about the healthy"
    name = "sensitivity" if missed else "specificity"
    return f"{name}: divide the right answers of a row by the sum of that row"


@exercise("06.2")
def _06_2(auc: float, *, predictions: Any) -> str | None:
    ill, healthy = (predictions.loc[predictions["label"] == c, "probability"].to_numpy() for c in (1, 0))
    way = "the entries are True where the ill child got the higher probability: which share is that?"
    share = "divide the number of pairs won by the number of all pairs"
    return _number(auc, (ill[:, None] > healthy[None, :]).mean(), {}, way, within=5e-4, share=share)


@exercise("06.3")
def _06_3(share_ill: float, *, final: Any) -> str | None:
    true_alarms, false_alarms = 50 * final["sensitivity"], 950 * (1 - final["specificity"])
    wrong = {"divide by those called ill, not by all children": true_alarms / 1000}
    way = "how many of the 50 are called ill, how many of the 950? Divide the first by the sum of both"
    return _number(share_ill, true_alarms / (true_alarms + false_alarms), wrong, way, within=5e-4)


# --- 07 replicate --------------------------------------------------------------------------------


@exercise("07.1")
def _07_1(same: float, *, runs: Any) -> str | None:
    published = runs["protocol"] == "published"
    equal = runs["validation"] == runs["test"]
    if abs(same - equal[published].mean()) < 5e-3:
        return None
    if same > 1:
        return "a share runs from 0 to 1: divide by the number of published runs"
    if abs(same - equal.mean()) < 5e-3:
        return "you took all runs; keep those whose protocol is 'published'"
    return "keep the published runs; in which of their rows are validation and test equal?"


@exercise("07.2")
def _07_2(told: Any, *, worth: Any) -> str | None:
    told = {told} if isinstance(told, str) else set(told)
    if unknown := told - set(worth.index):
        return f"{sorted(map(str, unknown))[0]} is not a name in worth"
    right = set(worth.index[(worth["low"] > 0) | (worth["high"] < 0)])
    if told == right:
        return None
    if told < right and right - told <= set(worth.index[worth["high"] < 0]):
        return "an interval can also lie wholly below 0"
    return "0 is outside if low is above it, or high below it"


# --- 08 explain and predict ----------------------------------------------------------------------


@exercise("08.1")
def _08_1(below: float, *, validation: Any, probability: float) -> str | None:
    of_ill = (validation.loc[validation["label"] == 1, "probability"] < probability).mean()
    wrong = {"that is the share with a higher probability": 1 - of_ill}
    way = "keep the rows whose label is 1; of how many of them is the probability below the new one?"
    return _number(below, of_ill, wrong, way, share="divide by the number of those labelled PNEUMONIA")


@exercise("08.2")
def _08_2(inside: float, *, heat: Any, lesion: Any) -> str | None:
    wrong = {
        "that is the lesion's share of the picture; weigh each pixel by its heat": lesion.mean(),
        "that is the mean heat inside; take the sum inside, and divide it by the sum of all heat": heat[lesion].mean(),
    }
    way = "heat[lesion] is the heat inside: divide its sum by the sum of all heat"
    return _number(inside, heat[lesion].sum() / heat.sum(), wrong, way, within=5e-4)


@exercise("08.3")
def _08_3(still: Any, *, tests: Any, suspects: Any) -> str | None:
    still = {still} if isinstance(still, str) else set(still)
    if unknown := still - set(suspects):
        return f"{sorted(map(str, unknown))[0]} is not among the suspects"
    if still == {name for name in suspects if tests.loc[name, "low"] > 0.7}:
        return None
    return "look at the lower end of the interval, tests.loc[name, 'low'], and compare it with .7"


# --- 09 elsewhere --------------------------------------------------------------------------------


@exercise("09.1")
def _09_1(column: str, *, told: Any, columns: Any) -> str | None:
    from sklearn.metrics import roc_auc_score

    if column not in columns:
        return f"give one of the names in columns: {', '.join(columns)}"
    lowest = {n: min(roc_auc_score(g["label"], g["probability"]) for _, g in told.groupby(n)) for n in columns}
    if lowest[column] == max(lowest.values()):
        return None
    return f"within {column} a group has an AUC of {lowest[column]:.2f}; of the right one all are far higher"


@exercise("09.2")
def _09_2(in_bed: float, *, told: Any, threshold: float) -> str | None:
    called, healthy, ap = told["probability"] >= threshold, told["label"] == 0, told["view"] == "AP"
    wrong = {
        "that is the share of those called ill; a false alarm is healthy, too: label 0": ap[called].mean(),
        "that is the share of AP among all healthy children; keep those who are called ill": ap[healthy].mean(),
    }
    way = "keep the rows with label 0 and a probability of at least threshold; of how many is the view 'AP'?"
    return _number(in_bed, ap[healthy & called].mean(), wrong, way, share="divide by the number of false alarms")
