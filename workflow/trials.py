"""Trials towards the recipe `reference`, on train alone: each trains one candidate and adds its row to a table.

The official test set is never seen here: its rows are dropped before an image is decoded. A candidate trains on the
part "train" of `shift.split`; the random part and the shifted ones judge it. Run from the project's root:

    python workflow/trials.py --source folder --sizes original-sizes.csv NAME '{"epochs": 24, "gamma": 0.4}'

Every trial that was run stands in results/trials.csv, with all settings that differ from `DEFAULTS`. A name that is
there is not run again.
"""

import argparse
import datetime
import json
import time

import cv2
import numpy as np
import pandas as pd
import shift

from cxr_utils import audit, augment, dataset, evaluation, files, images, sources, splits

DEFAULTS = {
    "size": 64, "filters": [16, 32, 64, 128], "blocks": 2, "residual": True, "epochs": 12, "batch": 32, "lr": 2e-3,
    "decay": 0.02, "smoothing": 0.05, "class_weight": True, "even": 0.0, "ema": 0.0, "dropout": 0.2, "seed": 0,
    "norm": "none", "rotation": 0, "shift": 0, "shear": 0, "zoom": 0, "gamma": 0, "contrast": 0, "brightness": 0,
    "border": 0, "window": 0, "coarse": 0, "blur": 0, "noise": 0, "erase": 0, "mixup": 0,
}  # fmt: skip
MILD = DEFAULTS | {"rotation": 8, "zoom": 0.12, "shift": 0.05, "shear": 4, "gamma": 0.25, "contrast": 0.15}
"""How images are changed for the answers that are averaged ("tta"): one plain, four changed."""


def normalised(image: np.ndarray, how: str) -> np.ndarray:
    """Return a uint8 image with its histogram made even ("hist"), or its local contrast ("local")."""
    if how == "hist":
        return cv2.equalizeHist(image)
    if how == "local":
        values, spread = image.astype("float32"), len(image) / 8
        mean = cv2.GaussianBlur(values, (0, 0), spread)
        deviation = np.sqrt(cv2.GaussianBlur((values - mean) ** 2, (0, 0), spread))
        return np.clip((values - mean) / (deviation + 8) * 48 + 128, 0, 255).astype("uint8")
    return image


def changed(image: np.ndarray, c: dict, rng: np.random.Generator) -> np.ndarray:
    """Change one uint8 image (s, s) at random; returns float32, roughly in [0, 1]."""
    image, size = image.astype("float32") / 255, len(image)
    if c["rotation"] or c["zoom"] or c["shift"] or c["shear"]:
        zoom, moved = np.exp(np.log1p(c["zoom"]) * rng.uniform(-1, 1, 2)), c["shift"] * size * rng.uniform(-1, 1, 2)
        matrix = augment.affine_matrices(
            size, size, theta=c["rotation"] * rng.uniform(-1, 1), shear=c["shear"] * rng.uniform(-1, 1),
            tx=moved[0], ty=moved[1], zx=zoom[0], zy=zoom[1],
        )[0, :2]  # fmt: skip
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        black = c["border"] and rng.random() < 0.5
        edge = cv2.BORDER_CONSTANT if black else cv2.BORDER_REPLICATE
        image = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=edge)
    if c["coarse"] and rng.random() < 0.5:  # fewer pixels, and other proportions of them
        sides = [max(8, int(size * rng.uniform(1 - c["coarse"], 1))) for _ in range(2)]
        image = cv2.resize(cv2.resize(image, sides, interpolation=cv2.INTER_AREA), (size, size))
    if c["blur"] and rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.2, c["blur"]))
    if c["window"]:
        ends = [rng.uniform(0, c["window"] / 2), 1 - rng.uniform(0, c["window"] / 4)]
        low, high = np.quantile(image[::4, ::4], ends)
        image = np.clip((image - low) / max(high - low, 0.1), 0, 1)
    if c["contrast"] or c["brightness"]:
        mean, factor = image.mean(), 1 + c["contrast"] * rng.uniform(-1, 1)
        image = np.clip((image - mean) * factor + mean + c["brightness"] * rng.uniform(-1, 1), 0, 1)
    if c["gamma"]:
        image = cv2.pow(np.clip(image, 0, 1), float((1 + c["gamma"]) ** rng.uniform(-1, 1)))
    if c["noise"]:
        image = image + rng.standard_normal(image.shape, dtype="float32") * np.float32(c["noise"] * rng.random())
    if c["erase"] and rng.random() < c["erase"]:
        (h, w), image = (int(size * rng.uniform(0.1, 0.35)) for _ in range(2)), image.copy()
        y, x = rng.integers(0, size - h), rng.integers(0, size - w)
        image[y : y + h, x : x + w] = rng.random()
    return image.astype("float32")


def network(c: dict):
    """Return the candidate's network: a stem, then stages of 3x3 convolutions, each at half the size before."""
    from cxr_utils.backend import fused, keras

    kl = keras.layers
    keras.utils.set_random_seed(c["seed"])

    def convolved(x, filters, kernel=3, strides=1):
        x = kl.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False,
                      kernel_initializer="he_normal")(x)  # fmt: skip
        return fused(kl.BatchNormalization(momentum=0.95))(x)

    inputs = keras.Input((c["size"], c["size"], 1))
    x = kl.ReLU()(convolved(inputs, c["filters"][0], strides=2))
    for stage, filters in enumerate(c["filters"]):
        for block in range(c["blocks"] if isinstance(c["blocks"], int) else c["blocks"][stage]):
            strides = 2 if stage and not block else 1
            if not c["residual"]:
                x = kl.ReLU()(convolved(x, filters, strides=strides))
                continue
            y = convolved(kl.ReLU()(convolved(x, filters, strides=strides)), filters)
            x = convolved(kl.AveragePooling2D(2)(x), filters, kernel=1) if strides == 2 else x
            x = kl.ReLU()(kl.Add()([x, y]))
    x = kl.Dropout(c["dropout"])(kl.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, kl.Activation("sigmoid", dtype="float32")(kl.Dense(1, dtype="float32")(x)))


def weights(c: dict, label: np.ndarray, statistics: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the weight of each training image: both classes alike, and more where statistics mislead ("even")."""
    weight = np.ones(len(label))
    if c["even"]:
        index = pd.DataFrame({"split": "train", "label": label, "patient": groups, "path": "", "sha256": ""})
        answer = audit.boosted_scores(statistics, index)
        weight = np.clip(np.where(label == 1, answer, 1 - answer), 0.02, 1) ** -c["even"]
    for value in (0, 1):
        if c["class_weight"] or c["even"]:
            weight[label == value] *= len(label) / 2 / weight[label == value].sum()
    return weight.astype("float32")


def train(c: dict, pixels: np.ndarray, label: np.ndarray, weight: np.ndarray):
    """Train a candidate; returns the network, the last loss and the seconds."""
    from cxr_utils import training
    from cxr_utils.backend import keras

    size, steps = c["batch"], -(-len(label) // c["batch"])

    class Batches(keras.utils.PyDataset):
        epoch = 0

        def __len__(self):
            return steps

        def __getitem__(self, number):
            rng = np.random.default_rng([c["seed"], self.epoch, number])
            rows = np.random.default_rng([c["seed"], self.epoch]).permutation(len(label))
            rows = rows[number * size : (number + 1) * size]
            x, y = np.stack([changed(pixels[row, :, :, 0], c, rng) for row in rows]), label[rows].astype("float32")
            if c["mixup"]:
                share = rng.beta(c["mixup"], c["mixup"], len(rows)).astype("float32")
                share, other = np.maximum(share, 1 - share), rng.permutation(len(rows))
                x = x * share[:, None, None] + x[other] * (1 - share)[:, None, None]
                y = y * share + y[other] * (1 - share)
            return x[..., None], y[:, None], weight[rows]

        def on_epoch_end(self):
            self.epoch += 1

    with training.dtype_policy(training.choose_precision()):
        model = network(c)
    rate = keras.optimizers.schedules.CosineDecay(
        c["lr"] / 10, steps * (c["epochs"] - 1), warmup_target=c["lr"], warmup_steps=steps
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=c["decay"], use_ema=c["ema"] > 0, ema_momentum=c["ema"])
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.BinaryCrossentropy(label_smoothing=c["smoothing"])
    model.compile(optimizer, loss, jit_compile=keras.backend.backend() == "jax")
    start = time.perf_counter()
    history = model.fit(Batches(), epochs=c["epochs"], shuffle=False, verbose=0)
    if c["ema"]:
        optimizer.finalize_variable_values(model.trainable_variables)
    return model, history.history["loss"][-1], time.perf_counter() - start


def answers(model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the probabilities, of the images as they are, and averaged over mild changes (as log-odds)."""
    from scipy.special import expit, logit

    from cxr_utils.backend import keras

    def call(pictures):
        parts = [model(pictures[at : at + 128], training=False) for at in range(0, len(pictures), 128)]
        return np.concatenate([keras.ops.convert_to_numpy(part)[:, 0] for part in parts]).astype(float)

    rng, plain = np.random.default_rng(7), call(pixels.astype("float32") / 255)
    more = [call(np.stack([changed(p[:, :, 0], MILD, rng) for p in pixels])[..., None]) for _ in range(4)]
    return {"plain": plain, "tta": expit(np.mean([logit(p.clip(1e-5, 1 - 1e-5)) for p in (plain, *more)], axis=0))}


def judged(label: np.ndarray, part: np.ndarray, found: dict[str, np.ndarray]) -> dict:
    """Return the row's figures: of the random part, of all shifted ones together and of each."""
    row: dict = {}
    sets = {"random": part == "validation", "shifted": part != "validation"}
    sets |= {name: part == name for name in shift.DOMAINS if (part == name).any()}
    for how, probability in found.items():
        chosen = evaluation.best_threshold(label[sets["random"]], probability[sets["random"]])
        row[f"{how}_threshold"] = chosen
        for name, at in sets.items():
            for rule, threshold in (("half", 0.5), ("chosen", chosen)):
                of = evaluation.metrics(label[at], probability[at], threshold=threshold)
                row[f"{how}_{name}_auc"] = of["auc"]
                for metric in ("accuracy", "balanced_accuracy"):
                    row[f"{how}_{name}_{metric}_{rule}"] = of[metric]
    return row


def main(arguments: list[str] | None = None) -> None:
    """Run a trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the trial, new")
    parser.add_argument("settings", nargs="?", default="{}", help="JSON: what differs from DEFAULTS")
    parser.add_argument("--source", default="folder", help="folder or kaggle")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--sizes", help="a CSV file of original sizes (path, width, height), for resized copies")
    parser.add_argument("--out", default="results/trials.csv", help="the table")
    options = parser.parse_args(arguments)
    settings, out = json.loads(options.settings), files.resolve(options.out)
    if unknown := set(settings) - set(DEFAULTS):
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(DEFAULTS)}")
    c = DEFAULTS | settings
    if out.is_file() and options.name in set(pd.read_csv(out)["name"]):
        print(f"{options.name}: is in {out} already")
        return
    folder = sources.fetch(options.source, data_dir=options.data_dir)
    index = dataset.scan(folder)
    index = index[index["split"] != "test"].reset_index(drop=True)
    large = np.asarray(images.cache(index, folder, size=224))
    sizes = pd.read_csv(options.sizes) if options.sizes else None
    split = shift.split(index, large, sizes=sizes)
    files.write_csv(out.parent / "trials" / f"{splits.digest(split)}.csv.gz", split, ours=("path", "part"))
    pixels = np.stack([normalised(images.resize(image[:, :, 0], c["size"]), c["norm"]) for image in large])[..., None]
    label, part = split["label"].to_numpy(), split["part"].to_numpy()
    inside, held = np.flatnonzero(part == "train"), np.flatnonzero(part != "train")
    statistics = audit.picture_statistics(large[inside]).to_numpy() if c["even"] else np.empty(0)
    weight = weights(c, label[inside], statistics, splits.group_names(index).to_numpy(object)[inside])
    model, loss, seconds = train(c, pixels[inside], label[inside], weight)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    row = {"date": today, "name": options.name, "settings": json.dumps(settings), "seed": c["seed"],
           "split": splits.digest(split), "parameters": model.count_params(), "seconds": round(seconds),
           "loss": loss}  # fmt: skip
    row |= judged(label[held], part[held], answers(model, pixels[held]))
    with files.lock(out):
        there = [pd.read_csv(out)] if out.is_file() else []
        files.write_csv(out, pd.concat([*there, pd.DataFrame([row]).round(4)]), ours=("name", "settings"))
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
