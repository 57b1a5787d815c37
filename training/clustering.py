"""From embeddings to pseudo-labels: DBSCAN on the k-reciprocal Jaccard distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from service.errors import InvalidInput
from service.kreciprocal import jaccard_distance
from training.options import ClusterOptions

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

LinkScore = Literal["local-scaling", "sinkhorn"]
OUTLIER = -1


def cluster(
    embeddings: Float32s,
    cameras: Int64s,
    options: ClusterOptions,
    tell: Callable[[str], None],
    progress: float = 1.0,
    sites: Int64s | None = None,
) -> Int64s:
    """Pseudo-labels of one epoch.

    A clustering without at least two clusters cannot train a contrast. Then eps is widened by a
    tenth (no cluster) or narrowed by a tenth (one cluster) for this epoch, at most ten times, with
    a message each time.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        options: how.
        tell: takes messages for people.
        progress: finished share of the run, 0..1; ``camera-link`` trusts more links as it grows.
        sites: (N,) int64; cameras are linked inside a site only. None: all are on one.

    Returns:
        (N,) int64: 0..C-1 with C >= 2, or -1 for an outlier.

    Raises:
        InvalidInput: no eps nearby gives two clusters; the message names the way out.
    """
    graphs = _camera_graphs(embeddings, cameras, options)
    eps = options.eps
    for _ in range(10):
        labels = _cluster_graphs(graphs, len(embeddings), eps, options.min_samples)
        if options.scheme == "camera-link" and len(graphs) > 1:
            share = options.link_first + progress * (options.link_last - options.link_first)
            labels = _link_sites(embeddings, cameras, labels, sites, (share, options.link_score))
        clusters = int(labels.max()) + 1
        if clusters >= 2:
            return labels
        eps = min(eps * 1.1, 0.99) if clusters == 0 else eps * 0.9
        tell(f"{clusters} clusters: trying eps {eps:.3f} instead of {options.eps} for this epoch")
    raise InvalidInput(
        f"{len(embeddings)} crops give no two clusters for any eps from {options.eps} to {eps:.2f};"
        " check the crops, start from better --weights, or lower clustering.min_samples"
    )


@dataclass(frozen=True, slots=True)
class _Graph:
    members: Int64s  # indices of the crops this graph is about
    distance: object  # sparse Jaccard distance between them


def _camera_graphs(embeddings: Float32s, cameras: Int64s, options: ClusterOptions) -> list[_Graph]:
    match options.scheme:
        case "dbscan":
            groups = [np.arange(len(embeddings))]
        case "camera-link":
            groups = [np.flatnonzero(cameras == camera) for camera in np.unique(cameras)]
    return [
        _Graph(group, jaccard_distance(embeddings[group], k1=options.k1, k2=options.k2))
        for group in groups
    ]


def _link_sites(
    embeddings: Float32s,
    cameras: Int64s,
    labels: Int64s,
    sites: Int64s | None,
    rule: tuple[float, LinkScore],
) -> Int64s:
    """Link the cameras of each site; labels of one site never meet another's."""
    if sites is None:
        return link_cameras(embeddings, cameras, labels, *rule)
    linked = np.full_like(labels, OUTLIER)
    clusters = 0
    for site in np.unique(sites):
        own = sites == site
        found = link_cameras(embeddings[own], cameras[own], labels[own], *rule)
        linked[own] = np.where(found >= 0, found + clusters, OUTLIER)
        clusters += int(found.max()) + 1
    return linked


def _cluster_graphs(graphs: list[_Graph], count: int, eps: float, min_samples: int) -> Int64s:
    labels = np.full(count, OUTLIER, dtype=np.int64)
    clusters = 0
    for graph in graphs:
        dbscan = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed", n_jobs=1)
        own = dbscan.fit_predict(graph.distance).astype(np.int64)
        labels[graph.members] = np.where(own >= 0, own + clusters, OUTLIER)
        clusters += int(own.max()) + 1
    return labels


def standardise_cameras(embeddings: Float32s, cameras: Int64s) -> Float32s:
    """Take each camera's own mean and spread out of its embeddings.

    What a camera's light, colour and viewpoint do to every crop alike is not identity. Per camera
    and dimension: subtract the mean, divide by the deviation; then unit length again.

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
    share: float = 1.0,
    score: LinkScore = "local-scaling",
) -> Int64s:
    """Join clusters of different cameras that are each other's nearest.

    Embeddings are standardised per camera and whitened by how crops vary inside a cluster (the
    directions in which one person differs from himself count less; Hatch et al. 2006). Cosines of
    centroids are then made fair (``score``), which keeps a centroid in a crowd from being
    everybody's nearest. Of the mutually nearest the best links come first, and a
    link that would put two clusters of one camera together is refused.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        labels: (N,) int64 pseudo-labels made inside each camera, -1 for an outlier.
        share: part of the links that is used, the best ones, 0..1.
        score: ``local-scaling`` (Conneau et al. 2018) or ``sinkhorn`` (Cuturi 2013).

    Returns:
        (N,) int64 pseudo-labels over all cameras.
    """
    inside = labels >= 0
    if not inside.any():
        return labels
    _, first, own = np.unique(labels[inside], return_index=True, return_inverse=True)
    home = cameras[inside][first]  # (C,) the camera of each cluster
    standard = standardise_cameras(embeddings[inside], cameras[inside])
    links = _mutually_nearest(_whitened_centroids(standard, own), home, score)
    group = np.arange(len(home))
    held = [{int(camera)} for camera in home]
    for one, other in links[: math.ceil(share * len(links))]:
        into, gone = group[one], group[other]
        if into != gone and held[into].isdisjoint(held[gone]):
            held[into] |= held[gone]
            group[group == gone] = into
    joined = np.full_like(labels, OUTLIER)
    joined[inside] = np.unique(group, return_inverse=True)[1][own]
    return joined


def _whitened_centroids(embeddings: Float32s, labels: Int64s) -> NDArray[np.float64]:
    """(C, D) unit centroids after whitening by the covariance inside clusters."""
    centre = np.zeros((int(labels.max()) + 1, embeddings.shape[1]))
    np.add.at(centre, labels, embeddings)
    centre /= np.bincount(labels)[:, None]
    deviation = embeddings - centre[labels]
    variance, axes = np.linalg.eigh(deviation.T @ deviation / len(deviation))
    # A tenth of the mean variance on top: directions nothing varied in must not count for all.
    variance = np.maximum(variance, 0.0) + 0.1 * variance.mean() + 1e-12
    white = (centre @ axes) / np.sqrt(variance)
    unit: NDArray[np.float64] = white / np.linalg.norm(white, axis=1, keepdims=True)
    return unit


def _mutually_nearest(
    centre: NDArray[np.float64], home: Int64s, score: LinkScore
) -> list[tuple[int, int]]:
    """Links between clusters of different cameras, the most similar first."""
    links: list[tuple[float, int, int]] = []
    cameras = np.unique(home)
    for position, camera in enumerate(cameras):
        for other in cameras[position + 1 :]:
            rows, columns = np.flatnonzero(home == camera), np.flatnonzero(home == other)
            similarity = _make_fair(centre[rows] @ centre[columns].T, score)
            forward, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
            mutual = np.flatnonzero(back[forward] == np.arange(len(rows)))
            links += [
                (float(similarity[r, forward[r]]), int(rows[r]), int(columns[forward[r]]))
                for r in mutual
            ]
    return [(one, other) for _, one, other in sorted(links, reverse=True)]


def _make_fair(cosine: NDArray[np.float64], score: LinkScore) -> NDArray[np.float64]:
    match score:
        case "local-scaling":
            return _scale_locally(cosine)
        case "sinkhorn":
            return _balance(cosine)


def _balance(cosine: NDArray[np.float64], temperature: float = 0.05) -> NDArray[np.float64]:
    """Rows and columns of exp(cosine / temperature) scaled in turn until all sums are even."""
    plan: NDArray[np.float64] = np.exp((cosine - cosine.max()) / temperature)
    for _ in range(50):
        plan /= plan.sum(axis=1, keepdims=True)
        plan /= plan.sum(axis=0, keepdims=True)
    return plan


def _scale_locally(cosine: NDArray[np.float64], neighbours: int = 10) -> NDArray[np.float64]:
    """Twice the cosine less both sides' mean cosine to their nearest."""
    across = np.sort(cosine, axis=1)[:, -neighbours:].mean(axis=1)
    down = np.sort(cosine, axis=0)[-neighbours:].mean(axis=0)
    scaled: NDArray[np.float64] = 2 * cosine - across[:, None] - down
    return scaled
