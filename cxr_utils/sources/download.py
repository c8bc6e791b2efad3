"""What downloads share: room on the disk, tries with growing waits, and one line without secrets for a failure."""

import contextlib
import errno
import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cxr_utils.errors import CxrError

#: Seconds between tries, when the other side is busy or out of order.
WAITS: tuple[float, ...] = (5, 20, 60)

LATER = "try again in an hour"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

T = TypeVar("T")

# Tokens, keys, the signatures in links to a download, and passwords of proxies.
_SECRETS = re.compile(r"KGAT_\w+|(?<![0-9a-zA-Z])[0-9a-fA-F]{32,}(?![0-9a-zA-Z])|(?<=\?)\S+=\S+"
                      r"|(?i:bearer|basic) \S+|(?<=://)[^/\s@]+(?=@)")  # fmt: skip
_SECRET_VARIABLES = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME")
_SECRET_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
_NO_CONNECTION = re.compile(r"HTTPS?ConnectionPool\(host='([^']+)'.*")
_NOISE = re.compile(
    r"^(Dataset URL:|License\(s\):|Warning: (Looks like|Your Kaggle API key)|Downloading |\s*File \")|it/s\]|B/s\]"
)


class Interrupted(Exception):
    """A download came to nothing for now; another try may help.

    Parameters
    ----------
    reason : str
        What to tell the user when no try helped.
    worn_out : bool
        It was tried several times already: it pays to go on only if something more has arrived.
    """

    def __init__(self, reason: str, *, worn_out: bool = False):
        super().__init__(reason)
        self.worn_out = worn_out


def insist(attempt: Callable[[], T], *, arrived: Callable[[], int] = int, progress: bool = False) -> T:
    """Call `attempt` again after growing waits, as long as it is `Interrupted`.

    Parameters
    ----------
    attempt : callable
        One try; returns what is wanted.
    arrived : callable
        Bytes that are there and need not come again. The waits start anew whenever they have become more.
    progress : bool
        Say on standard error that a wait has begun.

    Returns
    -------
    object
        What `attempt` returns.

    Raises
    ------
    Interrupted
        The last one, when `WAITS` are used up; its message says how often it was tried.
    """
    tries = failed = 0
    while True:
        before = arrived()
        try:
            return attempt()
        except Interrupted as error:
            tries += 1
            more = arrived() > before
            failed = 1 if more else failed + 1
            if failed > len(WAITS) or (error.worn_out and not more):
                raise Interrupted(f"{error} (tried {tries} times)" if tries > 1 else str(error)) from error
            wait = WAITS[failed - 1]
            if progress:
                print(f"\ncxr: note: {error}; trying again in {wait:,.0f} s", file=sys.stderr)
            time.sleep(wait)


def check_room(needed: int, folder: Path) -> None:
    """Refuse to start what will not fit.

    Parameters
    ----------
    needed : int
        Bytes.
    folder : Path
        An existing folder on the disk in question.

    Raises
    ------
    CxrError
        Less is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        there = f"{needed / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free"
        raise CxrError(f"{folder}: {there}; make room or choose another --data-dir")


def check_proxy(url: str) -> None:
    """Refuse to start what the proxy that the environment names would stop, with a word of which variable does.

    Parameters
    ----------
    url : str
        What is to be asked.

    Raises
    ------
    CxrError
        It is a SOCKS proxy, which `requests` takes with PySocks alone, or one of an unknown kind.
    """
    from requests.utils import get_environ_proxies, select_proxy

    proxy = (select_proxy(url, get_environ_proxies(url)) or "").strip()
    kind = urlsplit(proxy).scheme.lower() if "://" in proxy else "http"
    socks = kind in ("socks4", "socks4a", "socks5", "socks5h")
    if kind in ("http", "https") or (socks and importlib.util.find_spec("socks")):
        return
    named = [name for name, value in os.environ.items() if name.lower().endswith("_proxy") and value.strip() == proxy]
    how = "pip install pysocks" if socks else "name another, such as http://127.0.0.1:8080 or socks5://127.0.0.1:1080"
    shown = f"{named[0] if named else 'the proxy'}={_SECRETS.sub('...', proxy)}"
    raise CxrError(f"{shown}: a proxy of the kind {kind}:// can't be used here; {how}, or unset the variable")


def full(folder: Path) -> str:
    """Say that the disk of `folder` is full.

    Parameters
    ----------
    folder : Path
        Where there is no room left.

    Returns
    -------
    str
        What to tell.
    """
    return f"{folder}: the disk is full; make room there or choose another --data-dir"


def size(file: Path) -> int:
    """Return a file's bytes, 0 if it is not there.

    Parameters
    ----------
    file : Path
        It need not be there.

    Returns
    -------
    int
        Bytes.
    """
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def tidy(folder: Path, *, keep: Path) -> None:
    """Remove from a download folder what no next try can use, and the folder itself if it is empty then.

    Parameters
    ----------
    folder : Path
        Need not be there.
    keep : Path
        The file that a next try goes on with; empty, it goes too.
    """
    with contextlib.suppress(FileNotFoundError):
        for file in sorted(folder.iterdir()):
            part = re.fullmatch(r"tmp[a-z0-9_]{8}", file.name)  # so Python calls the parts of pooch
            if file.is_file() and (part or (not size(keep) and file.name in (keep.name, marker(keep).name))):
                file.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def discard(archive: Path) -> None:
    """Remove a download that is unpacked, and its folder if nothing else is in it.

    Parameters
    ----------
    archive : Path
        What came; it need not be there.
    """
    for left in (archive, marker(archive)):
        left.unlink(missing_ok=True)
    tidy(archive.parent, keep=archive)


def marker(archive: Path) -> Path:
    """Name the note that Kaggle's command keeps beside an archive as long as it isn't whole.

    Parameters
    ----------
    archive : Path
        What comes.

    Returns
    -------
    Path
        It need not be there.
    """
    return archive.with_name(f"{archive.name}.kaggle-partial")


def by_status(status: int | None, said: str, *, who: str, rules: str = "") -> CxrError | Interrupted:
    """Return the error for an answer over HTTP: what it means, and the way out.

    Parameters
    ----------
    status : int or None
        The answer's status; None if it isn't known.
    said : str
        What else is known, cleaned.
    who : str
        Whose answer it is.
    rules : str
        Where an account can be let in, for 403.

    Returns
    -------
    CxrError or Interrupted
        The latter for 429 and from 500 on.
    """
    if status == 403:
        return CxrError(f"{who} refuses the download (403: {said[:120]}); {rules or 'it may be closed; try later'}")
    if status == 404:
        return CxrError(f"{who} does not have it (404: {said[:120]}); update this project, it may have moved")
    if status == 429:
        return Interrupted(f"{who} answers too many requests (429); {LATER}")
    if status and status >= 500:
        return Interrupted(f"{who} is out of order ({said[:120]}); {LATER}")
    return CxrError(f"the download failed: {said}")


def clean(output: str, *, lines: int = 3) -> str:
    r"""Return the last lines of a program's output as one line, without secrets, colours and progress bars.

    Parameters
    ----------
    output : str
        What it printed, or an error's message. Of a traceback only the last line is taken.
    lines : int
        How many lines to keep.

    Returns
    -------
    str
        Fit to be shown.

    Examples
    --------
    >>> clean("Dataset URL: https://www.kaggle.com/x\n403 Client Error: Forbidden for url: https://a/b?key=c")
    '403 Client Error: Forbidden for url: https://a/b?...'
    """
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    said = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip() and not _NOISE.search(line)]
    if "Traceback (most recent call last)" in text:
        lines = 1
    short = " / ".join(said[-lines:]).rstrip(" .;")
    short = _NO_CONNECTION.sub(_unreached, short)
    for secret in sorted(_credentials(), key=len, reverse=True):
        short = short.replace(secret, "...")
    return "".join(letter for letter in _SECRETS.sub("...", short) if letter.isprintable())[-500:]


def _unreached(found: re.Match[str]) -> str:
    """Say why there was no connection to a host."""
    if "CERTIFICATE_VERIFY_FAILED" not in found[0]:
        return f"no connection to {found[1]} (is this computer online, is its proxy right?)"
    way_out = "where a company puts its own in between, set REQUESTS_CA_BUNDLE and SSL_CERT_FILE to its file (.pem)"
    return f"no connection to {found[1]}: its certificate is not trusted by this Python; {way_out}"


def _credentials() -> Iterator[str]:
    """Yield each credential of Kaggle that this computer holds, in whatever form."""
    texts = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    home = Path(os.path.expanduser("~"))
    folders = [home / ".kaggle", Path(os.environ.get("XDG_CONFIG_HOME", home / ".config")) / "kaggle"]
    if given := os.environ.get("KAGGLE_CONFIG_DIR"):
        folders.append(Path(given))
    places = [folder / name for folder in folders for name in _SECRET_FILES]
    places += [Path(text) for text in texts if text]  # KAGGLE_API_TOKEN may name a file
    for place in places:
        with contextlib.suppress(OSError, ValueError):  # not there, not ours to read, or no text
            texts.append(place.read_text(encoding="utf-8"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        with contextlib.suppress(ValueError):
            texts.append(urlsplit(os.environ.get(name, "")).password or "")
    for text in texts:
        try:
            values = json.loads(text)
        except ValueError:
            values = text
        for value in values.values() if isinstance(values, dict) else [text]:
            if isinstance(value, str) and len(value.strip()) > 3:
                yield value.strip()
