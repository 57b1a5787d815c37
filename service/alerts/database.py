"""The SQLite file of watches and events: its tables.

What a watch looks for, and whom an event is about, names people; see
:mod:`service.machine.erasable`.
"""

from __future__ import annotations

import sqlite3

from service.machine.erasable import CLEAN, is_old

_SCHEMA = """
CREATE TABLE IF NOT EXISTS watches (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    watch_id TEXT NOT NULL UNIQUE,
    gallery TEXT NOT NULL,
    compared TEXT NOT NULL,               -- the gallery that its crops are compared with
    wanted TEXT NOT NULL,                 -- the order, as JSON
    created REAL NOT NULL,
    begins REAL NOT NULL,
    secret TEXT,
    problem TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS watches_by_gallery ON watches (gallery, number);
CREATE TABLE IF NOT EXISTS judged (
    gallery TEXT PRIMARY KEY,
    added REAL NOT NULL                   -- every crop that was added until then is judged
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    watch_id TEXT NOT NULL,
    gallery TEXT NOT NULL,
    compared TEXT NOT NULL,
    crop_id TEXT NOT NULL,
    camera TEXT,
    track TEXT,
    time REAL NOT NULL,
    identity TEXT,
    matched TEXT,
    score REAL,
    created REAL NOT NULL,
    delivery TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try REAL,
    error TEXT,
    subject TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_gallery ON events (gallery, number);
CREATE INDEX IF NOT EXISTS events_by_subject ON events (watch_id, subject, camera, time);
CREATE INDEX IF NOT EXISTS events_by_track ON events (watch_id, track);
CREATE INDEX IF NOT EXISTS events_by_match ON events (compared, matched, identity);
CREATE TABLE IF NOT EXISTS shown (
    compared TEXT NOT NULL,
    identity TEXT NOT NULL,               -- a name that a watch holds
    crop_id TEXT NOT NULL,                -- that had it when it was last seen
    digest TEXT,
    PRIMARY KEY (compared, identity, crop_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_waiting ON events (next_try) WHERE delivery = 'waiting';
"""


def lacks_tables(connection: sqlite3.Connection) -> bool:
    """Whether a file is new, or was written before names were followed. Raises sqlite3.Error."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'shown'").fetchone()
    return found is None


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that a file lacks, within a transaction. Raises sqlite3.Error."""
    is_new = is_old(connection)
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    if is_new:
        connection.execute(f"PRAGMA user_version = {CLEAN}")
