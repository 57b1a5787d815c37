"""Join the clusters of single cameras across cameras: the scheme ``camera-link``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.hhcl.similarity import LinkScore, compare_cameras, make_fair, mutually_nearest

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
OUTLIER = -1


def standardise_cameras(embeddings: Float32s, cameras: Int64s) -> Float32s:
    """Remove each camera's own mean and spread from its embeddings.

    Effects of a camera's light, colour and viewpoint that all its crops share are not identity. Per
    camera and dimension, subtract the mean and divide by the deviation; then restore unit length.

    Args:
        embeddings: (N, D) float32.
        cameras: (N,) int64.

    Returns:
        (N, D) float32, unit rows.
    """
    standard = np.empty_like(embeddings)
    for camera in np.unique(cameras):
        own = embeddings[cameras == camera]
        standard[cameras == camera] = (own - own.mean(axis=0)) / (own.std(axis=0) + 1e-6)
    norm = np.linalg.norm(standard, axis=1, keepdims=True)
    unit: Float32s = (standard / np.maximum(norm, 1e-12)).astype(np.float32)
    return unit


def link_cameras(
    embeddings: Float32s,
    cameras: Int64s,
    labels: Int64s,
    *,
    share: float = 1.0,
    score: LinkScore = "local-scaling",
    sites: Int64s | None = None,
) -> Int64s:
    """Join clusters of different cameras that are each other's nearest.

    Embeddings are standardised per camera; clusters are compared by
    :func:`training.hhcl.similarity.compare_cameras`. Links between mutually nearest clusters are
    made from the best on; a link that would join two clusters of one camera is rejected.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        labels: (N,) int64 pseudo-labels made inside each camera, -1 for an outlier.
        share: share of the links that is used, from the best on, 0..1.
        score: as in :attr:`training.core.options.ClusterOptions.link_score`.
        sites: (N,) int64; clusters are never joined across sites. None: there is one site.

    Returns:
        (N,) int64 pseudo-labels over all cameras.
    """
    linked = np.full_like(labels, OUTLIER)
    clusters = 0
    for own in parts_of_sites(sites, labels >= 0):
        _, local = np.unique(labels[own], return_inverse=True)
        linked[own] = _link_site(embeddings[own], cameras[own], local, share, score) + clusters
        clusters = int(linked.max()) + 1
    return linked


def partner_ranks(
    embeddings: Float32s, cameras: Int64s, identities: Int64s, *, score: LinkScore = "sinkhorn"
) -> Int64s:
    """Rank the true partner of each person among the other camera's people, as links see them.

    The crops of one person in one camera are a cluster here, so identities are needed; what is
    measured is how far embeddings tell :func:`link_cameras` who belongs together.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        identities: (N,) int64, the true ones.
        score: as for :func:`link_cameras`.

    Returns:
        (M,) int64, 1 for the most similar; one for each person and ordered pair of cameras that
        both saw the person.
    """
    people, who = np.unique(identities, return_inverse=True)
    _, first, labels = np.unique(
        cameras * len(people) + who, return_index=True, return_inverse=True
    )
    standard = standardise_cameras(embeddings, cameras)
    ranks = [np.empty(0, np.int64)]
    for pair in compare_cameras(standard, cameras, labels, score):
        fair = make_fair(pair.similarity, score)
        partner = who[first[pair.rows]][:, None] == who[first[pair.columns]]
        for scores, same in ((fair, partner), (fair.T, partner.T)):
            own = (scores * same).sum(axis=1)[same.any(axis=1)]
            ranks.append((scores[same.any(axis=1)] > own[:, None]).sum(axis=1) + 1)
    return np.concatenate(ranks)


def parts_of_sites(sites: Int64s | None, inside: NDArray[np.bool_]) -> list[Int64s]:
    """Find each site's crops that are in a cluster.

    Args:
        sites: (N,) int64; None: there is one site.
        inside: (N,) bool, which crops are in a cluster.

    Returns:
        Indices of the crops, one array per site; sites without such crops are omitted.
    """
    members = np.flatnonzero(inside)
    if sites is None:
        return [members] if len(members) else []
    return [members[sites[members] == site] for site in np.unique(sites[members])]


def _link_site(
    embeddings: Float32s, cameras: Int64s, labels: Int64s, share: float, score: LinkScore
) -> Int64s:
    _, first = np.unique(labels, return_index=True)
    home = cameras[first]  # (C,) the camera of each cluster
    links = _links(embeddings, cameras, labels, score)
    group = np.arange(len(home))
    held = [{int(camera)} for camera in home]
    for one, other in links[: math.ceil(share * len(links))]:
        into, gone = group[one], group[other]
        if into != gone and held[into].isdisjoint(held[gone]):
            held[into] |= held[gone]
            group[group == gone] = into
    joined: Int64s = np.unique(group, return_inverse=True)[1][labels]
    return joined


def _links(
    embeddings: Float32s, cameras: Int64s, labels: Int64s, score: LinkScore
) -> list[tuple[int, int]]:
    """Links between clusters of different cameras, the most similar first."""
    links: list[tuple[float, int, int]] = []
    standard = standardise_cameras(embeddings, cameras)
    for pair in compare_cameras(standard, cameras, labels, score):
        fair = make_fair(pair.similarity, score)
        row, column = mutually_nearest(fair)
        likeness = fair[row, column].tolist()
        ends = pair.rows[row].tolist(), pair.columns[column].tolist()
        links += zip(likeness, *ends, strict=True)
    return [(one, other) for _, one, other in sorted(links, reverse=True)]
