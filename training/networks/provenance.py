"""Whose identity labels a network has learned from: the only place that decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from service.model.manifest import IdentityLabels, read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig
from training.networks.building import earlier_run, is_exported

REAL_PEOPLE: Final = "of real people"
_FROM_LEAST: tuple[IdentityLabels, ...] = (
    "none",
    "of synthetic people only",
    "not known",
    REAL_PEOPLE,
)


def identity_labels(config: TrainConfig) -> IdentityLabels:
    """Find out whose identity labels a run learns from, itself or through its start weights.

    A config never asks for real people's identity labels; only a run that measures a ceiling gets
    them, and says so itself (``training.run.true_identities``). Synthetic people's are used. A
    network that starts from one that has learned from labels has learned from them too.

    Args:
        config: the run's config.

    Returns:
        The words that checkpoints, manifests and cards use.

    Raises:
        InvalidInput: the start weights are an earlier run's, which cannot be read.
    """
    run = earlier_run(config.model.weights)
    before: IdentityLabels = labels_behind(run) if run else "none"
    own: IdentityLabels = "of synthetic people only" if config.data.synthetic else "none"
    return from_more_labels(before, own)


def from_more_labels(one: IdentityLabels, other: IdentityLabels) -> IdentityLabels:
    """What is said of a network that two sources went into.

    Args:
        one: whose labels the first has learned from.
        other: whose labels the second has learned from.

    Returns:
        The words of the source that must be named first.
    """
    return max(one, other, key=_FROM_LEAST.index)


def labels_behind(model: Path) -> IdentityLabels:
    """Read whose identity labels a finished model has learned from.

    Args:
        model: a run's folder, a checkpoint file, or an exported ``models/<name>``.

    Returns:
        The words that checkpoints, manifests and cards use.

    Raises:
        ArtifactError: the exported model breaks the contract.
        InvalidInput: there is no readable checkpoint.
    """
    if is_exported(model):
        return read_manifest(model).identity_labels
    return load_checkpoint(model).identity_labels
