"""Decides who is asking; knows nothing of HTTP."""

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

_USED_EVERY = 3600.0  # seconds: last_used is coarse, a search shall not cost a write
# Per client address, or per 64 bits of an IPv6 address, which one host has to itself. It never
# holds up a valid key. Nobody can guess a secret anyway: this bounds what wrong ones write to the
# logs.
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
        self._limits: dict[str, int] = {}  # of keys that have asked, requests a minute

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
        self._limits[known.key_id] = limit
        wait = self._asked.take(known.key_id, limit)
        if wait:
            raise TooManyRequests(f"key {known.key_id}: {limit} requests a minute", _up(wait))
        self._mark(known)
        return known.caller

    def charge(self, key_id: str | None, requests: int) -> None:
        """Count a request that costs much as several.

        Args:
            key_id: the key that was sent; nobody is charged without one.
            requests: how many it counts as, beside the one that was counted on arrival; more than
                a full bucket holds count as a full bucket.

        Raises:
            TooManyRequests: the key's share does not suffice; nothing was charged.
        """
        if key_id is None or key_id not in self._limits:
            return
        limit = self._limits[key_id]
        wait = self._asked.take(key_id, limit, min(requests, limit - 1))
        if wait:
            raise TooManyRequests(
                f"key {key_id}: this costs as much as {requests + 1} requests, of {limit} a minute",
                _up(wait + 60 / limit),  # the next try is a request too
            )

    def count_refusal(self, address: str, error: Unauthorized) -> None:
        """Count a refused key against the address it came from.

        Args:
            address: of the client.
            error: why the key was refused.

        Raises:
            TooManyRequests: too many came from there.
        """
        wait = self._refused.take(client_name(None, address), REFUSALS_PER_MINUTE)
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
