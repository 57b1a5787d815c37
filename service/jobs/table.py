"""Jobs on disk: rows of one SQLite file, so that an accepted job survives a crash."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.gallery.disk.conditions import as_json
from service.jobs.database import hashed, upgrade
from service.jobs.job import ItemError, Job, JobFilter, Order, State, unknown_job
from service.machine.erasable import ErasableFile, mark_unclean

_COLUMNS = (
    "job_id, kind, gallery, spec, idempotency_key, owner, state, created, counts, total, started, "
    "finished, result, error, errors, cancelling, crashes, client, asked, kept"
)
_PAGE = 1000
_ENDED = ("done", "cancelled")  # for good: their specs are no longer needed


class JobTable(ErasableFile):
    """The jobs of one service; safe to call from several threads.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, upgrade)

    def insert(self, job: Job) -> None:
        """Add a job, durable on return.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be used.
        """
        with self.writing() as connection:
            connection.execute(
                f"INSERT INTO jobs ({_COLUMNS}, texts) VALUES ({', '.join('?' * 21)})",  # noqa: S608 - fixed text
                (*_row(job), _size_of(job)),
            )

    def save(self, job: Job) -> None:
        """Update a job, durable on return; one that was forgotten stays forgotten.

        The spec of a job that has ended for good is erased, because it may hold names.

        Raises:
            ReidError: as :meth:`insert`.
        """
        changing = (
            *(job.state, json.dumps(job.counts), job.total, job.started, job.finished),
            *(_text(job.result), job.error, job.errors, job.cancelling, job.crashes, job.kept),
            *(_spec_text(job), _size_of(job), job.job_id),
        )
        with self.writing() as connection:
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
            limit: most jobs; None for all.
            before: only jobs accepted before the one with this number.
            ahead: states that have not reached the disk yet, by job id.

        Returns:
            Numbers, which rise with each accepted job, and jobs as they are on disk.
        """
        condition, values = _condition(where, ahead or {})
        if before is not None:
            condition, values = f"{condition} AND number < ?", [*values, before]
        with self.reading() as connection:
            rows = connection.execute(
                f"SELECT number, {_COLUMNS} FROM jobs WHERE {condition} "  # noqa: S608 - fixed texts, values are bound
                "ORDER BY number DESC LIMIT ?",
                (*values, -1 if limit is None else limit),
            ).fetchall()
        return [(row[0], _job(row[1:])) for row in rows]

    def of_key(self, order: Order) -> Job | None:
        """The job that the same owner started with an order's idempotency key, if any."""
        jobs = self._select(
            "WHERE idempotency_key = ? AND kind = ? AND gallery = ? AND owner IS ?",
            (hashed(order.idempotency_key), order.kind, order.gallery, order.owner),
        )
        return jobs[0] if jobs else None

    def add_errors(self, job_id: str, errors: Sequence[ItemError]) -> None:
        """Store item errors, unless the job was forgotten meanwhile.

        Raises:
            ReidError: as :meth:`insert`.
        """
        size = sum(len(error.item) + len(error.reason) for error in errors)
        noted = "UPDATE jobs SET noted = noted + ? WHERE job_id = ?"
        with self.writing() as connection:
            if connection.execute(noted, (size, job_id)).rowcount:
                connection.executemany(
                    "INSERT INTO item_errors (job_id, item, reason) VALUES (?, ?, ?)",
                    [(job_id, error.item, error.reason) for error in errors],
                )

    def clear_errors(self, job_id: str) -> None:
        """Delete the item errors of an earlier run. Raises as :meth:`insert`."""
        with self.writing() as connection:
            connection.execute("UPDATE jobs SET noted = 0 WHERE job_id = ?", (job_id,))
            if connection.execute("DELETE FROM item_errors WHERE job_id = ?", (job_id,)).rowcount:
                mark_unclean(connection)

    def errors(self, job_id: str) -> Iterator[ItemError]:
        """The failed items of a job, in the order in which they failed."""
        after = 0
        while True:
            with self.reading() as connection:
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
        """Delete old finished jobs and their item errors. Raises as :meth:`insert`.

        The limits are per gallery, so that a busy gallery does not push out the jobs of another.

        Args:
            before: delete jobs that ended before this moment, seconds since 1970-01-01 UTC.
            keep: keep at most this many of the newest jobs per gallery.
            texts: keep the newest jobs whose texts total at most this many characters per gallery.

        Returns:
            Ids of the deleted jobs.
        """
        chosen = (
            "SELECT job_id FROM jobs WHERE finished IS NOT NULL AND (finished < ? OR number IN "
            "(SELECT number FROM (SELECT number, "
            "row_number() OVER newest AS place, sum(texts + noted) OVER newest AS upto FROM jobs "
            "WHERE finished IS NOT NULL "
            "WINDOW newest AS (PARTITION BY gallery ORDER BY number DESC)) "
            "WHERE place > ? OR (upto > ? AND place > 1)))"
        )
        with self.writing() as connection:
            gone = [job_id for (job_id,) in connection.execute(chosen, (before, keep, texts))]
            _forget(connection, gone)
            return gone

    def forget(self, gallery: str) -> list[str]:
        """Delete every job of a gallery and its item errors, running jobs included.

        Returns:
            Ids of the deleted jobs.

        Raises:
            ReidError: as :meth:`insert`.
        """
        with self.writing() as connection:
            rows = connection.execute("SELECT job_id FROM jobs WHERE gallery = ?", (gallery,))
            gone = [job_id for (job_id,) in rows]
            _forget(connection, gone)
            return gone

    def _select(self, rest: str, values: Sequence[object]) -> list[Job]:
        with self.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM jobs {rest}", values)  # noqa: S608 - fixed texts, values are bound
            return [_job(row) for row in rows.fetchall()]


def _forget(connection: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """Delete jobs and their item errors."""
    if not job_ids:
        return
    for table in ("item_errors", "jobs"):
        connection.execute(
            f"DELETE FROM {table} WHERE job_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - fixed texts
            (as_json(job_ids),),
        )
    mark_unclean(connection)


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
    # Not escaped, because an erasure searches this text for names.
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
