"""Turn embeddings into pseudo-labels: DBSCAN on the Jaccard distance, or Infomap on cosines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from service.errors import InvalidInput
from service.identities.dbscan import find_dense
from service.search.kreciprocal import jaccard_of_neighbours
from training.core.method_options import ClusterOptions
from training.data.known_pairs import KnownPairs
from training.hhcl.known_pairs import correct_clusters
from training.hhcl.linking import OUTLIER, link_cameras
from training.hhcl.nearest import cosines_to, nearest_crops
from training.hhcl.packages import import_infomap

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Indices = NDArray[np.intp]


def link_progress(finished: int, options: ClusterOptions, epochs: int) -> float:
    """Compute how far the share of links has grown from the first to the last.

    Args:
        finished: number of finished epochs.
        options: how to cluster.
        epochs: of the run.

    Returns:
        0..1, for :func:`cluster`.
    """
    if options.link_last_epoch == 0:
        return finished / epochs
    growing = options.link_last_epoch - 1
    return 1.0 if finished >= growing else finished / growing


def cluster(
    embeddings: Float32s,
    cameras: Int64s,
    options: ClusterOptions,
    tell: Callable[[str], None],
    progress: float = 1.0,
    known: KnownPairs | None = None,
) -> Int64s:
    """Make the pseudo-labels of one epoch.

    A contrast needs at least two clusters. If there are fewer, eps is raised by a tenth (no
    cluster) or lowered by a tenth (one cluster) for this epoch, at most ten times, with a message
    each time.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        options: how to cluster.
        tell: takes messages for people.
        progress: from :func:`link_progress`; ``camera-link`` uses more links as it grows.
        known: which of the N crops show one person, and which do not; a cluster never has crops of
            two sites. None: all crops are of one site, and nothing more is known.

    Returns:
        (N,) int64: 0..C-1 with C >= 2, or -1 for an outlier.

    Raises:
        InvalidInput: no eps tried gives two clusters, or ``infomap`` is not installed; the message
            says what to do.
    """
    known = known or KnownPairs.of_sites(np.zeros(len(embeddings), dtype=np.int64))
    parts = _parts(embeddings, cameras, known.sites, options)
    finish = partial(_correct_and_link, embeddings, cameras, options, progress, known)
    eps = options.eps
    for _ in range(10):
        labels = finish(_cluster_parts(parts, len(embeddings), eps, options))
        clusters = int(labels.max()) + 1
        if clusters >= 2:
            return labels
        eps = min(eps * 1.1, 0.99) if clusters == 0 else eps * 0.9
        tell(f"{clusters} clusters: trying eps {eps:.3f} instead of {options.eps} for this epoch")
    raise InvalidInput(
        f"{len(embeddings)} crops do not form two clusters with any eps from {options.eps} to "
        f"{eps:.2f}; check the crops, start from better --weights, or lower clustering.min_samples"
    )


def _correct_and_link(
    embeddings: Float32s,
    cameras: Int64s,
    options: ClusterOptions,
    progress: float,
    known: KnownPairs,
    labels: Int64s,
) -> Int64s:
    """Let clusters obey what is known, and join those of different cameras."""
    if known.has_more_than_sites:
        labels = correct_clusters(labels, embeddings, known, options.min_samples)
    if options.scheme == "camera-link" and len(np.unique(cameras)) > 1:
        share, score = _share_of_links(options, progress), options.link_score
        labels = link_cameras(
            embeddings, cameras, labels, share=share, score=score, sites=known.sites
        )
    return labels


def _share_of_links(options: ClusterOptions, progress: float) -> float:
    return options.link_first + progress * (options.link_last - options.link_first)


@dataclass(frozen=True, slots=True)
class _Part:
    members: Int64s  # indices of the M crops that are clustered together
    embeddings: Float32s  # (M, D)
    nearest: Indices  # (M, K), among the members


def _parts(
    embeddings: Float32s, cameras: Int64s, sites: Int64s, options: ClusterOptions
) -> list[_Part]:
    """One part per site, or per camera if cameras are linked later."""
    match options.scheme:
        case "dbscan" | "infomap":
            parts = sites
        case "camera-link":
            parts = cameras
    found = []
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        own = embeddings[members]
        found.append(_Part(members, own, nearest_crops(own, options.k1, options.nearest)))
    return found


def _cluster_parts(parts: list[_Part], count: int, eps: float, options: ClusterOptions) -> Int64s:
    labels = np.full(count, OUTLIER, dtype=np.int64)
    clusters = 0
    for part in parts:
        own = _cluster_part(part, eps, options)
        labels[part.members] = np.where(own >= 0, own + clusters, OUTLIER)
        clusters += int(own.max()) + 1
    return labels


def _cluster_part(part: _Part, eps: float, options: ClusterOptions) -> Int64s:
    match options.scheme:
        case "dbscan" | "camera-link":
            distance = jaccard_of_neighbours(
                part.embeddings, part.nearest, k2=options.k2, within=eps
            )
            return find_dense(distance, eps, options.min_samples)
        case "infomap":
            distance = cosine_distances(part.embeddings, part.nearest)
            return _find_communities(distance, eps, options.min_samples)


def cosine_distances(embeddings: Float32s, nearest: Indices) -> csr_array:
    """Compute the distances of crops to their nearest, as Cluster Contrast's graph has them.

    Args:
        embeddings: (N, D) float32, unit rows.
        nearest: (N, K) the crop itself and its nearest.

    Returns:
        (N, N) float64, sparse: row i holds 1 - cosine of crop i's nearest, without itself.
    """
    others = nearest[:, 1:]
    distances = (1.0 - cosines_to(embeddings, others)).astype(np.float64)
    bounds = np.arange(len(others) + 1) * others.shape[1]
    return csr_array((distances.ravel(), others.ravel(), bounds), shape=(len(others),) * 2)


def _find_communities(distance: csr_array, eps: float, min_samples: int) -> Int64s:
    """Modules in which a random walk along near crops stays long (Rosvall and Bergstrom 2008).

    As in Cluster Contrast (Dai et al., ACCV 2022), a link goes from a crop to one of its nearest
    and weighs their similarity. The released code has another smallest module: there, a module of
    ``k2`` = 4 crops is dropped too.
    """
    infomap = import_infomap()
    near = distance.tocoo()
    kept = near.data <= eps
    if not kept.any():
        return np.full(distance.shape[0], OUTLIER, dtype=np.int64)
    links = (1.0 - near.data[kept], (near.row[kept], near.col[kept]))
    walk = coo_array(links, shape=distance.shape).tocsr()
    network = infomap.Network.from_scipy_sparse_matrix(walk, directed=True)
    # A fixed seed makes the clusters depend on the embeddings alone, as DBSCAN's do.
    modules = infomap.run(network, two_level=True, seed=1).modules()
    found = np.array([modules[crop] for crop in range(distance.shape[0])])
    _, first, module, size = np.unique(
        found, return_index=True, return_inverse=True, return_counts=True
    )
    large = np.flatnonzero(size >= min_samples)
    label_of = np.full(len(size), OUTLIER, dtype=np.int64)
    label_of[large[np.argsort(first[large])]] = np.arange(len(large))
    return label_of[module]
