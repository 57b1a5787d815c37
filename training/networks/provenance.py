"""Whose identity labels a network has learned from: the only place that decides it."""

from __future__ import annotations

from pathlib import Path

from service.model.manifest import MANIFEST_NAME, IdentityLabels, read_manifest
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig
from training.networks.building import earlier_run


def identity_labels(config: TrainConfig) -> IdentityLabels:
    """Find out whose identity labels a run learns from, itself or through its start weights.

    Real people's identity labels are never used. Synthetic people's are, and a network that starts
    from one that has learned from them has learned from them too.

    Args:
        config: the run's config.

    Returns:
        The words that checkpoints, manifests and cards use.

    Raises:
        InvalidInput: the start weights are an earlier run's, which cannot be read.
    """
    if config.data.synthetic:
        return "of synthetic people only"
    run = earlier_run(config.model.weights)
    return labels_behind(run) if run else "none"


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
    if (model / MANIFEST_NAME).exists():
        return read_manifest(model).identity_labels
    return load_checkpoint(model).identity_labels
