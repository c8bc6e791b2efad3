"""False numbers re-enacted: five mistakes of published work, each beside the right way, and what each is worth.

Every function here takes a `Bench` and returns one row a seed: the same quantity, a balanced accuracy, measured
wrong and right. Balanced, so that another mix of the classes makes no difference of its own. A seed draws
everything anew: the split, the first weights, the order of the images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_utils import evaluation, imbalance, splits, training
from cxr_utils.errors import BadInput
from cxr_utils.recipes import Recipe

#: Share of the images outside test that validate.
VALIDATION = 0.2


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all five mistakes are made on.

    Attributes
    ----------
    index : DataFrame
        From `dataset.scan`, or rows of it from `pool`.
    pixels : array of uint8, shape (n, s, s, 1)
        Row by row with `index`, with s the recipe's image size.
    recipe : Recipe
        A small network. Its epoch is chosen by the highest validation accuracy, whatever it says itself.
    run_dir : str or Path
        Gets one run folder a training; what is finished there is not trained again.
    seeds : sequence of int
        The repetitions.
    epochs : int
        Of each training.
    image_source : str
        Recorded with each run.
    traced : dict
        The last network, for the next training: see `training.fit`.
    """

    index: pd.DataFrame
    pixels: np.ndarray
    recipe: Recipe
    run_dir: str | Path
    seeds: Sequence[int] = (0, 1, 2)
    epochs: int
    image_source: str = ""
    traced: dict = field(default_factory=dict, repr=False, compare=False)

    def fit(self, name: str, seed: int, split, *, pixels=None, imbalance="none", validate_on="validation"):
        """Train the network in the folder ``<name>-s<seed>``; see `training.fit`.

        Parameters
        ----------
        name : str
            Of the run folder, without the seed.
        seed : int
            Start of every random choice.
        split : DataFrame
            From `splits`, row by row with the pixels.
        pixels : array of uint8, shape (n, s, s, 1), optional
            Instead of the bench's.
        imbalance : str
            One of `imbalance.METHODS`.
        validate_on : str
            The part that chooses the epoch.

        Returns
        -------
        Run
        """
        best = {"monitor": "val_accuracy", "mode": "max", "patience": self.epochs, "restore_best_weights": True}
        return training.fit(
            self.recipe.but(imbalance=imbalance, early_stopping=best), self.pixels if pixels is None else pixels, split,
            run_dir=Path(self.run_dir) / f"{name}-s{seed}", seed=seed, epochs=self.epochs, validate_on=validate_on,
            protocol="honest" if validate_on == "validation" else "published", image_source=self.image_source,
            traced=self.traced,
        )  # fmt: skip

    def honest(self, seed: int) -> tuple[pd.DataFrame, float]:
        """Return validation and test predictions of an honest training, and the threshold chosen on validation.

        Parameters
        ----------
        seed : int
            Of split and training.

        Returns
        -------
        DataFrame
            As from `evaluation.predict`.
        float
            The threshold.
        """
        split = splits.grouped(self.index, validation=VALIDATION, seed=seed)
        predictions = evaluation.predict(self.fit("honest", seed, split), self.pixels, split)
        validation = predictions[predictions["split"] == "validation"]
        return predictions, evaluation.best_threshold(validation["label"], validation["probability"])

    def table(self, once: Callable[[int], tuple[float, float]]) -> pd.DataFrame:
        """Return ``once(seed)``, the wrong and the right figure, for each seed.

        Parameters
        ----------
        once : callable
            Takes a seed.

        Returns
        -------
        DataFrame
            seed (int), wrong, right (float).
        """
        return pd.DataFrame([(seed, *once(seed)) for seed in self.seeds], columns=["seed", "wrong", "right"])


def pool(index: pd.DataFrame, *, images: int | None, seed: int = 0) -> np.ndarray:
    """Draw whole patients until about `images` images outside test are gathered; test stays as it is.

    A draw of images would tear the patients apart, and with them the leaks that are to be shown.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    images : int or None
        How many; None is all.
    seed : int
        Of the draw.

    Returns
    -------
    array of int64
        Row numbers of `index`, sorted.

    Examples
    --------
    >>> index = pd.DataFrame({"path": list("abcdef"), "patient": list("ppqqrs"), "sha256": list("abcdef")})
    >>> index["split"] = "train"
    >>> len(pool(index, images=6))
    6
    """
    outside = np.flatnonzero(index["split"] != "test")
    if images is None or images >= len(outside):
        return np.arange(len(index))
    number, names = pd.factorize(splits.group_names(index).iloc[outside])
    rank = np.random.default_rng(seed).permutation(len(names))[number]
    kept = outside[np.argsort(rank, kind="stable")][:images]
    kept = outside[np.isin(number, number[np.isin(outside, kept)])]  # the last patient, too, stays whole
    return np.sort(np.concatenate([kept, np.flatnonzero(index["split"] == "test")]))


def shuffled_answers(bench: Bench) -> pd.DataFrame:
    """Compare answers in a shuffled order with labels that were not shuffled.

    The mechanism: a generator that shuffles serves the images in an order of its own, and the labels are read
    from the files in theirs. What is left is how often two unrelated lists agree.

    Parameters
    ----------
    bench : Bench
        Images, network and seeds.

    Returns
    -------
    DataFrame
        seed (int), wrong, right (float in [0, 1]): balanced accuracy on test with the answers shuffled, and of the
        same answers in step.
    """

    def once(seed: int) -> tuple[float, float]:
        predictions, threshold = bench.honest(seed)
        test = predictions[predictions["split"] == "test"]
        out_of_step = np.random.default_rng(seed).permutation(test["probability"])
        return _balanced(test.assign(probability=out_of_step), threshold), _balanced(test, threshold)

    return bench.table(once)


def sixteen_images(bench: Bench) -> pd.DataFrame:
    """Validate on 16 images, 8 of each class, and report the best epoch on them.

    The mechanism: on so few images luck moves the figure by several points, and the best of many epochs is the
    luckiest of them.

    Parameters
    ----------
    bench : Bench
        Images, network and seeds.

    Returns
    -------
    DataFrame
        seed (int), wrong, right (float in [0, 1]): balanced accuracy at .5 on the 16 images, and of the same network
        on all other validation images.

    Raises
    ------
    BadInput
        Validation has fewer than 9 images of a class.
    """

    def once(seed: int) -> tuple[float, float]:
        split = splits.grouped(bench.index, validation=VALIDATION, seed=seed)
        rng, validation = np.random.default_rng(seed), split["part"] == "validation"
        rows = [np.flatnonzero(validation & (split["label"] == label)) for label in (0, 1)]
        if min(map(len, rows)) < 9:
            raise BadInput(f"index: {min(map(len, rows))} validation images of a class; 16 and some others are needed")
        few = np.concatenate([rng.choice(each, 8, replace=False) for each in rows])
        others = split.assign(part=split["part"].where(~validation, "other"))
        others.loc[others.index[few], "part"] = "validation"
        run = bench.fit("sixteen", seed, others)
        predictions = evaluation.predict(run, bench.pixels, others, parts=("validation", "other"))
        seen, unseen = (predictions[predictions["split"] == part] for part in ("validation", "other"))
        return _balanced(seen), _balanced(unseen)

    return bench.table(once)


def test_as_validation(bench: Bench) -> pd.DataFrame:
    """Choose epoch and threshold on the test images, and report test.

    The mechanism: the best of many looks at the same images holds the luck of that look; the next images don't.

    Parameters
    ----------
    bench : Bench
        Images, network and seeds.

    Returns
    -------
    DataFrame
        seed (int), wrong, right (float in [0, 1]): balanced accuracy on test, with epoch and threshold chosen on test,
        and with both chosen on validation. The training is the same.
    """

    def once(seed: int) -> tuple[float, float]:
        split = splits.grouped(bench.index, validation=VALIDATION, seed=seed)
        run = bench.fit("test_as_validation", seed, split, validate_on="test")
        peeked = evaluation.predict(run, bench.pixels, split, parts=("test",))
        best = evaluation.best_threshold(peeked["label"], peeked["probability"])
        predictions, threshold = bench.honest(seed)
        return _balanced(peeked, best), _balanced(predictions[predictions["split"] == "test"], threshold)

    return bench.table(once)


def split_by_image(bench: Bench) -> pd.DataFrame:
    """Split by image, so that other images of the same patients are among the training images.

    The mechanism: the network knows the patient, the bones and the exposure already; so validation asks for memory
    where it should ask for judgement. Numbers of NORMAL images are not known to be patients.

    Parameters
    ----------
    bench : Bench
        Images, network and seeds.

    Returns
    -------
    DataFrame
        seed (int), wrong, right (float in [0, 1]): balanced accuracy at .5 on the same validation images, after
        training with other images of their patients, and after training without. To keep the trainings equally
        large, the wrong one goes without as many images of other patients, class by class, as far as there are. NaN
        where no patient is known.
    """

    def once(seed: int) -> tuple[float, float]:
        split = splits.stratified(bench.index, validation=VALIDATION, seed=seed)
        train, rng = split["part"] == "train", np.random.default_rng(seed)
        known = split.loc[split["part"] == "validation", "patient"].dropna()
        siblings = train & split["patient"].isin(known).astype(bool)
        if not siblings.any():
            return np.nan, np.nan
        strangers = []
        for label in (0, 1):
            mine = train & (split["label"] == label)
            others = np.flatnonzero(mine & ~siblings)
            strangers.append(rng.choice(others, min((mine & siblings).sum(), len(others) // 2), replace=False))
        dropped = {"wrong": np.concatenate(strangers), "right": np.flatnonzero(siblings)}
        figures = {}
        for way, rows in dropped.items():
            those = split.copy()
            those.loc[those.index[rows], "part"] = "unused"
            run = bench.fit(f"by_image_{way}", seed, those)
            figures[way] = _balanced(evaluation.predict(run, bench.pixels, those, parts=("validation",)))
        return figures["wrong"], figures["right"]

    return bench.table(once)


def smote_before_split(bench: Bench) -> pd.DataFrame:
    """Balance by SMOTE first and split afterwards, so that synthetic images validate and leak.

    The mechanism: a synthetic image is a mixture of two real ones. Its parents can be on the other side of the split,
    and its own look, a double exposure that only NORMAL has, gives the class away.

    Parameters
    ----------
    bench : Bench
        Images, network and seeds.

    Returns
    -------
    DataFrame
        seed (int), wrong, right (float in [0, 1]): balanced accuracy at .5 in validation, with SMOTE before the split,
        and with SMOTE on the training images only. The real images are split alike.
    """

    def once(seed: int) -> tuple[float, float]:
        split = splits.grouped(bench.index, validation=VALIDATION, seed=seed)
        outside, labels = np.flatnonzero(split["part"] != "test"), split["label"].to_numpy()
        table = imbalance.balance(bench.pixels, labels, how="smote", rows=outside, seed=seed).table
        made = table[table["synthetic"]]
        pixels = np.concatenate([bench.pixels, np.rint(255 * imbalance.render(bench.pixels, made)).astype("uint8")])
        chosen = np.random.default_rng(seed).random(len(made)) < VALIDATION
        added = made[["label"]].assign(
            path=[f"synthetic/{number}.png" for number in range(len(made))], patient=pd.NA, kind="synthetic",
            part=np.where(chosen, "validation", "train"), patient_known=False,
        ).astype({"patient": split["patient"].dtype})  # fmt: skip
        mixed = pd.concat([split, added], ignore_index=True)
        first = bench.fit("smote_first", seed, mixed, pixels=pixels)
        after = bench.fit("smote_after", seed, split, imbalance="smote")
        wrong = evaluation.predict(first, pixels, mixed, parts=("validation",))
        return _balanced(wrong), _balanced(evaluation.predict(after, bench.pixels, split, parts=("validation",)))

    return bench.table(once)


def worth(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Say what each mistake is worth: wrong minus right, in points, with a paired 95% interval over the seeds.

    The interval is Student's t on the differences [1]_: the two figures of a seed share split and images, so what they
    share cancels. A seed is a whole new try, so it holds the chance of split, first weights and order; a bootstrap of
    the images would hold one try only. Few seeds make it wide, and it takes the differences as normally distributed,
    which so few can't show.

    Parameters
    ----------
    tables : dict of str to DataFrame
        What the functions of this module returned, by name.

    Returns
    -------
    DataFrame
        One row a mistake, indexed by its name: seeds (int), wrong, right (their means, in [0, 1]), points (mean
        difference, in percentage points), low and high (NaN with a single seed).

    References
    ----------
    .. [1] Student, The probable error of a mean, Biometrika 6:1, 1908.

    Examples
    --------
    >>> table = pd.DataFrame({"seed": [0, 1], "wrong": [0.9, 0.8], "right": [0.8, 0.75]})
    >>> float(worth({"an example": table})["points"].round(1).iloc[0])
    7.5
    """
    from scipy import stats

    rows = []
    for name, table in tables.items():
        gains = 100 * (table["wrong"] - table["right"]).dropna().to_numpy()
        n, mean = len(gains), gains.mean() if len(gains) else np.nan
        half = stats.t.ppf(0.975, n - 1) * gains.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        rows.append((name, n, table["wrong"].mean(), table["right"].mean(), mean, mean - half, mean + half))
    columns = ["mistake", "seeds", "wrong", "right", "points", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index("mistake")


def _balanced(predictions: pd.DataFrame, threshold: float = 0.5) -> float:
    found = evaluation.metrics(predictions["label"], predictions["probability"], threshold=threshold)
    return found["balanced_accuracy"]
