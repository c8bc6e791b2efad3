"""What our networks answered for another hospital's images, the NIH sample, and what their answers are worth there.

Run from the project's root, after `cxr replicate`:

    python workflow/elsewhere.py --path nih-sample-224.zip --table nih-sample.csv --work WORK --source folder

Each reading is entered in the ledger. Nothing may be chosen by these images. Answers that are kept already stay;
without `--path` only the table of all networks is made again, from the kept answers.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from eight_statistics import predict

from cxr_utils import (
    dataset,
    evaluation,
    explain,
    files,
    images,
    ledger,
    models,
    recipes,
    shortcuts,
    sources,
    splits,
    training,
)
from cxr_utils.predict import elsewhere, labelled
from cxr_utils.replication import claims, grid, verdicts

#: What is kept of each image: nothing else of the sample's table is needed for a figure.
COLUMNS = ("path", "patient", "age", "sex", "view")
#: The groups of the table of networks.
GROUPS = {
    "all": lambda about: about["path"] != "",
    "AP": lambda about: about["view"] == "AP",
    "PA": lambda about: about["view"] == "PA",
    "under 18": lambda about: about["age"] < 18,
}
STATISTICS = "eight_statistics"
#: The AUC over a group, the range over the seeds, and the 95% interval over seeds and patients.
COVERED = "the NIH sample, not this test set: AUC with parts of the images covered"
FIVE = ("", "_min", "_max", "_low", "_high")


def store(index: pd.DataFrame, folder: Path, *, work: Path, out: Path, ledger_of: Path) -> None:
    """Let the networks of honest runs answer for the sample: as it is, and with parts covered.

    Parameters
    ----------
    index : DataFrame
        Of the sample, from `labelled.opened`, with width, height and view.
    folder : Path
        What its paths are relative to.
    work, out : Path
        The run folders and the results of `cxr replicate`. Of each result there whose run folder lies in `work`,
        ``OUT/runs/<cell>.nih.csv.gz`` (path, patient, split, label, probability) and ``OUT/runs/<cell>.covered.csv``
        (a row a group, a column an entry of `elsewhere.SHORTCUTS`: AUC) are written, if they are not there yet.
    ledger_of : Path
        The folder of results whose ledger each look at the sample's labels enters, before it happens.
    """
    split = index.assign(part=index["split"])
    for name, record in grid.results(out).items() if out.is_dir() else ():
        path, run = out / "runs" / f"{name}.nih.csv.gz", work / f"{name}-{record['identity']}"
        covered = path.with_name(f"{name}.covered.csv")
        wanted = [each for each in (path, covered) if not each.is_file()]
        if record["protocol"] != "honest" or not wanted or not (run / "run.json").is_file():
            continue
        kept = training.load(run)
        if kept.record["seconds"] != record["seconds"]:  # another training of the same cell
            continue
        model = kept.load_model()
        shrunk = recipes.get(record["recipe"]["name"]).of(index)
        pixels = images.cache(index, folder, size=shrunk.image_size, interpolation=shrunk.interpolation)
        if path in wanted:
            table = evaluation.predict(model, pixels, split, parts=["test"], views=shrunk.views)
            files.write_csv(path, table[list(evaluation.COLUMNS)].round({"probability": 6}))
        if covered in wanted:
            ledger.enter(ledger_of, cell=name, identity=record["identity"], reads=0, remark=COVERED)
            files.write_csv(covered, cover(model, np.asarray(pixels), index))
        print(name)


def cover(model: Any, pixels: np.ndarray, index: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC over all images, over AP and over PA when parts are covered; each is answered once."""
    label, found = index["label"].to_numpy(), {}
    changes = shortcuts.changes(label, grey=int(round(float(pixels.mean()))))
    for change in elsewhere.SHORTCUTS:
        probability = models.answers(model, changes[change](pixels))
        rows = {"all": slice(None)} | {view: (index["view"] == view).to_numpy() for view in ("AP", "PA")}
        found[change] = {name: evaluation.metrics(label[of], probability[of])["auc"] for name, of in rows.items()}
    return pd.DataFrame(found).round(4).rename_axis("group").reset_index()


def store_statistics(index: pd.DataFrame, folder: Path, *, source: str, data_dir: str, out: Path) -> None:
    """Write what trees on eight statistics of the dataset's train answer for the sample, if that is not kept yet."""
    path = out / "elsewhere" / f"{STATISTICS}.nih.csv.gz"
    if path.is_file():
        return
    at_home = sources.fetch(source, data_dir=data_dir)
    known = dataset.scan(at_home)
    split = splits.grouped(known, seed=0)
    train = (split["part"] == "train").to_numpy()
    both = pd.concat([split[train], index.assign(part="test")], ignore_index=True)
    pixels = [images.cache(known, at_home, size=224)[train], images.cache(index, folder, size=224)]
    answers = predict(both, np.concatenate(pixels), both)
    files.write_csv(path, answers[list(evaluation.COLUMNS)])
    print(path)


def answered(out: Path) -> Iterator[tuple[str, float, list[pd.DataFrame], list[pd.DataFrame]]]:
    """Yield each network's name, its mean AUC on the official test set, its seeds' answers for the sample, and `cover`.

    Runs whose answers were not kept when they were trained were trained again: their results lie in ``elsewhere/runs``.
    """
    shipped = "reference-honest-s0"
    paths = {shipped: (out / "elsewhere" / "reference.predictions.csv.gz", grid.results(out)[shipped])}
    for folder in (out, out / "elsewhere"):
        for name, record in grid.results(folder).items():
            if (path := folder / "runs" / f"{name}.nih.csv.gz").is_file():
                paths.setdefault(name, (path, record))
    for recipe in sorted({name.rsplit("-", 2)[0] for name in paths}):
        kept, records = zip(*(paths[name] for name in sorted(paths) if name.rsplit("-", 2)[0] == recipe), strict=True)
        at_home = [verdicts.at_half(record, "test")["auc"] for record in records]
        covered = [path.with_name(path.name.partition(".")[0] + ".covered.csv") for path in kept]
        tables = [files.read_csv(path).set_index("group") for path in covered if path.is_file()]
        if recipe == "reference":
            known = files.read_record(out / "elsewhere" / "reference.json")["shortcuts"]["view AP"]
            tables.append(pd.DataFrame({name: {"AP": found["value"]} for name, found in known.items()}))
        yield recipe, float(np.mean(at_home)), list(map(evaluation.read_predictions, kept)), tables
    if (path := out / "elsewhere" / f"{STATISTICS}.nih.csv.gz").is_file():
        score = claims.score_row(files.read_record(out / "scores" / f"{STATISTICS}.json"))
        yield STATISTICS.replace("_", " "), score["auc"], [evaluation.read_predictions(path)], []


def networks(out: Path, *, only: tuple[str, ...] = (), draws: int = 2000) -> pd.DataFrame:
    """Judge the kept answers: one row a network.

    Parameters
    ----------
    out : Path
        A folder of results.
    only : tuple of str
        Networks; all if empty.
    draws : int
        Of patients, for the intervals.

    Returns
    -------
    DataFrame
        ``network``, ``seeds``, ``auc_test`` (mean on the official test set), and of each of `GROUPS` ``auc``, mean over
        the seeds, with its range and 95% interval; ``sensitivity`` and ``specificity`` over all images at .5 (means);
        ``AP, ...``: the mean AUC in AP when parts are covered.

    Raises
    ------
    ValueError
        Kept answers are of other images.
    """
    about = files.read_csv(out / "elsewhere" / "images.csv", columns=COLUMNS).sort_values("path", ignore_index=True)
    rows = []
    for name, at_home, tables, covered in answered(out):
        if only and name not in only:
            continue
        row = {"network": name, "seeds": len(tables), "auc_test": at_home}
        tables = [table.sort_values("path", ignore_index=True).assign(patient=about["patient"]) for table in tables]
        if any(table["path"].tolist() != about["path"].tolist() for table in tables):
            raise ValueError(f"{name}: answers for other images than those of {out}/elsewhere/images.csv")
        for group, chosen in GROUPS.items():
            parts = [table[chosen(about)].reset_index(drop=True) for table in tables]
            found = [evaluation.metrics(part["label"], part["probability"]) for part in parts]
            values = [one["auc"] for one in found]
            drawn = np.mean([evaluation.resample(part, draws=draws)["auc"] for part in parts], axis=0)
            mean, low, high = evaluation.over_seeds([values], drawn)
            row |= zip((f"{group}{end}" for end in FIVE), (mean, min(values), max(values), low, high), strict=True)
            if group == "all":
                row |= {m: np.mean([one[m] for one in found]) for m in ("sensitivity", "specificity")}
        each = {change: [table.at["AP", change] for table in covered] for change in elsewhere.SHORTCUTS[1:]}
        rows.append(row | {f"AP, {change}": np.mean(values) if values else None for change, values in each.items()})
    return pd.DataFrame(rows).round(4)


def main(arguments: list[str] | None = None) -> None:
    """Store what is missing, and judge all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", help="the sample: an archive or a folder")
    parser.add_argument("--table", help="what is known of its images: a CSV file")
    parser.add_argument("--work", help="the folder with the run folders of `cxr replicate`")
    parser.add_argument("--source", default="folder", help="the dataset's images, for the eight statistics")
    parser.add_argument("--data-dir", default="data", help="where they are kept")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    out = files.resolve(options.out)
    if options.path and not options.table:
        parser.error("--path needs --table")
    if options.path:
        about = files.read_csv(Path(options.table), columns=COLUMNS)[list(COLUMNS)]
        folder = sources.fetch("folder", data_dir=Path(options.data_dir, "nih"), path=options.path)
        with labelled.opened(folder, named=labelled.classes()) as (index, *_):
            index = index.drop(columns="named")
        about["path"] = "chest_xray/" + about["path"].str.removeprefix("chest_xray/")
        files.write_csv(out / "elsewhere" / "images.csv", about, ours=COLUMNS)
        sizes = [images.check(images.read_bytes(folder / path), path)[:2] for path in index["path"]]
        index[["width", "height"]] = sizes
        known = about.set_index("path").loc[index["path"]].reset_index()
        index = index.assign(view=known["view"], patient=known["patient"].astype("string"))
        if options.work:
            for results in (out, out / "elsewhere"):
                store(index, folder, work=files.resolve(options.work), out=results, ledger_of=out)
        store_statistics(index, folder, source=options.source, data_dir=options.data_dir, out=out)
        if not (record := out / "elsewhere" / "reference.json").is_file():
            elsewhere.judge_model(
                out / "models" / "reference.onnx", source="folder", path=options.path, table=options.table,
                by=("view", "age", "sex"), covered=True, out=record, progress=True,
                origin="ChestX-ray14, NIH Clinical Center (Wang and others, 2017)",
                licence="free to use, with attribution",
            )  # fmt: skip
        if not (path := out / "elsewhere" / "heat.json").is_file():
            ledger.enter(out, cell="reference", reads=0, remark="the NIH sample, not this test set: heat maps in AP")
            ill = index[(index["label"] == 1) & (index["view"] == "AP")]
            size = recipes.get("reference").image_size
            pixels = images.cache(index, folder, size=size)[ill.index] / np.float32(255)
            heats = explain.heat_maps(models.load(out / "models" / "reference.keras").network, pixels, how="gradcam")
            shares = explain.means(shortcuts.heat_shares(heats), ill["patient"]).round(4).to_dict(orient="index")
            files.write_json(path, {"how": "gradcam", "of": "AP, PNEUMONIA", "images": len(ill)} | shares)
    for name, _, tables, _ in answered(out):
        remark = f"the NIH sample, not this test set: the answers of {len(tables)}, judged in all, by view and age"
        ledger.enter(out, cell=name, reads=0, remark=remark)
    table = networks(out)
    files.write_csv(out / "elsewhere" / "networks.csv", table, ours=("network", "seeds", "auc_test"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
