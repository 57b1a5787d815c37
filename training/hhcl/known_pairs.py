"""Correct clusters by what tracks and frames say (must-links and cannot-links).

Constrained clustering after Wagstaff et al. (ICML 2001), with one difference: a tracker makes
mistakes, so a track moves its own crops and never merges two clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.known_pairs import Int64s, KnownPairs
from training.hhcl.linking import OUTLIER

Float32s = NDArray[np.float32]


def correct_clusters(
    labels: Int64s, embeddings: Float32s, known: KnownPairs, min_samples: int
) -> Int64s:
    """Bring each track into one cluster, and two people of one frame into two.

    A track joins the cluster that holds most of its crops. If all of them are outliers, they are a
    cluster of their own, if they are enough. A cluster with several people of one frame is divided:
    its tracks and single crops, the longest track first, each join the most similar part that has
    nobody of their frames, or begin a part.

    Args:
        labels: (N,) int64, 0..C-1 or -1 for an outlier.
        embeddings: (N, D) float32, unit rows.
        known: of the N crops. Where two crops of a track are in one frame, the track counts.
        min_samples: a cluster has at least so many crops; the crops of smaller parts are outliers.

    Returns:
        (N,) int64, likewise; clusters are numbered consecutively.
    """
    labels = _join_tracks(labels, known.tracks, min_samples)
    units = _units(known.tracks)
    for cluster in _crowded(labels, known.frames, units):
        members = np.flatnonzero(labels == cluster)
        parts = _divide(embeddings[members], known.frames[members], units[members])
        sizes = np.bincount(parts)
        names = np.where(sizes >= min_samples, labels.max() + 1 + np.arange(len(sizes)), OUTLIER)
        labels[members] = names[parts]
    return _numbered(labels)


def _join_tracks(labels: Int64s, tracks: Int64s, min_samples: int) -> Int64s:
    labels, fresh = labels.copy(), int(labels.max(initial=OUTLIER)) + 1
    tracked = np.flatnonzero(tracks >= 0)
    order = tracked[np.argsort(tracks[tracked], kind="stable")]
    starts = np.flatnonzero(np.diff(tracks[order], prepend=-1))
    for crops in np.split(order, starts[1:]) if len(order) else []:
        clustered = labels[crops][labels[crops] != OUTLIER]
        if len(clustered):
            labels[crops] = np.bincount(clustered).argmax()
        elif len(crops) >= min_samples:
            labels[crops] = fresh
            fresh += 1
    return labels


def _units(tracks: Int64s) -> Int64s:
    """(N,) what stays together: a track, or a crop without one."""
    alone = tracks.max(initial=-1) + 1 + np.arange(len(tracks))
    return np.where(tracks >= 0, tracks, alone)


def _crowded(labels: Int64s, frames: Int64s, units: Int64s) -> list[int]:
    """The clusters that hold two units of one frame."""
    seen = (labels != OUTLIER) & (frames >= 0)
    people = np.unique(np.stack([labels[seen], frames[seen], units[seen]], axis=1), axis=0)
    places, counts = np.unique(people[:, :2], axis=0, return_counts=True)
    return [int(label) for label in np.unique(places[counts > 1, 0])]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    frames: set[int]
    total: Float32s  # sum of embeddings

    def likeness(self, other: Float32s) -> float:
        return float(self.total @ other) / max(float(np.linalg.norm(self.total)), 1e-12)


def _divide(embeddings: Float32s, frames: Int64s, units: Int64s) -> Int64s:
    """(M,) the part of each crop of a cluster."""
    parts: list[_Part] = []
    found = np.zeros(len(units), dtype=np.int64)
    names, first, sizes = np.unique(units, return_index=True, return_counts=True)
    for unit in names[np.lexsort((first, -sizes))]:
        crops = np.flatnonzero(units == unit)
        taken, total = {*frames[crops].tolist()} - {-1}, embeddings[crops].sum(axis=0)
        free = [index for index, part in enumerate(parts) if not part.frames & taken]
        likeness = {index: parts[index].likeness(total) for index in free}
        if likeness:
            chosen = max(likeness, key=likeness.__getitem__)
            parts[chosen] = _Part(parts[chosen].frames | taken, parts[chosen].total + total)
        else:
            chosen = len(parts)
            parts.append(_Part(taken, total))
        found[crops] = chosen
    return found


def _numbered(labels: Int64s) -> Int64s:
    clustered = labels != OUTLIER
    numbered = labels.copy()
    numbered[clustered] = np.unique(labels[clustered], return_inverse=True)[1]
    return numbered
