"""Whose job is next: turns go round those who ask, then round their galleries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from service.jobs.base import Job

WORKERS = 3
"""Jobs that run at the same time."""
_EACH = 2  # of one client, so that one who has endless work never takes the last place
_REMEMBERED = 10_000


class Turns:
    """Chooses the next job; the caller keeps others from asking at the same time.

    One job of a gallery runs at a time, and two of a client. Among those that may begin, the
    client with the fewest running jobs comes first, then who was served longest ago, then the
    gallery that was served longest ago, then the oldest job.
    """

    def __init__(self) -> None:
        self._served: dict[str, int] = {}  # a turn's number by client and by gallery
        self._turns = 0

    def next(self, waiting: Iterable[Job], running: Sequence[Job]) -> Job | None:
        """The job to begin now.

        Args:
            waiting: jobs, oldest first.
            running: those under way.

        Returns:
            One that waits; None where none may begin.
        """
        busy = {job.gallery for job in running}
        at_work = Counter(job.order.client for job in running)
        free = [
            job for job in waiting if job.gallery not in busy and at_work[job.order.client] < _EACH
        ]

        def rank(job: Job) -> tuple[int, int, int]:
            client, gallery = _names(job)
            served = self._served
            return at_work[job.order.client], served.get(client, 0), served.get(gallery, 0)

        chosen = min(free, key=rank, default=None)
        if chosen is not None:
            self._note(chosen)
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
