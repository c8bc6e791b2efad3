"""Let honest runs answer for the NIH sample, and keep the answers beside their predictions. Computes no figure.

Labels are kept beside the answers, but nothing here compares them: they are opened later, once a protocol.
Run from the project's root, after `cxr replicate`:

    python workflow/nih_answers.py --path nih-sample-224.zip --work WORK --out results
"""

import argparse
from pathlib import Path

import pandas as pd

from cxr_utils import dataset, evaluation, files, images, recipes, sources, training
from cxr_utils.replication import grid


def store(index: pd.DataFrame, folder: Path, *, work: Path, out: Path) -> list[Path]:
    """Write ``OUT/runs/<cell>.nih.csv.gz`` for each honest result there whose run folder lies in `work`.

    Parameters
    ----------
    index : DataFrame
        Of the sample, from `dataset.labelled`, with width and height.
    folder : Path
        What its paths are relative to.
    work, out : Path
        The run folders and the results of `cxr replicate`.

    Returns
    -------
    list of Path
        What was written: path, patient, split, label, probability (six decimals), one row an image. Answers that
        are there already stay.
    """
    split = index.assign(part=index["split"])
    written = []
    for name, record in grid.results(out).items():
        path, run = out / "runs" / f"{name}.nih.csv.gz", work / f"{name}-{record['identity']}"
        if record["protocol"] != "honest" or path.is_file() or not (run / "run.json").is_file():
            continue
        kept = training.load(run)
        shrunk = recipes.get(record["recipe"]["name"]).of(index)
        pixels = images.cache(index, folder, size=shrunk.image_size, interpolation=shrunk.interpolation)
        table = evaluation.predict(kept.load_model(), pixels, split, parts=["test"], views=shrunk.views)
        files.write_csv(path, table[list(evaluation.COLUMNS)].round({"probability": 6}))
        written.append(path)
        print(path)
    return written


def main(arguments: list[str] | None = None) -> None:
    """Store what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", required=True, help="the sample: an archive or a folder")
    parser.add_argument("--data-dir", default="data/nih", help="where it is kept")
    parser.add_argument("--work", required=True, help="the folder with the run folders of `cxr replicate`")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    folder = sources.fetch("folder", data_dir=options.data_dir, path=options.path)
    index = dataset.labelled(folder)
    sizes = [images.check(images.read_bytes(folder / path), path)[:2] for path in index["path"]]
    index[["width", "height"]] = sizes
    store(index, folder, work=files.resolve(options.work), out=files.resolve(options.out))


if __name__ == "__main__":
    main()
