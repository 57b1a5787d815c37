"""``python -m training synthesize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def synthesize(
    output: Annotated[Path, typer.Argument(help="Folder to create.")],
    identities: Annotated[int, typer.Option(help="Number of people.")] = 100,
    cameras: Annotated[int, typer.Option(help="Number of cameras, 2..9.")] = 3,
    crops: Annotated[int, typer.Option(help="Pictures per person and camera.")] = 4,
    seed: Annotated[int, typer.Option(help="Another seed draws other people.")] = 0,
    train_share: Annotated[float, typer.Option(help="Share of the people to train on.")] = 0.5,
    distractors: Annotated[
        int, typer.Option(help="Pictures of people who are never searched for.")
    ] = 0,
    junk: Annotated[
        int, typer.Option(help="Badly cropped pictures, which evaluation ignores.")
    ] = 0,
    height: Annotated[int, typer.Option(help="Height of a picture in pixels.")] = 128,
    width: Annotated[int, typer.Option(help="Width of a picture in pixels.")] = 64,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a drawn data set that is there.")
    ] = False,
) -> None:
    """Draw pedestrians with identities and cameras, in the layout of Market-1501."""
    from training.synthetic import SyntheticOptions
    from training.synthetic import synthesize as draw

    options = SyntheticOptions(
        identities=identities,
        cameras=cameras,
        crops=crops,
        seed=seed,
        train_share=train_share,
        distractors=distractors,
        junk=junk,
        height=height,
        width=width,
    )
    drawn = draw(output, options, overwrite=overwrite)
    typer.echo(
        f"drawn: {drawn.folder} (train {drawn.train} crops of {drawn.train_identities} people, "
        f"query {drawn.query} and gallery {drawn.gallery} of {drawn.test_identities})"
    )
