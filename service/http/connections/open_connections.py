"""All open connections of a server, and which of them to close when there are too many.

A new connection is always let in; idle connections make room for it. The address with the most
connections loses first, its longest idle ones before the others. So a flood from one address closes
its own connections, not those of other clients.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Protocol

_CLOSED_AT_ONCE = 16  # so that a flood does not cause one search per new connection


class OpenConnection(Protocol):
    """A connection that can be closed to make room."""

    @property
    def client_name(self) -> str:
        """The client's name, by address."""

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""

    @property
    def idle_since(self) -> float:
        """When it became idle, in seconds of a monotonic clock."""

    def abort(self) -> None:
        """Close it at once."""


class OpenConnections:
    """The connections that are open.

    Args:
        most: the limit; must exceed the number of requests that are answered at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[OpenConnection] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: OpenConnection) -> bool:
        """Add a connection; close idle ones if there are too many.

        Args:
            connection: the new one.

        Returns:
            False if every connection is busy, so that none can make room.
        """
        if len(self._open) >= self._most:
            self._make_room()
        if len(self._open) >= self._most:
            return False
        self._open.add(connection)
        self._held[connection.client_name] += 1
        return True

    def remove(self, connection: OpenConnection) -> None:
        """Forget a connection that has ended; a second call does nothing."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._held[connection.client_name] -= 1
        if not self._held[connection.client_name]:
            del self._held[connection.client_name]

    def _make_room(self) -> None:
        idle = [one for one in self._open if one.idle]
        if not idle:
            return
        most = max(self._held[one.client_name] for one in idle)
        candidates = [one for one in idle if self._held[one.client_name] == most]
        for one in heapq.nsmallest(_CLOSED_AT_ONCE, candidates, key=lambda one: one.idle_since):
            self.remove(one)
            one.abort()
