"""What ``/jobs`` answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from service.values.fields import MAX_TEXT, Body, Cursor
from service.values.vocabulary import JobKind, JobState


class JobRecord(BaseModel):
    """A job at one moment."""

    job_id: str = Field(examples=["9b2f6c0e51d3a784"])
    kind: JobKind
    gallery: str
    state: JobState = Field(description="failed: can be resumed; done and cancelled: for good")
    counts: dict[str, int] = Field(
        description="items by outcome", examples=[{"created": 1800, "failed": 2}]
    )
    done: int = Field(description="sum of the counts")
    total: int | None = Field(description="how many items there are, where known")
    rate: float = Field(description="items a second of late; 0 unless it runs")
    eta_seconds: float | None = Field(description="to the end, where that can be told")
    created: float = Field(description="seconds since 1970-01-01 UTC")
    started: float | None = Field(description="when its latest run began")
    finished: float | None
    result: dict[str, Any] | None = Field(
        description="what came out, by kind; only numbers for keys that may not write"
    )
    error: str | None = Field(
        description="why the job as a whole failed; null for keys that may not write"
    )
    errors: int = Field(description="items that failed; /jobs/{job_id}/errors has the reasons")
    kept_bytes: int = Field(description="bytes of what it received and still keeps")
    resumable: bool = Field(description="whether it failed and can run again")


class JobQuery(Body):
    """``GET /jobs``."""

    gallery: str | None = Field(
        default=None, max_length=MAX_TEXT, description="jobs of this gallery only"
    )
    state: JobState | None = Field(default=None, description="jobs in this state only")
    kind: JobKind | None = Field(default=None, description="jobs of this kind only")
    limit: int = Field(default=100, ge=1, le=1000, description="most jobs of this page")
    cursor: Cursor | None = Field(default=None, description="the previous page's cursor")


class Jobs(BaseModel):
    """Part of the jobs, newest first."""

    jobs: list[JobRecord]
    cursor: str | None = Field(description="asks for the next page; null on the last one")


class JobItemError(BaseModel):
    """A line of ``GET /jobs/{job_id}/errors``."""

    item: str = Field(description="the file, or the row of a manifest")
    reason: str
