"""Measure without labels how well a network tells apart whom tracks and frames tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.measure.agreement import of_one_group

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


def verify_known_pairs(embeddings: Float32s, tracks: Int64s, frames: Int64s) -> float | None:
    """Compute how often two crops of one person are nearer than two crops of two people.

    Two crops of one track show one person. Two crops of one frame show two people, and so do all
    crops of two tracks that were in one frame. This is the area under the ROC curve of verifying
    those pairs. All of them lie inside one camera, so it says nothing of how people are recognised
    across cameras, and both kinds of mistakes of a tracker lower it.

    Args:
        embeddings: (N, D) float32, unit rows.
        tracks: (N,) int64, -1 for a crop without a track; a track is of one camera.
        frames: (N,) int64, -1 for a crop without a frame; a frame is of one camera.

    Returns:
        0..1, where 0.5 is chance; None without a pair of each kind.
    """
    if (tracks < 0).all() or (frames < 0).all():
        return None
    together, apart = of_one_group(tracks), _apart(tracks, frames)
    below = np.tri(len(tracks), k=-1, dtype=bool)  # each pair once
    cosine = embeddings @ embeddings.T
    same, different = cosine[together & below], np.sort(cosine[apart & ~together & below])
    if not len(same) or not len(different):
        return None
    nearer = np.searchsorted(different, same, "left") + np.searchsorted(different, same, "right")
    return float(nearer.mean() / (2 * len(different)))


def _apart(tracks: Int64s, frames: Int64s) -> Bools:
    """(N, N) whether two crops are of one frame, or of two tracks that were in one."""
    apart = of_one_group(frames)
    (names, track), (moments, frame) = (
        np.unique(each, return_inverse=True) for each in (tracks, frames)
    )
    known = (tracks >= 0) & (frames >= 0)
    seen = np.zeros((len(names), len(moments)), dtype=np.float32)
    seen[track[known], frame[known]] = 1.0
    meet = seen @ seen.T > 0
    np.fill_diagonal(meet, val=False)
    apart |= meet[track[:, None], track]
    np.fill_diagonal(apart, val=False)
    return apart
