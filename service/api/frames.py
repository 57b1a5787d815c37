"""Answers to ``POST /galleries/{gallery}/frames``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.api.boxes import Box, QualityRecord
from service.api.detection import DetectorName
from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.search import QueryImage
from service.api.warnings import WarningRecord
from service.values.quality import Weakness
from service.values.vocabulary import Origin


class FramePerson(BaseModel):
    """What became of one person on a frame."""

    box: Box
    score: float | None = Field(
        description="the detector's, 0..1; null if you sent the box without one", examples=[0.83]
    )
    quality: QualityRecord
    crop_id: str | None = Field(
        description="its id in the gallery; null if it was not stored", examples=["c1/000451/01"]
    )
    track: str | None = Field(
        description="as you sent it with the box; null if you did not", examples=["17"]
    )
    status: Literal["created", "replaced", "dropped", "error"] | None = Field(
        description="null in a dry run, unless the person was dropped or could not be used"
    )
    reason: Weakness | None = Field(
        description="what lowers the quality most, if it is below min_quality; otherwise null"
    )
    identity: str | None = Field(
        description="the group it joined; null if unknown", examples=["0052"]
    )
    origin: Origin | None = Field(
        description="where the identity comes from; null if the crop was not stored"
    )
    error: ImageProblem | None = None


class FilledFrame(BaseModel):
    """The persons of one frame, or the reason why it could not be used."""

    image: QueryImage
    frame_id: str = Field(description="begins the ids of its crops", examples=["c1/000451"])
    width: int | None = Field(
        description="of the upright frame, in pixels; null if it could not be used", examples=[1920]
    )
    height: int | None = Field(
        description="of the upright frame, in pixels; null if it could not be used", examples=[1080]
    )
    persons: list[FramePerson] = Field(
        description="the highest score first, or in the order of your boxes"
    )
    error: ImageProblem | None = None


class FramesAnswer(BaseModel):
    """What became of the frames; crops reported as created or replaced are on disk."""

    model: ModelName = Field(description="the gallery's, which embedded the persons")
    detector: DetectorName | None = Field(
        description="the model that found the persons; null if you sent boxes"
    )
    score: float | None = Field(
        description="persons have a score above it; null if you sent boxes", examples=[0.4]
    )
    dry_run: bool = Field(description="true: nothing was stored")
    took_ms: dict[str, float]
    results: list[FilledFrame] = Field(description="one per image, in order")
    warnings: list[WarningRecord] = Field(description="what was assumed about their times")
