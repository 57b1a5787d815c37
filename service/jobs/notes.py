"""What jobs have noted of people: item errors, results, what they were asked with."""

from __future__ import annotations

from service.jobs.base import Job
from service.jobs.erasing import Names
from service.jobs.memory import JobMemory
from service.jobs.table import JobTable


class JobNotes:
    """The texts of all jobs; safe to call from any thread.

    Every method that changes something raises StorageFull where the disk is full, and Unavailable
    where the file cannot be written.

    Args:
        table: the jobs on disk.
        memory: what is known of them beyond it.
    """

    def __init__(self, table: JobTable, memory: JobMemory) -> None:
        self._table = table
        self._memory = memory

    def noting(self, gallery: str) -> tuple[str, ...]:
        """Ids of a gallery's jobs that keep item errors, the newest first."""
        return self._table.noting(gallery)

    def asked_with(self, gallery: str, names: Names) -> tuple[str, ...]:
        """Ids of a gallery's jobs that have not ended for good and were asked with such a name."""
        return self._table.asked_with(gallery, names)

    def erase_names(self, gallery: str, names: Names) -> int:
        """Erase what a gallery's jobs have noted of names that were erased from it.

        Returns:
            How many item errors went.
        """
        if not (names.texts or names.all):
            return 0
        for context in list(self._memory.live.values()):
            if context.gallery == gallery:
                self._memory.write_errors(context)
        erased = self._table.erase_names(gallery, names)
        self._table.clean_soon()
        return erased

    def erase_before(self, gallery: str, moment: float) -> int:
        """Erase item errors of a gallery's jobs that ended before a moment.

        Returns:
            How many.
        """
        erased = self._table.erase_errors(gallery, moment)
        if erased:
            self._table.clean_soon()
        return erased

    def drop_errors(self, job_id: str) -> Job:
        """Erase the item errors of a job so far, and the texts of its result.

        Returns:
            The job.

        Raises:
            NotFound: there is no such job.
        """
        self._memory.get(job_id)
        context = self._memory.live.get(job_id)
        if context is not None:
            self._memory.write_errors(context)
        self._table.drop_errors(job_id)
        self._table.clean_soon()
        return self._memory.get(job_id)

    def galleries(self) -> list[str]:
        """Every gallery that has a job."""
        return self._table.galleries()

    def tidy(self) -> None:
        """Remove from the file what erasures and forgotten jobs left behind."""
        self._table.clean()
