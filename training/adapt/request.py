"""Input and result of an adaptation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from training.adapt.fitting import Asked
from training.adapt.plan import Plan
from training.data.datasets import DataSource


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for.

    Attributes:
        model: a run's folder, a checkpoint file, or an exported ``models/<name>``.
        source: the crops; only those to train on are read, and no identity.
        output: the adaptation's folder.
        rounds: overrides the plan's maximum number of rounds.
        learning_rate: overrides the plan's.
        share: share of the adapted weights in the result, 0..1; the rest is the start's.
        seed: source of every random choice.
        asked: values of the clustering that are not fitted to the crops.
    """

    model: Path
    source: DataSource
    output: Path
    rounds: int | None = None
    learning_rate: float | None = None
    share: float = 0.5
    seed: int = 1
    asked: Asked = field(default_factory=Asked)

    def change(self, plan: Plan) -> Plan:
        """The plan with the user's values."""
        rate = plan.learning_rate if self.learning_rate is None else self.learning_rate
        return replace(plan, rounds=self.rounds or plan.rounds, learning_rate=rate)


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The result of an adaptation.

    Attributes:
        checkpoint: the network to use; the start network if no round was better.
        best: number of the best round; 0 is the start.
        start: cycle agreement of the start network on the held-out crops.
        agreement: cycle agreement of the result.
        better: whether the gain is more than twice its standard error.
    """

    checkpoint: Path
    best: int
    start: float
    agreement: float
    better: bool
