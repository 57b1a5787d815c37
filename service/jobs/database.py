"""The SQLite file of the jobs: its tables, the upgrade of older files, and complete erasure.

A job's spec and its item errors may name people; see :mod:`service.machine.erasable`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3

from service.machine.erasable import CLEAN, UNCLEAN

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    gallery TEXT NOT NULL,
    spec TEXT NOT NULL,
    idempotency_key TEXT,                 -- its SHA-256
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
    crashes INTEGER NOT NULL,
    client TEXT,                          -- whose quota is charged
    asked TEXT,                           -- SHA-256 of the spec, which is erased at the end
    kept INTEGER NOT NULL DEFAULT 0,      -- bytes of its upload while that is stored
    texts INTEGER NOT NULL DEFAULT 0,     -- bytes of spec, result and error
    noted INTEGER NOT NULL DEFAULT 0      -- bytes of its item errors
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
_LATER = {
    "client": "TEXT",
    "asked": "TEXT",
    "kept": "INTEGER NOT NULL DEFAULT 0",
    "texts": "INTEGER NOT NULL DEFAULT 0",
    "noted": "INTEGER NOT NULL DEFAULT 0",
}


def hashed(text: str | None) -> str | None:
    """The SHA-256 of a text that a client chose, which may be a name."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def upgrade(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, or upgrade what an older release wrote, within a transaction.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement)
    there = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
    for name, kind in _LATER.items():
        if name not in there:
            connection.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
    rows = connection.execute(
        "SELECT job_id, spec, state, idempotency_key, owner FROM jobs"
    ).fetchall()
    for row in rows:
        _upgrade_job(connection, *row)
    # Earlier releases deleted jobs but not their item errors.
    connection.execute("DELETE FROM item_errors WHERE job_id NOT IN (SELECT job_id FROM jobs)")
    connection.execute(f"PRAGMA user_version = {UNCLEAN if rows else CLEAN}")


def _upgrade_job(
    connection: sqlite3.Connection,
    job_id: str,
    spec: str,
    state: str,
    key: str | None,
    owner: str | None,
) -> None:
    """Fill the new columns of an older release's job, and erase a spec that is not needed."""
    ended = state in {"done", "cancelled"}
    received = 0 if ended else json.loads(spec).get("bytes", 0)
    connection.execute(
        "UPDATE jobs SET asked = ?, spec = ?, idempotency_key = ?, client = ?, kept = ?, "
        "noted = (SELECT coalesce(sum(length(item) + length(reason)), 0) FROM item_errors "
        "WHERE item_errors.job_id = jobs.job_id), "
        "texts = length(coalesce(result, '')) WHERE job_id = ?",
        (
            *(hashed(spec), "{}" if ended else spec, hashed(key)),
            *(None if owner is None else f"key {owner}", received, job_id),
        ),
    )
