"""P x K batches: P clusters, K crops of each, companions from other cameras first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from training.core.options import BatchOptions

Int64s = NDArray[np.int64]


def mixed_batches(
    labels: Int64s,
    cameras: Int64s,
    synthetic: NDArray[np.bool_],
    options: BatchOptions,
    iterations: int,
    rng: np.random.Generator,
) -> Iterator[Int64s]:
    """Draw batches of which a fixed share is synthetic, each kind as :func:`identity_batches` does.

    Unlabelled crops come first in a batch, synthetic ones last. So a ghost group that is as large
    as the first part normalises the two kinds apart, and running statistics follow the real crops.

    Args:
        labels: (N,) int64, 0..C-1, or -1 for an outlier; no cluster has crops of both kinds.
        cameras: (N,) int64 camera of each crop.
        synthetic: (N,) bool.
        options: P, K and the synthetic share of P; of both kinds there is at least one cluster, so
            P must be at least 2 if there are both.
        iterations: number of batches.
        rng: source of every random choice.

    Yields:
        (P * K,) int64 indices into ``labels``.
    """
    kinds = (~synthetic, synthetic)
    places = divide_batch(options, unlabelled=not synthetic.all(), synthetic=bool(synthetic.any()))
    parts = [
        identity_batches(
            np.where(own, labels, -1),
            cameras,
            clusters_per_batch=count,
            crops_per_cluster=options.crops,
            iterations=iterations,
            rng=rng,
        )
        for own, count in zip(kinds, places, strict=True)
        if count
    ]
    for together in zip(*parts, strict=True):
        yield np.concatenate(together)


def divide_batch(options: BatchOptions, *, unlabelled: bool, synthetic: bool) -> tuple[int, int]:
    """Divide the places of a batch between unlabelled clusters and synthetic identities.

    Args:
        options: P and the synthetic share of it.
        unlabelled: whether there are crops of the first kind.
        synthetic: whether there are crops of the second kind.

    Returns:
        Places of each kind; their sum is P, and a kind that is there has at least one.
    """
    clusters = options.clusters
    if not (unlabelled and synthetic):
        return clusters * unlabelled, clusters * synthetic
    drawn = min(max(round(options.synthetic_share * clusters), 1), clusters - 1)
    return clusters - drawn, drawn


def require_clusters(
    found: tuple[int, int], options: BatchOptions, processes: int, tell: Callable[[str], object]
) -> None:
    """Check that batches can be drawn, and tell if they cannot have as many clusters as asked for.

    Args:
        found: clusters of unlabelled crops, and synthetic identities.
        options: P and the synthetic share of it.
        processes: of the run; each needs a cluster of every batch.
        tell: takes messages for people.

    Raises:
        InvalidInput: there are fewer clusters than processes.
    """
    places = divide_batch(options, unlabelled=found[0] > 0, synthetic=found[1] > 0)
    clusters = sum(map(min, found, places))
    if clusters < processes:
        raise InvalidInput(f"{clusters} clusters cannot be shared by {processes} processes")
    of_batch = "their part of batch.clusters" if all(found) else "batch.clusters"
    for there, wanted, what in zip(found, places, ("clusters", "synthetic people"), strict=True):
        if there < wanted:
            tell(
                f"{there} {what}, fewer than {of_batch} = {wanted}: "
                "every batch contains all of them"
            )


def identity_batches(
    labels: Int64s,
    cameras: Int64s,
    *,
    clusters_per_batch: int,
    crops_per_cluster: int,
    iterations: int,
    rng: np.random.Generator,
) -> Iterator[Int64s]:
    """Shuffle the clusters again and again, and cut them into batches (RandomMultipleGallery).

    Each pass drops the clusters that do not fill a last batch. If there are fewer clusters than
    ``clusters_per_batch``, every batch has all of them. A cluster's crops are contiguous, so that
    the groups of ghost batch normalisation contain whole clusters.

    Args:
        labels: (N,) int64 pseudo-labels, -1 for an outlier, which is never drawn.
        cameras: (N,) int64 camera of each crop.
        clusters_per_batch: P, >= 1.
        crops_per_cluster: K, >= 1.
        iterations: number of batches.
        rng: source of every random choice.

    Yields:
        (P * K,) int64 indices into ``labels``.
    """
    members = _members(labels)
    per_batch = min(clusters_per_batch, len(members))
    queue: list[int] = []
    for _ in range(iterations):
        if len(queue) < per_batch:
            queue = rng.permutation(len(members)).tolist()
        chosen, queue = queue[:per_batch], queue[per_batch:]
        yield np.concatenate(
            [_draw_crops(members[c], cameras, crops_per_cluster, rng) for c in chosen]
        )


def _members(labels: Int64s) -> list[Int64s]:
    """Indices of each cluster's crops, ascending, in the order of the clusters."""
    inside = np.flatnonzero(labels >= 0)
    in_order = inside[np.argsort(labels[inside], kind="stable")]
    _, first = np.unique(labels[in_order], return_index=True)
    return np.split(in_order, first[1:])


def _draw_crops(members: Int64s, cameras: Int64s, count: int, rng: np.random.Generator) -> Int64s:
    """An anchor and ``count - 1`` companions, from cameras other than the anchor's if possible."""
    anchor = rng.choice(members)
    companions = members[cameras[members] != cameras[anchor]]
    if len(companions) == 0:
        companions = members[members != anchor]
    if len(companions) == 0:
        # The released code yields the anchor alone here, which would shift every later group.
        return np.repeat(anchor, count)
    # Compare with K, not K - 1, as the released code does: it decides who is drawn twice.
    again = len(companions) < count
    drawn = rng.choice(companions, size=count - 1, replace=again)
    return np.concatenate([[anchor], drawn])
