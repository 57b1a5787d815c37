"""Components rule rows out and change no answer."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
import pytest

from service.gallery import bounds, components
from service.gallery.allocation import IN_MEMORY, OnDisk
from service.gallery.base import Crop, Filter
from service.gallery.bounds import MARGIN, Bounds
from service.gallery.components import Components, Known
from service.gallery.rows.live_rows import LiveRows
from service.gallery.rows.nearest import nearest
from service.gallery.standardising import scan as scan_module
from service.gallery.standardising import search
from service.gallery.standardising.search import StandardisedScan, scan_standardised

DIMENSION = 240
EVERYTHING = Filter()
FILTERS = [EVERYTHING, Filter(not_camera="c1"), Filter(crop_ids=frozenset({"0003", "0250"}))]


@cache
def like_people(count, dimension=DIMENSION, seed=0, cameras=3):
    """Unit rows that vary in few directions, as embeddings of people do; some occur twice."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(dimension) / 24)
    directions = np.linalg.qr(np.random.default_rng(7).standard_normal((dimension, dimension)))[0]
    people = rng.standard_normal((count // 8 + 1, dimension))
    rows = people[rng.integers(len(people), size=count)] + 0.4 * rng.standard_normal(
        (count, dimension)
    )
    rows = (rows * scale) @ directions
    rows += 0.05 * rng.standard_normal((cameras, dimension))[np.arange(count) % cameras]
    rows[1::9] = rows[: len(rows[1::9])]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def crops(count, start=0):
    return [
        Crop(f"{n:04d}", identity=f"p{n % 20}", camera=f"c{n % 3}") for n in range(start, count)
    ]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Components of small galleries, and small parts, so that a gallery has several."""
    monkeypatch.setattr(components, "FROM", 300)
    monkeypatch.setattr(components, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(components, "_LAG", 100)
    monkeypatch.setattr("service.gallery.products.PART", 16)
    for module in (bounds, search):
        monkeypatch.setattr(module, "SPARE", 8)


@pytest.fixture
def read(monkeypatch):
    """Counts pairs of a query and a row that are multiplied in all dimensions."""
    counted = []
    pair_products = bounds.pair_products

    def counting(left, which, vectors, slots):
        if left.shape[1] == DIMENSION:
            counted.append(len(slots))
        return pair_products(left, which, vectors, slots)

    monkeypatch.setattr(bounds, "pair_products", counting)
    return counted


def gallery_of(vectors, *, known, allocation=IN_MEMORY):
    """A gallery of these rows whose components are known, or are never computed."""
    rows = LiveRows(vectors.shape[1], allocation)
    rows.put(crops(len(vectors)), vectors)
    view = rows.now()
    if known:
        view.components.follow(view.columns.vectors)
    else:
        view.components._working = True  # nobody begins
    return rows


@cache
def both(count=600):
    """Two galleries that tests only read: with components, and without."""
    vectors = like_people(count)
    return gallery_of(vectors, known=True), gallery_of(vectors, known=False)


def answer(rows, queries, top_k, where):
    view, mask = rows.select(where)
    return nearest(view, mask, queries, top_k)


def standardised(rows, queries, where, least, top_k=10):
    """Everything that a standardised search asks of its scan."""
    view, mask = rows.select(where)
    scan = scan_standardised(view.standardised, mask, queries, ["c0"] * len(queries), least)
    assert scan is not None
    told = []
    for place in range(len(queries)):
        best = scan.best(place, top_k, least)
        but = {hit.crop.crop_id for hit in best.hits[:2]}
        told.append(
            (best.hits, best.nearest, scan.nearest(place, but), scan.crops_of(place, {"p3"}))
        )
    return told


@pytest.mark.parametrize("where", FILTERS, ids=["all", "camera", "ids"])
@pytest.mark.parametrize("top_k", [1, 7, 100, 600])
@pytest.mark.parametrize("count", [1, 9])
def test_the_nearest_are_the_same_to_the_last_bit(read, count, top_k, where):
    with_components, without = both()
    queries = like_people(count, seed=1)
    expected = answer(without, queries, top_k, where)
    read.clear()
    assert answer(with_components, queries, top_k, where) == expected
    if top_k < 10 and where is EVERYTHING:
        assert sum(read) < 0.3 * count * 600, read
    if where is not EVERYTHING:
        alone = [answer(with_components, queries[[n]], top_k, where)[0] for n in range(count)]
        assert alone == expected


def test_a_helper_that_comes_late_changes_nothing(monkeypatch):
    """It may do its part once more at any time, even when the next pass has begun or ended."""
    with_components, without = both()
    queries, earlier = like_people(9, seed=1), []
    expected = answer(without, queries, 7, EVERYTHING)

    def share_with_late_helpers(work, parts):
        earlier.append((work, list(parts)))
        for _ in range(2):
            for again, its_parts in reversed(earlier):
                for part in its_parts:
                    again(part)

    monkeypatch.setattr(bounds, "share", share_with_late_helpers)
    monkeypatch.setattr(scan_module, "share", share_with_late_helpers)
    assert answer(with_components, queries, 7, EVERYTHING) == expected
    assert len(earlier) == 2
    for least in (-1.0, 0.3):
        expected = standardised(without, queries[:2], EVERYTHING, least)
        assert standardised(with_components, queries[:2], EVERYTHING, least) == expected


@pytest.mark.parametrize("threshold", [-1.0, 0.0])
@pytest.mark.parametrize("least", [0.0, 0.2])
def test_few_rows_are_multiplied_whole_however_many_reach_the_threshold(
    monkeypatch, threshold, least
):
    """As a search that re-ranks asks: the first crops of all, and those that reach a cosine."""
    with_components, without = both()
    scanned, scan_some = [], StandardisedScan._scan_some

    def counting(self, query, places):
        scanned.append(len(places))
        return scan_some(self, query, places)

    answers = []
    for rows in (without, with_components):
        monkeypatch.setattr(StandardisedScan, "_scan_some", counting)
        view, mask = rows.select(EVERYTHING)
        query = like_people(1, seed=1)
        scan = scan_standardised(view.standardised, mask, query, ["c0"], threshold)
        head = scan.best(0, 10, threshold, rows=10)
        answers.append((head.hits, head.nearest, head.rows.tolist(), scan.best(0, 10, least)))
    assert [one[:3] for one in answers] == [answers[0][:3]] * 2
    assert answers[0][3].hits == answers[1][3].hits
    assert 0 < sum(scanned) < 0.3 * 2 * 600, scanned


@pytest.mark.parametrize("where", FILTERS, ids=["all", "camera", "ids"])
@pytest.mark.parametrize("least", [-1.0, 0.0, 0.3, 0.6, 0.999999, 1.0])
@pytest.mark.parametrize("count", [1, 9])
def test_standardised_answers_are_the_same_to_the_last_bit(read, count, least, where):
    with_components, without = both()
    queries = like_people(count, seed=1)
    expected = standardised(without, queries, where, least)
    read.clear()
    assert standardised(with_components, queries, where, least) == expected
    if least == 0.6 and where is EVERYTHING:  # one scan, and twice the nearest
        assert sum(read) < 0.2 * 3 * count * 600, read


def test_a_threshold_that_is_exactly_a_cosine_counts_as_reached():
    with_components, without = both()
    query = like_people(1, seed=1)
    for hit in answer(without, query, 60, EVERYTHING)[0][::6]:
        for least in (hit.score, float(np.nextafter(np.float32(hit.score), np.float32(2)))):
            expected = standardised(without, query, EVERYTHING, least, top_k=600)
            assert standardised(with_components, query, EVERYTHING, least, top_k=600) == expected


def test_bounds_hold_for_every_row_and_any_basis():
    rng = np.random.default_rng(0)
    for vectors in (like_people(400), rng.standard_normal((400, DIMENSION)).astype(np.float32)):
        rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        basis = np.linalg.qr(rng.standard_normal((DIMENSION, 24)))[0].astype(np.float32)
        known = Known(basis, *components._projected(rows, basis), len(rows))
        queries = np.concatenate([rows[:20], -rows[:20]])
        most = known.most(np.arange(400), *known.asked(queries))
        exact = queries.astype(np.float64) @ rows.T.astype(np.float64)
        assert (most >= exact).all()
        least = -known.most(np.arange(400), *known.asked(-queries))
        assert (least <= exact).all()


def test_rows_that_came_later_and_removed_ones(read):
    """Missing components only make a search slower; a removed crop is never found."""
    vectors = like_people(900)
    known, unknown = (gallery_of(vectors[:600], known=one) for one in (True, False))
    for rows in (known, unknown):
        rows.put(crops(900, start=600), vectors[600:])
        rows.put([Crop("0001", camera="c9")], like_people(1, seed=5))
        rows.remove([f"{n:04d}" for n in range(0, 900, 7)])
    queries = like_people(3, seed=1)
    expected = answer(unknown, queries, 10, EVERYTHING)
    view = known.now()
    view.components._working = True  # the later rows stay without
    for _ in range(2):
        assert len(view.components.of(view.columns.vectors).rows) in {600, 901}
        assert answer(known, queries, 10, EVERYTHING) == expected
        assert standardised(known, queries, EVERYTHING, 0.5) == standardised(
            unknown, queries, EVERYTHING, 0.5
        )
        view.components.follow(view.columns.vectors)
    assert len(view.components.of(view.columns.vectors).rows) == 901


def test_the_same_where_rows_are_in_a_file(tmp_path):
    _, without = both()
    on_disk = gallery_of(like_people(600), known=True, allocation=OnDisk(tmp_path, from_bytes=0))
    queries = like_people(5, seed=1)
    assert answer(on_disk, queries, 9, EVERYTHING) == answer(without, queries, 9, EVERYTHING)
    for least in (-1.0, 0.5):
        asked = queries, EVERYTHING, least
        assert standardised(on_disk, *asked) == standardised(without, *asked)


def test_a_query_begins_the_work_and_does_not_wait(monkeypatch):
    vectors = like_people(900)
    rows = LiveRows(DIMENSION)
    rows.put(crops(600), vectors[:600])
    own = rows.now().components
    may_end, begun = threading.Event(), threading.Event()
    follow = own.follow

    def slowly(vectors):
        begun.set()
        assert may_end.wait(60)
        follow(vectors)

    monkeypatch.setattr(own, "follow", slowly)
    for _ in range(3):  # one thread, however many queries
        answer(rows, like_people(1, seed=1), 5, EVERYTHING)
    assert begun.wait(60)
    assert own.of(rows.now().columns.vectors) is None
    may_end.set()
    wait_for_the_thread()
    assert len(own.of(vectors[:600]).rows) == 600
    rows.put(crops(900, start=600), vectors[600:])
    assert len(own.of(rows.now().columns.vectors).rows) == 600  # and the rest has begun
    wait_for_the_thread()
    assert len(own.of(rows.now().columns.vectors).rows) == 900


def wait_for_the_thread():
    for thread in threading.enumerate():
        if thread.name == "components":
            thread.join(60)


def swept(monkeypatch, vectors, going, *, known=True):
    """A gallery whose dead rows were swept out, and its components before."""
    monkeypatch.setattr("service.gallery.rows.live_rows._COMPACT_FROM", 50)
    rows = gallery_of(vectors, known=known)
    before = rows.now().components
    rows.remove([f"{n:04d}" for n in going])
    assert rows.now().generation == 1
    return rows, before


def test_when_dead_rows_are_swept_out_components_move_with_the_others(monkeypatch, read):
    vectors, query = like_people(900), like_people(3, seed=1)
    rows, before = swept(monkeypatch, vectors, range(0, 500, 2))
    plain, _ = swept(monkeypatch, vectors, range(0, 500, 2), known=False)
    view = rows.now()
    view.components._working = True  # nobody computes
    known = view.components.of(view.columns.vectors)
    assert view.components is not before
    assert len(known.rows) == len(known.rests) == 650
    np.testing.assert_array_equal(
        known.rows, before._known.rows[[*range(1, 500, 2), *range(500, 900)]]
    )
    read.clear()
    found = answer(rows, query, 5, EVERYTHING)
    assert sum(read) < 3 * 650 / 2
    plain.now().components._working = True
    assert found == answer(plain, query, 5, EVERYTHING)


def test_moved_components_follow_new_rows(monkeypatch):
    rows, _ = swept(monkeypatch, like_people(900), range(0, 500, 2))
    more = like_people(200, seed=2)
    rows.put(crops(1100, start=900), more)
    view = rows.now()
    view.components.follow(view.columns.vectors)
    known = view.components.of(view.columns.vectors)
    np.testing.assert_allclose(known.rows[650:], more @ known.basis, atol=1e-5)
    np.testing.assert_allclose(
        known.rows[:650], view.columns.vectors[:650] @ known.basis, atol=1e-5
    )


def test_rows_without_components_move_behind_those_with_them(monkeypatch):
    monkeypatch.setattr("service.gallery.rows.live_rows._COMPACT_FROM", 50)
    rows = gallery_of(like_people(600), known=True)
    rows.put(crops(660, start=600), like_people(60, seed=2))
    rows.now().components._working = True
    rows.remove([f"{n:04d}" for n in range(100, 630, 2)])
    view = rows.now()
    view.components._working = True
    known = view.components.of(view.columns.vectors)
    assert len(known.rows) == 350
    np.testing.assert_allclose(known.rows, view.columns.vectors[:350] @ known.basis, atol=1e-5)


def test_a_basis_of_far_more_rows_is_computed_anew(monkeypatch):
    rows, _ = swept(monkeypatch, like_people(700), range(360))
    assert rows.now().components._known is None


def test_without_memory_to_move_components_an_erasure_goes_on(monkeypatch, caplog):
    def no_memory(*_, **__):
        raise MemoryError("no room")

    rows = gallery_of(like_people(600), known=True)
    monkeypatch.setattr(components, "replace", no_memory)
    monkeypatch.setattr("service.gallery.rows.live_rows._COMPACT_FROM", 50)
    rows.remove([f"{n:04d}" for n in range(0, 400, 2)])
    assert rows.now().components._known is None
    assert "components of 400 rows are computed anew: no room" in caplog.text


def test_rows_that_vary_in_every_direction_have_none():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((600, DIMENSION)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    own = Components()
    own.follow(rows)
    assert own.of(rows) is None
    assert not any(thread.name == "components" for thread in threading.enumerate())


def test_small_galleries_and_short_embeddings_have_none():
    for count, dimension in ((299, DIMENSION), (600, 128)):
        own = Components()
        assert own.of(like_people(count, dimension)) is None
        assert not own._working


def test_without_memory_searches_stay_slower(monkeypatch, caplog):
    rows = LiveRows(DIMENSION)
    rows.put(crops(600), like_people(600))
    own = rows.now().components

    def no_memory(_):
        raise MemoryError("no room")

    monkeypatch.setattr(components, "_fitted", no_memory)
    query = like_people(1, seed=1)
    expected = answer(rows, query, 5, EVERYTHING)
    wait_for_the_thread()
    assert "no components of 600 rows, searches stay slower: no room" in caplog.text
    assert answer(rows, query, 5, EVERYTHING) == expected
    assert not own._working


def test_without_memory_to_grow_what_is_known_still_serves(monkeypatch, caplog):
    vectors = like_people(900)
    rows = gallery_of(vectors[:600], known=True)
    rows.put(crops(900, start=600), vectors[600:])
    view = rows.now()

    def no_memory(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(view.components, "_with_room", no_memory)
    for _ in range(3):  # once is tried, and not again until there are many more rows
        assert len(view.components.of(view.columns.vectors).rows) == 600
        wait_for_the_thread()
    assert caplog.text.count("no components of 900 rows, searches stay slower: no room") == 1


def test_damaged_rows_do_not_matter():
    """Their slots stay in the gallery; no query finds them."""
    vectors = like_people(600).copy()
    vectors[::5] = np.nan
    vectors[1::5] = np.float32(3e38)
    own = Components()
    own.follow(vectors)
    sound = np.flatnonzero(np.arange(600) % 5 > 1)
    query = like_people(1, seed=1)
    found = Bounds.of(vectors, query, own).likely(sound, 5)[0]
    exact = vectors[sound] @ query[0]
    assert set(sound[np.argsort(-exact)[:5]]) <= set(found)
    assert (vectors[found] @ query[0] >= np.sort(exact)[-5] - 4 * MARGIN).all()
