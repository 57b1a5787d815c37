"""``python -m training synthesize``."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import KnobSettings, knobs_of


class KindChoice(StrEnum):
    """What the people are."""

    DRAWN = "drawn"
    BODIES = "bodies"


TrainShare = Annotated[
    float, typer.Option(help="Share of the people to train on; 1 for all of them.")
]
Kind = Annotated[
    KindChoice,
    typer.Option(
        help="drawn: flat and quick. bodies: in three dimensions; needs the extra 'people'."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a synthetic data set that is there.")
]
Distractors = Annotated[int, typer.Option(help="Pictures of people who are never searched for.")]
Junk = Annotated[int, typer.Option(help="Badly cropped pictures, which evaluation ignores.")]


def synthesize(
    output: Annotated[Path, typer.Argument(help="Folder to create.")],
    identities: Annotated[int, typer.Option(help="Number of people.")] = 100,
    cameras: Annotated[int, typer.Option(help="Number of cameras, 2..99.")] = 3,
    crops: Annotated[int, typer.Option(help="Pictures per person and camera.")] = 4,
    seed: Annotated[int, typer.Option(help="Another seed makes other people.")] = 0,
    train_share: TrainShare = 0.5,
    distractors: Distractors = 0,
    junk: Junk = 0,
    height: Annotated[int, typer.Option(help="Height of a picture in pixels.")] = 128,
    width: Annotated[int, typer.Option(help="Width of a picture in pixels.")] = 64,
    kind: Kind = KindChoice.DRAWN,
    views: Annotated[int, typer.Option(help="Cameras that see one person; 0 for all.")] = 0,
    set_: KnobSettings = None,
    processes: Annotated[
        int, typer.Option(help="Processes that share the work; 0 for one per processor (bodies).")
    ] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Make people with identities and cameras, in the layout of Market-1501.

    An interrupted run continues where it stopped if you repeat the command; a complete folder is
    left as it is.
    """
    from training.synthetic import SyntheticOptions
    from training.synthetic import synthesize as make

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
        kind=kind.value,
        views=views,
        knobs=knobs_of(set_ or []),
    )
    made = make(output, options, overwrite=overwrite, processes=processes or _processes(kind))
    typer.echo(
        f"{kind.value}: {made.folder} (train {made.train} crops of {made.train_identities} people, "
        f"query {made.query} and gallery {made.gallery} of {made.test_identities})"
    )


def _processes(kind: KindChoice) -> int:
    return (os.cpu_count() or 1) if kind is KindChoice.BODIES else 1
