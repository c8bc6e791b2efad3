"""The ledger: who read the test set how often. Each reading is entered before it happens."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_utils import files

if TYPE_CHECKING:
    import pandas as pd

NAME = "test_reads.csv"
COLUMNS = ("date", "cell", "identity", "protocol", "reads", "remark")


def enter(folder: str | Path, **row: Any) -> None:
    """Enter a reading of test, once: not again when what reads was killed and reads again.

    The same reading is known by its cell, identity and remark.

    Parameters
    ----------
    folder : str or Path
        Holds the ledger, ``test_reads.csv``; made if missing. A run's folder, or a folder of results.
    **row
        Values of the columns `COLUMNS`. Without them the date is today's, the protocol "other", and one reading.

    Raises
    ------
    BadInput
        A file of that name is there, and is no ledger.

    Examples
    --------
    >>> enter("runs/mine", cell="my forest", remark="to see how it does")
    >>> Path("runs/mine/test_reads.csv").is_file()
    True
    """
    import pandas as pd  # here, since whoever answers one image needs none

    path = Path(folder) / NAME
    with files.lock(path):
        empty = pd.DataFrame(columns=COLUMNS, dtype="string")
        there = files.read_csv(path, columns=COLUMNS, dtype="string") if os.path.lexists(path) else empty
        keys = {name: str(row.get(name, "")) for name in ("cell", "identity", "remark")}
        if (there[list(keys)].fillna("") == pd.Series(keys)).all(axis=1).any():
            return
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        usual = {"date": today, "identity": "", "protocol": "other", "reads": 1, "remark": ""}
        new = pd.DataFrame([usual | row], columns=COLUMNS).astype("string")
        files.write_csv(path, pd.concat([there, new]), ours=COLUMNS)


def read(folder: str | Path) -> pd.DataFrame:
    """Return the ledger of a folder, one row a reading.

    Parameters
    ----------
    folder : str or Path
        A relative one is taken from the project's root.

    Returns
    -------
    DataFrame
        The columns of `COLUMNS`.

    Raises
    ------
    BadInput
        There is none, or the file is no ledger.

    Examples
    --------
    >>> enter("exam", cell="plain")
    >>> read("exam")["cell"].tolist()
    ['plain']
    """
    return files.read_csv(files.resolve(folder) / NAME, columns=COLUMNS)
