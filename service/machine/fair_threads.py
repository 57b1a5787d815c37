"""Threads shared out between clients: places, a share of them for each, and turns in between.

Work that takes long is done in steps. Between two steps it gives its place to another client who
waits, and it ends where its own client has left. So whoever sends much waits for itself: any other
client waits for one step of each client at work, however much work is waiting.

Everything here runs on the event loop; only the steps run in threads.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.errors import Overloaded, TooManyRequests, Unavailable
from service.machine.disconnect import client_disconnected, current_disconnect

_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ThreadQuota:
    """What clients may have of some threads.

    Attributes:
        places: calls that run at the same time.
        each: how many of them one client may hold.
        waiting: requests of one client that may wait; beyond it they are refused.
        waiting_in_all: requests of all clients that may wait.
    """

    places: int
    each: int
    waiting: int
    waiting_in_all: int


class _Places:
    """Who holds places and who waits for them."""

    def __init__(self, share: ThreadQuota) -> None:
        self._share = share
        self._held: dict[str, int] = {}
        # Whose turn comes next stands first; nobody is in it who does not wait.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def waiting(self, client: str) -> int:
        """How many of a client's requests wait."""
        return len(self._waiting.get(client, ()))

    def waiting_in_all(self) -> int:
        """How many requests wait."""
        return sum(map(len, self._waiting.values()))

    def is_free_for(self, client: str) -> bool:
        """Whether a place is free that is this client's to take; who waits cannot take it."""
        held = self._held
        return sum(held.values()) < self._share.places and held.get(client, 0) < self._share.each

    def is_wanted_by_others(self, client: str) -> bool:
        return any(
            other != client and self._held.get(other, 0) < self._share.each
            for other in self._waiting
        )

    def hold(self, client: str) -> None:
        self._held[client] = self._held.get(client, 0) + 1

    def release(self, client: str, *, last: bool = False) -> None:
        """Give a place back; ``last`` lets every other client go first."""
        self._held[client] -= 1
        if last:
            self._waiting.move_to_end(client)
        if not self._held[client]:
            del self._held[client]
        self._grant()

    def _grant(self) -> None:
        """Give free places to those who wait, one client after the other."""
        while (client := next(filter(self.is_free_for, self._waiting), None)) is not None:
            waiter = self._waiting[client].popleft()
            self._waiting.move_to_end(client)
            self._drop_if_empty(client)
            self.hold(client)
            waiter.set_result(None)

    def _drop_if_empty(self, client: str) -> None:
        if not self._waiting[client]:
            del self._waiting[client]

    def enqueue(self, client: str, *, first: bool) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(client, deque())
        if first:
            queue.appendleft(waiter)
        else:
            queue.append(waiter)
        return waiter

    def give_up(self, client: str, waiter: asyncio.Future[None]) -> None:
        if waiter.done():  # it came in the same moment
            self.release(client)
            return
        self._waiting[client].remove(waiter)
        self._drop_if_empty(client)


class Turns:
    """Places that clients take in turn.

    Args:
        name: what is shared out, for refusals: ``heavy searches``.
        share: what each may have.
    """

    def __init__(self, name: str, share: ThreadQuota) -> None:
        self.name = name
        self.share = share
        self._places = _Places(share)

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return self._places.waiting_in_all()

    def admit(self, client: str) -> None:
        """Refuse a request that could not even wait, before work is done for it.

        Args:
            client: who pays.

        Raises:
            TooManyRequests: as many of this client's wait as may.
            Overloaded: as many wait in all as may.
        """
        if self._places.is_free_for(client):
            return
        if (own := self._places.waiting(client)) >= self.share.waiting:
            raise TooManyRequests(f"{own} {self.name} of this client wait already", _RETRY_SECONDS)
        if (number := self._places.waiting_in_all()) >= self.share.waiting_in_all:
            raise Overloaded(f"{number} {self.name} wait already", _RETRY_SECONDS)

    @asynccontextmanager
    async def taken(self, client: str) -> AsyncIterator[Turn]:
        """Hold a place for as long as the block runs.

        Args:
            client: who pays.

        Yields:
            The turn.

        Raises:
            TooManyRequests: as many of this client's wait as may.
            Overloaded: as many wait in all as may.
            Unavailable: the client has left.
        """
        self.admit(client)
        turn = Turn(self._places, client)
        await turn.take(first=False)
        try:
            yield turn
        finally:
            turn.leave()


class Turn:
    """One request's place, held or waited for.

    Args:
        places: where.
        client: who pays.
    """

    def __init__(self, places: _Places, client: str) -> None:
        self._places = places
        self._client = client
        self._holds = False

    async def take(self, *, first: bool) -> None:
        """Wait for a place.

        Args:
            first: before the client's other requests that wait.

        Raises:
            Unavailable: the client has left.
        """
        _require_presence()
        places, client = self._places, self._client
        if places.is_free_for(client):
            places.hold(client)
        else:
            await self._wait(places.enqueue(client, first=first))
        self._holds = True

    async def pass_on(self) -> None:
        """Let another client who waits go first; to be called between two steps.

        Raises:
            Unavailable: the client has left.
        """
        _require_presence()
        if self._places.is_wanted_by_others(self._client):
            self._holds = False
            # In the queue before the place is free: the client's next request must not overtake.
            waiter = self._places.enqueue(self._client, first=True)
            self._places.release(self._client, last=True)
            await self._wait(waiter)
            self._holds = True

    def leave(self) -> None:
        """Give the place back, where one is held."""
        if self._holds:
            self._holds = False
            self._places.release(self._client)

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        departure = current_disconnect()
        try:
            ends = [waiter] if departure is None else [waiter, departure]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            _require_presence()
        except BaseException:
            self._places.give_up(self._client, waiter)
            raise


def _require_presence() -> None:
    if client_disconnected():
        raise Unavailable("the client has left")
