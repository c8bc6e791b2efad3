"""The built-in sample: what is drawn, what is written, and that a seed gives it again anywhere."""

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from cxr_utils import dataset
from cxr_utils.errors import BadInput
from cxr_utils.sources import phantom

FIXED = (("normal", "train", 1, 0), ("bacteria", "test", 2, 0), ("virus", "train", 3, 1), ("bacteria", "train", 4, 2))
PIXELS = "db85e439ff2597c9ba1f4a46f96f9880b279b8e6efd533ba82820eeddae95f56"


def fingerprint() -> str:
    """Hash the pixels and masks of a few fixed phantoms."""
    seen = hashlib.sha256()
    for kind, domain, patient, image in FIXED:
        drawn = phantom.draw(kind, seed=7, domain=domain, patient=patient, image=image)
        seen.update(repr(drawn.image.shape).encode() + drawn.image.tobytes() + np.packbits(drawn.mask).tobytes())
    return seen.hexdigest()


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Shrink to 32 x 32, with deviation 1."""
    small = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BOX), dtype=float)
    return (small - small.mean()) / small.std()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Write a small sample once."""
    folder = tmp_path_factory.mktemp("sample")
    phantom.write(folder, seed=3, n=60)
    return folder


@pytest.fixture(scope="module")
def drawn():
    """Draw a dozen of each kind."""
    return {kind: [phantom.draw(kind, seed=1, patient=patient) for patient in range(12)] for kind in phantom.KINDS}


def test_pixels_are_as_ever():
    """A change here changes every figure of the course: change the hash only on purpose."""
    assert fingerprint() == PIXELS


def test_pixels_are_the_same_with_other_instruction_sets():
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    wide = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    if not wide:
        pytest.skip("this processor has no instruction sets beyond numpy's baseline")
    narrow = {"NPY_DISABLE_CPU_FEATURES": ",".join(wide), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "import test_phantom; print(test_phantom.fingerprint())"],
        env={**os.environ, **narrow},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == PIXELS


def test_draw_gives_pixels_and_masks(drawn):
    for kind, phantoms in drawn.items():
        for one in phantoms:
            assert one.image.dtype == np.uint8 and one.mask.dtype == bool
            assert one.image.shape == one.mask.shape == one.lungs.shape
            assert 350 <= min(one.image.shape) and max(one.image.shape) <= 700
            assert not (one.mask & ~one.lungs).any()
            assert bool(one.mask.any()) == (kind != "normal")
            assert 0.08 < one.lungs.mean() < 0.5


def test_a_consolidation_lies_in_one_lung_and_a_virus_in_both(drawn):
    for kind, both in (("bacteria", False), ("virus", True)):
        for one in drawn[kind]:
            columns = np.flatnonzero(one.lungs.any(axis=0))
            middle = (columns[0] + columns[-1]) // 2
            left, right = one.mask[:, :middle].sum(), one.mask[:, middle:].sum()
            assert (min(left, right) > 0.05 * max(left, right)) == both, (kind, one.lobe)


def test_lungs_are_dark_and_lesions_brighter(drawn):
    for one in drawn["normal"]:
        middle = one.image[:, one.image.shape[1] * 45 // 100 : one.image.shape[1] * 55 // 100]
        assert one.image[one.lungs].mean() + 40 < np.median(middle)
    for kind in ("bacteria", "virus"):
        more = [one.image[one.mask].mean() - one.image[one.lungs & ~one.mask].mean() for one in drawn[kind]]
        assert np.mean(np.array(more) > 0) > 0.8


def test_pictures_of_a_patient_look_alike():
    pictures = {
        (patient, image): thumbnail(phantom.draw("bacteria", seed=5, patient=patient, image=image).image)
        for patient in range(6)
        for image in range(3)
    }
    same, other = [], []
    for (one, first), a in pictures.items():
        for (two, second), b in pictures.items():
            if (one, first) < (two, second):
                (same if one == two else other).append(float((a * b).mean()))
    assert np.mean(same) > np.mean(other) + 0.02


def test_train_and_test_are_taken_differently():
    lungs = {}
    for domain in phantom.DOMAINS:
        pictures = [phantom.draw("normal", seed=9, domain=domain, patient=patient) for patient in range(10)]
        lungs[domain] = [one.image[one.lungs].mean() for one in pictures]
    # the same ten healthy children: brighter lungs in test, and more unlike each other
    assert np.mean(lungs["test"]) > np.mean(lungs["train"]) + 5
    assert np.std(lungs["test"]) > np.std(lungs["train"])


@pytest.mark.parametrize(
    ("arguments", "named"), [({"kind": "fungus"}, "fungus"), ({"domain": "val"}, "val"), ({"patient": -1}, "-1")]
)
def test_draw_refuses(arguments, named):
    with pytest.raises(BadInput, match=named):
        phantom.draw(**{"kind": "normal", "seed": 0, **arguments})


def test_plan_has_the_shares_of_the_real_dataset():
    entries = phantom.plan()
    counts = Counter((entry.path.split("/")[1], entry.path.split("/")[2]) for entry in entries)
    assert counts == {
        ("train", "NORMAL"): 130, ("train", "PNEUMONIA"): 377, ("val", "NORMAL"): 8, ("val", "PNEUMONIA"): 8,
        ("test", "NORMAL"): 74, ("test", "PNEUMONIA"): 123,
    }  # fmt: skip
    assert len({entry.path.rsplit("/", 1)[1] for entry in entries}) == 720
    kinds = Counter((entry.path.split("/")[1], entry.kind) for entry in entries)
    assert kinds["train", "bacteria"] > 1.5 * kinds["train", "virus"]
    assert kinds["val", "virus"] == 0


def test_plan_names_parse_and_numbers_come_in_blocks():
    numbers = defaultdict(set)
    sizes = Counter()
    for entry in phantom.plan(seed=4):
        _, split, label, name = entry.path.split("/")
        parsed = dataset.parse_name(name)
        assert parsed.kind == entry.kind and (parsed.kind == "normal") == (label == "NORMAL")
        numbers[split, parsed.kind].add(parsed.patient)
        sizes[parsed.patient] += 1
    for kind in phantom.KINDS:
        assert not numbers["train", kind] & numbers["test", kind]
        assert not numbers["train", kind] & numbers["val", kind]
    test = numbers["test", "bacteria"] | numbers["test", "virus"]
    crossed = (
        numbers["test", "bacteria"] & numbers["train", "virus"]
        | numbers["test", "virus"] & numbers["train", "bacteria"]
    )
    assert 0.7 < len(crossed) / len(test) < 0.95
    assert max(sizes, key=sizes.get) == "person23"
    assert 1 < np.mean(list(sizes.values())) < 3


def test_plan_has_a_few_copies_and_three_channel_files():
    entries = {entry.path: entry for entry in phantom.plan(seed=0)}
    copies = [entry for entry in entries.values() if entry.copy_of]
    assert 3 <= len(copies) <= 10
    across = [entry for entry in copies if entries[entry.copy_of].patient != entry.patient]
    assert len(across) == 1 and across[0].kind == "normal"
    assert all(entries[entry.copy_of].kind == entry.kind for entry in copies)
    rgb = [entry for entry in entries.values() if entry.rgb]
    assert 10 < len(rgb) < 50
    assert all(entry.path.startswith("chest_xray/train/PNEUMONIA/") for entry in rgb)


def test_plan_refuses_too_few():
    with pytest.raises(BadInput, match="n 10"):
        phantom.plan(n=10)


def test_written_files(sample):
    folder, plan = sample, phantom.plan(seed=3, n=60)
    files = sorted((folder / "chest_xray").rglob("*.jpeg"))
    assert [file.relative_to(folder).as_posix() for file in files] == [entry.path for entry in plan] and len(plan) == 60
    assert len(list((folder / "chest_xray").rglob(".DS_Store"))) == 3
    modes = Counter()
    widths = defaultdict(list)
    for file in files:
        with Image.open(file) as picture, Image.open(folder / "masks" / f"{file.stem}.png") as mask:
            modes[picture.mode, file.parent.name] += 1
            widths[file.parent.name].append(picture.size)
            assert mask.mode == "1" and mask.size == picture.size
            assert bool(np.asarray(mask).any()) == (file.parent.name == "PNEUMONIA")
    assert modes["RGB", "NORMAL"] == 0 and modes["RGB", "PNEUMONIA"] == sum(entry.rgb for entry in plan)
    normal, sick = (np.median(widths[name], axis=0) for name in ("NORMAL", "PNEUMONIA"))
    assert (normal > sick).all()
    assert min(size[0] for size in widths["NORMAL"]) < max(size[0] for size in widths["PNEUMONIA"])
    hashes = Counter(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert sum(count - 1 for count in hashes.values()) == sum(bool(entry.copy_of) for entry in plan) > 0


def test_write_is_the_same_from_a_seed(sample, tmp_path, monkeypatch):
    folder = sample
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # whatever the number of threads
    phantom.write(tmp_path / "again", seed=3, n=60)
    for file in folder.rglob("*.*"):
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "again" / file.relative_to(folder)).read_bytes(), file


def test_write_refuses_a_folder_in_use(sample):
    with pytest.raises(BadInput, match="chest_xray"):
        phantom.write(sample, seed=3, n=60)
