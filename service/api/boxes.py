"""Persons on frames, in answers."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Box(BaseModel):
    """A rectangle on a frame, in pixels of the upright frame and clipped to it."""

    x: float = Field(description="left edge, from 0", examples=[612.4])
    y: float = Field(description="upper edge, from 0", examples=[148.9])
    width: float = Field(examples=[71.3])
    height: float = Field(examples=[190.6])


class QualityRecord(BaseModel):
    """How well a frame shows a person."""

    value: float = Field(
        description="all of it in one number, 0..1, from the height of the box, the score, and "
        "what follows",
        examples=[0.714],
    )
    sharpness: float = Field(
        description="0 (blurred) to 1; people in focus have about 0.7", examples=[0.702]
    )
    cut_off: float = Field(
        description="estimated share of the person beyond the edge of the frame, 0..1",
        examples=[0.0],
    )
    covered: float = Field(
        description="estimated share of the box behind other persons, 0..1", examples=[0.125]
    )


class PersonRecord(BaseModel):
    """A person on a frame."""

    box: Box
    score: float = Field(description="the detector's, 0..1", examples=[0.83])
    quality: QualityRecord
