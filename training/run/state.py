"""What a run carries from epoch to epoch, whatever its method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from service.model.manifest import IdentityLabels
from training.core.averaging import Average
from training.core.checkpoint import Checkpoint
from training.core.config import TrainConfig
from training.core.engine import build_scheduler
from training.networks.provenance import identity_labels
from training.run.clusters import Clusters
from training.run.log import EpochMetrics

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class RunState(Generic[N]):
    """The network and what drives it.

    Attributes:
        finished: epochs finished when the process started.
        network: the network that learns.
        optimiser: over the network's parameters.
        scheduler: changes the learning rate from epoch to epoch.
        identity_labels: whose labels the network has learned from, in all its runs.
        average: of the network's steps; None if the run does without.
    """

    finished: int
    network: N
    optimiser: torch.optim.Optimizer
    scheduler: LRScheduler
    identity_labels: IdentityLabels
    average: Average[N] | None = None

    @property
    def result(self) -> N:
        """The network that embeds, is measured and saved: the average, if there is one."""
        return self.network if self.average is None else self.average.network

    @classmethod
    def begin(
        cls,
        network: N,
        optimiser: torch.optim.Optimizer,
        config: TrainConfig,
        saved: Checkpoint | None,
        average: Average[N] | None = None,
    ) -> Self:
        """Start a run, or continue it from its last checkpoint.

        Args:
            network: on its device; receives the saved weights.
            optimiser: over the network's parameters; receives the saved state.
            config: the run's config.
            saved: the last checkpoint; None for a new run.
            average: of the network's steps; receives the saved average.

        Returns:
            The state before the next epoch.
        """
        scheduler = build_scheduler(optimiser, config.schedule)
        if saved:
            network.load_state_dict(saved.learning or saved.network)
            optimiser.load_state_dict(saved.optimiser)
            scheduler.load_state_dict(saved.scheduler)
            if average is not None:
                average.restore(saved.network, saved.averaged)
        # A resumed run does not need its start weights any more; their file may be gone.
        labels = saved.identity_labels if saved else identity_labels(config)
        return cls(saved.epoch if saved else 0, network, optimiser, scheduler, labels, average)

    def finish_epoch(
        self,
        epoch: int,
        loss: float,
        config: TrainConfig,
        *,
        clusters: Clusters | None = None,
        banks: dict[str, Tensor] | None = None,
    ) -> Checkpoint:
        """Advance the learning-rate schedule and make the epoch's checkpoint.

        Args:
            epoch: number of the epoch, from 1.
            loss: the epoch's mean loss.
            config: the run's config.
            clusters: the epoch's pseudo-labels, if the method makes any.
            banks: by name, if the method keeps banks from epoch to epoch.

        Returns:
            The checkpoint, with the epoch's line for the log.
        """
        learning_rate = float(self.scheduler.get_last_lr()[0])
        self.scheduler.step()
        return Checkpoint(
            epoch=epoch,
            config=config,
            network=self.result.state_dict(),
            optimiser=self.optimiser.state_dict(),
            scheduler=self.scheduler.state_dict(),
            banks=banks or {},
            line=asdict(EpochMetrics(epoch, loss, learning_rate, clusters)),
            identity_labels=self.identity_labels,
            learning={} if self.average is None else self.network.state_dict(),
            averaged=0 if self.average is None else self.average.steps,
        )


def mean_loss(losses: Iterable[Tensor]) -> float:
    """Average the losses of an epoch's batches.

    Args:
        losses: detached scalars, at least one; each comes from one training step.

    Returns:
        Their mean.
    """
    # Losses stay on the device until the end, because reading each one would stall a GPU.
    return float(torch.stack(list(losses)).mean())
