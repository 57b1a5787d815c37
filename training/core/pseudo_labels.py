"""What follows from pseudo-labels: the clusters' centroids, cameras, and part in each camera."""

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


def split_by_camera(labels: Int64s, cameras: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Split each cluster into its views: its crops of one camera are one view.

    Args:
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which has no view.
        cameras: (N,) int64, 0-based.

    Returns:
        (Q,) int64 the cluster of each view, and (Q,) int64 its camera, ordered by both; and (N,)
        int64 the view of each crop, -1 for an outlier.
    """
    inside, count = labels >= 0, int(cameras.max(initial=-1)) + 1
    views, own = np.unique(labels[inside] * count + cameras[inside], return_inverse=True)
    clusters, seen_by = np.divmod(views, count) if len(views) else (views, views)
    view = np.full_like(labels, -1)
    view[inside] = own
    return clusters, seen_by, view
