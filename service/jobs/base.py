"""What a job is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["import", "cluster", "reembed"]
State = Literal["queued", "running", "done", "failed", "cancelled"]

UNFINISHED: frozenset[State] = frozenset({"queued", "running"})


@dataclass(frozen=True, slots=True)
class Order:
    """A job as it is asked for.

    Attributes:
        kind: which runner does it.
        gallery: the gallery it works on; one job a gallery runs at a time.
        spec: what the runner needs to know; any JSON object.
        total: how many items there will be, where known.
        idempotency_key: asking twice with the same key starts one job.
        owner: key id of the caller, where there are keys.
        client: who pays for it, as :func:`service.access.caller.client_name` names them; None for
            the service itself.
        asked: SHA-256 of the spec, where it was computed before; it stays when the spec is
            forgotten because the job has ended.
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
        """SHA-256 of the spec, in hexadecimal; equal specs have equal ones."""
        return self.asked or hashlib.sha256(self.spec_text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment.

    Attributes:
        job_id: unique.
        order: what was asked.
        state: where it stands.
        created: when it was accepted, seconds since 1970-01-01 UTC.
        counts: items by outcome, such as created, replaced, unchanged, failed.
        total: how many items there will be, where known.
        rate: items a second of late; 0 unless it runs.
        started: when its latest run began.
        finished: when it ended.
        result: what the runner reports at the end.
        error: why the job as a whole failed.
        errors: items that failed by themselves; their reasons are kept beside the job.
        cancelling: a cancel was asked for and the runner has not reached a safe point yet.
        crashes: how often the service broke down while it ran.
        kept: bytes of what it received and still keeps.
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
        """Which runner does it."""
        return self.order.kind

    @property
    def gallery(self) -> str:
        """The gallery it works on."""
        return self.order.gallery

    @property
    def done(self) -> int:
        """Items that are behind it, whatever became of them."""
        return sum(self.counts.values())

    @property
    def resumable(self) -> bool:
        """Whether it failed and still has what it needs to run again."""
        received = self.order.spec.get("source") not in {None, "folder"}
        return self.state == "failed" and (self.kept > 0 or not received)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to the end at the present rate; None where that cannot be told."""
        if self.state != "running" or self.total is None or self.rate <= 0.0:
            return None
        return max(self.total - self.done, 0) / self.rate


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; every given field must hold.

    Attributes:
        galleries: jobs of these galleries only.
        state: jobs in this state only.
        kind: jobs of this kind only.
    """

    galleries: frozenset[str] | None = None
    state: State | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Part of a listing, newest first; ``cursor`` asks for the next part, None ends it."""

    jobs: tuple[Job, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ItemError:
    """An item that failed, and why."""

    item: str
    reason: str


class Interrupted(Exception):
    """A runner has to leave at this safe point; never an error of its own."""


class Cancelled(Interrupted):
    """Somebody cancelled the job."""


class Stopped(Interrupted):
    """The service ends; the job runs again from its start at the next one."""
