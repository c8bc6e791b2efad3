"""Each reading of test is entered, once, where it belongs."""

import shutil

import pandas as pd
import pytest

from cxr_utils import dataset, evaluation, images, ledger, splits, training
from cxr_utils.errors import BadInput


def test_a_reading_is_entered_once_and_another_training_is_another(tmp_path):
    cell = {"cell": "plain_64-honest-s0", "identity": "abc", "protocol": "honest"}
    for remark in ("training 1", "training 1", "training 2"):
        ledger.enter(tmp_path, **cell, remark=remark)
    for _ in range(2):
        ledger.enter(tmp_path, cell="mine")
    table = pd.read_csv(tmp_path / ledger.NAME)
    assert tuple(table.columns) == ledger.COLUMNS
    assert table["cell"].tolist() == ["plain_64-honest-s0"] * 2 + ["mine"]
    assert table["protocol"].tolist() == ["honest", "honest", "other"] and (table["reads"] == 1).all()
    pd.testing.assert_frame_equal(ledger.read(tmp_path), table)
    with pytest.raises(BadInput, match=ledger.NAME):
        ledger.read(tmp_path / "gone")


def test_a_run_that_answers_for_test_is_entered_in_its_folder_and_validation_is_not(trained, tmp_path):
    folder = trained / "data" / "sample"
    index = dataset.scan(folder)
    pixels, split = images.cache(index, folder, size=32), splits.grouped(index, seed=0)
    shutil.copytree(trained / "gray", tmp_path / "gray", ignore=shutil.ignore_patterns("predictions.csv", "*.lock*"))
    run, path = training.load(tmp_path / "gray"), tmp_path / "gray" / ledger.NAME
    path.unlink(missing_ok=True)
    evaluation.predict(run, pixels, split, parts=("validation",))
    assert not path.exists()
    for _ in range(2):
        evaluation.predict(run, pixels, split)
    assert pd.read_csv(path)["cell"].tolist() == [run.folder.name]
