"""All images of a source in one small archive, for a room with slow Wi-Fi."""

import hashlib
import io
import json
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cxr_utils import _machine, _pages, dataset, files, images, sources
from cxr_utils.errors import BadInput, CxrError

SIZE = 224
QUALITY = 80  # 40 MB for the 5,856 images


def pack(
    out: str | Path, *, source: str | None = None, data_dir: str | Path = "data", progress: bool = False
) -> dict[str, Any]:
    """Write all images of a fetched source to a zip file, at 224 px.

    The file holds ``chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg``, ``manifest.csv`` (path and SHA-256),
    ``README.txt`` (licence, attribution, what was changed) and ``source.json``. The same images give the same bytes
    with the same version of Pillow. Images that can't be read are left out, see `dataset.scan`.

    Parameters
    ----------
    out : str or Path
        The zip file to write, whole or not at all; it must not be there yet.
    source : str, optional
        Which source; by default the first that was fetched, in the order of `sources.names`.
    data_dir : str or Path
        Where the folders of the sources lie.
    progress : bool
        Show a bar.

    Returns
    -------
    dict
        path (Path), source, title, licence, synthetic (bool), images (number), bytes.

    Raises
    ------
    BadInput
        The source is unknown or was not fetched, or `out` is there already or does not end in .zip.
    CxrError
        The disk is full, or the folder can't be written.

    Examples
    --------
    >>> pack("chests.zip", source="sample")  # doctest: +SKIP
    """
    from tqdm import tqdm

    out = files.resolve(out)
    if out.suffix.lower() != ".zip":
        raise BadInput(f"{out}: give the name of a file that ends in .zip")
    files.check_ours(out, False)
    folder = _folder(source, data_dir)
    about = sources.describe(folder)
    index = dataset.scan(folder)
    paths = [f"{path.rpartition('.')[0]}.jpeg" for path in index["path"]]
    path, times = Counter(paths).most_common(1)[0]
    if times > 1:
        raise BadInput(f"{folder}: holds two files that would both be {path}; rename one of them")
    record = {name: about[name] for name in ("title", "licence", "attribution", "synthetic")}
    # No path, no date: they would tell where it was made, and change the bytes.
    record["packed"] = {"source": about["source"], "size": SIZE, "quality": QUALITY, "images": len(index)}
    if "seed" in about:
        record["packed"]["seed"] = about["seed"]
    text = _pages.fill(Path(__file__).with_suffix(".txt.j2"), **record, **record["packed"])
    manifest = ["path,sha256"]
    try:
        with files.atomic(out) as temporary, ThreadPoolExecutor() as pool:
            with zipfile.ZipFile(temporary, "x") as archive:
                _add(archive, "README.txt", text.encode())
                _add(archive, "source.json", (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
                work = pool.map(_small, [folder / path for path in index["path"]])
                bar = tqdm(work, total=len(paths), desc="packing", unit="image", **_machine.bar(progress))
                for path, content in zip(paths, bar, strict=True):
                    _add(archive, path, content)
                    manifest.append(f"{path},{hashlib.sha256(content).hexdigest()}")
                _add(archive, "manifest.csv", ("\n".join(manifest) + "\n").encode())
    except OSError as error:
        raise CxrError(f"{out}: {error.strerror or error}; make room or write it elsewhere") from error
    known = {name: record[name] for name in ("title", "licence", "synthetic")}
    return {"path": out, "source": about["source"], "images": len(index), "bytes": out.stat().st_size, **known}


def _folder(source: str | None, data_dir: str | Path) -> Path:
    """Find the source's folder."""
    where = files.resolve(data_dir)
    for name in (sources.get(source).name,) if source is not None else sources.names():
        if (where / name / "source.json").is_file():
            return where / name
    place = where / source if source else where
    raise BadInput(f"{place}: nothing was fetched there; first run `cxr fetch --source {source or 'kaggle'}`")


def _small(path: Path) -> bytes:
    """Read an image as the course reads it, and store it small."""
    from PIL import Image

    sink = io.BytesIO()
    pixels = images.resize(images.read(path, at_least=2 * SIZE), SIZE)
    Image.fromarray(pixels).save(sink, "JPEG", quality=QUALITY, optimize=True)
    return sink.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Store a member whose bytes depend on nothing but name and content."""
    info = zipfile.ZipInfo(name)  # of 1 January 1980
    info.create_system = 3
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
