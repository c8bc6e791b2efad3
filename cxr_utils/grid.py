"""The replication grid: every recipe under both protocols, several seeds. A cell is one fit and one evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cxr_utils import files, recipes, splits, training
from cxr_utils.errors import BadInput

PROTOCOLS = ("published", "honest")
SEEDS = (0, 1, 2)
#: Ablations, by name: the recipe, and what is changed in it. They are judged by the honest protocol alone.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain_224-unaugmented": ("plain_224", {"augmentation": None}),
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
    protocol : {"published", "honest"}
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

    def get_recipe(self) -> recipes.Recipe:
        """Return what is trained.

        Under the honest protocol validation chooses the epoch, also where the authors took the last one.
        """
        base, changes = VARIANTS.get(self.recipe, (self.recipe, {}))
        recipe = recipes.get(base).but(**changes)
        if self.protocol == "honest" and not recipe.early_stopping:
            best = {"monitor": "val_loss", "patience": recipe.epochs, "restore_best_weights": True}
            recipe = recipe.but(early_stopping=best)
        return recipe

    @property
    def validate_on(self) -> str:
        """The part that is looked at while training; "test" is the mistake of some systems."""
        wrong = self.protocol == "published" and self.get_recipe().split["validation"] == "test"
        return "test" if wrong else "validation"

    def split(self, index: pd.DataFrame) -> pd.DataFrame:
        """Return the split of the cell's protocol: `splits.published` or `splits.grouped`, the latter by seed 0."""
        if self.protocol == "honest":
            return splits.grouped(index, seed=0)
        return splits.published(index, **self.get_recipe().split, seed=self.seed)

    def identity(self, split: pd.DataFrame) -> str:
        """Return 12 hexadecimal digits of all that decides the result: another digest is another result."""
        content = {
            "version": training.VERSION,
            "recipe": self.get_recipe().settings(),
            "protocol": self.protocol,
            "validate_on": self.validate_on,
            "split": splits.digest(split),
            "seed": self.seed,
        }
        return files.digest(json.dumps(content, sort_keys=True), length=12)


def cells(*, recipe=(), protocol=(), seeds=SEEDS) -> list[Cell]:
    """Return the cells of the grid, those of one recipe together.

    Parameters
    ----------
    recipe : sequence of str
        Names of recipes or `VARIANTS`; none is all.
    protocol : sequence of {"published", "honest"}
        None is both.
    seeds : sequence of int
        The repetitions.

    Raises
    ------
    BadInput
        A name is not known.

    Examples
    --------
    >>> [cell.name for cell in cells(recipe=["plain_64"], seeds=[0])]
    ['plain_64-published-s0', 'plain_64-honest-s0']
    """
    known = [*recipes.names(), *VARIANTS]
    for name in recipe:
        if name not in known:
            raise BadInput(f"recipe {name!r}: there is none of this name; there are {', '.join(known)}")
    for name in protocol:
        if name not in PROTOCOLS:
            raise BadInput(f"protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return [
        Cell(name, way, seed)
        for name in recipe or known
        for way in PROTOCOLS
        for seed in seeds
        if (not protocol or way in protocol) and (way == "honest" or name not in VARIANTS)
    ]
