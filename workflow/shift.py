"""A validation from train that imitates another domain: what pictures and files betray is held out, not drawn.

A network that may look at sharpness, border and proportions tells the classes of a random validation nearly without
fault. In another hospital, or in other numbers of the same one, these go with the classes in another way. Here the
patients are held out whose pictures look, in such things, like those of the other class.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxr_utils import audit, dataset, images, shortcuts, splits
from cxr_utils.errors import BadInput

SHARES = {"size": 0.12, "exposure": 0.06, "blocks": 0.06, "validation": 0.10}
"""Part → share of the patients of each source that it takes from what is left, in this order."""
SHARES_2 = {"size": 0.08, "exposure": 0.06, "surround": 0.06, "low": 0.06, "validation": 0.10}
"""The same for the trials towards `reference_2`."""
DOMAINS = ("size", "exposure", "blocks", "surround", "low")


def split(
    index: pd.DataFrame,
    pixels: np.ndarray,
    *,
    sizes: pd.DataFrame | None = None,
    seed: int = 0,
    shares: dict[str, float] = SHARES,
) -> pd.DataFrame:
    """Hold out shifted parts and a random one, each with both classes, patients kept whole.

    - ``size``: NORMAL images that are small and wide in the original, PNEUMONIA that are large and narrow;
    - ``exposure``: images that boosted trees, by the eight statistics of `audit.picture_statistics`, call the other
      class with the most certainty (from folds that were not fitted on them);
    - ``blocks``: the highest numbers of each source (IM, NORMAL2-IM, person with bacteria, with virus);
    - ``low``: the lowest; those of NORMAL follow on the numbers of test;
    - ``surround``: as ``exposure``, by what lies outside of the central chest, at 16 x 16 pixels;
    - ``validation``: drawn at random.

    Parameters
    ----------
    index : DataFrame
        From `dataset.scan`, without any row of the split test.
    pixels : ndarray
        uint8, shape (n, size, size, 1), in the order of `index`.
    sizes : DataFrame, optional
        ``path``, ``width`` and ``height`` (pixels) of original files, for an index of resized copies. Images that it
        does not name get an estimate from their pictures: squashing leaves traces.
    seed : int
        Of the random part and the folds.
    shares : dict
        Part → share of the patients of each source that it takes from what is left, in this order.

    Returns
    -------
    DataFrame
        As `splits.official`; ``part`` is "train" or a key of `shares`.

    Raises
    ------
    BadInput
        `index` holds images of test, or tells nothing of original sizes.

    Examples
    --------
    >>> development = split(index[index["split"] != "test"], pixels, sizes=sizes)  # doctest: +SKIP
    """
    if (index["split"] == "test").any():
        raise BadInput("index: holds images of test; leave them out: index[index['split'] != 'test']")
    if len(index) != len(pixels):
        raise BadInput(f"pixels: {len(pixels)} images, but {len(index)} rows in the index")
    label, groups = index["label"].to_numpy(), splits.group_names(index).to_numpy(str)
    stems = index["path"].map(dataset.stem_of)
    number = stems.str.extract(r"(?:person|IM-)(\d+)")[0].astype(float)
    source = index["kind"].astype(str) + np.where(stems.str.startswith("NORMAL2"), " 2", "")
    statistics = audit.picture_statistics(pixels)
    wide = _wide_and_small(index, pixels, statistics, sizes, groups)
    rank, known = number.groupby(source).rank(pct=True).to_numpy(), index.assign(split="train")
    outside = shortcuts.region("outside", 16)
    small = np.stack([images.resize(image[:, :, 0], 16)[outside] for image in pixels]) if "surround" in shares else None
    answers, around = (
        audit.boosted_scores(values, known, seed=seed) if values is not None else np.zeros(len(index))
        for values in (statistics.to_numpy(), small)
    )
    own = {  # how much an image looks like its own class; the lowest are held out
        "size": np.where(label == 1, wide, -wide),
        "exposure": np.where(label == 1, answers, 1 - answers),
        "surround": np.where(label == 1, around, 1 - around),
        "blocks": -rank,
        "low": rank,
        "validation": np.random.default_rng(seed).random(len(index)),
    }
    part = np.full(len(index), "train", dtype=object)
    for name, share in shares.items():
        table = pd.DataFrame({"group": groups, "source": source.to_numpy(str), "own": own[name]})[part == "train"]
        table = table.groupby("group").agg(own=("own", "mean"), source=("source", "first"))
        for _, rows in table.groupby("source")["own"]:
            part[np.isin(groups, rows.nsmallest(max(1, round(share * len(rows)))).index)] = name
    return splits.assign(index, part)


def _wide_and_small(index, pixels, statistics, sizes, groups) -> np.ndarray:
    """Return width / height less width x height of the originals, both as logarithms and standardised."""
    import cv2
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if sizes is None:
        sizes = index[["path", "width", "height"]]
        if not sizes[["width", "height"]].duplicated(keep=False).mean() < 0.9:
            raise BadInput("sizes: these are resized copies; give a table of original sizes: path, width, height")
    original = sizes.set_index("path")[["width", "height"]].reindex(index["path"]).to_numpy(float)
    known = np.isfinite(original).all(axis=1)
    if known.sum() < 100:
        raise BadInput(f"sizes: names {known.sum()} of these images; at least 100 are needed")
    logs = np.log(original)
    values = np.stack([logs[:, 0] - logs[:, 1], logs.sum(axis=1)], axis=1)
    if not known.all():
        small = np.stack([cv2.resize(p[:, :, 0], (32, 32), interpolation=cv2.INTER_AREA).ravel() for p in pixels])
        ways = [(order, axis) for order in (1, 2) for axis in (0, 1)]
        steps = [[np.abs(np.diff(p[:, :, 0].astype("float32"), *way)).mean() for way in ways] for p in pixels]
        seen = np.hstack([small / 255.0, 3 * statistics.to_numpy(), np.log(np.array(steps) / 255 + 1e-5)])
        components = PCA(min(120, known.sum() // 2), random_state=0)
        guess = make_pipeline(StandardScaler(), components, StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
        with threadpool_limits(1):  # the same figures everywhere
            values[~known] = guess.fit(seen[known], values[known]).predict(seen[~known])
    return np.subtract(*((values - values.mean(axis=0)) / values.std(axis=0)).T)
