"""Choose the options of an adaptation by its crops and cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.adapt.fitting import Fit
from training.core.method_options import ClusterOptions

_LINKED = ClusterOptions(
    scheme="camera-link",
    link_score="consensus",
    links="soft",
    link_first=0.0,
    link_last=0.3,  # the worse links are mostly wrong; soft links need no decision about them
)


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


def choose_plan(crops: int, cameras: int, batch: int, fit: Fit) -> Plan:
    """Choose the plan for a few hundred to a few hundred thousand crops.

    Args:
        crops: number of crops to train on.
        cameras: number of cameras; clusters are linked across them if there are several.
        batch: crops per batch.
        fit: neighbourhood and radius for these crops.

    Returns:
        The plan.
    """
    return Plan(
        rounds=10,
        patience=3,
        epochs=2 if crops < 20000 else 1,
        iterations=min(400, max(10, math.ceil(2 * crops / batch))),
        learning_rate=1e-4,
        clustering=fit.apply(_LINKED if cameras > 1 else ClusterOptions(scheme="dbscan")),
    )
