"""What stands before the page refuses in one plain line, whatever the request says, and keeps nothing of it."""

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_utils.errors import BadInput
from cxr_utils.predict import guard, uploads


async def answering(scope, receive, send):
    """Stand in for the page: take all there is, and say so."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def asked(headers, *, inner=answering, path="/", method="GET", body=(b"",), **options):
    """Ask a guarded page; return status and text."""
    made = guard.Guard(inner, **{"local": True, "public_url": None, "most": 10_000, "forget": 60} | options)
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost:7860")]}
    for name, value in headers.items():
        scope["headers"] = [(n, v) for n, v in scope["headers"] if n != name.encode()] + [(name.encode(), value)]
    pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body[:-1]]
    pieces += [{"type": "http.request", "body": body[-1], "more_body": False}] if body else []
    sent = []

    async def receive():
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(made(scope, receive, send))
    status = sent[0]["status"] if sent else None
    return status, b"".join(message.get("body", b"") for message in sent).decode()


PUBLIC = {"public_url": "https://cxr.example.org/chest"}
ASKED = [
    ({}, {}, 200),
    ({"host": b"127.0.0.1:7860"}, {}, 200),
    ({"host": b"127.0.0.2:7860"}, {}, 200),  # cxr app --host 127.0.0.2
    ({"host": b"[::1]:7860"}, {}, 200),
    ({"host": b"evil.example"}, {}, 421),
    ({"host": b"hub.example.org"}, {}, 421),
    ({"host": b""}, {}, 421),
    ({"host": b"192.0.2.7"}, {}, 421),
    ({"host": b"localhost.evil.example"}, {}, 421),
    ({"host": b"[::1"}, {}, 400),
    ({"host": b"localhost:port"}, {}, 400),
    ({"host": b"localhost:99999"}, {}, 400),
    ({"origin": b"http://["}, {}, 400),
    ({"origin": b"http://localhost:7860"}, {}, 200),
    ({"origin": b"null"}, {}, 403),
    ({"origin": b"http://evil.example"}, {}, 403),
    ({"origin": b"http://localhost:7861"}, {}, 403),
    ({"host": b"evil.example", "origin": b"http://evil.example"}, {}, 421),
    ({"content-length": b"many"}, {}, 400),
    ({"content-length": b"99999999"}, {}, 413),
    # Behind nginx with its defaults, the page is asked by the name that nginx calls it.
    ({"host": b"127.0.0.1:7860", "origin": b"https://cxr.example.org"}, PUBLIC, 200),
    ({"host": b"cxr.example.org", "origin": b"https://cxr.example.org"}, PUBLIC, 200),
    ({"host": b"CXR.example.org"}, PUBLIC, 200),
    ({"host": b"evil.example"}, PUBLIC, 421),
    ({"host": b"127.0.0.1:7860", "origin": b"https://evil.example"}, PUBLIC, 403),
    ({"host": b"127.0.0.1:7860", "origin": b"http://cxr.example.org"}, PUBLIC, 403),
    ({"host": b"127.0.0.1:7860", "origin": b"https://cxr.example.org.evil.example"}, PUBLIC, 403),
    ({"host": b"hospital.example"}, {"local": False}, 200),
    ({"host": b"hospital.example", "origin": b"http://evil.example"}, {"local": False}, 403),
]


@pytest.mark.parametrize(("headers", "options", "status"), ASKED)
def test_who_may_ask(headers, options, status):
    found, text = asked(headers, **options)
    assert found == status and "\n" not in text
    if status in (403, 421):
        assert "behind a proxy start it with --public-url ADDRESS" in text


@given(st.sampled_from(["host", "origin", "content-length"]), st.binary(max_size=30))
def test_whatever_a_header_says_the_answer_is_plain(name, value):
    status, text = asked({name: value})
    assert status in (200, 400, 403, 413, 421) and text.isprintable()


def test_a_proxy_may_leave_the_path_as_it_is():
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["path"])
        await answering(scope, receive, send)

    for path in ("/chest/config", "/config", "/chest/", "/chestnut"):
        assert asked({}, inner=inner, path=path, **PUBLIC)[0] == 200
    assert seen == ["/config", "/config", "/", "/chestnut"]


NO_ADDRESS = ["cxr.example.org", "ftp://a.b", "https://", "https://[::1", "https://a:b", "https://a@b", "http://a?b"]


@pytest.mark.parametrize("url", [*NO_ADDRESS, "https://a.b/\x1b[2J", "https://a b"])
def test_what_is_no_address(url):
    with pytest.raises(BadInput, match=r"public_url: .* is no address such as https://cxr.example.org/chest"):
        guard.public(url)


@pytest.mark.parametrize(("path", "most"), [("/login", guard.MOST_BYTES_ASKED), ("/gradio_api/upload", 10_000)])
def test_a_request_without_a_length_has_an_end(path, most):
    taken = []

    async def inner(scope, receive, send):
        while (message := await receive())["type"] != "http.disconnect":
            taken.append(len(message["body"]))
        raise OSError("gone")

    piece = bytes(5_000)
    status, text = asked({}, inner=inner, path=path, method="POST", body=[piece] * (most // 5_000 + 9))
    assert status == 413 and "too large" in text and sum(taken) <= most


@pytest.mark.parametrize(
    ("error", "path", "status"),
    [
        (OSError(28, "No space left on device"), "/gradio_api/upload", 507),
        (TypeError("not a file"), "/gradio_api/upload", 400),
        (ValueError("embedded null byte"), "/gradio_api/upload", 400),
    ],
)
def test_what_fails_becomes_a_plain_line(error, path, status):
    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})  # as Starlette does before it raises
        await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise error

    assert asked({}, inner=inner, path=path, method="POST")[0] == status


def test_uploads_that_wait_have_a_bound(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uploads.close()
    (uploads.folder().path / "waits").write_bytes(bytes(50))
    monkeypatch.setattr(guard, "MOST_BYTES_KEPT", 100)
    upload = {"path": "/gradio_api/upload", "method": "POST"}
    assert asked({"content-length": b"50"}, **upload)[0] == 200
    assert asked({"content-length": b"51"}, **upload)[0] == 503
    uploads.close()


def form(*files, cut=None):
    """Return the body of a form with files, (name, content) each, or its first bytes."""
    sink = io.BytesIO()
    for name, content in files:
        about = 'form-data; name="files"' + ("" if name is None else f'; filename="{name}"')
        sink.write(f"--XX\r\nContent-Disposition: {about}\r\n\r\n".encode() + content + b"\r\n")
    sink.write(b"--XX--\r\n")
    return sink.getvalue()[:cut]


@pytest.fixture
def gradios(monkeypatch, tmp_path):
    """Return Gradio's own way of taking an upload, as an application, and the folder it fills."""
    route_utils = pytest.importorskip("gradio.route_utils", reason="the page needs the extra app")
    from starlette.exceptions import HTTPException
    from starlette.formparsers import MultiPartException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(route_utils, "GradioUploadFile", uploads.upload_type(3))
    uploads.close()

    async def inner(scope, receive, send):
        folder = uploads.folder().path
        try:
            taken = (await route_utils.upload_fn(Request(scope, receive), folder, 1000, None, force_move=False))[0]
            answer = JSONResponse(list(map(str, taken)))
        except (HTTPException, MultiPartException) as error:
            answer = PlainTextResponse(getattr(error, "detail", None) or error.message, 400)
        await answer(scope, receive, send)

    yield inner, uploads.folder().path
    uploads.close()


GOOD = ("Meier_Anna.jpeg", b"g" * 100)
BROKEN_OFF = {"in the second": form(GOOD, ("b", b"b" * 500), cut=400), "in the first": form(GOOD, cut=120)}
REFUSED = {
    "too big": form(GOOD, ("big.png", bytes(2000))),
    "two dots": form(GOOD, ("..", b"x")),
    "one dot": form(GOOD, (".", b"x")),
    "no name": form(GOOD, ("", b"x")),
    "slashes": form(GOOD, ("a/..", b"x")),
    "no file at all": form(GOOD, (None, b"x")),
    "a null": form(GOOD, ("a\0b", b"x")),
    "too many": form(*[GOOD] * 4),
    "no end": form(GOOD)[:-4] + b"@@@",
    "no form": b"x",
}


@pytest.mark.parametrize("kind", [*REFUSED, *BROKEN_OFF])
def test_of_an_upload_that_was_not_taken_nothing_stays(gradios, kind):
    inner, folder = gradios
    content = (REFUSED | BROKEN_OFF)[kind]
    body = [content[:90], content[90:]] if kind in REFUSED else [content, b"more"][:2]
    headers = {"content-type": b"multipart/form-data; boundary=XX"}

    async def breaks(scope, receive, send):
        first = True

        async def some():
            nonlocal first
            first, was = False, first
            return await receive() if was else {"type": "http.disconnect"}

        await inner(scope, some, send)

    given = breaks if kind in BROKEN_OFF else inner
    status, text = asked(headers, inner=given, path="/gradio_api/upload", method="POST", body=body)
    assert status in (None, 200, 400) and "\n" not in text
    if status == 200:  # a null is taken out of a name
        assert kind in ("a null", "no end", "slashes")
    else:
        assert list(folder.iterdir()) == []


def test_a_full_disk_keeps_nothing(gradios, monkeypatch):
    inner, folder = gradios
    from gradio import route_utils

    async def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(route_utils.GradioUploadFile, "write", full)
    headers = {"content-type": b"multipart/form-data; boundary=XX"}
    status, text = asked(headers, inner=inner, path="/gradio_api/upload", method="POST", body=[form(GOOD)])
    assert status == 507 and "no room" in text and list(folder.iterdir()) == []


def test_what_is_taken_stays_until_it_is_answered(gradios):
    inner, folder = gradios
    headers = {"content-type": b"multipart/form-data; boundary=XX"}
    body = [form(GOOD, GOOD)]
    status, text = asked(headers, inner=inner, path="/gradio_api/upload", method="POST", body=body)
    kept = sorted(path for path in folder.rglob("*") if path.is_file())
    assert status == 200 and len(kept) == 2 and all(str(path) in text for path in kept)
    for path in kept:
        uploads.folder().drop(path)
    assert list(folder.iterdir()) == []
