"""results.json → results.md and growth.png."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, median

NAMES = {
    "batchnorm_224": "training, layers of 001 at 224x224x3 with its augmentation",
    "smote_224": "training, layers of 003 at 224x224x1",
    "plain_224": "training, layers of 004 at 224x224x1 with its augmentation",
}
AUDITED = {"longest": "this course's longest notebook", "many": "12,000 lines that call each other"}
REFUSED = {
    "scans": "a JPEG of 2,048 x 2,048 px and 1,000 scans",
    "pixels": "a PNG of 12,000 x 12,000 px",
    "frames": "a DICOM file of 20 frames of 2,048 x 2,048 px",
}
"""Files of under 1 MB that ask for much work: decoded, or refused by what they declare."""
REACH = {"batchnorm_224": 2.2, "smote_224": 3.4, "plain_224": 2.2}
"""How many times as fast, on a processor that multiplies bfloat16 in hardware."""


def _values(turns: list[dict], what: str = "seconds") -> list[float]:
    return [turn[what] for turn in turns]


def _middle(values: list[float], unit: str, digits: int) -> str:
    low, high = (f"{one:.{digits}f}" for one in (min(values), max(values)))
    return f"{median(values):.{digits}f} ({low}–{high}) {unit}"


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """Return the ratio of two sides' medians, and the least and largest of a turn.

    Examples
    --------
    >>> ratio([2, 4, 6], [1, 1, 2])
    (4, 2.0, 4.0)
    """
    turns = [a / b for a, b in zip(slow, fast, strict=True)]
    return median(slow) / median(fast), min(turns), max(turns)


def rows(results: dict) -> list[list[str]]:
    """Return the rows of the table, those of parts that were measured."""
    parts = {name: part["figures"] for name, part in results["parts"].items()}
    table = []

    def times(slow, fast):
        middle, low, high = ratio(slow, fast)
        return f"{middle:.1f} ({low:.1f}–{high:.1f})", middle

    def row(work, plain, ours, ratio_text, reach, reached, sides=None):
        verdict = {True: "reached", False: "short", None: "does not apply: no bfloat16 in hardware"}[reached]
        used = ratio(*(_values(side, "processor") for side in sides))[0] if sides else None
        table.append([work, plain, ours, ratio_text, f"{used:.1f}" if used else "", reach, verdict])

    for recipe in (name for name in NAMES if name in parts):
        plain, ours = (_values(parts[recipe][side], "value") for side in ("plain", "ours"))
        text, middle = times(ours, plain)
        fast, sides = results["parts"][recipe]["machine"]["bfloat16"], (parts[recipe]["plain"], parts[recipe]["ours"])
        row(NAMES[recipe], _middle(plain, "images/s", 1), _middle(ours, "images/s", 1), text, f"{REACH[recipe]} times",
            middle >= REACH[recipe] if fast else None, sides)  # fmt: skip
    if "originals" in parts:
        plain, ours, scaled = (_values(parts["originals"][side]) for side in ("plain", "ours", "scaled"))
        work = "originals → grayscale 224x224 cache, cold"
        text, middle = times(plain, ours)
        row(f"{work}, against PIL, one thread", _middle(plain, "s", 2), _middle(ours, "s", 2), text, "4 times",
            middle >= 4, (parts["originals"]["plain"], parts["originals"]["ours"]))  # fmt: skip
        text, middle = times(ours, scaled)
        row(f"{work}, against libjpeg-turbo's scaled decode alone, all cores", _middle(scaled, "s", 2),
            _middle(ours, "s", 2), f"takes {text}", "takes at most 1.5 times", middle <= 1.5)  # fmt: skip
    if "warm" in parts:
        ours = _values(parts["warm"]["ours"])
        row("the cache again, warm", "", _middle(ours, "s", 3), "", "under 0.3 s", median(ours) < 0.3)
    if "smote" in parts:
        sides = [parts["smote"][side] for side in ("plain", "ours")]
        plain, ours = map(_values, sides)
        text, middle = times(plain, ours)
        row("SMOTE on the training set", _middle(plain, "s", 1), _middle(ours, "s", 2), text, "3 times", middle >= 3,
            sides)  # fmt: skip
        plain, ours = (_values(side, "mb") for side in sides)
        row("its memory, above the images", _middle(plain, "MB", 0), _middle(ours, "MB", 0), times(plain, ours)[0],
            "under 1,200 MB", max(ours) < 1200)  # fmt: skip
    if "commands" in parts:
        for count, name, most in ((1, "one image", 1.5), (100, "100 images", 5)):
            plain, ours = (_values(parts["commands"][f"predict_{count}"][side]) for side in ("plain", "ours"))
            row(f"`cxr predict` of {name}, whole process", _middle(plain, "s", 1), _middle(ours, "s", 2),
                times(plain, ours)[0], f"under {most} s", median(ours) < most)  # fmt: skip
        ours = _values(parts["commands"]["import"]["ours"])
        row("import of `cxr_utils` and its command line", "", _middle(ours, "s", 2), "", "under 0.3 s",
            median(ours) < 0.3)  # fmt: skip
    for kind, name in AUDITED.items() if "audit" in parts else ():
        ours = _values(parts["audit"][kind]["ours"])
        row(f"`cxr audit` of {name}, whole process", "", _middle(ours, "s", 2), "", "under 5 s", median(ours) < 5)
    for kind, name in REFUSED.items() if "refused" in parts else ():
        plain, ours = (_values(parts["refused"][kind][side], "value") for side in ("plain", "ours"))
        (text, middle), thousandths = times(plain, ours), [1e3 * seconds for seconds in ours]
        row(f"{name}: decoded, or refused before", _middle(plain, "s", 2), _middle(thousandths, "ms", 2), text,
            "100 times", middle >= 100)  # fmt: skip
    return table


def _lines(header: str, body: list[list]) -> list[str]:
    columns = header.count("|") + 1
    return [f"| {header} |", "|" + " --- |" * columns, *(f"| {' | '.join(map(str, row))} |" for row in body), ""]


def text(results: dict) -> str:
    """Return results.md."""
    parts = results["parts"]
    machines = {}
    for name, part in parts.items():
        machines.setdefault(_machine(part["machine"]), []).append(name)
    where = [f"{'Machine' if len(machines) == 1 else 'Of ' + ', '.join(names)}: {machine}"
             for machine, names in machines.items()]  # fmt: skip
    lines = [
        "# Speed and memory",
        "",
        "Written by `make bench` from results.json.",
        "",
        *[line for each in where for line in (each, "")][:-1],
        f"Images: {results['source']}.",
        "",
        "Both sides ran in turn on the same machine, each in a process of its own. Medians, and in brackets the least "
        "and the largest of the turns; ratios are of medians, and in brackets those of single turns. Processor time "
        "sums all cores, and depends less on what else the machine does.",
        "",
        *_lines("work | plain way | ours | ratio | of processor time | to reach | verdict", rows(results)),
    ]
    if "bounds" in parts:
        lines += _bounds(parts["bounds"]["figures"])
    if "precision" in parts:
        lines += _precision(parts["precision"]["figures"])
    if "growth" in parts:
        lines += _growth(parts["growth"]["figures"])
    loads = ", ".join(f"{name} {part['date']} ({part['load_before']})" for name, part in parts.items())
    lines += [f"Measured, with the machine's load just before: {loads}."]
    return "\n".join(lines) + "\n"


def _bounds(figures: dict) -> list[str]:
    peak, body = figures["peak"], []
    known = ("convolution", "pooling", "batch_normalization", "reorder")
    for recipe in (name for name in NAMES if name in figures):
        for side, used in figures[recipe].items():
            rest = used["step"] - sum(used.get(kind, 0) for kind in known)
            shares = (f"{part / used['step']:.0%}" for part in (*(used.get(kind, 0) for kind in known), rest))
            body.append([f"`{recipe}`, {side}", f"{used['step']:,.0f} ms", *shares, f"{used['gflops']:,}"])
    return [
        "## What bounds training",
        "",
        "Where a step of 32 images goes, by oneDNN's own clock, without reading and augmentation; the last column is "
        f"what its convolutions reach. A product of large matrices reaches {peak['float32']:,} GFLOP/s in float32 and "
        f"{peak['bfloat16']:,} in bfloat16: {peak['bfloat16'] / peak['float32']:.1f} times is what bfloat16 can give "
        "here where a step is all convolution.",
        "",
        *_lines("step | time | convolution | pooling | normalisation | reorder | all else | GFLOP/s", body),
    ]


def _precision(figures: dict) -> list[str]:
    full, half = figures["float32"], figures["mixed_bfloat16"]
    change, spread = mean(half) - mean(full), max(full) - min(full)
    said = "less" if abs(change) < spread else "not less"
    return [
        "## Precision",
        "",
        "`plain_64` trained on the training images alone, AUC on held-out patients among them, "
        f"{len(full)} seeds: float32 {', '.join(f'{one:.4f}' for one in full)}; bfloat16 "
        f"{', '.join(f'{one:.4f}' for one in half)}. The mean changes by {change:+.4f}, {said} than the seeds' "
        f"spread in float32, {spread:.4f}.",
        "",
    ]


def _growth(figures: dict) -> list[str]:
    body = []
    for times in figures["ours"]:
        stages = {side: {one["stage"]: one for one in figures[side][times]} for side in ("plain", "ours")}
        cells = [times]
        for stage in ("read", "balance", "serve"):
            cells += [f"{stages[side][stage]['seconds']:.2f}" for side in stages]
        cells += [f"{max(one['mb'] for one in stages[side].values()):,.0f}" for side in stages]
        body.append([*cells, f"{stages['ours']['warm']['seconds']:.3f}"])
    header = "times | read, plain | ours | SMOTE, plain | ours | serve, plain | ours | MB, plain | ours | warm"
    return [
        "## Growth",
        "",
        "![Seconds and memory of both sides at 1, 2, 4 and 8 times the images](growth.png)",
        "",
        "An eighth of the training images, and 2, 4 and 8 times as many: seconds to read them (cold), to balance them "
        "by SMOTE, and to serve each example once; the largest memory in MB without the mapped cache; and the cache "
        "again, warm.",
        "",
        *_lines(header, body),
    ]


def _machine(here: dict) -> str:
    bfloat16 = " and ".join(here["bfloat16"]) or "none"
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    return (
        f"{here['processor']}, {here['cores']} cores, bfloat16 in hardware: {bfloat16}; "
        f"{here['memory_gb']} GB; {here['system']}; libjpeg-turbo {here['libjpeg_turbo']}; {versions}."
    )


def draw(figures: dict, path: Path) -> None:
    """Draw seconds and memory over the number of images."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    drawn = (("all stages", "seconds", sum), ("SMOTE", "seconds", None), ("largest memory", "mb", max))
    for axis, (title, what, of) in zip(axes, drawn, strict=True):
        for side, colour, mark in (("plain", "#D55E00", "s--"), ("ours", "#0072B2", "o-")):
            stages = {int(times): found for times, found in figures[side].items()}
            values = [
                of(one[what] for one in found) if of else next(one[what] for one in found if one["stage"] == "balance")
                for found in stages.values()
            ]
            axis.plot(list(stages), values, mark, color=colour, label="plain way" if side == "plain" else side)
        axis.set(title=title, xlabel="times the images", ylabel="MB" if what == "mb" else what, xticks=list(stages))
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, results: dict) -> None:
    """Write results.md and, if growth was measured, growth.png into a folder."""
    (folder / "results.md").write_text(text(results), encoding="utf-8")
    if "growth" in results["parts"]:
        draw(results["parts"]["growth"]["figures"], folder / "growth.png")
