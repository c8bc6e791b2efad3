"""System 003: six convolutions in three blocks, on training data balanced by SMOTE. A reconstruction."""

from cxr_utils.recipes import Recipe, System


def layers(width: float = 1.0, filters: tuple[int, ...] = (32, 64, 128)) -> list:
    """Return the layers of system 003 as reconstructed: 13,131,745 parameters at 224x224x1."""
    from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
    from keras.regularizers import L2

    def block(number):
        return [
            Conv2D(int(number * width), 3, padding="same", activation="relu"),
            Conv2D(int(number * width), 3, padding="same", activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
        ]

    return [
        *(layer for number in filters for layer in block(number)),
        Flatten(),
        Dense(int(128 * width), activation="relu", kernel_regularizer=L2(1e-4)),
        Dense(1, activation="sigmoid"),
    ]


RECIPE = Recipe(
    name="smote_224",
    title="six convolutions in three blocks, SMOTE, early stopping",
    system="003",
    published=System.beside(__file__),
    image_size=224,
    layers=layers,
    learning_rate=1e-4,
    epochs=50,
    early_stopping={"monitor": "val_loss", "patience": 5, "restore_best_weights": True},
    imbalance="smote",
    split={"validation": 0.1, "of": "train", "random_state": 42},
    validation="not stated; ours: 10% of train, by image, set apart before SMOTE",
    reasons={
        "interpolation": "how its author shrank the pictures is not in the README: by areas",
        "image_size": "the README says 244 x 244 once and 224 x 224 once: 224, as in systems 001 and 004",
        "layers": "filters, padding and dropout rates are not in the README: 32, 64, 128, same, .25 are common "
        "choices; the README counts 12 layers and lists 15: as listed",
        "l2": "factor and place are not in the README: 1e-4 on the first dense layer, which holds most weights",
        "batch_size": "not in the README: 32 is the default of Keras",
        "epochs": "not in the README: far above where early stopping ends",
        "validation": "not in the README",
    },
)
