"""``python -m service detect``: the persons on whole frames, and crops of them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.errors import errors_in_one_line
from service.cli.options import DEFAULT_URL, ApiKey, Url, only_given
from service.errors import InvalidInput
from service.values.boxes import Box

if TYPE_CHECKING:
    from service.api.detection import FrameEntry
    from service.client import Client

Frames = Annotated[
    list[Path], typer.Argument(help="whole frames", exists=True, dir_okay=False, readable=True)
]
Tiles = Annotated[
    str | None,
    typer.Option(
        help="look at overlapping tiles of each frame too, COLUMNSxROWS, such as 2x2: for people "
        "who are small on large frames"
    ),
]
Score = Annotated[
    float | None, typer.Option(help="persons have a score above it; default: the detector's")
]
Crops = Annotated[
    Path | None, typer.Option(file_okay=False, help="write a crop of each person to this folder")
]


def detect(
    frames: Frames,
    tiles: Tiles = None,
    score: Score = None,
    crops: Crops = None,
    url: Url = DEFAULT_URL,
    key: ApiKey = None,
) -> None:
    """Find the persons on whole frames, and print a line of JSON per frame.

    The exit status is 1 if a frame could not be used.
    """
    options = only_given({"tiles": tiles, "score": score})
    with errors_in_one_line():
        from service.client import Client

        if crops is not None:
            _prepare(crops, frames)
        with Client(url, key or "", retry_for=0) as client:
            usable = [_detect_one(client, frame, options, crops) for frame in frames]
    if not all(usable):
        raise typer.Exit(1)


def _prepare(crops: Path, frames: Sequence[Path]) -> None:
    """Check that crops can be written, before the first frame is sent."""
    import service.embedding.imaging  # noqa: F401 - cutting needs the server's packages

    (stem, count), *_ = Counter(frame.stem for frame in frames).most_common(1)
    if count > 1:
        raise InvalidInput(f"{count} frames are named {stem}: their crops would have equal names")
    try:
        crops.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{crops}: {error.strerror}") from error


def _detect_one(client: Client, frame: Path, options: dict[str, Any], crops: Path | None) -> bool:
    """Print what is on a frame; whether it could be used."""
    from service.client import ImageTooLarge, InvalidImage

    try:
        (entry,) = client.detect((str(frame), frame.read_bytes()), **options).results
    except (InvalidImage, ImageTooLarge) as error:
        print(json.dumps({"file": str(frame), "error": str(error)}))
        return False
    persons = [person.model_dump() for person in entry.persons]
    if crops is not None:
        for person, file in zip(persons, _cut(frame, entry, crops), strict=True):
            person["crop"] = str(file)
    line = {"file": str(frame), "width": entry.width, "height": entry.height, "persons": persons}
    print(json.dumps(line))
    sys.stdout.flush()
    return True


def _cut(frame: Path, entry: FrameEntry, folder: Path) -> list[Path]:
    """Write a crop of each person, and return the files."""
    from service.embedding.imaging import ImageLimits, read_picture

    data = frame.read_bytes()
    pixels = (entry.width or 1) * (entry.height or 1)  # the service accepted them
    picture = read_picture(data, ImageLimits(len(data), pixels, 1))
    files = []
    for number, person in enumerate(entry.persons, start=1):
        file = folder / f"{frame.stem}_{number:02d}.jpg"
        box = Box(person.box.x, person.box.y, person.box.width, person.box.height)
        picture.crop(box.pixels(*picture.size)).save(file, quality=95)
        files.append(file)
    return files
