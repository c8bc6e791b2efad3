"""How much a file may ask for, and what it declares: the bounds of reading, checked before anything is decoded."""

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

#: Of a file.
MAX_BYTES = 256 * 2**20
#: Of a picture; a radiograph has at most about 20 million.
MAX_PIXELS = 50_000_000
#: Bytes for the pictures that are being decoded, in all threads together; one that needs more alone is refused.
MAX_MEMORY = 400_000_000
#: Of a JPEG, and layers of a JPEG 2000. An honest progressive file has about ten; each costs as much as a decoding.
MAX_SCANS = 100
#: Pixels times scans of a JPEG.
MAX_SCANNED = 1_000_000_000
#: Bytes of a JPEG before its first scan: EXIF, colour profiles, thumbnails.
MAX_METADATA = 8 * 2**20
#: Segments of a JPEG, chunks of a PNG.
MAX_PARTS = 100_000
#: Of a DICOM file; of other files with several pictures the first is read.
MAX_FRAMES = 1

# Of archives and folders. The real one: 2.3 GB, at most 2 MB an image, and JPEG hardly shrinks.
MOST_FILES, MOST_BYTES, MOST_BYTES_A_FILE, MOST_RATIO = 200_000, 16 * 2**30, 64 * 2**20, 100
MOST_BYTES_OF_NAMES = 32 * 2**20
#: Of what lies beside the images: a manifest of `MOST_FILES` takes less.
MOST_BYTES_OF_A_NOTE = 32 * 2**20
#: Of all members together: below, growth against the archive itself does no harm.
FREE_BYTES = 16 * 2**20

# Of a table, unpacked; the largest public set of chest radiographs has 370,000 rows.
MOST_CSV, MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 64 * 2**20, 1_000_000, 1_000, 10_000_000

# Of the page: files of one request, bytes of each, of any other request, and of all that wait for their answers.
PAGE_FILES, PAGE_BYTES, MOST_BYTES_ASKED, MOST_BYTES_KEPT = 20, 32 * 2**20, 2**20, 2 * 2**30

#: How their streams begin.
JPEG, JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"

_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to 15, and that of JPEG-LS
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
# No restart marker, and none of the bytes that JPEG-LS and JPEG may have after 0xff within their data.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
_COD = re.compile(rb"\xff\x52\x00[\x0c-\x2d]([\s\S]{10})([\s\S]{0,33})")

_turn, _changed, _taken = threading.Lock(), threading.Condition(), 0


class TooMuch(ValueError):
    """A file asks for more than these bounds; the message tells which, in numbers only."""


class Declared(NamedTuple):
    """What a compressed stream says of itself.

    Attributes
    ----------
    width, height, components, bits : int
        Of the picture; bits a sample.
    kind : int
        The second byte of a JPEG's frame header: 0xc0 baseline, 0xc2 progressive, 0xc3 lossless, 0xf7 JPEG-LS.
    more : int
        Bytes that a decoder takes beside the pixels.
    whole : bool
        Several scans: a decoder keeps the coefficients of the whole picture.
    """

    width: int
    height: int
    components: int
    bits: int
    kind: int = 0
    more: int = 0
    whole: bool = False


def afford(width: int, height: int, bytes_a_pixel: float = 0, more: int = 0) -> int:
    """Return the bytes that a picture takes while it is decoded.

    Raises
    ------
    TooMuch
        It has more than `MAX_PIXELS`, or takes more than `MAX_MEMORY`.

    Examples
    --------
    >>> afford(1000, 1000, 3)
    3000000
    """
    if width * height > MAX_PIXELS:
        raise TooMuch(f"{width} x {height} pixels; at most {MAX_PIXELS:,} in all are read")
    cost = int(width * height * bytes_a_pixel) + more
    if cost > MAX_MEMORY:
        raise TooMuch(
            f"{width} x {height} pixels, stored so that reading them takes {cost / 1e6:,.0f} MB; at most "
            f"{MAX_MEMORY // 10**6} MB are given to a picture"
        )
    return cost


@contextlib.contextmanager
def room(cost: int) -> Iterator[None]:
    """Wait until the pictures that are being decoded leave `cost` bytes of `MAX_MEMORY`, first come, first served."""
    global _taken
    with _turn, _changed:
        _changed.wait_for(lambda: not _taken or _taken + cost <= MAX_MEMORY)
        _taken += cost
    try:
        yield
    finally:
        with _changed:
            _taken -= cost
            _changed.notify_all()


def jpeg(content: bytes) -> Declared | None:
    """Read what a JPEG or JPEG-LS stream declares, and count its scans, without decoding it.

    Returns
    -------
    Declared or None
        None if it has no frame header; a decoder will say so.

    Raises
    ------
    TooMuch
        It is out of bounds.
    """
    found, scans, most, at = None, 0, content.count(b"\xff\xda"), 2
    for _ in range(MAX_PARTS):
        marker = _MARKER.search(content, at)
        if marker is None or (marker[1] == b"\xd9" and scans):
            return found
        at = marker.end()
        if not scans and at > MAX_METADATA:
            break
        if marker[1] == b"\xd9":
            continue
        if (kind := marker[1][0]) in _FRAME_HEADERS and found is None and len(content) > at + 8:
            height, width = int.from_bytes(content[at + 3 : at + 5]), int.from_bytes(content[at + 5 : at + 7])
            whole = kind in _PROGRESSIVE or most > 1
            found = Declared(width, height, content[at + 7], content[at + 2], kind, whole=whole)
        if kind == 0xDA:
            scans += 1
            pixels = found.width * found.height if found else 0
            if scans > MAX_SCANS or scans * pixels > max(MAX_SCANNED, pixels):
                raise TooMuch(f"a JPEG of more than {scans - 1} scans; at most {MAX_SCANS} are read, fewer if large")
            if most <= MAX_SCANS and most * pixels <= MAX_SCANNED:  # whichever of them are scans
                return found
        at += max(2, int.from_bytes(content[at : at + 2]))
    else:
        raise TooMuch(f"a JPEG of more than {MAX_PARTS:,} segments")
    raise TooMuch(f"more than {MAX_METADATA >> 20} MiB of EXIF and the like before the picture; save it without")


def jpeg2000(content: bytes) -> Declared | None:
    """Read what a JPEG 2000 codestream declares, without decoding it; see `jpeg`."""
    start = content.find(JPEG_2000)
    if start < 0 or len(content) < start + 43:
        return None
    x1, y1, x0, y0, tile_width, tile_height = (
        int.from_bytes(content[start + 8 + 4 * n : start + 12 + 4 * n]) for n in range(6)
    )
    width, height = max(0, x1 - x0), max(0, y1 - y0)
    # A tile, a block and a precinct take a decoder some hundred bytes each, however little they hold.
    more = 8192 * -(-x1 // max(1, tile_width)) * -(-y1 // max(1, tile_height))
    for one in _COD.finditer(content, start):
        style, layers, across, down = one[1][0], int.from_bytes(one[1][2:4]), one[1][6] & 15, one[1][7] & 15
        if layers > MAX_SCANS:
            raise TooMuch(f"a JPEG 2000 of {layers:,} layers; at most {MAX_SCANS} are read")
        areas = [across + down + 4, *((size & 15) + (size >> 4) for size in one[2][: one[1][5] + 1] if style & 1)]
        more += sum(300 * width * height >> area for area in areas)
    size = int.from_bytes(content[start + 40 : start + 42])
    return Declared(width, height, size, (content[start + 42] & 127) + 1, more=more)


def rle(content: bytes, most: int) -> None:
    """Add up what each part of a stream of DICOM's RLE grows to, and refuse more than `most` bytes; see `jpeg`."""
    starts = [int.from_bytes(content[at : at + 4], "little") for at in range(0, 64, 4)]
    starts = starts[1 : 1 + starts[0]]
    for at, end in zip(starts, [*starts[1:], len(content)], strict=False):
        grown = 0
        while at < min(end, len(content)):
            run = content[at]
            grown += 257 - run if run > 128 else (run + 1) % 129
            at += 2 if run > 128 else 2 + run if run < 128 else 1
            if grown > most:
                raise TooMuch("its compressed stream is longer than its pixels")


def png(content: bytes) -> None:
    """Count the chunks of a PNG; see `jpeg`."""
    at = 8
    for _ in range(MAX_PARTS):
        if at + 8 > len(content):
            return
        at += 12 + int.from_bytes(content[at : at + 4])
    raise TooMuch(f"a PNG of more than {MAX_PARTS:,} chunks")
