"""Measure what the default search costs beside a plain one, and re-ranking beside its product.

The script fills a gallery in memory with made-up embeddings of people from several cameras, then
searches it in turns, with and without camera compensation, as ``POST /search`` does after it has
embedded a picture: ``find`` and ``candidates_of``. FAISS's exact search over the same rows is the
limit. The answers are compared with slow formulas before any time counts: plain ones with FAISS,
standardised ones with every row standardised, re-ranked ones with the sparse encoding.

::

    python benchmarks/default_search.py --crops 100000

The exit status is 1 if an answer differs. The last line is one JSON object.
"""

from __future__ import annotations

from service.machine.processors import available, one_thread_per_call

one_thread_per_call()  # as `python -m service serve` does, before NumPy is imported

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import replace  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any, cast  # noqa: E402

import faiss  # noqa: E402
import numpy as np  # noqa: E402
from galleries.made_up import People  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from service.gallery.base import Crop, Filter, Hit  # noqa: E402
from service.gallery.components import Components  # noqa: E402
from service.gallery.protocol import Gallery  # noqa: E402
from service.gallery.rows.live_rows import LiveRows  # noqa: E402
from service.gallery.rows.nearest import nearest  # noqa: E402
from service.gallery.rows.view import GalleryView  # noqa: E402
from service.gallery.standardising.search import (  # noqa: E402
    StandardisedScan,
    scan_standardised,
)
from service.search import kreciprocal  # noqa: E402
from service.search.finding import find  # noqa: E402
from service.search.options import SearchOptions  # noqa: E402
from service.search.ranking import Candidate, candidates_of  # noqa: E402
from service.search.shots import Query, Shot  # noqa: E402

Float32s = NDArray[np.float32]

CROPS_OF_A_PERSON = 20
TOP_K = 10
REACHING = 0.02
"""Share of the crops that reach the threshold; with the shipped model 1 to 4 %."""
KEPT = (0.7, 0.1, 0.01)
"""Shares of the crops that filters keep, scattered over the gallery."""
COMPARED = (
    ("plain", "faiss"),
    ("default", "plain"),
    ("plain, components", "plain"),
    ("default, components", "default"),
    ("sparse", "product"),
    ("dense", "product"),
    ("dense", "sparse"),
)
"""Pairs whose ratios are told."""


class NoComponents(Components):
    """Components that are never known."""

    def of(self, vectors: Float32s) -> None:
        """Know nothing."""


class InMemory:
    """The part of a gallery that a search reads, without a file.

    Args:
        rows: its rows.
        components: whether searches may use their principal components.
    """

    def __init__(self, rows: LiveRows, *, components: bool) -> None:
        self.rows = rows
        self._without = None if components else NoComponents()

    def _select(self, where: Filter) -> tuple[GalleryView, NDArray[np.bool_]]:
        view, mask = self.rows.select(where)
        if self._without is not None:
            everything = mask is view.alive
            view = replace(view, components=self._without)
            mask = view.alive if everything else mask
        return view, mask

    def query(self, embeddings: Float32s, top_k: int, where: Filter) -> list[list[Hit]]:
        """Answer as a gallery does."""
        view, mask = self._select(where)
        return nearest(view, mask, embeddings, top_k)

    def scan_standardised(
        self, embeddings: Float32s, cameras: list[str | None], where: Filter, least: float = -1.0
    ) -> StandardisedScan | None:
        """Answer as a gallery does."""
        view, mask = self._select(where)
        return scan_standardised(view.standardised, mask, embeddings, cameras, least)

    def embeddings(self, crop_ids: list[str]) -> Float32s:
        """Return stored rows."""
        view, slots = self.rows.find(crop_ids)
        return view.columns.vectors[slots]


def main() -> None:
    arguments = parse()
    rows, queries = made_up(arguments.crops, arguments.dimension, arguments.cameras, arguments.seed)
    gallery, short = (InMemory(rows, components=known) for known in (False, True))
    now = rows.now()
    begun = time.process_time()
    now.components.follow(now.columns.vectors)
    worked = time.process_time() - begun
    line = float(np.quantile(rows.now().columns.vectors @ queries[0].embedding, 1 - REACHING))
    faults = [*wrong_answers(gallery, queries[:4], line), *wrong_answers(short, queries[:4], line)]
    report: dict[str, Any] = {
        "benchmark": "default_search",
        "crops": arguments.crops,
        "dimension": arguments.dimension,
        "load": os.getloadavg()[0],
        "components_processor_seconds": round(worked, 2),
        "wrong_answers": faults,
    }
    if not faults:
        report["search"] = searches(gallery, short, queries, line, arguments)
        report["rerank"] = reranking(rows, arguments.rounds)
    print(json.dumps(report))
    sys.exit(1 if faults else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--crops", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=1280)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument(
        "--queries", type=int, nargs="+", default=[1, 32], help="queries of one request, up to 32"
    )
    parser.add_argument("--rounds", type=int, default=9, help="turns per measurement")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def made_up(crops: int, dimension: int, cameras: int, seed: int) -> tuple[LiveRows, list[Query]]:
    """A gallery of people, each with crops of several cameras, and 32 queries from it."""
    rng = np.random.default_rng(seed)
    drawn = People.draw(crops // CROPS_OF_A_PERSON + 1, cameras, dimension, seed)
    camera, person = rng.integers(cameras, size=crops), rng.integers(len(drawn.people), size=crops)
    rows, times = LiveRows(dimension), rng.permutation(crops).astype(np.float64)
    for start in range(0, crops, 50_000):
        part = slice(start, start + 50_000)
        vectors = drawn.embeddings(person[part], camera[part], rng)
        described = [
            Crop(f"{place:07d}", f"p{person[place]}", f"c{camera[place]}", timestamp=times[place])
            for place in range(start, min(start + 50_000, crops))
        ]
        rows.put(described, vectors)
    view = rows.now()
    picked = rng.integers(crops, size=32).tolist()
    return rows, [
        Query((Shot(vector, own),), vector, own)
        for vector, own in ((view.columns.vectors[one], view.crops[one].camera) for one in picked)
    ]


# ---- correctness


def wrong_answers(gallery: InMemory, queries: list[Query], line: float) -> list[str]:
    """Compare answers with slow formulas; name those that differ."""
    view, slots = gallery.rows.now(), np.arange(len(gallery.rows.now().alive))
    vectors, standards = view.columns.vectors, view.standards
    standard = np.concatenate(
        [
            view.standardised.standardised(part)
            for part in np.array_split(slots, 1 + len(slots) // 4096)
        ]
    )
    faults = []
    for query in queries:
        own = standards.of(view.codes.cameras[str(query.camera)])
        assert own is not None
        exact = standard @ own.apply(query.embedding[None])[0]
        plain = vectors @ query.embedding
        for name, standardise, least in (
            ("plain", False, -1.0),
            ("standardised", True, line),
            ("no threshold", True, -1.0),
        ):
            (hits,) = search(
                gallery,
                [query],
                SearchOptions("", 50, Filter(), standardise=standardise, min_score=least),
            )
            scores = np.where(plain >= least, exact, -2.0) if standardise else plain
            best = np.sort(scores)[::-1][: len(hits)]
            found = [one.hit.ranked_by for one in hits]
            if len(hits) != min(50, np.count_nonzero(plain >= least)) or not np.allclose(
                found, best, atol=2e-6
            ):
                faults.append(name)
        if not same_order(vectors[np.argsort(-plain)[:101]]):
            faults.append("re-ranked")
    return faults


def same_order(rows: Float32s) -> bool:
    """Whether both ways to re-rank give one order."""
    dense, sparse = (re_rank(rows, few) for few in (len(rows), 0))
    return bool(np.array_equal(np.argsort(dense, kind="stable"), np.argsort(sparse, kind="stable")))


def re_rank(rows: Float32s, few: int) -> Float32s:
    """Re-rank for the first row, up to so many rows on dense arrays."""
    kreciprocal._FEW = few  # noqa: SLF001
    return kreciprocal.rerank(rows[:1], rows[1:])[0]


# ---- time


def search(
    gallery: InMemory, queries: list[Query], options: SearchOptions
) -> list[list[Candidate]]:
    """Search as the service does once it has embedded the pictures."""
    served = cast("Gallery", gallery)
    found = find(served, queries, options.where, options)
    return [
        candidates_of(served, query, one, options.rerank_top)
        for query, one in zip(queries, found, strict=True)
    ]


def searches(
    gallery: InMemory, short: InMemory, queries: list[Query], line: float, arguments: Any
) -> dict[str, dict[str, Any]]:
    """Time FAISS, plain and default searches in turns, without and with components."""
    crops = len(gallery.rows.now().alive)
    plain = SearchOptions("", TOP_K, Filter(), min_score=line, standardise=False)
    settings = {
        "default": plain,
        **{
            f"filter that keeps {share:.0%}": replace(plain, where=Filter(until=share * crops))
            for share in KEPT
        },
        "no threshold": replace(plain, min_score=-1.0),
        "re-ranked": replace(plain, rerank_top=100),
    }
    report = {}
    for count in arguments.queries:
        asked = queries[:count]
        for name, options in settings.items():
            standardised = replace(options, standardise=None)
            report[f"{name}, {count} queries"] = in_turns(
                {
                    "faiss": partial(by_faiss, gallery.rows, asked, options.where),
                    "plain": partial(search, gallery, asked, options),
                    "default": partial(search, gallery, asked, standardised),
                    "plain, components": partial(search, short, asked, options),
                    "default, components": partial(search, short, asked, standardised),
                },
                arguments.rounds if count == 1 else max(3, arguments.rounds // 3),
            )
    return report


def by_faiss(rows: LiveRows, queries: list[Query], where: Filter) -> object:
    """The exact search of FAISS with a selector, on a thread per processor."""
    view, mask = rows.select(where)
    asked = np.stack([query.embedding for query in queries])
    bits = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    scores = np.empty((len(asked), TOP_K), np.float32)
    slots = np.empty((len(asked), TOP_K), np.int64)
    faiss.omp_set_num_threads(available())
    faiss.knn_inner_product(
        faiss.swig_ptr(asked),
        faiss.swig_ptr(view.columns.vectors),
        asked.shape[1],
        len(asked),
        len(mask),
        TOP_K,
        faiss.swig_ptr(scores),
        faiss.swig_ptr(slots),
        selector,
    )
    faiss.omp_set_num_threads(1)
    return scores


def reranking(rows: LiveRows, rounds: int) -> dict[str, dict[str, Any]]:
    """Time re-ranking with dense and with sparse arrays beside the product of all pairs."""
    vectors = rows.now().columns.vectors
    order = np.argsort(-(vectors @ vectors[0]))
    report = {}
    for count in (100, 500, 1000):
        head = vectors[order[: count + 1]]
        report[str(count)] = in_turns(
            {
                "product": partial(np.matmul, head, head.T),
                "sparse": partial(re_rank, head, 0),
                "dense": partial(re_rank, head, 1 << 30),
            },
            rounds,
        )
    return report


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    """Call each function once per round; return medians in milliseconds, and ratios.

    Processor time counts all threads. On a busy machine it says more than the time on the clock.
    """
    for call in calls.values():
        call()
    clock: dict[str, list[float]] = {name: [] for name in calls}
    worked: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun, before = time.perf_counter(), time.process_time()
            call()
            worked[name].append(time.process_time() - before)
            clock[name].append(time.perf_counter() - begun)
    report: dict[str, Any] = {
        "clock_ms": {name: round(1e3 * float(np.median(own)), 2) for name, own in clock.items()},
        "processor_ms": {
            name: round(1e3 * float(np.median(own)), 2) for name, own in worked.items()
        },
    }
    for one, other in COMPARED:
        if one in calls and other in calls:
            report[f"{one} / {other}"] = ratio(clock[one], clock[other])
            report[f"{one} / {other}, processor"] = ratio(worked[one], worked[other])
    return report


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of each round."""
    return round(float(np.median(np.array(ours) / np.array(theirs))), 2)


if __name__ == "__main__":
    main()
