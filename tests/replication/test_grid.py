"""The cells of the grid: what decides a result keeps its name for ever, for hours of training hang on it."""

import functools
import json
from pathlib import Path

import pytest

from cxr_utils import files, splits
from cxr_utils.replication import grid

ROOT = Path(__file__).parents[2]
KNOWN = json.loads((Path(__file__).parents[1] / "identities.json").read_text())
HONEST = ROOT / "results" / "splits" / "98ef3b64854cd068.csv.gz"  # names every image of the dataset


@functools.cache
def identities():
    """Return of each planned cell the digest of its split, and its identity for originals and for copies of 224 px."""
    index = files.read_csv(HONEST)
    index = index.assign(split=index["path"].str.split("/").str[1], sha256=index["path"])
    sizes = {"originals": index.assign(width=2000, height=1500), "copies": index.assign(width=224, height=224)}
    found, made = {}, {}
    for cell in grid.cells():
        key = cell.protocol if cell.protocol == "honest" else (str(cell.get_recipe().split), cell.seed)
        split = made[key] = made[key] if key in made else cell.split(index)
        names = {name: cell.identity(split, images) for name, images in sizes.items()}
        found[cell.name] = {"split": splits.digest(split)} | names
    return found


def test_every_planned_cell_has_the_identity_that_it_always_had():
    assert identities() == KNOWN


@pytest.mark.parametrize("path", sorted(HONEST.parent.glob("*.csv.gz")), ids=lambda path: path.name)
def test_each_kept_split_has_the_digest_that_it_is_called_by(path):
    assert splits.digest(files.read_csv(path)) == path.name.partition(".")[0]


@pytest.mark.parametrize("record", sorted((ROOT / "results" / "runs").glob("*.json")), ids=lambda path: path.stem)
def test_each_kept_run_is_the_planned_cell_of_its_name(record):
    kept = files.read_json(record)
    assert (kept["split"], kept["identity"]) == (KNOWN[record.stem]["split"], KNOWN[record.stem]["copies"])
