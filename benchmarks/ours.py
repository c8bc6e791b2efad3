"""The work of `plain`, by `cxr_utils`; functions of the same names prepare, and return what is timed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_utils import dataset, images, imbalance, recipes


def index_of(folder: str, *, every: int = 1) -> pd.DataFrame:
    """Return the index of the training images, both classes, sorted by name."""
    index = dataset.scan(folder)
    return index[index["split"] == "train"].iloc[::every].reset_index(drop=True)


def _cold(index: pd.DataFrame, folder: str) -> np.memmap:
    shutil.rmtree(Path(folder, "cache"), ignore_errors=True)
    return images.cache(index, folder)


def originals(folder: str, *, times: int = 1):
    """Make the image cache where there is none, each image so often."""
    index = pd.concat([index_of(folder)] * times, ignore_index=True)
    return lambda: _cold(index, folder)


def hostile(path: str):
    """Refuse a file that asks for much work, and say how many seconds that takes."""
    import time

    from cxr_utils.errors import BadInput

    def work() -> float:
        start = time.perf_counter()
        try:
            images.read(path)
        except BadInput:
            return time.perf_counter() - start
        raise RuntimeError(f"{path}: was read")

    work()  # imports are not timed
    return work


def warm(folder: str, *, every: int = 1):
    """Open the image cache that is there."""
    index = index_of(folder, every=every)
    images.cache(index, folder)
    return lambda: images.cache(index, folder)


def smote(folder: str, *, every: int = 1):
    """Choose parents and steps of SMOTE's images; `pipeline` shows what drawing them costs."""
    import imblearn.over_sampling  # noqa: F401 (imports are not timed)
    import sklearn.neighbors  # noqa: F401

    index = index_of(folder, every=every)
    pixels = images.cache(index, folder)
    return lambda: imbalance.balance(pixels, index["label"], how="smote", seed=0)


def pipeline(folder: str, *, every: int = 1):
    """Go all the way from files to batches for training, stage by stage."""
    import imblearn.over_sampling  # noqa: F401 (imports are not timed)
    import sklearn.neighbors  # noqa: F401

    index = index_of(folder, every=every)

    def work():
        pixels = _cold(index, folder)
        yield "read"
        table = imbalance.balance(pixels, index["label"], how="smote", seed=0).table
        yield "balance"
        for start in range(0, len(table), 32):
            imbalance.render(pixels, table.iloc[start : start + 32])
        yield "serve"
        images.cache(index, folder)
        yield "warm"

    return work


def training(folder: str, *, recipe: str, every: int = 10):
    """Build a recipe's network and what feeds it, as `cxr_utils.training.fit` does, in the precision it chooses.

    Returns
    -------
    model : keras.Model
        Compiled.
    fit : dict
        Arguments of its `fit`.
    """
    from cxr_utils import training as trainer
    from cxr_utils.backend import keras

    published = recipes.get(recipe)
    index = index_of(folder, every=1 if published.augmentation else every)
    pixels = images.cache(index, folder, size=published.image_size)
    balanced = imbalance.balance(pixels, index["label"], how=published.imbalance, seed=0)
    keras.config.set_dtype_policy(trainer.choose_precision())
    model = published.build(seed=0)
    return model, {"x": trainer.batches(pixels, balanced.table, published, seed=0), "shuffle": False}


def product(*, precision: str, size: int = 3072):
    """Multiply two square matrices, ten times: what the processor reaches at best in a precision."""
    import tensorflow as tf

    left, right = (tf.cast(tf.random.stateless_normal((size, size), (0, n)), precision) for n in (1, 2))
    return lambda: [tf.linalg.matmul(left, right) for _ in range(10)][-1].numpy()


def auc(folder: str, *, precision: str, seed: int) -> float:
    """Train plain_64 on the training images alone, patients held out, and return its AUC on those."""
    import tempfile

    from sklearn.metrics import roc_auc_score

    from cxr_utils import evaluation, splits
    from cxr_utils import training as trainer

    index = index_of(folder)
    pixels = images.cache(index, folder, size=64)
    split = splits.grouped(index, seed=0)
    with tempfile.TemporaryDirectory() as runs:
        run = trainer.fit(recipes.get("plain_64"), pixels, split, run_dir=Path(runs) / "run", seed=seed,
                          precision=precision)  # fmt: skip
        found = evaluation.predict(run, pixels, split, parts=("validation",))
    return float(roc_auc_score(found["label"], found["probability"]))
