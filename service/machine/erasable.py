"""A SQLite file from which erased texts disappear completely.

SQLite overwrites deleted rows (``secure_delete``), but pages that are split or merged keep old
copies in their unused parts, and the write-ahead log keeps what was written. So an erasure marks
the file as unclean, and the file is rewritten soon after.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import ReidError, Unavailable
from service.machine.sqlite import answering, connect

log = logging.getLogger(__name__)

OLD, CLEAN, UNCLEAN = 0, 1, 2
"""Values of ``user_version``: written by no release that knows the others, clean, or not."""
AT_ONCE = 8 << 20
"""Up to this many bytes, the file is rewritten before an erasure is answered, otherwise later."""
_PATIENCE_MS, _LOG_PATIENCE_MS = 30_000, 500


class ErasableFile:
    """A file of rows that may name people; safe to call from several threads.

    Args:
        path: the SQLite file. It is opened when first needed, so that a service on a disk that
            refuses writes can start and answer reads.
        upgrade: makes the tables of a new file or of one that an older release wrote, within a
            transaction, and sets ``user_version`` if it was :data:`OLD`.
        lacks: whether a file has to be upgraded.
    """

    def __init__(
        self,
        path: Path,
        upgrade: Callable[[sqlite3.Connection], object],
        lacks: Callable[[sqlite3.Connection], bool] | None = None,
    ) -> None:
        self._path = path
        self._upgrade = upgrade
        self._lacks = lacks or is_old
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.RLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread, outside a transaction. Raises Unavailable."""
        with self._lock, answering(self._path):
            if self._closed:
                raise Unavailable(f"{self._path.name} is closed", retry_after=5)
            if self._connection is None:
                self._connection = self._opened()
            yield self._connection

    def _opened(self) -> sqlite3.Connection:
        try:  # galleries may be in Milvus, so that nobody else has made the folder
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._path.parent}: {error.strerror}") from error
        connection = connect(self._path, "rwc")
        try:
            if self._lacks(connection):
                with transaction(connection):
                    self._upgrade(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread for one transaction.

        Raises:
            StorageFull: the disk is full.
            Unavailable: the file cannot be used.
        """
        with self.reading() as connection, transaction(connection):
            yield connection

    def clean_soon(self) -> None:
        """Remove old copies of erased texts from the file, at once if it is small.

        Erased texts are no longer returned in any case; a failure only leaves this to the next
        :meth:`clean`.
        """
        try:
            if self._path.stat().st_size <= AT_ONCE:
                self.clean()
        except (OSError, ReidError) as error:
            log.warning("%s: copies of erased texts remain for now: %s", self._path, error)

    def clean(self) -> None:
        """Remove old copies of erased texts from the file. Raises as :meth:`writing`."""
        if not self._path.exists():
            return
        with self.reading() as connection:
            if is_unclean(connection):
                clean(connection)

    def close(self) -> None:
        """Close the file."""
        with self._lock, answering(self._path):
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all changes of the block, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_old(connection: sqlite3.Connection) -> bool:
    """Whether a file is new, or of a release that marked nothing."""
    return bool(connection.execute("PRAGMA user_version").fetchone() == (OLD,))


def mark_unclean(connection: sqlite3.Connection) -> None:
    """Note, within a transaction, that the file may keep old copies of what it erases."""
    connection.execute(f"PRAGMA user_version = {UNCLEAN}")


def is_unclean(connection: sqlite3.Connection) -> bool:
    """Whether the file may keep old copies of something that was erased."""
    return bool(connection.execute("PRAGMA user_version").fetchone() == (UNCLEAN,))


def clean(connection: sqlite3.Connection) -> None:
    """Rewrite the file and empty its log, so that nothing erased remains.

    Raises:
        sqlite3.Error: there is no room, or the file cannot be written; it stays marked.
    """
    connection.execute("VACUUM")
    connection.execute(f"PRAGMA busy_timeout = {_LOG_PATIENCE_MS}")
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            return
        connection.execute(f"PRAGMA user_version = {CLEAN}")
    finally:
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
