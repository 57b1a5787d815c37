"""Persons on frames, in answers."""

from __future__ import annotations

from pydantic import BaseModel, Field


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
