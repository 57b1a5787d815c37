"""Requests and answers about false alerts."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.fields import Body, Label, Timestamp

MAX_PEOPLE = 100_000
MAX_APART = 1000


class FalseAlertQuery(Body):
    """``GET /galleries/{gallery}/false-alerts``."""

    people: int = Field(
        default=1, ge=1, le=MAX_PEOPLE, description="how many people a watch looks for"
    )
    per_thousand: float = Field(
        default=1.0,
        gt=0.0,
        lt=1000.0,
        description="of a thousand tracks of other people, how many may raise an alert",
    )
    apart: list[Label] = Field(
        default=[],
        max_length=MAX_APART,
        description="cameras so far apart that nobody is in two of their views at one time; "
        "repeat the parameter",
    )
    cameras: list[Label] | None = Field(
        default=None,
        max_length=MAX_APART,
        description="only tracks of these cameras; repeat the parameter",
    )
    since: Timestamp | None = Field(default=None, description="only crops of this time or later")
    until: Timestamp | None = Field(default=None, description="only crops before this time")


class FalseAlerts(BaseModel):
    """How sure a watch must be to raise few false alerts, by what the gallery shows."""

    people: int
    per_thousand: float
    tracks: int = Field(description="tracks that have a camera and times", examples=[1840])
    pairs: int = Field(
        description="pairs of tracks that show two people: at one time in one camera, or in two "
        "cameras that are far apart",
        examples=[2210],
    )
    min_score: float | None = Field(
        description="for a watch: the cosine that keeps the rate; null if too few pairs are known",
        examples=[0.62],
    )
    low: float | None = Field(
        description="of the estimates from resampled tracks, 5 % are below", examples=[0.58]
    )
    high: float | None = Field(
        description="5 % of them are above; use it to be on the safe side", examples=[0.66]
    )
    tracks_per_day: float | None = Field(
        description="at the pace of these tracks; null if all are of one moment", examples=[920.0]
    )
    alerts_per_day: float | None = Field(
        description="false alerts per day at this rate and pace", examples=[0.92]
    )
    detail: str | None = Field(description="what is missing for an estimate; null if nothing is")
