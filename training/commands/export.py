"""``python -m training export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import (
    HeldOutData,
    LayoutName,
    SkipBad,
    read_text,
)


def export(
    run: Annotated[Path, typer.Option(help="Folder of the run, or its checkpoint file.")],
    output: Annotated[Path, typer.Option(help="Folder of the model, such as models/NAME.")],
    data: HeldOutData = None,
    layout: LayoutName = "auto",
    name: Annotated[str | None, typer.Option(help="Of the model; the folder's by default.")] = None,
    licence: Annotated[str | None, typer.Option(help="Terms of the weights.")] = None,
    training_data: Annotated[
        str | None, typer.Option(help="What it was trained on, in words.")
    ] = None,
    notes: Annotated[
        Path | None, typer.Option(help="Markdown for the card: limits and origins.")
    ] = None,
    false_match_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Impostor pairs that may reach the threshold.")
    ] = 0.01,
    before_training: Annotated[
        bool, typer.Option("--before-training", help="Measure what training began with as well.")
    ] = False,
    weights: Annotated[
        str | None, typer.Option(help="With --before-training: start weights, if they moved.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model that lies there.")
    ] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Write a model folder for the service: ONNX network, manifest, card."""
    from training.core.checkpoint import load_checkpoint
    from training.export.model_folder import ExportOptions, export_model
    from training.measure.held_out import read_held_out
    from training.measure.tables import format_results

    options = ExportOptions(
        name=name or output.resolve().name,
        licence=licence,
        training_data=training_data,
        notes="" if notes is None else read_text(notes),
        false_match_rate=false_match_rate,
        before_training=before_training,
        start_weights=weights,
        overwrite=overwrite,
    )
    datasets = read_held_out(data or [], skip_bad=skip_bad, layout=layout)
    exported = export_model(load_checkpoint(run), datasets, output, options)
    typer.echo(f"ONNX and PyTorch agree: {exported.parity}, {exported.compared_on}")
    if exported.manifest.accuracy:
        typer.echo(format_results(exported.manifest.accuracy))
    if exported.manifest.calibration:
        typer.echo(exported.manifest.calibration.model_dump_json(indent=2))
    typer.echo(f"exported: {output}")
