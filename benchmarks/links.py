"""Measure how well a start's embeddings tell which people of two cameras are the same.

HHCL without labels has to link the clusters of one camera to those of another. Here each person's
crops in one camera are one cluster, so identities are needed, and nothing is trained: the script
embeds the training crops and ranks each person's partner among the people of the other camera, by
the score that linking uses. Recall at 5 is the share of people whose partner is among the first 5.

::

    python benchmarks/links.py --data FOLDER --model models/hhcl-synthetic --model runs/other

A model is a run's folder or an exported model; ``--weights`` adds the start of the first model's
training, for example ImageNet weights. Without ``--data`` it draws people. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.images import load_images
from training.hhcl.linking import partner_ranks
from training.networks.embedder import Embedder, open_embedder, open_start
from training.synthetic import SyntheticOptions, synthesize

Report = dict[str, dict[str, dict[str, float]]]

RANKS = (1, 3, 5, 10)
DEFAULT = Path("models/hhcl-mobilenetv2")


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as temporary:
        report = measure(arguments, arguments.data or [draw_people(Path(temporary, "drawn"))])
    print(json.dumps({"partner_recall_percent": report}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, action="append")
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--weights", help="start weights; adds the first model's untrained network")
    return parser.parse_args()


def draw_people(folder: Path) -> Path:
    """Draw a small data set of two cameras."""
    synthesize(folder, SyntheticOptions(identities=80, cameras=2, crops=2, train_share=0.9))
    return folder


def measure(arguments: argparse.Namespace, data: list[Path]) -> Report:
    """Recall per data set and model."""
    models = arguments.model or [DEFAULT]
    device = torch.device("cpu")
    embedders = {model.name: open_embedder(model, device) for model in models}
    if arguments.weights:
        embedders["start"] = open_start(models[0], arguments.weights, device)
    report: Report = {}
    for folder in data:
        dataset = read_dataset(DataSource(folder))
        report[folder.name] = {}
        for name, embedder in embedders.items():
            recall = partner_recall(dataset, embedder)
            print(f"{folder.name:20s} {name:24s}", *(f"@{k} {v:.1f}" for k, v in recall.items()))
            report[folder.name][name] = {f"recall@{k}": v for k, v in recall.items()}
    return report


def partner_recall(dataset: Dataset, embedder: Embedder) -> dict[int, float]:
    """Share of people in % whose partner is among the k nearest, for each k."""
    images = load_images(dataset.train, embedder.height, embedder.width, resize=embedder.resize)
    cameras = np.array([sample.camera for sample in images.samples])
    identities = np.array([sample.identity for sample in images.samples])
    ranks = partner_ranks(embedder.embed(images.pixels), cameras, identities)
    return {k: round(100 * float(np.mean(ranks <= k)), 1) for k in RANKS}


if __name__ == "__main__":
    main()
