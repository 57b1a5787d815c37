"""How close crops must be to be grouped into one person."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterRule:
    """How close crops must be to count as one person; the defaults were measured (benchmarks).

    Attributes:
        eps: Jaccard distance up to which crops are neighbours, 0..1.
        min_samples: neighbours that make a crop the core of a group, including the crop itself.
        min_score: minimum cosine of two neighbours, whatever their distance: query expansion makes
            a stranger resemble the nearest person.
        standardise: first remove the effect that each camera has on all of its crops.
        k1: length of a neighbour list, including the crop itself.
        k2: rows averaged by query expansion, including the crop itself.
    """

    eps: float = 0.5
    min_samples: int = 2
    min_score: float = -1.0
    standardise: bool = True
    k1: int = 12
    k2: int = 3
