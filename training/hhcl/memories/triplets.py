"""The batch-hard triplet loss beside a memory.

Letters: B batch, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BatchHardTriplets:
    """Batch-hard triplet loss (Hermans, Beyer, Leibe 2017).

    For each crop, the distance to the farthest crop of its own cluster in the batch must be smaller
    than the distance to the nearest crop of another cluster.

    Attributes:
        margin: by how much smaller, >= 0; 0 means the soft margin, ``log(1 + exp(difference))``.
        seen_by: (C, cameras) bool; only clusters that are contrasted with the crop's camera are
            negatives. None allows all clusters.
    """

    margin: float = 0.3
    seen_by: Tensor | None = None

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """Compute the batch's mean; a crop without a negative adds 0.

        Args:
            embeddings: (B, D) float32, unit rows.
            labels: (B,) int64, the cluster of each row.
            cameras: (B,) int64, the camera of each row.

        Returns:
            Scalar loss.
        """
        # The root's gradient is infinite at 0, the distance of a crop from itself.
        distances = (2 - 2 * embeddings @ embeddings.T).clamp(min=1e-12).sqrt()  # (B, B)
        same = labels[:, None] == labels
        negative = ~same
        if self.seen_by is not None:
            negative &= self.seen_by.T[cameras][:, labels]
        farthest = distances.masked_fill(~same, 0.0).amax(dim=1)
        nearest = distances.masked_fill(~negative, float("inf")).amin(dim=1)
        difference = farthest - nearest  # minus infinity for a crop without a negative
        hinge = F.softplus(difference) if self.margin == 0 else F.relu(difference + self.margin)
        return hinge.mean()
