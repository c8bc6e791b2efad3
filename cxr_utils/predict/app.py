"""The page: drop an image, and see what a model says of it, where it looks, and what it is for.

Gradio draws it. It is open to this machine alone unless a password is set, asks nothing of other machines, and keeps
no image longer than its answer takes.
"""

import base64
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cxr_utils import _limits, _machine, _pages, explain, images, predict
from cxr_utils.errors import BadInput, CxrError, printable
from cxr_utils.predict import guard, uploads
from cxr_utils.predict.guard import is_local

MOST_FILES, MOST_BYTES = _limits.PAGE_FILES, _limits.PAGE_BYTES
#: Requests that may wait for their turn, and those whose images are read at the same time: one that is slow to read
#: doesn't hold the others. The model itself answers one after the other.
WAITING = 100
AT_ONCE = 3
#: Seconds after which the rest of a request's images are not read, so that the next request has its turn.
PATIENCE = 60
STRENGTH = 75
#: Seconds after which an upload is deleted whose answer nobody waited for; one that is answered goes at once.
FORGET = 600
#: Phantoms drawn for the page, and their kind; the last stands on its head.
EXAMPLES = {"normal": "normal", "bacterial": "bacteria", "viral": "virus", "upside down": "normal"}
PASSWORD = "CXR_APP_PASSWORD"  # nosec B105: the name of a variable
SHORTEST = 8

_HERE = Path(__file__).parent
_SIDE = 640
_TURN = threading.Lock()


def answer(predictor: predict.Predictor, named: Sequence[tuple[str, str | Path | np.ndarray]]) -> str:
    """Answer for images, as HTML that holds all it shows.

    Parameters
    ----------
    predictor : Predictor
        From `predict.load`.
    named : sequence of (str, str or Path or ndarray)
        What each image is called, and its file or its pixels (uint8, shape (h, w)).

    Returns
    -------
    str
        One ``<article>`` an image, in their order: the picture under its heat map, the probability with the threshold
        on it, the verdict; or why it can't be read. Nothing in it comes from elsewhere, and every name is escaped.
    """
    cards, read, until = {}, {}, time.monotonic() + PATIENCE
    for number, (name, image) in enumerate(named):
        try:
            if time.monotonic() > until:
                raise BadInput(f"the images before it took more than {PATIENCE} s; send it again, alone")
            known = isinstance(image, np.ndarray)
            picture, said = (image, []) if known else images.look(image, at_least=predictor.at_least)
            # Of a large picture only what is shown is kept.
            read[number] = predictor.prepare(picture), _shrink(picture), said
        except BadInput as error:
            cards[number] = {"name": name, "reason": str(error).removeprefix(f"{printable(image)}: ")}
    if read:
        small = np.stack([prepared for prepared, _, _ in read.values()])
        remarks = [said for _, _, said in read.values()]
        with _TURN:
            answers = predictor.answers(small, names=[named[number][0] for number in read], remarks=remarks)
            heats = predictor.heats(small) if why_no_heat(predictor) is None else [None] * len(read)
        for number, one, heat, pixels in zip(read, answers, heats, small, strict=True):
            # The heat lies on what the model took: the picture stretched, or with black around.
            shown = read[number][1] if predictor.note["resize"] == "squash" else pixels[:, :, 0]
            cards[number] = {"name": one.path, "answer": one, "picture": _inline(_shrink(shown), "jpeg")}
            cards[number] |= {} if heat is None else {"heat": _layer(heat)}
    given = {"cards": [cards[number] for number in range(len(named))], "threshold": predictor.threshold}
    return _pages.fill(_HERE / "answers.html.j2", **given, ramp=_layer(np.linspace(0, 1, 64)[None]))


def why_no_heat(predictor: predict.Predictor) -> str | None:
    """Say why a model has no heat maps, or return None if it has.

    Parameters
    ----------
    predictor : Predictor
        From `predict.load`.

    Returns
    -------
    str or None
    """
    try:
        predictor.heats(np.zeros((1, predictor.model.image_size, predictor.model.image_size, 1), "uint8"))
    except BadInput as error:
        return f"No heat map: {error}"
    return None


def _shrink(picture: np.ndarray) -> np.ndarray:
    shrink = min(1, _SIDE / max(picture.shape))
    size = [max(1, round(side * shrink)) for side in picture.shape[::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _layer(heat: np.ndarray) -> str:
    """Return heat as a picture that lets through what has none; laid over another it is what explain.overlay draws."""
    return _inline(np.dstack([explain.colours(heat)[..., ::-1], heat]) * 255)


def _inline(picture: np.ndarray, kind: str = "png") -> str:
    content = cv2.imencode(f".{kind}", np.round(picture).astype("uint8"))[1].tobytes()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


# --- the page -------------------------------------------------------------------------------------


def build(predictor: predict.Predictor) -> Any:
    """Make the page of a model.

    Parameters
    ----------
    predictor : Predictor
        From `predict.load`, with ``heat=True``.

    Returns
    -------
    gradio.Blocks

    Raises
    ------
    CxrError
        Gradio is missing.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder().path)
    try:
        # Its client asks nobody at this, and fails at once where a proxy is set that it can't use.
        with _machine.environment({"no_proxy": "*", "NO_PROXY": "*"}):
            import gradio
    except ModuleNotFoundError as error:
        raise CxrError(f"{error.name} is missing; install it: pip install 'cxr-utils[app]'") from None
    from cxr_utils.sources import phantom

    without = why_no_heat(predictor)
    card = predictor.model.path.parent / "model-card.md"
    known = " This model was trained on phantoms: it knows nothing of children." if predictor.note["synthetic"] else ""

    def of_files(sent: Any) -> tuple[None, str]:
        sent = sent or []
        try:
            if len(sent) > MOST_FILES:
                said = f"{len(sent)} files; at most {MOST_FILES} at once are answered"
                raise gradio.Error(said, print_exception=False)
            return None, answer(predictor, [(one.orig_name or Path(one.path).name, one.path) for one in sent])
        finally:
            for one in sent:
                uploads.folder().drop(one.path)

    with gradio.Blocks(title="A chest radiograph, and what a network says of it", analytics_enabled=False) as page:
        gradio.Markdown("# A chest radiograph, and what a network says of it")
        flat = {"elem_classes": "cxr-flat"}
        gradio.HTML(f'<p class="cxr-notice"><strong>{predict.NOTICE}</strong>{known}</p>', **flat)
        bounds = {"files": MOST_FILES, "bytes": MOST_BYTES, "pixels": images.MAX_PIXELS}
        gradio.Markdown(_pages.fill(_HERE / "page.md.j2", **bounds))
        upload = gradio.File(label="Images", file_count="multiple", height=150, elem_id="upload")
        upload.preprocess = lambda sent: None if sent is None else list(sent.root)  # Gradio's own leaves a file behind
        upload.async_move_resource_to_block_cache = _uploaded
        gradio.Markdown("Or take a phantom, that is a drawn radiograph:")
        buttons = []
        with gradio.Row():
            for name, kind in EXAMPLES.items():
                drawn = phantom.draw(kind, seed=1, domain="test").image
                picture = np.ascontiguousarray(drawn[::-1, ::-1]) if name == "upside down" else drawn
                with gradio.Column(min_width=120):
                    small = cv2.resize(picture, (240, 200), interpolation=cv2.INTER_AREA)
                    gradio.HTML(f'<div class="cxr-phantom"><img src="{_inline(small, "jpeg")}" alt=""></div>', **flat)
                    buttons.append((gradio.Button(name, elem_classes="cxr-example"), (f"phantom, {name}", picture)))
        if without:
            gradio.Markdown(without)
        else:
            strength = gradio.Slider(
                0, 100, STRENGTH, step=5, label="Strength of the heat map, %", elem_id="strength",
                info="Where the network finds what speaks for PNEUMONIA. It may be wrong about both.",
            )  # fmt: skip
            # In the browser alone: nothing is asked again.
            turn = "value => { document.documentElement.style.setProperty('--heat', value / 100) }"
            strength.change(None, strength, js=turn)
        shown = gradio.HTML(elem_id="answers", min_height=80, **flat)
        with gradio.Accordion("Model card", open=False):
            none = f"There is no {card.name} beside the model."
            text = (
                card.read_text(encoding="utf-8").split("\n---\n", 1)[-1] if card.is_file() else none
            )  # without its head
            gradio.Markdown(text, elem_classes="cxr-card")
        upload.upload(of_files, upload, [upload, shown], api_name="answer", trigger_mode="multiple")
        for button, chosen in buttons:
            button.click(lambda chosen=chosen: answer(predictor, [chosen]), None, shown, api_visibility="private")
    # Without the last, whoever asks by hand would not wait in the queue.
    page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)
    return page


async def _uploaded(path: str | Path | None) -> str | None:
    """Take a file that was uploaded; Gradio would fetch an address, too."""
    if path is None or not Path(path).resolve().is_relative_to(uploads.folder().path):
        raise BadInput(f"{path}: was not uploaded here")
    return str(path)


def server(page: Any, *, local: bool = True, auth: tuple[str, str] | None = None, public_url: str | None = None) -> Any:
    """Wrap a page into an ASGI application that keeps others out.

    Parameters
    ----------
    page : gradio.Blocks
        From `build`.
    local : bool
        Answer only to the names of this machine: another site's name that leads here is refused.
    auth : (str, str), optional
        A user and a password that must be given first.
    public_url : str, optional
        The address at which people open the page where it stands behind a proxy.

    Returns
    -------
    callable

    Raises
    ------
    BadInput
        `public_url` is no address.
    """
    import fastapi
    import gradio
    from gradio import route_utils

    # The one thing that is changed for the whole process: Gradio (6.31) makes the reader of an upload and its files
    # itself, by these names in its module, and lets neither a page nor an application bring its own. Where no request
    # of ours is read, what is put there does as Gradio's own.
    route_utils.GradioUploadFile = uploads.upload_type(MOST_FILES)
    page.has_launched = True  # Gradio takes files from its upload folder alone only after this
    # Fonts that are there already; and small print that can be read.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]).set(
        block_info_text_color="*body_text_color", body_text_color_subdued="*body_text_color",
        block_info_text_color_dark="*body_text_color", body_text_color_subdued_dark="*body_text_color",
    )  # fmt: skip
    css = _pages.fill(_HERE / "page.css.j2", strength=STRENGTH / 100)
    made = gradio.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None), page, "/", auth=auth, max_file_size=MOST_BYTES, footer_links=[],
        run_history=False, enable_monitoring=False, ssr_mode=False, mcp_server=False, pwa=False, show_error=False,
        allowed_paths=[], theme=theme, css=css, app_kwargs={"openapi_url": None}, root_path=public_url,
    )  # fmt: skip

    most = MOST_FILES * MOST_BYTES + guard.MOST_BYTES_ASKED
    return guard.Guard(made, local=local, public_url=public_url, most=most, forget=FORGET)


def check_open(host: str, public_url: str | None, auth: object) -> None:
    """Refuse to let others in without a password.

    Parameters
    ----------
    host, public_url, auth
        As for `serve`; of `auth` only whether it is None counts.

    Raises
    ------
    BadInput
        `host` or `public_url` lets others in, and `auth` is None; or `public_url` is no address.

    Examples
    --------
    >>> check_open("127.0.0.1", None, None)
    """
    if auth is None and not is_local(host):
        raise BadInput(f"--host {host}: lets other machines in; that needs --auth USER, and a password")
    if public_url is not None:
        guard.public(public_url)
        if auth is None:
            raise BadInput(f"--public-url {public_url}: lets others in; that needs --auth USER, and a password")


def serve(
    predictor: predict.Predictor, *, host: str = "127.0.0.1", port: int = 7860, auth: tuple[str, str] | None = None,
    public_url: str | None = None, told: Callable[[str], Any] = print,
) -> None:  # fmt: skip
    """Open the page until Ctrl-C.

    Parameters
    ----------
    predictor : Predictor
        From `predict.load`, with ``heat=True``.
    host : str
        The address to listen at. One that other machines can reach needs `auth`.
    port : int
        0 takes any that is free.
    auth : (str, str), optional
        User and password.
    public_url : str, optional
        The address at which people open the page where it stands behind a proxy; it needs `auth`.
    told : callable
        Gets the line that says where the page is.

    Raises
    ------
    BadInput
        `host` is open to others without `auth`, the password is too short, or the port is taken.
    CxrError
        Gradio is missing.
    """
    check_open(host, public_url, auth)
    if auth and (not auth[0] or len(auth[1]) < SHORTEST):
        raise BadInput(f"auth: the user or the password is too short; a password has at least {SHORTEST} characters")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"host and port: {host}, {port}: {str(reason).lower()}; choose another --port, or 0") from None
    with listening, _tidy() as servers:
        made = server(build(predictor), local=is_local(host), auth=auth, public_url=public_url)
        import uvicorn

        settings = uvicorn.Config(made, log_level="warning", timeout_graceful_shutdown=2, server_header=False)
        servers.append(uvicorn.Server(settings))
        shown = f"[{host}]" if ":" in host else host
        others = f", by its proxy at {public_url}" if public_url else ""
        told(f"the page is at http://{shown}:{listening.getsockname()[1]}{others} (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            servers[0].run(sockets=[listening])


@contextlib.contextmanager
def _tidy() -> Iterator[list[Any]]:
    """Delete the uploads at the end, also where a signal is the end; yields a list for the server that it stops."""
    servers: list[Any] = []

    def end(number: int, frame: Any) -> None:
        if servers and not servers[0].should_exit:
            return servers[0].handle_exit(number, frame)  # it stops well, and then raises the signal again
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    before = {}
    try:
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                before[number] = signal.signal(number, end)
        yield servers
    finally:
        uploads.close()
        for number, handler in before.items():
            signal.signal(number, handler)
