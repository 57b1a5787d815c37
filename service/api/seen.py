"""Requests and answers about earlier visits of a person."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import ZONE, CropId, JsonBody, Zone, ZonedTime

MAX_CROPS = 64
MAX_GAP_SECONDS = 30 * 86_400.0


class SeenBody(JsonBody):
    """``POST /galleries/{gallery}/seen``."""

    crop_ids: list[CropId] = Field(
        min_length=1,
        max_length=MAX_CROPS,
        description="crops of the gallery that show one person, such as the crop of an event",
    )
    zone: Zone | None = Field(default=None, description=ZONE)
    before: ZonedTime | None = Field(
        default=None,
        description="only visits before this time; default: the time of the first of the crops",
    )
    gap_seconds: float = Field(
        default=300.0,
        ge=0.0,
        le=MAX_GAP_SECONDS,
        description="a longer pause between two crops of a camera begins another visit, unless "
        "they have tracks",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="minimum cosine; default: the model's calibrated threshold",
    )


class VisitRecord(BaseModel):
    """Crops of one track that look the same, or of one camera and close together in time."""

    camera: str | None
    track: str | None
    first: float = Field(description="time of its first crop, seconds since 1970-01-01 UTC")
    last: float = Field(description="time of its last crop")
    crops: int = Field(description="how many of its crops look the same")
    crop_id: str = Field(description="the crop with the best score")
    identity: str | None = Field(description="of that crop")
    score: float = Field(description="its cosine")
    probability: float | None = Field(
        description="probability that it shows the same person, at even odds; null if the model "
        "is not calibrated, or several crops were given"
    )
    false_alert_rate: float | None = Field(
        description="at most this share of other people's crops looks as alike; null as probability"
    )


class SeenCamera(BaseModel):
    """What one camera has seen of the person."""

    camera: str | None
    first: float = Field(description="time of the first crop, seconds since 1970-01-01 UTC")
    last: float
    visits: int
    score: float = Field(description="the best cosine")


class SeenAnswer(BaseModel):
    """Earlier visits of a person."""

    gallery: str
    before: float = Field(description="only visits before this time, seconds since 1970-01-01 UTC")
    min_score: float | None = Field(description="the minimum cosine that was applied")
    cameras: list[SeenCamera] = Field(description="by name")
    visits: list[VisitRecord] = Field(description="latest first")
    complete: bool = Field(
        description="false if more crops may match than the 1,000 nearest, which were looked at"
    )
