"""Inter-camera contrast: a crop against its cluster as other cameras see it.

Letters: B batch, D dimensions, Q proxies (pairs of a cluster and a camera that saw it).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.hhcl.memories.contrast import LeftOut


@dataclass(frozen=True, slots=True)
class SoftProxies:
    """Proxies that may show a crop's person too, each with its mass.

    Attributes:
        partners: (Q + 1, P) int64, likely partners of each proxy; Q fills up.
        masses: (Q + 1, P) float32, how likely; those of one other camera sum to at most 1. The last
            row is of a crop whose cluster has no proxy of its camera, and has no partner.
        left_out: likely partners and some less likely ones: no negatives.
        compared: (cameras, cameras) bool, between which cameras partners were searched. Every proxy
            found there is a negative if it is not left out, whoever saw its cluster.
    """

    partners: Tensor
    masses: Tensor
    left_out: LeftOut
    compared: Tensor

    def weights(self, labels: Tensor, cameras: Tensor) -> Tensor:
        """Spread the masses over all proxies.

        Args:
            labels: (B,) int64, the cluster of each crop.
            cameras: (B,) int64, the camera of each crop.

        Returns:
            (B, Q) float32, 0 for those that are no partners.
        """
        own = self.left_out.view[labels, cameras]
        spread = self.masses.new_zeros(len(own), self.left_out.count + 1)
        return spread.scatter_add_(1, self.partners[own], self.masses[own])[:, :-1]


@dataclass(frozen=True, slots=True)
class CameraProxies:
    """PPLR's inter-camera loss (Cho et al., CVPR 2022; also in ICE); fixed within an epoch.

    A crop's positives are its cluster's proxies of other cameras; its negatives are the most
    similar proxies of other clusters. Each positive is contrasted with all positives and negatives:
    ``mean over positives of -log softmax``.

    With soft links, likely partners are positives too, weighted by their mass, and the mean is
    weighted. If a crop's masses sum to less than 1, perhaps nobody else shows its person: what is
    missing lowers its loss.

    Attributes:
        rows: (Q, D) float32, unit rows.
        clusters: (Q,) int64, the cluster of each row.
        cameras: (Q,) int64, the camera of each row.
        temperature: > 0.
        negatives: number of the most similar negatives that count, >= 1.
        seen_by: (C, cameras) bool; only clusters that the crop's own camera saw are negatives.
            None allows all clusters.
        soft: likely partners; None if links are hard.
    """

    rows: Tensor
    clusters: Tensor
    cameras: Tensor
    temperature: float = 0.07
    negatives: int = 50
    seen_by: Tensor | None = None
    soft: SoftProxies | None = None

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the batch's mean; crops whose cluster no other camera saw add 0, as in PPLR.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss; its gradient reaches only the embeddings.
        """
        weight, negative = self._roles(labels, cameras)
        weight = weight.to(embeddings.dtype)
        linked = (weight > 0).any(dim=1)
        weight, negative = weight[linked], negative[linked]
        logits = embeddings[linked] @ self.rows.T / self.temperature
        negatives = logits.masked_fill(~negative, float("-inf"))
        hardest = negatives.topk(min(self.negatives, len(self.rows)), dim=1).values
        positives = logits.masked_fill(weight == 0, float("-inf"))
        total = torch.cat([positives, hardest], dim=1).logsumexp(dim=1)
        mass = weight.sum(dim=1)
        likeness = (weight * logits).sum(dim=1) / mass
        return (mass.clamp(max=1.0) * (total - likeness)).sum() / len(labels)

    def _roles(self, labels: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q) weights of the positives, and (B, Q) bool, which are negatives."""
        same = labels[:, None] == self.clusters
        positive = same & (cameras[:, None] != self.cameras)
        negative = ~same
        if self.seen_by is not None:
            negative &= self.seen_by.T[cameras][:, self.clusters]
        if self.soft is None:
            return positive.float(), negative
        negative |= ~same & self.soft.compared[cameras][:, self.cameras]
        negative &= ~self.soft.left_out.mask(labels, cameras)
        return positive + self.soft.weights(labels, cameras), negative
