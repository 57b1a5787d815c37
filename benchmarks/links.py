"""Measure how well a start's embeddings tell which people of two cameras are the same.

HHCL without labels has to link the clusters of one camera to those of another. Here each person's
crops in one camera are one cluster, so identities are needed, and nothing is trained: the script
embeds the training crops and ranks each person's partner among the people of the other camera, by
the score that linking uses. Recall at 5 is the share of people whose partner is among the first 5.

::

    python benchmarks/links.py --data FOLDER --model models/hhcl-synthetic --model runs/other

A model is a run's folder or an exported model; ``--weights`` adds the start of the first model's
training, for example ImageNet weights. Without ``--data`` it draws people. With ``--clusters`` the
clusters are found as a recipe finds them in each camera, without identities; then the script counts
by every score how many links there are, and how many are right: the clusters' most frequent
identities are the same. ``--keep FOLDER`` keeps embeddings for another call. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.core.config import read_config
from training.core.method_options import ClusterOptions
from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.images import load_images
from training.hhcl.clustering import cluster
from training.hhcl.linking import partner_ranks, standardise_cameras
from training.hhcl.similarity import (
    Comparison,
    LinkScore,
    compare_cameras,
    make_fair,
    mutually_nearest,
)
from training.hhcl.soft_links import balance_with_dustbin
from training.networks.embedder import Embedder, open_embedder, open_start
from training.synthetic import SyntheticOptions, synthesize

Row = dict[str, float]
Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

RANKS = (1, 3, 5, 10)
DEFAULT = Path("models/hhcl-mobilenetv2")
RECIPE = Path("training/configs/hhcl-hard-links.toml")


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Embedded training crops.

    Attributes:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64.
        identities: (N,) int64.
    """

    embeddings: Float32s
    cameras: Int64s
    identities: Int64s


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        report = measure(arguments, arguments.data or [draw_people(Path(temporary, "drawn"))])
    print(json.dumps({"links" if arguments.clusters else "partner_recall_percent": report}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--weights", help="start weights; adds the first model's untrained network")
    parser.add_argument("--clusters", action="store_true", help="find the clusters of each camera")
    parser.add_argument("--config", type=Path, default=RECIPE, help="how clusters are found")
    parser.add_argument("--keep", type=Path, help="folder for embeddings")
    return parser.parse_args()


def draw_people(folder: Path) -> Path:
    """Draw a small data set of two cameras."""
    synthesize(folder, SyntheticOptions(identities=80, cameras=2, crops=2, train_share=0.9))
    return folder


def measure(
    arguments: argparse.Namespace, data: list[Path]
) -> dict[str, dict[str, Row | dict[str, Row]]]:
    """The figures per data set and model, and per score if clusters are found."""
    models = arguments.model or [DEFAULT]
    device = torch.device("cpu")
    openers: dict[str, Callable[[], Embedder]] = {
        model.name: partial(open_embedder, model, device) for model in models
    }
    if arguments.weights:
        openers["start"] = partial(open_start, models[0], arguments.weights, device)
    report: dict[str, dict[str, Row | dict[str, Row]]] = {}
    for folder in data:
        report[folder.name] = {}
        dataset = read_dataset(DataSource(folder))
        for name, opener in openers.items():
            crops = embed_once(dataset, opener, arguments.keep, f"{folder.name}-{name}")
            print(f"{folder.name}, {name}")
            if arguments.clusters:
                options = read_config(arguments.config, {}).clustering
                report[folder.name][name] = links_by_score(crops, options)
            else:
                ranks = partner_ranks(crops.embeddings, crops.cameras, crops.identities)
                report[folder.name][name] = recall = shares(ranks)
                print("  " + tell(recall))
    return report


def embed_once(
    dataset: Dataset, opener: Callable[[], Embedder], keep: Path | None, name: str
) -> Crops:
    """Embed the training crops, or take kept embeddings."""
    file = keep / f"{name}.npz" if keep else None
    if file and file.exists():
        with np.load(file) as arrays:
            return Crops(arrays["embeddings"], arrays["cameras"], arrays["identities"])
    embedder = opener()
    images = load_images(dataset.train, embedder.height, embedder.width, resize=embedder.resize)
    cameras = np.array([sample.camera for sample in images.samples])
    identities = np.array([sample.identity for sample in images.samples])
    crops = Crops(embedder.embed(images.pixels), cameras, identities)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file, embeddings=crops.embeddings, cameras=crops.cameras, identities=crops.identities
        )
    return crops


def links_by_score(crops: Crops, options: ClusterOptions) -> dict[str, Row]:
    """Find the clusters of each camera, and count right links between them by every score."""
    alone = replace(options, scheme="camera-link", links="hard", link_first=0.0, link_last=0.0)
    found = cluster(crops.embeddings, crops.cameras, alone, partial(print, file=sys.stderr))
    inside = found >= 0
    labels, cameras = found[inside], crops.cameras[inside]
    who = np.array(
        [np.bincount(crops.identities[found == each]).argmax() for each in range(found.max() + 1)]
    )
    print(f"  {len(who)} clusters of {len(np.unique(crops.identities))} people")
    standard = standardise_cameras(crops.embeddings[inside], cameras)
    rows: dict[str, Row] = {}
    scores: tuple[LinkScore, ...] = ("local-scaling", "sinkhorn", "consensus")
    for score in scores:
        pairs = list(compare_cameras(standard, cameras, labels, score))
        fair = [make_fair(pair.similarity, score) for pair in pairs]
        rows[score] = count_links(pairs, fair, who)
        if score != "local-scaling":
            plans = [balance_with_dustbin(pair.similarity) for pair in pairs]
            inner = [plan[:-1, :-1] for plan in plans]
            rows[f"{score}, dustbin"] = count_links(pairs, inner, who) | masses(pairs, plans, who)
    for name, row in rows.items():
        print(f"  {name:20s} {tell(row)}")
    return rows


def count_links(pairs: list[Comparison], fair: list[Float64s], who: Int64s) -> Row:
    """Links between mutually nearest clusters, how many are right, and the true partners' ranks."""
    right, likeness, ranks = [], [], []
    for pair, score in zip(pairs, fair, strict=True):
        one, other = who[pair.rows], who[pair.columns]
        row, column = mutually_nearest(score)
        right.append(one[row] == other[column])
        likeness.append(score[row, column])
        same = one[:, None] == other
        ranks += [ranks_of_best(score, same), ranks_of_best(score.T, same.T)]
    in_order = np.concatenate(right)[np.argsort(-np.concatenate(likeness), kind="stable")]
    half = (len(in_order) + 1) // 2
    return {
        "links": len(in_order),
        "right": int(in_order.sum()),
        "best half": half,
        "right in it": int(in_order[:half].sum()),
    } | shares(np.concatenate(ranks))


def ranks_of_best(score: Float64s, same: NDArray[np.bool_]) -> Int64s:
    """The rank of the best right column, for each row that has one."""
    best = np.where(same, score, -np.inf).max(axis=1)
    has = same.any(axis=1)
    return (score[has] > best[has, None]).sum(axis=1) + 1


def masses(pairs: list[Comparison], plans: list[Float64s], who: Int64s) -> Row:
    """How much mass the first five partners have, how much of it is right, and nobody's."""
    first, right, nobody = [], [], []
    for pair, plan in zip(pairs, plans, strict=True):
        share = plan[:-1] / plan[:-1].sum(axis=1, keepdims=True)
        best = np.argsort(-share[:, :-1], axis=1)[:, :5]
        mass = np.take_along_axis(share, best, axis=1)
        first.append(mass)
        right.append(mass * (who[pair.rows][:, None] == who[pair.columns][best]))
        nobody.append(share[:, -1])
    return {
        "mass": round(float(np.concatenate(first).sum(axis=1).mean()), 2),
        "right mass": round(float(np.concatenate(right).sum(axis=1).mean()), 2),
        "nobody": round(float(np.concatenate(nobody).mean()), 2),
    }


def shares(ranks: Int64s) -> Row:
    """Share of ranks in % up to each k."""
    return {f"recall@{k}": round(100 * float(np.mean(ranks <= k)), 1) for k in RANKS}


def tell(row: Row) -> str:
    return " | ".join(f"{name} {value:g}" for name, value in row.items())


if __name__ == "__main__":
    main()
