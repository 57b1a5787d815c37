"""Export a checkpoint to ``models/<name>/``: the network, its manifest and its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from service.errors import Conflict, InvalidInput
from service.machine.durable import replaced_folder
from service.model.manifest import (
    MANIFEST_NAME,
    Accuracy,
    Calibration,
    IdentityLabels,
    Manifest,
    sha256_of,
    write_manifest,
)
from training.core.checkpoint import Checkpoint
from training.core.config import TrainConfig, broken_rules
from training.data.datasets import Dataset
from training.export.calibrating import calibrate_on
from training.export.card import write_card
from training.export.drawn_crops import draw_crops
from training.export.onnx_file import BATCHES, OPSET, Parity, check_parity, write_onnx
from training.measure.held_out import (
    HeldOutCrops,
    HeldOutEmbeddings,
    embed_held_out,
    load_held_out,
    measure_each,
)
from training.networks.building import restore_network
from training.networks.embedder import (
    Embedder,
    TorchEmbedder,
    flipped,
    open_onnx,
    start_embedder,
)

_CPU = torch.device("cpu")
_PLACEHOLDER = "0" * 64


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export states and does besides writing the network.

    Attributes:
        name: the model's name.
        licence: terms of the weights.
        training_data: what the model was trained on; None takes it from the run's config.
        notes: Markdown for the card: what figures cannot say.
        false_match_rate: share of impostor pairs that may reach the service's threshold.
        before_training: also measure the network with which training began.
        start_weights: overrides the config's start weights, if their file has moved.
        only_measured: data sets that give accuracy but no calibration, so that a model without real
            people's labels does not take its threshold from them.
        overwrite: replace a model that is already at the output.
        flip: also embed each crop's mirror image, in the graph; takes twice the time.
    """

    name: str
    licence: str | None = None
    training_data: str | None = None
    notes: str = ""
    false_match_rate: float = 0.01
    before_training: bool = False
    start_weights: str | None = None
    only_measured: tuple[Dataset, ...] = ()
    overwrite: bool = False
    flip: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export.

    Attributes:
        manifest: the model's manifest.
        parity: how well ONNX Runtime and PyTorch agree.
        compared_on: on which crops they were compared, in words.
    """

    manifest: Manifest
    parity: Parity
    compared_on: str


def export_model(
    checkpoint: Checkpoint, datasets: Sequence[Dataset], output: Path, options: ExportOptions
) -> Exported:
    """Write a model folder; it appears only when it is complete.

    Data sets give the accuracy, the calibration, and the crops on which ONNX and PyTorch must
    agree. Without data sets the model has neither figure, and drawn people are compared instead.

    Args:
        checkpoint: the run's; if the run is unfinished, the manifest says so.
        datasets: data sets whose query and gallery show people who were not trained on.
        output: the folder to create.
        options: what to state and do.

    Returns:
        The result.

    Raises:
        ArtifactError: the exported network does not agree with PyTorch.
        Conflict: the folder is not free.
        InvalidInput: a value breaks its rule, or the data cannot be read or allows no calibration.
    """
    network = restore_network(checkpoint)
    manifest = _describe(checkpoint, network.dimension, options)
    alone = TorchEmbedder(network, manifest.input_height, manifest.input_width, _CPU)
    trained = flipped(alone, options.flip)
    with complete_or_nothing(output, overwrite=options.overwrite) as folder:
        file = folder / manifest.file
        write_onnx(network, trained.height, trained.width, file, flip=options.flip)
        exported = open_onnx(file, manifest)
        every = (*datasets, *options.only_measured)
        crops = [load_held_out(dataset, exported) for dataset in every]
        compared, compared_on = _choose_crops(crops, trained)
        parity = check_parity(trained.embed(compared), exported, compared)
        held_out = [embed_held_out(exported, each) for each in crops]
        manifest = manifest.model_copy(
            update={
                "sha256": sha256_of(file),
                "accuracy": measure_each(held_out),
                "accuracy_before": _measure_start(checkpoint.config, crops, options),
                "calibration": _calibrate(held_out[: len(datasets)], options.false_match_rate),
            }
        )
        write_manifest(folder, manifest)
        write_card(folder, manifest, options.notes)
    return Exported(manifest, parity, compared_on)


def recipe_of(config: TrainConfig) -> dict[str, Any]:
    """Convert a run's config to plain values, without the folders of the training machine.

    Args:
        config: the run's config.

    Returns:
        A tree that :func:`training.core.config.parse_config` reads; paths keep only the last part.
    """
    recipe = config.as_dict()
    recipe["data"]["path"] = Path(recipe["data"]["path"]).name
    for more in ("also", "synthetic"):
        recipe["data"][more] = [Path(path).name for path in recipe["data"][more]]
    recipe["model"]["weights"] = Path(recipe["model"]["weights"]).name
    return recipe


def _describe(checkpoint: Checkpoint, dimension: int, options: ExportOptions) -> Manifest:
    """What is known in advance; the network's hash and all measurements are added later."""
    size, recipe = checkpoint.config.model, recipe_of(checkpoint.config)
    try:
        return Manifest(
            name=options.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=_PLACEHOLDER,
            input_height=size.height,
            input_width=size.width,
            dimension=dimension,
            flip=options.flip,
            opset=OPSET,
            recipe=recipe,
            trained_epochs=checkpoint.epoch,
            training_data=options.training_data
            or _trained_on(recipe["data"], checkpoint.identity_labels),
            identity_labels=checkpoint.identity_labels,
            licence=options.licence,
        )
    except ValidationError as error:
        raise InvalidInput(f"manifest: {broken_rules(error)}") from error


def _trained_on(data: Mapping[str, Any], labels: IdentityLabels) -> str:
    """The folders of a run's crops and what was known of them, in words."""
    unlabelled = [name for name in (data["path"], *data["also"]) if name]
    if not unlabelled and not data["synthetic"]:
        unlabelled = ["unknown"]
    told = (
        (unlabelled, "training crops" + ", without any label" * (labels != "of real people")),
        (data["synthetic"], "synthetic people, with their identities"),
    )
    return "; ".join(
        f"{' and '.join(names)}: {'its' if len(names) == 1 else 'their'} {what}"
        for names, what in told
        if names
    )


def _choose_crops(
    crops: Sequence[HeldOutCrops], embedder: Embedder
) -> tuple[NDArray[np.uint8], str]:
    """As many crops as the largest batch, spread over the data, and a description of them."""
    if crops:
        images = np.concatenate([each.query.pixels for each in crops])
        origin = "query crops of " + ", ".join(each.dataset.name for each in crops)
    else:
        images, origin = (
            draw_crops(embedder.height, embedder.width, embedder.resize),
            "drawn people",
        )
    spread = np.linspace(0, len(images) - 1, max(BATCHES)).astype(int)
    return images[spread], origin


def _measure_start(
    config: TrainConfig, crops: Sequence[HeldOutCrops], options: ExportOptions
) -> tuple[Accuracy, ...]:
    if not options.before_training:
        return ()
    start = flipped(start_embedder(config, options.start_weights, _CPU), options.flip)
    return measure_each(embed_held_out(start, each) for each in crops)


def _calibrate(
    held_out: Sequence[HeldOutEmbeddings], false_match_rate: float
) -> Calibration | None:
    return calibrate_on(held_out, false_match_rate) if held_out else None


@contextmanager
def complete_or_nothing(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder that replaces the output when the block ends without an error."""
    output = output.resolve()
    _check_free(output, overwrite)
    try:
        with replaced_folder(output) as fresh:
            yield fresh
    except OSError as error:
        raise InvalidInput(f"{output}: {error.strerror or error}") from error


def _check_free(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise Conflict(f"{output} exists and is not a folder")
    if any(output.iterdir()) and not (output / MANIFEST_NAME).exists():
        raise Conflict(f"{output} is neither empty nor a model: choose another folder")
    if (output / MANIFEST_NAME).exists() and not overwrite:
        raise Conflict(f"{output} already holds a model; --overwrite replaces it")
