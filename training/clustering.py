"""From embeddings to pseudo-labels: DBSCAN on the k-reciprocal Jaccard distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from service.errors import InvalidInput
from service.kreciprocal import jaccard_distance
from training.config import ClusterOptions

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

OUTLIER = -1


def cluster(
    embeddings: Float32s,
    cameras: Int64s,
    options: ClusterOptions,
    tell: Callable[[str], None],
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

    Returns:
        (N,) int64: 0..C-1 with C >= 2, or -1 for an outlier.

    Raises:
        InvalidInput: no eps nearby gives two clusters; the message names the way out.
    """
    graphs = _camera_graphs(embeddings, cameras, options)
    eps = options.eps
    for _ in range(10):
        labels = _cluster_graphs(embeddings, cameras, graphs, eps, options)
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


def _cluster_graphs(
    embeddings: Float32s,
    cameras: Int64s,
    graphs: list[_Graph],
    eps: float,
    options: ClusterOptions,
) -> Int64s:
    labels = np.full(len(embeddings), OUTLIER, dtype=np.int64)
    clusters = 0
    for graph in graphs:
        dbscan = DBSCAN(eps=eps, min_samples=options.min_samples, metric="precomputed", n_jobs=1)
        own = dbscan.fit_predict(graph.distance).astype(np.int64)
        labels[graph.members] = np.where(own >= 0, own + clusters, OUTLIER)
        clusters += int(own.max()) + 1
    if options.scheme == "camera-link" and len(graphs) > 1:
        return link_cameras(embeddings, cameras, labels)
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


def link_cameras(embeddings: Float32s, cameras: Int64s, labels: Int64s) -> Int64s:
    """Join clusters of different cameras that are each other's nearest.

    Centroids are standardised per camera; between each pair of cameras the mutually nearest
    centroids are links. The best links come first, and a link that would put two clusters of one
    camera together is refused, so that no person is merged with another of the same camera.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        labels: (N,) int64 pseudo-labels made inside each camera, -1 for an outlier.

    Returns:
        (N,) int64 pseudo-labels over all cameras.
    """
    inside = labels >= 0
    if not inside.any():
        return labels
    first = np.unique(labels[inside], return_index=True)[1]
    home = cameras[inside][first]  # (C,) the camera of each cluster
    standard = standardise_cameras(embeddings[inside], cameras[inside])
    centre = np.zeros((len(home), embeddings.shape[1]))
    np.add.at(centre, labels[inside], standard)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    group = np.arange(len(home))
    held = [{int(camera)} for camera in home]
    for one, other in _mutually_nearest(centre, home):
        into, gone = group[one], group[other]
        if into != gone and held[into].isdisjoint(held[gone]):
            held[into] |= held[gone]
            group[group == gone] = into
    joined = np.unique(group, return_inverse=True)[1].astype(np.int64)
    return np.where(inside, joined[labels], OUTLIER)


def _mutually_nearest(centre: NDArray[np.float64], home: Int64s) -> list[tuple[int, int]]:
    """Links between clusters of different cameras, the most similar first."""
    links: list[tuple[float, int, int]] = []
    cameras = np.unique(home)
    for position, camera in enumerate(cameras):
        for other in cameras[position + 1 :]:
            rows, columns = np.flatnonzero(home == camera), np.flatnonzero(home == other)
            cosine = centre[rows] @ centre[columns].T
            forward, back = cosine.argmax(axis=1), cosine.argmax(axis=0)
            mutual = np.flatnonzero(back[forward] == np.arange(len(rows)))
            links += [
                (float(cosine[r, forward[r]]), int(rows[r]), int(columns[forward[r]]))
                for r in mutual
            ]
    return [(one, other) for _, one, other in sorted(links, reverse=True)]
