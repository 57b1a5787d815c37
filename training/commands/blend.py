"""``python -m training blend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.errors import Conflict


def blend(
    run: Annotated[Path, typer.Option(help="Folder of a run, or a checkpoint file in it.")],
    output: Annotated[Path, typer.Option(help="Folder of the result, which is read like a run.")],
    share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the trained weights; the rest is the start."),
    ] = 0.5,
    start: Annotated[
        Path | None,
        typer.Option(help="Run or checkpoint that the run started from, if it has moved."),
    ] = None,
) -> None:
    """Take a run part of the way back to the network that it started from.

    Training on some cameras makes a network forget others. Half way between its start and its end
    it keeps most of what it gained and regains most of what it forgot (WiSE-FT). adapt does this
    by itself.
    """
    from training.core.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
    from training.networks.blending import blend as blended
    from training.networks.blending import start_of

    if (output / FILE_NAME).exists():
        raise Conflict(f"{output} has a checkpoint; choose another folder, or remove it")
    trained = load_checkpoint(run)
    begun = start_of(run, trained) if start is None else load_checkpoint(start)
    result = blended(begun, trained, share)
    output.mkdir(parents=True, exist_ok=True)
    save_checkpoint(output, result)
    typer.echo(f"blended: {output / FILE_NAME}: {share:.0%} {run}, the rest its start")
