"""The five folds: their tables, how unlike they are, two baselines that need no network, and the blocks of the page.

Run from the project's root: python workflow/folds.py --source folder

No image of the official test set is opened. Without ``--source`` none at all is: only the table of every picture is
made anew, from what is kept.
"""

import argparse
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
from eight_statistics import SIZE, predict

from cxr_utils import audit, dataset, evaluation, files, images, sources, splits
from cxr_utils.errors import BadInput
from cxr_utils.replication import grid, score
from cxr_utils.replication.verdicts import shown

LAGS = (1, 2, 5, 10, 20, 40, 60, 80, 120, 200)
#: What each protocol file of `results/submissions/` must say.
SAYS = ("name", "code", "trained_on", "threshold_rule", "hyperparameters_chosen_on")
COUNTED = ("NORMAL", "bacteria", "virus")


def neighbours(table: pd.DataFrame, statistics: pd.DataFrame) -> list[dict]:
    """Correlate the eight statistics of pictures whose numbers are a lag apart: the mean over the statistics.

    Parameters
    ----------
    table : DataFrame
        From `splits.folds`.
    statistics : DataFrame
        Of the same pictures, in the same order.

    Returns
    -------
    list of dict
        ``source``, ``kind``, ``numbers`` (how many), and of each lag the mean and the largest correlation.
    """
    number = table["path"].map(lambda path: dataset.parse_name(path).patient).str.extract(r"(\d+)$")[0].astype(int)
    rows = []
    for (source, kind), part in statistics.groupby([table["source"], table["kind"]]):
        means = part.groupby(number[part.index]).mean()
        means = means.reindex(range(means.index.min(), means.index.max() + 1))
        lags = {lag: [means[name].corr(means[name].shift(lag)) for name in means] for lag in LAGS}
        found = {str(lag): {"mean": np.mean(r).item(), "most": np.max(r).item()} for lag, r in lags.items()}
        rows.append({"source": source, "kind": kind, "numbers": int(means.iloc[:, 0].count()), "lags": found})
    return rows


def likeness(table: pd.DataFrame, statistics: pd.DataFrame) -> dict[str, dict]:
    """Say of each fold and class how far its pictures are from those of the four others.

    Parameters
    ----------
    table, statistics
        As for `neighbours`.

    Returns
    -------
    dict
        By fold and class: ``effects`` (of each statistic the difference of the means, in standard deviations) and the
        ``auc`` of boosted trees that tell the fold from the others: ``pictures``, where neighbours of a picture are
        among those they learned from, and ``blocks``, where no picture of its group is.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    found: dict[str, dict] = {}
    trees = HistGradientBoostingClassifier(random_state=0, max_iter=50)
    for fold in splits.FOLDS:
        for label, name in enumerate(dataset.CLASSES):
            mine = table["label"] == label
            values, inside = statistics[mine], (table.loc[mine, "part"] == fold)
            effects = (values[inside].mean() - values[~inside].mean()) / values.std()
            auc = {}
            for how, cv in {"pictures": StratifiedKFold, "blocks": StratifiedGroupKFold}.items():
                given = {"cv": cv(5, shuffle=True, random_state=0)}
                given |= {"groups": table.loc[mine, "group"]} if how == "blocks" else {}
                with threadpool_limits(1):
                    answers = cross_val_predict(trees, values.to_numpy(), inside, method="predict_proba", **given)
                auc[how] = round(float(roc_auc_score(inside, answers[:, 1])), 4)
            found.setdefault(fold, {})[name] = {"effects": effects.round(4).to_dict(), "auc": auc}
    return found


def every_picture(table: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Gather what is known of each picture of train and val.

    Parameters
    ----------
    table : DataFrame
        From `splits.folds`.
    out : Path
        The folder of results.

    Returns
    -------
    DataFrame
        ``path``, ``fold``, ``source``, ``block``, ``group``, ``duplicate_group`` (empty where no file is identical),
        ``acquisition`` ("stamped", or empty), and how many networks that had not learned from the picture ``answered``
        for it and ``missed`` it at .5: those of honest runs that validated on it, and those of folds.
    """
    stamped = set(files.read_json(out / "acquisition.json")["stamp"]["stems"])
    answered, missed = (pd.Series(0, index=table["path"]) for _ in range(2))
    for folder, part, way in ((out, "validation", ("honest",)), (out / "folds", "test", splits.FOLDS)):
        for name, record in grid.results(folder).items():
            if record["protocol"] in way:
                rows = evaluation.read_predictions(folder / "runs" / f"{name}.predictions.csv.gz")
                rows = rows[rows["split"] == part].set_index("path")
                answered = answered.add(pd.Series(1, rows.index).reindex(answered.index, fill_value=0))
                wrong = ((rows["probability"] >= 0.5) != (rows["label"] == 1)).astype(int)
                missed = missed.add(wrong.reindex(missed.index, fill_value=0))
    known = pd.DataFrame({"path": table["path"], "fold": table["part"]})
    known = known.join(table[["source", "block", "group", "duplicate_group"]])
    known["acquisition"] = np.where(table["path"].map(dataset.stem_of).isin(stamped), "stamped", "")
    counts = pd.DataFrame({"answered": answered, "missed": missed.astype("Int64").where(answered > 0)})
    return known.join(counts.loc[table["path"]].reset_index(drop=True))


def duplicates(index: pd.DataFrame) -> pd.Series:
    """Name the group of identical files of each row by its first name; empty where there is but one such file."""
    stems = index["path"].map(dataset.stem_of)
    first = stems.groupby(index["sha256"]).transform("min")
    return first.where(index["sha256"].duplicated(keep=False), "").astype(str)


def eight_statistics(index: pd.DataFrame, pixels) -> pd.DataFrame:
    """Let trees that saw the eight statistics of the four other folds answer for each fold, as `eight_statistics` does.

    The threshold of a fold is chosen in its validation, as networks do.
    """
    rows = []
    for fold in splits.FOLDS:
        answers = predict(index, pixels, splits.fold(index, fold))
        chosen, held_out = (answers[answers["split"] == part] for part in ("validation", "test"))
        cut = evaluation.best_threshold(chosen["label"], chosen["probability"])
        rows.append(held_out[["path", "probability"]].assign(threshold=cut))
    return pd.concat(rows).sort_values("path", ignore_index=True)


def submitted(folder: Path) -> dict[str, dict]:
    """Read all submissions, and compute their figures again.

    Parameters
    ----------
    folder : Path
        Holds for each submission NAME.toml, NAME.predictions.csv.gz and NAME.json.

    Returns
    -------
    dict of str to dict
        By name: what the protocol file says, and ``record``, from `score.folds`.

    Raises
    ------
    BadInput
        A file is missing or no protocol, or the kept figures are not those of the predictions.
    """
    found = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            said = tomllib.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadInput(f"{path}: is no TOML ({error})") from None
        if wrong := [name for name in SAYS if not isinstance(said.get(name), str) or not said[name].strip()]:
            raise BadInput(f"{path}: does not say {wrong[0]}; see {folder / 'README.md'}")
        kept = files.read_record(path.with_suffix(".json"), *score.FOLDS_RECORD)
        answers = path.with_suffix(".predictions.csv.gz")
        record = score.folds(answers, name=path.stem)
        differs = next((name for name in score.FOLDS_RECORD if not _same(kept[name], record[name])), None)
        if differs:
            raise BadInput(
                f"{path.with_suffix('.json')}: its {differs} is not what {answers.name} gives; make both by "
                f"cxr score --benchmark folds FILE --out {path.stem}.json"
            )
        found[path.stem] = said | {"record": record}
    return found


def _same(kept, found) -> bool:
    """Compare figures to six places, as far as machines agree."""
    if isinstance(found, dict):
        return isinstance(kept, dict) and list(kept) == list(found) and all(_same(kept[n], found[n]) for n in found)
    return kept == found or isinstance(kept, float) and isinstance(found, float | int) and abs(kept - found) < 2e-6


def blocks(out: Path) -> dict[str, str]:
    """Lay out the blocks of ``folds.md``."""
    kept = files.read_json(out / "folds" / "likeness.json")
    table = score.read_split(out / "splits" / f"{score.FOLDS}.csv.gz")
    return {
        "easier": easier_block(out),
        "counts": counts_block(table, files.read_csv(out / "folds" / "images.csv.gz", keep_default_na=False)),
        "neighbours": neighbours_block(kept["neighbours"]),
        "likeness": likeness_block(kept["folds"]),
        "figures": figures_block(out),
    }


def easier_block(out: Path) -> str:
    """Say what eight statistics reach here, on the official test set, and where persons alone are kept whole."""
    here = files.read_json(out / "submissions" / "eight_statistics.json")["figures"]["all"]
    there = files.read_json(out / "scores" / "eight_statistics.json")["metrics"]
    auc = [shown(part["at_half"]["auc"]["value"]) for part in (here, there["test"], there["validation"])]
    return (
        f"Eight statistics of a picture, without any network, reach an AUC of {auc[0]} on the folds and {auc[1]} on "
        f"the official test set. In a validation that keeps persons whole, but not blocks of numbers, they reach "
        f"{auc[2]}."
    )


def counts_block(table: pd.DataFrame, known: pd.DataFrame) -> str:
    """Count pictures, persons and groups of each fold, and what crosses their borders."""
    lines = ["| fold | images | NORMAL (IM / NORMAL2-IM) | bacteria | virus | PNEUMONIA | persons | NORMAL numbers | "
             "blocks of NORMAL | blocks of PNEUMONIA |", "| --- |" + " ---: |" * 9]  # fmt: skip
    for fold, rows in [*table.groupby("part"), ("all", table)]:
        kinds, from_ = rows["kind"].value_counts(), rows.loc[rows["label"] == 0, "source"].value_counts()
        sides = rows.groupby("label")
        persons = [part["patient"].nunique() for _, part in sides]
        groups = [part["group"].nunique() for _, part in sides]
        lines.append(
            f"| {fold} | {len(rows):,} | {kinds['normal']:,} ({from_['IM']:,} / {from_['NORMAL2-IM']:,}) | "
            f"{kinds['bacteria']:,} | {kinds['virus']:,} | {rows['label'].mean():.1%} | {persons[1]:,} | "
            f"{persons[0]:,} | {groups[0]} | {groups[1]} |"
        )
    twins = known.loc[known["duplicate_group"] != "", "duplicate_group"]
    stamps = known[known["acquisition"] != ""].groupby("fold").size().reindex(splits.FOLDS, fill_value=0)
    return "\n".join([
        *lines, "",
        f"{len(twins):,} pictures are in {twins.nunique():,} groups of identical files. No person, no such group and "
        f"no block is in two folds. The stamp that goes with the label ([acquisition.json](acquisition.json)) is on "
        f"{', '.join(map(str, stamps))} pictures of the folds 1 to 5, all PNEUMONIA.",
    ])  # fmt: skip


def neighbours_block(rows: list[dict]) -> str:
    """Lay out how much pictures resemble those with numbers near theirs."""
    lines = [
        f"| source | numbers | {' | '.join(f'{lag} apart' for lag in LAGS)} |",
        "| --- |" + " ---: |" * (len(LAGS) + 1),
    ]
    for row in rows:
        found = [f"{row['lags'][str(lag)]['mean']:.2f}" for lag in LAGS]
        lines.append(f"| {row['source']}, {row['kind']} | {row['numbers']:,} | {' | '.join(found)} |")
    return "\n".join(lines).replace(" -0.00 ", " 0.00 ")


def likeness_block(found: dict[str, dict]) -> str:
    """Lay out how unlike the folds are."""
    lines = ["| fold | class | largest differences of means, in standard deviations | AUC, pictures apart | "
             "AUC, blocks apart |", "| --- | --- | --- | ---: | ---: |"]  # fmt: skip
    for fold, classes in found.items():
        for name, row in classes.items():
            largest = sorted(row["effects"].items(), key=lambda pair: -abs(pair[1]))[:3]
            words = ", ".join(f"{statistic} {value:+.2f}" for statistic, value in largest)
            lines.append(
                f"| {fold} | {name} | {words} | {shown(row['auc']['pictures'], 2)} | {shown(row['auc']['blocks'], 2)} |"
            )
    return "\n".join(lines)


def figures_block(out: Path) -> str:
    """Lay out what was judged on the folds: submissions, and networks of the grid."""
    rows = {name: (said["record"], said["name"]) for name, said in submitted(out / "submissions").items()}
    for path in sorted((out / "folds" / "scores").glob("*.json")):
        rows[path.stem] = files.read_record(path, *score.FOLDS_RECORD), f"`{path.stem}`"
    lines = ["| what | AUC | accuracy | sensitivity | specificity | AUC by fold | accuracy by fold |",
             "| --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for record, title in sorted(rows.values(), key=lambda row: row[0]["figures"]["all"]["at_half"]["auc"]["value"]):
        whole = record["figures"]["all"]["at_half"]
        cells = [evaluation.words(whole[metric]) for metric in score.FIGURES]
        for metric in ("auc", "accuracy"):
            cells.append(", ".join(shown(record["figures"][fold]["at_half"][metric]["value"]) for fold in splits.FOLDS))
        lines.append(f"| {title} | {' | '.join(cells)} |")
        if "at_threshold" in record["figures"]["all"]:
            there = record["figures"]["all"]["at_threshold"]
            cells = [evaluation.words(there[metric]) for metric in score.FIGURES[1:]]
            by_fold = ", ".join(
                shown(record["figures"][fold]["at_threshold"]["accuracy"]["value"]) for fold in splits.FOLDS
            )
            lines.append(f"| … at each fold's own threshold | | {' | '.join(cells)} | | {by_fold} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Make the tables of the folds in ``OUT/splits``, ``OUT/folds`` and the two baselines in ``OUT/submissions``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="folder or kaggle; without, no image is read")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    out = files.resolve(options.out)
    kept_as = out / "folds" / "images.csv.gz"
    columns = ("path", "fold", "group", "missed")
    if not options.source:
        kept = files.read_csv(kept_as, keep_default_na=False)
        table = score.read_split(score.FOLDS)
        table = table.assign(
            duplicate_group=kept.set_index("path")["duplicate_group"].reindex(table["path"]).to_numpy()
        )
        files.write_csv(kept_as, every_picture(table, out), ours=columns)
        return
    folder = sources.fetch(options.source, data_dir=options.data_dir)
    whole = dataset.scan(folder)
    index = whole[whole["split"] != "test"].reset_index(drop=True)
    table = splits.folds(index)
    for one in (table, *(splits.fold(index, fold) for fold in splits.FOLDS)):
        files.write_csv(out / "splits" / f"{splits.digest(one)}.csv.gz", one, ours=("path", "part"))
    files.write_csv(kept_as, every_picture(table.assign(duplicate_group=duplicates(index)), out), ours=columns)
    pixels = images.cache(index, folder, size=SIZE)
    statistics = audit.picture_statistics(pixels)
    found = {
        "image_source": f"{grid.image_source(options.source, whole)}; those of test were not opened",
        "neighbours": neighbours(table, statistics),
        "folds": likeness(table, statistics),
    }
    files.write_json(out / "folds" / "likeness.json", found, ours=tuple(found))
    always = table[["path"]].assign(probability=1.0).sort_values("path")
    for name, answers in (("always_pneumonia", always), ("eight_statistics", eight_statistics(index, pixels))):
        path = out / "submissions" / f"{name}.predictions.csv.gz"
        files.write_csv(path, answers, ours=("path", "probability"))
        score.folds(path, out=path.with_name(f"{name}.json"))


if __name__ == "__main__":
    main()
