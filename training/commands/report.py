"""``python -m training report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import Device, DeviceChoice, torch_device


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run; it may go on meanwhile.")],
    output: Annotated[
        Path | None, typer.Option(help="The page; report.html in the run's folder otherwise.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="The run's crops, if they moved; repeat in the run's order."),
    ] = None,
    show_crops: Annotated[
        bool,
        typer.Option("--show-crops", help="Show ranked lists even where people are not drawn."),
    ] = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Write one HTML page that shows a run, for a browser without network."""
    from training.page import Wanted, write_page

    wanted = Wanted(run, data, show_crops, torch_device(device))
    typer.echo(f"report: {write_page(wanted, output or run / 'report.html')}")
