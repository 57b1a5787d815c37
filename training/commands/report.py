"""``python -m training report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import Device, DeviceChoice, torch_device


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or still going on.")],
    output: Annotated[
        Path | None, typer.Option(help="The page; by default report.html in the run's folder.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Where the run's crops are now. Repeat in the run's order."),
    ] = None,
    show_crops: Annotated[
        bool,
        typer.Option("--show-crops", help="Show ranked lists even if they show real people."),
    ] = False,
    device: Device = DeviceChoice.AUTO,
) -> None:
    """Write an HTML page that shows a run and needs no network."""
    from training.page import Wanted, write_page

    wanted = Wanted(run, data, show_crops, torch_device(device))
    typer.echo(f"report: {write_page(wanted, output or run / 'report.html')}")
