"""Requests and answers about jobs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from service.values.fields import MAX_TEXT, Body, Cursor
from service.values.vocabulary import JobKind, JobState


class JobRecord(BaseModel):
    """The state of a job at one moment."""

    job_id: str = Field(examples=["9b2f6c0e51d3a784"])
    kind: JobKind
    gallery: str
    state: JobState = Field(
        description="`failed` jobs can be resumed; `done` and `cancelled` are final"
    )
    counts: dict[str, int] = Field(
        description="items by outcome", examples=[{"created": 1800, "failed": 2}]
    )
    done: int = Field(description="items processed: the sum of the counts")
    total: int | None = Field(description="number of items, if known")
    rate: float = Field(description="items per second, recently; 0 unless the job runs")
    eta_seconds: float | None = Field(description="estimated seconds until it ends, if known")
    created: float = Field(description="seconds since 1970-01-01 UTC")
    started: float | None = Field(description="when its latest run started")
    finished: float | None
    result: dict[str, Any] | None = Field(
        description="the outcome, by kind of job; keys that may not write see only the numbers"
    )
    error: str | None = Field(
        description="why the whole job failed; null for keys that may not write"
    )
    errors: int = Field(description="items that failed; /jobs/{job_id}/errors lists the reasons")
    kept_bytes: int = Field(description="bytes of the upload that it still keeps")
    resumable: bool = Field(description="whether it failed and can run again")


class JobQuery(Body):
    """``GET /jobs``."""

    gallery: str | None = Field(
        default=None, max_length=MAX_TEXT, description="only jobs of this gallery"
    )
    state: JobState | None = Field(default=None, description="only jobs in this state")
    kind: JobKind | None = Field(default=None, description="only jobs of this kind")
    limit: int = Field(default=100, ge=1, le=1000, description="maximum jobs per page")
    cursor: Cursor | None = Field(default=None, description="cursor of the previous page")


class Jobs(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobRecord]
    cursor: str | None = Field(description="pass it to get the next page; null on the last page")


class JobItemError(BaseModel):
    """A line of ``GET /jobs/{job_id}/errors``."""

    item: str = Field(description="the file, or the row of a manifest")
    reason: str
