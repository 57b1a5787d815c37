"""``python -m training calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.errors import InvalidInput
from training.commands.options import FalseMatchRate, HeldOutData, LayoutName, SkipBad

Unlabelled = Annotated[
    Path | None,
    typer.Option(help="Instead of --data: crops with a manifest that has timestamps."),
]
Apart = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CAMERA,CAMERA",
        help="With --unlabelled: two cameras that no person can be in at once, or all. Repeat.",
    ),
]


def calibrate(
    model: Annotated[Path, typer.Option(help="The model's folder, such as models/NAME.")],
    data: HeldOutData = None,
    unlabelled: Unlabelled = None,
    apart: Apart = None,
    within: Annotated[
        float,
        typer.Option(help="Seconds in which nobody gets from one of these cameras to the other."),
    ] = 1.0,
    false_match_rate: FalseMatchRate = 0.01,
    layout: LayoutName = "auto",
    skip_bad: SkipBad = False,
) -> None:
    """Fit the threshold of a finished model on your own crops, and its probabilities.

    With labels (--data): threshold and probabilities, from pairs of crops
    across cameras. The accuracy is measured there too.

    Without labels (--unlabelled --apart): the threshold alone, from pairs of
    crops taken at the same time by cameras that lie far apart, which cannot
    show one person. Identities are not read. The service then returns no
    probabilities, because nothing is known about pairs that do match.

    Manifest and card say which it was. Restart a service that runs the model.
    """
    match data, unlabelled:
        case [_, *_], None if apart is None:
            from training.export.calibrating import calibrate_model
            from training.measure.held_out import read_held_out

            datasets = read_held_out(data, skip_bad=skip_bad, layout=layout)
            changed = calibrate_model(model, datasets, false_match_rate)
        case None | [], Path():
            from training.data.datasets import DataSource, read_dataset
            from training.export.calibrating import calibrate_model_without_labels

            if not apart:
                raise InvalidInput("--unlabelled needs --apart: which cameras lie far apart?")
            dataset = read_dataset(DataSource(unlabelled, layout=layout, skip_bad=skip_bad))
            changed = calibrate_model_without_labels(
                model, dataset, apart, within, false_match_rate
            )
        case _:
            raise InvalidInput("give either --data, or --unlabelled with --apart")
    if changed.calibration is not None:
        typer.echo(changed.calibration.model_dump_json(indent=2))
    typer.echo(f"calibrated: {model}")
