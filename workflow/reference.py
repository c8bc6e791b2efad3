"""What is opened on test for the recipes of our own besides their five runs, as their protocols say.

After ``cxr replicate --recipe reference --seeds 0,1,2,3,4 --out results --work W``, run from the project's root:

    python workflow/reference.py --source folder --work W

For `reference_2` both name it (``--recipe``), and ``--covered`` asks all five networks what they know when parts are
covered. The mean of the five runs is judged by `score` (``scores/reference_mean_of_five.json``). The plain answers of
each run, without averaged views, and the heat and shortcut tests of the run with seed 0 go into ``reference.json``;
this run's model into ``models/``: that of `reference` is the one that is shipped, another lies in a folder of its own.
Each look at test enters the ledger before it happens.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_utils import dataset, evaluation, files, images, ledger, models, shortcuts, sources, splits, training
from cxr_utils.predict import export
from cxr_utils.replication import grid, score

SEEDS = range(5)
SHIPPED = 0  # said before its figures were known
COVERED = ("as it is", "central chest covered", "all but border covered")
METRICS = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity")


def mean_of_five(out: Path, recipe: str = "reference") -> pd.DataFrame:
    """Return the predictions of the five runs, averaged as log-odds image by image."""
    paths = [out / "runs" / f"{recipe}-honest-s{s}.predictions.csv.gz" for s in SEEDS]
    kept = grid.results(out)[f"{recipe}-honest-s0"]["split"]
    split = files.read_csv(out / "splits" / f"{kept}.csv.gz", columns=("path", "label", "part"))
    tables = [evaluation.check(evaluation.read_predictions(path), split, where=path) for path in paths]
    for table in tables[1:]:
        assert table["path"].equals(tables[0]["path"])
    probability = models.mean_answer([table["probability"].to_numpy() for table in tables])
    return tables[0].assign(probability=probability.round(6))


def main(arguments: list[str] | None = None) -> None:
    """Make the ensemble's score, the record of what was opened besides, and the shipped model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="reference", choices=["reference", "reference_2"])
    parser.add_argument("--covered", action="store_true", help="let all seeds answer with parts covered, too")
    parser.add_argument("--source", default="folder", help="folder or kaggle")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--work", required=True, help="the folder with the run folders of `cxr replicate`")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    out, work, name = files.resolve(options.out), files.resolve(options.work), options.recipe

    folder = sources.fetch(options.source, data_dir=options.data_dir)
    index = dataset.scan(folder)
    cells = [grid.Cell(name, "honest", seed) for seed in SEEDS]
    recipe, split = cells[0].get_recipe(), cells[0].split(index)
    identity = {cell: cell.identity(split, index) for cell in cells}
    pixels = images.cache(index, folder, size=recipe.image_size)
    rows = np.flatnonzero(split["part"] == "test")
    path = out / "scores" / f"{name}_mean_of_five.predictions.csv.gz"
    files.write_csv(path, mean_of_five(out, name), ours=evaluation.COLUMNS)
    parts = out / "splits" / f"{splits.digest(split)}.csv.gz"
    score.score(path, split=parts, out=path.with_name(f"{name}_mean_of_five.json"))
    runs = [training.load(work / f"{cell.name}-{identity[cell]}") for cell in cells]

    plain = []
    for cell, run in zip(cells, runs, strict=True):
        ledger.enter(out, cell=f"{cell.name}, plain answers", identity=identity[cell],
                     remark=f"results/{name}.json")  # fmt: skip
        table = evaluation.predict(run.load_model(), pixels, split)
        each = {part: table[table["split"] == part] for part in ("validation", "test")}
        found = {part: evaluation.metrics(t["label"], t["probability"]) for part, t in each.items()}
        plain.append({"seed": cell.seed} | {
            f"{part}_{metric}": round(found[part][metric], 4) for part in each for metric in METRICS
        })  # fmt: skip

    tested = split.iloc[rows].reset_index(drop=True)
    covered = []
    for cell, run in zip(cells, runs, strict=True) if options.covered else ():
        ledger.enter(out, cell=f"{cell.name}, parts covered", identity=identity[cell],
                     remark=f"results/{name}.json")  # fmt: skip
        table = shortcuts.measure(run.load_model(), pixels[rows], tested, views=recipe.views, only=COVERED)
        covered.append({"seed": cell.seed} | table["value"].round(4).to_dict())

    shipped = runs[SHIPPED]
    threshold = grid.results(out)[cells[SHIPPED].name]["metrics"]["threshold"]
    ledger.enter(out, cell=f"{cells[SHIPPED].name}, heat and shortcuts",
                 identity=identity[cells[SHIPPED]], remark=f"results/{name}.json")  # fmt: skip
    tests = shortcuts.judge(shipped.load_model(), pixels[rows], tested, threshold=threshold, views=recipe.views)
    record = {"plain": plain, "shipped": cells[SHIPPED].name, "tests": tests}
    record |= {"covered": covered} if covered else {}
    files.write_json(out / f"{name}.json", record, ours=("plain", "shipped", "tests"))
    models_of = out / "models" / ("" if name == "reference" else name)  # one card a folder
    for to in ("keras", "onnx"):
        export.export(shipped.folder, to=to, out=models_of / f"{name}.{to}", data_dir=options.data_dir)


if __name__ == "__main__":
    main()
