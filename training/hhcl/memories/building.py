"""Build an epoch's memory from its embeddings and pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.core.method_options import MemoryOptions
from training.core.pseudo_labels import centroids, seen_by_cameras, split_by_camera
from training.hhcl.memories.contrast import Contrast, LeftOut
from training.hhcl.memories.instances import InstanceMemory, draw_instances
from training.hhcl.memories.memory import Memory, MemoryWithLoss
from training.hhcl.memories.prototypes import (
    HybridMemory,
    PrototypeMemory,
    follow_each,
    follow_hardest,
)
from training.hhcl.memories.proxies import CameraProxies, SoftProxies
from training.hhcl.memories.triplets import BatchHardTriplets
from training.hhcl.soft_links import NOBODY, SoftLinks

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusteredCrops:
    """An epoch's crops after clustering.

    Attributes:
        embeddings: (N, D) float32, unit rows.
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which no memory contains.
        cameras: (N,) int64, 0-based.
        seen_by: (C, cameras) bool, which cameras' crops are contrasted with a cluster under
            ``negatives = "same-camera"``; None means the cameras that saw it.
        soft_links: likely partners of the clusters of unlabelled crops, whose labels come first;
            None if links are hard.
    """

    embeddings: Float32s
    labels: Int64s
    cameras: Int64s
    seen_by: NDArray[np.bool_] | None = None
    soft_links: SoftLinks | None = None


def build_memory(
    crops: ClusteredCrops,
    options: MemoryOptions,
    crops_per_cluster: int,
    rng: np.random.Generator,
    device: torch.device,
) -> Memory:
    """Build the memory that the options ask for, before an epoch's first batch.

    Args:
        crops: at least one of them in a cluster.
        options: the kind of memory, and how it contrasts.
        crops_per_cluster: K, crops of each cluster in a batch; the slots of ``hybrid-instances``.
        rng: chooses the first crops in the slots; only ``hybrid-instances`` uses it. It must be in
            the same state in every process.
        device: where the memory is kept.

    Returns:
        The memory.
    """
    contrast = Contrast(
        temperature=options.temperature,
        seen_by=_seen_by(crops, options, device),
        left_out=_clusters_left_out(crops, options, device),
        smoothing=options.smoothing,
        camera_entropy=options.camera_entropy,
    )
    rows = torch.from_numpy(centroids(crops.embeddings, crops.labels)).to(device)
    m = options.momentum
    memory: Memory
    match options.kind:
        case "hybrid":
            memory = HybridMemory(rows, contrast, momentum=m, weighting=options.weighting)
        case "hybrid-instances":
            drawn = draw_instances(crops.embeddings, crops.labels, crops_per_cluster, rng)
            slots = torch.from_numpy(drawn).to(device)
            memory = InstanceMemory(rows, slots, contrast, momentum=m)
        case "centroid":
            memory = PrototypeMemory(rows, contrast, follow_each, momentum=m)
        case "hardest":
            memory = PrototypeMemory(rows, contrast, follow_hardest, momentum=m)
    if options.proxy_weight > 0:
        proxies = _camera_proxies(crops, options, contrast.seen_by, device)
        memory = MemoryWithLoss(memory, proxies, options.proxy_weight)
    if options.triplet_weight > 0:
        triplets = BatchHardTriplets(options.triplet_margin, contrast.seen_by)
        memory = MemoryWithLoss(memory, triplets, options.triplet_weight)
    return memory


def _seen_by(crops: ClusteredCrops, options: MemoryOptions, device: torch.device) -> Tensor | None:
    match options.negatives:
        case "all":
            return None
        case "same-camera":
            seen_by = crops.seen_by
            if seen_by is None:
                seen_by = seen_by_cameras(crops.labels, crops.cameras)
            return torch.from_numpy(seen_by).to(device)


def _camera_proxies(
    crops: ClusteredCrops, options: MemoryOptions, seen_by: Tensor | None, device: torch.device
) -> CameraProxies:
    clusters, cameras, view = split_by_camera(crops.labels, crops.cameras)
    rows = torch.from_numpy(centroids(crops.embeddings, view)).to(device)
    return CameraProxies(
        F.normalize(rows, dim=1),
        torch.from_numpy(clusters).to(device),
        torch.from_numpy(cameras).to(device),
        temperature=options.proxy_temperature,
        negatives=options.proxy_negatives,
        seen_by=seen_by,
        soft=None if crops.soft_links is None else _soft_proxies(crops, crops.soft_links, device),
    )


def _soft_proxies(crops: ClusteredCrops, links: SoftLinks, device: torch.device) -> SoftProxies:
    view, clusters = _views(crops)
    cameras = view.shape[1]
    compared = np.zeros((cameras, cameras), np.bool_)
    known = len(links.compared)  # synthetic people have more cameras
    compared[:known, :known] = links.compared
    tables = (
        _for_all(links.partners, len(clusters)),
        _for_all(links.masses, len(clusters), 0),
        _for_all(links.left_out, len(clusters)),
        compared,
        view,
    )
    partners, masses, left_out, pairs, own = (torch.from_numpy(each).to(device) for each in tables)
    return SoftProxies(partners, masses, LeftOut(own, left_out, len(clusters)), pairs)


def _clusters_left_out(
    crops: ClusteredCrops, options: MemoryOptions, device: torch.device
) -> LeftOut | None:
    """What no cluster row is contrasted with; own cameras' clusters never show one person."""
    if crops.soft_links is None or options.negatives == "same-camera":
        return None
    view, clusters = _views(crops)
    count = int(clusters.max()) + 1
    of_view = np.append(clusters, count)
    rows = of_view[_for_all(crops.soft_links.left_out, len(clusters))]
    # Another view of the crop's own cluster may be left out, but never the cluster itself.
    rows[rows == of_view[:, None]] = count
    return LeftOut(torch.from_numpy(view).to(device), torch.from_numpy(rows).to(device), count)


def _views(crops: ClusteredCrops) -> tuple[Int64s, Int64s]:
    """(C, cameras) the view of each cluster by each camera, and (Q,) the cluster of each view.

    Q stands for none: of a synthetic person, only a few crops are embedded, so batches have crops
    from cameras without a view.
    """
    clusters, cameras, _ = split_by_camera(crops.labels, crops.cameras)
    shape = int(clusters.max()) + 1, int(crops.cameras.max()) + 1
    view = np.full(shape, len(clusters))
    view[clusters, cameras] = np.arange(len(clusters))
    return view, clusters


def _for_all(table: NDArray[Any], views: int, nothing: int | None = None) -> NDArray[Any]:
    """Add rows for views without soft links and for none; mark empty places, by Q if not given."""
    nothing = views if nothing is None else nothing
    padded = np.full((views + 1, table.shape[1]), nothing, table.dtype)
    padded[: len(table)] = np.where(table == NOBODY, nothing, table)
    return padded
