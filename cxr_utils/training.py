"""Recipe + images + split + seed → a run folder. Interrupted anywhere, the same call goes on from there."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import math
import os
import platform
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import _machine, _ownership, _saved, augment, evaluation, files, imbalance, models, splits
from cxr_utils.errors import BadInput, one_of
from cxr_utils.recipes import Recipe

#: Raised by hand when the same inputs would train another model than before.
VERSION = 1
PRECISIONS = ("auto", "float32", "mixed_bfloat16")


def choose_precision(wanted: str = "auto") -> str:
    """Return the precision to train in.

    Parameters
    ----------
    wanted : {"auto", "float32", "mixed_bfloat16"}
        "auto" takes the variable ``CXR_PRECISION`` if set, else bfloat16 where what trains, the GPU if there is one
        and else the processor, multiplies it in hardware, else float32.

    Returns
    -------
    str
        "float32" or "mixed_bfloat16".

    Raises
    ------
    BadInput
        Another value, here or in ``CXR_PRECISION``.

    Examples
    --------
    >>> choose_precision("float32")
    'float32'
    """
    if wanted == "auto":
        wanted = os.environ.get("CXR_PRECISION", "auto")
    one_of("precision", wanted, PRECISIONS)
    if wanted != "auto":
        return wanted
    from cxr_utils.backend import gpu_has_bfloat16

    fast = _machine.cpu()["bfloat16"] if (gpu := gpu_has_bfloat16()) is None else gpu
    return "mixed_bfloat16" if fast else "float32"


@contextlib.contextmanager
def dtype_policy(name: str):
    """Build what follows in a precision, and leave the one of before as it was.

    Parameters
    ----------
    name : str
        Such as "float32" or "mixed_bfloat16".

    Yields
    ------
    None
        While the precision holds.

    Examples
    --------
    >>> with dtype_policy("float32"):
    ...     pass
    """
    from cxr_utils.backend import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def batches(pixels, table: pd.DataFrame, recipe: Recipe, *, seed: int | None = None, class_weight=None):
    """Serve training examples a batch at a time.

    Keras repeats one and the same order in every epoch when it shuffles by itself, so order and
    augmentation come from ``numpy.random.default_rng([seed, epoch])`` here.

    Parameters
    ----------
    pixels : array of uint8, shape (n, s, s, 1)
        The image cache, with s the recipe's image size.
    table : DataFrame
        `cxr_utils.imbalance.Balanced.table`: one row an example.
    recipe : Recipe
        For batch size, channels, augmentation and the form of the labels.
    seed : int, optional
        Shuffles and augments; without it the examples come as they are, in order.
    class_weight : dict, optional
        Weight of each class in the loss.

    Returns
    -------
    keras.utils.PyDataset
        Of ``(images, labels)`` or ``(images, labels, weights)``: float32 in [0, 1], shape
        (b, s, s, channels); float32 of shape (b, 1), or (b, 2) for a categorical loss; float32 (b,).

    Examples
    --------
    >>> from cxr_utils import recipes
    >>> examples = imbalance.balance(pixels, split["label"], how="none").table
    >>> recipe = recipes.get("plain_224").at(image_size=32)
    >>> served = batches(pixels, examples, recipe, seed=0)
    >>> images, labels = served[0]
    >>> images.shape, labels.shape
    ((32, 32, 32, 1), (32, 1))
    """
    from cxr_utils.backend import keras

    size = 256 if seed is None else recipe.batch_size
    labels = table["label"].to_numpy()
    two_units = recipe.loss == "categorical_crossentropy"
    targets = np.eye(2, dtype="float32")[labels] if two_units else labels[:, None].astype("float32")

    class Batches(keras.utils.PyDataset):
        epoch = -1

        def __len__(self):
            return -(-len(table) // size)

        @functools.lru_cache(maxsize=1)  # noqa: B019 (one entry, and the dataset dies with the training)
        def order(self, epoch):
            everything = np.arange(len(table))
            return everything if seed is None else np.random.default_rng([seed, epoch]).permutation(everything)

        def __getitem__(self, number):
            epoch = max(self.epoch, 0)
            rows = self.order(epoch)[number * size : (number + 1) * size]
            pictures, wanted = imbalance.render(pixels, table.iloc[rows]), targets[rows]
            if seed is not None and recipe.augmentation is not None:
                rng = np.random.default_rng([seed, epoch, number])
                pictures = augment.augment(pictures, recipe.augmentation, rng=rng)
                if recipe.augmentation.void:
                    pictures, hidden = augment.hide_chests(pictures, recipe.augmentation.void, rng=rng)
                    wanted = np.where(hidden[:, None], np.float32(0.5), wanted)
            if recipe.channels > 1:
                pictures = np.repeat(pictures, recipe.channels, axis=-1)
            if class_weight is None:
                return pictures, wanted
            return pictures, wanted, np.array([class_weight[c] for c in labels[rows]], dtype="float32")

    return Batches()


def _state_callback(path: Path, dataset, callbacks: list, rows: list[dict], progress: bool):
    """Return the callback that keeps everything that decides the rest of a training, each epoch.

    Keras' own BackupAndRestore loses the state of the other callbacks, the best weights, the history
    and the seeds of Dropout.
    """
    from tqdm import tqdm

    from cxr_utils.backend import keras

    kept = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")

    class State(keras.callbacks.Callback):
        def variables(self):
            return [*self.model.variables, *self.model.optimizer.variables]

        def on_train_begin(self, logs=None):
            self.model.optimizer.build(self.model.trainable_variables)
            if path.exists():
                self.restore()
            self.bar = tqdm(total=self.params["epochs"], initial=len(rows), unit="epoch", **_machine.bar(progress))

        def restore(self):
            with np.load(path) as state:
                for number, variable in enumerate(self.variables()):
                    variable.assign(state[f"variable_{number}"])
                for number, callback in enumerate(callbacks):
                    for name, value in json.loads(str(state["callbacks"]))[number].items():
                        setattr(callback, name, value)
                    if best := [n for n in state.files if n.startswith(f"best_{number}_")]:
                        callback.best_weights = [state[f"best_{number}_{i}"] for i in range(len(best))]

        def on_epoch_begin(self, epoch, logs=None):
            dataset.epoch = epoch
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds = time.perf_counter() - self.start
            learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            numbers = {name: float(value) for name, value in logs.items() if name != "learning_rate"}
            rows.append({"epoch": epoch + 1, **numbers, "learning_rate": learning_rate, "seconds": round(seconds, 2)})
            self.save()
            self.bar.update()
            self.bar.set_postfix(loss=f"{logs['loss']:.3f}", val_loss=f"{logs['val_loss']:.3f}")

        def save(self):
            arrays = {f"variable_{n}": keras.ops.convert_to_numpy(v) for n, v in enumerate(self.variables())}
            states = []
            for number, callback in enumerate(callbacks):
                values = {name: getattr(callback, name) for name in kept if hasattr(callback, name)}
                states.append({name: None if v is None else float(v) for name, v in values.items()})
                for i, weight in enumerate(getattr(callback, "best_weights", None) or []):
                    arrays[f"best_{number}_{i}"] = weight
            with files.atomic(path, ours=True) as temporary:
                np.savez(temporary, callbacks=json.dumps(states), rows=json.dumps(rows),
                         stopped=self.model.stop_training, **arrays)  # fmt: skip

        def on_train_end(self, logs=None):
            self.bar.close()

    return State()


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder.

    Attributes
    ----------
    folder : Path
        Holds ``run.json``, ``history.csv`` and ``model.keras``, later ``predictions.csv`` and ``metrics.json``.

    Examples
    --------
    >>> (run.folder / "history.csv").is_file()
    True
    """

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """What was trained, how and where.

        Returns
        -------
        dict
            The content of ``run.json``.

        Examples
        --------
        >>> run.record["protocol"]
        'honest'
        """
        return files.read_record(
            self.folder / "run.json", "version", recipe=dict, protocol=str, seed=int, split=str, seconds=(int, float)
        )

    @property
    def history(self) -> pd.DataFrame:
        """The course of the training.

        Returns
        -------
        DataFrame
            One row an epoch: epoch (from 1), loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.

        Examples
        --------
        >>> run.history["epoch"].tolist()
        [1]
        """
        return files.read_csv(self.folder / "history.csv", columns=("epoch", "loss", "val_loss", "seconds"))

    def load_model(self):
        """Open the trained network.

        Returns
        -------
        keras.Model
            In float32.

        Examples
        --------
        >>> run.load_model().output_shape
        (None, 1)
        """
        return models.load_keras(self.folder / "model.keras")


def load(run_dir: str | Path) -> Run:
    """Open a finished run.

    Parameters
    ----------
    run_dir : str or Path
        Its folder.

    Returns
    -------
    Run
        The run.

    Raises
    ------
    BadInput
        There is no finished run in this folder, or its ``run.json`` is not as `fit` writes it.

    Examples
    --------
    >>> load(run.folder) == run
    True
    """
    folder = files.resolve(run_dir)
    if not (folder / "run.json").is_file():
        raise BadInput(f"{folder}: no finished run here (no run.json); train it with cxr_utils.training.fit")
    run = Run(folder)
    run.record  # noqa: B018 (read once, to refuse a broken one here)
    return run


def signature(pixels) -> str:
    """Name an image cache by its shape and a checksum: by that a run knows its images again.

    Parameters
    ----------
    pixels : array of uint8, shape (n, s, s, 1)
        The image cache.

    Returns
    -------
    str
        Such as "[60, 32, 32, 1] crc32 0123abcd".

    Examples
    --------
    >>> signature(np.zeros((1, 2, 2, 1), "uint8"))
    '[1, 2, 2, 1] crc32 2144df1c'
    """
    return f"{list(pixels.shape)} crc32 {zlib.crc32(np.ascontiguousarray(pixels).data):08x}"


def _check(recipe: Recipe, pixels, split, validate_on: str) -> None:
    if len(pixels) != len(split):
        raise BadInput(f"pixels hold {len(pixels)} images and split {len(split)} rows: both must follow one index")
    if pixels.shape[1:3] != (recipe.image_size,) * 2:
        raise BadInput(
            f"pixels are {pixels.shape[1]}x{pixels.shape[2]}, recipe {recipe.name} wants {recipe.image_size}: "
            f"use images.cache(..., size={recipe.image_size}) or recipe.at(image_size={pixels.shape[1]})"
        )
    for part in ("train", validate_on):
        if not (split["part"] == part).any():
            raise BadInput(f"split: no image in part {part!r}; make one with cxr_utils.splits")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("keras", "tensorflow", "jax", "numpy", "imbalanced-learn", "pillow", "opencv-python-headless"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def fit(
    recipe: Recipe,
    pixels,
    split: pd.DataFrame,
    *,
    run_dir: str | Path,
    seed: int = 0,
    epochs: int | None = None,
    precision: str = "auto",
    protocol: str = "honest",
    validate_on: str = "validation",
    image_source: str = "",
    progress: bool = False,
    beside: bool = False,
    traced: dict[tuple, Any] | None = None,
) -> Run:
    """Train a recipe and leave a run folder behind.

    A finished run is opened, not trained again; an interrupted one resumes after its last epoch.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    pixels : array of uint8, shape (n, s, s, 1)
        The image cache, with s the recipe's image size.
    split : DataFrame
        From `cxr_utils.splits`, row by row with `pixels`; columns label and part are used.
    run_dir : str or Path
        The run's folder; a relative one is taken from the project's root.
    seed : int
        Decides first weights, order, augmentation, Dropout and SMOTE.
    epochs : int, optional
        Largest number of epochs, in place of the recipe's.
    precision : {"auto", "float32", "mixed_bfloat16"}
        See `choose_precision`. Saved models are float32 whatever they were trained in.
    validate_on : str
        The part that early stopping and the curves look at. Anything but "validation" is a mistake, there to
        repeat what others did.
    protocol, image_source : str
        Recorded in ``run.json``: how the run is to be judged, and what the images are.
    progress : bool
        Show a bar of epochs, or say that the run was there already.
    beside : bool
        Where the folder holds a run of other settings, take one beside it, whose name ends in a digest of these.
    traced : dict, optional
        Handed to several trainings, it keeps the last one's network. Keras traces a network before its first step,
        which takes longer than some epochs of a small one: where only the seed differs, this is done once.

    Returns
    -------
    Run

    Raises
    ------
    BadInput
        Images, split and recipe do not fit each other, or the folder holds another run or what is not ours.

    Examples
    --------
    >>> from cxr_utils import recipes
    >>> recipe = recipes.get("plain_224").at(image_size=32, width=0.1)
    >>> fit(recipe, pixels, split, run_dir="runs/short", epochs=1).folder.name
    'short'
    """
    from cxr_utils.backend import keras

    folder = files.resolve(run_dir)
    _check(recipe, pixels, split, validate_on)
    identity: dict[str, Any] = {
        "version": VERSION,
        "recipe": recipe.settings(),
        "protocol": protocol,
        "seed": seed,
        "epochs": epochs or recipe.epochs,
        "split": splits.digest(split),
        "validate_on": validate_on,
        "pixels": signature(pixels),
    }
    if beside and any(
        (folder / name).is_file() and _differs(folder / name, identity) for name in ("run.json", "state.json")
    ):
        folder = folder.with_name(f"{folder.name}-{files.digest(json.dumps(identity, sort_keys=True), length=8)}")
    _ownership.check_run(folder)
    with files.lock(folder):
        if (folder / "run.json").is_file():
            _same_run(folder, identity)
            _drop_state(folder)  # killed just before it did
            if progress and not os.environ.get("TQDM_DISABLE"):
                print(f"{folder.name}: trained before, and opened now; another seed trains it anew")
            return Run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        start, precision = time.perf_counter(), choose_precision(precision)
        rows, stopped = _interrupted(folder, identity | {"precision": precision})
        before = sum(row["seconds"] for row in rows)

        labels, part = split["label"].to_numpy(), split["part"].to_numpy()
        train, held_out = (np.flatnonzero(part == name) for name in ("train", validate_on))
        balanced = imbalance.balance(pixels, labels, how=recipe.imbalance, rows=train, seed=seed)
        validation = imbalance.balance(pixels, labels, how="none", rows=held_out)
        served = batches(pixels, balanced.table, recipe, seed=seed, class_weight=balanced.class_weight)
        model = _fresh(recipe, seed, precision, {} if traced is None else traced)
        callbacks = _callbacks(recipe, identity["epochs"])
        model.fit(
            served,
            validation_data=batches(pixels, validation.table, recipe),
            initial_epoch=len(rows),
            epochs=len(rows) if stopped else identity["epochs"],
            callbacks=[*callbacks, _state_callback(folder / "state.npz", served, callbacks, rows, progress)],
            shuffle=False,
            verbose=0,
        )

        with dtype_policy("float32"):
            plain = recipe.build(compiled=False)
        plain.set_weights(model.get_weights())
        with files.atomic(folder / "model.keras", ours=True) as temporary:
            _saved.save(plain, temporary)
        files.write_csv(folder / "history.csv", pd.DataFrame(rows), ours=True)
        cores = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)  # a cell of the grid limits it so
        record = identity | {
            "parameters": model.count_params(),
            "epochs_run": len(rows),
            "precision": precision,
            "backend": keras.backend.backend(),
            "image_source": image_source,
            "seconds": round(before + time.perf_counter() - start, 1),
            "versions": _versions(),
            "hardware": {"processor": _machine.cpu()["name"], "cores": cores, "system": platform.system()},
        }
        files.write_json(folder / "run.json", record, ours=True)
        _drop_state(folder)
    return Run(folder)


def _drop_state(folder: Path) -> None:
    for name in ("state.npz", "state.json"):
        if _ownership.RUN[name](folder / name):
            (folder / name).unlink(missing_ok=True)


def _differs(record: Path, identity: dict) -> str:
    """Say in what a run's record is that of another; nothing if it is not."""
    there = files.read_record(record)
    key = next((key for key, value in identity.items() if there.get(key) != value), None)
    return "" if key is None else f"its {key} is {there.get(key)!r}, asked for is {identity[key]!r}"


def _same_run(folder: Path, identity: dict, name: str = "run.json") -> None:
    if other := _differs(folder / name, identity):
        raise BadInput(f"{folder}: holds another run ({other}); choose another run_dir")


def _interrupted(folder: Path, identity: dict) -> tuple[list[dict], bool]:
    """Return the epochs that an earlier call got done, and whether early stopping had ended it."""
    state = folder / "state.npz"
    if not state.exists():
        files.write_json(folder / "state.json", identity, ours=True)
        return [], False
    _same_run(folder, identity, "state.json")
    try:
        with np.load(state) as kept:
            return json.loads(str(kept["rows"])), bool(kept["stopped"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{state}: can't be read ({error}); delete it and state.json to train anew") from None


def _callbacks(recipe: Recipe, epochs: int) -> list:
    from cxr_utils.backend import keras

    callbacks = []
    if recipe.early_stopping:
        callbacks.append(keras.callbacks.EarlyStopping(**recipe.early_stopping))
    if recipe.reduce_lr:
        callbacks.append(keras.callbacks.ReduceLROnPlateau(**recipe.reduce_lr))
    if recipe.schedule:
        callbacks.append(keras.callbacks.LearningRateScheduler(functools.partial(_scheduled, **recipe.schedule)))
    if recipe.cosine:
        rate = functools.partial(_cosine, peak=recipe.learning_rate, epochs=epochs)
        callbacks.append(keras.callbacks.LearningRateScheduler(rate))
    return callbacks


def _fresh(recipe: Recipe, seed: int, used: str, traced: dict[tuple, Any]):
    """Return the recipe's network with fresh weights, in the one of `traced` if only seed or imbalance differ."""
    with dtype_policy(used):
        model = recipe.build(seed=seed)
    key = (recipe.layers, used, json.dumps(recipe.but(imbalance="none").settings(), sort_keys=True))
    if key not in traced:
        traced.clear()  # one at a time: the large ones hold much memory
        return traced.setdefault(key, model)
    again = traced[key]
    for one in (model, again):
        one.optimizer.build(one.trainable_variables)
    variables = ([*one.variables, *one.optimizer.variables] for one in (again, model))
    for old, new in zip(*variables, strict=True):
        old.assign(new)
    return again


def _scheduled(epoch: int, before: float, /, *, from_epoch: float, start: float, factor: float, epochs: float) -> float:
    return before if epoch < from_epoch else start * factor ** ((epoch - from_epoch) / epochs)


def _cosine(epoch: int, before: float, /, *, peak: float, epochs: int) -> float:
    return peak * (0.5 + 0.5 * math.cos(math.pi * (epoch - 1) / max(1, epochs - 1)) if epoch else 0.1)


def compare(
    recipes: dict[str, Recipe],
    pixels,
    split: pd.DataFrame,
    *,
    run_dir: str | Path,
    seeds=(0, 1, 2),
    epochs: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train variants side by side, each with several seeds, and judge them on the validation part.

    Parameters
    ----------
    recipes : dict of str to Recipe
        The variants by the names they are shown under.
    pixels, split
        As for `fit`.
    run_dir : str or Path
        Holds one run folder a variant and seed, named after both.
    seeds : sequence of int
        The repetitions: what differs between them is chance.
    epochs : int, optional
        As for `fit`.
    progress : bool
        Show a bar of trainings.

    Returns
    -------
    DataFrame
        One row a variant and seed: name, seed, val_loss, accuracy, recall_normal and
        recall_pneumonia (the share of each class that was found), balanced_accuracy (their mean),
        seconds; folder (str), whose ``predictions.csv`` has the answers for validation.

    Examples
    --------
    >>> from cxr_utils import recipes
    >>> plain = recipes.get("plain_224").at(image_size=32, width=0.1)
    >>> table = compare({"plain": plain}, pixels, split, run_dir="runs/plain", seeds=(0,), epochs=1)
    >>> table["name"].tolist()
    ['plain']
    """
    from sklearn.metrics import log_loss
    from tqdm import tqdm

    rows, traced = [], dict[tuple, Any]()
    plan = [(name, seed) for name in recipes for seed in seeds]
    for name, seed in tqdm(plan, unit="training", **_machine.bar(progress)):
        slug = "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")
        folder = Path(run_dir) / f"{slug}-s{seed}"
        run = fit(recipes[name], pixels, split, run_dir=folder, seed=seed, epochs=epochs, beside=True, traced=traced)
        predictions = evaluation.predict(run, pixels, split, parts=("validation",))
        found = evaluation.metrics(predictions["label"], predictions["probability"])
        loss = log_loss(predictions["label"], predictions["probability"])
        kept = {metric: found[metric] for metric in ("accuracy", "specificity", "sensitivity", "balanced_accuracy")}
        rest = {"seconds": run.record["seconds"], "folder": str(run.folder)}
        rows.append({"name": name, "seed": seed, "val_loss": loss} | kept | rest)
    return pd.DataFrame(rows).rename(columns={"specificity": "recall_normal", "sensitivity": "recall_pneumonia"})


def gains(compared: pd.DataFrame, *, against: str, metric: str = "balanced_accuracy") -> pd.DataFrame:
    """Say what each variant of `compare` gains over one of them, with a 95% interval over seeds and images.

    All were judged on the same images, so these are paired: `cxr_utils.evaluation.over_seeds` says how.

    Parameters
    ----------
    compared : DataFrame
        From `compare`.
    against : str
        The name of the variant whose mean is subtracted.
    metric : str
        One of those of `cxr_utils.evaluation.metrics`.

    Returns
    -------
    DataFrame
        Index name, without `against`; columns gain, low, high (float, in units of the metric).

    Raises
    ------
    BadInput
        No variant is called `against`.

    Examples
    --------
    >>> from cxr_utils import recipes
    >>> plain = recipes.get("plain_224").at(image_size=32, width=0.1)
    >>> variants = {"plain": plain, "dropout": plain.but(dropout=0.25)}
    >>> table = compare(variants, pixels, split, run_dir="runs/gains", seeds=(0,), epochs=1)
    >>> list(gains(table, against="plain").columns)
    ['gain', 'low', 'high']
    """
    one_of("against", against, compared["name"].unique())
    arms, drawn = {}, {}
    for name, folders in compared.groupby("name", sort=False)["folder"]:
        tables = [evaluation.read_predictions(Path(folder) / "predictions.csv") for folder in folders]
        tables = [table[table["split"] == "validation"] for table in tables]
        arms[name] = [evaluation.metrics(one["label"], one["probability"])[metric] for one in tables]
        drawn[name] = np.mean([evaluation.resample(one)[metric] for one in tables], axis=0)
    rows = {
        name: evaluation.over_seeds([arms[name], arms[against]], drawn[name] - drawn[against], bounds=(-1.0, 1.0))
        for name in arms
        if name != against
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["gain", "low", "high"]).rename_axis("name")
