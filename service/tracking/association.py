"""Which box continues which track."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

Float64s = NDArray[np.float64]


def widened_iou(tracks: Float64s, margins: Float64s, boxes: Float64s) -> Float64s:
    """Intersection over union after both boxes of a pair were widened by the track's margin.

    At a few frames per second a walking person leaves the box of the frame before. Widening (as in
    C-BIoU: Yang et al., WACV 2023) lets the two boxes meet all the same. Here the margin is how
    little is known of the place, so a track that is followed well is compared by plain IoU.

    Args:
        tracks: (T, 4) left, top, right and bottom, in pixels.
        margins: (T,) pixels, >= 0.
        boxes: (N, 4) as ``tracks``.

    Returns:
        (T, N) 0..1.
    """
    outward = margins[:, None, None] * np.array([-1.0, -1.0, 1.0, 1.0])
    ours, theirs = tracks[:, None] + outward, boxes[None] + outward
    begin = np.maximum(ours[..., :2], theirs[..., :2])
    end = np.minimum(ours[..., 2:], theirs[..., 2:])
    common = np.prod(np.maximum(end - begin, 0.0), axis=-1)
    return np.asarray(common / np.maximum(_areas(ours) + _areas(theirs) - common, 1e-9))


def best_pairs(likeness: Float64s, allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pair tracks with boxes so that the likeness of all pairs together is highest.

    Args:
        likeness: (T, N) 0..1.
        allowed: (T, N), which pairs may be.

    Returns:
        Places of a track and of its box; no track and no box is in two pairs.
    """
    # A pair that is not allowed is worth nothing, and any that is allowed is worth more.
    worth = np.where(allowed, 1.0 + likeness, 0.0)
    rows, columns = scipy.optimize.linear_sum_assignment(worth, maximize=True)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if allowed[row, column]
    ]


def _areas(corners: Float64s) -> Float64s:
    return np.asarray(np.prod(np.maximum(corners[..., 2:] - corners[..., :2], 0.0), axis=-1))
