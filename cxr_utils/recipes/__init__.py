"""Recipes: all that defines the training of a model, one file each, found by name; its claims stand beside it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from cxr_utils.errors import BadInput, one_of

if TYPE_CHECKING:
    import keras

    from cxr_utils.augment import Augmentation


_LATER = ("weight_decay", "cosine", "label_smoothing", "views", "threshold", "sensitivity")
#: By how much a side has to shrink before it matters how: below, bilinear reads every pixel as areas do.
SHRUNK = 2


@dataclass(frozen=True, kw_only=True)
class System:
    """A published system: where it stands, and what of it could be read.

    Attributes
    ----------
    repository : str
        Its address on GitHub.
    commit : str
        The commit that was read, 40 hexadecimal digits.
    date : str
        Of that commit, ISO.
    licence : str
        What it says of its licence.
    read : str
        What stands beside the README, and how much of it could be read.

    Examples
    --------
    >>> get("plain_64").published.date
    '2025-01-19'
    """

    repository: str
    commit: str
    date: str
    licence: str
    read: str

    @classmethod
    def beside(cls, recipe: str) -> System:
        """Read the table ``[system]`` in the TOML file beside a recipe.

        Parameters
        ----------
        recipe : str
            The recipe's ``__file__``.

        Returns
        -------
        System
            With all its fields.

        Raises
        ------
        BadInput
            The file or a field is missing, or is not as it must be.

        Examples
        --------
        >>> System.beside(str(Path(__file__).with_name("plain_64.py"))).licence
        'none given'
        """
        file = Path(recipe).with_suffix(".toml")
        table = _content(file).get("system", {})
        return _made(cls, f"{file}: [system]", table if isinstance(table, dict) else {})

    def link(self, claim: Claim | None = None) -> str:
        """Say where it, or one of its claims, can be read.

        Parameters
        ----------
        claim : Claim, optional
            One of its claims.

        Returns
        -------
        str
            The address of the whole at its commit, or of the claim's place: of the line where it has one.

        Examples
        --------
        >>> get("plain_64").published.link().partition("/tree/")[2][:7]
        '56f4c70'
        """
        if claim is None:
            return f"{self.repository}/tree/{self.commit}"
        line = f"?plain=1#L{claim.place[5:]}" if claim.place.startswith("line ") else ""
        return f"{self.repository}/blob/{claim.commit or self.commit}/{quote(claim.file)}{line}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published figure, as a paper's table would state it, and what is needed to judge it.

    Attributes
    ----------
    text : str
        The claim, as published; unique within its recipe.
    source : str
        What it stands in: "README", "notebook" or "console" (printed by the code as published), "plot", "tutorial".
    file, place : str
        The file in its system's repository, and where in it: "line 40", "cell 36" (counted from 1, text too) or
        "picture".
    commit : str
        Where it stands in another commit than that of its `System`.
    metric : str
        What of ours it is compared with: one of ``METRICS`` in `cxr_utils.replication.verdicts`, or of its ``FACTS``
        for a statement about the dataset.
    value : float, pair or str
        What was published. Of a metric: a share in [0, 1], or a pair of its lowest and highest value, None where
        that end is open. Of a fact: what `FACTS` is compared with.
    n : int, optional
        Images in the set that it was measured on, where that is known.
    contradicts : str
        The `text` of another claim of its system that speaks against it.
    typed : str
        What the log beside it says, where the code prints the figure as fixed text.
    copy : str
        Which other copy of the data it is true of.
    unstated : str
        What was not published and decides the figure: ours is a reconstruction then.
    note : str
        What to know beside the verdict, in a sentence: what makes the figure, what we read into the source.

    Examples
    --------
    >>> get("plain_64").claims[0].metric
    'best_validation_accuracy'
    """

    text: str
    source: str
    file: str = "README.md"
    place: str = ""
    commit: str = ""
    metric: str
    value: float | tuple | str
    n: int | None = None
    contradicts: str = ""
    typed: str = ""
    copy: str = ""
    unstated: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A model and its training, as a paper's table would state them.

    Attributes
    ----------
    name, title, system : str
        The name used in commands, a line that says what it is, and whose system it replicates: its number, and after
        a comma what tells apart several recipes of it.
    published : System, optional
        Where that stands, from the TOML file beside its own; None for a recipe of our own.
    image_size : int
        Side of the square input in pixels.
    channels : int
        1, or 3 for networks that were built for colour: the gray image is then repeated.
    interpolation : str
        How its authors shrink pictures, one of `cxr_utils.images.INTERPOLATIONS`; "area" is ours.
    layers : callable
        ``layers(width)`` returns fresh Keras layers, without the input; `width` multiplies the number
        of filters and units.
    loss : str
        A Keras loss.
    optimizer, learning_rate
        "adam", "rmsprop" or "adamw", and its step size.
    weight_decay : float
        Of "adamw": the share of each kernel that a step takes off, times the step size [1]_.
    cosine : bool
        The step size grows from a tenth in the first epoch, and falls to zero along half a cosine [2]_.
    label_smoothing : float
        The share by which the loss draws each label towards one half [3]_.
    batch_size, epochs : int
        Images a step, and the largest number of passes over the training data.
    early_stopping, reduce_lr : mapping, optional
        Arguments of `keras.callbacks.EarlyStopping` and `ReduceLROnPlateau`.
    augmentation : Augmentation, optional
        Random changes of the training images.
    imbalance : str
        One of `cxr_utils.imbalance.METHODS`.
    views : int
        How many changed views of an image are answered besides it, and averaged: see `cxr_utils.augment.views`.
    threshold : float, optional
        From which probability on an image is called PNEUMONIA. None: the best one on validation.
    sensitivity : float, optional
        The best is then the highest threshold that has at least this sensitivity on validation.
    schedule : mapping, optional
        A learning rate that falls with the epochs: from epoch ``from_epoch`` (counted from 0) on it is
        ``start * factor ** (epochs since then / epochs)``.
    split : mapping
        How its authors split, as arguments of `cxr_utils.splits.published`; empty for a recipe of our own, which is
        judged by the honest protocol alone.
    validation : str
        The same in words.
    reasons : mapping
        For each setting that was not published: why we chose ours.
    claims : tuple of Claim
        What was published about it, from the TOML file beside its own; each claim stands in one recipe of its system.
    width, dropout, l2, batchnorm
        Variations, for teaching: a multiplier of all filters; a dropout rate after each pooling; an L2
        factor on all kernels; whether a BatchNormalization follows each convolution.

    References
    ----------
    .. [1] Loshchilov, Hutter, Decoupled weight decay regularization, ICLR 2019.
    .. [2] Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    .. [3] Szegedy and others, Rethinking the Inception architecture for computer vision, CVPR 2016.

    Examples
    --------
    >>> get("plain_224").image_size
    224
    """

    name: str
    title: str
    system: str
    published: System | None = None
    image_size: int
    channels: int = 1
    interpolation: str = "area"
    layers: Callable[[float], list]
    loss: str = "binary_crossentropy"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    cosine: bool = False
    label_smoothing: float = 0.0
    batch_size: int = 32
    epochs: int
    early_stopping: Mapping[str, Any] | None = None
    reduce_lr: Mapping[str, Any] | None = None
    schedule: Mapping[str, float] | None = None
    augmentation: Augmentation | None = None
    imbalance: str = "none"
    views: int = 0
    threshold: float | None = None
    sensitivity: float | None = None
    split: Mapping[str, Any]
    validation: str
    reasons: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    width: float = 1.0
    dropout: float = 0.0
    l2: float = 0.0
    batchnorm: bool = False

    @property
    def number(self) -> str:
        """The number of its system.

        Returns
        -------
        str
            Such as "002".

        Examples
        --------
        >>> get("plain_64").number
        '000'
        """
        return self.system.partition(",")[0]

    def but(self, **changes: Any) -> Recipe:
        """Return this recipe with some settings changed.

        Parameters
        ----------
        **changes
            Settings and their new values.

        Returns
        -------
        Recipe
            A copy.

        Raises
        ------
        BadInput
            A setting that recipes do not have.

        Examples
        --------
        >>> get("plain_224").but(optimizer="rmsprop").optimizer
        'rmsprop'
        """
        known = [f.name for f in dataclasses.fields(self)]
        for name in changes:
            one_of("setting of a recipe", name, known)
        return dataclasses.replace(self, **changes)

    def at(self, *, image_size: int | None = None, width: float | None = None) -> Recipe:
        """Make this recipe one for a smaller picture or with fewer filters.

        Such a recipe is for teaching, and takes pictures that were shrunk by areas.

        Parameters
        ----------
        image_size : int, optional
            Side of the square input, pixels; None leaves it as it is.
        width : float, optional
            What all filters are multiplied by; None leaves it as it is.

        Returns
        -------
        Recipe
            A copy.

        Examples
        --------
        >>> get("plain_224").at(image_size=64).image_size
        64
        """
        size, width = image_size or self.image_size, self.width if width is None else width
        return self.but(image_size=size, width=width, interpolation="area")

    def of(self, index: pd.DataFrame) -> Recipe:
        """Return this recipe for certain images: how they are shrunk stays in it only where that changes pixels.

        That is where a side of some image is more than `SHRUNK` times `image_size`. From copies of 224 px the
        authors' way is repeated at 64 px; at 180 px bilinear differs from areas by .3 of 255 gray levels, and what
        has to be enlarged is not shrunk at all.

        Parameters
        ----------
        index : DataFrame
            With the columns width and height of the original images, pixels.

        Returns
        -------
        Recipe
            This one, or a copy that shrinks by areas.

        Examples
        --------
        >>> copies = pd.DataFrame({"width": [224], "height": [224]})
        >>> [get(name).of(copies).interpolation for name in ("plain_64", "plain_224")]
        ['nearest', 'area']
        """
        shrunk = index[["width", "height"]].to_numpy().max() > SHRUNK * self.image_size
        return self if shrunk else self.but(interpolation="area")

    def settings(self) -> dict[str, Any]:
        """Gather everything but the layers that decides the training, ready for JSON.

        Layers are code: whoever changes those of a recipe gives it another name, or raises `training.VERSION`.

        Returns
        -------
        dict
            Setting to value.

        Examples
        --------
        >>> get("plain_224").settings()["batch_size"]
        32
        """
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("layers", "title", "system", "published", "reasons", "claims", "split", "validation"):
            del record[name]
        for name in _LATER:  # the identity of older recipes must not change with what came later
            if not record[name]:
                del record[name]
        if record["interpolation"] == "area":
            del record["interpolation"]
        if self.augmentation is not None:
            record["augmentation"] = self.augmentation.settings()
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in record.items()}

    def table(self) -> pd.DataFrame:
        """Lay the recipe out as a table.

        Returns
        -------
        DataFrame
            Index ``setting``; ``value`` and ``why ours``, the reason where the choice is ours (all str).

        Examples
        --------
        >>> get("smote_224").table().loc[["image_size", "interpolation", "layers"], "value"].tolist()
        ['224', 'area', 'see its layers']
        """
        shown = {k: v for k, v in self.settings().items() if k not in ("width", "dropout", "l2", "batchnorm") or v}
        shown |= {"validation": self.validation, "interpolation": self.interpolation}
        every, layers = {**shown, **self.reasons}, "see its layers"  # which some reasons are for, not for a setting
        rows = [(name, _words(shown.get(name, layers)), self.reasons.get(name, "")) for name in every]
        return pd.DataFrame(rows, columns=["setting", "value", "why ours"]).set_index("setting")

    def build(self, *, seed: int = 0, compiled: bool = True) -> keras.Model:
        """Return the network with fresh weights.

        Parameters
        ----------
        seed : int
            Decides the first weights and what Dropout drops.
        compiled : bool
            With loss and optimizer, ready for training; a BatchNormalization is then the fused one of
            `cxr_utils.backend.fused`.

        Returns
        -------
        keras.Model
            From float32 images in [0, 1], shape (n, image_size, image_size, channels), to the
            probability of PNEUMONIA, shape (n, 1), or of both classes, shape (n, 2).

        Examples
        --------
        >>> get("plain_224").at(image_size=32, width=0.25).build(compiled=False).output_shape
        (None, 1)
        """
        from cxr_utils.backend import fused, keras

        keras.utils.set_random_seed(seed)
        layers = self._varied(self.layers(self.width))
        if compiled:
            kind = keras.layers.BatchNormalization
            layers = [fused(layer) if isinstance(layer, kind) else layer for layer in layers]
        # The output stays in float32: eight bits of precision are too few for a probability.
        layers[-1].dtype_policy = keras.DTypePolicy("float32")
        pictures = keras.Input((self.image_size, self.image_size, self.channels))
        model = keras.Sequential([pictures, *layers], name=self.name)
        if not compiled:
            return model
        steps = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay or None}
        optimizer = keras.optimizers.get({"class_name": self.optimizer, "config": steps})
        if self.weight_decay:
            optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        smoothed = {"binary_crossentropy": keras.losses.BinaryCrossentropy,
                    "categorical_crossentropy": keras.losses.CategoricalCrossentropy}  # fmt: skip
        model.compile(
            optimizer=optimizer,
            loss=smoothed[self.loss](label_smoothing=self.label_smoothing) if self.label_smoothing else self.loss,
            metrics=["accuracy"],
            jit_compile=keras.backend.backend() == "jax",  # several times slower on CPUs; JAX can't do without it
        )
        return model

    def _varied(self, layers: list) -> list:
        """Add the variations that a comparison asked for to the published layers."""
        from keras import layers as kl
        from keras import regularizers

        varied = []
        for layer in layers:
            if self.l2 and isinstance(layer, (kl.Conv2D, kl.Dense)) and layer is not layers[-1]:
                layer.kernel_regularizer = regularizers.L2(self.l2)
            varied.append(layer)
            if self.batchnorm and isinstance(layer, kl.Conv2D):
                varied.append(kl.BatchNormalization())
            if self.dropout and isinstance(layer, kl.MaxPooling2D):
                varied.append(kl.Dropout(self.dropout))
        return varied


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v) or "none"
    return str(value)


def names() -> list[str]:
    """List the names of all recipes.

    Returns
    -------
    list of str
        Sorted.

    Examples
    --------
    >>> "plain_224" in names()
    True
    """
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Recipe:
    """Find a recipe by its name.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Recipe
        As its file has it, with the claims of the TOML file of its name, where one stands beside it.

    Raises
    ------
    BadInput
        There is no recipe of this name, or a claim in its TOML file is not as it must be.

    Examples
    --------
    >>> get("smote_224").imbalance
    'smote'
    """
    one_of("recipe", name, names())
    module = importlib.import_module(f"{__name__}.{name}")
    beside = Path(inspect.getfile(module)).with_suffix(".toml")
    return module.RECIPE.but(claims=_claims(beside)) if beside.is_file() else module.RECIPE


#: What a field is in TOML, if not text, and in words.
_FORMS: dict[str, tuple[tuple[type, ...], str]] = {
    "n": ((int,), "a whole number"),
    "value": ((float, int, str, tuple), "a number, text in quotes, or a pair such as [0.1, 0.2] or [0.0, inf]"),
}


def _content(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: can't be read ({error}); mend it there, and save it as UTF-8") from None


def _claims(file: Path) -> tuple[Claim, ...]:
    content = {name: value for name, value in _content(file).items() if name != "system"}
    tables = content.pop("claim", [])
    if content or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        wrong = next(iter(content), "claim")
        raise BadInput(f"{file}: {wrong!r} is not one of its claims; each begins with a line [[claim]]")
    return tuple(
        _made(Claim, f"{file}: claim {number} ({table.get('text', 'without text')!r:.60})", table)
        for number, table in enumerate(tables, start=1)
    )


def _made(kind: type[Claim] | type[System], where: str, table: dict[str, Any]) -> Any:
    """Make a `Claim` or `System` of a table, if its fields are as they must be."""
    known = {each.name: each.default is dataclasses.MISSING for each in dataclasses.fields(kind)}
    table = {name: _closed(value) for name, value in table.items()}
    for name, value in table.items():
        one_of(f"{where}, its field", name, known)
        kinds, words = _FORMS.get(name, ((str,), "text in quotes"))
        if type(value) not in kinds:  # and so no bool, which is an int
            raise BadInput(f"{where}: {name} is {value!r:.60}; it must be {words}")
    if missing := [name for name, needed in known.items() if needed and name not in table]:
        raise BadInput(f"{where}: {missing[0]!r} is missing; add a line {missing[0]} = ...")
    return kind(**table)


def _closed(value: Any) -> Any:
    """Make a pair a tuple; where its end is open TOML, which has no None, has an infinity."""
    if not isinstance(value, list) or [type(end) in (int, float) for end in value] != [True, True]:
        return value
    low, high = value
    if not (low < math.inf and high > -math.inf):
        return value
    return (None if low == -math.inf else low, None if high == math.inf else high)


def sources() -> pd.DataFrame:
    """Return *The sources*: where each published system stands, one row a system.

    Returns
    -------
    DataFrame
        system, recipes, link (at the commit that was read), date, licence, read (str).

    Examples
    --------
    >>> sources()["recipes"][0]
    'plain_64, softmax_64'
    """
    every = sorted(map(get, names()), key=lambda recipe: (recipe.system, recipe.name))
    rows = [
        (recipe.number, recipe.name, found.link(), found.date, found.licence, found.read)
        for recipe in every
        if (found := recipe.published)
    ]
    table = pd.DataFrame(rows, columns=["system", "recipes", "link", "date", "licence", "read"])
    return table.groupby("system", as_index=False).agg(lambda cells: ", ".join(cells.unique()))
