"""Radiographs as hospitals keep them: the pixels of a DICOM file, and what of it no model here knows.

Nothing that names a patient leaves this module: only the elements in `ELEMENTS` are read at all, and no value
of the header is ever put into a message, for people write names into any of them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator

import numpy as np

MODALITIES = ("CR", "DX")
ELEMENTS = (
    "Modality", "PatientAge", "ViewPosition", "BodyPartExamined", "BurnedInAnnotation",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelData",
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip
"""The elements that are read: what the pixels need, and what the remarks are made from."""

OTHER_AGE = "the age is outside of 1 to 5 years, the only ages that the models here know"
OTHER_VIEW = "the view is not anterior-posterior (AP), the only one that the models here know"
OTHER_PART = "the body part is not the chest"

# A few hundred bytes may unpack to gigabytes before anything can be looked at; radiographs aren't sent so.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_AGE = re.compile(r"(\d{3})([DWMY])")
_ALONE = threading.Lock()
_DAYS = {"D": 1, "W": 7, "M": 30.44, "Y": 365.25}


def is_dicom(content: bytes) -> bool:
    """Tell whether a file's content is DICOM, whatever its name.

    Examples
    --------
    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"BM")
    (True, False)
    """
    return content[128:132] == b"DICM"


def read(content: bytes, *, most_pixels: int) -> tuple[np.ndarray, list[str]]:
    """Read a radiograph as it is meant to be seen: rescaled, windowed, and bright where little came through.

    Parameters
    ----------
    content : bytes
        Of a file: modality CR or DX, one frame, MONOCHROME1 or MONOCHROME2, uncompressed or compressed in a way
        that Pillow can read.
    most_pixels : int
        Larger images are refused before they are decoded.

    Returns
    -------
    pixels : ndarray
        uint8 in [0, 255], shape (h, w). Without a window or lookup table in the file, its darkest and brightest
        pixels are taken as 0 and 255; padding is 0.
    remarks : list of str
        One sentence each for what the models here have not seen: another age, view or body part, or that these
        are not given. No value of the header is in them.

    Raises
    ------
    ValueError
        It is not such a radiograph; the message says why, without any value of the header.

    Notes
    -----
    Modality and VOI transformations: DICOM PS3.3, C.11.1 and C.11.2, by pydicom. MONOCHROME1 means that the
    smallest value is white.

    Examples
    --------
    >>> pixels, remarks = read(open("chest.dcm", "rb").read(), most_pixels=50_000_000)  # doctest: +SKIP
    """
    import pydicom

    if _DEFLATED in content:
        raise ValueError("DICOM, deflated; save it without that")
    try:
        with _silence():
            dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=list(ELEMENTS))
            problem = _problem(dataset, most_pixels)
            remarks = [] if problem else _remarks(dataset)
    except Exception as error:
        # From None, and without its text: both hold values of the header.
        raise ValueError(f"DICOM, its header can't be read ({type(error).__name__})") from None
    if problem:
        raise ValueError(f"DICOM, {problem}")
    try:
        with _silence():
            return _pixels(dataset), remarks
    except Exception as error:
        raise ValueError(
            f"DICOM, its pixels can't be decoded ({type(error).__name__}): cut off, or compressed in a way that "
            "needs more than Pillow"
        ) from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep pydicom's warnings and log quiet, one file at a time: they quote the header."""
    log = logging.getLogger("pydicom")
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


def _problem(dataset, most_pixels: int) -> str | None:
    """Say what keeps a file from being a single plain radiograph."""
    if dataset.get("Modality") not in MODALITIES:
        return f"but no radiograph: its modality is none of {', '.join(MODALITIES)}"
    if "PixelData" not in dataset:
        return "but without pixels"
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        return "with several frames; save the one to be read"
    if dataset.SamplesPerPixel != 1 or dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        return "in colour; a radiograph is MONOCHROME1 or MONOCHROME2"
    if not 0 < dataset.Rows * dataset.Columns <= most_pixels:
        return f"{dataset.Columns} x {dataset.Rows} pixels; at most {most_pixels:,} in all are read"
    return None


def _remarks(dataset) -> list[str]:
    found = []
    age = _AGE.fullmatch(str(dataset.get("PatientAge") or ""))
    if age is None:
        found.append("no age is given; the models here know children of 1 to 5 years")
    elif not 365 <= int(age[1]) * _DAYS[age[2]] < 6 * 365.25:
        found.append(OTHER_AGE)
    view, part = (str(dataset.get(name) or "").upper() for name in ("ViewPosition", "BodyPartExamined"))
    if not view:
        found.append("no view is given; the models here know anterior-posterior (AP)")
    elif view != "AP":
        found.append(OTHER_VIEW)
    if not part:
        found.append("no body part is given; the models here know chests")
    elif part not in ("CHEST", "THORAX"):
        found.append(OTHER_PART)
    if str(dataset.get("BurnedInAnnotation") or "").upper() == "YES":
        found.append("text is written into the picture, perhaps a name")
    return found


def _pixels(dataset) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    stored = dataset.pixel_array
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ValueError
    padding = stored == dataset.PixelPaddingValue if "PixelPaddingValue" in dataset else np.zeros(stored.shape, bool)
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        low, high = 0, 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        values = apply_voi(values, dataset)
    elif dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        # What the darkest and the brightest possible value become: these are black and white.
        low, high = sorted(apply_windowing(np.array([-1e9, 1e9]), dataset))
        values = apply_windowing(values, dataset)
    else:
        seen = values[~padding] if not padding.all() else values
        low, high = float(seen.min()), float(seen.max())
    shown = (np.asarray(values, dtype="float64") - low) * (255 / max(high - low, 1e-9))
    if not np.isfinite(shown).all():
        raise ValueError
    # An honest file says both or neither: they mean the same inversion.
    if dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        shown = 255 - shown
    shown[padding] = 0
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)

