"""System 001: five convolutions with BatchNormalization, early stopping and a falling learning rate."""

from cxr_utils.augment import Augmentation
from cxr_utils.recipes import Recipe, System


def layers(width: float = 1.0) -> list:
    """Return the layers of system 001: 2,099,201 parameters at 224x224x3, 2,098,113 of them trainable."""
    from keras.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D

    def block(filters, dropout=None):
        return [
            Conv2D(int(filters * width), 3, activation="relu"),
            *([Dropout(dropout)] if dropout else []),
            BatchNormalization(),
            MaxPooling2D(),
        ]

    return [
        *block(32),
        *block(64, dropout=0.1),
        *block(64),
        *block(128, dropout=0.2),
        *block(256, dropout=0.2),
        Flatten(),
        Dense(int(256 * width), activation="relu"),
        Dropout(0.2),
        Dense(int(128 * width), activation="relu"),
        Dropout(0.2),
        Dense(1, activation="sigmoid"),
    ]


RECIPE = Recipe(
    name="batchnorm_224",
    title="five convolutions with BatchNormalization, early stopping",
    system="001",
    published=System.beside(__file__),
    image_size=224,
    channels=3,
    interpolation="nearest",  # the default of Keras' ImageDataGenerator
    layers=layers,
    learning_rate=3e-5,
    epochs=50,
    early_stopping={"monitor": "val_loss", "patience": 5, "min_delta": 1e-7, "restore_best_weights": True},
    reduce_lr={"monitor": "val_loss", "factor": 0.2, "patience": 2},
    augmentation=Augmentation(
        rotation=0.1, width_shift=0.1, height_shift=0.1, shear=0.2, zoom=0.2, horizontal_flip=True
    ),
    split={"validation": 0.2, "of": "train and val", "random_state": 42},
    validation="20% of train and val, by image, stratified, random_state 42",
)
