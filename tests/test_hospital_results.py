"""How networks' answers for another hospital are stored and judged, tried on drawn pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import RESULTS, workflow

from cxr_utils import models

workflow("eight_statistics")  # which it imports
hospital = workflow("elsewhere")


def test_covered_parts_are_judged_by_view():
    """A network that sees the middle alone is ruined by a covered chest; in PA the label is turned round."""
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], 20)
    view = np.repeat(["AP", "PA"], 20)
    pixels = rng.integers(0, 50, (40, 32, 32, 1)).astype(np.uint8)
    bright = np.where(view == "AP", label, 1 - label) == 1
    pixels[bright, 12:20, 12:20] += 150
    middle = models.Model(Path("m.onnx"), 32, 1, raw=lambda seen: seen[:, 12:20, 12:20].mean(axis=(1, 2)))
    found = hospital.cover(middle, pixels, pd.DataFrame({"label": label, "view": view})).set_index("group")
    assert found.loc[["AP", "PA"], "as it is"].tolist() == [1.0, 0.0]
    assert found.loc["all", "as it is"] == pytest.approx(0.5, abs=0.05)
    assert found.loc["AP", "central chest covered"] == pytest.approx(0.5, abs=0.2)


def test_what_is_not_asked_for_in_full_is_refused(capsys):
    with pytest.raises(SystemExit):
        hospital.main(["--path", "nih.zip"])
    assert "--path needs --table" in capsys.readouterr().err


def test_each_network_of_the_table_is_in_the_ledger():
    table = pd.read_csv(RESULTS / "elsewhere" / "networks.csv")
    entered = pd.read_csv(RESULTS / "test_reads.csv").query("reads == 0")
    assert set(table["network"]) <= set(entered["cell"])
    covered = {path.name.partition(".")[0] for path in RESULTS.rglob("*.covered.csv")}
    assert covered == set(entered.loc[entered["remark"] == hospital.COVERED, "cell"])
