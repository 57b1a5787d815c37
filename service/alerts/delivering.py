"""Delivers events where their watches want them, at least once, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import httpx

from service.alerts.event import Event, record_of
from service.alerts.posting import Posted, new_client, post
from service.alerts.signing import signed_headers
from service.alerts.table import AlertTable
from service.alerts.watch import MQTT, Watch
from service.errors import ReidError
from service.machine.background import Report
from service.values.addresses import AllowedAddresses
from service.values.broker import Broker

if TYPE_CHECKING:
    from service.alerts.mqtt import MqttLine

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 30
"""After these, which take about a day, a delivery has failed."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 3600.0
_AT_ONCE = 32  # over all watches; each has one at a time
_RETRY_SECONDS = 5.0  # after a failure of the file


def pause_after(attempts: int) -> float:
    """How long to wait after so many failed attempts, in seconds: 5, 10, 20 … up to an hour."""
    return min(_FIRST_PAUSE * 2.0 ** (attempts - 1), _LONGEST_PAUSE)


class Delivering:
    """Delivers events; a receiver that is slow or gone holds up neither others nor the service.

    Args:
        table: the watches and events.
        allowed: the addresses that the operator allows.
        broker: the operator's MQTT broker, if there is one.
        report: counts failures of the delivering itself.
        clock: seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        table: AlertTable,
        allowed: AllowedAddresses,
        broker: Broker | None,
        report: Report,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._allowed = allowed
        self._report = report
        self._clock = clock
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._client: httpx.AsyncClient | None = None
        self._thread: Thread | None = None
        self._line = None if broker is None else self._line_to(broker)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to an MQTT broker."""
        return self._line is not None and self._line.is_open

    def start(self) -> None:
        """Begin with what waits since the last run."""
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, args=[self._loop], name="deliveries", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look again whether a delivery is due."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._changed.set)

    def close(self, patience: float = 10.0) -> None:
        """Stop; what is under way is delivered again by the next start."""
        self._closing = True
        self.wake()
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._deliver_all())

    def _line_to(self, broker: Broker) -> MqttLine:
        from service.alerts.mqtt import MqttLine  # noqa: PLC0415 - an optional extra

        return MqttLine(broker, self._table, self._report, self._changed.set)

    async def _deliver_all(self) -> None:
        line = None if self._line is None else asyncio.ensure_future(self._line.run())
        await self._deliver_until_closing()
        if line is not None:
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)

    async def _deliver_until_closing(self) -> None:
        while not self._closing:
            self._changed.clear()
            try:
                pause = self._begin_due()
            except ReidError:
                self._report("deliveries")
                pause = _RETRY_SECONDS
            await self._wait(pause)
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _begin_due(self) -> float | None:
        """Begin every delivery that is due; returns the seconds until the next one."""
        now = self._clock()
        room = _AT_ONCE - len(self._under_way)
        held = self._held()
        for event in self._table.due(now, self._under_way.keys() | held, room) if room else ():
            task = asyncio.ensure_future(self._deliver(event))
            self._under_way[event.watch_id] = task
            task.add_done_callback(partial(self._end, event.watch_id))
        following = self._table.next_try(self._under_way.keys() | held)
        full = len(self._under_way) >= _AT_ONCE
        return None if following is None or full else max(following - now, 0.0)

    def _held(self) -> set[str]:
        """The watches whose events wait for a connection to the broker; that is no attempt."""
        if self._line is None or self.is_connected:
            return set()
        return {watch.watch_id for watch in self._table.watches_of_broker()}

    def _end(self, watch_id: str, _task: asyncio.Task[None]) -> None:
        self._under_way.pop(watch_id, None)
        self._changed.set()

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _deliver(self, event: Event) -> None:
        try:
            watch = self._table.owner(event.watch_id)
            posted = await self._post(event, watch)
            self._table.save_delivery(self._after(event, posted))
        except Exception:  # it is tried again, and must not hold up the others
            log.exception("event %s was not delivered; trying again", event.event_id)
            self._report("deliveries")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _post(self, event: Event, watch: Watch | None) -> Posted:
        if watch is None or watch.order.deliver_to is None:
            return Posted("the watch was deleted", final=True)
        if watch.order.deliver_to == MQTT:
            nowhere = Posted("REID_MQTT names no broker")
            return nowhere if self._line is None else await self._line.publish(event)
        if watch.secret is None:
            return Posted("the watch has no secret", final=True)
        body = message_of(event)
        headers = signed_headers(watch.secret, event.event_id, int(self._clock()), body)
        if self._client is None:  # not at the start: to read the certificates takes time
            self._client = new_client()
        return await post(self._client, self._allowed, watch.order.deliver_to, body, headers)

    def _after(self, event: Event, posted: Posted) -> Event:
        attempts = event.attempts + 1
        if posted.error is None:
            state = replace(event, delivery="delivered", next_try=None)
        elif posted.final or attempts >= MOST_ATTEMPTS:
            state = replace(event, delivery="failed", next_try=None)
        else:
            state = replace(event, next_try=self._clock() + pause_after(attempts))
        return replace(state, attempts=attempts, error=posted.error)


def message_of(event: Event) -> bytes:
    """An event as it is delivered: JSON, the same at every attempt."""
    written = datetime.fromtimestamp(event.created, UTC)
    message = {
        "type": "event",
        "timestamp": written.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": record_of(event).model_dump(),
    }
    return json.dumps(message).encode()
