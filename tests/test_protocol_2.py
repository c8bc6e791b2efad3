"""What came of protocol 2: an aim is reached, missed, or not measured yet."""

from pathlib import Path

import pytest
from helpers import workflow

protocol_2 = workflow("protocol_2")
Measured = protocol_2.Measured
RESULTS = Path(__file__).parents[1] / "results"
GOOD = {
    "folds, auc": Measured(0.99, 0.985, 0.995),
    "folds, accuracy": Measured(0.96, 0.955, 0.965),
    "test, specificity": Measured(0.91, 0.80, 0.95),
    "test, sensitivity": Measured(0.96, 0.90, 0.99),
    "test, accuracy": Measured(0.95, 0.94, 0.96),
    "test, auc": Measured(0.992, 0.99, 0.995),
    protocol_2.CHEST: Measured(0.50, 0.2, 0.8),
    protocol_2.BORDER: Measured(0.45, 0.2, 0.8),
    "AP": Measured(0.81, 0.8, 0.82),
    "PA": Measured(0.71, 0.7, 0.72),
    f"AP, {protocol_2.CHEST}": Measured(0.6, 0.6, 0.6),
}
FIRST = {"folds, auc": Measured(0.98, 0.97, 0.984), "folds, accuracy": Measured(0.94, 0.93, 0.95)}


def test_all_aims_can_be_reached():
    assert set(protocol_2.reached(FIRST, GOOD).values()) == {True}
    assert list(protocol_2.reached(FIRST, GOOD)) != [] and set(protocol_2.reached(FIRST, GOOD)) == set(protocol_2.ROWS)


@pytest.mark.parametrize(
    "measure, value, aim",
    [
        ("folds, auc", Measured(0.99, 0.984, 0.995), "folds"),  # a seed of protocol 1 has as much
        ("folds, accuracy", Measured(0.96, 0.949, 0.97), "folds"),
        ("test, specificity", Measured(0.899, 0.8, 0.99), "specificity"),
        ("test, sensitivity", Measured(0.949, 0.9, 0.99), "specificity"),
        ("test, accuracy", Measured(0.95, 0.93, 0.96), "spread"),
        (protocol_2.CHEST, Measured(0.71, 0.7, 0.72), "chest"),
        (protocol_2.CHEST, Measured(0.29, 0.2, 0.3), "chest"),  # a shortcut that is read backwards
        (protocol_2.BORDER, Measured(0.61, 0.6, 0.62), "border"),
        ("AP", Measured(0.79, 0.7, 0.8), "elsewhere"),
        ("PA", Measured(0.69, 0.6, 0.7), "elsewhere"),
        (f"AP, {protocol_2.CHEST}", Measured(0.82, 0.82, 0.82), "elsewhere"),
        ("test, auc", Measured(0.99, 0.98, 0.995), "context"),
    ],
)
def test_each_aim_can_be_missed_and_be_unknown(measure, value, aim):
    missed = protocol_2.reached(FIRST, GOOD | {measure: value})
    assert [name for name, yes in missed.items() if not yes] == [aim]
    assert protocol_2.reached(FIRST, GOOD | {measure: None})[aim] is None


def test_figures_are_those_of_the_runs():
    found = protocol_2.measured(RESULTS, "reference")
    assert str(found["test, specificity"]) == ".793 (.701–.897)" and str(found["AP"]) == ".721 (.691–.769)"
    assert protocol_2.measured(RESULTS, "no such recipe")["test, auc"] is None
