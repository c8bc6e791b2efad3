"""Each piece of work as notebooks on this dataset usually write it; `ours` does the same by `cxr_utils`.

The functions prepare, and return what is timed. Nothing here is slowed down on purpose, and nothing is sped up.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def paths_in(folder: str, *, every: int = 1) -> list[Path]:
    """Return the training images of a folder, both classes, sorted by name."""
    return sorted(Path(folder, "chest_xray", "train").glob("*/*.*"))[::every]


def read(paths: list[Path], *, size: int = 224) -> list[np.ndarray]:
    """Read images into a list: grayscale, squashed, uint8, shape (size, size)."""
    images = []
    for path in paths:
        images.append(np.array(Image.open(path).convert("L").resize((size, size))))
    return images


def labels_of(paths: list[Path]) -> np.ndarray:
    """Return 1 for images in a folder PNEUMONIA, else 0."""
    return np.array([int(path.parent.name == "PNEUMONIA") for path in paths])


def floats(images: list[np.ndarray]) -> np.ndarray:
    """Make float32 in [0, 1], shape (n, size, size, 1), of a list of images."""
    return np.array(images, dtype="float32").reshape(len(images), *images[0].shape, 1) / 255


def resample(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balance the classes by SMOTE on the flattened floats."""
    from imblearn.over_sampling import SMOTE

    balanced, labels = SMOTE(random_state=0).fit_resample(x.reshape(len(x), -1), y)
    return balanced.reshape(-1, *x.shape[1:]), labels


def originals(folder: str, *, times: int = 1):
    """Decode and resize all images of a folder, so often."""
    paths = paths_in(folder) * times
    return lambda: read(paths)


def hostile(path: str):
    """Decode a file that asks for much work, and say how many seconds that takes."""
    import time
    import warnings

    import pydicom

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # says that the PNG is large, and decodes it
    decode = (lambda: pydicom.dcmread(path).pixel_array) if path.endswith(".dcm") else lambda: read([Path(path)])

    def work() -> float:
        start = time.perf_counter()
        decode()
        return time.perf_counter() - start

    return work


def scaled(folder: str, *, times: int = 1):
    """Decode alone, by libjpeg-turbo at the smallest scale that keeps 224 pixels a side, on all cores: a yardstick."""
    from concurrent.futures import ThreadPoolExecutor

    def one(path: Path) -> None:
        with Image.open(path) as image:
            image.draft("L", (224, 224))
            image.load()

    def work():
        with ThreadPoolExecutor(_cores()) as pool:
            list(pool.map(one, paths))

    paths = paths_in(folder) * times
    return work


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def smote(folder: str, *, every: int = 1):
    """Balance the training images, read before."""
    paths = paths_in(folder, every=every)
    x, y = floats(read(paths)), labels_of(paths)
    return lambda: resample(x, y)


def pipeline(folder: str, *, every: int = 1):
    """Go all the way from files to batches for training, stage by stage."""
    import imblearn.over_sampling  # noqa: F401 (imports are not timed)

    paths = paths_in(folder, every=every)

    def work():
        x, y = floats(read(paths)), labels_of(paths)
        yield "read"
        x, y = resample(x, y)
        yield "balance"
        for start in range(0, len(x), 32):
            x[start : start + 32]
        yield "serve"

    return work


def training(folder: str, *, recipe: str, every: int = 10):
    """Build a recipe's network in float32, and what feeds it: a generator, or arrays where it doesn't augment.

    Returns
    -------
    model : keras.Model
        Compiled.
    fit : dict
        Arguments of its `fit`.
    """
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from cxr_utils import recipes

    published = recipes.get(recipe)
    size, keras_names = published.image_size, {"rotation": "rotation_range", "width_shift": "width_shift_range",
                                               "height_shift": "height_shift_range", "shear": "shear_range",
                                               "zoom": "zoom_range", "horizontal_flip": "horizontal_flip"}  # fmt: skip
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((size, size, published.channels)), *published.layers(1.0)])
    optimizer = {"adam": keras.optimizers.Adam}[published.optimizer](published.learning_rate)
    model.compile(optimizer=optimizer, loss=published.loss, metrics=["accuracy"])
    if published.augmentation is None:
        paths = paths_in(folder, every=every)  # a step takes as long with fewer
        return model, {"x": floats(read(paths, size=size)), "y": labels_of(paths), "batch_size": published.batch_size}
    changes = {name: getattr(published.augmentation, ours) for ours, name in keras_names.items()}
    generator = ImageDataGenerator(rescale=1 / 255, **changes).flow_from_directory(
        Path(folder, "chest_xray", "train"),
        target_size=(size, size),
        color_mode="rgb" if published.channels == 3 else "grayscale",
        class_mode="binary",
        batch_size=published.batch_size,
        seed=0,
    )
    return model, {"x": generator}


def predict(model: str, paths: list[str]) -> list[float]:
    """Return the probability of PNEUMONIA of each image."""
    import keras

    network = keras.models.load_model(model)
    x = floats(read([Path(path) for path in paths], size=network.input_shape[1]))
    return network.predict(x, verbose=0)[:, -1].tolist()


if __name__ == "__main__":
    print(predict(sys.argv[1], sys.argv[2:]))
