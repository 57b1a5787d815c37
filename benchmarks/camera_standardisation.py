"""Measure what standardising embeddings per camera does, and how many crops a camera needs.

The script embeds query and gallery once. It ranks by cosine and, with the gallery's own code, by
standardised embeddings; re-ranked too, with and without the query's camera. Then it takes the
statistics from part of each camera's crops, drawn at random or all crops of a few people, and
searches the whole gallery: how many crops does a camera need to gain by taking part? It also
measures cameras that do not see the same people, and how much longer a query takes.

::

    python benchmarks/camera_standardisation.py --data FOLDER --data FOLDER

Without ``--data`` it draws people. Statistics come only from the gallery, never from a query. The
last line is one JSON object: mAP and rank-1 in % per data set and protocol, and the ratio of times.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.cli.tables import table
from service.gallery.base import Crop, Filter
from service.gallery.rows.live_rows import LiveRows
from service.gallery.rows.nearest import nearest
from service.gallery.standardising.cameras import Lengths, Standard, Standards
from service.gallery.standardising.rows import StandardisedRows
from service.gallery.standardising.running import RunningStandards
from service.gallery.standardising.search import scan_standardised
from service.search.kreciprocal import rerank
from training.measure.evaluation import PROTOCOLS, Protocol, score
from training.measure.held_out import (
    HeldOutEmbeddings,
    embed_held_out,
    load_held_out,
    read_held_out,
)
from training.networks.embedder import open_embedder
from training.synthetic import SyntheticOptions, synthesize

Float32s = NDArray[np.float32]
Measured = dict[str, float]

RERANKED = 100  # the service's default
COUNTS = (16, 32, 64, 128, 256)
DRAWS = 5


@dataclass(frozen=True)
class People:
    """A data set in the arrays that a gallery uses.

    ``gallery`` is (G, D), ``cameras`` and ``identities`` are (G,); ``query`` is (Q, D) and
    ``query_cameras`` (Q,).
    """

    held_out: HeldOutEmbeddings
    cameras: NDArray[np.int32]
    identities: NDArray[np.int64]
    query_cameras: NDArray[np.int32]

    @classmethod
    def of(cls, held_out: HeldOutEmbeddings) -> People:
        """Convert an embedded data set to arrays."""
        data = held_out.dataset
        return cls(
            held_out,
            np.array([sample.camera for sample in data.gallery], np.int32),
            np.array([sample.identity for sample in data.gallery]),
            np.array([sample.camera for sample in data.query], np.int32),
        )

    @property
    def gallery(self) -> Float32s:
        """(G, D) embeddings."""
        return self.held_out.gallery

    @property
    def query(self) -> Float32s:
        """(Q, D) embeddings."""
        return self.held_out.query

    def taking_part(self, row: int, protocol: Protocol) -> NDArray[np.bool_]:
        """Return the crops a search can find; the evaluation applies the rest of a protocol."""
        if protocol == "market1501":
            return np.ones(len(self.cameras), np.bool_)
        others: NDArray[np.bool_] = self.cameras != self.query_cameras[row]
        return others

    def measure(
        self, protocol: Protocol, order: Callable[[int, NDArray[np.bool_]], NDArray[np.intp]]
    ) -> Measured:
        """Rank the crops that take part for each query; return mAP and rank-1 in %."""
        distance = np.full((len(self.query), len(self.gallery)), len(self.gallery), np.float32)
        for row in range(len(self.query)):
            found = order(row, self.taking_part(row, protocol))
            distance[row, found] = np.arange(len(found))
        data = self.held_out.dataset
        scores = score(distance, data.query, data.gallery, protocol=protocol)
        return {"map": 100 * scores.map, "rank1": 100 * scores.cmc(1)}


class Cosine:
    """Ranks by cosine of given rows: plain or standardised embeddings."""

    def __init__(self, query: Float32s, gallery: Float32s) -> None:
        self.query = query
        self.gallery = gallery

    def order(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the crops that take part, best first."""
        found = np.flatnonzero(mask)
        scores = self.gallery[found] @ self.query[row]
        return found[np.argsort(-scores, kind="stable")]

    def reranked(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the same crops, the first ones ordered by k-reciprocal distance."""
        order = self.order(row, mask)
        return rerank_head(order, self.query[row], self.gallery[order[:RERANKED]])


class Standardised:
    """Ranks with the gallery's own code and given statistics."""

    def __init__(self, people: People, standards: Standards, *, named: bool = True) -> None:
        self.people = people
        self.named = named
        codes = {str(camera): camera for camera in range(len(people.held_out.dataset.cameras))}
        crops = [Crop(f"{slot:06d}") for slot in range(len(people.gallery))]
        self.rows = StandardisedRows(
            people.gallery,
            people.cameras,
            np.full(len(crops), -1, np.int32),
            crops,
            codes,
            {},
            standards,
            Lengths(),
        )

    def order(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the crops that take part, best first."""
        return self._ask(row, mask)[0]

    def reranked(self, row: int, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the same crops, the first ones ordered by k-reciprocal distance."""
        order, query, rows = self._ask(row, mask, rows=RERANKED)
        return rerank_head(order, query, rows)

    def _ask(
        self, row: int, mask: NDArray[np.bool_], rows: int = 0
    ) -> tuple[NDArray[np.intp], Float32s, Float32s]:
        camera = str(self.people.query_cameras[row]) if self.named else None
        scan = scan_standardised(self.rows, mask, self.people.query[row : row + 1], [camera])
        if scan is None:
            raise SystemExit("no camera has enough crops to take part: use more people")
        answer = scan.best(0, len(mask), rows=rows)
        order = np.array([int(hit.crop.crop_id) for hit in answer.hits], np.intp)
        return order, answer.query, answer.rows


def rerank_head(order: NDArray[np.intp], query: Float32s, rows: Float32s) -> NDArray[np.intp]:
    head = np.argsort(rerank(query[None], rows)[0], kind="stable")
    return np.concatenate([order[head], order[len(rows) :]])


def main() -> None:
    arguments = parse()
    report: dict[str, Any] = {"model": arguments.model.name}
    with tempfile.TemporaryDirectory() as temporary:
        for people in read(arguments, Path(temporary)):
            name = people.held_out.dataset.name
            print(people.held_out.dataset.summary)
            report[name] = {protocol: compare(people, protocol) for protocol in PROTOCOLS}
            print_comparison(report[name])
            halves = {protocol: with_half_of_the_people(people, protocol) for protocol in PROTOCOLS}
            print_comparison(halves)
            report[name]["each camera sees half of the people"] = halves
            if not arguments.quick:
                shares = {protocol: by_count(people, protocol) for protocol in PROTOCOLS}
                print_counts(shares)
                report[name]["statistics_of"] = shares
        report["times_as_long"] = times_as_long()
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-mobilenetv2"))
    parser.add_argument("--data", type=Path, action="append", help="Market-1501 folder; repeatable")
    parser.add_argument("--people", type=int, default=50, help="drawn test identities")
    parser.add_argument("--cameras", type=int, default=3, help="cameras of drawn people")
    parser.add_argument("--crops", type=int, default=4, help="crops per drawn person and camera")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--quick", action="store_true", help="skip the measurement by number of crops"
    )
    return parser.parse_args()


def read(arguments: argparse.Namespace, temporary: Path) -> Iterator[People]:
    folders = arguments.data
    if not folders:
        options = SyntheticOptions(
            identities=2 * arguments.people,
            cameras=arguments.cameras,
            crops=arguments.crops,
            seed=arguments.seed,
        )
        folders = [synthesize(temporary / "drawn", options).folder]
    embedder = open_embedder(arguments.model, torch.device("cpu"))
    for dataset in read_held_out(folders):
        yield People.of(embed_held_out(embedder, load_held_out(dataset, embedder)))


def compare(people: People, protocol: Protocol) -> dict[str, Measured]:
    """Measure every way to search the whole gallery, with the statistics of the service."""
    slots = np.arange(len(people.gallery))
    standards = RunningStandards().follow(
        people.gallery, people.cameras, slots >= 0, added=slots, removed=slots[:0]
    )
    plain = Cosine(people.query, people.gallery)
    standard = Standardised(people, standards)
    nameless = Standardised(people, standards, named=False)
    few = {code: own for code, own in standards.cameras.items() if code}
    first_too_small = Standardised(people, Standards(standards.overall, few))
    return {
        "plain": people.measure(protocol, plain.order),
        "standardised": people.measure(protocol, standard.order),
        "plain, re-ranked": people.measure(protocol, plain.reranked),
        "standardised, re-ranked": people.measure(protocol, standard.reranked),
        "query's camera not named": people.measure(protocol, nameless.order),
        "first camera too small": people.measure(protocol, first_too_small.order),
    }


def with_half_of_the_people(people: People, protocol: Protocol) -> dict[str, Measured]:
    """Measure with each camera keeping only the crops of its own random half of the people."""
    draws = []
    for seed in range(DRAWS):
        part = half_of_the_people(people, seed)
        plain = Cosine(part.query, part.gallery)
        standard = standardised(part, len(part.gallery), seed, few=False)
        draws.append(
            {
                "plain": part.measure(protocol, plain.order),
                "standardised": part.measure(protocol, standard.order),
            }
        )
    return {way: mean_of([draw[way] for draw in draws]) for way in draws[0]}


def half_of_the_people(people: People, seed: int) -> People:
    rng = np.random.default_rng(seed)
    everyone = np.unique(people.identities)
    kept = np.zeros(len(people.cameras), np.bool_)
    for camera in np.unique(people.cameras):
        seen = rng.permutation(everyone)[: len(everyone) // 2]
        kept |= (people.cameras == camera) & np.isin(people.identities, seen)
    held_out = people.held_out
    crops = tuple(held_out.dataset.gallery[slot] for slot in np.flatnonzero(kept))
    dataset = replace(held_out.dataset, gallery=crops)
    return People.of(HeldOutEmbeddings(dataset, held_out.query, held_out.gallery[kept]))


def mean_of(draws: list[Measured]) -> Measured:
    return {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}


def times_as_long(count: int = 20_000, dimension: int = 1280, cameras: int = 8) -> dict[str, float]:
    """Time standardised and plain queries in turns, on random rows; return the ratios."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = LiveRows(dimension)
    rows.put([Crop(f"{slot:06d}", camera=f"c{slot % cameras}") for slot in range(count)], vectors)
    snapshot, mask = rows.select(Filter())
    ratios = {}
    for queries in (1, 8):
        asked = vectors[:queries]
        plain, standard = [], []
        for _ in range(7):
            start = time.perf_counter()
            nearest(snapshot, mask, asked, 10)
            middle = time.perf_counter()
            scan = scan_standardised(
                snapshot.standardised, mask, asked, ["c0"] * queries, least=0.4
            )
            assert scan is not None
            for place in range(queries):
                scan.best(place, 10, least=0.4)
            plain.append(middle - start)
            standard.append(time.perf_counter() - middle)
        ratios[f"queries: {queries}"] = float(np.median(standard) / np.median(plain))
    return ratios


def by_count(people: People, protocol: Protocol) -> dict[str, Measured]:
    """Measure with statistics of some crops per camera: random ones, or those of few people."""
    measured = {}
    for count in COUNTS:
        if count > np.bincount(people.cameras).min():
            break
        for few in (False, True):
            draws = [
                people.measure(protocol, standardised(people, count, seed, few=few).order)
                for seed in range(DRAWS)
            ]
            measured[f"{count} crops{' of few people' if few else ''}"] = mean_of(draws)
    return measured


def standardised(people: People, count: int, seed: int, *, few: bool) -> Cosine:
    """Standardise query and gallery by statistics of ``count`` crops per camera."""
    rng = np.random.default_rng(seed)
    query, gallery = people.query.copy(), people.gallery.copy()
    for camera in np.unique(people.cameras):
        own = rng.permutation(np.flatnonzero(people.cameras == camera))
        if few:
            own = person_by_person(own, people.identities)
        standard = standard_of(people.gallery[own[:count]])
        for rows, cameras in ((query, people.query_cameras), (gallery, people.cameras)):
            rows[cameras == camera] = standard.apply(rows[cameras == camera])
    return Cosine(query, gallery)


def person_by_person(slots: NDArray[np.intp], identities: NDArray[np.int64]) -> NDArray[np.intp]:
    """Reorder slots so that each person's slots are adjacent."""
    _, first, person = np.unique(identities[slots], return_index=True, return_inverse=True)
    return slots[np.argsort(first[person], kind="stable")]


def standard_of(rows: Float32s) -> Standard:
    exact = rows.astype(np.float64)
    return Standard(0, len(rows), exact.mean(axis=0), exact.std(axis=0) + 1e-6)


# ---- the report


def print_comparison(measured: dict[Protocol, dict[str, Measured]]) -> None:
    ways = next(iter(measured.values()))
    rows = [[way, *(cell(measured[protocol][way]) for protocol in PROTOCOLS)] for way in ways]
    print(table(("mAP / rank-1, %", *PROTOCOLS), rows))


def print_counts(measured: dict[Protocol, dict[str, Measured]]) -> None:
    counts = next(iter(measured.values()))
    rows = [
        [count, *(cell(measured[protocol][count]) for protocol in PROTOCOLS)] for count in counts
    ]
    print(table(("statistics of", *PROTOCOLS), rows))


def cell(measured: Measured) -> str:
    return f"{measured['map']:.1f} / {measured['rank1']:.1f}"


if __name__ == "__main__":
    main()
