"""A job: its request, its state, and how it continues after a restart."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

from service.errors import NotFound
from service.values import vocabulary

Kind = vocabulary.JobKind
State = vocabulary.JobState

UNFINISHED: frozenset[State] = frozenset({"queued", "running"})
_MAX_CRASHES = 2


@dataclass(frozen=True, slots=True)
class Order:
    """A request for a job.

    Attributes:
        kind: selects the runner.
        gallery: the gallery to work on; only one job per gallery runs at a time.
        spec: input for the runner; any JSON object.
        total: number of items, if known.
        idempotency_key: repeating a request with the same key starts only one job.
        owner: key id of the caller; None if the service has no API keys.
        client: whose quota is charged, as :func:`service.access.caller.client_name` names it; None
            for the service itself.
        asked: SHA-256 of the spec if it was computed earlier; kept after the job has ended and its
            spec was erased.
    """

    kind: Kind
    gallery: str
    spec: dict[str, Any]
    total: int | None = None
    idempotency_key: str | None = None
    owner: str | None = None
    client: str | None = None
    asked: str | None = None

    @property
    def spec_text(self) -> str:
        """The spec as JSON; equal specs give equal texts."""
        return json.dumps(self.spec, sort_keys=True)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the spec in hexadecimal; equal specs have equal fingerprints."""
        return self.asked or hashlib.sha256(self.spec_text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment.

    Attributes:
        job_id: unique.
        order: the request.
        state: queued, running, done, failed or cancelled.
        created: when it was accepted, seconds since 1970-01-01 UTC.
        counts: number of items per outcome, such as created, replaced, unchanged or failed.
        total: number of items, if known.
        rate: items per second over the last half minute; 0 unless the job is running.
        started: when its latest run began.
        finished: when it ended.
        result: what the runner reported at the end.
        error: why the whole job failed.
        errors: number of single items that failed; their reasons are stored beside the job.
        cancelling: a cancel was requested and the runner has not reached a safe point yet.
        crashes: how often the service crashed while this job ran.
        kept: bytes of uploaded files that are still stored for it.
    """

    job_id: str
    order: Order
    state: State
    created: float
    counts: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    rate: float = 0.0
    started: float | None = None
    finished: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    errors: int = 0
    cancelling: bool = False
    crashes: int = 0
    kept: int = 0

    @property
    def kind(self) -> Kind:
        """Selects the runner."""
        return self.order.kind

    @property
    def gallery(self) -> str:
        """The gallery it works on."""
        return self.order.gallery

    @property
    def done(self) -> int:
        """Number of items processed, whatever their outcome."""
        return sum(self.counts.values())

    @property
    def resumable(self) -> bool:
        """Whether the job failed and still has the input it needs to run again."""
        received = self.order.spec.get("source") not in {None, "folder"}
        return self.state == "failed" and (self.kept > 0 or not received)

    @property
    def eta_seconds(self) -> float | None:
        """Estimated seconds to the end at the present rate; None if it cannot be estimated."""
        if self.state != "running" or self.total is None or self.rate <= 0.0:
            return None
        return max(self.total - self.done, 0) / self.rate


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Selects jobs; all given conditions must hold.

    Attributes:
        galleries: only jobs of these galleries.
        state: only jobs in this state.
        kind: only jobs of this kind.
    """

    galleries: frozenset[str] | None = None
    state: State | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a listing, newest first; ``cursor`` requests the next page, None ends it."""

    jobs: tuple[Job, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that failed, and why."""

    item: str
    reason: str


class Interrupted(Exception):
    """Ends a run at a safe point; it never means that something went wrong."""


class Cancelled(Interrupted):
    """A client cancelled the job."""


class Stopped(Interrupted):
    """The service is shutting down; the job starts over at the next start."""


def unknown_job(job_id: str) -> NotFound:
    """The error for a job that does not exist, or that the caller may not see."""
    return NotFound(f"there is no job {job_id[:80]!r}")


def requeued(job: Job, crashes: int = 0) -> Job:
    """Reset a job so that it runs again from its start.

    Args:
        job: an ended or interrupted job.
        crashes: how often the service crashed while it ran.

    Returns:
        The job as it was when it was accepted; what it received is kept.
    """
    order = job.order
    return Job(
        *(job.job_id, order, "queued", job.created),
        total=order.total,
        crashes=crashes,
        kept=job.kept,
    )


def recovered(job: Job) -> Job:
    """Decide how the next service continues an unfinished job of the one that ended.

    A job that was running when the service crashed twice fails, so that one bad input cannot keep
    bringing the service down.

    Args:
        job: a queued or running job.

    Returns:
        The job: queued, failed or cancelled.
    """
    if job.cancelling:
        return replace(job, state="cancelled", finished=time.time(), kept=0)
    crashes = job.crashes + (job.state == "running")  # an orderly shutdown leaves it queued
    if crashes < _MAX_CRASHES:
        return requeued(job, crashes)
    reason = (
        f"the service crashed {crashes} times while this job ran, so it is not started again "
        "automatically: resume it after finding the cause, or cancel it"
    )
    return replace(requeued(job), state="failed", finished=time.time(), error=reason)
