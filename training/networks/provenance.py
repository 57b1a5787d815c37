"""Whose identity labels a network has learned from: the only place that decides it."""

from __future__ import annotations

from service.model.manifest import IdentityLabels
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
    return load_checkpoint(run).identity_labels if run else "none"
