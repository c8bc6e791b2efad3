"""The dataset from Kaggle, by Kaggle's own command line.

It runs as a subprocess: importing the package prints help, makes a folder in the home folder, and ends the
process when there are no credentials.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from cxr_utils.dataset import RECORD
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.sources.unzip import unzip

WAY_OUT = (
    "without Kaggle: `cxr fetch --source medmnist` takes the same images at 224 px from Zenodo, no account "
    "needed; `cxr fetch --source sample` draws phantoms, with no network"
)

# What must not be shown: tokens, keys, and the signatures in links to a download.
_SECRETS = re.compile(
    r"KGAT_\w+|(?<![0-9a-zA-Z])[0-9a-fA-F]{32,}(?![0-9a-zA-Z])|(?<=\?)\S+=\S+|(?i:bearer|basic) \S+"
)
_SECRET_VARIABLES = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME")
_NO_CONNECTION = re.compile(r"HTTPS?ConnectionPool\(host='([^']+)'.*")
_NOISE = re.compile(r"^(Dataset URL:|License\(s\):|Warning: Looks like|Downloading |\s*File \")|it/s\]|B/s\]")


def fill(folder: Path, *, progress: bool = False) -> dict[str, Any]:
    """Download the dataset and unpack it to ``folder/chest_xray``.

    Parameters
    ----------
    folder : Path
        An empty folder.
    progress : bool
        Show progress bars.

    Returns
    -------
    dict
        origin and left_out for ``source.json``.

    Raises
    ------
    CxrError
        The command is missing or failed, or what came is no archive of these images.
    """
    download = folder / "download"
    download.mkdir()
    name = f"{RECORD.kaggle}/{RECORD.kaggle_version}"
    _run([_command(), "datasets", "download", name, "-p", str(download)], download, progress=progress)
    archives = list(download.glob("*.zip"))
    if not archives:
        raise CxrError(f"source kaggle: the kaggle command left no zip file; try again; {WAY_OUT}")
    try:
        left_out = unzip(archives[0], folder, progress=progress)
    except BadInput as error:
        reason = str(error).replace(str(archives[0]), archives[0].name)
        raise CxrError(f"source kaggle: what was downloaded cannot be used: {reason}; {WAY_OUT}") from error
    shutil.rmtree(download)
    return {
        "origin": f"https://www.kaggle.com/datasets/{RECORD.kaggle}/versions/{RECORD.kaggle_version}",
        "left_out": left_out,
    }


def _command() -> str:
    """Return the kaggle command of this environment, not one that happens to be on the PATH."""
    beside = (os.path.dirname(sys.executable), sysconfig.get_path("scripts"))
    found = shutil.which("kaggle", path=os.pathsep.join(beside))
    if found is None:
        raise CxrError(
            f"source kaggle: there is no kaggle command in {beside[0]}; run `pip install kaggle`; {WAY_OUT}"
        )
    return found


def _run(command: list[str], download: Path, *, progress: bool) -> None:
    """Run the command to its end, with a bar of what has arrived; its own output is kept for a failure."""
    from tqdm import tqdm

    log = download / "kaggle.log"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    bar = tqdm(desc="downloading", unit="B", unit_scale=True, disable=not progress)
    with log.open("wb") as sink, bar:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                try:
                    process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    pass
                bar.update(sum(file.stat().st_size for file in download.glob("*.zip")) - bar.n)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        output = log.read_text(encoding="utf-8", errors="replace")
        said = clean(output) or f"exit status {process.returncode}"
        if "export KAGGLE_API_TOKEN" in output:  # its page of help on credentials
            said = (
                "Kaggle wants valid credentials; make a token on https://www.kaggle.com/settings, "
                "save it in ~/.kaggle/access_token and try again"
            )
        raise CxrError(f"source kaggle: the download failed: {said}; {WAY_OUT}")


def clean(output: str, *, lines: int = 3) -> str:
    r"""Return the last lines of the command's output as one line, without secrets, colours and progress bars.

    Parameters
    ----------
    output : str
        What the command printed.
    lines : int
        How many lines to keep.

    Examples
    --------
    >>> clean("Dataset URL: https://www.kaggle.com/x\n403 Client Error: Forbidden for url: https://a/b?key=c")
    '403 Client Error: Forbidden for url: https://a/b?...'
    """
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    said = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip() and not _NOISE.search(line)]
    short = " / ".join(said[-lines:]).rstrip(" .;")
    short = _NO_CONNECTION.sub(r"no connection to \1 (is this computer online, is its proxy right?)", short)
    for name in _SECRET_VARIABLES:
        if len(value := os.environ.get(name, "")) > 3:
            short = short.replace(value, "...")
    return _SECRETS.sub("...", short)[-500:]
