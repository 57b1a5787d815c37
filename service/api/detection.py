"""Answers about whole frames."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.api.models import ModelName
from service.api.problems import ImageProblem
from service.api.search import QueryImage


class DetectorName(ModelName):
    """The model that found the persons."""


class Box(BaseModel):
    """A rectangle on a frame, in pixels of the upright frame and clipped to it."""

    x: float = Field(description="left edge, from 0", examples=[612.4])
    y: float = Field(description="upper edge, from 0", examples=[148.9])
    width: float = Field(examples=[71.3])
    height: float = Field(examples=[190.6])


class PersonRecord(BaseModel):
    """A person on a frame."""

    box: Box
    score: float = Field(description="the detector's, 0..1", examples=[0.83])


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
