"""Frames of a scene: who is on them, and whom a detector finds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.detection.cutting import MarkedPerson, Room, cut
from service.detection.frames import persons_on, read_frame
from service.detection.onnx_detector import OnnxDetector
from service.embedding.imaging import DEFAULT_LIMITS, decode
from service.embedding.onnx_embedder import OnnxEmbedder
from service.errors import InvalidImage
from service.values.boxes import Box
from service.values.quality import Quality
from service.values.tiling import Grid
from training.synthetic.scenes.truth import read_tracks

ENDLESS = 1 << 40


@dataclass(frozen=True)
class TruePerson:
    """Who is on a frame.

    Attributes:
        track: of the camera.
        identity: of the site.
        box: the part of the person within the frame.
        beyond: share of the whole box outside of the frame.
        visibility: share of the person that is seen, 0..1.
    """

    track: str
    identity: int
    box: Box
    beyond: float
    visibility: float


@dataclass(frozen=True)
class TrueFrame:
    """A frame of a camera, ``seconds`` after the first."""

    camera: str
    number: int
    seconds: float
    file: Path
    people: list[TruePerson]


@dataclass(frozen=True)
class Found:
    """What a detector found on a frame: N persons, their qualities, (N, D) embeddings."""

    frame: TrueFrame
    persons: list[MarkedPerson]
    qualities: list[Quality]
    embeddings: NDArray[np.float32]
    seconds: float


def read_frames(folder: Path) -> list[TrueFrame]:
    """Read every frame of a scene, camera by camera in the order of time."""
    people: dict[tuple[str, int], list[TruePerson]] = defaultdict(list)
    seconds: dict[int, float] = {}
    for row in read_tracks(folder / "tracks.csv"):
        people[row["camera"], int(row["frame"])].append(_person(row))
        seconds[int(row["frame"])] = float(row["seconds"])
    step = max(value / (number - 1) for number, value in seconds.items() if number > 1)
    return [
        TrueFrame(
            camera.name,
            int(file.stem),
            (int(file.stem) - 1) * step,
            file,
            people[camera.name, int(file.stem)],
        )
        for camera in sorted(folder.glob("camera-*"))
        if camera.is_dir()
        for file in sorted(camera.glob("*.jpg"))
    ]


def look(
    frames: list[TrueFrame], detector: OnnxDetector, embedder: OnnxEmbedder, score: float
) -> Iterator[Found]:
    """Find, cut and embed the persons on frames, by the service's own functions.

    Args:
        frames: to look at.
        detector: finds persons.
        embedder: embeds them; a crop that is too small for it gets zeros.
        score: persons have a score above it.
    """
    for frame in frames:
        data = frame.file.read_bytes()
        began = time.perf_counter()
        read = read_frame(data, Grid(), detector.manifest, DEFAULT_LIMITS)
        found = detector.detect(np.stack(read.pictures))
        persons = persons_on(read, found, score, detector.manifest.iou)
        took = time.perf_counter() - began
        marked = [MarkedPerson(person.box, person.score) for person in persons]
        made = cut(data, marked, "boxes", DEFAULT_LIMITS, Room(ENDLESS))
        embeddings = _embedded(made.pictures, embedder)
        yield Found(frame, marked, made.qualities, embeddings, took)


def _embedded(pictures: list[bytes], embedder: OnnxEmbedder) -> NDArray[np.float32]:
    manifest = embedder.manifest
    size = manifest.input_height, manifest.input_width
    rows = np.zeros((len(pictures), manifest.dimension), np.float32)
    for place, picture in enumerate(pictures):
        with suppress(InvalidImage):
            rows[place] = embedder.embed(decode(picture, *size, resize=manifest.resize)[None])[0]
    return rows


def _person(row: dict[str, str]) -> TruePerson:
    left, top, right, bottom = (float(row[side]) for side in ("left", "top", "right", "bottom"))
    whole = [float(row[f"whole_{side}"]) for side in ("left", "top", "right", "bottom")]
    area = (whole[2] - whole[0]) * (whole[3] - whole[1])
    box = Box(left, top, right - left, bottom - top)
    return TruePerson(
        row["track"],
        int(row["identity"]),
        box,
        1.0 - box.width * box.height / area,
        float(row["visibility"]),
    )
