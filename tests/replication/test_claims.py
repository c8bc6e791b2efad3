import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_utils import evaluation, files, recipes
from cxr_utils.errors import BadInput
from cxr_utils.recipes import Claim
from cxr_utils.replication import claims, grid, verdicts
from cxr_utils.replication.verdicts import NOT_RUN, Found


def claim(metric="test_accuracy", value=0.9, n=624, **others):
    return Claim(text="a claim", source="README", metric=metric, value=value, n=n, **others)


SMALL = claim("validation_accuracy", 1.0, 16)
SHUFFLED = claim("permuted_accuracy", 0.59, note="Shuffled.")
RECALL = claim("recall_minus_precision", (0.0, None))
GAIN = claim("augmentation_gain", (None, 0.0))
UNSTATED = claim(unstated="no set")
RIVAL = claim(value=0.99)
SEEDS = Found(ours=(0.88, 0.90, 0.91))
MANY = Found(ours=(0.88, 0.89, 0.90, 0.89, 0.90, 0.91, 0.90, 0.91))
OTHERS = Found(ours=MANY.ours, others_images=True)


# The claims themselves


def test_every_published_claim_stands_once_in_its_system():
    published = {
        "000": [0.91, 0.907, 0.8964, 0.91, 0.9794, 4538],
        "001": [0.9475, 0.9375, 0.93, 0.8253, 0.59, "children and adults"],
        "002": [0.9816, 1.0, 0.9407, 0.9151],
        "003": [0.93, 0.87, (1341, 3875)],
        "004": [0.877, 0.896, 5930, 1431],
        "keras.io": [0.98, 0.98, 0.83, (0.0, None), (None, 0.0)],
    }
    found, texts = {}, []
    for recipe in map(recipes.get, recipes.names()):
        system = recipe.number
        if recipe.published is None:  # our own: nobody claimed anything
            assert not recipe.claims
            continue
        found.setdefault(system, []).extend(one.value for one in recipe.claims)
        texts += [(system, one.text) for one in recipe.claims]
        assert all(one.metric in verdicts.METRICS or one.metric in verdicts.FACTS for one in recipe.claims)
    assert {name: sorted(map(str, v)) for name, v in found.items()} == {
        name: sorted(map(str, v)) for name, v in published.items()
    }
    assert len(set(texts)) == len(texts) == 28


# The rules


@pytest.mark.parametrize(
    ("one", "found", "verdict", "says"),
    [
        (claim("images", 4538), Found(), "not a fact of the dataset", "5,856"),
        (claim("train_normal", 1431), Found(), "not a fact of the dataset", "1,341"),
        (claim("ages", "children and adults"), Found(), "not a fact of the dataset", "one to five years"),
        (claim("train_classes", (1341, 3875)), Found(), "reproduced", "1,341 and 3,875"),
        (claim(), Found(rival=RIVAL), "contradicts itself", ".99"),
        (claim(n=None), Found(rival=RIVAL), "contradicts itself", "624 images"),
        (claim(), Found(rival=claim(value=0.91)), NOT_RUN, ""),
        (SMALL, Found(), "an artefact", "16 of 16 right: the 95% interval is .794 to 1"),
        (claim("validation_accuracy", 0.9375, 32), Found(), "an artefact", "30 of 32"),
        (SHUFFLED, Found(ours=(0.57,), spread=0.016), "an artefact", "images. Shuffled."),
        (SHUFFLED, Found(ours=(0.54, 0.541), spread=0.016), "above what we can reach", ".54"),
        (SHUFFLED, Found(), NOT_RUN, ""),
        (claim(value=0.8964, note="The bar."), SEEDS, "an artefact", "next to it are .8958 and .8974. The bar."),
        (claim(value=0.8964, n=None), SEEDS, "reproduced", ""),
        (claim(value=0.8974), SEEDS, "reproduced", ""),  # 560 of 624, rounded
        (claim(value=0.9086), SEEDS, "reproduced", ""),  # 567 of 624, cut
        (claim(value=0.9794, n=None), Found(rival=claim(value=0.91)), "contradicts itself", "no count of 624 images"),
        (claim(), Found(), NOT_RUN, "No seed"),
        (UNSTATED, Found(), NOT_RUN, ""),
        (UNSTATED, SEEDS, "underspecified", "No set; our reconstruction gave .880 to .910."),
        (UNSTATED, Found(ours=(0.8,), others={"slim": (0.7, 0.75)}), "underspecified", "slim .700 to .750"),
        (claim(value=0.915), MANY, "reproduced", "gave .880 to .910; with one further training .8"),
        (claim(value=0.93), SEEDS, "undecided", "Our trainings differ too much: Our seeds gave"),
        (claim(value=0.98), SEEDS, "above what we can reach", ""),
        (claim(value=0.81), SEEDS, "below", ""),
        (claim(value=0.95), MANY, "above what we can reach", ""),
        (claim(value=0.94), OTHERS, "reproduced", "and the error of 624 other images .843"),
        (claim(value=0.95), Found(ours=(0.86, 0.90, 0.94)), "undecided", "with one further training .701 to 1."),
        (claim(value=0.93), Found(ours=(0.86, 0.90, 0.94)), "reproduced", ""),  # in the range of the seeds
        (claim(value=0.95), Found(ours=(0.9,)), "undecided", "nothing of the next: ours gave .900 (1 of 3"),
        (claim(value=1.0, typed="the log says .94"), SEEDS, "typed text", "fixed text: the log says .94."),
        (claim("images", 5930, copy="another"), Found(), "true of another copy", "used, another. The dataset has 5"),
        (claim(value=0.877, n=None), Found(ours=(0.8766,)), "reproduced", ""),  # rounded
        (claim(value=(0.85, 0.95)), Found(rival=RIVAL, ours=(0.9,)), "reproduced", ""),
        (claim(), Found(rival=claim(value=(0.98, 0.99)), ours=(0.9,)), "reproduced", ""),
        (claim("images", 5856, unstated="x"), Found(), "reproduced", "5,856"),
        (claim(n=None), SEEDS, "reproduced", "gave .880 to .910;"),
        (claim(value=0.98, n=None), SEEDS, "above what we can reach", ""),
        (RECALL, Found(ours=(-0.02, 0.01)), "reproduced", "-.020 to .010 (2 of 3 seeds)"),
        (RECALL, Found(ours=(-0.02, -0.019)), "above what we can reach", ""),
        (GAIN, Found(honest=(0.03, 0.01, 0.05)), "below", ""),
        (GAIN, Found(honest=(0.03, -0.01, 0.05)), "reproduced", ""),
        (GAIN, Found(), NOT_RUN, ""),
        (claim(GAIN.metric, (None, 0), unstated="x"), Found(honest=(0.03, 0.01, 0.05)), "underspecified", "(.010 to"),
    ],
)  # fmt: skip
def test_each_verdict_follows_its_rule(one, found, verdict, says):
    name, why = verdicts.verdict(one, found)
    assert name == verdict and says in why and why.endswith(".")


def test_two_figures_contradict_each_other_or_neither_does():
    few, many = claim("validation_accuracy", 1.0, 16), claim("validation_accuracy", 0.985, 5216)
    assert verdicts.verdict(few, Found(rival=many, ours=(1.0,)))[0] == "an artefact"
    assert verdicts.verdict(many, Found(rival=few, ours=(0.985,)))[0] == "reproduced"


def test_a_percentage_is_no_share():
    with pytest.raises(BadInput, match=r"93\.0.*0\.93"):
        verdicts.verdict(claim(value=93.0), SEEDS)


def test_the_verdicts_come_in_the_stated_order():
    order = list(verdicts.VERDICTS)
    assert order == [
        "true of another copy", "not a fact of the dataset", "typed text", "contradicts itself", "an artefact", NOT_RUN,
        "underspecified", "undecided", "reproduced", "above what we can reach", "below",
    ]  # fmt: skip
    everything = {"unstated": "no set", "contradicts": "another"}
    small = claim("validation_accuracy", 1.0, 16, **everything)
    assert verdicts.verdict(small, Found(rival=claim(value=0.7), ours=(1.0,)))[0] == order[3]
    assert verdicts.verdict(small, Found(ours=(1.0,)))[0] == order[4]
    assert verdicts.verdict(claim("images", 4538, **everything), Found(rival=RIVAL))[0] == order[1]
    assert verdicts.verdict(claim(**everything, typed="no"), Found(rival=RIVAL))[0] == order[2]
    assert verdicts.verdict(claim(**everything), SEEDS)[0] == "underspecified"
    for rule in (name for name in order if name != NOT_RUN):
        assert verdicts.VERDICTS[rule].__doc__.startswith(f"*{rule}*")


def test_any_figure_has_exactly_one_verdict():
    for found, between in ((MANY, ["reproduced"]), (SEEDS, ["undecided", "reproduced", "undecided"])):
        given = pd.Series([verdicts.verdict(claim(value=right / 624), found)[0] for right in range(450, 624 + 1)])
        runs = given[given != given.shift()].to_list()
        assert runs == ["below", *between, "above what we can reach"]


@given(st.lists(st.floats(0.5, 1), min_size=2, max_size=12), st.floats(0, 1))
def test_what_a_seed_gave_is_reproduced_and_wider_seeds_reach_further(values, share):
    low, high = verdicts.prediction(tuple(values))
    assert low - 1e-12 <= np.mean(values) <= high + 1e-12
    for value in values:
        assert verdicts.verdict(claim(value=value, n=None), Found(ours=tuple(values)))[0] == "reproduced"
    assert verdicts.verdict(claim(value=share, n=None), Found(ours=tuple(values)))[0] in verdicts.VERDICTS


def test_the_interval_of_a_further_training_holds_it():
    rng = np.random.default_rng(0)
    for count in (3, 10):
        drawn = rng.normal(size=(4000, count + 1))
        ends = np.array([verdicts.prediction(tuple(row[:-1])) for row in drawn])
        held = ((ends[:, 0] <= drawn[:, -1]) & (drawn[:, -1] <= ends[:, 1])).mean()
        assert held == pytest.approx(0.95, abs=0.012)


def test_unknown_metrics_and_rivals_are_refused():
    with pytest.raises(BadInput, match="its metric: 'glow'; choose one of .*test_accuracy"):
        verdicts.verdict(claim("glow"), Found())
    with pytest.raises(BadInput, match="system 000.*'never said'"):
        claims._rival(claim(contradicts="never said"), "000")


def test_the_interval_of_sixteen_images():
    low, high = verdicts.interval(1.0, 16)
    assert low == pytest.approx(0.025 ** (1 / 16)) and high == 1


def test_permuted_answers_are_as_right_as_in_a_simulation():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": rng.permutation([0] * 70 + [1] * 130), "probability": rng.random(200) ** 0.5})
    answers = (table["probability"] >= 0.5).to_numpy()
    drawn = [(rng.permutation(answers) == table["label"]).mean() for _ in range(20_000)]
    mean, sd = verdicts.permuted(table)
    assert mean == pytest.approx(np.mean(drawn), abs=0.001) and sd == pytest.approx(np.std(drawn), abs=0.001)


def test_the_published_report_is_that_of_shuffled_answers():
    """Its confusion matrix: 55 and 179 of the NORMAL, 78 and 312 of the PNEUMONIA."""
    answers = [0] * 55 + [1] * 179 + [0] * 78 + [1] * 312
    shuffled = pd.DataFrame({"label": [0] * 234 + [1] * 390, "probability": answers})
    mean, sd = verdicts.permuted(shuffled)
    accuracy = ((shuffled["probability"] >= 0.5) == shuffled["label"]).mean()
    assert abs(accuracy - mean) < 1.96 * sd and round(accuracy, 2) == 0.59


# The tables


def keep(out, name, *, skill, epochs=((0.9, 0.2), (0.97, 0.1), (0.98, 0.15))):
    """Write a made-up cell: predictions whose answers are better with `skill`."""
    recipe, protocol, seed = name.rsplit("-", 2)
    seed = int(seed[1:])
    rng = np.random.default_rng([seed, len(name), int(100 * skill)])
    label = np.array([0] * 40 + [1] * 60)
    parts = []
    for part in ("test", "validation"):
        score = 1 / (1 + np.exp(-(skill * (label - 0.5) + rng.normal(size=100))))
        paths = [f"{part}/{i:03d}.png" for i in range(100)]
        patient = [f"{part}-{i // 2}" for i in range(100)]
        parts.append(pd.DataFrame(
            {"path": paths, "patient": patient, "split": part, "label": label, "probability": score, "kind": "made up"}
        ))  # fmt: skip
    predictions = pd.concat(parts)
    history = [
        {"epoch": i + 1, "accuracy": a, "val_loss": loss, "val_accuracy": a} for i, (a, loss) in enumerate(epochs)
    ]
    record = {
        "cell": name, "identity": "made up", "version": 1, "recipe": {}, "split": "made up", "protocol": protocol,
        "seed": seed, "validate_on": "validation", "parameters": 10, "epochs_run": 3, "precision": "float32",
        "image_source": "made up", "seconds": 60.0 * (seed + 1), "hardware": {"cores": 2}, "kept_epoch": 2,
        "history": history, "metrics": evaluation.judge(predictions),
    }  # fmt: skip
    files.write_json(out / "runs" / f"{name}.json", record)
    files.write_csv(out / "runs" / f"{name}.predictions.csv.gz", predictions)
    return record


def test_without_any_result_every_claim_has_its_row(tmp_path):
    table = claims.table(tmp_path)
    assert len(table) == sum(len(recipes.get(name).claims) for name in recipes.names())
    assert table["verdict"].isin(list(verdicts.VERDICTS)).all() and table["why"].str.endswith(".").all()
    measured = table["metric"].isin(verdicts.METRICS.keys())
    assert table["ours"].isna().all() and table.loc[measured, "honest_seeds"].isin(["0 of 3", "0 of 10"]).all()
    assert (table["verdict"] == NOT_RUN).sum() > 10
    assert claims.summary(tmp_path)["seeds"].isin(["0 of 3", "0 of 5", "0 of 10"]).all()


def test_no_mean_is_taken_of_runs_that_differ_in_more_than_their_seed(tmp_path):
    keep(tmp_path, "plain_64-honest-s0", skill=3)
    other = keep(tmp_path, "plain_64-honest-s1", skill=3) | {"recipe": {"epochs": 99}}
    files.write_json(tmp_path / "runs" / "plain_64-honest-s1.json", other, ours=True)
    with pytest.raises(BadInput, match="plain_64-honest-s0 and plain_64-honest-s1 differ in their recipe"):
        claims.table(tmp_path)


def test_rows_hold_the_figures_of_their_runs(tmp_path):
    runs = [keep(tmp_path, f"smote_224-published-s{seed}", skill=3) for seed in (0, 2)]
    slim = keep(tmp_path, "smote_224_slim-published-s0", skill=1)
    honest = keep(tmp_path, "smote_224-honest-s0", skill=2)
    table = claims.table(tmp_path).query("recipe == 'smote_224'").set_index("metric")
    accuracies = [run["metrics"]["test"]["at_half"]["accuracy"]["value"] for run in runs]
    row = table.loc["test_accuracy"]
    assert (row["ours"], row["ours_min"], row["ours_max"]) == pytest.approx(
        (np.mean(accuracies), min(accuracies), max(accuracies)), abs=1e-4
    )
    assert (row["seeds"], row["honest_seeds"], row["verdict"]) == ("2 of 3", "1 of 3", "underspecified")
    alone = honest["metrics"]["test"]["at_half"]["accuracy"]
    assert (row["honest"], row["honest_low"], row["honest_high"]) == pytest.approx(tuple(alone.values()), abs=1e-4)
    other = slim["metrics"]["test"]["at_half"]["accuracy"]["value"]
    assert f"smote_224_slim {verdicts.shown(other)}" in row["why"] and "reconstruction" in row["why"]
    assert table.loc["train_accuracy", "ours"] == pytest.approx(0.97)  # of the epoch that was kept
    assert table.loc["train_classes", "dataset"] == "1,341 and 3,875"


def test_shuffled_answers_are_found_from_our_predictions(tmp_path):
    for seed in grid.SEEDS:
        keep(tmp_path, f"batchnorm_224-published-s{seed}", skill=0.2)
    row = claims.table(tmp_path).query("metric == 'permuted_accuracy'").iloc[0]
    predictions = evaluation.read_predictions(tmp_path / "runs/batchnorm_224-published-s0.predictions.csv.gz")
    expected = verdicts.permuted(predictions[predictions["split"] == "test"])[0]
    assert row["ours_min"] - 1e-4 <= expected <= row["ours_max"] + 1e-4
    assert row["verdict"] == "an artefact" and "shuffled generator" in row["why"]


def test_what_augmentation_gives_is_a_paired_difference(tmp_path):
    for seed in grid.SEEDS:
        keep(tmp_path, f"plain_224-honest-s{seed}", skill=4)
        keep(tmp_path, f"plain_224-unaugmented-honest-s{seed}", skill=1)
    row = claims.table(tmp_path).query("metric == 'augmentation_gain'").iloc[0]
    summary = claims.summary(tmp_path).set_index(["recipe", "protocol"])
    accuracy, auc = summary["accuracy"], summary["auc"]
    gain = accuracy["plain_224", "honest"] - accuracy["plain_224-unaugmented", "honest"]
    assert row["honest"] == pytest.approx(gain, abs=2e-4)
    assert 0 < row["honest_low"] < row["honest"] < row["honest_high"]
    assert row["verdict"] == "underspecified" and row["honest_seeds"] == "3 of 10"
    found = claims.ablations(tmp_path)
    assert len(found) == 1 and (found["recipe"][0], found["seeds_without"][0]) == ("plain_224", "3 of 10")
    figures = [found[f"accuracy{end}"][0] for end in ("", "_low", "_high")]
    assert figures == [row[f"honest{end}"] for end in ("", "_low", "_high")]
    gain = auc["plain_224", "honest"] - auc["plain_224-unaugmented", "honest"]
    assert found["auc"][0] == pytest.approx(gain, abs=2e-4)


def test_runs_name_their_system_and_both_figures(tmp_path):
    for name in ("plain_64-published-s0", "plain_224-unaugmented-honest-s1", "reference-honest-s2"):
        keep(tmp_path, name, skill=2)
    table = claims.runs(tmp_path, "auc").set_index("recipe")
    assert table["system"].to_dict() == {
        "plain_224-unaugmented": "system 004", "plain_64": "system 000", "reference": "ours"
    }  # fmt: skip
    assert table["seed"].to_dict() == {"plain_224-unaugmented": 1, "plain_64": 0, "reference": 2}
    kept = grid.results(tmp_path)["reference-honest-s2"]["metrics"]
    for part in ("validation", "test"):
        assert table.loc["reference", part] == kept[part]["at_half"]["auc"]["value"]


def test_the_interval_holds_the_seeds_as_well_as_the_images(tmp_path):
    for seed, skill in enumerate((1, 2, 4)):
        keep(tmp_path, f"plain_64-honest-s{seed}", skill=skill)
    wide = claims.summary(tmp_path).set_index(["recipe", "protocol"]).loc[("plain_64", "honest")]
    assert (wide["seeds"], wide["epochs"], wide["minutes"]) == ("3 of 10", 3, 2)
    halves = [run["metrics"]["test"]["at_half"]["accuracy"] for run in grid.results(tmp_path).values()]
    assert wide["accuracy"] == pytest.approx(np.mean([half["value"] for half in halves]), abs=1e-4)
    assert wide["accuracy_high"] - wide["accuracy_low"] > np.mean([half["high"] - half["low"] for half in halves])


def test_recall_less_precision_may_lie_below_0(tmp_path):
    keep(tmp_path, "separable_180-honest-s0", skill=2)
    results = claims._Results(tmp_path)
    results.records["separable_180", "honest"] *= 2  # two seeds alike
    results.kept["separable_180", "honest"] = {"sensitivity": np.array([0.1, 0.3]), "ppv": np.array([0.9, 0.7])}
    metric = verdicts.METRICS["recall_minus_precision"]
    value, low, high = results.mean(metric.honest, "separable_180", least=metric.least)
    assert -1 <= low < min(0, value) and value < high <= 1


def test_scored_predictions_get_a_row(tmp_path):
    record = keep(tmp_path, "plain_64-honest-s0", skill=2)
    (tmp_path / "scores").mkdir()
    files.write_json(tmp_path / "scores" / "mine.json", {"name": "my_forest", "metrics": record["metrics"]})
    row = claims.summary(tmp_path).iloc[-1]
    half = record["metrics"]["test"]["at_half"]
    assert (row["recipe"], row["protocol"]) == ("my forest", "scored")
    assert row["auc_low"] == pytest.approx(half["auc"]["low"], abs=1e-4)
    assert claims.grid_row(row).count("|") == claims.HEAD.count("|")
    files.write_json(tmp_path / "scores" / "mine.json", {"name": "my_forest"}, ours=True)
    with pytest.raises(BadInput, match="mine.json: not a record"):
        claims.summary(tmp_path)


def test_all_tables_are_written_and_read_back(tmp_path):
    keep(tmp_path, "plain_64-published-s0", skill=3)
    paths = claims.write(tmp_path)
    assert [path.name for path in paths] == ["claims.csv", "grid.csv", "ablations.csv"]
    table = claims.table(tmp_path)
    assert list(files.read_csv(paths[0]).columns) == list(table.columns) and len(files.read_csv(paths[0])) == len(table)
