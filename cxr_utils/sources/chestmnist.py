"""ChestMNIST at 64 px from Zenodo: another hospital's films (NIH Clinical Center), adults mostly, without an account.

Source: Yang et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8. Its labels, of 14
findings, were mined from reports by a program. Of its test part the films with the label pneumonia are taken, and those
without any label. Patients, views and ages are not in it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils.sources import Source, medmnist

FINDINGS, PNEUMONIA = 14, 6


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
        As `medmnist.download_npz`.

    Raises
    ------
    CxrError
        As `medmnist.download_npz`.
    """
    return medmnist.download_npz("chestmnist", archive, lambda: write(archive, folder), progress=progress)


def write(archive: str | Path, folder: Path) -> list[str]:
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
        medmnist.write_split("chestmnist", arrays, "test", classes, folder)
    return [f"{(classes < 0).sum():,} films of test with other findings, but no pneumonia"]


SOURCE = Source(name="chestmnist", about="films of another hospital (NIH) at 64 px from Zenodo, no account",
                holds="other", another=True, fill=fill, archive="chestmnist_64.npz")  # fmt: skip
