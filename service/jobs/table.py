"""Jobs on disk: one SQLite file, so that an accepted job survives the process."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.errors import NotFound, Unavailable
from service.gallery.conditions import as_json
from service.gallery.sqlite import answering, connect
from service.jobs.base import ItemError, Job, JobFilter, Order, State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    gallery TEXT NOT NULL,
    spec TEXT NOT NULL,
    idempotency_key TEXT,
    owner TEXT,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    counts TEXT NOT NULL,
    total INTEGER,
    started REAL,
    finished REAL,
    result TEXT,
    error TEXT,
    errors INTEGER NOT NULL,
    cancelling INTEGER NOT NULL,
    crashes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS jobs_by_key ON jobs (idempotency_key);
CREATE INDEX IF NOT EXISTS jobs_by_gallery ON jobs (gallery, number);
CREATE TABLE IF NOT EXISTS item_errors (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS item_errors_by_job ON item_errors (job_id, number);
"""
_COLUMNS = (
    "job_id, kind, gallery, spec, idempotency_key, owner, state, created, counts, total, started, "
    "finished, result, error, errors, cancelling, crashes"
)
_PAGE = 1000


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
                f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * 17)})",  # noqa: S608 - fixed text
                _row(job),
            )

    def save(self, job: Job) -> None:
        """Write where a job stands, durable on return. Raises as :meth:`insert`."""
        changing = (
            *(job.state, json.dumps(job.counts), job.total, job.started, job.finished),
            *(_text(job.result), job.error, job.errors, job.cancelling, job.crashes, job.job_id),
        )
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, counts = ?, total = ?, started = ?, finished = ?, "
                "result = ?, error = ?, errors = ?, cancelling = ?, crashes = ? WHERE job_id = ?",
                changing,
            )

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        jobs = self._select("WHERE job_id = ?", (job_id,))
        if not jobs:
            raise NotFound(f"there is no job {job_id[:80]!r}")
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
            (order.idempotency_key, order.kind, order.gallery, order.owner),
        )
        return jobs[0] if jobs else None

    def add_errors(self, job_id: str, errors: Sequence[ItemError]) -> None:
        """Keep the reasons of items that failed. Raises as :meth:`insert`."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO item_errors (job_id, item, reason) VALUES (?, ?, ?)",
                [(job_id, error.item, error.reason) for error in errors],
            )

    def clear_errors(self, job_id: str) -> None:
        """Forget the reasons of an earlier run. Raises as :meth:`insert`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM item_errors WHERE job_id = ?", (job_id,))

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

    def prune(self, before: float, keep: int) -> list[str]:
        """Forget finished jobs. Raises as :meth:`insert`.

        Args:
            before: those that ended before this moment, seconds since 1970-01-01 UTC.
            keep: and all but so many of the newest of each gallery, so that a busy gallery does
                not push out the jobs of another.

        Returns:
            Their ids.
        """
        with self._transaction() as connection:
            rows = connection.execute(
                "DELETE FROM jobs WHERE finished IS NOT NULL AND (finished < ? OR number IN "
                "(SELECT number FROM (SELECT number, row_number() OVER "
                "(PARTITION BY gallery ORDER BY number DESC) AS place FROM jobs "
                "WHERE finished IS NOT NULL) WHERE place > ?)) RETURNING job_id",
                (before, keep),
            )
            return [job_id for (job_id,) in rows.fetchall()]

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
                self._connection = _open_file(self._path)
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _open_file(path: Path) -> sqlite3.Connection:
    connection = connect(path, "rwc")
    try:
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


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
        *(job.job_id, order.kind, order.gallery, order.spec_text, order.idempotency_key),
        *(order.owner, job.state, job.created, json.dumps(job.counts), job.total, job.started),
        *(job.finished, _text(job.result), job.error, job.errors, job.cancelling, job.crashes),
    )


def _text(result: object) -> str | None:
    return None if result is None else json.dumps(result)


def _job(row: Sequence[Any]) -> Job:
    job_id, kind, gallery, spec, key, owner, state, created, counts, total, *rest = row
    started, finished, result, error, errors, cancelling, crashes = rest
    return Job(
        job_id=job_id,
        order=Order(kind, gallery, json.loads(spec), total, key, owner),
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
    )
