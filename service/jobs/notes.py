"""What jobs have noted about people: item errors, results, and what was asked.

An erasure removes these texts too. Earlier copies may remain in unused parts of the file until it
is rewritten; see :mod:`service.machine.erasable`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.jobs.job import Job
from service.jobs.live import LiveJobs
from service.jobs.table import JobTable
from service.machine.erasable import mark_unclean

_FEW = 4
"""Most names that are searched for one by one; searching for more would hold up other jobs."""
_REDACTED = "erased: it named what was erased"


@dataclass(frozen=True, slots=True)
class Names:
    """What an erasure removed from a gallery.

    Attributes:
        texts: ids of crops, and identities that no crop has any more.
        all: the gallery is empty now, so everything that jobs noted about it is erased.
    """

    texts: frozenset[str] = frozenset()
    all: bool = False

    @property
    def too_many(self) -> bool:
        """Whether to erase everything that jobs noted, because there are too many names."""
        return self.all or len(self.texts) > _FEW


class JobNotes:
    """The texts of all jobs; safe to call from any thread.

    Every method that changes something raises StorageFull if the disk is full, and Unavailable if
    the file cannot be written.

    Args:
        table: the jobs on disk.
        live: their present state.
    """

    def __init__(self, table: JobTable, live: LiveJobs) -> None:
        self._table = table
        self._live = live

    def noting(self, gallery: str) -> tuple[str, ...]:
        """Ids of a gallery's jobs that have stored item errors, newest first."""
        with self._table.reading() as connection:
            rows = connection.execute(
                "SELECT job_id FROM jobs WHERE gallery = ? AND EXISTS (SELECT 1 FROM item_errors "
                "WHERE item_errors.job_id = jobs.job_id) ORDER BY number DESC",
                (gallery,),
            )
            return tuple(job_id for (job_id,) in rows.fetchall())

    def asked_with(self, gallery: str, names: Names) -> tuple[str, ...]:
        """Ids of a gallery's unfinished or failed jobs whose spec holds one of these names."""
        if not (names.texts or names.all):
            return ()
        found, texts = "kind = 'import' AND spec <> '{}'", tuple[str, ...]()
        if not names.too_many:
            found, texts = _holding("spec", Names(frozenset(map(_escaped, names.texts))))
        with self._table.reading() as connection:
            rows = connection.execute(
                f"SELECT job_id FROM jobs WHERE gallery = ? AND {found} ORDER BY number DESC",  # noqa: S608 - fixed texts
                (gallery, *texts),
            )
            return tuple(job_id for (job_id,) in rows.fetchall())

    def erase_names(self, gallery: str, names: Names) -> int:
        """Erase the item errors and results of a gallery's jobs that hold one of these names.

        If there are more than a few names, all item errors of the gallery are erased. The case of
        Latin letters is ignored. A name inside a longer text counts, such as ``anna`` in
        ``anna/1.jpg``.

        Returns:
            Number of item errors erased.
        """
        if not (names.texts or names.all):
            return 0
        for context in list(self._live.runs.values()):
            if context.gallery == gallery:
                self._live.write_errors(context)
        with self._table.writing() as connection:
            erased = _erase_names(connection, gallery, names)
        self._table.clean_soon()
        return erased

    def erase_before(self, gallery: str, moment: float) -> int:
        """Erase the item errors of a gallery's jobs that ended before a moment.

        Returns:
            Number of item errors erased.
        """
        ended = "gallery = ? AND finished < ? AND noted > 0"
        with self._table.writing() as connection:
            erased = _erase_errors(connection, ended, (gallery, moment))
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
        self._live.get(job_id)
        context = self._live.runs.get(job_id)
        if context is not None:
            self._live.write_errors(context)
        with self._table.writing() as connection:
            _redact(connection, "job_id = ?", (job_id,))
            _erase_errors(connection, "job_id = ?", (job_id,))
        self._table.clean_soon()
        return self._live.get(job_id)

    def galleries(self) -> list[str]:
        """Names of all galleries that have a job."""
        with self._table.reading() as connection:
            rows = connection.execute("SELECT DISTINCT gallery FROM jobs ORDER BY gallery")
            return [gallery for (gallery,) in rows.fetchall()]

    def tidy(self) -> None:
        """Remove old copies of erased texts from the file."""
        self._table.clean()


def numbers_only(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """Remove the texts from a job's result, which may name people or files.

    Args:
        result: a JSON object, or None.

    Returns:
        Its numbers and truth values.
    """
    if result is None:
        return None
    return {name: value for name, value in result.items() if isinstance(value, int | float)}


def _erase_names(connection: sqlite3.Connection, gallery: str, names: Names) -> int:
    mine = "gallery = ?"
    if names.too_many:
        _redact(connection, mine, (gallery,))
        return _erase_errors(connection, mine, (gallery,))
    found, texts = _holding("coalesce(result, '') || ' ' || coalesce(error, '')", names)
    _redact(connection, f"{mine} AND {found}", (gallery, *texts))
    found, texts = _holding("item || ' ' || reason", names)
    return _erase_items(
        connection,
        f"job_id IN (SELECT job_id FROM jobs WHERE {mine}) AND {found}",  # noqa: S608 - fixed texts
        (gallery, *texts),
    )


def _erase_errors(connection: sqlite3.Connection, jobs: str, values: Sequence[object]) -> int:
    """Erase all item errors of the jobs that meet a condition; returns how many."""
    which = f"job_id IN (SELECT job_id FROM jobs WHERE {jobs})"  # noqa: S608 - fixed texts
    return _erase_items(connection, which, values)


def _redact(connection: sqlite3.Connection, jobs: str, values: Sequence[object]) -> None:
    """Keep only numbers in the results of the jobs that meet a condition, and no reasons."""
    rows = connection.execute(
        f"SELECT job_id, result, error FROM jobs WHERE (result IS NOT NULL OR error IS NOT NULL) "  # noqa: S608 - fixed texts
        f"AND {jobs}",
        values,
    ).fetchall()
    for job_id, result, error in rows:
        kept = None if result is None else json.dumps(numbers_only(json.loads(result)))
        connection.execute(
            "UPDATE jobs SET result = ?, error = ? WHERE job_id = ?",
            (kept, None if error is None else _REDACTED, job_id),
        )
    if rows:
        mark_unclean(connection)


def _erase_items(connection: sqlite3.Connection, which: str, values: Sequence[object]) -> int:
    erased = connection.execute(
        f"DELETE FROM item_errors WHERE {which} RETURNING job_id, length(item) + length(reason)",  # noqa: S608 - fixed texts
        values,
    ).fetchall()
    sizes: dict[str, int] = {}
    for job_id, size in erased:
        sizes[job_id] = sizes.get(job_id, 0) + size
    connection.executemany(
        "UPDATE jobs SET noted = max(noted - ?, 0) WHERE job_id = ?",
        [(size, job_id) for job_id, size in sizes.items()],
    )
    if erased:
        mark_unclean(connection)
    return len(erased)


def _holding(text: str, names: Names) -> tuple[str, tuple[str, ...]]:
    """A condition that a text holds one of the names, and the values of its placeholders."""
    wanted = sorted({one for name in names.texts for one in _spellings(name)})
    parts = " OR ".join("instr(told, ?) > 0" for _ in wanted)
    found = f"EXISTS (SELECT 1 FROM (SELECT lower({text}) AS told) WHERE {parts})"  # noqa: S608 - fixed texts
    return found, tuple(wanted)


def _spellings(name: str) -> set[str]:
    """How a name may be spelled in file names, which often replace blanks."""
    plain = "".join(letter.lower() if letter.isascii() else letter for letter in name)
    return {plain, plain.replace(" ", "_"), plain.replace(" ", "-")}


def _escaped(name: str) -> str:
    return json.dumps(name)[1:-1]
