"""A finished run → a model that others can open: .keras, .h5 or ONNX, a JSON of what it needs, and a model card."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxr_utils import _ownership, _saved, dataset, evaluation, files, images, models, recipes, sources, splits, training
from cxr_utils.errors import BadInput, CxrError, one_of
from cxr_utils.predict import FORMAT, QUANTILES, card, outside, read_note

FORMATS = {"keras": ".keras", "h5": ".h5", "onnx": ".onnx"}
#: The formats' probabilities may differ by this much: their kernels add in different orders.
TOLERANCE = 1e-4
_HELD_OUT = 50


def export(
    run_dir: str | Path, *, to: str = "keras", out: str | Path | None = None, data_dir: str | Path = "data"
) -> Path:
    """Save the model of a run in float32 with standard layers, its JSON, and its model card.

    Test is not read for this: the card has its figures only if the run was evaluated before.

    Parameters
    ----------
    run_dir : str or Path
        The run folder; a relative one is taken from the project's root.
    to : {"keras", "h5", "onnx"}
        The format.
    out : str or Path, optional
        The file; by default ``exported/model.<to>`` in the run folder. Beside it lie ``<name>.json``, which serves
        all formats of that name, and ``model-card.md``.
    data_dir : str or Path
        Where the images are that the run was trained on: the check for strange images is fitted on them.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    BadInput
        There is no such run, its images are not in `data_dir`, or the folder of `out` holds another run's card.
    CxrError
        What was saved does not give the same probabilities.

    Examples
    --------
    >>> export("runs/mine", to="onnx")  # doctest: +SKIP
    """
    one_of("to", to, FORMATS)
    run = _open(run_dir)
    path = files.resolve(out) if out else run.folder / "exported" / f"model{FORMATS[to]}"
    if path.suffix.lower() != FORMATS[to]:
        raise BadInput(f"out: {path.name}; a model in this format is named *{FORMATS[to]}")
    if path == run.folder / "model.keras":
        raise BadInput(f"out: {path} is the run's own model; choose another name")
    beside = path.with_suffix(".json")
    files.check_ours(beside, _ownership.is_note)
    its_card = path.parent / "model-card.md"
    files.check_ours(its_card, _ownership.is_card)
    if its_card.is_file() and card.mark(_about(run.record)) not in its_card.read_text(encoding="utf-8"):
        raise BadInput(f"{its_card}: is the card of another model; export into another folder with --out")
    with files.lock(path.parent):
        model = run.load_model()
        of_ours = _ownership.exported(beside)
        files.check_ours(path, lambda there: there in of_ours or files.can(_check_same, model, there))
        note, text = describe(run, data_dir=data_dir)
        with files.atomic(path, ours=True) as temporary:
            _saved.save(model, temporary)
            _check_same(model, temporary)
        _write(path, note, text)
    return path


def _open(run_dir: str | Path) -> training.Run:
    """Open a run whose record has all that is told of its model."""
    run = training.load(run_dir)
    record = files.read_record(run.folder / "run.json", epochs=int, validate_on=str, pixels=str)
    if not {"name", "image_size"} <= record["recipe"].keys():
        raise BadInput(f"{run.folder / 'run.json'}: its recipe is not as cxr writes it; name another run")
    return run


def _write(path: Path, note: dict[str, Any], text: str) -> None:
    """Write the JSON and the card; the formats of the same run that are there already stay in the former."""
    known: dict[str, str] = {}
    with contextlib.suppress(BadInput):  # not there, or broken: it is made anew
        there = read_note(path.with_suffix(".json"))
        known = there["files"] if there["run"] == note["run"] else {}
    listed = note | {"files": known | {path.suffix: files.sha256(path)}}
    files.write_json(path.with_suffix(".json"), listed, ours=_ownership.NOTE)
    with files.atomic(path.parent / "model-card.md", ours=_ownership.is_card) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check_same(model, path: Path) -> None:
    """Refuse a file that does not hold this very model; a call that was killed before it wrote the JSON left it."""
    kept = models.load(path, meaning=models.Meaning(pixels=(0, 1)))
    if (kept.image_size, kept.image_size, kept.channels) != tuple(model.input_shape[1:]):
        raise CxrError(f"{path.suffix}: the saved model takes other pictures; it was not kept")
    pictures = np.random.default_rng(0).random((16, kept.image_size, kept.image_size, 1), dtype="float32")
    wanted = np.asarray(model(np.repeat(pictures, kept.channels, axis=-1), training=False))[:, -1]
    if (gap := float(np.abs(kept.answer(pictures) - wanted).max())) > TOLERANCE:
        raise CxrError(f"{path.suffix}: the saved model gives probabilities that differ by {gap:.1g}; it was not kept")


def _about(record: dict[str, Any]) -> dict[str, Any]:
    """Return what names a run."""
    recipe = {"recipe": record["recipe"]["name"]}
    return recipe | {key: record[key] for key in ("protocol", "seed", "split", "pixels", "epochs")}


def describe(run: training.Run, *, data_dir: str | Path = "data") -> tuple[dict[str, Any], str]:
    """Find out all that is to be said of a run's model.

    Parameters
    ----------
    run : cxr_utils.training.Run
        A finished run.
    data_dir : str or Path
        Where its images are.

    Returns
    -------
    note : dict
        For `predict`: run, source, synthetic, image_size, resize, views, threshold, validation (101 quantiles of the
        probabilities of each label), outside (the check's parameters), false_alarm (images and how many of them are
        called outside, of those held out and, if test was read, of test), format.
    card : str
        The model card, Markdown.

    Raises
    ------
    BadInput
        The images or the split that it was trained with are not to be found.
    """
    record = run.record
    folder, index, pixels = _images(record, data_dir)
    split = _split(record, index)
    part = record["validate_on"]
    kept = run.folder / "predictions.csv"
    read = kept.is_file() and "test" in set(evaluation.read_predictions(kept)["split"])
    if part == "test" and not read:
        raise BadInput(f"{run.folder}: its threshold comes from test, and it was not evaluated yet; do that first")
    parts = sorted({part, "test"} if read else {part})
    answers = evaluation.predict(run, pixels, split, parts=parts)
    fixed, wanted = (record["recipe"].get(name) for name in ("threshold", "sensitivity"))
    metrics = evaluation.judge(answers, split, validate_on=part, threshold=fixed, sensitivity=wanted) if read else None
    chosen = answers[answers["split"] == part]
    threshold = fixed or evaluation.best_threshold(chosen["label"], chosen["probability"], sensitivity=wanted)
    train, held_out = _held_out(split)
    check = outside.fit(pixels[train], pixels[held_out])
    known = {"held out": held_out} | ({"test": np.flatnonzero(split["part"] == "test")} if read else {})
    called = {name: sum(map(bool, check.reasons(pixels[rows]))) for name, rows in known.items()}
    about = sources.describe(folder)
    of_class = {name: chosen.loc[chosen["label"] == label, "probability"] for label, name in enumerate(dataset.CLASSES)}
    shares = np.linspace(0, 1, QUANTILES)
    note = {
        "format": FORMAT,
        "run": _about(record),
        "source": about["title"],
        "synthetic": bool(about["synthetic"]),
        "image_size": record["recipe"]["image_size"],
        "resize": "squash",
        **({"interpolation": how} if (how := record["recipe"].get("interpolation", "area")) != "area" else {}),
        "views": record["recipe"].get("views", 0),
        "threshold": float(threshold),
        "validation": {name: np.quantile(given, shares).round(6).tolist() for name, given in of_class.items()},
        "false_alarm": {name: {"images": len(rows), "outside": called[name]} for name, rows in known.items()},
        "outside": check.to_json(),
    }
    counts = split.groupby(["part", "kind"]).size().unstack(fill_value=0)
    text = card.text(record, note, about, counts, metrics, answers if read else chosen, judged="test" if read else part)
    return note, text


def _images(record: dict[str, Any], data_dir: str | Path):
    """Find the images that a run was trained on, by the checksum of all their pixels."""
    wanted, size = record["pixels"], record["recipe"]["image_size"]
    count = int(wanted.lstrip("[").split(",")[0])
    for source in sources.names():
        folder = files.resolve(data_dir) / source
        if not (folder / "source.json").is_file():
            continue
        index = dataset.scan(folder)
        if len(index) == count:
            how = record["recipe"].get("interpolation", "area")
            pixels = images.cache(index, folder, size=size, interpolation=how)
            if training.signature(pixels) == wanted:
                return folder, index, pixels
    where = f"the {count:,} images that this run was trained on are not in {files.resolve(data_dir)}"
    raise BadInput(f"data_dir: {where}; name the folder by --data-dir, or fetch them again with cxr fetch")


def _split(record: dict[str, Any], index: pd.DataFrame) -> pd.DataFrame:
    """Make the run's split again, and know it by its digest."""
    name, seed = record["recipe"]["name"], record["seed"]
    ways = [lambda s=s: splits.grouped(index, seed=s) for s in dict.fromkeys([0, seed])]
    if name in recipes.names() and recipes.get(name).split:
        ways.append(lambda: splits.published(index, **recipes.get(name).split, seed=seed))
    ways += [lambda s=s: splits.stratified(index, seed=s) for s in dict.fromkeys([0, seed])]
    ways.append(lambda: splits.official(index))
    for way in ways:
        if splits.digest(split := way()) == record["split"]:
            return split
    raise BadInput(f"split: {record['split']} of this run is none that cxr_utils.splits makes of these images")


def _held_out(split: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that the check is fitted on and those that set its limits, none of test."""
    train, held_out = (np.flatnonzero(split["part"] == part) for part in ("train", "validation"))
    if len(held_out) >= _HELD_OUT:
        return train, held_out
    group = evaluation.groups(split["patient"].iloc[train])
    return train[group % 7 != 0], train[group % 7 == 0]
