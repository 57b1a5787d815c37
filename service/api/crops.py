"""What answers say of crops."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.warnings import WarningRecord
from service.values.vocabulary import Origin


class CropRecord(BaseModel):
    """A crop as the gallery remembers it."""

    crop_id: str = Field(examples=["bounding_box_test/0002_c1s1_000451_03.jpg"])
    identity: str | None = Field(examples=["0002"])
    camera: str | None = Field(examples=["c1"])
    timestamp: float | None = Field(
        description="seconds since 1970-01-01 UTC", examples=[1_700_000_000.0]
    )
    digest: str | None = Field(description="SHA-256 of the image file", examples=["9f86d081…"])
    origin: Origin = Field(
        description="where the identity comes from: given with the crop, a cluster, or corrected "
        "by hand"
    )
    added: float | None = Field(
        description="when the gallery took it, seconds since 1970-01-01 UTC; null for crops of "
        "collections that do not know",
        examples=[1_700_000_000.0],
    )


class StoredCrop(CropRecord):
    """A crop that was just stored."""

    warnings: list[WarningRecord] = Field(description="what was assumed for its time")


class CropPage(BaseModel):
    """Part of a listing, in the order of the crop ids."""

    crops: list[CropRecord]
    cursor: str | None = Field(description="asks for the next page; null on the last one")
    warnings: list[WarningRecord] = Field(description="what is odd about the filter")


class EnrolmentEntry(BaseModel):
    """What became of one crop."""

    crop_id: str
    status: Literal["created", "replaced", "error"]
    identity: str | None = Field(
        description="who it shows: as given, or the group it joined; null where nobody knows",
        examples=["0052"],
    )
    origin: Origin | None = Field(
        description="where the identity comes from; null where the image could not be used"
    )
    error: ImageProblem | None = None


class EnrolmentAnswer(BaseModel):
    """Answer to a batch of crops; whatever it calls created or replaced is on disk."""

    model: ModelName
    took_ms: dict[str, float]
    results: list[EnrolmentEntry] = Field(description="one a crop, in order")
    warnings: list[WarningRecord] = Field(description="what was assumed for their times")
