"""Write the tables that come from results/: the CSV files there, and the blocks of README and of the pages there.

``python workflow/tables.py`` writes them; with ``--check`` it only says what differs, and exits with 1 then.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import audited
import folds
import pandas as pd
import protocol_2

from cxr_utils import evaluation, files, recipes
from cxr_utils.errors import BadInput, CxrError
from cxr_utils.replication import claims, grid, values, verdicts

ROOT = Path(__file__).parents[1]


def outputs(root: Path) -> dict[Path, str]:
    """Return what each generated file should hold: the tables in results/, README.md of `root` and the pages there."""
    out = root / "results"
    made = claims.tables(out)
    texts = {out / name: table.to_csv(index=False, lineterminator="\n") for name, table in made.items()}
    published = files.read_csv(out / "published.csv")
    summary, ablations, hospital = made["grid.csv"], made["ablations.csv"], out / "elsewhere"
    pages = {
        root / "README.md": {"figures": figures_block(summary, ablations, hospital / "networks.csv")},
        root / "docs" / "use.md": {"errs": errs_block(out)},
        out / "README.md": {"sources": sources_block()},
        out / "how-far.md": {
            "lead": lead_block(summary, published, out / "reference.json"),
            "reference": reference_block(summary, published),
            "protocol_2": protocol_2.block(out),
        },
        out / "claims.md": {"claims": claims_block(made["claims.csv"])},
        out / "all-runs.md": {
            "coverage": coverage_block(files.read_csv(out / "coverage.csv")),
            "grid": grid_block(summary),
            "answers": answers_block(out),
            "ablations": ablations_block(ablations),
            "reads": reads_block(files.read_csv(out / "test_reads.csv")),
        },
        out / "limits.md": {
            "limits": limits_block(out / "reference.json"),
            "acquisition": acquisition_block(out / "acquisition.json"),
            "neighbours": neighbours_block(out / "scores" / "reference_mean_of_five.predictions.csv.gz"),
            "elsewhere": elsewhere_block(hospital),
        },
    }
    if (hospital / "networks.csv").is_file():
        texts[out / "course" / "09_elsewhere.json"] = elsewhere_box(out)
    if (out / "folds.md").is_file():
        pages[out / "folds.md"] = folds.blocks(out)
    kept = hospital / "reference.json"
    pages[out / "models" / "model-card.md"] = {"elsewhere": elsewhere_card(kept), "hospital": elsewhere_index(kept)}
    pages[out / "replication.md"] = {"runtime": runtime_block(out)}
    works = files.read_csv(out / "audited" / "works.csv", columns=audited.COLUMNS, dtype="string")
    own = files.read_csv(out / "audited" / "own.csv", columns=audited.OWN_COLUMNS, dtype="string")
    pages[root / "notebooks" / "before_you_publish.md"] = {"audited": audited_block(works, own)}
    audits = files.read_csv(out / "audited" / "systems.csv", columns=audited.SYSTEMS_COLUMNS, dtype="string")
    for number in recipes.sources()["system"]:
        pages[out / "systems" / f"{number}.md"] = {"system": system_block(number, made, audits)}
    return texts | {path: filled(path, blocks) for path, blocks in pages.items()}


def filled(path: Path, blocks: dict[str, str]) -> str:
    """Return a page with the text of its blocks renewed.

    Raises
    ------
    BadInput
        The page is missing, or has not each block once.
    """
    if not path.is_file():
        raise BadInput(f"{path}: there is no such page; copy one of another system, and rewrite it")
    page = path.read_text(encoding="utf-8")
    for name, text in blocks.items():
        page, found = re.subn(
            rf"(?s)(<!-- {name}:begin[^>]*-->\n).*?((?:# )?<!-- {name}:end -->)",  # in YAML it is a comment
            lambda block, text=text: f"{block[1]}{text}\n{block[2]}",
            page,
        )
        if found != 1:
            raise BadInput(f"{path}: needs one block from <!-- {name}:begin --> to <!-- {name}:end -->")
    return page


def sources_block() -> str:
    """Lay out *The sources*."""
    lines = ["| system | recipe | at the commit | date | licence | what could be read |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in recipes.sources().to_dict(orient="records"):
        own = ", ".join(f"`{name}`" for name in row["recipes"].split(", "))
        link = f"[{row['link'][-40:][:7]}]({row['link']})"
        lines.append(f"| {row['system']} | {own} | {link} | {row['date']} | {row['licence']} | {row['read']} |")
    return "\n".join(lines)


def system_block(number: str, made: dict[str, pd.DataFrame], audits: pd.DataFrame) -> str:
    """Lay out a system's own page: where it stands, its claims with their addresses, its audit, and our runs of it."""
    row = recipes.sources().set_index("system").loc[number]
    names = row["recipes"].split(", ")
    lines = [
        f"Read at [{row['link'][-40:]}]({row['link']}), of {row['date']}; licence: {row['licence']}. "
        f"What could be read: {row['read']}.{_older(names)}",
        "",
        "| claim | where | n | published | ours, its way | verdict, and why |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    claimed = made["claims.csv"]
    for claim in claimed[claimed["recipe"].isin(names)].to_dict(orient="records"):
        where = f"[{claim['source']}, {claim['place']}]({claim['address']})"
        verdict = f"*{claim['verdict']}*. {claim['why']}"
        cells = [claim["claim"], where, _count(claim), _published(claim), _ours(claim), verdict]
        lines.append(f"| {' | '.join(cells)} |")
    code = audits[audits["system"] == number]
    for address in code["address"].unique():
        said = [f"{values.RULES[row.mistake]['found']}{f' ({row.place})' * (row.place != 'nowhere')}"
                for row in code[code["tool"] == "found"].itertuples()]  # fmt: skip
        lines += ["", f"`cxr audit`, which reads [its code]({address}) and never runs it, finds: {'; '.join(said)}."]
    lines += [
        "",
        "*n*: on how many images the figure was measured, where that is known. In square brackets: 95% interval, of a "
        "published figure by those images alone. In round brackets: the lowest and the highest of our seeds. "
        "[The rules of the verdicts](../claims.md#the-rules-of-the-verdicts).",
        "",
        "Our runs on the official test set, answers from .5 on ([what each column says](../all-runs.md)):",
    ]
    runs = made["grid.csv"]
    runs = runs[runs["recipe"].str.fullmatch("|".join(f"{name}(-.*)?" for name in names))]
    networks = [_network(name, runs[runs["recipe"] == name]) for name in runs["recipe"].unique()]
    answers = "Each run's answers, to compute its figures again: [all runs](../all-runs.md#the-answers-of-each-run)."
    return "\n".join([*lines, "", grid_block(runs, told=False), "", *networks, "", answers])


def _older(names: list[str]) -> str:
    """Say which file is replicated as it stood in another commit than the one that was read."""
    every = [(recipe, claim) for recipe in map(recipes.get, names) for claim in recipe.claims if claim.commit]
    told = {
        f"the [{claim.source} of the commit {claim.commit[:7]}]({recipe.published.link(claim).partition('?')[0]})"
        for recipe, claim in every
    }
    return f" What is replicated is {' and '.join(sorted(told))}, so its claims link there." if told else ""


def _network(name: str, runs: pd.DataFrame) -> str:
    """Say what a network of a system's page is, and on which images its runs were validated."""
    base, changes = grid.VARIANTS.get(name, (name, {}))
    recipe, told = recipes.get(base), []
    for row in runs[runs["validates_on"] != ""].to_dict(orient="records"):
        how = grid.Cell(name, row["protocol"], 0).get_recipe().validation
        told.append(f"{row['protocol']}: {how} ({row['validation_images']:,} images)")
    if changes:
        what = f"`{base}`, but " + " and ".join(f"`{key}` is {value or 'none'}" for key, value in changes.items())
    else:
        what = f"{recipe.title}; [its settings](../../cxr_utils/recipes/{base}.py), or `cxr recipes {base}`"
    return f"- `{name}`: {what}." + (f" Validation, {'; '.join(told)}." if told else "")


def answers_block(out: Path) -> str:
    """Link the answers of each kept run: what its figures can be computed again from."""
    lines, kept = [], {}
    for cell in grid.results(out):
        recipe, protocol, seed = cell.rsplit("-", 2)
        kept.setdefault((recipe, protocol), []).append((int(seed[1:]), cell))
    for recipe, protocol in sorted(kept, key=lambda key: (key[0], key[1] == "honest")):
        seeds = [f"[{seed}](runs/{cell}.predictions.csv.gz)" for seed, cell in sorted(kept[recipe, protocol])]
        lines.append(f"| {recipe} | {protocol} | {', '.join(seeds)} |")
    head = ["| network | protocol | by seed |", "| --- | --- | --- |"]
    return "\n".join([*head, *lines]) if lines else f"The grid is {verdicts.NOT_RUN}."


def errs_block(out: Path) -> str:
    """Say how often the shipped network is wrong: on its own test set, and in another hospital."""
    own, there = out / "models" / "reference.json", out / "elsewhere" / "reference.json"
    if not own.is_file() or not there.is_file():
        return f"How often the shipped network is wrong is {verdicts.NOT_RUN}."
    named, elsewhere = files.read_json(own)["run"], files.read_json(there)["groups"]["all"]["metrics"]
    test = grid.results(out)[f"{named['recipe']}-{named['protocol']}-s{named['seed']}"]["metrics"]["test"]
    accuracy, other = (verdicts.shown(one["at_half"]["accuracy"]["value"]) for one in (test, elsewhere))
    miss, alarm = (f"{1 - test['at_half'][metric]['value']:.1%}" for metric in ("sensitivity", "specificity"))
    return (
        f"How often it is wrong stands in its [model card](../results/models/model-card.md). On its own test set of "
        f"{test['images']:,} images the shipped network has an accuracy of {accuracy}: it misses {miss} of PNEUMONIA, "
        f"and calls {alarm} of NORMAL similar to PNEUMONIA. On {elsewhere['images']:,} films of another hospital its "
        f"accuracy is {other}, and its AUC {verdicts.shown(elsewhere['at_half']['auc']['value'])}: little better than "
        "chance. So an answer for a film from elsewhere says next to nothing."
    )


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
    ("reference_2", "honest"): "ours, from scratch, 64 px, protocol 2 (informed by test), from .5 on",
    ("reference 2 mean of five", "scored"): "ours, the mean of its five runs, protocol 2, from .5 on",
    ("reference-unaugmented", "honest"): "ours without augmentation",
    ("eight statistics", "scored"): "eight statistics of the picture, no network",
}


def figures_block(summary: pd.DataFrame, ablations: pd.DataFrame, networks: Path) -> str:
    """Lay out for README three figures that matter: our network on test, elsewhere, and what holds it up."""
    own, there = _row(summary, "reference", "honest"), files.read_csv(networks) if networks.is_file() else None
    change = ablations[(ablations["recipe"] == "reference") & (ablations["setting"] == "augmentation")]
    if own is None or there is None or change.empty:
        return f"The three figures are {verdicts.NOT_RUN}."
    there, change = there.set_index("network").loc["reference"], change.iloc[0]
    again = len(list((networks.parent / "runs").glob("reference-honest-s*.json")))
    carried = (
        f"AUC on films of [another hospital](results/limits.md), of {there['seeds']:.0f} networks of that recipe, "
        f"{again} of them trained again for it; on their own test set they have {verdicts.shown(there['auc_test'])}"
    )
    rows = [
        ("accuracy of our own network, trained from scratch, on the official test set", own, "accuracy"),
        (carried, there, "all"),
        ("what augmentation adds to its [accuracy](results/all-runs.md#what-a-setting-changed)", change, "accuracy"),
    ]
    lines = ["| figure | value | 95% interval |", "| --- | ---: | ---: |"]
    for name, row, column in rows:
        shown = [verdicts.shown(row[f"{column}{end}"]) for end in ("", "_low", "_high")]
        lines.append(f"| {name} | **{shown[0]}** | {shown[1]} to {shown[2]} |")
    return "\n".join(lines)


def lead_block(summary: pd.DataFrame, published: pd.DataFrame, reference: Path) -> str:
    """Say what our own network reaches, beside the highest pair that is comparable, and without averaged views."""
    row = _row(summary, "reference", "honest")
    best = published.loc[published["auc"].idxmax()]
    pair = f"{verdicts.shown(best['accuracy'])} and {verdicts.shown(best['auc'])}"
    beside = f"the highest published pair that we hold comparable is {pair}"
    if row is None:
        return f"Our own network, from scratch, is {verdicts.NOT_RUN}; {beside}."
    accuracy, auc = (
        f"**{verdicts.shown(row[m])}** ({_ends(row, m)} over its seeds, 95% interval {_ends(row, m, '_low', '_high')})"
        for m in ("accuracy", "auc")
    )
    return (
        f"Our own network, trained from scratch in {row['minutes']:.0f} minutes on two cores and judged by a protocol "
        f"that was fixed before test was opened for it, reaches an accuracy of {accuracy} and an AUC of {auc} on the "
        f"official test set; {beside}.{_plain(reference)}{_informed(reference.parent)}"
    )


def _informed(out: Path) -> str:
    """Say what the recipe of the second protocol reaches at its bound threshold."""
    found = protocol_2.measured(out, "reference_2")
    if not (accuracy := found["test, accuracy"]):
        return ""
    return (
        " A [second recipe](#a-second-protocol-answers-that-hang-on-lungs), whose protocol is informed by this test "
        f"set, has an accuracy of {accuracy} at its bound threshold and an AUC of {found['test, auc']}. It is better "
        "there; no unseen test says so."
    )


def _plain(path: Path) -> str:
    """Say what the same networks answer without averaging views."""
    if not path.is_file():
        return ""
    found = pd.DataFrame(files.read_json(path)["plain"]).mean()
    accuracy, specificity, auc = (verdicts.shown(found[f"test_{m}"]) for m in ("accuracy", "specificity", "auc"))
    return (
        " Each answer is the mean over five views of an image, as the protocol had bound it. On test that was no gain "
        f"in accuracy: without, the same networks have {accuracy} (specificity {specificity}) and an AUC of {auc}."
    )


def reference_block(summary: pd.DataFrame, published: pd.DataFrame) -> str:
    """Lay out our own network beside published figures on the same test set, by AUC."""
    rows = []
    for row in published[published["auc"].notna()].to_dict(orient="records"):
        figures = ["" if pd.isna(row[metric]) else verdicts.shown(row[metric]) for metric in claims.MEASURES]
        rows.append((row["auc"], [row["network"], *figures, row["source"]]))
    for (recipe, protocol), name in OURS.items():
        row = _row(summary, recipe, protocol)
        if row is None:
            continue
        seeds = int(row["seeds"].split()[0])
        cells = [verdicts.shown(row[m]) + (f" ({_ends(row, m)})" if seeds > 1 else "") for m in ("accuracy", "auc")]
        others = [verdicts.shown(row[m]) for m in ("sensitivity", "specificity")]
        source = f"{seeds} seeds" if seeds > 1 else "[scores](scores)"
        rows.append((row["auc"], [name, *cells, *others, source]))
    head = "| network | accuracy | AUC | sens. | spec. | source |"
    lines = [f"| {' | '.join(cells)} |" for _, cells in sorted(rows, key=lambda pair: pair[0])]
    return "\n".join([head, "| --- | ---: | ---: | ---: | ---: | --- |", *lines])


def limits_block(path: Path) -> str:
    """Say where the shipped network looks, and what it still knows without lungs."""
    if not path.is_file():
        return f"- Where the shipped network looks is {verdicts.NOT_RUN}."
    tests = files.read_json(path)["tests"]
    heat, auc = tests["heat"]["gradcam"], {name: row["value"] for name, row in tests["shortcuts"].items()}
    flipped = max(row["flipped"] for name, row in tests["shortcuts"].items() if name.startswith("marker added"))
    low, high = (verdicts.shown(tests["shortcuts"]["all but border covered"][end]) for end in ("low", "high"))
    return (
        f"- The shipped network does not look at lungs alone. Of its heat (Grad-CAM, {tests['called_pneumonia']} test "
        f"images that it calls PNEUMONIA) {heat['centre']['value']:.0%} lies in the central chest; spread evenly it "
        f"would be {tests['even']['centre']:.0%}. With the central chest covered, its AUC is still "
        f"{verdicts.shown(auc['central chest covered'])}; from the outermost tenth alone, "
        f"{verdicts.shown(auc['all but border covered'])} ({low} to {high}), where .5 would be chance; with the border "
        f"covered, {verdicts.shown(auc['border covered'])}; with surroundings of the other class, "
        f"{verdicts.shown(auc['surroundings of the other class'])}; as it is, {verdicts.shown(auc['as it is'])}. A "
        f"side marker drawn into a corner changes {flipped:.1%} of its answers."
    )


def neighbours_block(path: Path) -> str:
    """Say how much NORMAL images with neighbouring numbers resemble each other, and what that does to an interval."""
    if not path.is_file():
        return f"- How much NORMAL images with neighbouring numbers resemble each other is {verdicts.NOT_RUN}."
    table = evaluation.read_predictions(path)
    alike = {part: evaluation.neighbours(table[table["split"] == part]) for part in ("test", "validation")}
    test, validation = (
        " and ".join(f"{verdicts.shown(row['correlation'], 2)} among {prefix}" for prefix, row in rows[::-1].iterrows())
        for rows in alike.values()
    )
    test_rows = table[table["split"] == "test"]
    groups = {"number": test_rows["patient"], "block": evaluation.blocks(test_rows)}
    found = {
        name: evaluation.bootstrap(test_rows.assign(group=of), by="group").loc["specificity"]
        for name, of in groups.items()
    }
    number, block = (f"{verdicts.shown(row['low'])} to {verdicts.shown(row['high'])}" for row in found.values())
    return (
        f"- NORMAL images with neighbouring numbers can resemble each other, and then tell less than as many others. "
        f"To the mean of our five networks, in order of number, the log-odds of an image and of the next one correlate "
        f"by {test} in test ({validation} in validation). Drawn number by number, the 95% interval of its specificity "
        f"on test, {verdicts.shown(found['number']['value'])}, is {number}; drawn in blocks of 20 neighbouring numbers "
        f"it is {block}. All other intervals are drawn number by number."
    )


def acquisition_block(path: Path) -> str:
    """Say which acquisition goes with the label, and what it does to our five networks."""
    if not path.is_file():
        return f"- Which acquisition goes with the label is {verdicts.NOT_RUN}."
    found = files.read_json(path)
    run, row = found["run"], next(row for row in found["networks"] if row["network"] == "reference honest")
    counts = pd.DataFrame(found["stamp"]["counts"]).assign(test=lambda t: t["part"] == "test")
    stamped = {
        key: f"{row['stamped']:,} of {row['images']:,}"
        for key, row in counts.groupby(["test", "class"])[["stamped", "images"]].sum().iterrows()
    }
    figures = {name: verdicts.shown(value) for name, value in row.items() if isinstance(value, float)}
    alarms = row["false_positives_run"], row["false_positives_run"] + row["false_positives_others"]
    there = "all" if stamped[True, "NORMAL"].startswith(f"{run['stamped']} ") else run["stamped"]
    return (
        f"- The way in which an image was acquired goes with its label. Outside test, a stamp in the lower right "
        f'corner ("KV59", or another number) is on {stamped[False, "NORMAL"]} NORMAL and '
        f"{stamped[False, 'PNEUMONIA']} PNEUMONIA images. In test it is on {stamped[True, 'PNEUMONIA']} PNEUMONIA and "
        f"on {stamped[True, 'NORMAL']} NORMAL images, {there} of these among the {run['images']} from {run['first']} "
        f"to {run['last'][-4:]}. This range was chosen {run['chosen']}: it shows where errors are, and proves no "
        f"cause. Of {alarms[1]:.1f} NORMAL images that one of our networks calls PNEUMONIA on average, {alarms[0]:.1f} "
        f"lie there (specificity {figures['specificity_run']}, against {figures['specificity_others']} on the other "
        f"{run['others']} NORMAL images). Without these {run['images']} images its accuracy would be "
        f"{figures['accuracy_without_run']} in place of {figures['accuracy_test']}, and its AUC "
        f"{figures['auc_without_run']} in place of {figures['auc_test']} ([all networks](acquisition.json))."
    )


def elsewhere_block(folder: Path) -> str:
    """Say what our networks are worth in another hospital, and what the shipped one knows there without lungs."""
    if not (folder / "networks.csv").is_file():
        return f"- How our networks do in another hospital is {verdicts.NOT_RUN}."
    found, table = files.read_json(folder / "reference.json"), files.read_csv(folder / "networks.csv")
    groups, covered = found["groups"], found["shortcuts"]["view AP"]["central chest covered"]["value"]
    auc = {name: _auc(groups[name]) for name in ("all", "view AP", "view PA")}
    known = table[table["AP, central chest covered"].notna()]
    no_lower = (known["AP, central chest covered"] >= known["AP"]).sum()
    lines = [
        f"- It does not carry over. On {groups['all']['metrics']['images']:,} films of another hospital (NIH: adults "
        f"mostly, labels mined from reports) the shipped network has an AUC of {auc['all']}: {auc['view AP']} among "
        f"films in AP, {auc['view PA']} in PA; with the central chest covered it has {verdicts.shown(covered)} in AP. "
        "[Lesson 9](../notebooks/09_elsewhere.ipynb) shows why the figure over all hides its views. This is no measure "
        "of how it does on other children: nobody has tried ([how one would](../data/README.md#another-hospital)). "
        "Another network of this dataset fell from .95 to .54 on children of the same age elsewhere "
        "([Xin, Li, Yi, 2021](https://doi.org/10.1007/s10140-021-01954-x)). "
        f"With the chest covered {no_lower} of {len(known)} networks have no lower AUC in AP. AUC, means over the "
        "seeds with the 95% interval over seeds and patients ([networks](elsewhere/networks.csv)); *own test* "
        "is of these very networks, some of which were [trained again](elsewhere/runs) for it:",
        "",
        "| network | seeds | own test | NIH, all | AP | PA | under 18 | AP, chest covered |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table.sort_values("all", ascending=False).to_dict(orient="records"):
        cells = [_mean(row, name) for name in ("all", "AP", "PA", "under 18")]
        left = row["AP, central chest covered"]
        cells += ["" if pd.isna(left) else verdicts.shown(left)]
        lines.append(f"| {row['network']} | {row['seeds']} | {verdicts.shown(row['auc_test'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(row: dict, name: str) -> str:
    value, low, high = (verdicts.shown(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{value} [{low}–{high}]"


def _auc(group: dict) -> str:
    value, low, high = (verdicts.shown(group["metrics"]["at_half"]["auc"][end]) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def elsewhere_card(path: Path) -> str:
    """Lay out for the model card what the shipped network is worth in another hospital."""
    if not path.is_file():
        return f"Images of another hospital were {verdicts.NOT_RUN}."
    found = files.read_json(path)
    lines = [
        f"{found['source']['origin']}: adults mostly, with labels mined from reports. So this shows that the network "
        "does not carry over, not how it does on other children. Figures at .5, intervals over patients; *inside* "
        "are the images that the check below doesn't call outside.",
        "",
        "| images | NORMAL + PNEUMONIA | patients | AUC | accuracy | sensitivity | specificity | outside "
        "| AUC, chest covered |",
        f"| --- | {' | '.join(['---:'] * 8)} |",
    ]
    for name, group in found["groups"].items():
        at_half = group["metrics"]["at_half"]
        figures = [evaluation.words(at_half[m]) for m in ("auc", "accuracy", "sensitivity", "specificity")]
        left = found["shortcuts"].get(name, {}).get("central chest covered")
        counts = [f"{group['NORMAL']} + {group['PNEUMONIA']}", group["patients"]]
        cells = [name, *counts, *figures, group["outside"], verdicts.shown(left["value"]) if left else ""]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def runtime_block(out: Path) -> str:
    """Lay out how long the kept runs took, and on what."""
    kept = pd.DataFrame([
        {"recipe": record["recipe"]["name"], "minutes": record["seconds"] / 60, **record["hardware"]}
        for record in grid.results(out).values()
    ])  # fmt: skip
    if kept.empty:
        return f"The grid was {verdicts.NOT_RUN}."
    lines = ["| recipe | runs | minutes a run, mean (longest) | hours in all |", "| --- | ---: | ---: | ---: |"]
    for name, took in [*kept.groupby("recipe")["minutes"], ("all", kept["minutes"])]:
        a_run = f"{took.mean():,.1f} ({took.max():,.1f})"
        lines.append(f"| {name} | {len(took)} | {a_run} | {took.sum() / 60:,.1f} |")
    machines = kept.groupby(["processor", "cores", "system"]).size()
    shown = [f"{n} on {cpu}, {cores} core{'s' * (cores > 1)}, {system}" for (cpu, cores, system), n in machines.items()]
    hours = (kept["minutes"] * kept["cores"]).sum() / 60 / 2
    told = f"Runs on one core went two side by side: on two cores, the whole took about {hours:.0f} hours."
    return "\n".join([*lines, "", f"Their machines: {'; '.join(shown)}. {told}"])


def elsewhere_index(path: Path) -> str:
    """Lay out the same for the head of the card, which Hugging Face's hub reads."""
    if not path.is_file():
        return "# No images of another hospital were tried."
    found = files.read_json(path)
    lines = [
        "  - task: {type: image-classification, name: the label NORMAL or PNEUMONIA}",
        "    dataset:",
        f"      name: {json.dumps('Another hospital: ' + found['source']['origin'])}",
        "      type: chestx-ray14",
        "      split: sample",
        "    metrics:",
    ]
    at_half = found["groups"]["all"]["metrics"]["at_half"]
    for metric, kind, shown in (
        ("accuracy", "accuracy", "accuracy at 0.500"), ("sensitivity", "recall", "sensitivity at 0.500"),
        ("specificity", "specificity", "specificity at 0.500"), ("auc", "roc_auc", "AUC"),
    ):  # fmt: skip
        lines += [f"    - type: {kind}", f"      value: {round(at_half[metric]['value'], 4)}"]
        lines.append(f"      name: {shown} with its 95% interval {evaluation.words(at_half[metric])}")
    return "\n".join(lines)


def elsewhere_box(out: Path) -> str:
    """Make what lesson 9 shows beside its phantoms."""
    found, heat = files.read_json(out / "elsewhere/reference.json"), files.read_json(out / "elsewhere/heat.json")
    groups = {name: found["groups"][name]["metrics"]["at_half"] for name in ("all", "view AP", "view PA")}
    facts = {f"AUC elsewhere, {name.removeprefix('view ')}": one["auc"]["value"] for name, one in groups.items()}
    left = found["shortcuts"]["view AP"]["central chest covered"]["value"]
    own = files.read_json(out / "reference.json")["tests"]["shortcuts"]["as it is"]["value"]
    facts |= {
        "AUC, own test": own,
        "AUC elsewhere, AP, chest covered": left,
        "heat in the chest": heat["centre"]["value"],
    }
    normal, ill = found["groups"]["all"]["NORMAL"], found["groups"]["all"]["PNEUMONIA"]
    images = (
        f"{normal + ill:,} films of {found['source']['origin']}: {normal} without a finding and {ill} labelled "
        "pneumonia, adults mostly, answered by the shipped network `reference`"
    )
    command = (
        "cxr evaluate --model results/models/reference.onnx --source folder --path nih-sample-224.zip "
        "--table nih-sample.csv --by view --shortcuts"
    )
    return json.dumps({"images": images, "command": command, "facts": facts}, indent=2) + "\n"


def coverage_block(table: pd.DataFrame) -> str:
    """Say how often an interval over seeds and images holds the truth, as `workflow/coverage.py` simulated it."""
    seeds = " and ".join(f"{count}" for count in table["seeds"].unique())
    ends = {name: (table[name].min(), table[name].max()) for name in ("ratio", "normal", "skewed")}
    normal, skewed = (" to ".join(map(verdicts.shown, ends[name])) for name in ("normal", "skewed"))
    least, most = (f"{end:g}".removeprefix("0") for end in ends["ratio"])
    return (
        f"How often such a 95% interval holds the truth was [simulated](coverage.csv), for {seeds} seeds with "
        f"a standard error of {least} to {most} times the test set's: in {normal} of all cases if the seeds' figures "
        f"are spread normally, in {skewed} if they lean to one side."
    )


def audited_block(works: pd.DataFrame, own: pd.DataFrame) -> str:
    """Lay out how often `cxr audit` was right on works of others, what stood in these, and on programs of our own."""
    yes = works[works["settled"] == "yes"].groupby("mistake")["work"].agg(set)
    count, validates = works["work"].nunique(), len(yes["test_validates"] | yes["sixteen_validate"])
    unseen = works.loc[works["half"] == "unseen", "work"].nunique()
    head = ["cases", "alarms that were right", "cases found", "it can't tell", "readers' agreement (kappa)"]
    lines = [
        f"It was held against {count} public programs that train on this dataset, at fixed commits. Two readers went",
        "through each, the second without knowing what the first had found, and settled what they saw differently. The",
        "programs were found by the names of their repositories. In the first of them rare mistakes were sought on",
        f"purpose; the last {unseen} were drawn by chance from what was found. So this is no sample of all programs.",
        f"In {validates} of the {count}, test images or the 16 images of `val` validate. No seed is set in "
        f"{len(yes['no_seed'])}.",
        "",
        f"By the first {count - unseen} the rules were made. The other {unseen} were opened once, after that:",
        "",
        *_head(head),
    ]
    found = audited.measures(works).set_index("half")
    for number, row in enumerate(found.loc["unseen"].to_dict("records"), 1):
        lines.append(_judged(number, row))
    lines += [
        "",
        f"An earlier form of the rules was made by half of the first {count - unseen}, drawn by a digest of the",
        "repository's name. Held against the other half, which had not been used until then, it had:",
        "",
        *_head(head),
    ]
    earlier = audited.measures(works[works["half"] == "kept back"].assign(tool=works["earlier"]))
    lines += [_judged(number, row) for number, row in enumerate(earlier.to_dict("records"), 1)]
    lines += [
        "",
        f"Four of the mistakes are rare in public programs. For these, {len(own)} short programs are of our own",
        "making, half of them with the mistake. They were written by somebody who did not see the rules. One half of",
        "the programs was used to improve the rules, the other was tried once, after that:",
        "",
        *_head(head[:4]),
    ]
    kept = own[own["half"] == "kept back"].rename(columns={"has": "settled"})
    found = audited.measures(kept.assign(first=kept["settled"], second=kept["settled"])).set_index("mistake")
    for number, name in enumerate(values.RULES, 1):
        if name in found.index:
            lines.append(_judged(number, found.loc[name].drop("kappa").to_dict() | {"mistake": name}))
    return "\n".join(lines)


def _head(columns: list[str]) -> list[str]:
    return [f"| mistake | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]


def _judged(number: int, row: dict) -> str:
    cells = [str(row[name]) for name in ("cases", "precision", "recall", "cant_tell")]
    if "kappa" in row:
        cells.append("-" if pd.isna(row["kappa"]) else verdicts.shown(row["kappa"], 2))
    return f"| {number}: {values.RULES[row['mistake']]['found']} | {' | '.join(cells)} |"


def _row(summary: pd.DataFrame, recipe: str, protocol: str) -> pd.Series | None:
    found = summary[(summary["recipe"] == recipe) & (summary["protocol"] == protocol)]
    return None if found.empty or pd.isna(found["auc"].iloc[0]) else found.iloc[0]


def _ends(row: pd.Series, metric: str, low: str = "_min", high: str = "_max") -> str:
    return "–".join(dict.fromkeys(verdicts.shown(row[f"{metric}{end}"]) for end in (low, high)))


def claims_block(table: pd.DataFrame) -> str:
    """Lay out the claims: the table, and how many of each verdict; why stands on the systems' pages."""
    lines = ["| system | claim | n | published | ours, its way | ours, honest | verdict |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for row in table.to_dict(orient="records"):
        system = row["system"].partition(",")[0]
        so_far = "" if row["verdict"] not in OF_RUNS or _complete(row["seeds"] or row["honest_seeds"]) else ", so far"
        cells = [
            f"[{system}](systems/{system}.md) `{row['recipe']}`",
            row["claim"],
            _count(row),
            _published(row),
            _ours(row),
            _figure(row, "honest", "_low", "_high", "honest_seeds", "[]"),
            row["verdict"] + so_far,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    five, fact = table["system"].str.match(r"\d"), table["metric"].isin(verdicts.FACTS)
    told = [
        _counted("performances of the five systems", table[five & ~fact]),
        _counted("statements of the five about the dataset", table[five & fact]),
        _counted("claims of keras.io", table[~five]),
    ]
    if any(", so far" in line for line in lines):
        told.append("*So far* means that seeds are missing.")
    return "\n".join([*lines, "", " ".join(filter(None, told))])


def _counted(what: str, table: pd.DataFrame) -> str:
    counts = table["verdict"].value_counts()
    told = ", ".join(f"{counts[name]} *{name}*" for name in verdicts.VERDICTS if name in counts)
    return f"Of {len(table)} {what}: {told}." if len(table) else ""


def _ours(row: dict) -> str:
    """Write our figure beside a claim, or the dataset's, and whether it is a reconstruction's."""
    ours = row["dataset"] or _figure(row, "ours", "_min", "_max", "seeds")
    return f"reconstruction: {ours}" if row["reconstruction"] and not pd.isna(row["ours"]) else ours


def _count(row: dict) -> str:
    return "" if pd.isna(row["n"]) else f"{row['n']:,}"


def _published(row: dict) -> str:
    """Write a published figure, and where its images are known the 95% interval that their number gives it."""
    return row["published"] if pd.isna(row["low"]) else f"{row['published']} [{_ends(row, '', 'low', 'high')}]"


def _figure(row: dict, name: str, low: str, high: str, seeds: str, brackets: str = "()") -> str:
    """Write a mean with its two limits, and how many seeds it is of where some are missing."""
    if pd.isna(row[name]):
        return verdicts.NOT_RUN if row[seeds] else ""
    limits = dict.fromkeys(verdicts.shown(row[f"{name}{end}"]) for end in (low, high))
    told = ["–".join(limits)] if len(limits) == 2 else []
    told += [] if _complete(row[seeds]) else [f"{row[seeds]} seeds"]
    return verdicts.shown(row[name]) + (f" {brackets[0]}{', '.join(told)}{brackets[1]}" if told else "")


#: Verdicts that rest on our runs alone: they hold "so far" while seeds are missing.
OF_RUNS = ("underspecified", "undecided", "reproduced", "above what we can reach", "below")


def _complete(seeds: str) -> bool:
    """Tell whether all seeds are there; a fact of the dataset needs none."""
    there, _, planned = seeds.partition(" of ")
    return there == planned


def grid_block(summary: pd.DataFrame, *, told: bool = True) -> str:
    """Lay out the grid: a row for what was run, a line for what was not, and with `told` what all runs took."""
    rows = summary.to_dict(orient="records")
    rule = re.sub(r"[^|]+", " ---: ", claims.HEAD).replace(" ---: ", " --- ", 2)
    done = [claims.grid_row(row) for row in rows if not row["seeds"].startswith("0 ")]
    lines = [claims.HEAD, rule, *done] if done else []
    missing = [f"`{row['recipe']}` {row['protocol']}" for row in rows if row["seeds"].startswith("0 ")]
    if missing:
        lines += [""] * bool(lines) + [f"Not run yet: {', '.join(missing)}."]
    if not told:
        return "\n".join(lines)
    made = {"Images": "images", "Machine": "hardware", "Precision": "precision"}
    facts = {
        title: "; ".join(dict.fromkeys(value for values in summary[name] if values for value in values.split("; ")))
        for title, name in made.items()
    }
    hours = (summary["minutes"].astype(float) * summary["seeds"].str.split().str[0].astype(int)).sum() / 60
    facts["Training, all runs added up"] = f"{hours:.0f} hours"
    return "\n".join([*lines, "", *(f"{title}: {values}." for title, values in facts.items() if values)])


def ablations_block(table: pd.DataFrame) -> str:
    """Lay out what a setting changed."""
    if table.empty:
        return f"The ablations are {verdicts.NOT_RUN}."
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
    """Lay out how often test was read."""
    kinds = ledger.apply(_kind, axis=1)
    lines = ["| who read test | entries | readings |", "| --- | ---: | ---: |"]
    for kind in KINDS:
        lines.append(_reads(kind, ledger[kinds == kind]))
    return "\n".join([*lines, _reads("all", ledger)])


def _reads(what: str, table: pd.DataFrame) -> str:
    least = "at least " if table["remark"].fillna("").str.contains("at least").any() else ""
    return f"| {what} | {len(table):,} | {least}{table['reads'].sum():,} |"


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
    return KINDS[1] if recipes.get(base).split["validation"] == "test" and row["reads"] > 1 else KINDS[2]


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
