"""What stands between the page and whoever asks: names, sizes, and nothing but plain refusals."""

import asyncio
import contextlib
import ipaddress
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from cxr_utils._limits import MOST_BYTES_ASKED, MOST_BYTES_KEPT
from cxr_utils.errors import BadInput
from cxr_utils.predict import uploads

_HEADERS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_WAY_OUT = "behind a proxy start it with --public-url ADDRESS, see docs/page.md"


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach a server at `host`.

    Parameters
    ----------
    host : str
        A name, or an address.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def public(url: str) -> tuple[str, str, str]:
    """Take apart the address at which people open a page that stands behind a proxy.

    Parameters
    ----------
    url : str
        As a browser shows it.

    Returns
    -------
    str, str, str
        Its origin, as browsers say it; the name in it; the path, without a ``/`` at its end.

    Raises
    ------
    BadInput
        It is no such address.

    Examples
    --------
    >>> public("https://hub.example.org/user/a/proxy/7860/")
    ('https://hub.example.org', 'hub.example.org', '/user/a/proxy/7860')
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise BadInput(f"public_url: {url} is no address such as https://cxr.example.org/chest")
    return f"{parts.scheme}://{parts.netloc}".lower(), parts.hostname, parts.path.rstrip("/")


class Guard:
    """An ASGI application before that of Gradio.

    Parameters
    ----------
    inner : callable
        The application.
    local : bool
        Answer only to the names of this machine, and to that of `public_url`.
    public_url : str, optional
        See `public`.
    most : int
        Bytes that one upload may have.
    forget : float
        Seconds after which a file is deleted whose answer nobody waited for.
    """

    def __init__(self, inner: Callable, *, local: bool, public_url: str | None, most: int, forget: float) -> None:
        self.inner, self.local, self.most, self.forget = inner, local, most, forget
        self.origin, self.name, self.path = public(public_url) if public_url else (None, None, "")

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Answer, or refuse in one plain line."""
        if scope["type"] == "lifespan":
            return await self._live(scope, receive, send)
        if scope["type"] != "http":  # a web socket: the page has none
            return await send({"type": "websocket.close"})
        if self.path and scope["path"].startswith(f"{self.path}/"):  # a proxy that leaves the path as it is
            path = scope["path"].removeprefix(self.path)
            scope = scope | {"path": path, "raw_path": path.encode()}
        refused = self._refusal(scope)
        if refused:
            return await _respond(*refused, scope, receive, send)
        if _uploads(scope):
            with uploads.receiving() as outcome:
                outcome["well"] = await self._pass(scope, receive, send) == 200
        else:
            await self._pass(scope, receive, send)

    async def _live(self, scope: dict, receive: Callable, send: Callable) -> None:
        """Run the page from its start to its end, and forget meanwhile what nobody waited for."""

        async def forget() -> None:
            while True:
                await asyncio.sleep(max(1, self.forget / 10))
                await asyncio.to_thread(uploads.folder().forget, self.forget)

        task = asyncio.create_task(forget())
        try:
            await self.inner(scope, receive, send)
        finally:
            task.cancel()

    def _refusal(self, scope: dict) -> tuple[int, str] | None:
        """Say why a request is not answered, or return None if it is."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        try:
            name, asks = _split(f"//{host}"), _split(origin) if origin else None
            length = int(headers.get(b"content-length", "0"))
        except ValueError:
            return 400, "this request is not well formed"
        if self.local and not is_local(name[0] or "") and (self.name is None or name[0] != self.name):
            return 421, f"this page has another name; {_WAY_OUT}"
        if asks and asks[1] != host.lower() and origin.lower() != self.origin:
            return 403, f"asked by another site; {_WAY_OUT}"  # in a browser of somebody who may ask
        if length > self._most(scope):
            return 413, f"too large: at most {self._most(scope):,} bytes are taken"
        if _uploads(scope) and uploads.folder().size() + length > MOST_BYTES_KEPT:
            return 503, "too many images wait for their answers; try again in a minute"
        return None

    def _most(self, scope: dict) -> int:
        return self.most if _uploads(scope) else MOST_BYTES_ASKED

    async def _pass(self, scope: dict, receive: Callable, send: Callable) -> int:
        """Have the application answer; return the status. What fails in it becomes a plain line."""
        status, taken, well, more = 0, 0, True, True

        async def counted() -> dict:
            nonlocal taken, more
            message = await receive()
            taken += len(message.get("body", b""))
            more = message.get("more_body", False) and taken <= self._most(scope)
            # A request without its length; to the application it ends as if the other side had gone.
            return message if taken <= self._most(scope) else {"type": "http.disconnect"}

        async def sealed(message: dict) -> None:
            nonlocal status, well
            if message["type"] == "http.response.start":
                status, well = message["status"], message["status"] != 500
                while _uploads(scope) and more:  # who is still sending does not hear a refusal
                    await counted()
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = message | {"headers": [*message.get("headers", []), *added]}
            if well:
                await send(message)

        failed: Exception | None = None
        try:
            await self.inner(scope, counted, sealed)
        except Exception as error:
            if well and status:
                raise  # in the middle of an answer
            failed = error
        if status and well:
            return status
        if taken > self._most(scope):
            answer = 413, f"too large: at most {self._most(scope):,} bytes are taken"
        elif isinstance(failed, OSError):
            answer = 507, "there is no room on the server's disk; try again later"
        elif _uploads(scope):
            answer = 400, "this upload is not well formed"
        else:
            answer = 500, "something failed in the page"
        with contextlib.suppress(OSError):  # the other side may be gone
            await _respond(*answer, scope, receive, send)
        if answer[0] == 500 and failed:
            raise failed
        return answer[0]


def _uploads(scope: dict) -> bool:
    return scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/upload")


def _split(address: str) -> tuple[str | None, str]:
    """Return the name and the place (name and port) in an address; ValueError if there is none."""
    parts = urlsplit(address)
    _ = parts.port  # which is looked at only now
    return parts.hostname, parts.netloc.lower()


async def _respond(status: int, said: str, scope: dict, receive: Callable, send: Callable) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(said, status, headers=_HEADERS)(scope, receive, send)
