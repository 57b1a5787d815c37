"""Facts about clusters that follow from pseudo-labels: their centroids and their cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]


def centroids(embeddings: Float32s, labels: Int64s) -> Float32s:
    """Compute the mean embedding of each cluster.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which is ignored.

    Returns:
        (C, D) float32, not normalised.
    """
    inside = labels >= 0
    clusters = int(labels.max()) + 1
    total = np.zeros((clusters, embeddings.shape[1]), dtype=np.float64)
    np.add.at(total, labels[inside], embeddings[inside])
    return (total / np.bincount(labels[inside], minlength=clusters)[:, None]).astype(np.float32)


def seen_by_cameras(labels: Int64s, cameras: Int64s) -> NDArray[np.bool_]:
    """Find which cameras saw each cluster.

    Args:
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which is ignored.
        cameras: (N,) int64, 0-based.

    Returns:
        (C, cameras) bool.
    """
    inside = labels >= 0
    seen = np.zeros((int(labels.max()) + 1, int(cameras.max()) + 1), dtype=np.bool_)
    seen[labels[inside], cameras[inside]] = True
    return seen
