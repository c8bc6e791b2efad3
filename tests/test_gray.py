"""One picture in many encodings is one picture: pixel for pixel, and for the shipped network."""

import io
import struct
import warnings

import numpy as np
import pytest
from helpers import HAS_GDCM, SYNTAXES, compressed, dcm, deflated, saved, scaled, wrapped
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cxr_utils import _dicom, _gray, images, predict
from cxr_utils.errors import BadInput
from cxr_utils.sources import phantom


@pytest.fixture(scope="module")
def film():
    """Return a phantom that uses all of 0 to 255."""
    pixels = images.resize(phantom.draw("bacteria", seed=0).image, 240)[:, :200].astype(float)
    return np.ascontiguousarray(np.rint((pixels - pixels.min()) * 255 / np.ptp(pixels)).astype(np.uint8))


def tiff(stored, *, photometric=1, sample=1, bits=None):
    """Write a TIFF by hand: Pillow does not write all kinds."""
    stored = np.asarray(stored)
    entries = {256: stored.shape[1], 257: stored.shape[0], 258: bits or 8 * stored.itemsize, 259: 1, 262: photometric,
               273: 8, 277: 1, 278: stored.shape[0], 279: stored.nbytes, 339: sample}  # fmt: skip
    order = ">" if stored.dtype.byteorder == ">" else "<"
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", 8 + stored.nbytes)
    table = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries.items())
    return head + stored.tobytes() + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


def lut(data, bits, name="VOILUTSequence"):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(data) % 65536, 0, bits], data.astype("<u2").tobytes()
    return {name: [item]}


def rising(entries, top):
    return np.rint(np.linspace(0, top, entries))


def with_alpha(film):
    return Image.merge("LA", [Image.fromarray(film), Image.new("L", film.shape[::-1], 255)])


def palette(film):
    """Gray by a palette that is in no order."""
    order = np.random.default_rng(0).permutation(256).astype(np.uint8)
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[film], "L").convert("P")
    picture.putpalette(np.repeat(order, 3).tobytes())
    return picture


ENCODINGS = {
    # name: what makes the file of the film, and by how many of 255 a pixel may differ
    "png 8": (lambda x: saved(x), 0),
    "png rgb": (lambda x: saved(Image.fromarray(x).convert("RGB")), 0),
    "png palette": (lambda x: saved(palette(x)), 0),
    "png gray alpha": (lambda x: saved(with_alpha(x)), 0),
    "png rgb alpha": (lambda x: saved(Image.fromarray(x).convert("RGBA")), 0),
    **{f"png 16 holding {n}": (lambda x, n=n: saved(scaled(x, n)), 1) for n in (8, 9, 10, 11, 12, 13, 14, 16)},
    "bmp": (lambda x: saved(x, "BMP"), 0),
    "webp lossless": (lambda x: saved(Image.fromarray(x), "WEBP", lossless=True, exact=True), 1),
    "jpeg": (lambda x: saved(x, "JPEG", quality=97), 12),
    "jpeg progressive": (lambda x: saved(x, "JPEG", quality=97, progressive=True), 12),
    "tiff 8": (lambda x: saved(x, "TIFF"), 0),
    "tiff lzw": (lambda x: saved(x, "TIFF", compression="tiff_lzw"), 0),
    "tiff 8 white is zero": (lambda x: tiff(255 - x, photometric=0), 0),
    **{f"tiff 16 holding {n}": (lambda x, n=n: tiff(scaled(x, n)), 1) for n in (10, 12, 14, 16)},
    "tiff 16 big endian": (lambda x: tiff(scaled(x, 12).astype(">u2")), 1),
    **{f"tiff 16 white is zero, {n}": (lambda x, n=n: tiff(scaled(255 - x, n), photometric=0), 1) for n in (12, 16)},
    "tiff signed 16": (lambda x: tiff((scaled(x, 16).astype(int) - 32768).astype("<i2"), sample=2), 1),
    "tiff signed holding 12": (lambda x: tiff((scaled(x, 12).astype(int) - 2048).astype("<i2"), sample=2), 1),
    **{f"dicom {n}": (lambda x, n=n: dcm(x, n), 1) for n in (10, 12, 14, 16)},
    "dicom 8": (lambda x: dcm(x, 8, allocated=8), 0),
    "dicom 8 in 16": (lambda x: dcm(x, 8), 0),
    "dicom implicit": (lambda x: dcm(x, syntax="1.2.840.10008.1.2"), 1),
    "dicom big endian": (lambda x: big_endian(dcm(x)), 1),
    "dicom signed": (lambda x: dcm(x, signed=True), 1),
    "dicom signed 16": (lambda x: dcm(x, 16, signed=True), 1),
    "dicom says 16 holds 12": (lambda x: dcm(x, 12).replace(*bits_stored(12, 16)), 1),
    "dicom says 12 holds 16": (lambda x: dcm(x, 16).replace(*bits_stored(16, 12)), 1),
    "dicom high bit 15": (lambda x: dcm(x, 12, high=15, WindowCenter=2048, WindowWidth=4096), 1),
    "monochrome1": (lambda x: dcm(255 - x, PhotometricInterpretation="MONOCHROME1"), 1),
    "monochrome1 window": (
        lambda x: dcm(255 - x, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096), 1,
    ),
    "inverse": (lambda x: dcm(255 - x, PresentationLUTShape="INVERSE"), 1),
    "window": (lambda x: dcm(x, WindowCenter=2048, WindowWidth=4096), 1),
    "window signed": (lambda x: dcm(x, signed=True, WindowCenter=0, WindowWidth=4096), 1),
    "window exact": (
        lambda x: dcm(x, WindowCenter=2047.5, WindowWidth=4095, VOILUTFunction="LINEAR_EXACT"), 1,
    ),
    "window function empty": (lambda x: dcm(x, WindowCenter=2048, WindowWidth=4096, VOILUTFunction=""), 1),
    "window below 1": (
        lambda x: dcm(x, WindowCenter=0.5, WindowWidth=0.9999, RescaleSlope=str(1 / 4095)[:16], RescaleIntercept=0), 1,
    ),
    "window of no width": (lambda x: dcm(x, WindowCenter=0, WindowWidth=0), 1),
    "window rescaled": (
        lambda x: dcm(x, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=3072, WindowWidth=8192), 1,
    ),
    "rescaled downwards": (
        lambda x: dcm(255 - x, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096), 1,
    ),
    "voi lut 12": (lambda x: dcm(x, **lut(rising(4096, 4095), 12)), 1),
    "voi lut 16": (lambda x: dcm(x, **lut(rising(4096, 65535), 16)), 1),
    "voi lut 8": (lambda x: dcm(x, **lut(rising(4096, 255), 8)), 1),
    "voi lut says 16 holds 12": (lambda x: dcm(x, **lut(rising(4096, 4095), 16)), 1),
    "voi lut says 16 holds 11": (lambda x: dcm(x, **lut(rising(4096, 2047), 16)), 1),
    "voi lut inverts": (lambda x: dcm(255 - x, **lut(rising(4096, 4095)[::-1], 12)), 1),
    "voi lut 65536": (lambda x: dcm(x, 16, **lut(rising(65536, 65535), 16)), 1),
    "modality lut 12": (lambda x: dcm(x, **lut(rising(4096, 4095), 12, name="ModalityLUTSequence")), 1),
    "modality lut 16, window": (
        lambda x: dcm(x, WindowCenter=32768, WindowWidth=65536,
                      **lut(rising(4096, 65535), 16, name="ModalityLUTSequence")), 1,
    ),
    "deflated": (lambda x: deflated(dcm(x)), 1),
    "rle": (lambda x: compressed(dcm(x), "RLE"), 1),
    "rle 8": (lambda x: compressed(dcm(x, 8, allocated=8), "RLE"), 0),
    "dicom jpeg baseline": (lambda x: compressed(dcm(x, 8, allocated=8), "JPEG Baseline"), 12),
    "jpeg lossless": (lambda x: compressed(dcm(x), "JPEG Lossless"), 1),
    "jpeg lossless 14": (lambda x: compressed(dcm(x, 16), "JPEG Lossless 14"), 1),
    "jpeg lossless 8": (lambda x: compressed(dcm(x, 8, allocated=8), "JPEG Lossless"), 0),
    "jpeg lossless monochrome1": (
        lambda x: compressed(dcm(255 - x, PhotometricInterpretation="MONOCHROME1"), "JPEG Lossless"), 1,
    ),
    "jpeg-ls": (lambda x: compressed(dcm(x), "JPEG-LS"), 1),
    "jpeg-ls 16": (lambda x: compressed(dcm(x, 16), "JPEG-LS"), 1),
    "jpeg 2000": (lambda x: compressed(dcm(x), "JPEG 2000"), 1),
    "jpeg 2000 16": (lambda x: compressed(dcm(x, 16), "JPEG 2000"), 1),
    "jpeg 2000 signed": (lambda x: compressed(dcm(x, signed=True), "JPEG 2000"), 1),
    "jpeg 2000 8": (lambda x: compressed(dcm(x, 8, allocated=8), "JPEG 2000"), 0),
}  # fmt: skip

REFUSED = {
    "png 16 rgb holding 12": (lambda x: deep_colour(scaled(x, 12)), "16 bits a channel, of which at most 14"),
    "tiff signed white is zero": (
        lambda x: tiff((scaled(255 - x, 12).astype(int) - 2048).astype("<i2"), sample=2, photometric=0), "a TIFF whose",
    ),
    "tiff 32": (lambda x: saved(Image.fromarray(x.astype(np.int32) << 20), "TIFF"), "more than 16 bits"),
    "tiff floating": (lambda x: saved(Image.fromarray(x.astype(np.float32)), "TIFF"), "floating-point"),
    "dicom colour": (
        lambda x: dcm(x, 8, allocated=8, PhotometricInterpretation="PALETTE COLOR"), "in colour",
    ),
    "htj2k": (lambda x: wrapped(x, b"\xff\x4f", "1.2.840.10008.1.2.4.201"), "High-Throughput.*which is not read"),
    "jpeg extended 12": (lambda x: extended(x), "JPEG Extended.*12 bits, which is not read"),
    "lut cut off": (lambda x: dcm(x, **lut_cut()), "its lookup table is not whole"),
}  # fmt: skip


def big_endian(content):
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content))
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    target = io.BytesIO()
    pydicom.dcmwrite(target, dataset, implicit_vr=False, little_endian=False)
    return target.getvalue()


def bits_stored(old, new):
    """Return what stands for BitsStored and HighBit, and what should."""

    def element(bits):
        return b"(\0\x01\x01US\x02\0" + bits.to_bytes(2, "little") + b"(\0\x02\x01US\x02\0" + bytes([bits - 1, 0])

    return element(old), element(new)


def deep_colour(stored):
    """Write a PNG of three channels of 16 bits."""
    from helpers import png

    height, width = stored.shape
    rows = np.repeat(stored.astype(">u2")[:, :, None], 3, axis=2).reshape(height, -1)
    return png(width, height, depth=16, colour=2, data=b"".join(b"\0" + row.tobytes() for row in rows))


def extended(film):
    frame = saved(film, "JPEG")
    at = frame.index(b"\xff\xc0")
    frame = frame[:at] + b"\xff\xc1" + frame[at + 2 : at + 4] + b"\x0c" + frame[at + 5 :]
    return wrapped(film, frame, "1.2.840.10008.1.2.4.51")


def lut_cut():
    from pydicom.dataset import Dataset

    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 12], bytes(500)
    return {"VOILUTSequence": [item]}


def made(film, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that DICOM does not allow
        return (ENCODINGS | REFUSED)[name][0](film)


@pytest.mark.parametrize("name", ENCODINGS)
def test_one_picture_in_every_encoding(film, tmp_path, name):
    content = made(film, name)
    path = tmp_path / "film"
    path.write_bytes(content)
    picture, remarks = images.look(path)
    assert picture.shape == film.shape and picture.dtype == np.uint8 and picture.flags.writeable
    assert np.abs(picture.astype(int) - film).max() <= ENCODINGS[name][1]
    assert images.check(content, path)[:2] == film.shape[::-1]
    assert [one for one in remarks if "window" in one] == remarks and bool(remarks) == (name == "window of no width")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_its_true_reason(film, tmp_path, name):
    path = tmp_path / "film"
    path.write_bytes(made(film, name))
    with pytest.raises(BadInput, match=REFUSED[name][1]):
        images.read(path)


def test_the_shipped_network_gives_one_probability(film, tmp_path):
    assert len(ENCODINGS) >= 30
    try:
        predictor = predict.load()
    except BadInput as error:
        pytest.skip(f"no shipped network: {error}")
    names = [name for name in ENCODINGS if HAS_GDCM or not name.startswith(("jpeg l", "jpeg-", "jpeg 2"))]
    paths = [tmp_path / f"{number}" for number in range(len(names))]
    for name, path in zip(names, paths, strict=True):
        path.write_bytes(made(film, name))
    answers = list(predict.predict(predictor, paths))
    found = {name: one.probability for name, one in zip(names, answers, strict=True)}
    assert not [name for name, one in zip(names, answers, strict=True) if one.error]
    assert max(abs(value - found["png 8"]) for value in found.values()) < 0.01, found


def test_without_its_decoder_the_package_is_named(film, monkeypatch):
    frame = bytes.fromhex("ffd8ffc3000b0c00f000c801011100ffda0008010100010000ffd9")
    content = wrapped(film, frame, SYNTAXES["JPEG Lossless"])
    monkeypatch.setattr(_dicom, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="compressed as JPEG Lossless.*not installed: pip install python-gdcm"):
        _dicom.read(content)
    with pytest.raises(ValueError, match="compressed as JPEG-LS Loss.*not installed: pip install pyjpegls"):
        _dicom.read(content.replace(SYNTAXES["JPEG Lossless"].encode(), SYNTAXES["JPEG-LS"].encode()))


@pytest.mark.parametrize("how", ["JPEG Lossless", "JPEG-LS", "JPEG 2000", "RLE"])
def test_damaged_streams_end_no_process(film, how):
    content, rng = compressed(dcm(film[:40, :50]), how), np.random.default_rng(0)
    start = content.index(b"\xfe\xff\0\xe0", content.rindex(b"\xe0\x7f\x10\0"))
    for _ in range(40 if how == "JPEG Lossless" else 200):
        broken = bytearray(content)
        for place in rng.integers(start, len(content), 5):
            broken[place] = rng.integers(256)
        try:
            assert _dicom.read(bytes(broken))[0].shape == (40, 50)
        except ValueError as error:
            assert str(error).startswith("DICOM, ") and str(error).isprintable()


@given(st.integers(8, 16), st.integers(0, 2**16 - 1))
def test_values_are_spread_over_what_their_bits_hold(bits, high):
    table = _gray.of_range(0, high, bits=bits)
    assert table[0] == 0 and table[2**bits - 1 :].min() == 255 and (np.diff(table.astype(int)) >= 0).all()
    inverted = _gray.of_range(0, high, bits=bits, white_is_zero=True)
    assert np.abs(inverted.astype(int) - (255 - table.astype(int))).max() <= 1


def test_sixteen_bits_are_scaled_as_before():
    assert np.array_equal(_gray.of_range(0, 65535), (_gray.CODES + 128) // 257)
