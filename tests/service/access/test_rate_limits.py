"""Limits on the requests of a key, and on the wrong keys of an address."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE

from service.access.gate import REFUSALS_PER_MINUTE
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.access.new_key import NewKey


class Clock:
    """A clock that tests can set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_holds_a_minute_and_fills_steadily():
    clock = Clock()
    buckets = Buckets(clock)
    assert [buckets.take("a", 6) for _ in range(6)] == [0.0] * 6
    assert buckets.take("a", 6) == pytest.approx(10.0)
    assert buckets.take("b", 6) == 0.0  # each name has its own bucket
    clock.now = 9.9
    assert buckets.take("a", 6) == pytest.approx(0.1)
    clock.now = 10.0
    assert buckets.take("a", 6) == 0.0
    assert buckets.take("a", 6) == pytest.approx(10.0)
    clock.now = 10_000.0
    assert [buckets.take("a", 6) for _ in range(7)].count(0.0) == 6


@given(
    per_minute=st.integers(1, 1000),
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=200),
)
def test_no_pattern_of_requests_exceeds_the_limit(per_minute, gaps):
    clock = Clock()
    buckets = Buckets(clock)
    taken = 0
    for gap in gaps:
        clock.now += gap
        wait = buckets.take("a", per_minute)
        taken += wait == 0.0
        assert 0.0 <= wait <= 60 / per_minute + 1e-6
    assert taken <= per_minute + clock.now * per_minute / 60 + 1e-6


def test_unknown_names_do_not_fill_the_memory():
    buckets = Buckets(Clock())
    for number in range(20_000):
        buckets.take(str(number), 1)
    assert len(buckets._buckets) == 10_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the services started by ``start``."""
    return tmp_path / "data"


def client(service: Any, data: Path, **wanted: Any) -> httpx.Client:
    """A client with a new key."""
    with closing(KeyStore(data / FILE)) as store:
        _, text = store.create(NewKey(**{"label": "a", "scope": "search"} | wanted))
    headers = {"Authorization": f"Bearer {text}"}
    return httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE)


def test_a_key_is_held_to_its_limit_without_affecting_others(start, data):
    with (
        start() as service,
        client(service, data, requests_per_minute=5) as slow,
        client(service, data) as other,
    ):
        assert [slow.get("/galleries").status_code for _ in range(5)] == [200] * 5
        refused = slow.get("/galleries")
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 13
        assert "5 requests per minute" in refused.json()["detail"]
        assert other.get("/galleries").status_code == 200


def test_the_setting_limits_keys_without_a_limit(start, data):
    with start(requests_per_minute=3) as service, client(service, data) as key:
        answers = Counter(key.get("/whoami").status_code for _ in range(6))
    assert answers == {200: 3, 429: 3}


def test_concurrent_requests_do_not_exceed_the_limit(start, data):
    with (
        start() as service,
        client(service, data, requests_per_minute=10) as key,
        ThreadPoolExecutor(8) as threads,
    ):
        answers = Counter(threads.map(lambda _: key.get("/galleries").status_code, range(24)))
    # A token comes back every six seconds.
    assert answers[429] >= 12
    assert 10 <= answers[200] <= 12


def test_without_keys_nobody_is_limited(start):
    with start(requests_per_minute=1) as service:
        assert {service.http.get("/galleries").status_code for _ in range(5)} == {200}


def test_wrong_keys_are_limited_by_address_and_valid_keys_never(start, data):
    with start() as service, client(service, data) as key:
        wrong = {"Authorization": "Bearer reid_00000000_guess"}
        answers = [service.http.get("/galleries", headers=wrong) for _ in range(35)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:REFUSALS_PER_MINUTE] == [401] * REFUSALS_PER_MINUTE
        assert 429 in statuses
        late = answers[statuses.index(429)]
        assert int(late.headers["Retry-After"]) >= 1
        assert key.get("/galleries").status_code == 200  # from the same address
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=service.url, transport=elsewhere, timeout=PATIENCE) as other:
            assert other.get("/galleries", headers=wrong).status_code == 401
        logged = (next((data / "audit").glob("*.ndjson"))).read_text().splitlines()
        assert len(logged) == statuses.count(401) + 1
