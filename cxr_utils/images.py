"""Image files to arrays: the one reader, the resizing, and the image cache."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tomllib
import warnings
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from cxr_utils import _dicom, _gray, _limits, _machine, files
from cxr_utils._limits import MAX_BYTES, MAX_PIXELS
from cxr_utils.errors import BadInput, one_of, printable

if TYPE_CHECKING:
    import pandas as pd

#: What Pillow may open; some of its other readers start programs or are hardly looked after.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
SUFFIXES = (".jpeg", ".jpg", ".jfif", ".jpe", ".png", ".tif", ".tiff", ".bmp", ".webp")
RESIZING = ("squash", "pad")
#: How a picture may be shrunk. Only "area" averages what it leaves out.
INTERPOLATIONS = {"area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST_EXACT, "bilinear": cv2.INTER_LINEAR}

# Pillow's blocks of 16 MB stay with each thread that freed them (glibc); larger ones go back to the system at once.
Image.core.set_block_size(64 * 2**20)

_VERSION = 2  # of the pixels in a cache, kept in its note; a new one makes old caches to be made again
# 1: areas of any picture averaged by OpenCV. 2: those of large ones by `_average`.
_LARGE = range(2**18, 2**23)  # pixels; above, the sums would leave 32 bits
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1], 5: lambda x: x.T,
    6: lambda x: x[::-1].T, 7: lambda x: x[::-1, ::-1].T, 8: lambda x: x.T[::-1],
}  # fmt: skip
_JPEG_KINDS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # what libjpeg-turbo decodes
_OTHERS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["others"]


def read(path: str | Path, *, at_least: int | None = None) -> np.ndarray:
    """Read an image file as grayscale; what the file holds counts, not how its name ends.

    Colour is turned to luma (ITU-R 601: .299 R + .587 G + .114 B), transparency is laid over black, 16 bits are
    scaled to 8 by the bits that the values need (`cxr_utils._gray.bits_used`), and the EXIF orientation is applied.
    Of DICOM see `cxr_utils._dicom.read`, of the bounds `cxr_utils._limits`.

    Parameters
    ----------
    path : str or Path
        A JPEG, PNG, TIFF, BMP, WebP or DICOM file.
    at_least : int, optional
        Pixels that each side must have. A larger JPEG is then decoded at 1/2, 1/4 or 1/8 of its size,
        as far as both sides keep `at_least`: several times as fast, and free of aliasing.

    Returns
    -------
    ndarray
        uint8 in [0, 255], shape (h, w).

    Raises
    ------
    BadInput
        The file is missing, not a readable image, or asks for more than `cxr_utils._limits` allows.

    Warns
    -----
    UserWarning
        A DICOM file shows what no model here has seen: another age, view or body part.

    Examples
    --------
    >>> read(folder / index["path"][0]).shape
    (542, 601)
    """
    return _warned(path, at_least)


def _warned(path: str | Path, at_least: int | None, then: Callable[[np.ndarray], Any] = np.asarray) -> Any:
    made, remarks = look(path, at_least=at_least, then=then)
    for remark in remarks:
        warnings.warn(f"{printable(path)}: {remark}", stacklevel=3)
    return made


def look(
    path: str | Path, *, at_least: int | None = None, then: Callable[[np.ndarray], Any] = np.asarray,
    content: bytes | None = None,
) -> tuple[Any, list[str]]:  # fmt: skip
    """Read an image file as `read` does, and return the remarks on a DICOM file instead of warning.

    Parameters
    ----------
    path, at_least
        As for `read`.
    then : callable, optional
        What is made of the picture, such as a small copy of it. Threads that read large pictures wait for each other
        until it is done, so that only some lie in memory at once.
    content : bytes, optional
        Of the file, where it was read already, such as from an archive; `path` is only named then.

    Returns
    -------
    made : ndarray
        uint8 in [0, 255], shape (h, w), or what `then` returns for it.
    remarks : list of str
        As `cxr_utils._dicom.read`; empty for other files.

    Raises
    ------
    BadInput
        As `read`.

    Examples
    --------
    >>> picture, remarks = look(folder / index["path"][0])
    >>> picture.dtype, remarks
    (dtype('uint8'), [])
    """
    content = read_bytes(path) if content is None else content
    if _dicom.is_dicom(content):
        with _film(content, path) as (picture, remarks):
            return then(picture), remarks
    with _opened(content, path) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            image.draft("L", (at_least, at_least) if at_least else image.size)
        return then(_to_gray(image)), []


def check(content: bytes, name: str | Path) -> tuple[int, int, str]:
    """Check that a file's content is an image that can be read, by reading it.

    Parameters
    ----------
    content : bytes
        The whole file.
    name : str or Path
        What errors call it.

    Returns
    -------
    tuple
        Width and height in pixels, as shown, and Pillow's mode, such as "L" or "RGB" ("L" for DICOM).

    Raises
    ------
    BadInput
        It is not; the message starts with `name`.

    Examples
    --------
    >>> path = folder / index["path"][0]
    >>> check(path.read_bytes(), path.name)
    (601, 542, 'L')
    """
    if _dicom.is_dicom(content):
        with _film(content, name) as (picture, _):
            height, width = picture.shape
        return width, height, "L"
    with _opened(content, name) as image:
        width, height = image.size
        if image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8):  # lies on its side
            width, height = height, width
        mode = image.mode
        if image.format == "JPEG" and mode in ("L", "RGB"):
            image.draft("L", (max(1, width // 8), max(1, height // 8)))
        _to_gray(image)
    return width, height, mode


def read_bytes(path: str | Path) -> bytes:
    r"""Read a file that should be an image, if it is a file and no larger than `MAX_BYTES`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    BadInput
        It is missing, may not be read, is too large, or is no file (a folder, a pipe, a device).

    Examples
    --------
    >>> read_bytes(folder / index["path"][0])[:2]
    b'\xff\xd8'
    """
    path = Path(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
            raise BadInput(f"{printable(path)}: is {kind}, not a file")
        if found.st_size > MAX_BYTES:
            raise BadInput(f"{printable(path)}: {found.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except BadInput:
        raise
    except FileNotFoundError:
        reason = "is a link to nothing" if path.is_symlink() else "there is no such file"
        raise BadInput(f"{printable(path)}: {reason}") from None
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"{printable(path)}: can't be read ({reason.lower()})") from None


@contextmanager
def _film(content: bytes, name: str | Path) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Read a DICOM file, and keep its room in memory until the block ends."""
    with ExitStack() as stack:
        try:
            film = _dicom.parse(content, most_pixels=MAX_PIXELS)
            stack.enter_context(_limits.room(film.cost))
            found = _dicom.decode(film)
        except ValueError as error:
            raise BadInput(f"{printable(name)}: can't be read as an image ({error})") from None
        yield found


@contextmanager
def _opened(content: bytes, name: str | Path) -> Iterator[Image.Image]:
    """Open an image, and keep its room in memory; whatever is wrong with it, also in the block, is a BadInput.

    What it declares is checked before Pillow sees it (parts, scans) or decodes it (pixels, memory).

    Raises
    ------
    BadInput
        The message starts with `name`.
    """  # noqa: DOC501 (its ValueError is one of the reasons that a BadInput gives)
    name = printable(name)
    try:
        declared = _limits.jpeg(content) if content.startswith(b"\xff\xd8") else None
        if declared and declared.kind not in _JPEG_KINDS:
            raise ValueError("a lossless or other rare kind of JPEG; save it as an ordinary JPEG, or as PNG")
        if content.startswith(b"\x89PNG"):
            _limits.png(content)
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        with _limits.room(_cost(image, declared)), closing(image):  # which lets go of its memory, too
            yield image
    except BadInput:
        raise
    except _limits.TooMuch as error:
        raise BadInput(f"{name}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInput(f"{name}: far too many pixels; at most {MAX_PIXELS:,} in all are read") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken files
        if not content:
            reason = "empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = _unknown(content)
        else:
            reason = " ".join(printable(error).split()) or type(error).__name__
        raise BadInput(f"{name}: can't be read as an image ({reason})") from error


def _cost(image: Any, declared: _limits.Declared | None) -> int:
    """Return the bytes that reading an image takes at its peak, by its header; out of bounds is refused."""
    each, more = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4), 0
    if image.format == "JPEG" and image.mode == "RGB":
        each = 1  # it is decoded as gray
    if declared and declared.whole:
        each += 2 * declared.components
    elif image.format == "BMP" and "rle" in image.tile[0][0]:
        each, more = 3, 2 * 255 * image.width  # one step may skip 255 rows, and Pillow copies what came of it
    elif image.format == "WEBP":
        each = 20  # five canvases of four bytes
    elif image.format == "TIFF":
        tags, (width, height) = image.tag_v2, image.size
        area = tags.get(322, width) * tags.get(323, min(tags.get(278, height), height))  # a tile or strip, as it lies
        each, more = 2 * each, area * sum(tags.get(258, (1,))) // 8  # Pillow turns it upright in a copy
    return _limits.afford(image.width, image.height, each + 1, more)


def _unknown(content: bytes) -> str:
    """Say what a file is that Pillow does not open."""
    if content[:4] in (b"II*\0", b"MM\0*"):
        return "a TIFF whose bits, colours or compression are not read; save it with 8 or 16 bits for a pixel"
    for start, kind in ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"), (b"BM", "BMP")):
        if content.startswith(start):
            return f"a {kind} that is cut off or damaged"
    head = content[:400]
    kind = next((kind for start, kind in _OTHERS.items() if re.match(start.encode(), head, re.DOTALL)), "")
    return f"{kind + ' is not read' if kind else 'of no known format'}; save it as JPEG, PNG, TIFF, BMP, WebP or DICOM"


def _to_gray(image: Any) -> np.ndarray:
    """Turn a Pillow image of any mode to uint8 (h, w), upright; part by part, for a copy in colour takes much room."""
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    raw = str(image.tile[0].args) if image.tile else ""  # how the file stores pixels
    image.load()
    width, height = image.size
    table = _table(image, raw) if image.mode.startswith("I") else None
    picture, top = np.empty((height, width), np.uint8), 0
    for rows in _gray.parts(height, width):
        part = image.crop((0, rows.start, width, rows.stop))
        if table is not None:
            np.take(table, np.asarray(part), out=picture[rows], mode="wrap")
            continue
        if ";16" in raw:
            top = max(top, *(band.getextrema()[1] for band in part.split()[: 3 - 2 * part.mode.startswith("L")]))
        picture[rows] = np.asarray(_luma(part))
    if ";16" in raw and table is None and top < 64:  # of the upper eight bits
        raise ValueError("16 bits a channel, of which at most 14 are used; save it with 8, or as grayscale")
    turn = _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    return picture if turn is None else np.ascontiguousarray(turn(picture))


def _table(image: Any, raw: str) -> np.ndarray:
    """Make the table of what 16 bits mean in a PNG or TIFF."""
    low, high, (width, height) = 2**16, -(2**16), image.size
    for rows in _gray.parts(height, width):
        part = np.asarray(image.crop((0, rows.start, width, rows.stop)))
        low, high = min(low, int(part.min())), max(high, int(part.max()))
    if low < -(2**15) or high > (2**16 - 1 if low >= 0 else 2**15 - 1):
        raise ValueError("more than 16 bits for a pixel; save it with 8 or 16 bits")
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(262) == 0
    return _gray.of_range(low, high, bits=12 if "I;12" in raw else None, white_is_zero=white_is_zero)


def _luma(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return image if image.mode == "L" else image.convert("L")


def resize(image: np.ndarray, size: int, *, how: str = "squash", interpolation: str = "area") -> np.ndarray:
    """Resize a grayscale image to a square.

    Sides that shrink are averaged over areas, sides that grow are interpolated linearly. In large pictures a
    mean that lies between two whole numbers may go to the other one than OpenCV's. Other ways are there to repeat
    what others did: they leave out pixels of a large picture, and edges get jagged.

    Parameters
    ----------
    image : ndarray
        uint8, shape (h, w).
    size : int
        Pixels a side of the result.
    how : {"squash", "pad"}
        "squash" stretches both sides to `size`; "pad" keeps the proportions and fills with black.
    interpolation : {"area", "nearest", "bilinear"}
        "nearest" is Pillow's, and so that of Keras' image generators; "bilinear" that of ``tf.image.resize``.

    Returns
    -------
    ndarray
        uint8 in [0, 255], shape (size, size).

    Raises
    ------
    BadInput
        `image`, `size`, `how` or `interpolation` is not of this kind.

    Examples
    --------
    >>> resize(np.full((2, 4), 9, np.uint8), 4, how="pad")[:, 0].tolist()
    [0, 9, 9, 0]
    """
    _check_settings(size, how, interpolation)
    if image.ndim != 2 or image.dtype != np.uint8 or not image.size:
        raise BadInput(f"image: {image.dtype} of shape {image.shape}; expected uint8 of shape (h, w)")
    height, width = image.shape
    new_height = new_width = size
    if how == "pad":
        new_height, new_width = (max(1, round(side * size / max(height, width))) for side in (height, width))
    small = (min(width, new_width), min(height, new_height))
    if interpolation == "area" and image.size in _LARGE:
        image = _average(image, *small)
    else:
        image = cv2.resize(image, small, interpolation=INTERPOLATIONS[interpolation])
    if small != (new_width, new_height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    if how == "squash":
        return image
    above, before = (size - new_height) // 2, (size - new_width) // 2
    return np.pad(image, ((above, size - new_height - above), (before, size - new_width - before)))


def _average(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Average over areas as OpenCV's INTER_AREA does, in half its time where a picture is large.

    The sums of all pixels above and left of a point [1]_ are linear between pixels, so those at the corners of an
    area give its sum, wherever they lie.

    References
    ----------
    .. [1] Crow, Summed-area tables for texture mapping, SIGGRAPH 1984.
    """
    sums = cv2.integral(image)

    def corners(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
        places = np.arange(new + 1) * (old / new)
        whole = np.minimum(places.astype(np.intp), old - 1)
        return whole, places - whole

    (rows, down), (columns, right) = corners(image.shape[0], height), corners(image.shape[1], width)

    def at(rows: np.ndarray) -> np.ndarray:
        line = sums.take(rows, axis=0)
        left = line.take(columns, axis=1)
        return left + (line.take(columns + 1, axis=1) - left) * right

    above = at(rows)
    above += (at(rows + 1) - above) * down[:, None]
    return np.rint(np.diff(np.diff(above, axis=0), axis=1) * (width * height / image.size)).astype(np.uint8)


def _check_settings(size: int, how: str, interpolation: str) -> None:
    if not isinstance(size, (int, np.integer)) or not 1 <= size <= 4096:
        raise BadInput(f"size: {size!r}; expected whole pixels from 1 to 4096")
    one_of("how", how, RESIZING)
    one_of("interpolation", interpolation, INTERPOLATIONS)


def cache(
    index: pd.DataFrame, folder: str | Path, *, size: int = 224, how: str = "squash", interpolation: str = "area",
    progress: bool = False,
) -> np.ndarray:  # fmt: skip
    """Decode and resize all images once, and keep them as one array on disk.

    The array is ``folder/cache/<size>-<how>-<digest>.npy``; the JSON beside it says from which index,
    settings and version of the reader it was made. Another index or setting makes another array.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`, or rows of it; ``path`` and ``sha256`` are used.
    folder : str or Path
        The folder that the paths are relative to.
    size : int
        Pixels a side.
    how, interpolation
        See `resize`.
    progress : bool
        Show a bar.

    Returns
    -------
    memmap
        uint8 in [0, 255], shape (n, size, size, 1), read-only, rows in the order of `index`.

    Raises
    ------
    BadInput
        A setting is wrong, or an image can't be read any more; the message names it.

    Warns
    -----
    UserWarning
        The kept array or its note is not as it was written; it is made again. Or the folder may not be written into,
        as one that many share: then the array is made in memory, each time.

    Examples
    --------
    >>> made = cache(index, folder, size=32)
    >>> made.shape, made.dtype
    ((60, 32, 32, 1), dtype('uint8'))
    """
    _check_settings(size, how, interpolation)
    folder = files.resolve(folder)
    content = files.digest("\n".join(f"{row.path} {row.sha256}" for row in index.itertuples()))
    settings = {"index": content, "images": len(index), "size": int(size), "how": how, "version": _VERSION}
    if interpolation != "area":
        settings["interpolation"] = interpolation
        how = f"{how}-{interpolation}"
    name = f"{size}-{how}-{files.digest(f'{content} {_VERSION}', length=12)}"
    array, note = folder / "cache" / f"{name}.npy", folder / "cache" / f"{name}.json"
    shape = (len(index), size, size, 1)
    if (kept := _kept(array, note, settings, shape)) is not None:
        return kept
    paths = [folder / path for path in index["path"]]
    if not paths:
        raise BadInput("index: no row in it; a cache needs at least one image")
    if not files.writable(array.parent):
        warnings.warn(f"{array.parent}: can't be written into; the images are decoded anew each time", stacklevel=2)
        return _fill(np.empty(shape, np.uint8), paths, settings, progress)
    with files.lock(array):
        if (kept := _kept(array, note, settings, shape)) is None:  # another process may have made it
            if array.exists() and note.exists():  # a note is written last: both were whole
                warnings.warn(f"{array}: not as it was written (cut off or changed); it is made again", stacklevel=2)
            note.unlink(missing_ok=True)
            with files.atomic(array, ours=True) as temporary:
                pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
                files.reserve(temporary)
                _fill(pixels, paths, settings, progress)
                pixels.flush()
                del pixels
            files.write_json(note, settings | {"signature": _signature(array)}, ours=True)
    return np.load(array, mmap_mode="r")


def _kept(array: Path, note: Path, settings: dict, shape: tuple) -> np.memmap | None:
    """Open a kept cache if it is whole and was made with these settings."""
    try:
        if files.read_json(note) == settings | {"signature": _signature(array)}:
            pixels = np.load(array, mmap_mode="r")
            return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None
    except (BadInput, OSError, ValueError):
        pass  # missing or broken: making it again is the cure
    return None


def _signature(path: Path, *, blocks: int = 256, size: int = 4096) -> str:
    """Return a hash of a file's length and of blocks spread over it: in no time, however long it is."""
    length = path.stat().st_size
    seen = hashlib.sha256(str(length).encode())
    with path.open("rb") as opened:
        for start in range(0, length, max(size, -(-length // blocks))):
            opened.seek(start)
            seen.update(opened.read(size))
        opened.seek(max(0, length - size))
        seen.update(opened.read(size))
    return seen.hexdigest()[:16]


def _fill(pixels: np.ndarray, paths: list[Path], settings: dict, progress: bool) -> np.ndarray:
    """Write the images into an array."""
    size, how, interpolation = settings["size"], settings["how"], settings.get("interpolation", "area")
    at_least = 2 * size if interpolation == "area" else None  # JPEG's own reduction averages, too

    def one(row: int) -> None:
        try:
            small = partial(resize, size=size, how=how, interpolation=interpolation)
            pixels[row, :, :, 0] = _warned(paths[row], at_least, small)
        except BadInput as error:
            way_out = "dataset.scan(folder, refresh=True) makes the index without it"
            raise BadInput(f"{error}; it has changed since it was looked at: {way_out}") from None

    in_threads(one, range(len(paths)), doing="images", progress=progress)
    return pixels


def in_threads(make: Callable[[Any], Any], items: Collection[Any], *, doing: str = "", progress: bool = False) -> list:
    """Call a function for each item, in threads: Pillow, OpenCV, NumPy and SciPy let go of the interpreter.

    Parameters
    ----------
    make : callable
        Takes an item.
    items : collection
        Such as paths.
    doing : str
        What the progress bar says.
    progress : bool
        Show one.

    Returns
    -------
    list
        What `make` returned, in the order of the items.

    Examples
    --------
    >>> in_threads(len, ["a", "bc"])
    [1, 2]
    """
    from tqdm import tqdm

    pool = ThreadPoolExecutor(os.cpu_count())  # more only take the lock from each other
    try:
        return list(tqdm(pool.map(make, items), total=len(items), desc=doing, unit="image", **_machine.bar(progress)))
    finally:
        pool.shutdown(cancel_futures=True)
