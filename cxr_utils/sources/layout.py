"""Which files the built-in sample has: names, numbers and copies as in the real dataset."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils.errors import BadInput

KINDS = ("normal", "bacteria", "virus")
#: What each split and kind has: see the file.
PARTS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
COPIES = PARTS.pop("copies")
OFFSET = {"person": 0, "IM": 10_000, "NORMAL2-IM": 20_000}  # keeps the patients' numbers apart
CROSSED = 170 / 202  # of the persons in test, those whose number is in train too, with the other kind
MOST_IMAGES = (23, 8)  # person23 has most images
THREE_CHANNEL = 283 / 3875  # of PNEUMONIA in train


@dataclass(frozen=True)
class Entry:
    """One file of the sample: where it lies and how it is drawn, or which other file it repeats."""

    path: str
    kind: str
    domain: str
    patient: int
    image: int
    rgb: bool = False
    copy_of: str = ""


def plan(*, seed: int = 0, n: int = 720) -> list[Entry]:
    """List the files of the sample, with the official number blocks, before anything is drawn.

    Parameters
    ----------
    seed : int
        Chooses patients, how many images each has, and which files are copies or have three channels.
    n : int
        Number of images, at least 36; the shares of classes and splits are those of the real dataset.

    Returns
    -------
    list of Entry
        Sorted by path.

    Raises
    ------
    BadInput
        `n` is below 36.

    Examples
    --------
    >>> len(plan(n=100)), plan(n=100)[0].path.startswith("chest_xray/test/NORMAL/")
    (100, True)
    """
    if n < 36:
        raise BadInput(f"n {n}: the sample needs at least 36 images")
    rng = np.random.default_rng([seed, n, 31])
    val = 8 if n >= 180 else 2
    counts = {("val", "normal"): val, ("val", "bacteria"): val}
    for split, kinds in PARTS.items():
        counts |= {(split, kind): round((n - 2 * val) * of["share"]) for kind, of in kinds.items() if "share" in of}
    counts["test", "virus"] = n - sum(counts.values())
    return _copies(sorted(_persons(counts, rng) + _normals(counts, rng), key=lambda entry: entry.path), rng)


def _persons(counts: dict, rng: np.random.Generator) -> list[Entry]:
    groups: dict[tuple[str, str], dict[int, int]] = {}  # number to images
    for split, kind in [(split, kind) for split, kinds in PARTS.items() for kind in kinds if kind != "normal"]:
        part = PARTS[split][kind]
        sizes = _sizes(counts[split, kind], part["images"], rng)
        numbers = [number for low, high in part["numbers"] for number in range(low, high + 1)]
        groups[split, kind] = {}
        if split == "train":
            other = groups["test", "virus" if kind == "bacteria" else "bacteria"]
            shared = [number for number in other if number in numbers]
            chosen = shared[: round(len(shared) * CROSSED)]
            if kind == "bacteria" and sum(sizes) > 100:
                number, most = MOST_IMAGES
                sizes = [most, *_sizes(sum(sizes) - most, part["images"], rng)]
                chosen = [number, *(one for one in chosen if one != number)]
            chosen = chosen[: len(sizes)]
            groups[split, kind] = dict(zip(chosen, sizes, strict=False))
        free = [number for number in numbers if number not in groups[split, kind]]
        rest = sizes[len(groups[split, kind]) :]
        groups[split, kind] |= zip(map(int, rng.choice(free, len(rest), replace=False)), rest, strict=True)
    entries = []
    for kind in KINDS[1:]:
        found = [(number, split) for (split, of), group in groups.items() if of == kind for number in group]
        file_number = 0
        for number, split in sorted(found):
            for image in range(groups[split, kind][number]):
                file_number += int(rng.integers(1, 4))
                entries.append(_entry(split, kind, "person", number, f"{number}_{kind}_{file_number}", image))
    train = [place for place, entry in enumerate(entries) if "/train/" in entry.path]
    for place in rng.choice(train, round(THREE_CHANNEL * len(train)), replace=False):
        entries[place] = replace(entries[place], rgb=True)
    return entries


def _normals(counts: dict, rng: np.random.Generator) -> list[Entry]:
    entries = []
    for split, kinds in PARTS.items():
        left, names = counts[split, "normal"], kinds["normal"]["names"]
        for place, (prefix, (low, high), share) in enumerate(names, start=1):
            amount = left if place == len(names) else round(left * share)
            left -= amount
            sizes = _sizes(amount, kinds["normal"]["images"], rng)
            numbers = np.sort(rng.choice(np.arange(low, high + 1), len(sizes), replace=False))
            for number, size in zip(map(int, numbers), sizes, strict=True):
                for image in range(size):
                    third = f"-{image + 1:04d}" if size > 1 else ""
                    entries.append(_entry(split, "normal", prefix, number, f"-{number:04d}-0001{third}", image))
    return entries


def _entry(split: str, kind: str, prefix: str, number: int, name: str, image: int) -> Entry:
    path = f"chest_xray/{split}/{'NORMAL' if kind == 'normal' else 'PNEUMONIA'}/{prefix}{name}.jpeg"
    domain = "test" if split == "test" else "train"
    return Entry(path, kind, domain, patient=OFFSET[prefix] + number, image=10 * image + KINDS.index(kind))


def _sizes(total: int, shares: list[float], rng: np.random.Generator) -> list[int]:
    """Draw numbers of images a patient until they add up to `total`."""
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(min(1 + int(rng.choice(len(shares), p=shares)), total - sum(sizes)))
    return sizes


def _copies(entries: list[Entry], rng: np.random.Generator) -> list[Entry]:
    """Make a few files exact copies of the one before: one across two patients, the rest of one patient."""
    used: set[str] = set()
    for prefix, same, wanted in COPIES:
        pairs = [
            (place, one, two)
            for place, (one, two) in enumerate(zip(entries[:-1], entries[1:], strict=True), start=1)
            if one.path.startswith(prefix) and two.path.startswith(prefix) and one.kind == two.kind
            if (one.patient == two.patient) == same and not {one.path, two.path} & used
        ]
        for pick in rng.permutation(len(pairs)):
            place, one, two = pairs[pick]
            if wanted and not {one.path, two.path} & used:
                entries[place] = replace(two, copy_of=one.path, rgb=one.rgb)
                used |= {one.path, two.path}
                wanted -= 1
    return entries
