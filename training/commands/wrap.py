"""``python -m training wrap``."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.errors import InvalidInput
from training.commands.options import (
    Licence,
    ModelName,
    ModelOutput,
    Notes,
    OverwriteModel,
    TrainingData,
    read_text,
)

if TYPE_CHECKING:
    from training.export.wrapping.wrap import Wrapped


class PresetChoice(StrEnum):
    """Families whose preprocessing is known; see ``training.export.wrapping.presets``."""

    TORCHREID = "torchreid"
    FASTREID = "fastreid"
    OML = "oml"
    TAO = "tao"
    OPEN_MODEL_ZOO = "open-model-zoo"


class LabelsChoice(StrEnum):
    """Whose identity labels a network has learned from."""

    REAL = "of real people"
    SYNTHETIC = "of synthetic people only"
    NOT_KNOWN = "not known"


Preset = Annotated[
    PresetChoice | None,
    typer.Option(help="Whose network it is; recognised by names in its graph if possible."),
]
Colour = Annotated[
    Literal["rgb", "bgr"] | None, typer.Option(help="Order of the input's channels.")
]
Resize = Annotated[
    Literal["bilinear", "bicubic"] | None, typer.Option(help="How crops are resized.")
]
Size = Annotated[
    str | None,
    typer.Option(metavar="HEIGHTxWIDTH", help="Of crops, if the graph leaves it free."),
]
Embedding = Annotated[
    str | None, typer.Option(help="The output that holds the embedding, if there are several.")
]
Three = Annotated[
    str | None,
    typer.Option(metavar="NUMBER[,NUMBER,NUMBER]", help="For pixels 0..255, as --colour orders."),
]


def wrap(
    file: Annotated[Path, typer.Argument(help="The ONNX file.")],
    output: ModelOutput,
    preset: Preset = None,
    mean: Three = None,
    scale: Three = None,
    colour: Colour = None,
    resize: Resize = None,
    size: Size = None,
    embedding: Embedding = None,
    name: ModelName = None,
    licence: Licence = None,
    identity_labels: Annotated[
        LabelsChoice, typer.Option(help="Whose identity labels it was trained with.")
    ] = LabelsChoice.NOT_KNOWN,
    training_data: TrainingData = None,
    notes: Notes = None,
    overwrite: OverwriteModel = False,
) -> None:
    """Wrap somebody else's ONNX network as a model folder for the service.

    Cast, order of axes and colours, (pixel - mean) / scale and unit length
    become part of the graph, and the batch becomes free. Batches of 1, 7 and
    32 crops are compared with the original network, run crop by crop.

    No test can tell whether mean, scale and colours are the right ones. If
    you have labelled crops, measure with evaluate.
    """
    from training.export.wrapping.preprocessing import parse_three
    from training.export.wrapping.wrap import WrapOptions
    from training.export.wrapping.wrap import wrap as wrap_file

    options = WrapOptions(
        name=name or output.resolve().name,
        preset=None if preset is None else preset.value,
        mean=None if mean is None else parse_three("mean", mean),
        scale=None if scale is None else parse_three("scale", scale),
        colour=colour,
        resize=resize,
        size=None if size is None else _parse_size(size),
        embedding=embedding,
        licence=licence,
        identity_labels=identity_labels.value,
        training_data=training_data,
        notes="" if notes is None else read_text(notes),
        overwrite=overwrite,
    )
    _tell(wrap_file(file, output, options))
    typer.echo(f"wrapped: {output}")


def _tell(made: Wrapped) -> None:
    manifest = made.manifest
    if (found := manifest.wrapped) is not None:
        if found.recognised:
            typer.echo(f"recognised by names in its graph: preset {found.preset}")
        typer.echo(
            f"input: {found.colour.upper()}, mean {found.mean}, scale {found.scale}, resized "
            f"{manifest.resize} to {manifest.input_height}x{manifest.input_width}"
        )
        typer.echo(f"a batch runs {found.batches}")
    typer.echo(f"wrapped and original network agree: {made.parity}")


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)
    if found is None:
        raise InvalidInput(f"size {text!r}: must be HEIGHTxWIDTH, such as 256x128")
    return int(found[1]), int(found[2])
