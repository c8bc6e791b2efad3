"""The two figures to explore: Vega-Lite specifications over what `cxr_utils.evaluation` makes of kept predictions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import vl_convert

from cxr_utils import evaluation

RESULTS = Path(__file__).parents[1] / "results"
#: What can be chosen, where its answers are kept, and the recipe whose seeds tell the chance of training.
NETWORKS = {
    "reference, as shipped": ("runs/reference-honest-s0", "reference"),
    "plain_224": ("runs/plain_224-honest-s0", "plain_224"),
    "smote_224": ("runs/smote_224-honest-s0", "smote_224"),
    "eight statistics, no network": ("scores/eight_statistics", None),
}
MEASURES = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "AUC": "auc"}
SIZES = (50, 100, 200, 400, 624)
DRAWS = 300
BEYOND = (624, 1250, 2500, 5000, 10000)
COLOURS = ["#0072b2", "#d55e00", "#777777"]


def answers(network: str) -> pd.DataFrame:
    """Return what a network answered on test."""
    table = evaluation.read_predictions(RESULTS / f"{NETWORKS[network][0]}.predictions.csv.gz")
    return table[table["split"] == "test"]


def rates() -> list[dict]:
    """Return sensitivity and specificity of each network at each threshold."""
    return [
        {"network": network, "threshold": cut / 100, **{name: found[name] for name in ("sensitivity", "specificity")}}
        for network in NETWORKS
        for table in [answers(network)]
        for cut in range(1, 100)
        for found in [evaluation.metrics(table["label"], table["probability"], threshold=cut / 100)]
    ]


def intervals(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return all metrics, and the middle 95% of them over draws of `n` images: of all, that is the bootstrap's."""
    whole = evaluation.bootstrap(table, draws=DRAWS)
    if n == len(table):
        return whole
    rng, found = np.random.default_rng(n), []
    patients = [list(part.groupby("patient").indices.values()) for _, part in table.groupby("label")]
    parts = [part[["label", "probability"]].to_numpy() for _, part in table.groupby("label")]
    for _ in range(DRAWS):
        drawn = []
        for part, own in zip(parts, patients, strict=True):
            size = round(n * len(part) / len(table))
            some = np.concatenate([own[k] for k in rng.integers(len(own), size=size)])  # patients are drawn whole
            drawn.append(part[some[:size]])
        found.append(evaluation.metrics(*np.concatenate(drawn).T))
    low, high = np.percentile(pd.DataFrame(found)[whole.index], [2.5, 97.5], axis=0)
    return whole.assign(low=low, high=high)


def widths() -> list[dict]:
    """Return 95% intervals of each network over so many images, and the widths that go on from all of them."""
    runs = pd.read_csv(RESULTS / "grid.csv").query("protocol == 'honest'").set_index("recipe")
    rows = []
    for network, (_, recipe) in NETWORKS.items():
        table = answers(network)
        found = {n: intervals(table, n) for n in SIZES}
        for shown, measure in MEASURES.items():
            base = {"network": network, "measure": shown}
            for n, limits in found.items():
                value, low, high = limits.loc[measure, ["value", "low", "high"]]
                rows.append(base | {"n": n, "value": value, "low": low, "high": high, "width": 100 * (high - low)})
            whole = rows[-1]["width"]
            rows += [base | {"n": n, "goes_on": whole * np.sqrt(len(table) / n)} for n in BEYOND]
            if recipe:
                rows.append(base | {"seeds": 100 * (runs[f"{measure}_high"] - runs[f"{measure}_low"])[recipe]})
    return rows


def _rows(rows: list[dict]) -> dict:
    return {"values": [{k: v if isinstance(v, str) else round(float(v), 6) for k, v in row.items()} for row in rows]}


def _choice(name: str, label: str, options: list) -> dict:
    return {"name": name, "value": options[0], "bind": {"input": "select", "options": options, "name": label}}


def _slider(name: str, label: str, value: float, low: float, high: float, step: float) -> dict:
    return {"name": name, "value": value,
            "bind": {"input": "range", "min": low, "max": high, "step": step, "name": label}}  # fmt: skip


_LOOK = {
    "width": "container", "height": 300, "background": None,
    "config": {"view": {"stroke": None}, "axis": {"labelFontSize": 13, "titleFontSize": 13},
               "legend": {"orient": "bottom", "columns": 1, "labelFontSize": 13, "labelLimit": 400}},
}  # fmt: skip


def threshold() -> dict:
    """Return the figure of threshold, prevalence and cost."""
    names = ["call by the network", "call all ill", "call none ill"]
    colour = {"type": "nominal", "title": None, "scale": {"domain": names, "range": COLOURS}}
    x = {"field": "threshold", "type": "quantitative", "scale": {"domain": [0, 1]}, "title": "threshold"}
    y = {"type": "quantitative", "title": "cost of 1,000 children, in false alarms"}
    formulas = {
        "ill": "10 * prevalence", "well": "1000 - datum.ill",
        "found": "datum.ill * datum.sensitivity", "missed": "datum.ill - datum.found",
        "cleared": "datum.well * datum.specificity", "alarms": "datum.well - datum.cleared",
        "ppv": "datum.found / (datum.found + datum.alarms)", "npv": "datum.cleared / (datum.cleared + datum.missed)",
        "loss": "datum.missed * cost + datum.alarms", "none": "datum.ill * cost",
    }  # fmt: skip

    def line(name, field, dash):
        return {"mark": {"type": "line", "strokeDash": dash, "strokeWidth": 2.5},
                "encoding": {"x": x, "y": y | {"field": field}, "color": colour | {"datum": name}}}  # fmt: skip

    return _LOOK | {
        "description": "Cost against threshold, for a network, a prevalence and a weight of misses that can be chosen",
        "data": _rows(rates()),
        "params": [
            _choice("network", "network", list(NETWORKS)),
            _slider("threshold", "threshold", 0.5, 0.01, 0.99, 0.01),
            _slider("prevalence", "ill, of 100 who come", 20, 1, 90, 1),
            _slider("cost", "false alarms that weigh as much as one miss", 10, 1, 50, 1),
        ],
        "transform": [
            {"filter": "datum.network == network"},
            *({"calculate": formula, "as": name} for name, formula in formulas.items()),
            {"joinaggregate": [{"op": "min", "field": "loss", "as": "best"}]},
            {"window": [{"op": "row_number", "as": "rank"}], "sort": [{"field": "loss"}, {"field": "threshold"}]},
        ],
        "layer": [
            line(names[0], "loss", [1, 0]), line(names[1], "well", [8, 4]), line(names[2], "none", [2, 3]),
            {"transform": [{"filter": "datum.rank == 1"}],
             "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 150, "color": COLOURS[0]},
             "encoding": {"x": x, "y": y | {"field": "loss"}}},
            {"transform": [{"filter": "abs(datum.threshold - threshold) < .005"}, {"calculate": "1", "as": "chosen"}],
             "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[2]}, "encoding": {"x": x}},
        ],
    }  # fmt: skip


def interval() -> dict:
    """Return the figure of interval width against the number of images."""
    names = ["bootstrap of kept answers", "as one over the root of n", "with the chance of training"]
    colour = {"type": "nominal", "title": None, "scale": {"domain": names, "range": COLOURS}}
    x = {"field": "n", "type": "quantitative", "title": "images of test",
         "scale": {"type": "log", "domain": [40, 10000]},
         "axis": {"values": [50, 100, 200, 624, 2500, 10000]}}  # fmt: skip
    y = {"type": "quantitative", "title": "width of the 95% interval, in points", "scale": {"domainMin": 0}}

    def layer(name, field, mark, **encoding):
        return {"transform": [{"filter": f"isValid(datum.{field})"}], "mark": mark,
                "encoding": {"y": y | {"field": field}, "color": colour | {"datum": name}} | encoding}  # fmt: skip

    return _LOOK | {
        "description": "Width of a 95% interval against the number of images, for a network and a measure to choose",
        "data": _rows(widths()),
        "params": [
            _choice("network", "network", list(NETWORKS)),
            _choice("measure", "measure", list(MEASURES)),
            _choice("n", "images", list(SIZES[::-1])),
        ],
        "transform": [{"filter": "datum.network == network && datum.measure == measure"}],
        "layer": [
            layer(names[0], "width", {"type": "line", "point": {"size": 70}, "strokeWidth": 2.5}, x=x),
            layer(names[1], "goes_on", {"type": "line", "strokeDash": [8, 4], "strokeWidth": 2.5}, x=x),
            layer(names[2], "seeds", {"type": "rule", "strokeDash": [2, 3], "strokeWidth": 2.5}),
            {"transform": [{"filter": "datum.n == n && isValid(datum.width)"}, {"calculate": "1", "as": "chosen"}],
             "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[2]}, "encoding": {"x": x}},
        ],
    }  # fmt: skip


def write(folder: Path) -> None:
    """Write the figures and the library that draws them, so that a page needs no network."""
    library, made = folder / "vega.js", f"// of vl-convert-python {vl_convert.__version__}\n"
    if not library.is_file() or not library.read_text(encoding="utf-8").startswith(made):
        bundle = vl_convert.javascript_bundle()
        library.write_text(f"{made}(() => {{{bundle}}})();\n", encoding="utf-8")  # its names stay its own
    specs = json.dumps({"threshold": threshold(), "interval": interval()})
    (folder / "explore-specs.js").write_text(f"const EXPLORE = {specs};\n", encoding="utf-8")
