"""Lay out the children's films of a public collection for `cxr evaluate`: data/README.md says how to get them.

    python workflow/children.py rsna FOLDER

makes ``FOLDER/children/`` with a folder a class, of links to the films, and ``FOLDER/children.csv`` with what is known
of each. ``rsna`` is the RSNA Pneumonia Detection Challenge (2018), of which it takes the children under 11 that
radiologists called Normal or Lung Opacity; ``vindr`` is VinDr-PCXR 1.0.0, with No finding and Pneumonia.
"""

import argparse
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom

from cxr_utils import files
from cxr_utils.errors import BadInput, CxrError

UNDER = 11  # years
CLASSES = {"Normal": "NORMAL", "Lung Opacity": "PNEUMONIA", "No finding": "NORMAL", "Pneumonia": "PNEUMONIA"}


def rsna(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield each film and its class; of one that has several boxes once."""
    table = files.read_csv(top / "stage_2_detailed_class_info.csv", columns=("patientId", "class"), dtype="string")
    for row in table.drop_duplicates().itertuples(index=False):
        yield top / "stage_2_train_images" / f"{row[0]}.dcm", row[1]


def vindr(top: Path) -> Iterator[tuple[Path, str]]:
    """Yield each film and its class, of both parts: neither was trained on here."""
    for part in ("train", "test"):
        path = top / f"image_labels_{part}.csv"
        table = files.read_csv(path, columns=("image_id", "No finding", "Pneumonia"))
        for row in table.drop_duplicates("image_id").to_dict(orient="records"):
            if row["No finding"] + row["Pneumonia"] == 1:
                yield top / part / f"{row['image_id']}.dicom", "Pneumonia" if row["Pneumonia"] else "No finding"


def years(header: pydicom.Dataset) -> float:
    """Read an age such as 9, 009Y or 010M; NaN where none is given."""
    with warnings.catch_warnings(action="ignore"):  # RSNA's ages have no unit
        said = str(header.get("PatientAge", "") or "").strip().upper()
    number, unit = said.rstrip("DWMY"), said[-1:]
    per_year = {"D": 365, "W": 52, "M": 12}.get(unit, 1)
    return int(number) / per_year if number.isdigit() else float("nan")


def lay_out(films: Iterator[tuple[Path, str]], top: Path) -> pd.DataFrame:
    """Link the films of children and write what is known of them.

    Parameters
    ----------
    films : iterator of tuple of Path and str
        From `rsna` or `vindr`; other classes than those of `CLASSES`, and whoever may be older, are passed by.
    top : Path
        Where ``children/`` and ``children.csv`` are made.

    Returns
    -------
    DataFrame
        path (from ``children/`` on), age (in years), sex, view.

    Raises
    ------
    BadInput
        There is a folder of that name already, or no such film.
    """
    to, rows, links = top / "children", [], {}
    if os.path.lexists(to):
        raise BadInput(f"{to}: is there already; move it away to make it again")
    for path, kind in films:
        if kind not in CLASSES:
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True)
        age = years(header)
        if path.suffix == ".dcm" and not age < UNDER:  # in VinDr-PCXR all are children, and few have an age
            continue
        name = Path(CLASSES[kind], f"{path.stem}.dcm")
        links[to / name] = path
        about = {"age": age, "sex": header.get("PatientSex", ""), "view": header.get("ViewPosition", "")}
        rows.append({"path": name.as_posix()} | about)
    if not rows:
        raise BadInput(f"{top}: no film of a child in it")
    for name, path in links.items():
        name.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, name)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(path, name)
    table = pd.DataFrame(rows)
    files.write_csv(top / "children.csv", table, ours=tuple(table.columns))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Lay out one collection; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", choices=["rsna", "vindr"])
    parser.add_argument("folder", type=Path, help="where it was unpacked")
    options = parser.parse_args(arguments)
    try:
        table = lay_out({"rsna": rsna, "vindr": vindr}[options.collection](options.folder), options.folder)
    except (CxrError, OSError) as error:
        print(f"children: {error}")
        return 1
    counts = table["path"].str.partition("/")[0].value_counts()
    print(f"{options.folder / 'children'}: {counts['NORMAL']} NORMAL, {counts['PNEUMONIA']} PNEUMONIA")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
