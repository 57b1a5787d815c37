"""How many requests are answered at the same time, in total and per client.

A request keeps its place until its answer has been handed over, so a client could hold a place by
sending its body as slowly as possible. When places run out, the slowest request therefore loses its
place: to another request of the same client if that client has used up its share, otherwise to the
request that arrives now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from service.errors import Overloaded, TooManyRequests

SLOW = 64 * 1024.0  # bytes per second; a request that arrives faster keeps its place
GRACE_SECONDS = 1.0  # how long we wait for a client, in total, before we judge its rate


def share_of(places: int) -> int:
    """How many places one client may hold unless a setting says otherwise: a quarter."""
    return max(1, places // 4)


class Arriving(Protocol):
    """A request whose body may still be arriving."""

    @property
    def waited_seconds(self) -> float:
        """How long we have waited for the client so far; 0 if we do not wait for it now."""

    @property
    def rate(self) -> float:
        """Bytes of the body per second of that wait."""

    def give_up(self) -> None:
        """End the request, because another one needs its place."""


class Place:
    """One request that is being answered.

    Attributes:
        client: name of the client that is charged for it.
        request: knows how fast it arrives.
    """

    def __init__(self, client: str, request: Arriving, leave: Callable[[Place], None]) -> None:
        self.client = client
        self.request = request
        self._leave = leave

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        self._leave(self)


class Places:
    """The places of one service, or of one kind of request.

    Args:
        most: number of places.
        share: most places of one client, at most ``most``.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = min(share, most)
        self._taken: set[Place] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, client: str, request: Arriving) -> Place:
        """Take a place; if none is free, take it from a slow request.

        Args:
            client: name of the client that is charged for the request.
            request: knows how fast it arrives.

        Returns:
            The place; the caller must release it.

        Raises:
            Overloaded: every place is taken, and no slow request may lose its place.
            TooManyRequests: the client has used up its share, and none of its requests is slow.
        """
        if self._held[client] >= self._share:
            self._evict([place for place in self._taken if place.client == client])
        elif len(self._taken) >= self._most:
            # A client never loses a place to one that holds more places already.
            held = self._held[client]
            self._evict([place for place in self._taken if self._held[place.client] >= held])
        self._require_room(client)
        place = Place(client, request, self._leave)
        self._taken.add(place)
        self._held[client] += 1
        return place

    def _evict(self, candidates: list[Place]) -> None:
        """End the slowest request of the clients with the most places, if one is slow."""
        slow = [place for place in candidates if _is_slow(place.request)]
        if slow:
            slowest = min(slow, key=lambda place: (-self._held[place.client], place.request.rate))
            self._leave(slowest)
            slowest.request.give_up()

    def _require_room(self, client: str) -> None:
        if len(self._taken) >= self._most:
            raise Overloaded(f"{self._most} requests are being answered already: retry later")
        if self._held[client] >= self._share:
            raise TooManyRequests(
                f"{self._share} requests of {client} are being answered already: wait for an "
                "answer before you send another"
            )

    def _leave(self, place: Place) -> None:
        if place not in self._taken:
            return
        self._taken.remove(place)
        self._held[place.client] -= 1
        if not self._held[place.client]:
            del self._held[place.client]


def _is_slow(request: Arriving) -> bool:
    return request.waited_seconds > GRACE_SECONDS and request.rate < SLOW
