"""The SQLite file of the API keys."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from service.access.caller import Caller, Scope
from service.errors import StorageFull, Unavailable
from service.machine.sqlite import lacks_room

FORMAT = 1

SCHEMA = f"""
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    label TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('search', 'write', 'admin')),
    galleries TEXT,
    requests_per_minute INTEGER,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL,
    last_used REAL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL
) STRICT;
PRAGMA user_version = {FORMAT};
"""
COLUMNS = (
    "key_id, label, scope, galleries, requests_per_minute, created, expires, revoked, last_used"
)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret.

    Attributes:
        key_id: identifies the key in its text, the audit log and listings.
        label: what it is for.
        scope: the highest scope it allows.
        galleries: the only galleries it is for; None for all.
        requests_per_minute: its own limit; None for the limit in the settings.
        created: seconds since 1970-01-01 UTC, like the three times that follow.
        expires: when it expires; None for never.
        revoked: when it was revoked; None if it was not.
        last_used: to the hour; None if never.
    """

    key_id: str
    label: str
    scope: Scope
    galleries: frozenset[str] | None
    requests_per_minute: int | None
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None

    @property
    def bound(self) -> tuple[str, ...] | None:
        """The only galleries it is for, sorted; None for all."""
        return None if self.galleries is None else tuple(sorted(self.galleries))

    @property
    def caller(self) -> Caller:
        """The caller that this key identifies."""
        return Caller(self.key_id, self.scope, self.galleries)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key, and the salted hash of its secret; ``key`` is None for a placeholder."""

    key: Key | None
    salt: bytes
    digest: bytes


def connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Open the file.

    Args:
        path: the file.
        mode: SQLite's URI mode, rw or rwc.
        timeout: seconds to wait for other connections.
    """
    # A rollback journal instead of a write-ahead log: keys are read with every request and rarely
    # written, and reading then needs no write access, so it works on a read-only disk.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def read(connection: sqlite3.Connection, path: Path) -> dict[str, StoredKey]:
    """Read all keys, by id. Raises Unavailable if the file has another format."""
    found = format_of(connection)
    if found != FORMAT:
        raise Unavailable(f"{path} has format {found}, but this program reads format {FORMAT}")
    rows = connection.execute(f"SELECT {COLUMNS}, salt, digest FROM keys").fetchall()  # noqa: S608 - constants only
    return {row[0]: StoredKey(_key(row[:-2]), *row[-2:]) for row in rows}


def format_of(connection: sqlite3.Connection) -> int:
    """The format of the file; 0 if it is still empty."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return cast("int", found)


def _key(row: tuple[Any, ...]) -> Key:
    key_id, label, scope, galleries, *rest = row
    names = None if galleries is None else frozenset(json.loads(galleries))
    return Key(key_id, label, scope, names, *rest)


def row_of(key: Key) -> tuple[Any, ...]:
    """A key as a row of ``COLUMNS``."""
    names = None if key.galleries is None else json.dumps(sorted(key.galleries))
    return (
        *(key.key_id, key.label, key.scope, names, key.requests_per_minute),
        *(key.created, key.expires, key.revoked, key.last_used),
    )


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Raise errors of the file as errors of the service.

    Raises:
        StorageFull: the disk is full.
        Unavailable: any other failure.
    """
    try:
        yield
    except sqlite3.Error as error:
        if lacks_room(path, error):
            raise StorageFull(f"{path}: {error}") from error
        raise Unavailable(f"{path}: {error}") from error
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
