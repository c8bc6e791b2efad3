"""Beyond the five: the keras.io tutorial, separable convolutions at 180x180 with class weights.

It is the first version, of 28 July 2020: examples/vision/xray_classification_with_tpus.py in keras-team/keras-io at
commit 0b3faeb. Its revisions of August 2020, the last of them the page of today, train otherwise (see the note of a
claim).
"""

from cxr_utils.recipes import Recipe, System


def layers(width: float = 1.0) -> list:
    """Return the layers of the tutorial: 3,496,801 parameters at 180x180x3."""
    from keras.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, SeparableConv2D

    def block(filters, dropout=None):
        return [
            SeparableConv2D(int(filters * width), 3, padding="same", activation="relu"),
            SeparableConv2D(int(filters * width), 3, padding="same", activation="relu"),
            BatchNormalization(),
            MaxPooling2D(),
            *([Dropout(dropout)] if dropout else []),
        ]

    def dense(units, dropout):
        return [Dense(int(units * width), activation="relu"), BatchNormalization(), Dropout(dropout)]

    return [
        Conv2D(int(16 * width), 3, padding="same", activation="relu"),
        Conv2D(int(16 * width), 3, padding="same", activation="relu"),
        MaxPooling2D(),
        *block(32),
        *block(64),
        *block(128, dropout=0.2),
        *block(256, dropout=0.2),
        Flatten(),
        *dense(512, dropout=0.7),
        *dense(128, dropout=0.5),
        *dense(64, dropout=0.3),
        Dense(1, activation="sigmoid"),
    ]


RECIPE = Recipe(
    name="separable_180",
    title="separable convolutions at 180 px in colour, class weights, a falling learning rate",
    system="keras.io, Pneumonia Classification with TPUs (2020)",
    published=System.beside(__file__),
    image_size=180,
    channels=3,
    interpolation="bilinear",  # tf.image.resize, without antialiasing
    layers=layers,
    batch_size=128,
    epochs=125,
    early_stopping={"monitor": "val_loss", "patience": 10, "restore_best_weights": True, "start_from_epoch": 25},
    schedule={"from_epoch": 25, "start": 0.01, "factor": 0.1, "epochs": 20},
    imbalance="class_weight",
    split={"validation": 0.2, "of": "train and val", "stratify": False},
    validation="20% of train and val, by image, a new draw each run",
    reasons={
        "batch_size": "16 for each of the TPU's eight cores: 128 a step",
        "epochs": "25 at .001, then in a second call up to 100 more, early stopping, falling rate; here in one",
    },
)
