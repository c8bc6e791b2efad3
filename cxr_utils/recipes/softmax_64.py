"""System 000 as its README says: two softmax units, up to 50 epochs with early stopping."""

from cxr_utils.recipes import Recipe
from cxr_utils.recipes.plain_64 import RECIPE as AS_CODED
from cxr_utils.recipes.plain_64 import features


def layers(width: float = 1.0) -> list:
    """Return the layers of system 000 with the output that its README describes."""
    from keras.layers import Dense

    return [*features(width), Dense(2, activation="softmax")]


RECIPE = Recipe(
    name="softmax_64",
    title="three convolutions at 64 px in colour, softmax, early stopping",
    system="000, as its README says",
    published=AS_CODED.published,
    image_size=64,
    channels=3,
    interpolation=AS_CODED.interpolation,
    layers=layers,
    loss="categorical_crossentropy",
    epochs=50,
    early_stopping={"monitor": "val_loss", "patience": 5, "restore_best_weights": True},
    augmentation=AS_CODED.augmentation,
    split=AS_CODED.split,
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
