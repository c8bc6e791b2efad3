"""PneumoniaMNIST at 224 px from Zenodo: the same radiographs, cropped to squares, without an account.

Source: Yang et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8. Its authors
split all images outside the official test anew, 9 to 1. The file names of the dataset are lost, and with them
the patients and the kinds of pneumonia.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils.dataset import CLASSES, SPLITS
from cxr_utils.errors import CxrError
from cxr_utils.sources import Source, download
from cxr_utils.sources.download import Interrupted, clean

FILE = "records/10519652/files/pneumoniamnist_224.npz"
MD5 = "d6a3c71de1b945ea11211b03746c1fe1"
COUNTS = {"train": 4708, "val": 524, "test": 624}
SIZE = 224
BLOCK = 256
NEEDED_BYTES = 600_000_000  # the archive, and as much again for the images
#: Seconds without a byte, after which a try is given up.
STALL = 60

WAY_OUT = (
    "without Zenodo: `cxr fetch --source kaggle` takes the originals from Kaggle; "
    "`cxr fetch --source sample` draws phantoms, with no network"
)


def fill(folder: Path, *, archive: Path, progress: bool = False) -> dict[str, Any]:
    """Download PneumoniaMNIST and write its images to ``folder/chest_xray`` as grayscale PNG files, lossless.

    The variable ``CXR_MEDMNIST_URL`` names a mirror in place of ``https://zenodo.org``; the checksum stays.

    Parameters
    ----------
    folder : Path
        An empty folder.
    archive : Path
        Where the archive is downloaded to, in a folder of its own. A whole one is kept, and a next call needs no
        network for it; a part is not, since Zenodo's file is fetched in one piece.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        title, licence, attribution, origin and the expected counts for ``source.json``.

    Raises
    ------
    CxrError
        The download failed, the disk is full, or the file is another one than published.
    """
    origin = f"{os.environ.get('CXR_MEDMNIST_URL', 'https://zenodo.org').rstrip('/')}/{FILE}?download=1"
    try:
        if not download.size(archive):
            download.check_proxy(origin)
        download.tidy(archive.parent, keep=archive)  # what a killed process left
        archive.parent.mkdir(parents=True, exist_ok=True)
        download.check_room(NEEDED_BYTES - download.size(archive), archive.parent)
        download.insist(lambda: _run(origin, archive, progress=progress), arrived=lambda: 0, progress=progress)
        try:
            write(archive, folder, progress=progress)
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            archive.unlink()
            raise CxrError(f"{origin} is not what was published ({clean(str(error))})") from error
    except (CxrError, Interrupted) as error:
        raise CxrError(f"source medmnist: {error}; {WAY_OUT}") from error
    finally:
        download.tidy(archive.parent, keep=archive)
    return {
        "title": "PneumoniaMNIST (MedMNIST v2), 224 px",
        "licence": "CC BY 4.0",
        "attribution": (
            "Yang J, Shi R, Wei D, et al. MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D "
            "biomedical image classification. Scientific Data 10:41, 2023, doi 10.1038/s41597-022-01721-8. "
            "Made from: Kermany DS, Goldbaum M, Cai W, et al. Cell 172(5):1122-1131, 2018, "
            "doi 10.1016/j.cell.2018.02.010."
        ),
        "origin": origin,
        "expected": COUNTS,
    }


def _run(origin: str, archive: Path, *, progress: bool) -> None:
    """Download the archive, or find it there; one that differs is downloaded once more."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    # Its own pieces of 1 KB cost more than the network.
    how = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**18, timeout=STALL)
    for last in (False, True):
        try:
            pooch.retrieve(origin, known_hash=f"md5:{MD5}", fname=archive.name, path=archive.parent, downloader=how)
            return
        except requests.HTTPError as error:
            status = getattr(error.response, "status_code", 0)
            raise download.by_status(status, clean(str(error)), who="Zenodo") from None
        except requests.RequestException as error:
            said = clean(str(error))
            if "no connection to" in said:
                raise CxrError(said[said.index("no connection to") :]) from None
            raise Interrupted(f"the connection broke ({said[-120:]})") from None
        except OSError as error:
            if error.errno in download.FULL:
                raise CxrError(download.full(archive.parent)) from error
            raise
        except ValueError as error:  # pooch's word for another checksum
            if last:
                raise CxrError(f"what came, twice, has another checksum: {clean(str(error))}") from error


def write(archive: str | Path, folder: Path, *, progress: bool = False) -> None:
    """Write the images of PneumoniaMNIST's archive to ``folder/chest_xray/<split>/<class>``.

    Parameters
    ----------
    archive : str or Path
        An ``.npz`` with ``{train,val,test}_images`` (uint8, shape (n, 224, 224)) and ``…_labels`` (integer,
        shape (n, 1), 0 NORMAL, 1 PNEUMONIA).
    folder : Path
        Where to; the files are named ``medmnist-train-00001-normal.png``, numbered from 1 in the archive's
        order.
    progress : bool
        Show a progress bar.

    Raises
    ------
    KeyError
        Arrays are missing.
    ValueError
        They are of another type or shape.
    """
    from tqdm import tqdm

    with zipfile.ZipFile(archive) as opened, np.load(archive, allow_pickle=False) as arrays:
        labels = {split: arrays[f"{split}_labels"].reshape(-1) for split in SPLITS}
        total = sum(map(len, labels.values()))
        with tqdm(total=total, desc="writing", unit="image", disable=not progress) as bar, ThreadPoolExecutor() as pool:
            for split in SPLITS:
                if not np.isin(labels[split], (0, 1)).all():
                    raise ValueError(f"{split}_labels holds other values than 0 and 1")
                layout = folder / "chest_xray" / split
                for name in CLASSES:
                    (layout / name).mkdir(parents=True, exist_ok=True)
                names = [CLASSES[label] for label in labels[split]]
                targets = iter(
                    layout / name / f"medmnist-{split}-{number:05d}-{name.lower()}.png"
                    for number, name in enumerate(names, start=1)
                )
                for block in _blocks(opened, f"{split}_images", images=len(names)):
                    # The block first: at its end no target is lost.
                    bar.update(len(list(pool.map(_write_png, block, targets))))


def _blocks(archive: zipfile.ZipFile, array: str, *, images: int) -> Iterator[np.ndarray]:
    """Read an array of images some at a time: decompressed, all of them take 300 MB."""
    with archive.open(f"{array}.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{array} has an unknown format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if shape != (images, SIZE, SIZE) or fortran or dtype != np.uint8:
            raise ValueError(f"{array} is {dtype} {shape}, uint8 {(images, SIZE, SIZE)} expected")
        for first in range(0, images, BLOCK):
            n = min(BLOCK, images - first)
            content = stream.read(n * SIZE * SIZE)
            yield np.frombuffer(content, np.uint8).reshape(n, SIZE, SIZE)


def _write_png(image: np.ndarray, path: Path) -> None:
    import cv2

    # Half the time of the usual strategy, and smaller: the noise of a radiograph does not repeat itself.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    path.write_bytes(cv2.imencode(".png", image, how)[1].tobytes())


SOURCE = Source(name="medmnist", about="PneumoniaMNIST at 224 px from Zenodo, no account", holds="other", fill=fill,
                archive="pneumoniamnist_224.npz")  # fmt: skip
