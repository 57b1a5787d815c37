"""The parameters of ``POST /galleries/{gallery}/imports``."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Query
from pydantic import StringConstraints

from service.api.imports import (
    MAX_PATTERN,
    MAX_ZONE,
    MAX_ZONES,
    TRACKS,
    Fps,
    Relative,
    StartTime,
    zones_of,
)
from service.imports.importer import looking_options
from service.imports.items import check_relative
from service.imports.member_names import known_encoding
from service.imports.reader import reading_of
from service.imports.videos import VideoRules
from service.ingest.crop_names import naming_of
from service.ingest.name_layouts import LayoutName
from service.values.fields import FrameScore, Label, Tiles

OF_VIDEOS = ("name", "camera", "timestamp", "fps", "tiles", "score", "tracks")
"""Parameters that only a video can have."""

PARAMETERS = ("pattern", "layout", "encoding", "zone", "zones", *OF_VIDEOS)
"""Parameters of an upload; for a folder of the server, they are in the body."""

Pattern = Annotated[
    str | None,
    Query(
        max_length=MAX_PATTERN,
        description="for an archive: regular expression on the members' paths with groups "
        "identity, camera, track, timestamp, crop_id; for a video: on its `name`. Without pattern "
        "and layout, the import uses the manifest.ndjson, .jsonl, .csv or .parquet in the archive, "
        "or else reads Market-1501 names",
    ),
]
Layout = Annotated[
    LayoutName | None,
    Query(description="for an archive: built-in layout of the members' names, such as mars"),
]
Encoding = Annotated[
    str | None,
    Query(
        max_length=40,
        description="for an archive: encoding of members' names that are not UTF-8, such as "
        "cp437, cp850, cp1252, shift_jis or gbk",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="a request with the same key and content gets the job of the first one",
    ),
]
ZoneOfAll = Annotated[
    str | None,
    Query(
        max_length=100,
        description="zone of times that have none, such as Europe/Berlin or +01:00 (%2B01:00 in a "
        "URL); default: UTC, which the job's result then mentions",
    ),
]
ZonesOfCameras = Annotated[
    list[Annotated[str, StringConstraints(max_length=MAX_ZONE)]] | None,
    Query(
        max_length=MAX_ZONES,
        description="zone of one camera, as CAMERA=ZONE; repeat the parameter for more",
    ),
]
VideoName = Annotated[
    Relative | None,
    Query(
        description="for a video: its file name, which begins the ids of its frames; default: the "
        "first digits of the SHA-256 of the file",
        examples=["gate/2026-11-21_14-05-33.mp4"],
    ),
]
VideoCamera = Annotated[
    Label | None, Query(description="for a video: the camera, if its name does not say it")
]


@dataclass(frozen=True, slots=True)
class ImportParameters:
    """Parameters and headers of an import."""

    pattern: Pattern = None
    layout: Layout = None
    encoding: Encoding = None
    zone: ZoneOfAll = None
    zones: ZonesOfCameras = None
    name: VideoName = None
    camera: VideoCamera = None
    timestamp: Annotated[StartTime | None, Query()] = None
    fps: Annotated[Fps | None, Query()] = None
    tiles: Annotated[Tiles | None, Query()] = None
    score: Annotated[FrameScore, Query()] = None
    tracks: Annotated[bool | None, Query(description=TRACKS)] = None
    idempotency_key: IdempotencyKey = None


def upload_spec(parameters: ImportParameters) -> dict[str, Any]:
    """Check the parameters of an upload.

    Args:
        parameters: of the request.

    Returns:
        The part of the job's spec that they are.

    Raises:
        InvalidInput: a value breaks a rule.
    """
    naming_of(parameters.pattern, parameters.layout)
    if parameters.name is not None:
        check_relative(parameters.name)
    more = {
        "layout": parameters.layout,
        "encoding": known_encoding(parameters.encoding),
        "zone": parameters.zone,
        "zones": zones_of(parameters.zones or ()),
    }
    of_videos = {name: getattr(parameters, name) for name in OF_VIDEOS}
    spec = {
        "pattern": parameters.pattern,
        **{name: value for name, value in more.items() if value},
        **{name: value for name, value in of_videos.items() if value is not None},
    }
    VideoRules.read(spec, reading_of(spec))
    looking_options(spec)
    return spec
