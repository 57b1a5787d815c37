"""Measure how hard synthetic people are to find: raw pixels, colour histogram, ImageNet, a model.

The script makes one data set, embeds its test part in every way, and measures the cross-camera mAP
of each. The people are a fair test as long as pixels and colours stay far below a trained model.

::

    python benchmarks/synthetic_people.py --weights mobilenet_v2.pth --model models/NAME
    python benchmarks/synthetic_people.py --kind bodies --model models/NAME

To make the pictures of the documentation::

    python benchmarks/synthetic_people.py --seed 2 --sheet FILE.png --sheet-only
    python benchmarks/synthetic_people.py --kind bodies --people 3 --cameras 12 --crops 2 --seed 4
        --sheet FILE.png --sheet-only

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.embedding.onnx_embedder import OnnxEmbedder
from training.core.engine import extract_embeddings
from training.data.datasets import Dataset, DataSource, read_dataset
from training.data.images import load_images
from training.hhcl.network import build_network
from training.measure.evaluation import evaluate
from training.synthetic import SyntheticOptions, contact_sheet, synthesize

Float32s = NDArray[np.float32]
BINS = 8
BATCH = 64


def main() -> None:
    arguments = parse()
    options = SyntheticOptions(
        identities=2 * arguments.people,
        cameras=arguments.cameras,
        crops=arguments.crops,
        seed=arguments.seed,
        kind=arguments.kind,
        height=160 if arguments.kind == "bodies" else 128,
        width=80 if arguments.kind == "bodies" else 64,
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "people")
        start = time.perf_counter()
        summary = synthesize(folder, options, processes=arguments.processes)
        seconds = time.perf_counter() - start
        made = summary.train + summary.query + summary.gallery
        if arguments.sheet:
            shown = 1 if arguments.kind == "bodies" else 3
            contact_sheet(folder, arguments.sheet, people=6, crops=shown)
        figures = (
            {} if arguments.sheet_only else measure(read_dataset(DataSource(folder)), arguments)
        )
    report = {
        "data": f"{arguments.kind}, {arguments.people} test identities, "
        f"{arguments.cameras} cameras, {arguments.crops} crops, seed {arguments.seed}",
        "crops_per_second": round(made / seconds, 1),
        "cross_camera": figures,
    }
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kind", choices=["drawn", "bodies"], default="drawn")
    parser.add_argument("--processes", type=int, default=1, help="that make the people")
    parser.add_argument("--people", type=int, default=100, help="test identities")
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--crops", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--weights", type=Path, help="ImageNet state dict of MobileNetV2")
    parser.add_argument("--model", type=Path, help="models/NAME with an ONNX network")
    parser.add_argument(
        "--sheet", type=Path, help="write a contact sheet of the people to this file"
    )
    parser.add_argument("--sheet-only", action="store_true", help="measure nothing")
    return parser.parse_args()


def measure(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return cross-camera mAP and rank-1 of every way to embed the same crops."""
    figures = {"chance": score(dataset, chance(dataset))}
    small = pixels(dataset, 32, 16)
    figures["raw pixels"] = score(dataset, centre(small.reshape(len(small), -1).astype(np.float32)))
    full = pixels(dataset, 128, 64)
    figures["colour histogram"] = score(dataset, unit(histograms(full)))
    if arguments.weights:
        embeddings = imagenet_features(pixels(dataset, 256, 128), arguments.weights)
        figures["ImageNet MobileNetV2"] = score(dataset, embeddings)
        figures["ImageNet MobileNetV2, centred"] = score(dataset, centre(embeddings))
    if arguments.model:
        figures[arguments.model.name] = score(dataset, model_embeddings(dataset, arguments.model))
    return figures


def pixels(dataset: Dataset, height: int, width: int) -> NDArray[np.uint8]:
    return load_images(dataset.query + dataset.gallery, height, width).pixels


def score(dataset: Dataset, embeddings: Float32s) -> dict[str, float]:
    queries = len(dataset.query)
    scores = evaluate(
        embeddings[:queries],
        dataset.query,
        embeddings[queries:],
        dataset.gallery,
        protocol="cross-camera",
    )
    return {"mAP": round(scores.map, 4), "rank1": round(float(scores.cmc(1)), 4)}


def chance(dataset: Dataset) -> Float32s:
    rng = np.random.default_rng(0)
    count = len(dataset.query) + len(dataset.gallery)
    return unit(rng.standard_normal((count, 64), dtype=np.float32))


def centre(features: Float32s) -> Float32s:
    return unit(features - features.mean(axis=0))


def unit(features: Float32s) -> Float32s:
    rows: Float32s = features / np.linalg.norm(features, axis=1, keepdims=True)
    return rows


def histograms(images: NDArray[np.uint8]) -> Float32s:
    """Return square roots of RGB histograms of three horizontal stripes, with the background."""
    codes = (images // (256 // BINS)).astype(np.int64) @ np.array([BINS * BINS, BINS, 1])
    stripes = np.array_split(codes.reshape(len(images), images.shape[1], -1), 3, axis=1)
    counts = [
        [np.bincount(stripe.ravel(), minlength=BINS**3) for stripe in image]
        for image in zip(*stripes, strict=True)
    ]
    return np.sqrt(np.array(counts, dtype=np.float32).reshape(len(images), -1))


def imagenet_features(images: NDArray[np.uint8], weights: Path) -> Float32s:
    network = build_network("mobilenet_v2", weights=str(weights), last_stride=2).eval()
    with torch.inference_mode():
        return extract_embeddings(network, images, torch.device("cpu"), batch=BATCH)


def model_embeddings(dataset: Dataset, model: Path) -> Float32s:
    embedder = OnnxEmbedder(model)
    manifest = embedder.manifest
    images = load_images(
        dataset.query + dataset.gallery,
        manifest.input_height,
        manifest.input_width,
        resize=manifest.resize,
    ).pixels
    parts = [embedder.embed(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
