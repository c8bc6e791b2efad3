"""Another hospital: phantoms from another machine, of older children, in views that go with the label.

A seed is a hospital: it decides the machine, and how far the views go with the label. Only test is filled.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import dataset, files
from cxr_utils.sources import Source, phantom, sample
from cxr_utils.sources.layout import Entry

PATIENTS = 150
OFFSET = 30_000  # no child of the sample is drawn again
TABLE = "table.csv"
"""Beside the images: ``path``, ``patient``, ``view``, ``age`` and ``sex`` of each, as ``cxr evaluate`` takes them."""


def fill(folder: Path, *, seed: int, progress: bool = False) -> dict[str, Any]:
    """Draw another hospital's images, and write a table of them, `TABLE`.

    Parameters
    ----------
    folder : Path
        Gets the images, the lesions' masks, and the table.
    seed : int
        The same seed gives the same pixels and table.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        Its record for ``source.json``.
    """
    rng, rows = np.random.default_rng([seed, 51]), {}
    in_bed = np.array([0.74, 0.26]) + rng.uniform(-0.04, 0.04, 2)  # share of AP among the healthy, among the ill
    for number in range(PATIENTS):
        label = number % 2
        kind = phantom.KINDS[label + label * int(rng.uniform() < 0.35)]
        view, (age, sex) = phantom.VIEWS[int(rng.uniform() > in_bed[label])], phantom.person(seed, OFFSET + number)
        for image in range(int(rng.integers(1, 3))):
            patient, name = f"elsewhere-p{number:04d}", dataset.CLASSES[label]
            path = f"chest_xray/test/{name}/{patient}-{image + 1}-{name.lower()}.jpeg"
            entry = Entry(path, kind, view, OFFSET + number, image)
            rows[entry] = {"path": path, "patient": patient, "view": view, "age": age, "sex": sex}
    phantom.write(folder, seed=seed, progress=progress, entries=list(rows))
    files.write_csv(folder / TABLE, pd.DataFrame(rows.values()))
    return sample.ABOUT | {"title": "Phantom chest radiographs of another hospital", "seed": seed}


SOURCE = Source(name="elsewhere", about="phantoms of another hospital", holds="phantoms", fill=fill, takes="seed",
                another=True)  # fmt: skip
