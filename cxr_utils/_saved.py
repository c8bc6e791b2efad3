"""Saved Keras models between Keras' versions: what is written opens in older ones, what older ones wrote opens here."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils import _machine
from cxr_utils.errors import BadInput, CxrError

#: Options that Keras 3.8 does not know, with the values that change nothing: 3.8 to 3.14 refuse them even so.
NEWER = {
    "input_axes": [None], "output_axes": [None], "quantization_config": [None], "lora_alpha": [None],
    "renorm": [None, False], "renorm_clipping": [None], "renorm_momentum": [None, 0.99], "antialias": [False],
    "ragged": [None, False],
}  # fmt: skip

_MOST_CONFIG = 64 * 2**20
_NO_EFFECT = ("dtype", "seed", "implementation", "fused", "virtual_batch_size", "adjustment")
_TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")


class Refused(Exception):
    """Why a model is not opened."""


def config(path: Path) -> dict[str, Any]:
    """Return the description of a model's layers, from a ``.keras`` or HDF5 file.

    Raises
    ------
    Refused
        There is none, or it is far too long.
    """
    return json.loads(_kept(path, "config.json", "model_config"))


def version(path: Path) -> str:
    """Return the version of Keras that wrote a file, empty if it does not say."""
    try:
        found = _kept(path, "metadata.json", "keras_version")
        text = found.decode() if isinstance(found, bytes) else str(found)
        return str(json.loads(text)["keras_version"]) if is_zip(path) else text
    except Exception:  # a damaged file raises nearly anything, and is reported elsewhere
        return ""


def _kept(path: Path, member: str, attribute: str) -> bytes | str:
    """Read a member of a ``.keras`` file, or an attribute of an HDF5 file."""
    if is_zip(path):
        with zipfile.ZipFile(path) as opened:
            if opened.getinfo(member).file_size > _MOST_CONFIG:
                raise Refused("the description of its layers is far too long")
            return opened.read(member)
    import h5py

    with h5py.File(path, "r") as opened:
        if attribute not in opened.attrs:
            raise Refused("it holds weights without their network; save the whole model")
        return opened.attrs[attribute]


def is_zip(path: Path) -> bool:
    """Tell the form ``.keras`` from HDF5 by the name."""
    return path.suffix.lower() == ".keras"


def save(model: Any, path: Path) -> None:
    """Save a model as ``.onnx``, or as ``.keras`` or ``.h5`` without `NEWER`, so that Keras from 3.8 on opens it.

    Raises
    ------
    BadInput
        The backend is another than TensorFlow, which ONNX needs.
    CxrError
        tf2onnx is missing.
    """
    # Absl logs that .h5 is an old format; tf2onnx warns of old names of NumPy.
    with _machine.quiet("absl"):
        if path.suffix.lower() != ".onnx":
            model.save(path)
            rewrite(path, portable(config(path)))
            return
        from cxr_utils.backend import keras

        if keras.backend.backend() != "tensorflow":
            raise BadInput(f"to: 'onnx' needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")
        if importlib.util.find_spec("tf2onnx") is None:
            raise CxrError("tf2onnx is missing; install it: pip install 'cxr-utils[export]'")
        model(np.zeros((1, *model.input_shape[1:]), "float32"))  # Keras exports only what was called before
        model.export(path, format="onnx", verbose=False)


def portable(described: dict[str, Any]) -> dict[str, Any]:
    """Return a model's description without the options `NEWER`, where they change nothing.

    Examples
    --------
    >>> portable({"class_name": "HeNormal", "config": {"seed": None, "input_axes": None}})["config"]
    {'seed': None}
    """
    described = copy.deepcopy(described)
    for part in _parts(described):
        for name, values in NEWER.items():
            if name in part["config"] and part["config"][name] in values:
                del part["config"][name]
    return described


def readable(described: dict[str, Any]) -> dict[str, Any]:
    """Return a model's description as the installed Keras takes it.

    What Keras 2 wrote in another way is rewritten. Options that the installed version does not know are left out where
    they change no answer: at None, False or 1, or for training only. Others stay, for Keras to refuse.
    """
    described = copy.deepcopy(described)
    for part in _parts(described):
        _from_keras_2(part)
        known = _options(part["class_name"])
        for name, value in list(part["config"].items()):
            nothing = value is None or value is False or (type(value) is int and value == 1)
            if known and name not in known and (nothing or name in _NO_EFFECT or name.endswith(_TRAINING_ONLY)):
                del part["config"][name]
    return described


def _parts(item: Any) -> Iterator[dict[str, Any]]:
    """Yield each layer, initializer and so on of a description, before what is inside of it."""
    if isinstance(item, dict):
        if item.get("class_name") == "Sequential" and isinstance(item.get("config"), list):  # before Keras 2.2.3
            item["config"] = {"name": "sequential", "layers": item["config"]}
        if "class_name" in item and isinstance(item.get("config"), dict):
            yield item
    for inner in list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from _parts(inner)


def _from_keras_2(part: dict[str, Any]) -> None:
    """Rewrite what is known of Keras 2, in place."""
    inside = part["config"]
    if part["class_name"] == "Model":
        part["class_name"] = "Functional"
    if part["class_name"] == "Functional" and "module" in part:
        part["module"] = "keras.src.models.functional"
    for key in ("input_layers", "output_layers") if part["class_name"] == "Functional" else ():
        if isinstance(ends := inside.get(key), list) and len(ends) == 1 and isinstance(ends[0], list):
            inside[key] = ends[0]  # Keras 3 makes a list of one tensor of it, which no next layer takes
    if part["class_name"] == "InputLayer" and "batch_input_shape" in inside:
        inside["batch_shape"] = inside.pop("batch_input_shape")
    if isinstance(dtype := inside.get("dtype"), dict) and dtype.get("class_name") in ("Policy", "PolicyV1"):
        inside["dtype"] = dtype["config"]["name"]
    axis = inside.get("axis")
    if part["class_name"] == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        inside["axis"] = axis[0]
    if part["class_name"] == "Sequential" and (layers := inside.get("layers")):
        first = layers[0]
        shape = first["config"].get("batch_input_shape") if isinstance(first.get("config"), dict) else None
        if shape and first["class_name"] != "InputLayer":
            begin = {"name": f"{first['config'].get('name', 'first')}_input", "batch_shape": shape, "dtype": "float32"}
            kept = {key: first[key] for key in ("module", "registered_name") if key in first}
            layers.insert(0, {"class_name": "InputLayer", "config": begin, **kept})
    if part["class_name"] != "InputLayer":
        inside.pop("batch_input_shape", None)


def _options(name: str) -> set[str]:
    """Return the options that the installed Keras knows of a layer or a part of one; empty for models."""
    from cxr_utils.backend import keras

    for module in (keras.layers, keras.initializers, keras.regularizers, keras.constraints):
        if inspect.isclass(found := getattr(module, name, None)):
            own = [base.__init__ for base in found.__mro__ if "__init__" in vars(base)]
            return {option for each in own for option in inspect.signature(each).parameters}
    return set()


def rewrite(path: Path, described: dict[str, Any]) -> None:
    """Put another description of the layers into a model's file; the weights stay as they are."""
    text = json.dumps(described)
    if not is_zip(path):
        import h5py

        with h5py.File(path, "r+") as opened:
            opened.attrs["model_config"] = text
        return
    with zipfile.ZipFile(path) as old:
        members = [(member, old.read(member)) for member in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for member, content in members:
            new.writestr(member, text if member.filename == "config.json" else content)


def opened(path: Path, check: Callable[[Any], None]) -> Any:
    """Open a model in Keras' safe mode, after `check` found nothing wrong in the description of its layers.

    Parameters
    ----------
    path : Path
        A ``.keras`` or HDF5 file; it is not changed.
    check : callable
        Gets the description as it will be opened.

    Returns
    -------
    keras.Model
        Not compiled.
    """
    from cxr_utils.backend import keras

    written = config(path)
    described = readable(written)
    check(described)
    if described == written and path.suffix in (".keras", ".h5", ".hdf5"):
        return keras.models.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory(prefix="cxr-model-") as folder:
        copied = Path(folder) / f"model{path.suffix.lower()}"
        shutil.copyfile(path, copied)
        rewrite(copied, described)
        return keras.models.load_model(copied, compile=False, safe_mode=True)
