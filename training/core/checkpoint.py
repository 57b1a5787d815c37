"""Saving and resuming a run: everything the next epoch needs, in one file written atomically."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from service.errors import InvalidInput
from training.core.config import TrainConfig, parse_config
from training.core.network import EmbeddingNetwork, build_network
from training.core.part_network import PartNetwork, build_part_network

Network = EmbeddingNetwork | PartNetwork

FILE_NAME = "checkpoint.pt"
SELECTED_NAME = "selected.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after ``epoch`` finished epochs. Random choices need none: each epoch seeds its own.

    Attributes:
        epoch: finished epochs.
        config: the run's config.
        network: state dict.
        optimiser: state dict.
        scheduler: state dict.
        banks: by name, where the method keeps some from epoch to epoch (SCL).
        line: of the epoch for ``metrics.jsonl``, before it was measured; empty outside a run.
    """

    epoch: int
    config: TrainConfig
    network: dict[str, Any]
    optimiser: dict[str, Any]
    scheduler: dict[str, Any]
    banks: dict[str, Tensor] = field(default_factory=dict)
    line: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(run: Path, checkpoint: Checkpoint, name: str = FILE_NAME) -> None:
    """Replace the run's checkpoint; a kill in between leaves the old one whole.

    Args:
        run: the run's folder.
        checkpoint: what to save.
        name: of the file.
    """
    state = {
        "epoch": checkpoint.epoch,
        "config": checkpoint.config.as_dict(),
        "network": checkpoint.network,
        "optimiser": checkpoint.optimiser,
        "scheduler": checkpoint.scheduler,
        "banks": checkpoint.banks,
        "line": checkpoint.line,
    }
    unfinished = run / f"{name}.unfinished"
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(run / name)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; tensors and plain values only, never code.

    Args:
        path: the file, or the run's folder.

    Returns:
        The checkpoint.

    Raises:
        InvalidInput: missing, damaged, or from a config this version does not know.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return Checkpoint(
            epoch=state["epoch"],
            config=parse_config(state["config"], str(file)),
            network=state["network"],
            optimiser=state["optimiser"],
            scheduler=state["scheduler"],
            banks=state.get("banks", {}),  # older checkpoints have none
            line=state.get("line", {}),
        )
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"{file}: not a readable checkpoint ({error})") from error


def restore_network(checkpoint: Checkpoint) -> Network:
    """The trained network, in evaluation mode on the CPU.

    Args:
        checkpoint: from :func:`load_checkpoint`.

    Returns:
        The network.
    """
    network = new_network(checkpoint.config, weights="none")
    network.load_state_dict(checkpoint.network)
    return network.eval()


def new_network(config: TrainConfig, *, weights: str | None = None) -> Network:
    """The network a config describes.

    Args:
        config: the run's config.
        weights: instead of the config's start weights.

    Returns:
        The network, in training mode.

    Raises:
        InvalidInput: the start weights cannot be had.
    """
    model = config.model
    start = model.weights if weights is None else weights
    earlier = _earlier_run(start)
    begin_with = "none" if earlier else start
    match config.method:
        case "hhcl":
            network: Network = build_network(
                model.backbone,
                pooling=model.pooling,
                weights=begin_with,
                ghost_group=config.batch.ghost_group,
                last_stride=model.last_stride,
                style_mixing=config.augment.style_mixing,
            )
        case "scl":
            network = build_part_network(
                model.backbone,
                config.selective,
                weights=begin_with,
                last_stride=model.last_stride,
                style_mixing=config.augment.style_mixing,
            )
    if earlier:
        _load_earlier(network, earlier)
    return network


def _earlier_run(weights: str) -> Path | None:
    path = Path(weights)
    return path if path.is_dir() or path.name in {FILE_NAME, SELECTED_NAME} else None


def _load_earlier(network: Network, run: Path) -> None:
    try:
        network.load_state_dict(load_checkpoint(run).network)
    except RuntimeError as error:
        raise InvalidInput(f"--weights {run}: another network than this run's: {error}") from error


def parameters_of(network: nn.Module) -> list[nn.Parameter]:
    """Those that learn; the neck's bias does not."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
