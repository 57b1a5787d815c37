"""The JSON body of ``POST /galleries/{gallery}/imports``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from service.errors import InvalidInput
from service.values.fields import (
    MAX_TEXT,
    FrameScore,
    JsonBody,
    Label,
    Tiles,
    Zone,
)
from service.values.names import name_of, normal_form
from service.values.vocabulary import LayoutName
from service.values.zones import read_zone
from service.video.sampling import FPS, LEAST_FPS, LEAST_FPS_OF_TRACKS, MOST_FPS

MAX_PATTERN = 500
MAX_ZONES = 1000
MAX_ZONE = 2 * MAX_TEXT  # a camera, an equals sign, a zone

Relative = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Fps = Annotated[
    float,
    Field(
        ge=LEAST_FPS,
        le=MOST_FPS,
        description=f"of videos: frames per second to look at; default: {FPS:g}",
    ),
]
TRACKS = (
    "of videos: follow persons from frame to frame, and store only the best pictures of each, with "
    f"the name of the track; default: true if fps is at least {LEAST_FPS_OF_TRACKS:g}"
)
StartTime = Annotated[
    Annotated[str, StringConstraints(max_length=MAX_TEXT)] | float,
    Field(
        union_mode="left_to_right",
        description="of videos: when they begin, if their names do not say it; ISO 8601, or "
        "seconds since 1970-01-01 UTC",
    ),
]


class ImportBody(JsonBody):
    """A folder that the service itself can read."""

    folder: Relative = Field(
        description="relative to a folder of REID_IMPORT_ROOTS; `.` is that folder itself",
        examples=["lobby/2026-11"],
    )
    pattern: str | None = Field(
        default=None,
        max_length=MAX_PATTERN,
        description="regular expression on the path relative to the folder, with the groups "
        "identity, camera, track, timestamp and crop_id. Without pattern, layout and manifest, a "
        "manifest.ndjson, .jsonl, .csv or .parquet in the folder is used, or else Market-1501 "
        "names",
    )
    layout: LayoutName | None = Field(
        default=None,
        description="built-in layout of file names, instead of a pattern, such as mars or viper",
    )
    manifest: Relative | None = Field(
        default=None,
        description="file in that folder (.csv, .ndjson, .jsonl, .parquet) with the column path, "
        "and crop_id, identity, camera, track and timestamp if known",
    )

    zone: Zone | None = Field(
        default=None,
        description="time zone of times without one, such as Europe/Berlin or +01:00; default: "
        "UTC, with a warning",
    )
    zones: dict[Label, Zone] | None = Field(
        default=None,
        max_length=MAX_ZONES,
        description="time zones of single cameras, by name; `zone` is for all others",
        examples=[{"gate": "Europe/Berlin", "pier": "+01:00"}],
    )

    camera: Label | None = Field(
        default=None, description="of videos: the camera, if their names do not say it"
    )
    timestamp: StartTime | None = None
    fps: Fps | None = None
    tiles: Tiles | None = None
    score: FrameScore = None
    tracks: bool | None = Field(default=None, description=TRACKS)

    @field_validator("zones", mode="before")
    @classmethod
    def _one_zone_a_camera(cls, given: object) -> object:
        if isinstance(given, dict):
            names = Counter(normal_form(camera) for camera in given if isinstance(camera, str))
            if twice := [name for name, count in names.items() if count > 1]:
                raise ValueError(f"camera {twice[0][:80]!r} has two zones")
        return given

    @model_validator(mode="after")
    def _one_says_what_names_mean(self) -> Self:
        ways = {"pattern": self.pattern, "layout": self.layout, "manifest": self.manifest}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        return self


def zones_of(given: Sequence[str]) -> dict[str, str]:
    """Read time zones of cameras from a list of texts.

    Args:
        given: each ``CAMERA=ZONE``, such as ``gate=Europe/Berlin``.

    Returns:
        The zones by camera.

    Raises:
        InvalidInput: a text has another form, a camera is named twice, or a zone is unknown.
    """
    found: dict[str, str] = {}
    for text in given:
        camera, equals, zone = text.rpartition("=")
        if not equals or not camera.strip():
            raise InvalidInput(
                f"zone of a camera {text[:80]!r}: write CAMERA=ZONE, such as gate=Europe/Berlin"
            )
        name = normal_form(camera)
        if name in found:
            raise InvalidInput(f"camera {name[:80]!r} has two zones: {found[name]} and {zone}")
        found[name] = zone
    try:
        for camera, zone in found.items():
            name_of(camera)
            read_zone(zone)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    return found
