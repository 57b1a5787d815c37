"""Standardised queries equal an explicit oracle; statistics follow writes at a bounded cost."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from service.errors import Unsupported
from service.gallery import products
from service.gallery.base import Crop, Filter
from service.gallery.standardising import scan as scan_module
from service.gallery.standardising.cameras import Lengths, Standards
from service.gallery.standardising.rows import StandardisedRows
from service.gallery.standardising.running import (
    MIN_CROPS,
    RENEW_SHARE,
    SAMPLE,
    RunningStandards,
    directions,
)
from service.gallery.standardising.search import scan_standardised
from training.hhcl.linking import standardise_cameras

DIMENSION = 12


@dataclass
class Rows:
    """A gallery as three growing columns, with its statistics."""

    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, DIMENSION), np.float32))
    cameras: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    alive: np.ndarray = field(default_factory=lambda: np.empty(0, np.bool_))
    crops: list[Crop] = field(default_factory=list)
    running: RunningStandards = field(default_factory=RunningStandards)
    lengths: Lengths = field(default_factory=Lengths)

    def write(self, vectors, cameras, removed=()):
        """Add rows and remove others, as one write."""
        start, removed = len(self.cameras), np.array(removed, np.int64)
        self.vectors = np.concatenate([self.vectors, vectors])
        self.cameras = np.concatenate([self.cameras, np.asarray(cameras, np.int32)])
        self.alive = np.concatenate([self.alive, np.ones(len(vectors), np.bool_)])
        self.alive[removed] = False
        shuffled = np.random.default_rng(start).permutation(len(vectors))
        self.crops += [Crop(f"{start:05d}-{number:05d}") for number in shuffled]
        added = np.arange(start, len(self.cameras))
        return self.running.follow(
            self.vectors, self.cameras, self.alive, added=added, removed=removed
        )

    def now(self):
        codes = {f"c{code}": code for code in range(int(self.cameras.max(initial=-1)) + 1)}
        nobody = np.full(len(self.cameras), -1, np.int32)
        return StandardisedRows(
            self.vectors,
            self.cameras,
            nobody,
            self.crops,
            codes,
            {},
            self.running.now,
            self.lengths,
        )


@dataclass(frozen=True)
class Asked:
    """What a test asks for."""

    top_k: int
    least: float = -1.0
    rows: int = 0


def nearest_standardised(rows, mask, queries, cameras, asked):
    """One scan, and the answer to each query."""
    scan = scan_standardised(rows, mask, queries, cameras, asked.least)
    if scan is None:
        return None
    return [scan.best(place, asked.top_k, asked.least, asked.rows) for place in range(len(queries))]


def ask_stored(gallery, queries, cameras, where, asked):
    """The same of a stored gallery."""
    scan = gallery.scan_standardised(queries, cameras, where, asked.least)
    return [scan.best(place, asked.top_k, asked.least, asked.rows) for place in range(len(queries))]


def people(count, seed=0, cameras=3, share_unknown=0.0):
    """Unit rows, shifted and scaled by their cameras, and these cameras."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, cameras, count)
    shift, scale = (
        rng.normal(0, 0.6, (cameras, DIMENSION)),
        rng.uniform(0.7, 1.4, (cameras, DIMENSION)),
    )
    rows = rng.standard_normal((count, DIMENSION)) * scale[codes] + shift[codes]
    codes[rng.random(count) < share_unknown] = -1
    return unit(rows), codes


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def explicit(row, standard):
    """One row standardised step by step: subtract, divide, scale to unit length."""
    spread = [
        (float(x) - m) / d for x, m, d in zip(row, standard.mean, standard.deviation, strict=True)
    ]
    length = math.sqrt(math.fsum(value * value for value in spread))
    return [value / length for value in spread] if length else spread


def cosine(one, other):
    return math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def oracle(rows, mask, query, camera, asked):
    """Every row standardised explicitly with the statistics in force, then sorted."""
    standards = rows.standards
    own = None if camera is None else rows.camera_codes.get(camera)
    q = explicit(query, standards.cameras.get(own, standards.overall))
    found = []
    for slot in np.flatnonzero(mask):
        plain = cosine(rows.vectors[slot], query)
        if plain >= asked.least:
            standard = standards.cameras.get(int(rows.cameras[slot]), standards.overall)
            score = cosine(explicit(rows.vectors[slot], standard), q)
            found.append((-score, rows.crops[slot].crop_id, plain))
    return sorted(found)[: asked.top_k]


def assert_equals_oracle(rows, mask, queries, cameras, asked):
    answers = nearest_standardised(rows, mask, queries, cameras, asked)
    for query, camera, answer in zip(queries, cameras, answers, strict=True):
        expected = oracle(rows, mask, query, camera, asked)
        assert [hit.crop.crop_id for hit in answer.hits] == [crop_id for _, crop_id, _ in expected]
        np.testing.assert_allclose(
            [hit.standardised for hit in answer.hits], [-s for s, *_ in expected], atol=1e-6
        )
        np.testing.assert_allclose(
            [hit.score for hit in answer.hits], [plain for *_, plain in expected], atol=1e-6
        )
        plain = [cosine(query, row) for row in rows.vectors[mask]]
        assert answer.nearest == pytest.approx(max(plain), abs=1e-6)
    return answers


@pytest.fixture
def gallery():
    """Three cameras with enough crops, a fourth with too few, and crops without a camera."""
    rows = Rows()
    vectors, cameras = people(600, share_unknown=0.1)
    rows.write(vectors, cameras)
    few, _ = people(20, seed=5)
    rows.write(few, [3] * 20)
    return rows


class TestStatistics:
    def test_statistics_equal_those_of_training(self):
        vectors, cameras = people(600)
        rows = Rows()
        rows.write(vectors, cameras)
        mine = rows.now().standardised(np.arange(600))
        np.testing.assert_allclose(mine, standardise_cameras(vectors, cameras), atol=2e-5)

    def test_a_camera_is_standardised_from_its_minimum_on(self):
        rows = Rows()
        vectors, _ = people(MIN_CROPS + 1, cameras=1)
        assert not rows.write(vectors[:-2], [0] * (MIN_CROPS - 1)).in_force
        standards = rows.write(vectors[-2:-1], [0])
        assert set(standards.cameras) == {0}
        assert standards.cameras[0].count == MIN_CROPS

    def test_many_small_cameras_are_not_standardised(self):
        rows = Rows()
        vectors, _ = people(500)
        assert not rows.write(vectors, range(500)).in_force

    @pytest.mark.parametrize(("persons", "takes_part"), [(1, False), (8, False), (60, True)])
    def test_many_crops_of_few_people_are_not_enough(self, persons, takes_part):
        rng = np.random.default_rng(0)
        crowd, few = rng.standard_normal((200, 256)), rng.standard_normal((persons, 256))
        faces = np.concatenate([crowd.repeat(3, axis=0), few.repeat(600 // persons, axis=0)])
        crops = unit(faces + 0.6 * rng.standard_normal(faces.shape))
        rows = Rows(vectors=np.empty((0, 256), np.float32))
        standards = rows.write(crops, [0] * 600 + [1] * (len(crops) - 600))
        assert set(standards.cameras) == ({0, 1} if takes_part else {0})

    @pytest.mark.parametrize("persons", [2, 10, 50])
    def test_n_people_differ_in_n_minus_one_directions(self, persons):
        faces = np.random.default_rng(0).standard_normal((persons, 2048))
        assert directions(unit(faces)) == pytest.approx(persons - 1, rel=0.1)
        assert directions(unit(faces.repeat(9, axis=0))) == pytest.approx(persons - 1, rel=0.2)

    def test_statistics_of_many_crops_use_an_even_sample(self):
        rows = Rows()
        vectors, cameras = people(2 * SAMPLE, cameras=1)
        vectors[SAMPLE:] = np.roll(vectors[SAMPLE:], 1, axis=1)  # other people in the evening
        standard = rows.write(vectors, cameras).cameras[0]
        exact = vectors.astype(np.float64)
        noise = 4 * exact.std(axis=0) / np.sqrt(SAMPLE)
        assert (abs(standard.mean - exact.mean(axis=0)) < noise).all()
        assert standard.count == 2 * SAMPLE

    def test_a_camera_without_enough_crops_is_dropped_and_may_return(self):
        rows = Rows()
        vectors, _ = people(2 * MIN_CROPS, cameras=1)
        rows.write(vectors, [0] * len(vectors))
        nothing = np.empty((0, DIMENSION), np.float32)
        assert not rows.write(nothing, [], removed=range(MIN_CROPS + 1)).in_force
        assert rows.write(vectors[:2], [0, 0]).in_force

    def test_statistics_are_renewed_before_they_are_outdated(self):
        """After every write, the statistics are current or only a few changes old."""
        rows, rng = Rows(), np.random.default_rng(1)
        taken = {}  # serial of each key's statistics, and the changes since
        for step in range(150):
            vectors, cameras = people(int(rng.integers(1, 30)), seed=step, share_unknown=0.1)
            living = np.flatnonzero(rows.alive)
            removed = rng.choice(living, min(len(living), int(rng.integers(0, 12))), replace=False)
            touched = np.concatenate([cameras, rows.cameras[removed]])
            standards = rows.write(vectors, cameras, removed)
            for key in (None, *standards.cameras):
                standard = standards.overall if key is None else standards.cameras[key]
                if standard is None:
                    continue
                serial, changes = taken.get(key, (None, 0))
                changes += (
                    int(np.count_nonzero(touched == key)) if key is not None else len(touched)
                )
                if standard.serial != serial:
                    own = rows.alive if key is None else rows.alive & (rows.cameras == key)
                    exact = rows.vectors[own].astype(np.float64)
                    np.testing.assert_allclose(standard.mean, exact.mean(axis=0), atol=1e-12)
                    np.testing.assert_allclose(standard.deviation, exact.std(axis=0), rtol=1e-9)
                    changes = 0
                assert changes < RENEW_SHARE * standard.count
                taken[key] = (standard.serial, changes)
        assert len(taken) == 4

    def test_a_camera_with_a_single_picture_is_not_standardised(self):
        rows = Rows()
        vectors, cameras = people(300, cameras=1)
        rows.write(vectors, cameras)
        standards = rows.write(np.repeat(vectors[:1], 200, axis=0), [1] * 200)
        assert set(standards.cameras) == {0}

    def test_a_constant_dimension_does_not_dominate(self):
        rows = Rows()
        vectors, cameras = people(300, cameras=1)
        vectors[:, 0] = 0.2
        deviation = rows.write(vectors, cameras).cameras[0].deviation
        assert deviation.min() == deviation[0] > 0.05 * deviation.mean()

    def test_statistics_depend_on_writes_alone(self):
        """Queries between the writes change nothing."""
        asked_between, never_asked = Rows(), Rows()
        for step in range(12):
            vectors, cameras = people(60, seed=step)
            for rows in (asked_between, never_asked):
                rows.write(vectors, cameras, removed=range(10 * step, 10 * step + 5))
            asked = Asked(5)
            nearest_standardised(
                asked_between.now(), asked_between.alive, vectors[:1], ["c0"], asked
            )
        queries, _ = people(4, seed=99)
        asked = Asked(50)
        one, other = (
            nearest_standardised(rows.now(), rows.alive, queries, ["c1"] * 4, asked)
            for rows in (asked_between, never_asked)
        )
        assert [answer.hits for answer in one] == [answer.hits for answer in other]


class TestAnswers:
    @pytest.mark.parametrize("camera", ["c0", "c3", "elsewhere", None])
    @pytest.mark.parametrize("top_k", [1, 7, 700])
    @pytest.mark.parametrize("least", [-1.0, 0.0, 0.6])
    def test_they_equal_the_oracle(self, gallery, camera, top_k, least):
        queries, _ = people(3, seed=7)
        asked = Asked(top_k, least)
        assert_equals_oracle(gallery.now(), gallery.alive, queries, [camera] * 3, asked)

    def test_answers_equal_the_oracle_with_a_mask_and_older_statistics(self, gallery):
        more, cameras = people(20, seed=11)
        serials = {c: s.serial for c, s in gallery.running.now.cameras.items()}
        gallery.write(more, cameras, removed=range(0, 30, 3))
        assert serials == {c: s.serial for c, s in gallery.running.now.cameras.items()}
        mask = gallery.alive & (gallery.cameras != 1)
        asked = Asked(40)
        assert_equals_oracle(gallery.now(), mask, more[:2], ["c1", "c2"], asked)

    def test_equal_rows_tie_in_the_order_of_ids(self, gallery):
        copies = np.repeat(gallery.vectors[:1], 300, axis=0)
        gallery.write(copies, [0] * 300)
        asked = Asked(10)
        (answer,) = assert_equals_oracle(
            gallery.now(), gallery.alive, gallery.vectors[:1], ["c0"], asked
        )
        ids = [hit.crop.crop_id for hit in answer.hits]
        assert ids == sorted(ids)

    def test_the_threshold_applies_to_exact_plain_cosines(self, gallery):
        query = gallery.vectors[:1]
        first, *_ = nearest_standardised(gallery.now(), gallery.alive, query, ["c0"], Asked(40))
        line = sorted(hit.score for hit in first.hits)[20]
        (answer,) = nearest_standardised(
            gallery.now(), gallery.alive, query, ["c0"], Asked(40, line)
        )
        assert min(hit.score for hit in answer.hits) == line

    def test_a_query_has_the_same_answer_alone_and_in_a_batch(self, gallery):
        queries, _ = people(9, seed=3)
        cameras = ["c0", None, "c2"] * 3
        asked = Asked(30)
        batch = nearest_standardised(gallery.now(), gallery.alive, queries, cameras, asked)
        for query, camera, answer in zip(queries, cameras, batch, strict=True):
            (alone,) = nearest_standardised(
                gallery.now(), gallery.alive, query[None], [camera], asked
            )
            assert alone.hits == answer.hits

    @pytest.mark.parametrize("least", [-1.0, 0.2])
    def test_every_way_to_scan_gives_the_same_answer(self, gallery, monkeypatch, least):
        """In many parts, a few queries at a time, pair by pair, camera by camera."""
        queries, _ = people(9, seed=3)
        mask = gallery.alive & (np.arange(len(gallery.alive)) % 7 > 0)
        cameras, asked = ["c0", None, "c2"] * 3, Asked(30, least, rows=3)

        def answers():
            return [
                (one.hits, one.nearest, one.rows.tolist())
                for one in nearest_standardised(gallery.now(), mask, queries, cameras, asked)
            ]

        usual = answers()
        for module, name, value in (
            (products, "PART", 40),
            (products, "_CLOSE", 1.1),
            (scan_module, "_NUMBERS_AT_ONCE", 1),
            (products, "_FEW", 0),
            (products, "_FEW", 9),
        ):
            monkeypatch.setattr(module, name, value)
            assert answers() == usual

    def test_one_scan_answers_every_question(self, gallery):
        """All crops of some identities, and the nearest crop that is not one of the query's."""
        rows = gallery.now()
        rows.identities[:] = np.arange(len(rows.identities)) % 50
        rows = replace(rows, identity_codes={f"p{code}": code for code in range(50)})
        query, mask = gallery.vectors[5:6], gallery.alive & (gallery.cameras != 2)
        scan = scan_standardised(rows, mask, query, ["c0"], least=0.5)
        theirs = mask & np.isin(rows.identities, [3, 7])
        expected = oracle(rows, theirs, query[0], "c0", Asked(999))
        hits = scan.crops_of(0, {"p3", "p7", "nobody"})
        assert [hit.crop.crop_id for hit in hits] == [crop_id for _, crop_id, _ in expected]
        plain = {
            rows.crops[slot].crop_id: cosine(query[0], rows.vectors[slot])
            for slot in np.flatnonzero(mask)
        }
        best = sorted(plain, key=plain.get, reverse=True)
        assert scan.nearest(0) == pytest.approx(plain[best[0]], abs=1e-6)
        for count in (1, 3):
            own = frozenset([*best[:count], "absent"])
            assert scan.nearest(0, but=own) == pytest.approx(plain[best[count]], abs=1e-6)
        assert scan.nearest(0, but=plain.keys()) is None

    def test_a_row_or_query_at_its_cameras_mean_scores_zero(self):
        rows = Rows()
        half, _ = people(MIN_CROPS, cameras=1)
        mirrored = half.copy()
        mirrored[:, 1:] *= -1  # the mean is on the first axis
        rows.write(np.concatenate([half, mirrored]), [0] * 2 * MIN_CROPS)
        middle = np.zeros((1, DIMENSION), np.float32)
        middle[0] = rows.running.now.cameras[0].mean
        rows.write(middle, [0])
        asked = Asked(2 * MIN_CROPS + 1)
        assert_equals_oracle(rows.now(), rows.alive, half[:1], ["c0"], asked)
        (answer,) = nearest_standardised(rows.now(), rows.alive, middle, ["c0"], asked)
        assert all(abs(hit.standardised) <= 1.0 for hit in answer.hits)

    def test_an_empty_mask_finds_nothing(self, gallery):
        asked = Asked(5, rows=5)
        (answer,) = nearest_standardised(
            gallery.now(), np.zeros_like(gallery.alive), gallery.vectors[:1], ["c0"], asked
        )
        assert answer.hits == ()
        assert answer.nearest is None
        assert answer.rows.shape == (0, DIMENSION)

    def test_without_a_standardised_camera_there_is_no_answer(self):
        rows = Rows()
        rows.write(*people(30))
        asked = Asked(5)
        assert nearest_standardised(rows.now(), rows.alive, rows.vectors[:1], ["c0"], asked) is None
        assert Standards().of(0) is None

    def test_standardised_embeddings_come_with_the_hits(self, gallery):
        asked = Asked(9, rows=4)
        (answer,) = nearest_standardised(
            gallery.now(), gallery.alive, gallery.vectors[:1], ["c0"], asked
        )
        assert answer.rows.shape == (4, DIMENSION)
        np.testing.assert_allclose(
            answer.rows @ answer.query, [hit.standardised for hit in answer.hits[:4]], atol=1e-6
        )


def test_a_write_costs_a_bounded_number_of_lengths():
    """In the worst case, a query after every write, a write costs under 25 rows, not N."""
    rows, rng, changes = Rows(), np.random.default_rng(0), 0
    asked = Asked(1)
    for step in range(400):
        living = np.flatnonzero(rows.alive)
        gone = rng.choice(living, min(len(living) // 2, 4), replace=False)
        vectors, cameras = people(10, seed=step, cameras=4, share_unknown=0.1)
        rows.write(vectors, cameras, removed=gone)
        changes += len(vectors) + len(gone)
        nearest_standardised(rows.now(), rows.alive, vectors[:1], ["c0"], asked)
    each_time = sum(6 * step for step in range(400))  # what renewing with every write would cost
    assert 0 < rows.lengths.computed < 25 * changes < each_time / 3


MODEL = "a" * 64


class Stored:
    """A gallery on disk with random writes, and its expected content."""

    def __init__(self, store, seed=0):
        self.gallery = store.create("g", MODEL, DIMENSION)
        self.rng = np.random.default_rng(seed)
        self.writes = 0

    def upsert(self, count=40):
        """Upsert new crops and existing ones, some of them from another camera now."""
        vectors, codes = people(count, seed=self.writes, share_unknown=0.1)
        ids = self.rng.permutation(900)[:count]
        crops = [
            Crop(f"{number:03d}", camera=None if code < 0 else f"c{code}", timestamp=float(number))
            for number, code in zip(ids, codes, strict=True)
        ]
        self.gallery.upsert(crops, vectors)
        self.writes += 1

    def delete(self, count=10):
        ids = frozenset(f"{number:03d}" for number in self.rng.permutation(900)[:count])
        self.gallery.delete(Filter(crop_ids=ids))

    def assert_exact(self, where, camera="c0"):
        """The answer equals the oracle on the rows and statistics of this moment."""
        queries, _ = people(1, seed=1000 + self.writes)
        asked = Asked(25)
        view, mask = self.gallery._rows.select(where)
        (answer,) = ask_stored(self.gallery, queries, [camera], where, asked)
        expected = oracle(view.standardised, mask, queries[0], camera, asked)
        assert [hit.crop.crop_id for hit in answer.hits] == [crop_id for _, crop_id, _ in expected]
        assert all(self.gallery.get(hit.crop.crop_id) == hit.crop for hit in answer.hits)


FILTERS = [
    Filter(),
    Filter(cameras=frozenset({"c1"})),
    Filter(not_camera="c0"),
    Filter(since=200.0, until=500.0),
    Filter(crop_ids=frozenset({"001", "050", "absent"})),
    Filter(cameras=frozenset({"nowhere"})),
]


def test_a_gallery_answers_exactly_through_writes_and_compaction(store, monkeypatch):
    monkeypatch.setattr("service.gallery.rows.live_rows._COMPACT_FROM", 64)
    stored = Stored(store)
    while not stored.gallery._rows.now().standards.in_force:
        stored.upsert()
    for step in range(40):
        stored.upsert()
        stored.delete()
        stored.assert_exact(FILTERS[step % len(FILTERS)], camera=[None, "c0", "c2"][step % 3])
    assert stored.gallery._rows.now().generation > 2
    assert len(stored.gallery._rows.now().standards.cameras) == 3


def test_a_reopened_gallery_computes_its_statistics_anew(reopen):
    stored = Stored(reopen())
    for _ in range(40):
        stored.upsert()
    stored.gallery = reopen().open("g")
    view = stored.gallery._rows.now()
    for code, standard in view.standards.cameras.items():
        own = view.columns.vectors[view.alive & (view.columns.cameras == code)]
        assert standard.count == len(own)
        np.testing.assert_allclose(standard.mean, own.mean(axis=0, dtype=np.float64), atol=1e-9)
    stored.assert_exact(Filter())


def test_a_query_that_began_before_a_write_keeps_its_statistics(store):
    stored = Stored(store)
    for _ in range(20):
        stored.upsert()
    before, mask = stored.gallery._rows.select(Filter())
    for _ in range(10):
        stored.upsert()
    after = stored.gallery._rows.now()
    assert before.standards.cameras[0].serial != after.standards.cameras[0].serial
    queries, _ = people(2, seed=5)
    asked = Asked(25)
    for _ in range(2):  # both use the same stored lengths, in turns
        assert_equals_oracle(before.standardised, mask, queries, ["c0", None], asked)
        stored.assert_exact(Filter())


def test_queries_and_writes_run_concurrently(store):
    stored = Stored(store)
    for _ in range(20):
        stored.upsert()
    queries, _ = people(3, seed=5)
    asked = Asked(10)

    def ask(_):
        answers = ask_stored(stored.gallery, queries, ["c0", "c1", None], Filter(), asked)
        return all(
            [hit.standardised for hit in answer.hits]
            == sorted((hit.standardised for hit in answer.hits), reverse=True)
            and len(answer.hits) == 10
            for answer in answers
        )

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(60))
        for _ in range(15):
            stored.upsert()
        assert all(answers)
    stored.assert_exact(Filter())


class TestMilvus:
    @pytest.fixture
    def backend(self):
        return "milvus"

    @pytest.mark.slow
    def test_milvus_refuses_to_standardise(self, store):
        gallery = store.create("g", MODEL, DIMENSION)
        queries, _ = people(1)
        with pytest.raises(Unsupported, match="Milvus scores embeddings as they are stored"):
            gallery.scan_standardised(queries, [None], Filter())
