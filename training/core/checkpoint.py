"""Save a run and read it back: one file holds everything that the next epoch needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from service.model.manifest import IdentityLabels
from training.core.config import TrainConfig, parse_config

FILE_NAME = "checkpoint.pt"
SELECTED_NAME = "selected.pt"
START_FILE = "start.pt"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run after ``epoch`` finished epochs. It holds no random state: each epoch is seeded anew.

    Attributes:
        epoch: number of finished epochs.
        config: the run's config.
        network: state dict of the network that is the result.
        optimiser: state dict.
        scheduler: state dict.
        banks: by name, if the method keeps banks from epoch to epoch (SCL).
        line: the epoch's line for ``metrics.jsonl``, before measuring; empty outside a run.
        identity_labels: whose labels the network has learned from, in all its runs.
        learning: state dict of the network that goes on learning, if ``network`` is the average of
            its steps; else empty.
        averaged: number of the steps in the average.
    """

    epoch: int
    config: TrainConfig
    network: dict[str, Any]
    optimiser: dict[str, Any]
    scheduler: dict[str, Any]
    banks: dict[str, Tensor] = field(default_factory=dict)
    line: dict[str, Any] = field(default_factory=dict)
    identity_labels: IdentityLabels = "none"
    learning: dict[str, Any] = field(default_factory=dict)
    averaged: int = 0


def save_checkpoint(run: Path, checkpoint: Checkpoint, name: str = FILE_NAME) -> None:
    """Replace the run's checkpoint; if the process is killed meanwhile, the old one stays whole.

    Args:
        run: the run's folder.
        checkpoint: what to save.
        name: the file's name.
    """
    state = {
        "epoch": checkpoint.epoch,
        "config": checkpoint.config.as_dict(),
        "network": checkpoint.network,
        "optimiser": checkpoint.optimiser,
        "scheduler": checkpoint.scheduler,
        "banks": checkpoint.banks,
        "line": checkpoint.line,
        "identity_labels": checkpoint.identity_labels,
        "learning": checkpoint.learning,
        "averaged": checkpoint.averaged,
    }
    with replaced_file(run / name) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Only tensors and plain values are read, never code.

    Args:
        path: the file, or the run's folder.

    Returns:
        The checkpoint.

    Raises:
        InvalidInput: the file is missing or damaged, or its config has options that this version
            does not know.
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
            identity_labels=state.get("identity_labels", "none"),
            learning=state.get("learning", {}),
            averaged=state.get("averaged", 0),
        )
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(f"{file}: not a readable checkpoint ({error})") from error
