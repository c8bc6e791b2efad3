"""Write the tables that come from results/: claims.csv, grid.csv and ablations.csv there, and README's blocks.

``python workflow/tables.py`` writes them; with ``--check`` it only says what differs, and exits with 1 then.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd

from cxr_utils import claims, files, grid, recipes
from cxr_utils.errors import BadInput, CxrError

ROOT = Path(__file__).parents[1]


def outputs(root: Path) -> dict[Path, str]:
    """Return what each generated file should hold: the tables in results/ and README.md of `root`."""
    out = root / "results"
    made = claims.tables(out)
    texts = {out / name: table.to_csv(index=False, lineterminator="\n") for name, table in made.items()}
    readme = (root / "README.md").read_text(encoding="utf-8")
    published = files.read_csv(out / "published.csv")
    blocks = {
        "lead": lead_block(made["grid.csv"], published),
        "reference": reference_block(made["grid.csv"], published),
        "limits": limits_block(out / "reference.json"),
        "claims": claims_block(made["claims.csv"]),
        "grid": grid_block(made["grid.csv"]),
        "ablations": ablations_block(made["ablations.csv"]),
        "reads": reads_block(files.read_csv(out / "test_reads.csv")),
    }
    for name, text in blocks.items():
        readme, found = re.subn(
            rf"(?s)(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)",
            lambda block, text=text: f"{block[1]}{text}\n{block[2]}",
            readme,
        )
        if found != 1:
            raise BadInput(f"{root / 'README.md'}: needs one block from <!-- {name}:begin --> to <!-- {name}:end -->")
    return texts | {root / "README.md": readme}


def differences(wanted: dict[Path, str]) -> list[str]:
    """Name the files that do not hold what they should, with the first line that differs."""
    found = []
    for path, text in wanted.items():
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        if there != text:
            pairs = zip([*there.splitlines(), ""], [*text.splitlines(), ""], strict=False)
            line = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), 1)
            found.append(f"{path}, line {line}: not what the results give; run make tables")
    return found


#: Rows of grid.csv that stand beside published figures, and what they are called there.
OURS = {
    ("reference", "honest"): "**ours, from scratch, 96 px**",
    ("reference mean of five", "scored"): "ours, the mean of its five runs",
    ("reference-unaugmented", "honest"): "ours without augmentation",
    ("eight statistics", "scored"): "eight statistics of the picture, no network",
}


def lead_block(summary: pd.DataFrame, published: pd.DataFrame) -> str:
    """Say in a sentence what our own network reaches, beside the highest published pair."""
    row = _row(summary, "reference", "honest")
    best = published.loc[published["auc"].idxmax()]
    beside = f"the highest published pair is {claims.shown(best['accuracy'])} and {claims.shown(best['auc'])}"
    if row is None:
        return f"Our own network, from scratch, is {claims.NOT_RUN}; {beside}."
    accuracy, auc = (
        f"**{claims.shown(row[m])}** ({_ends(row, m)} over its seeds, 95% interval {_ends(row, m, '_low', '_high')})"
        for m in ("accuracy", "auc")
    )
    return (
        f"Our own network, trained from scratch in {row['minutes']:.0f} minutes on two cores and judged by a protocol "
        f"that was fixed before test was opened for it, reaches an accuracy of {accuracy} and an AUC of {auc} on the "
        f"official test set; {beside}."
    )


def reference_block(summary: pd.DataFrame, published: pd.DataFrame) -> str:
    """Lay out our own network beside published figures on the same test set, by AUC."""
    rows = []
    for row in published.to_dict(orient="records"):
        figures = ["" if pd.isna(row[metric]) else claims.shown(row[metric]) for metric in claims.MEASURES]
        rows.append((row["auc"], [row["network"], *figures, row["source"]]))
    for (recipe, protocol), name in OURS.items():
        row = _row(summary, recipe, protocol)
        if row is None:
            continue
        seeds = int(row["seeds"].split()[0])
        cells = [f"{claims.shown(row[m])}" + (f" ({_ends(row, m)})" if seeds > 1 else "") for m in ("accuracy", "auc")]
        others = [claims.shown(row[m]) for m in ("sensitivity", "specificity")]
        source = f"{seeds} seeds" if seeds > 1 else "[scores](results/scores)"
        rows.append((row["auc"], [name, *cells, *others, source]))
    head = "| network | accuracy | AUC | sens. | spec. | source |"
    lines = [f"| {' | '.join(cells)} |" for _, cells in sorted(rows, key=lambda pair: pair[0])]
    return "\n".join([head, "| --- | ---: | ---: | ---: | ---: | --- |", *lines])


def limits_block(path: Path) -> str:
    """Say where the shipped network looks, and what it still knows without lungs."""
    if not path.is_file():
        return f"- Where the shipped network looks is {claims.NOT_RUN}."
    tests = files.read_json(path)["tests"]
    heat, auc = tests["heat"]["gradcam"], {name: row["value"] for name, row in tests["shortcuts"].items()}
    flipped = max(row["flipped"] for name, row in tests["shortcuts"].items() if name.startswith("marker added"))
    low, high = (claims.shown(tests["shortcuts"]["all but border covered"][end]) for end in ("low", "high"))
    return (
        f"- The shipped network does not look at lungs alone. Of its heat (Grad-CAM, {tests['called_pneumonia']} test "
        f"images that it calls PNEUMONIA) {heat['centre']['value']:.0%} lies in the central chest; spread evenly it "
        f"would be {tests['even']['centre']:.0%}. With the central chest covered, its AUC is still "
        f"{claims.shown(auc['central chest covered'])}; from the outermost tenth alone, "
        f"{claims.shown(auc['all but border covered'])} ({low} to {high}), where .5 would be chance; with the border "
        f"covered, {claims.shown(auc['border covered'])}; with surroundings of the other class, "
        f"{claims.shown(auc['surroundings of the other class'])}; as it is, {claims.shown(auc['as it is'])}. A side "
        f"marker drawn into a corner changes {flipped:.1%} of its answers."
    )


def _row(summary: pd.DataFrame, recipe: str, protocol: str) -> pd.Series | None:
    found = summary[(summary["recipe"] == recipe) & (summary["protocol"] == protocol)]
    return None if found.empty or pd.isna(found["auc"].iloc[0]) else found.iloc[0]


def _ends(row: pd.Series, metric: str, low: str = "_min", high: str = "_max") -> str:
    return "–".join(dict.fromkeys(claims.shown(row[f"{metric}{end}"]) for end in (low, high)))


def claims_block(table: pd.DataFrame) -> str:
    """Lay out the claims for README: the table, how many of each verdict, and why, row by row."""
    lines = ["| system | claim | n | published | ours, its way | ours, honest | verdict |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    why = []
    for row in table.to_dict(orient="records"):
        system = row["system"].partition(",")[0]
        ours = row["dataset"] or _figure(row, "ours", "_min", "_max", "seeds")
        if row["reconstruction"] and not pd.isna(row["ours"]):
            ours = f"reconstruction: {ours}"
        so_far = "" if row["verdict"] not in OF_RUNS or _complete(row["seeds"] or row["honest_seeds"]) else ", so far"
        cells = [
            f"{system} `{row['recipe']}`",
            row["claim"],
            "" if pd.isna(row["n"]) else f"{row['n']:,}",
            row["published"],
            ours,
            _figure(row, "honest", "_low", "_high", "honest_seeds"),
            row["verdict"] + so_far,
        ]
        lines.append(f"| {' | '.join(cells)} |")
        why.append(f"- {system}, {row['claim']} ({row['source']}): *{row['verdict']}*. {row['why']}")
    counts = table["verdict"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in claims.VERDICTS if name in counts) + "."
    if any(", so far" in line for line in lines):
        told += " *So far* means that seeds are missing."
    details = ["<details><summary>Why, claim by claim</summary>", "", *why, "", "</details>"]
    return "\n".join([*lines, "", f"Of {len(table)} claims: {told}", "", *details])


def _figure(row: dict, name: str, low: str, high: str, seeds: str) -> str:
    """Write a mean with its two limits, and how many seeds it is of where some are missing."""
    if pd.isna(row[name]):
        return claims.NOT_RUN if row[seeds] else ""
    limits = dict.fromkeys(claims.shown(row[f"{name}{end}"]) for end in (low, high))
    told = ["–".join(limits)] if len(limits) == 2 else []
    told += [] if _complete(row[seeds]) else [f"{row[seeds]} seeds"]
    return claims.shown(row[name]) + (f" ({', '.join(told)})" if told else "")


#: Verdicts that rest on our runs alone: they hold "so far" while seeds are missing.
OF_RUNS = ("underspecified", "reproduced", "above what we can reach", "below")


def _complete(seeds: str) -> bool:
    """Tell whether all seeds are there; a fact of the dataset needs none."""
    there, _, planned = seeds.partition(" of ")
    return there == planned


def grid_block(summary: pd.DataFrame) -> str:
    """Lay out the grid for README: a row for what was run, and a line for what was not."""
    rows = summary.to_dict(orient="records")
    rule = re.sub(r"[^|]+", " ---: ", claims.HEAD).replace(" ---: ", " --- ", 2)
    lines = [claims.HEAD, rule, *(claims.grid_row(row) for row in rows if not row["seeds"].startswith("0 "))]
    missing = [f"`{row['recipe']}` {row['protocol']}" for row in rows if row["seeds"].startswith("0 ")]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    made = {"Images": "images", "Machine": "hardware", "Precision": "precision"}
    told = {
        title: "; ".join(dict.fromkeys(value for values in summary[name] if values for value in values.split("; ")))
        for title, name in made.items()
    }
    hours = (summary["minutes"].astype(float) * summary["seeds"].str.split().str[0].astype(int)).sum() / 60
    told["Training, all runs added up"] = f"{hours:.0f} hours"
    return "\n".join([*lines, "", *(f"{title}: {values}." for title, values in told.items() if values)])


def ablations_block(table: pd.DataFrame) -> str:
    """Lay out for README what a setting changed."""
    if table.empty:
        return f"The ablations are {claims.NOT_RUN}."
    head = ["with", "without", "accuracy", "AUC", "sens.", "spec."]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- | {' | '.join(['---:'] * len(claims.MEASURES))} |"]
    for row in table.to_dict(orient="records"):
        figures = [_signed(row, metric) for metric in claims.MEASURES]
        lines.append(f"| {row['setting']}: `{row['recipe']}` | `{row['without']}` | {' | '.join(figures)} |")
    return "\n".join(lines)


def _signed(row: dict, metric: str) -> str:
    value, low, high = (f"{row[metric + end]:+.3f}".replace("0.", ".", 1) for end in ("", "_low", "_high"))
    return f"{value} [{low} to {high}]"


def reads_block(ledger: pd.DataFrame) -> str:
    """Lay out how often test was read, for README."""
    kinds = ledger.apply(_kind, axis=1)
    lines = ["| who read test | entries | readings |", "| --- | ---: | ---: |"]
    for kind in KINDS:
        of_kind = ledger[kinds == kind]
        lines.append(f"| {kind} | {len(of_kind):,} | {of_kind['reads'].sum():,} |")
    lines.append(f"| all | {len(ledger):,} | {ledger['reads'].sum():,} |")
    return "\n".join(lines)


KINDS = (
    "honest runs: once each",
    "published runs that validate on test: after each epoch, and once more",
    "published runs that do not",
    "others: exploration, the course, scored tables",
)


def _kind(row: pd.Series) -> str:
    if row["protocol"] == "honest":
        return KINDS[0]
    if row["protocol"] != "published":
        return KINDS[3]
    name = row["cell"].rsplit("-", 2)[0]
    base = grid.VARIANTS.get(name, (name,))[0]
    return KINDS[1] if recipes.get(base).split["validation"] == "test" else KINDS[2]


def main(arguments: list[str], *, root: Path = ROOT) -> int:
    """Write the tables, or with ``--check`` say what differs; return the exit status."""
    if arguments not in ([], ["--check"]):
        print(f"usage: python workflow/tables.py [--check]; not {' '.join(arguments)}", file=sys.stderr)
        return 2
    try:
        wanted = outputs(root)
    except CxrError as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    different = differences(wanted)
    if arguments:
        print("\n".join(different) or "tables: as the results give them")
        return 1 if different else 0
    for path, text in wanted.items():
        with files.atomic(path, ours=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
