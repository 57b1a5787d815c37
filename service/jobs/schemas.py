"""What ``/jobs`` answers."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field

from service.jobs.base import Job, Kind, State


class JobRecord(BaseModel):
    """A job at one moment."""

    job_id: str = Field(examples=["9b2f6c0e51d3a784"])
    kind: Kind
    gallery: str
    state: State = Field(description="failed: can be resumed; done and cancelled: for good")
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
    result: dict[str, Any] | None = Field(description="what came out, by kind")
    error: str | None = Field(description="why the job as a whole failed")
    errors: int = Field(description="items that failed; /jobs/{job_id}/errors has the reasons")

    @classmethod
    def of(cls, job: Job) -> Self:
        """The record of a job."""
        return cls(**{name: getattr(job, name) for name in cls.model_fields})


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobRecord]
