"""Measure clustering and full re-ranking beside one product of all pairs, which neither can avoid.

Both need the nearest rows of every row, and a float32 product of all pairs finds them. The script
times the product, Jaccard distances with DBSCAN, and k-reciprocal re-ranking of a whole query set,
in turns, on made-up embeddings. Before any time counts, both are compared with the definition,
written plainly on dense arrays, for a part of the rows.

::

    python benchmarks/clustering.py --crops 12936 --queries 3368 --gallery 15913

Those are the sizes of Market-1501. The exit status is 1 if a result differs. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from galleries.made_up import crops_of_people
from numpy.typing import NDArray
from reranking.definition import defined_jaccard
from sklearn.cluster import DBSCAN

from service.identities.dbscan import find_dense
from service.search.kreciprocal import jaccard_distance, rerank

Float32s = NDArray[np.float32]

CLUSTERING, RERANKING = {"k1": 30, "k2": 6}, {"k1": 20, "k2": 6}
EPS, MIN_SAMPLES = 0.47, 4  # no distance of isolated groups, such as 0.5, is a tie
COMPARED = 400
"""Rows for the comparison with the definition."""


def main() -> None:
    arguments = parse()
    most = max(arguments.crops, arguments.queries + arguments.gallery)
    rows = crops_of_people(most, arguments.dimension)
    faults = wrong_results(rows[:COMPARED])
    report: dict[str, Any] = {
        "benchmark": "clustering",
        "dimension": arguments.dimension,
        "wrong_results": faults,
    }
    if not faults:
        crops = rows[: arguments.crops]
        queries = rows[: arguments.queries]
        gallery = rows[arguments.queries : arguments.queries + arguments.gallery]
        both = rows[: arguments.queries + arguments.gallery]
        report["clustering"] = in_turns(
            partial(product, crops), partial(cluster, crops), arguments.rounds
        ) | {"crops": len(crops), "most_mib": most_mib(partial(cluster, crops))}
        report["reranking"] = in_turns(
            partial(product, both), partial(rerank, queries, gallery, **RERANKING), arguments.rounds
        ) | {"queries": len(queries), "gallery": len(gallery)}
    print(json.dumps(report))
    sys.exit(1 if faults else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--crops", type=int, default=2000, help="to cluster")
    parser.add_argument("--queries", type=int, default=300, help="to re-rank for")
    parser.add_argument("--gallery", type=int, default=2000, help="crops to re-rank")
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3, help="turns per measurement")
    return parser.parse_args()


def product(rows: Float32s) -> Float32s:
    """All pairs. A copy, because NumPy computes half of a product of a matrix with itself."""
    return rows @ rows.copy().T


def cluster(rows: Float32s) -> NDArray[np.int64]:
    distance = jaccard_distance(rows, **CLUSTERING, within=EPS)
    return find_dense(distance, EPS, MIN_SAMPLES)


# ---- correctness


def wrong_results(rows: Float32s) -> list[str]:
    """Compare with the definition; name what differs."""
    faults = []
    squared = np.maximum(2.0 - 2.0 * (rows @ rows.T).astype(np.float64), 0.0)
    np.fill_diagonal(squared, 0.0)
    distance = defined_jaccard(squared, CLUSTERING["k1"], **CLUSTERING)
    labels = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed").fit_predict(
        np.maximum(distance, 0.0)
    )
    if not np.array_equal(labels, cluster(rows)):
        faults.append("clusters")
    scaled = squared / squared.max(axis=1, keepdims=True)
    jaccard = defined_jaccard(scaled, RERANKING["k1"] + 1, **RERANKING)
    expected = (0.7 * jaccard + 0.3 * scaled)[:40, 40:]
    if not np.allclose(rerank(rows[:40], rows[40:], **RERANKING), expected, atol=1e-5):
        faults.append("re-ranked distances")
    return faults


# ---- time and memory


def in_turns(
    limit: Callable[[], object], ours: Callable[[], object], rounds: int
) -> dict[str, float]:
    """Call both once per round; return medians in seconds, and the ratio."""
    seconds: dict[str, list[float]] = {"product": [], "ours": []}
    limit()
    for _ in range(rounds):
        for name, call in (("product", limit), ("ours", ours)):
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    median = {name: round(float(np.median(own)), 2) for name, own in seconds.items()}
    ratios = np.array(seconds["ours"]) / np.array(seconds["product"])
    return median | {"ours / product": round(float(np.median(ratios)), 2)}


def most_mib(call: Callable[[], object]) -> float:
    """The most memory that a call takes, MiB."""
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(peak / 2**20, 1)


if __name__ == "__main__":
    main()
