"""Check whether damaged uploads crash, hang or inflate the service.

The script starts a service with real decoding and an embedder without weights. It sends pictures
with changed bytes, headers and chunks, inside multipart bodies with changed boundaries, headers and
lengths, over real sockets, several at a time, and each of them twice. A case depends only on
``--seed`` and its number: ``--only N`` prints one again.

::

    python benchmarks/fuzz_run.py --cases 10000

The exit status is 1 if a case got a 5xx (except 503 and 507 with a reason), got no answer, or took
longer than ``--bound`` seconds; if the service did not answer a valid search afterwards; or if its
memory grew while the same cases came again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import numpy as np
import uvicorn
from fuzzing.requests import request
from serving.process import resident_mib

from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.machine.malloc import share_arenas
from service.settings import Settings
from service.testing import FakeEmbedder, solid

ROUNDS = 2  # in the second, caches and thread arenas have the size that these cases need
GROWTH_MIB = 48.0  # largest allowed growth in the second round
EXCUSED = frozenset({503, 507})


@dataclass
class Tally:
    """The results of the cases."""

    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)  # seconds, case
    memory: list[tuple[int, float]] = field(default_factory=list)  # case, MiB

    def count(self, case: int, answer: bytes, seconds: float) -> None:
        """Judge the answer to one case."""
        self.slowest = max(self.slowest, (seconds, case))
        if answer.startswith(b"HTTP/1.1 100 "):  # "continue": the real answer follows
            answer = answer.partition(b"\r\n\r\n")[2]
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        self.statuses[status] += 1
        if status == 0:
            self.bad.append(f"case {case}: not answered")
        elif status >= 500 and (status not in EXCUSED or b'"detail"' not in answer):
            self.bad.append(f"case {case}: {answer[:2000].decode(errors='replace')}")
        elif status >= 400 and b"application/problem+json" not in answer:
            self.bad.append(f"case {case}: status {status} without a problem body")


def main() -> None:
    arguments = parse()
    if arguments.serve is not None:
        serve(arguments.serve)
        return
    if arguments.only is not None:
        sys.stdout.buffer.write(request(case_of(arguments.seed, arguments.only)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        service, url = start(Path(temporary))
        try:
            report = attack(url, service.pid, arguments)
        finally:
            service.terminate()
            service.wait()
    print(json.dumps(report))
    sys.exit(1 if report["bad"] or report["grew"] else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--cases", type=int, default=1000, help="number of damaged requests, each sent twice"
    )
    parser.add_argument("--seed", type=int, default=0, help="another number gives other cases")
    parser.add_argument("--concurrency", type=int, default=6, help="requests in progress at once")
    parser.add_argument("--bound", type=float, default=20.0, help="longest time of a case, seconds")
    parser.add_argument("--only", type=int, help="print this case's request and exit")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def serve(data: Path) -> None:
    share_arenas()
    settings = Settings(data=data, device="cpu", receive_seconds=1.0, max_queue_seconds=30.0)
    app = create_app(settings, embedder=FakeEmbedder())
    with bind("127.0.0.1", 0) as listener:
        print(url_of(listener), flush=True)
        uvicorn.Server(server_config(app, settings)).run([listener])


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, __file__, "--serve", str(folder / "data")]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    url = service.stdout.readline().strip()
    for _ in range(600):
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    return service, url


def attack(url: str, pid: int, arguments: argparse.Namespace) -> dict[str, object]:
    started = time.monotonic()
    tally = asyncio.run(send_all(url, pid, arguments))
    seconds = time.monotonic() - started
    answer = httpx.post(f"{url}/search", files={"images": ("a.jpg", solid((200, 30, 30)))})
    if answer.status_code != 200:
        tally.bad.append(f"afterwards a valid search got {answer.status_code}")
    settled = [mib for sent, mib in tally.memory if sent >= arguments.cases]
    growth = float(np.mean(settled[-5:]) - np.mean(settled[:5]))
    return {
        "cases": arguments.cases,
        "seed": arguments.seed,
        "statuses": {str(status): n for status, n in sorted(tally.statuses.items())},
        "bad": tally.bad[:20],
        "slowest_seconds": round(tally.slowest[0], 2),
        "slowest_case": tally.slowest[1],
        "cases_per_second": round(ROUNDS * arguments.cases / seconds, 1),
        "memory_mib": {
            "start": round(tally.memory[0][1], 1),
            "settled": round(settled[0], 1),
            "end": round(settled[-1], 1),
            "largest": round(max(mib for _, mib in tally.memory), 1),
        },
        "memory_every_tenth": [round(mib) for _, mib in tally.memory[::10]],
        "growth_mib": round(growth, 1),
        "grew": growth > GROWTH_MIB,
    }


async def send_all(url: str, pid: int, arguments: argparse.Namespace) -> Tally:
    tally = Tally()
    sent = iter(range(ROUNDS * arguments.cases))
    every = max(1, ROUNDS * arguments.cases // 100)

    async def worker() -> None:
        for number in sent:
            case = number % arguments.cases
            if number % every == 0:
                tally.memory.append((number, resident_mib(pid)))
            began = time.monotonic()
            content = request(case_of(arguments.seed, case))
            try:
                answer = await asyncio.wait_for(exchange(url, content), arguments.bound)
            except TimeoutError:
                tally.bad.append(f"case {case}: no answer within {arguments.bound:g} s")
                continue
            tally.count(case, answer, time.monotonic() - began)

    await asyncio.gather(*(worker() for _ in range(arguments.concurrency)))
    return tally


async def exchange(url: str, content: bytes) -> bytes:
    """Send bytes and read until the service closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = bytearray()
    try:
        writer.write(content)
        while piece := await reader.read(1 << 20):
            answer += piece
    except ConnectionError:  # rejected while we were still writing; the answer may have arrived
        pass
    finally:
        writer.close()
    return bytes(answer)


def case_of(seed: int, case: int) -> Random:
    """Return the random numbers that define a case."""
    return Random(f"{seed}/{case}")  # noqa: S311 - no secret, a repeatable case


if __name__ == "__main__":
    main()
