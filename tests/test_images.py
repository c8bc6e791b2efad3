"""Reading, resizing, the cache, and augmentation against scipy and Keras."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxr_utils import dataset, images
from cxr_utils.errors import BadInput

RAMP = np.add.outer(np.arange(40) * 2, np.arange(60) * 2).astype(np.uint8)


def save(path, picture, **options):
    picture.save(path, **options)
    return path


def test_read_gray_and_colour(tmp_path):
    gray = Image.fromarray(RAMP)
    assert np.array_equal(images.read(save(tmp_path / "a.png", gray)), RAMP)
    assert np.array_equal(images.read(save(tmp_path / "b.png", gray.convert("RGB"))), RAMP)
    colour = np.dstack([RAMP, 255 - RAMP, RAMP // 2])
    luma = np.array(Image.fromarray(colour).convert("L"))
    assert np.array_equal(images.read(save(tmp_path / "c.png", Image.fromarray(colour))), luma)
    jpeg = images.read(save(tmp_path / "d.jpeg", Image.fromarray(colour), quality=100, subsampling=0))
    assert jpeg.dtype == np.uint8 and np.abs(jpeg.astype(int) - luma).max() <= 3
    jpeg[0, 0] = 1  # a fresh array, open to changes


def test_read_sixteen_bits(tmp_path):
    deep = RAMP.astype(np.uint16) * 257
    assert np.array_equal(images.read(save(tmp_path / "a.png", Image.fromarray(deep))), RAMP)
    assert np.array_equal(images.read(save(tmp_path / "b.tiff", Image.fromarray(deep))), RAMP)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "RGBA", "LA", "YCbCr"])
def test_read_other_modes(tmp_path, mode):
    suffix = {"CMYK": "jpeg", "YCbCr": "jpeg"}.get(mode, "png")
    flat = Image.new("L", (20, 10), 255).convert(mode)
    pixels = images.read(save(tmp_path / f"a.{suffix}", flat))
    assert pixels.shape == (10, 20) and pixels.dtype == np.uint8 and pixels.min() >= 253


def test_transparency_lies_over_black(tmp_path):
    image = Image.new("RGBA", (4, 2), (255, 255, 255, 0))
    image.putpixel((0, 0), (255, 255, 255, 255))
    assert images.read(save(tmp_path / "a.png", image)).tolist() == [[255, 0, 0, 0], [0, 0, 0, 0]]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 255, 255, 200, 200, 200])
    palette.putpixel((1, 0), 1)
    path = save(tmp_path / "b.png", palette, transparency=0)
    assert images.read(path).tolist() == [[0, 200]]


@pytest.mark.parametrize(("orientation", "shape"), [(1, (40, 60)), (3, (40, 60)), (6, (60, 40)), (8, (60, 40))])
def test_exif_orientation(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpeg", Image.fromarray(RAMP), exif=exif, quality=95)
    pixels = images.read(path)
    expected = {1: RAMP, 3: RAMP[::-1, ::-1], 6: np.rot90(RAMP, -1), 8: np.rot90(RAMP)}[orientation]
    assert pixels.shape == shape and np.abs(pixels.astype(int) - expected).mean() < 2
    assert images.check(path.read_bytes(), path)[:2] == shape[::-1]


@pytest.mark.parametrize("at_least", [1, 30, 64, 128, 500])
def test_scaled_decoding_keeps_both_sides(tmp_path, at_least):
    rows, columns = np.mgrid[:512, :800]
    smooth = (127 + 100 * np.sin(rows / 40) * np.cos(columns / 55)).astype(np.uint8)
    path = save(tmp_path / "a.jpeg", Image.fromarray(smooth), quality=95)
    pixels = images.read(path, at_least=at_least)
    assert min(pixels.shape) >= at_least
    assert pixels.shape == {1: (64, 100), 30: (64, 100), 64: (64, 100), 128: (128, 200), 500: (512, 800)}[at_least]
    full, scaled = (images.resize(image, 48).astype(int) for image in (smooth, pixels))
    assert np.abs(full - scaled).mean() < 1.5


def test_unreadable_files_are_named(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))
    whole = save(tmp_path / "whole.jpeg", noise).read_bytes()
    cases = {
        "cut.jpeg": whole[:400],
        "empty.jpeg": b"",
        "text.png": b"hello",
        "cut.png": save(tmp_path / "whole.png", noise).read_bytes()[:900],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        for call in (lambda path: images.read(path), lambda path: images.check(path.read_bytes(), path)):
            with pytest.raises(BadInput, match=name) as caught:
                call(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match=r"gone\.png: there is no such file"):
        images.read(tmp_path / "gone.png")
    with pytest.raises(BadInput):
        images.read(tmp_path)
    floating = save(tmp_path / "f.tiff", Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(BadInput, match=r"f\.tiff.*floating"):
        images.read(floating)


def test_huge_images_are_refused_before_decoding(tmp_path, monkeypatch):
    path = save(tmp_path / "huge.png", Image.new("1", (8000, 7000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("it was decoded"))
    for call in (images.read, lambda path: images.check(path.read_bytes(), path)):
        with pytest.raises(BadInput, match=r"huge\.png: 8000 x 7000 pixels"):
            call(path)


def test_resize_squash_and_pad():
    assert np.array_equal(images.resize(RAMP[:40, :40], 40), RAMP[:40, :40])
    blocks = np.kron(np.array([[10, 20], [30, 40]], np.uint8), np.ones((6, 4), np.uint8))
    assert images.resize(blocks, 2).tolist() == [[10, 20], [30, 40]]
    padded = images.resize(np.full((20, 40), 200, np.uint8), 16, how="pad")
    assert padded[:4].max() == padded[12:].max() == 0 and padded[4:12].min() == 200
    upright = images.resize(np.full((40, 10), 200, np.uint8), 16, how="pad")
    assert upright.sum() == 200 * 16 * 4 and upright[:, 6:10].min() == 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.data(), st.integers(0, 99))
def test_averages_by_sums_are_those_of_opencv(height, width, data, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    small = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    ours = images._average(pixels, *small).astype(int)
    difference = np.abs(ours - cv2.resize(pixels, small, interpolation=cv2.INTER_AREA))
    # Where both ways round the same mean to different sides, it lies half way.
    assert difference.max() <= 1


def test_sums_of_the_largest_picture_fit():
    white = np.full((1, images._LARGE.stop - 1), 255, np.uint8)
    assert (images._average(white, 7, 1) == 255).all() and white.size + 1 not in images._LARGE


def test_small_pictures_stay_as_opencv_makes_them():
    """The kept runs were trained on copies of 224 px: their pixels must never change."""
    noise = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    assert np.array_equal(images.resize(noise, 224), noise)
    for size in (48, 64, 96, 180):
        expected = cv2.resize(noise, (size, size), interpolation=cv2.INTER_AREA)
        assert np.array_equal(images.resize(noise, size), expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.sampled_from(images.RESIZING))
def test_resize_keeps_shape_and_range(height, width, size, how):
    pixels = images.resize(np.full((height, width), 77, np.uint8), size, how=how)
    assert pixels.shape == (size, size) and pixels.dtype == np.uint8
    assert set(np.unique(pixels)) <= ({0, 77} if how == "pad" else {77}) and pixels.max() == 77


@pytest.mark.parametrize(
    "call",
    [
        lambda: images.resize(RAMP, 0),
        lambda: images.resize(RAMP, 2.5),
        lambda: images.resize(RAMP, 8, how="crop"),
        lambda: images.resize(RAMP[:, :, None], 8),
        lambda: images.resize(RAMP / 255, 8),
        lambda: images.cache(None, "x", how="crop"),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(BadInput):
        call()


@given(height=st.integers(65, 300), width=st.integers(65, 300))
@settings(max_examples=20, deadline=None)
def test_nearest_is_that_of_pillow(height, width):
    picture = np.random.default_rng(height * width).integers(0, 256, (height, width), dtype=np.uint8)
    theirs = Image.fromarray(picture).resize((64, 64), Image.Resampling.NEAREST)
    assert np.array_equal(images.resize(picture, 64, interpolation="nearest"), theirs)


def test_bilinear_is_that_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    picture = np.random.default_rng(0).integers(0, 256, (301, 157), dtype=np.uint8)
    theirs = tf.image.resize(picture[..., None].astype("float32"), (64, 64)).numpy()[..., 0]
    ours = images.resize(picture, 64, interpolation="bilinear")
    assert np.abs(ours - theirs).max() <= 1


def test_a_cache_by_nearest_holds_pixels_of_the_files_and_stands_beside_the_other(tiny, tiny_index):
    area, nearest = (images.cache(tiny_index, tiny, size=16, interpolation=how) for how in ("area", "nearest"))
    assert area.filename != nearest.filename and (area != nearest).any()
    for row, path in enumerate(tiny_index["path"][:4]):
        whole = images.read(tiny / path)
        assert np.isin(nearest[row], whole).all()
        assert np.array_equal(nearest[row, :, :, 0], images.resize(whole, 16, interpolation="nearest"))
    with pytest.raises(BadInput, match="interpolation: 'lanczos'.*nearest"):
        images.cache(tiny_index, tiny, size=16, interpolation="lanczos")


def test_cache_holds_the_images_in_index_order(tiny, tiny_index):
    pixels = images.cache(tiny_index, tiny, size=24, how="pad")
    assert pixels.shape == (len(tiny_index), 24, 24, 1) and pixels.dtype == np.uint8
    assert isinstance(pixels, np.memmap) and not pixels.flags.writeable
    for row in (0, 20, len(tiny_index) - 1):
        image = images.read(tiny / tiny_index["path"][row], at_least=48)
        assert np.array_equal(pixels[row, :, :, 0], images.resize(image, 24, how="pad"))
    part = images.cache(tiny_index[30:10:-5], tiny, size=24, how="pad")
    assert np.array_equal(part, pixels[30:10:-5])


def test_cache_is_reused_and_made_again(tiny, tiny_index, monkeypatch):
    images.cache(tiny_index, tiny, size=16)
    made = sorted((tiny / "cache").glob("*.npy"))
    note = json.loads(made[0].with_suffix(".json").read_text())
    assert note == {
        "index": note["index"],
        "images": len(tiny_index),
        "size": 16,
        "how": "squash",
        "version": images._VERSION,
        "signature": note["signature"],
    }
    with monkeypatch.context() as patch:
        patch.setattr(images, "_fill", None)  # making it again would fail
        images.cache(tiny_index, tiny, size=16)
    images.cache(tiny_index, tiny, size=16, how="pad")
    images.cache(tiny_index, tiny, size=17)
    images.cache(tiny_index[1:], tiny, size=16)
    changed = tiny_index.copy()
    changed.loc[0, "sha256"] = "0" * 64
    images.cache(changed, tiny, size=16)
    assert len(list((tiny / "cache").glob("*.npy"))) == 5
    monkeypatch.setattr(images, "_VERSION", images._VERSION + 1)
    images.cache(tiny_index, tiny, size=16)
    assert len(list((tiny / "cache").glob("*.npy"))) == 6


def test_several_makers_of_one_cache(tiny, tiny_index):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: np.array(images.cache(tiny_index, tiny, size=16)), range(4)))
    assert all(np.array_equal(made[0], other) for other in made)
    assert len(list((tiny / "cache").glob("*.npy"))) == 1


@pytest.mark.parametrize("gone", [".npy", ".json"])
def test_a_cache_without_its_half_is_made_again(tiny, tiny_index, gone):
    good = np.array(images.cache(tiny_index, tiny, size=16))
    (array,) = (tiny / "cache").glob("*.npy")
    array.with_suffix(gone).unlink()
    assert np.array_equal(images.cache(tiny_index, tiny, size=16), good)


@pytest.mark.parametrize(
    "changed", ["cut", "other shape", "other index", "one row", "objects", "note", "note cut", "note of a list"]
)
def test_a_changed_cache_is_made_again_and_says_so(tiny, tiny_index, changed):
    good = np.array(images.cache(tiny_index, tiny, size=16))
    (array,) = (tiny / "cache").glob("*.npy")
    if changed == "cut":
        array.write_bytes(array.read_bytes()[:2000])
    elif changed == "other shape":
        np.save(array, good[:3])
    elif changed == "other index":  # the same images in another order: all that is known of it fits
        np.save(array, good[::-1])
    elif changed == "one row":
        np.save(array, np.concatenate([good[:30], good[:1], good[31:]]))
    elif changed == "objects":
        np.save(array, np.array([print], dtype=object), allow_pickle=True)
    else:
        note = json.loads(array.with_suffix(".json").read_text())
        note = {"note": json.dumps(note | {"signature": "0" * 16}), "note cut": '{"size"', "note of a list": "[1]"}
        array.with_suffix(".json").write_text(note[changed])
    with pytest.warns(UserWarning, match=f"{array.name}: not as it was written.*made again"):
        assert np.array_equal(images.cache(tiny_index, tiny, size=16), good)


def test_the_signature_of_a_long_cache_sees_another_one(tmp_path):
    path = tmp_path / "long.npy"
    rows = np.random.default_rng(0).integers(0, 256, (400, 112, 112, 1), dtype=np.uint8)  # 5 MB, of which 1 is read
    np.save(path, rows)
    seen = {images._signature(path)}
    for other in (rows[::-1], rows[:-1], np.roll(rows, 1, axis=0), np.where(np.arange(400)[:, None, None, None] < 200,
                                                                         rows, 255 - rows)):  # fmt: skip
        np.save(path, other)
        seen.add(images._signature(path))
    assert len(seen) == 5


def test_a_cache_names_the_image_that_fails(tiny, tiny_index):
    path = tiny_index["path"][7]
    (tiny / path).write_bytes(b"gone bad")
    with pytest.raises(BadInput, match=rf"{path.rpartition('/')[2]}.*changed since.*refresh=True"):
        images.cache(tiny_index, tiny, size=16)
    assert not [path for path in (tiny / "cache").iterdir() if path.suffix in (".npy", ".json")]
    with pytest.raises(BadInput, match="at least one"):
        images.cache(tiny_index[:0], tiny, size=16)


def test_originals_decode_as_by_full_size(originals):
    index = dataset.scan(originals)
    assert set(index["mode"]) == {"L", "RGB"} and len(index) == 56
    for path in index["path"][::8]:
        with Image.open(originals / path) as image:
            plain = images.resize(np.array(image.convert("L")), 224).astype(int)
        pixels = images.read(originals / path, at_least=448)
        assert np.abs(images.resize(pixels, 224) - plain).mean() < 0.5
        if min(pixels.shape) >= 224:
            by_opencv = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA).astype(int)
            changed = np.abs(images.resize(pixels, 224) - by_opencv)
            assert changed.max() <= 1 and (changed > 0).mean() < 1e-3  # 1e-4 in all 55
