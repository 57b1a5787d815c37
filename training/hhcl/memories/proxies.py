"""Inter-camera contrast: a crop against its cluster as other cameras see it.

Letters: B batch, D dimensions, Q proxies (pairs of a cluster and a camera that saw it).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CameraProxies:
    """PPLR's inter-camera loss (Cho et al., CVPR 2022; also in ICE); fixed within an epoch.

    A crop's positives are its cluster's proxies of other cameras; its negatives are the most
    similar proxies of other clusters. Each positive is contrasted with all positives and negatives:
    ``mean over positives of -log softmax``.

    Attributes:
        rows: (Q, D) float32, unit rows.
        clusters: (Q,) int64, the cluster of each row.
        cameras: (Q,) int64, the camera of each row.
        temperature: > 0.
        negatives: number of the most similar negatives that count, >= 1.
        seen_by: (C, cameras) bool; only clusters that the crop's own camera saw are negatives.
            None allows all clusters.
    """

    rows: Tensor
    clusters: Tensor
    cameras: Tensor
    temperature: float = 0.07
    negatives: int = 50
    seen_by: Tensor | None = None

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the batch's mean; crops whose cluster no other camera saw add 0, as in PPLR.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss; its gradient reaches only the embeddings.
        """
        same = labels[:, None] == self.clusters  # (B, Q)
        positive = same & (cameras[:, None] != self.cameras)
        negative = ~same
        if self.seen_by is not None:
            negative &= self.seen_by.T[cameras][:, self.clusters]
        linked = positive.any(dim=1)
        positive, negative = positive[linked], negative[linked]
        logits = embeddings[linked] @ self.rows.T / self.temperature
        negatives = logits.masked_fill(~negative, float("-inf"))
        hardest = negatives.topk(min(self.negatives, len(self.rows)), dim=1).values
        positives = logits.masked_fill(~positive, float("-inf"))
        total = torch.cat([positives, hardest], dim=1).logsumexp(dim=1)
        likeness = logits.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1)
        return (total - likeness).sum() / len(labels)
