"""Build an epoch's memory from its embeddings and pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.core.options import MemoryOptions
from training.core.pseudo_labels import centroids, seen_by_cameras
from training.hhcl.memories.contrast import Contrast
from training.hhcl.memories.instances import InstanceMemory, draw_instances
from training.hhcl.memories.memory import Memory, MemoryWithLoss
from training.hhcl.memories.prototypes import (
    HybridMemory,
    PrototypeMemory,
    follow_each,
    follow_hardest,
)
from training.hhcl.memories.proxies import CameraProxies
from training.hhcl.memories.triplets import BatchHardTriplets

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
    """

    embeddings: Float32s
    labels: Int64s
    cameras: Int64s
    seen_by: NDArray[np.bool_] | None = None


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
    inside = crops.labels >= 0
    count = int(crops.cameras.max()) + 1
    pairs, pair = np.unique(
        crops.labels[inside] * count + crops.cameras[inside], return_inverse=True
    )
    clusters, cameras = np.divmod(pairs, count)
    rows = torch.from_numpy(centroids(crops.embeddings[inside], pair)).to(device)
    return CameraProxies(
        F.normalize(rows, dim=1),
        torch.from_numpy(clusters).to(device),
        torch.from_numpy(cameras).to(device),
        temperature=options.proxy_temperature,
        negatives=options.proxy_negatives,
        seen_by=seen_by,
    )
