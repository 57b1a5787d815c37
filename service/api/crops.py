"""Answers about crops."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.warnings import WarningRecord
from service.values.vocabulary import Origin


class CropRecord(BaseModel):
    """A crop as the gallery stores it."""

    crop_id: str = Field(examples=["bounding_box_test/0002_c1s1_000451_03.jpg"])
    identity: str | None = Field(examples=["0002"])
    camera: str | None = Field(examples=["c1"])
    track: str | None = Field(
        description="which walk through the camera's view it belongs to", examples=["17"]
    )
    timestamp: float | None = Field(
        description="seconds since 1970-01-01 UTC", examples=[1_700_000_000.0]
    )
    digest: str | None = Field(description="SHA-256 of the image file", examples=["9f86d081…"])
    origin: Origin = Field(
        description="where the identity comes from: `given` with the crop, assigned by a "
        "`cluster` job, corrected by `hand`, or taken over from a group when it came (`join`)"
    )
    added: float | None = Field(
        description="when the crop was added, seconds since 1970-01-01 UTC; null for crops of "
        "collections that did not record it",
        examples=[1_700_000_000.0],
    )


class StoredCrop(CropRecord):
    """A crop that was just stored."""

    warnings: list[WarningRecord] = Field(description="what was assumed about its time")


class CropPage(BaseModel):
    """One page of a listing, in the order of the crop ids."""

    crops: list[CropRecord]
    cursor: str | None = Field(description="pass it to get the next page; null on the last page")
    warnings: list[WarningRecord] = Field(description="what looks wrong with the filter")


class EnrolmentEntry(BaseModel):
    """The outcome for one crop."""

    crop_id: str
    status: Literal["created", "replaced", "error"]
    identity: str | None = Field(
        description="the person it shows: as given, or the group it joined; null if unknown",
        examples=["0052"],
    )
    origin: Origin | None = Field(
        description="where the identity comes from; null if the image could not be used"
    )
    error: ImageProblem | None = None


class EnrolmentAnswer(BaseModel):
    """Answer to a batch of crops; crops reported as created or replaced are on disk."""

    model: ModelName
    took_ms: dict[str, float]
    results: list[EnrolmentEntry] = Field(description="one per crop, in order")
    warnings: list[WarningRecord] = Field(description="what was assumed about their times")
