"""Identifies callers and enforces their limits, independently of HTTP."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from service.access.audit import FOLDER, AuditLog
from service.access.caller import EVERYONE, NOBODY, Caller, client_name
from service.access.key_file import Key
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.errors import TooManyRequests, Unauthorized
from service.machine.executors import Threads

_USED_EVERY = 3600.0  # seconds: last_used is coarse, so that a search does not cost a write
# Per client address, or per the first 64 bits of an IPv6 address. Valid keys are never limited by
# it. A secret cannot be guessed anyway: this limits how much wrong keys add to the logs.
REFUSALS_PER_MINUTE = 30


class Gate:
    """Keys, limits and the audit log of a data folder.

    Args:
        data: the data folder.
        requests_per_minute: limit for a key without a limit of its own.
        audit_days: days to keep the audit log.
        bookkeeping: threads that read and write these files.
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
        self._limits: dict[str, int] = {}  # requests per minute, of keys that were used

    def caller(self, key: str | None) -> Caller:
        """Identify the caller of a request, and count the request.

        Args:
            key: the text of the key that was sent; None without a key.

        Returns:
            The caller.

        Raises:
            Unauthorized: the key is unknown, expired or revoked.
            TooManyRequests: the key has reached its limit.
            Unavailable: the keys cannot be read.
        """
        if not self.keys.configured():
            return EVERYONE
        if key is None:
            return NOBODY
        known = self.keys.authenticate(key)
        limit = known.requests_per_minute or self.requests_per_minute
        self._limits[known.key_id] = limit
        wait = self._asked.take(known.key_id, limit)
        if wait:
            raise TooManyRequests(
                f"key {known.key_id} is limited to {limit} requests per minute", _up(wait)
            )
        self._mark(known)
        return known.caller

    def charge(self, key_id: str | None, requests: int) -> None:
        """Count an expensive request as several.

        Args:
            key_id: the key that was sent; without a key nothing is counted.
            requests: how many requests it counts as, in addition to the one counted on arrival; at
                most a full bucket.

        Raises:
            TooManyRequests: the key's remaining requests are not enough; nothing was counted.
        """
        if key_id is None or key_id not in self._limits:
            return
        limit = self._limits[key_id]
        wait = self._asked.take(key_id, limit, min(requests, limit - 1))
        if wait:
            raise TooManyRequests(
                f"key {key_id}: this counts as {requests + 1} requests, of {limit} per minute",
                _up(wait + 60 / limit),  # the retry is a request too
            )

    def count_refusal(self, address: str, error: Unauthorized) -> None:
        """Count a rejected key for the address that sent it.

        Args:
            address: the client's address.
            error: why the key was rejected.

        Raises:
            TooManyRequests: this address sent too many wrong keys.
        """
        wait = self._refused.take(client_name(None, address), REFUSALS_PER_MINUTE)
        if wait:
            raise TooManyRequests("too many wrong keys from this address", _up(wait)) from error

    def close(self) -> None:
        """Write pending entries and close the files."""
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
