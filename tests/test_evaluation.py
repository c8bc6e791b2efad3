import json
import subprocess
import sys
import time

import measured
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from cxr_utils import evaluation
from cxr_utils.errors import BadInput
from cxr_utils.training import Run

scored = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda i: i / 20)), min_size=2, max_size=60
).filter(lambda rows: len({y for y, _ in rows}) == 2)


def table(n=200, seed=0, split="test"):
    rng = np.random.default_rng(seed)
    label = (np.arange(n) % 8 >= 3).astype(int)
    probability = np.clip(label * 0.4 + rng.normal(0.3, 0.25, n), 0, 1)
    patient = [f"p{i // 2}" for i in range(n)]
    kind = np.where(label == 0, "normal", np.where(np.arange(n) % 2, "virus", "bacteria"))
    return pd.DataFrame({"path": [f"{i:03d}.jpeg" for i in range(n)], "patient": patient, "split": split,
                         "label": label, "probability": probability, "kind": kind})  # fmt: skip


@given(rows=scored, threshold=st.floats(0.05, 0.95))
@settings(max_examples=150, deadline=None)
def test_metrics_are_those_of_scikit_learn(rows, threshold):
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    called = p >= threshold
    found = evaluation.metrics(y, p, threshold=threshold)
    expected = {
        "accuracy": sk.accuracy_score(y, called),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "sensitivity": sk.recall_score(y, called),
        "specificity": sk.recall_score(y, called, pos_label=0),
        "ppv": sk.precision_score(y, called, zero_division=np.nan),
        "npv": sk.precision_score(y, called, pos_label=0, zero_division=np.nan),
        "f1": sk.f1_score(y, called),
        "auc": sk.roc_auc_score(y, p),
        "average_precision": sk.average_precision_score(y, p),
        "brier": sk.brier_score_loss(y, p),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, nan_ok=True), name


@given(rows=scored, threshold=st.floats(0.05, 0.95))
@settings(max_examples=50, deadline=None)
def test_a_confusion_matrix_counts_each_answer(rows, threshold):
    found = evaluation.confusion(*zip(*rows, strict=True), threshold=threshold)
    assert found.index.tolist() == found.columns.tolist() == ["NORMAL", "PNEUMONIA"]
    answers = [(y, int(p >= threshold)) for y, p in rows]
    assert found.to_numpy().tolist() == [[answers.count((y, called)) for called in (0, 1)] for y in (0, 1)]
    assert (found.dtypes == "int64").all()


def test_a_metric_is_written_with_its_interval():
    found = {"value": 0.9304, "low": 0.9, "high": 0.95}
    assert evaluation.words(found) == "0.930 (0.900 to 0.950)"
    assert evaluation.words(found | {"low": None, "high": None}) == "0.930"
    assert evaluation.words({"value": None, "low": None, "high": None}) == evaluation.words({}) == "-"


@given(names=st.lists(st.sampled_from(["a", "b", "c", None, pd.NA]), min_size=1, max_size=20))
def test_a_missing_patient_is_a_group_of_its_own(names):
    found = evaluation.groups(names).tolist()
    known = [None if pd.isna(name) else name for name in names]
    assert all((a == b) is (i == j or known[i] is not None and known[i] == known[j])
               for i, a in enumerate(found) for j, b in enumerate(found))  # fmt: skip
    assert sorted(set(found)) == list(range(max(found) + 1))


def test_calibration_error_by_hand():
    found = evaluation.metrics([0, 1, 1, 1], [0.15, 0.15, 0.95, 0.95])
    assert found["ece"] == pytest.approx(0.5 * abs(0.5 - 0.15) + 0.5 * 0.05)


def test_weights_repeat_images():
    predictions = table(40)
    y, p = predictions["label"].to_numpy(), predictions["probability"].to_numpy()
    times = np.random.default_rng(1).integers(1, 4, 40)
    weighted = evaluation._weighted(y, p, times[None].astype(float), 0.5)
    repeated = evaluation.metrics(np.repeat(y, times), np.repeat(p, times))
    for name, value in repeated.items():
        assert weighted[name][0] == pytest.approx(value), name


def test_intervals_hold_the_value_and_widen_with_patients():
    predictions = table()
    by_patient = evaluation.bootstrap(predictions)
    inside = (by_patient["low"] <= by_patient["value"]) & (by_patient["value"] <= by_patient["high"])
    assert inside.drop("ece").all()
    twice = pd.concat([predictions, predictions])  # each image doubled: no more to know than before
    alone = evaluation.bootstrap(twice.assign(patient=[f"i{i}" for i in range(len(twice))]))
    together = evaluation.bootstrap(twice)
    assert (together["high"] - together["low"])["auc"] > 1.2 * (alone["high"] - alone["low"])["auc"]
    assert by_patient.equals(evaluation.bootstrap(predictions))


def test_unknown_patients_are_groups_of_their_own():
    predictions = table()
    unknown = predictions.assign(patient=pd.Series([pd.NA] * len(predictions), dtype="string"))
    alone = predictions.assign(patient=predictions["path"])
    width = [f["high"] - f["low"] for f in map(evaluation.bootstrap, (unknown, alone))]
    np.testing.assert_allclose(width[0], width[1], atol=0.03)


few = st.lists(st.floats(0.3, 0.7), min_size=2, max_size=6)


@given(one=few, other=few)
@settings(max_examples=60, deadline=None)
def test_without_error_of_the_images_the_interval_over_seeds_is_students_t(one, other):
    sure = np.full(100, 0.5)
    alone, both = (evaluation.over_seeds(arms, sure, bounds=(-9, 9)) for arms in ([one], [one, other]))
    assert alone[0] == pytest.approx(np.mean(one)) and both[0] == pytest.approx(np.mean(one) - np.mean(other))
    if np.std(one) > 1e-3 and np.std(other) > 1e-3:
        expected = stats.ttest_1samp(one, 0).confidence_interval()
        assert alone[1:] == pytest.approx((expected.low, expected.high))
        expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
        assert both[1:] == pytest.approx((expected.low, expected.high))


@given(seeds=few, error=st.floats(0.001, 0.1))
@settings(max_examples=60, deadline=None)
def test_the_interval_over_seeds_is_wider_than_of_either_error_alone(seeds, error):
    drawn = np.mean(seeds) + error * np.random.default_rng(0).normal(size=500)
    value, low, high = evaluation.over_seeds([seeds], drawn, bounds=(-9, 9))
    assert value - low == pytest.approx(high - value)
    assert high - value >= 1.9599 * drawn.std(ddof=1)
    assert high - value >= 1.9599 * np.std(seeds, ddof=1) / len(seeds) ** 0.5


def test_limits_over_seeds_stay_in_the_range_and_one_seed_has_the_images_alone():
    drawn = np.random.default_rng(0).normal(0.95, 0.02, 2000)
    assert evaluation.over_seeds([[0.9, 1.0, 0.95]], drawn)[2] == 1
    assert evaluation.over_seeds([[0.95]], drawn)[1:] == tuple(np.percentile(drawn, [2.5, 97.5]))
    some = evaluation.over_seeds([[0.9, 1.0, 0.95]], np.append(drawn, np.nan))
    assert some == evaluation.over_seeds([[0.9, 1.0, 0.95]], drawn)
    assert np.isnan(evaluation.over_seeds([[np.nan, 0.9]], drawn)).all()
    assert np.isnan(evaluation.over_seeds([[0.9, 0.8]], np.full(9, np.nan))[1:]).all()


def test_blocks_hold_neighbouring_numbers_of_one_prefix():
    names = ["IM-0001", "IM-0019", "NORMAL2-IM-0019", "IM-0039", "IM-0040", "person3", "stranger", pd.NA, "IM-0001"]
    predictions = pd.DataFrame({"patient": names, "label": [0, 0, 0, 0, 0, 1, 0, 0, 1]})
    found = evaluation.blocks(predictions)
    assert found.tolist() == ["IM, block 0", "IM, block 0", "NORMAL2-IM, block 0", "IM, block 1", "IM, block 2",
                              "person3", "stranger", pd.NA, "IM-0001"]  # fmt: skip
    assert evaluation.blocks(predictions, size=100)[3] == "IM, block 0"


def test_neighbours_that_resemble_each_other_are_found_and_widen_the_interval():
    rng = np.random.default_rng(0)
    days = np.repeat(rng.normal(0, 1.5, 20), 20)
    log_odds = np.concatenate([days + rng.normal(0, 0.5, 400) - 1, rng.normal(2, 1, 400)])
    predictions = pd.DataFrame({
        "path": [f"{i:04d}.jpeg" for i in range(800)], "label": [0] * 400 + [1] * 400,
        "patient": [f"IM-{i:04d}" for i in range(400)] + [f"person{i}" for i in range(400)],
        "probability": 1 / (1 + np.exp(-log_odds)),
    })  # fmt: skip
    mixed = predictions.sample(frac=1, random_state=0)
    assert evaluation.neighbours(mixed).equals(evaluation.neighbours(predictions))
    alike = evaluation.neighbours(predictions)
    assert alike.index.tolist() == ["IM"] and alike["images"].tolist() == [400]
    assert alike["correlation"].item() == pytest.approx(np.corrcoef(log_odds[:399], log_odds[1:400])[0, 1])
    strangers = predictions.assign(patient=[f"IM-{i:04d}" for i in rng.permutation(800)])
    assert abs(evaluation.neighbours(strangers)["correlation"].item()) < 0.15
    by_number, by_block = (
        evaluation.bootstrap(predictions.assign(group=of), by="group", draws=500).loc[["sensitivity", "specificity"]]
        for of in (predictions["patient"], evaluation.blocks(predictions))
    )
    wider = (by_block["high"] - by_block["low"]) / (by_number["high"] - by_number["low"])
    assert wider["specificity"] > 2 and 0.8 < wider["sensitivity"] < 1.25


@given(rows=scored)
@settings(max_examples=60, deadline=None)
def test_no_threshold_beats_the_best_one(rows):
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    best = evaluation.metrics(y, p, threshold=evaluation.best_threshold(y, p))["balanced_accuracy"]
    others = [evaluation.metrics(y, p, threshold=t)["balanced_accuracy"] for t in np.linspace(0.01, 0.99, 60)]
    assert best >= max(others) - 1e-12


@given(rows=scored, sensitivity=st.floats(0.05, 1))
@settings(max_examples=60)
def test_the_threshold_of_a_sensitivity_is_the_highest_that_has_it(rows, sensitivity):
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    found, positive = evaluation.best_threshold(y, p, sensitivity=sensitivity), p[y == 1]
    assert np.mean(positive >= found) >= sensitivity and 0 <= found <= 1
    last = positive[positive >= found].min()  # one step higher it is missed
    assert np.mean(positive > last) < sensitivity and not ((p > found) & (p < last)).any()


def test_evaluate_takes_the_threshold_of_the_recipe_s_sensitivity(tmp_path):
    record = {"version": 1, "protocol": "honest", "seed": 0, "split": "", "seconds": 0, "recipe": {"sensitivity": 0.95}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    predictions = pd.concat([table(seed=1, split="validation"), table(seed=2)])
    result = evaluation.evaluate(Run(tmp_path), predictions)
    chosen = predictions[predictions["split"] == "validation"]
    expected = evaluation.best_threshold(chosen["label"], chosen["probability"], sensitivity=0.95)
    assert result["threshold"] == expected != evaluation.best_threshold(chosen["label"], chosen["probability"])
    assert 0.95 <= result["validation"]["at_threshold"]["sensitivity"]["value"] < 0.96


def test_evaluate_carries_the_threshold_of_validation_to_test(tmp_path):
    record = {"version": 1, "protocol": "honest", "seed": 0, "split": "", "seconds": 0, "recipe": {}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    predictions = pd.concat([table(seed=1, split="validation"), table(seed=2)])
    result = evaluation.evaluate(Run(tmp_path), predictions)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    validation = predictions[predictions["split"] == "validation"]
    assert result["threshold"] == evaluation.best_threshold(validation["label"], validation["probability"])
    test = predictions[predictions["split"] == "test"]
    expected = evaluation.metrics(test["label"], test["probability"], threshold=result["threshold"])
    assert result["test"]["at_threshold"]["specificity"]["value"] == pytest.approx(expected["specificity"])
    with pytest.raises(BadInput, match="validation"):
        evaluation.evaluate(Run(tmp_path), test)


def test_a_threshold_that_was_fixed_is_not_chosen():
    predictions = pd.concat([table(seed=1, split="validation"), table(seed=2)])
    result = evaluation.judge(predictions, threshold=0.7)
    expected = evaluation.metrics(*(predictions[predictions["split"] == "test"][c] for c in ("label", "probability")),
                                  threshold=0.7)  # fmt: skip
    assert result["threshold"] == 0.7
    assert result["test"]["at_threshold"]["accuracy"]["value"] == pytest.approx(expected["accuracy"], abs=1e-6)


def test_with_test_alone_nothing_is_chosen():
    predictions = table()
    result = evaluation.judge(predictions, validate_on=None)
    both = evaluation.judge(pd.concat([table(seed=1, split="validation"), predictions]))
    assert result == {"threshold": None, "test": {k: both["test"][k] for k in ("images", "at_half")}}
    with pytest.raises(BadInput, match="'test'"):
        evaluation.judge(predictions.assign(split="validation"), validate_on=None)


def test_as_published_test_chooses_its_own_threshold():
    predictions = table()
    result = evaluation.judge(predictions, validate_on="test")
    assert result["validation"]["at_threshold"] == result["test"]["at_threshold"]
    assert result["threshold"] == evaluation.best_threshold(predictions["label"], predictions["probability"])


def test_known_patients_of_test_are_left_out():
    predictions = table(20)
    split = pd.DataFrame({"patient": ["p0", "p3", "p9", pd.NA], "part": ["train", "validation", "test", "train"]})
    left = evaluation.without_known(predictions, split)
    assert set(predictions["patient"]) - set(left["patient"]) == {"p0", "p3"}
    with_val = pd.concat([table(20, seed=1, split="validation"), predictions])
    assert evaluation.without_known(with_val, split).equals(left)
    judged = evaluation.judge(with_val, split)
    assert judged["test_without_known"]["images"] == len(left) == 16
    expected = evaluation.metrics(left["label"], left["probability"])["auc"]
    assert judged["test_without_known"]["at_half"]["auc"]["value"] == pytest.approx(expected)
    assert "test_without_known" not in evaluation.judge(with_val, split.assign(patient=pd.NA))


def test_recalibration_finds_the_curve_that_distorted_the_scores():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.02, 0.98, 40_000)
    label = (rng.random(true.size) < true).astype(int)
    logit = np.log(true / (1 - true))
    too_sure = 1 / (1 + np.exp(-(3 * logit + 1)))
    found = evaluation.recalibrate(label, too_sure, too_sure)
    np.testing.assert_allclose(found, true, atol=0.02)
    before, after = (evaluation.metrics(label, scores)["ece"] for scores in (too_sure, found))
    assert before > 0.1 > 0.02 > after


def test_slope_and_intercept_are_those_that_distorted_the_scores():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0.3, 1.2, 40_000)
    label = (rng.random(log_odds.size) < 1 / (1 + np.exp(-log_odds))).astype(int)
    score = 1 / (1 + np.exp(-(2 * log_odds - 1)))  # too extreme
    found = evaluation.calibration_slope(label, score)
    assert found["slope"] == pytest.approx(0.5, abs=0.02) and found["intercept"] == pytest.approx(0.5, abs=0.05)
    shifted = 1 / (1 + np.exp(-(log_odds - 1)))  # too low on the whole
    assert evaluation.calibration_slope(label, shifted)["in_the_large"] == pytest.approx(1, abs=0.05)
    again = evaluation.recalibrate(label, score, score)
    assert evaluation.calibration_slope(label, again) == pytest.approx(
        {"slope": 1, "intercept": 0, "in_the_large": 0}, abs=1e-3
    )


@given(rows=scored, share=st.one_of(st.none(), st.floats(0.01, 0.99)))
@settings(max_examples=60, deadline=None)
def test_net_benefit_is_counted_by_hand(rows, share):
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    found = evaluation.net_benefit(y, p, prevalence=[share]).set_index("threshold")
    pi = y.mean() if share is None else share
    weights = np.where(y == 1, pi / y.sum(), (1 - pi) / (1 - y).sum())
    for cut in (0.1, 0.5, 0.77):
        called = p >= cut
        by_hand = (weights * called * np.where(y == 1, 1, -cut / (1 - cut))).sum()
        assert found.loc[cut, "model"] == pytest.approx(by_hand)
        assert found.loc[cut, "treat_all"] == pytest.approx(pi - (1 - pi) * cut / (1 - cut))
    assert (found["treat_none"] == 0).all() and (found["model"] <= pi + 1e-12).all()
    assert len(evaluation.net_benefit(y, p, prevalence=[None, 0.1, 0.3])) == 3 * 99


@pytest.mark.parametrize("share", [0, 1, 10])
def test_a_prevalence_is_a_share(share):
    with pytest.raises(BadInput, match=f"prevalence: {share}"):
        evaluation.net_benefit([0, 1], [0.1, 0.9], prevalence=[share])


def test_judging_takes_less_than_two_seconds():
    predictions = pd.concat([table(800, seed=1, split="validation"), table(624)])
    split = pd.DataFrame({"patient": [f"p{i}" for i in range(0, 312, 2)], "part": "train"})

    def seconds():
        started = time.process_time()  # of this process: others may be busy
        evaluation.judge(predictions, split)
        return time.process_time() - started

    assert min(seconds() for _ in range(3)) < 2


def test_bayes_and_likelihood_ratios():
    values = evaluation.predictive_values(0.9, 0.8, [0.1, 0.625])
    assert values["ppv"][0] == pytest.approx(0.09 / (0.09 + 0.18))
    odds = 0.625 / 0.375 * evaluation.likelihood_ratios(0.9, 0.8)["positive"]
    assert values["ppv"][1] == pytest.approx(odds / (1 + odds))


def test_tables_for_people():
    predictions = table()
    kinds = evaluation.by_kind(predictions)
    matrix = evaluation.confusion(predictions["label"], predictions["probability"])
    assert kinds["images"].sum() == matrix.to_numpy().sum() == 200
    assert kinds["wrong"].sum() == matrix.loc["NORMAL", "PNEUMONIA"] + matrix.loc["PNEUMONIA", "NORMAL"]
    assert evaluation.calibration(predictions["label"], predictions["probability"])["images"].sum() == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="label"), "'label' is missing"),
        (lambda t: t.drop(columns="path"), "'path' is missing"),
        (lambda t: t.drop(columns="patient"), "'patient' is missing"),
        (lambda t: t.assign(label=2), "line 2: label is"),
        (lambda t: t.assign(probability=[0.5] * 199 + [float("nan")]), "line 201: probability"),
        (lambda t: t.assign(probability=1.5), "probability is"),
    ],
)
def test_edited_predictions_are_refused_by_name(tmp_path, change, words):
    path = tmp_path / "predictions.csv"
    change(table()).to_csv(path, index=False)
    with pytest.raises(BadInput, match=words) as caught:
        evaluation.read_predictions(path)
    assert "predictions.csv" in str(caught.value)


@pytest.mark.parametrize(("y", "p"), [([1, 1], [0.1, 0.2]), ([0, 1], [0.1]), ([0, 1], [0.1, float("nan")])])
def test_bad_scores_are_refused(y, p):
    with pytest.raises(BadInput):
        evaluation.metrics(y, p)


@pytest.mark.parametrize("block", [3_000, 20_000, 38_000])
def test_draws_in_blocks_are_the_draws_at_once(monkeypatch, block):
    predictions = table(97)
    whole = evaluation.resample(predictions, draws=400)
    assert 400 * 97 <= evaluation.BLOCK  # at once
    shapes, weighted = [], evaluation._weighted

    def spy(y_true, y_score, weights, threshold):
        shapes.append(weights.shape)
        return weighted(y_true, y_score, weights, threshold)

    monkeypatch.setattr(evaluation, "_weighted", spy)
    monkeypatch.setattr(evaluation, "BLOCK", block)
    found = evaluation.resample(predictions, draws=400)
    assert sum(rows for rows, _ in shapes) == 400 and max(rows for rows, _ in shapes) * 97 <= block + 97
    for name, values in whole.items():
        if name == "ece":  # a product of matrices adds in an order that depends on their size
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-15)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_tables_as_large_as_those_that_are_kept_are_drawn_at_once():
    assert evaluation.BLOCK >= 2000 * 1_500


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for the peak of memory")
def test_memory_does_not_grow_with_draws_times_images(tmp_path):
    program = (
        "import resource, sys; import numpy as np, pandas as pd; from cxr_utils import evaluation\n"
        "n = int(sys.argv[1]); label = np.arange(n) % 2; rng = np.random.default_rng(0)\n"
        "table = pd.DataFrame({'patient': range(n), 'label': label, 'probability': rng.random(n)})\n"
        "evaluation.resample(table, draws=400); evaluation.best_threshold(label, table['probability'])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(images):
        command = measured.alone(sys.executable, "-c", program, str(images))
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout) / (2**30 if sys.platform == "darwin" else 2**20)  # GiB

    few, many = peak(10_000), peak(40_000)  # at once these would be 128 MB an array, of which there are a dozen
    assert many < few + 0.25 and many < 1
