"""What stands in the blocks of README and of results/'s pages, and in the tables there, is what the runs give."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers import workflow

from cxr_utils import ledger, recipes
from cxr_utils.errors import BadInput
from cxr_utils.replication import grid, verdicts

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
for other in ("eight_statistics", "folds", "audited", "protocol_2"):  # which it imports
    workflow(other)
tables = workflow("tables")


@pytest.fixture(scope="module")
def wanted():
    """Return what the results in the repository give, by file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_HOME", str(ROOT))  # the split of the folds is the project's own
        return tables.outputs(ROOT)


def copy_pages(to):
    """Copy what the tables are written into, and the figures of others."""
    shutil.copytree(RESULTS / "systems", to / "results" / "systems")
    shutil.copy(ROOT / "README.md", to)
    (to / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "use.md", to / "docs")
    (to / "results" / "models").mkdir()
    (to / "results" / "audited").mkdir()
    (to / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "before_you_publish.md", to / "notebooks")
    pages = ("README", "claims", "how-far", "all-runs", "limits", "replication", "models/model-card")
    audited = (f"audited/{name}.csv" for name in ("works", "own", "systems"))
    for name in ("published.csv", "coverage.csv", *audited, *(f"{page}.md" for page in pages)):
        shutil.copy(RESULTS / name, to / "results" / name)


@pytest.fixture
def small(tmp_path):
    """Copy pages, ledger and the results of at most two cells elsewhere, with the tables that belong to them."""
    copy_pages(tmp_path)
    (tmp_path / "results" / "runs").mkdir()
    shutil.copy(RESULTS / "test_reads.csv", tmp_path / "results")
    for cell in list(grid.results(RESULTS))[:2]:
        for path in (RESULTS / "runs").glob(f"{cell}.*"):
            shutil.copy(path, tmp_path / "results" / "runs")
    assert tables.main([], root=tmp_path) == 0
    return tmp_path


def test_the_repository_holds_what_its_results_give(wanted):
    assert tables.differences(wanted) == []


def test_a_changed_number_is_found_in_every_line(wanted, tmp_path):
    for path, text in wanted.items():
        copy = tmp_path / path.name
        lines = text.splitlines(keepends=True)
        inside = False
        for number, line in enumerate(lines):
            inside = path.suffix == ".csv" or (inside or ":begin" in line) and ":end" not in line
            if not inside or "notebooks/" in line or not re.search(r"\d", line):
                continue
            last = list(re.finditer(r"\d", line))[-1]
            changed = line[: last.start()] + str((int(last[0]) + 1) % 10) + line[last.end() :]
            copy.write_text("".join([*lines[:number], changed, *lines[number + 1 :]]), encoding="utf-8")
            found = tables.differences({copy: text})
            assert found == [f"{copy}, line {number + 1}: not what the results give; run make tables"]


@pytest.mark.parametrize(
    ("name", "there", "edited"),
    [
        ("results/claims.md", "| 32 | .9375 [", "| 23 | .9375 ["),
        ("results/claims.csv", ",0.9375,32,0.7919,", ",0.9375,32,0.9719,"),
        ("results/README.md", "| 2024-07-05 |", "| 2024-05-07 |"),
        ("results/systems/002.md", "| .9151 [", "| .9515 ["),
        ("results/grid.csv", "0 of 3", "3 of 3"),
        ("results/ablations.csv", "setting", "3"),
    ],
)
def test_check_fails_where_a_number_was_edited(small, name, there, edited, capsys):
    assert tables.main(["--check"], root=small) == 0
    path = small / name
    assert there in path.read_text()
    path.write_text(path.read_text().replace(there, edited, 1))
    assert tables.main(["--check"], root=small) == 1
    assert f"{path}, line" in capsys.readouterr().out
    assert tables.main([], root=small) == 0 and tables.main(["--check"], root=small) == 0


def test_check_fails_where_a_run_was_edited(small):
    if not (runs := list(grid.results(small / "results"))):
        pytest.skip("no run is kept yet")
    path = small / "results" / "runs" / f"{runs[0]}.json"
    record = json.loads(path.read_text())
    record["metrics"]["test"]["at_half"]["accuracy"]["value"] -= 0.01
    path.write_text(json.dumps(record))
    assert tables.main(["--check"], root=small) == 1


def test_without_results_the_tables_say_so(tmp_path):
    copy_pages(tmp_path)
    (tmp_path / "results" / "test_reads.csv").write_text(",".join(ledger.COLUMNS) + "\n")
    assert tables.main([], root=tmp_path) == 0
    assert "The three figures are not run yet" in (tmp_path / "README.md").read_text()
    text = "".join((tmp_path / f"results/{page}.md").read_text() for page in ("how-far", "claims", "all-runs"))
    names = {cell.recipe for cell in grid.cells()}
    missing = re.search(r"Not run yet: (.*)\.\n", text)[1]
    assert set(re.findall(r"`([^`]+)`", missing)) == names
    assert "Our own network, from scratch, is not run yet" in text
    assert "| all | 0 | 0 |" in text and "above what we can reach |" not in text


def test_readings_are_those_of_the_ledger(wanted):
    table = pd.read_csv(RESULTS / ledger.NAME)
    rows = re.findall(r"(?m)^\| (.*) \| ([\d,]+) \| (?:at least )?([\d,]+) \|$", tables.reads_block(table))
    counts = {name: (int(entries.replace(",", "")), int(reads.replace(",", ""))) for name, entries, reads in rows}
    assert counts.pop("all") == (len(table), table["reads"].sum())
    assert tuple(sum(column) for column in zip(*counts.values(), strict=True)) == (len(table), table["reads"].sum())
    honest = table[table["protocol"] == "honest"]
    assert counts[tables.KINDS[0]] == (len(honest), honest["reads"].sum())
    of_published = table[table["protocol"] == "published"]
    on_test = of_published["cell"].str.contains("plain_64|softmax_64|plain_224|plain_300") & (of_published["reads"] > 1)
    assert counts[tables.KINDS[1]] == (on_test.sum(), of_published["reads"][on_test].sum())
    assert "| all | " in tables.reads_block(table) and "| at least " in tables.reads_block(table)
    sure = table[~table["remark"].fillna("").str.contains("at least")]
    assert "at least" not in tables.reads_block(sure)


def test_every_cell_that_is_kept_is_counted_in_its_row(wanted):
    summary = pd.read_csv(RESULTS / "grid.csv").set_index(["recipe", "protocol"])["seeds"]
    kept = pd.Series([cell.rsplit("-s", 1)[0] for cell in grid.results(RESULTS)]).value_counts()
    for (recipe, protocol), seeds in summary.drop("scored", level="protocol", errors="ignore").items():
        assert seeds.startswith(f"{kept.get(f'{recipe}-{protocol}', 0)} of ")


def test_the_answers_of_every_cell_that_is_kept_are_linked(wanted):
    linked = re.findall(r"\]\(runs/([^)]+)\.predictions\.csv\.gz\)", wanted[RESULTS / "all-runs.md"])
    assert sorted(linked) == sorted(grid.results(RESULTS))


def test_a_file_in_another_commit_than_the_one_that_was_read_is_said():
    for names, commit in (["smote_224"], "0a1b4d1"), (["plain_300"], "4622a28"):
        assert f"the [README of the commit {commit}](https://github.com/" in tables._older(names)
    assert tables._older(["plain_64"]) == ""


def test_our_network_stands_among_published_ones_by_auc():
    figures = {"accuracy": 0.9, "auc": 0.97, "sensitivity": 0.95, "specificity": 0.8}
    ends = {f"{m}{e}": figures[m] + d for m in figures for e, d in
            {"_min": -0.01, "_max": 0.01, "_low": -0.02, "_high": 0.02}.items()}  # fmt: skip
    row = {"recipe": "reference", "protocol": "honest", "seeds": "5 of 5", "minutes": 7.2} | figures | ends
    others = pd.DataFrame({"network": ["low", "high"], "accuracy": [0.8, 0.95], "auc": [0.9, 0.99], "source": "-",
                           "sensitivity": [0.7, None], "specificity": None})  # fmt: skip
    summary = pd.DataFrame([row, {"recipe": "reference-unaugmented", "protocol": "honest", "seeds": "0 of 3"}])
    lead = tables.lead_block(summary, others, Path("none"))
    assert "in 7 minutes" in lead and "**.900** (.890–.910 over its seeds, 95% interval .880–.920)" in lead
    assert "published pair that we hold comparable is .950 and .990." in lead
    low, ours, high = tables.reference_block(summary, others).splitlines()[2:]
    assert low == "| low | .800 | .900 | .700 |  | - |" and high == "| high | .950 | .990 |  |  | - |"
    assert ours.startswith("| **ours, from scratch, 96 px** | .900 (.890–.910) |")


def test_a_verdict_on_some_of_the_seeds_is_called_so_far():
    row = {
        "system": "9", "recipe": "r", "metric": "test_accuracy", "claim": "c", "source": "README", "n": 624,
        "published": ".9", "dataset": "", "low": None, "high": None,
        "reconstruction": False, "ours": 0.8, "ours_min": 0.7, "ours_max": 0.9, "seeds": "2 of 3",
        "honest": None, "honest_low": None, "honest_high": None, "honest_seeds": "0 of 3", "why": "Why.",
    }  # fmt: skip
    some = tables.claims_block(pd.DataFrame([row | {"verdict": "reproduced"}]))
    assert "| [9](systems/9.md) `r` | c | 624 | .9 | .800 (.700–.900, 2 of 3 seeds) | not run yet |" in some
    assert "| reproduced, so far |" in some
    assert "Of 1 performances of the five systems: 1 *reproduced*. *So far* means that seeds are missing." in some
    every = tables.claims_block(pd.DataFrame([row | {"verdict": "reproduced", "seeds": "3 of 3"}]))
    assert "| .800 (.700–.900) | not run yet | reproduced |" in every
    known = {"low": 0.87, "high": 0.92, "honest": 0.8, "honest_low": 0.75, "honest_high": 0.85}
    known["honest_seeds"] = "3 of 3"
    whole = tables.claims_block(pd.DataFrame([row | known | {"verdict": "reproduced", "seeds": "3 of 3"}]))
    assert "| .9 [.870–.920] | .800 (.700–.900) | .800 [.750–.850] | reproduced |" in whole
    fact = tables.claims_block(pd.DataFrame([row | {"verdict": verdicts.NOT_RUN}]))
    assert "so far" not in fact.lower() and "so far" not in every.lower()


def test_missing_blocks_and_wrong_arguments_are_refused(small, capsys):
    assert tables.main(["--chek"], root=small) == 2
    page = small / "results" / "all-runs.md"
    page.write_text(page.read_text().replace("<!-- grid:end -->", ""))
    assert tables.main([], root=small) == 1
    assert "grid:begin" in capsys.readouterr().err
    with pytest.raises(BadInput, match="all-runs.md"):
        tables.outputs(small)


def test_the_published_systems_stand_among_published_figures_as_in_their_recipes(wanted):
    table = pd.read_csv(RESULTS / "published.csv")
    own = table[table["date"].notna()]
    sources = recipes.sources()
    assert list(own["source"].str.extract(r"\((http.*)\)$")[0]) == list(sources["link"])
    for name in ("date", "licence", "read"):
        assert list(own[name]) == list(sources[name])
    judged = pd.read_csv(RESULTS / "claims.csv")
    for row, system in zip(own.itertuples(), sources.itertuples(), strict=True):
        said = judged.loc[judged["recipe"].isin(system.recipes.split(", ")), "value"]
        assert (abs(said - row.accuracy) < 6e-4).any(), row.network


def test_every_system_with_claims_has_a_page_that_says_what_was_wrong(wanted):
    for number in recipes.sources()["system"]:
        page = (RESULTS / "systems" / f"{number}.md").read_text()
        for title in ("What decides its figures", "Errata of ours", "If this is yours"):
            assert f"## {title}" in page or (number == "003" and title.startswith("What"))
        claimed = [claim for r in map(recipes.get, recipes.names()) if r.number == number for claim in r.claims]
        assert claimed and all(f"| {claim.text} |" in page for claim in claimed)
        assert (
            "](../claims.md#the-rules-of-the-verdicts)" in page and "](../all-runs.md#the-answers-of-each-run)" in page
        )
        for name in (r.name for r in map(recipes.get, recipes.names()) if r.number == number):
            assert f"- `{name}`: " in page and f"](../../cxr_utils/recipes/{name}.py)" in page
    for number in ("002", "004"):
        assert "wrongly accused" in (RESULTS / "systems" / f"{number}.md").read_text()
