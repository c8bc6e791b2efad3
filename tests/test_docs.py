"""What the pages say is so: links, items, commands, features, and the example of a new system."""

import functools
import importlib
import json
import math
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
from helpers import SHARED

from cxr_utils import cli, dataset, evaluation, images, recipes, training
from cxr_utils.replication import claims, grid, verdicts

ROOT = Path(__file__).parents[1]
FACTS = SHARED.parent / "replication-facts.md"
ADD = ROOT / "cxr_utils" / "recipes" / "README.md"
ADD_SOURCE = ROOT / "cxr_utils" / "sources" / "README.md"
FEATURES = ROOT / "notebooks" / "README.md"
CLAIM = ROOT / "results" / "checklists" / "claim-2024.md"
TRIPOD = ROOT / "results" / "checklists" / "tripod-ai.md"
REFORMS = ROOT / "results" / "checklists" / "reforms.md"
DETAILS = ROOT / "results" / "checklists" / "details.md"
SIZES = SHARED / "original-sizes.csv"
FOLDERS = (".", "benchmarks", "data", "docs", "notebooks", "results", "results/checklists", "results/models",
           "results/systems", "teaching", "teaching/guide", "teaching/setup", "teaching/tests", "workflow")  # fmt: skip
PAGES = (ADD, ADD_SOURCE, *(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))))
TRIPOD_ITEMS = (
    "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 "
    "18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"
).split()
REFORMS_ITEMS = (
    "1a 1b 1c 2a 2b 2c 2d 2e 3a 3b 3c 3d 3e 3f 3g 4a 4b 4c 5a 5b 5c 5d 5e 5f 6a 6b 6c 7a 7b 7c 8a 8b"
).split()
COMMANDS = typer.main.get_command(cli.app).commands
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@functools.cache
def text(page):
    return page.read_text(encoding="utf-8")


def prose(page):
    """Return a page without its code blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", text(page))


@functools.cache
def anchors(page):
    """Return the names that GitHub gives to a page's headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@functools.cache
def headings(notebook):
    cells = json.loads(text(notebook))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return set(re.findall(r"(?m)^#+ (.+)$", prose))


def wrong_with(page, label, target):
    """Say what is wrong with a link, or return None."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return "no such file"
    if anchor and anchor not in anchors(path):
        return f"no heading {anchor}"
    if path.suffix == ".ipynb":
        missing = set(re.findall(r'"([^"]+)"', label)) - headings(path)
        return f"no heading {sorted(missing)}" if missing else None
    if path.suffix == ".py" and (dotted := re.fullmatch(r"(\w+)\.(\w+)", label)) and dotted[2] != "py":
        module = path.parent.name if path.stem == "__init__" else path.stem
        defined = re.search(rf"(?m)^(def |class |){dotted[2]}\b( =|:|\()", text(path))
        return None if dotted[1] == module and defined else f"no {label} there"
    return None


def rows(page, heading=""):
    """Return the rows of a page's first table (after a heading), as lists of cells."""
    table = re.search(r"(?m)^\| ---.*\n((?:\|.*\n)+)", text(page).partition(heading)[2] if heading else text(page))
    table = table[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


@each_page
def test_links_lead_where_they_say(page):
    links = re.findall(r"\[([^\[\]]+)\]\(([^)\s]+)\)", prose(page))
    links = [(label, target) for label, target in links if not target.startswith(("http://", "https://"))]
    wrong = [f"[{label}]({target}): {said}" for label, target in links if (said := wrong_with(page, label, target))]
    assert wrong == []


def test_readme_is_short_and_leads_on():
    lines = text(ROOT / "README.md").splitlines()
    assert len(lines) <= 200 and next(n for n, line in enumerate(lines) if line.startswith("make course")) < 30
    linked = re.findall(r"\]\((results/systems/[^)]+)\)", text(ROOT / "README.md"))
    assert set(linked) == {f"results/systems/{system}.md" for system in recipes.sources()["system"]}


@each_page
def test_commands_and_their_options_exist(page):
    targets = " ".join(re.findall(r"(?m)^([a-z -]+):", text(ROOT / "Makefile"))).split()
    code = re.findall(r"(?ms)^```\w*\n(.*?)^```$", text(page)) + re.findall(r"`([^`\n]+)`", prose(page))
    lines = [shlex.split(line, comments=True) for block in code for line in block.splitlines() if "cxr " in line]
    for words in [line for line in lines if line[:1] == ["cxr"] and line[1:]]:
        if words[1].startswith("-"):
            continue
        assert words[1] in COMMANDS, words
        known = {name for option in COMMANDS[words[1]].params for name in option.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, words
        for option, value in zip(words, words[1:], strict=False):
            if option == "--recipe" and not value.isupper():  # a placeholder
                assert value in (*recipes.names(), *grid.VARIANTS, EXAMPLE), words
    for target in re.findall(r"\bmake ([a-z-]+)", "\n".join(code)):
        assert target in targets, target


@pytest.mark.parametrize(
    ("page", "items"), [(CLAIM, [str(i) for i in range(1, 45)]), (TRIPOD, TRIPOD_ITEMS), (REFORMS, REFORMS_ITEMS)]
)
def test_each_item_of_a_checklist_is_there_once_and_answered(page, items):
    answered = [row for row in rows(page) if row[0]]
    assert [row[0] for row in answered] == items
    for number, item, where in answered:
        assert item and ("](" in where or re.search(r"\*\*not done\*\*: \w.{10}", where)), number


def test_the_flow_is_that_of_the_split_tables():
    table = pd.read_csv(ROOT / "results" / "splits" / "98ef3b64854cd068.csv.gz")
    sick = table["label"] == 1
    table["person"] = table["path"].str.extract(r"/(person\d+)_")[0].where(sick)
    table["number"] = table["patient"].mask(sick)

    def counted(part):
        some = [part["label"].eq(label).sum() for label in (0, 1)]
        return [f"{n:,}" for n in (*some, len(part), part["person"].nunique(), part["number"].nunique())]

    found = {row[0]: row[1:] for row in rows(DETAILS, "## Flow of images and persons")}
    assert found["in the archive"] == counted(table)
    for name, part in table.groupby("part"):
        assert next(row for step, row in found.items() if step.startswith(name)) == counted(part)


def test_the_sizes_are_those_of_the_originals():
    if not SIZES.is_file():
        pytest.skip(f"the sizes of original files are not at hand: no {SIZES}")
    table = pd.read_csv(SIZES).assign(ratio=lambda table: table["width"] / table["height"])
    for label, shown_images, of_all, *spread, ratio, coloured in rows(DETAILS, "## Sizes and modes"):
        some = table[table["path"].str.contains(f"/{label}/")]
        assert shown_images == f"{len(some):,}"
        assert of_all == f"{dataset.RECORD.counts['train'][label]:,}"
        for side, shown in zip(("width", "height"), spread, strict=True):
            low, middle, high = (f"{math.floor(q + 0.5):,}" for q in some[side].quantile([0.25, 0.5, 0.75]))
            assert shown == f"{middle} ({low} to {high})"
        assert ratio == f"{some['ratio'].median():.2f}"
        assert coloured == str((some["channels"] == 3).sum())


def test_what_624_images_can_tell_is_computed():
    for _, size, about, exact in rows(DETAILS, "## What 624 images can tell"):
        n = int(size)
        low, high = verdicts.interval(round(0.92 * n) / n, n)
        assert about == f"± {100 * 1.96 * math.sqrt(0.92 * 0.08 / n):.1f} points"
        assert exact == f"{low:.3f} to {high:.3f}".replace("0.", ".")
    assert f"{math.ceil(1.96**2 * 0.92 * 0.08 / 0.01**2):,} images" in text(DETAILS)
    assert f"{280 * math.sqrt(0.08 / 624):.1f} points if they differ on 8% of 624" in text(DETAILS)


def test_the_calibration_is_that_of_the_runs():
    found = rows(DETAILS, "## Calibration of the reference")
    assert [row[0] for row in found] == list("01234")
    for seed, *shown in found:
        table = pd.read_csv(ROOT / "results" / "runs" / f"reference-honest-s{seed}.predictions.csv.gz")
        fits = [evaluation.calibration_slope(part["label"], part["probability"])
                for part in (table[table["split"] == name] for name in ("validation", "test"))]  # fmt: skip
        values = [fit[name] for fit in fits for name in ("slope", "intercept")] + [fits[1]["in_the_large"]]
        assert [float(cell) for cell in shown] == pytest.approx(values, abs=0.006)


def test_each_feature_has_its_place():
    for feature, where in rows(FEATURES):
        assert "](" in where or "`cxr " in where or "**not yet here**" in where, feature


def test_the_features_are_those_of_the_five_systems():
    if not FACTS.is_file():
        pytest.skip(f"the list of the features is not at hand: no {FACTS}")
    section = text(FACTS).split("## Features the five have between them")[1].split("\n## ")[0]
    listed = " ".join(section.split("\n", 1)[1].split()).rstrip(".").split("; ")
    assert [feature for feature, _ in rows(FEATURES)] == listed


@pytest.mark.parametrize(("feature", "command"), [("a Gradio app", "app"), ("prediction of a single", "predict")])
def test_what_is_missing_is_said_and_no_longer_than_it_is(feature, command):
    where = next(where for name, where in rows(FEATURES) if name.startswith(feature))
    assert ("**not yet here**" in where) == (command not in COMMANDS)


# A new system, as the page adds it.

CODE, QUOTES = (re.search(rf"(?ms)^```{kind}\n(.*?)^```$", text(ADD))[1] for kind in ("python", "toml"))
EXAMPLE = re.search(
    r"(?s)save it as `cxr_utils/recipes/(\w+)\.py`.*beside it as `cxr_utils/recipes/\1\.toml`", text(ADD)
)[1]


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Put the page's example among the recipes, and nothing else anywhere."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / f"{EXAMPLE}.py").write_text(CODE, encoding="utf-8")
    (folder / f"{EXAMPLE}.toml").write_text(QUOTES, encoding="utf-8")
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(folder)])
    importlib.invalidate_caches()
    yield EXAMPLE
    sys.modules.pop(f"{recipes.__name__}.{EXAMPLE}", None)
    vars(recipes).pop(EXAMPLE, None)


def test_the_example_is_found_and_is_what_it_says(added):
    assert added in recipes.names()
    recipe = recipes.get(added)
    assert recipe.name == added and recipe.table()["value"].map(bool).all()
    parameters = int(re.search(r"([\d,]+) parameters", CODE)[1].replace(",", ""))
    assert recipe.build(compiled=False).count_params() == parameters
    assert recipe.at(width=0.5).build(compiled=False).count_params() < parameters


def test_the_commands_know_the_example_and_its_cells(added, capsys):
    names = [cell.name for cell in grid.cells() if cell.recipe == added]
    assert names == [f"{added}-{protocol}-s{seed}" for protocol in grid.PROTOCOLS for seed in grid.SEEDS]
    assert cli.main(["replicate", "--recipe", added, "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in names)
    assert cli.main(["recipes", added]) == 0
    shown = capsys.readouterr().out
    assert [claim.text in shown for claim in recipes.get(added).claims] == [True] * 3


def test_the_example_is_trained_and_judged_and_its_claims_are_answered(added, tiny, tmp_path):
    index, out = dataset.scan(tiny), tmp_path / "results"
    pixels = images.cache(index, tiny, size=recipes.get(added).image_size)
    before = claims.table(out)
    before = before[before["recipe"] == added].set_index("metric")["verdict"]
    assert before.to_dict() == {
        "test_accuracy": verdicts.NOT_RUN,
        "validation_accuracy": verdicts.NOT_RUN,
        "images": "not a fact of the dataset",
    }
    for cell in grid.cells(recipe=[added], seeds=[0]):
        split = cell.split(index)
        run = training.fit(
            cell.get_recipe(index), pixels, split, run_dir=tmp_path / cell.name, seed=cell.seed, epochs=2,
            protocol=cell.protocol, validate_on=cell.validate_on,
        )  # fmt: skip
        grid.evaluate(cell, run, pixels, split, index=index, out=out, source=grid.image_source("tiny", index))
    results = grid.results(out)
    assert list(results) == [f"{added}-honest-s0", f"{added}-published-s0"]
    after = claims.table(out)
    after = after[after["recipe"] == added].set_index("metric")
    half = results[f"{added}-published-s0"]["metrics"]["test"]["at_half"]
    assert after["ours"]["test_accuracy"] == pytest.approx(half["accuracy"]["value"], abs=1e-4)
    assert after["seeds"]["test_accuracy"] == after["honest_seeds"]["test_accuracy"] == "1 of 3"
    assert after["verdict"]["test_accuracy"] in ("undecided", "reproduced")  # by one seed
    assert after["verdict"]["validation_accuracy"] == "underspecified"
    grown = claims.summary(out).set_index(["recipe", "protocol"]).loc[added]
    assert list(grown["seeds"]) == ["1 of 3", "1 of 3"]
