"""From somebody else's ONNX file to a model folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import ValidationError

from service.embedding.imaging import Resize
from service.errors import ArtifactError, InvalidInput
from service.model.manifest import (
    IdentityLabels,
    Manifest,
    Three,
    Wrapping,
    sha256_of,
    write_manifest,
)
from training.core.config import broken_rules
from training.export.card import write_card
from training.export.drawn_crops import draw_crops
from training.export.model_folder import complete_or_nothing
from training.export.onnx_file import BATCHES, Parity, check_parity
from training.export.wrapping.graph import Way, ways_for, wrap_graph
from training.export.wrapping.original import (
    Original,
    first_line,
    open_original,
    require_size,
)
from training.export.wrapping.preprocessing import Colour, Preprocessing
from training.export.wrapping.presets import PRESETS, recognise
from training.networks.embedder import open_onnx

_PLACEHOLDER = "0" * 64
_NOISE = 8  # crops of noise, which differ more from one another than drawn people do
_HOW: dict[Way, str] = {
    "declared": "at once",
    "reshaped": "at once, after its inner reshapes were freed from the batch of one crop",
    "one by one": "one crop after the other, because its graph is made for one crop",
}


@dataclass(frozen=True, slots=True)
class WrapOptions:
    """What is known about the network. None means: take the preset's, or it is not known.

    Attributes:
        name: the model's name.
        preset: a family of :data:`~training.export.wrapping.presets.PRESETS`; None recognises it,
            unless mean, scale and colour are given.
        mean: see :class:`Preprocessing`.
        scale: likewise.
        colour: likewise.
        resize: likewise; None without a preset means bilinear.
        size: height and width, if the graph leaves them free.
        embedding: the output that holds the embedding, if there are several.
        licence: terms of the weights.
        identity_labels: whose identity labels the network has learned from.
        training_data: what it was trained on, in words.
        notes: Markdown for the card.
        overwrite: replace a model that is already at the output.
    """

    name: str
    preset: str | None = None
    mean: Three | None = None
    scale: Three | None = None
    colour: Colour | None = None
    resize: Resize | None = None
    size: tuple[int, int] | None = None
    embedding: str | None = None
    licence: str | None = None
    identity_labels: IdentityLabels = "not known"
    training_data: str | None = None
    notes: str = ""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The result.

    Attributes:
        manifest: the model's manifest.
        parity: how well the wrapped and the original network agree.
    """

    manifest: Manifest
    parity: Parity


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The preprocessing, and where it comes from."""

    preprocessing: Preprocessing
    preset: str | None
    recognised: bool


def wrap(file: Path, output: Path, options: WrapOptions) -> Wrapped:
    """Write a model folder from an ONNX file; it appears only when it is complete.

    Args:
        file: the network.
        output: the folder to create.
        options: what is known about it.

    Returns:
        The result.

    Raises:
        ArtifactError: the file is no network, or no wrapped graph gives its embeddings.
        Conflict: the folder is not free.
        InvalidInput: a value breaks its rule, or the preprocessing is neither given nor recognised.
    """
    original = open_original(file, options.embedding)
    chosen = _choose(original, options)
    size = _size(original, chosen, options)
    resize = chosen.preprocessing.resize
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE, *size, 3)).astype(np.uint8)
    crops = np.concatenate([draw_crops(*size, resize)[: max(BATCHES)], noise])
    reference = original.embed_singly(crops, chosen.preprocessing)
    manifest = _describe(file, original, chosen, size, reference.shape[1], options)
    with complete_or_nothing(output, overwrite=options.overwrite) as folder:
        network = folder / manifest.file
        way, parity = _write(original, chosen.preprocessing, manifest, network, reference, crops)
        wrapped = manifest.wrapped and manifest.wrapped.model_copy(update={"batches": _HOW[way]})
        sha256 = sha256_of(network)
        manifest = manifest.model_copy(update={"sha256": sha256, "wrapped": wrapped})
        write_manifest(folder, manifest)
        write_card(folder, manifest, options.notes)
    return Wrapped(manifest, parity)


def _choose(original: Original, options: WrapOptions) -> _Chosen:
    """Settle the preprocessing: what is asked for comes first, then the preset's."""
    asked = (options.mean, options.scale, options.colour)
    name, recognised = options.preset, False
    if name is None and None in asked:
        name = recognise(original.model.graph, original.input_name, original.output_name)
        recognised = name is not None
    if name is not None and name not in PRESETS:
        raise InvalidInput(f"preset {name!r} is not one of {', '.join(PRESETS)}")
    if name is not None:
        return _Chosen(_override(PRESETS[name].preprocessing, options), name, recognised)
    if options.mean is None or options.scale is None or options.colour is None:
        raise InvalidInput(
            "what the network expects of pixels was not recognised: give --mean, --scale and "
            f"--colour, or --preset with one of {', '.join(PRESETS)}"
        )
    resize = options.resize or "bilinear"
    return _Chosen(
        Preprocessing(options.mean, options.scale, options.colour, resize), None, recognised=False
    )


def _override(preset: Preprocessing, options: WrapOptions) -> Preprocessing:
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("mean", "scale", "colour", "resize")
        if getattr(options, name) is not None
    }
    return replace(preset, **changes)


def _size(original: Original, chosen: _Chosen, options: WrapOptions) -> tuple[int, int]:
    size = require_size(original, options.size)
    if size is None and chosen.preset is not None:
        size = require_size(original, PRESETS[chosen.preset].size)
    if size is None:
        raise InvalidInput("the graph leaves height and width free: give --size, such as 256x128")
    return size


def _describe(
    file: Path,
    original: Original,
    chosen: _Chosen,
    size: tuple[int, int],
    dimension: int,
    options: WrapOptions,
) -> Manifest:
    """What is known before the graph is built; its hash and way are added later."""
    preprocessing = chosen.preprocessing
    try:
        return Manifest(
            name=options.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=_PLACEHOLDER,
            input_height=size[0],
            input_width=size[1],
            resize=preprocessing.resize,
            dimension=dimension,
            opset=original.opset,
            training_data=options.training_data,
            identity_labels=options.identity_labels,
            licence=options.licence,
            wrapped=Wrapping(
                file=file.name,
                sha256=sha256_of(file),
                preset=chosen.preset,
                recognised=chosen.recognised,
                colour=preprocessing.colour,
                mean=preprocessing.mean,
                scale=preprocessing.scale,
                batches="",
            ),
        )
    except ValidationError as error:
        raise InvalidInput(f"manifest: {broken_rules(error)}") from error


def _write(
    original: Original,
    preprocessing: Preprocessing,
    manifest: Manifest,
    file: Path,
    reference: NDArray[np.float32],
    crops: NDArray[np.uint8],
) -> tuple[Way, Parity]:
    """Write the first graph that gives each crop the original's embedding, in every batch."""
    size, failures = (manifest.input_height, manifest.input_width), []
    for way in ways_for(original):
        model = wrap_graph(original, preprocessing, size, manifest.dimension, way)
        try:
            return way, _save_and_compare(model, manifest, file, reference, crops)
        except ArtifactError as error:
            failures.append(f"{way}: {error}")
    raise ArtifactError(
        f"no way to run batches of {', '.join(map(str, BATCHES))} gives the original's embeddings; "
        f"export it with a free batch. Tried: {'; '.join(failures)}"
    )


def _save_and_compare(
    model: onnx.ModelProto,
    manifest: Manifest,
    file: Path,
    reference: NDArray[np.float32],
    crops: NDArray[np.uint8],
) -> Parity:
    try:
        onnx.checker.check_model(model)
        onnx.save(model, file)
        wrapped = open_onnx(file, manifest)
        return check_parity(reference, wrapped, crops, between="wrapped and original network")
    except Exception as error:  # ONNX's and ONNX Runtime's exceptions share no other base
        raise ArtifactError(first_line(error)) from error
