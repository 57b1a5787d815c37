"""Cut crops out of finished scenes: what a detector and a tracker hand to a re-ID service."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from PIL import Image

from service.machine.durable import replaced_folder
from training.synthetic.artists import STORED_QUALITY
from training.synthetic.dataset import NOTE
from training.synthetic.scenes.folder import CROPS, SCENE, TRACKS
from training.synthetic.scenes.frame import PixelBox
from training.synthetic.scenes.truth import read_tracks
from training.synthetic.unfinished import file_error

EVERY = 1.0  # seconds between two crops of a track
LEAST_VISIBLE = 0.4
LEAST_HEIGHT = 24.0  # pixels
MARGIN = 0.04  # of the height, around the person
COLUMNS = ("path", "camera", "identity", "timestamp", "track", "frame")


@dataclass(frozen=True, slots=True)
class _Cut:
    """One crop to cut."""

    camera: str
    frame: str
    box: PixelBox
    row: tuple[str, ...]


def cut_crops(folder: Path) -> int:
    """Cut one crop per second out of every track, with a manifest of whom it shows.

    ``FOLDER/crops/manifest.csv`` has the columns ``path``, ``camera``, ``identity``, ``timestamp``
    and ``track``: ``python -m service index`` and ``python -m training train`` read it. Crops that
    are there already are left as they are.

    Args:
        folder: of finished scenes.

    Returns:
        Number of crops.

    Raises:
        InvalidInput: the folder holds no scenes, or cannot be written.
        StorageFull: the disk is full.
    """
    manifest = folder / CROPS / "manifest.csv"
    try:
        if not manifest.exists():
            _cut_all(folder)
        with manifest.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.DictReader(file))
    except OSError as error:
        raise file_error(folder, error) from error


def _cut_all(folder: Path) -> None:
    options = json.loads((folder / SCENE).read_text(encoding="utf-8"))["options"]
    cuts = _list_cuts(folder / TRACKS, max(1, round(EVERY * options["fps"])))
    with replaced_folder(folder / CROPS) as fresh:
        with (fresh / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for (camera, frame), group in groupby(cuts, key=lambda cut: (cut.camera, cut.frame)):
                with Image.open(folder / camera / f"{int(frame):06d}.jpg") as picture:
                    for cut in group:
                        crop = picture.convert("RGB").crop(_corners(cut.box, picture.size))
                        crop.save(fresh / cut.row[0], "JPEG", quality=STORED_QUALITY)
                        writer.writerow(cut.row)
        # The same note as on other synthetic people: nobody real is in the pictures.
        note = {"kind": "scenes", "seed": options["seed"]}
        (fresh / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def _list_cuts(tracks: Path, every: int) -> Iterator[_Cut]:
    """The crops, by camera and frame: of each track the first usable frame, and later ones."""
    last: dict[tuple[str, str], int] = {}
    for row in read_tracks(tracks):
        frame, key = int(row["frame"]), (row["camera"], row["track"])
        sides = (float(row[name]) for name in ("left", "top", "right", "bottom"))
        box = PixelBox(*sides)
        poor = float(row["visibility"]) < LEAST_VISIBLE or box.height < LEAST_HEIGHT
        if poor or frame < last.get(key, -every) + every:
            continue
        last[key] = frame
        camera = row["camera"].removeprefix("camera-")
        name = f"{int(row['identity']):04d}_c{camera}_t{int(row['track']):04d}_{frame:06d}.jpg"
        values = (name, row["camera"], row["identity"], row["time"], row["track"], row["frame"])
        yield _Cut(row["camera"], row["frame"], box, values)


def _corners(box: PixelBox, size: tuple[int, int]) -> tuple[int, int, int, int]:
    margin = MARGIN * box.height
    return (
        max(0, round(box.left - margin)),
        max(0, round(box.top - margin)),
        min(size[0], round(box.right + margin)),
        min(size[1], round(box.bottom + margin)),
    )
