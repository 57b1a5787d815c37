"""A service that is killed between a crop, its event and its delivery loses and doubles nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from waiting import PATIENCE, is_up, wait_until

sys.path.insert(0, str(Path(__file__).parent))  # the module ``receiver``

from receiver import Receiver, receiving

from service.testing import solid

EVENTS = "/galleries/default/events"


@contextmanager
def serving(model: Path, data: Path, receiver: Receiver) -> Iterator[Any]:
    """Run a service in a process that is killed when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service", "serve", "--port", port, "--data", data]
    environment = {"REID_WEBHOOKS": json.dumps([receiver.url]), "OMP_NUM_THREADS": "1"}
    with (
        subprocess.Popen(
            [str(word) for word in (*command, "--model", model, "--device", "cpu")],
            env=os.environ | environment,
            stderr=subprocess.DEVNULL,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http,
    ):
        try:
            wait_until(lambda: process.poll() is not None or is_up(http))
            yield http
        finally:
            process.send_signal(signal.SIGKILL)


def put(http: httpx.Client, crop_id: str, **fields: Any) -> None:
    files = {"image": ("crop.png", solid((200, 20, 20), kind="PNG"))}
    answer = http.put(f"/galleries/default/crops/{crop_id}", files=files, data=fields)
    assert answer.is_success, answer.text


def test_each_crop_makes_one_event_that_is_delivered_under_one_id(tiny_model, tmp_path):
    with receiving() as receiver:
        with serving(tiny_model, tmp_path / "data", receiver) as http:
            put(http, "anna", identity="anna")
            body = {"watch_for": "gallery", "quiet_seconds": 0, "deliver_to": f"{receiver.url}/in"}
            assert http.post("/galleries/default/watches", json=body).status_code == 201
            receiver.answers = [503]
            put(http, "first", camera="c1")
            wait_until(lambda: receiver.got)  # stored, and not delivered
            put(http, "second", camera="c1")  # killed right after the answer
        receiver.answers.clear()
        with serving(tiny_model, tmp_path / "data", receiver) as http:
            delivered = wait_until(
                lambda: http.get(EVENTS, params={"delivery": "delivered"}).json()["events"],
                lambda seen: len(seen) == 2,
            )
            assert http.get(EVENTS).json()["events"] == delivered
    assert {event["crop_id"] for event in delivered} == {"first", "second"}
    assert set(receiver.ids) == {event["event_id"] for event in delivered}
