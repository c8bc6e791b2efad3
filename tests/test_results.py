"""What is kept of real runs is what its own predictions say."""

from pathlib import Path

import pytest

from cxr_utils import evaluation, files

RUNS = sorted((Path(__file__).parents[1] / "results" / "runs").glob("*/metrics.json"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_metrics_are_those_of_the_predictions(path):
    kept = files.read_json(path)
    predictions = evaluation.read_predictions(path.parent / "predictions.csv")
    validation = predictions[predictions["split"] == "validation"]
    assert kept["threshold"] == pytest.approx(
        evaluation.best_threshold(validation["label"], validation["probability"])
    )
    for part, table in predictions.groupby("split"):
        assert kept[part]["images"] == len(table)
        for name, threshold in {"at_half": 0.5, "at_threshold": kept["threshold"]}.items():
            found = evaluation.bootstrap(table, threshold=threshold)
            for metric, row in found.iterrows():
                for column in ("value", "low", "high"):
                    assert kept[part][name][metric][column] == pytest.approx(row[column]), (part, name, metric)
