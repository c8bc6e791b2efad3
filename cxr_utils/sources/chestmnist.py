"""ChestMNIST at 64 px from Zenodo: another hospital's films (NIH Clinical Center), adults mostly, without an account.

Source: Yang et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8. Its labels, of 14
findings, were mined from reports by a program. Of its test part the films with the label pneumonia are taken, and those
without any label. Patients, views and ages are not in it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils.dataset import CLASSES
from cxr_utils.sources import Source, medmnist

FILE = "records/10519652/files/chestmnist_64.npz"
MD5 = "9de6cd0b934ebb5b7426cfba5efbae16"
SIZE = 64
FINDINGS, PNEUMONIA = 14, 6
#: By lists of the same sizes; the file itself was not at hand when this was written.
EXPECTED = {"test": dict(zip(CLASSES, (11_928, 242), strict=True))}
NEEDED_BYTES = 460_000_000


def fill(folder: Path, *, archive: Path, progress: bool = False) -> dict[str, Any]:
    """Download ChestMNIST, and write films of its test part to ``folder/chest_xray/test`` as grayscale PNG files.

    Parameters
    ----------
    folder : Path
        An empty folder.
    archive : Path
        As for `medmnist.download_npz`.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        title, licence, attribution, origin, the expected counts, and what was left out, for ``source.json``.

    Raises
    ------
    CxrError
        As `medmnist.download_npz`.
    """
    origin, left_out = medmnist.download_npz(
        archive, "chestmnist", file=FILE, md5=MD5, needed=NEEDED_BYTES, progress=progress,
        write=lambda: write(archive, folder),
    )  # fmt: skip
    return {
        "title": "ChestMNIST (MedMNIST v2), 64 px: NIH Clinical Center",
        "licence": "CC BY 4.0",
        "attribution": f"{medmnist.AUTHORS} Made from: Wang X, Peng Y, Lu L, et al. ChestX-ray8, CVPR 2017, "
        "doi 10.1109/CVPR.2017.369.",
        "origin": origin,
        "expected": EXPECTED,
        "left_out": [left_out],
    }


def write(archive: str | Path, folder: Path) -> str:
    """Write films of the archive's test part: NORMAL has no label, PNEUMONIA has the label of that name.

    Parameters
    ----------
    archive : str or Path
        An ``.npz`` with ``test_images`` (uint8, shape (n, 64, 64)) and ``test_labels`` (0 or 1, shape (n, 14)).
    folder : Path
        Where to; the files are named ``chestmnist-test-00001-normal.png``, numbered from 1 in the archive's order.

    Returns
    -------
    str
        What was left out, and how many films that are.

    Raises
    ------
    KeyError
        Arrays are missing.
    ValueError
        They are of another type or shape.
    """
    with np.load(archive, allow_pickle=False) as arrays:
        labels = arrays["test_labels"]
        if labels.ndim != 2 or labels.shape[1] != FINDINGS or not np.isin(labels, (0, 1)).all():
            raise ValueError(f"test_labels is {labels.dtype} {labels.shape}, 0 or 1 of (films, {FINDINGS}) expected")
        ill, healthy = labels[:, PNEUMONIA] == 1, labels.sum(axis=1) == 0
        classes = np.select([healthy, ill], [0, 1], -1)
        medmnist.write_split(arrays, "test", classes, folder, source="chestmnist", size=SIZE)
    return f"{(classes < 0).sum():,} films of test with other findings, but no pneumonia"


SOURCE = Source(name="chestmnist", about="films of another hospital (NIH) at 64 px from Zenodo, no account",
                holds="other", another=True, fill=fill, archive="chestmnist_64.npz")  # fmt: skip
