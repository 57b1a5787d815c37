"""Measure how long a light search takes while one client keeps sending twelve heavy ones.

The script starts a service with a gallery of ``--crops`` drawn embeddings on six cameras. One
client keeps sending the most expensive searches, twelve at a time; some exceed what is allowed.
Another key sends one light search after the other, and now and then a heavy one; a third client
asks ``/livez``. Both latencies come from one run, so their ratio is comparable between machines.

::

    python benchmarks/heavy_searches.py --seconds 60

The exit status is 1 if a light search took a second longer than without heavy ones, or was refused.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from service.access.keys import FILE, KeyStore
from service.access.new_key import NewKey
from service.gallery.base import Crop
from service.http.app import create_app
from service.http.server import bind, server_config, url_of
from service.machine.malloc import share_arenas
from service.settings import Settings
from service.testing import TINY_MANIFEST, FakeEmbedder

CLIENTS = 12
QUIET = 30  # number of light searches without heavy ones
CAMERAS, PEOPLE, DIMENSION = 6, 400, 1280
GALLERY = "crowd"
LONGEST = 600.0  # longest wait of a client for its answer, seconds
MOST_LONGER = 1.0  # seconds

EVERYTHING = {"gallery": GALLERY, "min_score": -1}
LIGHT = {**EVERYTHING, "top_k": 10, "crop_ids": ["00007"]}
RERANK = {"rerank": True, "rerank_top": 1000}
MEAN = {"group_by": "identity", "identity_score": "mean"}
HEAVY = (
    {**EVERYTHING, "top_k": 1000, **RERANK, "queries": 64},
    {**EVERYTHING, "top_k": 1000, **RERANK, **MEAN, "queries": 64},
    {**EVERYTHING, "top_k": 1000, **RERANK, "queries": 16},
    {**EVERYTHING, "top_k": 1000, **MEAN, "queries": 64},
    {**EVERYTHING, "top_k": 1000, "queries": 64},
)
ONE_HEAVY = {**EVERYTHING, "top_k": 10, **RERANK, "queries": 1}


def main() -> None:
    """Serve, or measure a service in a separate process."""
    arguments = parse()
    if arguments.serve is not None:
        serve(arguments.serve, arguments.crops)
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), arguments.crops) as url:
        report = measure(url, Path(folder), arguments.seconds)
    print(json.dumps(report))
    longer = report["light_beside_ms"]["max"] - report["light_alone_ms"]["max"]
    fair = set(report["light_statuses"]) == {200} and longer < MOST_LONGER * 1000
    sys.exit(0 if fair else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="duration of the heavy searches"
    )
    parser.add_argument("--crops", type=int, default=8000, help="size of the gallery")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- the service


def serve(folder: Path, crops: int) -> None:
    """Fill a gallery and serve it; print the address to stdout."""
    share_arenas()
    manifest = TINY_MANIFEST.model_copy(update={"dimension": DIMENSION})
    settings = Settings(data=folder / "data", device="cpu", requests_per_minute=1_000_000)
    app = create_app(settings, embedder=FakeEmbedder(manifest=manifest))
    fill(app, crops)
    with bind("127.0.0.1", 0) as listener:
        print(url_of(listener), flush=True)
        uvicorn.Server(server_config(app, settings)).run([listener])


def fill(app: Any, crops: int) -> None:
    store, manifest = app.state.parts.store, app.state.parts.manifest
    gallery = store.create(GALLERY, manifest.sha256, manifest.dimension)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((PEOPLE, DIMENSION)).astype(np.float32)
    noise = rng.standard_normal((crops, DIMENSION)).astype(np.float32)
    rows = people[np.arange(crops) % PEOPLE] + 0.8 * noise
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    described = [Crop(f"{n:05d}", f"p{n % PEOPLE}", f"c{n % CAMERAS}") for n in range(crops)]
    gallery.upsert(described, rows)


@contextmanager
def serving(folder: Path, crops: int) -> Iterator[str]:
    """Run a service in a separate process; yield its address."""
    command = [sys.executable, __file__, "--serve", str(folder), "--crops", str(crops)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            wait_until_ready(url)
            yield url
        finally:
            process.kill()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit("the service did not start")


# ---- the clients


def measure(url: str, folder: Path, seconds: float) -> dict[str, Any]:
    """Measure light searches alone, then beside heavy ones."""
    attacker, visitor = (client(url, folder) for _ in range(2))
    with attacker, visitor, httpx.Client(base_url=url, timeout=LONGEST) as prober:
        ask(visitor, LIGHT)
        alone = [ask(visitor, LIGHT) for _ in range(QUIET)]
        heavy_alone = [ask(visitor, ONE_HEAVY) for _ in range(5)]
        over, heavy = threading.Event(), Counter[int]()
        attack = [
            threading.Thread(target=repeat, args=(attacker, number, over, heavy), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in attack:
            thread.start()
        time.sleep(1.0)
        stalls: list[float] = []
        probe = threading.Thread(target=watch, args=(prober, over, stalls))
        probe.start()
        beside, heavy_beside = visit(visitor, time.monotonic() + seconds)
        over.set()
        probe.join()
    return {
        "light_alone_ms": figures(alone),
        "light_beside_ms": figures(beside),
        "ratio_of_medians": round(median(beside) / median(alone), 2),
        "light_statuses": dict(Counter(status for status, _ in beside)),
        "one_heavy_alone_ms": figures(heavy_alone),
        "one_heavy_beside_ms": figures(heavy_beside),
        "livez_ms": figures([(200, stall) for stall in stalls]),
        "answers_to_the_attacker": dict(heavy),
    }


def client(url: str, folder: Path) -> httpx.Client:
    """Return a client with its own key."""
    with closing(KeyStore(folder / "data" / FILE)) as store:
        _, text = store.create(NewKey(label="a", scope="search"))
    limits = httpx.Limits(max_connections=CLIENTS)
    headers = {"Authorization": f"Bearer {text}"}
    return httpx.Client(base_url=url, headers=headers, timeout=LONGEST, limits=limits)


def ask(http: httpx.Client, wanted: Mapping[str, Any]) -> tuple[int, float]:
    """Send one search; return its status and seconds."""
    fields = dict(wanted)
    queries = fields.pop("queries", None)
    if queries is not None:
        fields["crop_ids"] = [f"{n:05d}" for n in range(queries)]
    start = time.perf_counter()
    status = http.post("/search", data=fields).status_code
    return status, time.perf_counter() - start


def repeat(http: httpx.Client, number: int, over: threading.Event, seen: Counter[int]) -> None:
    """Send heavy searches without a pause until ``over`` is set."""
    while not over.is_set():
        try:
            status, _ = ask(http, HEAVY[number % len(HEAVY)])
        except (httpx.TransportError, RuntimeError):
            return
        seen[status] += 1
        number += 1


def visit(
    http: httpx.Client, until: float
) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """Send light searches one after the other, and a heavy single query after every twentieth."""
    light, heavy = [ask(http, LIGHT)], [ask(http, ONE_HEAVY)]
    while time.monotonic() < until:
        light.append(ask(http, LIGHT))
        if len(light) % 20 == 0:
            heavy.append(ask(http, ONE_HEAVY))
    return light, heavy


def watch(http: httpx.Client, over: threading.Event, stalls: list[float]) -> None:
    """Measure the event loop's response time twenty times per second."""
    while not over.wait(0.05):
        start = time.perf_counter()
        http.get("/livez")
        stalls.append(time.perf_counter() - start)


# ---- the report


def median(taken: list[tuple[int, float]]) -> float:
    return float(np.median([seconds for _, seconds in taken]))


def figures(taken: list[tuple[int, float]]) -> dict[str, float]:
    """Summarise latencies in milliseconds."""
    seconds = [one for _, one in taken]
    return {
        "count": len(seconds),
        "median": round(1000 * float(np.median(seconds)), 1),
        "p99": round(1000 * float(np.quantile(seconds, 0.99)), 1),
        "max": round(1000 * max(seconds), 1),
    }


if __name__ == "__main__":
    main()
