"""How often `cxr audit` agrees with two readers of the same public works, and they with each other.

    python workflow/audited.py

prints the measures of the kept table, `results/audited/works.csv`. Whoever has the list of works (columns repo, commit,
path) and their files, as FOLDER/00, FOLDER/01, ... in its order, lets the auditor answer again, and sees how
it does now; the table stays a record of what was answered when the works were opened:

    python workflow/audited.py LIST.csv FOLDER

The programs of our own making, `tests/replication/audited/`, are answered again, into `results/audited/own.csv`, by

    python workflow/audited.py own

and the code of the systems that are replicated, each as FOLDER/NUMBER/NAME, into `results/audited/systems.csv`, by

    python workflow/audited.py systems FOLDER
"""

import hashlib
import sys
from pathlib import Path

import pandas as pd

from cxr_utils import files, recipes
from cxr_utils.replication import auditor
from cxr_utils.replication.verdicts import interval, shown

ROOT = Path(__file__).parents[1]
TABLE, OWN, SYSTEMS = (ROOT / "results" / "audited" / name for name in ("works.csv", "own.csv", "systems.csv"))
#: A record: `earlier` is what the tool answered when the half "kept back" was opened, `tool` when "unseen" was.
COLUMNS = ("work", "half", "mistake", "first", "second", "settled", "tool", "earlier")
OWN_COLUMNS = ("file", "mistake", "has", "half", "tool")
SYSTEMS_COLUMNS = ("system", "address", "mistake", "tool", "place")
#: Of each system whose code could be read its recipe and its program.
PROGRAMS = {
    "000": ("plain_64", "FINAL.py"),
    "001": ("batchnorm_224", "detection_cnn.ipynb"),
    "002": ("plain_300", "Notebooks/Pneumonia_Detection.ipynb"),
    "004": ("plain_224", "Pneumonia-vs.-Normal-X-rays-Detection-Model.ipynb"),
}


def answers(works: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the auditor's answers: a row a mistake, indexed by ``work``, a digest that names nobody, and ``mistake``.

    Parameters
    ----------
    works : DataFrame
        repo, commit and path.
    folder : Path
        Holds the files, a folder a row.

    Returns
    -------
    DataFrame
        tool.
    """
    rows = []
    for number, (repo, commit, path) in enumerate(works[["repo", "commit", "path"]].itertuples(index=False)):
        work = hashlib.sha256(f"{repo} {commit} {path}".encode()).hexdigest()[:16]
        for one in auditor.audit(folder / f"{number:02}" / Path(path).name):
            rows.append({"work": work, "mistake": one["mistake"], "tool": one["result"]})
    return pd.DataFrame(rows).set_index(["work", "mistake"])


def systems(folder: Path) -> pd.DataFrame:
    """Return what the auditor says of the replicated systems' own code, at the commits that were read.

    Parameters
    ----------
    folder : Path
        Holds the programs, as ``000/FINAL.py``.

    Returns
    -------
    DataFrame
        system, address, mistake, tool, place.
    """
    rows = []
    for system, (recipe, path) in PROGRAMS.items():
        published = recipes.get(recipe).published
        address = f"{published.repository}/blob/{published.commit}/{path}"
        for one in auditor.audit(folder / system / Path(path).name):
            place = one["place"] if one["result"] != auditor.NOT_FOUND else ""
            rows.append((system, address, one["mistake"], one["result"], place))
    return pd.DataFrame(rows, columns=list(SYSTEMS_COLUMNS))


def own(folder: Path = ROOT / "tests" / "replication" / "audited") -> pd.DataFrame:
    """Return the auditor's answers to the programs of our own making, each about the mistake in its file's name.

    Parameters
    ----------
    folder : Path, optional
        Holds ``MISTAKE-yes-NUMBER`` and ``MISTAKE-no-NUMBER``, scripts and notebooks.

    Returns
    -------
    DataFrame
        file, mistake, has ("yes", "no"), half ("open", numbers 1 to 4, by which the rules were made; "kept back", 5 to
        8), tool.
    """
    rows = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".py", ".ipynb")):
        mistake, has, number = path.stem.split("-")
        tool = next(one["result"] for one in auditor.audit(path) if one["mistake"] == mistake)
        rows.append((path.name, mistake, has, "open" if int(number) <= 4 else "kept back", tool))
    return pd.DataFrame(rows, columns=list(OWN_COLUMNS))


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """Measure the auditor against what the readers settled: one row a mistake and half.

    Parameters
    ----------
    table : DataFrame
        With `COLUMNS`; what readers or tool can't tell is counted apart.

    Returns
    -------
    DataFrame
        mistake, half, cases (settled yes), precision and recall with their counts and 95% intervals (str), cant_tell
        (of the tool), kappa (of the readers; NaN where all their answers are one).
    """
    rows = []
    for (half, mistake), part in table.groupby(["half", "mistake"], sort=False):
        sure = part[(part["tool"] != auditor.CANT_TELL) & (part["settled"] != "can't tell")]
        found, yes = sure["tool"] == auditor.FOUND, sure["settled"] == "yes"
        row = {"mistake": mistake, "half": half, "cases": int((part["settled"] == "yes").sum())}
        for name, of in (("precision", found), ("recall", yes)):
            hits, count = int((found & yes).sum()), int(of.sum())
            low, high = interval(hits / count, count) if count else (0, 1)
            row[name] = (
                f"{shown(hits / count, 2)} ({hits} of {count}; {shown(low, 2)}–{shown(high, 2)})" if count else "-"
            )
        row["cant_tell"] = int((part["tool"] == auditor.CANT_TELL).sum())
        rows.append(row | {"kappa": kappa(part)})
    return pd.DataFrame(rows)


def kappa(table: pd.DataFrame) -> float:
    """Return Cohen's kappa of both readers."""
    from sklearn.metrics import cohen_kappa_score

    one = set(table["first"]) | set(table["second"])
    return round(float(cohen_kappa_score(table["first"], table["second"])), 2) if len(one) > 1 else float("nan")


def main(arguments: list[str]) -> int:
    """Let the auditor answer again if asked to, and print the measures."""
    if arguments == ["own"]:
        files.write_csv(OWN, own(), ours=OWN_COLUMNS)
    table = files.read_csv(TABLE, columns=COLUMNS, dtype="string")
    if arguments[:1] == ["systems"]:
        files.write_csv(SYSTEMS, systems(Path(arguments[1])), ours=SYSTEMS_COLUMNS)
    elif len(arguments) == 2:
        new = answers(files.read_csv(Path(arguments[0]), columns=("repo", "commit", "path")), Path(arguments[1]))
        table = table.set_index(["work", "mistake"])
        table.update(new)
        table = table.reset_index()
    print(measures(table).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
