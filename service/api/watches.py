"""Requests and answers about watches."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from service.api.warnings import WarningRecord
from service.values.fields import ZONE, CropId, JsonBody, Label, Zone, ZonedTime
from service.values.vocabulary import WatchFor

MAX_WATCHED = 1000
"""Most identities, crops or cameras of one watch."""
MAX_QUIET_SECONDS = 30 * 86_400.0
MAX_URL = 2000

TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", max_length=5),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL)]

_NEEDS = {"identities": "identities", "crops": "crop_ids"}


class WatchBody(JsonBody):
    """``POST /galleries/{gallery}/watches``."""

    watch_for: WatchFor = Field(
        description="whom to look for: the given `identities`, the people on the given crops "
        "(`crop_ids`), everyone with an identity in the `gallery` named by `of`, or anyone "
        "`unknown`, who is none of them"
    )
    of: str | None = Field(
        default=None,
        max_length=64,
        description="the gallery that holds whom to compare new crops with, of the same model; "
        "default: the watched gallery itself",
    )
    name: Label | None = Field(default=None, description="what the watch is for")
    identities: list[Label] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_WATCHED,
        description="whom to look for; with `unknown`, who is known (default: everyone with an "
        "identity)",
    )
    crop_ids: list[CropId] | None = Field(
        default=None, min_length=1, max_length=MAX_WATCHED, description="crops to compare with"
    )
    cameras: list[Label] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_WATCHED,
        description="only new crops of these cameras",
    )
    zone: Zone | None = Field(default=None, description=ZONE)
    since: ZonedTime | None = Field(
        default=None, description="only crops taken at this time or later"
    )
    until: ZonedTime | None = Field(default=None, description="only crops taken before this time")
    daily_from: TimeOfDay | None = Field(
        default=None,
        description="only crops taken at this time of day or later, in `zone`, or UTC",
        examples=["22:00"],
    )
    daily_until: TimeOfDay | None = Field(
        default=None,
        description="only crops taken before this time of day; before `daily_from`, it is of the "
        "next day",
        examples=["06:00"],
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        description="minimum cosine of a match; default: the model's calibrated threshold",
    )
    false_alert_rate: float | None = Field(
        default=None,
        gt=0.0,
        lt=1.0,
        description="instead of `min_score`: at most this share of comparisons with other people "
        "reaches the minimum, by the model's calibration",
    )
    quiet_seconds: float = Field(
        default=300.0,
        ge=0.0,
        le=MAX_QUIET_SECONDS,
        description="how long the same person causes no second event on the same camera, by the "
        "times of the crops",
    )
    deliver_to: Url | None = Field(
        default=None,
        description="address that each event is posted to, which REID_WEBHOOKS must allow; or "
        "`mqtt`, for the broker of REID_MQTT",
        examples=["https://hooks.example.com/people"],
    )

    @model_validator(mode="after")
    def _whom_to_look_for_is_given(self) -> Self:
        for kind, field in _NEEDS.items():
            allowed = (kind, "unknown") if kind == "identities" else (kind,)
            if self.watch_for == kind and getattr(self, field) is None:
                raise ValueError(f"watch_for {kind} needs {field}")
            if self.watch_for not in allowed and getattr(self, field) is not None:
                raise ValueError(f"watch_for {self.watch_for} takes no {field}")
        return self

    @model_validator(mode="after")
    def _windows_are_whole(self) -> Self:
        if (self.daily_from is None) != (self.daily_until is None):
            raise ValueError("give daily_from and daily_until together")
        if self.daily_from is not None and self.daily_from == self.daily_until:
            raise ValueError("daily_from and daily_until are equal: leave both out for all day")
        if self.min_score is not None and self.false_alert_rate is not None:
            raise ValueError("give min_score or false_alert_rate, not both")
        return self


class WatchRecord(BaseModel):
    """A watch, without its secret."""

    watch_id: str = Field(examples=["9b2f6c0e51d3a784"])
    gallery: str = Field(description="whose new crops are judged")
    of: str = Field(description="the gallery that they are compared with")
    watch_for: WatchFor
    name: str | None
    identities: list[str] = Field(description="empty if none are named")
    crop_ids: list[str]
    cameras: list[str] | None = Field(description="null: all")
    since: float | None = Field(description="seconds since 1970-01-01 UTC")
    until: float | None
    daily_from: str | None
    daily_until: str | None
    zone: str | None = Field(description="of the times of day")
    min_score: float | None = Field(description="as it was given")
    false_alert_rate: float | None
    quiet_seconds: float
    deliver_to: str | None
    created: float = Field(description="seconds since 1970-01-01 UTC")
    problem: str | None = Field(
        description="why it judges nothing at present, such as a gallery of another model, or "
        "whom it cannot find because no crop has the name"
    )


class CreatedWatch(WatchRecord):
    """A new watch with its secret, which is shown only once."""

    threshold: float = Field(description="from this cosine on, two crops show the same person")
    secret: str | None = Field(
        description="signs what is delivered; it cannot be shown again; null without an address"
    )
    warnings: list[WarningRecord] = Field(description="what looks wrong with the names")


class Watches(BaseModel):
    """The watches of a gallery, oldest first."""

    watches: list[WatchRecord]
