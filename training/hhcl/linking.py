"""Join the clusters of single cameras across cameras: the scheme ``camera-link``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
LinkScore = Literal["local-scaling", "sinkhorn"]
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

    Embeddings are standardised per camera and whitened by how crops vary inside a cluster:
    directions in which crops of one person differ count less (Hatch et al. 2006). Cosines of
    centroids are then adjusted (``score``), so that a centroid in a crowded region is not the
    nearest of all others. Links between mutually nearest clusters are made from the best on; a link
    that would join two clusters of one camera is rejected.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        labels: (N,) int64 pseudo-labels made inside each camera, -1 for an outlier.
        share: share of the links that is used, from the best on, 0..1.
        score: ``local-scaling`` (Conneau et al. 2018) or ``sinkhorn`` (Cuturi 2013).
        sites: (N,) int64; clusters are never joined across sites. None: there is one site.

    Returns:
        (N,) int64 pseudo-labels over all cameras.
    """
    linked = np.full_like(labels, OUTLIER)
    clusters = 0
    for own in _parts(sites, labels >= 0):
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
    centre = _whitened_centroids(standardise_cameras(embeddings, cameras), labels)
    ranks = [np.empty(0, np.int64)]
    for rows, columns, similarity in _pairs_of_cameras(centre, cameras[first], score):
        partner = who[first[rows]][:, None] == who[first[columns]]
        for scores, same in ((similarity, partner), (similarity.T, partner.T)):
            own = (scores * same).sum(axis=1)[same.any(axis=1)]
            ranks.append((scores[same.any(axis=1)] > own[:, None]).sum(axis=1) + 1)
    return np.concatenate(ranks)


def _parts(sites: Int64s | None, inside: NDArray[np.bool_]) -> list[Int64s]:
    """Indices of each site's crops that are in a cluster; sites without such crops are omitted."""
    members = np.flatnonzero(inside)
    if sites is None:
        return [members] if len(members) else []
    return [members[sites[members] == site] for site in np.unique(sites[members])]


def _link_site(
    embeddings: Float32s, cameras: Int64s, labels: Int64s, share: float, score: LinkScore
) -> Int64s:
    _, first = np.unique(labels, return_index=True)
    home = cameras[first]  # (C,) the camera of each cluster
    standard = standardise_cameras(embeddings, cameras)
    links = _mutually_nearest(_whitened_centroids(standard, labels), home, score)
    group = np.arange(len(home))
    held = [{int(camera)} for camera in home]
    for one, other in links[: math.ceil(share * len(links))]:
        into, gone = group[one], group[other]
        if into != gone and held[into].isdisjoint(held[gone]):
            held[into] |= held[gone]
            group[group == gone] = into
    joined: Int64s = np.unique(group, return_inverse=True)[1][labels]
    return joined


def _whitened_centroids(embeddings: Float32s, labels: Int64s) -> Float64s:
    """(C, D) unit centroids after whitening by the covariance inside clusters."""
    centre = np.zeros((int(labels.max()) + 1, embeddings.shape[1]))
    np.add.at(centre, labels, embeddings)
    centre /= np.bincount(labels)[:, None]
    deviation = embeddings - centre[labels]
    variance, axes = np.linalg.eigh(deviation.T @ deviation / len(deviation))
    # Add a tenth of the mean variance, or directions without variation would outweigh all others.
    variance = np.maximum(variance, 0.0) + 0.1 * variance.mean() + 1e-12
    white = (centre @ axes) / np.sqrt(variance)
    unit: Float64s = white / np.linalg.norm(white, axis=1, keepdims=True)
    return unit


def _mutually_nearest(centre: Float64s, home: Int64s, score: LinkScore) -> list[tuple[int, int]]:
    """Links between clusters of different cameras, the most similar first."""
    links: list[tuple[float, int, int]] = []
    for rows, columns, similarity in _pairs_of_cameras(centre, home, score):
        forward, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
        mutual = np.flatnonzero(back[forward] == np.arange(len(rows)))
        links += [
            (float(similarity[r, forward[r]]), int(rows[r]), int(columns[forward[r]]))
            for r in mutual
        ]
    return [(one, other) for _, one, other in sorted(links, reverse=True)]


def _pairs_of_cameras(
    centre: Float64s, home: Int64s, score: LinkScore
) -> Iterator[tuple[Int64s, Int64s, Float64s]]:
    """For each two cameras: the clusters of the one, of the other, and how similar they are."""
    cameras = np.unique(home)
    for position, camera in enumerate(cameras):
        for other in cameras[position + 1 :]:
            rows, columns = np.flatnonzero(home == camera), np.flatnonzero(home == other)
            yield rows, columns, _make_fair(centre[rows] @ centre[columns].T, score)


def _make_fair(cosine: Float64s, score: LinkScore) -> Float64s:
    match score:
        case "local-scaling":
            return _scale_locally(cosine)
        case "sinkhorn":
            return _balance(cosine)


def _balance(cosine: Float64s, temperature: float = 0.05) -> Float64s:
    """Scale rows and columns of exp(cosine / temperature) in turn until all sums are equal."""
    plan: Float64s = np.exp((cosine - cosine.max()) / temperature)
    for _ in range(50):
        plan /= plan.sum(axis=1, keepdims=True)
        plan /= plan.sum(axis=0, keepdims=True)
    return plan


def _scale_locally(cosine: Float64s, neighbours: int = 10) -> Float64s:
    """Twice the cosine, minus each side's mean cosine to its nearest neighbours."""
    across = np.sort(cosine, axis=1)[:, -neighbours:].mean(axis=1)
    down = np.sort(cosine, axis=0)[-neighbours:].mean(axis=0)
    scaled: Float64s = 2 * cosine - across[:, None] - down
    return scaled
