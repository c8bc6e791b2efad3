"""System 004 as coded: three convolutions and two dense layers, no callbacks."""

from cxr_utils.augment import Augmentation
from cxr_utils.recipes import Recipe, System


def layers(width: float = 1.0) -> list:
    """Return the layers of system 004: 4,349,897 parameters at 224x224x1."""
    from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D

    return [
        Conv2D(int(16 * width), 3, activation="relu"),
        MaxPooling2D(),
        Conv2D(int(32 * width), 3, activation="relu"),
        MaxPooling2D(),
        Conv2D(int(64 * width), 3, activation="relu"),
        MaxPooling2D(),
        Flatten(),
        Dense(int(100 * width), activation="relu"),
        Dense(1, activation="sigmoid"),
    ]


RECIPE = Recipe(
    name="plain_224",
    title="three convolutions and two dense layers, ten epochs",
    system="004",
    published=System.beside(__file__),
    image_size=224,
    interpolation="nearest",  # the default of Keras' ImageDataGenerator
    layers=layers,
    epochs=10,
    augmentation=Augmentation(rotation=0.2, width_shift=0.2, height_shift=0.2, zoom=0.2, horizontal_flip=True),
    split={"validation": "test"},
    validation="the test set; val is not used",
)
