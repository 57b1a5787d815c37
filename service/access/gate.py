"""Decides who is asking; knows nothing of HTTP."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from service.access.audit import FOLDER, AuditLog
from service.access.caller import EVERYONE, NOBODY, Caller
from service.access.key_file import Key
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.errors import TooManyRequests, Unauthorized
from service.executors import Threads

_USED_EVERY = 3600.0  # seconds: last_used is coarse, a search shall not cost a write
# Of one client address; a right key is never held up by it. Secrets cannot be guessed anyway: this
# bounds what wrong ones write to the logs.
REFUSALS_PER_MINUTE = 30


class Gate:
    """Keys, limits and the audit log of a data folder.

    Args:
        data: the folder.
        requests_per_minute: limit of a key that has none of its own.
        audit_days: how long the audit log is kept.
        bookkeeping: threads that read and write its files.
    """

    def __init__(
        self, data: Path, requests_per_minute: int, audit_days: int, bookkeeping: Threads
    ) -> None:
        self.keys = KeyStore(data / FILE)
        self.audit = AuditLog(data / FOLDER, audit_days, bookkeeping.report)
        self.requests_per_minute = requests_per_minute
        self.bookkeeping = bookkeeping
        self._asked = Buckets()
        self._refused = Buckets()
        self._marked: dict[str, float] = {}

    def caller(self, key: str | None) -> Caller:
        """Who sends a request.

        Args:
            key: the text of the key that came with it; None without one.

        Returns:
            The caller, who has a token less in their bucket.

        Raises:
            Unauthorized: the key is unknown, expired or revoked.
            TooManyRequests: the key's share is used up.
            Unavailable: the keys cannot be read.
        """
        if not self.keys.configured():
            return EVERYONE
        if key is None:
            return NOBODY
        known = self.keys.authenticate(key)
        limit = known.requests_per_minute or self.requests_per_minute
        wait = self._asked.take(known.key_id, limit)
        if wait:
            raise TooManyRequests(f"key {known.key_id}: {limit} requests a minute", _up(wait))
        self._mark(known)
        return known.caller

    def count_refusal(self, address: str, error: Unauthorized) -> None:
        """Count a refused key against the address it came from.

        Args:
            address: of the client.
            error: why the key was refused.

        Raises:
            TooManyRequests: too many came from there.
        """
        wait = self._refused.take(address, REFUSALS_PER_MINUTE)
        if wait:
            raise TooManyRequests("too many refused keys from this address", _up(wait)) from error

    def close(self) -> None:
        """Write what is pending and release the files."""
        self.audit.close()
        self.keys.close()

    def _mark(self, key: Key) -> None:
        now = time.time()
        if now - self._marked.get(key.key_id, key.last_used or 0.0) < _USED_EVERY:
            return
        self._marked[key.key_id] = now
        self.bookkeeping.start("keys", partial(self.keys.mark_used, key.key_id, now))


def _up(seconds: float) -> int:
    return int(seconds) + 1
