"""System 002 as run: five convolutions at 300x300, fifty epochs without a callback."""

from cxr_utils.augment import Augmentation
from cxr_utils.recipes import Recipe, System


def layers(width: float = 1.0) -> list:
    """Return the layers of system 002: 1,983,009 parameters at 300x300x3."""
    from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D

    blocks = [(Conv2D(int(n * width), 3, activation="relu"), MaxPooling2D()) for n in (16, 32, 64, 128, 128)]
    return [
        *(layer for block in blocks for layer in block),
        Flatten(),
        Dense(int(256 * width), activation="relu"),
        Dense(int(512 * width), activation="relu"),
        Dense(1, activation="sigmoid"),
    ]


RECIPE = Recipe(
    name="plain_300",
    title="five convolutions at 300 px in colour, fifty epochs",
    system="002",
    published=System.beside(__file__),
    image_size=300,
    channels=3,
    interpolation="nearest",  # the default of Keras' ImageDataGenerator
    layers=layers,
    batch_size=128,
    epochs=50,
    augmentation=Augmentation(shear=0.2, zoom=0.2, horizontal_flip=True),
    split={"validation": "test"},
    validation="the test set; val is not used",
)
