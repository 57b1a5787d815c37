"""The protocol that every kind of cluster memory follows, and adding a loss to one."""

from __future__ import annotations

from dataclasses import dataclass
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


class BatchLoss(Protocol):
    """A loss beside a memory's own, which keeps nothing from batch to batch."""

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the loss of a batch; see :meth:`Memory.loss`."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryWithLoss:
    """A memory with another loss added to its own.

    Attributes:
        memory: the cluster memory.
        other: the other loss.
        weight: weight of the other loss, > 0.
    """

    memory: Memory
    other: BatchLoss
    weight: float

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Add the memory's loss and the other, weighted; nothing is changed."""
        other = self.other.loss(embeddings, labels, cameras)
        return self.memory.loss(embeddings, labels, cameras) + self.weight * other

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the memory towards the batch."""
        self.memory.update(embeddings, labels)
