"""The request for a new API key, shared by the command line and the API."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from service.values.fields import MAX_TEXT, JsonBody, Label, Timestamp
from service.values.gallery_names import gallery_name_of


def _in_the_future(moment: float) -> float:
    if moment <= time.time():
        raise ValueError("must be in the future")
    return moment


GalleryName = Annotated[
    str, StringConstraints(max_length=MAX_TEXT), AfterValidator(gallery_name_of)
]


class NewKey(JsonBody):
    """``POST /keys``."""

    label: Label = Field(description="what the key is for", examples=["importer of the lobby"])
    scope: Literal["search", "write", "admin"] = Field(
        description="the highest scope it allows; each scope includes those before it"
    )
    galleries: list[GalleryName] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="the only galleries it is for, which need not exist; all if absent",
    )
    expires: Annotated[Timestamp, AfterValidator(_in_the_future)] | None = Field(
        default=None, description="when it expires; never if absent"
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="REID_REQUESTS_PER_MINUTE if absent"
    )
