"""A complete run on drawn people: serve, index, search, and check the results."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from service.api.search import MatchRecord
from service.cli.indexer import IndexReport, index
from service.cli.tables import match_cells, table
from service.client import Client, ServiceError
from service.errors import InvalidInput, Unavailable
from service.http.server import bind, url_of
from service.ingest.crop_names import CropFile, list_market1501

_GALLERY, _QUERIES = "bounding_box_test", "query"
_NAME = "people"
_SHOWN = 5
_HOST, _PORT = "127.0.0.1", 8000
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Judged:
    query: CropFile
    matches: Sequence[MatchRecord]

    @property
    def right(self) -> bool:
        return bool(self.matches) and self.matches[0].identity == self.query.crop.identity


def demo(folder: Path, model: Path, *, once: bool) -> None:
    """Serve a model with an empty gallery, index a folder, search it and print the results.

    Each query is compared only with crops of other cameras, without a minimum score.

    Args:
        folder: people in the Market-1501 layout: ``bounding_box_test`` and ``query``.
        model: model folder.
        once: stop after the table instead of serving until Ctrl-C.

    Raises:
        InvalidInput: the folder lacks one of the two.
        ServiceError: the service did not start, or rejected a request.
    """
    queries = [entry for entry in list_market1501(folder / _QUERIES) if isinstance(entry, CropFile)]
    if not queries:
        raise InvalidInput(f"{folder / _QUERIES}: no queries with Market-1501 names")
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="hhcl-reid-demo-") as data:
        url = _free_url()
        with _service(url, model, Path(data)) as process, Client(url) as client:
            _wait_until_ready(process, client, url)
            _index(client, folder / _GALLERY)
            _report([*_judge(client, queries)], url)
            if not once:
                _serve_on(process)


def _serve_on(process: subprocess.Popen[bytes]) -> None:
    print("Ctrl-C stops it.", flush=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        return
    if status:
        raise ServiceError(f"the service ended with status {status}")


def _leave(sig: int, _frame: FrameType | None) -> NoReturn:
    """Let SIGTERM leave through the with blocks, which stop the service."""
    sys.exit(128 + sig)


def _free_url() -> str:
    try:
        listener = bind(_HOST, _PORT)
    except Unavailable:
        listener = bind(_HOST, 0)
    with listener:
        return url_of(listener)


@contextmanager
def _service(url: str, model: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = {
        "--port": url.rpartition(":")[2],
        "--host": _HOST,
        "--model": str(model),
        "--data": str(data),
        "--log-level": "warning",
    }
    flags = [text for pair in arguments.items() for text in pair]
    command = [sys.executable, "-m", "service", "serve", *flags]
    process = subprocess.Popen(command)  # noqa: S603 - our own program, no shell
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], client: Client, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not client.ops.is_ready():
        if process.poll() is not None:
            raise ServiceError(f"the service ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ServiceError(f"{url}: the service is not ready after {_START_SECONDS:.0f} s")
        time.sleep(0.1)


def _index(client: Client, folder: Path) -> None:
    report = IndexReport()
    start = time.perf_counter()
    client.galleries.provide(_NAME, store_crops=True)  # so that the page can show pictures
    index(client, _NAME, list_market1501(folder), report)
    print(f"Indexed {folder}: {report.summary()}, {time.perf_counter() - start:.1f} s")


def _judge(client: Client, queries: Sequence[CropFile]) -> Iterator[_Judged]:
    most = client.ops.info().limits.max_images
    by_camera: dict[str | None, list[CropFile]] = defaultdict(list)
    for query in queries:
        by_camera[query.crop.camera].append(query)
    for camera, group in by_camera.items():
        for start in range(0, len(group), most):
            part = group[start : start + most]
            answer = client.search(
                [query.path for query in part],
                gallery=_NAME,
                top_k=_SHOWN,
                min_score=-1.0,
                camera=camera,
                exclude_same_camera=camera is not None,
            )
            for query, entry in zip(part, answer.results, strict=True):
                yield _Judged(query, entry.matches)


def _report(judged: Sequence[_Judged], url: str) -> None:
    shown = judged[0]
    head = ("rank", "crop", "identity", "camera", "score", "probability", "")
    rows = [
        [*match_cells(match), _verdict(match.identity == shown.query.crop.identity)]
        for match in shown.matches
    ]
    crop = shown.query.crop
    right = sum(query.right for query in judged)
    print(f"\nQuery {crop.crop_id}: identity {crop.identity}, camera {crop.camera}\n")
    print(table(head, rows))
    print(
        f"\nrank-1: {right} of {len(judged)} queries ({right / len(judged):.1%}) find the right "
        "identity first, among crops of other cameras"
    )
    print(f"The page is at {url}, the API's documentation at {url}/docs", flush=True)


def _verdict(right: bool) -> str:
    return "right" if right else "wrong"
