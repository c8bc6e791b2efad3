"""System 000 as coded: three convolutions at 64x64, in colour, five epochs."""

from cxr_utils.images import Augmentation
from cxr_utils.recipes import Claim, Recipe


def features(width: float = 1.0) -> list:
    """Return the layers of system 000 up to its output, which README and code state differently."""
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
    image_size=64,
    channels=3,
    interpolation="nearest",  # the default of Keras' ImageDataGenerator
    layers=layers,
    epochs=5,
    augmentation=Augmentation(shear=0.2, zoom=0.2, horizontal_flip=True),
    split={"validation": "test"},
    validation="the test set; val is not used",
    claims=(
        Claim(
            text="validation accuracy .907 after five epochs (before: .851, .878, .755, .889)",
            source="console",
            metric="validation_accuracy",
            value=0.907,
            n=624,
        ),
        Claim(
            text='the same, evaluated again: .8964, printed as "Test Accuracy: 0.91"',
            source="console",
            metric="test_accuracy",
            value=0.8964,
            n=624,
            # https://github.com/keras-team/keras/issues/21301
            note="Most likely it is what the progress bar of Keras 3 showed, which averaged running averages; 566 of "
            "624, .907, is what prints as 0.91.",
        ),
    ),
)
