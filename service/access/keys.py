"""API keys in one SQLite file, shared by all services and commands that use a data folder."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from service.access.key_file import (
    COLUMNS,
    SCHEMA,
    Key,
    StoredKey,
    answering,
    connect,
    format_of,
    read,
    row_of,
)
from service.access.new_key import NewKey
from service.errors import NotFound, StorageFull, Unauthorized, Unavailable
from service.machine.disk_reserve import DATA_RESERVE, Reserve
from service.machine.disk_reserve import FILE as RESERVE_FILE

FILE = "access.sqlite3"
_PREFIX = "reid"
_SECRET_BYTES = 32
_READ_SECONDS = 0.5  # how long a request waits for a writer, which takes milliseconds
_WRITE_SECONDS = 10.0
_log = logging.getLogger(__name__)

# Compared with if the key id is unknown, so that the comparison takes the same time.
_NO_KEY: Final = StoredKey(None, bytes(16), bytes(32))


class KeyStore:
    """The keys of a data folder. The first key creates the file; until then, everyone has access.

    Revoked and expired keys stay listed, so the service never becomes open again.

    Args:
        path: the file, existing or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        """The file of the keys."""
        self._reserve = Reserve(self.path.with_name(RESERVE_FILE), DATA_RESERVE)
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version = -1
        self._stored: Mapping[str, StoredKey] = {}

    def configured(self) -> bool:
        """Whether a key was ever created.

        Raises:
            Unavailable: the file is damaged, has another format, or was removed.
        """
        with self._lock:
            self._refresh()
            return self._file is not None

    def authenticate(self, text: str) -> Key:
        """Find the key that a client sent.

        Args:
            text: ``reid_<key_id>_<secret>``, or any other text.

        Returns:
            The key.

        Raises:
            Unauthorized: there is no such key, it has expired, or it was revoked.
            Unavailable: the file cannot be read.
        """
        key_id, secret = _split(text)
        with self._lock:
            self._refresh()
            stored = self._stored.get(key_id, _NO_KEY)
        same = hmac.compare_digest(_digest(stored.salt, secret), stored.digest)
        if stored.key is None or not same:
            raise Unauthorized("this API key is not valid")
        if stored.key.revoked is not None:
            raise Unauthorized(f"key {key_id} was revoked")
        if stored.key.expires is not None and stored.key.expires <= time.time():
            raise Unauthorized(f"key {key_id} has expired")
        return stored.key

    def every(self) -> list[Key]:
        """All keys, oldest first.

        Raises:
            Unavailable: the file cannot be read.
        """
        with self._lock:
            self._refresh()
            found = [stored.key for stored in self._stored.values() if stored.key is not None]
        return sorted(found, key=lambda key: (key.created, key.key_id))

    def create(self, wanted: NewKey) -> tuple[Key, str]:
        """Create a key; it works at once, in running services too.

        Args:
            wanted: what it allows.

        Returns:
            The key and its text, which cannot be shown again.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be written.
        """
        key_id, secret, salt = _new_id(), secrets.token_urlsafe(_SECRET_BYTES), os.urandom(16)
        galleries = None if wanted.galleries is None else frozenset(wanted.galleries)
        key = Key(
            key_id=key_id,
            label=wanted.label,
            scope=wanted.scope,
            galleries=galleries,
            requests_per_minute=wanted.requests_per_minute,
            created=time.time(),
            expires=wanted.expires,
            revoked=None,
            last_used=None,
        )
        row = (*row_of(key), salt, _digest(salt, secret))
        marks = ", ".join("?" * len(row))
        with self._writing(create=True) as connection:
            connection.execute(f"INSERT INTO keys ({COLUMNS}, salt, digest) VALUES ({marks})", row)  # noqa: S608 - constants only
        return key, f"{_PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Revoke a key permanently; it is rejected from the next request on.

        Args:
            key_id: the key; one that is already revoked stays as it is.

        Returns:
            The revoked key.

        Raises:
            NotFound: there is no such key.
            StorageFull: the disk is full, and the space reserved for this is used up.
            Unavailable: the file cannot be written.
        """
        if not any(key.key_id == key_id for key in self.every()):
            raise NotFound(f"there is no key {key_id[:80]!r} in {self.path}")
        try:
            self._revoke(key_id)
        except StorageFull:
            with self._reserve.given("whole") as given:
                if not given:
                    raise
                self._revoke(key_id)
        return next(key for key in self.every() if key.key_id == key_id)

    def _revoke(self, key_id: str) -> None:
        with self._writing() as connection:
            connection.execute(
                "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE key_id = ?",
                (time.time(), key_id),
            )

    def mark_used(self, key_id: str, now: float) -> None:
        """Store when a key was last used; if the file cannot be written, only log that.

        Args:
            key_id: the key.
            now: seconds since 1970-01-01 UTC.
        """
        try:
            with self._writing() as connection:
                connection.execute("UPDATE keys SET last_used = ? WHERE key_id = ?", (now, key_id))
        except (StorageFull, Unavailable) as error:
            _log.warning("the last use of key %s was not stored: %s", key_id, error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _refresh(self) -> None:
        """Read changes by other connections: a revoked key is rejected from the next request on."""
        with answering(self.path):
            file = _identity(self.path)
            if file is None and self._file is not None:
                # Otherwise, removing the file would give everyone access to a running service.
                raise Unavailable(f"{self.path} was removed: restore it or restart the service")
            if file is None:
                return
            if file != self._file or self._reader is None:
                self._reopen(file)
            assert self._reader is not None
            (version,) = self._reader.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._stored = read(self._reader, self.path)
                self._version = version

    def _reopen(self, file: tuple[int, int]) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = connect(self.path, "rw", _READ_SECONDS)
        self._file = file
        self._version = -1

    @contextmanager
    def _writing(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        with answering(self.path):
            mode = "rwc" if create else "rw"
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(connect(self.path, mode, _WRITE_SECONDS)) as connection:
                # With EXTRA, a revocation survives a power cut too.
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE")
                if create and not format_of(connection):
                    for statement in SCHEMA.split(";\n"):
                        connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
        if create:
            self._reserve.keep()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _new_id() -> str:
    return secrets.token_hex(4)


def _split(text: str) -> tuple[str, str]:
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == _PREFIX else ("", text)


def _digest(salt: bytes, secret: str) -> bytes:
    # One pass is enough: a secret of 256 random bits cannot be guessed at any speed. Slow hashes
    # protect passwords that people chose, and would cost time in every request.
    return hmac.digest(salt, secret.encode(), hashlib.sha256)
