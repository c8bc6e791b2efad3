"""The grid on which phantom radiographs are drawn, and its few tools.

`X` runs across the chest, 0 at the spine and about -1 and 1 at the ribs' inner wall (the child's right is at
negative `X`, the left of the picture); `Y` runs down, 0 near the top of the lungs. Only sums, products,
quotients, square roots and comparisons of float64 are used on the grid, and B-splines and Gaussian filters
made of them: these round alike with every instruction set, so that a seed gives the same picture everywhere.
"""

import numpy as np

SCALE = 150  # grid points in a unit of x or y
WIDTH, HEIGHT = 465, 384
TOP = -0.6  # y of the first row
X = (np.arange(WIDTH)[None, :] - WIDTH // 2) / SCALE
Y = np.arange(HEIGHT)[:, None] / SCALE + TOP


def ramp(value: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 to 1 while `value` goes from 0 to 1.

    Parameters
    ----------
    value : ndarray
        float.

    Returns
    -------
    ndarray
        float in [0, 1], of the same shape.
    """
    value = np.clip(value, 0.0, 1.0)
    return value * value * (3.0 - 2.0 * value)


def enlarge(small: np.ndarray, factor: int) -> np.ndarray:
    """Spread a coarse grid, each `factor`-th point of the body grid, over it (quadratic B-spline).

    Parameters
    ----------
    small : ndarray
        float64, two points more a side than the body grid has of these steps.
    factor : int
        Steps of the body grid between two points.

    Returns
    -------
    ndarray
        float64, shape (HEIGHT, WIDTH).
    """
    for axis, length in ((1, WIDTH), (0, HEIGHT)):
        place = np.arange(length) / factor
        nearest = np.floor(place + 0.5).astype(np.intp)
        t = (place - nearest).reshape((-1, 1) if axis == 0 else (1, -1))
        low, mid, high = (np.take(small, nearest + shift, axis=axis, mode="clip") for shift in (-1, 0, 1))
        low *= 0.5 * (0.5 - t) ** 2
        mid *= 0.75 - t * t
        high *= 0.5 * (0.5 + t) ** 2
        low += mid
        low += high
        small = low
    return small


def soft_noise(rng: np.random.Generator, cell: int) -> np.ndarray:
    """Return smooth noise of mean 0 and deviation near 1, whose blobs are about `cell` grid points wide.

    Parameters
    ----------
    rng : Generator
        The only source of chance.
    cell : int
        Width of a blob, steps of the body grid.

    Returns
    -------
    ndarray
        float64, shape (HEIGHT, WIDTH).
    """
    return enlarge(1.8 * rng.standard_normal((HEIGHT // cell + 2, WIDTH // cell + 2)), cell)


def near(points, reach: float):
    """Return the part of the grid around a polyline, the squared distance, the place along it (0 to 1).

    Parameters
    ----------
    points : sequence of pairs of float
        x and y of its corners, in units of the body.
    reach : float
        How far around them, in the same units.

    Returns
    -------
    part : tuple of two slices
        Rows and columns.
    square : ndarray
        float64, shape of the part: the squared distance to the line.
    along : ndarray
        float64 in [0, 1], of the same shape: the place of the nearest point along it.
    """
    points = np.asarray(points, dtype=np.float64)
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    columns = slice(*np.clip(np.floor(np.array([low[0], high[0]]) * SCALE + WIDTH // 2), 0, WIDTH).astype(int))
    rows = slice(*np.clip(np.floor((np.array([low[1], high[1]]) - TOP) * SCALE), 0, HEIGHT).astype(int))
    x, y = X[:, columns], Y[rows]
    best = along = np.inf  # farther than all of them
    for number, ((ax, ay), (bx, by)) in enumerate(zip(points[:-1], points[1:], strict=True)):
        dx, dy = bx - ax, by - ay
        share = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-12), 0.0, 1.0)
        square = (x - ax - share * dx) ** 2 + (y - ay - share * dy) ** 2
        place = (number + share) / (len(points) - 1)
        along = np.where(square < best, place, along)
        best = np.minimum(square, best)
    return (rows, columns), best, along


def splat(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Add `weights` at `points` (x, y on the body grid), shared between the four nearest grid points.

    Parameters
    ----------
    points : ndarray
        float64, shape (n, 2): x and y, in units of the body.
    weights : ndarray
        float64, shape (n,).

    Returns
    -------
    ndarray
        float64, shape (HEIGHT, WIDTH).
    """
    column, row = points[:, 0] * SCALE + WIDTH // 2, (points[:, 1] - TOP) * SCALE
    inside = (column > 1) & (column < WIDTH - 2) & (row > 1) & (row < HEIGHT - 2)
    column, row, weights = column[inside], row[inside], weights[inside]
    left, upper = np.floor(column), np.floor(row)
    right, lower = column - left, row - upper
    flat = upper.astype(np.intp) * WIDTH + left.astype(np.intp)
    places = np.concatenate([flat, flat + 1, flat + WIDTH, flat + WIDTH + 1])
    shares = np.concatenate([(1 - right) * (1 - lower), right * (1 - lower), (1 - right) * lower, right * lower])
    return np.bincount(places, np.tile(weights, 4) * shares, minlength=HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
