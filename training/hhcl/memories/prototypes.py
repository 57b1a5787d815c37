"""Memories of prototypes: rows that follow the batches with momentum.

The released code writes its memory inside ``backward``. Here ``loss`` only reads and ``update``
only writes; the training step calls ``update`` after the gradient, with the features of the forward
pass. The arithmetic is the same, but visible. An update depends only on rows, embeddings and
labels, so processes that see the same batches keep equal memories.

Letters: B batch, C clusters, D dimensions, m momentum, h the hard share (0.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.hhcl.memories.contrast import Contrast

Weighting = Literal["released", "convex"]
Follow = Callable[[Tensor, Tensor, Tensor, float], None]
_HARD_SHARE = 0.5


class HybridMemory:
    """``CMhybrid``, the memory of HHCL's released recipe (Hu, Zhu, He 2021, code @4986b46).

    Row k of ``hard`` follows the batch's crop of cluster k that is least similar to it; row k of
    ``mean`` follows the mean of the batch's crops of cluster k. Momentum 0.1 keeps 10 % of the old
    row.

    Args:
        centroids: (C, D) float32; normalised here and written to both prototypes.
        contrast: turns similarities into a loss.
        momentum: share of the old row that an update keeps, 0..1.
        weighting: ``released`` is ``h * (CE_hard + (1 - h) * CE_mean)``, so 0.5 and 0.25, as in the
            code behind the published numbers; ``convex`` is 0.5 and 0.5, as in the paper's formula.
    """

    def __init__(
        self,
        centroids: Tensor,
        contrast: Contrast,
        *,
        momentum: float = 0.1,
        weighting: Weighting = "released",
    ) -> None:
        self.hard = F.normalize(centroids, dim=1)
        self.mean = self.hard.clone()
        self._contrast = contrast
        self._momentum = momentum
        self._weighting = weighting

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Contrast a batch with the current rows, without changing them.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row, 0..C-1.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss; its gradient reaches only the embeddings.
        """
        hard = self._contrast.loss(embeddings @ self.hard.T, labels, cameras)
        mean = self._contrast.loss(embeddings @ self.mean.T, labels, cameras)
        match self._weighting:
            case "released":
                return _HARD_SHARE * (hard + (1 - _HARD_SHARE) * mean)
            case "convex":
                return _HARD_SHARE * hard + (1 - _HARD_SHARE) * mean

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the rows of the clusters in this batch.

        Args:
            embeddings: (B, D) float32, unit rows of the forward pass.
            labels: (B,) int64.
        """
        follow_hardest(self.hard, embeddings, labels, self._momentum)
        follow_mean(self.mean, embeddings, labels, self._momentum)


class PrototypeMemory:
    """One row per cluster: Cluster Contrast's memories (Dai et al. 2022).

    ``CM`` uses ``follow_each``, ``CMhard`` uses ``follow_hardest``.

    Args:
        centroids: (C, D) float32; normalised here.
        contrast: turns similarities into a loss.
        follow: moves the rows towards a batch.
        momentum: share of the old row that a step of ``follow`` keeps, 0..1.
    """

    def __init__(
        self, centroids: Tensor, contrast: Contrast, follow: Follow, *, momentum: float = 0.1
    ) -> None:
        self.rows = F.normalize(centroids, dim=1)
        self._contrast = contrast
        self._follow = follow
        self._momentum = momentum

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Contrast a batch with the current rows; see :meth:`HybridMemory.loss`."""
        return self._contrast.loss(embeddings @ self.rows.T, labels, cameras)

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the rows of the clusters in this batch; see :meth:`HybridMemory.update`."""
        self._follow(self.rows, embeddings, labels, self._momentum)


@torch.no_grad()
def follow_hardest(rows: Tensor, embeddings: Tensor, labels: Tensor, momentum: float) -> None:
    """Move each row towards the crop of its cluster that is least similar to it; first on ties.

    Args:
        rows: (C, D) float32, unit rows; written.
        embeddings: (B, D) float32, unit rows.
        labels: (B,) int64; the rows of other clusters stay.
        momentum: share of the old row that stays, 0..1.
    """
    similarity = (embeddings * rows[labels]).sum(dim=1)
    hardest = similarity.where(same_cluster(labels), torch.inf).argmin(dim=1)
    rows[labels] = _mix(rows[labels], embeddings[hardest], momentum)


@torch.no_grad()
def follow_mean(rows: Tensor, embeddings: Tensor, labels: Tensor, momentum: float) -> None:
    """Move each row towards the mean of its cluster's crops, which is not normalised first.

    Args:
        rows: (C, D) float32, unit rows; written.
        embeddings: (B, D) float32, unit rows.
        labels: (B,) int64; the rows of other clusters stay.
        momentum: share of the old row that stays, 0..1.
    """
    same = same_cluster(labels).to(embeddings)
    mean = same / same.sum(dim=1, keepdim=True) @ embeddings
    # The crops of a cluster must write the same bits, whichever of them is written last.
    rows[labels] = _mix(rows[labels], mean[same.argmax(dim=1)], momentum)


@torch.no_grad()
def follow_each(rows: Tensor, embeddings: Tensor, labels: Tensor, momentum: float) -> None:
    """Move each row towards every crop of its cluster in turn, in the batch's order.

    Args:
        rows: (C, D) float32, unit rows; written.
        embeddings: (B, D) float32, unit rows.
        labels: (B,) int64; the rows of other clusters stay.
        momentum: share of the row that stays at each crop, 0..1.
    """
    # Clusters have separate rows, so the n-th crops of all clusters can be written together.
    turn = turn_in_cluster(labels)
    for n in range(int(turn.max()) + 1):
        clusters, now = labels[turn == n], embeddings[turn == n]
        rows[clusters] = _mix(rows[clusters], now, momentum)


def same_cluster(labels: Tensor) -> Tensor:
    """(B,) cluster of each crop -> (B, B) bool, whether two crops share it.

    Updates use it instead of a loop over ``labels.unique()``, at whose every turn a GPU would wait.
    """
    return labels[:, None] == labels


def turn_in_cluster(labels: Tensor) -> Tensor:
    """(B,) cluster of each crop -> (B,) int64, how many earlier crops of the batch share it."""
    return same_cluster(labels).tril(diagonal=-1).sum(dim=1)


def _mix(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """Mix old and new rows, (..., D), by momentum, and restore unit length."""
    return F.normalize(momentum * old + (1 - momentum) * new, dim=-1)
