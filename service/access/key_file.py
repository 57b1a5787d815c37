"""The SQLite file that keys lie in."""

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

SCHEMA_VERSION = 1

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
PRAGMA user_version = {SCHEMA_VERSION};
"""
COLUMNS = (
    "key_id, label, scope, galleries, requests_per_minute, created, expires, revoked, last_used"
)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; its secret is not.

    Attributes:
        key_id: names the key, in its text, the audit log and the listings.
        label: what it is for.
        scope: the most it allows.
        galleries: the only galleries it is for; None for all.
        requests_per_minute: its own limit; None for the setting's.
        created: seconds since 1970-01-01 UTC, as the three times that follow.
        expires: when it ends; None for never.
        revoked: when it was revoked.
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
        """The only galleries it is for, by name; None for all."""
        return None if self.galleries is None else tuple(sorted(self.galleries))

    @property
    def caller(self) -> Caller:
        """Who sends this key."""
        return Caller(self.key_id, self.scope, self.galleries)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key and what its secret is checked with; ``key`` is None where there is none."""

    key: Key | None
    salt: bytes
    digest: bytes


def connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Open the file.

    Args:
        path: the file.
        mode: of SQLite's URIs: rw or rwc.
        timeout: seconds to wait for others.
    """
    # A rollback journal, not a write-ahead log: keys are read with every request and written by
    # hand, and so a read needs no write, on a read-only disk either.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def read(connection: sqlite3.Connection, path: Path) -> dict[str, StoredKey]:
    """Every key by its id. Raises Unavailable where the file is of another version."""
    version = version_of(connection)
    if version != SCHEMA_VERSION:
        raise Unavailable(
            f"{path} has version {version}, this program reads version {SCHEMA_VERSION}"
        )
    rows = connection.execute(f"SELECT {COLUMNS}, salt, digest FROM keys").fetchall()  # noqa: S608 - constants only
    return {row[0]: StoredKey(_key(row[:-2]), *row[-2:]) for row in rows}


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the file; 0 for one that holds nothing yet."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return cast("int", version)


def _key(row: tuple[Any, ...]) -> Key:
    key_id, label, scope, galleries, *rest = row
    names = None if galleries is None else frozenset(json.loads(galleries))
    return Key(key_id, label, scope, names, *rest)


def row_of(key: Key) -> tuple[Any, ...]:
    """A key as ``COLUMNS`` hold it."""
    names = None if key.galleries is None else json.dumps(sorted(key.galleries))
    return (
        *(key.key_id, key.label, key.scope, names, key.requests_per_minute),
        *(key.created, key.expires, key.revoked, key.last_used),
    )


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Turn errors of the file into ours.

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
