"""Share threads fairly between clients: each has a quota, and clients take turns.

Long work is split into steps. Between two steps it gives up its thread if another client waits, and
it stops if its own client has disconnected. So a client that sends a lot only delays itself: any
other client waits for one step per active client, however much work is queued.

Everything here runs on the event loop; only the steps run in threads. A "place" is the right to use
one of the threads.
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
    """How a pool of threads is divided between clients.

    Attributes:
        places: calls that may run at the same time.
        each: how many of these one client may hold.
        waiting: requests that may wait per client; further ones are rejected.
        waiting_in_all: requests that may wait in total.
    """

    places: int
    each: int
    waiting: int
    waiting_in_all: int


class _Places:
    """Which clients hold places, and which wait for one."""

    def __init__(self, quota: ThreadQuota) -> None:
        self._quota = quota
        self._held: dict[str, int] = {}
        # In the order of turns; holds only clients that wait.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def waiting(self, client: str) -> int:
        """Number of waiting requests of a client."""
        return len(self._waiting.get(client, ()))

    def waiting_in_all(self) -> int:
        """Number of waiting requests."""
        return sum(map(len, self._waiting.values()))

    def is_free_for(self, client: str) -> bool:
        """Whether a place is free that this client may take."""
        held = self._held
        return sum(held.values()) < self._quota.places and held.get(client, 0) < self._quota.each

    def is_wanted_by_others(self, client: str) -> bool:
        return any(
            other != client and self._held.get(other, 0) < self._quota.each
            for other in self._waiting
        )

    def hold(self, client: str) -> None:
        self._held[client] = self._held.get(client, 0) + 1

    def release(self, client: str, *, last: bool = False) -> None:
        """Give a place back; ``last`` puts the client behind all others."""
        self._held[client] -= 1
        if last:
            self._waiting.move_to_end(client)
        if not self._held[client]:
            del self._held[client]
        self._grant()

    def _grant(self) -> None:
        """Give free places to waiting requests, one client after the other."""
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
        if waiter.done():  # it was granted at the same moment
            self.release(client)
            return
        self._waiting[client].remove(waiter)
        self._drop_if_empty(client)


class Turns:
    """Places that clients take in turn.

    Args:
        name: what is shared, for messages, such as ``heavy searches``.
        quota: what each client may have.
    """

    def __init__(self, name: str, quota: ThreadQuota) -> None:
        self.name = name
        self.quota = quota
        self._places = _Places(quota)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a place."""
        return self._places.waiting_in_all()

    def admit(self, client: str) -> None:
        """Reject a request for which there is no room to wait, before any work is done for it.

        Args:
            client: the client to charge.

        Raises:
            TooManyRequests: too many requests of this client are waiting.
            Overloaded: too many requests are waiting in total.
        """
        if self._places.is_free_for(client):
            return
        if (own := self._places.waiting(client)) >= self.quota.waiting:
            raise TooManyRequests(
                f"{own} {self.name} of this client are already waiting", _RETRY_SECONDS
            )
        if (number := self._places.waiting_in_all()) >= self.quota.waiting_in_all:
            raise Overloaded(f"{number} {self.name} are already waiting", _RETRY_SECONDS)

    @asynccontextmanager
    async def taken(self, client: str) -> AsyncIterator[Turn]:
        """Hold a place while the block runs.

        Args:
            client: the client to charge.

        Yields:
            The turn.

        Raises:
            TooManyRequests: too many requests of this client are waiting.
            Overloaded: too many requests are waiting in total.
            Unavailable: the client has disconnected.
        """
        self.admit(client)
        turn = Turn(self._places, client)
        await turn.take(first=False)
        try:
            yield turn
        finally:
            turn.leave()


class Turn:
    """The place of one request, which holds it or waits for it.

    Args:
        places: all places.
        client: the client to charge.
    """

    def __init__(self, places: _Places, client: str) -> None:
        self._places = places
        self._client = client
        self._holds = False

    async def take(self, *, first: bool) -> None:
        """Wait for a place.

        Args:
            first: go before the client's other waiting requests.

        Raises:
            Unavailable: the client has disconnected.
        """
        _require_client()
        places, client = self._places, self._client
        if places.is_free_for(client):
            places.hold(client)
        else:
            await self._wait(places.enqueue(client, first=first))
        self._holds = True

    async def pass_on(self) -> None:
        """Let a waiting client go first; call this between two steps.

        Raises:
            Unavailable: the client has disconnected.
        """
        _require_client()
        if self._places.is_wanted_by_others(self._client):
            self._holds = False
            # Queue before releasing, so that the client's next request cannot overtake this one.
            waiter = self._places.enqueue(self._client, first=True)
            self._places.release(self._client, last=True)
            await self._wait(waiter)
            self._holds = True

    def leave(self) -> None:
        """Give the place back, if one is held."""
        if self._holds:
            self._holds = False
            self._places.release(self._client)

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        disconnect = current_disconnect()
        try:
            ends = [waiter] if disconnect is None else [waiter, disconnect]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            _require_client()
        except BaseException:
            self._places.give_up(self._client, waiter)
            raise


def _require_client() -> None:
    if client_disconnected():
        raise Unavailable("the client has disconnected")
