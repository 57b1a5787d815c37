"""Measure what several shots are worth: a tracklet as the query, several crops in a score.

The script embeds the test crops of a data set into a gallery. Every (person, camera) is a tracklet.
It searches the crops of the other cameras, one crop at a time or as the mean of several. Identities
are ranked by the best, the mean or the three best of their crops, with plain embeddings and with
embeddings standardised per camera, using the service's own gallery and functions. One identity is
right, so mAP over identities is the mean of 1 / its rank.

::

    python benchmarks/multi_shot.py --model models/NAME --data FOLDER

Without ``--data`` it draws people. The report also has the shares of pairs of the same and of
different people whose cosine reaches the model's threshold, which was calibrated on single crops.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from service.cli.tables import table
from service.gallery.base import Crop, Filter, Hit
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import Gallery
from service.model.manifest import read_manifest
from service.search.multi_shot import IdentityScore, tally
from service.search.shots import Shot, combined
from training.measure.held_out import embed_held_out, load_held_out, read_held_out
from training.networks.embedder import open_embedder
from training.synthetic import SyntheticOptions, synthesize

Float32s = NDArray[np.float32]
ALL = 1 << 30  # hits: more than any gallery has, so a query returns all
RULES: tuple[IdentityScore, ...] = get_args(IdentityScore)


@dataclass(frozen=True)
class Crops:
    """The test crops of a data set, query and gallery together."""

    name: str
    rows: Float32s
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """One query: a unit row; crops of ``camera`` do not take part."""

    row: Float32s
    person: int
    camera: int


@dataclass(frozen=True)
class Line:
    """One way to search and to score, for all queries together."""

    shots: str
    queries: int
    standardised: bool
    rule: IdentityScore
    rank1: float
    map: float


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a crop of another camera whose cosine reaches the threshold."""

    shots: str
    same: float
    different: float


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or synthesize(Path(temporary, "people"), SyntheticOptions()).folder
        crops = embed(arguments.model, folder)
    calibration = read_manifest(arguments.model).calibration
    lines, pairs = [], []
    with filled(crops) as gallery:
        for shots, name in ((1, "1 crop"), (3, "3 crops"), (None, "the whole tracklet")):
            queries = list(ask(crops, shots))
            for standardised in (False, True):
                hits = search(gallery, queries, standardised=standardised)
                lines += [measure(queries, hits, rule, name) for rule in RULES]
            if calibration is not None:
                pairs.append(reaching(queries, hits, calibration.threshold, name))
    print(table(HEAD, [cells(line) for line in lines]))
    report = {
        "model": read_manifest(arguments.model).name,
        "data": crops.name,
        "crops": len(crops.rows),
        "people": len(set(crops.people.tolist())),
        "lines": [asdict(line) for line in lines],
        "reach_the_threshold": [asdict(entry) for entry in pairs],
    }
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-mobilenetv2"))
    parser.add_argument("--data", type=Path, help="Market-1501 folder; default: drawn people")
    return parser.parse_args()


def embed(model: Path, folder: Path) -> Crops:
    """Embed query and gallery."""
    (dataset,) = read_held_out([folder])
    embedder = open_embedder(model, torch.device("cpu"))
    held_out = embed_held_out(embedder, load_held_out(dataset, embedder))
    samples = [*held_out.dataset.query, *held_out.dataset.gallery]
    return Crops(
        dataset.name,
        np.concatenate([held_out.query, held_out.gallery]),
        np.array([sample.identity for sample in samples]),
        np.array([sample.camera for sample in samples]),
    )


def ask(crops: Crops, shots: int | None) -> Iterator[Query]:
    """Cut tracklets into queries of ``shots`` crops; skip people whom no other camera saw."""
    tracklets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, key in enumerate(zip(crops.people.tolist(), crops.cameras.tolist(), strict=True)):
        tracklets[key].append(index)
    for (person, camera), members in sorted(tracklets.items()):
        if not np.any((crops.people == person) & (crops.cameras != camera)):
            continue
        size = shots or len(members)
        for start in range(0, len(members), size):
            part = [Shot(crops.rows[index], None) for index in members[start : start + size]]
            yield Query(combined(part).embedding, person, camera)


@contextmanager
def filled(crops: Crops) -> Iterator[Gallery]:
    """Fill a gallery with all crops."""
    with tempfile.TemporaryDirectory() as temporary:
        store = DiskGalleryStore(Path(temporary), device="cpu")
        gallery = store.create("shots", "0" * 64, crops.rows.shape[1])
        labels = zip(crops.people.tolist(), crops.cameras.tolist(), strict=True)
        gallery.upsert(
            [Crop(f"{i:06d}", str(who), str(camera)) for i, (who, camera) in enumerate(labels)],
            crops.rows,
        )
        yield gallery
        store.close()


def search(
    gallery: Gallery, queries: Sequence[Query], *, standardised: bool
) -> list[Sequence[Hit]]:
    """Return every crop of the other cameras, per query."""
    found: list[Sequence[Hit]] = []
    for query in queries:
        others = Filter(not_camera=str(query.camera))
        if standardised:
            scan = gallery.scan_standardised(query.row[None], [str(query.camera)], others)
            assert scan is not None
            found.append(scan.best(0, ALL).hits)
        else:
            found += gallery.query(query.row[None], ALL, others)
    return found


def measure(
    queries: Sequence[Query], found: Sequence[Sequence[Hit]], rule: IdentityScore, shots: str
) -> Line:
    """Rank the right identity among all that other cameras saw; ties count against it."""
    ranks = []
    for query, hits in zip(queries, found, strict=True):
        scores = {name: own.ranked_by for name, own in tally(hits, rule).items()}
        own = scores.pop(str(query.person))
        ranks.append(1 + sum(score >= own for score in scores.values()))
    places = np.array(ranks)
    standardised = found[0][0].standardised is not None
    shares = float(np.mean(places == 1)), float(np.mean(1 / places))
    return Line(shots, len(places), standardised, rule, *shares)


def reaching(
    queries: Sequence[Query], found: Sequence[Sequence[Hit]], threshold: float, shots: str
) -> Pairs:
    """Return how often pairs of these queries reach a threshold made for single crops."""
    reach: dict[bool, list[bool]] = {True: [], False: []}
    for query, hits in zip(queries, found, strict=True):
        for hit in hits:
            reach[hit.crop.identity == str(query.person)].append(hit.score >= threshold)
    return Pairs(shots, float(np.mean(reach[True])), float(np.mean(reach[False])))


HEAD = ("query", "queries", "embeddings", "identity score", "rank-1", "mAP")


def cells(line: Line) -> list[str]:
    shares = [f"{100 * share:.1f}" for share in (line.rank1, line.map)]
    embeddings = "standardised" if line.standardised else "plain"
    return [line.shots, str(line.queries), embeddings, line.rule, *shares]


if __name__ == "__main__":
    main()
