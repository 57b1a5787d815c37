"""Problem documents (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, Field


class FieldError(BaseModel):
    """A field that breaks a rule."""

    where: str = Field(description="body, query, path or header")
    field: str
    detail: str


class ImageProblem(BaseModel):
    """What is wrong with one image (RFC 9457)."""

    type: str = Field(description="identifies the kind of problem")
    title: str
    status: int
    detail: str = Field(description="which value broke which rule")
    code: str = Field(description="for programs: one word per kind of error")


class Problem(ImageProblem):
    """What went wrong (RFC 9457)."""

    instance: str | None = Field(default=None, description="the path of the request")
    request_id: str | None = Field(default=None, description="the answer's X-Request-ID")
    errors: list[FieldError] | None = Field(
        default=None, description="one entry per field that breaks a rule"
    )
    crops: int | None = Field(
        default=None, description="with code `unconfirmed`: how many crops would be erased"
    )
    oldest: float | None = Field(
        default=None,
        description="with code `unconfirmed`: time of the oldest, seconds since 1970-01-01 UTC",
    )
    newest: float | None = Field(
        default=None, description="with code `unconfirmed`: time of the newest"
    )
