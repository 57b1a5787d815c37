"""The kinds of field that many requests share, whatever carries them."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from service.names import MAX_NAME, id_of, name_of
from service.timestamps import parse_timestamp


def _seconds(value: object) -> object:
    return parse_timestamp(value) if isinstance(value, str) else value


def _names(value: object) -> object:
    """Repeated fields and comma separated ones become one list."""
    if not isinstance(value, list):
        return value
    return [part.strip() for item in value for part in str(item).split(",") if part.strip()]


_NAME_SCHEMA = WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_NAME})

Label = Annotated[str, AfterValidator(name_of), _NAME_SCHEMA]
CropId = Annotated[str, AfterValidator(id_of), _NAME_SCHEMA]
Timestamp = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}],
            "description": "seconds since 1970-01-01 UTC or ISO 8601 (UTC where no zone is given)",
        }
    ),
]
Names = Annotated[list[Label], BeforeValidator(_names)]


class Body(BaseModel):
    """A request body; a field nobody knows is refused, so that a typo is noticed."""

    model_config = ConfigDict(extra="forbid")


class JsonBody(Body):
    """A body of JSON, whose types are taken at their word: 0 is not false, "1" is no number."""

    model_config = ConfigDict(strict=True)
