"""A stand-in for Kaggle and Zenodo on this machine, for the unmodified kaggle command and for pooch."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serve one file, or one error.

    Attributes
    ----------
    content : bytes
        What every download gives.
    error : tuple of int and str, or None
        A status and message that Kaggle's interface answers with in place of a download.
    requests : list of str
        Method, path and body of what was asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.error: tuple[int, str] | None = None
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables that send the kaggle command here, with no credentials from this machine."""
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": self.url,
            "no_proxy": "",
            "NO_PROXY": "",
            "HOME": str(home),
            "USERPROFILE": str(home),
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
        }


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        """Answer Kaggle's interface. As a proxy this server gets whole addresses as paths."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.requests.append(f"POST {self.path} {body}")
        if self.server.error:
            status, message = self.server.error
            self._send(status, json.dumps({"code": status, "message": message}).encode(), "application/json")
        elif self.path.endswith("/GetDatasetMetadata"):
            answer = {"info": {"licenses": [{"name": "CC-BY-4.0"}]}, "errorMessage": ""}
            self._send(200, json.dumps(answer).encode(), "application/json")
        else:
            self.send_response(302)
            self.send_header("Location", "http://localhost/archive.zip")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append(f"GET {self.path} ")
        if self.server.error:
            self._send(*self.server.error[:1], b"<html>an error</html>", "text/html")
        else:
            self._send(200, self.server.content, "application/octet-stream")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

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
        server.shutdown()
        thread.join()
        server.server_close()
