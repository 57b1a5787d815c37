"""Take a trained network part of the way back to its start, so that it keeps what the start knew.

A network that was fitted to some cameras forgets others. Half way between start and end it keeps
most of what it gained and regains most of what it forgot (WiSE-FT, Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from service.errors import InvalidInput
from training.core.checkpoint import START_FILE, Checkpoint, load_checkpoint
from training.networks.building import earlier_run, is_exported
from training.networks.provenance import from_more_labels


def blend(start: Checkpoint, trained: Checkpoint, share: float) -> Checkpoint:
    """Interpolate between the weights of two networks.

    Args:
        start: before the training.
        trained: after it, of the same shape.
        share: share of the trained weights, 0..1.

    Returns:
        The trained checkpoint with the blended network, and with the labels behind both.

    Raises:
        InvalidInput: the networks have different tensors.
    """
    if (shapes := _shapes(start)) != _shapes(trained):
        differing = sorted(name for name, _ in shapes ^ _shapes(trained))
        raise InvalidInput(
            f"start and run have different networks: {len(differing)} tensors differ, such as "
            f"{differing[0]}"
        )
    network = {
        name: start.network[name] + share * (value - start.network[name])
        if value.is_floating_point()
        else value
        for name, value in trained.network.items()
    }
    labels = from_more_labels(start.identity_labels, trained.identity_labels)
    return replace(trained, network=network, identity_labels=labels)


def _shapes(checkpoint: Checkpoint) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(tensor.shape)) for name, tensor in checkpoint.network.items()}


def start_of(run: Path, trained: Checkpoint) -> Checkpoint:
    """Find the network that a run started from.

    Args:
        run: the run's folder, or a checkpoint file in it.
        trained: the run's checkpoint.

    Returns:
        The start that the run kept because it read an exported model back, or else the checkpoint
        of the earlier run.

    Raises:
        InvalidInput: the run did not start from a trained network, or that is not there any more.
    """
    folder = run if run.is_dir() else run.parent
    weights = trained.config.model.weights
    if (file := folder / START_FILE).exists():
        kept = load_checkpoint(file)
        # A run that was begun in this folder and given up may have left another start.
        if kept.config.model.weights == weights:
            return kept
    earlier = earlier_run(weights)
    if earlier is None or is_exported(earlier):
        raise InvalidInput(
            f"{run}: it started from {weights!r} and kept no {START_FILE}; name the start with "
            "--start"
        )
    return load_checkpoint(earlier)
