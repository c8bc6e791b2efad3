"""The built-in sample: phantom radiographs, drawn from a seed, in the layout and naming of the real dataset.

Every picture is synthetic: tissues are drawn as optical depths (`cxr_utils.sources.phantom.anatomy`), X-rays are sent
through them, scattered, caught by a noisy detector and shown on its tone curve. No real picture was copied or
averaged. The traps of the real dataset are built in on purpose; the drawings can't teach how disease looks.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cxr_utils import _machine as _machine
from cxr_utils.errors import BadInput, one_of
from cxr_utils.sources.layout import KINDS, Entry, plan
from cxr_utils.sources.phantom import anatomy
from cxr_utils.sources.phantom.anatomy import Body, Child, Pose
from cxr_utils.sources.phantom.canvas import HEIGHT, SCALE, TOP, WIDTH, X, Y, enlarge, ramp, soft_noise

VIEWS = ("AP", "PA")  # of another hospital: from the front, lying in bed, and from behind, standing
DOMAINS = ("train", "test", *VIEWS)
MILD = 0.5  # how far the disease of those who are ill there has gone, next to the first hospital's
LOBES, LETTERS = anatomy.NUMBERS["lobes"], anatomy.NUMBERS["letters"]


@dataclass(frozen=True)
class Phantom:
    """A drawn radiograph.

    Attributes
    ----------
    image : ndarray of uint8, shape (h, w)
        Grey values, 0 black to 255 white.
    mask : ndarray of bool, shape (h, w)
        Where the lesion lies; all False for a normal chest.
    lungs : ndarray of bool, shape (h, w)
        The projected lungs.
    lobe : str
        Where a consolidation sits ("right upper", ...), "both lungs" for a virus, "" for normal.
    """

    image: np.ndarray
    mask: np.ndarray
    lungs: np.ndarray
    lobe: str


@dataclass(frozen=True)
class Film:
    """How a picture was taken: size in pixels, geometry in units of the body grid, tone."""

    width: int
    height: int
    field: float  # width of the field of view
    x: float
    y: float
    tilt: float  # tangent of the angle
    exposure: float
    contrast: float
    detail: float  # local contrast of the detector's processing
    noise: float
    scatter: float
    borders: tuple[float, float, float, float]  # collimated away at left, right, top, bottom, as shares
    letter: str
    letter_at: tuple[float, float, float]  # x, y, height as shares of the width


def draw(kind: str, *, seed: int, domain: str = "train", patient: int = 0, image: int = 0) -> Phantom:
    """Draw one phantom radiograph.

    Parameters
    ----------
    kind : {"normal", "bacteria", "virus"}
        What is wrong with the child: nothing, a focal consolidation, interstitial markings in both lungs.
    seed : int
        The same arguments give the same pixels, on any machine.
    domain : {"train", "test", "AP", "PA"}
        How pictures are taken: the first two differ in exposure, contrast, position and collimation; the others are the
        views of another hospital. `seed` decides its machine, too; its children are older, and less ill.
    patient : int
        The child: pictures of one patient share their anatomy and the place of the lesion.
    image : int
        Which picture of that patient.

    Returns
    -------
    Phantom

    Raises
    ------
    BadInput
        An unknown `kind` or `domain`, or a negative number.

    Examples
    --------
    >>> phantom = draw("bacteria", seed=0, patient=3)
    >>> phantom.image.dtype, phantom.image.shape == phantom.mask.shape, bool(phantom.mask.any())
    (dtype('uint8'), True, True)
    """
    one_of("kind", kind, KINDS)
    one_of("domain", domain, DOMAINS)
    if min(seed, patient, image) < 0:
        raise BadInput(f"seed, patient and image ({seed}, {patient}, {image}): none may be negative")
    rng = np.random.default_rng([seed, patient, image, 21])
    turn = 1.0 if domain == "train" else 1.25
    pose = Pose(breath=rng.uniform(0.15, 1.0), yaw=turn * rng.normal(0, 0.022), arms=rng.normal(0, 0.07))
    who, film = anatomy.child((seed, patient)), _film(kind, domain, rng)
    if domain in VIEWS:
        who, pose, film = _elsewhere(who, pose, film, kind, domain)
    body = Body(who, pose)
    place = np.random.default_rng([seed, patient, KINDS.index(kind), 22])
    lesion, lobe = np.zeros((HEIGHT, WIDTH), dtype=bool), ""
    if kind == "bacteria":
        lesion, lobe = _consolidation(body, place, rng)
    elif kind == "virus":
        lesion, lobe = _interstitial(body, place, rng)
    signal = _expose(body.soft - np.minimum(body.air, 0.8 * body.soft) + body.bone + body.vessels, film)
    image_ = _develop(_project(signal, film, order=1), film, rng)
    areas = _project(body.lungs + 2 * lesion.astype(np.uint8), film, order=0)
    return Phantom(image_, areas == 3, areas % 2 > 0, lobe)


def _film(kind: str, domain: str, rng: np.random.Generator) -> Film:
    """Choose how the picture is taken: partly by class, as in the real dataset, partly by domain.

    In another hospital a picture in bed looks as here those of the ill do, one taken standing as the others.
    """
    sick, test = (domain == "AP" if domain in VIEWS else kind != "normal"), domain == "test"
    lean = (1.0 if sick else -1.0) * (0.5 if test else 1.0)  # how much the tone gives the class away
    loose = 2.8 if test else 1.0  # how far position and angle stray
    width = float(np.clip(rng.normal(545 if sick else 625, 55), 400, 700))
    aspect = float(np.clip(rng.normal(1.36 if sick else 1.2, 0.12), 1.02, 1.7))
    height = float(np.clip(width / aspect, 360, 700))
    field = rng.normal(2.62 if sick else 2.75, 0.14)
    if test:
        field *= rng.uniform(0.86, 1.12)
    borders = np.zeros(4)
    if rng.uniform() < (0.4 if test else (0.25 if sick else 0.35)):
        borders = rng.uniform(-0.04, 0.06, 4)
    letter = "R" if rng.uniform() < 0.8 else "L"
    edge = rng.uniform(0.03, 0.13)
    return Film(
        width=int(width), height=int(height), field=float(field), x=rng.normal(0, 0.037 * loose),
        y=0.66 + rng.normal(0, 0.037 * loose), tilt=rng.normal(0, 0.018 * loose),
        exposure=float(rng.normal(lean * 0.022, 0.04) + (0.04 * rng.uniform(-1, 1) + 0.025 if test else 0.0)),
        contrast=float(rng.normal(1.0 - lean * 0.05, 0.05) * (rng.uniform(0.87, 1.04) if test else 1.0)),
        detail=float(rng.uniform(0.3, 0.7) + (0.0 if sick else 0.12)), noise=rng.uniform(0.003, 0.008),
        scatter=rng.uniform(0.05, 0.14) * (1.25 if test else 1.0), borders=tuple(borders),
        letter=letter, letter_at=(edge if letter == "R" else 1 - edge - 0.03, rng.uniform(0.03, 0.35),
                                  rng.uniform(0.035, 0.06)))  # fmt: skip


def person(seed: int, patient: int) -> tuple[int, str]:
    """Tell the age and the sex of a child of another hospital.

    Parameters
    ----------
    seed, patient : int
        As for `draw`.

    Returns
    -------
    tuple of int and str
        Years from 4 to 16, on which the size of the child in the picture depends; "F" or "M".

    Examples
    --------
    >>> 4 <= person(0, 1)[0] <= 16
    True
    """
    rng = np.random.default_rng([seed, patient, 24])
    return int(rng.integers(4, 17)), "FM"[rng.integers(2)]


def _elsewhere(who: Child, pose: Pose, film: Film, kind: str, view: str) -> tuple[Child, Pose, Film]:
    """Change a picture to one of another hospital: by its machine, its children, the view, and a little by class."""
    machine, (age, _) = np.random.default_rng([who.rng_key[0], 41]).uniform(-1, 1, 3), person(*who.rng_key)
    bed, sick = (1 if view == "AP" else -1), (1 if kind != "normal" else -1)
    grown = 0.97 + 0.02 * machine[0] - 0.006 * (age - 10)  # the larger the child, the smaller the field beside it
    who = replace(who, thymus=(0.0, 0.0), heart=who.heart * (1 + 0.1 * bed), height=who.height * (0.976 + 0.006 * age))
    film = replace(
        film, height=int(film.height * (1 - 0.03 * sick)), field=film.field * (grown - 0.02 * bed - 0.04 * sick),
        exposure=film.exposure + 0.02 * machine[1] + 0.015 * bed + 0.01 * sick, noise=film.noise * 1.5,
        contrast=film.contrast * (0.95 + 0.05 * machine[2] - 0.02 * bed - 0.02 * sick))  # fmt: skip
    return who, replace(pose, breath=pose.breath * (0.7 if view == "AP" else 1.0), severity=MILD), film


def _consolidation(body: Body, place: np.random.Generator, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Fill a part of one lobe: its air goes, its edge is soft but for the fissure, bronchi may stay open."""
    lobe = list(LOBES)[int(place.choice(5, p=(0.22, 0.15, 0.25, 0.16, 0.22)))]
    first, last = LOBES[lobe]
    sign = -1 if lobe.startswith("right") else 1
    x = X * sign
    tall = body.who.height
    fissure = (0.6 + place.normal(0, 0.03)) * tall + 0.05 * (x - 0.5) ** 2
    # the centre lies in a part of the lung that is seen, whatever the breath and the heart's size
    lung = body.lungs & (x > 0)
    rows = np.flatnonzero(lung.any(axis=1))
    row = rows[int(place.uniform(first, last) * (len(rows) - 1))]
    columns = np.sort(x[0, lung[row]])
    cx, cy = columns[int(place.uniform(0.15, 0.75) * (len(columns) - 1))], Y[row, 0]
    size = place.uniform(0.4, 0.72)
    stretch = place.uniform(0.85, 1.3)
    wave = soft_noise(np.random.default_rng([*body.who.rng_key, 23]), 40)
    phase = body.pose.severity * rng.uniform(0.8, 1.05)  # how far the disease has gone
    size = size * phase
    far = np.sqrt(((x - cx) * stretch / size) ** 2 + ((Y - cy) / size) ** 2 + 1e-9) + 0.22 * wave
    blob = ramp((1.35 - far) / 0.7)
    if lobe == "right upper":
        blob = blob * ramp((fissure - Y) / 0.03 + 0.5)
    elif lobe == "right middle":
        blob = blob * ramp((Y - fissure) / 0.03 + 0.5)
    depth = place.uniform(0.75, 1.0) * phase
    thick, middle, _ = body.trees
    texture = np.clip(1.0 + 0.15 * soft_noise(rng, 14), 0.6, 1.3)
    filled = np.clip(blob * depth * texture, 0.0, 0.97) * (x > 0)
    bronchi = place.uniform(0.0, 0.6) * np.minimum(np.roll(thick + middle, 3, axis=1) * 2.0, 1.0)
    body.air *= 1.0 - filled * (1.0 - bronchi)
    body.vessels *= 1.0 - filled
    return (blob > 0.4) & lung, lobe


def _interstitial(body: Body, place: np.random.Generator, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Thicken the walls of bronchi and the septa in both lungs, most about the hila, with a little haze."""
    phase = body.pose.severity * rng.uniform(0.75, 1.1)
    strength = place.uniform(0.8, 1.5) * phase
    reach = place.uniform(0.6, 0.95)
    envelope = np.zeros((HEIGHT, WIDTH))
    for hx, hy in body.hila:
        envelope = np.maximum(envelope, ramp(1.25 - ((X - hx) ** 2 + ((Y - hy - 0.1) * 0.8) ** 2) / (reach * reach)))
    envelope = envelope * np.clip(1.0 + 0.35 * soft_noise(rng, 45), 0.2, 1.6)
    fine = soft_noise(rng, 7)
    net = ramp(1.0 - np.abs(fine) / 0.45)
    coarse = ramp(1.0 - np.abs(soft_noise(rng, 15)) / 0.3)
    thick, middle, _ = body.trees
    cuffs = np.minimum(thick + middle, 1.5)
    part = body.air / 2.0
    body.vessels += envelope * strength * part * (0.26 * net + 0.2 * coarse + 0.8 * cuffs)
    body.air *= 1.0 - np.minimum(envelope * strength * 0.3, 0.7)
    return (envelope * strength > 0.3) & (body.lungs), "both lungs"


def _expose(depth: np.ndarray, film: Film) -> np.ndarray:
    """Send X-rays through `depth`, add scatter; return the fourth root of what arrives, much like a film."""
    from scipy.ndimage import gaussian_filter

    # exp(-d) as (1 - d/256)^256: eight squarings round alike everywhere, exp does not
    beam = 1.0 - np.clip(depth, 0.0, 12.0) / 256.0
    for _ in range(8):
        beam *= beam
    wide = enlarge(gaussian_filter(beam[::8, ::8], 5.0), 8)
    signal = np.sqrt(np.sqrt((beam + film.scatter * wide) / (1.0 + film.scatter)))
    local = enlarge(gaussian_filter(signal[::4, ::4], 4.5), 4)
    return signal + film.detail * (signal - local)


def _project(field: np.ndarray, film: Film, *, order: int) -> np.ndarray:
    """Resample a field of the body grid to the pixels of the film."""
    from scipy.ndimage import affine_transform

    step = film.field * SCALE / film.width
    matrix = np.array([[step, -step * film.tilt], [step * film.tilt, step]])
    centre = np.array([(film.y - TOP) * SCALE, film.x * SCALE + WIDTH // 2])
    middle = np.array([(film.height - 1) / 2, (film.width - 1) / 2])
    # element by element: a matrix product may round differently from machine to machine
    offset = centre - (matrix[:, 0] * middle[0] + matrix[:, 1] * middle[1])
    return affine_transform(field, matrix, offset, (film.height, film.width), order=order, mode="nearest")


def _develop(signal: np.ndarray, film: Film, rng: np.random.Generator) -> np.ndarray:
    """Add the detector's noise, apply the tone curve, collimate, set the marker, and round once."""
    noise = rng.standard_normal((film.height, film.width))
    x = (np.arange(film.width)[None, :] + 0.5) / film.width - 0.5
    for first in range(0, film.height, 40):  # bands of rows stay in the processor's cache
        rows = slice(first, first + 40)
        y = (np.arange(film.height)[rows, None] + 0.5) / film.height - 0.5
        part = signal[rows]
        value = 1.42 - 1.45 * (part + film.noise * noise[rows] / np.maximum(part, 0.35))
        value = 0.5 + film.contrast * (value - 0.5) + film.exposure * np.clip(value * 4, 0.0, 1.0)
        value = 0.65 * np.clip(value, 0.0, 1.0) + 0.35 * ramp(value)
        across, down = x + 0.5 * film.tilt * y, y - 0.5 * film.tilt * x
        left, right, top, bottom = film.borders
        for side, margin in ((across, left), (-across, right), (down, top), (-down, bottom)):
            if margin > 0:
                value *= ramp((side + 0.5 - margin) / 0.008 + 0.5)
        noise[rows] = value
    _mark(noise, film)
    return np.floor(np.clip(noise, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _mark(value: np.ndarray, film: Film) -> None:
    x0, y0, size = (share * film.width for share in film.letter_at)
    box = (slice(max(int(y0 - 4), 0), int(y0 + size + 5)), slice(max(int(x0 - 4), 0), int(x0 + size + 5)))
    part = value[box]
    y = np.arange(part.shape[0])[:, None] + box[0].start - y0
    x = np.arange(part.shape[1])[None, :] + box[1].start - x0
    unit, pen = size / 1.5, size * 0.075
    for stroke in LETTERS[film.letter]:
        for (ax, ay), (bx, by) in zip(stroke[:-1], stroke[1:], strict=True):
            dx, dy = (bx - ax) * unit, (by - ay) * unit
            share = np.clip(((x - ax * unit) * dx + (y - ay * unit) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
            far = np.sqrt((x - ax * unit - share * dx) ** 2 + (y - ay * unit - share * dy) ** 2)
            part[:] = np.maximum(part, 0.97 * np.clip(pen + 0.7 - far, 0.0, 1.0))


def _save(folder: Path, seed: int, entry: Entry) -> None:
    from PIL import Image

    drawn = draw(entry.kind, seed=seed, domain=entry.domain, patient=entry.patient, image=entry.image)
    picture = Image.fromarray(drawn.image)
    if entry.rgb:
        picture = picture.convert("RGB")
    picture.save(folder / entry.path, quality=90)
    Image.fromarray(drawn.mask).save(_mask(folder, entry.path), compress_level=1)


def _mask(folder: Path, path: str) -> Path:
    return folder / "masks" / (Path(path).stem + ".png")


def write(
    folder: str | Path, *, seed: int = 0, n: int = 720, progress: bool = False, entries: Sequence[Entry] = ()
) -> None:
    """Draw the sample into `folder`, in the layout and naming of the real dataset.

    Parameters
    ----------
    folder : str or Path
        Gets ``chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg`` and the lesions' masks,
        ``masks/<stem>.png`` (one bit a pixel, in the size of the image; empty for NORMAL). Made if missing.
    seed : int
        The same seed gives the same pixels.
    n : int
        Number of images, at least 36.
    progress : bool
        Show a progress bar.
    entries : sequence of Entry
        Draw these files, not those of the sample.

    Raises
    ------
    BadInput
        `n` is below 36, or `folder` holds a chest_xray folder already.
    """
    from cxr_utils import images

    folder = Path(folder)
    if (folder / "chest_xray").exists():
        raise BadInput(f"{folder}: holds a chest_xray folder already; give an empty folder")
    entries = entries or plan(seed=seed, n=n)
    for parent in {(folder / entry.path).parent for entry in entries} | {folder / "masks"}:
        parent.mkdir(parents=True, exist_ok=True)
    drawn = [entry for entry in entries if not entry.copy_of]
    images.in_threads(partial(_save, folder, seed), drawn, doing="drawing phantoms", progress=progress)
    for entry in entries:
        if entry.copy_of:
            shutil.copyfile(folder / entry.copy_of, folder / entry.path)
            shutil.copyfile(_mask(folder, entry.copy_of), _mask(folder, entry.path))
    for place in ("", *{entry.path.split("/")[1] for entry in entries} - {"val"}):
        (folder / "chest_xray" / place / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(6136))
