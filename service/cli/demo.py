"""A complete run on drawn people: serve, index, search, and check the results."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.api.search import MatchRecord
from service.cli.indexer import IndexReport, index
from service.cli.own_service import free_url, leave, serve_on, served, wait_until_ready
from service.cli.tables import match_cells, table
from service.client import Client
from service.errors import InvalidInput
from service.ingest.crop_names import CropFile, list_market1501

_GALLERY, _QUERIES = "bounding_box_test", "query"
_NAME = "people"
_SHOWN = 5


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
    signal.signal(signal.SIGTERM, leave)
    with tempfile.TemporaryDirectory(prefix="hhcl-reid-demo-") as data:
        url = free_url()
        with served(url, model, Path(data)) as process, Client(url) as client:
            wait_until_ready(process, client, url)
            _index(client, folder / _GALLERY)
            _report([*_judge(client, queries)], url)
            if not once:
                serve_on(process)


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
