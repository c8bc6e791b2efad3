"""The built-in sample: phantoms, drawn from a seed."""

from pathlib import Path
from typing import Any

from cxr_utils.sources import Source, phantom

ABOUT = phantom.anatomy.NUMBERS["about"]
"""What ``source.json`` says of phantoms."""


def fill(folder: Path, *, seed: int, progress: bool = False) -> dict[str, Any]:
    """Draw the sample.

    Parameters
    ----------
    folder : Path
        Gets the images.
    seed : int
        The same seed gives the same pixels.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        Its record for ``source.json``.
    """
    phantom.write(folder, seed=seed, progress=progress)
    return ABOUT | {"seed": seed}


SOURCE = Source(name="sample", about="phantoms, drawn here", holds="phantoms", fill=fill, takes="seed")
