"""The tracks that a gallery holds, and where the people on them were seen again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.api.crops import CropRecord
from service.api.search import MatchRecord
from service.cli.film_demo.truth import Track
from service.client import Client

_AT_ONCE = 16  # tracks per search


@dataclass(frozen=True, slots=True)
class Sighting:
    """A stored track.

    Attributes:
        camera: that saw it.
        track: its name.
        crops: the ids of its crops, in the order of their times.
        first: time of the first crop, in seconds since 1970-01-01 UTC.
        last: time of the last crop.
    """

    camera: str
    track: str
    crops: tuple[str, ...]
    first: float
    last: float

    @property
    def key(self) -> Track:
        """What names it among all cameras."""
        return self.camera, self.track


@dataclass(frozen=True, slots=True)
class Again:
    """Where the person of a track was seen again.

    Attributes:
        sighting: the track.
        match: the nearest crop of another camera; None if no other camera saw anybody.
    """

    sighting: Sighting
    match: MatchRecord | None

    @property
    def found(self) -> Track | None:
        """The track of the match."""
        if self.match is None or self.match.camera is None or self.match.track is None:
            return None
        return self.match.camera, self.match.track


def sightings_of(client: Client, gallery: str) -> list[Sighting]:
    """Read the stored tracks, in the order of their times."""
    together: dict[Track, list[CropRecord]] = defaultdict(list)
    for crop in client.crops.iterate(gallery):
        if crop.camera is not None and crop.track is not None:
            together[crop.camera, crop.track].append(crop)
    found = [_sighting(key, crops) for key, crops in together.items()]
    return sorted(found, key=lambda one: (one.first, one.key))


def seen_again(client: Client, gallery: str, sightings: Sequence[Sighting]) -> list[Again]:
    """Search for the person of each track among the crops of other cameras.

    Args:
        client: the service.
        gallery: that holds the tracks.
        sightings: the tracks.

    Returns:
        One entry per track, in their order.
    """
    found: dict[Track, MatchRecord | None] = {}
    for camera in dict.fromkeys(one.camera for one in sightings):
        own = [one for one in sightings if one.camera == camera]
        for begin in range(0, len(own), _AT_ONCE):
            part = own[begin : begin + _AT_ONCE]
            answer = client.search(
                gallery=gallery,
                query_tracks=[one.track for one in part],
                camera=camera,
                exclude_same_camera=True,
                group_by="track",
                top_k=1,
                min_score=-1.0,
            )
            for one, entry in zip(part, answer.results, strict=True):
                found[one.key] = next(iter(entry.matches), None)
    return [Again(one, found[one.key]) for one in sightings]


def _sighting(key: Track, crops: Sequence[CropRecord]) -> Sighting:
    ordered = sorted(crops, key=lambda crop: (crop.timestamp or 0.0, crop.crop_id))
    times = [crop.timestamp or 0.0 for crop in ordered]
    return Sighting(*key, tuple(crop.crop_id for crop in ordered), times[0], times[-1])
