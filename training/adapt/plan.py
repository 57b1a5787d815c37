"""How an adaptation goes about it: what follows from how many crops and cameras there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.core.options import ClusterOptions


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the number of crops and cameras.

    Attributes:
        rounds: at most.
        patience: rounds without a new best before it ends.
        epochs: of a round.
        iterations: batches an epoch, about two passes over the crops.
        learning_rate: of all rounds: gentle, so that what the model knows is not forgotten.
        clustering: links across cameras where there are several.
    """

    rounds: int
    patience: int
    epochs: int
    iterations: int
    learning_rate: float
    clustering: ClusterOptions


def choose_clustering(crops: int, cameras: int) -> ClusterOptions:
    """How pseudo-labels are made of so many crops.

    Args:
        crops: of all cameras.
        cameras: that took them.

    Returns:
        The options; links across cameras where there are several.
    """
    of_one = crops / cameras
    if of_one < 4000:
        k1, k2, min_samples = 12, 3, 2
    elif of_one < 20000:
        k1, k2, min_samples = 20, 4, 3
    else:
        k1, k2, min_samples = 30, 6, 4
    return ClusterOptions(
        scheme="camera-link" if cameras > 1 else "dbscan",
        k1=k1,
        k2=k2,
        eps=0.45,
        min_samples=min_samples,
        link_first=0.5,
        link_last=1.0,
        link_score="sinkhorn",
    )


def choose_plan(crops: int, cameras: int, batch: int) -> Plan:
    """Defaults for a few hundred to a few hundred thousand crops.

    Args:
        crops: to train on.
        cameras: that took them.
        batch: crops in a batch.

    Returns:
        The plan.
    """
    return Plan(
        rounds=10,
        patience=3,
        epochs=2 if crops < 20000 else 1,
        iterations=min(400, max(10, math.ceil(2 * crops / batch))),
        learning_rate=1e-4,
        clustering=choose_clustering(crops, cameras),
    )
