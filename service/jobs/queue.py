"""The waiting jobs: how many there may be, and which one is next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from service.errors import Overloaded, TooLarge, TooManyRequests
from service.jobs.job import Job, Order

MAX_WAITING = 1000
"""Most jobs that wait, over all clients."""
WAITING_EACH = 100
"""Most jobs of one client that wait; twice as many per gallery."""
WORKERS = 3
"""Jobs that run at the same time."""

# One client alone must not use up the quota of a gallery that others write to as well.
_GALLERY = 2
_MAX_SPEC = 256 << 10
_SOON = 30  # seconds after which a retry may succeed
_RUNNING_EACH = 2  # per client, so that a client with endless work never takes the last worker
_REMEMBERED = 10_000
_ONCE = frozenset({"cluster", "reembed"})  # equal jobs of these kinds wait only once


class JobQueue:
    """Waiting jobs, oldest first; the caller must hold the job board's lock.

    One job per gallery runs at a time, and two per client. Of the jobs that may begin, the client
    with the fewest running jobs comes first, then the client served longest ago, then the gallery
    served longest ago, then the oldest job.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Job] = {}
        self._served: dict[str, int] = {}  # number of the latest turn, by client and by gallery
        self._turns = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def jobs(self) -> list[Job]:
        """The waiting jobs, oldest first."""
        return list(self._waiting.values())

    def add(self, job: Job) -> None:
        """Append a job."""
        self._waiting[job.job_id] = job

    def remove(self, job_id: str) -> None:
        """Remove a job; one that does not wait is ignored."""
        self._waiting.pop(job_id, None)

    def equal_to(self, order: Order) -> Job | None:
        """The waiting clustering or model change that asks for the same as this order, if any."""
        if order.kind not in _ONCE:
            return None
        for job in self._waiting.values():
            same = (job.kind, job.gallery) == (order.kind, order.gallery)
            if same and job.order.fingerprint == order.fingerprint:
                return job
        return None

    def require_room(self, order: Order) -> None:
        """Check that one more job may wait.

        Args:
            order: the new job.

        Raises:
            TooLarge: its spec is too long.
            TooManyRequests: its client, or its gallery, has too many waiting jobs.
            Overloaded: too many jobs wait.
        """
        if len(order.spec_text) > _MAX_SPEC:
            raise TooLarge(
                f"a job's request may have at most {_MAX_SPEC:,} bytes: use a simpler filter"
            )
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} jobs are already waiting", retry_after=_SOON)
        if order.client is None:
            return
        waiting = self._waiting.values()
        if sum(job.order.client == order.client for job in waiting) >= WAITING_EACH:
            raise TooManyRequests(
                f"{WAITING_EACH} of your jobs are already waiting", retry_after=_SOON
            )
        if sum(job.gallery == order.gallery for job in waiting) >= WAITING_EACH * _GALLERY:
            raise TooManyRequests(
                f"{WAITING_EACH * _GALLERY} jobs of gallery {order.gallery!r} are already waiting",
                retry_after=_SOON,
            )

    def next(self, running: Sequence[Job]) -> Job | None:
        """Take the job that begins now.

        Args:
            running: the jobs that are running.

        Returns:
            A job, which no longer waits; None if none may begin.
        """
        busy = {job.gallery for job in running}
        at_work = Counter(job.order.client for job in running)
        free = [
            job
            for job in self._waiting.values()
            if job.gallery not in busy and at_work[job.order.client] < _RUNNING_EACH
        ]

        def rank(job: Job) -> tuple[int, int, int]:
            client, gallery = _names(job)
            served = self._served
            return at_work[job.order.client], served.get(client, 0), served.get(gallery, 0)

        chosen = min(free, key=rank, default=None)
        if chosen is not None:
            self._note(chosen)
            del self._waiting[chosen.job_id]
        return chosen

    def _note(self, job: Job) -> None:
        self._turns += 1
        for name in _names(job):
            self._served.pop(name, None)
            self._served[name] = self._turns  # last in the dict's order
        while len(self._served) > _REMEMBERED:
            del self._served[next(iter(self._served))]


def _names(job: Job) -> tuple[str, str]:
    return f"client {job.order.client}", f"gallery {job.gallery}"
