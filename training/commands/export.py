"""``python -m training export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.errors import InvalidInput
from training.commands.options import (
    FalseMatchRate,
    HeldOutData,
    LayoutName,
    Licence,
    MeasuredData,
    ModelName,
    ModelOutput,
    Notes,
    OverwriteModel,
    SkipBad,
    StartWeights,
    TrainingData,
    read_text,
)

if TYPE_CHECKING:
    from training.data.datasets import Dataset
    from training.export.model_folder import Exported, ExportOptions


Flip = Annotated[
    bool,
    typer.Option(
        "--flip", help="Also embed each crop's mirror image; the model then takes twice the time."
    ),
]


Quantize = Annotated[
    bool,
    typer.Option(
        "--quantize",
        help="Also write OUTPUT-int8, a faster model of 8 bits for processors; needs --data.",
    ),
]


def export(
    run: Annotated[Path, typer.Option(help="Folder of the run, or its checkpoint file.")],
    output: ModelOutput,
    data: HeldOutData = None,
    measure: MeasuredData = None,
    layout: LayoutName = "auto",
    name: ModelName = None,
    licence: Licence = None,
    training_data: TrainingData = None,
    notes: Notes = None,
    false_match_rate: FalseMatchRate = 0.01,
    before_training: Annotated[
        bool, typer.Option("--before-training", help="Also measure the network before training.")
    ] = False,
    weights: StartWeights = None,
    flip: Flip = False,
    quantize: Quantize = False,
    overwrite: OverwriteModel = False,
    skip_bad: SkipBad = False,
) -> None:
    """Export a model folder for the service: ONNX network, manifest and card."""
    from training.core.checkpoint import load_checkpoint
    from training.export.model_folder import ExportOptions, export_model
    from training.measure.held_out import read_held_out

    options = ExportOptions(
        name=name or output.resolve().name,
        licence=licence,
        training_data=training_data,
        notes="" if notes is None else read_text(notes),
        false_match_rate=false_match_rate,
        before_training=before_training,
        start_weights=weights,
        only_measured=tuple(read_held_out(measure or [], skip_bad=skip_bad, layout=layout)),
        overwrite=overwrite,
        flip=flip,
    )
    datasets = read_held_out(data or [], skip_bad=skip_bad, layout=layout)
    if quantize and not datasets:
        raise InvalidInput("--quantize needs --data: ranges are measured on its training crops")
    exported = export_model(load_checkpoint(run), datasets, output, options)
    _tell(exported)
    typer.echo(f"exported: {output}")
    if quantize:
        _quantise(output, datasets, options)


def _quantise(model: Path, datasets: Sequence[Dataset], options: ExportOptions) -> None:
    from training.commands.quantize import tell
    from training.export.quantising import QuantiseOptions, quantise_model

    output = model.with_name(f"{model.resolve().name}-int8")
    how = QuantiseOptions(
        name=f"{options.name}-int8",
        false_match_rate=options.false_match_rate,
        only_measured=options.only_measured,
        overwrite=options.overwrite,
    )
    tell(quantise_model(model, datasets, output, how), output)


def _tell(exported: Exported) -> None:
    from training.measure.tables import format_results

    typer.echo(f"ONNX and PyTorch agree: {exported.parity}, {exported.compared_on}")
    if exported.manifest.accuracy:
        typer.echo(format_results(exported.manifest.accuracy))
    if exported.manifest.calibration:
        typer.echo(exported.manifest.calibration.model_dump_json(indent=2))
