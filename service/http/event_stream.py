"""Events as they are stored: server-sent events (``text/event-stream``).

Each reader asks the disk for what follows the last event it got, so a slow one holds nothing in
memory and holds up nobody. A stream ends after a minute, so that no revoked key listens on; readers
such as a browser's ``EventSource`` connect again and name the last event that they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from service.alerts.alerts import Alerts, cursor_of
from service.alerts.event import Event, EventFilter, record_of
from service.errors import Overloaded, ReidError, TooManyRequests
from service.machine.executors import ClientThreads

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # proxies pass each event on at once
}
LIFETIME = 60.0
"""Seconds after which a stream ends."""
_TICK = 0.2  # seconds between two looks whether events were stored
_BEAT = 15.0  # seconds of silence after which a comment shows that the stream is alive
_PAGE = 100
_RETRY = b"retry: 1000\n\n"


@dataclass(frozen=True, slots=True)
class EventStream:
    """Events that pass a filter, oldest first.

    Attributes:
        alerts: the events.
        where: the filter.
        threads: read events.
        ending: whether the service is shutting down.
    """

    alerts: Alerts
    where: EventFilter
    threads: ClientThreads
    ending: Callable[[], bool]

    async def pieces(self, after: int) -> AsyncIterator[bytes]:
        """What to send: every event after one number, and those that are stored meanwhile.

        Args:
            after: events of larger numbers are sent.

        Yields:
            Events and comments, until the stream ends.
        """
        yield _RETRY
        clock = asyncio.get_running_loop().time
        begun = spoken = clock()
        seen = -1
        while clock() - begun < LIFETIME and not self.ending():
            if seen != self.alerts.written:
                seen = self.alerts.written
                while found := await self._following(after):
                    after, spoken = found[-1].number, clock()
                    yield b"".join(map(_written, found))
            if clock() - spoken >= _BEAT:
                spoken = clock()
                yield b": nothing yet\n\n"
            await asyncio.sleep(_TICK)

    async def _following(self, after: int) -> Sequence[Event]:
        while True:
            try:
                return await self.threads.run(self.alerts.table.following, self.where, after, _PAGE)
            except (TooManyRequests, Overloaded) as error:
                # The answer has begun, so no status can say this any more: wait in its place.
                await asyncio.sleep(error.retry_after)
            except ReidError:  # the reader asks again after the end of the stream
                return ()


def _written(event: Event) -> bytes:
    text = record_of(event).model_dump_json()  # one line: JSON escapes line breaks
    return f"id: {cursor_of(event)}\nevent: sighting\ndata: {text}\n\n".encode()
