"""``python -m training scenes``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.commands.options import KnobSettings, Processes, knobs_of

if TYPE_CHECKING:
    from training.synthetic.scenes import SceneSummary

Crops = Annotated[
    bool,
    typer.Option("--crops", help="Also cut a crop per second out of every track, with a manifest."),
]
Video = Annotated[
    bool, typer.Option("--video", help="Also write each camera's frames as one AVI file.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace other scenes that are there.")
]


def scenes(
    output: Annotated[Path, typer.Argument(help="Folder to create.")],
    identities: Annotated[int, typer.Option(help="Number of people who live there.")] = 80,
    cameras: Annotated[int, typer.Option(help="Number of cameras, 1..99.")] = 3,
    seconds: Annotated[float, typer.Option(help="What each camera films, up to an hour.")] = 60.0,
    fps: Annotated[int, typer.Option(help="Frames per second, 1..30.")] = 10,
    people_per_minute: Annotated[
        float, typer.Option(help="People who enter each camera's view per minute, 0..120.")
    ] = 20.0,
    width: Annotated[int, typer.Option(help="Width of a frame in pixels.")] = 960,
    height: Annotated[int, typer.Option(help="Height of a frame in pixels.")] = 540,
    seed: Annotated[int, typer.Option(help="Another seed films other people elsewhere.")] = 0,
    start: Annotated[
        str, typer.Option(help="Time of the first frame, with its zone.")
    ] = "2026-01-05T12:00:00Z",
    set_: KnobSettings = None,
    processes: Processes = 0,
    crops: Crops = False,
    video: Video = False,
    overwrite: Overwrite = False,
) -> None:
    """Film people in three dimensions: whole frames with known boxes, identities and tracks.

    Needs the extra 'people'. An interrupted run continues where it stopped if you repeat the
    command; a complete folder is left as it is.
    """
    from training.synthetic.scenes import SceneOptions, cut_crops, make_scenes, write_videos

    options = SceneOptions(
        identities=identities,
        cameras=cameras,
        seconds=seconds,
        fps=fps,
        people_per_minute=people_per_minute,
        height=height,
        width=width,
        seed=seed,
        start=start,
        knobs=knobs_of(set_ or []),
    )
    made = make_scenes(
        output, options, overwrite=overwrite, processes=processes or os.cpu_count() or 1
    )
    _tell(made)
    if video:
        typer.echo(f"video: {', '.join(path.name for path in write_videos(made.folder))}")
    if crops:
        typer.echo(f"crops: {cut_crops(made.folder)} in {made.folder / 'crops'}")


def _tell(made: SceneSummary) -> None:
    typer.echo(
        f"scenes: {made.folder} ({made.frames} frames of {made.cameras} cameras, {made.tracks} "
        f"tracks of {made.identities} people, {made.in_several} of them in several cameras)"
    )
    if made.turned_away:
        typer.echo(
            f"{made.turned_away} more people were to come, but nobody was free or had room: more "
            "identities, or fewer people_per_minute"
        )
