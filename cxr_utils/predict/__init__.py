"""A saved model and image files → probabilities, and whether an image is one that the model can know.

With a model in the form of ONNX neither Keras nor TensorFlow is started.
"""

import csv
import glob
import io
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from cxr_utils import _dicom, _machine, _ownership, _pages, files, images, models
from cxr_utils.errors import BadInput, printable
from cxr_utils.predict import outside

LEFT_OUT = "left out: its name is not that of an image"
#: Of a folder that `find` gave back as it is.
EMPTY = "holds no image, in folders below neither; JPEG, PNG, TIFF, BMP, WebP and DICOM files are answered"
NOTICE = "For teaching and research. This is no diagnosis, and does not replace medical judgement."
LIKE_PNEUMONIA = "similar to images labelled PNEUMONIA"
LIKE_NORMAL = "similar to images labelled NORMAL"
OUTSIDE = "outside of what the model knows"
#: Of the JSON beside a model; raised when its content means something else.
FORMAT = 1
QUANTILES = 101
SUFFIXES = (*images.SUFFIXES, ".dcm", ".dicom")
#: How files are told apart by their names: see the file.
NAMES: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
REFERENCE = "results/models/reference"
_BATCH = 64
_MARK = PngImagePlugin.PngInfo()
_MARK.add_text("Software", "cxr predict")
_KEYS = ("run", "source", "synthetic", "image_size", "resize", "threshold", "validation", "outside", "false_alarm")


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Attributes
    ----------
    path : str
        The image.
    probability : float or None
        Of PNEUMONIA, in [0, 1]; None if the image can't be read.
    above : bool or None
        Whether it is at or above the model's own threshold.
    verdict : str
        `LIKE_PNEUMONIA`, `LIKE_NORMAL` or `OUTSIDE`; never a diagnosis. Empty if the image can't be read.
    normal_below, pneumonia_below : float or None
        The share of validation images labelled NORMAL, and PNEUMONIA, with a lower probability, in [0, 1].
    outside : str
        Why it is outside of what the model knows: its probability means nothing then. Empty if it is not.
    remarks : str
        What a DICOM file says, or leaves open, that matters here.
    error : str
        Why the image can't be read.
    """

    path: str
    probability: float | None = None
    above: bool | None = None
    verdict: str = ""
    normal_below: float | None = None
    pneumonia_below: float | None = None
    outside: str = ""
    remarks: str = ""
    error: str = ""

    @property
    def further(self) -> list[str]:
        """The remarks that `outside` does not say already."""
        return [remark for remark in self.remarks.split("; ") if remark and remark not in self.outside]


@dataclass(frozen=True)
class Predictor:
    """A model with what it needs to answer, from `load`.

    Attributes
    ----------
    model : cxr_utils.models.Model
        The network.
    note : dict
        The content of the JSON beside it. Without one only ``resize``: the threshold is .5 then.
    check : cxr_utils.predict.outside.Check or None
        Of its training images; None without JSON: strange images are not looked for.
    """

    model: models.Model
    note: dict[str, Any]
    check: outside.Check | None

    @property
    def threshold(self) -> float:
        """From this probability on an image is called similar to those labelled PNEUMONIA."""
        return self.note.get("threshold", 0.5)

    @property
    def interpolation(self) -> str:
        """How a picture is shrunk, as those were that the model was trained on."""
        return self.note.get("interpolation", "area")

    @property
    def at_least(self) -> int | None:
        """Pixels a side that are enough to read of a picture; None where all are needed."""
        return 2 * self.model.image_size if self.interpolation == "area" else None

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """Make a picture what the model takes: uint8, shape (h, w), to uint8, shape (s, s, 1).

        Parameters
        ----------
        picture : ndarray
            From `images.look`.

        Returns
        -------
        ndarray
        """
        size, how = self.model.image_size, self.note["resize"]
        return images.resize(picture, size, how=how, interpolation=self.interpolation)[:, :, None]

    def answers(
        self, pixels: np.ndarray, *, names: Sequence[str], remarks: Sequence[Sequence[str]] = ()
    ) -> list[Answer]:
        """Answer for pictures that are read already.

        Parameters
        ----------
        pixels : ndarray
            uint8 in [0, 255], shape (n, s, s, 1), each from `prepare`.
        names : sequence of str
            What the answers are called.
        remarks : sequence of sequences of str, optional
            Of each picture, from `images.look`.

        Returns
        -------
        list of Answer
        """
        found = []
        probabilities = self.model.answer(pixels.astype("float32") / 255, views=self.note.get("views", 0))
        reasons = self.check.reasons(pixels) if self.check else [""] * len(pixels)
        for name, p, reason, said in zip(names, probabilities, reasons, remarks or [()] * len(names), strict=True):
            other = [one for one in said if one in (_dicom.OTHER_AGE, _dicom.OTHER_VIEW, _dicom.OTHER_PART)]
            reason, above = "; ".join([*filter(None, [reason]), *other]), bool(p >= self.threshold)
            verdict = OUTSIDE if reason else LIKE_PNEUMONIA if above else LIKE_NORMAL
            below = (self._below(p, label) for label in ("NORMAL", "PNEUMONIA"))
            found.append(Answer(name, float(p), above, verdict, *below, reason, "; ".join(said)))
        return found

    def heats(self, pixels: np.ndarray) -> np.ndarray:
        """Return where each picture speaks for PNEUMONIA, from `explain.heat_maps`.

        Parameters
        ----------
        pixels : ndarray
            As for `answers`.

        Returns
        -------
        ndarray
            float32 in [0, 1], shape (n, s, s).

        Raises
        ------
        BadInput
            The model is in the form of ONNX, or its layers are no row.
        """
        from cxr_utils import explain

        if self.model.network is None:
            raise BadInput("this model is in the form of ONNX, without gradients: no heat maps; export it --to keras")
        shown, last = self.model.meaning.takes(pixels.astype("float32") / 255), self.model.meaning.classes[-1]
        return explain.heat_maps(self.model.network, shown, toward=last)  # which calls the last unit PNEUMONIA

    def _below(self, probability: float, label: str) -> float | None:
        quantiles = self.note.get("validation", {}).get(label)
        return quantiles and round(float(np.searchsorted(quantiles, probability, side="left")) / len(quantiles), 2)


def predict(
    predictor: Predictor, paths: Sequence[str | Path], *, progress: bool = False,
    content: Callable[[Path], bytes] = images.read_bytes, kept: list[np.ndarray] | None = None,
) -> Iterator[Answer]:  # fmt: skip
    """Let a model answer for image files.

    Parameters
    ----------
    predictor : Predictor
        From `load`.
    paths : sequence of str or Path
        JPEG, PNG, TIFF, BMP, WebP or DICOM files; see `find` for folders.
    progress : bool
        Show a bar.
    content : callable
        Reads what a path names, such as a member of an archive.
    kept : list, optional
        Gets what the model was given: uint8, shape (s, s, 1), of each image that could be read.

    Yields
    ------
    Answer
        For each file, in their order; one that can't be read has its `Answer.error`.

    Examples
    --------
    >>> import tempfile
    >>> from cxr_utils.backend import keras
    >>> path = Path(tempfile.mkdtemp()) / "model.keras"
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")]
    >>> keras.Sequential(layers).save(path)
    >>> Image.new("L", (32, 32)).save(path.with_name("black.png"))
    >>> predictor = load(path, meaning=models.Meaning(pixels=(0, 1)), bare=True)
    >>> [answer.probability for answer in predict(predictor, [path.with_name("black.png")])]
    [0.5]
    """
    from tqdm import tqdm

    paths = [Path(path) for path in paths]
    bar = tqdm(total=len(paths), unit="image", **_machine.bar(progress) | {"leave": False})

    def read(path: Path) -> tuple[np.ndarray | None, list[str]]:
        try:
            return images.look(path, at_least=predictor.at_least, then=predictor.prepare, content=content(path))
        except BadInput as error:
            empty = path.is_dir() and find([path]) == [path]
            return None, [EMPTY if empty else str(error).removeprefix(f"{printable(path)}: ")]

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, bar:
        for start in range(0, len(paths), _BATCH):  # whole folders must not lie in memory at once
            some = paths[start : start + _BATCH]
            seen = list(pool.map(read, some))
            good = [number for number, (pixels, _) in enumerate(seen) if pixels is not None]
            answers = {number: Answer(str(path), error="; ".join(seen[number][1])) for number, path in enumerate(some)}
            if good:
                pixels, said = zip(*(seen[number] for number in good), strict=True)
                made = predictor.answers(np.stack(pixels), names=[str(some[n]) for n in good], remarks=said)
                answers |= dict(zip(good, made, strict=True))
                if kept is not None:
                    kept += pixels
            yield from answers.values()
            bar.update(len(some))


def write_heat_maps(predictor: Predictor, answers: Sequence[Answer], folder: str | Path) -> list[Path]:
    """Draw where the model looks, over each image that was answered, with the scale of the colours.

    Parameters
    ----------
    predictor : Predictor
        From `load`, with ``heat=True``.
    answers : sequence of Answer
        From `predict`; those with an error are left out.
    folder : str or Path
        Made if missing. Each image gives ``<name without suffix>-heat.png``, a second of that name ``…-heat-2.png``.

    Returns
    -------
    list of Path

    Raises
    ------
    BadInput
        As `Predictor.heats`, or an image is gone.
    """
    from cxr_utils import plots

    written: list[Path] = []
    for answer in [one for one in answers if not one.error]:
        picture, _ = images.look(answer.path, at_least=predictor.at_least)
        small = predictor.prepare(picture)
        shown = picture if predictor.note["resize"] == "squash" else small  # the heat lies on what the model took
        name = printable(Path(answer.path).name).replace("$", r"\$")  # which begins a formula
        title = f"{name}\n{answer.probability:.3f}: {answer.verdict}"
        figure = plots.heat_maps([shown], predictor.heats(small[None]), [title], height=6)
        stem, number = f"{_short(Path(answer.path).stem)}-heat", 1
        while (path := Path(folder) / f"{stem}{f'-{number}' * (number > 1)}.png") in written:
            number += 1
        with Image.open(io.BytesIO(plots.render(figure))) as drawn, files.atomic(path, ours=_drew) as temporary:
            drawn.save(temporary, pnginfo=_MARK, optimize=True)
        written.append(path)
    return written


def _short(stem: str) -> str:
    """Cut a stem so that what is added to it still fits: a name may take 255 bytes."""
    content = os.fsencode(stem)
    return stem if len(content) <= 200 else content[:200].decode(errors="ignore")


def _drew(path: Path) -> bool:
    """Tell whether a file is a heat map that this project drew, by what the PNG says of its maker."""
    try:
        with Image.open(path, formats=["PNG"]) as there:
            return there.info.get("Software") == "cxr predict"
    except (OSError, ValueError, SyntaxError):
        return False


def find(named: Sequence[str | Path]) -> list[Path]:
    """Return the files that are meant by files, folders and patterns such as ``scans/*.png``.

    A folder gives its images, also those in folders below: by their suffix, or as DICOM whatever they are called. What
    there is nothing of is returned as it is, so that it gets an error of its own; so are pictures of other formats.

    Parameters
    ----------
    named : sequence of str or Path
        As on the command line.

    Returns
    -------
    list of Path
        Each once, in their order.

    Examples
    --------
    >>> find(["gone.png"])
    [PosixPath('gone.png')]
    """
    found: list[Path] = []
    for name in map(os.fspath, named):
        path = files.expand(name)
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file() and _is_image(one))
            found += inside or [path]
        elif not os.path.lexists(path) and glob.has_magic(name):
            found += sorted(map(Path, glob.glob(str(path), recursive=True))) or [path]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _is_image(path: Path) -> bool:
    return not path.name.startswith(".") and is_image(path, lambda path: _ownership.begins(path, 132))


def is_image(path: Path, head: Callable[[Path], bytes]) -> bool:
    """Tell whether a file is meant as an image: by its suffix, or as DICOM whatever it is called.

    Parameters
    ----------
    path : Path
        Of the file.
    head : callable
        Reads its first bytes.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_image(Path("a.PNG"), Path.read_bytes), is_image(Path("gone.txt"), Path.read_bytes)
    (True, False)
    """
    try:  # archives name files by numbers with points
        return path.suffix.lower() in (*SUFFIXES, *NAMES["unread"]) or _dicom.is_dicom(head(path))
    except (BadInput, OSError):
        return False


def left_out(named: Sequence[str | Path]) -> list[Path]:
    """Return the files in named folders that `find` takes for no images, but what systems hide there.

    Parameters
    ----------
    named : sequence of str or Path
        As on the command line.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> left_out(["gone"])
    []
    """
    return [
        one for name in named if (path := files.expand(name)).is_dir() for one in sorted(path.rglob("*"))
        if one.is_file() and not _is_image(one) and one.name not in NAMES["junk"] and not one.name.startswith("._")
    ]  # fmt: skip


def refuse_doubtful(named: Sequence[Path]) -> None:
    """Refuse what could be meant as a model where another would answer: never the shipped one in silence.

    Parameters
    ----------
    named : sequence of Path
        As on the command line: a model, which may be left out, and images.

    Raises
    ------
    BadInput
        The first is a folder with a model and other files than those of a run or export (a stranger may have put it
        among images), or anything is a model of another kind, or one that does not come first.

    Examples
    --------
    >>> refuse_doubtful([Path("net.pt")])
    Traceback (most recent call last):
    cxr_utils.errors.BadInput: net.pt: is a model of another kind; save it as .keras, .h5 or .onnx
    """
    for number, path in enumerate(named):
        if is_model(path) and number:
            raise BadInput(f"{path}: is a model, or holds one; name it first, and images after it")
        inside = [path / one for one in NAMES["saved"]] if path.is_dir() else []
        if path.suffix.lower() in NAMES["other_models"] or any(map(Path.exists, inside)):
            raise BadInput(f"{path}: is a model of another kind; save it as .keras, .h5 or .onnx")
        if path.is_file() and not is_model(path) and path.suffix.lower() not in SUFFIXES:
            head = _ownership.begins(path, 8)
            if head == b"\x89HDF\r\n\x1a\n" or head[4:] == b"TFL3":
                raise BadInput(f"{path}: looks like a model; its name must end in .keras, .h5, .hdf5 or .onnx")
        if path.is_dir() and is_model(path):
            known = (*models.SUFFIXES, *NAMES["of_runs"])
            other = [one for one in sorted(path.rglob("*")) if one.is_file() and one.suffix.lower() not in known]
            if other:
                raise BadInput(f"{path}: holds a model and other files, first {other[0].name}; name the model's file "
                               "if it shall answer, or the image files if they are meant")  # fmt: skip


def is_model(path: str | Path) -> bool:
    """Tell whether a path is meant as a model: a model's file, or a folder that holds one.

    Parameters
    ----------
    path : Path
        A file or folder; it need not be there.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_model("pneumonia.onnx"), is_model("chest.jpeg")
    (True, False)
    """
    path = files.resolve(path)
    inside = [path / f"model{suffix}" for suffix in models.SUFFIXES]
    return path.suffix.lower() in models.SUFFIXES or any(map(Path.is_file, inside))


def load(
    path: str | Path | None = None, *, heat: bool = False,
    meaning: models.Meaning = models.UNSAID, bare: bool = False,
) -> Predictor:  # fmt: skip
    """Open a model and what lies beside it; nothing is written.

    Parameters
    ----------
    path : str or Path, optional
        A folder that ``cxr export`` filled, or the run folder that it was called for; or a ``.keras``, ``.h5`` or
        ``.onnx`` file with its JSON beside it. A relative one is taken from the project's root. By default
        `REFERENCE`.
    heat : bool
        Of a folder with the model in several formats take one that has heat maps, not the one that starts fastest.
    meaning : cxr_utils.models.Meaning
        What the model takes and gives. With a JSON, pixels that are not said are from 0 to 1.
    bare : bool
        Take a model without JSON, too, that is none of a run.

    Returns
    -------
    Predictor

    Raises
    ------
    BadInput
        There is no such model, or it was not exported; its JSON is missing, broken or of another model; or it is
        refused as by `models.load`.
    """
    shipped = path is None
    path = _reference() if path is None else files.resolve(path)
    if shipped or path.is_dir():
        run = not shipped and (path / "run.json").is_file() and not (path / "model.json").is_file()
        stem = path if shipped else path / "exported" / "model" if run else path / "model"
        formats = (".keras", ".h5", ".onnx") if heat else (".onnx", ".keras", ".h5")
        there = [stem.with_name(stem.name + suffix) for suffix in formats]
        if run and not any(one.is_file() for one in there):
            raise BadInput(f"{path}: this run was not exported yet; what an answer needs is made by: cxr export {path}")
        path = next((one for one in there if one.is_file()), stem.with_name(f"{stem.name}.keras"))
    note = path.with_suffix(".json")
    if note.is_file():
        meaning = replace(meaning, pixels=meaning.pixels or (0, 1))
    model = models.load(path, meaning=meaning)
    if bare and not note.is_file() and not (path.parent / "run.json").is_file():
        return Predictor(model, {"resize": "squash"}, None)
    content = read_note(note)
    if content["image_size"] != model.image_size or content["files"].get(path.suffix) != files.sha256(path):
        raise BadInput(f"{note}: was not made for this {path.name}; make both again with cxr export")
    return Predictor(model, content, outside.Check.from_json(content["outside"]))


def save(run_dir: str | Path, *, to: str = "keras", data_dir: str | Path = "data") -> Path:
    """Save the model of a finished run for others, with its JSON and model card: `export.export`.

    Parameters
    ----------
    run_dir : str or Path
        The run folder.
    to : {"keras", "h5", "onnx"}
        The form.
    data_dir : str or Path
        Where the images of the run are.

    Returns
    -------
    Path
        The model's file.
    """
    from cxr_utils.predict import export

    return export.export(run_dir, to=to, data_dir=data_dir)


def _reference() -> Path:
    """Return the path of the shipped model, without a suffix."""
    beside = Path(__file__).with_name("shipped") / f"{Path(REFERENCE).name}.json"  # so a wheel brings it: setup.py
    if found := files.project(f"{REFERENCE}.json") or (beside if beside.is_file() else None):
        return found.with_suffix("")
    way_out = "name a run folder or a model's file (.keras, .h5, .onnx) before the images"
    raise BadInput(f"no model: none was named, and the shipped one, {REFERENCE}, is not there yet; {way_out}")


def read_note(path: Path) -> dict[str, Any]:
    """Read the JSON beside a model.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Its content, see `export.describe`.

    Raises
    ------
    BadInput
        It is missing, or not as ``cxr export`` writes it.
    """
    if not path.is_file():
        way_out = "without it cxr evaluate judges a model, and cxr predict --classes NORMAL,PNEUMONIA lets it answer"
        raise BadInput(f"{path}: there is no such file; it belongs to the model, cxr export writes both; {way_out}")
    types = {"files": dict, "image_size": int, "threshold": float, "validation": dict, "outside": dict}
    note = files.read_record(path, "format", *_KEYS, **types)
    good = {
        "format": note["format"] == FORMAT,
        "resize": note["resize"] in images.RESIZING,
        "interpolation": note.get("interpolation", "area") in tuple(images.INTERPOLATIONS),
        "threshold": 0 < note["threshold"] < 1,
        "views": isinstance(note.get("views", 0), int) and 0 <= note.get("views", 0) <= 64,
        "validation": all(_rising(note["validation"].get(name)) for name in ("NORMAL", "PNEUMONIA")),
    }
    if wrong := [key for key, right in good.items() if not right]:
        raise BadInput(f"{path}: {wrong[0]!r} in it is not as cxr export writes it; export the model again")
    return note


def _rising(values: Any) -> bool:
    numbers = isinstance(values, list) and len(values) == QUANTILES and all(isinstance(v, (int, float)) for v in values)
    return numbers and values == sorted(values) and 0 <= values[0] and values[-1] <= 1


def doubts(predictor: Predictor, answers: Sequence[Answer]) -> list[str]:
    """Ask whether a model without JSON takes and gives what was said, see `models.Meaning.doubts`.

    Parameters
    ----------
    predictor : Predictor
        From `load`.
    answers : sequence of Answer
        From `predict`.

    Returns
    -------
    list of str
        One sentence a doubt; none for a model with its JSON.
    """
    found = [answer.probability for answer in answers if not answer.error]
    return [] if predictor.check else predictor.model.meaning.doubts(found, predictor.threshold)


def as_json(predictor: Predictor, answers: Sequence[Answer], left_out: Sequence[Path] = ()) -> str:
    """Write answers as JSON: what answered, notes on it, the answers with all their fields, and files left out.

    Parameters
    ----------
    predictor : Predictor
        From `load`.
    answers : sequence of Answer
        From `predict`.
    left_out : sequence of Path
        From `left_out`.

    Returns
    -------
    str
        ASCII.
    """
    content = {
        "model": str(predictor.model.path),
        "output": asdict(predictor.model.meaning),
        "threshold": predictor.threshold,
        "synthetic": predictor.note.get("synthetic"),
        "notice": NOTICE,
        "notes": doubts(predictor, answers),
        "answers": [asdict(answer) for answer in answers],
        "left_out": [{"path": str(path), "reason": LEFT_OUT} for path in left_out],
    }
    return json.dumps(content, indent=2)  # ASCII: a file's name need not be Unicode


def as_csv(predictor: Predictor, answers: Sequence[Answer], left_out: Sequence[Path] = ()) -> str:
    """Write answers as CSV, one row an image and one column a field of `Answer`, and one with the threshold.

    Files that were left out follow, with `LEFT_OUT` as their error.

    Parameters
    ----------
    predictor : Predictor
        From `load`.
    answers : sequence of Answer
        From `predict`.
    left_out : sequence of Path
        From `left_out`.

    Returns
    -------
    str
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*(field.name for field in fields(Answer)), "threshold"])
    for answer in [*answers, *(Answer(str(path), error=LEFT_OUT) for path in left_out)]:
        row = [_no_formula(printable(value)) if isinstance(value, str) else value for value in astuple(answer)]
        table.writerow([*row, predictor.threshold])
    return text.getvalue().rstrip("\n")


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula: as a path the result is the same file."""
    return f"./{text}" if text.startswith(("=", "+", "-", "@")) else text


def as_text(predictor: Predictor, answers: Sequence[Answer]) -> str:
    """Write answers as a table for a terminal, with what the columns mean and where it stands how often the model errs.

    Files that can't be read are left out.

    Parameters
    ----------
    predictor : Predictor
        From `load`.
    answers : sequence of Answer
        From `predict`.

    Returns
    -------
    str
        Empty if no image could be read.
    """
    read = [answer for answer in answers if not answer.error]
    template, usual = Path(__file__).with_name("answers.txt.j2"), models.Meaning(pixels=(0, 1))
    return _pages.fill(template, predictor=predictor, read=read, usual=usual, notice=NOTICE).rstrip() if read else ""
