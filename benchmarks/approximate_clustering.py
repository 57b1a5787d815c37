"""Measure clustering by an approximate graph of near crops beside the exact search.

The script finds the nearest crops of every crop exactly, by the training's graph (HNSW over
principal components, ``clustering.nearest = "graph"``), and by two of FAISS's indexes over all
numbers, HNSW and IVF, in turns. It clusters by each and says how much of the exact lists was found,
how well the labels agree with the exact ones (adjusted Rand index), and how long both took.

::

    python benchmarks/approximate_clustering.py --crops 100000
    python benchmarks/approximate_clustering.py --data FOLDER --model models/hhcl-synthetic

Without ``--data``, embeddings are made up. The exit status is 1 if a list lacks the crop itself or
holds a crop twice. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from galleries.made_up import crops_of_people
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from service.identities.dbscan import find_dense
from service.search.kreciprocal import jaccard_of_neighbours
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images
from training.hhcl.nearest import nearest_crops
from training.networks.embedder import open_embedder

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]
Indices = NDArray[np.intp]

CROPS_OF_A_LIST, LISTS_PER_CROP, ROUNDS = 40, 64, 10
"""Of IVF: crops in a list on average, lists that it looks into, and rounds of its k-means."""
COMPARED = 5000
"""Lists that are compared with the exact ones."""


def main() -> None:
    arguments = parse()
    rows = embeddings(arguments)
    report, faults = measure(rows, arguments)
    print(json.dumps({"benchmark": "approximate clustering", "crops": len(rows)} | report))
    sys.exit(1 if faults else 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--crops", type=int, default=3000, help="made-up embeddings")
    parser.add_argument("--dimension", type=int, default=1280, help="of made-up embeddings")
    parser.add_argument("--data", type=Path, help="unlabelled crops instead of made-up embeddings")
    parser.add_argument("--model", type=Path, default=Path("models/hhcl-synthetic"))
    parser.add_argument("--k1", type=int, default=30)
    parser.add_argument("--k2", type=int, default=6)
    parser.add_argument("--eps", type=float, default=0.47)
    parser.add_argument("--rounds", type=int, default=1, help="turns; the median counts")
    return parser.parse_args()


def embeddings(arguments: argparse.Namespace) -> Float32s:
    """Embed the training crops of a data set, or make embeddings up."""
    if arguments.data is None:
        return crops_of_people(arguments.crops, arguments.dimension)
    embedder = open_embedder(arguments.model, torch.device("cpu"))
    samples = read_dataset(DataSource(arguments.data)).train
    images = load_images(samples, embedder.height, embedder.width, resize=embedder.resize)
    return embedder.embed(images.pixels)


def measure(rows: Float32s, arguments: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """The figures of every way to search, and whether a list of ours is at fault."""
    ways: dict[str, Callable[[], Indices]] = {
        "exact": partial(nearest_crops, rows, arguments.k1, "exact"),
        "graph": partial(nearest_crops, rows, arguments.k1, "graph"),
        "FAISS HNSW, all numbers": partial(by_hnsw, rows, arguments.k1),
        "FAISS IVF, all numbers": partial(by_ivf, rows, arguments.k1),
    }
    seconds, lists = in_turns(ways, arguments.rounds)
    report: dict[str, Any] = {}
    exact_labels = labels_of(rows, lists["exact"], arguments)[0]
    for name, rank in lists.items():
        labels, clustering = labels_of(rows, rank, arguments)
        report[name] = {
            "seconds to search": round(seconds[name], 2),
            "seconds to cluster": round(clustering, 2),
            "share of the exact lists": round(share_found(rank, lists["exact"]), 4),
            "ARI to the exact labels": round(adjusted_rand_score(exact_labels, labels), 4),
            "clusters": int(labels.max()) + 1,
            "outliers": int((labels < 0).sum()),
        }
        print(name, report[name], flush=True)
    return report, not is_sound(lists["graph"])


def in_turns(
    ways: dict[str, Callable[[], Indices]], rounds: int
) -> tuple[dict[str, float], dict[str, Indices]]:
    """Median seconds of every way, and what it found."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Indices] = {}
    for _ in range(rounds):
        for name, search in ways.items():
            begun = time.perf_counter()
            found[name] = search()
            seconds[name].append(time.perf_counter() - begun)
    return {name: float(np.median(own)) for name, own in seconds.items()}, found


def by_hnsw(rows: Float32s, length: int) -> Indices:
    index = faiss.IndexHNSWFlat(rows.shape[1], 32)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 96  # as ours
    index.add(rows)
    return with_own_first(index.search(rows, length)[1])


def by_ivf(rows: Float32s, length: int) -> Indices:
    lists = max(1, len(rows) // CROPS_OF_A_LIST)
    quantiser = faiss.IndexFlatIP(rows.shape[1])
    index = faiss.IndexIVFFlat(quantiser, rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.nprobe = ROUNDS, min(LISTS_PER_CROP, lists)
    index.train(rows)
    index.add(rows)
    return with_own_first(index.search(rows, length)[1])


def with_own_first(found: Int64s) -> Indices:
    """Lists that begin with the crop itself; nobody becomes the crop itself."""
    own = np.arange(len(found))[:, None]
    found = np.where(found < 0, own, found)
    later = np.argsort(found == own, axis=1, kind="stable")[:, : found.shape[1] - 1]
    return np.hstack([own, np.take_along_axis(found, later, axis=1)])


def labels_of(rows: Float32s, rank: Indices, arguments: argparse.Namespace) -> tuple[Int64s, float]:
    """Labels, and the seconds that all after the search took."""
    begun = time.perf_counter()
    near = jaccard_of_neighbours(rows, rank, k2=arguments.k2, within=arguments.eps)
    labels = find_dense(near, arguments.eps, min_samples=4)
    return labels, time.perf_counter() - begun


def share_found(rank: Indices, exact: Indices) -> float:
    step = max(1, len(rank) // COMPARED)
    pairs = zip(rank[::step], exact[::step], strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) for pair in pairs])) / exact.shape[1]


def is_sound(rank: Indices) -> bool:
    own_first = (rank[:, 0] == np.arange(len(rank))).all()
    ordered = np.sort(rank, axis=1)
    return bool(own_first and (np.diff(ordered, axis=1) > 0).all() and rank.min() >= 0)


if __name__ == "__main__":
    main()
