"""Measure what a gallery of some size needs: disk, start, memory, and time per search.

For each size the script writes a gallery of made-up embeddings, as an import of ready-made ones
leaves it, starts the service on it in a separate process, and searches for stored crops over HTTP;
a picture would take the time of ``embed_ms`` more. With ``--embeddings disk`` the embeddings live
in mapped files; a limit on the memory of the script's control group then shows how fast a machine
with less memory is. With ``--milvus`` the gallery lives in a Milvus, whose exact index searches it;
``--milvus lite`` runs one beside the service, whose memory counts then. A share of 2 % of the crops
reaches ``min_score``, as 1 to 4 % do with the shipped model's threshold. Stored pictures would only
add their bytes to the disk.

::

    python benchmarks/capacity.py --crops 100000 1000000 --folder FOLDER_WITH_12_GB
    python benchmarks/capacity.py --crops 100000 --milvus http://host:19530

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from galleries.made_up import People
from gallery_start import crop
from numpy.typing import NDArray
from serving.process import resident_mib, serving

from service.cli.tables import table
from service.gallery.base import Crop
from service.gallery.disk.store import DiskGalleryStore
from service.model.manifest import Manifest, read_manifest
from service.settings import Settings
from service.testing import solid

GALLERY = "capacity"
CAMERAS = 16  # as those of `gallery_start.crop`
CROPS_OF_A_PERSON = 20
REACHING = 0.02
"""Share of the crops that reach ``min_score``."""
BATCH = 10_000
IDLE = 0.1  # processor seconds per second of a service that computes nothing
QUERIES = 20
"""Different crops that are searched for."""
PICTURE = solid((200, 30, 30), kind="PNG")


@dataclass(frozen=True)
class Asked:
    """What searches ask for.

    Attributes:
        crop_ids: the crops, one after the other.
        least: ``min_score``, a cosine that a share of ``REACHING`` of all pairs reaches.
    """

    crop_ids: list[str]
    least: float
    turn: Iterator[int] = field(default_factory=count)

    def next(self) -> str:
        """The next crop."""
        return self.crop_ids[next(self.turn) % len(self.crop_ids)]


def main() -> None:
    arguments = parse()
    points = []
    for crops in arguments.crops:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as data:
            points.append(measured(Path(data), crops, arguments))
    names = list(points[0])
    print(table(names, [[str(point[name]) for name in names] for point in points]))
    print(
        json.dumps(
            {
                "benchmark": "capacity",
                "embeddings": "milvus" if arguments.milvus else arguments.embeddings,
                "points": points,
            }
        )
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--crops", type=int, nargs="+", default=[2_000, 20_000], help="sizes to measure"
    )
    parser.add_argument("--searches", type=int, default=20, help="searches per figure")
    parser.add_argument("--folder", type=Path, help="folder for the temporary galleries")
    parser.add_argument(
        "--embeddings", choices=["memory", "disk"], default="memory", help="where they live"
    )
    parser.add_argument("--milvus", metavar="URI", help="of a Milvus, or lite; default: none")
    parser.add_argument("--model", type=Path, default=Settings().model, help="model folder")
    return parser.parse_args()


def measured(data: Path, crops: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill a gallery, serve it, and measure what it needs."""
    model, searches, settings = arguments.model, arguments.searches, settings_of(data, arguments)
    print(f"{crops} crops: writing", file=sys.stderr)
    asked = fill(data, crops, model, settings)
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    print(f"{crops} crops: searching", file=sys.stderr)
    with (
        serving(model, data, **settings) as service,
        httpx.Client(base_url=service.url, timeout=120) as http,
    ):
        point: dict[str, Any] = {
            "crops": crops,
            "disk_gb": round(size / 1e9, 2),
            "start_seconds": round(service.start_seconds, 1),
            "memory_gb": gigabytes(service.pid),
            "first_ms": median_ms(lambda: search(http, asked), 1),
            "settled_seconds": seconds_until_idle(service.pid),
            "embed_ms": median_ms(lambda: embed(http), searches),
            "plain_ms": median_ms(lambda: search(http, asked, standardise=False), searches),
            "search_ms": median_ms(lambda: search(http, asked), searches),
            "reranked_ms": median_ms(lambda: search(http, asked, rerank=True), searches),
            "searches_per_second": rate(service.url, asked, searches),
        }
        point["most_memory_gb"] = gigabytes(service.pid, "VmHWM")
        point["memory_without_files_gb"] = gigabytes(service.pid, "RssAnon")
        http.delete(f"/galleries/{GALLERY}").raise_for_status()  # a Milvus would keep it
        return point


def seconds_until_idle(pid: int) -> float:
    """Wait until a service computes nothing, such as components after its first search."""
    begun, before = time.perf_counter(), processor_seconds(pid)
    while True:
        time.sleep(1)
        now = processor_seconds(pid)
        if now - before < IDLE:
            return round(time.perf_counter() - begun - 1, 1)
        before = now


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def gigabytes(pid: int, which: str = "VmRSS") -> float:
    """Memory of a process and those that it started, such as a Milvus beside it."""
    return round(sum(resident_mib(each, which) for each in family(pid)) * 2**20 / 1e9, 2)


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


# ---- the gallery


def settings_of(data: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """What tells the service where the gallery lives."""
    match arguments.milvus:
        case None:
            return {"embeddings": arguments.embeddings}
        case "lite":
            return {"milvus_uri": str(data / "milvus.db")}
        case uri:
            return {"milvus_uri": uri}


@contextmanager
def writing(
    data: Path, manifest: Manifest, settings: dict[str, str]
) -> Iterator[Callable[[list[Crop], NDArray[np.float32]], object]]:
    """Create the gallery; yields what stores crops in it."""
    made = (GALLERY, manifest.sha256, manifest.dimension)
    if "milvus_uri" in settings:
        from service.gallery.milvus.store import MilvusGalleryStore  # noqa: PLC0415 - an extra

        with closing(MilvusGalleryStore(settings["milvus_uri"])) as milvus:
            yield milvus.create(*made).upsert
        if Path(settings["milvus_uri"]).exists():  # one beside this process: the service's now
            from milvus_lite.server_manager import server_manager_instance  # noqa: PLC0415

            server_manager_instance.release_server(settings["milvus_uri"])
    else:
        with closing(DiskGalleryStore(data, device="cpu")) as store:
            # Past the rows in memory, which need not follow: the service reads them again.
            yield partial(store.create(*made).database.upsert, pictures=None)


def fill(data: Path, crops: int, model: Path, settings: dict[str, str]) -> Asked:
    """Write the gallery; return what to search for."""
    manifest = read_manifest(model)
    rng = np.random.default_rng(0)
    people = People.draw(crops // CROPS_OF_A_PERSON + 1, CAMERAS, manifest.dimension, seed=1)
    queries, reached = np.empty((0, manifest.dimension), np.float32), []
    with writing(data, manifest, settings) as write:
        for start in range(0, crops, BATCH):
            numbers = np.arange(start, min(start + BATCH, crops))
            person = numbers % len(people.people)
            rows = people.embeddings(person, numbers % CAMERAS, rng)
            queries = queries if len(queries) else rows[:QUERIES]
            reached.append(rows @ queries.T)
            described = [
                replace(crop(number), identity=f"{who:06d}")
                for number, who in zip(numbers.tolist(), person, strict=True)
            ]
            write(described, rows)
    least = float(np.quantile(np.concatenate(reached), 1 - REACHING))
    return Asked([crop(number).crop_id for number in range(QUERIES)], least)


# ---- requests


def embed(http: httpx.Client) -> None:
    http.post("/embed", files={"images": ("a.png", PICTURE)}).raise_for_status()


def search(http: httpx.Client, asked: Asked, **options: bool) -> None:
    """Search for the next crop."""
    fields = {"gallery": GALLERY, "crop_ids": asked.next(), "min_score": f"{asked.least:.6f}"}
    fields |= {name: str(value).lower() for name, value in options.items()}
    answer = http.post("/search", data=fields)
    answer.raise_for_status()
    if answer.json()["results"][0]["status"] != "matched":
        raise RuntimeError(f"nothing reached {asked.least}: {answer.text[:500]}")


def median_ms(ask: Callable[[], None], times: int) -> float:
    """The median of some requests, one after the other, after one that does not count."""
    ask()
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - begun)
    return round(1e3 * float(np.median(seconds)), 1)


def rate(url: str, asked: Asked, searches: int, clients: int = 4) -> float:
    """Default searches per second of some clients at the same time."""

    def work() -> None:
        with httpx.Client(base_url=url, timeout=120) as http:
            for _ in range(searches):
                search(http, asked)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(clients * searches / (time.perf_counter() - begun), 1)


if __name__ == "__main__":
    main()
