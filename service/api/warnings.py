"""What is odd about a request that is allowed all the same."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.values.vocabulary import WarningCode


class WarningRecord(BaseModel):
    """What is odd about a filter that is allowed all the same."""

    code: WarningCode = Field(description="for programs: what kind of thing")
    field: str = Field(description="the field of the request", examples=["cameras"])
    values: list[str] = Field(
        description="names that the gallery does not have, the first twenty", examples=[["Cam-4"]]
    )
    detail: str = Field(
        description="a sentence for people",
        examples=["No crop of gallery 'lobby' has the camera 'Cam-4'; its cameras are 'c1', 'c3'."],
    )
