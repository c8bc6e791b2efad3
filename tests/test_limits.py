"""A file is bounded by what it declares: scans, layers, metadata, segments, and memory as the peak of a process."""

import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import measured
import numpy as np
import pytest
from helpers import compressed, dcm, picture, png, radiograph, wrapped
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.rle import _rle_decode_segment

from cxr_utils import _dicom, _limits, images
from cxr_utils.errors import BadInput

SIDE = 7071  # 50 megapixels
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"  # how a JPEG 2000 in boxes begins, in which anything may stand


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def scans(number, side=SIDE, kind=0xC2):
    """Write a progressive JPEG of so many scans, a few bytes each."""
    blocks = (-(-side // 8)) ** 2
    tables = segment(0xDB, b"\0" + b"\1" * 64) + segment(kind, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    tables += segment(0xC4, bytes([0, 1, *[0] * 15, 0])) + segment(0xC4, bytes([0x10, 1, 1, *[0] * 14, 0xE0, 0]))
    first = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))  # a bit a block
    runs = "".join("0" + format(min(16383, blocks - start), "014b") for start in range(0, blocks, 2**14))
    runs += "1" * (-len(runs) % 8)
    runs = int(runs, 2).to_bytes(len(runs) // 8).replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + tables + first + (segment(0xDA, b"\1\1\0\1\x3f\x10") + runs) * (number - 1) + b"\xff\xd9"


def gray_png(side=SIDE, depth=16, colour=0):
    """Write a PNG of nothing but zeros, in some kB."""
    row = bytes(1 + side * depth // 8 * {0: 1, 2: 3, 4: 2, 6: 4}[colour])
    pack = zlib.compressobj(9)
    return png(side, side, depth=depth, colour=colour, data=b"").replace(
        png_chunk(zlib.compress(b"")), png_chunk(b"".join(pack.compress(row) for _ in range(side)) + pack.flush())
    )


def png_chunk(content):
    body = b"IDAT" + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def j2k(width, height):
    frame = picture("JPEG2000", pixels=np.zeros((64, 64), np.uint16), mode="I;16", no_jp2=True)
    at = frame.index(b"\xff\x51")
    size = struct.pack(">II", width, height)
    return frame[: at + 6] + size + frame[at + 14 : at + 22] + size + frame[at + 30 :]


def layered(frame, number):
    at = frame.index(b"\xff\x52")
    return frame[: at + 6] + struct.pack(">H", number) + frame[at + 8 :]


def bmp_rle(width, height, runs):
    """Write a BMP whose pixels are run lengths."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 0, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(runs), 0, 0, 14 + len(head)) + head + runs


def refused(content, reason, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    for call in (images.read, lambda path: images.check(path.read_bytes(), path)):
        with pytest.raises(BadInput, match=reason) as caught:
            call(path)
        assert str(caught.value).startswith(str(path)) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (scans(101, 64), "a JPEG of more than 100 scans"),
        (scans(30), "a JPEG of more than 20 scans; at most 100 are read, fewer if large"),
        (scans(200, 64, kind=0xC0), "more than 100 scans"),
        (b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 150 + picture()[2:], "more than 8 MiB of EXIF"),
        (b"\xff\xd8" + segment(0xFE, b"") * 100_001 + picture()[2:], "more than 100,000 segments"),
        (b"\xff\xd8" + bytes(9 * 2**20) + picture()[2:], "more than 8 MiB of EXIF"),
        (png(1, 1, data=b"\0\0", extra=[(b"teXt", b"")] * 100_001), "more than 100,000 chunks"),
        (bmp_rle(4_000_000, 12, b"\0\2\xff\xff\0\1"), "stored so that reading them takes 2,232 MB; at most 400 MB"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_is_out_of_bounds_is_refused_before_it_is_decoded(tmp_path, monkeypatch, content, reason):
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)  # decoding would fail
    refused(content, reason, tmp_path)


def test_honest_progressive_files_are_read(tmp_path):
    smooth = np.add.outer(np.arange(300), np.arange(400)) // 4
    colour = Image.fromarray(np.dstack([smooth] * 3).astype(np.uint8))
    target = io.BytesIO()
    # A thumbnail and 200 that look like scans, in EXIF and after the end: neither is one.
    colour.save(target, "JPEG", progressive=True, quality=95, exif=b"Exif\0\0" + b"\xff\xda" * 200)
    content = target.getvalue() + b"\xff\xda" * 200
    assert content.count(b"\xff\xda") > 400
    (tmp_path / "a.jpeg").write_bytes(content)
    assert np.abs(images.read(tmp_path / "a.jpeg").astype(int) - smooth).max() <= 3
    assert _limits.jpeg(content) == (400, 300, 3, 8, 0xC2, 0, True)


def test_scans_are_counted_inside_dicom(tmp_path):
    film = np.zeros((64, 64), np.uint8)
    refused(wrapped(film, scans(101, 64), "1.2.840.10008.1.2.4.50"), "DICOM, a JPEG of more than 100 scans", tmp_path)


@pytest.mark.parametrize(
    ("frame", "syntax", "reason"),
    [
        (j2k(13_000, 13_000), "90", "its header says one size, its compressed stream another"),
        (j2k(64, 65), "91", "its header says one size"),
        (picture(pixels=np.zeros((90, 64), np.uint8)), "50", "its header says one size"),
        (picture("JPEG", "RGB", np.zeros((64, 64), np.uint8)), "50", "its header says one size"),
        (layered(j2k(64, 64), 101), "90", "a JPEG 2000 of 101 layers"),
        (b"nothing", "90", "its compressed stream is cut off or damaged"),
        (b"nothing", "70", "its compressed stream is cut off or damaged"),
        (JP2 + b"\xff\xc0\0\x0b\x08\0\x40\0\x40\1\1\x11\0" + j2k(64, 64), "50", "is cut off or damaged"),
    ],
)
def test_a_stream_is_compared_with_the_header(tmp_path, monkeypatch, frame, syntax, reason):
    monkeypatch.setattr(_dicom, "_stored", None)
    refused(wrapped(np.zeros((64, 64), np.uint8), frame, f"1.2.840.10008.1.2.4.{syntax}"), reason, tmp_path)


def test_a_decoder_gets_the_stream_that_was_checked_and_nothing_around_it():
    film = np.zeros((64, 64), np.uint8)
    for frame, syntax in ((j2k(64, 64), "90"), (picture(pixels=film), "50")):
        parsed = _dicom.parse(wrapped(film, JP2 + frame, f"1.2.840.10008.1.2.4.{syntax}"))
        assert get_frame(parsed.dataset.PixelData, 0, number_of_frames=1).rstrip(b"\0") == frame.rstrip(b"\0")


@given(st.binary(max_size=80), st.lists(st.integers(0, 90), max_size=3))
def test_run_lengths_are_added_up_as_they_are_decoded(content, starts):
    head = struct.pack("<16I", len(starts), *(64 + one for one in starts), *[0] * (15 - len(starts)))
    ends = [*(64 + one for one in starts[1:]), 64 + len(content)]
    parts = [(head + content)[64 + start : end] for start, end in zip(starts, ends, strict=False)]
    most = max((len(_rle_decode_segment(part)) for part in parts), default=0)
    _limits.rle(head + content, most + 128)  # the last run may be cut off
    if most:
        with pytest.raises(_limits.TooMuch, match="longer than its pixels"):
            _limits.rle(head + content, most - 1)


def test_run_lengths_that_grow_without_end_are_refused(tmp_path):
    stream = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\7" * 200
    refused(wrapped(np.zeros((64, 64), np.uint8), stream, "1.2.840.10008.1.2.5"), "longer than its pixels", tmp_path)


def test_streams_that_cost_too_much_memory_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"7071 x 7071 pixels, stored so that reading them takes .* at most 400 MB"):
        _dicom.read(wrapped(np.zeros((64, 64), np.uint8), j2k(SIDE, SIDE), "1.2.840.10008.1.2.4.90").replace(
            b"(\0\x10\0US\2\0\x40\0(\0\x11\0US\2\0\x40\0",
            struct.pack("<6s2sH6s2sH", b"(\0\x10\0US", b"\2\0", SIDE, b"(\0\x11\0US", b"\2\0", SIDE)))  # fmt: skip


def test_a_deflated_bomb_is_not_inflated(tmp_path):
    from helpers import deflated

    bomb = deflated(radiograph(pixels=np.zeros(150_000_000, np.uint8)))
    assert len(bomb) < 200_000
    refused(bomb, "DICOM, deflated, and larger than 100 MB inside", tmp_path)


def test_pictures_wait_for_room():
    there, most, lock = [0], [0], threading.Lock()

    def work(cost):
        with _limits.room(cost):
            with lock:
                there[0] += cost
                most[0] = max(most[0], there[0])
            time.sleep(0)
            with lock:
                there[0] -= cost

    costs = [_limits.MAX_MEMORY // 3 + 1, _limits.MAX_MEMORY, 1000, _limits.MAX_MEMORY // 2] * 20
    threads = [threading.Thread(target=work, args=(cost,)) for cost in costs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _limits.MAX_MEMORY // 2 < most[0] <= _limits.MAX_MEMORY and _limits._taken == 0


PEAK = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from cxr_utils import dataset, images
from cxr_utils.errors import CxrError
folder = Path(sys.argv[1])
for path in sorted(folder.rglob("*.jpeg"))[:2]:
    try:
        images.read(path)
    except CxrError as error:
        print(error, file=sys.stderr)
try:
    images.cache(dataset.scan(folder, allow=1), folder, size=64)
except CxrError as error:
    print(error, file=sys.stderr)
print(sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)
"""


def peak(folder, content, copies):
    """Return the peak of a process that reads, scans and caches copies of a file, in MiB, with 8 threads."""
    place = folder / "chest_xray/train/NORMAL"
    place.mkdir(parents=True)
    for number in range(copies):
        (place / f"IM-{1000 + number}-0001.jpeg").write_bytes(content)
    preset = "import os; os.cpu_count = lambda: 8\n"
    root = Path(__file__).parents[1]
    command = measured.alone(sys.executable, "-c", preset + PEAK, str(folder))
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


HEAVY = {
    "png 16": lambda: gray_png(),
    "png rgba": lambda: gray_png(depth=8, colour=6),
    "png 16 rgb": lambda: gray_png(side=4000, depth=16, colour=2),
    "jpeg progressive": lambda: scans(10),
    "webp": lambda: picture("WEBP", "RGB", np.zeros((4000, 4800), np.uint8), lossless=True),
    "tiff": lambda: picture("TIFF", "RGBA", np.zeros((SIDE, SIDE), np.uint8), compression="tiff_adobe_deflate"),
    "jpeg 2000": lambda: compressed_zeros("JPEG 2000"),
    "rle": lambda: compressed_zeros("RLE"),
    "jpeg-ls": lambda: compressed_zeros("JPEG-LS"),
}


def compressed_zeros(how):
    return compressed(dcm(np.zeros((4300, 4300), np.uint8)), how)


@pytest.fixture(scope="module")
def plain_peak(tmp_path_factory):
    return peak(tmp_path_factory.mktemp("plain"), picture("PNG", pixels=np.zeros((224, 224), np.uint8)), 3)


QUICK = ("png 16", "png rgba", "jpeg 2000")


@pytest.mark.parametrize("kind", [one if one in QUICK else pytest.param(one, marks=pytest.mark.long) for one in HEAVY])
def test_no_small_file_takes_much_memory(tmp_path, plain_peak, kind):
    content = HEAVY[kind]()
    assert len(content) < 2**20
    assert peak(tmp_path, content, 6) - plain_peak < 500
