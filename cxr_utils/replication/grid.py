"""The replication grid: every recipe under both protocols, several seeds. A cell is one fit and one evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxr_utils import evaluation, files, ledger, recipes, splits, training
from cxr_utils.errors import BadInput, one_of

#: Those of the official test set. "folds" is a third, of five cells: each holds out one fold, and leaves test closed.
PROTOCOLS = ("published", "honest")
SEEDS = (0, 1, 2)
#: How many seeds where it is not three: cheap trainings have more, so that their spread can be told.
MORE_SEEDS = {"plain_64": 10, "softmax_64": 10, "plain_224": 10, "plain_224-unaugmented": 10, "reference": 5,
              "reference_2": 5}  # fmt: skip
#: Ablations, by name: the recipe, and what is changed in it. They are judged by the honest protocol alone.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain_224-unaugmented": ("plain_224", {"augmentation": None}),
    "reference-unaugmented": ("reference", {"augmentation": None}),
    "smote_224-class_weight": ("smote_224", {"imbalance": "class_weight"}),
    "smote_224-unbalanced": ("smote_224", {"imbalance": "none"}),
}


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation.

    Attributes
    ----------
    recipe : str
        The name of a recipe, or of one of `VARIANTS`.
    protocol : {"published", "honest", "fold1", ..., "fold5"}
        How it is split and judged.
    seed : int
        As for `training.fit`.
    """

    recipe: str
    protocol: str
    seed: int

    @property
    def name(self) -> str:
        """The cell's name in files and commands, such as ``plain_224-honest-s0``."""
        return f"{self.recipe}-{self.protocol}-s{self.seed}"

    def get_recipe(self, index: pd.DataFrame | None = None) -> recipes.Recipe:
        """Return what is trained: on the images of an index as `recipes.Recipe.of` says, else as published.

        Under the honest protocol validation chooses the epoch, also where the authors took the last one.

        Parameters
        ----------
        index : DataFrame, optional
            From `dataset.scan`.

        Returns
        -------
        Recipe
        """
        base, changes = VARIANTS.get(self.recipe, (self.recipe, {}))
        recipe = recipes.get(base).but(**changes)
        recipe = recipe if index is None else recipe.of(index)
        if self.protocol == "published":
            return recipe
        reasons = {**recipe.reasons, "validation": "the honest protocol, not the authors' way"}
        stops = recipe.early_stopping or {"monitor": "val_loss", "patience": recipe.epochs}
        if not stops.get("restore_best_weights"):
            reasons["early_stopping"] = "the honest protocol: validation chooses the epoch"
        return recipe.but(
            early_stopping={**stops, "restore_best_weights": True},
            validation="15% of the patient groups of train and val"
            if self.protocol == "honest"
            else "a seventh of the four other folds, blocks of neighbouring numbers whole",
            reasons=reasons,
        )

    @property
    def validate_on(self) -> str:
        """The part that is looked at while training; "test" is the mistake of some systems."""
        wrong = self.protocol == "published" and self.get_recipe().split["validation"] == "test"
        return "test" if wrong else "validation"

    def split(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the split of the cell's protocol: `splits.published`, or by seed 0 `splits.grouped` or `splits.fold`.

        The last has no row for the official test set.

        Parameters
        ----------
        index : DataFrame
            From `dataset.scan`.

        Returns
        -------
        DataFrame
        """
        if self.protocol == "honest":
            return splits.grouped(index, seed=0)
        if self.protocol in splits.FOLDS:
            return splits.fold(index, self.protocol, seed=0)
        return splits.published(index, **self.get_recipe().split, seed=self.seed)

    def identity(self, split: pd.DataFrame, index: pd.DataFrame) -> str:
        """Return 12 hexadecimal digits of all that decides the result: another digest is another result.

        Parameters
        ----------
        split : DataFrame
            From `split`.
        index : DataFrame
            Of the same images.

        Returns
        -------
        str
        """
        content = {
            "version": training.VERSION,
            "recipe": self.get_recipe(index).settings(),
            "protocol": self.protocol,
            "validate_on": self.validate_on,
            "split": splits.digest(split),
            "seed": self.seed,
        }
        return files.digest(content, length=12)


def planned(name: str) -> int:
    """Return how many seeds a recipe or variant of the grid gets.

    Parameters
    ----------
    name : str
        Of a recipe, or of one of `VARIANTS`.

    Returns
    -------
    int

    Examples
    --------
    >>> planned("plain_64"), planned("smote_224")
    (10, 3)
    """
    return MORE_SEEDS.get(name, len(SEEDS))


def cells(*, recipe=(), protocol=(), seeds: Sequence[int] | None = None) -> list[Cell]:
    """Return the cells of the grid, those of one recipe together.

    Variants, and recipes of our own, have no published protocol. Under "folds" each has three seeds.

    Parameters
    ----------
    recipe : sequence of str
        Names of recipes or `VARIANTS`; none is all.
    protocol : sequence of {"published", "honest", "folds"}
        None is the first two.
    seeds : sequence of int, optional
        The repetitions; else as many as are `planned`.

    Returns
    -------
    list of Cell

    Raises
    ------
    BadInput
        A name is not known, or what is asked for has no such protocol.

    Examples
    --------
    >>> [cell.name for cell in cells(recipe=["plain_64"], seeds=[0])]
    ['plain_64-published-s0', 'plain_64-honest-s0']
    """
    known = [*recipes.names(), *VARIANTS]
    for name in recipe:
        one_of("recipe", name, known)
    for name in protocol:
        one_of("protocol", name, (*PROTOCOLS, "folds"))
    chosen = [
        Cell(name, way, seed)
        for name in recipe or known
        for way in (*PROTOCOLS, *splits.FOLDS)
        for seed in ((SEEDS if way in splits.FOLDS else range(planned(name))) if seeds is None else seeds)
        if ("folds" if way in splits.FOLDS else way) in (protocol or PROTOCOLS)
        and (way != "published" or name not in VARIANTS and recipes.get(name).split)
    ]
    if seeds != [] and not chosen:
        raise BadInput(f"protocol published: {', '.join(recipe)} was never published; it has the honest protocol alone")
    return chosen


def image_source(source: str, index: pd.DataFrame) -> str:
    """Say what the images are: their source, how many, and their size if all have the same.

    Parameters
    ----------
    source : str
        Its name.
    index : DataFrame
        From `dataset.scan`.

    Returns
    -------
    str

    Examples
    --------
    >>> image_source("folder", pd.DataFrame({"width": [224, 224], "height": [224, 224]}))
    'folder: 2 images, each 224 x 224 pixels'
    """
    sizes = index[["width", "height"]].drop_duplicates()
    same = f", each {sizes.iat[0, 0]} x {sizes.iat[0, 1]} pixels" if len(sizes) == 1 else ", of various sizes"
    return f"{source}: {len(index):,} images{same}"


def evaluate(
    cell: Cell, run: training.Run, pixels, split: pd.DataFrame, *, index: pd.DataFrame, out: str | Path, source: str
) -> Path:
    """Read test for a cell, and keep what came of it.

    The reading goes to the ledger ``out/test_reads.csv`` before it happens. Then ``out/splits/<digest>.csv.gz``,
    ``out/runs/<cell>.predictions.csv.gz`` and, last, ``out/runs/<cell>.json`` are written: a cell with that file is
    finished.

    Parameters
    ----------
    cell : Cell
        Which.
    run : cxr_utils.training.Run
        Its training.
    pixels : array of uint8, shape (n, s, s, 1)
        The image cache.
    split : DataFrame
        The cell's split of the same images.
    index : DataFrame
        The index of the same images.
    out : str or Path
        The folder of results.
    source : str
        What the images are, from `image_source`.

    Returns
    -------
    Path
        The JSON file: the content of ``run.json``, ``cell``, ``identity``, ``image_source``, ``kept_epoch`` (from 1),
        ``history`` (one mapping an epoch) and ``metrics`` (from `evaluation.judge`).
    """
    out, record, history = files.resolve(out), run.record, run.history
    reads = len(history) + 1 if cell.validate_on == "test" else int(cell.protocol not in splits.FOLDS)
    identity = cell.identity(split, index)
    # Another training of the same cell is another network: it reads test once more.
    trained = files.digest(record, length=12)
    remark = f"training {trained}" + ("" if reads else f"; {cell.protocol} was read once, test was not")
    ledger.enter(out, cell=cell.name, identity=identity, protocol=cell.protocol, reads=reads, remark=remark)
    predictions = evaluation.predict(run, pixels, split, parts=sorted({cell.validate_on, "test"}), entered=True)
    files.write_csv(out / "splits" / f"{splits.digest(split)}.csv.gz", split, ours=("path", "part"))
    kept_as = out / "runs" / f"{cell.name}.predictions.csv.gz"
    files.write_csv(kept_as, predictions, ours=evaluation.COLUMNS)
    kept = {"cell": cell.name, "identity": identity} | record
    kept |= {"image_source": source, "kept_epoch": _kept_epoch(record, history)}
    kept["history"] = history.round(6).to_dict(orient="records")
    rule = {name: getattr(cell.get_recipe(), name) for name in ("threshold", "sensitivity")}
    kept["metrics"] = evaluation.judge(predictions, split, validate_on=cell.validate_on, **rule)
    path = out / "runs" / f"{cell.name}.json"
    files.write_json(path, kept, ours=KEYS)
    return path


def _kept_epoch(record: dict[str, Any], history: pd.DataFrame) -> int:
    """Return the epoch, from 1, whose weights a training ended with."""
    stops = record["recipe"]["early_stopping"] or {}
    if not stops.get("restore_best_weights"):
        return len(history)
    watched = history.loc[stops.get("start_from_epoch", 0) :, stops["monitor"]]
    if watched.empty:  # shorter than the recipe says, and so nothing was chosen
        return len(history)
    rises = stops.get("mode") == "max" or stops.get("mode", "auto") == "auto" and "acc" in stops["monitor"]
    return int(watched.idxmax() if rises else watched.idxmin()) + 1


#: What the JSON of every cell has.
TYPES = {"cell": str, "identity": str, "recipe": dict, "protocol": str, "seed": int, "split": str, "validate_on": str,
         "seconds": (int, float), "epochs_run": int, "image_source": str, "history": list, "metrics": dict}  # fmt: skip
KEYS = (*TYPES, "version", "kept_epoch")


def results(out: str | Path) -> dict[str, dict[str, Any]]:
    """Return what is kept of the finished cells, by name, sorted.

    Parameters
    ----------
    out : str or Path
        The folder of results.

    Returns
    -------
    dict of str to dict
        The content of each JSON file.

    Raises
    ------
    BadInput
        A file is broken, or holds another cell than its name says.
    """
    found = {}
    for path in sorted((files.resolve(out) / "runs").glob("*.json")):
        content = files.read_record(path, *KEYS, **TYPES)
        if content["cell"] != path.stem:
            raise BadInput(f"{path}: is not the result of the cell {path.stem}; put back that file, or move it away")
        found[path.stem] = content
    return found
