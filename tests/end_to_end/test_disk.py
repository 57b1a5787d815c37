"""Disks that are full, read-only or failing: what goes on, what is refused, and how it recovers."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from crash.clients import Writer
from crash.inspection import create_gallery, inspect
from crash.pictures import Pictures
from crash.served import Served
from crash.strike import KINDS

from service.testing import encode

GALLERY = "g"
# What a write is answered; ``mounted`` is a real file system that is full, the others are faults of
# the file layer.
REFUSALS = {
    "mounted": (507, "storage_full"),
    "no-space": (507, "storage_full"),
    "read-only": (503, "unavailable"),
    "io-error": (503, "unavailable"),
}
MOUNTED_MB = 6


class Bench:
    """A service, one client with its account, and a disk that can be broken and repaired."""

    def __init__(
        self, served: Served, fail: Callable[[], object], repair: Callable[[], object]
    ) -> None:
        self.served, self.fail, self.repair = served, fail, repair
        self.pictures, self.rng = Pictures(3), random.Random(3)
        self.writer = Writer("w", GALLERY, self.pictures, 3, frozenset({503, 507}))
        self.http = httpx.Client(base_url=served.url, timeout=60)

    def start(self) -> None:
        self.served.start()
        self.served.wait_until_alive("/livez")
        self.pictures.learn(self.served.url)

    def write(self, times: int) -> set[int]:
        return {self.writer.step(self.http) for _ in range(times)}

    def wrong(self) -> list[str]:
        return inspect(self.served.url, GALLERY, [self.writer], self.pictures, self.rng)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """How the disk fails."""
    return str(request.param)


@pytest.fixture
def bench(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A service whose data folder lies on a disk that can fail."""
    data, switch = tmp_path / "data", tmp_path / "switch"
    environment, fail, repair = {}, switch.touch, switch.unlink
    if kind == "mounted":
        data, filler = request.getfixturevalue("mounted"), tmp_path / "mounted" / "filler"
        fail, repair = lambda: fill(filler), filler.unlink
    else:
        environment = {
            "LD_PRELOAD": str(request.getfixturevalue("file_faults")),
            "FILE_FAULTS_FOLDER": str(data),
            "FILE_FAULTS_KIND": str(KINDS[kind]),
            "FILE_FAULTS_SWITCH": str(switch),
        }
    served = Served(data, tmp_path / "log", environment=environment)
    bench = Bench(served, fail, repair)
    try:
        bench.start()
        create_gallery(served.url, GALLERY)
        yield bench
    finally:
        served.kill()
        bench.http.close()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MOUNTED_MB}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting a small file system was refused: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(filler: Path) -> None:
    """Take all the room that is left."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@pytest.mark.parametrize("kind", REFUSALS, indirect=True)
def test_a_disk_that_fails_refuses_writes_and_nothing_else(bench, kind):
    status, code = REFUSALS[kind]
    assert bench.write(20) <= {200, 201}
    assert bench.wrong() == []
    bench.fail()
    refusal = bench.http.put(
        f"/galleries/{GALLERY}/crops/w/new", files={"image": ("a.png", bench.pictures.files[0])}
    )
    assert (refusal.status_code, refusal.json()["code"]) == (status, code)
    assert ("Retry-After" in refusal.headers) == (status == 503)
    assert status in bench.write(15)
    assert bench.wrong() == [], "reads go on, and what was refused is not there"
    assert "accepts no writes" in readiness(bench, 503).json()["detail"]
    created = bench.http.post("/galleries", json={"name": "another"})
    assert created.status_code == status, created.text
    assert bench.http.get("/livez").status_code == 200
    bench.repair()
    readiness(bench, 200)
    assert bench.write(20) <= {200, 201}
    assert bench.http.post("/galleries", json={"name": "another"}).status_code == 201
    assert bench.wrong() == []
    bench.served.kill()
    bench.start()
    assert bench.wrong() == []


@pytest.mark.parametrize("kind", ["mounted"], indirect=True)
def test_a_service_that_was_killed_starts_on_a_full_disk(bench):
    bench.write(20)
    bench.served.kill()
    bench.fail()
    bench.start()
    assert bench.wrong() == []
    readiness(bench, 503)
    bench.repair()
    readiness(bench, 200)
    assert bench.write(20) <= {200, 201}
    assert bench.wrong() == []


@pytest.mark.parametrize("kind", ["mounted", "read-only", "io-error"], indirect=True)
def test_a_gallery_that_could_not_be_opened_is_opened_once_the_disk_is_well(bench):
    bench.write(20)
    bench.served.stop()  # nothing is left that SQLite could open without writing
    bench.fail()
    bench.start()
    listing = bench.http.get(f"/galleries/{GALLERY}/crops")
    assert listing.status_code == 503
    assert "is not served" in listing.json()["detail"]
    bench.repair()
    wait_until(lambda: bench.http.get(f"/galleries/{GALLERY}").status_code == 200)
    assert bench.wrong() == []
    assert bench.write(20) <= {200, 201}


def readiness(bench: Bench, status: int) -> httpx.Response:
    """The answer of ``/readyz`` once it has this status; an answer holds for a second."""
    wait_until(lambda: bench.http.get("/readyz").status_code == status)
    return bench.http.get("/readyz")


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_an_upload_that_the_temporary_folder_cannot_hold_is_answered_507(mounted, tmp_path):
    environment = {**os.environ, "TMPDIR": str(mounted)}
    served = Served(tmp_path / "data", tmp_path / "log", environment=environment)
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    large, small = encode(noise), encode(noise[:64, :32])
    try:
        served.start()
        served.wait_until_alive()
        for image, status in ((small, 201), (large, 507), (small, 200), (large, 507)):
            url = f"{served.url}/galleries/default/crops/a"
            answer = httpx.put(url, files={"image": ("a.png", image)}, timeout=60)
            assert answer.status_code == status, answer.text
        assert answer.json()["code"] == "storage_full"
        assert "No space left" in answer.json()["detail"]
    finally:
        served.kill()
