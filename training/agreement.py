"""How well cameras agree on who is who, measured without a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]


def cycle_agreement(embeddings: Float32s, cameras: Int64s) -> float | None:
    """Mean reciprocal rank of a crop in the list of its nearest crop of another camera.

    Look for a crop's nearest in another camera, then from there back: where the two cameras are
    told apart better than the people, the way back leads anywhere; where both mean the same person,
    the crop comes back near the top. No identity is needed.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.

    Returns:
        0..1, mean over crops and other cameras; None with fewer than two cameras.
    """
    names = np.unique(cameras)
    found: list[NDArray[np.float64]] = []
    for home in names:
        for other in names[names != home]:
            cosine = embeddings[cameras == home] @ embeddings[cameras == other].T
            back = cosine[:, cosine.argmax(axis=1)]  # (H, H) crops of home as its nearest sees them
            found.append(1.0 / (1 + (back > np.diagonal(back)).sum(axis=0)))
    return float(np.concatenate(found).mean()) if found else None
