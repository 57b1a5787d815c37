"""The labels of an epoch if some of its people are synthetic: their identities are free.

Each identity is a cluster of its own in every epoch, so synthetic crops are never clustered, and
only a few of them are embedded, for the memory's first rows. Clusters of unlabelled crops come
first, then the synthetic identities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.core.pseudo_labels import seen_by_cameras
from training.data.datasets import UNKNOWN

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


def crops_to_embed(identities: Int64s, first_crops: int, rng: np.random.Generator) -> Int64s:
    """Choose the crops that an epoch embeds: all unlabelled ones, and a few of each identity.

    Args:
        identities: (N,) int64, the identity of a synthetic crop, -1 for an unlabelled one.
        first_crops: number of crops of each identity, fewer if it has fewer.
        rng: source of the random choice; not used if there are no synthetic crops.

    Returns:
        (M,) int64 indices, those of unlabelled crops first, in their order.
    """
    unlabelled = np.flatnonzero(identities == UNKNOWN)
    synthetic = np.flatnonzero(identities != UNKNOWN)
    if len(synthetic) == 0:
        return unlabelled
    shuffled = rng.permutation(synthetic)
    by_identity = shuffled[np.argsort(identities[shuffled], kind="stable")]
    _, first, count = np.unique(identities[by_identity], return_index=True, return_counts=True)
    turn = np.arange(len(by_identity)) - np.repeat(first, count)
    return np.concatenate([unlabelled, by_identity[turn < first_crops]])


def join_labels(pseudo_labels: Int64s, identities: Int64s) -> Int64s:
    """Give every crop its label.

    Args:
        pseudo_labels: of the unlabelled crops in their order, 0..C-1, or -1 for an outlier.
        identities: (N,) int64, 0..G-1 for a synthetic crop, -1 for an unlabelled one.

    Returns:
        (N,) int64: pseudo-labels, C..C+G-1 for synthetic crops, -1 for outliers.
    """
    clusters = int(pseudo_labels.max(initial=-1)) + 1
    labels = identities + clusters
    labels[identities == UNKNOWN] = pseudo_labels
    return labels


def contrasted_cameras(labels: Int64s, cameras: Int64s, synthetic: Bools) -> Bools:
    """Decide which cameras' crops are contrasted with a cluster under ``same-camera`` negatives.

    A pseudo-label's cluster is contrasted with the crops of cameras that saw it: to other cameras
    it may be the same person, not linked yet. Synthetic identities are certain, so every synthetic
    camera is contrasted with all of them. Unlabelled and synthetic crops are surely different
    people, but telling a drawing from a photograph says nothing about people: they are not
    contrasted.

    Args:
        labels: (N,) int64, 0..C-1, or -1 for an outlier.
        cameras: (N,) int64, 0-based.
        synthetic: (N,) bool.

    Returns:
        (C, cameras) bool.
    """
    contrasted = seen_by_cameras(labels, cameras)
    contrasted[np.ix_(np.unique(labels[synthetic]), np.unique(cameras[synthetic]))] = True
    return contrasted
