"""Opening a saved model without running what somebody put into it, and only if it fits the images here.

A model is a program. The checks here keep honest mistakes and known tricks out (code in a Lambda layer, custom
operators, data in other files); they don't make a stranger's model safe to open.
"""

import io
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from cxr_utils import _saved, augment, files
from cxr_utils._saved import Refused
from cxr_utils.errors import BadInput

SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")
#: The Keras layers that a model may have: see the file.
LAYERS = frozenset(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["layers"])

#: So many answers on one side of the threshold are a reason to ask.
MANY = 10

_AT_ONCE = 64
_MODELS = ("Functional", "Sequential")
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_MOST_ONNX = 2**31 - 1


def __getattr__(name: str) -> Any:
    """Offer Keras to notebooks, started only where one asks for it: it takes seconds."""
    if name == "keras":
        from cxr_utils.backend import keras

        return keras
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Meaning:
    """What a model takes for black and white, and what it gives: the one place that interprets outputs.

    Attributes
    ----------
    classes : tuple of two str
        As training numbered them, 0 and 1. Two units have this order; a single unit gives the probability of the last.
    pixels : tuple of two float, optional
        Black and white. If not said, (0, 1), and (0, 255) for a Keras model that begins with a layer Rescaling.
    logits : bool
        Whether the outputs still need a sigmoid or softmax.

    Examples
    --------
    >>> str(Meaning(pixels=(0, 255)))
    'classes NORMAL,PNEUMONIA, pixels 0..255'
    """

    classes: tuple[str, ...] = ("NORMAL", "PNEUMONIA")
    pixels: tuple[float, ...] | None = None
    logits: bool = False

    @classmethod
    def parse(cls, classes: str | None = None, pixels: str | None = None, logits: bool = False) -> Self:
        """Read the options ``--classes``, ``--pixels`` and ``--logits``.

        Parameters
        ----------
        classes : str, optional
            Both names, by a comma, as training numbered them.
        pixels : str, optional
            Black and white, such as "0..255".
        logits : bool
            Whether the outputs still need a sigmoid or softmax.

        Returns
        -------
        Meaning
            What they say.

        Raises
        ------
        BadInput
            One of them is not of its form.

        Examples
        --------
        >>> Meaning.parse("PNEUMONIA,NORMAL", "-1..1")
        Meaning(classes=('PNEUMONIA', 'NORMAL'), pixels=(-1.0, 1.0), logits=False)
        """
        names = cls.classes if classes is None else tuple(classes.upper().replace(" ", "").split(","))
        if sorted(names) != sorted(cls.classes):
            raise BadInput(f"--classes {classes}: must be NORMAL,PNEUMONIA or PNEUMONIA,NORMAL")
        try:
            span = None if pixels is None else tuple(map(float, pixels.split("..")))
        except ValueError:
            span = ()
        if span is not None and (len(span) != 2 or not -np.inf < span[0] < span[1] < np.inf):
            raise BadInput(f"--pixels {pixels}: must be black and white, such as 0..255, 0..1 or -1..1")
        return cls(names, span, logits)

    def takes(self, images: np.ndarray) -> np.ndarray:
        """Make the pixels that the model takes.

        Parameters
        ----------
        images : ndarray
            float32 in [0, 1].

        Returns
        -------
        ndarray
            float32 between `pixels`, of the same shape.

        Examples
        --------
        >>> Meaning(pixels=(-1, 1)).takes(np.float32([0, 1])).tolist()
        [-1.0, 1.0]
        """
        black, white = self.pixels or (0, 1)
        return images * np.float32(white - black) + np.float32(black)

    def gives(self, outputs: np.ndarray) -> np.ndarray:
        """Make probabilities of a model's outputs.

        Parameters
        ----------
        outputs : ndarray
            float, shape (n, 1) or (n, 2).

        Returns
        -------
        ndarray
            float64 in [0, 1], shape (n,): of PNEUMONIA.

        Examples
        --------
        >>> Meaning(classes=("PNEUMONIA", "NORMAL")).gives(np.array([[0.25]])).tolist()
        [0.75]
        """
        found = np.asarray(outputs, dtype="float64")
        if found.shape[1] == 1:
            found = np.hstack([0 * found if self.logits else 1 - found, found])
        if self.logits:
            from scipy.special import softmax

            found = softmax(found, axis=1)
        return found[:, self.classes.index("PNEUMONIA")]

    def doubts(
        self, probabilities: Sequence[float] = (), threshold: float = 0.5, *, auc: dict[str, Any] | None = None
    ) -> list[str]:
        """Ask whether all this is so, where figures say that it may be otherwise.

        Parameters
        ----------
        probabilities : sequence of float
            Of PNEUMONIA; asked about are `MANY` and more on one side of the threshold.
        threshold : float
            See there.
        auc : dict of str to float, optional
            ``high``, the upper limit of its interval.

        Returns
        -------
        list of str
            Each a question that names the option.

        Examples
        --------
        >>> Meaning().doubts(auc={"high": 0.04})[0].partition(": ")[2]
        'is the output the probability of NORMAL? Then add --classes PNEUMONIA,NORMAL'
        """
        said, (first, last) = [], self.classes
        if auc and auc["high"] is not None and auc["high"] < 0.5:
            said.append(f"the interval of AUC lies below .5: is the output the probability of {first}? Then add "
                        f"--classes {last},{first}")  # fmt: skip
        above = np.asarray(probabilities, dtype="float64") >= threshold
        if len(above) >= MANY and above.all() == above.any():
            side, got = "at or above" if above[0] else "below", self._span()
            other = "0..255" if got == "0..1" else "0..1"
            said.append(f"all {len(above):,} answers lie {side} the threshold {threshold:.3f}. Unless the images are "
                        f"all of one class: the model gets pixels of {got}, does it want {other}? Then add --pixels "
                        f"{other}" + "; or are they no logits? Then leave out --logits" * self.logits)  # fmt: skip
        return said

    def _span(self) -> str:
        return "{:g}..{:g}".format(*(self.pixels or (0, 1)))

    def __str__(self) -> str:
        return f"classes {','.join(self.classes)}, pixels {self._span()}" + ", logits" * self.logits


UNSAID = Meaning()


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer.

    Attributes
    ----------
    path : Path
        The file it came from.
    image_size : int
        Pixels a side of the images that it takes.
    channels : int
        1 or 3; grayscale is repeated.
    raw : callable
        float32, shape (n, s, s, channels), to the model's outputs, shape (n, 1 or 2).
    network : keras.Model or None
        What heat maps are made from; None for ONNX, which has no gradients.
    meaning : Meaning
        What `raw` takes and gives.

    Examples
    --------
    >>> Model(Path("m.onnx"), 64, 1, raw=lambda images: images.mean(axis=(1, 2))).network is None
    True
    """

    path: Path
    image_size: int
    channels: int
    raw: Callable[[np.ndarray], np.ndarray]
    network: Any = None
    meaning: Meaning = UNSAID

    def answer(self, images: np.ndarray, *, views: int = 0) -> np.ndarray:
        """Return the probability of PNEUMONIA of each image.

        Parameters
        ----------
        images : ndarray
            float32 in [0, 1], shape (n, s, s, 1) with s the model's image size.
        views : int
            How many changed views (`cxr_utils.augment.views`) are answered, too; the result is `mean_answer`.

        Returns
        -------
        ndarray
            float64 in [0, 1], shape (n,).

        Raises
        ------
        BadInput
            The images have another size, or the model's answers are no probabilities.

        Examples
        --------
        >>> flat = Model(Path("m.onnx"), 64, 1, raw=lambda images: images.mean(axis=(1, 2)))
        >>> flat.answer(np.full((1, 64, 64, 1), 0.5, "float32"))
        array([0.5])
        """
        if images.shape[1:] != (self.image_size, self.image_size, 1):
            raise BadInput(f"images: shape {images.shape}; {self.path.name} takes (n, {self.image_size}, "
                           f"{self.image_size}, 1)")  # fmt: skip
        answers = self._of_views(images, views)
        if not all(((answer >= 0) & (answer <= 1)).all() for answer in answers):
            raise BadInput(f"{self.path}: its answers are no probabilities in [0, 1]; end it with sigmoid or softmax, "
                           "or say that they are logits (--logits)")  # fmt: skip
        return mean_answer(answers)

    def _of_views(self, images: np.ndarray, views: int) -> list[np.ndarray]:
        """Run the forward pass: gray is repeated for colour, and each view is answered."""
        seen = (np.repeat(view, self.channels, axis=-1) for view in augment.views(images, views))
        return [self.meaning.gives(self.raw(self.meaning.takes(view))) for view in seen]


def answers(network: Any, pixels: np.ndarray, rows: np.ndarray | None = None, *, views: int = 0) -> np.ndarray:
    """Let a network in memory answer for images of a cache, some at a time: all as floats would fill the memory.

    Parameters
    ----------
    network : keras.Model or Model
        That ends with sigmoid or softmax, or was opened by `load`.
    pixels : ndarray
        uint8, shape (n, s, s, 1), with s the network's image size.
    rows : ndarray of int, optional
        Whose answers are wanted; all if not given.
    views : int
        As for `Model.answer`.

    Returns
    -------
    ndarray
        float64, shape (number of rows,): the probability of PNEUMONIA.

    Examples
    --------
    >>> answers(model, pixels, np.array([3, 5])).shape
    (2,)
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    if not isinstance(network, Model):
        network = Model(Path("network"), 0, network.input_shape[-1], raw=_called(network))
    parts = (pixels[rows[start : start + _AT_ONCE]].astype("float32") / 255 for start in range(0, len(rows), _AT_ONCE))
    return np.concatenate([mean_answer(network._of_views(part, views)) for part in parts])


def _called(network: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network as a function of arrays. Not `predict`: that compiles anew for each of many small ones."""
    from cxr_utils.backend import keras

    return lambda images: keras.ops.convert_to_numpy(network(images, training=False))


def mean_answer(answers: Sequence[np.ndarray]) -> np.ndarray:
    """Average probabilities as log-odds; a single answer stays as it is.

    Parameters
    ----------
    answers : sequence of ndarray
        float in [0, 1], each of shape (n,).

    Returns
    -------
    ndarray
        float64 in [0, 1], shape (n,).

    Examples
    --------
    >>> mean_answer([np.array([0.1, 0.5]), np.array([0.9, 0.5])]).round(3).tolist()
    [0.5, 0.5]
    """
    if len(answers) == 1:
        return answers[0].astype("float64")
    kept = np.clip(np.asarray(answers, dtype="float64"), 1e-7, 1 - 1e-7)
    return 1 / (1 + np.exp(-np.log(kept / (1 - kept)).mean(axis=0)))


def load(path: str | Path, *, meaning: Meaning = UNSAID) -> Model:
    """Open a saved model.

    Parameters
    ----------
    path : str or Path
        A run folder, or a ``.keras``, ``.h5`` or ``.onnx`` file; a relative one is taken from the project's root.
    meaning : Meaning
        What it takes and gives.

    Returns
    -------
    Model

    Raises
    ------
    BadInput
        There is no such file, it is damaged, it holds what is not opened here (code, layers or operators of its
        own, data in other files), or takes or gives other shapes than images and a probability.

    Examples
    --------
    >>> load(run.folder).answer(pictures).shape
    (4,)
    """
    path = files.resolve(path)
    if path.is_dir():
        if not (path / "model.keras").is_file():
            raise BadInput(f"{path}: no model in this folder (no model.keras); give a finished run or a model's file")
        path = path / "model.keras"
    if path.suffix.lower() == ".onnx":
        return _load_onnx(path, replace(meaning, pixels=meaning.pixels or (0, 1)))
    model = load_keras(path)
    size, channels = _fitting(getattr(model, "input_shape", None), getattr(model, "output_shape", None), path)
    pixels = meaning.pixels or ((0, 255) if _rescales(model) else (0, 1))
    return Model(path, size, channels, _called(model), model, replace(meaning, pixels=pixels))


def _rescales(model: Any) -> bool:
    """Tell whether a Keras model makes small numbers of pixels up to 255, before its first layer with weights."""

    def flat(model: Any) -> Iterator[Any]:
        for layer in model.layers:
            yield from flat(layer) if hasattr(layer, "layers") else [layer]

    first = next((one for one in flat(model) if type(one).__name__ == "Rescaling" or one.weights), None)
    return first is not None and type(first).__name__ == "Rescaling" and bool(np.max(np.abs(first.scale)) < 0.1)


def load_keras(path: str | Path):
    """Open a ``.keras`` or ``.h5`` file in Keras' safe mode, if all its layers are among `LAYERS`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    BadInput
        As `load`.

    Examples
    --------
    >>> load_keras(run.folder / "model.keras").input_shape
    (None, 32, 32, 1)
    """
    path = files.resolve(path)
    if path.suffix.lower() not in SUFFIXES[:3]:
        raise BadInput(f"{path}: expected a run folder or a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    from cxr_utils.backend import keras  # first: what is wrong with Keras itself is not the model's fault

    try:
        return _saved.opened(path, _check_layers)
    except Refused as error:
        raise BadInput(f"{path}: refused, {error}") from None
    except Exception as error:  # h5py, zipfile and Keras raise nearly anything on a damaged file
        raise BadInput(f"{path}: can't be read as a Keras model {_why(path, error, keras.__version__)}") from error


def _why(path: Path, error: Exception, here: str) -> str:
    """Say why Keras does not open a file: its own last words, and whose version wrote it."""
    words = str(error).strip().rpartition("Exception encountered: ")[2].splitlines() or [type(error).__name__]
    last = " ".join(words[-1].split())
    last = last if len(last) <= 200 else f"…{last[-200:]}"
    if not (written := _saved.version(path)) or written == here:
        return f"({last})"
    there = "tf_keras or TensorFlow 2.15" if written.startswith(("1.", "2.")) else f"Keras {written}"
    return (f"by Keras {here}: it was saved by Keras {written} ({last}); open it with {there} and save it as .keras "
            "or .onnx")  # fmt: skip


def _check_layers(config: Any) -> None:
    """Refuse a description of a model that names anything but known layers and their known parts."""
    from cxr_utils.backend import keras

    modules = (keras.initializers, keras.regularizers, keras.constraints, keras.dtype_policies)
    parts = {name for module in modules for name in dir(module) if name[0].isupper()}
    known = LAYERS | parts | set(_MODELS) | {"__keras_tensor__", "__tuple__"}
    todo = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if "class_name" in item and "config" in item:
                name, module = item["class_name"], item.get("module")
                if name == "Lambda":
                    raise Refused("it has a Lambda layer, which holds code of whoever saved it; rebuild it without")
                home = str(module or "keras").split(".")[0]
                if name not in known or home not in ("keras", "builtins", "tensorflow"):
                    raise Refused(f"{name!r} in it is none of the layers that are opened here (models.toml)")
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _fitting(takes: Any, gives: Any, path: Path) -> tuple[int, int]:
    """Return image size and channels, if a model takes images and gives a probability."""
    if not isinstance(takes, tuple) or len(takes) != 4 or takes[1] != takes[2] or not isinstance(takes[1], int):
        raise BadInput(f"{path}: refused, it takes {takes}; expected square grayscale images, as (None, 224, 224, 1)")
    if takes[0] is not None or takes[3] not in (1, 3):
        raise BadInput(f"{path}: refused, it takes {takes}; expected any number of images with 1 or 3 channels last")
    if not isinstance(gives, tuple) or len(gives) != 2 or gives[1] not in (1, 2):
        raise BadInput(f"{path}: refused, it gives {gives}; expected one probability an image, or one of each class")
    return takes[1], takes[3]


def _load_onnx(path: Path, meaning: Meaning) -> Model:
    import onnx
    import onnxruntime

    if not path.is_file():
        raise BadInput(f"{path}: there is no such file")
    try:
        if path.stat().st_size > _MOST_ONNX:
            raise Refused("it has more than 2 GiB")
        content = path.read_bytes()
        model = onnx.load(io.BytesIO(content), load_external_data=False)
        _check_onnx(model)
        inner = {tensor.name for tensor in model.graph.initializer}
        takes = [_shape(value) for value in model.graph.input if value.name not in inner]
        gives = [_shape(value) for value in model.graph.output]
        takes, gives = (one[0] if len(one) == 1 else one for one in (takes, gives))
        size, channels = _fitting(takes, gives, path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # From memory: there is no folder in which it could look for more.
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except BadInput:
        raise
    except Refused as error:
        raise BadInput(f"{path}: refused, {error}") from None
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise BadInput(f"{path}: can't be read as an ONNX model ({first})") from error
    name = session.get_inputs()[0].name

    def raw(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images})[0]

    return Model(path, size, channels, raw, meaning=meaning)


def _check_onnx(model: Any) -> None:
    """Refuse operators of others, functions of its own, and data that lie in other files."""
    import onnx

    if model.functions:
        raise Refused("it brings functions of its own; export it with them inlined")
    for part in _inside(model):
        if isinstance(part, (onnx.OperatorSetIdProto, onnx.NodeProto)) and part.domain not in _DOMAINS:
            raise Refused(f"it uses operators of {part.domain!r}; only those of ONNX itself are run")
        if isinstance(part, onnx.TensorProto) and (part.external_data or part.data_location == part.EXTERNAL):
            raise Refused("its weights lie in another file; save them inside")
    onnx.checker.check_model(model)


def _inside(message: Any) -> Iterator[Any]:
    """Yield a message of protobuf and all that it holds, however deep: nodes, tensors, graphs in branches."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _inside(inner)


def _shape(value: Any) -> tuple[int | None, ...]:
    """Return the shape of an ONNX input or output of floats; None where any length will do."""
    kind = value.type.tensor_type
    if kind.elem_type != 1:
        raise Refused(f"{value.name!r} of it is no array of 32-bit floats")
    return tuple(one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim)
