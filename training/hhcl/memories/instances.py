"""The memory of HHCL's paper: one prototype and a few crops per cluster.

Letters: B batch, C clusters, K slots per cluster, D dimensions, h the instance share (0.5).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.hhcl.memories.contrast import Contrast
from training.hhcl.memories.prototypes import follow_mean, turn_in_cluster

_INSTANCE_SHARE = 0.5


class InstanceMemory:
    """``CMhybrid_v2``: contrasts with the clusters' means and with their hardest instances.

    ``L = h * CE_instances + (1 - h) * CE_mean`` (Hu, Zhu, He 2021; code @4986b46). A crop's
    similarity to its own cluster is the lowest to any of the cluster's instances (hardest
    positive); to another cluster, the highest (hardest negative).

    Args:
        centroids: (C, D) float32; normalised here.
        instances: (C, K, D) float32, unit rows, from :func:`draw_instances`; copied.
        contrast: turns similarities into a loss.
        momentum: share of the old mean that an update keeps, 0..1; instances are overwritten.
    """

    def __init__(
        self, centroids: Tensor, instances: Tensor, contrast: Contrast, *, momentum: float = 0.1
    ) -> None:
        self.mean = F.normalize(centroids, dim=1)
        self.instances = instances.clone()
        self._contrast = contrast
        self._momentum = momentum

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Contrast a batch with the current means and instances, without changing them.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row, 0..C-1.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss; its gradient reaches only the embeddings.
        """
        mean = self._contrast.loss(embeddings @ self.mean.T, labels, cameras)
        instances = self._contrast.loss(self._hardest(embeddings, labels), labels, cameras)
        return _INSTANCE_SHARE * instances + (1 - _INSTANCE_SHARE) * mean

    def _hardest(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        clusters, slots, _ = self.instances.shape
        similarities = embeddings @ self.instances.flatten(0, 1).T
        similarities = similarities.view(-1, clusters, slots)
        positives = similarities[torch.arange(len(labels), device=labels.device), labels]
        return similarities.amax(dim=2).scatter(1, labels[:, None], positives.amin(1, keepdim=True))

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Overwrite the first slots of each cluster in this batch, and move its mean.

        If a cluster has more than K crops in the batch, the first K are kept; the released code
        would write the rest into other clusters' slots. If it has fewer, the other slots stay.

        Args:
            embeddings: (B, D) float32, unit rows of the forward pass.
            labels: (B,) int64.
        """
        turn = turn_in_cluster(labels)
        kept = turn < self.instances.shape[1]
        self.instances[labels[kept], turn[kept]] = embeddings[kept]
        follow_mean(self.mean, embeddings, labels, self._momentum)


def draw_instances(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw crops of each cluster, with replacement.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which is never drawn.
        count: K, crops of each cluster, >= 1.
        rng: source of the random choice.

    Returns:
        (C, K, D) float32.
    """
    members = [np.flatnonzero(labels == cluster) for cluster in range(int(labels.max()) + 1)]
    drawn = np.stack([rng.choice(own, size=count) for own in members])
    instances: NDArray[np.float32] = embeddings[drawn]
    return instances
