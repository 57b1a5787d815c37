"""Jobs on disk: one SQLite file, so that an accepted job survives the process."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import NotFound, ReidError, Unavailable
from service.gallery.disk.conditions import as_json
from service.jobs.base import ItemError, Job, JobFilter, Order, State
from service.jobs.erasing import (
    Names,
    asked_with,
    erase_errors,
    erase_names,
    forget_jobs,
    redact,
)
from service.jobs.file import (
    AT_ONCE,
    clean,
    hashed,
    is_unclean,
    mark_unclean,
    open_file,
    transaction,
)
from service.machine.sqlite import answering

log = logging.getLogger(__name__)

_COLUMNS = (
    "job_id, kind, gallery, spec, idempotency_key, owner, state, created, counts, total, started, "
    "finished, result, error, errors, cancelling, crashes, client, asked, kept"
)
_PAGE = 1000
_ENDED = ("done", "cancelled")  # for good: what they were asked with is of no use any more


def unknown_job(job_id: str) -> NotFound:
    """What is answered of a job that does not exist, or that the caller may not know of."""
    return NotFound(f"there is no job {job_id[:80]!r}")


class JobTable:
    """The jobs of one service; safe to call from several threads.

    Args:
        path: the SQLite file, opened when first needed, so that a service whose disk refuses
            writes can start and answer reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.RLock()

    def insert(self, job: Job) -> None:
        """Add a job, durable on return.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be used.
        """
        with self._transaction() as connection:
            connection.execute(
                f"INSERT INTO jobs ({_COLUMNS}, texts) VALUES ({', '.join('?' * 21)})",  # noqa: S608 - fixed text
                (*_row(job), _size_of(job)),
            )

    def save(self, job: Job) -> None:
        """Write where a job stands, durable on return; one that was forgotten stays so.

        What a job was asked with is forgotten when it has ended for good: it may hold names.

        Raises:
            ReidError: as :meth:`insert`.
        """
        changing = (
            *(job.state, json.dumps(job.counts), job.total, job.started, job.finished),
            *(_text(job.result), job.error, job.errors, job.cancelling, job.crashes, job.kept),
            *(_spec_text(job), _size_of(job), job.job_id),
        )
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, counts = ?, total = ?, started = ?, finished = ?, "
                "result = ?, error = ?, errors = ?, cancelling = ?, crashes = ?, kept = ?, "
                "spec = ?, texts = ? WHERE job_id = ?",
                changing,
            )
            if job.state in _ENDED:
                mark_unclean(connection)

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        jobs = self._select("WHERE job_id = ?", (job_id,))
        if not jobs:
            raise unknown_job(job_id)
        return jobs[0]

    def unfinished(self) -> list[Job]:
        """Jobs that are queued or running, oldest first."""
        return self._select("WHERE state IN ('queued', 'running') ORDER BY number", ())

    def newest(
        self,
        where: JobFilter,
        limit: int | None = None,
        *,
        before: int | None = None,
        ahead: Mapping[str, State] | None = None,
    ) -> list[tuple[int, Job]]:
        """Jobs that pass a filter, newest first, each with its number.

        Args:
            where: the filter.
            limit: at most this many; None for all.
            before: only jobs that were accepted before the one of this number.
            ahead: states of jobs that have not reached the disk yet, by job id.

        Returns:
            Numbers, which rise with each accepted job, and jobs as the disk has them.
        """
        condition, values = _condition(where, ahead or {})
        if before is not None:
            condition, values = f"{condition} AND number < ?", [*values, before]
        with self._open() as connection:
            rows = connection.execute(
                f"SELECT number, {_COLUMNS} FROM jobs WHERE {condition} "  # noqa: S608 - fixed texts, values are bound
                "ORDER BY number DESC LIMIT ?",
                (*values, -1 if limit is None else limit),
            ).fetchall()
        return [(row[0], _job(row[1:])) for row in rows]

    def of_key(self, order: Order) -> Job | None:
        """The job that was started with an order's idempotency key, by the same owner."""
        jobs = self._select(
            "WHERE idempotency_key = ? AND kind = ? AND gallery = ? AND owner IS ?",
            (hashed(order.idempotency_key), order.kind, order.gallery, order.owner),
        )
        return jobs[0] if jobs else None

    def add_errors(self, job_id: str, errors: Sequence[ItemError]) -> None:
        """Keep the reasons of items that failed, unless the job was forgotten meanwhile.

        Raises:
            ReidError: as :meth:`insert`.
        """
        size = sum(len(error.item) + len(error.reason) for error in errors)
        noted = "UPDATE jobs SET noted = noted + ? WHERE job_id = ?"
        with self._transaction() as connection:
            if connection.execute(noted, (size, job_id)).rowcount:
                connection.executemany(
                    "INSERT INTO item_errors (job_id, item, reason) VALUES (?, ?, ?)",
                    [(job_id, error.item, error.reason) for error in errors],
                )

    def clear_errors(self, job_id: str) -> None:
        """Forget the reasons of an earlier run. Raises as :meth:`insert`."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET noted = 0 WHERE job_id = ?", (job_id,))
            if connection.execute("DELETE FROM item_errors WHERE job_id = ?", (job_id,)).rowcount:
                mark_unclean(connection)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The items of a job that failed, in the order in which they did."""
        after = 0
        while True:
            with self._open() as connection:
                rows = connection.execute(
                    "SELECT number, item, reason FROM item_errors WHERE job_id = ? AND number > ? "
                    "ORDER BY number LIMIT ?",
                    (job_id, after, _PAGE),
                ).fetchall()
            yield from (ItemError(item, reason) for _, item, reason in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def prune(self, before: float, keep: int, texts: int) -> list[str]:
        """Forget finished jobs, with their errors. Raises as :meth:`insert`.

        Args:
            before: those that ended before this moment, seconds since 1970-01-01 UTC.
            keep: and all but so many of the newest of each gallery, so that a busy gallery does
                not push out the jobs of another.
            texts: and all but the newest of each gallery whose texts have so many bytes together.

        Returns:
            Their ids.
        """
        chosen = (
            "SELECT job_id FROM jobs WHERE finished IS NOT NULL AND (finished < ? OR number IN "
            "(SELECT number FROM (SELECT number, "
            "row_number() OVER newest AS place, sum(texts + noted) OVER newest AS upto FROM jobs "
            "WHERE finished IS NOT NULL "
            "WINDOW newest AS (PARTITION BY gallery ORDER BY number DESC)) "
            "WHERE place > ? OR (upto > ? AND place > 1)))"
        )
        with self._transaction() as connection:
            gone = [job_id for (job_id,) in connection.execute(chosen, (before, keep, texts))]
            forget_jobs(connection, gone)
            return gone

    def forget(self, gallery: str) -> list[str]:
        """Forget every job of a gallery, with its errors; those that run, too.

        Returns:
            Their ids.

        Raises:
            ReidError: as :meth:`insert`.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT job_id FROM jobs WHERE gallery = ?", (gallery,))
            gone = [job_id for (job_id,) in rows]
            forget_jobs(connection, gone)
            return gone

    def galleries(self) -> list[str]:
        """Every gallery that has a job."""
        with self._open() as connection:
            rows = connection.execute("SELECT DISTINCT gallery FROM jobs ORDER BY gallery")
            return [gallery for (gallery,) in rows.fetchall()]

    def erase_names(self, gallery: str, names: Names) -> int:
        """Erase what jobs of a gallery say of names that are erased.

        Returns:
            How many item errors went.

        Raises:
            ReidError: as :meth:`insert`.
        """
        with self._transaction() as connection:
            return erase_names(connection, gallery, names)

    def erase_errors(self, gallery: str, before: float) -> int:
        """Erase item errors of a gallery's jobs that ended before a moment; returns how many."""
        with self._transaction() as connection:
            return erase_errors(
                connection, "gallery = ? AND finished < ? AND noted > 0", (gallery, before)
            )

    def drop_errors(self, job_id: str) -> int:
        """Erase the item errors of a job, and the names in its result; returns how many."""
        with self._transaction() as connection:
            redact(connection, "job_id = ?", (job_id,))
            return erase_errors(connection, "job_id = ?", (job_id,))

    def noting(self, gallery: str) -> tuple[str, ...]:
        """Ids of a gallery's jobs that have item errors, the newest first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT job_id FROM jobs WHERE gallery = ? AND EXISTS (SELECT 1 FROM item_errors "
                "WHERE item_errors.job_id = jobs.job_id) ORDER BY number DESC",
                (gallery,),
            )
            return tuple(job_id for (job_id,) in rows.fetchall())

    def asked_with(self, gallery: str, names: Names) -> tuple[str, ...]:
        """Ids of a gallery's jobs that have not ended for good and were asked with such a name."""
        with self._open() as connection:
            return asked_with(connection, gallery, names)

    def clean_soon(self) -> None:
        """Remove old copies of what was erased from the file, at once if it is small.

        What was erased is gone already for everybody who asks: a failure only puts this off to
        :meth:`clean`.
        """
        try:
            if self._path.stat().st_size <= AT_ONCE:
                self.clean()
        except (OSError, ReidError) as error:
            log.warning("%s: old copies of what was erased stay for now: %s", self._path, error)

    def clean(self) -> None:
        """Remove old copies of what was erased from the file. Raises as :meth:`insert`."""
        if not self._path.exists():
            return
        with self._open() as connection:
            if is_unclean(connection):
                clean(connection)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock, answering(self._path):
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _select(self, rest: str, values: Sequence[object]) -> list[Job]:
        with self._open() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM jobs {rest}", values)  # noqa: S608 - fixed texts, values are bound
            return [_job(row) for row in rows.fetchall()]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock, answering(self._path):
            if self._closed:
                raise Unavailable("the job board is closed", retry_after=5)
            if self._connection is None:
                self._connection = open_file(self._path)
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection, transaction(connection):
            yield connection


def _condition(where: JobFilter, ahead: Mapping[str, State]) -> tuple[str, list[object]]:
    """A filter as SQL, and the values of its placeholders."""
    parts, values = ["TRUE"], list[object]()
    if where.galleries is not None:
        parts.append("gallery IN (SELECT value FROM json_each(?))")
        values.append(as_json(sorted(where.galleries)))
    if where.kind is not None:
        parts.append("kind = ?")
        values.append(where.kind)
    if where.state is not None:
        known = "(SELECT value FROM json_each(?))"
        parts.append(f"CASE WHEN job_id IN {known} THEN job_id IN {known} ELSE state = ? END")
        passing = [job_id for job_id, state in ahead.items() if state == where.state]
        values += [as_json(ahead), as_json(passing), where.state]
    return " AND ".join(parts), values


def _row(job: Job) -> tuple[object, ...]:
    order = job.order
    return (
        *(job.job_id, order.kind, order.gallery, _spec_text(job), hashed(order.idempotency_key)),
        *(order.owner, job.state, job.created, json.dumps(job.counts), job.total, job.started),
        *(job.finished, _text(job.result), job.error, job.errors, job.cancelling, job.crashes),
        *(order.client, order.fingerprint, job.kept),
    )


def _spec_text(job: Job) -> str:
    return "{}" if job.state in _ENDED else job.order.spec_text


def _size_of(job: Job) -> int:
    """Characters of a job's texts, apart from its item errors."""
    return len(_spec_text(job)) + len(_text(job.result) or "") + len(job.error or "")


def _text(result: object) -> str | None:
    # As they are written: what is erased is looked for in it.
    return None if result is None else json.dumps(result, ensure_ascii=False)


def _job(row: Sequence[Any]) -> Job:
    job_id, kind, gallery, spec, key, owner, state, created, counts, total, *rest = row
    started, finished, result, error, errors, cancelling, crashes, client, asked, kept = rest
    return Job(
        job_id=job_id,
        order=Order(kind, gallery, json.loads(spec), total, key, owner, client, asked),
        state=state,
        created=created,
        counts=json.loads(counts),
        total=total,
        started=started,
        finished=finished,
        result=None if result is None else json.loads(result),
        error=error,
        errors=errors,
        cancelling=bool(cancelling),
        crashes=crashes,
        kept=kept,
    )
