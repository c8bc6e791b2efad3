"""The exercises of the notebooks: each has a checker that is silent about the answer, not about the way.

A checker takes the learner's answers and what else it needs, and returns None if they are right,
otherwise one sentence that helps: the hint. It never shows the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cxr_utils.errors import BadInput

CHECKERS: dict[str, Callable[..., str | None]] = {}


def exercise(name: str) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register the function below as the checker of exercise `name`, such as ``02.1``."""

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
    if name not in CHECKERS:
        raise BadInput(f"exercise {name!r} is unknown; known are {', '.join(sorted(CHECKERS))}")
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


# --- 01 download ---------------------------------------------------------------------------------


@exercise("01.1")
def _01_1(viral: int, *, index: Any) -> str | None:
    virus = index["kind"] == "virus"
    if int(viral) == (virus & (index["split"] == "train")).sum():
        return None
    if int(viral) == virus.sum():
        return "you counted all splits; keep the rows whose split is 'train'"
    return "compare the columns split and kind with a word each, join the two by &, and sum"


@exercise("01.2")
def _01_2(total: int) -> str | None:
    from cxr_utils.dataset import RECORD

    splits = [sum(classes.values()) for classes in RECORD.counts.values()]
    if int(total) == sum(splits):
        return None
    if int(total) in splits:
        return "that is one split; add up all three"
    return "add up the counts of both classes in all three splits"


# --- 02 explore ----------------------------------------------------------------------------------


@exercise("02.1")
def _02_1(lazy: float, *, index: Any) -> str | None:
    test = index.loc[index["split"] == "test", "label"]
    if abs(lazy - test.mean()) < 5e-3:
        return None
    if abs(lazy - (1 - test.mean())) < 5e-3:
        return "that is the share it gets wrong: the NORMAL ones"
    others = (index["label"], index.loc[index["split"] == "train", "label"])
    if any(abs(lazy - labels.mean()) < 5e-3 for labels in others):
        return "keep the rows whose split is 'test' first"
    if lazy > 1:
        return "a share runs from 0 to 1: divide by the number of test images"
    return "it is right whenever the label is 1; which share of the test images is that?"


@exercise("02.2")
def _02_2(spare: int, *, twice: Any) -> str | None:
    groups = twice["group"].nunique()
    if int(spare) == len(twice) - groups:
        return None
    if int(spare) == len(twice) and groups:
        return "one file of each group has to stay"
    return "a group of n files holds one picture, so n - 1 of them can go: compare rows with groups"


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
    import numpy as np

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
    right = validation.isin(train.dropna()).mean()
    if abs(share - right) < 5e-3:
        return None
    if share > 1:
        return "a share runs from 0 to 1; divide by the number of validation images, or take the mean"
    if abs(share - (1 - right)) < 5e-3:
        return "that is the share of the others, whose patient is not in training"
    if abs(share - train.isin(validation.dropna()).mean()) < 5e-3:
        return "that is the share of the training images; ask it of the validation images"
    return "take the patient column of each part; .isin() and .mean() do the rest"


# --- 04 train ------------------------------------------------------------------------------------


@exercise("04.1")
def _04_1(kernel: Any) -> str | None:
    import numpy as np

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
def _04_2(count: int) -> str | None:
    hints = {
        3 * 3 * 64 * 128: "the kernels are right; now add one bias for each output channel",
        3 * 3 * 128 + 128: "each kernel reaches through all 64 input channels: 3 x 3 x 64 numbers",
        3 * 3 * 128: "each kernel reaches through all 64 input channels, and each output channel has a bias",
        (3 * 3 * 64 + 64) * 128: "one bias for each output channel, not for each pair of channels",
    }
    if int(count) == 3 * 3 * 64 * 128 + 128:
        return None
    way = "numbers in a kernel (3 x 3 x input channels), times output channels, plus biases"
    return hints.get(int(count), way)


@exercise("04.3")
def _04_3(ends: int, *, history: Any) -> str | None:
    best, best_epoch, right = float("inf"), 0, int(history["epoch"].iloc[-1])
    for epoch, loss in zip(history["epoch"], history["val_loss"], strict=True):
        if loss < best:
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= 5:
            right = int(epoch)
            break
    if int(ends) == right:
        return None
    if int(ends) == right - 5:
        return "that is the best epoch so far; training waits for 5 more"
    return "go down the column val_loss: count the epochs since its lowest value so far, and end at 5"


# --- 05 improve ----------------------------------------------------------------------------------


@exercise("05.1")
def _05_1(balanced_accuracy: float) -> str | None:
    if abs(balanced_accuracy - 0.5) < 1e-6:
        return None
    if balanced_accuracy > 1:
        return "a share runs from 0 to 1"
    if balanced_accuracy > 0.6:
        return "that is the accuracy over all images; take each class by itself, then the mean of the two"
    return "which share of NORMAL does it find? Which share of PNEUMONIA? Take the mean of the two"


@exercise("05.2")
def _05_2(leaking: int, *, mixed: Any, part: Any) -> str | None:
    one, other = (part[mixed[parent]] == "validation" for parent in ("first", "second"))
    if leaking == (one | other).sum():
        return None
    if leaking in (one.sum(), other.sum()):
        return "you looked at one of the parents; a leak through either counts"
    if leaking == (one & other).sum():
        return "you counted those with both parents in validation; one is enough"
    return "compare the part of both parents with 'validation', join the two by |, and sum"


@exercise("05.3")
def _05_3(improved: Any, *, summary: Any) -> str | None:
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
    if abs(auc - (ill[:, None] > healthy[None, :]).mean()) < 5e-4:
        return None
    if auc > 1:
        return "AUC is a share, from 0 to 1: divide the number of pairs won by the number of all pairs"
    return "the entries are True where the ill child got the higher probability: which share is that?"


@exercise("06.3")
def _06_3(share_ill: float, *, final: Any) -> str | None:
    true_alarms, false_alarms = 50 * final["sensitivity"], 950 * (1 - final["specificity"])
    if abs(share_ill - true_alarms / (true_alarms + false_alarms)) < 5e-4:
        return None
    if abs(share_ill - true_alarms / 1000) < 5e-3:
        return "divide by those called ill, not by all children"
    return "how many of the 50 are called ill, how many of the 950? Divide the first by the sum of both"


# --- 07 replicate --------------------------------------------------------------------------------


@exercise("07.1")
def _07_1(enough: int) -> str | None:
    lower = [0.025 ** (1 / n) if n > 0 else 0 for n in (enough - 1, enough)]
    if enough == int(enough) and lower[0] < 0.98 <= lower[1]:
        return None
    if lower[1] < 0.98:
        return f"with that many the lower end is {lower[1]:.3f}: more are needed"
    return "that is enough, but is it the smallest whole number that is?"


@exercise("07.2")
def _07_2(fall: float, *, runs: Any) -> str | None:
    honest = runs[runs["protocol"] == "honest"]
    points = 100 * (honest["validation"] - honest["test"]).mean()
    if abs(fall - points) < 5e-2:
        return None
    if abs(fall - points / 100) < 5e-4:
        return "that is a share; a point is a hundredth, so multiply by 100"
    if abs(fall + points) < 5e-2:
        return "a fall is validation minus test, not the other way round"
    if abs(fall - 100 * (runs["validation"] - runs["test"]).mean()) < 5e-2:
        return "you took all runs; keep those whose protocol is 'honest'"
    return "keep the honest runs, subtract test from validation row by row, and take the mean"


@exercise("07.3")
def _07_3(told: Any, *, worth: Any) -> str | None:
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
    lower = validation["probability"] < probability
    ill = validation["label"] == 1
    if abs(below - lower[ill].mean()) < 5e-3:
        return None
    if below > 1:
        return "a share runs from 0 to 1: divide by the number of those labelled PNEUMONIA"
    if abs(below - (1 - lower[ill].mean())) < 5e-3:
        return "that is the share with a higher probability"
    return "keep the rows whose label is 1; of how many of them is the probability below the new one?"


@exercise("08.2")
def _08_2(inside: float, *, heat: Any, lesion: Any) -> str | None:
    if abs(inside - heat[lesion].sum() / heat.sum()) < 5e-4:
        return None
    if abs(inside - lesion.mean()) < 5e-4:
        return "that is the lesion's share of the picture; weigh each pixel by its heat"
    if abs(inside - heat[lesion].mean()) < 5e-4:
        return "that is the mean heat inside; take the sum inside, and divide it by the sum of all heat"
    return "heat[lesion] is the heat inside: divide its sum by the sum of all heat"


@exercise("08.3")
def _08_3(still: Any, *, tests: Any, suspects: Any) -> str | None:
    still = {still} if isinstance(still, str) else set(still)
    if unknown := still - set(suspects):
        return f"{sorted(map(str, unknown))[0]} is not among the suspects"
    if still == {name for name in suspects if tests.loc[name, "low"] > 0.7}:
        return None
    return "look at the lower end of the interval, tests.loc[name, 'low'], and compare it with .7"
