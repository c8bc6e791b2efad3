"""A stand-in for Kaggle and Zenodo on this machine, for the unmodified kaggle command and for pooch."""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

COUNTS = {
    "train": {"NORMAL": 2, "PNEUMONIA": 3},
    "val": {"NORMAL": 1, "PNEUMONIA": 1},
    "test": {"NORMAL": 1, "PNEUMONIA": 2},
}


def jpeg() -> bytes:
    sink = io.BytesIO()
    Image.new("L", (4, 3), 99).save(sink, "JPEG")
    return sink.getvalue()


def names() -> list[str]:
    return [
        f"chest_xray/{split}/{name}/" + (f"IM-{n:04d}-0001.jpeg" if name == "NORMAL" else f"person{n}_virus_1.jpeg")
        for split, classes in COUNTS.items()
        for name, number in classes.items()
        for n in range(number)
    ]


def make_folder(top: Path) -> Path:
    for name in names():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(jpeg())
    return top / "chest_xray"


def make_archive(*, filling: bytes = b"-") -> bytes:
    """Return an archive as Kaggle's: every image twice, and what macOS leaves behind."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in names():
            archive.writestr(name, jpeg())
            archive.writestr(f"chest_xray/{name}", jpeg())
        archive.writestr("chest_xray/__MACOSX/chest_xray/train/NORMAL/._IM-0000-0001.jpeg", b"-")
        archive.writestr("chest_xray/train/.DS_Store", filling)
    return sink.getvalue()


def images(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in (folder / "chest_xray").rglob("*.*"))


def here(folder: Path) -> list[str]:
    """List what lies in a data folder, but for locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


class Server(ThreadingHTTPServer):
    """Serve one file, with all the ways in which that can go wrong.

    Attributes
    ----------
    content : bytes
        What every download gives.
    contents : list of bytes
        What the next downloads give in place of it.
    error : tuple of int and str, or None
        A status and message that Kaggle's interface answers with in place of a download.
    errors : int or None
        How many times; None is always.
    breaks : list of int
        At which byte of the file each of the next downloads breaks off.
    breaks_always : int or None
        At which byte every download breaks off.
    silent : bool
        Take requests and never answer.
    resumes : bool
        Name the file's version, and give parts of it.
    wants : str
        What the header Authorization must be; any other is answered with 401.
    requests : list of str
        Method, path and body of what was asked for.
    ranges : list of str
        The header Range of each download.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.contents: list[bytes] = []
        self.error: tuple[int, str] | None = None
        self.errors: int | None = None
        self.breaks: list[int] = []
        self.breaks_always: int | None = None
        self.silent = False
        self.resumes = True
        self.wants = ""
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def downloads(self) -> int:
        return len(self.ranges)

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables that send the kaggle command here, with no credentials from this machine."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": self.url,
            "no_proxy": "",
            "NO_PROXY": "",
            "HOME": str(home),
            "USERPROFILE": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
        }


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        """Answer Kaggle's interface. As a proxy this server gets whole addresses as paths."""
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        server.requests.append(f"POST {self.path} {body}")
        if server.silent:
            server.closing.wait()
        elif self.path.endswith("/IntrospectToken"):
            known = json.loads(body)["token"] in server.wants
            self._json(200, {"active": known, "username": "anna" if known else ""})
        elif self._fails():
            self._json(server.error[0], {"code": server.error[0], "message": server.error[1]})
        elif server.wants and self.headers.get("Authorization") != server.wants:
            self._json(401, {"code": 401, "message": "Unauthenticated"})
        elif self.path.endswith("/GetDatasetMetadata"):
            self._json(200, {"info": {"licenses": [{"name": "CC-BY-4.0"}]}, "errorMessage": ""})
        else:
            self.send_response(302)
            self.send_header("Location", "http://localhost/archive.zip?X-Signature=planted-signature")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(f"GET {self.path} ")
        if self._fails():
            return self._send(server.error[0], b"<html>an error</html>", {"Content-Type": "text/html"})
        server.ranges.append(self.headers.get("Range", ""))
        content = server.contents.pop(0) if server.contents else server.content
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(first[1]) if first and server.resumes else 0
        end = server.breaks.pop(0) if server.breaks else server.breaks_always
        version = {"ETag": '"1"', "Accept-Ranges": "bytes"} if server.resumes else {}
        self._send(206 if start else 200, content[start:], version, stop=end and max(end - start, 0))

    def _fails(self) -> bool:
        """Tell whether this request gets an error, and count it."""
        if self.server.error is None or self.server.errors == 0:
            return False
        if self.server.errors:
            self.server.errors -= 1
        return True

    def _json(self, status: int, content: dict) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, stop: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/octet-stream"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:stop])

    def log_message(self, *args: object) -> None:
        """Keep the tests' output quiet."""


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Run a server in a thread, and end both."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
