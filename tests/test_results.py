"""What is kept of real runs is what its own predictions say."""

import functools
import importlib.util
import re

import pandas as pd
import pytest
from helpers import RESULTS, same, workflow

from cxr_utils import evaluation, files, splits
from cxr_utils.replication import grid, score

KEPT = {f"{folder.name}/{name}": (folder, record) for folder in (RESULTS, RESULTS / "jax", RESULTS / "elsewhere")
        for name, record in grid.results(folder).items()}  # fmt: skip

spec = importlib.util.spec_from_file_location("coverage", RESULTS.parent / "workflow" / "coverage.py")
coverage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(coverage)


@pytest.fixture(params=sorted(KEPT))
def place(request):
    return KEPT[request.param][0]


@pytest.fixture
def kept(request, place):
    return KEPT[request.node.callspec.params["place"]][1]


def judged(kept, place):
    predictions = evaluation.read_predictions(place / "runs" / f"{kept['cell']}.predictions.csv.gz")
    split = files.read_csv(RESULTS / "splits" / f"{kept['split']}.csv.gz")
    rule = {name: kept["recipe"].get(name) for name in ("threshold", "sensitivity")}
    return predictions, split, evaluation.judge(predictions, split, validate_on=kept["validate_on"], **rule)


def without_ends(nested):
    """Leave out the ends of intervals."""
    if not isinstance(nested, dict):
        return nested
    return {name: without_ends(value) for name, value in nested.items() if name not in ("low", "high")}


def test_figures_are_those_of_the_predictions(kept, place, monkeypatch):
    monkeypatch.setattr(evaluation, "bootstrap", functools.partial(evaluation.bootstrap, draws=10))
    predictions, split, found = judged(kept, place)
    same(without_ends(kept["metrics"]), without_ends(found))
    parts = pd.Series(split["part"].to_numpy(), index=split["path"])
    assert (predictions["split"].to_numpy() == parts[predictions["path"]].to_numpy()).all()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if KEPT[name][1]["seed"] == 0 else pytest.mark.long) for name in sorted(KEPT)]
)
def test_intervals_are_those_of_the_predictions(name):
    place, kept = KEPT[name]
    same(kept["metrics"], judged(kept, place)[2])


def test_a_run_is_the_cell_that_its_name_says(kept):
    recipe, protocol, seed = kept["cell"].rsplit("-", 2)
    cell = grid.Cell(recipe, protocol, int(seed[1:]))
    split = files.read_csv(RESULTS / "splits" / f"{kept['split']}.csv.gz")
    assert splits.digest(split) == kept["split"]
    assert kept["image_source"].endswith(", each 224 x 224 pixels")
    index = pd.DataFrame({"width": [224], "height": [224]})
    assert cell.identity(split, index) == kept["identity"]
    assert kept["recipe"] == cell.get_recipe(index).settings()
    assert (kept["protocol"], kept["seed"], kept["validate_on"]) == (protocol, cell.seed, cell.validate_on)
    assert kept["epochs_run"] == len(kept["history"]) and kept["seconds"] > 0
    chosen = cell.get_recipe().early_stopping
    losses = [row["val_loss"] for row in kept["history"]]
    allowed = losses[chosen.get("start_from_epoch", 0) :] if chosen else losses[-1:]
    assert losses[kept["kept_epoch"] - 1] == min(allowed)
    assert kept["parameters"] == cell.get_recipe().build(compiled=False).count_params()


def test_every_reading_of_test_is_in_the_ledger(kept, place):
    ledger = pd.read_csv(RESULTS / "test_reads.csv")
    name = kept["cell"] if place != RESULTS / "jax" else f"{kept['cell']} (JAX)"
    rows = ledger[(ledger["cell"] == name) & (ledger["identity"] == kept["identity"]) & (ledger["reads"] > 0)]
    again = {f"{name}.json"} & {path.name for path in (RESULTS / "elsewhere" / "runs").iterdir()}
    assert len(rows) == 1 + len(again)
    assert set(rows["reads"]) == {kept["epochs_run"] + 1 if kept["validate_on"] == "test" else 1}


@pytest.mark.parametrize("part", ["validation", "test"])
def test_jax_gives_what_tensorflow_gives_within_the_spread_of_seeds(part):
    def areas(folder):
        records = grid.results(folder)
        return [records[f"plain_64-honest-s{seed}"]["metrics"][part]["at_half"]["auc"]["value"] for seed in range(3)]

    ours, theirs = areas(RESULTS), areas(RESULTS / "jax")
    assert {r["backend"] for r in grid.results(RESULTS / "jax").values()} == {"jax"}
    spread = max(*ours, *theirs) - min(*ours, *theirs)
    assert abs(sum(ours) - sum(theirs)) / 3 < spread / 2


@pytest.mark.parametrize("path", sorted((RESULTS / "splits").glob("*.csv.gz")), ids=lambda path: path.name[:16])
def test_a_kept_split_is_the_one_that_its_name_says(path, monkeypatch):
    monkeypatch.setenv("CXR_HOME", str(RESULTS.parent))
    table = score.read_split(path.name.removesuffix(".csv.gz"))
    assert (table["label"] == (table["kind"] != "normal")).all()


def test_what_is_said_to_compute_a_figure_again_gives_the_kept_one(monkeypatch):
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```$", (RESULTS / "README.md").read_text("utf-8"))
    monkeypatch.chdir(RESULTS.parent)
    exec(code, found := {})
    kept = grid.results(RESULTS)["smote_224-published-s0"]["metrics"]["test"]["at_half"]
    again = {"accuracy": found["accuracy"], "auc": found["auc"]}
    assert again == {name: pytest.approx(kept[name]["value"], abs=1e-6) for name in again}
    for name in again:
        assert list(found["interval"].loc[name]) == pytest.approx(list(kept[name].values()), abs=1e-6)


def test_the_ablations_are_as_notebook_06_tells_them():
    table = files.read_csv(RESULTS / "ablations.csv").set_index(["setting", "recipe"])  # test_tables makes it anew
    assert (table.loc["augmentation", "accuracy_low"] > 0).all()
    assert table.loc[("augmentation", "reference"), "auc_low"] > 0
    others = table.loc[["SMOTE", "class weights"]]
    for metric in ("accuracy", "auc"):  # no gain is seen, no loss either
        assert len(others) == 2 and (others[f"{metric}_low"] < 0).all() and (others[f"{metric}_high"] > 0).all()


def test_the_box_of_notebook_08_has_the_figures_of_the_shipped_network():
    tests = files.read_record(RESULTS / "reference.json")["tests"]
    heat = {f"heat in the {name}": tests["heat"]["hirescam"][part]["value"]
            for name, part in (("central chest", "centre"), ("border", "border"))}  # fmt: skip
    changed = {f"AUC, {name}": row["value"] for name, row in tests["shortcuts"].items()}
    assert files.read_record(RESULTS / "course" / "08_explain_and_predict.json")["facts"] == heat | changed


def test_intervals_over_seeds_are_those_of_other_code():
    """Computed by someone else from the same predictions, with other draws."""
    summary = files.read_csv(RESULTS / "grid.csv").set_index(["recipe", "protocol"])
    for recipe, metric, low, high in [("reference", "accuracy", 0.885, 0.947),
                                      ("batchnorm_224", "accuracy", 0.795, 0.916),
                                      ("batchnorm_224", "specificity", 0.457, 0.799)]:  # fmt: skip
        row = summary.loc[recipe, "honest"]
        assert (row[f"{metric}_low"], row[f"{metric}_high"]) == pytest.approx((low, high), abs=0.003)


def test_calibration_of_reference_on_test_is_that_of_other_code():
    found = []
    for seed in range(5):
        table = evaluation.read_predictions(RESULTS / "runs" / f"reference-honest-s{seed}.predictions.csv.gz")
        test = table[table["split"] == "test"]
        found.append(evaluation.calibration_slope(test["label"], test["probability"]))
    slopes, intercepts = ([one[name] for one in found] for name in ("slope", "intercept"))
    assert (min(slopes), max(slopes)) == pytest.approx((1.41, 1.92), abs=0.01)
    assert (min(intercepts), max(intercepts)) == pytest.approx((-4.60, -1.15), abs=0.01)


def prose(place):
    """Return a page or a notebook's script as one line, without the signs before its lines."""
    return re.sub(r"\s+(?:# )?", " ", (RESULTS.parent / place).read_text(encoding="utf-8"))


def test_what_02_06_and_the_datasheet_say_of_the_stamp_is_what_was_counted():
    counts = files.read_json(RESULTS / "acquisition.json")["stamp"]["counts"]
    found = pd.DataFrame(counts).assign(outside=lambda rows: rows["part"] != "test")
    found = found.groupby(["outside", "class"])[["stamped", "images"]].sum()
    (none, normal), (some, ill), (late, tested) = (
        found.loc[key] for key in ((True, "NORMAL"), (True, "PNEUMONIA"), (False, "NORMAL"))
    )
    assert none == 0
    told = prose("notebooks/source/02_explore.py")
    assert f"On {some} of the {ill:,} PNEUMONIA images of train and val" in told
    assert f"on none of the {normal:,} NORMAL images" in told
    assert f"in test {late} of {tested} have it" in prose("notebooks/source/06_evaluate.py")
    assert f"outside test on {some} of {ill:,} PNEUMONIA and on no NORMAL image" in prose("data/README.md")
    networks = pd.DataFrame(files.read_json(RESULTS / "acquisition.json")["networks"]).set_index("network")
    assert (networks["specificity_run"] < networks["specificity_others"]).all()  # as 06 says of each row
    assert list(networks.index[networks["specificity_run"] >= 0.5]) == ["reference_2 honest"]
    wrong = networks.loc["reference_2 honest", "false_positives_run"]
    assert f"its {wrong:.0f} of 32 are no fair test of it" in prose("notebooks/source/06_evaluate.py")


def test_neighbours_in_06_are_those_of_readme():
    (share,) = re.findall(r"correlate by (\S+) among NORMAL2-IM", prose("results/limits.md"))
    assert f"correlate by {share} (log-odds" in prose("notebooks/source/06_evaluate.py")


def test_the_simulated_coverage_is_what_is_kept():
    found = coverage.table()
    pd.testing.assert_frame_equal(found, files.read_csv(RESULTS / "coverage.csv"), atol=0.003, check_dtype=False)
    assert found["normal"].between(0.91, 0.97).all() and found["skewed"].between(0.88, 0.97).all()
    assert set(zip(found["seeds"], found["ratio"], strict=True)) == {(k, r) for k in (3, 5) for r in (0.5, 1, 2, 3)}


def test_the_table_of_the_other_hospital_is_what_the_kept_answers_give():
    workflow("eight_statistics")  # which it imports
    hospital = workflow("elsewhere")
    kept = files.read_csv(RESULTS / "elsewhere" / "networks.csv").set_index("network")
    values = hospital.networks(RESULTS, draws=2).set_index("network")
    same = [name for name in kept if not name.endswith(("_low", "_high"))]
    pd.testing.assert_frame_equal(values[same], kept[same], check_dtype=False, atol=1e-4)
    whole = hospital.networks(RESULTS, only=("plain_300",)).set_index("network")
    pd.testing.assert_frame_equal(whole, kept.loc[["plain_300"]], check_dtype=False, atol=1e-4)


def test_what_the_shipped_network_answered_elsewhere_gives_its_figures():
    """By other code: scikit-learn's AUC, of the kept answers and the table of the images."""
    from sklearn.metrics import roc_auc_score

    record = files.read_record(RESULTS / "elsewhere" / "reference.json")
    assert record["model"]["sha256"] == files.sha256(RESULTS / "models" / "reference.onnx")
    answers = evaluation.read_predictions(RESULTS / "elsewhere" / "reference.predictions.csv.gz").set_index("path")
    about = files.read_csv(RESULTS / "elsewhere" / "images.csv").set_index("path")
    assert len(answers) == len(about) == 1000
    for group, rows in {"all": about, "view AP": about[about["view"] == "AP"]}.items():
        found = answers.loc[rows.index]
        auc = roc_auc_score(found["label"], found["probability"])
        assert record["groups"][group]["metrics"]["at_half"]["auc"]["value"] == pytest.approx(auc, abs=1e-4)
