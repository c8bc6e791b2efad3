"""The source kaggle: the unmodified kaggle command against a stand-in for Kaggle on this machine."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from kaggle_server import COUNTS, here, images, make_archive, names, running

from cxr_utils import cli, files, sources
from cxr_utils.errors import CxrError
from cxr_utils.sources import download, kaggle

pytestmark = pytest.mark.filterwarnings("ignore:.*the number of images is not the one of")
# More than the command's own pieces of 1 MiB, so that some of it arrives before a break.
BIG = make_archive(filling=np.random.default_rng(0).bytes(5 * 2**20))
SECRET = "planted-secret-0a1b2c"
OFFER = ("`cxr fetch --source medmnist`", "`cxr fetch --source sample`")


@pytest.fixture
def server(monkeypatch, home):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "WAITS", (0,))
    monkeypatch.setattr(kaggle, "ARCHIVE_BYTES", 10**7)
    monkeypatch.setattr(kaggle, "IMAGES_BYTES", 10**5)
    with running() as server:
        for name, value in server.environment(home).items():
            monkeypatch.setenv(name, value)
        server.content = make_archive()
        yield server


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def fetch(data: Path, *options: str) -> int:
    return cli.main(["fetch", "--source", "kaggle", "--data-dir", str(data), *options])


def whole(folder: Path) -> None:
    assert images(folder) == sorted(names())
    assert sources.describe(folder)["counts"] == COUNTS
    assert not any(path.name.startswith(".") or path.suffix == ".log" for path in folder.parent.iterdir())


def without_secrets(top: Path, said: str, *, but: tuple[Path, ...] = ()) -> None:
    """Nothing that was printed and no file holds a planted secret."""
    secrets = [SECRET, base64.b64encode(f"anna:{SECRET}".encode()).decode(), "planted-signature"]
    for file in [path for path in top.rglob("*") if path.is_file() and path not in but]:
        assert not any(secret.encode() in file.read_bytes() for secret in secrets), file
    assert not any(secret in said for secret in secrets)


# all goes well


def plant(form: str, home: Path, monkeypatch) -> tuple[str, tuple[Path, ...]]:
    """Give credentials in one form; return the header they must lead to, and the files that hold them."""
    config = home / ".kaggle"
    config.mkdir()
    basic = f"Basic {base64.b64encode(f'anna:{SECRET}'.encode()).decode()}"
    if form == "none":
        return "", ()
    if form == "KAGGLE_API_TOKEN":
        monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
        return f"Bearer {SECRET}", ()
    if form == "KAGGLE_USERNAME and KAGGLE_KEY":
        monkeypatch.setenv("KAGGLE_USERNAME", "anna")
        monkeypatch.setenv("KAGGLE_KEY", SECRET)
        return basic, ()
    expires = {"access_token": SECRET, "access_token_expiration": "2099-01-01T00:00:00+00:00", "username": "anna"}
    name, content, header = {
        "access_token": ("access_token", SECRET, f"Bearer {SECRET}"),
        "KAGGLE_API_TOKEN, a file": ("elsewhere", SECRET, f"Bearer {SECRET}"),
        "kaggle.json": ("kaggle.json", json.dumps({"username": "anna", "key": SECRET}), basic),
        "OAuth": ("credentials.json", json.dumps({"refresh_token": "r" + SECRET, **expires}), f"Bearer {SECRET}"),
    }[form]
    (config / name).write_text(content)
    (config / name).chmod(0o600)
    if form == "KAGGLE_API_TOKEN, a file":
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(config / name))
    return header, (config / name,)


FORMS = ("none", "KAGGLE_API_TOKEN", "KAGGLE_API_TOKEN, a file", "access_token", "KAGGLE_USERNAME and KAGGLE_KEY")
FORMS += ("kaggle.json", "OAuth")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_credentials(form, data, server, home, monkeypatch, capfd, tmp_path):
    server.wants, files = plant(form, home, monkeypatch)
    folder = sources.fetch("kaggle", data_dir=data)
    whole(folder)
    assert sources.describe(folder)["left_out"] == [
        "chest_xray/__MACOSX/ (1 file)",
        "chest_xray/chest_xray/ (10 files)",
        "chest_xray/train/.DS_Store",
    ]
    assert sources.describe(folder)["origin"].endswith("paultimothymooney/chest-xray-pneumonia/versions/2")
    assert any('"datasetVersionNumber": 2' in request for request in server.requests)
    assert (server.downloads, here(data), here(folder)) == (1, ["kaggle"], ["chest_xray", "source.json"])
    without_secrets(tmp_path, "".join(capfd.readouterr()), but=files)


def test_the_second_call_touches_nothing(data, server, capfd):
    sources.fetch("kaggle", data_dir=data)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    asked = len(server.requests)
    assert sources.fetch("kaggle", data_dir=data) == data / "kaggle"
    assert len(server.requests) == asked
    assert before == {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_bytes_rate_and_time_left(data, server, capfd):
    server.content, server.breaks = BIG, [int(0.5 * len(BIG))]  # the pause after the break lets it be drawn
    sources.fetch("kaggle", data_dir=data, progress=True)
    bar = capfd.readouterr().err
    assert "downloading" in bar and f"/{len(BIG) / 1e6:.2f}M" in bar and "B/s" in bar and "<00:" in bar


def test_keep_archive(data, server):
    kept = data / "kaggle-archive" / "chest-xray-pneumonia.zip"
    sources.fetch("kaggle", data_dir=data, keep_archive=True)
    assert here(data) == ["kaggle", "kaggle-archive"] and kept.read_bytes() == server.content
    shutil.rmtree(data / "kaggle")
    asked = len(server.requests)
    sources.fetch("kaggle", data_dir=data)  # from the kept one, without asking
    assert len(server.requests) == asked and kept.is_file()
    whole(data / "kaggle")
    shutil.rmtree(data / "kaggle")
    kept.write_bytes(b"PK")  # broken since, or another's: downloaded anew, and left as it is
    whole(sources.fetch("kaggle", data_dir=data))
    assert kept.read_bytes() == b"PK" and here(data) == ["kaggle", "kaggle-archive"]


# what fails is said, and leaves nothing


FAILURES = {  # status and message of the server, words of ours, how often it is asked for the archive or its error
    "401": ((401, "Unauthenticated"), "valid credentials (401)", 1),
    "403": ((403, "Permission 'datasets.get' was denied"), "refuses the download (403", 1),
    "403, rules": ((403, "You must accept the rules first"), "accept what it asks for", 1),
    "404": ((404, "Dataset not found"), "does not have it (404: Dataset not found", 1),
    "429": ((429, "Too many requests"), "answers too many requests (429); try again in an hour (tried 2 times)", 2),
    "500": ((500, "Internal error"), "is out of order (Internal error", 2),
    "another": ((418, "I am a teapot"), "the download failed: I am a teapot", 1),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_of_kaggle(failure, data, server, monkeypatch, capfd, tmp_path):
    (status, message), words, times = FAILURES[failure]
    monkeypatch.setenv("KAGGLE_USERNAME", "anna")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    server.error = (status, f"{message}. {SECRET}")  # a server that repeats what it must not
    assert fetch(data) == 1
    out, said = capfd.readouterr()
    assert out == "" and said.count("\n") == 1 and len(said) < 500
    assert said.startswith("cxr: source kaggle: ") and words in said
    assert all(offer in said for offer in OFFER)
    assert sum("GetDatasetMetadata" in request for request in server.requests) == times
    assert here(data) == []
    without_secrets(tmp_path, said)


@pytest.mark.parametrize("status", [429, 503])
def test_an_error_that_passes(status, data, server):
    server.error, server.errors = (status, {429: "Too many requests", 503: "Service unavailable"}[status]), 1
    whole(sources.fetch("kaggle", data_dir=data))


def test_waits_grow_and_are_announced(monkeypatch, capfd):
    waited = []
    monkeypatch.setattr(download.time, "sleep", waited.append)
    assert list(download.WAITS) == sorted(set(download.WAITS))

    def attempt() -> None:
        raise download.Interrupted("busy")

    with pytest.raises(download.Interrupted, match=r"busy \(tried 4 times\)"):
        download.insist(attempt, arrived=lambda: 0, progress=True)
    assert waited == list(download.WAITS)
    assert "busy; trying again in 5 s" in capfd.readouterr().err


def test_waits_start_anew_when_more_has_arrived(monkeypatch):
    waited, arrived = [], iter([0, 1, 1, 2, 2, 2])
    monkeypatch.setattr(download.time, "sleep", waited.append)

    def attempt() -> None:
        raise download.Interrupted("broke", worn_out=True)

    with pytest.raises(download.Interrupted, match=r"tried 3 times"):
        download.insist(attempt, arrived=lambda: next(arrived))
    assert waited == [download.WAITS[0]] * 2


def test_an_invalid_token_is_said(data, server, monkeypatch, capfd, tmp_path):
    server.wants = "Bearer another"
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert "valid credentials (401); run `kaggle auth login`" in said and here(data) == []
    without_secrets(tmp_path, said)


@pytest.mark.parametrize("token", [False, True])
def test_no_network(token, data, server, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("http_proxy", f"http://anna:{SECRET}@127.0.0.1:9")
    if token:  # then the command fails sooner, with a traceback
        monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert "no connection to" in said and "is this computer online" in said and said.count("\n") == 1
    assert all(offer in said for offer in OFFER) and here(data) == []
    without_secrets(tmp_path, said)


def test_no_answer(data, server, monkeypatch, capfd):
    server.silent = True
    monkeypatch.setattr(kaggle, "STALL", 2)
    assert fetch(data) == 1
    assert "nothing has arrived for 2 s (tried 2 times)" in capfd.readouterr().err
    assert here(data) == []


def test_the_command_is_missing(data, server, monkeypatch, capfd):
    monkeypatch.setattr(kaggle.shutil, "which", lambda *_, **__: None)
    assert fetch(data) == 1
    assert "there is no kaggle command in" in (said := capfd.readouterr().err) and "pip install kaggle" in said
    assert server.requests == [] and here(data) == []


# broken connections


@pytest.mark.parametrize("percent", [10, 50, 99])
def test_a_connection_that_breaks_once(percent, data, server):
    server.content, server.breaks = BIG, [percent * len(BIG) // 100]
    whole(sources.fetch("kaggle", data_dir=data))
    pieces = percent * len(BIG) // 100 // 2**20
    assert server.ranges == ["", f"bytes={pieces * 2**20}-"]
    assert here(data) == ["kaggle"]


def test_a_server_that_cannot_resume(data, server):
    server.content, server.resumes, server.breaks = BIG, False, [len(BIG) // 2]
    whole(sources.fetch("kaggle", data_dir=data))


@pytest.mark.long
def test_a_connection_that_always_breaks(data, server, capfd):
    server.content, server.breaks_always = BIG, len(BIG) // 2
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert "the connection broke" in said and "2.1 MB are kept" in said and all(offer in said for offer in OFFER)
    assert (data / ".kaggle-download" / "chest-xray-pneumonia.zip").read_bytes() == BIG[: 2 * 2**20]
    server.breaks_always = None
    whole(sources.fetch("kaggle", data_dir=data))
    assert here(data) == ["kaggle"]


def test_killed_in_the_middle(data, server, tmp_path):
    """The same command finishes the work; the kaggle command does not outlive ours."""
    server.content, server.breaks = BIG, [len(BIG) // 2]
    command = [sys.executable, "-c", "import sys; from cxr_utils.cli import main; sys.exit(main())"]
    command += ["fetch", "--source", "kaggle", "--data-dir", str(data)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    part = data / ".kaggle-download" / "chest-xray-pneumonia.zip"
    try:
        until(lambda: download.size(part) == 2 * 2**20)
        children = psutil.Process(process.pid).children()
    finally:
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()
    assert ".kaggle-download" in here(data) and "kaggle" not in here(data)
    whole(sources.fetch("kaggle", data_dir=data))
    assert here(data) == ["kaggle"] and f"bytes={2 * 2**20}-" in server.ranges
    until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def until(done, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("keep", [False, True])
def test_killed_before_the_last_step(keep, data, server):
    sources.fetch("kaggle", data_dir=data)
    (data / ".kaggle-download").mkdir()
    (data / ".kaggle-download" / "chest-xray-pneumonia.zip").write_bytes(server.content)
    sources.fetch("kaggle", data_dir=data, keep_archive=keep)
    assert here(data) == (["kaggle", "kaggle-archive"] if keep else ["kaggle"])


def test_killed_while_unpacking(data, server):
    (data / ".kaggle-download").mkdir(parents=True)
    (data / ".kaggle-download" / "chest-xray-pneumonia.zip").write_bytes(server.content)
    killed = f".kaggle-{files._HOST}-{2**22 + 1}-0123abcd.tmp"  # of a process that is no more
    (data / killed / "chest_xray" / "train").mkdir(parents=True)
    whole(sources.fetch("kaggle", data_dir=data))
    assert server.requests == [] and here(data) == ["kaggle"]  # the archive was whole


# broken archives


def changed(content: bytes) -> bytes:
    """Return an archive of the same size with one byte of its junk changed."""
    broken = bytearray(content)
    broken[content.index(b"chest_xray/train/.DS_Store") + len("chest_xray/train/.DS_Store")] ^= 1
    return bytes(broken)


BROKEN = {
    "changed": (changed(make_archive()), "cut off or damaged (Bad CRC-32"),
    "truncated": (make_archive()[:900], "cut off or damaged"),
    "web page": (b"<html>Sign in</html>", "is a web page"),
    "nothing": (b"", "source kaggle: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_archive_is_downloaded_again_once(kind, data, server, capfd):
    server.content, words = BROKEN[kind]
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert words in said and said.count("\n") == 1 and all(offer in said for offer in OFFER)
    assert "downloaded, and downloaded again, can't be used: chest-xray-pneumonia.zip" in said
    assert server.downloads == 2 and here(data) == []


def test_an_archive_that_was_broken_once(data, server):
    server.contents = [changed(server.content)]
    whole(sources.fetch("kaggle", data_dir=data))
    assert server.downloads == 2 and here(data) == ["kaggle"]


def test_an_archive_of_something_else_is_not_downloaded_again(data, server, capfd):
    server.content = make_archive().replace(b"chest_xray/train", b"chest_xray/trial")
    server.content = server.content.replace(b"chest_xray/val", b"chest_xray/vol").replace(b"xray/test", b"xray/tent")
    assert fetch(data) == 1
    assert "what was downloaded can't be used: chest-xray-pneumonia.zip: holds no images" in capfd.readouterr().err
    assert server.downloads == 1 and here(data) == []


# the disk


def test_too_little_room_is_said_before(data, server, monkeypatch, capfd):
    monkeypatch.setattr(kaggle, "ARCHIVE_BYTES", 10**18)
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert "GB are needed" in said and "make room or choose another --data-dir" in said
    assert server.requests == [] and here(data) == []


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 4 MiB, where this user may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("this user may not mount a disk of memory")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount command")
def test_a_disk_that_fills_up(small_disk, server, monkeypatch, capfd):
    monkeypatch.setattr(kaggle, "ARCHIVE_BYTES", 10**5)
    server.content, data, begun = BIG, small_disk / "data", time.monotonic()
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert "the disk is full; make room there or choose another --data-dir" in said
    assert "MB are kept, the same command goes on with them" in said and here(data) == [".kaggle-download"]
    assert time.monotonic() - begun < 30  # the command itself would try for a minute
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    whole(sources.fetch("kaggle", data_dir=data))
    assert any(server.ranges[1:]) and here(data) == ["kaggle"]


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount command")
def test_a_disk_that_fills_up_while_unpacking(small_disk, server, monkeypatch, capfd):
    monkeypatch.setattr("cxr_utils.sources.unzip.check_room", lambda *_: None)
    monkeypatch.setattr(kaggle, "ARCHIVE_BYTES", 10**4)
    monkeypatch.setattr(kaggle, "IMAGES_BYTES", 0)
    (small_disk / "filling").write_bytes(bytes(4 * 2**20 - 40_000))
    assert fetch(small_disk / "data") == 1
    assert "No space left on device; make room" in capfd.readouterr().err
    assert here(small_disk / "data") == [".kaggle-download"] and server.downloads == 1
    (small_disk / "filling").unlink()
    server.error = (500, "not asked")  # the archive is whole
    whole(sources.fetch("kaggle", data_dir=small_disk / "data"))


def test_a_folder_that_cannot_be_written(tmp_path, server, capfd):
    (tmp_path / "file").write_text("")
    assert fetch(tmp_path / "file" / "data") == 2
    assert "choose another --data-dir" in capfd.readouterr().err and server.requests == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path, server, capfd):
    tmp_path.chmod(0o500)
    assert fetch(tmp_path / "data") == 1
    tmp_path.chmod(0o700)
    assert "Permission denied" in capfd.readouterr().err


def test_the_command_may_not_write(data, server, monkeypatch, home, capfd):
    """Its folder of settings lies where no folder can be made, as in some containers."""
    (home / "file").write_text("")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", "/proc/kaggle" if os.path.isdir("/proc") else str(home / "file" / "x"))
    assert fetch(data) == 1
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "refuses" not in said and all(offer in said for offer in OFFER)


def test_a_local_permission_is_not_taken_for_kaggles():
    said = "Traceback (most recent call last)\nPermissionError: [Errno 13] Permission denied: '/.config/kaggle'"
    error = kaggle._failure(said, Path("a.zip"), status=1, stalled=False)
    assert "may not write (PermissionError" in str(error) and "KAGGLE_CONFIG_DIR" in str(error)


# words


def test_messages_hold_no_secrets(monkeypatch, home):
    monkeypatch.setenv("KAGGLE_KEY", "hunter2hunter2")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / ".kaggle").mkdir()
    (home / ".kaggle" / "access_token").write_text("from-a-file\n")
    said = download.clean(
        "Dataset URL: https://www.kaggle.com/x\n"
        "\x1b[31mError\x1b[0m for user: hunter2hunter2, from-a-file\r 10%|#| 1/9 [00:01<00:02, 3B/s]\n"
        "Authorization: Bearer abc.def KGAT_0123abc 0123456789abcdef0123456789abcdef\n"
        "403 for https://me:pass@storage.example/archive.zip?X-Signature=abc&X-Credential=def\n\n"
    )
    assert said == (
        "Error for user: ..., ... / Authorization: ... ... ... / 403 for https://...@storage.example/archive.zip?..."
    )


def test_of_a_traceback_the_last_line():
    output = 'Traceback (most recent call last):\n  File "a.py", line 1\n    x\nKeyError: y\n'
    assert download.clean(output) == "KeyError: y"


def test_run_goes_on_with_the_sample_when_asked_to(data, server, monkeypatch, capfd):
    from cxr_utils import course

    seen = []

    def run(names, **options):
        seen.append(options)
        raise CxrError("the end")

    monkeypatch.setattr(course, "run", run)
    server.error = (404, "Dataset not found")
    order = ["run", "--source", "kaggle", "--profile", "workshop", "--data-dir", str(data)]
    assert cli.main([*order, "--otherwise", "sample"]) == 1
    assert (seen[0]["source"], seen[0]["profile"]) == ("sample", "sample")
    said = capfd.readouterr().err
    assert "does not have it (404" in said and "going on with the phantoms" in said
    assert cli.main([*order, "--otherwise", "medmnist"]) == 2
    server.error = None
    assert cli.main([*order, "--otherwise", "sample"]) == 1
    assert (seen[1]["source"], seen[1]["profile"]) == ("kaggle", "workshop")


def test_a_certificate_of_a_company_is_not_a_computer_that_is_offline():
    said = download.clean(
        "HTTPSConnectionPool(host='zenodo.org', port=443): Max retries exceeded with url: /x (Caused by SSLError("
        "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed')))"
    )
    assert said.startswith("no connection to zenodo.org: its certificate is not trusted by this Python")
    assert "REQUESTS_CA_BUNDLE" in said and "SSL_CERT_FILE" in said and "online" not in said
