"""A real MQTT broker, Mosquitto, and somebody who listens to it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from waiting import wait_until

USER, PASSWORD = "reid", "p@ss:word/1"
_LAST = "tests/last"
SIGNED_IN = "reid:p%40ss%3Aword%2F1"


def mosquitto() -> str:
    """The broker's program; without it the test is skipped."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no Mosquitto here: on Debian, apt-get install mosquitto")
    return program


def free_port() -> int:
    """A free port that no connection gets as its own while the broker is away."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


class Broker:
    """A broker on a port of its own, which can be stopped and started again.

    Args:
        folder: for its settings, its passwords and what it retains.
    """

    def __init__(self, folder: Path) -> None:
        self._program = mosquitto()
        self._folder = folder
        self.port = free_port()
        self.url = f"mqtt://{SIGNED_IN}@127.0.0.1:{self.port}/reid/test"
        self._process: subprocess.Popen[bytes] | None = None
        passwords = folder / "passwords"
        make = ["mosquitto_passwd", "-c", "-b", str(passwords), USER, PASSWORD]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"persistence true\npersistence_location {folder}/\nuser root\n"
        )

    def start(self) -> None:
        """Start; returns when it listens."""
        command = [self._program, "-c", str(self._folder / "mosquitto.conf")]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def stop(self) -> None:
        """Stop; what it retains is on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class Listener:
    """What somebody heard who subscribed to everything.

    Attributes:
        heard: topic and text of each message, in their order; retained ones come first.
        retained: the text of each topic that the broker retained when the block began.
    """

    heard: list[tuple[str, str]] = field(default_factory=list)
    retained: dict[str, str] = field(default_factory=dict)

    def under(self, topic: str) -> list[dict[str, Any]]:
        """The messages of a topic, read as JSON."""
        return [json.loads(text) for name, text in self.heard if name == topic and text]


@contextmanager
def listening(broker: Broker) -> Iterator[Listener]:
    """Subscribe to everything while the block runs; the broker keeps what is missed meanwhile."""
    listener, ready = Listener(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, secrets.token_hex(8), clean_session=False)
    client.username_pw_set(USER, PASSWORD)

    def connected(*_: object) -> None:
        client.subscribe("#", qos=1)

    def subscribed(*_: object) -> None:
        client.publish(_LAST, qos=1)  # comes back after everything that is retained

    def heard(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        text = message.payload.decode()
        if message.topic == _LAST:
            ready.set()
        elif message.retain:
            listener.retained[message.topic] = text
        listener.heard.append((message.topic, text))

    client.on_connect = connected
    client.on_subscribe = subscribed
    client.on_message = heard
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        assert ready.wait(60)
        yield listener
    finally:
        client.disconnect()
        client.loop_stop()
