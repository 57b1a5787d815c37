"""``python -m training quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.options import (
    FalseMatchRate,
    LayoutName,
    MeasuredData,
    ModelName,
    ModelOutput,
    OverwriteModel,
    SkipBad,
)

if TYPE_CHECKING:
    from service.model.manifest import Manifest


def quantize(
    model: Annotated[Path, typer.Option(help="Folder of the float model, such as models/NAME.")],
    output: ModelOutput,
    data: Annotated[
        list[Path],
        typer.Option(
            help="Labelled data set with query and gallery, and with training crops, on which "
            "ranges are measured without labels. Repeat for more."
        ),
    ],
    measure: MeasuredData = None,
    layout: LayoutName = "auto",
    name: ModelName = None,
    least_cosine: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="How alike embeddings and the float model's must be, on average."
        ),
    ] = 0.99,
    false_match_rate: FalseMatchRate = 0.01,
    overwrite: OverwriteModel = False,
    skip_bad: SkipBad = False,
) -> None:
    """Make a faster model of 8 bits from a finished one, for processors.

    The first convolutions keep their precision: as few as it takes for
    embeddings that agree with the float model's. The new model has its own
    threshold and its own accuracy, beside the float model's. Galleries of the
    two models do not mix.
    """
    from training.export.quantising import QuantiseOptions, quantise_model
    from training.measure.held_out import read_held_out

    options = QuantiseOptions(
        name=name or output.resolve().name,
        least_cosine=least_cosine,
        false_match_rate=false_match_rate,
        only_measured=tuple(read_held_out(measure or [], skip_bad=skip_bad, layout=layout)),
        overwrite=overwrite,
    )
    datasets = read_held_out(data, skip_bad=skip_bad, layout=layout)
    tell(quantise_model(model, datasets, output, options), output)


def tell(manifest: Manifest, output: Path) -> None:
    """Print what was quantised, and how good the new model is beside the float one."""
    from training.measure.tables import format_results

    made = manifest.quantised
    if made is None:
        return
    typer.echo(
        f"8 bits: {made.convolutions} of {made.convolutions + made.kept} convolutions; mean cosine "
        f"with the embeddings of {made.name}: {made.cosine:.4f}"
    )
    typer.echo(f"{made.name}:\n{format_results(made.accuracy)}")
    typer.echo(f"{manifest.name}:\n{format_results(manifest.accuracy)}")
    typer.echo(f"quantised: {output}")
