"""Which network a config describes, with start weights or with trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from service.errors import InvalidInput
from service.model.manifest import MANIFEST_NAME
from training.core.backbone import PartlyFrozen
from training.core.checkpoint import (
    FILE_NAME,
    SELECTED_NAME,
    START_FILE,
    Checkpoint,
    load_checkpoint,
)
from training.core.config import TrainConfig
from training.core.instance_norm import add_instance_norm
from training.hhcl.network import EmbeddingNetwork, build_network
from training.scl.network import PartNetwork, build_part_network

Network = EmbeddingNetwork | PartNetwork


def new_network(config: TrainConfig, *, weights: str | None = None) -> Network:
    """Build the network that a config describes, with its start weights.

    Args:
        config: the run's config.
        weights: overrides the config's start weights.

    Returns:
        The network, in training mode.

    Raises:
        InvalidInput: the start weights cannot be read or do not fit.
    """
    start = config.model.weights if weights is None else weights
    earlier = earlier_run(start)
    network = _build(config, "none" if earlier else start)
    if earlier:
        load_start(network, load_checkpoint(earlier).network, earlier)
    return network


def restore_network(checkpoint: Checkpoint) -> Network:
    """Build the trained network of a checkpoint, in evaluation mode on the CPU.

    Args:
        checkpoint: from :func:`training.core.checkpoint.load_checkpoint`.

    Returns:
        The network.
    """
    network = new_network(checkpoint.config, weights="none")
    network.load_state_dict(checkpoint.network)
    return network.eval()


def _build(config: TrainConfig, weights: str) -> Network:
    network = _of_method(config, weights)
    if config.model.instance_norm:
        add_instance_norm(network.features, config.model.backbone)
    if config.model.frozen_stages:
        network.features = PartlyFrozen(network.features, config.model.frozen_stages)
    return network


def _of_method(config: TrainConfig, weights: str) -> Network:
    model = config.model
    match config.method:
        case "hhcl":
            return build_network(
                model.backbone,
                pooling=model.pooling,
                weights=weights,
                ghost_group=config.batch.ghost_group,
                last_stride=model.last_stride,
                style_mixing=config.augment.style_mixing,
            )
        case "scl":
            return build_part_network(
                model.backbone,
                config.selective,
                weights=weights,
                last_stride=model.last_stride,
                style_mixing=config.augment.style_mixing,
            )


def earlier_run(weights: str) -> Path | None:
    """The earlier run or exported model that start weights are taken from.

    Args:
        weights: the option ``model.weights``.

    Returns:
        The folder, or the run's checkpoint file; None if the weights are not a trained network's.
    """
    path = Path(weights)
    return path if path.is_dir() or path.name in {FILE_NAME, SELECTED_NAME, START_FILE} else None


def exported_model(weights: str) -> Path | None:
    """The exported model that start weights are taken from.

    Args:
        weights: the option ``model.weights``.

    Returns:
        The folder ``models/<name>``; None if the weights come from elsewhere.
    """
    return Path(weights) if is_exported(Path(weights)) else None


def is_exported(model: Path) -> bool:
    """Whether this is an exported ``models/<name>`` rather than a run or a checkpoint.

    Args:
        model: a folder or a file.

    Returns:
        True if the folder has a manifest.
    """
    return (model / MANIFEST_NAME).exists()


def load_start(network: Network, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give a network the tensors of a trained one.

    Args:
        network: the network to change.
        tensors: state of the trained network.
        source: where that network was found, for the message.

    Raises:
        InvalidInput: the two networks differ.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidInput(
            f"--weights {source}: its network differs from this run's: {error}"
        ) from error
