"""A service that is killed while ``watch`` sends it frames: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from waiting import PATIENCE, is_up, wait_until

sys.path.insert(0, str(Path(__file__).parents[1] / "alerts"))  # the module ``receiver``

from receiver import SLOW, Receiver, receiving

from service.testing import encode, solid

ROOT = Path(__file__).parents[3]
DRAWN = ROOT / "docs" / "images" / "drawn-people.png"
CROPS, EVENTS = "/galleries/default/crops", "/galleries/default/events"
FRAMES, PEOPLE = 16, 3  # two requests with eight frames each


@pytest.fixture
def frames(tmp_path) -> Path:
    """A folder of frames with three drawn people who walk."""
    folder = tmp_path / "frames"
    folder.mkdir()
    with Image.open(DRAWN) as picture:
        drawn = np.asarray(picture.convert("RGB").crop((0, 0, 200, 170)))
    for number in range(FRAMES):
        pixels = np.roll(drawn, number % 8, axis=1)
        (folder / f"{number:02}.png").write_bytes(encode(pixels))
    return folder


@contextmanager
def serving(url: str, model: Path, data: Path, receiver: Receiver) -> Iterator[httpx.Client]:
    """Run a service in a process that is killed when the block ends."""
    command = [sys.executable, "-m", "service", "serve", "--port", url.rpartition(":")[2]]
    options = ["--data", data, "--model", model, "--device", "cpu"]
    environment = {"REID_WEBHOOKS": json.dumps([receiver.url]), "OMP_NUM_THREADS": "1"}
    with (
        subprocess.Popen(
            [str(word) for word in (*command, *options)],
            env=os.environ | environment,
            stderr=subprocess.DEVNULL,
        ) as process,
        httpx.Client(base_url=url, timeout=PATIENCE) as http,
    ):
        try:
            wait_until(lambda: process.poll() is not None or is_up(http))
            yield http
        finally:
            process.send_signal(signal.SIGKILL)


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def alert_about_everyone(http: httpx.Client, receiver: Receiver) -> None:
    """Make each new crop an event that is delivered."""
    files = {"image": ("crop.png", solid((200, 20, 20), kind="PNG"))}
    assert http.put(f"{CROPS}/anna", files=files, data={"identity": "anna"}).is_success
    body: dict[str, Any] = {"watch_for": "gallery", "min_score": -1.0, "quiet_seconds": 0}
    body["deliver_to"] = receiver.url + SLOW
    assert http.post("/galleries/default/watches", json=body).status_code == 201


def watch(frames: Path, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "service", "watch", str(frames), "--once", "--json"]
    options = ["--camera", "c1", "--url", url]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *options], stdout=pipe, stderr=pipe, text=True)


def all_delivered(http: httpx.Client) -> list[dict[str, Any]]:
    """The events once there is one for each person on each frame, all of them delivered."""
    return wait_until(
        lambda: http.get(EVENTS, params={"delivery": "delivered", "limit": 1000}).json()["events"],
        lambda seen: len(seen) >= FRAMES * PEOPLE,
    )


def test_each_person_is_stored_once_and_reported_under_one_id(tiny_model, frames, tmp_path):
    url, data = free_address(), tmp_path / "data"
    with receiving() as receiver, ExitStack() as programs:
        with serving(url, tiny_model, data, receiver) as http:
            alert_about_everyone(http, receiver)
            watching = programs.enter_context(watch(frames, url))
            wait_until(lambda: receiver.got or watching.poll() is not None)
        # Killed while it looked at the next frames, and while an alert was on its way.
        assert watching.poll() is None
        receiver.released.set()
        with serving(url, tiny_model, data, receiver) as http:
            told, complaints = watching.communicate(timeout=PATIENCE)
            assert watching.returncode == 0, complaints
            events = all_delivered(http)
            page = http.get(CROPS, params={"limit": 1000, "cameras": "c1"}).json()
            assert http.get(EVENTS, params={"limit": 1000}).json()["events"] == events
    counts = json.loads(told.splitlines()[-1])
    crop_ids = [crop["crop_id"] for crop in page["crops"]]
    assert set(crop_ids) == {
        f"c1/{number:02}.png/{person:02}"
        for number in range(FRAMES)
        for person in range(1, PEOPLE + 1)
    }
    assert (counts["frames_sent"], counts["frames_failed"]) == (FRAMES, 0)
    assert counts["persons_stored"] == len(crop_ids) == FRAMES * PEOPLE
    assert sorted(event["crop_id"] for event in events) == sorted(crop_ids)
    assert set(receiver.ids) == {event["event_id"] for event in events}
    assert receiver.ids.count(receiver.ids[0]) == 2  # once before the kill, once after it
