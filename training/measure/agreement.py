"""Measure without labels how well cameras agree on who is who."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NEAREST = 3  # crops of the same camera that serve as a group if no groups are given
_EQUAL = 1e-5  # cosines closer than this count as equal
_TIE_PENALTY = 1e-6
_ROWS = 256  # ways sorted at once, which takes a few MB


def cycle_agreement(
    embeddings: Float32s,
    cameras: Int64s,
    groups: Int64s | None = None,
    starts: Bools | None = None,
) -> float | None:
    """Compute the mean average precision of ways to another camera and back.

    A way leads from a crop to the nearest crop of another camera, and from there back: it ranks all
    crops of the first camera, except the crop itself, nearest first. The crops of the crop's own
    group are correct. Matching inside one camera is far easier than across two. So groups that a
    fixed network makes inside each camera are nearly people, and a network that finds them again
    through another camera recognises people across cameras. The crop itself is left out because
    its nearest crop was chosen to be near it, even among random embeddings. Of equal cosines the
    wrong ones come first, so that a collapsed network gains nothing.

    As in any cycle, links that are wrong in the same way in both directions go unnoticed.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        groups: (N,) int64, made inside each camera, -1 for a crop in no group. Fixed groups make
            two networks comparable. None: a crop's three nearest in its camera, which compares only
            networks that are similar.
        starts: (N,) bool, crops from which ways start; None: all.

    Returns:
        0..1, mean over all ways; None with fewer than two cameras or without a group of two.
    """
    found = way_precisions(embeddings, cameras, groups, starts)
    return float(found.mean()) if len(found) else None


def known_groups(tracks: Int64s) -> Int64s | None:
    """Take tracks as groups, if they make any.

    Args:
        tracks: (N,) int64, -1 for a crop without a track; a track is of one camera.

    Returns:
        The tracks; None if none of them has two crops, so that nothing would be measured.
    """
    known, counts = np.unique(tracks, return_counts=True)
    return tracks if (counts[known >= 0] > 1).any() else None


def of_one_group(groups: Int64s) -> Bools:
    """Compare crops by group.

    Args:
        groups: (N,) int64, -1 for a crop in no group.

    Returns:
        (N, N) whether two crops are of one group.
    """
    same: Bools = (groups[:, None] == groups) & (groups >= 0)
    return same


def way_precisions(
    embeddings: Float32s,
    cameras: Int64s,
    groups: Int64s | None = None,
    starts: Bools | None = None,
) -> NDArray[np.float64]:
    """Compute the terms of :func:`cycle_agreement`, in an order set by cameras and groups alone.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        groups: as for :func:`cycle_agreement`.
        starts: as for :func:`cycle_agreement`.

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
    """(H, H) whether the crop of a row should find the crop of a column."""
    count = len(embeddings)
    if groups is not None:
        alike = of_one_group(groups)
    else:
        cosine = embeddings @ embeddings.T
        np.fill_diagonal(cosine, -np.inf)
        alike = np.zeros((count, count), dtype=bool)
        nearest = np.argsort(-cosine, axis=1)[:, :_NEAREST]
        np.put_along_axis(alike, nearest, values=True, axis=1)
    np.fill_diagonal(alike, val=False)
    return alike


def _precisions(cosine: Float32s, right: Bools, itself: Int64s) -> NDArray[np.float64]:
    """Average precision of each row; of equal cosines the wrong ones come first."""
    score = np.round(cosine.astype(np.float64) / _EQUAL) * _EQUAL - _TIE_PENALTY * right
    score[np.arange(len(score)), itself] = -np.inf  # last, and never right
    ranked = np.take_along_axis(right, np.argsort(-score, axis=1), axis=1)
    precision = ranked.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
    mean: NDArray[np.float64] = (precision * ranked).sum(axis=1) / right.sum(axis=1)
    return mean
