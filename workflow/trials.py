"""Trials towards our own recipes, on train alone: each trains one candidate and adds its row to a table.

The official test set is never seen here: its rows are dropped before an image is decoded. A candidate trains on the
part "train" of `shift.split`; the random part and the shifted ones judge it. Run from the project's root:

    python workflow/trials.py --source folder --sizes original-sizes.csv NAME '{"epochs": 24, "gamma": 0.4}'

`--shares 2` holds out what the trials towards `reference_2` did; `--split` takes a split that is kept, and saves the
minute of making it.

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

from cxr_utils import audit, augment, dataset, evaluation, files, images, shortcuts, sources, splits

DEFAULTS = {
    "size": 64, "filters": [16, 32, 64, 128], "blocks": 2, "residual": True, "epochs": 12, "batch": 32, "lr": 2e-3,
    "decay": 0.02, "smoothing": 0.05, "class_weight": True, "even": 0.0, "ema": 0.0, "dropout": 0.2, "seed": 0,
    "norm": "none", "rotation": 0, "shift": 0, "shear": 0, "zoom": 0, "gamma": 0, "contrast": 0, "brightness": 0,
    "border": 0, "window": 0, "coarse": 0, "blur": 0, "noise": 0, "erase": 0, "mixup": 0,
    "crop": 0, "frame": 0, "match": 0, "amplitude": 0, "equalise": 0, "letters": 0, "surround": 0, "void": 0,
    "mixstyle": 0, "under": False,
}  # fmt: skip
MILD = DEFAULTS | {"rotation": 8, "zoom": 0.12, "shift": 0.05, "shear": 4, "gamma": 0.25, "contrast": 0.15}
"""How images are changed for the answers that are averaged ("tta"): one plain, four changed."""


SHORTCUTS = {
    "centre_covered": "central chest covered",
    "border_alone": "all but border covered",
    "centre_alone": "all but central chest covered",
    "surroundings_exchanged": "surroundings of the other class",
}
"""What is asked of the random part, from `shortcuts.changes`."""


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


def matched(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return a uint8 image with the histogram of another."""
    counts = [np.bincount(each.ravel(), minlength=256).cumsum() for each in (image, other)]
    return np.searchsorted(counts[1], counts[0]).clip(0, 255).astype("uint8")[image]


def with_amplitude(image: np.ndarray, other: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Return a uint8 image with the lowest frequencies' amplitudes of another, its own phase kept."""
    ours, theirs = (np.fft.rfft2(each / 255) for each in (image, other))
    reach = int(share * len(image))
    lines, columns = [*range(reach + 1), *range(-reach, 0)], range(reach + 1)
    low = np.ix_(lines, columns)
    ours[low] = np.abs(theirs[low]) * np.exp(1j * np.angle(ours[low]))
    return (np.fft.irfft2(ours, image.shape).clip(0, 1) * 255).round().astype("uint8")


def exchanged(pictures: np.ndarray, c: dict, rng: np.random.Generator) -> np.ndarray:
    """Give uint8 images (n, s, s) of a batch the appearance of another, whatever its class; returns new ones."""
    others, ways = rng.permutation(len(pictures)), rng.random((4, len(pictures)))
    result, size = [], pictures.shape[1]
    for row, image in enumerate(pictures):
        if ways[0, row] < c["amplitude"]:
            image = with_amplitude(image, pictures[others[row]])
        if ways[1, row] < c["match"]:
            image = matched(image, pictures[others[row]])
        if ways[2, row] < c["equalise"]:
            image = cv2.createCLAHE(3, (4, 4)).apply(image) if ways[3, row] < 0.5 else cv2.equalizeHist(image)
        if rng.random() < c["letters"]:
            image, at = image.copy(), rng.uniform(0.02, 0.9, 2) * size
            letter, height = "LRPA"[rng.integers(4)], rng.uniform(0.25, 0.5) * size / 64
            cv2.putText(image, letter, at.astype(int).tolist(), cv2.FONT_HERSHEY_SIMPLEX, height,
                        int(rng.integers(150, 256)), 1, cv2.LINE_AA)  # fmt: skip
        result.append(image)
    return np.stack(result)


def beyond(size: int, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return masks (n, s, s) of what lies outside of the chest, with edges drawn at random: .05 to .22 of the side."""
    at, (left, right, top, bottom) = (np.arange(size) + 0.5) / size, rng.uniform(0.05, 0.22, (4, count, 1))
    across, down = (at >= left) & (at < 1 - right), (at >= top) & (at < 1 - bottom)
    return ~(down[:, :, None] & across[:, None, :])


def changed(image: np.ndarray, c: dict, rng: np.random.Generator) -> np.ndarray:
    """Change one uint8 image (s, s) at random; returns float32, roughly in [0, 1]."""
    image, size = image.astype("float32") / 255, len(image)
    if c["rotation"] or c["zoom"] or c["shift"] or c["shear"]:
        zoom, moved = np.exp(np.log1p(c["zoom"]) * rng.uniform(-1, 1, 2)), c["shift"] * size * rng.uniform(-1, 1, 2)
        if c["frame"]:  # a tighter framing, anywhere within the picture
            closer = 1 - c["frame"] * rng.random()
            zoom, moved = zoom * closer, moved + (1 - closer) / 2 * size * rng.uniform(-1, 1, 2)
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

    class MixStyle(kl.Layer):
        """Zhou and others, Domain generalization with MixStyle, ICLR 2021: statistics of maps, mixed in the batch."""

        def call(self, x, training=False):
            if not training:
                return x
            from keras import ops

            wide = ops.cast(x, "float32")
            mean, deviation = ops.mean(wide, (1, 2), keepdims=True), ops.var(wide, (1, 2), keepdims=True)
            deviation = ops.sqrt(deviation + 1e-4)
            order = keras.random.shuffle(ops.arange(ops.shape(x)[0]), seed=self.seeds)
            share = keras.random.beta((ops.shape(x)[0], 1, 1, 1), 0.1, 0.1, seed=self.seeds)
            here = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), seed=self.seeds) < c["mixstyle"]
            share = ops.where(here, share, 1.0)
            scaled = (wide - mean) / deviation
            of = [share * own + (1 - share) * ops.take(own, order, axis=0) for own in (mean, deviation)]
            return ops.cast(scaled * of[1] + of[0], x.dtype)

        def build(self, shape):
            self.seeds = keras.random.SeedGenerator(c["seed"])

    inputs = keras.Input((c["size"], c["size"], 1))
    x = kl.Cropping2D(round(c["crop"] * c["size"]))(inputs) if c["crop"] else inputs
    x = kl.ReLU()(convolved(x, c["filters"][0], strides=2))
    for stage, filters in enumerate(c["filters"]):
        for block in range(c["blocks"] if isinstance(c["blocks"], int) else c["blocks"][stage]):
            strides = 2 if stage and not block else 1
            if not c["residual"]:
                x = kl.ReLU()(convolved(x, filters, strides=strides))
                continue
            y = convolved(kl.ReLU()(convolved(x, filters, strides=strides)), filters)
            x = convolved(kl.AveragePooling2D(2)(x), filters, kernel=1) if strides == 2 else x
            x = kl.ReLU()(kl.Add()([x, y]))
        x = MixStyle()(x) if c["mixstyle"] and stage < 2 else x
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
        if (c["class_weight"] or c["even"]) and not c["under"]:
            weight[label == value] *= len(label) / 2 / weight[label == value].sum()
    return weight.astype("float32")


def train(c: dict, pixels: np.ndarray, label: np.ndarray, weight: np.ndarray, held: tuple[np.ndarray, np.ndarray]):
    """Train a candidate; returns the network, the weights of each epoch, the course of its losses and the seconds.

    `held` are images and labels of the random part: after each epoch, the loss with all images and with both classes
    weighing the same.
    """
    from cxr_utils import training
    from cxr_utils.backend import keras

    rarer = [np.flatnonzero(label == value) for value in np.argsort(np.bincount(label))]  # the rarer class first
    examples = 2 * len(rarer[0]) if c["under"] else len(label)
    size, steps = c["batch"], -(-examples // c["batch"])

    class Batches(keras.utils.PyDataset):
        epoch = 0

        def __len__(self):
            return steps

        def __getitem__(self, number):
            rng = np.random.default_rng([c["seed"], self.epoch, number])
            order = np.random.default_rng([c["seed"], self.epoch])
            if c["under"]:  # in each epoch others of the commoner class, as many as of the rarer
                rows = order.permutation(np.concatenate([rarer[0], order.choice(rarer[1], len(rarer[0]), False)]))
            else:
                rows = order.permutation(len(label))
            rows = rows[number * size : (number + 1) * size]
            pictures, y = pixels[rows, :, :, 0], label[rows].astype("float32")
            if any(c[name] for name in ("match", "amplitude", "equalise", "letters")):
                pictures = exchanged(pictures, c, rng)
            x = np.stack([changed(picture, c, rng) for picture in pictures])
            if c["surround"]:  # of another image, whatever its class
                outside = beyond(c["size"], rng, len(rows)) & (rng.random(len(rows)) < c["surround"])[:, None, None]
                x = np.where(outside, x[rng.permutation(len(rows))], x)
            if c["void"]:  # no chest to be seen: nothing can be known
                void = rng.random(len(rows)) < c["void"]
                grey = rng.random((len(rows), 1, 1), dtype="float32")
                x = np.where(~beyond(c["size"], rng, len(rows)) & void[:, None, None], grey, x)
                y = np.where(void, np.float32(0.5), y)
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
    start, kept, losses = time.perf_counter(), [], []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            p, of = called(model, held[0].astype("float32") / 255).clip(1e-7, 1 - 1e-7), held[1]
            each = -np.log(np.where(of == 1, p, 1 - p))
            losses.append((logs["loss"], each.mean(), np.mean([each[of == value].mean() for value in (0, 1)])))
            kept.append(model.get_weights())

    model.fit(Batches(), epochs=c["epochs"], shuffle=False, verbose=0, callbacks=[Keep()])
    if c["ema"]:
        optimizer.finalize_variable_values(model.trainable_variables)
    return model, kept, np.array(losses), time.perf_counter() - start


def called(model, pictures: np.ndarray) -> np.ndarray:
    """Return the probabilities of float32 images."""
    from cxr_utils.backend import keras

    parts = [model(pictures[at : at + 128], training=False) for at in range(0, len(pictures), 128)]
    return np.concatenate([keras.ops.convert_to_numpy(part)[:, 0] for part in parts]).astype(float)


def seen(pixels: np.ndarray) -> list[np.ndarray]:
    """Return uint8 images as they are, and four times mildly changed, as float32."""
    rng = np.random.default_rng(7)
    more = [np.stack([changed(p[:, :, 0], MILD, rng) for p in pixels])[..., None] for _ in range(4)]
    return [pixels.astype("float32") / 255, *more]


def averaged(model, views: list[np.ndarray]) -> np.ndarray:
    """Return the probabilities, averaged over views (as log-odds)."""
    from scipy.special import expit, logit

    return expit(np.mean([logit(called(model, view).clip(1e-5, 1 - 1e-5)) for view in views], axis=0))


WAYS = {
    "mean8": lambda kept, losses: [np.mean(each, axis=0) for each in zip(*kept[-8:], strict=True)],
    "lowest": lambda kept, losses: kept[losses[:, 1].argmin()],
    "balanced": lambda kept, losses: kept[losses[:, 2].argmin()],
}
"""Other weights than those of the last epoch: the mean of the last eight epochs, the smallest loss of the random part
with all its images (as `training.fit` does), and with both classes weighing the same."""


def further(label: np.ndarray, part: np.ndarray, found: dict[str, np.ndarray]) -> dict:
    """Return what tells the kinds of errors and the ways to choose weights and threshold apart.

    `found` names answers by weights: "last" and the keys of `WAYS`. For each: AUC, sensitivity and specificity at .5
    in the shifted parts, the specificity at the threshold there that leaves a sensitivity of .95, and both at the
    threshold that leaves sensitivities of .90 and .95 in the random part.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    row: dict = {}
    random = part == "validation"
    for way, probability in found.items():
        for name, at in {"random": random, "shifted": ~random}.items():
            of = evaluation.metrics(label[at], probability[at], threshold=0.5)
            false, true, _ = roc_curve(label[at], probability[at])
            key = f"{way}_{name}"
            row |= {f"{key}_auc": roc_auc_score(label[at], probability[at]), f"{key}_sensitivity": of["sensitivity"],
                    f"{key}_specificity": of["specificity"],
                    f"{key}_specificity_at_95": 1 - false[(true >= 0.95).argmax()]}  # fmt: skip
        for aim in (0.9, 0.95):
            threshold = np.quantile(probability[random & (label == 1)], 1 - aim)
            of = evaluation.metrics(label[~random], probability[~random], threshold=threshold)
            row |= {f"{way}_s{aim:.2f}_{name}".replace("0.", ""): of[name] for name in ("sensitivity", "specificity")}
    for name in sorted(set(part[~random])):
        at = part == name
        of = evaluation.metrics(label[at], found["last"][at], threshold=0.5)
        row |= {f"last_{name}_{what}": of[what] for what in ("auc", "sensitivity", "specificity")}
    return row


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


def trial(name: str, settings: dict, index: pd.DataFrame, large: np.ndarray, split: pd.DataFrame) -> dict:
    """Train and judge a candidate; returns its row."""
    c = DEFAULTS | settings

    def prepared(pictures):
        return np.stack([normalised(images.resize(one[:, :, 0], c["size"]), c["norm"]) for one in pictures])[..., None]

    pixels, label, part = prepared(large), split["label"].to_numpy(), split["part"].to_numpy(str)
    inside, held = np.flatnonzero(part == "train"), np.flatnonzero(part != "train")
    random = np.flatnonzero(part == "validation")
    statistics = audit.picture_statistics(large[inside]).to_numpy() if c["even"] else np.empty(0)
    weight = weights(c, label[inside], statistics, splits.group_names(index).to_numpy(object)[inside])
    model, kept, losses, seconds = train(c, pixels[inside], label[inside], weight, (pixels[random], label[random]))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    row = {"date": today, "name": name, "settings": json.dumps(settings), "seed": c["seed"],
           "split": splits.digest(split), "parameters": model.count_params(), "seconds": round(seconds),
           "loss": losses[-1, 0]}  # fmt: skip
    views = seen(pixels[held])
    plain, found = called(model, views[0]), {"last": averaged(model, views)}
    row |= judged(label[held], part[held], {"plain": plain, "tta": found["last"]})
    known = shortcuts.changes(label[random], grey=int(round(float(large[random].mean()))))
    for key, change in SHORTCUTS.items():
        probability = called(model, prepared(known[change](large[random])).astype("float32") / 255)
        row[f"random_{key}_auc"] = evaluation.metrics(label[random], probability, threshold=0.5)["auc"]
    for way, choose in WAYS.items():
        model.set_weights(choose(kept, losses))
        found[way] = averaged(model, views)
    return row | further(label[held], part[held], found)


def main(arguments: list[str] | None = None) -> None:
    """Run a trial, or all of a queue that are not in the table yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the trial, new; with --queue, a JSON file: names to settings")
    parser.add_argument("settings", nargs="?", default="{}", help="JSON: what differs from DEFAULTS")
    parser.add_argument("--queue", action="store_true", help="run all of a file, which may grow meanwhile")
    parser.add_argument("--source", default="folder", help="folder or kaggle")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--sizes", help="a CSV file of original sizes (path, width, height), for resized copies")
    parser.add_argument("--shares", default="1", choices=["1", "2"], help="which parts are held out")
    parser.add_argument("--split", help="a split that is kept, in place of making it")
    parser.add_argument("--out", default="results/trials.csv", help="the table")
    options = parser.parse_args(arguments)
    out = files.resolve(options.out)

    def waiting() -> dict[str, dict]:
        every = files.read_json(options.name) if options.queue else {options.name: json.loads(options.settings)}
        for settings in every.values():
            if unknown := set(settings) - set(DEFAULTS):
                parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(DEFAULTS)}")
        done = set(pd.read_csv(out)["name"]) if out.is_file() else set()
        return {name: settings for name, settings in every.items() if name not in done}

    if not waiting():
        print(f"{options.name}: is in {out} already")
        return
    folder = sources.fetch(options.source, data_dir=options.data_dir)
    index = dataset.scan(folder)
    index = index[index["split"] != "test"].reset_index(drop=True)
    large = np.asarray(images.cache(index, folder, size=224))
    if options.split:
        split = files.read_csv(options.split, columns=("path", "label", "part"))
        if split["path"].tolist() != index["path"].tolist():
            parser.error(f"{options.split}: a split of other images")
    else:
        sizes = pd.read_csv(options.sizes) if options.sizes else None
        split = shift.split(index, large, sizes=sizes, shares=shift.SHARES_2 if options.shares == "2" else shift.SHARES)
        files.write_csv(out.parent / "trials" / f"{splits.digest(split)}.csv.gz", split, ours=("path", "part"))
    while left := waiting():
        name, settings = next(iter(left.items()))
        row = trial(name, settings, index, large, split)
        with files.lock(out):
            there = [pd.read_csv(out)] if out.is_file() else []
            files.write_csv(out, pd.concat([*there, pd.DataFrame([row]).round(4)]), ours=("name", "settings"))
        print(json.dumps(row, indent=1), flush=True)


if __name__ == "__main__":
    main()
