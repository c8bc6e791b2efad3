"""What each lesson must show on the sample, on four seeds. Seed 0 is also read in test_notebooks.py, in `make test`."""

import copy
import re

import pytest
from effects import FOLDER, SEEDS, TABLE, builder, cell, failing, fails_on, of, seen, table

from cxr_utils.course import notebooks

SOLVED = {script.stem: builder.build(script, solved=True) for script in builder.scripts([])}
HOME = FOLDER.parent / "build" / "effects"  # `make test-long` empties it


def test_each_lesson_has_its_effects():
    rows = table()
    assert sorted(set(rows["lesson"])) == [name[:2] for name in SOLVED]
    assert not rows.duplicated(["lesson", "shows"]).any()
    assert (rows[["at_least", "at_most"]].abs() < float("inf")).any(axis=1).all(), "a row without a bound"
    assert (rows["at_least"] <= rows["at_most"]).all()
    assert rows[[f"seed_{seed}" for seed in SEEDS]].notna().all(axis=None)


def test_what_was_measured_holds_or_the_lesson_says_what_it_depends_on():
    rows = table()
    assert rows["fails_on"].tolist() == fails_on(rows)
    assert rows.loc[(rows["fails_on"] != "") & (rows["depends_on"] == ""), "shows"].tolist() == []
    for name, book in SOLVED.items():
        prose = " ".join(" ".join(cell.source for cell in book.cells if cell.cell_type == "markdown").split())
        for row in of(name).itertuples():
            assert row.depends_on in re.sub(r"\]\([^)]*\)|[*\[]", "", prose), f"{name} does not say {row.depends_on!r}"


def test_an_effect_that_does_not_show_is_named():
    rows = of("00")
    figures = dict(zip(rows["shows"], rows["seed_0"], strict=True))
    assert failing(rows, figures) == []
    first = rows.iloc[0]
    (line,) = failing(rows, figures | {first["shows"]: 0.5})
    assert first["shows"] in line and "0.5" in line


def measured(name, solved, *, seed):
    """Execute a lesson on the sample with a seed, and return its figures."""
    book, run_dir = copy.deepcopy(solved), f"runs/seed-{seed}"
    book.cells.append(cell(name))
    output = HOME / run_dir / "notebooks" / f"{name}.ipynb"
    notebooks.execute(book, output, given={"seed": seed, "run_dir": run_dir}, cwd=FOLDER)
    return seen(output)


@pytest.mark.long
def test_effects_show_on_all_seeds(monkeypatch):
    """Leave in build/effects/effects.csv what came out: at closing it takes the place of the table that is kept."""
    monkeypatch.setenv("CXR_HOME", str(HOME))
    rows, failed = table(), []
    for seed in SEEDS:
        figures = {}
        for name, solved in SOLVED.items():
            found = measured(name, solved, seed=seed)
            figures |= {(name[:2], shows): figure for shows, figure in found.items()}
            failed += [f"seed {seed}, {line}" for line in failing(of(name), found)]
        rows[f"seed_{seed}"] = [round(figures[key], 3) for key in zip(rows["lesson"], rows["shows"], strict=True)]
    rows["fails_on"] = fails_on(rows)
    rows.replace(float("inf"), None).replace(-float("inf"), None).to_csv(HOME / TABLE.name, index=False)
    assert failed == []
