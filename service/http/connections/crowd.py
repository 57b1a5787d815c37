"""All connections of a server: which of them ends when there are too many.

A newcomer is let in, and idle connections make room: those of the address that has most of them,
the longest idle first. So a flood from one address ends its own connections, not those of others.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Protocol

_MADE_ROOM = 16  # connections ended at once, so that a flood does not mean a search each


class Guest(Protocol):
    """A connection."""

    @property
    def client_name(self) -> str:
        """Whose it is."""

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""

    @property
    def idle_since(self) -> float:
        """Since when; seconds that only rise."""

    def end(self) -> None:
        """Close it at once."""


class Crowd:
    """The connections that are open.

    Args:
        most: how many there may be; must exceed the requests that are answered at the same time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Guest] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, newcomer: Guest) -> bool:
        """Let a connection in; others end if there are too many.

        Args:
            newcomer: the connection.

        Returns:
            False if every connection is at work, so that none can make room.
        """
        if len(self._open) >= self._most:
            self._make_room()
        if len(self._open) >= self._most:
            return False
        self._open.add(newcomer)
        self._held[newcomer.client_name] += 1
        return True

    def leave(self, guest: Guest) -> None:
        """Forget a connection that has ended; a second call does nothing."""
        if guest not in self._open:
            return
        self._open.remove(guest)
        self._held[guest.client_name] -= 1
        if not self._held[guest.client_name]:
            del self._held[guest.client_name]

    def _make_room(self) -> None:
        idle = [guest for guest in self._open if guest.idle]
        if not idle:
            return
        most = max(self._held[guest.client_name] for guest in idle)
        crowding = [guest for guest in idle if self._held[guest.client_name] == most]
        for guest in heapq.nsmallest(_MADE_ROOM, crowding, key=lambda guest: guest.idle_since):
            self.leave(guest)
            guest.end()
