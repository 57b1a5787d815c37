"""One client asks for as much as possible; other clients are still answered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from waiting import PATIENCE, always_set, wait_until

from service.access import gate
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.access.new_key import NewKey
from service.gallery.base import Crop
from service.gallery.disk.gallery import DiskGallery
from service.http.middleware.body import Incoming
from service.search import ranking

CROPS = 1200
HEAVY = {"gallery": "crowd", "top_k": 10, "min_score": -1, "rerank": True, "rerank_top": 1000}
LIGHT = {"gallery": "crowd", "top_k": 10, "min_score": -1, "crop_ids": ["0000"]}


class Door:
    """Replaces re-ranking: reports arrivals, and blocks them until it is opened."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self.open = threading.Event()
        self.calls: list[int] = []

    def __call__(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        self.calls.append(len(rows))
        self.came.release()
        assert self.open.wait(PATIENCE)
        return np.zeros((len(queries), len(rows)), np.float32)

    def wait(self) -> None:
        """Wait for one more arrival."""
        assert self.came.acquire(timeout=PATIENCE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Block one arrival while the block runs; then open."""
        try:
            self.wait()
            yield
        finally:
            self.open.set()


@pytest.fixture
def door(monkeypatch) -> Iterator[Door]:
    door = Door()
    monkeypatch.setattr(ranking, "rerank", door)
    yield door
    door.open.set()


@pytest.fixture
def crowd(start) -> Iterator[Any]:
    """A service with a gallery large enough for expensive searches."""
    with start() as service:
        fill(service)
        yield service


def fill(service: Any) -> None:
    service.create("crowd")
    opened = service.parts.store.open("crowd")
    rows = np.random.default_rng(0).standard_normal((CROPS, opened.dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    opened.upsert([Crop(f"{n:04d}", f"p{n % 300}") for n in range(CROPS)], rows)


@pytest.fixture
def keyed(tmp_path) -> Iterator[Any]:
    """Make clients with their own keys."""
    with ExitStack() as closing_all:

        def client(service: Any, scope: Any = "search") -> httpx.Client:
            with closing(KeyStore(tmp_path / "data" / FILE)) as store:
                _, text = store.create(NewKey(label="a", scope=scope))
            headers = {"Authorization": f"Bearer {text}"}
            http = httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE)
            return closing_all.enter_context(http)

        yield client


def ask(http: httpx.Client, *crop_ids: str, **fields: Any) -> httpx.Response:
    asked = {**HEAVY, "crop_ids": list(crop_ids)} | fields
    return http.post("/search", data=asked)


@contextmanager
def leaving(service: Any, **fields: Any) -> Iterator[socket.socket]:
    """A search on its own socket, whose client disconnects when the block ends."""
    body = urlencode(fields, doseq=True).encode()
    host, _, port = service.url.removeprefix("http://").partition(":")
    head = (
        f"POST /search HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as client:
        client.sendall(head.encode() + body)
        yield client


@pytest.fixture
def disconnects(monkeypatch) -> threading.Semaphore:
    """Count clients whose disconnect was noticed."""
    noticed, note = threading.Semaphore(0), Incoming._note_disconnect

    def counted(self: Incoming) -> None:
        note(self)
        noticed.release()

    monkeypatch.setattr(Incoming, "_note_disconnect", counted)
    return noticed


def until_nothing_runs(service: Any, departed: int) -> None:
    """Wait until every request of a disconnected client has ended."""

    def look() -> list[str]:
        lines = service.http.get("/metrics").text.splitlines()
        searches = [line for line in lines if 'route="/search"' in line]
        return [line for line in searches if line.startswith("reid_requests_total")]

    def all_left(lines: list[str]) -> bool:
        return any('status="499"' in line and line.endswith(f" {departed}.0") for line in lines)

    wait_until(look, all_left)


class TestOthersAreAnswered:
    def test_a_light_search_while_the_same_client_runs_twelve_heavy_ones(self, crowd, door):
        with ThreadPoolExecutor(12) as clients:
            heavy = [clients.submit(ask, crowd.http, f"{n:04d}", "1000") for n in range(12)]
            with door.held():
                for _ in range(20):
                    light = crowd.http.post("/search", data=LIGHT)
                    assert light.status_code == 200
            assert [one.result().status_code for one in heavy] == [200] * 12

    def test_everything_else_is_answered_too(self, crowd, door):
        with ThreadPoolExecutor(12) as clients:
            heavy = [clients.submit(ask, crowd.http, f"{n:04d}", "1000") for n in range(12)]
            with door.held():
                for path in ("", "/crops", "/crops/0001", "/identities", "/snapshots"):
                    answer = crowd.http.get(f"/galleries/crowd{path}")
                    assert answer.status_code == 200, path
                for path in ("/livez", "/readyz", "/metrics", "/info", "/galleries", "/jobs"):
                    assert crowd.http.get(path).status_code == 200, path
            assert [one.result().status_code for one in heavy] == [200] * 12

    def test_listings_of_one_client_leave_threads_to_others(self, start, keyed, monkeypatch):
        opened, page = threading.Event(), DiskGallery.page

        def held(self: DiskGallery, where: Any, limit: int, cursor: Any = None) -> Any:
            assert limit != 999 or opened.wait(PATIENCE)
            return page(self, where, limit, cursor)

        monkeypatch.setattr(DiskGallery, "page", held)
        with start() as service, ThreadPoolExecutor(40) as clients, always_set(opened):
            fill(service)
            one, other = (keyed(service) for _ in range(2))
            path = "/galleries/crowd/crops"
            many = [clients.submit(one.get, path, params={"limit": 999}) for _ in range(40)]
            for _ in range(5):
                assert other.get(path, params={"limit": 9}).status_code == 200
                assert other.post("/search", data=LIGHT).status_code == 200
            opened.set()
            assert {one.result().status_code for one in many} == {200}

    def test_writes_of_one_client_leave_threads_to_others(self, start, keyed, monkeypatch):
        opened, relabel = threading.Event(), DiskGallery.relabel

        def held(self: DiskGallery, labels: Any, origin: Any) -> int:
            assert opened.wait(PATIENCE)
            return relabel(self, labels, origin)

        monkeypatch.setattr(DiskGallery, "relabel", held)
        with start() as service, ThreadPoolExecutor(20) as clients, always_set(opened):
            fill(service)
            one, other = (keyed(service, "write") for _ in range(2))
            path, label = "/galleries/crowd/identities/label", {"identity": "ann"}
            asked = [{"crop_ids": [f"{n:04d}"]} | label for n in range(20)]
            many = [clients.submit(one.post, path, json=body) for body in asked]
            for _ in range(5):
                assert other.delete("/galleries/default/crops/a").status_code == 404
            opened.set()
            assert {one.result().status_code for one in many} == {200}


class TestWhoLeaves:
    def test_ends_the_search_between_two_queries(self, crowd, door, disconnects):
        with leaving(crowd, **HEAVY, crop_ids=["0001", "0002", "0003", "0004"]):
            door.wait()
        assert disconnects.acquire(timeout=PATIENCE)
        door.open.set()
        until_nothing_runs(crowd, 1)
        assert len(door.calls) == 1

    def test_ends_the_wait_for_a_place(self, crowd, door, disconnects):
        with ThreadPoolExecutor(1) as clients, always_set(door.open):
            places = crowd.parts.executors.heavy.count
            held = [clients.submit(ask, crowd.http, "0000") for _ in range(places)]
            for _ in held:
                door.wait()
            with leaving(crowd, **HEAVY, crop_ids=["0001", "0002"]):
                wait_until(lambda: crowd.parts.executors.heavy.turns.waiting)
            assert disconnects.acquire(timeout=PATIENCE)
            until_nothing_runs(crowd, 1)
            door.open.set()
            assert [one.result().status_code for one in held] == [200] * places
        assert len(door.calls) == places


class TestHowMuchIsAllowed:
    @pytest.mark.parametrize(
        ("queries", "fields", "allowed"),
        [
            (64, {"rerank_top": 1000}, "rerank_top of at most 250"),
            (17, {"rerank_top": 1000}, "rerank_top of at most 941"),
            (64, {"rerank_top": 251, "group_by": "identity"}, "rerank_top of at most 250"),
        ],
    )
    def test_more_is_rejected_with_the_limit(self, crowd, queries, fields, allowed):
        answer = ask(crowd.http, *["0001"] * queries, **fields)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert allowed in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("queries", "fields"),
        [
            (64, {"rerank_top": 100}),
            (16, {"rerank_top": 1000, "top_k": 1000}),
            (64, {"rerank": False, "top_k": 1000}),
            (64, {"rerank_top": 100, "group_by": "identity", "identity_score": "mean"}),
            (64, {"rerank_top": 1000, "combine": True}),
        ],
    )
    def test_documented_limits_are_accepted(self, crowd, monkeypatch, queries, fields):
        monkeypatch.setattr(ranking, "rerank", lambda q, rows: np.zeros((len(q), len(rows))))
        answer = ask(crowd.http, *[f"{n:04d}" for n in range(queries)], **fields)
        assert answer.status_code == 200, answer.text

    def test_more_than_64_grouped_queries_are_rejected(self, start):
        with start(max_images=100) as service:
            fill(service)
            asked = {"rerank": False, "group_by": "identity"}
            refused = ask(service.http, *["0001"] * 65, **asked)
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
            assert "at most 64 images and crops" in refused.json()["detail"]
            assert ask(service.http, *["0001"] * 64, **asked).status_code == 200


class TestWhatAKeyPays:
    def test_a_heavy_search_counts_as_several(self, start, keyed, monkeypatch):
        stopped = partial(Buckets, clock=lambda: 0.0)
        monkeypatch.setattr(gate, "Buckets", stopped)
        monkeypatch.setattr(ranking, "rerank", lambda q, rows: np.zeros((len(q), len(rows))))
        with start(requests_per_minute=60) as service:
            fill(service)
            key = keyed(service)
            crops = [f"{n:04d}" for n in range(16)]
            assert key.post("/search", data=LIGHT).status_code == 200
            answers = [ask(key, *crops) for _ in range(4)]
            assert [answer.status_code for answer in answers][:2] == [200, 200]
            refused = answers[-1]
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
            assert 1 <= int(refused.headers["Retry-After"]) <= 61
            assert key.post("/search", data=LIGHT).status_code == 200

    def test_a_key_with_few_requests_may_run_the_largest_search(self, start, keyed, monkeypatch):
        monkeypatch.setattr(ranking, "rerank", lambda q, rows: np.zeros((len(q), len(rows))))
        with start(requests_per_minute=2) as service:
            fill(service)
            key = keyed(service)
            assert ask(key, *[f"{n:04d}" for n in range(16)]).status_code == 200

    def test_a_limited_number_of_heavy_searches_of_one_client_wait(self, crowd, door):
        heavy = crowd.parts.executors.heavy
        most = heavy.turns.quota.waiting + heavy.turns.quota.each
        with ThreadPoolExecutor(most + 1) as clients, always_set(door.open):
            asked = [clients.submit(ask, crowd.http, "0001") for _ in range(most)]
            wait_until(lambda: heavy.turns.waiting >= heavy.turns.quota.waiting)
            refused = ask(crowd.http, "0001")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
            assert int(refused.headers["Retry-After"]) >= 1
            assert crowd.http.post("/search", data=LIGHT).status_code == 200
            door.open.set()
            assert {one.result().status_code for one in asked} == {200}


def test_the_answer_is_that_of_the_query_alone(crowd):
    crops = [f"{n:04d}" for n in range(12)]
    for fields in (
        {"rerank_top": 300, "top_k": 500},
        {"rerank": False, "group_by": "identity", "top_k": 1000},
        {"rerank": False, "group_by": "identity", "identity_score": "mean", "top_k": 290},
        {"rerank_top": 100, "group_by": "identity", "identity_score": "top3", "top_k": 20},
    ):
        together = ask(crowd.http, *crops, **fields).json()["results"]
        alone = [ask(crowd.http, crop, **fields).json()["results"][0] for crop in crops]
        assert json.dumps(together) == json.dumps(alone)
