r"""Measure what tracks are worth to training; a person's crops in one camera stand in for a track.

Crops of one track are certainly one person, so ``clustering.tracks`` keeps them in one cluster.
Data sets for re-identification have no tracks, but they know who is in each camera. A run that is
told this much is **supervised inside each camera**: its figures are no figures without labels. Who
is who across cameras stays unknown. Tracks of a tracker are shorter and contain errors.

::

    python benchmarks/intra_camera.py --data CUHK03 --data PKU --weights models/hhcl-synthetic \
        --config training/configs/hhcl-mobilenetv2.toml --output runs/intra-camera --seed 1 2

Each data set is linked into a folder with a manifest that names camera and track and no training
identity. Each seed trains twice on it: with ``clustering.tracks`` off and on. Without ``--data`` it
draws people. Runs of an interrupted call are continued. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ceiling import Curve, add_run_options, draw, options_of, train_each

from service.errors import InvalidInput
from training.commands.options import parse_set
from training.core.config import TrainConfig, read_config
from training.data.datasets import Dataset, DataSource, Sample, read_dataset

RECIPE = Path(__file__).resolve().parents[1] / "training/configs/hhcl-mobilenetv2.toml"
COLUMNS = ("path", "split", "camera", "identity", "track")
KINDS = {"plain": False, "tracks": True}


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            output = arguments.output or Path(temporary, "runs")
            data = arguments.data or [draw(Path(temporary, "people"))]
            linked = [stand_in(folder, output / "data" / folder.name) for folder in data]
            curves = {
                kind: train_each(
                    arguments, output / kind, partial(configure, arguments, linked, kind)
                )
                for kind in KINDS
            }
        print(describe(curves, arguments.seed))
        print(json.dumps(report(curves, [folder.name for folder in data], arguments.seed)))
    except InvalidInput as error:
        sys.exit(f"error: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_run_options(parser, RECIPE)
    return parser.parse_args()


def stand_in(data: Path, folder: Path) -> Path:
    """Link a data set's crops into a folder whose manifest names tracks and no training identity.

    Args:
        data: a labelled data set.
        folder: the folder to write; one that has a manifest stays as it is.

    Returns:
        The folder.
    """
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return folder
    dataset = read_dataset(DataSource(data))
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        row_of(sample, dataset, split, link(sample.path, folder / split, number))
        for split in ("train", "query", "gallery")
        for number, sample in enumerate(getattr(dataset, split))
    ]
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def link(crop: Path, folder: Path, number: int) -> str:
    folder.mkdir(exist_ok=True)
    name = f"{number:06}{crop.suffix.lower()}"  # the crop's own name may tell the identity
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(crop.resolve())
    return f"{folder.name}/{name}"


def row_of(sample: Sample, dataset: Dataset, split: str, path: str) -> tuple[str, ...]:
    known = sample.identity >= 0
    if split == "train":
        # A track's name is one camera's own, so it says nothing about other cameras.
        track = f"{sample.camera}-{sample.identity}" if known else ""
        return path, split, dataset.cameras[sample.camera], "", track
    identity = str(sample.identity) if known else ""
    return path, split, dataset.cameras[sample.camera], identity, ""


def configure(arguments: argparse.Namespace, data: list[Path], kind: str, seed: int) -> TrainConfig:
    tracks = {"data.layout": "manifest", "clustering.tracks": KINDS[kind]}
    options = options_of(arguments, data, seed) | tracks
    return read_config(arguments.config, options | dict(map(parse_set, arguments.set)))


def describe(curves: dict[str, list[Curve]], seeds: Sequence[int]) -> str:
    """Format mAP in % after the last epoch: a row per run, a column per data set and protocol."""
    names = sorted(curves["plain"][0].last)
    rows = [["run", *names], ["---", *["---:"] * len(names)]]
    for kind, found in curves.items():
        for seed, curve in zip(seeds, found, strict=True):
            figures = [f"{100 * curve.last[name]:.1f}" for name in names]
            rows.append([f"{kind}, seed {seed}", *figures])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["runs with tracks: supervised inside each camera", *lines])


def report(
    curves: dict[str, list[Curve]], data: Sequence[str], seeds: Sequence[int]
) -> dict[str, Any]:
    first = curves["plain"][0]
    return {
        "labels": "who is in each camera, for the runs with tracks",
        "data": list(data),
        "seeds": list(seeds),
        "batches": first.batches,
        "map": {kind: [curve.last for curve in found] for kind, found in curves.items()},
    }


if __name__ == "__main__":
    main()
