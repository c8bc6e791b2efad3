"""Archives that are honest, junk-ridden, broken or hostile."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from cxr_utils import _limits
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources import download
from cxr_utils.sources.unzip import Damaged, choose, unzip

GOOD = "chest_xray/train/NORMAL/IM-0115-0001.jpeg"


def pack(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def written(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_takes_the_outermost_copy_and_names_the_rest(tmp_path):
    archive = pack(
        tmp_path / "a.zip",
        ("chest_xray/", b""),
        (GOOD, b"first"),
        ("chest_xray/test/PNEUMONIA/person1_virus_6.jpeg", b"second"),
        ("chest_xray/.DS_Store", b"-"),
        ("chest_xray/train/NORMAL/.DS_Store", b"-"),
        ("chest_xray/train/NORMAL/Icon\r", b"-"),
        ("chest_xray/train/notes.jpeg", b"-"),
        (f"chest_xray/{GOOD}", b"copy"),
        ("chest_xray/chest_xray/.DS_Store", b"-"),
        ("chest_xray/__MACOSX/chest_xray/train/NORMAL/._IM-0115-0001.jpeg", b"-"),
        ("__MACOSX/chest_xray/train/NORMAL/IM-0115-0001.jpeg", b"-"),
    )
    left_out = unzip(archive, tmp_path / "out")
    assert written(tmp_path / "out") == ["chest_xray/test/PNEUMONIA/person1_virus_6.jpeg", GOOD]
    assert (tmp_path / "out" / GOOD).read_bytes() == b"first"
    assert left_out == [
        "__MACOSX/ (1 file)",
        "chest_xray/.DS_Store",
        "chest_xray/__MACOSX/ (1 file)",
        "chest_xray/chest_xray/ (2 files)",
        "chest_xray/train/NORMAL/.DS_Store",
        "chest_xray/train/NORMAL/Icon\r",
        "chest_xray/train/notes.jpeg",
    ]


@pytest.mark.parametrize("top", ["", "chest_xray/", "download/Cell/chest_xray/", "chest_xray/chest_xray/"])
def test_finds_the_layout_at_any_depth(tmp_path, top):
    archive = pack(tmp_path / "a.zip", (f"{top}val/NORMAL/a.JPG", b"x"))
    assert unzip(archive, tmp_path / "out") == []
    assert written(tmp_path / "out") == ["chest_xray/val/NORMAL/a.JPG"]


def test_takes_backslashes_for_slashes(tmp_path):
    info = zipfile.ZipInfo("placeholder")
    info.filename = GOOD.replace("/", "\\")
    unzip(pack(tmp_path / "a.zip", (info, b"x")), tmp_path / "out")
    assert written(tmp_path / "out") == [GOOD]


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted(path: Path) -> Path:
    """Set the bit that says encrypted, in the local header and in the directory."""
    content = bytearray(pack(path, (GOOD, b"x")).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def deflate64(path: Path) -> Path:
    """Name another way of packing, as Windows takes for what is very large, in both headers."""
    content = bytearray(pack(path, (GOOD, b"x")).read_bytes())
    for start, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(start) + at] = 9
    path.write_bytes(content)
    return path


HOSTILE = {
    "absolute": lambda p: pack(p, (GOOD, b"x"), ("/tmp/chest_xray/train/NORMAL/b.jpeg", b"x")),
    "drive": lambda p: pack(p, (GOOD, b"x"), ("C:/chest_xray/train/NORMAL/b.jpeg", b"x")),
    "dots": lambda p: pack(p, (GOOD, b"x"), ("chest_xray/../../train/NORMAL/b.jpeg", b"x")),
    "dots with backslashes": lambda p: pack(p, (GOOD, b"x"), ("..\\..\\train\\NORMAL\\b.jpeg", b"x")),
    "a terminal's commands": lambda p: pack(p, (GOOD.replace("IM", "\x9b2J\x7f"), b"x")),
    "stream of a file": lambda p: pack(p, ("chest_xray/train/NORMAL/a:b.jpeg", b"x")),
    "link": lambda p: pack(p, (GOOD, b"x"), (link("chest_xray/train/NORMAL/b.jpeg"), b"/etc/passwd")),
    "link to a folder": lambda p: pack(p, (link("chest_xray/train"), b"/tmp"), (GOOD, b"x")),
    "encrypted": encrypted,
    "bomb": lambda p: pack(p, (GOOD, bytes(8 * 2**20)), how=zipfile.ZIP_DEFLATED),
    "Deflate64": deflate64,
    "device": lambda p: pack(p, (GOOD.replace("IM-0115-0001", "nul"), b"x")),
    "long name": lambda p: pack(p, (GOOD.replace("0115", "0" * 250), b"x")),
    "same letters": lambda p: pack(p, (GOOD.replace("IM", "\u00e9"), b"x"), (GOOD.replace("IM", "e\u0301"), b"y")),
    "letter case": lambda p: pack(p, (GOOD, b"x"), (GOOD.replace("IM-", "im-"), b"y")),
    "two copies": lambda p: pack(p, (f"a/{GOOD}", b"x"), (f"b/{GOOD}", b"y")),
    "no layout": lambda p: pack(p, ("images/a.jpeg", b"x")),
    "nothing": lambda p: pack(p),
    "empty file": lambda p: p.write_bytes(b"") and p or p,
    "web page": lambda p: p.write_text("\n<!DOCTYPE html><title>Sign in</title>") and p,
    "other file": lambda p: p.write_bytes(b"\x1f\x8b\x08tar") and p,
}
SAYS = {
    "absolute": "leads outside",
    "drive": "leads outside",
    "dots": "leads outside",
    "dots with backslashes": "leads outside",
    "a terminal's commands": "no file name",
    "stream of a file": "no file name",
    "link": "is a link",
    "link to a folder": "is a link",
    "encrypted": "encrypted",
    "bomb": "would grow",
    "Deflate64": "packed in a way that is not read .*; unpack it yourself and give the folder",
    "device": "no file name",
    "long name": "no file name",
    "same letters": "two files for one place",
    "letter case": "two files for one place",
    "two copies": "2 copies",
    "no layout": "holds no images",
    "nothing": "holds no images",
    "empty file": "is empty",
    "web page": "is a web page",
    "other file": "is not a zip file",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_refuses_what_is_hostile_and_names_the_archive(tmp_path, kind):
    (tmp_path / "in").mkdir()
    archive = HOSTILE[kind](tmp_path / "in" / "archive.zip")
    with pytest.raises(BadInput, match=SAYS[kind]) as caught:
        unzip(archive, tmp_path / "deep" / "down" / "out")
    assert str(archive) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert written(tmp_path) == ["in/archive.zip"]


def overlapping(path: Path, n: int, size: int) -> Path:
    """Write members that share their bytes: each quotes the local headers of those behind it (Fifield 2019)."""
    body, plain = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(size)
    stream = body.compress(plain) + body.flush()
    whole, header, entries = b"", b"", []
    for number in reversed(range(n)):
        name = GOOD.replace("0115", f"{number:04d}").encode()
        if header:
            quote = b"\0" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF) + header
            stream, plain, whole = quote + stream, header + plain, quote[:5] + whole
        about = struct.pack("<IIIHH", zlib.crc32(plain), len(stream), len(plain), len(name), 0)
        header = struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 8, 0, 33) + about + name
        whole = header + (whole or stream)
        entries.append((name, about, len(whole)))
    directory = b"".join(
        struct.pack("<4sHHHHHH", b"PK\1\2", 20, 20, 0, 8, 0, 33) + about
        + struct.pack("<HHHII", 0, 0, 0, 0o644 << 16, len(whole) - from_end) + name
        for name, about, from_end in entries
    )  # fmt: skip
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, n, n, len(directory), len(whole), 0)
    path.write_bytes(whole + directory + end)
    return path


def many(path: Path, n: int, size: int, how: int) -> Path:
    return pack(path, *((GOOD.replace("0115", f"{number:04d}"), bytes(size)) for number in range(n)), how=how)


BOMBS = {  # what each would grow to is more than a hundred times the archive
    "exactly 1 MiB": lambda p: many(p, 200, 2**20, zipfile.ZIP_BZIP2),
    "less than 1 MiB": lambda p: many(p, 40, 2**20 - 1, zipfile.ZIP_DEFLATED),
    "small ones": lambda p: many(p, 1_000, 2**15, zipfile.ZIP_DEFLATED),
    "shared bytes": lambda p: overlapping(p, 40, 2**20 - 5_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_all_members_together_have_a_bound(tmp_path, kind):
    archive = BOMBS[kind](tmp_path / "a.zip")
    with pytest.raises(BadInput, match=r"a\.zip: refused, it would grow to [\d,]+ bytes \([\d,]+ times its own size\)"):
        unzip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_that_shrank_well_but_is_small_is_taken(tmp_path):
    unzip(many(tmp_path / "a.zip", 10, 2**20, zipfile.ZIP_DEFLATED), tmp_path / "out")
    assert len(written(tmp_path / "out")) == 10


def test_a_note_beside_the_images_has_a_bound(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.zip", (GOOD, b"x" * 50), ("source.json", b"{}" * 50))
    monkeypatch.setattr(_limits, "MOST_BYTES_OF_A_NOTE", 60)
    assert unzip(archive, tmp_path / "out") == ["source.json"]
    with pytest.raises(BadInput, match="'source.json' in it has 100 bytes; at most 60"):
        unzip(archive, tmp_path / "again", beside=("source.json",))


def test_refuses_a_repeated_name(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = pack(tmp_path / "a.zip", (GOOD, b"x"), (GOOD, b"y"))
    with pytest.raises(BadInput, match="twice"):
        unzip(archive, tmp_path / "out")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_refuses_an_archive_that_was_cut_off(tmp_path, share):
    noise = np.random.default_rng(0).bytes(5000)
    content = pack(tmp_path / "a.zip", (GOOD, noise)).read_bytes()
    (tmp_path / "a.zip").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadInput, match="a.zip: is cut off or damaged .*download it again"):
        unzip(tmp_path / "a.zip", tmp_path / "out")


def test_a_changed_byte_is_found(tmp_path):
    content = bytearray(pack(tmp_path / "a.zip", (GOOD, bytes(1000))).read_bytes())
    content[500] = 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        unzip(tmp_path / "a.zip", tmp_path / "out")


def test_a_member_that_lies_about_its_size_writes_no_more_than_that(tmp_path):
    content = bytearray(pack(tmp_path / "a.zip", (GOOD, bytes(2**20)), how=zipfile.ZIP_DEFLATED).read_bytes())
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 10)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        unzip(tmp_path / "a.zip", tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").rglob("*.jpeg")) <= 10


def test_limits(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.zip", (GOOD, b"xxx"), (GOOD.replace("0115", "0116"), b"xxx"))
    for name, value in (("MOST_FILES", 1), ("MOST_BYTES", 5), ("MOST_BYTES_A_FILE", 2)):
        with monkeypatch.context() as patch, pytest.raises(BadInput, match="refused"):
            patch.setattr(_limits, name, value)
            unzip(archive, tmp_path / "out")
    with monkeypatch.context() as patch, pytest.raises(BadInput, match="far more files than"):
        patch.setattr(_limits, "MOST_BYTES_OF_NAMES", 100)
        unzip(archive, tmp_path / "out")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(CxrError, match="are free; make room"):
        unzip(archive, tmp_path / "out")


def test_the_whole_archive_is_checked_when_asked_to(tmp_path):
    """A changed byte in what is left out matters only where the archive must be as it was published."""
    content = bytearray(pack(tmp_path / "a.zip", (GOOD, b"x"), ("notes.txt", b"honest words")).read_bytes())
    content[content.index(b"honest")] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert unzip(tmp_path / "a.zip", tmp_path / "out") == ["notes.txt"]
    with pytest.raises(Damaged, match="Bad CRC-32"):
        unzip(tmp_path / "a.zip", tmp_path / "again", whole=True)


def test_takes_files_beside_the_layout_when_asked_to(tmp_path):
    others = (("in/source.json", b"{}"), ("source.json", b"[]"), ("in/b/c.txt", b"-"))
    archive = pack(tmp_path / "a.zip", (f"in/{GOOD}", b"x"), *others)
    assert unzip(archive, tmp_path / "out", beside=("source.json", "c.txt")) == ["in/b/c.txt", "source.json"]
    assert written(tmp_path / "out") == [GOOD, "source.json"]
    assert (tmp_path / "out" / "source.json").read_text() == "{}"


def test_never_writes_through_a_link_that_is_there(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    target = tmp_path / "out" / GOOD
    target.parent.mkdir(parents=True)
    target.symlink_to(victim)
    with pytest.raises(FileExistsError):
        unzip(pack(tmp_path / "a.zip", (GOOD, b"x")), tmp_path / "out")
    assert victim.read_text() == "mine"


def test_missing_archive(tmp_path):
    with pytest.raises(BadInput, match=r"none\.zip: there is no such"):
        unzip(tmp_path / "none.zip", tmp_path / "out")


def test_random_damage_gives_a_clear_error_or_whole_images(tmp_path):
    rng = np.random.default_rng(0)
    members = [(GOOD.replace("0115", f"{number:04d}"), rng.bytes(60)) for number in range(4)]
    original = pack(tmp_path / "a.zip", *members, how=zipfile.ZIP_DEFLATED).read_bytes()
    for turn in range(250):
        content = bytearray(original)
        for at in rng.integers(0, len(content), 1 + turn % 3):
            content[at] = rng.integers(256)
        (tmp_path / "a.zip").write_bytes(content)
        out = tmp_path / f"out-{turn}"
        try:
            unzip(tmp_path / "a.zip", out)
        except BadInput as error:
            assert "a.zip" in str(error)
        else:
            known = {content for _, content in members}
            assert all(file.read_bytes() in known for file in out.rglob("*.jpeg"))


def test_left_out_stays_short():
    names = [GOOD, *(f"masks/{number}.png" for number in range(80))]
    _, left_out = choose(names, where="here")
    assert len(left_out) == 51
    assert left_out[-1] == "and 30 more"
