"""The recipes as text: all of them in a list, and one with its settings, claims and layers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cxr_utils import _pages, recipes
from cxr_utils.replication import grid


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    return _pages.columns(rows, width=100)  # of a terminal that everyone has


def all_recipes() -> str:
    """List the recipes, and the variants of the grid, without building a network.

    Returns
    -------
    str

    Examples
    --------
    >>> "smote_224" in all_recipes()
    True
    """
    rows = [("name", "system", "input", "what it is")]
    for name in recipes.names():
        recipe = recipes.get(name)
        rows.append((name, recipe.system, _shape((recipe.image_size,) * 2 + (recipe.channels,)), recipe.title))
    variants = [("variant", "of", "changed")]
    for name, (base, changes) in grid.VARIANTS.items():
        variants.append((name, base, _changed(changes)))
    return f"{_columns(rows)}\n\n{_columns(variants)}"


def one_recipe(name: str) -> str:
    """Show a recipe: its settings and why they are ours, its claims, its layers.

    Parameters
    ----------
    name : str
        Of a recipe, or of one of `grid.VARIANTS`.

    Returns
    -------
    str

    Raises
    ------
    BadInput
        There is no recipe of this name.

    Examples
    --------
    >>> one_recipe("plain_64").splitlines()[-1]
    '683,329 parameters, 683,329 of them trainable'
    """
    recipe = grid.Cell(name, "published", 0).get_recipe()
    table = recipe.table().drop(index="name")
    settings = [("setting", "value", "why ours"), *table.itertuples(name=None)]
    claims = [("claim", "stands in"), *((claim.text, f"{claim.source}, {claim.place}") for claim in recipe.claims)]
    shown = [_columns(claims)] if recipe.claims else []
    table = layers(recipe)
    model = [("layer", "settings", "output", "parameters"), *table.itertuples(index=False, name=None)]
    model = [(*row[:3], row[3] if isinstance(row[3], str) else f"{row[3]:,}") for row in model]
    trained = f"{table.attrs['parameters']:,} parameters, {table.attrs['trainable']:,} of them trainable"
    base, changes = grid.VARIANTS.get(name, ("", {}))
    title = f"{base}, but {_changed(changes)}" if base else recipe.title
    place = f"\n{recipe.published.repository} at {recipe.published.commit[:7]}" if recipe.published else ""
    head = f"{name}: {title}\nsystem {recipe.system}" + place
    return "\n\n".join([head, _columns(settings), *shown, _columns(model), trained])


def layers(recipe: recipes.Recipe) -> pd.DataFrame:
    """Return the layers of a recipe's network at its own size.

    Parameters
    ----------
    recipe : Recipe
        From `recipes.get`.

    Returns
    -------
    DataFrame
        ``layer`` (its kind), ``settings``, ``output`` (its shape without the images' number), ``parameters``
        (int64); `attrs` hold all ``parameters`` and the ``trainable`` ones.

    Examples
    --------
    >>> int(layers(recipes.get("plain_64"))["parameters"].sum())
    683329
    """
    model = recipe.build(compiled=False)
    rows = [
        (type(layer).__name__, _settings(layer.get_config()), _shape(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    table = pd.DataFrame(rows, columns=["layer", "settings", "output", "parameters"])
    table.attrs["parameters"] = model.count_params()
    table.attrs["trainable"] = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return table


def _changed(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value or 'none'}" for key, value in changes.items())


def _settings(config: dict) -> str:
    """Say what distinguishes a layer: what it counts, its window, its activation."""
    said = [str(config[key]) for key in ("filters", "units", "rate") if key in config]
    said += [_shape(config[key]) for key in ("kernel_size", "pool_size") if key in config]
    said += [config[key] for key in ("padding", "activation") if isinstance(config.get(key), str)]
    regularizer = (config.get("kernel_regularizer") or {}).get("config", {})
    said += [f"{key} {value:g}" for key, value in regularizer.items()]
    return ", ".join(word for word in said if word not in ("valid", "linear"))


def _shape(numbers: Iterable[int]) -> str:
    return " x ".join(str(number) for number in numbers)
