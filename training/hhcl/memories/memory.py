"""The protocol that every kind of cluster memory follows."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Memory(Protocol):
    """One or more rows per cluster, with which an epoch's batches are contrasted.

    ``backward`` changes nothing: the training step calls :meth:`update` explicitly (ADR 0005).
    """

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the loss of a batch without changing the memory.

        Args:
            embeddings: (B, D) float, unit rows.
            labels: (B,) int64 pseudo-labels.
            cameras: (B,) int64, 0-based.

        Returns:
            Scalar, differentiable in the embeddings.
        """
        ...

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the rows towards a batch, after the gradient step on it.

        Args:
            embeddings: (B, D) float, unit rows, detached.
            labels: (B,) int64 pseudo-labels.
        """
        ...
