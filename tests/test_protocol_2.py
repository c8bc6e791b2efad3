"""What came of protocol 2: an aim is reached, missed, or not measured yet."""

from pathlib import Path

import pytest
from helpers import workflow

protocol_2 = workflow("protocol_2")
Measured = protocol_2.Measured
RESULTS = Path(__file__).parents[1] / "results"
GOOD = {
    "folds, auc": Measured(0.99, 0.985, 0.995, 5),
    "folds, accuracy": Measured(0.96, 0.955, 0.965, 5),
    "test, specificity": Measured(0.91, 0.80, 0.95, 5),
    "test, sensitivity": Measured(0.96, 0.90, 0.99, 5),
    "test, accuracy": Measured(0.95, 0.94, 0.96, 5),
    "test, auc": Measured(0.992, 0.99, 0.995, 5),
    protocol_2.CHEST: Measured(0.50, 0.2, 0.8, 5),
    protocol_2.BORDER: Measured(0.45, 0.2, 0.8, 5),
    "AP": Measured(0.81, 0.8, 0.82, 5),
    "PA": Measured(0.71, 0.7, 0.72, 5),
    f"AP, {protocol_2.CHEST}": Measured(0.6, 0.6, 0.6, 5),
}
FIRST = {"folds, auc": Measured(0.98, 0.97, 0.984, 5), "folds, accuracy": Measured(0.94, 0.93, 0.95, 5)}


def test_all_aims_can_be_reached():
    assert set(protocol_2.reached(FIRST, GOOD).values()) == {True}
    assert list(protocol_2.reached(FIRST, GOOD)) != [] and set(protocol_2.reached(FIRST, GOOD)) == set(protocol_2.ROWS)


@pytest.mark.parametrize(
    "measure, value, aim",
    [
        ("folds, auc", Measured(0.99, 0.984, 0.995, 5), "folds"),  # a seed of protocol 1 has as much
        ("folds, accuracy", Measured(0.96, 0.949, 0.97, 5), "folds"),
        ("test, specificity", Measured(0.899, 0.8, 0.99, 5), "specificity"),
        ("test, sensitivity", Measured(0.949, 0.9, 0.99, 5), "specificity"),
        ("test, accuracy", Measured(0.95, 0.93, 0.96, 5), "spread"),
        (protocol_2.CHEST, Measured(0.71, 0.7, 0.72, 5), "chest"),
        (protocol_2.CHEST, Measured(0.29, 0.2, 0.3, 5), "chest"),  # a shortcut that is read backwards
        (protocol_2.BORDER, Measured(0.61, 0.6, 0.62, 5), "border"),
        ("AP", Measured(0.79, 0.7, 0.8, 5), "elsewhere"),
        ("PA", Measured(0.69, 0.6, 0.7, 5), "elsewhere"),
        (f"AP, {protocol_2.CHEST}", Measured(0.82, 0.82, 0.82, 5), "elsewhere"),
        ("test, auc", Measured(0.99, 0.98, 0.995, 5), "context"),
    ],
)
def test_each_aim_can_be_missed_and_be_unknown(measure, value, aim):
    missed = protocol_2.reached(FIRST, GOOD | {measure: value})
    assert [name for name, yes in missed.items() if not yes] == [aim]
    assert protocol_2.reached(FIRST, GOOD | {measure: None})[aim] is None
    assert protocol_2.reached(FIRST, GOOD | {measure: GOOD[measure]._replace(seeds=2)})[aim] is None


def test_figures_are_those_of_the_runs():
    found = protocol_2.measured(RESULTS, "reference")
    assert str(found["test, specificity"]) == ".793 (.701–.897)" and str(found["AP"]) == ".721 (.691–.769)"
    assert protocol_2.measured(RESULTS, "no such recipe")["test, auc"] is None
