"""Answers about whole frames."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.boxes import PersonRecord
from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.search import QueryImage


class DetectorName(ModelName):
    """The model that found the persons."""


class FrameEntry(BaseModel):
    """The persons on one frame, or the reason why it could not be used."""

    image: QueryImage
    width: int | None = Field(
        description="of the upright frame, in pixels; null if it could not be used", examples=[1920]
    )
    height: int | None = Field(
        description="of the upright frame, in pixels; null if it could not be used", examples=[1080]
    )
    persons: list[PersonRecord] = Field(description="the highest score first")
    error: ImageProblem | None = None


class DetectAnswer(BaseModel):
    """Answer to ``POST /detect``."""

    model: DetectorName
    score: float = Field(description="persons have a score above it", examples=[0.4])
    took_ms: dict[str, float]
    results: list[FrameEntry] = Field(description="one per image, in order")
