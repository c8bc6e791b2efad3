"""The dataset from Kaggle, by Kaggle's own command line.

It runs as a subprocess: importing the package prints help, makes a folder in the home folder, and ends the
process when there are no credentials. It resumes a broken download, tries that five times itself, and checks the
size of what it got but not the content; the rest is done here.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

from cxr_utils import _machine, files
from cxr_utils.dataset import RECORD
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources import PUBLISHED, Source, download
from cxr_utils.sources.download import Interrupted, clean
from cxr_utils.sources.unzip import Damaged, unzip

ARCHIVE_BYTES = 2_460_000_000  # every image twice
IMAGES_BYTES = 1_250_000_000
#: Seconds without a byte or a word, after which the command is ended and started again.
STALL = 180

_KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def fill(folder: Path, *, archive: Path, progress: bool = False) -> dict[str, Any]:
    """Download the dataset and unpack it to ``folder/chest_xray``.

    Parameters
    ----------
    folder : Path
        An empty folder.
    archive : Path
        Where the archive is downloaded to, in a folder of its own. It stays there: a next call goes on with a
        part of it, and needs no network for a whole one. Nothing of it stays if it can't be used.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        What is published, origin and left_out for ``source.json``.

    Raises
    ------
    CxrError
        The command is missing or failed, the disk is full, or what came twice is no archive of these images.
    """
    try:
        left_out = _get(archive, folder, progress=progress)
    except (CxrError, Interrupted) as error:
        kept = f"{download.size(archive) / 1e6:,.1f} MB"
        more = f"; {kept} are kept, the same command goes on with them" if download.size(archive) else ""
        raise CxrError(f"source kaggle: {error}{more}; {_KNOWN['way_out']['another']}") from error
    finally:
        download.tidy(archive.parent, keep=archive)
    origin = f"https://www.kaggle.com/datasets/{RECORD.kaggle}/versions/{RECORD.kaggle_version}"
    return PUBLISHED | {"origin": origin, "left_out": left_out}


def _get(archive: Path, folder: Path, *, progress: bool) -> list[str]:
    """Make the archive whole, and unpack it; one that is damaged is downloaded anew, once."""
    name = f"{RECORD.kaggle}/{RECORD.kaggle_version}"
    command = [_command(), "datasets", "download", name, "-p", str(archive.parent)]
    anew = False
    while True:
        if not archive.is_file() or download.marker(archive).is_file():
            download.check_proxy(RECORD.url)
            archive.parent.mkdir(parents=True, exist_ok=True)
            download.check_room(ARCHIVE_BYTES - download.size(archive) + IMAGES_BYTES, archive.parent)
            attempt, arrived = partial(_run, command, archive, progress=progress), partial(download.size, archive)
            download.insist(attempt, arrived=arrived, progress=progress)
        if not archive.is_file():
            raise CxrError("the kaggle command left no zip file; try again")
        try:
            return unzip(archive, folder, whole=True, progress=progress)
        except BadInput as error:
            reason = str(error).replace(str(archive), archive.name)
            archive.unlink()  # in its place the command would not download another
            shutil.rmtree(folder / "chest_xray", ignore_errors=True)
            if anew or not isinstance(error, Damaged):
                twice = ", and downloaded again," if anew else ""
                raise CxrError(f"what was downloaded{twice} can't be used: {reason}") from error
            if progress:
                print(f"\ncxr: note: {reason}; downloading it once more", file=sys.stderr)
            anew = True


def _command() -> str:
    """Return the kaggle command of this environment, not one that happens to be on the PATH."""
    beside = (os.path.dirname(sys.executable), sysconfig.get_path("scripts"))
    found = shutil.which("kaggle", path=os.pathsep.join(beside))
    if found is None:
        raise CxrError(f"there is no kaggle command in {beside[0]}; run `pip install kaggle`")
    return found


def _run(command: list[str], archive: Path, *, progress: bool) -> None:
    """Run the command to its end, with a bar of what has arrived; what it says is kept in memory only."""
    from tqdm import tqdm

    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
    # Through a pipe: when this process is killed, the command ends as soon as it draws its next bar.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    pipe: Any = process.stdout
    output = bytearray()

    def listen() -> None:
        while piece := pipe.read1(2**16):
            output.extend(piece)
            del output[: -(2**18)]

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    said, arrived, stalled, heard = "", download.size(archive), False, time.monotonic()
    bar = tqdm(desc="downloading", unit="B", unit_scale=True, initial=arrived, **_machine.bar(progress))
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.25)
            before = (arrived, said)
            arrived, said = download.size(archive), output.decode("utf-8", errors="replace")
            with contextlib.suppress(BadInput):  # the command has not noted it yet
                bar.total = bar.total or files.read_record(download.marker(archive), size=int)["size"]
            bar.update(arrived - bar.n)  # back too: a forced download starts anew
            if (arrived, said) != before:
                heard = time.monotonic()
            stalled = time.monotonic() - heard > STALL
            if stalled or _is_full(said):
                break
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.join()
        pipe.close()
        bar.close()
    said = output.decode("utf-8", errors="replace")
    if process.returncode:
        if not download.marker(archive).is_file():  # the command would not go on with it
            archive.unlink(missing_ok=True)
        raise _failure(said, archive, status=process.returncode, stalled=stalled)


def _is_full(said: str) -> bool:
    return any(f"[Errno {number}]" in said for number in download.FULL)


def _failure(output: str, archive: Path, *, status: int, stalled: bool) -> CxrError | Interrupted:
    """Say what a failure of the command means."""
    said = clean(output) or f"exit status {status}"
    if _is_full(output):
        return CxrError(download.full(archive.parent))
    if stalled:
        return Interrupted(f"nothing has arrived for {STALL} s")
    if "does not match expected size" in said:  # an error page in place of the rest
        archive.unlink(missing_ok=True)
        return Interrupted("the download ended too early")
    if any(f"[Errno {number}]" in said for number in (errno.EPERM, errno.EACCES, errno.EROFS)):
        return CxrError(f"the kaggle command may not write ({said}); see to the permissions, or set KAGGLE_CONFIG_DIR")
    if "no connection to" in said:
        return CxrError(said[said.index("no connection to") :])
    if re.search(r"connection|broken|IncompleteRead|timed out|ended prematurely", said, re.IGNORECASE):
        return Interrupted(f"the connection broke ({said[-120:]})", worn_out=True)
    text = f"{said} export KAGGLE_API_TOKEN" if "export KAGGLE_API_TOKEN" in output else said
    codes = (int(code) for code, words in _KNOWN["words"].items() if re.search(words, text, re.IGNORECASE))
    code = next(codes, None)
    if code == 401:
        return CxrError(_KNOWN["way_out"]["credentials"])
    rules = f"log in, open {RECORD.url}, accept what it asks for, and try again"
    return download.by_status(code, said, who="Kaggle", rules=rules)


SOURCE = Source(name="kaggle", about="the original files, 2.3 GB", holds="originals", fill=fill,
                archive="chest-xray-pneumonia.zip")  # fmt: skip
