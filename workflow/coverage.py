"""Simulate how often `evaluation.over_seeds` holds the truth, into results/coverage.csv.

``python workflow/coverage.py`` writes it. In each of 2,000 repetitions networks are trained and judged anew: every seed
has an accuracy of its own around .85, the truth that is to be found, and all seeds answer the same new 624 images, of
which they find the same ones hard. ``ratio`` is the standard error of the seeds' mean as a multiple of the test set's.
The accuracies come from a normal distribution, or from a beta distribution, which leans to low ones as here near 1.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from cxr_utils import evaluation, files

ROOT = Path(__file__).parents[1]
SEEDS, RATIOS = (3, 5), (0.5, 1, 2, 3)
ACCURACY, IMAGES, DRAWS, REPETITIONS = 0.85, 624, 400, 2000


def coverage(seeds: int, ratio: float, *, skewed: bool) -> float:
    """Return the share of repetitions whose interval holds the truth."""
    rng = np.random.default_rng(0)
    spread = ACCURACY * (1 - ACCURACY)
    variance, shape = ratio**2 * spread / IMAGES * seeds, (REPETITIONS, seeds)
    if skewed:
        skill = rng.beta(*((spread / variance - 1) * np.array([ACCURACY, 1 - ACCURACY])), size=shape)
    else:
        skill = rng.normal(ACCURACY, variance**0.5, size=shape)
    right = rng.random((REPETITIONS, 1, IMAGES)) < skill[:, :, None]
    weights = rng.multinomial(IMAGES, np.full(IMAGES, 1 / IMAGES), size=DRAWS) / IMAGES
    drawn = right.mean(axis=1) @ weights.T
    limits = [evaluation.over_seeds([arm], each)[1:] for arm, each in zip(right.mean(axis=2), drawn, strict=True)]
    return float(np.mean([low <= ACCURACY <= high for low, high in limits]))


def table() -> pd.DataFrame:
    """Return ``seeds``, ``ratio`` and the coverage with ``normal`` and with ``skewed`` accuracies."""
    rows = [
        (seeds, ratio, *(coverage(seeds, ratio, skewed=skewed) for skewed in (False, True)))
        for seeds in SEEDS
        for ratio in RATIOS
    ]
    return pd.DataFrame(rows, columns=["seeds", "ratio", "normal", "skewed"]).round(3)


if __name__ == "__main__":
    made = table()
    files.write_csv(ROOT / "results" / "coverage.csv", made, ours=tuple(made.columns))
