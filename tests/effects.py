"""The table of what each lesson must show on the sample, and how its figures are read from a lesson as it was executed.

`course/effects.csv` has one row an effect: what is shown, the figure as an expression in the lesson's own names, its
bounds, what came out on each seed, and, where a seed fails, the words in which the lesson says what it depends on.
"""

import importlib.util
import json
import sys
from pathlib import Path

import nbformat
import pandas as pd

FOLDER = Path(__file__).parents[1] / "notebooks"
sys.path.append(str(FOLDER / "source"))  # build.py imports what lies beside it
spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "source" / "build.py")
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)

TABLE = Path(__file__).parent / "course" / "effects.csv"
SEEDS = (0, 1, 2, 3)


def table():
    """Return the table; empty cells are text of no length, or bounds that nothing exceeds."""
    read = pd.read_csv(TABLE, dtype={"lesson": str, "fails_on": str, "depends_on": str})
    return read.fillna({"at_least": -float("inf"), "at_most": float("inf"), "depends_on": "", "fails_on": ""})


def of(lesson):
    """Return the rows of a lesson, such as "04_train"."""
    rows = table()
    return rows[rows["lesson"] == lesson[:2]]


def cell(lesson):
    """Return the cell that prints the figures of a lesson, to be put at its end."""
    figures = ", ".join(f"{row.shows!r}: float({row.figure})" for row in of(lesson).itertuples())
    return nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{figures}}}))", metadata={"tags": ["effects"]})


def seen(path):
    """Return what that cell printed, as a mapping of what is shown to its figure."""
    (last,) = (cell for cell in nbformat.read(path, as_version=4).cells if "effects" in cell.metadata.get("tags", []))
    return json.loads(last.outputs[0]["text"])


def failing(rows, figures):
    """Say which effects are not within their bounds, but for those that are said to depend on the seed."""
    return [f"{row.lesson}: {row.shows}: {figures[row.shows]:.3g}, not from {row.at_least} to {row.at_most}"
            for row in rows.itertuples()
            if not row.depends_on and not row.at_least <= figures[row.shows] <= row.at_most]  # fmt: skip


def fails_on(rows):
    """Name of each row the seeds on which its effect does not show."""
    return [" ".join(str(seed) for seed in SEEDS if not row["at_least"] <= row[f"seed_{seed}"] <= row["at_most"])
            for _, row in rows.iterrows()]  # fmt: skip
