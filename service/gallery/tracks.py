"""Tracks: which crops a tracker says show one person, and which it says show two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from service.gallery.base import Crop

Track = tuple[str | None, str]
"""A camera, or None, and the name of a track; both together say which walk is meant."""


@dataclass(frozen=True, slots=True)
class Span:
    """When a person was in a camera's view.

    Attributes:
        camera: the camera.
        track: the name of the track.
        first: time of the first crop, seconds since 1970-01-01 UTC.
        last: time of the last crop.
    """

    camera: str
    track: str
    first: float
    last: float

    def meets(self, other: Span) -> bool:
        """Whether both were in one camera's view at one time, so that they are two people."""
        return (
            self.camera == other.camera
            and self.track != other.track
            and self.first <= other.last
            and other.first <= self.last
        )


def track_of(crop: Crop) -> Track | None:
    """The track of a crop; None if it has none."""
    return None if crop.track is None else (crop.camera, crop.track)


def spans_of(crops: Iterable[Crop]) -> list[Span]:
    """Find when tracks were in view.

    Args:
        crops: of any tracks, and of none.

    Returns:
        A span for each track that has a camera and at least one crop with a time.
    """
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for crop in crops:
        if crop.camera is not None and crop.track is not None and crop.timestamp is not None:
            times[crop.camera, crop.track].append(crop.timestamp)
    return [Span(*track, min(own), max(own)) for track, own in times.items()]
