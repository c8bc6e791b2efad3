"""The chest of a small child as a map of X-ray attenuation, for the phantom radiographs.

Each tissue adds (or, for air, takes away) optical depth, the product of thickness and attenuation, on the
grid of `cxr_utils.sources.phantom.canvas`. Shapes and sizes were set by eye; they are no atlas.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_utils.sources.phantom.canvas import HEIGHT, SCALE, TOP, WIDTH, X, Y, near, ramp, splat

SIDES = (-1, 1)  # the child's right, left
#: Ranges, curves and strokes: see the file.
NUMBERS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("phantom.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Child:
    """What stays the same in all pictures of one patient (units of the body grid unless said otherwise)."""

    rng_key: tuple[int, ...]  # seeds the vessels
    cage: float  # half-width of the rib cage
    bell: float  # 0 barrel, 1 narrow at the top
    height: float  # of the lungs, relative
    wall: float  # thickness of the wall of the chest
    thickness: float  # of the trunk, relative
    heart: float  # size of the heart, relative
    knob: float
    thymus: tuple[float, float]  # reach of the sail at the right and left, 0 for none
    rib_spacing: float
    rib_slope: float
    rib_width: float
    ribs: np.ndarray  # (2, 13) offsets of single ribs
    bones: float  # density of bone, relative
    curve: float  # of the spine
    arms: tuple[float, float]  # angle of the upper arms, 0 down, 1 out
    gas: np.ndarray  # (4, 4) x, y, radius, depth of gas in the belly


@dataclass(frozen=True)
class Pose:
    """What changes from one picture of a patient to the next."""

    breath: float  # 0 breathed out, 1 fully in
    yaw: float  # turn about the long axis: shift of the front against the spine
    arms: float
    severity: float = 1.0  # how far a disease has gone, next to what is usual


def child(key: tuple[int, ...]) -> Child:
    """Draw one child's anatomy from the integers in `key`.

    Parameters
    ----------
    key : tuple of int
        The seed, and what tells this child from others.

    Returns
    -------
    Child
        The same for the same key.
    """
    rng = np.random.default_rng([*key, 11])
    sail = rng.uniform()
    thymus = (0.0, 0.0)
    if sail < 0.22:
        thymus = (rng.uniform(0.25, 0.5), 0.0)
    elif sail < 0.32:
        thymus = (0.0, rng.uniform(0.2, 0.4))
    elif sail < 0.38:
        thymus = (rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.35))
    gas = np.column_stack([rng.uniform(low, high, 4) for low, high in NUMBERS["gas"].values()])
    gas[1:, 0] *= rng.choice([-1.0, 1.0], 3)
    drawn = {name: rng.uniform(low, high) for name, (low, high) in NUMBERS["child"].items()}
    return Child(
        rng_key=tuple(key), thymus=thymus, gas=gas, **drawn, ribs=rng.normal(0, 0.006, (2, 13)),
        bones=rng.uniform(0.8, 1.15), curve=rng.normal(0, 0.015), arms=(rng.uniform(0.1, 1.0), rng.uniform(0.1, 1.0)),
    )  # fmt: skip


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, sigma, mode="nearest")


def _tube(square: np.ndarray) -> np.ndarray:
    """Return the bone met by a ray through a hollow tube; `square` is (distance from its axis / radius)^2."""
    return np.sqrt(np.maximum(1.0 - square, 0.0)) - 0.72 * np.sqrt(np.maximum(0.62 - square, 0.0))


class Body:
    """One child in one pose: the fields that the film and the lesions are made of.

    Parameters
    ----------
    who : Child
        Whose.
    pose : Pose
        In which.

    Attributes
    ----------
    soft, bone, vessels : ndarray of float64, shape (384, 465)
        Optical depth of soft tissue (as if there were no air), of bone, and of the vessels in the lungs.
    air : ndarray of float64, shape (384, 465)
        Optical depth that air takes away.
    lungs : ndarray of bool
        The projected lungs, without what lies behind heart and diaphragm.
    hila : list of tuple
        Where the vessels enter the right and the left lung.
    trees : tuple of ndarray
        Bronchi and vessels as drawn, thick, middle and fine.
    """

    def __init__(self, who: Child, pose: Pose) -> None:
        self.who, self.pose = who, pose
        y = Y[:, 0]
        reach = 1.27 * who.height
        ellipse = np.sqrt(np.clip(1.0 - ((reach - 0.12 - y) / reach) ** 2, 0.01, 1.0))
        cone = np.clip((y + 0.25) / 1.3, 0.05, 1.0)
        cage = np.where(y > reach - 0.12, 1.0, ellipse * (1 - 0.3 * who.bell) + 0.3 * who.bell * cone * (2 - cone))
        self.cage = _smooth(cage * who.cage * (0.97 + 0.04 * pose.breath), 4)[:, None]
        self.soft = self._soft()
        self.air = np.zeros((HEIGHT, WIDTH))
        self.lungs = np.zeros((HEIGHT, WIDTH), dtype=bool)
        self.hila: list[tuple[float, float]] = []
        for side in SIDES:
            self._lung(side)
        self.trees = self._trees()
        self.bone = self._spine() + self._ribs() + self._girdle()
        thick, middle, fine = self.trees
        self.vessels = (thick + middle + fine) * self.air
        self._airway()

    def _soft(self) -> np.ndarray:
        who = self.who
        outline = self.cage + who.wall + 0.06 * ramp((Y - 1.2) / 0.7)
        outline = np.maximum(outline, 1.12 * ramp((0.75 - Y) / 0.6))  # shoulders
        u = np.abs(X) / outline
        square = u * u
        trunk = np.sqrt(np.maximum(1.0 - square * square, 0.0)) * (3.1 + 0.5 * ramp((Y - 1.1) / 0.5))
        slope = -0.62 + 0.62 * np.maximum(np.abs(X) - 0.3, 0.0)
        trunk *= np.sqrt(ramp((Y - slope) / 0.75))
        neck = 2.4 * np.sqrt(np.maximum(1.0 - (X / 0.46) ** 2, 0.0)) * ramp((0.5 - Y) / 0.5)
        soft = np.maximum(trunk, neck)
        for side, angle in zip(SIDES, who.arms, strict=True):
            angle = min(max(angle + self.pose.arms, 0.0), 1.2)
            shoulder = (side * 1.0, 0.12)
            elbow = (side * (1.32 + 0.55 * angle), 0.12 + 1.0 * (1.15 - angle))
            where, square, along = near([shoulder, elbow], 0.32)
            radius = 0.3 - 0.1 * along
            arm = 1.5 * np.sqrt(np.maximum(1.0 - square / (radius * radius), 0.0))
            part = soft[where]
            soft[where] = np.sqrt(part * part + arm * arm) * 0.5 + np.maximum(part, arm) * 0.5
        chin = 1.0 - (X / 0.62) ** 2 - ((Y + 1.0) / 0.5) ** 2
        return (soft + 1.9 * np.sqrt(np.maximum(chin, 0.0))) * who.thickness

    def _lung(self, side: int) -> None:
        who, pose = self.who, self.pose
        half = slice(None, WIDTH // 2) if side < 0 else slice(WIDTH // 2, None)
        x = X[:, half] * side  # outwards
        ys, xs = map(np.array, NUMBERS["border"]["right" if side < 0 else "left"].values())
        xs[3] += who.knob * (side > 0)
        border = 0.15 + np.interp(Y[:, 0], ys * who.height, xs * who.heart)
        wide = 1.06 - 0.1 * pose.breath  # the heart spreads when the diaphragm is high
        border = _smooth(border, 6)[:, None] * wide + side * pose.yaw * (0.4 + 0.6 * ramp(Y / 0.8))
        t = np.clip(x / self.cage, 0.0, 1.0)
        t *= t
        t *= t
        cavity = np.sqrt(1.0 - t)
        top = (-0.04 + 0.9 * (x - 0.42) ** 2 * (x < 0.42)) * who.height
        cavity *= ramp((Y - top) / 0.14)
        dome = 1.12 * who.height + 0.26 * pose.breath + (0.05 if side > 0 else -0.02)
        dome = dome + 0.55 * (x - 0.4) ** 2 + 0.16 * ramp((x - 0.78) / 0.25)
        above = ramp((dome - Y) / 0.05 + 0.5)
        beside = ramp((x - border) / 0.06 + 0.5)
        sail = who.thymus[0 if side < 0 else 1]
        if sail:  # a triangle with a nearly straight lower edge and a wavy side
            edge = border + (sail + 0.02 * (np.abs((Y * 6) % 2 - 1) - 0.5)) * ramp((Y + 0.1) / 0.62)
            cover = (1.0 - ramp((x - edge) / 0.1 + 0.5)) * ramp((0.5 - 0.12 * x - Y) / 0.06 + 0.5)
            cavity *= 1.0 - (0.3 + 0.3 * sail) * cover
        behind = 0.36 * ramp((x - 0.14) / 0.12) * ramp((Y - 0.3) / 0.5)
        self.lungs[:, half] = (cavity * beside * above) > 0.35
        beside += (1.0 - beside) * behind
        cavity *= beside
        cavity *= np.maximum(above, 0.2 * (1.0 - ramp((Y - dome) / 0.4)))
        cavity *= 2.0 * (0.94 + 0.12 * pose.breath) * who.thickness
        self.air[:, half] += cavity
        self.hila.append((side * (0.25 + 0.06 * who.heart) + pose.yaw, (0.62 if side < 0 else 0.56) * who.height))

    def _trees(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from scipy.ndimage import gaussian_filter

        rng = np.random.default_rng([*self.who.rng_key, 12])
        step = np.arange(30) / 30
        layers: list[tuple[list, list]] = [([], []) for _ in range(3)]
        for side, (hx, hy) in zip(SIDES, self.hila, strict=True):
            roots = 9
            slope = np.linspace(-1.5, 2.6, roots) + rng.normal(0, 0.12, roots)
            heading = np.stack([np.full(roots, side * 1.0), slope], axis=1)
            start = np.tile([hx, hy], (roots, 1)) + rng.normal(0, 0.03, (roots, 2))
            length, width = 0.27, 1.0
            for level in range(5):
                heading = heading / np.sqrt(heading[:, :1] ** 2 + heading[:, 1:] ** 2)
                n = len(start)
                size = length * rng.uniform(0.7, 1.3, (n, 1, 1))
                across = np.stack([-heading[:, 1], heading[:, 0]], axis=1)[:, None]
                bend = rng.normal(0, 0.2, (n, 1, 1))
                course = step[:, None] * heading[:, None] + bend * (step * step)[:, None] * across
                path = start[:, None] + size * course
                weight = width * (1.0 - 0.3 * step) * rng.uniform(0.6, 1.2, (n, 1)) * size[:, 0]
                points, weights = layers[min(level // 2, 2)]
                points.append(path.reshape(-1, 2))
                weights.append(weight.ravel())
                tip = path[:, -1]
                fork = rng.uniform(0.25, 0.6, (n, 1))
                heading = np.concatenate([heading + fork * across[:, 0], heading - fork * across[:, 0]])
                start = np.concatenate([tip, path[:, 18]])
                length, width = length * 0.76, width * 0.74
        drawn = []
        for (points, weights), sigma in zip(layers, (2.3, 1.5, 1.0), strict=True):
            layer = splat(np.concatenate(points), np.concatenate(weights))
            drawn.append(gaussian_filter(layer, sigma, truncate=3) * 2.7)
        return tuple(drawn)

    def _spine(self) -> np.ndarray:
        who = self.who
        middle = who.curve * (Y - 0.8) ** 2
        half = 0.125 + 0.02 * ramp(Y / 1.5)
        columns = slice(WIDTH // 2 - 35, WIDTH // 2 + 36)
        u = (X[:, columns] - middle) / half
        phase = (Y - 0.03) / who.rib_spacing - 0.25 * (Y * Y) * 0.2
        part = phase - np.floor(phase)
        disc = ramp((0.12 - np.abs(part - 0.5)) / 0.1)  # gaps
        plate = ramp(1.0 - np.abs(np.abs(part - 0.5) - 0.16) / 0.07)  # dense end plates
        square = u * u
        body = np.sqrt(np.maximum(1.0 - square * square * square, 0.0))
        below = np.abs(part - 0.02)
        pedicle = ramp(1.3 - 14.0 * (np.abs(u) - 0.68) ** 2 - 30.0 * (below * (below < 0.5)) ** 2)
        process = ramp(1.0 - 40.0 * square) * ramp((0.28 - np.abs(part - 0.25)) / 0.1)
        bone = np.zeros((HEIGHT, WIDTH))
        depth = body * (0.34 - 0.2 * disc + 0.2 * plate) + 0.26 * pedicle * body + 0.16 * process
        bone[:, columns] = who.bones * depth
        return bone

    def _ribs(self) -> np.ndarray:
        """Draw ribs as tilted hoops, x = W sin a, y = y0 + c (1 - cos a): the back half, then the front."""
        who, pose = self.who, self.pose
        bone = np.zeros((HEIGHT, WIDTH))
        middle = WIDTH // 2
        slope = who.rib_slope * (0.85 + 0.3 * (1 - pose.breath))
        for row, side in enumerate(SIDES):
            columns = slice(None, middle) if side < 0 else slice(middle, None)
            # bands of rows stay in the processor's cache
            for rows in (slice(first, first + 48) for first in range(48, HEIGHT, 48)):
                x, cage = X[:, columns] * side, self.cage[rows]
                for front in (False, True):
                    shift = side * pose.yaw if front else 0.0
                    t = np.clip((x - shift) / (cage + 0.03), 0.0, 1.0)
                    arc = np.sqrt(np.maximum(1.0 - t * t, 1e-4))
                    y0 = Y[rows] - slope * ((1.0 + arc) if front else (1.0 - arc) - 0.22 * (1 - t) * (1 - t))
                    phase = (y0 + 0.06) / who.rib_spacing
                    number = np.clip(np.floor(phase + 0.5), 0, 12)
                    offset = (phase - number) * who.rib_spacing - who.ribs[row][number.astype(np.intp)]
                    steep = slope * t / (arc * cage)
                    width = who.rib_width * ((0.85 + 0.35 * t) if front else (1.05 - 0.1 * t))
                    depth = _tube(offset * offset / ((1.0 + steep * steep) * width * width)) * (0.62 + 0.2 * t)
                    if front:
                        depth *= ramp((t - 0.5 - 0.02 * number) / 0.06) * (0.6 * ((number < 8) & (number > 0)))
                    else:
                        depth *= ramp((x - 0.1) / 0.05)
                    bone[rows, columns] += depth * ((x - shift < cage + 0.045) & (phase > -0.5))
        return bone * who.bones

    def _girdle(self) -> np.ndarray:
        """Clavicles, shoulder blades, upper arms."""
        who, pose = self.who, self.pose
        bone = np.zeros((HEIGHT, WIDTH))
        for side, angle in zip(SIDES, who.arms, strict=True):
            angle = min(max(angle + pose.arms, 0.0), 1.2)
            lift = 0.07 * angle
            inner = side * 0.13 + pose.yaw
            clavicle = [(inner, 0.16), (side * 0.35 + pose.yaw * 0.8, 0.09 - lift * 0.3),
                        (side * 0.6, 0.02 - lift * 0.6),
                        (side * 0.8, 0.0 - lift), (side * 0.97, 0.05 - lift)]  # fmt: skip
            head = (side * 1.07, 0.14)
            down = np.array([0.3 + 0.55 * angle, 1.0 * (1.15 - angle)])
            shaft = [head, (head[0] + side * down[0] * 0.9, head[1] + down[1] * 0.9)]
            blade = [(side * 0.98, 0.16), (side * (0.9 + 0.05 * angle), 0.45), (side * (0.84 + 0.08 * angle), 0.74)]
            spine = [(side * 0.62, 0.2 - lift), (side * 0.98, 0.04 - lift)]
            lines = ((clavicle, 0.036, 0.75), (shaft, 0.062, 0.85), (blade, 0.03, 0.42), (spine, 0.035, 0.3))
            for line, radius, depth in lines:
                where, square, along = near(line, 0.12)
                flare = radius * (1.0 + 0.5 * (2.0 * along - 1.0) ** 2)
                bone[where] += depth * _tube(square / (flare * flare))
            where, square, _ = near([head, (head[0], head[1] + 0.01)], 0.1)
            bone[where] += 0.45 * np.sqrt(np.maximum(1.0 - square / 0.085**2, 0.0))
            where, square, along = near([(side * 0.95, 0.1), (side * 0.86, 0.72)], 0.25)
            plate = 0.12 * (1.0 - 0.7 * along)
            bone[where] += 0.2 * ramp((plate * plate - square) / 0.006)
        rows = slice(None, int((-0.35 - TOP) * SCALE))
        jaw = np.sqrt((X / 0.5) ** 2 + ((Y[rows] + 0.95) / 0.46) ** 2 + 1e-9)
        bone[rows] += 0.9 * ramp(1.0 - np.abs(jaw - 0.9) / 0.12) + 0.5 * ramp((0.85 - jaw) / 0.1)
        return bone * who.bones

    def _airway(self) -> None:
        """Trachea, main bronchi, and the gas of stomach and bowel."""
        shift = self.pose.yaw * 0.5
        split = 0.42 * self.who.height
        trunk = [(shift * 0.3, -0.7), (shift + 0.005, 0.1), (shift - 0.02, split)]
        tubes = ((trunk, 0.06, 0.75), ([trunk[-1], self.hila[0]], 0.04, 0.4), ([trunk[-1], self.hila[1]], 0.036, 0.4))
        gas = np.zeros((HEIGHT, WIDTH))
        for line, radius, depth in tubes:
            where, square, _ = near(line, 0.1)
            gas[where] = np.maximum(gas[where], depth * np.sqrt(np.maximum(1.0 - square / radius**2, 0.0)))
        for number, (x, down, radius, depth) in enumerate(self.who.gas):
            y = 1.17 * self.who.height + 0.26 * self.pose.breath + down
            wide = radius * (0.7 if number == 0 else 0.2)  # the stomach's bubble is wide
            where, square, _ = near([(x - wide, y), (x + wide, y)], radius)
            gas[where] += depth * ramp(1.0 - square / radius**2)
        self.air += gas
