"""What a folder of scenes holds, and whether new scenes may go there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.synthetic.scenes.frame import frame_view
from training.synthetic.scenes.options import SceneOptions
from training.synthetic.scenes.plan import Plan
from training.synthetic.scenes.truth import read_tracks
from training.synthetic.unfinished import FolderKind

SCENE = "scene.json"
TRACKS = "tracks.csv"
CROPS = "crops"
VIDEO = ".avi"


@dataclass(frozen=True, slots=True)
class SceneSummary:
    """Counts of what was filmed.

    Attributes:
        folder: of the scenes.
        cameras: number of cameras.
        frames: number of frames of all cameras.
        tracks: number of tracks of all cameras.
        identities: number of people who are seen.
        in_several: number of people whom more than one camera sees.
        turned_away: people who wanted to come into view, but nobody was free or had room.
    """

    folder: Path
    cameras: int
    frames: int
    tracks: int
    identities: int
    in_several: int
    turned_away: int


def camera_name(camera: int) -> str:
    """Name a camera and its folder.

    Args:
        camera: from 0.

    Returns:
        Such as ``camera-01``.
    """
    return f"camera-{camera + 1:02d}"


def holds(folder: Path, options: SceneOptions) -> bool:
    """Whether a folder's scenes were made, or begun, with the same options.

    Args:
        folder: may be missing.
        options: to compare with.

    Returns:
        Whether they were.
    """
    try:
        scene = json.loads((folder / SCENE).read_text(encoding="utf-8"))
        return bool(scene["options"] == asdict(options))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _entries() -> frozenset[str]:
    names = [camera_name(camera) for camera in range(99)]
    return frozenset({SCENE, TRACKS, CROPS, *names, *(name + VIDEO for name in names)})


FOLDER = FolderKind(
    note=SCENE,
    entries=_entries(),
    lacks="holds no scenes",
    other="other scenes; --overwrite replaces them",
)


def describe(options: SceneOptions, plan: Plan) -> dict[str, Any]:
    """Collect what a reader needs to use the scenes, or to make them again.

    Args:
        options: of the scenes.
        plan: who is where.

    Returns:
        The content of ``scene.json``.
    """
    cameras = []
    for index in range(options.cameras):
        frame, camera = frame_view(options.site, index, options.size), options.site.camera(index)
        cameras.append(
            {
                "name": camera_name(index),
                "position": [round(value, 4) for value in frame.origin],
                "forward": [round(float(value), 6) for value in frame.view.forward],
                "right": [round(float(value), 6) for value in frame.view.right],
                "up": [round(float(value), 6) for value in frame.view.up],
                "focal": round(frame.focal, 3),
                "middle": [options.width / 2, options.height / 2],
                "light": str(camera.light.kind),
                "indoors": camera.indoors,
                "on_plan": [float(value) for value in plan.places[index]],
            }
        )
    walks = sum(map(len, plan.walks))
    people = {"walks": walks, "turned_away": plan.turned_away}
    return {"options": asdict(options), "frames": options.frames, "cameras": cameras, **people}


def summarize(out: Path) -> SceneSummary:
    """Count what a folder of finished scenes holds.

    Args:
        out: the folder.

    Returns:
        The counts.

    Raises:
        OSError: a file cannot be read.
    """
    scene = json.loads((out / SCENE).read_text(encoding="utf-8"))
    cameras_of: dict[int, set[str]] = {}
    tracks = set()
    for row in read_tracks(out / TRACKS):
        cameras_of.setdefault(int(row["identity"]), set()).add(row["camera"])
        tracks.add((row["camera"], row["track"]))
    count = len(scene["cameras"])
    return SceneSummary(
        folder=out,
        cameras=count,
        frames=count * int(scene["frames"]),
        tracks=len(tracks),
        identities=len(cameras_of),
        in_several=sum(len(cameras) > 1 for cameras in cameras_of.values()),
        turned_away=int(scene["turned_away"]),
    )
