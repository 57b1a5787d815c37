"""``/readyz``: at most one check per second, however many clients ask."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, always_set

from service.errors import Unavailable
from service.testing import FakeEmbedder

PROBES = 40


class Counted:
    """Count the images that the network gets, and hold them back when asked."""

    def __init__(self) -> None:
        self.images = 0
        self.entered = threading.Event()
        self.door = threading.Event()
        self.door.set()

    def __call__(self, _image: Any) -> None:
        self.images += 1
        self.entered.set()
        assert self.door.wait(PATIENCE)


def test_probes_share_one_inference_per_second(start):
    counted = Counted()
    with start(FakeEmbedder(fault=counted)) as service, ThreadPoolExecutor(8) as pool:
        before, begun = counted.images, time.monotonic()
        statuses = list(pool.map(lambda _: service.http.get("/readyz").status_code, range(PROBES)))
        seconds = time.monotonic() - begun
        assert statuses == [200] * PROBES
        # On any machine: one check at the start, and one more per second that passed.
        assert counted.images - before <= 1 + int(seconds)


def test_concurrent_probes_share_one_check(start):
    counted = Counted()
    network = FakeEmbedder(fault=counted)
    with (
        start(network, clock=lambda: 0.0) as service,
        ThreadPoolExecutor(8) as pool,
        always_set(counted.door),
    ):
        before = counted.images
        counted.entered.clear()
        counted.door.clear()
        asked = [pool.submit(service.http.get, "/readyz") for _ in range(8)]
        assert counted.entered.wait(PATIENCE)
        counted.door.set()
        assert {one.result().status_code for one in asked} == {200}
        assert counted.images - before == 1


def test_a_client_that_disconnects_does_not_end_the_check_for_others(start):
    counted = Counted()
    with (
        start(FakeEmbedder(fault=counted)) as service,
        ThreadPoolExecutor(1) as pool,
        always_set(counted.door),
    ):
        counted.entered.clear()
        counted.door.clear()
        address = httpx.URL(service.url)
        leaving = socket.create_connection((address.host, address.port))
        leaving.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert counted.entered.wait(PATIENCE)
        staying = pool.submit(service.http.get, "/readyz")
        leaving.close()
        # Once this is answered, the event loop has seen the disconnect and the second probe.
        assert service.http.get("/livez").status_code == 200
        counted.door.set()
        assert staying.result().status_code == 200


def test_draining_is_reported_at_once(start):
    with start() as service:
        assert service.http.get("/readyz").status_code == 200
        service.parts.lifecycle.phase = "draining"
        assert service.http.get("/readyz").status_code == 503


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Look:
    """Replace the check of network and disk; count, and fail when asked."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.count += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


def look_and_clock() -> tuple[Any, Look, Clock]:
    from service.readiness import Readiness

    look, clock = Look(), Clock()
    return Readiness(look, clock), look, clock


def test_a_result_is_reused_for_a_second_good_or_bad():
    async def ask() -> None:
        readiness, look, clock = look_and_clock()
        await asyncio.gather(*(readiness.check() for _ in range(5)))
        await readiness.check()
        assert look.count == 1
        clock.now += 0.999
        await readiness.check()
        assert look.count == 1
        look.error = Unavailable("no room", retry_after=7)
        clock.now += 0.002
        for _ in range(3):
            with pytest.raises(Unavailable, match="no room") as refused:
                await readiness.check()
            assert refused.value.retry_after == 7
        assert look.count == 2
        look.error = None
        clock.now += 1.0
        await readiness.check()
        assert look.count == 3

    asyncio.run(ask())


def test_a_defect_means_not_ready_and_is_reused_too(caplog):
    async def ask() -> None:
        readiness, look, _ = look_and_clock()
        look.error = RuntimeError("a defect")
        for _ in range(3):
            with pytest.raises(Unavailable, match="see the service's log"):
                await readiness.check()
        assert look.count == 1

    asyncio.run(ask())
    assert "a defect" in caplog.text


def test_a_cancelled_probe_does_not_end_the_check_for_others():
    async def ask() -> None:
        readiness, look, _ = look_and_clock()
        first = asyncio.create_task(readiness.check())
        second = asyncio.create_task(readiness.check())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert look.count == 1

    asyncio.run(ask())
