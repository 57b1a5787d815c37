"""P x K batches: P clusters, K crops of each, companions from other cameras first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


def identity_batches(
    labels: Int64s,
    cameras: Int64s,
    *,
    clusters_per_batch: int,
    crops_per_cluster: int,
    iterations: int,
    rng: np.random.Generator,
) -> Iterator[Int64s]:
    """Endless passes over the shuffled clusters, cut into batches (HHCL's RandomMultipleGallery).

    A pass drops the clusters that do not fill a last batch. With fewer clusters than
    ``clusters_per_batch`` a batch holds them all. A cluster's crops lie side by side, so that the
    groups of ghost batch normalisation hold whole clusters.

    Args:
        labels: (N,) int64 pseudo-labels, -1 for an outlier, which is never drawn.
        cameras: (N,) int64 camera of each crop.
        clusters_per_batch: P, >= 1.
        crops_per_cluster: K, >= 1.
        iterations: how many batches.
        rng: source of every choice.

    Yields:
        (P * K,) int64 indices into ``labels``.
    """
    members = [np.flatnonzero(labels == cluster) for cluster in range(int(labels.max()) + 1)]
    per_batch = min(clusters_per_batch, len(members))
    queue: list[int] = []
    for _ in range(iterations):
        if len(queue) < per_batch:
            queue = rng.permutation(len(members)).tolist()
        chosen, queue = queue[:per_batch], queue[per_batch:]
        yield np.concatenate(
            [_draw_crops(members[c], cameras, crops_per_cluster, rng) for c in chosen]
        )


def _draw_crops(members: Int64s, cameras: Int64s, count: int, rng: np.random.Generator) -> Int64s:
    """An anchor and ``count - 1`` companions, from other cameras than the anchor's if there are."""
    anchor = rng.choice(members)
    companions = members[cameras[members] != cameras[anchor]]
    if len(companions) == 0:
        companions = members[members != anchor]
    if len(companions) == 0:
        # The reference yields the anchor alone here, which would shift every later group.
        return np.repeat(anchor, count)
    # The reference compares with K, not K - 1; kept, as it decides who is drawn twice.
    again = len(companions) < count
    drawn = rng.choice(companions, size=count - 1, replace=again)
    return np.concatenate([[anchor], drawn])
