"""Measure how fast imports are, and what searches notice of them.

The script starts a service and indexes drawn people as ``python -m service index`` does: once
alone, once while a client searches five times per second. Then it imports ready-made embeddings,
and sends an archive that is larger than the service's memory may become.

::

    python benchmarks/importing.py --identities 200

The last line is one JSON object: crops per second alone and during searches, searches and their
latency, embeddings per second, and the MiB by which the service grew while the archive arrived. The
exit status is 1 if a search was refused, a crop is missing, or memory grew by more than a quarter
of the archive.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serving.process import resident_mib, serving

from service.cli.indexer import IndexReport, index
from service.client import Client
from service.ingest.crop_names import list_market1501
from service.settings import Settings

PAUSE = 0.2  # seconds between two searches
CHUNK = bytes(1 << 20)


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        people = draw(folder / "people", arguments.identities)
        with serving(arguments.model, folder / "data") as service:
            report = measure(service.url, service.pid, people, arguments)
    print(json.dumps(report))
    sys.exit(1 if report["broken"] else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--identities", type=int, default=60, help="number of people to draw, 12 crops each"
    )
    parser.add_argument(
        "--embeddings", type=int, default=2000, help="number of ready-made embeddings to import"
    )
    parser.add_argument("--archive", type=int, default=400, help="size of the large archive, MiB")
    parser.add_argument("--model", type=Path, default=Settings().model, help="model folder")
    return parser.parse_args()


def draw(folder: Path, identities: int) -> Path:
    command = ["-m", "training", "synthesize", str(folder), "--identities", str(identities)]
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return folder


def measure(url: str, pid: int, people: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    alone, crops = import_people(url, "alone", people)
    with searching(url, people) as seen:
        searched, again = import_people(url, "searched", people)
    latencies = sorted(seconds for status, seconds in seen if status == httpx.codes.OK)
    refused = len(seen) - len(latencies)
    rows = import_embeddings(url, arguments.embeddings)
    grown = send_large(url, pid, arguments.archive)
    return {
        "crops": crops,
        "crops_per_second": round(crops / alone, 1),
        "crops_per_second_while_searched": round(again / searched, 1),
        "searches": len(seen),
        "searches_refused": refused,
        "search_p50_ms": round(float(np.percentile(latencies, 50)) * 1e3),
        "search_p95_ms": round(float(np.percentile(latencies, 95)) * 1e3),
        "embeddings_per_second": round(rows),
        "archive_mib": arguments.archive,
        "grown_mib": round(grown),
        "broken": bool(refused or crops != again or grown > arguments.archive / 4),
    }


def import_people(url: str, gallery: str, people: Path) -> tuple[float, int]:
    report = IndexReport()
    start = time.perf_counter()
    with Client(url) as client:
        index(client, gallery, list_market1501(people), report)
    return time.perf_counter() - start, report.created


@contextmanager
def searching(url: str, people: Path) -> Iterator[list[tuple[int, float]]]:
    query = next((people / "query").glob("*.jpg")).read_bytes()
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def search() -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not over.wait(PAUSE):
                start = time.perf_counter()
                status = http.post("/search", files={"images": query}).status_code
                seen.append((status, time.perf_counter() - start))

    searcher = threading.Thread(target=search)
    searcher.start()
    try:
        yield seen
    finally:
        over.set()
        searcher.join()


def import_embeddings(url: str, count: int) -> float:
    with Client(url) as client:
        client.galleries.provide("ready")
        dimension = client.ops.info().model.dimension
    rows = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    body = "".join(
        json.dumps({"crop_id": str(number), "embedding": row.tolist()}) + "\n"
        for number, row in enumerate(rows)
    ).encode()
    start = time.perf_counter()
    send(url, "ready", "application/x-ndjson", iter([body]))
    return count / (time.perf_counter() - start)


def send_large(url: str, pid: int, mebibytes: int) -> float:
    """Return the largest growth of a service, MiB, while it receives and reads an archive."""
    member = tarfile.TarInfo("film.raw")
    member.size = mebibytes << 20

    def chunks() -> Iterator[bytes]:
        yield member.tobuf()
        for _ in range(mebibytes):
            yield CHUNK
        yield bytes(1024)

    before = resident_mib(pid)
    most, over = [before], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            most.append(resident_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        send(url, "ready", "application/x-tar", chunks(), errors=1)  # it is no picture
    finally:
        over.set()
        watcher.join()
    return max(most) - before


def send(
    url: str, gallery: str, content_type: str, chunks: Iterator[bytes], errors: int = 0
) -> None:
    """Import, and expect so many items to fail."""
    with Client(url) as client:
        job = client.imports.upload(gallery, chunks, content_type=content_type)
        job = client.jobs.wait(job.job_id)
    if job.errors != errors:
        raise RuntimeError(f"an import ended as {job}")


if __name__ == "__main__":
    main()
