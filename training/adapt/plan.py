"""Choose the options of an adaptation by the number of crops and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.core.options import ClusterOptions


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of an adaptation.

    Attributes:
        rounds: maximum number of rounds.
        patience: rounds without a new best before the adaptation stops.
        epochs: epochs per round.
        iterations: batches per epoch, about two passes over the crops.
        learning_rate: of all rounds; low, so that the model forgets little.
        clustering: links clusters across cameras if there are several.
    """

    rounds: int
    patience: int
    epochs: int
    iterations: int
    learning_rate: float
    clustering: ClusterOptions


def choose_clustering(crops: int, cameras: int) -> ClusterOptions:
    """Choose how pseudo-labels are made.

    Args:
        crops: number of crops, over all cameras.
        cameras: number of cameras.

    Returns:
        The options; clusters are linked across cameras if there are several.
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
    """Choose the plan for a few hundred to a few hundred thousand crops.

    Args:
        crops: number of crops to train on.
        cameras: number of cameras.
        batch: crops per batch.

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
