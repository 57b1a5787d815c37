"""Check that the service ranks as the evaluation does: one model, one data set, one run.

The script starts the service, indexes the test gallery, searches every query with ``POST /search``
over the whole gallery, and measures the returned rankings. It compares them with the offline
evaluation of the same ONNX network under both protocols; cross-camera in the two ways the API has:
``exclude_same_camera`` and a list of ``cameras``.

::

    python benchmarks/http_accuracy.py --model models/NAME --data FOLDER --rerank

Without ``--data`` it draws people. The exit status is 1 if an mAP differs by more than 0.1 points.
The service re-ranks one query at a time, so its order is compared with an evaluation that does the
same; ``offline_together`` is the evaluation's usual figure, with all queries re-ranked at once.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from serving.process import serving

from service.api.search import MatchRecord
from service.cli.indexer import IndexReport, index
from service.cli.tables import table
from service.client import Client
from service.http.request_models import MAX_TOP_K
from service.ingest.crop_names import crop_id_of, list_market1501
from service.model.manifest import read_manifest
from service.search.kreciprocal import rerank
from training.data.datasets import Dataset, Sample
from training.measure.evaluation import Protocol, Scores, evaluate, score
from training.measure.held_out import (
    HeldOutEmbeddings,
    embed_held_out,
    load_held_out,
    read_held_out,
)
from training.networks.embedder import open_embedder
from training.synthetic import SyntheticOptions, synthesize

Float32s = NDArray[np.float32]

TOLERANCE = 0.001  # of mAP: 0.1 points
GALLERY = "accuracy"
IMAGES = 16  # per request; each returns the whole gallery


@dataclass(frozen=True)
class Way:
    """How a search selects the crops that take part under a protocol."""

    protocol: Protocol
    asked: str
    rerank: bool


WAYS = tuple(
    way
    for reranked in (False, True)
    for way in (
        Way("market1501", "all", reranked),
        Way("cross-camera", "exclude_same_camera", reranked),
        Way("cross-camera", "cameras", reranked),
    )
)


@dataclass(frozen=True)
class Line:
    """The same rankings, measured over HTTP and offline."""

    way: Way
    http: Scores
    offline: Scores
    together: Scores | None

    @property
    def agrees(self) -> bool:
        """Whether the two mAP are within the tolerance."""
        return abs(self.http.map - self.offline.map) <= TOLERANCE


@dataclass(frozen=True)
class Answers:
    """The service's answers, in the order of the gallery's crop ids.

    ``rank`` is (Q, G), G + 1 for crops that did not take part; ``scores`` is (Q, G) cosines, NaN
    for those crops.
    """

    gallery: tuple[Sample, ...]
    rank: Float32s
    scores: Float32s


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or synthesize(Path(temporary, "people"), SyntheticOptions()).folder
        held_out = embedded(arguments.model, folder)
        with (
            serving(arguments.model, Path(temporary, "galleries")) as service,
            Client(service.url) as client,
        ):
            fill(client, folder)
            lines, difference = compare(client, held_out, rerank=arguments.rerank)
    print_lines(lines)
    report = {
        "model": read_manifest(arguments.model).name,
        "data": held_out.dataset.name,
        "queries": len(held_out.dataset.query),
        "gallery": len(held_out.dataset.gallery),
        "agree": all(line.agrees for line in lines),
        "largest_map_difference": max(abs(line.http.map - line.offline.map) for line in lines),
        "largest_score_difference": difference,
        "lines": [as_json(line) for line in lines],
    }
    print(json.dumps(report))
    sys.exit(0 if report["agree"] else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-mobilenetv2"))
    parser.add_argument("--data", type=Path, help="Market-1501 folder; default: drawn people")
    parser.add_argument("--rerank", action="store_true", help="also measure re-ranked answers")
    return parser.parse_args()


def embedded(model: Path, folder: Path) -> HeldOutEmbeddings:
    """Embed query and gallery offline."""
    (dataset,) = read_held_out([folder])
    if len(dataset.gallery) > MAX_TOP_K:
        sys.exit(
            f"{dataset.summary}: a search returns at most {MAX_TOP_K} crops; use a smaller set"
        )
    embedder = open_embedder(model, torch.device("cpu"))
    return embed_held_out(embedder, load_held_out(dataset, embedder))


# ---- the service


def fill(client: Client, folder: Path) -> None:
    """Index the test gallery, as ``python -m service index`` does."""
    report = IndexReport()
    index(client, GALLERY, list_market1501(folder / "bounding_box_test"), report)
    print(f"indexed: {report.summary()}", file=sys.stderr)
    if report.failed:
        sys.exit(f"{report.failed[0].path}: {report.failed[0].reason}")


# ---- both ways


def compare(
    client: Client, held_out: HeldOutEmbeddings, *, rerank: bool
) -> tuple[list[Line], float]:
    """Compare every way to search; return the lines and the largest difference of a cosine."""
    lines, differences = [], []
    for way in (way for way in WAYS if rerank or not way.rerank):
        answers = ask(client, held_out.dataset, way)
        offline, together = measure_offline(held_out, way)
        http = score(answers.rank, held_out.dataset.query, answers.gallery, protocol=way.protocol)
        lines.append(Line(way, http, offline, together))
        differences.append(np.nanmax(np.abs(answers.scores - cosines(held_out, answers.gallery))))
    return lines, float(max(differences))


def measure_offline(held_out: HeldOutEmbeddings, way: Way) -> tuple[Scores, Scores | None]:
    """Return the evaluation's scores; re-ranked ones per query, and all queries at once."""
    data = held_out.dataset
    sets = (held_out.query, data.query, held_out.gallery, data.gallery)
    if not way.rerank:
        return evaluate(*sets, protocol=way.protocol), None
    distance = np.full((len(data.query), len(data.gallery)), 2.0, np.float32)
    for row, sample in enumerate(data.query):
        kept = [
            column
            for column, crop in enumerate(data.gallery)
            if way.protocol == "market1501" or crop.camera != sample.camera
        ]
        distance[row, kept] = rerank(held_out.query[row : row + 1], held_out.gallery[kept])[0]
    alone = score(distance, data.query, data.gallery, protocol=way.protocol)
    return alone, evaluate(*sets, protocol=way.protocol, rerank=True)


def cosines(held_out: HeldOutEmbeddings, gallery: Sequence[Sample]) -> Float32s:
    """Return (Q, G) offline cosines, columns in the order of the service's gallery."""
    column = {crop_id(sample): index for index, sample in enumerate(held_out.dataset.gallery)}
    order = [column[str(sample.path)] for sample in gallery]
    return held_out.query @ held_out.gallery[order].T


def crop_id(sample: Sample) -> str:
    return crop_id_of(sample.path, sample.path.parent)


# ---- over HTTP


def ask(client: Client, dataset: Dataset, way: Way) -> Answers:
    """Search every query; take the gallery's labels from the service."""
    camera_of = {f"c{name}": index for index, name in enumerate(dataset.cameras)}
    gallery = tuple(
        Sample(Path(crop.crop_id), int(crop.identity or 0), camera_of[crop.camera or ""])
        for crop in client.crops.iterate(GALLERY)
    )
    column = {str(sample.path): index for index, sample in enumerate(gallery)}
    shape = (len(dataset.query), len(gallery))
    rank = np.full(shape, len(gallery) + 1, np.float32)
    scores = np.full(shape, np.nan, np.float32)
    for row, matches in search_all(client, dataset, way):
        columns = [column[match.crop_id] for match in matches]
        rank[row, columns] = [match.rank for match in matches]
        scores[row, columns] = [match.score for match in matches]
    check_who_took_part(dataset, gallery, ~np.isnan(scores), way)
    return Answers(gallery, rank, scores)


def search_all(
    client: Client, dataset: Dataset, way: Way
) -> Iterator[tuple[int, list[MatchRecord]]]:
    """Yield index and matches of every query; each request has queries of one camera."""
    by_camera: dict[int, list[int]] = defaultdict(list)
    for row, sample in enumerate(dataset.query):
        by_camera[sample.camera].append(row)
    most = min(IMAGES, client.ops.info().limits.max_images)
    for camera, rows in by_camera.items():
        options = form(dataset, way, camera)
        for part in (rows[start : start + most] for start in range(0, len(rows), most)):
            paths = [dataset.query[row].path for row in part]
            results = client.search(paths, **options).results
            yield from zip(part, (entry.matches for entry in results), strict=True)


def form(dataset: Dataset, way: Way, camera: int) -> dict[str, Any]:
    """Return the form fields of a search by queries of one camera."""
    names = [f"c{name}" for name in dataset.cameras]
    # The evaluation ranks by plain cosines.
    fields: dict[str, Any] = {
        "gallery": GALLERY,
        "top_k": MAX_TOP_K,
        "min_score": -1,
        "standardise": False,
    }
    if way.rerank:
        fields |= {"rerank": True, "rerank_top": MAX_TOP_K}
    match way.asked:
        case "exclude_same_camera":
            fields |= {"camera": names[camera], "exclude_same_camera": True}
        case "cameras":
            fields["cameras"] = [name for name in names if name != names[camera]]
    return fields


def check_who_took_part(
    dataset: Dataset, gallery: Sequence[Sample], found: NDArray[np.bool_], way: Way
) -> None:
    cameras = np.array([sample.camera for sample in gallery])
    own = np.array([sample.camera for sample in dataset.query])[:, None] == cameras
    expected = np.ones_like(own) if way.asked == "all" else ~own
    if (wrong := int((found != expected).sum())) or len(gallery) != len(dataset.gallery):
        sys.exit(
            f"{way.asked}: {wrong} crops were missing or should not have been found, in a gallery "
            f"of {len(gallery)} (offline {len(dataset.gallery)})"
        )


# ---- the report


def print_lines(lines: Sequence[Line]) -> None:
    head = ("protocol", "asked with", "measured", "mAP", "rank-1", "rank-5", "rank-10", "")
    rows = []
    for line in lines:
        name = [line.way.protocol, line.way.asked + (" + rerank" if line.way.rerank else "")]
        verdict = "agrees" if line.agrees else "DIFFERS"
        rows += [[*name, "HTTP", *cells(line.http), verdict], ["", "", "offline"]]
        rows[-1] += [*cells(line.offline), ""]
    print(table(head, rows))


def cells(scores: Scores) -> list[str]:
    return [f"{100 * share:.2f}" for share in figures(scores).values()]


def figures(scores: Scores) -> dict[str, float]:
    return {"map": scores.map} | {f"rank{rank}": scores.cmc(rank) for rank in (1, 5, 10)}


def as_json(line: Line) -> dict[str, Any]:
    return {
        "protocol": line.way.protocol,
        "asked": line.way.asked,
        "rerank": line.way.rerank,
        "agrees": line.agrees,
        "http": figures(line.http),
        "offline": figures(line.offline),
        "offline_together": None if line.together is None else figures(line.together),
    }


if __name__ == "__main__":
    main()
