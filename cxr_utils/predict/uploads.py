"""Where the page keeps uploads while it answers: a folder with a mark beside it, gone however the page ends."""

import atexit
import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

PREFIX = "cxr-app-"
_MADE_BY = "cxr app: uploads that wait for their answers; deleted with the page, or by the next that starts"

_received: ContextVar[list[Any] | None] = ContextVar("received", default=None)


class Folder:
    """A new folder for uploads; a lock beside it, which goes with the process, says that its page lives.

    Attributes
    ----------
    path : Path
        Where it is, in the system's folder for temporary files.
    """

    def __init__(self) -> None:
        from filelock import FileLock

        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._process = os.getpid()
        self._lock = FileLock(_beside(self.path, "lock"))
        self._lock.acquire(timeout=0)
        # The mark last: without it nobody deletes the folder, and with it the lock is held.
        _beside(self.path, "json").write_text(json.dumps(_mark(self.path)), encoding="utf-8")

    def _files(self) -> Iterator[Path]:
        for here, _, names in os.walk(self.path):
            yield from (Path(here) / name for name in names)

    def size(self) -> int:
        """Return the bytes that wait for their answer.

        Returns
        -------
        int
        """
        total = 0
        for path in self._files():
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        return total

    def drop(self, path: str | Path) -> None:
        """Delete an upload that was answered, and the folder of its own; what is gone already or not ours is let be.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        path = Path(path)
        if path.parent.parent == self.path or path.parent.resolve().parent == self.path:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                path.parent.rmdir()

    def forget(self, age: float) -> None:
        """Delete each file that nothing was written to for `age` seconds, whoever put it there.

        Parameters
        ----------
        age : float
            Seconds.
        """
        now = time.time()
        for path in [*self._files(), *self.path.iterdir()]:
            with contextlib.suppress(OSError):
                if abs(now - path.lstat().st_mtime) > age:
                    path.rmdir() if path.is_dir() else path.unlink()
                    if path.parent != self.path:
                        path.parent.rmdir()  # which it does only when it is empty

    def close(self) -> None:
        """Delete the folder; a child of this process does not."""
        if os.getpid() == self._process:
            _remove(self.path)
            self._lock.release()


_open: Folder | None = None


def folder() -> Folder:
    """Return the folder of this process, made at the first call.

    Returns
    -------
    Folder
    """
    global _open
    if _open is None or not _open.path.is_dir():
        _open = Folder()
    return _open


@atexit.register
def close() -> None:
    """Delete the folder of this process, if it has one."""
    global _open
    if _open is not None:
        _open.close()
        _open = None


def sweep() -> None:
    """Delete the folders of pages that were killed: those with our mark, of this user, whose lock nobody holds."""
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else 0
    for mark in Path(tempfile.gettempdir()).glob(f".{PREFIX}*.json"):
        folder = mark.with_name(mark.stem.removeprefix("."))
        with contextlib.suppress(OSError, ValueError, NotImplementedError, Timeout):
            ours = mark.lstat().st_uid == user and json.loads(mark.read_text(encoding="utf-8")) == _mark(folder)
            if ours and not folder.is_symlink() and (not folder.exists() or folder.lstat().st_uid == user):
                with FileLock(_beside(folder, "lock"), timeout=0):
                    _remove(folder)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _mark(folder: Path) -> dict[str, str]:
    return {"made by": _MADE_BY, "folder": folder.name}


def _remove(folder: Path) -> None:
    """Delete a folder of ours, and what lies beside it; its lock is held."""
    for _ in range(3):  # something may still be written
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        for suffix in ("json", "lock"):
            with contextlib.suppress(OSError):
                _beside(folder, suffix).unlink()


def upload_type(most: int) -> type:
    """Return the type of an uploaded file for Gradio's reader of forms, which stops after `most` in one request.

    Each gets a folder of its own: two people may send the same file, and the first answer deletes it.

    Parameters
    ----------
    most : int
        Files in one request.

    Returns
    -------
    type
    """
    from gradio import route_utils
    from starlette.formparsers import MultiPartException

    known = route_utils.GradioUploadFile
    known = known if known.__module__ == route_utils.__name__ else known.__base__

    class Upload(known):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.sha.update(secrets.token_bytes(16))
            received = _received.get()
            if received is not None:
                received.append(self)
                if len(received) > most:
                    raise MultiPartException(f"at most {most} files at once are answered")
            if re.fullmatch(r"\.{0,2}", Path(self.filename or "").name):
                raise MultiPartException("a file has no name")

    return Upload


@contextlib.contextmanager
def receiving() -> Iterator[dict[str, bool]]:
    """Take a request that uploads files; unless it ends well, nothing that it brought stays, however it ended.

    Yields
    ------
    dict
        Set ``"well"`` to True when the files were taken.
    """
    outcome, received = {"well": False}, []
    token = _received.set(received)
    try:
        yield outcome
    finally:
        _received.reset(token)
        for one in received:
            with contextlib.suppress(OSError):
                one.file.close()
            with contextlib.suppress(OSError):
                os.unlink(one.file.name)  # moved away, if all went well
            if not outcome["well"] and _open is not None:
                shutil.rmtree(_open.path / one.sha.hexdigest(), ignore_errors=True)
