"""What a key shall allow, as the command line and the API are told it."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from service.errors import InvalidInput
from service.gallery.rules import check_name
from service.values.fields import MAX_TEXT, JsonBody, Label, Timestamp


def _gallery_name(name: str) -> str:
    try:
        check_name(name)
    except InvalidInput as error:
        raise ValueError(str(error)) from None  # pydantic names the field too
    return name


def _in_the_future(moment: float) -> float:
    if moment <= time.time():
        raise ValueError("must be in the future")
    return moment


GalleryName = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(_gallery_name)]


class NewKey(JsonBody):
    """``POST /keys``."""

    label: Label = Field(description="what the key is for", examples=["importer of the lobby"])
    scope: Literal["search", "write", "admin"] = Field(
        description="the most it allows; each includes those before it"
    )
    galleries: list[GalleryName] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="the only galleries it is for, existing or not; all if absent",
    )
    expires: Annotated[Timestamp, AfterValidator(_in_the_future)] | None = Field(
        default=None, description="when it ends; never if absent"
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="REID_REQUESTS_PER_MINUTE if absent"
    )
