"""The k-reciprocal Jaccard distance as its paper defines it: slow, and easy to check."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]


def defined_jaccard(distance: Float64s, width: int, k1: int, k2: int) -> Float64s:
    """Jaccard distances as Zhong et al. define them, on dense arrays.

    Args:
        distance: (N, N), 0 on the diagonal.
        width: length of a row's list of neighbours, itself included; HHCL's is shorter by one.
        k1: neighbours beside the row itself, of those in the list.
        k2: rows that query expansion averages.
    """
    rank = np.argsort(distance, axis=1, kind="stable")[:, :width]

    def reciprocal(row: int, neighbours: int) -> set[int]:
        near = rank[row, : neighbours + 1]
        return {int(other) for other in near if row in rank[other, : neighbours + 1]}

    encoding = np.zeros(distance.shape)
    for row in range(len(distance)):
        members = reciprocal(row, k1)
        expanded = set(members)
        for other in members:
            theirs = reciprocal(other, round(k1 / 2))
            if len(theirs & members) > 2 / 3 * len(theirs):
                expanded |= theirs
        chosen = sorted(expanded)
        weights = np.exp(-distance[row, chosen])
        encoding[row, chosen] = weights / weights.sum()
    encoding = encoding[rank[:, :k2]].mean(axis=1)
    shared = np.stack([np.minimum(own, encoding).sum(axis=1) for own in encoding])
    jaccard: Float64s = 1.0 - shared / (2.0 - shared)
    return jaccard
