"""What the stored numbers of a picture mean: the one place that makes gray from 0 to 255 of more than 8 bits.

Sixteen bits can hold 65,536 values, so what each means is a table. PNG, TIFF and DICOM differ in how their table is
made (`of_range`, `of_window`, `of_lut`); `shown` looks a picture up in it, part by part, so that no copy of it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

#: All that 16 bits can hold, unsigned.
CODES = np.arange(2**16, dtype=np.int32)
_PART = 2**18  # pixels at a time


def parts(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a picture in parts of about 260,000 pixels."""
    step = max(1, _PART // max(1, width))
    return (slice(start, min(start + step, height)) for start in range(0, height, step))


def shown(stored: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look up each pixel.

    Parameters
    ----------
    stored : ndarray
        uint8, uint16 or int16, shape (h, w).
    table : ndarray
        uint8, shape (65536,): the gray of each of `CODES`; of a negative value that of its two's complement.

    Returns
    -------
    ndarray
        uint8 in [0, 255], shape (h, w).
    """
    picture = np.empty(stored.shape, np.uint8)
    for rows in parts(*stored.shape):
        np.take(table, stored[rows], out=picture[rows], mode="wrap")
    return picture


def present(stored: np.ndarray) -> np.ndarray:
    """Tell which of `CODES` a picture has: bool, shape (65536,)."""
    found = np.zeros(len(CODES), bool)
    for rows in parts(*stored.shape):
        found[stored[rows].astype(np.uint16).ravel()] = True
    return found


def signed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Read the lowest `bits` of codes as signed numbers.

    Examples
    --------
    >>> signed(np.array([0, 2047, 2048, 4095]), 12).tolist()
    [0, 2047, -2048, -1]
    """
    half = 1 << (bits - 1)
    return ((codes & (2 * half - 1)) ^ half) - half


def bits_used(low: int, high: int) -> int:
    """Return the bits that a picture's values need; 10 or 12 are often stored in 16, and look black if taken for 16.

    Fewer than 8 are taken for 8, and 15 for 16: a picture that uses half of what it has is dark, not narrow.

    Examples
    --------
    >>> bits_used(0, 4000), bits_used(0, 1023), bits_used(5, 30_000), bits_used(-2000, 2047)
    (12, 10, 16, 12)
    """
    bits = 1 + int(max(-low - 1, high)).bit_length() if low < 0 else int(high).bit_length()
    return 16 if bits == 15 and low >= 0 else max(8, bits)


def of_range(low: int, high: int, *, bits: int | None = None, white_is_zero: bool = False) -> np.ndarray:
    """Make the table of a picture that has no window: the smallest value that its bits can hold is black.

    Parameters
    ----------
    low, high : int
        The picture's smallest and greatest value, in [-32768, 65535].
    bits : int, optional
        That its values have; by default `bits_used`.
    white_is_zero : bool
        The smallest value is white.
    """
    bits = bits or bits_used(low, high)
    return stretched(signed(CODES, 16) + 2 ** (bits - 1) if low < 0 else CODES, 0, 2**bits - 1, inverted=white_is_zero)


def stretched(values: np.ndarray, low: float, high: float, *, inverted: bool = False) -> np.ndarray:
    """Make a table of the value of each code: `low` and all below is black, `high` and all above white."""
    share = np.clip((np.asarray(values, np.float64) - low) / max(high - low, 1e-9), 0, 1)
    return np.rint(255 * (1 - share if inverted else share)).astype(np.uint8)


def of_window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Return how bright a window makes values: float64 in [0, 1]. DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.

    Parameters
    ----------
    values : ndarray
        After the modality transformation.
    centre, width : float
        Of the window; `width` above 0. By the standard LINEAR needs at least 1; below, LINEAR_EXACT is meant.
    function : {"LINEAR", "LINEAR_EXACT", "SIGMOID"}
        The shape.
    """
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.clip((values - centre) / width + 0.5, 0, 1)


def of_lut(values: np.ndarray, item: Any, *, little_endian: bool = True) -> tuple[np.ndarray, int]:
    """Apply a lookup table of DICOM: PS3.3, C.11.1.1 and C.11.2.1.1.

    Parameters
    ----------
    values : ndarray
        What is looked up.
    item : pydicom.Dataset
        With LUTDescriptor and LUTData.
    little_endian : bool
        How LUTData is stored.

    Returns
    -------
    found : ndarray
        int64, as `values`.
    white : int
        The greatest value that the table can give. Some say 16 bits and hold 12: then what they hold.

    Raises
    ------
    ValueError
        The table is shorter than it says.
    """
    entries, first, bits = (int(one) for one in item.LUTDescriptor)
    entries, data = entries or 2**16, item.LUTData
    if isinstance(data, bytes):
        wide = "<u2" if little_endian else ">u2"
        data = np.frombuffer(data, wide if len(data) >= 2 * entries else np.uint8)
    data = np.atleast_1d(np.asarray(data)).astype(np.int64)[:entries]
    if len(data) < entries:
        raise ValueError("its lookup table is shorter than it says")
    if first > 2**15 and values.min() < 0:  # stored as unsigned where it is signed
        first -= 2**16
    top = int(data.max())
    white = top if not 1 <= bits <= 16 or top < 2 ** (bits - 1) or top >= 2**bits else 2**bits - 1
    return data[np.clip(np.rint(values).astype(np.int64) - first, 0, entries - 1)], max(white, 1)
