"""The line that a network must beat: eight numbers of the whole picture, and boosted trees.

Trains on the honest train part, predicts validation and test, and judges by `score`, as for predictions of any
framework. Run from the project's root: python workflow/eight_statistics.py --source folder
"""

import argparse
from pathlib import Path

import pandas as pd

from cxr_utils import audit, dataset, files, images, sources, splits
from cxr_utils.replication import score

SIZE = 224


def predict(index: pd.DataFrame, pixels, split: pd.DataFrame) -> pd.DataFrame:
    """Let trees that saw train's eight statistics answer for validation and test.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`.
    pixels : array of uint8, shape (n, h, w, 1)
        The images, in the order of `index`.
    split : DataFrame
        Of `index`.

    Returns
    -------
    DataFrame
        path, patient, split, label, probability (six decimals) and kind, sorted by split and path.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    values, label = audit.picture_statistics(pixels).to_numpy(), index["label"].to_numpy()
    train, asked = (split["part"] == "train").to_numpy(), split["part"].isin(["validation", "test"]).to_numpy()
    with threadpool_limits(1):  # sums in one order: the same figures everywhere
        trees = HistGradientBoostingClassifier(random_state=0).fit(values[train], label[train])
        probability = trees.predict_proba(values[asked])[:, 1]
    table = split.loc[asked, ["path", "patient", "label", "kind"]]
    table = table.assign(split=split.loc[asked, "part"], probability=probability.round(6))
    order = ["path", "patient", "split", "label", "probability", "kind"]
    return table[order].sort_values(["split", "path"], ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """Make ``OUT/scores/eight_statistics.json`` and its predictions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="folder", help="folder, kaggle, medmnist or sample")
    parser.add_argument("--data-dir", default="data", help="where images are kept")
    parser.add_argument("--out", default="results", help="folder of results")
    options = parser.parse_args(arguments)
    folder = sources.fetch(options.source, data_dir=options.data_dir)
    index = dataset.scan(folder)
    split = splits.grouped(index, seed=0)
    out = files.resolve(options.out)
    split_path = out / "splits" / f"{splits.digest(split)}.csv.gz"
    files.write_csv(split_path, split, ours=("path", "part"))
    predictions = predict(index, images.cache(index, folder, size=SIZE), split)
    path = out / "scores" / "eight_statistics.predictions.csv.gz"
    files.write_csv(path, predictions, ours=("path", "split", "probability"))
    print(score.as_text(score.score(path, split=split_path, out=Path(path.parent, "eight_statistics.json"))))


if __name__ == "__main__":
    main()
