"""Who may be answered at the same time: so many requests in all, and a share of them per client.

A request keeps its place until its answer has been handed over. A client could therefore hold a
place by sending a body as slowly as it can. So when places run out, the request that arrives most
slowly loses its place: to another request of the same client if the client has used up its share,
otherwise to the request that arrives now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from service.errors import Overloaded, TooManyRequests

SLOW = 64 * 1024.0  # bytes a second; a request that arrives faster keeps its place
GRACE_SECONDS = 1.0  # how long we wait for a client, in all, before its rate is judged


def share_of(places: int) -> int:
    """How many of some places one client may hold, unless a setting says otherwise: a quarter."""
    return max(1, places // 4)


class Arriving(Protocol):
    """A request whose body may still be under way."""

    @property
    def waited_seconds(self) -> float:
        """How long we have waited for the client so far; 0 if we do not wait for it now."""

    @property
    def rate(self) -> float:
        """Bytes of the body per second of that wait."""

    def give_up(self) -> None:
        """End the request, because somebody else needs its place."""


class Place:
    """One request that is being answered.

    Attributes:
        client: the name it is charged to.
        request: tells how fast it arrives.
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
        most: places in all.
        share: places of one client, at most ``most``.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = min(share, most)
        self._taken: set[Place] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, client: str, request: Arriving) -> Place:
        """Take a place, from a slow request if there is no free one.

        Args:
            client: the name the request is charged to.
            request: tells how fast it arrives.

        Returns:
            The place; the caller releases it.

        Raises:
            Overloaded: every place is taken, and none of them by a slow request that may lose it.
            TooManyRequests: the client has used up its share, and none of its requests is slow.
        """
        if self._held[client] >= self._share:
            self._evict([place for place in self._taken if place.client == client])
        elif len(self._taken) >= self._most:
            # Nobody loses a place to a client who holds more of them already.
            held = self._held[client]
            self._evict([place for place in self._taken if self._held[place.client] >= held])
        self._require_room(client)
        place = Place(client, request, self._leave)
        self._taken.add(place)
        self._held[client] += 1
        return place

    def _evict(self, candidates: list[Place]) -> None:
        """End the slowest request of the clients who hold most, if there is a slow one."""
        slow = [place for place in candidates if _is_slow(place.request)]
        if slow:
            slowest = min(slow, key=lambda place: (-self._held[place.client], place.request.rate))
            self._leave(slowest)
            slowest.request.give_up()

    def _require_room(self, client: str) -> None:
        if len(self._taken) >= self._most:
            raise Overloaded(f"{self._most} requests are being answered already")
        if self._held[client] >= self._share:
            raise TooManyRequests(
                f"{self._share} requests of {client} are being answered already: wait for an "
                "answer before you send the next one"
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
