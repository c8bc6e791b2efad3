"""Images of the training's kind are inside; photographs, blanks, noise, inverted and turned films are not."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_utils import dataset, images, predict, splits
from cxr_utils.errors import BadInput
from cxr_utils.predict import outside

SIZE = 64


@pytest.fixture(scope="module")
def sample(sample_data):
    return prepared(sample_data / "sample")


def prepared(folder):
    index = dataset.scan(folder)
    part = splits.grouped(index, seed=0)["part"].to_numpy(str)
    pixels = images.cache(index, folder, size=SIZE)
    return {name: pixels[part == name] for name in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def check(sample):
    return outside.fit(sample["train"], sample["validation"])


def photographs():
    """Return the photographs of scikit-image and scikit-learn, and a quarter of each."""
    import skimage
    import sklearn

    found = sorted((Path(skimage.__file__).parent / "data").glob("*.[pj][np]g"))
    found += sorted((Path(sklearn.__file__).parent / "datasets/images").glob("*.jpg"))
    whole = [images.read(path) for path in found]
    tiles = [one[: one.shape[0] // 2, : one.shape[1] // 2] for one in whole]
    return [images.resize(np.ascontiguousarray(one), SIZE) for one in (*whole, *tiles)]


def others(films):
    """Make 200 pictures that are no upright films."""
    rng = np.random.default_rng(0)
    films = films[rng.choice(len(films), 25, replace=False), :, :, 0]
    made = [255 - films, *(np.rot90(films, turn, (1, 2)) for turn in (1, 2, 3))]
    made += [rng.integers(0, 256, (20, SIZE, SIZE))]
    made += [np.repeat(np.linspace(0, 255, 24), SIZE**2).reshape(24, SIZE, SIZE)]
    pictures = np.concatenate([*made, np.stack(photographs())]).astype(np.uint8)
    assert len(pictures) >= 200
    return pictures[..., None]


def share(check, pixels):
    return np.mean([bool(reason) for reason in check.reasons(pixels)])


def test_the_sample_is_inside_and_others_are_not(sample, check):
    everything = np.concatenate(list(sample.values()))
    assert share(check, everything) <= 0.02 and share(check, sample["test"]) <= 0.02
    assert share(check, others(sample["test"])) >= 0.95


def test_the_real_images_are_inside_and_others_are_not(real):
    parts = prepared(real)
    fitted = outside.fit(parts["train"], parts["validation"])
    assert share(fitted, parts["validation"]) <= 0.01
    assert share(fitted, parts["test"]) <= 0.02
    assert share(fitted, others(parts["test"])) >= 0.95


def test_the_reason_names_the_way_it_stands(sample, check):
    film = sample["train"][:1]
    assert check.reasons(film) == [""]
    assert "inverted" in check.reasons(255 - film)[0]
    assert "upside down" in check.reasons(film[:, ::-1, ::-1])[0]
    assert "turned by 90 degrees" in check.reasons(np.rot90(film, 1, (1, 2)))[0]


def test_upright_pictures_of_another_kind_are_not_called_turned(sample, check):
    """Adults' were, by the rule before: whatever is wrong with a picture is wrong whichever way it lies."""
    films = sample["test"][:, :, :, 0].astype(float)
    lower = films * np.linspace(0.55, 1.5, SIZE)[:, None]  # a bright lower half
    flat = 90 + films / 4
    blurred = np.stack([np.kron(one[::4, ::4], np.ones((4, 4))) for one in films])
    for changed in (lower, flat, blurred):
        reasons = check.reasons(changed.clip(0, 255).astype(np.uint8)[..., None])
        assert not [one for one in reasons if "turned" in one or "upside" in one]
    turned = check.reasons(np.rot90(sample["test"], 1, (1, 2)))
    assert np.mean(["turned by 90 degrees" in one for one in turned]) > 0.9


def test_an_adult_of_another_hospital_is_not_called_turned(shared_data):
    """1,000 pictures of the NIH, if they are there; nothing is chosen by them here."""
    path = shared_data / "nih-sample-224.zip"
    if not path.is_file():
        pytest.skip(f"the sample of the NIH is not at hand: no {path}")
    predictor, said = predict.load(), []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist())[::7]:
            if not name.endswith("/"):
                with Image.open(archive.open(name)) as picture:
                    small = predictor.prepare(np.array(picture.convert("L")))
                said += predictor.check.reasons(small[None])
    assert len(said) > 100 and not [one for one in said if "turned" in one]


def test_it_comes_back_from_json_as_it_was(sample, check):
    again = outside.Check.from_json(check.to_json())
    small = outside.shrink(sample["test"])
    assert np.array_equal(again.scores(small), check.scores(small))


@pytest.mark.parametrize(
    "change", [{"mean": "AAAA"}, {"views": 3}, {"limits": "?"}, {"limits": "AADAfwAAAAAAAAAAAAAAAA=="}]
)
def test_a_broken_json_is_refused(check, change):
    with pytest.raises(BadInput, match=next(iter(change))):
        outside.Check.from_json(check.to_json() | change)
    with pytest.raises(BadInput, match="mean"):
        outside.Check.from_json({})


def test_the_same_images_and_seed_make_the_same_check(sample, check):
    again = outside.fit(sample["train"], sample["validation"])
    assert again.to_json() == check.to_json()


def test_too_few_images_are_refused(sample):
    with pytest.raises(BadInput, match="at least 30"):
        outside.fit(sample["train"][:20], sample["validation"])
