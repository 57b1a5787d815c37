"""Groups crops into persons: dense clusters of k-reciprocal distances, keeping known identities.

Distance and clustering are those of training (HHCL: Hu, Zhu, He 2021), so a gallery is grouped in
the way the model's pseudo-labels were made.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from service.gallery.base import Crop
from service.gallery.standardising.running import RunningStandards
from service.identities.dbscan import OUTLIER, find_dense
from service.identities.known_pairs import divide_cluster, gather_tracks
from service.identities.labelled import Nearest, nearest_labelled, settle
from service.identities.names import name_groups
from service.search.kreciprocal import jaccard_distance
from service.values.cluster_rule import ClusterRule

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

_CHUNK_ELEMENTS = 1 << 24


@dataclass(frozen=True, slots=True)
class Grouping:
    """The result of a clustering.

    Attributes:
        labels: the identity of every free crop, None for an outlier.
        persons: number of groups, including those around labelled crops.
        standardised: whether a camera had enough crops to be standardised.
    """

    labels: dict[str, str | None]
    persons: int
    standardised: bool

    @property
    def grouped(self) -> int:
        """Number of free crops in a group."""
        return sum(identity is not None for identity in self.labels.values())

    @property
    def outliers(self) -> int:
        """Number of free crops in no group."""
        return len(self.labels) - self.grouped


def is_free(crop: Crop) -> bool:
    """Whether a clustering may set this crop's identity, because nobody else has."""
    match crop.origin:
        case "cluster" | "join":
            return True
        case "given":
            return crop.identity is None
        case "hand":
            return False


def standardise(crops: Sequence[Crop], embeddings: Float32s) -> tuple[Float32s, bool]:
    """Remove each camera's bias from embeddings, as the search does.

    Args:
        crops: N crops.
        embeddings: (N, D) float32, unit rows; row i belongs to crop i.

    Returns:
        (N, D) float32, unit rows; and whether any camera had enough crops for this.
    """
    codes: dict[str | None, int] = {None: -1}
    for crop in crops:
        codes.setdefault(crop.camera, len(codes) - 1)
    cameras = np.array([codes[crop.camera] for crop in crops], np.int32)
    slots = np.arange(len(crops))
    alive = np.ones(len(crops), np.bool_)
    standards = RunningStandards().follow(
        embeddings, cameras, alive, added=slots, removed=slots[:0]
    )
    standard = embeddings.copy()
    group_of = standards.group_of(cameras)
    for group, statistics in enumerate(standards.groups):
        own = group_of == group
        standard[own] = statistics.apply(embeddings[own])
    return standard, standards.in_force


def group_crops(
    crops: Sequence[Crop], embeddings: Float32s, rule: ClusterRule, known: Collection[str]
) -> Grouping:
    """Group the free crops into persons.

    A free crop that shares a cluster with labelled crops takes the identity of the nearest of them.
    So a cluster with one identity belongs to that person, and a cluster with two identities is
    split between them instead of merging them. A cluster without labelled crops keeps its former
    name or gets a new one. Crops that were labelled as showing nobody are left out.

    The crops of a track are in one group: that of most of them. Two tracks that were in one
    camera's view at one time are never in one: their cluster is divided, and a track does not take
    the identity of a person whom the camera saw elsewhere at that time.

    Args:
        crops: N crops.
        embeddings: (N, D) float32, unit rows; row i belongs to crop i.
        rule: how similar crops of one person must be.
        known: all identities of the gallery, even those of crops not given here.

    Returns:
        The identities of the free crops.
    """
    part = [i for i, crop in enumerate(crops) if is_free(crop) or crop.identity is not None]
    crops, embeddings = [crops[i] for i in part], embeddings[part]
    rows, standardised = embeddings, False
    if rule.standardise:
        rows, standardised = standardise(crops, embeddings)
    near = jaccard_distance(rows, k1=rule.k1, k2=rule.k2, within=rule.eps)
    near = _reaching(near, embeddings, rule.min_score)
    clusters = _clusters(near, rule, crops)
    free = {place for place, crop in enumerate(crops) if is_free(crop)}
    labels: dict[str, str | None] = dict.fromkeys(crops[i].crop_id for i in sorted(free))
    persons: set[str] = set()
    unnamed: list[list[Crop]] = []
    resembling: list[Nearest] = []
    for members in clusters:
        if free.issuperset(members):
            unnamed.append([crops[i] for i in members])
        else:
            resembling += nearest_labelled(crops, rows, members, free)
            persons |= {crops[i].identity or "" for i in members if i not in free}
    labels |= settle(resembling, (crop for crop in crops if not is_free(crop)))
    pinned = {crop.identity for crop in crops if not is_free(crop) and crop.identity is not None}
    former = [[crop.identity for crop in group if crop.identity is not None] for group in unnamed]
    names = name_groups(former, known, pinned=pinned)
    for name, group in zip(names, unnamed, strict=True):
        labels |= dict.fromkeys((crop.crop_id for crop in group), name)
    return Grouping(labels, len(persons) + len(unnamed), standardised)


def _reaching(
    distance: scipy.sparse.csr_array, embeddings: Float32s, min_score: float
) -> scipy.sparse.csr_array:
    """The distances between crops whose cosine is at least ``min_score``."""
    stored = distance.tocoo()
    step = max(1, _CHUNK_ELEMENTS // max(embeddings.shape[1], 1))
    kept = np.empty(len(stored.data), np.bool_)
    for start in range(0, len(kept), step):
        part = slice(start, start + step)
        rows, columns = embeddings[stored.row[part]], embeddings[stored.col[part]]
        kept[part] = np.einsum("nd,nd->n", rows, columns) >= min_score
    entries = (stored.data[kept], (stored.row[kept], stored.col[kept]))
    return scipy.sparse.csr_array(entries, shape=distance.shape)


def _clusters(
    near: scipy.sparse.csr_array, rule: ClusterRule, crops: Sequence[Crop]
) -> list[list[int]]:
    """Indices of the crops in each cluster, without two tracks that were in view at one time."""
    dense = find_dense(near, rule.eps, rule.min_samples)
    found = _members(gather_tracks(dense, crops, rule.min_samples))
    stored = near.tocoo()
    close = (stored.data <= rule.eps) & (stored.row != stored.col)
    entries = (stored.data[close], (stored.row[close], stored.col[close]))
    closest = scipy.sparse.csr_array(entries, shape=near.shape)
    return [part for one in found for part in divide_cluster(one, closest, crops, rule.min_samples)]


def _members(labels: Int64s) -> list[list[int]]:
    """Indices of the crops in each cluster, in the order of the clusters."""
    inside = np.flatnonzero(labels != OUTLIER)
    order = inside[np.argsort(labels[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[order], prepend=OUTLIER))
    return [part.tolist() for part in np.split(order, starts[1:])] if len(order) else []
