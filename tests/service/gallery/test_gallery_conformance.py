"""What every kind of gallery must do, compared with an exact, slow one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest
from waiting import PATIENCE

from service.errors import Conflict, InvalidInput, NotFound
from service.gallery.base import Absent, Crop, Filter, GalleryOptions, Receipt

MODEL = "a" * 64
ADDED = 5.5
EARLY = 4.25
EVERYTHING = Filter()
FILTERS = [
    EVERYTHING,
    Filter(cameras=frozenset({"c1", "c2"})),
    Filter(cameras=frozenset()),
    Filter(cameras=frozenset({"nowhere"})),
    Filter(not_camera="c1"),
    Filter(not_camera="nowhere"),
    Filter(since=3.0),
    Filter(until=3.0),
    Filter(since=2.0, until=5.0),
    Filter(since=5.0, until=2.0),
    Filter(identities=frozenset({"ann", "o'neil", "张伟"})),
    Filter(crop_ids=frozenset({"00", "07", "13", "absent"})),
    Filter(crop_ids=frozenset()),
    Filter(cameras=frozenset({"c0", "c1"}), not_camera="c1", since=1.0),
    Filter(identities=frozenset({"ann"}), until=6.0, crop_ids=frozenset({"00", "01", "05"})),
    Filter(has_identity=True),
    Filter(has_identity=False, not_camera="c2"),
    Filter(expired_before=3.0),
    Filter(expired_before=6.0, has_identity=True),
    Filter(expired_before=-1.0),
    Filter(own_camera="c1"),
    Filter(not_camera="c0", own_camera="c1"),
    Filter(tracks=frozenset({"1"})),
    Filter(tracks=frozenset({"1", "2", "none"}), cameras=frozenset({"c1"})),
    Filter(origins=frozenset({"given", "hand"}), has_identity=True),
    Filter(id_prefix="0"),
    Filter(id_prefix="07", has_identity=True),
    Filter(id_prefix="absent"),
    Filter(id_prefix="\ud800"),
    Filter(id_prefix="4", not_camera="c1", until=6.0),
    Filter(added_since=ADDED),
    Filter(added_until=ADDED),
    Filter(added_since=EARLY + 0.25, cameras=frozenset({"c1", "c2"})),
    Filter(added_since=EARLY, added_until=ADDED, id_prefix="1"),
    Filter(
        cameras=frozenset({"c0", "c1", "c2"}),
        not_camera="c0",
        own_camera="c2",
        identities=frozenset({"ann", "bob"}),
        has_identity=True,
        crop_ids=frozenset(f"{number:02d}" for number in range(60)),
        since=1.0,
        until=7.0,
        added_since=EARLY,
        added_until=ADDED + 1.0,
    ),
]


def told(where: Filter) -> str:
    """A filter as part of a test's name, the same in all processes that share the suite."""
    given = {field.name: getattr(where, field.name) for field in fields(Filter)}
    parts = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in given.items()}
    asked = [
        f"{name}={parts[name]!a}" for name in given if given[name] != getattr(EVERYTHING, name)
    ]
    return ",".join(asked) or "all"


@pytest.fixture(params=["local", pytest.param("milvus", marks=pytest.mark.slow)], scope="module")
def backend(request):
    return request.param


def some_crops(count: int, seed: int = 0, pool: int = 100) -> list[Crop]:
    """Crops with and without each field; ids may repeat if the pool is small."""
    rng = np.random.default_rng(seed)
    ids = (
        rng.permutation(max(pool, count))[:count]
        if pool >= count
        else rng.integers(pool, size=count)
    )
    return [
        Crop(
            crop_id=f"{number:02d}",
            identity=[None, "ann", "bob", "o'neil", "张伟"][rng.integers(5)],
            camera=[None, "c0", "c1", "c2"][rng.integers(4)],
            timestamp=[None, *map(float, range(8))][rng.integers(9)],
            digest=[None, "d" * 64][rng.integers(2)],
            added=ADDED if number % 3 else EARLY,
            track=[None, "1", "2"][number % 3],
            origin=("given", "cluster", "hand", "join")[number % 4],
        )
        for number in ids
    ]


def filled(store, oracle, draw, count: int = 100, dimension: int = 8):
    gallery = store.create("g", MODEL, dimension)
    crops, rows = some_crops(count), draw(count, dimension)
    assert gallery.upsert(crops, rows) == count
    oracle.upsert(crops, rows)
    return gallery


@pytest.fixture(scope="module")
def full(shared_store, shared_oracle, draw):
    """A gallery of 100 crops, and the exact one that it must equal; tests only read them."""
    return filled(shared_store, shared_oracle, draw), shared_oracle


def listed(gallery, where, limit):
    """All pages, joined."""
    crops, cursor = [], None
    while True:
        page = gallery.page(where, limit, cursor)
        assert len(page.crops) <= limit
        crops.extend(page.crops)
        if page.cursor is None:
            return crops
        cursor = page.cursor


class TestQuery:
    @pytest.mark.parametrize("where", FILTERS, ids=told)
    def test_filters_are_exact(self, full, draw, where):
        gallery, oracle = full
        for queries in (draw(1, seed=1), draw(9, seed=2)):
            oracle.assert_answers(gallery, queries, 7, where)

    @pytest.mark.parametrize("queries", [1, 2, 9])
    @pytest.mark.parametrize("top_k", [1, 5, 100, 10_000])
    def test_every_batch_size_and_top_k(self, full, draw, queries, top_k):
        gallery, oracle = full
        oracle.assert_answers(gallery, draw(queries, seed=3), top_k, EVERYTHING)

    def test_filters_that_pass_few_or_many_rows(self, store, oracle, draw):
        gallery = store.create("g", MODEL, 16)
        crops = [Crop(f"{i:04d}", camera="rare" if i % 50 == 0 else "busy") for i in range(1500)]
        rows = draw(1500, 16)
        gallery.upsert(crops, rows)
        oracle.upsert(crops, rows)
        for where in (
            EVERYTHING,
            Filter(cameras=frozenset({"rare"})),
            Filter(not_camera="rare"),
            Filter(crop_ids=frozenset({"0003"})),
        ):
            for queries in (draw(1, 16, seed=4), draw(6, 16, seed=5)):
                oracle.assert_answers(gallery, queries, 12, where)

    @pytest.mark.parametrize("queries", [1, 6])
    @pytest.mark.parametrize("where", [EVERYTHING, Filter(not_camera="x")], ids=["all", "filtered"])
    def test_ties_come_in_the_order_of_ids(self, store, draw, queries, where):
        gallery = store.create("g", MODEL, 8)
        near, far = draw(2)
        ids = [f"{i:03d}" for i in np.random.default_rng(0).permutation(300)]
        crops = [Crop(crop_id, camera="x" if crop_id > "290" else "y") for crop_id in ids]
        gallery.upsert(crops, np.stack([near if crop_id < "200" else far for crop_id in ids]))
        hits = gallery.query(np.stack([near] * queries), 10, where)
        assert [[hit.crop.crop_id for hit in one] for one in hits] == [
            [f"{i:03d}" for i in range(10)]
        ] * queries

    def test_a_crop_finds_itself_with_cosine_one(self, store, draw):
        gallery = store.create("g", MODEL, 512)
        rows = draw(20, 512)
        gallery.upsert([Crop(f"{i:02d}") for i in range(20)], rows)
        for i, hits in enumerate(gallery.query(rows, 1, EVERYTHING)):
            assert hits[0].crop.crop_id == f"{i:02d}"
            assert hits[0].score == pytest.approx(1.0, abs=1e-6)
            assert -1.0 <= hits[0].score <= 1.0

    def test_an_empty_gallery_has_no_hits(self, store, draw):
        gallery = store.create("g", MODEL, 8)
        assert gallery.query(draw(3), 5, EVERYTHING) == [[], [], []]
        assert gallery.query(draw(0), 5, EVERYTHING) == []

    @pytest.mark.parametrize(
        ("queries", "message"),
        [
            (np.zeros((1, 8), np.float32), "query 0: embedding has length 0"),
            (np.full((1, 8), np.nan, np.float32), "query 0: .* not finite"),
            (np.full((1, 8), 3e38, np.float32), "query 0: embedding has length"),
            (np.zeros((1, 7), np.float32), r"shape \(1, 7\), must be \(N, 8\)"),
            (np.zeros(8, np.float32), r"shape \(8,\), must be \(N, 8\)"),
        ],
    )
    def test_a_bad_query_is_named(self, full, queries, message):
        gallery, _ = full
        with pytest.raises(InvalidInput, match=message):
            gallery.query(queries, 1, EVERYTHING)

    def test_top_k_below_one_is_refused(self, full, draw):
        gallery, _ = full
        with pytest.raises(InvalidInput, match="top_k must be at least 1, got 0"):
            gallery.query(draw(1), 0, EVERYTHING)


class TestCounting:
    @pytest.mark.parametrize("where", FILTERS, ids=told)
    def test_a_count_is_the_length_of_the_listing(self, store, reopen, oracle, draw, where):
        gallery = filled(store, oracle, draw)
        for again in (False, True):
            gallery = reopen().open("g") if again else gallery
            assert gallery.count(where) == len(oracle.listed(where))
        gone = oracle.listed(EVERYTHING)[::2]
        chosen = Filter(crop_ids=frozenset(crop.crop_id for crop in gone))
        assert gallery.delete(chosen).crops == oracle.delete(chosen)
        assert gallery.count(where) == len(oracle.listed(where))

    def test_absent_lists_names_that_no_crop_has(self, store, oracle, draw):
        gallery = filled(store, oracle, draw)
        asked = Filter(
            cameras=frozenset({"c0", "C0", "nowhere"}),
            not_camera="c9",
            own_camera="c1",
            identities=frozenset({"ann", "eve", "张伟"}),
            crop_ids=frozenset({"00", "absent"}),
            tracks=frozenset({"1", "7"}),
        )
        assert gallery.absent(asked) == Absent(
            ("C0", "c9", "nowhere"), ("eve",), ("absent",), ("7",)
        )
        assert gallery.absent(EVERYTHING) == Absent()
        gallery.delete(Filter(cameras=frozenset({"c0"})))
        gallery.relabel({crop.crop_id: None for crop in gallery.crops(EVERYTHING)}, "hand")
        gone = gallery.absent(asked)
        assert gone.cameras == ("C0", "c0", "c9", "nowhere")
        assert gone.identities == ("ann", "eve", "张伟")

    @pytest.mark.parametrize("prefix", ["a", "a%", "a_", "a\\", 'a"', "~", "ü", "\U0001f600", "ab"])
    def test_a_prefix_is_taken_literally(self, store, oracle, draw, prefix):
        gallery = store.create("g", MODEL, 8)
        names = [
            "a",
            "a%1",
            "a_1",
            "~",
            "~1",
            "ü1",
            "\U0001f600",
            "abc",
            "b",
            "a\\1",
            'a"1',
        ]
        crops, rows = [Crop(name, added=ADDED) for name in names], draw(len(names))
        gallery.upsert(crops, rows)
        oracle.upsert(crops, rows)
        where = Filter(id_prefix=prefix)
        expected = [crop for crop in crops if crop.crop_id.startswith(prefix)]
        assert oracle.listed(where) == sorted(expected, key=lambda crop: crop.crop_id)
        assert listed(gallery, where, 2) == oracle.listed(where)
        assert gallery.crops(where) == oracle.listed(where)
        assert gallery.count(where) == len(expected)
        oracle.assert_answers(gallery, draw(1, seed=2), 20, where)


class TestOddIds:
    INJECTED = "'] or crop_id != '' or crop_id in ['"
    NAMES = (
        "a",
        'a"',
        "a'",
        "a\\",
        'a\\"b',
        "a\\n",
        "b",
        'b" or crop_id != "',
        "c\\\\",
        "element_filter",
        INJECTED,
    )

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_every_id_can_be_listed_counted_read_and_deleted(self, store, oracle, draw, limit):
        gallery = store.create("g", MODEL, 8)
        crops = [Crop(name, identity=name, camera=name, added=ADDED) for name in self.NAMES]
        for taker in (gallery, oracle):
            taker.upsert(crops, draw(len(crops)))
        assert listed(gallery, Filter(), limit) == oracle.listed(Filter())
        assert gallery.stats().crops == len(crops)
        for crop in crops:
            assert gallery.get(crop.crop_id) == crop
            where = Filter(cameras=frozenset({crop.crop_id}))
            assert listed(gallery, where, limit) == [crop]

    @pytest.mark.parametrize("name", NAMES)
    def test_deleting_one_leaves_the_others(self, store, draw, name):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop(one) for one in self.NAMES], draw(len(self.NAMES)))
        assert gallery.delete(Filter(crop_ids=frozenset({name}))).crops == 1
        assert [crop.crop_id for crop in gallery.crops(Filter())] == sorted(
            one for one in self.NAMES if one != name
        )


class TestUpsert:
    def test_counts_new_ids_and_replaces_known_ones(self, store, oracle, draw):
        gallery = filled(store, oracle, draw, 10)
        known = some_crops(10)[3].crop_id
        crops, rows = [Crop(known, identity="new"), Crop("zz")], draw(2, seed=9)
        assert gallery.upsert(crops, rows) == 1
        oracle.upsert(crops, rows)
        assert gallery.get(known) == crops[0]
        assert gallery.stats().crops == 11
        np.testing.assert_allclose(gallery.embeddings([known, "zz"]), rows, atol=1e-6)
        oracle.assert_answers(gallery, draw(2, seed=10), 11, EVERYTHING)

    def test_the_last_of_equal_ids_wins(self, store, draw):
        gallery = store.create("g", MODEL, 8)
        rows = draw(3)
        assert gallery.upsert([Crop("a", "one"), Crop("b"), Crop("a", "two")], rows) == 2
        assert gallery.get("a").identity == "two"
        np.testing.assert_allclose(gallery.embeddings(["a", "b"]), rows[[2, 1]], atol=1e-6)

    def test_an_empty_upsert_is_fine(self, store):
        assert store.create("g", MODEL, 8).upsert([], np.empty((0, 8), np.float32)) == 0

    @pytest.mark.parametrize(
        "crop",
        [
            Crop(""),
            Crop("x" * 201),
            Crop("a\nb"),
            Crop("a\x00b"),
            Crop("\ud800"),
            Crop("ok", identity=""),
            Crop("ok", camera="\x07"),
            Crop("ok", digest="x" * 201),
            Crop("ok", timestamp=float("nan")),
            Crop("ok", timestamp=float("inf")),
        ],
        ids=repr,
    )
    def test_a_bad_crop_changes_nothing(self, store, draw, crop):
        gallery = store.create("g", MODEL, 8)
        with pytest.raises(InvalidInput):
            gallery.upsert([Crop("good"), crop], draw(2))
        assert gallery.stats().crops == 0
        assert gallery.page(EVERYTHING, 10).crops == ()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.5, -2.0])
    def test_a_bad_embedding_is_named_and_changes_nothing(self, store, draw, bad):
        gallery = store.create("g", MODEL, 8)
        rows = draw(3)
        rows[1] = 0.0
        rows[1, 0] = bad
        with pytest.raises(InvalidInput, match="'culprit'"):
            gallery.upsert([Crop("a"), Crop("culprit"), Crop("c")], rows)
        assert gallery.stats().crops == 0

    @pytest.mark.parametrize("shape", [(1, 8), (2, 7), (2, 8, 1), (16,)])
    def test_a_wrong_shape_is_named(self, store, shape):
        gallery = store.create("g", MODEL, 8)
        with pytest.raises(InvalidInput, match=r"must be \(2, 8\)"):
            gallery.upsert([Crop("a"), Crop("b")], np.zeros(shape, np.float32))

    def test_the_longest_and_strangest_allowed_texts_survive(self, store, reopen, draw):
        gallery = store.create("g", MODEL, 8)
        crops = [Crop("x" * 200, "ü" * 200), Crop("'; DROP TABLE crops; --", camera='"%_\\')]
        gallery.upsert(crops, draw(2))
        gallery = reopen().open("g")
        assert [gallery.get(crop.crop_id) for crop in crops] == crops
        assert gallery.page(Filter(cameras=frozenset({'"%_\\'})), 10).crops == (crops[1],)


class TestPage:
    @pytest.mark.parametrize("limit", [1, 7, 99, 100, 101])
    def test_pages_together_list_everything(self, full, limit):
        gallery, oracle = full
        assert listed(gallery, EVERYTHING, limit) == oracle.listed(EVERYTHING)

    @pytest.mark.parametrize("where", FILTERS, ids=told)
    def test_filters_are_exact(self, full, where):
        gallery, oracle = full
        assert listed(gallery, where, 6) == oracle.listed(where)
        assert gallery.crops(where) == oracle.listed(where)

    def test_changes_between_pages_neither_repeat_nor_skip(self, store, oracle, draw):
        gallery = filled(store, oracle, draw, 20)
        ids = [crop.crop_id for crop in oracle.listed(EVERYTHING)]
        first = gallery.page(EVERYTHING, 10)
        gallery.delete(Filter(crop_ids=frozenset({ids[9], ids[12]})))
        gallery.upsert([Crop("!before all")], draw(1))
        rest = gallery.page(EVERYTHING, 100, first.cursor)
        assert [crop.crop_id for crop in rest.crops] == [*ids[10:12], *ids[13:]]

    @pytest.mark.parametrize("cursor", ["", "!", "AAAA", "x" * 5000, "ä", "AAAAAGFi", "A A="])
    def test_a_broken_cursor_is_refused(self, full, cursor):
        gallery, _ = full
        with pytest.raises(InvalidInput, match="cursor"):
            gallery.page(EVERYTHING, 10, cursor)

    def test_a_cut_cursor_is_refused(self, full):
        gallery, _ = full
        cursor = gallery.page(EVERYTHING, 10).cursor
        assert cursor.replace("-", "").replace("_", "").isalnum()
        with pytest.raises(InvalidInput, match="cursor"):
            gallery.page(EVERYTHING, 10, cursor[:-1])

    def test_a_limit_below_one_is_refused(self, full):
        gallery, _ = full
        with pytest.raises(InvalidInput, match="limit must be at least 1, got 0"):
            gallery.page(EVERYTHING, 0)


class TestDelete:
    @pytest.mark.parametrize("where", FILTERS, ids=told)
    def test_filters_are_exact(self, store, reopen, oracle, draw, where):
        gallery = filled(store, oracle, draw)
        assert gallery.delete(where).crops == oracle.delete(where)
        for again in (False, True):
            gallery = reopen().open("g") if again else gallery
            assert listed(gallery, EVERYTHING, 1000) == oracle.listed(EVERYTHING)
            oracle.assert_answers(gallery, draw(2, seed=7), 100, EVERYTHING)

    def test_deleted_crops_are_gone(self, store, draw):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop("a"), Crop("b")], draw(2))
        assert gallery.delete(Filter(crop_ids=frozenset({"a"}))).crops == 1
        assert gallery.delete(Filter(crop_ids=frozenset({"a"}))).crops == 0
        with pytest.raises(NotFound, match="'a'"):
            gallery.get("a")
        with pytest.raises(NotFound, match="'a'"):
            gallery.embeddings(["b", "a"])


def test_get_and_embeddings(full):
    gallery, oracle = full
    ids = [crop.crop_id for crop in oracle.listed(EVERYTHING)][::-3]
    rows = gallery.embeddings(ids)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [oracle.rows[crop_id][1] for crop_id in ids], atol=1e-6)
    assert gallery.embeddings([]).shape == (0, 8)
    assert [gallery.get(crop_id) for crop_id in ids] == [oracle.rows[i][0] for i in ids]


def test_stats(store, oracle, draw):
    gallery = filled(store, oracle, draw)
    crops = oracle.listed(EVERYTHING)
    stats = gallery.stats()
    assert (stats.name, stats.model_sha256, stats.dimension) == ("g", MODEL, 8)
    assert stats.crops == len(crops)
    assert stats.identities == len({crop.identity for crop in crops} - {None})
    assert stats.cameras == {
        camera: sum(crop.camera == camera for crop in crops) for camera in ("c0", "c1", "c2")
    }
    assert stats.created > 1.7e9
    assert stats.damaged == 0
    gallery.delete(Filter(cameras=frozenset({"c1"})))
    assert set(gallery.stats().cameras) == {"c0", "c2"}


@pytest.mark.parametrize("seed", range(4))
def test_random_operations(store, reopen, oracle, draw, seed):
    """Random upserts, deletions, filters, queries and restarts; few distinct rows, so many tie."""
    rng = np.random.default_rng(seed)
    gallery = store.create("g", MODEL, 8)
    rows = draw(15, seed=seed)
    for step in range(80):
        match rng.integers(10):
            case 0:
                where = FILTERS[rng.integers(1, len(FILTERS))]
                assert gallery.delete(where).crops == oracle.delete(where)
            case 1:
                gallery = reopen().open("g")
                chosen = [crop.crop_id for crop in oracle.listed(EVERYTHING)][::3]
                labels = dict(zip([*chosen, "gone"], ["ann", None, "eve"] * 40, strict=False))
                assert gallery.relabel(labels, "hand") <= len(chosen)
                oracle.relabel(labels)
            case 2 | 3 | 4:
                crops = some_crops(int(rng.integers(1, 12)), seed=1000 * seed + step, pool=40)
                crops = list({crop.crop_id: crop for crop in crops}.values())
                drawn = rows[rng.integers(len(rows), size=len(crops))]
                assert gallery.upsert(crops, drawn) == oracle.upsert(crops, drawn)
            case _:
                where = FILTERS[rng.integers(len(FILTERS))]
                queries = draw(int(rng.integers(1, 7)), seed=step)
                oracle.assert_answers(gallery, queries, int(rng.integers(1, 15)), where)
    assert listed(gallery, EVERYTHING, 9) == oracle.listed(EVERYTHING)
    assert gallery.stats().crops == len(oracle.rows)


class TestRelabel:
    def test_relabelling_changes_only_identities(self, store, reopen, oracle, draw):
        gallery = filled(store, oracle, draw)
        before = {crop.crop_id: crop for crop in oracle.listed(EVERYTHING)}
        some = sorted(before)[:3]
        labels = {some[0]: "eve", some[1]: None, some[2]: "张伟", "absent": "eve"}
        assert gallery.relabel(labels, "hand") == 3
        oracle.relabel(labels)
        for again in (False, True):
            gallery = reopen().open("g") if again else gallery
            for crop_id in some:
                crop = gallery.get(crop_id)
                assert (crop.identity, crop.origin) == (labels[crop_id], "hand")
                assert crop.added == before[crop_id].added
            for where in (
                EVERYTHING,
                Filter(identities=frozenset({"eve"})),
                Filter(has_identity=True),
            ):
                oracle.assert_answers(gallery, draw(2, seed=3), 9, where)
                assert listed(gallery, where, 50) == oracle.listed(where)
        assert gallery.relabel(labels, "hand") == 0
        assert gallery.relabel({some[0]: "eve"}, "cluster") == 1
        assert gallery.relabel({}, "hand") == 0

    def test_a_bad_identity_changes_nothing(self, store, oracle, draw):
        gallery = filled(store, oracle, draw, 10)
        first, second = (crop.crop_id for crop in oracle.listed(EVERYTHING)[:2])
        with pytest.raises(InvalidInput, match="identity"):
            gallery.relabel({first: "fine", second: ""}, "hand")
        assert listed(gallery, EVERYTHING, 50) == oracle.listed(EVERYTHING)

    def test_replacing_a_crop_sets_its_identity_again(self, store, draw):
        gallery = store.create("g", MODEL, 8)
        gallery.upsert([Crop("a", "one")], draw(1))
        gallery.relabel({"a": "two"}, "cluster")
        gallery.upsert([Crop("a", "three")], draw(1))
        assert (gallery.get("a").identity, gallery.get("a").origin) == ("three", "given")


class TestReceipt:
    def test_a_receipt_counts_what_is_deleted(self, store, oracle, draw):
        gallery = filled(store, oracle, draw)
        where = Filter(cameras=frozenset({"c1", "c2"}), has_identity=True)
        deleted = oracle.listed(where)
        expected = Receipt(
            crops=len(deleted),
            pictures=0,
            identities=len({crop.identity for crop in deleted}),
            cameras={name: sum(c.camera == name for c in deleted) for name in ("c1", "c2")},
        )
        assert gallery.delete(where, dry_run=True) == expected
        assert listed(gallery, EVERYTHING, 50) == oracle.listed(EVERYTHING)
        assert gallery.delete(where) == expected
        assert gallery.delete(where) == Receipt(0, 0, 0, {})

    def test_retention_deletes_by_age(self, store, oracle, draw):
        gallery = filled(store, oracle, draw)
        old = Filter(expired_before=ADDED)
        assert gallery.delete(old).crops == oracle.delete(old)
        assert gallery.stats().oldest == min(
            crop.timestamp if crop.timestamp is not None else crop.added
            for crop in oracle.listed(EVERYTHING)
        )
        gallery.delete(EVERYTHING)
        assert gallery.stats().oldest is None


class TestOptions:
    def test_they_are_kept(self, store, reopen):
        wanted = GalleryOptions(keep_for=3600.0, join=True)
        gallery = store.create("g", MODEL, 8, wanted)
        assert gallery.options == wanted
        gallery = reopen().open("g")
        assert gallery.options == wanted
        gallery.configure(GalleryOptions())
        again = reopen()
        assert again.open("g").options == GalleryOptions()
        assert again.create("plain", MODEL, 8).options == GalleryOptions()

    @pytest.mark.parametrize("keep_for", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_bad_one_is_refused(self, store, keep_for):
        with pytest.raises(InvalidInput, match="keep_for"):
            store.create("g", MODEL, 8, GalleryOptions(keep_for=keep_for))
        gallery = store.create("g", MODEL, 8)
        with pytest.raises(InvalidInput, match="keep_for"):
            gallery.configure(GalleryOptions(keep_for=keep_for))
        assert gallery.options == GalleryOptions()

    def test_they_are_shown(self, store):
        stats = store.create("g", MODEL, 8, GalleryOptions(keep_for=1.5)).stats()
        assert (stats.store_crops, stats.keep_for, stats.join) == (False, 1.5, False)
        assert (stats.pictures, stats.oldest) == (0, None)


def test_each_picture_needs_a_crop(store, draw):
    gallery = store.create("g", MODEL, 8)
    with pytest.raises(InvalidInput, match="got 2 pictures for 1 crops"):
        gallery.upsert([Crop("a")], draw(1), [b"1", b"2"])


def test_a_crop_gets_the_time_it_was_added(store, reopen, draw):
    gallery = store.create("g", MODEL, 8)
    before = time.time()
    gallery.upsert([Crop("now"), Crop("then", added=12.5)], draw(2))
    gallery = reopen().open("g")
    assert before <= gallery.get("now").added <= time.time()
    assert gallery.get("then").added == 12.5
    assert gallery.stats().oldest == 12.5


class TestStore:
    def test_galleries_survive_a_restart(self, store, reopen, oracle, draw):
        filled(store, oracle, draw)
        store.create("empty", "b" * 64, 4)
        again = reopen()
        assert [(one.name, one.crops) for one in again.stats()] == [("empty", 0), ("g", 100)]
        gallery = again.open("g")
        assert gallery.name == "g"
        oracle.assert_answers(gallery, draw(5, seed=6), 20, FILTERS[4])

    def test_creating_twice_conflicts(self, store):
        store.create("g", MODEL, 8)
        with pytest.raises(Conflict, match="'g' already exists"):
            store.create("g", MODEL, 8)

    @pytest.mark.parametrize(
        "name", ["", "A", "-a", "_a", "a/b", "..", "a b", "x" * 65, "ä", "a\n", ".a"]
    )
    def test_a_bad_name_is_refused(self, store, name):
        with pytest.raises(InvalidInput, match="gallery name"):
            store.create(name, MODEL, 8)
        with pytest.raises(NotFound):
            store.open(name)
        with pytest.raises(NotFound):
            store.delete(name)

    @pytest.mark.parametrize("name", ["a", "0", "x" * 64, "a-b_c"])
    def test_a_good_name_is_accepted(self, store, name):
        assert store.create(name, MODEL, 8).name == name

    @pytest.mark.parametrize("dimension", [0, -1, 65537])
    def test_a_bad_dimension_is_refused(self, store, dimension):
        with pytest.raises(InvalidInput, match=f"65536, got {dimension}"):
            store.create("g", MODEL, dimension)

    def test_a_gallery_knows_its_model(self, store):
        assert store.create("g", MODEL, 8).model_sha256 == MODEL
        assert store.open("g").model_sha256 == MODEL

    def test_deleting_a_gallery(self, store, reopen, oracle, draw):
        gallery = filled(store, oracle, draw)
        assert store.delete("g") == 100
        for forgotten in (lambda: store.open("g"), lambda: store.delete("g")):
            with pytest.raises(NotFound, match="'g'"):
                forgotten()
        for late in (
            lambda: gallery.query(draw(1), 1, EVERYTHING),
            lambda: gallery.upsert([Crop("a")], draw(1)),
            lambda: gallery.page(EVERYTHING, 1),
            lambda: gallery.delete(EVERYTHING),
            lambda: gallery.get("00"),
        ):
            with pytest.raises(NotFound, match="'g'"):
                late()
        assert store.create("g", "b" * 64, 4).stats().crops == 0
        assert [one.model_sha256 for one in reopen().stats()] == ["b" * 64]

    def test_a_store_reports_that_it_is_writable(self, store):
        assert store.writable()


def test_queries_run_during_writes(store, oracle, draw):
    """A query sees each write completely or not at all: both crops always have the same label."""
    gallery = filled(store, oracle, draw, 60)
    pair = draw(2, seed=1000)
    gallery.upsert([Crop("p1", identity="0"), Crop("p2", identity="0")], pair)
    stop = threading.Event()

    def write():
        for label in range(1, 61):
            gallery.upsert([Crop("p1", identity=str(label)), Crop("p2", identity=str(label))], pair)
            crops = [Crop(f"extra{label}")]
            gallery.upsert(crops, draw(1, seed=label))
            if label % 2:
                gallery.delete(Filter(crop_ids=frozenset({f"extra{label}"})))
        stop.set()

    def read(seed):
        seen = 0
        while not stop.is_set() or seen == 0:
            hits = gallery.query(pair, 1, EVERYTHING if seed % 2 else Filter(not_camera="c1"))
            labels = {one[0].crop.identity for one in hits}
            assert [one[0].crop.crop_id for one in hits] == ["p1", "p2"]
            assert len(labels) == 1
            assert len(gallery.page(EVERYTHING, 1000).crops) >= 62
            assert gallery.stats().crops >= 62
            seen += 1
        return seen

    with ThreadPoolExecutor(5) as threads:
        reading = [threads.submit(read, seed) for seed in range(4)]
        try:
            threads.submit(write).result(timeout=PATIENCE)
        finally:
            stop.set()
        assert all(one.result(timeout=PATIENCE) > 0 for one in reading)
    assert gallery.stats().crops == 62 + 30
