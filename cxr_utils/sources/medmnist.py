"""PneumoniaMNIST at 224 px from Zenodo: the same radiographs, cropped to squares, without an account.

Source: Yang et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8. Its authors
split all images outside the official test anew, 9 to 1. The file names of the dataset are lost, and with them
the patients and the kinds of pneumonia.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils import _machine
from cxr_utils.dataset import CLASSES, SPLITS
from cxr_utils.errors import CxrError
from cxr_utils.sources import Source, download
from cxr_utils.sources.download import Interrupted, clean

FILE = "records/10519652/files/pneumoniamnist_224.npz"
MD5 = "d6a3c71de1b945ea11211b03746c1fe1"
COUNTS = {"train": 4708, "val": 524, "test": 624}
SIZE = 224
NEEDED_BYTES = 600_000_000  # the archive, and as much again for the images
#: Seconds without a byte, after which a try is given up.
STALL = 60

AUTHORS = (
    "Yang J, Shi R, Wei D, et al. MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image "
    "classification. Scientific Data 10:41, 2023, doi 10.1038/s41597-022-01721-8."
)
WAY_OUT = (
    "without Zenodo: `cxr fetch --source kaggle` takes the originals from Kaggle; "
    "`cxr fetch --source sample` draws phantoms, with no network"
)


def fill(folder: Path, *, archive: Path, progress: bool = False) -> dict[str, Any]:
    """Download PneumoniaMNIST and write its images to ``folder/chest_xray`` as grayscale PNG files, lossless.

    Parameters
    ----------
    folder : Path
        An empty folder.
    archive : Path
        As for `download_npz`.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        title, licence, attribution, origin and the expected counts for ``source.json``.

    Raises
    ------
    CxrError
        As `download_npz`.
    """
    origin, _ = download_npz(
        archive, "medmnist", file=FILE, md5=MD5, needed=NEEDED_BYTES, progress=progress,
        write=lambda: write(archive, folder, progress=progress),
    )  # fmt: skip
    return {
        "title": "PneumoniaMNIST (MedMNIST v2), 224 px",
        "licence": "CC BY 4.0",
        "attribution": f"{AUTHORS} Made from: Kermany DS, Goldbaum M, Cai W, et al. Cell 172(5):1122-1131, 2018, "
        "doi 10.1016/j.cell.2018.02.010.",
        "origin": origin,
        "expected": COUNTS,
    }


def download_npz(
    archive: Path, source: str, *, file: str, md5: str, needed: int, write: Callable[[], Any], progress: bool = False
) -> tuple[str, Any]:
    """Download an archive of MedMNIST from Zenodo, and write what is in it.

    The variable ``CXR_MEDMNIST_URL`` names a mirror in place of ``https://zenodo.org``; the checksum stays.

    Parameters
    ----------
    archive : Path
        Where the archive is downloaded to, in a folder of its own. A whole one is kept, and a next call needs no
        network for it; a part is not, since Zenodo's file is fetched in one piece.
    source : str
        Whose it is, for messages.
    file, md5 : str
        Its path on the server, and its checksum in hexadecimal digits.
    needed : int
        Bytes on the disk, of the archive and of what is written from it.
    write : callable
        Writes the images; raises KeyError, ValueError or BadZipFile where the archive is another one.
    progress : bool
        Show progress bars.

    Returns
    -------
    origin : str
        The address.
    written : object
        What `write` returned.

    Raises
    ------
    CxrError
        The download failed, the disk is full, or the file is another one than published.
    """
    origin = f"{os.environ.get('CXR_MEDMNIST_URL', 'https://zenodo.org').rstrip('/')}/{file}?download=1"
    try:
        if not download.size(archive):
            download.check_proxy(origin)
        download.tidy(archive.parent, keep=archive)  # what a killed process left
        archive.parent.mkdir(parents=True, exist_ok=True)
        download.check_room(needed - download.size(archive), archive.parent)
        download.insist(lambda: _run(origin, archive, md5, progress=progress), arrived=lambda: 0, progress=progress)
        try:
            return origin, write()
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            archive.unlink()
            raise CxrError(f"{origin} is not what was published ({clean(str(error))})") from error
    except (CxrError, Interrupted) as error:
        raise CxrError(f"source {source}: {error}; {WAY_OUT}") from error
    finally:
        download.tidy(archive.parent, keep=archive)


def _run(origin: str, archive: Path, md5: str, *, progress: bool) -> None:
    """Download the archive, or find it there; one that differs is downloaded once more."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    # Its own pieces of 1 KB cost more than the network.
    how = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**18, timeout=STALL)
    for last in (False, True):
        try:
            pooch.retrieve(origin, known_hash=f"md5:{md5}", fname=archive.name, path=archive.parent, downloader=how)
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
    with np.load(archive, allow_pickle=False) as arrays:
        for split in SPLITS:
            labels = arrays[f"{split}_labels"].reshape(-1)
            if not np.isin(labels, (0, 1)).all():
                raise ValueError(f"{split}_labels holds other values than 0 and 1")
            write_split(arrays, split, labels, folder, source="medmnist", size=SIZE, progress=progress)


def write_split(
    arrays: Mapping[str, np.ndarray], split: str, classes: np.ndarray, folder: Path, *, source: str, size: int,
    progress: bool = False,
) -> None:  # fmt: skip
    """Write the images of a split to ``folder/chest_xray/<split>/<class>``.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        With ``<split>_images``: uint8, shape (n, size, size).
    split : str
        One of `SPLITS`.
    classes : ndarray
        int, shape (n,): 0 NORMAL, 1 PNEUMONIA; images of another class are left out.
    folder : Path
        Where to; the files are named ``<source>-<split>-00001-normal.png``, numbered from 1 in the archive's order.
    source : str
        Whose the images are.
    size : int
        Their pixels a side.
    progress : bool
        Show a progress bar.

    Raises
    ------
    KeyError
        There are no such images.
    ValueError
        They are of another type or shape.
    """
    from tqdm import tqdm

    images, wanted = arrays[f"{split}_images"], (len(classes), size, size)
    if images.shape != wanted or images.dtype != np.uint8:
        raise ValueError(f"{split}_images is {images.dtype} {images.shape}, uint8 {wanted} expected")
    targets: dict[int, Path] = {}
    for label, name in enumerate(CLASSES):
        place = folder / "chest_xray" / split / name
        place.mkdir(parents=True, exist_ok=True)
        for row in np.flatnonzero(classes == label).tolist():
            targets[row] = place / f"{source}-{split}-{row + 1:05d}-{name.lower()}.png"
    with ThreadPoolExecutor() as pool:
        work = pool.map(write_png, (images[row] for row in targets), targets.values())
        for _ in tqdm(work, total=len(targets), desc=f"writing {split}", unit="image", **_machine.bar(progress)):
            pass


def write_png(image: np.ndarray, path: Path) -> None:
    """Write an image as a grayscale PNG file, lossless.

    Parameters
    ----------
    image : ndarray
        uint8, shape (h, w).
    path : Path
        The file.
    """
    import cv2

    # Half the time of the usual strategy, and smaller: the noise of a radiograph does not repeat itself.
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
    path.write_bytes(cv2.imencode(".png", image, how)[1].tobytes())


SOURCE = Source(name="medmnist", about="PneumoniaMNIST at 224 px from Zenodo, no account", holds="other", fill=fill,
                archive="pneumoniamnist_224.npz")  # fmt: skip
