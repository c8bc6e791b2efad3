"""What several test files make their inputs with: data sets, pictures, radiographs, archives, tables, notebooks."""

import io
import os
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image


def workflow(name):
    """Return a script of workflow/ as a module, by the name under which the others there import it."""
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(__file__).parents[1] / "workflow" / f"{name}.py")
        sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]  # as an import does: the next test fails for the same reason, not for half a module
            raise
    return sys.modules[name]


#: Put before a program in Python: whatever it asks of another machine is written down, and fails.
WATCH = """
import os, sys

def watch(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        address = given[1] if event in ("socket.connect", "socket.sendto") else given[:1]
        host = address[0] if isinstance(address, tuple) else "127.0.0.1"
        if host not in ("127.0.0.1", "::1", "localhost", "", None, b"127.0.0.1"):
            with open(os.environ["ASKED"], "a") as log:
                log.write(f"{event} {host}\\n")
            raise OSError(f"{host}: not reachable in this test")

sys.addaudithook(watch)
"""


#: Where the real images, and what else comes with them, are looked for; see data/README.md.
SHARED = Path(os.environ.get("CXR_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def tiny_names():
    """Name 65 images in the original layout: patients, two kinds of one patient, shared numbers."""
    normal, ill = "NORMAL", "PNEUMONIA"
    names = [f"train/{normal}/IM-{115 + i:04d}-0001.jpeg" for i in range(12)]
    names += [f"train/{normal}/NORMAL2-IM-{400 + i:04d}-000{1 + j}.jpeg" for i in range(3) for j in range(2)]
    names += [f"train/{ill}/person{i}_bacteria_{3 * i + j}.jpeg" for i in range(1, 7) for j in range(3)]
    names += [f"train/{ill}/person{i}_virus_{3 * i + j}.jpeg" for i in range(7, 11) for j in range(2)]
    names += [f"train/{ill}/person6_virus_90.jpeg", f"train/{ill}/person11_virus_91_1.jpeg"]
    names += [f"val/{normal}/NORMAL2-IM-{500 + i:04d}-0001.jpeg" for i in range(2)]
    names += [f"val/{ill}/person{1946 + i}_bacteria_{4874 + i}.jpeg" for i in range(2)]
    names += [f"test/{normal}/NORMAL2-IM-{95 + i:04d}-0001.jpeg" for i in range(7)]
    names += [f"test/{ill}/person{i}_virus_{200 + i}.jpeg" for i in range(1, 6)]
    names += [f"test/{ill}/person{100 + i}_bacteria_{300 + i}.jpeg" for i in range(3)]
    return [f"chest_xray/{name}" for name in names]


ILL = "chest_xray/train/PNEUMONIA"


TWINS = {  # copy: original
    "chest_xray/test/NORMAL/NORMAL2-IM-0096-0001.jpeg": "chest_xray/test/NORMAL/NORMAL2-IM-0095-0001.jpeg",
    f"{ILL}/person2_bacteria_7.jpeg": f"{ILL}/person2_bacteria_6.jpeg",
}


def draw_tiny(folder, *, seed=0, junk=True):
    """Draw the tiny dataset: a bright patch tells PNEUMONIA, which is wide less often and sometimes RGB."""
    rng = np.random.default_rng(seed)
    for number, name in enumerate(tiny_names()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ill = "PNEUMONIA" in name
        height, width = int(rng.integers(40, 49)), int(rng.integers(44, 54) if ill else rng.integers(50, 64))
        image = rng.normal(90, 12, (height, width)) + np.linspace(0, 60, height)[:, None]
        if ill:
            top, left = rng.integers(5, height - 20), rng.integers(5, width - 20)
            image[top : top + 15, left : left + 15] += 70
        picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        if ill and number % 5 == 0:
            picture = picture.convert("RGB")
        picture.save(path, quality=92)
    for copy, original in TWINS.items():
        (folder / copy).write_bytes((folder / original).read_bytes())
    if junk:
        nested = folder / "chest_xray" / tiny_names()[0]
        nested.parent.mkdir(parents=True)
        nested.write_bytes((folder / tiny_names()[0]).read_bytes())
        (folder / "__MACOSX" / "chest_xray").mkdir(parents=True)
        (folder / "chest_xray/train/NORMAL/.DS_Store").write_bytes(b"\0junk")
        (folder / "chest_xray/train/NORMAL/._IM-0115-0001.jpeg").write_bytes(b"\0junk")
    return folder


GOOD = "chest_xray/train/NORMAL/IM-0115-0001.jpeg"


RAMP = np.add.outer(np.arange(40) * 2, np.arange(60) * 2).astype(np.uint8)


NOISE = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)


PLANTED = "SECRET^PATIENT"


def packed(*members, how=zipfile.ZIP_STORED, comment=b""):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        archive.comment = comment
        for name, content in members:
            archive.writestr(name, content)
    return target.getvalue()


def picture(form="JPEG", mode="L", pixels=RAMP, **options):
    target = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(target, form, **options)
    return target.getvalue()


def png(width, height, *, depth=8, colour=0, data=b"", extra=()):
    """Write a PNG by hand: its header may lie."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(*one) for one in extra)
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def radiograph(*, drop=(), pixels=None, syntax=None, **elements):
    """Write a DICOM radiograph of a child's chest: `RAMP`, MONOCHROME2, with names planted wherever text goes."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    values = {
        "Modality": "CR", "PatientName": PLANTED, "PatientID": PLANTED, "InstitutionName": PLANTED,
        "StudyDescription": PLANTED, "PatientBirthDate": "20150203", "PatientAge": "003Y", "ViewPosition": "AP",
        "BodyPartExamined": "CHEST", "Rows": 40, "Columns": 60, "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
        "PixelRepresentation": 0, "PixelData": (RAMP if pixels is None else pixels).tobytes(),
    } | elements  # fmt: skip
    for name, value in values.items():
        if name not in drop:
            setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that DICOM does not allow
        made.save_as(target, enforce_file_format=True)
    return target.getvalue()


def deep(**elements):
    """Sixteen bits, of which twelve are used."""
    return radiograph(
        pixels=RAMP.astype("<u2") * 20, BitsAllocated=16, BitsStored=12, HighBit=11, **elements
    )  # fmt: skip


def table_of(*lines, head="path,patient,split,label,probability"):
    return "\n".join([head, *lines]).encode()


ROW = "a/person1_virus_1.jpeg,person1,test,1,0.5"


HAS_GDCM = find_spec("gdcm") and find_spec("jpeg_ls")


SYNTAXES = {
    "RLE": "1.2.840.10008.1.2.5", "JPEG Baseline": "1.2.840.10008.1.2.4.50", "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG Lossless 14": "1.2.840.10008.1.2.4.57", "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-LS near": "1.2.840.10008.1.2.4.81", "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000 lossy": "1.2.840.10008.1.2.4.91",
}  # fmt: skip


def scaled(film, bits):
    return np.rint(film * ((2**bits - 1) / 255)).astype("<u2")


def saved(picture, form="PNG", **options):
    target = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(target, form, **options)
    return target.getvalue()


def dcm(film, bits=12, *, allocated=16, signed=False, high=None, **elements):
    stored = scaled(film, bits)
    stored = (stored.astype(int) - 2 ** (bits - 1)).astype("<i2") if signed else stored
    stored = stored.astype("u1") if allocated == 8 else stored
    if high is not None:
        stored = stored << (high + 1 - bits)
    return radiograph(
        pixels=stored, Rows=film.shape[0], Columns=film.shape[1], BitsAllocated=allocated, BitsStored=bits,
        HighBit=bits - 1 if high is None else high, PixelRepresentation=int(signed), **elements,
    )  # fmt: skip


def deflated(content):
    """Deflate a DICOM file after its meta information."""
    import zlib

    end = 144 + int.from_bytes(content[140:144], "little")
    head = content[:end].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99")
    head = head[:140] + (len(head) - 144).to_bytes(4, "little") + head[144:]
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return head + pack.compress(content[end:]) + pack.flush()


def compressed(content, how):
    """Compress a DICOM file's pixels by GDCM, or RLE and JPEG by pydicom and Pillow."""
    import pydicom
    from pydicom.encaps import encapsulate

    dataset = pydicom.dcmread(io.BytesIO(content))
    uid = pydicom.uid.UID(SYNTAXES[how])
    if how == "RLE":
        dataset.compress(uid)
    elif how == "JPEG Baseline":
        dataset.PixelData = encapsulate([saved(dataset.pixel_array, "JPEG", quality=98)])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = uid
    else:
        return by_gdcm(content, uid)
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


def by_gdcm(content, uid):
    if not HAS_GDCM:
        pytest.skip("needs python-gdcm and pyjpegls, of the extra 'dicom'")
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain.dcm"), Path(folder, "packed.dcm")
        plain.write_bytes(content)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(uid))))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return packed.read_bytes()


def wrapped(film, frame, syntax):
    from pydicom.encaps import encapsulate

    return dcm(film, PixelData=encapsulate([frame]), syntax=syntax)


def dicom_file(path, picture, **elements):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2"
    made = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID = made.SOPInstanceUID = "1.2"
    made.Modality, made.PhotometricInterpretation, made.SamplesPerPixel = "DX", "MONOCHROME2", 1
    made.Rows, made.Columns = picture.shape
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.PixelData = 7, 0, picture.tobytes()
    made.WindowCenter, made.WindowWidth = 128, 256
    for name, value in elements.items():
        setattr(made, name, value)
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    return path


RESULTS = Path(__file__).parents[1] / "results"


def same(kept, found, where=""):
    """Compare nested mappings of numbers to six places."""
    if isinstance(found, dict):
        assert list(kept) == list(found), where
        for name in found:
            same(kept[name], found[name], f"{where}/{name}")
    else:
        assert kept == (None if found is None else pytest.approx(found, abs=2e-6)), where


COMMON = 'source = "sample"\ndata_dir = "data"\nrun_dir = "runs/sample"\nprofile = "sample"\nseed = 0\n'


RUN = {"version": 1, "recipe": {}, "protocol": "honest", "seed": 0, "split": "", "pixels": ""}


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


PROSE = "# Title of {name}\n\nA [word](glossary.md#word), and on to [b](02_b.ipynb)."


def notebook(folder, name, *cells, more=""):
    v4 = nbformat.v4
    made = v4.new_notebook(metadata={"kernelspec": KERNEL})
    made.cells = [v4.new_markdown_cell(PROSE.format(name=name), metadata={"tags": ["core"]})]
    made.cells.append(v4.new_code_cell(COMMON + more, metadata={"tags": ["parameters", "core"]}))
    made.cells += [v4.new_code_cell(source, metadata={"tags": ["core"]}) for source in cells]
    made.cells.append(v4.new_code_cell("print('for the curious')", metadata={"tags": ["further"]}))
    nbformat.write(made, folder / f"{name}.ipynb")
