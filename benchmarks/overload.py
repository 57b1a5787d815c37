"""Measure what happens when four times as many requests arrive as the service can answer.

The script starts a service and measures what it sustains (clients wait for each answer before they
send again). Then it sends that rate times ``--factor`` for ``--seconds``, whether answers come or
not, and measures how long it takes until a search is as fast as before. Latency counts from the
moment a request was due, so a generator that falls behind hides nothing.

::

    python benchmarks/overload.py --seconds 60

The exit status is 1 if a request was neither answered nor refused with 503 or 429 and
``Retry-After``; if the 99th percentile of the answered ones exceeds twice REID_MAX_QUEUE_SECONDS;
or if a probe failed, memory grew, or the service was not back to normal within 5 seconds. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from fuzzing.pictures import draw, save
from serving.process import resident_mib

from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.machine.malloc import share_arenas
from service.settings import Settings
from service.testing import FakeEmbedder

CLIENTS = 48  # of the closed loop: enough to fill the service's batches
RECOVERY_SECONDS = 5.0
GROWTH_MIB = 64.0
QUIET = 20  # consecutive searches that define normal
CALM = 5  # consecutive searches as fast as then: back to normal
TIMEOUT = 60.0


@dataclass(frozen=True)
class Service:
    """A service in a separate process."""

    host: str
    port: int
    pid: int


@dataclass
class Tally:
    """The outcomes of the requests of one phase."""

    latencies: list[float] = field(default_factory=list)  # of answered requests, seconds
    refused: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def count(self, answer: bytes, seconds: float) -> None:
        """Count one answer."""
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        if status == 200:
            self.latencies.append(seconds)
        elif status in {429, 503} and b"\r\nretry-after: " in answer.lower():
            self.refused[status] += 1
        else:
            self.failed.append(answer[:300].decode(errors="replace") or "no answer")


def main() -> None:
    arguments = parse()
    if arguments.serve is not None:
        serve_fake(arguments.serve, arguments.fake_delay)
        return
    with tempfile.TemporaryDirectory() as temporary:
        process, service = start(Path(temporary), arguments)
        try:
            report = asyncio.run(measure(service, arguments))
        finally:
            process.terminate()
            process.wait()
    print(json.dumps(report))
    sys.exit(1 if report["broken"] else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of the overload, seconds"
    )
    parser.add_argument(
        "--factor", type=float, default=4.0, help="multiple of the sustainable rate to send"
    )
    parser.add_argument(
        "--calibration", type=float, default=8.0, help="duration of the closed loop, seconds"
    )
    parser.add_argument("--model", type=Path, default=Settings().model, help="model folder")
    parser.add_argument("--fake-delay", type=float, help="run time of a simulated network, seconds")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def serve_fake(data: Path, delay: float) -> None:
    """Serve with a network that waits instead of computing, one image at a time."""
    share_arenas()
    logging.basicConfig(level=logging.WARNING)
    settings = Settings(data=data, device="cpu", max_batch=1)
    app = create_app(settings, embedder=FakeEmbedder(delay=delay))
    with bind("127.0.0.1", 0) as listener:
        print(url_of(listener), file=sys.stderr, flush=True)
        uvicorn.Server(server_config(app, settings)).run([listener])


def start(folder: Path, arguments: argparse.Namespace) -> tuple[subprocess.Popen[str], Service]:
    data = str(folder / "data")
    if arguments.fake_delay is None:
        command = ["-m", "service", "serve", "--model", str(arguments.model), "--data", data]
        command += ["--port", "0", "--device", "cpu"]
    else:
        command = [__file__, "--serve", data, "--fake-delay", str(arguments.fake_delay)]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, *command], stderr=file, text=True)
    while "http://" not in log.read_text():
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        time.sleep(0.05)
    url = "http://" + log.read_text().partition("http://")[2].split()[0]
    while True:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.05)
    host, port = url.removeprefix("http://").split(":")
    return process, Service(host, int(port), process.pid)


async def measure(service: Service, arguments: argparse.Namespace) -> dict[str, object]:
    quiet = await one_by_one(service, QUIET)
    rate = await closed_loop(service, arguments.calibration)
    await one_by_one(service, 3)
    before = resident_mib(service.pid)
    memory, probes = [before], []
    watch = asyncio.create_task(look(service, memory, probes))
    tally = await open_loop(service, arguments.factor * rate, arguments.seconds)
    recovery = await back_to_normal(service, float(np.quantile(quiet.latencies, 0.95)))
    watch.cancel()
    p50, p99 = np.quantile(tally.latencies, [0.5, 0.99]) if tally.latencies else (0.0, np.inf)
    bound = 2 * Settings().max_queue_seconds
    broken = {
        "failed": bool(tally.failed),
        "slow": bool(p99 > bound),
        "probes": any(seconds is None for seconds in probes),
        "memory": max(memory) - before > GROWTH_MIB,
        "recovery": recovery > RECOVERY_SECONDS,
    }
    return {
        "cpus": os.cpu_count(),
        "seconds": arguments.seconds,
        "sustainable_per_second": round(rate, 1),
        "sent_per_second": round(arguments.factor * rate, 1),
        "answered": len(tally.latencies),
        "answered_per_second": round(len(tally.latencies) / arguments.seconds, 1),
        "refused": {str(status): count for status, count in sorted(tally.refused.items())},
        "failed": len(tally.failed),
        "failures": tally.failed[:3],
        "p50_seconds": round(float(p50), 3),
        "p99_seconds": round(float(p99), 3),
        "bound_seconds": bound,
        "quiet_p50_seconds": round(float(np.median(quiet.latencies)), 3),
        "slowest_probe_seconds": round(max((s for s in probes if s is not None), default=0.0), 3),
        "memory_mib": {
            "before": round(before, 1),
            "largest": round(max(memory), 1),
            "after": round(memory[-1], 1),
        },
        "recovery_seconds": round(recovery, 2),
        "broken": [rule for rule, violated in broken.items() if violated],
    }


async def closed_loop(service: Service, seconds: float) -> float:
    """Return the requests per second of clients that wait for their answers."""
    tally = Tally()
    start = time.monotonic()

    async def client() -> None:
        connection = Connection(service)
        while time.monotonic() < start + seconds:
            began = time.monotonic()
            tally.count(await connection.ask(SEARCH), time.monotonic() - began)
        connection.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(tally.latencies) / (time.monotonic() - start)


async def open_loop(service: Service, rate: float, seconds: float) -> Tally:
    """Send requests at a fixed rate, whether answers come or not."""
    tally = Tally()
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def ask(due: float) -> None:
        connection = idle.pop() if idle else Connection(service)
        answer = await connection.ask(SEARCH)
        tally.count(answer, time.monotonic() - due)
        if answer:
            idle.append(connection)

    start = time.monotonic()
    for number in range(int(rate * seconds)):
        due = start + number / rate
        if (ahead := due - time.monotonic()) > 0.001:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(ask(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return tally


async def one_by_one(service: Service, count: int) -> Tally:
    tally = Tally()
    connection = Connection(service)
    for _ in range(count):
        began = time.monotonic()
        tally.count(await connection.ask(SEARCH), time.monotonic() - began)
    connection.close()
    return tally


async def back_to_normal(service: Service, normal: float) -> float:
    """Return the seconds until searches are answered as fast as before."""
    start = time.monotonic()
    calm, since = 0, start
    connection = Connection(service)
    while calm < CALM and time.monotonic() < start + 6 * RECOVERY_SECONDS:
        began = time.monotonic()
        answer = await connection.ask(SEARCH)
        if answer.startswith(b"HTTP/1.1 200") and time.monotonic() - began < 2 * normal + 0.05:
            since = since if calm else began
            calm += 1
        else:
            calm = 0
            await asyncio.sleep(0.05)
    connection.close()
    return since - start if calm == CALM else time.monotonic() - start


async def look(service: Service, memory: list[float], probes: list[float | None]) -> None:
    """Sample memory and ``/livez`` twice per second."""
    while True:
        memory.append(resident_mib(service.pid))
        began = time.monotonic()
        connection = Connection(service)
        answer = await connection.ask(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        connection.close()
        alive = answer.startswith(b"HTTP/1.1 200")
        probes.append(time.monotonic() - began if alive else None)
        await asyncio.sleep(0.5)


class Connection:
    """A keep-alive connection that opens with the first request."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> bytes:
        """Return the whole answer; empty if the connection broke or TIMEOUT passed."""
        try:
            async with asyncio.timeout(TIMEOUT):
                if self._streams is None:
                    where = self._service.host, self._service.port
                    self._streams = await asyncio.open_connection(*where)
                reader, writer = self._streams
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                return head + await reader.readexactly(int(length))
        except (OSError, EOFError, TimeoutError):
            self.close()
            return b""

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


def search() -> bytes:
    """Build the search once, so that sending it costs the generator nothing."""
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    body = part + save(draw(), "JPEG") + b"\r\n--x--\r\n"
    head = (
        f"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    return head.encode() + body


SEARCH = search()

if __name__ == "__main__":
    main()
