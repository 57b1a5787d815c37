"""The estimated cost of a search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access import gate as gate_module
from service.access.keys import FILE, KeyStore
from service.access.limits import Buckets
from service.access.new_key import NewKey
from service.errors import InvalidInput, TooManyRequests
from service.machine.executors import Threads
from service.search.cost import MAX_CANDIDATES, MAX_MATCHES, MAX_RERANKED, TOKEN_SECONDS, SearchCost

COSTS = st.builds(
    SearchCost,
    queries=st.integers(1, 1000),
    top_k=st.integers(1, 1000),
    rerank_top=st.integers(0, 1000),
    grouped=st.booleans(),
)
CROPS = st.integers(0, 1_000_000)


def is_allowed(cost: SearchCost) -> bool:
    try:
        cost.require_allowed()
    except InvalidInput:
        return False
    return True


@given(COSTS)
def test_queries_times_depth_is_limited(cost):
    within = (
        cost.queries * cost.top_k <= MAX_MATCHES
        and cost.queries * cost.rerank_top <= MAX_RERANKED
        and cost.queries * cost.depth <= MAX_CANDIDATES
    )
    assert is_allowed(cost) == within


@given(COSTS, CROPS)
def test_allowed_searches_of_8000_crops_take_a_few_seconds_at_most(cost, crops):
    if is_allowed(cost):
        assert cost.seconds(8000) < 12


@given(COSTS, CROPS, st.integers(1, 10))
def test_asking_for_more_never_costs_less(cost, crops, more):
    larger = SearchCost(
        cost.queries * more, cost.top_k * more, cost.rerank_top * more, cost.grouped
    )
    assert larger.seconds(crops) >= cost.seconds(crops)
    assert larger.tokens(crops) >= cost.tokens(crops)
    assert cost.seconds(crops * more) >= cost.seconds(crops)


@given(COSTS, CROPS)
def test_each_tenth_of_a_second_costs_one_token(cost, crops):
    tokens = cost.tokens(crops)
    if cost.is_light(crops):
        assert tokens == 1
    else:
        assert tokens == 1 + int(cost.seconds(crops) / TOKEN_SECONDS)


@pytest.mark.parametrize(
    ("cost", "light"),
    [
        (SearchCost(1, 10, 0, grouped=False), True),
        (SearchCost(1, 1000, 0, grouped=False), True),
        (SearchCost(1, 10, 100, grouped=False), True),
        (SearchCost(4, 10, 100, grouped=False), True),
        (SearchCost(1, 10, 1000, grouped=False), False),
        (SearchCost(64, 1000, 0, grouped=False), False),
        (SearchCost(64, 10, 0, grouped=True), False),
    ],
)
def test_single_searches_by_people_are_light(cost, light):
    assert cost.is_light(8000) == light


def test_one_scan_of_a_large_gallery_is_light():
    assert SearchCost(1, 10, 0, grouped=False).is_light(1_000_000)
    assert not SearchCost(2, 10, 0, grouped=False).is_light(1_000_000)


@given(COSTS, CROPS, st.integers(0, 100))
def test_batches_contain_every_query_once_in_order(cost, crops, queries):
    steps = list(cost.batches(range(queries), crops))
    assert [query for step in steps for query in step] == list(range(queries))
    assert all(step for step in steps)


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (SearchCost(100, 1000, 0, grouped=False), "top_k of at most 640"),
        (SearchCost(64, 10, 1000, grouped=False), "rerank_top of at most 250"),
        (SearchCost(65, 10, 0, grouped=True), "at most 64 images and crops"),
    ],
)
def test_an_error_states_the_limit(cost, said):
    with pytest.raises(InvalidInput, match=said):
        cost.require_allowed()


class TestGate:
    @pytest.fixture
    def clock(self, monkeypatch):
        moment = [0.0]
        monkeypatch.setattr(gate_module, "Buckets", lambda: Buckets(lambda: moment[0]))
        return moment

    @pytest.fixture
    def asked(self, tmp_path, clock):
        threads = Threads("bookkeeping", 1, print)
        gate = gate_module.Gate(tmp_path, 60, 90, threads)
        store = KeyStore(tmp_path / FILE)
        _, text = store.create(NewKey(label="a", scope="search"))
        yield gate, lambda: gate.caller(text).key_id
        store.close()
        gate.close()
        threads.close()

    def test_tokens_are_taken_all_or_none(self, asked, clock):
        gate, caller = asked
        gate.charge(caller(), 40)
        key = caller()  # 18 of 60 are left
        with pytest.raises(TooManyRequests, match="counts as 31 requests") as refused:
            gate.charge(key, 30)
        gate.charge(key, 18)
        clock[0] = refused.value.retry_after
        gate.charge(caller(), 10)

    def test_a_client_that_waits_for_retry_after_gets_through(self, asked, clock):
        gate, caller = asked
        gate.charge(caller(), 59)
        with pytest.raises(TooManyRequests) as first:
            caller()
        clock[0] += first.value.retry_after
        with pytest.raises(TooManyRequests) as refused:
            gate.charge(caller(), 1000)  # more than the bucket holds, so a full one is enough
        clock[0] += refused.value.retry_after
        gate.charge(caller(), 1000)

    def test_without_a_key_nobody_is_charged(self, asked):
        gate, _ = asked
        for _ in range(100):
            gate.charge(None, 59)
