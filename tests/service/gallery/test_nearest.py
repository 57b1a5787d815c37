"""Every way of finding candidates gives the same answer, to the last bit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from service.gallery import products
from service.gallery.base import Crop, Filter
from service.gallery.rows import nearest as module
from service.gallery.rows.live_rows import LiveRows
from service.gallery.rows.nearest import Mirror, nearest

EVERYTHING = Filter()


def cpu_mirror(dimension):
    """A mirror with a real index; on a GPU, only the index differs."""
    return Mirror(faiss.IndexFlatIP(dimension), threading.Lock())


def rows_of(oracle, draw, count=500, dimension=16, seed=0):
    rows = LiveRows(dimension)
    crops, vectors = (
        [Crop(f"{i:04d}", camera=f"c{i % 3}") for i in range(count)],
        draw(count, dimension, seed),
    )
    vectors[count // 2 :] = vectors[: count - count // 2]  # each embedding occurs twice
    rows.put(crops, vectors)
    oracle.upsert(crops, vectors)
    return rows


def assert_nearest(rows, oracle, queries, top_k, where, mirror=None):
    view, mask = rows.select(where)
    found = nearest(view, mask, queries, top_k, mirror)
    expected = oracle.query(queries, top_k, where)
    assert [[h.crop for h in hits] for hits in found] == [
        [h.crop for h in hits] for hits in expected
    ]
    return found


@pytest.mark.parametrize("where", [EVERYTHING, Filter(not_camera="c1")], ids=["all", "filtered"])
@pytest.mark.parametrize("top_k", [1, 3, 20, 500])
def test_every_way_gives_the_same_bits(oracle, draw, monkeypatch, where, top_k):
    rows, queries = rows_of(oracle, draw), draw(6, 16, seed=1)
    alone = [assert_nearest(rows, oracle, queries[[i]], top_k, where)[0] for i in range(6)]
    assert assert_nearest(rows, oracle, queries, top_k, where) == alone
    monkeypatch.setattr(products, "PART", 40)
    assert assert_nearest(rows, oracle, queries, top_k, where) == alone
    monkeypatch.setattr(products, "_CLOSE", 1.1)  # rows are copied into blocks
    assert assert_nearest(rows, oracle, queries, top_k, where) == alone
    monkeypatch.setattr(products, "_FEW", 6)  # pair by pair
    assert assert_nearest(rows, oracle, queries, top_k, where) == alone
    assert assert_nearest(rows, oracle, queries, top_k, where, cpu_mirror(16)) == alone


def test_more_ties_than_are_fetched(oracle, draw):
    """With three hundred equal rows, the right ids are not among the first candidates."""
    rows, vector = LiveRows(8), draw(1)
    ids = np.random.default_rng(0).permutation(300)
    crops, vectors = [Crop(f"{i:03d}") for i in ids], np.repeat(vector, 300, axis=0)
    rows.put(crops, vectors)
    oracle.upsert(crops, vectors)
    for mirror in (None, cpu_mirror(8)):
        assert_nearest(rows, oracle, vector, 5, EVERYTHING, mirror)
        assert_nearest(rows, oracle, np.repeat(vector, 6, axis=0), 5, EVERYTHING, mirror)


class TestMirror:
    def test_the_mirror_follows_every_change(self, oracle, draw, monkeypatch):
        monkeypatch.setattr(module, "_GPU_STALE_ROWS", 20)
        rows, mirror = rows_of(oracle, draw, 200), cpu_mirror(16)
        rng = np.random.default_rng(0)
        for step in range(60):
            if rng.integers(3):
                crops = [Crop(f"{i:04d}") for i in rng.permutation(250)[: rng.integers(1, 9)]]
                vectors = draw(len(crops), 16, seed=100 + step)
                rows.put(crops, vectors)
                oracle.upsert(crops, vectors)
            else:
                deleted = [f"{i:04d}" for i in rng.permutation(250)[:3]]
                rows.remove(deleted)
                oracle.delete(Filter(crop_ids=frozenset(deleted)))
            if rng.integers(2):
                assert_nearest(rows, oracle, draw(2, 16, seed=step), 10, EVERYTHING, mirror)
        assert mirror._index.ntotal <= len(rows) + 20 + 9

    def test_the_mirror_answers_only_for_rows_it_holds(self, oracle, draw):
        rows, mirror = rows_of(oracle, draw, 100), cpu_mirror(16)
        queries = draw(1, 16, seed=5)
        rows.put([Crop("short-lived")], draw(1, 16, seed=6))
        older = rows.now()
        rows.remove(["short-lived"])
        assert mirror.search(rows.now(), queries, 5) is not None
        assert mirror.search(older, queries, 5) is None  # the mirror never saw the short-lived crop
        assert mirror.search(rows.now(), queries, 5) is not None

    def test_the_mirror_starts_over_after_a_compaction(self, oracle, draw):
        rows, mirror = rows_of(oracle, draw, 1200), cpu_mirror(16)
        older = rows.now()
        assert mirror.search(older, draw(1, 16), 5) is not None
        rows.remove([f"{i:04d}" for i in range(1100)])
        oracle.delete(Filter(crop_ids=frozenset(f"{i:04d}" for i in range(1100))))
        assert rows.now().generation == 1
        assert_nearest(rows, oracle, draw(1, 16), 5, EVERYTHING, mirror)
        assert mirror._index.ntotal == 100
        assert mirror.search(older, draw(1, 16), 5) is None

    def test_the_mirror_leaves_large_top_k_to_the_cpu(self, oracle, draw):
        rows, mirror = rows_of(oracle, draw, 2100), cpu_mirror(16)
        assert mirror.search(rows.now(), draw(1, 16), 2048) is not None
        assert mirror.search(rows.now(), draw(1, 16), 2049) is None

    def test_filtered_queries_never_reach_the_mirror(self, oracle, draw):
        rows, mirror = rows_of(oracle, draw, 60), cpu_mirror(16)
        assert_nearest(rows, oracle, draw(2, 16), 5, Filter(not_camera="c0"), mirror)
        assert mirror._index.ntotal == 0


def test_old_views_never_change(oracle, draw):
    """Rows are appended, deleted and compacted while a query still reads."""
    rows = rows_of(oracle, draw, 300)
    view, mask = rows.select(EVERYTHING)
    queries = draw(2, 16, seed=3)
    before = nearest(view, mask, queries, 10)

    def change(seed):
        for step in range(40):
            rows.put([Crop(f"{i:04d}") for i in range(60)], draw(60, 16, seed + step))
            rows.remove([f"{i:04d}" for i in range(60, 70)])

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change, 50)
        while not changing.done():
            assert nearest(view, mask, queries, 10) == before
        changing.result()
    assert rows.now().generation > 0
    assert nearest(view, mask, queries, 10) == before
