"""HHCL's cluster memory: two prototypes a cluster, both moved by explicit momentum.

The reference writes its memory inside ``backward``. Here ``loss`` only reads and ``update`` only
writes, and the loop calls ``update`` after the gradient, with the features of the forward pass: the
same arithmetic, in the open.

Letters: B batch, C clusters, D dimensions, tau temperature, m momentum, h the hard share (0.5).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Weighting = Literal["released", "convex"]
_HARD_SHARE = 0.5


class HybridMemory:
    """``CMhybrid``, the memory of HHCL's released recipe (Hu, Zhu, He 2021, code @4986b46).

    Row k of ``hard`` follows the batch's least similar crop of cluster k, row k of ``mean`` the
    batch's mean of it. Momentum 0.1 keeps 10 % of the old row.

    Args:
        centroids: (C, D) float32; normalised here and written to both prototypes.
        temperature: tau of both softmaxes.
        momentum: share of the old row that an update keeps, 0..1.
        weighting: ``released`` is ``h * (CE_hard + (1 - h) * CE_mean)`` = 0.5 and 0.25, as the code
            that gave the published numbers computes it; ``convex`` is 0.5 and 0.5, as the paper's
            formula reads.
        seen_by: (C, cameras) bool, which cameras saw each cluster; then a crop is contrasted only
            with clusters its own camera saw. None contrasts it with all, as the paper does.
    """

    def __init__(
        self,
        centroids: Tensor,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        weighting: Weighting = "released",
        seen_by: Tensor | None = None,
    ) -> None:
        self.hard = F.normalize(centroids, dim=1)
        self.mean = self.hard.clone()
        self._temperature = temperature
        self._momentum = momentum
        self._weighting = weighting
        self._seen_by = seen_by

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Hybrid contrast of a batch against the rows as they stand; writes nothing.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row, 0..C-1.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss; its gradient reaches the embeddings only.
        """
        hard = F.cross_entropy(self._logits(embeddings, self.hard, cameras), labels)
        mean = F.cross_entropy(self._logits(embeddings, self.mean, cameras), labels)
        match self._weighting:
            case "released":
                return _HARD_SHARE * (hard + (1 - _HARD_SHARE) * mean)
            case "convex":
                return _HARD_SHARE * hard + (1 - _HARD_SHARE) * mean

    def _logits(self, embeddings: Tensor, rows: Tensor, cameras: Tensor) -> Tensor:
        logits = embeddings @ rows.T / self._temperature  # (B, C)
        if self._seen_by is None:
            return logits
        return logits.masked_fill(~self._seen_by.T[cameras], float("-inf"))

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the rows of the clusters in this batch.

        The hardest crop of a cluster is the one least similar to its hard row (first on ties); the
        mean is not normalised before it is mixed in.

        Args:
            embeddings: (B, D) float32, unit rows of the forward pass.
            labels: (B,) int64.
        """
        m = self._momentum
        for cluster in labels.unique():
            own = embeddings[labels == cluster]  # (n, D)
            hardest = own[(own @ self.hard[cluster]).argmin()]
            self.hard[cluster] = F.normalize(m * self.hard[cluster] + (1 - m) * hardest, dim=0)
            self.mean[cluster] = F.normalize(
                m * self.mean[cluster] + (1 - m) * own.mean(dim=0), dim=0
            )


def centroids(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean embedding of each cluster.

    Args:
        embeddings: (N, D) float32.
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which takes no part.

    Returns:
        (C, D) float32, not normalised.
    """
    inside = labels >= 0
    clusters = int(labels.max()) + 1
    total = np.zeros((clusters, embeddings.shape[1]), dtype=np.float64)
    np.add.at(total, labels[inside], embeddings[inside])
    return (total / np.bincount(labels[inside], minlength=clusters)[:, None]).astype(np.float32)


def seen_by_cameras(labels: NDArray[np.int64], cameras: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which cameras saw each cluster.

    Args:
        labels: (N,) int64 pseudo-labels, 0..C-1, or -1 for an outlier, which takes no part.
        cameras: (N,) int64, 0-based.

    Returns:
        (C, cameras) bool.
    """
    inside = labels >= 0
    seen = np.zeros((int(labels.max()) + 1, int(cameras.max()) + 1), dtype=np.bool_)
    seen[labels[inside], cameras[inside]] = True
    return seen
