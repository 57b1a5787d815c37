"""What HHCL's step asks of a memory, whichever kind it is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Memory(Protocol):
    """What an epoch contrasts with: one or more rows per cluster.

    Nothing changes inside ``backward``: the step calls :meth:`update` in the open (ADR 0005).
    """

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the loss of a batch; writes nothing.

        Args:
            embeddings: (B, D) float, unit rows.
            labels: (B,) int64 pseudo-labels.
            cameras: (B,) int64, 0-based.

        Returns:
            Scalar, differentiable in the embeddings.
        """
        ...

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the rows towards a batch, after its gradient step.

        Args:
            embeddings: (B, D) float, unit rows, detached.
            labels: (B,) int64 pseudo-labels.
        """
        ...
