"""Radiographs as hospitals keep them: the pixels of a DICOM file, and what of it no model here knows.

Nothing that names a patient leaves this module: only the elements in `ELEMENTS` are read at all, and no value
of the header is ever put into a message, for people write names into any of them.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import threading
import unicodedata
import zlib
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from cxr_utils import _gray, _limits, _lossless, _machine

MODALITIES = ("CR", "DX", "RG")
#: The elements that are read: what the pixels need, and what the remarks are made from.
ELEMENTS = (
    "Modality", "PatientAge", "ViewPosition", "BodyPartExamined", "BurnedInAnnotation",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "PixelData", "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "PresentationLUTShape", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip

OTHER_AGE = "the age is outside of 1 to 5 years, the only ages that the models here know"
OTHER_VIEW = "the view is not anterior-posterior (AP), the only one that the models here know"
OTHER_PART = "the body part is not the chest"

_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
# How each way of compression is decoded, and the bytes that it takes for each byte of the picture (measured).
_DECODERS = {
    "1.2.840.10008.1.2.5": ("pydicom", 5),
    "1.2.840.10008.1.2.4.50": ("pillow", 5),
    "1.2.840.10008.1.2.4.51": ("pillow", 5),
    "1.2.840.10008.1.2.4.90": ("pillow", 10),
    "1.2.840.10008.1.2.4.91": ("pillow", 10),
    "1.2.840.10008.1.2.4.57": ("gdcm", 10),
    "1.2.840.10008.1.2.4.70": ("gdcm", 10),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", 5),
    "1.2.840.10008.1.2.4.81": ("pyjpegls", 5),
}
# Decoders that are no part of the package: the module that shows that one is there, and the command that installs it.
_EXTRA = {"gdcm": ("gdcm", "pip install python-gdcm"), "pyjpegls": ("jpeg_ls", "pip install pyjpegls")}

_AGE = re.compile(r"\s*(\d{1,3}(?:\.\d+)?)\s*([DWMY]?)(?:AYS?|EEKS?|ONTHS?|EARS?)?\s*")
_DAYS = {"D": 1, "W": 7, "M": 30.44, "Y": 365.25, "": 365.25}
_CHEST = re.compile("CHEST|THORAX|T[OH]+RA[XC]E|TORAX|LUNG|CXR")
_ELSEWHERE = re.compile(
    r"(ABDOM\w*|ANKLE|ARM|BREAST|CALCANEUS|CLAVICLE|COCCYX|CRANIUM|[CLST]?SPINE|ELBOW|EYE|FACE|FEMUR|FINGER|FOOT|FEET"
    r"|FOREARM|HAND|HEAD|HEEL|HIP|HUMERUS|JAW|KNEE|KUB|LEG|MANDIBLE|MAXILLA|NECK|ORBIT|PATELLA|PELVI[SC]|RADIUS|SACRUM"
    r"|SCAPULA|SHOULDER|SINUS|SKULL|TEETH|THIGH|THUMB|TIBIA|TOE|TOOTH|ULNA|WRIST)(S|ES)?"
)
#: Held while pydicom is kept quiet, one file at a time: its warnings and its log quote the header.
_ALONE = threading.Lock()


class Film(NamedTuple):
    """A radiograph whose header was read: `decode` makes its pixels."""

    dataset: Any
    remarks: list[str]
    cost: int


class _Unreadable(ValueError):
    """Says what is wrong in words of this module."""


def is_dicom(content: bytes) -> bool:
    """Tell whether a file's content is DICOM, whatever its name; the first 132 bytes suffice.

    Some files lack the preamble: they begin with an element of the file's meta information, or of group 8.

    Examples
    --------
    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"BM")
    (True, False)
    """
    if b"DICM" in (content[128:132], content[:4]):
        return True
    group, element, vr, length = content[:2], content[2:4], content[4:6], int.from_bytes(content[4:8], "little")
    if len(content) < 132 or group not in (b"\2\0", b"\x08\0") or element[1:] != b"\0":
        return False
    return vr in (b"UL", b"CS", b"UI", b"DA", b"OB", b"SH") or (group == b"\x08\0" and length < 256)


def read(content: bytes, *, most_pixels: int = _limits.MAX_PIXELS) -> tuple[np.ndarray, list[str]]:
    """Read a radiograph as it is meant to be seen: rescaled, windowed, and bright where little came through.

    Parameters
    ----------
    content : bytes
        Of a file: modality CR, DX or RG, one frame, MONOCHROME1 or MONOCHROME2, up to 16 bits, uncompressed or in a
        compression that is read: RLE, JPEG Baseline, JPEG 2000; with python-gdcm JPEG Lossless, with pyjpegls JPEG-LS.
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
    Modality and VOI transformations: DICOM PS3.3, C.11.1 and C.11.2. MONOCHROME1 means that the smallest value is
    white.

    Examples
    --------
    >>> read(b"no film")
    Traceback (most recent call last):
    ValueError: DICOM, but without pixels
    """
    film = parse(content, most_pixels=most_pixels)
    with _limits.room(film.cost):
        return decode(film)


def parse(content: bytes, *, most_pixels: int = _limits.MAX_PIXELS) -> Film:
    """Read a file's header, and check what it declares before anything is decoded; as `read`."""
    import pydicom

    content = _inflated(_with_preamble(content))
    try:
        with _ALONE, _machine.quiet("pydicom"):
            dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=list(ELEMENTS))
            _check_kind(dataset, most_pixels)
            return Film(dataset, _remarks(dataset), _checked(dataset))
    except (_Unreadable, _limits.TooMuch) as error:
        raise ValueError(f"DICOM, {error}") from None
    except Exception as error:
        # From None, and without its text: both hold values of the header.
        raise ValueError(f"DICOM, its header can't be read ({type(error).__name__})") from None


def decode(film: Film) -> tuple[np.ndarray, list[str]]:
    """Decode what `parse` has read; returns and raises as `read`."""
    try:
        with _ALONE, _machine.quiet("pydicom"):
            stored = _stored(film.dataset)
            table, remarks = _table(film.dataset, stored)
    except _Unreadable as error:
        raise ValueError(f"DICOM, {error}") from None
    except Exception as error:
        raise ValueError(
            f"DICOM, its pixels can't be decoded ({type(error).__name__}): its compressed stream is cut off or damaged"
        ) from None
    return _gray.shown(stored, table), film.remarks + remarks


def _with_preamble(content: bytes) -> bytes:
    if content[128:132] == b"DICM":
        return content
    return bytes(128) + (b"" if content[:4] == b"DICM" else b"DICM") + content


def _inflated(content: bytes) -> bytes:
    """Inflate a deflated file no further than bounds allow: a few hundred bytes may hold gigabytes."""
    if _DEFLATED not in content:
        return content
    end = 144 + int.from_bytes(content[140:144], "little")
    head = content[:end]
    if content[132:136] != b"\2\0\0\0" or head.count(_DEFLATED) != content.count(_DEFLATED):
        raise ValueError("DICOM, deflated in a way that is not known; save it without that")
    unpack, most = zlib.decompressobj(-zlib.MAX_WBITS), _limits.MAX_MEMORY // 4
    try:
        inside = unpack.decompress(content[end:], most)
    except zlib.error:
        raise ValueError("DICOM, deflated, and damaged") from None
    if unpack.unconsumed_tail:
        raise ValueError(f"DICOM, deflated, and larger than {most // 10**6} MB inside")
    return head.replace(_DEFLATED, _PLAIN) + inside


def _check_kind(dataset, most_pixels: int) -> None:
    """Refuse what is no single plain radiograph."""
    if str(dataset.get("Modality") or MODALITIES[0]).strip().upper() not in MODALITIES:
        raise _Unreadable(f"but no radiograph: its modality is none of {', '.join(MODALITIES)}")
    if "PixelData" not in dataset:
        raise _Unreadable("but without pixels")
    if int(dataset.get("NumberOfFrames") or 1) > _limits.MAX_FRAMES:
        raise _Unreadable("with several frames; save the one to be read")
    if dataset.SamplesPerPixel != 1 or dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise _Unreadable("in colour; a radiograph is MONOCHROME1 or MONOCHROME2")
    if not 0 < dataset.Rows * dataset.Columns <= most_pixels:
        raise _Unreadable(f"{dataset.Columns} x {dataset.Rows} pixels; at most {most_pixels:,} in all are read")
    if dataset.BitsAllocated not in (8, 16) or not 0 < dataset.BitsStored <= dataset.BitsAllocated:
        raise _Unreadable("with other than 8 or 16 bits for a pixel; save it with 16")


def _remarks(dataset) -> list[str]:
    found = []
    if not dataset.get("Modality"):
        found.append("no modality is given; it is taken for a radiograph")
    given, view, part = (_plain(dataset.get(name)) for name in ("PatientAge", "ViewPosition", "BodyPartExamined"))
    if not given:
        found.append("no age is given; the models here know children of 1 to 5 years")
    elif (age := _AGE.fullmatch(given)) is None:
        found.append("the age is given in a form that is not known; the models here know children of 1 to 5 years")
    elif not 365 <= float(age[1]) * _DAYS[age[2]] < 6 * 365.25:
        found.append(OTHER_AGE)
    if not view:
        found.append("no view is given; the models here know anterior-posterior (AP)")
    elif "AP" not in re.findall("[A-Z]+", view) and not re.match("ANTERO[^A-Z]*POSTERIOR", view):
        found.append(OTHER_VIEW)
    words = re.findall("[A-Z]+", part)
    if not part:
        found.append("no body part is given; the models here know chests")
    elif "SPINE" in words or (not _CHEST.search(part) and any(map(_ELSEWHERE.fullmatch, words))):
        found.append(OTHER_PART)
    if _plain(dataset.get("BurnedInAnnotation")) == "YES":
        found.append("text is written into the picture, perhaps a name")
    return found


def _plain(value: object) -> str:
    """Return a header's text in capitals, without accents."""
    text = unicodedata.normalize("NFKD", "" if value is None else str(value))
    return "".join(letter for letter in text if not unicodedata.combining(letter)).strip().upper()


def _syntax(dataset) -> str:
    """Return the transfer syntax; where none is given, as the file was read: it is not compressed."""
    given = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    return str(given) if given else _NATIVE[0 if dataset.original_encoding[0] else 1]


def _checked(dataset) -> int:
    """Compare the pixels' stream with the header, and return what decoding takes, in bytes."""
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.uid import UID, ExplicitVRBigEndian

    syntax, rows, columns = UID(_syntax(dataset)), int(dataset.Rows), int(dataset.Columns)
    wide = dataset.BitsAllocated // 8
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise _Unreadable("stored in a way (transfer syntax) that is not known; save it uncompressed")
    if syntax in (*_NATIVE, ExplicitVRBigEndian):
        if len(dataset.PixelData) < rows * columns * wide:
            raise _Unreadable("cut off: it holds fewer pixels than its header says")
        return _limits.afford(columns, rows, 3 * wide + 1)
    if syntax not in _DECODERS:
        raise _Unreadable(f"compressed as {syntax.name}, which is not read; save it uncompressed")
    offsets = [dataset.get(f"ExtendedOffsetTable{name}") for name in ("", "Lengths")]
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1, extended_offsets=offsets if all(offsets) else None)
    decoder, times = _DECODERS[syntax]
    declared = None
    if syntax.startswith("1.2.840.10008.1.2.4."):
        start, ask = (_limits.JPEG_2000, _limits.jpeg2000) if ".4.9" in syntax else (_limits.JPEG, _limits.jpeg)
        frame = b"".join(frame.partition(start)[1:])  # a decoder would believe what lies around it
        declared = ask(frame)
        if declared is None:
            raise _Unreadable("its compressed stream is cut off or damaged")
        if (declared.width, declared.height, declared.components) != (columns, rows, 1):
            raise _Unreadable("its header says one size, its compressed stream another")
    else:
        _limits.rle(frame, 2 * rows * columns + 4096)
    # What is decoded is what was checked, whatever else lies there.
    dataset.PixelData = encapsulate([frame])
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in dataset:
            delattr(dataset, name)
    cost = _limits.afford(columns, rows, times * wide + 1, declared.more if declared else 0)
    if syntax.endswith(".4.51") and declared and declared.bits > 8:
        raise _Unreadable(f"compressed as {syntax.name} with 12 bits, which is not read; save it uncompressed")
    if (missing := missing_decoder(syntax)) is not None:
        raise _Unreadable(f"compressed as {syntax.name}; its decoder is not installed: {missing}")
    return cost


def missing_decoder(syntax: str) -> str | None:
    """Return the command that installs what a transfer syntax needs, or None if it is there."""
    module, command = _EXTRA.get(_DECODERS[syntax][0], (None, None))
    return command if module and find_spec(module) is None else None


def _stored(dataset) -> np.ndarray:
    """Return the numbers that are stored, as 8 or 16 bits without a sign, shape (h, w)."""
    from pydicom.pixels import get_decoder

    syntax, shape = _syntax(dataset), (int(dataset.Rows), int(dataset.Columns))
    if syntax in _NATIVE:
        kind = np.dtype("<u2" if dataset.BitsAllocated == 16 else "u1")
        stored = np.frombuffer(dataset.PixelData, kind, math.prod(shape)).reshape(shape)
    else:
        decoder = _DECODERS.get(syntax, ("",))[0]
        if decoder == "gdcm":
            return _by_gdcm(dataset, syntax).reshape(shape)
        stored = get_decoder(syntax).as_array(dataset, raw=True, decoding_plugin=decoder)[0]
    if stored.shape != shape or stored.dtype.itemsize > 2:
        raise _Unreadable("its header says one size, its compressed stream another")
    return stored.view(f"{stored.dtype.byteorder}u{stored.dtype.itemsize}")


def _by_gdcm(dataset, syntax: str) -> np.ndarray:
    from pydicom.encaps import get_frame

    frame, wide = get_frame(dataset.PixelData, 0, number_of_frames=1), int(dataset.BitsAllocated)
    try:
        found = _lossless.decode(
            frame, syntax=syntax, columns=dataset.Columns, rows=dataset.Rows, allocated=wide, stored=dataset.BitsStored,
            signed=bool(dataset.get("PixelRepresentation")),
        )  # fmt: skip
    except ValueError as error:
        raise _Unreadable(error) from None
    return np.frombuffer(found, f"u{wide // 8}")


def _table(dataset, stored: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Make the table of what each stored number means, by the header; see `cxr_utils._gray`."""
    there, little = _gray.present(stored), dataset.original_encoding[1]
    wide, bits, negative = stored.dtype.itemsize * 8, int(dataset.BitsStored), bool(dataset.get("PixelRepresentation"))
    shift = max(0, int(dataset.get("HighBit") or bits - 1) + 1 - bits) if _syntax(dataset) in _NATIVE else 0
    codes = _gray.CODES >> shift
    above = np.unique(codes[there] >> (bits - negative))
    # Nothing but signs should stand above; else the header says fewer bits than are used.
    bits = bits if np.isin(above, [0, (1 << (wide - shift - bits + negative)) - 1, negative]).all() else wide
    codes = _gray.signed(codes, bits) if negative else codes
    values = _rescaled(dataset, codes, little)
    padding = np.zeros(len(codes), bool)
    if (pad := dataset.get("PixelPaddingValue")) is not None:
        ends = [int(pad), int(dataset.get("PixelPaddingRangeLimit") or pad)]
        low, high = sorted(_gray.signed(np.array(ends), bits) if negative else ends)
        padding = (codes >= low) & (codes <= high)
    # An honest file says both or neither: they mean the same inversion.
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    remarks: list[str] = []
    window = _window(dataset, remarks)
    if dataset.get("VOILUTSequence"):
        found, white = _looked_up(values, dataset.VOILUTSequence[0], little)
        table = _gray.stretched(found, 0, white, inverted=inverted)
    elif window:
        table = _gray.stretched(_gray.of_window(values, *window), 0, 1, inverted=inverted)
    else:
        seen = values[there & ~padding] if (there & ~padding).any() else values[there]
        table = _gray.stretched(values, seen.min(), seen.max(), inverted=inverted)
    table[padding] = 0
    return table, remarks


def _looked_up(values: np.ndarray, item: Any, little_endian: bool) -> tuple[np.ndarray, int]:
    try:
        return _gray.of_lut(values, item, little_endian=little_endian)
    except Exception:
        raise _Unreadable("its lookup table is not whole") from None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _rescaled(dataset, codes: np.ndarray, little_endian: bool) -> np.ndarray:
    """Apply the modality transformation."""
    if dataset.get("ModalityLUTSequence"):
        return _looked_up(codes, dataset.ModalityLUTSequence[0], little_endian)[0]
    slope, intercept = 1.0, 0.0
    with contextlib.suppress(ValueError):
        slope = _number(1 if dataset.get("RescaleSlope") is None else dataset.RescaleSlope)
        intercept = _number(0 if dataset.get("RescaleIntercept") is None else dataset.RescaleIntercept)
    if not slope or intercept is None:
        raise _Unreadable("its rescaling is by nothing, or by what is no number")
    return codes * slope + intercept


def _window(dataset, remarks: list[str]) -> tuple[float, float, str] | None:
    """Return the first window that can be one; where all given can't, say so."""
    try:
        given = [dataset.get("WindowCenter"), dataset.get("WindowWidth")]
        centres, widths = ([] if one is None else np.atleast_1d(np.array(one, float)).tolist() for one in given)
    except (TypeError, ValueError):  # text
        centres = widths = [math.nan]
    function = _plain(dataset.get("VOILUTFunction")) or "LINEAR"
    for centre, width in zip(centres, widths, strict=False):
        if math.isfinite(centre) and math.isfinite(width) and width > 0:
            if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
                remarks.append("the shape of its window is not known; it is taken for linear")
                function = "LINEAR"
            return centre, width, function
    if centres and widths and not dataset.get("VOILUTSequence"):
        remarks.append("its window is none (its width must be above 0); its darkest and brightest pixels are taken as "
                       "black and white")  # fmt: skip
    return None
