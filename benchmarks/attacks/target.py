"""The service under attack, in a separate process, started as an operator does, with keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from attacks.meanwhile import meanwhile
from serving.process import resident_mib

MIB = 1 << 20
DIMENSION = 1280
CROPS = 8000  # in the gallery that is searched
START_SECONDS = 120.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """A running service and the keys that it knows.

    Attributes:
        url: where it answers.
        pid: its process.
        folder: contains its data folder, its import roots and its log.
        keys: key texts by purpose: admin, search, write (bound to ``lobby``), other.
    """

    url: str
    pid: int
    folder: Path
    keys: dict[str, str]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def client(self, key: str | None) -> httpx.Client:
        """Return a client that sends one of the keys, or none."""
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=300)

    def resident(self) -> float:
        """Return the current memory of the service and its children, MiB."""
        return sum(_resident_mib(pid) for pid in (self.pid, *children(self.pid)))


class Memory:
    """Samples the memory of a service while something happens to it.

    Attributes:
        most: MiB, of the service and its children together.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.most = 0.0

    def look(self, over: threading.Event) -> None:
        """Sample until ``over`` is set, and once more then."""
        done = False
        while not done:
            done = over.wait(LOOK_SECONDS)
            self.most = max(self.most, self._target.resident())


@contextmanager
def watched(target: Target) -> Iterator[Memory]:
    """Sample the memory of a service while the block runs."""
    memory = Memory(target)
    with meanwhile(memory.look):
        yield memory


def children(pid: int) -> list[int]:
    """Return all descendants of a process."""
    found: list[int] = []
    for entry in Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            below = [int(text) for text in entry.read_text().split()]
        except OSError:
            continue
        for child in below:
            found += [child, *children(child)]
    return found


def _resident_mib(pid: int) -> float:
    try:
        return resident_mib(pid)
    except OSError:  # it has ended
        return 0.0


@contextmanager
def under_attack(project: Path, address_space: int) -> Iterator[Target]:
    """Run the service of a checkout with keys, galleries ``lobby`` and ``office``, and roots.

    Args:
        project: the checkout.
        address_space: MiB that the service's process may map, so that only it can crash.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        keys = {
            "admin": _make_key(project, folder, "admin"),
            "search": _make_key(project, folder, "search"),
            "write": _make_key(project, folder, "write", "lobby"),
            "other": _make_key(project, folder, "write"),
        }
        _make_roots(folder)
        process, url = _start(project, folder, address_space)
        try:
            target = Target(url, process.pid, folder, keys)
            _fill(target)
            yield target
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _make_key(project: Path, folder: Path, scope: str, gallery: str | None = None) -> str:
    command = ["-m", "service", "keys", "create", "--label", scope, "--scope", scope]
    command += ["--data", str(folder / "data"), "--requests-per-minute", "1000000"]
    command += ["--gallery", gallery] if gallery else []
    made = subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, check=True
    )
    return made.stdout.split()[-1]


def _make_roots(folder: Path) -> None:
    for name in ("lobby", "office"):
        (folder / "roots" / name).mkdir(parents=True)
    (folder / "roots" / "office" / "Jane Doe.jpg").write_bytes(b"not hers to read")


def _start(project: Path, folder: Path, address_space: int) -> tuple[subprocess.Popen[bytes], str]:
    log = folder / "log"
    command = [sys.executable, "-m", "service", "serve", "--data", str(folder / "data")]
    command += ["--port", "0", "--device", "cpu"]
    limited = ["prlimit", f"--as={address_space * MIB}", *command]
    settings = {"REID_IMPORT_ROOTS": json.dumps([str(folder / "roots")])}
    with log.open("wb") as file:
        process = subprocess.Popen(limited, cwd=project, stderr=file, env=os.environ | settings)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        _, found, rest = log.read_text().partition("listening on ")
        if found and rest.split():
            url = rest.split()[0]
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    return process, url
            except httpx.TransportError:
                pass
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(log.read_text()[-4000:])


def _fill(target: Target) -> None:
    """Fill galleries with ready-made embeddings: 200 people in front of ten cameras."""
    random = np.random.default_rng(7)
    with target.client("admin") as admin:
        for gallery, count in (("office", CROPS), ("lobby", 400)):
            admin.post("/galleries", json={"name": gallery}).raise_for_status()
            people = random.standard_normal((count // 40, DIMENSION))
            lines = []
            for number in range(count):
                row = people[number % len(people)] + 0.8 * random.standard_normal(DIMENSION)
                entry = {
                    "crop_id": f"{number:05d}",
                    "identity": f"person {number % len(people)}",
                    "camera": f"c{number % 10}",
                    "timestamp": 1_790_000_000 + number,
                    "embedding": (row / np.linalg.norm(row)).astype(np.float32).round(5).tolist(),
                }
                lines.append(json.dumps(entry))
            answer = admin.post(
                f"/galleries/{gallery}/imports",
                content="\n".join(lines),
                headers={"Content-Type": "application/x-ndjson"},
            )
            _wait_for_job(admin, answer.raise_for_status().json()["job_id"])


def _wait_for_job(client: httpx.Client, job_id: str) -> dict[str, object]:
    while True:
        job: dict[str, object] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if job["state"] not in {"queued", "running"}:
            if job["state"] != "done":
                raise RuntimeError(json.dumps(job))
            return job
        time.sleep(0.1)
