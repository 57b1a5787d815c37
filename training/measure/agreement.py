"""How well cameras agree on who is who, measured without a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NEAREST = 3  # crops of the own camera that stand for a group where none are given
_EQUAL = 1e-5  # cosines nearer than this are a tie
_TIE_PENALTY = 1e-6
_ROWS = 256  # ways sorted at once: a few MB


def cycle_agreement(
    embeddings: Float32s,
    cameras: Int64s,
    groups: Int64s | None = None,
    starts: Bools | None = None,
) -> float | None:
    """Mean average precision of the way back from another camera.

    From a crop to its nearest in another camera, and from there back: all crops of the first camera
    but the crop itself, nearest first. Right are those of the crop's own group. One camera is far
    easier than two, so groups made inside each camera by a fixed network are nearly people, and a
    network that finds them again by way of another camera knows people across cameras. The crop
    itself is left out because its nearest is near it by choice, even among random embeddings. Of
    equals the wrong come first, so that a collapsed network gains nothing.

    Links that are wrong in the same way in both directions go unseen, as in any cycle.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        groups: (N,) int64, made inside each camera, -1 for a crop in none. Fixed ones make two
            networks comparable. None: a crop's three nearest in its camera, which only compares
            networks that are alike.
        starts: (N,) bool, crops from which ways start; None: all.

    Returns:
        0..1, mean over ways; None with fewer than two cameras or no group of two.
    """
    found = way_precisions(embeddings, cameras, groups, starts)
    return float(found.mean()) if len(found) else None


def way_precisions(
    embeddings: Float32s,
    cameras: Int64s,
    groups: Int64s | None = None,
    starts: Bools | None = None,
) -> NDArray[np.float64]:
    """The terms of :func:`cycle_agreement`, in an order that only cameras and groups decide.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        groups: as there.
        starts: as there.

    Returns:
        (W,) float64, average precision of each way.
    """
    names = np.unique(cameras)
    chosen = np.ones(len(cameras), dtype=bool) if starts is None else starts
    found: list[NDArray[np.float64]] = []
    for home in names:
        own = np.flatnonzero(cameras == home)
        alike = _alike(embeddings[own], None if groups is None else groups[own])
        begin = np.flatnonzero(chosen[own] & alike.any(axis=1))
        for other in names[names != home]:
            far = embeddings[cameras == other]
            for rows in np.split(begin, range(_ROWS, len(begin), _ROWS)):
                nearest = far[(embeddings[own[rows]] @ far.T).argmax(axis=1)]
                found.append(_precisions(nearest @ embeddings[own].T, alike[rows], rows))
    return np.concatenate(found) if found else np.empty(0)


def _alike(embeddings: Float32s, groups: Int64s | None) -> Bools:
    """(H, H) whether a row's crop should find a column's."""
    count = len(embeddings)
    if groups is not None:
        alike: Bools = (groups[:, None] == groups) & (groups >= 0)
    else:
        cosine = embeddings @ embeddings.T
        np.fill_diagonal(cosine, -np.inf)
        alike = np.zeros((count, count), dtype=bool)
        nearest = np.argsort(-cosine, axis=1)[:, :_NEAREST]
        np.put_along_axis(alike, nearest, values=True, axis=1)
    np.fill_diagonal(alike, val=False)
    return alike


def _precisions(cosine: Float32s, right: Bools, itself: Int64s) -> NDArray[np.float64]:
    """Average precision of each row; of equal cosines the wrong come first."""
    score = np.round(cosine.astype(np.float64) / _EQUAL) * _EQUAL - _TIE_PENALTY * right
    score[np.arange(len(score)), itself] = -np.inf  # last, and never right
    ranked = np.take_along_axis(right, np.argsort(-score, axis=1), axis=1)
    precision = ranked.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
    mean: NDArray[np.float64] = (precision * ranked).sum(axis=1) / right.sum(axis=1)
    return mean
