"""The truth of scenes: who is where in each frame, and the files that say so.

Visibility is the number of pixels in which a person is seen, divided by the number of pixels that
the person would cover alone in a frame without borders. What other people and things hide, and what
lies outside the frame, therefore lowers it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.synthetic.scenes.frame import PixelBox
from training.synthetic.scenes.options import SceneOptions

PEDESTRIAN = 1  # MOTChallenge's class
COLUMNS = [
    "camera",
    "frame",
    "time",
    "seconds",
    "track",
    "identity",
    "left",
    "top",
    "right",
    "bottom",
    "whole_left",
    "whole_top",
    "whole_right",
    "whole_bottom",
    "visibility",
    "distance",
]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One person in one frame.

    Attributes:
        frame: from 1.
        visit: number of the person's walk among the camera's.
        identity: from 1.
        whole: the box around the whole person, also beyond the frame.
        clipped: its part within the frame.
        visibility: share of the person's own pixels that are seen, 0..1.
        distance: from the camera, on the ground, metres.
    """

    frame: int
    visit: int
    identity: int
    whole: PixelBox
    clipped: PixelBox
    visibility: float
    distance: float


@dataclass(frozen=True, slots=True)
class Tracked:
    """A sighting that belongs to a track.

    Attributes:
        track: number of the track in its camera, from 1.
        sighting: who is where.
    """

    track: int
    sighting: Sighting


def dump_sightings(sightings: Iterable[Sighting]) -> str:
    """Write the sightings of one frame, to be read again by :func:`load_sightings`.

    Args:
        sightings: of the frame.

    Returns:
        JSON.
    """
    return json.dumps([asdict(each) for each in sightings]) + "\n"


def load_sightings(text: str) -> list[Sighting]:
    """Read what :func:`dump_sightings` wrote.

    Args:
        text: JSON.

    Returns:
        The sightings.
    """
    return [
        Sighting(
            **{**row, "whole": PixelBox(**row["whole"]), "clipped": PixelBox(**row["clipped"])}
        )
        for row in json.loads(text)
    ]


def track(sightings: Iterable[Sighting]) -> list[Tracked]:
    """Join the sightings of one camera into tracks.

    A track is one person in consecutive frames. It begins and ends with a frame in which at least
    one pixel of the person is seen; whoever leaves the frame and comes back begins a new track.

    Args:
        sightings: of all frames, in any order.

    Returns:
        The sightings with their tracks, by frame and then by track; tracks are numbered as they
        begin.
    """
    runs = sorted(_runs(sightings), key=lambda run: (run[0].frame, run[0].visit))
    tracked = [Tracked(number, each) for number, run in enumerate(runs, start=1) for each in run]
    return sorted(tracked, key=lambda each: (each.sighting.frame, each.track))


def _runs(sightings: Iterable[Sighting]) -> list[list[Sighting]]:
    runs: list[list[Sighting]] = []
    for each in sorted(sightings, key=lambda each: (each.visit, each.frame)):
        last = runs[-1][-1] if runs else None
        if last and (last.visit, last.frame + 1) == (each.visit, each.frame):
            runs[-1].append(each)
        else:
            runs.append([each])
    return [seen for run in runs if (seen := _between_seen(run))]


def _between_seen(run: list[Sighting]) -> list[Sighting]:
    """From the first frame in which the person is seen to the last one."""
    seen = [place for place, each in enumerate(run) if each.visibility > 0.0]
    return run[seen[0] : seen[-1] + 1] if seen else []


def mot_lines(tracked: Iterable[Tracked]) -> str:
    """Write ``gt.txt`` of MOTChallenge (Milan et al., MOT16, arXiv:1603.00831).

    Args:
        tracked: of one camera.

    Returns:
        A line per person and frame: frame, track, left, top, width, height, 1, class, visibility.
        As there, frames and pixels count from 1, and boxes reach beyond the frame.
    """
    lines = []
    for each in tracked:
        box = each.sighting.whole
        numbers = (box.left + 1, box.top + 1, box.width, box.height)
        place = ",".join(f"{number:.2f}" for number in numbers)
        seen = each.sighting.visibility
        lines.append(f"{each.sighting.frame},{each.track},{place},1,{PEDESTRIAN},{seen:.4f}\n")
    return "".join(lines)


def sequence_text(options: SceneOptions, camera: str) -> str:
    """Write ``seqinfo.ini`` of MOTChallenge.

    Args:
        options: of the scenes.
        camera: its name.

    Returns:
        The text.
    """
    return (
        f"[Sequence]\nname={camera}\nimDir=.\nframeRate={options.fps}\n"
        f"seqLength={options.frames}\nimWidth={options.width}\nimHeight={options.height}\n"
        "imExt=.jpg\n"
    )


def table_text(options: SceneOptions, cameras: dict[str, list[Tracked]]) -> str:
    """Write ``tracks.csv``: every person in every frame of every camera.

    Args:
        options: of the scenes.
        cameras: the tracked sightings by camera.

    Returns:
        CSV; pixels count from 0 at the frame's upper left corner.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for camera, tracked in cameras.items():
        for each in tracked:
            frame = each.sighting.frame
            moment = (options.time_of(frame), f"{options.second_of(frame):.3f}")
            who = (each.track, each.sighting.identity)
            writer.writerow([camera, frame, *moment, *who, *_measures(each.sighting)])
    return text.getvalue()


def read_tracks(path: Path) -> Iterator[dict[str, str]]:
    """Read ``tracks.csv``.

    Args:
        path: the file.

    Yields:
        The rows, by column.
    """
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _measures(sighting: Sighting) -> list[str]:
    boxes = (sighting.clipped, sighting.whole)
    sides = [side for box in boxes for side in (box.left, box.top, box.right, box.bottom)]
    return [
        *(f"{side:.2f}" for side in sides),
        f"{sighting.visibility:.4f}",
        f"{sighting.distance:.2f}",
    ]
