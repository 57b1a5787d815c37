"""Warnings about requests that are allowed but look wrong."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.vocabulary import WarningCode


class WarningRecord(BaseModel):
    """A warning about a filter or a time that is allowed but looks wrong."""

    code: WarningCode = Field(description="for programs: the kind of warning")
    field: str = Field(description="the field of the request", examples=["cameras"])
    values: list[str] = Field(
        description="the first twenty names that the gallery does not have, or crops concerned",
        examples=[["Cam-4"]],
    )
    detail: str = Field(
        description="a sentence for people",
        examples=["No crop of gallery 'lobby' has the camera 'Cam-4'; its cameras are 'c1', 'c3'."],
    )
