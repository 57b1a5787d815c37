"""Warm up a network without pretrained weights on the crops, before they are clustered.

Random features form random clusters, and HHCL would learn those. Barlow Twins (Zbontar et al.,
ICML 2021) makes the features of two augmentations of a crop equal and decorrelates the dimensions.
It needs no label and no knowledge of which crops show the same person.

Letters: B batch, P dimensions of the projector.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.core.config import TrainConfig
from training.core.distributed import World
from training.core.engine import build_optimiser
from training.core.pixels import Pixels
from training.core.precision import number_type, passes_in
from training.core.transforms import augment

Int64s = NDArray[np.int64]

_PROJECTED = 1024


def warm_up(network: nn.Module, pixels: Pixels, config: TrainConfig) -> list[float]:
    """Train a network to tell crops apart despite augmentation; the seed decides everything.

    Args:
        network: maps (N, 3, H, W) to (N, D), on the device of the crops; left in training mode.
        pixels: at least two crops.
        config: the run's config; a warm-up epoch has ``schedule.iterations`` batches, or, if that
            is 0, as many as the crops fill.

    Returns:
        Mean loss of each epoch.
    """
    seeds = np.random.SeedSequence(config.seed, spawn_key=(0,))  # a stream that no epoch uses
    rng = np.random.default_rng(seeds)
    torch.manual_seed(int(seeds.generate_state(1)[0]))
    device = next(network.parameters()).device
    with torch.no_grad():
        dimension = network.eval()(_two_views(pixels, np.arange(1), config, rng)[0]).shape[1]
    twins = nn.Sequential(network, _projector(dimension)).to(device).train()
    optimiser = build_optimiser(twins, config.schedule, device)
    losses = []
    for epoch in range(config.warmup.epochs):
        name = f"warm-up {epoch + 1}/{config.warmup.epochs}"
        losses.append(_warm_up_epoch(twins, optimiser, pixels, config, rng, name))
        tqdm.write(f"{name}: loss {losses[-1]:.3f}")
    return losses


def warm_up_together(network: nn.Module, pixels: Pixels, config: TrainConfig, world: World) -> None:
    """Warm up in the first process and copy the network to all others.

    Args:
        network: on the world's device; equal in every process afterwards.
        pixels: as for :func:`warm_up`.
        config: the run's config.
        world: the run's processes.
    """
    network.load_state_dict(world.from_first(_warm_state, network, pixels, config))


def _warm_state(network: nn.Module, pixels: Pixels, config: TrainConfig) -> dict[str, Tensor]:
    warm_up(network, pixels, config)
    return {name: tensor.cpu() for name, tensor in network.state_dict().items()}


def barlow_twins_loss(one: Tensor, other: Tensor, redundancy: float) -> Tensor:
    """Compute the distance of two views' cross-correlation from the identity (equation 1).

    Args:
        one: (B, P) float, projections of one augmentation.
        other: (B, P) float, projections of another; row i belongs to the same crop.
        redundancy: lambda, weight of the off-diagonal terms.

    Returns:
        Scalar: ``sum_i (1 - C_ii)^2 + lambda * sum_{i != j} C_ij^2``.
    """
    correlation = _standardise(one).T @ _standardise(other) / len(one)  # (P, P)
    same = correlation.diagonal()
    apart = correlation.square().sum() - same.square().sum()
    return (1 - same).square().sum() + redundancy * apart


def _standardise(rows: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(rows.float(), dim=0, correction=0)
    return (rows.float() - mean) / (deviation + 1e-6)


def _projector(dimension: int) -> nn.Module:
    """Discarded after the warm-up: information that it drops for the loss stays in the network."""
    return nn.Sequential(
        nn.Linear(dimension, _PROJECTED, bias=False),
        nn.BatchNorm1d(_PROJECTED),
        nn.ReLU(),
        nn.Linear(_PROJECTED, _PROJECTED, bias=False),
    )


def _warm_up_epoch(
    twins: nn.Module,
    optimiser: torch.optim.Optimizer,
    pixels: Pixels,
    config: TrainConfig,
    rng: np.random.Generator,
    name: str,
) -> float:
    size = min(config.warmup.batch, len(pixels))
    iterations = config.schedule.iterations or math.ceil(len(pixels) / size)
    device = next(twins.parameters()).device
    kind = number_type(config.model.precision, device)
    losses = []
    for _ in tqdm(range(iterations), desc=name, unit="batch", leave=False):
        chosen = rng.choice(len(pixels), size=size, replace=False)
        views = _two_views(pixels, chosen, config, rng)
        with passes_in(kind, device):
            one, other = (twins(view) for view in views)
        loss = barlow_twins_loss(one, other, config.warmup.redundancy)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def _two_views(
    pixels: Pixels, chosen: Int64s, config: TrainConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    crops = pixels.take(chosen)
    return augment(crops, config.augment, rng), augment(crops, config.augment, rng)
