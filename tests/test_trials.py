"""The trials towards our own recipes: what is kept, and that none of them sees test."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import workflow

from cxr_utils import files, images

ROOT = Path(__file__).parents[1]
shift, trials = workflow("shift"), workflow("trials")


def test_a_trial_leaves_one_row_and_sees_no_test(tmp_path, monkeypatch, sample_data):
    seen = []
    read = images._warned  # as the cache does; the scan looks at the files of test too, and keeps none of their pixels
    monkeypatch.setattr(images, "_warned", lambda path, *rest: seen.append(path) or read(path, *rest))
    small = {"size": 20, "filters": [4, 8], "blocks": 1, "epochs": 2, "batch": 64, "noise": 0.1, "coarse": 0.5,
             "crop": 0.1, "frame": 0.3, "match": 0.5, "amplitude": 0.5, "equalise": 0.5, "letters": 0.5,
             "surround": 0.5, "void": 0.2, "mixstyle": 0.5, "under": True}  # fmt: skip
    arguments = ["tiny", json.dumps(small), "--source", "sample", "--data-dir", str(sample_data), "--out",
                 str(tmp_path / "trials.csv")]  # fmt: skip
    trials.main(arguments)
    assert seen and not [path for path in seen if "test" in path.parts]
    trials.main(arguments)  # is there already
    table = files.read_csv(tmp_path / "trials.csv")
    assert table["name"].tolist() == ["tiny"] and json.loads(table["settings"][0]) == small
    assert table.filter(like="auc").notna().all(axis=None) and table["plain_random_auc"].between(0, 1).all()
    split = files.read_csv(tmp_path / "trials" / f"{table['split'][0]}.csv.gz")
    assert set(split["part"]) == {"train", *shift.SHARES}
    figures = table.filter(regex="^(last|mean8|lowest|balanced|random)_")
    assert figures.shape[1] > 50 and figures.apply(lambda column: column.between(0, 1)).all(axis=None)

    kept = next((tmp_path / "trials").iterdir())
    queue = tmp_path / "queue.json"
    queue.write_text(json.dumps({"tiny": small, "again": small}))
    trials.main([str(queue), "--queue", *arguments[2:], "--split", str(kept)])
    both = files.read_csv(tmp_path / "trials.csv").set_index("name").drop(columns=["date", "settings", "seconds"])
    assert both.index.tolist() == ["tiny", "again"] and both.loc["tiny"].equals(both.loc["again"])


def test_a_setting_that_is_not_known_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        trials.main(["wrong", '{"epoch": 3}'])
    assert "epoch: not among" in capsys.readouterr().err


def test_appearance_is_exchanged_and_phase_kept():
    rng = np.random.default_rng(0)
    image, other = (rng.integers(low, high, (64, 64), dtype="uint8") for low, high in ((60, 120), (20, 200)))
    given = trials.matched(image, other)
    assert (
        abs(given.mean() - other.mean()) < 3
        and (np.diff(given.ravel()[image.ravel().argsort()].astype(int)) >= 0).all()
    )
    assert np.array_equal(trials.matched(image, image), image)
    made = np.fft.rfft2(trials.with_amplitude(image, other) / 255)
    own, theirs = np.fft.rfft2(image / 255), np.fft.rfft2(other / 255)
    assert np.abs(made[0, 0]) == pytest.approx(np.abs(theirs[0, 0]), rel=0.01)
    assert np.abs(made[10:20, 10:20]) == pytest.approx(np.abs(own[10:20, 10:20]), abs=0.5)
    outside = trials.beyond(40, rng, 30)
    assert outside[:, 0].all() and outside[:, -1].all() and not outside[:, 9:31, 9:31].any()


def test_misleading_images_weigh_more_and_classes_the_same():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 1], 60)
    statistics = rng.normal(label, 0.8)[:, None]
    groups = np.array([f"p{i}" for i in range(180)], dtype=object)
    weight = trials.weights(trials.DEFAULTS | {"even": 0.7}, label, statistics, groups)
    assert weight[label == 0].sum() == pytest.approx(weight[label == 1].sum(), rel=1e-4)
    normal = label == 0
    assert np.corrcoef(weight[normal], statistics[normal, 0])[0, 1] > 0.3


def test_kept_trials_name_their_split_and_settings():
    table = pd.read_csv(ROOT / "results" / "trials.csv")
    assert table["name"].is_unique and len(table) > 10
    for row in table.itertuples():
        assert set(json.loads(row.settings)) <= set(trials.DEFAULTS)
        split = files.read_csv(ROOT / "results" / "trials" / f"{row.split}.csv.gz")
        assert len(split) == 5232 and not split["path"].str.contains("/test/").any()
