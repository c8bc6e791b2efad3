"""System 000 as coded: three convolutions at 64x64, in colour, five epochs."""

from cxr_utils.augment import Augmentation
from cxr_utils.recipes import Recipe, System


def features(width: float = 1.0) -> list:
    """Make the layers of system 000 up to its output, which README and code state differently.

    Parameters
    ----------
    width : float
        What the filters and units are multiplied by.

    Returns
    -------
    list of keras.layers.Layer
        Fresh ones.

    Examples
    --------
    >>> len(features())
    9
    """
    from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D

    return [
        Conv2D(int(32 * width), 3, activation="relu"),
        MaxPooling2D(),
        Conv2D(int(64 * width), 3, activation="relu"),
        MaxPooling2D(),
        Conv2D(int(128 * width), 3, activation="relu"),
        MaxPooling2D(),
        Flatten(),
        Dense(int(128 * width), activation="relu"),
        Dropout(0.5),
    ]


def layers(width: float = 1.0) -> list:
    """Return the layers of system 000 as coded: 683,329 parameters at 64x64x3."""
    from keras.layers import Dense

    return [*features(width), Dense(1, activation="sigmoid")]


RECIPE = Recipe(
    name="plain_64",
    title="three convolutions at 64 px in colour, five epochs",
    system="000, as coded",
    published=System.beside(__file__),
    image_size=64,
    channels=3,
    interpolation="nearest",  # the default of Keras' ImageDataGenerator
    layers=layers,
    epochs=5,
    augmentation=Augmentation(shear=0.2, zoom=0.2, horizontal_flip=True),
    split={"validation": "test"},
    validation="the test set; val is not used",
)
