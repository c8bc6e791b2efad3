"""System 000 as its README says: two softmax units, up to 50 epochs with early stopping."""

from cxr_utils.recipes.plain_64 import RECIPE as AS_CODED
from cxr_utils.recipes.plain_64 import features


def layers(width: float = 1.0) -> list:
    """Return the layers of system 000 with the output that its README describes."""
    from keras.layers import Dense

    return [*features(width), Dense(2, activation="softmax")]


RECIPE = AS_CODED.but(
    name="softmax_64",
    title="three convolutions at 64 px in colour, softmax, early stopping",
    system="000, as its README says",
    layers=layers,
    loss="categorical_crossentropy",
    epochs=50,
    early_stopping={"monitor": "val_loss", "patience": 5, "restore_best_weights": True},
    validation="not described; ours: the test set, as coded",
    reasons={
        "layers": "filters, dense width and dropout are not in the README: as coded",
        "image_size": "not in the README: 64, in colour, as coded",
        "early_stopping": "used, but its settings are not published: patience 5 as in systems 001 and 003",
        "learning_rate": "not published: the default of Adam, as coded",
        "validation": "not described in the README: the test set, as coded",
        "augmentation": "not in the README: as coded",
        "interpolation": "not in the README: as coded",
    },
)
