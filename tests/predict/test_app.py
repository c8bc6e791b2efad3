"""The page answers in a real browser, keeps nothing, asks nothing of other machines, and keeps strangers out."""

import base64
import contextlib
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from helpers import WATCH, dicom_file
from PIL import Image

from cxr_utils import cli, explain, images, predict
from cxr_utils.errors import BadInput
from cxr_utils.predict import app, uploads

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
gradio = pytest.importorskip("gradio", reason="the page needs the extra app")
httpx = pytest.importorskip("httpx")
PROGRAM = f"{WATCH}from cxr_utils.cli import main\nsys.exit(main(sys.argv[1:]))"


#: What Gradio shows before the log-in: the form for it, and what draws it.
WITHOUT_LOG_IN = {"/", "/favicon.ico", "/logout", "/manifest.json", "/robots.txt", "/theme.css"}


def as_sent(path, name):
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


class Served:
    """A page that runs in a process of its own."""

    def __init__(self, url, process, folder):
        self.url, self.process, self.folder = url, process, folder

    def uploads(self):
        return {path for path in self.folder.glob("cxr-app-*/**/*") if path.is_file()}

    def asked(self):
        log = self.folder / "asked.txt"
        return log.read_text() if log.exists() else ""

    def answer(self, *paths, sent=None):
        """Ask as a browser does, for files or for what is `sent` instead; return the HTML."""
        with httpx.Client(base_url=f"{self.url}/gradio_api", trust_env=False, timeout=60) as client:
            if sent is None:
                opened = [("files", (path.name, path.read_bytes())) for path in paths]
                kept = client.post("/upload", files=opened).raise_for_status().json()
                sent = [as_sent(one, path.name) for one, path in zip(kept, paths, strict=True)]
            event = client.post("/call/answer", json={"data": [sent]}).raise_for_status().json()["event_id"]
            told = client.get(f"/call/answer/{event}").text
        found = re.search(r"event: complete\ndata: (.*)", told)
        return json.loads(found[1])[1] if found else told


@pytest.fixture(scope="module")
def served(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    nowhere |= {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks://127.0.0.1:9/"}  # no matter to the page
    command = [sys.executable, "-c", PROGRAM, "app", "--model", str(trained / "out-gray/m.keras"), "--port", "0"]
    process = subprocess.Popen(
        command, env=os.environ | nowhere | {"TMPDIR": str(folder), "ASKED": str(folder / "asked.txt")},
        stdout=subprocess.PIPE, text=True, stderr=(folder / "errors.txt").open("w"),
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert "the page is at http://127.0.0.1:" in line, (folder / "errors.txt").read_text()
        made = Served(re.search(r"http://[\d.:]+", line)[0], process, folder)
        for _ in range(100):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(made.url, trust_env=False)
                break
            time.sleep(0.1)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert list(folder.glob("cxr-app-*")) == []  # it tidied up


@pytest.fixture
def visit(browser, served):
    """Open the page in a new window; at the end, see that none of its requests went elsewhere and no script failed."""
    asked, failed, opened = [], [], []

    def visit(**look):
        context = browser.new_context(**look)
        opened.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(served.url)
        page.wait_for_selector("#upload input[type=file]", state="attached")
        return page

    yield visit
    for context in opened:
        context.close()
    elsewhere = [url for url in asked if not url.startswith((f"{served.url}/", "data:", "blob:"))]
    assert len(asked) > 10 and elsewhere == [] and failed == [] and served.asked() == ""


@pytest.fixture(scope="module")
def films(trained):
    return sorted((trained / "data/sample/chest_xray/test").glob("*/*"))


@pytest.fixture(scope="module")
def truth(trained):
    """Return what `cxr predict` says of files: their probabilities, as the page writes them."""
    predictor = predict.load(trained / "out-gray/m.keras")
    return lambda paths: [f"{one.probability:.3f}" for one in predict.predict(predictor, paths)]


def drop(page, paths):
    """Drop files, and return the answers' names and texts."""
    before = page.locator("#answers article").count()
    page.evaluate("document.querySelectorAll('#answers article').forEach(one => one.remove())" if before else "0")
    page.set_input_files("#upload input[type=file]", paths)
    page.wait_for_function("n => document.querySelectorAll('#answers article').length == n", arg=len(paths))
    return read(page)


def read(page):
    return [one.inner_text() for one in page.locator("#answers article").all()]


def probabilities(text):
    return re.findall(r"probability of PNEUMONIA\s*(?:<strong>)?([01]\.\d{3})", text)


def test_files_of_all_kinds(visit, served, films, truth, tmp_path):
    picture = images.read(films[0])
    Image.fromarray(picture).save(tmp_path / "child.png")
    dicom_file(tmp_path / "child.dcm", picture, PatientAge="040Y", ViewPosition="AP", BodyPartExamined="CHEST")
    (tmp_path / "notes.txt").write_text("no image")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png", compress_level=1)
    wide = tmp_path / "wide.jpeg"
    Image.new("L", (30_000, 2_000)).save(wide)
    good = [films[0], tmp_path / "child.png", tmp_path / "child.dcm"]
    page = visit()
    texts = drop(page, [*good, tmp_path / "notes.txt", tmp_path / "huge.png", wide])
    names = [films[0].name, "child.png", "child.dcm", "notes.txt", "huge.png", "wide.jpeg"]
    assert [text.splitlines()[0] for text in texts] == names
    assert [probabilities(text) for text in texts] == [[one] for one in truth(good)] + [[], [], []]
    assert predict.OUTSIDE in texts[2] and "age is outside" in texts[2]
    assert "of no known format" in texts[3] and "pixels" in texts[4] and "30000 x 2000" in texts[5]
    assert page.locator("#answers img.heat").count() == 3
    assert served.uploads() == set()  # each is deleted when it is answered
    assert predict.NOTICE in page.inner_text("body") and "trained on phantoms" in page.inner_text("body")


def test_ten_at_once_and_a_reload_in_the_middle(visit, served, films, truth):
    page = visit()
    chosen = films[::19][:10]
    assert [probabilities(text) for text in drop(page, chosen)] == [[one] for one in truth(chosen)]
    page.set_input_files("#upload input[type=file]", chosen)
    page.reload()
    page.wait_for_selector("#upload input[type=file]", state="attached")
    assert read(page) == []
    assert probabilities("".join(drop(page, films[:1]))) == truth(films[:1])


def test_by_keyboard_on_a_phone_and_in_the_dark(visit):
    page = visit(viewport={"width": 375, "height": 800}, color_scheme="dark", is_mobile=True)
    names = []
    for _ in range(20):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.innerText || document.activeElement.type || ''").strip())
        if names[-1] == "upside down":
            break
    assert "normal" in names and names[-1] == "upside down"
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers article")
    assert "phantom, upside down" in read(page)[0] and predict.OUTSIDE in read(page)[0]
    slider = page.locator("#strength input[type=range]")
    assert page.evaluate("getComputedStyle(document.querySelector('img.heat')).opacity") == "0.75"
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("getComputedStyle(document.querySelector('img.heat')).opacity == '0'")
    page.get_by_role("button", name="Model card").press("Enter")
    page.wait_for_selector("text=Intended use")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    shades = "getComputedStyle(document.body)['{}'].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    assert page.evaluate(shades.format("backgroundColor")) < 150 < page.evaluate(shades.format("color"))


def test_a_name_is_no_program(visit, films, tmp_path):
    hostile = tmp_path / "${document.title='caught'}{{value}}<img src=x onerror=document.title='caught'>&.jpeg"
    hostile.write_bytes(films[0].read_bytes())
    page = visit()
    (text,) = drop(page, [hostile])
    assert "onerror" in text and page.title() != "caught" and page.locator("#answers img[src=x]").count() == 0


def test_the_browser_is_told_to_ask_nobody_else(browser, served):
    page = browser.new_page()
    page.goto(served.url)
    refused = "new Promise(done => { document.addEventListener('securitypolicyviolation', e => done(e.blockedURI)); " \
              "fetch('http://127.0.0.1:9/').catch(() => 0) })"  # fmt: skip
    assert page.evaluate(refused).startswith("http://127.0.0.1:9")
    page.close()


def test_too_many_at_once_is_said(visit, served, films):
    left, page = served.uploads(), visit()
    page.set_input_files("#upload input[type=file]", films[: app.MOST_FILES + 1])
    page.get_by_text(f"at most {app.MOST_FILES} files at once are answered").first.wait_for()
    assert served.uploads() <= left
    assert len(drop(page, films[:1])) == 1  # and the page goes on


def test_twenty_at_the_same_time(served, films, truth):
    chosen = films[::9][:20]
    expected, process = truth(chosen), psutil.Process(served.process.pid)
    left = served.uploads()  # by the reload above, to be deleted after app.FORGET

    def round_of(paths):
        with ThreadPoolExecutor(20) as pool:
            return [(probabilities(text), text) for text in pool.map(served.answer, paths)]

    sizes = []
    for _ in range(3):
        for path, wanted, (found, text) in zip(chosen, expected, round_of(chosen), strict=True):
            assert found == [wanted] and html.escape(path.name) in text
        sizes.append(process.memory_info().rss / 2**20)
    assert sizes[-1] - sizes[0] < 40, sizes
    # The same file from twenty people: the first answer must not take it from the others.
    assert [found for found, _ in round_of(chosen[:1] * 20)] == [expected[:1]] * 20
    assert served.uploads() <= left


def test_what_was_not_uploaded_is_not_read(served, films, tmp_path):
    mine = shutil.copy(films[0], tmp_path)
    for path in (str(mine), "http://192.0.2.1/chest.jpeg", "/etc/passwd"):
        told = served.answer(sent=[as_sent(path, "a.jpeg")])
        assert "event: error" in told and "article" not in told
    assert Path(mine).exists() and served.asked() == ""


def test_limits_and_strangers(served, films):
    left = served.uploads()
    get = {"trust_env": False, "timeout": 30}
    assert httpx.get(served.url, headers={"host": "evil.example"}, **get).status_code == 421
    assert httpx.get(f"{served.url}/config", headers={"origin": "http://evil.example"}, **get).status_code == 403
    big = {"files": ("big.png", bytes(app.MOST_BYTES + 1))}
    assert httpx.post(f"{served.url}/gradio_api/upload", files=big, **get).status_code == 413
    opened = [("files", (path.name, path.read_bytes())) for path in films[: app.MOST_FILES + 1]]
    told = httpx.post(f"{served.url}/gradio_api/upload", files=opened, **get)
    assert (told.status_code, told.text) == (400, f"at most {app.MOST_FILES} files at once are answered")
    assert httpx.get(f"{served.url}/gradio_api/file=/etc/passwd", **get).status_code in (403, 404)
    assert served.uploads() <= left


def test_a_file_that_is_named_twice_and_one_beside_it_are_deleted(served, films):
    left = served.uploads()
    with httpx.Client(base_url=f"{served.url}/gradio_api", trust_env=False, timeout=60) as client:
        opened = [("files", (name, films[0].read_bytes())) for name in ("a.jpeg", "b.jpeg")]
        one, other = client.post("/upload", files=opened).raise_for_status().json()
    told = served.answer(sent=[as_sent(one, "a.jpeg"), as_sent(one, "a.jpeg"), as_sent(other, "b.jpeg")])
    assert len(probabilities(told)) == 3 and served.uploads() <= left


def test_a_slow_file_holds_nobody_else(trained, films, monkeypatch):
    """One user's file is still being read while another's is answered; and the rest of a slow request has an end."""
    predictor = predict.load(trained / "out-gray/m.onnx")
    reading, go_on, look = threading.Event(), threading.Event(), images.look

    def slow(path, **options):
        if path == "slow":
            reading.set()
            assert go_on.wait(60)
            path = films[0]
        return look(path, **options)

    monkeypatch.setattr(images, "look", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(app.answer, predictor, [("a", "slow")])
        assert reading.wait(60)
        try:
            assert probabilities(app.answer(predictor, [("b", films[1])])) and not first.done()
        finally:
            go_on.set()
        assert probabilities(first.result())
    monkeypatch.setattr(app, "PATIENCE", -1)
    assert "send it again, alone" in app.answer(predictor, [("a", films[0])])
    assert app.build(predictor)._queue.default_concurrency_limit == app.AT_ONCE > 1


def test_heat_is_laid_as_in_figures():
    picture = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    heat = np.linspace(0, 1, 48 * 64, dtype="float32").reshape(48, 64)
    content = app._layer(heat).removeprefix("data:image/png;base64,")
    layer = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED).astype(float)
    alpha = layer[..., 3:] / 255 * 0.5
    shown = picture[..., None] * (1 - alpha) + layer[..., 2::-1] * alpha
    assert np.abs(shown - explain.overlay(picture, heat, strength=0.5)).max() < 2


def test_without_gradients_it_says_so(trained, films):
    predictor = predict.load(trained / "out-gray/m.onnx")
    assert "ONNX" in app.why_no_heat(predictor)
    text = app.answer(predictor, [("a", films[0])])
    assert probabilities(text) and "heat" not in text
    config = json.dumps(app.build(predictor).get_config_file())
    assert "No heat map: this model is in the form of ONNX" in config and "Strength of the heat map" not in config


def test_a_password_is_asked_for(trained, tmp_path, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    uploads.close()
    page = app.build(predict.load(trained / "out-gray/m.onnx"))
    made = app.server(page, local=False, auth=("teacher", "correct horse"))
    with TestClient(made, base_url="http://hospital.example") as client:
        assert client.get("/config").status_code == 401
        open_to_all = {route.path for route in page.app.routes if "{" not in getattr(route, "path", "{")}
        open_to_all = {path for path in open_to_all if client.get(path).status_code == 200}
        assert open_to_all <= WITHOUT_LOG_IN, open_to_all
        assert client.post("/gradio_api/upload", files={"files": ("a", b"a")}).status_code == 401
        assert client.post("/login", data={"username": "teacher", "password": "guess"}).status_code == 400
        assert client.post("/login", data={"username": "teacher", "password": "correct horse"}).status_code == 200
        assert client.get("/config").status_code == 200
        for name in ("", ".", "..", "/", "a/..", "\0", "\\", "con", "a" * 5000, "\u202e"):
            told = client.post("/gradio_api/upload", files={"files": (name, b"a")})
            assert told.status_code in (200, 400, 413), name
        for content in (None, [], {}, {"data": []}, {"data": ["x"]}, {"data": [[{"path": "\0"}]]}, {"data": [1, 2, 3]}):
            for path in ("run", "api", "run/", "call"):  # there is no way past the queue
                told = client.post(f"/gradio_api/{path.strip('/')}/answer{'/' * path.endswith('/')}", json=content)
                assert told.status_code in (422, 200 if path == "call" else 404), (path, content)
        (sent,) = client.post("/gradio_api/upload", files={"files": ("a", b"a")}).json()
        assert Path(sent).is_file()
        uploads.folder().forget(-1)  # as the page does for what nobody waited for
        assert not Path(sent).exists()
    uploads.close()


def test_others_are_let_in_with_a_password_alone(trained, monkeypatch, capsys, served):
    model = ["app", "--model", str(trained / "out-gray/m.onnx")]
    monkeypatch.delenv(app.PASSWORD, raising=False)
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    for more, reason in (
        (["--host", "0.0.0.0"], "needs --auth USER"),
        (["--host", "0.0.0.0", "--auth", "teacher"], app.PASSWORD),
        (["--public-url", "https://cxr.example.org"], "needs --auth USER"),
        (["--port", served.url.rsplit(":")[-1]], "choose another --port"),
    ):
        assert cli.main([*model, *more]) == 2
        assert reason in capsys.readouterr().err
    monkeypatch.setenv(app.PASSWORD, "short")
    assert cli.main([*model, "--host", "0.0.0.0", "--auth", "teacher"]) == 2
    assert f"at least {app.SHORTEST} characters" in capsys.readouterr().err
    with pytest.raises(BadInput, match="https://cxr.example.org: lets others in"):
        app.serve(None, public_url="https://cxr.example.org")
    with pytest.raises(BadInput, match="lets other machines in"):
        app.serve(None, host="192.0.2.1")


def test_without_a_model_it_is_said_as_by_predict(capsys, monkeypatch):
    monkeypatch.setattr(predict, "REFERENCE", "results/models/none")
    assert cli.main(["app"]) == 2
    assert "the shipped one, results/models/none, is not there yet" in capsys.readouterr().err


class Proxy(BaseHTTPRequestHandler):
    """Pass on as a proxy does: ``keeps`` says whether it keeps Host, ``strips`` whether it takes away the path."""

    protocol_version = "HTTP/1.1"
    target = path_of_page = ""
    keeps = strips = True

    def pass_on(self):
        path = self.path.removeprefix(self.path_of_page) if self.strips else self.path
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        headers["host"] = self.headers["host"] if self.keeps else self.target.removeprefix("http://")
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        with httpx.Client(trust_env=False, timeout=60) as client:
            with client.stream(self.command, self.target + path, headers=headers, content=content) as answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.multi_items():
                    if name not in ("connection", "transfer-encoding", "content-length", "date"):
                        self.send_header(name, value)
                self.send_header("connection", "close")
                self.end_headers()
                for piece in answer.iter_raw():
                    self.wfile.write(piece)
                    self.wfile.flush()
        self.close_connection = True

    do_GET = do_POST = do_HEAD = pass_on  # noqa: N815

    def log_message(self, *_):
        pass


PROXIES = {"nginx, defaults": (False, True), "nginx, no path": (False, False), "JupyterHub": (True, True)}


@pytest.mark.parametrize("kind", PROXIES)
def test_behind_a_proxy(kind, browser, trained, films, truth, tmp_path):
    path = "/user/me/proxy/7860" if kind == "JupyterHub" else "/chest"
    handler = type("Handler", (Proxy,), {"path_of_page": path})
    handler.keeps, handler.strips = PROXIES[kind]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        name = f"cxr.example.org:{proxy.server_port}"
        model = ["app", "--model", str(trained / "out-gray/m.onnx"), "--port", "0", "--auth", "teacher"]
        env = os.environ | {app.PASSWORD: "correct horse", "TMPDIR": str(tmp_path)}
        program = "import sys; from cxr_utils.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *model, "--public-url", f"http://{name}{path}/"]
        page = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        try:
            told = re.fullmatch(r"the page is at (http://[\d.:]+), by its proxy at (\S+) .*\n", page.stdout.readline())
            assert told[2] == f"http://{name}{path}/"
            handler.target = told[1]
            window = browser.new_context().new_page()
            asked = []
            window.on("request", lambda request: asked.append(request.url))
            window.goto(f"http://{name}{path}/")
            window.get_by_label("username").fill("teacher")
            window.get_by_label("password").fill("correct horse")
            window.get_by_role("button", name="Login").click()
            window.wait_for_selector("#upload input[type=file]", state="attached")
            assert [probabilities(text) for text in drop(window, films[:1])] == [truth(films[:1])]
            assert [url for url in asked if not url.startswith((f"http://{name}{path}/", "data:", "blob:"))] == []
            get = {"trust_env": False, "timeout": 30}
            assert httpx.get(handler.target, headers={"host": "evil.example"}, **get).status_code == 421
            assert httpx.get(handler.target, headers={"origin": "http://evil.example"}, **get).status_code == 403
        finally:
            page.terminate()
            page.wait()
            proxy.shutdown()
    assert list(tmp_path.glob("cxr-app-*")) == []
