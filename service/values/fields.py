"""Field types that many requests share, in a form, a query or JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

from service.values.boxes import LOWEST_SCORE
from service.values.names import MAX_NAME, id_of, name_of
from service.values.tiling import GRID, written_grid
from service.values.timestamps import (
    EARLIEST,
    LATEST,
    Moment,
    moment_as_input,
    parse_timestamp,
    read_moment,
)
from service.values.zones import read_zone

MAX_TEXT = 256
"""Longest text that names anything but a crop: a gallery, a model, a zone, a time."""

MAX_CURSOR = 4096
"""Longest cursor; it may hold a crop id, whose characters take several bytes each."""


MAX_VALUES = 25_000
"""Most values of one JSON text; one with more costs far more to read than to send."""

OPENS_A_VALUE = ",[{"
"""The characters that open or separate the values of JSON. Those inside of texts count too."""


def _seconds(value: object) -> float:
    return parse_timestamp(_short_time(value))


def _short_time(value: object) -> object:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"a time has at most {MAX_TEXT} characters, this text has {len(value):,}")
    return value


def _zoned(value: object, info: ValidationInfo) -> Moment:
    zone = info.data.get("zone")
    return read_moment(_short_time(value), None if zone is None else read_zone(zone))


def _of_few_values(text: object) -> object:
    if isinstance(text, str) and sum(map(text.count, OPENS_A_VALUE)) > MAX_VALUES:
        raise ValueError(f"the JSON has more than {MAX_VALUES:,} values")
    return text


def _zone(text: str) -> str:
    read_zone(text)
    return text.strip()


_NAME_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME})

Label = Annotated[str, AfterValidator(name_of), _NAME_SCHEMA]
CropId = Annotated[str, AfterValidator(id_of), _NAME_SCHEMA]
_TIME_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": EARLIEST, "exclusiveMaximum": LATEST},
            {"type": "number", "minimum": EARLIEST * 1000, "exclusiveMaximum": LATEST * 1000},
            {"type": "string", "format": "date-time", "maxLength": MAX_TEXT},
        ],
        "description": "ISO 8601, a date such as 20261121, or seconds since 1970-01-01 UTC "
        "(or milliseconds, if only those make a time between 1980 and 2100); UTC if no zone is "
        "given",
    }
)
Timestamp = Annotated[float, PlainValidator(_seconds), _TIME_SCHEMA]
"""A time; UTC if it has no zone."""
ZonedTime = Annotated[
    Moment, PlainValidator(_zoned), PlainSerializer(moment_as_input), _TIME_SCHEMA
]
"""A time in a model that declares the field ``zone`` before it, for times without a zone."""
FewValues = BeforeValidator(_of_few_values)
"""Rejects JSON in a form before it is parsed, by the rule of JSON bodies."""
Zone = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_zone)]
Tiles = Annotated[
    str,
    AfterValidator(written_grid),
    Field(
        description="look at this many overlapping tiles of each frame too, COLUMNSxROWS, for "
        "people who are small on large frames; each tile costs as much as a frame",
        examples=["2x2"],
        json_schema_extra={"pattern": GRID, "maxLength": len("4x4")},
    ),
]
FrameScore = Annotated[
    float | None,
    Field(
        ge=LOWEST_SCORE,
        lt=1.0,
        description="persons have a score above it; default: the detector's",
    ),
]
Cursor = Annotated[str, StringConstraints(max_length=MAX_CURSOR)]
"""The cursor of a page; the code that makes the page defines its meaning."""
ZONE = "the time zone of times that have none, such as Europe/Berlin or +01:00"
"""Description of the field ``zone``."""
TRACK = (
    "which walk through the camera's view it belongs to, if known; crops of equal camera and track "
    "show one person"
)
"""Description of the field ``track``."""


class Body(BaseModel):
    """A request body. Unknown fields are rejected, so that a typo is noticed."""

    model_config = ConfigDict(extra="forbid")


class JsonBody(Body):
    """A JSON body, whose types are not converted: 0 is not false, "1" is not a number."""

    model_config = ConfigDict(strict=True)
