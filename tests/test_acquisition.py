"""A stamp that goes with the label is counted where it is, and nowhere else; what is kept is what the script gives."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxr_utils import dataset, evaluation, files, images
from cxr_utils.errors import BadInput
from cxr_utils.predict import card

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
spec = importlib.util.spec_from_file_location("acquisition", ROOT / "workflow" / "acquisition.py")
acquisition = importlib.util.module_from_spec(spec)
spec.loader.exec_module(acquisition)
KEPT = files.read_json(RESULTS / "acquisition.json")


def draw(rng, *, text="", width=16, height=9, corner=(224, 224)):
    """Draw a body before a dark ground with some noise, and a stamp that ends near a corner."""
    image = np.full((224, 224), 8.0)
    image[:, 20 : int(rng.integers(190, 208))] = rng.integers(90, 180)
    image = cv2.GaussianBlur(image, (0, 0), 3) + rng.normal(0, 2, image.shape)
    if text:
        letters = np.zeros((60, 124), np.uint8)
        cv2.putText(letters, text, (2, 50), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 255, 5)
        small = cv2.resize(letters, (width, height), interpolation=cv2.INTER_AREA)
        bottom, right = corner
        part = image[bottom - height - 1 : bottom - 1, right - width - 1 : right - 1]
        np.maximum(part, 8 + 0.8 * small, out=part)
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn():
    """Draw 60 images; which of them have the stamp in their corner, in several sizes, is known."""
    rng = np.random.default_rng(0)
    pictures, stamped = [draw(rng, text="KV59")], [True]
    for width, height in [(16, 9), (13, 8), (18, 10), (14, 9), (12, 7)] * 3:
        pictures.append(draw(rng, text="KV59", width=width, height=height))
        stamped.append(True)
    for number in range(44):
        far = {"text": "KV59", "corner": (120, 110)} if number % 4 == 0 else {}
        pictures.append(draw(rng, **far))
        stamped.append(False)
    return np.stack(pictures)[..., None], np.array(stamped)


def table(stamped):
    """Make an index: the template's file first, then stamped pneumonias and others of both classes."""
    paths = [acquisition.TEMPLATE]
    for number in range(1, len(stamped)):
        ill = stamped[number] or number % 2
        name = f"PNEUMONIA/person{number}_virus_{number}" if ill else f"NORMAL/IM-{number:04d}-0001"
        paths.append(f"chest_xray/{('train', 'val', 'test')[number % 3]}/{name}.jpeg")
    paths = pd.Series(paths, dtype="string")
    label = paths.str.contains("PNEUMONIA").astype(int)
    return pd.DataFrame({"path": paths, "split": paths.str.split("/").str[1], "label": label})


def test_a_stamp_is_counted_where_it_is_and_nowhere_else(drawn):
    pixels, stamped = drawn
    index = table(stamped)
    found = acquisition.count(index, pixels)
    assert found["stems"] == sorted(map(dataset.stem_of, index["path"][stamped]))
    counts = pd.DataFrame(found["counts"])
    assert counts["images"].sum() == len(index) and counts["stamped"].sum() == stamped.sum()
    for row in counts.itertuples():
        own = (index["split"] == row.part) & (index["label"] == dataset.CLASSES.index(row[2]))
        assert (row.images, row.stamped) == (own.sum(), (own & stamped).sum())
    assert not counts.loc[counts["class"] == "NORMAL", "stamped"].any()


def test_covering_the_corner_takes_the_stamp_away(drawn):
    pixels, stamped = drawn
    covered = pixels[stamped].copy()
    covered[:, -24:, -36:] = 8
    assert (acquisition.match(covered, pixels[0][..., 0]) == 0).all()
    assert acquisition.match(pixels[:1], pixels[0][..., 0])[0] == pytest.approx(1, abs=1e-3)


def test_without_the_template_it_says_which_file_is_missing(drawn):
    pixels, stamped = drawn
    with pytest.raises(BadInput, match="person1670_bacteria_4425.jpeg.*not among the images"):
        acquisition.count(table(stamped).iloc[1:], pixels[1:])


def test_figures_with_and_without_the_run():
    names = ["NORMAL2-IM-0170", "NORMAL2-IM-0171", "NORMAL2-IM-0271", "NORMAL2-IM-0272", "IM-0200"]
    paths = [f"chest_xray/test/NORMAL/{name}-0001.jpeg" for name in names] + [
        "chest_xray/test/PNEUMONIA/person1_virus_6.jpeg", "chest_xray/test/PNEUMONIA/person3_virus_15.jpeg",
        "chest_xray/train/NORMAL/NORMAL2-IM-0200-0001.jpeg",
    ]  # fmt: skip
    predictions = pd.DataFrame({
        "path": pd.Series(paths, dtype="string"), "split": ["test"] * 7 + ["validation"],
        "label": [0] * 5 + [1, 1, 0], "probability": [0.1, 0.95, 0.4, 0.6, 0.2, 0.9, 0.8, 0.99],
    })  # fmt: skip
    found = acquisition.judge(predictions)
    assert (found["false_positives_run"], found["specificity_run"]) == (1, 0.5)
    assert (found["false_positives_others"], found["specificity_others"]) == (1, pytest.approx(2 / 3))
    assert (found["accuracy_test"], found["accuracy_without_run"]) == (pytest.approx(5 / 7), 0.8)
    assert (found["auc_test"], found["auc_without_run"]) == (pytest.approx(0.8), 1)


def test_the_kept_figures_follow_from_the_kept_predictions():
    """If runs were added: python workflow/acquisition.py, then make tables."""
    rows, tables, identity = acquisition.networks(RESULTS)
    assert rows == KEPT["networks"]
    ledger = files.read_csv(RESULTS / "test_reads.csv")
    row = ledger[ledger["identity"] == identity]
    assert row[["protocol", "reads"]].to_numpy().tolist() == [["other", tables]]
    kept = evaluation.read_predictions(RESULTS / "scores" / "reference_mean_of_five.predictions.csv.gz")
    normal = kept[(kept["split"] == "test") & (kept["label"] == 0)]
    run = acquisition.in_run(normal)
    assert (KEPT["run"]["images"], KEPT["run"]["others"]) == (run.sum(), (~run).sum())
    stems = normal["path"].map(dataset.stem_of)
    assert KEPT["run"]["stamped"] == stems[run].isin(KEPT["stamp"]["stems"]).sum()


def test_the_kept_counts_are_those_of_the_named_files():
    counts, stems = pd.DataFrame(KEPT["stamp"]["counts"]), pd.Series(KEPT["stamp"]["stems"])
    assert stems.is_unique and counts["stamped"].sum() == len(stems)
    assert not stems.isin(KEPT["stamp"]["above_but_other_lettering"]).any()
    assert KEPT["stamp"]["looked_at"]["above"] == len(stems) + len(KEPT["stamp"]["above_but_other_lettering"])
    assert counts.set_index(["part", "class"])["images"].to_dict() == {
        (part, name): n for part, of in dataset.RECORD.counts.items() for name, n in of.items()
    }


def test_the_kept_counts_are_those_of_the_real_images(real):
    index = dataset.scan(real)
    pixels = images.cache(index, real, size=acquisition.SIZE)
    assert acquisition.count(index, pixels) == KEPT["stamp"]


def test_the_shipped_card_says_it_of_its_network(monkeypatch):
    monkeypatch.setenv("CXR_HOME", str(ROOT))
    shipped = files.read_json(RESULTS / "reference.json")["shipped"]
    predictions = evaluation.read_predictions(RESULTS / "runs" / f"{shipped}.predictions.csv.gz")
    line, row = card.acquisition(predictions, 0.5), next(r for r in KEPT["networks"] if r["network"] == shipped)
    assert f"- {line[0]}\n" in (RESULTS / "models" / "model-card.md").read_text(encoding="utf-8")
    run = KEPT["run"]
    for wrong, images_ in (("run", run["images"]), ("others", run["others"])):
        assert f"{row[f'false_positives_{wrong}']} of {images_} " in line[0]
    assert card.acquisition(predictions[predictions["split"] == "validation"], 0.5) == []
    monkeypatch.setenv("CXR_HOME", str(ROOT / "tests"))
    assert card.acquisition(predictions, 0.5) == []
