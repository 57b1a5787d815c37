"""Turn a batch's similarities to the clusters into one loss.

Letters: B batch, C clusters, tau temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_SMOOTHED = 0.1
_CLUSTERS_PER_TARGET = 50
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows with which a crop is not contrasted, since they may show the same person.

    Attributes:
        view: (C, cameras) int64, the view of a cluster by a camera; Q if there is none.
        rows: (Q + 1, L) int64, what each view leaves out, 0..``count`` - 1; ``count`` fills up. The
            last row is of those without a view, and leaves out nothing.
        count: number of rows in all.
    """

    view: Tensor
    rows: Tensor
    count: int

    def mask(self, labels: Tensor, cameras: Tensor) -> Tensor:
        """Mark what the crops of a batch leave out.

        Args:
            labels: (B,) int64, the cluster of each crop.
            cameras: (B,) int64, the camera of each crop.

        Returns:
            (B, count) bool.
        """
        rows = self.rows[self.view[labels, cameras]]
        mask = rows.new_zeros(len(rows), self.count + 1, dtype=torch.bool)
        return mask.scatter_(1, rows, True)[:, :-1]


@dataclass(frozen=True, slots=True)
class Contrast:
    """Cross-entropy of similarities divided by a temperature, with optional extensions.

    Attributes:
        temperature: tau, > 0.
        seen_by: (C, cameras) bool, which cameras saw each cluster: a crop is contrasted only with
            clusters that its own camera saw. None contrasts it with all clusters, as HHCL does.
        left_out: clusters that are left out beside those; None leaves out nothing.
        smoothing: HHCL's ``--smooth``: 0.1 of the target is spread over the highest-scoring
            fiftieth of the clusters that a crop is contrasted with, or over all of them if that
            fiftieth is at most one cluster.
        camera_entropy: weight each crop by :func:`camera_entropy_weights`.
    """

    temperature: float = 0.05
    seen_by: Tensor | None = None
    left_out: LeftOut | None = None
    smoothing: bool = False
    camera_entropy: bool = False

    def loss(self, similarities: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the mean loss of a batch.

        Args:
            similarities: (B, C) float32, of each crop to each cluster's row.
            labels: (B,) int64, the cluster of each crop, 0..C-1.
            cameras: (B,) int64, the camera of each crop.

        Returns:
            Scalar loss.
        """
        logits = similarities / self.temperature
        if self.seen_by is not None:
            logits = logits.masked_fill(~self.seen_by.T[cameras], _NEVER)
        if self.left_out is not None:
            logits = logits.masked_fill(self.left_out.mask(labels, cameras), _NEVER)
        if self.smoothing:
            losses = _smoothed_cross_entropy(logits, labels)
        elif self.camera_entropy:
            losses = F.cross_entropy(logits, labels, reduction="none")
        else:
            return F.cross_entropy(logits, labels)
        if self.camera_entropy:
            losses = losses * camera_entropy_weights(labels, cameras)
        return losses.mean()


def camera_entropy_weights(labels: Tensor, cameras: Tensor) -> Tensor:
    """Weight each crop by how many cameras its cluster has in the batch (3C, 2024).

    If ``H`` is the base-2 entropy of a cluster's cameras in the batch, the weight of its crops is
    ``P * exp(H) / sum(exp(H))`` over the batch's P clusters: the clusters' weights have mean 1.

    Args:
        labels: (B,) int64.
        cameras: (B,) int64.

    Returns:
        (B,) float32.
    """
    present, cluster = labels.unique(return_inverse=True)
    counts = labels.new_zeros(len(present), int(cameras.max()) + 1)
    counts.index_put_((cluster, cameras), torch.ones_like(labels), accumulate=True)
    shares = counts / counts.sum(dim=1, keepdim=True)
    entropy = -torch.xlogy(shares, shares).sum(dim=1) / torch.log(shares.new_tensor(2.0))
    return (len(present) * entropy.softmax(dim=0))[cluster]


def _smoothed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of each crop, (B,); logits of minus infinity are ignored."""
    contrasted = logits > _NEVER
    most = contrasted.sum(dim=1, keepdim=True) // _CLUSTERS_PER_TARGET
    rank = logits.argsort(dim=1, descending=True).argsort(dim=1)
    spread = contrasted & ((rank < most) | (most <= 1))
    log_p = logits.log_softmax(dim=1)
    # Minus infinity times a target of 0 would be NaN.
    smooth = log_p.masked_fill(~spread, 0.0).sum(dim=1) / spread.sum(dim=1)
    own = log_p.gather(1, labels[:, None]).squeeze(1)
    return -(1 - _SMOOTHED) * own - _SMOOTHED * smooth
