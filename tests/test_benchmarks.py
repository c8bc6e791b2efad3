"""The benchmark: both sides do the same work, its clock and counts are right, and its page says what was measured."""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import draw_tiny

from cxr_utils import imbalance, recipes

HERE = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(HERE))
plain, ours, run, report = map(importlib.import_module, ("plain", "ours", "run", "report"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_tiny(tmp_path_factory.mktemp("bench") / "tiny", junk=False)


def test_both_read_the_same_images(folder):
    paths, index = plain.paths_in(folder), ours.index_of(folder)
    assert [path.relative_to(folder).as_posix() for path in paths] == index["path"].tolist()
    assert plain.labels_of(paths).tolist() == index["label"].tolist()
    theirs, pixels = np.array(plain.originals(folder)()), ours.originals(folder)()[..., 0]
    assert theirs.shape == pixels.shape and theirs.dtype == pixels.dtype
    assert np.abs(theirs.astype(int) - pixels).mean() < 3
    some = plain.paths_in(folder, every=4)
    assert [path.name for path in some] == [Path(name).name for name in ours.index_of(folder, every=4)["path"]]
    assert len(ours.originals(folder, times=2)()) == len(plain.originals(folder, times=2)()) == 2 * len(paths)


def test_small_files_that_ask_for_much_are_decoded_plainly_and_refused_by_ours(tmp_path, monkeypatch):
    hostile = run.hostile(tmp_path / "hostile", side=512)
    assert hostile.keys() == report.REFUSED.keys()
    assert all(path.stat().st_size < 2**20 for path in run.hostile(tmp_path, side=2048).values())
    for kind in ("scans", "frames"):
        assert plain.hostile(str(hostile[kind]))() > 0
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)  # decoding would fail
    for path in hostile.values():
        assert 0 < ours.hostile(str(path))()
    monkeypatch.setattr(ours.images, "read", lambda path: None)
    with pytest.raises(RuntimeError, match="was read"):
        ours.hostile("good.png")


def test_both_balance_alike(folder):
    pixels, index = ours.originals(folder)(), ours.index_of(folder)
    ours_table = ours.smote(folder)().table
    theirs, labels = plain.resample(plain.floats(list(pixels[..., 0])), index["label"].to_numpy())
    assert labels.tolist() == ours_table["label"].tolist()
    np.testing.assert_allclose(imbalance.render(pixels, ours_table), theirs, atol=1 / 255)
    assert len(plain.smote(folder)()[1]) == len(labels)
    stages = ["read", "balance", "serve"]
    assert list(plain.pipeline(folder)()) == stages and list(ours.pipeline(folder)()) == [*stages, "warm"]


@pytest.mark.parametrize("recipe", run.TRAINED)
def test_both_train_the_same_network_on_like_batches(folder, recipe):
    theirs, their_data = plain.training(folder, recipe=recipe, every=1)
    before = keras.config.dtype_policy()
    try:
        model, data = ours.training(folder, recipe=recipe, every=1)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.count_params() == theirs.count_params() and theirs.dtype_policy.name == "float32"
    for mine, other in zip(model.layers, theirs.layers, strict=True):
        assert mine.output.shape == other.output.shape and mine.name.split("_")[0] == other.name.split("_")[0]
    assert type(model.optimizer) is type(theirs.optimizer) and model.loss == theirs.loss
    assert float(model.optimizer.learning_rate) == pytest.approx(float(theirs.optimizer.learning_rate))
    if recipes.get(recipe).augmentation is None:
        x, y = their_data["x"][:32], their_data["y"][:32]
    else:
        x, y = their_data["x"][0]
    images, labels = data["x"][0]
    assert images.shape == x.shape and images.dtype == x.dtype and labels.size == y.size == 32
    assert 0 <= x.min() and x.max() <= 1 and abs(images.mean() - x.mean()) < 0.1


def test_a_side_gives_seconds_memory_and_stages(folder):
    found = run.alternate({"ours": run.Side("ours", "pipeline", folder=str(folder))}, turns=2)["ours"]
    assert [one["stage"] for one in found] == ["read", "balance", "serve", "warm"] * 2
    assert all(one["seconds"] > 0 and one["mb"] >= 0 for one in found)


def test_what_goes_wrong_in_a_side_is_told(tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        run.Side("ours", "warm", folder=str(tmp_path / "nowhere"))


def test_operations_are_those_of_the_convolutions():
    layers = [keras.Input((10, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(2, (1, 3), padding="same")]
    first, second = 2 * 8 * 6 * 9 * 4, 2 * 8 * 6 * 3 * 4 * 2
    assert run.flops(keras.Sequential(layers)) == 32 * (2 * first + 3 * second)


def test_lines_of_onednn_are_summed_by_kind():
    line = "onednn_verbose,v1,primitive,exec,cpu,{},jit:uni,undef,src:bf16::blocked:acdb::f0,,,128x128x3x3,{}\n"
    printed = (
        line.format("convolution", 9)
        + "BEGIN\nonednn_verbose,v1,info,cpu,runtime:threadpool,nthr:2\n"
        + line.format("convolution", 3.5) + line.format("reorder", 3) + line.format("convolution", 2.5)
        + 'END {"seconds": 0.01, "flops": 4e9}\n' + line.format("convolution", 9)
    )  # fmt: skip
    assert run.kinds(printed) == {"step": 10.0, "convolution": 2.0, "reorder": 1.0, "gflops": 2000}


def turns(*seconds, **more):
    return [{"stage": "end", "seconds": one, "processor": 2 * one, "mb": 50.0, "value": None} | more for one in seconds]


@pytest.fixture
def results():
    """Return made-up figures of all parts."""
    names = ("read", "balance", "serve", "warm")
    stages = [{"stage": name, "seconds": 1.5, "processor": 2.0, "mb": 9.0} for name in names]
    steps = {side: {"step": 100.0, "convolution": 90.0, "gflops": 300} for side in ("plain", "ours")}
    trained = {"plain": turns(4, 4, 4, value=20.0), "ours": turns(1, 1, 1, value=50.0)}
    figures = dict.fromkeys(run.TRAINED, trained) | {
        "originals": {"plain": turns(8, 8.8, 9), "ours": turns(2, 2, 3), "scaled": turns(1, 1, 1)},
        "warm": {"ours": turns(0.1)},
        "smote": {"plain": turns(20, 20, mb=3000.0), "ours": turns(2, 2)},
        "commands": {"predict_1": {"plain": turns(6), "ours": turns(1)}, "import": {"ours": turns(0.4)},
                     "predict_100": {"plain": turns(7), "ours": turns(2)}},
        "audit": dict.fromkeys(report.AUDITED, {"ours": turns(6)}),
        "refused": dict.fromkeys(report.REFUSED, {"plain": turns(5, value=4.0), "ours": turns(1, value=0.001)}),
        "growth": {side: {str(times): stages for times in (1, 2, 4, 8)} for side in ("plain", "ours")},
        "bounds": {"peak": {"float32": 150, "bfloat16": 300}} | dict.fromkeys(run.TRAINED, steps),
        "precision": {"float32": [0.98, 0.99, 0.985], "mixed_bfloat16": [0.981, 0.99, 0.986]},
    }  # fmt: skip
    assert set(figures) == set(run.PARTS)
    machine = {"processor": "P", "cores": 2, "bfloat16": ["AMX"], "memory_gb": 8, "system": "Linux",
               "libjpeg_turbo": "3", "versions": {"keras": "3"}}  # fmt: skip
    when = {"machine": machine, "date": "2026-01-01", "load_before": 0.1, "seconds": 1.0}
    parts = {name: when | {"figures": one} for name, one in figures.items()}
    return {"source": "made up", "parts": parts}


def test_rows_say_what_was_reached(results):
    found = {row[0]: row for row in report.rows(results)}
    assert len(found) == 16
    verdicts = [row[-1] for row in found.values()]
    assert verdicts == [
        "reached",
        "short",
        "reached",
        "reached",
        "short",
        *["reached"] * 5,
        *["short"] * 3,
        *["reached"] * 3,
    ]
    assert found[f"{report.REFUSED['scans']}: decoded, or refused before"][1:4] == [
        "4.00 (4.00–4.00) s", "1.00 (1.00–1.00) ms", "4000.0 (4000.0–4000.0)"
    ]  # fmt: skip
    trained = found[report.NAMES["plain_224"]]
    assert trained[3:5] == ["2.5 (2.5–2.5)", "4.0"]
    assert next(iter(found.values()))[1] == "20.0 (20.0–20.0) images/s"
    cold = [row for name, row in found.items() if "cold" in name]
    assert [row[3] for row in cold] == ["4.4 (3.0–4.4)", "takes 2.0 (2.0–3.0)"]
    assert "+0.0007, less than the seeds' spread in float32, 0.0100" in report.text(results)


def test_without_bfloat16_the_rows_of_training_do_not_apply(results):
    for part in results["parts"].values():
        part["machine"]["bfloat16"] = []
    verdicts = [row[-1] for row in report.rows(results)]
    assert all(verdict.startswith("does not apply") for verdict in verdicts[:3])
    assert not any(verdict.startswith("does not apply") for verdict in verdicts[3:])


def test_parts_of_another_machine_say_so(results):
    assert report.text(results).count("Machine: P, 2 cores") == 1
    results["parts"]["refused"] |= {"machine": results["parts"]["warm"]["machine"] | {"processor": "Q"}}
    text = report.text(results)
    assert "\nOf refused: Q, 2 cores" in text and "smote, commands, audit, growth" in text.split(": P, 2")[0]


def test_the_page_and_the_figure_are_written(results, tmp_path):
    report.write(tmp_path, results)
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == report.text(results)
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_the_kept_page_is_what_its_figures_give():
    if not (HERE / "results.json").is_file():
        pytest.skip("no figures are kept: run make bench")
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    assert (HERE / "results.md").read_text(encoding="utf-8") == report.text(results)
    assert results["parts"].keys() <= run.PARTS.keys()
    assert ("growth" in results["parts"]) == (HERE / "growth.png").is_file()
