"""Publishes events to the operator's MQTT broker, and announces watches to Home Assistant.

Each watch that delivers to the broker is an event entity of Home Assistant
(https://www.home-assistant.io/integrations/event.mqtt): a retained message says where its events
come. What the broker retains is compared with the watches that exist, so a watch that was deleted
or erased leaves the broker too, also if it went while there was no connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from aiomqtt import Client, Message, MqttError, Will

from service.alerts.event import Event, record_of
from service.alerts.posting import Posted
from service.alerts.table import AlertTable
from service.alerts.watch import Watch
from service.errors import ReidError
from service.machine.background import Report
from service.values.broker import Broker

log = logging.getLogger(__name__)

_SECONDS = 10.0  # for every answer of the broker
_LOOK_SECONDS = 5.0  # watches are compared with what is announced so often
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_AT_LEAST_ONCE = 1
_DISCOVERY = "homeassistant/event"


class MqttLine:
    """The connection to a broker; every method runs in one event loop.

    Args:
        broker: where it is.
        table: the watches.
        report: counts lost and failed connections.
        connected: called whenever there is a connection.
    """

    def __init__(
        self,
        broker: Broker,
        table: AlertTable,
        report: Report,
        connected: Callable[[], object],
    ) -> None:
        self._broker = broker
        self._table = table
        self._report = report
        self._connected = connected
        self._client: Client | None = None
        self._announced: dict[str, str] = {}
        """What the broker retains, by topic."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None

    async def run(self) -> None:
        """Keep a connection until the task is cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._connection() as client:
                    pause = _FIRST_PAUSE
                    await self._follow(client)
            except Exception as error:  # whatever it was, the next connection may work
                usual = isinstance(error, MqttError | OSError | ReidError)
                said = f"no connection to the MQTT broker {self._broker.host}: {error}"
                log.warning(said, exc_info=not usual)
                self._report("mqtt")
            await asyncio.sleep(min(pause, _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def publish(self, event: Event) -> Posted:
        """Publish an event, acknowledged by the broker.

        Args:
            event: of a watch that delivers to the broker.

        Returns:
            How it ended.
        """
        if self._client is None:
            return Posted("no connection to the MQTT broker")
        try:
            topic = _topic(self._broker, event.gallery, event.watch_id)
            await self._send(self._client, topic, message_of(event))
        except MqttError as error:
            return Posted(f"MQTT: {error}"[:200])
        return Posted()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        """Connect; the broker says ``offline`` for us after an end that we cannot announce."""
        status, broker = _status_topic(self._broker), self._broker
        will = Will(status, "offline", qos=_AT_LEAST_ONCE, retain=True)
        async with Client(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            will=will,
            timeout=_SECONDS,
            tls_context=ssl.create_default_context() if broker.encrypted else None,
        ) as client:
            await self._send(client, status, "online", retain=True)
            try:
                yield client
            finally:
                self._client = None
                with suppress(MqttError):
                    await self._send(client, status, "offline", retain=True)

    async def _follow(self, client: Client) -> None:
        """Announce the watches, and remove what the broker retains of others, until it is gone."""
        self._announced = {}
        self._client = client
        self._connected()
        await self._announce(client)
        await client.subscribe(self._config_topic("+"), qos=_AT_LEAST_ONCE)
        announcing = asyncio.ensure_future(self._announce_always(client))
        try:
            async for message in client.messages:  # ends with an error when the connection does
                await self._compare(client, message)
        finally:
            announcing.cancel()

    async def _announce_always(self, client: Client) -> None:
        while True:
            with suppress(MqttError, ReidError):  # tried again
                await self._announce(client)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _announce(self, client: Client) -> None:
        wanted = self._wanted()
        for topic in self._announced.keys() | wanted.keys():
            config = wanted.get(topic, "")
            if self._announced.get(topic, "") != config:
                await self._send(client, topic, config, retain=True)
                self._announced[topic] = config

    async def _compare(self, client: Client, message: Message) -> None:
        """Remove what an earlier connection announced, if its watch is gone."""
        topic = str(message.topic)
        if message.retain and message.payload and not self._announced.get(topic):
            await self._send(client, topic, "", retain=True)

    def _wanted(self) -> dict[str, str]:
        return {
            self._config_topic(watch.watch_id): json.dumps(announcement(watch, self._broker))
            for watch in self._table.watches_of_broker()
        }

    def _config_topic(self, watch_id: str) -> str:
        return f"{_DISCOVERY}/{_node(self._broker)}/{watch_id}/config"

    async def _send(
        self, client: Client, topic: str, payload: str, *, retain: bool = False
    ) -> None:
        await client.publish(topic, payload, qos=_AT_LEAST_ONCE, retain=retain)


def message_of(event: Event) -> str:
    """An event as subscribers get it: JSON, the same at every attempt."""
    kind = "unknown" if event.matched is None else "match"
    return json.dumps({"event_type": kind} | record_of(event).model_dump())


def announcement(watch: Watch, broker: Broker) -> dict[str, object]:
    """What Home Assistant needs to know of a watch.

    Args:
        watch: delivers to the broker.
        broker: whose topics it uses.

    Returns:
        The configuration of an MQTT event entity.
    """
    order, node = watch.order, _node(broker)
    product = {"name": "HHCL-ReID", "sw_version": version("hhcl-reid")}
    return {
        "name": order.name or f"{order.gallery}: {order.watch_for}",
        "unique_id": f"{node}_{watch.watch_id}",
        "state_topic": _topic(broker, order.gallery, watch.watch_id),
        "event_types": ["match", "unknown"],
        "availability_topic": _status_topic(broker),
        "device": {"identifiers": [node], **product},
        "origin": product,
    }


def _topic(broker: Broker, gallery: str, watch_id: str) -> str:
    """Where the events of a watch come."""
    return f"{broker.prefix}/{gallery}/{watch_id}"


def _status_topic(broker: Broker) -> str:
    return f"{broker.prefix}/status"


def _node(broker: Broker) -> str:
    """The prefix as one level of a topic."""
    return broker.prefix.replace("/", "_")
