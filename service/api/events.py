"""Requests and answers about events."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import MAX_TEXT, Body, Cursor, Label, Timestamp
from service.values.vocabulary import DeliveryState

MAX_CAMERAS = 1000


class EventFields(Body):
    """Which events."""

    watch_id: str | None = Field(
        default=None, max_length=MAX_TEXT, description="only events of this watch"
    )
    cameras: list[Label] | None = Field(
        default=None,
        max_length=MAX_CAMERAS,
        description="only events of these cameras; repeat the parameter for more",
    )


class EventQuery(EventFields):
    """``GET /galleries/{gallery}/events``."""

    since: Timestamp | None = Field(
        default=None, description="only events of crops taken at this time or later"
    )
    until: Timestamp | None = Field(
        default=None, description="only events of crops taken before this time"
    )
    delivery: DeliveryState | None = Field(
        default=None, description="only events whose delivery is in this state"
    )
    limit: int = Field(default=100, ge=1, le=1000, description="maximum events per page")
    cursor: Cursor | None = Field(default=None, description="cursor of the previous page")


class DeliveryRecord(BaseModel):
    """How the delivery of an event stands."""

    state: DeliveryState = Field(description="`failed` is final: it is not tried again")
    attempts: int
    next_try: float | None = Field(description="seconds since 1970-01-01 UTC")
    error: str | None = Field(description="why the latest attempt failed")


class EventRecord(BaseModel):
    """A crop that a watch looks for was added."""

    event_id: str = Field(examples=["5e974b2bf6b5481890a03a34e12fdcda"])
    watch_id: str
    gallery: str = Field(description="the gallery that the crop was added to")
    of: str = Field(description="the gallery that it was compared with")
    crop_id: str = Field(description="the crop; of a track, the one with the best score")
    camera: str | None
    track: str | None = Field(description="the track that the crop belongs to")
    time: float = Field(
        description="when the crop was taken, or added if that is unknown, seconds since "
        "1970-01-01 UTC"
    )
    identity: str | None = Field(description="the person it matched; null if nobody with a name")
    matched: str | None = Field(description="the crop of `of` that it matched; null if unknown")
    score: float | None = Field(
        description="cosine with the nearest crop compared; null if there was none"
    )
    created: float = Field(description="when the event was stored")


class StoredEvent(EventRecord):
    """An event with its delivery."""

    delivery: DeliveryRecord | None = Field(description="null if the watch has no `deliver_to`")


class Events(BaseModel):
    """One page of events, newest first."""

    events: list[StoredEvent]
    cursor: str | None = Field(description="pass it to get the next page; null on the last page")
