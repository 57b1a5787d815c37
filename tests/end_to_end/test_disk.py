"""Full, read-only and failing disks: what continues, what is refused, and how it recovers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from crash.clients import Writer
from crash.inspection import create_gallery, inspect
from crash.pictures import Pictures
from crash.served import Served
from crash.strike import KINDS
from waiting import PATIENCE, wait_until

from service.testing import encode

GALLERY = "g"
# The answer to a write. ``mounted`` is a real, full file system; the others are faults of the file
# layer.
REFUSALS = {
    "mounted": (507, "storage_full"),
    "no-space": (507, "storage_full"),
    "read-only": (503, "unavailable"),
    "io-error": (503, "unavailable"),
}
MOUNTED_MB = 6


class Bench:
    """A service, one client with its ledger, and a disk that can be broken and repaired."""

    def __init__(
        self, served: Served, fail: Callable[[], object], repair: Callable[[], object]
    ) -> None:
        self.served, self.fail, self.repair = served, fail, repair
        self.pictures, self.rng = Pictures(3), random.Random(3)
        self.writer = Writer("w", GALLERY, self.pictures, 3, frozenset({503, 507}))
        self.http = httpx.Client(base_url=served.url, timeout=PATIENCE)

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
    """The way in which the disk fails."""
    return str(request.param)


@pytest.fixture
def bench(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A service whose data folder lies on a disk that can fail."""
    data, switch = tmp_path / "data", tmp_path / "switch"
    # These tests read to see that nothing is lost; other tests cover a log that refuses reads.
    environment, fail, repair = {"REID_AUDIT_REQUIRED": "false"}, switch.touch, switch.unlink
    if kind == "mounted":
        data, filler = request.getfixturevalue("mounted"), tmp_path / "mounted" / "filler"
        fail, repair = lambda: fill(filler), filler.unlink
    else:
        environment |= {
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
    """A small separate file system."""
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
    """Use up all remaining room."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@pytest.mark.parametrize("kind", REFUSALS, indirect=True)
def test_a_failing_disk_refuses_only_writes(bench, kind):
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
    assert bench.wrong() == [], "reads continue, and refused writes are not stored"
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
def test_a_killed_service_starts_on_a_full_disk(bench):
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
def test_a_gallery_that_could_not_be_opened_opens_when_the_disk_works_again(bench):
    bench.write(20)
    bench.served.stop()  # leaves nothing that SQLite could open without writing
    bench.fail()
    bench.start()
    listing = bench.http.get(f"/galleries/{GALLERY}/crops")
    assert listing.status_code == 503
    assert "is not served" in listing.json()["detail"]
    bench.repair()
    wait_until(lambda: bench.http.get(f"/galleries/{GALLERY}").status_code == 200)
    assert bench.wrong() == []
    assert bench.write(20) <= {200, 201}


@pytest.fixture
def besieged(mounted: Path, tmp_path: Path) -> Iterator[Besieged]:
    """A service on a small disk, with a key and six crops."""
    besieged = Besieged(mounted / "data", tmp_path / "log", mounted / "filler")
    try:
        besieged.start()
        besieged.prepare()
        yield besieged
    finally:
        besieged.served.kill()
        besieged.http.close()


class Besieged:
    """A service with a disk that a hostile client keeps full."""

    def __init__(self, data: Path, log: Path, filler: Path) -> None:
        self.data, self.log, self.filler = data, log, filler
        self.served = Served(data, log)
        self.http = httpx.Client(timeout=PATIENCE)

    def start(self, **environment: str) -> None:
        """Start the service, again if it was killed."""
        self.served = Served(self.data, self.log, environment=environment)
        self.http.base_url = httpx.URL(self.served.url)
        self.served.start()
        self.served.wait_until_alive("/livez")

    def prepare(self) -> None:
        """Create a gallery with six crops, and the first key."""
        assert self.http.post("/galleries", json={"name": "g", "store_crops": True}).is_success
        for number in range(6):
            image = {"image": ("a.png", encode(np.full((64, 32, 3), 40 * number, np.uint8)))}
            assert self.http.put(f"/galleries/g/crops/{number}", files=image).is_success
        self.http.headers.update(self.header("admin"))

    def header(self, scope: str) -> dict[str, str]:
        """The authorisation header of a new key."""
        made = self.http.post("/keys", json={"label": "a", "scope": scope})
        return {"Authorization": f"Bearer {made.json()['key']}"}

    def fill(self) -> None:
        """Use up the present room, like a client that never stops writing."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def logged(self) -> list[tuple[str, str, int]]:
        """The entries of the audit log on the disk."""
        files = sorted((self.data / "audit").glob("*.ndjson"))
        lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
        entries = map(json.loads, lines)
        return [(entry["method"], entry["route"], entry["status"]) for entry in entries]


def id_of(header: dict[str, str]) -> str:
    return header["Authorization"].split("_")[1]


def test_revoking_and_erasing_work_on_a_full_disk(besieged):
    http, crops = besieged.http, "/galleries/g/crops"
    first, second = besieged.header("search"), besieged.header("search")
    image = encode(np.full((64, 32, 3), 7, np.uint8))
    assert http.get(f"{crops}/0", headers=first).status_code == 200
    besieged.fill()
    for answer in (
        http.post("/search", files={"images": ("a.png", image)}, data={"gallery": "g"}),
        http.get(crops, headers=first),
        http.get("/galleries/g/pictures/0", headers=first),
        http.put(f"{crops}/new", files={"image": ("a.png", image)}),
        http.post("/keys", json={"label": "a", "scope": "search"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert http.delete(f"/keys/{id_of(first)}").status_code == 200
    assert http.get("/galleries", headers=first).status_code == 401
    besieged.fill()
    assert http.delete(f"{crops}/0").status_code == 200
    besieged.fill()
    erased = http.post(f"{crops}/delete", json={"crop_ids": ["1", "2", "3"]})
    assert (erased.status_code, erased.json()["deleted"]) == (200, 3)
    besieged.fill()
    revoke = [sys.executable, "-m", "service", "keys", "revoke", id_of(second)]
    subprocess.run([*revoke, "--data", str(besieged.data)], check=True)
    assert http.get("/galleries", headers=second).status_code == 401
    besieged.fill()
    assert http.delete("/galleries/g/crops/4").status_code == 200
    done = [entry for entry in besieged.logged() if entry[2] == 200]
    assert done[-5:] == [
        ("DELETE", "/keys/{key_id}", 200),
        ("DELETE", "/galleries/{gallery}/crops/{crop_id}", 200),
        ("POST", "/galleries/{gallery}/crops/delete", 200),
        ("CLI", "keys revoke", 200),
        ("DELETE", "/galleries/{gallery}/crops/{crop_id}", 200),
    ]
    besieged.served.kill()
    besieged.filler.unlink()
    besieged.start()
    left = http.get(crops).json()["crops"]
    assert [crop["crop_id"] for crop in left] == ["5"]
    assert http.get("/galleries", headers=first).status_code == 401


def test_reads_and_failures_do_not_use_the_reserve(besieged):
    """Reads continue without a required log, and deletions of absent crops need no room."""
    kept = [besieged.data / "reserve", besieged.data / "audit" / "reserve"]
    sizes = [path.stat().st_size for path in kept]
    assert min(sizes) > 0
    besieged.served.kill()
    besieged.start(REID_AUDIT_REQUIRED="false")
    besieged.fill()
    for _ in range(40):
        assert besieged.http.get("/galleries/g/crops/0").status_code == 200
        assert besieged.http.delete("/galleries/g/crops/absent").status_code == 404
        nothing = besieged.http.post("/galleries/g/crops/delete", json={"crop_ids": ["absent"]})
        assert nothing.status_code == 200
    assert [path.stat().st_size for path in kept] == sizes


def readiness(bench: Bench, status: int) -> httpx.Response:
    """The answer of ``/readyz`` when it has this status; an answer is reused for a second."""
    return wait_until(
        lambda: bench.http.get("/readyz"), lambda answer: answer.status_code == status
    )


def test_an_upload_too_large_for_the_temporary_folder_is_answered_507(mounted, tmp_path):
    environment = {**os.environ, "TMPDIR": str(mounted)}
    served = Served(tmp_path / "data", tmp_path / "log", environment=environment)
    noise = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    large, small = encode(noise), encode(noise[:64, :32])
    try:
        served.start()
        served.wait_until_alive()
        for image, status in ((small, 201), (large, 507), (small, 200), (large, 507)):
            url = f"{served.url}/galleries/default/crops/a"
            answer = httpx.put(url, files={"image": ("a.png", image)}, timeout=PATIENCE)
            assert answer.status_code == status, answer.text
        assert answer.json()["code"] == "storage_full"
        assert "No space left" in answer.json()["detail"]
    finally:
        served.kill()
