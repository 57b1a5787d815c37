"""While a large answer is built, the event loop answers other requests.

Counted, not timed: every call of a Python or C function on the loop's thread while one request is
answered, for a small answer and for a large one of the same shape.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import numpy as np
import pytest
from waiting import PATIENCE, always_set

from service.gallery.base import Crop
from service.http.app import create_app
from service.settings import Settings
from service.testing import FakeEmbedder, solid

CROPS = 1000
QUERIES = 4
FEW_CALLS = 1000  # of about 15,000 per request; building 4,000 matches takes more than 50,000
MOST = {
    "search": QUERIES * CROPS,
    "crops": CROPS,
    "identities": CROPS,
    "jobs": 900,
    "embed": 32,
}


class Calls:
    """Count calls on one thread while it is switched on."""

    def __init__(self) -> None:
        self.count = 0
        self.names: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event in {"call", "c_call"}:
            self.count += 1
            self.names.add(frame.f_code.co_name)


def fill(app: Any) -> None:
    parts = app.state.parts
    gallery = parts.store.open("default")
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((CROPS, gallery.dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery.upsert([Crop(f"{n:04d}", f"person {n:04d}", "c1") for n in range(CROPS)], rows)
    parts.store.create("empty", gallery.model_sha256, gallery.dimension)
    for number in range(MOST["jobs"]):  # equal jobs would be merged into one
        parts.board.submit("cluster", "empty", {"min_samples": number + 1})


def request(kind: str, size: int) -> dict[str, Any]:
    """The request for an answer with this many entries."""
    match kind:
        case "search":
            fields = {"top_k": size, "min_score": -1, "crop_ids": ["0001", "0002", "0003", "0004"]}
            return {"method": "POST", "url": "/search", "data": fields}
        case "embed":
            image = solid((200, 20, 20), kind="PNG")
            files = [("images", (f"{n}.png", image)) for n in range(size)]
            return {"method": "POST", "url": "/embed", "files": files}
        case "crops" | "identities":
            return {"method": "GET", "url": f"/galleries/default/{kind}", "params": {"limit": size}}
        case _:
            return {"method": "GET", "url": "/jobs", "params": {"limit": size}}


async def calls_of(http: httpx.AsyncClient, kind: str, size: int) -> tuple[Calls, int]:
    """Calls on the event loop's thread during an answer, and the entries of the answer."""
    asked = http.build_request(**request(kind, size))
    await asked.aread()
    calls = Calls()
    sys.setprofile(calls)
    try:
        answer = await http.send(asked)
    finally:
        sys.setprofile(None)
    assert answer.status_code == 200, answer.text
    body = json.loads(answer.content)
    match kind:
        case "search":
            return calls, sum(len(entry["matches"]) for entry in body["results"])
        case "embed":
            return calls, len(body["results"])
        case _:
            return calls, len(body[kind])


async def with_app(data: Path, kind: str) -> tuple[Calls, Calls, int]:
    app = create_app(Settings(data=data, device="cpu"), embedder=FakeEmbedder())
    async with app.router.lifespan_context(app):
        fill(app)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await calls_of(http, kind, 1)  # so that work done only once is finished
            few, _ = await calls_of(http, kind, 1)
            many, entries = await calls_of(http, kind, min(MOST[kind], CROPS))
            return few, many, entries


@pytest.mark.parametrize("kind", ["search", "crops", "identities", "jobs"])
def test_the_event_loops_work_does_not_grow_with_the_answer(tmp_path, kind):
    few, many, entries = asyncio.run(with_app(tmp_path / "data", kind))
    assert entries >= MOST[kind] - 2 * QUERIES  # queries do not find themselves
    assert many.count - few.count < FEW_CALLS
    assert "model_dump_json" not in many.names


def test_embeddings_are_written_in_another_thread(tmp_path):
    _, many, _ = asyncio.run(with_app(tmp_path / "data", "embed"))
    assert not {"model_dump_json", "_entry"} & many.names  # _entry makes a list of one embedding


def test_a_probe_is_answered_while_a_large_answer_is_built(start, monkeypatch):
    from service.api.search import SearchAnswer

    building, door = threading.Event(), threading.Event()
    written = SearchAnswer.model_dump_json

    def held(self: Any, *args: Any, **kwargs: Any) -> str:
        building.set()
        assert door.wait(PATIENCE)
        return written(self, *args, **kwargs)

    monkeypatch.setattr(SearchAnswer, "model_dump_json", held)
    with start() as service, always_set(door):
        service.put("default", "a", solid((200, 20, 20)))
        slow = threading.Thread(
            target=lambda: service.search(crop_ids="a", gallery="default", min_score=-1)
        )
        slow.start()
        assert building.wait(PATIENCE)
        assert service.http.get("/livez").status_code == 200
        assert service.http.get("/readyz").status_code == 200
        door.set()
        slow.join()
