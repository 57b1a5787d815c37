"""``python -m training adapt``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import Device, DeviceChoice, LayoutName, SkipBad, torch_device


def adapt(
    model: Annotated[
        Path, typer.Option(help="What to start from: exported model folder, run, or checkpoint.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[
        Path | None, typer.Option(help="Your crops: a data set's folder or a manifest file.")
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            help="Instead of --data: the stored pictures of a running service's gallery, such as "
            "http://127.0.0.1:8000/galleries/station; they are copied to OUTPUT-crops."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="REID_KEY", help="API key for --gallery.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="How the paths of a plain folder look, such as '{camera}/{name}'."),
    ] = None,
    layout: LayoutName = "auto",
    rounds: Annotated[
        int | None, typer.Option(min=1, max=99, help="At most so many, instead of 10.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help="Instead of 1e-4; less forgets less.")
    ] = None,
    share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Of the adapted weights in the result; 1: all."),
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Source of every choice.")] = 1,
    skip_bad: SkipBad = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Fit a model to your own cameras, from unlabelled crops.

    A fifth of the crops is held out. The model trains on the rest in short rounds; after each,
    cycle agreement tells how well a held-out crop's group is found again by way of another camera.
    It ends when that no longer grows. The result lies half way between the start and the best
    round, which wins most and forgets little; if it is not clearly better than the start, the start
    stays. Identities are never read.

    Export the result with: python -m training export --run OUTPUT --output models/NAME
    """
    from training.adapt.adaptation import adapt as run_adaptation
    from training.adapt.request import Request
    from training.data.datasets import DataSource

    crops = _crops(data, gallery, key, output)
    source = DataSource(crops, layout=layout, pattern=pattern, skip_bad=skip_bad)
    request = Request(model, source, output, rounds, learning_rate, share, seed)
    found = run_adaptation(request, torch_device(device), resume=resume)
    change = f"agreement {found.start:.3f} -> {found.agreement:.3f}"
    if found.better:
        typer.echo(f"better than the start: {change}, round {found.best}: {found.checkpoint}")
    else:
        typer.echo(f"no better: nothing changed; the start model lies in {found.checkpoint}")


def _crops(data: Path | None, gallery: str | None, key: str | None, output: Path) -> Path:
    from training.data.gallery_crops import fetch_crops

    match data, gallery:
        case Path(), None:
            return data
        case None, str():
            folder = output.with_name(f"{output.name}-crops")
            fetched = fetch_crops(gallery, key, folder)
            typer.echo(
                f"{fetched.crops} pictures of people in {folder} (delete them when you are done), "
                f"{fetched.without_picture} crops have none"
            )
            return fetched.manifest
        case _:
            raise typer.BadParameter("one of --data and --gallery is needed, not both")
