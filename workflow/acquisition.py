"""Count the stamp of an acquisition that goes with the label, and say what networks do on the images that look like it.

Run from the project's root: python workflow/acquisition.py --source folder

Some images have "KV59", or KV with another number, burnt into their lower right corner. The stamp's template is cut
from a named file of the dataset when this runs, so no picture is kept. Without ``--source`` no image is read: the
counts that are kept stay, and only what follows from the kept predictions is made anew.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from cxr_utils import dataset, evaluation, files, images, ledger, sources
from cxr_utils.errors import BadInput
from cxr_utils.replication import grid

SIZE = 224
TEMPLATE = "chest_xray/train/PNEUMONIA/person1670_bacteria_4425.jpeg"
BOX = (206, 212, 224, 224)  # left, top, right, bottom in pixels of the image at `SIZE`: it ends in the corner
#: The letters have one size in the originals, so widths and heights vary in what was squashed.
SCALES = np.arange(6, 13) / 10
#: Bright strokes thinner than `STROKE` pixels are kept, less `FLOOR` grey levels: neither body nor noise then matches.
STROKE, FLOOR = 7, 20
#: In the middle of the histogram's empty part, .488 to .594. Seen by eye: all 233 above it, and the 67 next below.
THRESHOLD = 0.54
LOOKED_AT = 67
#: Above the threshold, but with other lettering: seen by eye.
OTHER_LETTERING = ("NORMAL2-IM-0611-0001",)
#: NORMAL numbers of test that look like the acquisition of the stamped images; chosen after errors there had been seen.
FIRST, LAST = "NORMAL2-IM-0171", "NORMAL2-IM-0271"
CHOSEN = "after the errors of networks on test had been seen"


def strokes(image: np.ndarray) -> np.ndarray:
    """Return what an image has of thin bright strokes in its lower right corner."""
    corner = image[-2 * (BOX[3] - BOX[1]) :, -2 * (BOX[2] - BOX[0]) :]
    hat = cv2.morphologyEx(corner, cv2.MORPH_TOPHAT, np.ones((STROKE, STROKE), np.uint8))
    return np.maximum(hat, FLOOR) - FLOOR


def match(pixels, template: np.ndarray) -> np.ndarray:
    """Compare the corner of each image with a stamp, by normalised cross-correlation.

    Parameters
    ----------
    pixels : array of uint8, shape (n, 224, 224, 1)
        The images.
    template : array of uint8, shape (224, 224)
        The image whose `BOX` is the stamp.

    Returns
    -------
    array of float, shape (n,)
        The highest correlation over widths and heights of the stamp, at most one pixel from the corner; 0 where there
        is no stroke.
    """
    height, width = BOX[3] - BOX[1], BOX[2] - BOX[0]
    cut = strokes(template)[-height:, -width:]
    stamps = [
        cv2.resize(cut, (round(width * x), round(height * y)), interpolation=cv2.INTER_AREA)
        for x in SCALES
        for y in SCALES
    ]
    found = np.zeros(len(pixels))
    for row, image in enumerate(pixels):
        there = strokes(image[..., 0])
        for stamp in stamps if there.any() else ():
            region = there[-stamp.shape[0] - 1 :, -stamp.shape[1] - 1 :]
            values = cv2.matchTemplate(region, stamp, cv2.TM_CCOEFF_NORMED)
            values = values[np.isfinite(values) & (values < 1 + 1e-3)]  # no figure where a region is even
            found[row] = max(found[row], values.max(initial=0))
    return found


def count(index: pd.DataFrame, pixels) -> dict:
    """Count the stamped images by part and class.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`; it must hold the file of the template.
    pixels : array of uint8, shape (n, 224, 224, 1)
        The images, in the order of `index`.

    Returns
    -------
    dict
        How it was counted, counts (one mapping a part and class), and the stems of the stamped files.

    Raises
    ------
    BadInput
        The template's file is not among the images.
    """
    rows = np.flatnonzero(index["path"] == TEMPLATE)
    if not len(rows):
        raise BadInput(f"{TEMPLATE}: the stamp is cut from this file, and it is not among the images")
    value, stems = match(pixels, pixels[rows[0]][..., 0]), index["path"].map(dataset.stem_of)
    stamped = (value >= THRESHOLD) & ~stems.isin(OTHER_LETTERING)
    counted = index.assign(stamped=stamped).groupby(["split", "label"])["stamped"].agg(["size", "sum"])
    return {
        "template": TEMPLATE,
        "box": list(BOX),
        "threshold": THRESHOLD,
        "looked_at": {"above": int((value >= THRESHOLD).sum()), "next_below": LOOKED_AT},
        "above_but_other_lettering": list(OTHER_LETTERING),
        "counts": [
            {"part": part, "class": dataset.CLASSES[label], "images": int(row["size"]), "stamped": int(row["sum"])}
            for (part, label), row in counted.iterrows()
        ],
        "stems": sorted(stems[stamped]),
    }


def in_run(table: pd.DataFrame) -> pd.Series:
    """Say which rows of a table with paths are of the run of numbers."""
    number = table["path"].map(dataset.stem_of).str[: len(FIRST)]
    return number.between(FIRST, LAST)


def judge(predictions: pd.DataFrame) -> dict[str, float]:
    """Return a network's figures at .5 on the NORMAL images of the run and of the rest of test, and without the run."""
    test = predictions[predictions["split"] == "test"]
    inside, normal = in_run(test), test["label"] == 0
    found: dict[str, float] = {}
    for name, rows in (("run", inside & normal), ("others", ~inside & normal)):
        alarms = int((test.loc[rows, "probability"] >= 0.5).sum())
        found |= {f"false_positives_{name}": alarms, f"specificity_{name}": 1 - alarms / int(rows.sum())}
    for name, rows in (("test", test), ("without_run", test[~inside])):
        values = evaluation.metrics(rows["label"], rows["probability"])
        found |= {f"{metric}_{name}": values[metric] for metric in ("accuracy", "auc")}
    return found


def networks(out: Path) -> tuple[list[dict], int, str]:
    """Judge what is kept in a folder of results.

    Returns
    -------
    rows : list of dict
        A mean for each honest recipe, each run of `reference`, and the scored tables of this project.
    count : int
        Of how many tables of predictions.
    identity : str
        Of these tables.
    """
    records = {name: one for name, one in grid.results(out).items() if one["protocol"] == "honest"}
    runs = {name: evaluation.read_predictions(out / "runs" / f"{name}.predictions.csv.gz") for name in records}
    scored = {
        name.replace("_", " "): evaluation.read_predictions(out / "scores" / f"{name}.predictions.csv.gz")
        for name in ("eight_statistics", "reference_mean_of_five")
    }
    found = {name: judge(table) for name, table in (runs | scored).items()}
    recipe = {name: name.rsplit("-honest-", 1)[0] for name in runs}
    means = pd.DataFrame([found[name] for name in runs]).groupby(list(recipe.values()))
    seeds = means.size()
    rows = [{"network": f"{name} honest", "seeds": int(seeds[name]), **row} for name, row in means.mean().iterrows()]
    single = [name for name in runs if recipe[name] == "reference"] + list(scored)
    rows += [{"network": name, "seeds": 1, **found[name]} for name in single]
    rows = [{key: round(one, 6) if isinstance(one, float) else one for key, one in row.items()} for row in rows]
    identity = files.digest("".join(table.to_csv() for table in (runs | scored).values()), length=12)
    return rows, len(found), identity


def main(arguments: list[str] | None = None) -> None:
    """Make ``OUT/acquisition.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="folder or kaggle; without, the counts that are kept stay")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    out = files.resolve(options.out)
    path = out / "acquisition.json"
    if options.source:
        folder = sources.fetch(options.source, data_dir=options.data_dir)
        index = dataset.scan(folder)
        stamp = count(index, images.cache(index, folder, size=SIZE))
        seen = {"image_source": grid.image_source(options.source, index), "stamp": stamp}
    else:
        seen = {name: files.read_json(path)[name] for name in ("image_source", "stamp")}
    rows, tables, identity = networks(out)
    ledger.enter(out, cell=f"acquisition, {tables} tables of kept predictions", identity=identity, reads=tables,
                 remark="results/acquisition.json")  # fmt: skip
    table = evaluation.read_predictions(out / "scores" / "reference_mean_of_five.predictions.csv.gz")
    normal = table[(table["split"] == "test") & (table["label"] == 0)]
    run = normal[in_run(normal)]
    stamped = run["path"].map(dataset.stem_of).isin(seen["stamp"]["stems"])
    numbers = {"first": FIRST, "last": LAST, "chosen": CHOSEN, "images": len(run), "stamped": int(stamped.sum()),
               "others": len(normal) - len(run)}  # fmt: skip
    files.write_json(path, seen | {"run": numbers, "networks": rows}, ours=("stamp", "run", "networks"))
    print(pd.DataFrame(seen["stamp"]["counts"]).to_string(index=False), pd.DataFrame(rows).to_string(), sep="\n\n")


if __name__ == "__main__":
    main()
