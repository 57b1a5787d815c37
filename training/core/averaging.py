"""The moving average of a network's weights, which is better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

N = TypeVar("N", bound=nn.Module)


class Average(Generic[N]):
    """An exponential moving average of a network's parameters and running statistics.

    Steps of a large learning rate scatter the weights around a better place; their average is close
    to it (Polyak and Juditsky 1992; as a teacher of pseudo-labels: MMT, Ge et al., ICLR 2020).

    Args:
        network: on its device; it is copied.
        decay: share of the average that a step keeps once the average is old enough, 0..1.
    """

    def __init__(self, network: N, decay: float) -> None:
        self._averaged = AveragedModel(
            network, multi_avg_fn=partial(_move, decay), use_buffers=True
        )

    @property
    def network(self) -> N:
        """The averaged network; the same object for as long as the average lives."""
        return cast("N", self._averaged.module)

    @property
    def steps(self) -> int:
        """How many steps the average has followed."""
        return int(self._averaged.n_averaged)

    def follow(self, network: N) -> None:
        """Move towards a network that has just taken a step; after the first step, copy it.

        Args:
            network: of the same shape, on the same device.
        """
        self._averaged.update_parameters(network)

    def restore(self, state: Mapping[str, Any], steps: int) -> None:
        """Continue from an earlier average.

        Args:
            state: the averaged network's state dict.
            steps: how many steps it has followed.
        """
        self._averaged.module.load_state_dict(state)
        self._averaged.n_averaged.fill_(steps)


def kept_share(decay: float, steps: int) -> float:
    """Compute which share of the average a step keeps.

    Args:
        decay: the share kept in the long run, 0..1.
        steps: how many steps the average has followed.

    Returns:
        ``decay``, but less in the first steps, so that the start weights are soon forgotten.
    """
    return min(decay, (1 + steps) / (10 + steps))


def _move(decay: float, averages: list[Tensor], values: list[Tensor], steps: Tensor | int) -> None:
    if torch.is_floating_point(averages[0]):
        get_ema_multi_avg_fn(kept_share(decay, int(steps)))(averages, values, steps)
        return
    for average, value in zip(averages, values, strict=True):
        average.copy_(value)  # a count of batches has no average
