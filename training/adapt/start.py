"""Read the network that an adaptation starts from, and save it as a run's checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from service.errors import InvalidInput
from service.model.manifest import read_manifest
from training.adapt.request import Request
from training.core.checkpoint import FILE_NAME, Checkpoint, load_checkpoint, save_checkpoint
from training.core.config import TrainConfig
from training.core.options import DataOptions
from training.data.images import Images
from training.networks.building import Network, is_exported, restore_network
from training.networks.exported import read_exported
from training.networks.provenance import labels_behind

START_NAME = "start"


def crop_size(model: Path) -> tuple[int, int]:
    """Height and width of the crops that a model takes.

    Args:
        model: a run's folder, a checkpoint file, or an exported model.

    Returns:
        Height and width in pixels.
    """
    if is_exported(model):
        manifest = read_manifest(model)
        return manifest.input_height, manifest.input_width
    size = load_checkpoint(model).config.model
    return size.height, size.width


def keep_start(request: Request, crops: Images, device: torch.device) -> TrainConfig:
    """Save the start network as a run's checkpoint, or check the one that was saved before.

    Args:
        request: what the user asks for.
        crops: all crops; an exported model is read back with their help.
        device: where the network runs.

    Returns:
        The start network's config, with the request's data and seed.

    Raises:
        ArtifactError: an exported model cannot be read back exactly.
        InvalidInput: the folder was started with another model, data set or seed, or the model was
            not trained by HHCL.
    """
    folder = request.output / START_NAME
    source = request.source
    data = DataOptions(
        path=str(source.path),
        layout=source.layout,
        pattern=source.pattern,
        skip_bad=source.skip_bad,
    )
    if (folder / FILE_NAME).exists():
        return _check_saved(request, data, load_checkpoint(folder).config)
    config, network = _read_start(request.model, crops, device)
    if config.method != "hhcl":
        raise InvalidInput(f"{request.model}: method {config.method}; only hhcl can be adapted")
    config = replace(
        config,
        data=data,
        model=replace(config.model, weights=str(request.model)),
        seed=request.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    labels = labels_behind(request.model)
    start = Checkpoint(0, config, network.state_dict(), {}, {}, identity_labels=labels)
    save_checkpoint(folder, start)
    return config


def _check_saved(request: Request, data: DataOptions, given: TrainConfig) -> TrainConfig:
    asked = (data, str(request.model), request.seed)
    if (given.data, given.model.weights, given.seed) != asked:
        raise InvalidInput(
            f"{request.output} was started from {given.model.weights} with the crops in "
            f"{given.data.path} and seed {given.seed}; resume with the same"
        )
    return given


def _read_start(model: Path, crops: Images, device: torch.device) -> tuple[TrainConfig, Network]:
    if is_exported(model):
        return read_exported(model, crops.pixels, device=device)
    checkpoint = load_checkpoint(model)
    return checkpoint.config, restore_network(checkpoint)
