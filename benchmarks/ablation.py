r"""Measure what each lever of a recipe is worth: the recipe, and the recipe with one lever changed.

The script trains every lever with each seed, on the same crops, for the same number of steps, and
measures it once, after the last epoch. A lever that the recipe has already is left out. The table
shows the mean cross-camera mAP, its spread over the seeds (largest minus smallest), and the mean
gain over the unchanged recipe with the same seed, with its 95 % interval by Student's t over the
seeds. A lever is separated from the recipe only if that interval does not contain 0; of many levers
that do nothing, one in twenty will seem to be. The count leaves out runs that could not be trained.

::

    python benchmarks/ablation.py --data FOLDER --weights models/hhcl-synthetic --crops 400 \
        --height 96 --width 48 --epochs 6 --iterations 40 --output runs/ablation

``--output`` keeps the results, and a run with the same options is not trained again: you can add
``--levers`` and ``--seeds`` later, and continue an interrupted run. Networks are not kept.
``--crops`` takes the first crops of each camera in the order of their paths, without reading
identities. If file names begin with the identity, this keeps each person's crops together.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student

from service.errors import InvalidInput
from training.core.config import TrainConfig, read_config
from training.data.datasets import UNKNOWN, DataSource, Sample, read_dataset
from training.hhcl.loop import run
from training.synthetic import SyntheticOptions, synthesize

CONFIGS = Path(__file__).resolve().parents[1] / "training/configs"
RECIPE = CONFIGS / "hhcl-mobilenetv2.toml"
BASE = "recipe"
HARD: dict[str, Any] = {"clustering.links": "hard"}
NO_PROXIES: dict[str, Any] = {"memory.proxy_weight": 0.0}
ALL_JOINED: dict[str, Any] = {"clustering.link_first": 0.25, "clustering.link_last": 1.0}
LEVERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (BASE, {}),
    ("average-pooling", {"model.pooling": "average"}),
    ("last-stride-1", {"model.last_stride": 1}),
    (
        "no-colour-changes",
        {
            f"augment.{name}": 0.0
            for name in ("brightness", "contrast", "saturation", "hue", "greyscale")
        },
    ),
    ("style-mixing", {"augment.style_mixing": 0.5}),
    ("dbscan", HARD | {"clustering.scheme": "dbscan"}),
    (
        "infomap",
        HARD
        | {
            "clustering.scheme": "infomap",
            "clustering.k1": 15,
            "clustering.k2": 4,
            "clustering.eps": 0.5,
        },
    ),
    ("hard-links", HARD),
    ("hard-links-no-proxies", HARD | NO_PROXIES),
    (
        "hard-links-all-joined",
        HARD | NO_PROXIES | ALL_JOINED | {"clustering.link_score": "local-scaling"},
    ),
    ("no-links-joined", {"clustering.link_first": 0.0, "clustering.link_last": 0.0}),
    ("sinkhorn-links", {"clustering.link_score": "sinkhorn"}),
    ("all-negatives", {"memory.negatives": "all"}),
    ("camera-entropy", {"memory.camera_entropy": True}),
    ("proxies", {"memory.proxy_weight": 0.5}),
    ("smoothing", {"memory.smoothing": True}),
    ("centroid", {"memory.kind": "centroid"}),
    ("hardest", {"memory.kind": "hardest"}),
    ("hybrid-instances", {"memory.kind": "hybrid-instances"}),
    ("warm-up", {"warmup.epochs": 2}),
    ("camera-colours", {"augment.camera_colours": 0.5}),
    ("instance-norm", {"model.instance_norm": True}),
    ("no-averaging", {"schedule.average": 0.0}),
)
PROTOCOL = "cross-camera"
CONFIDENCE = 0.95

BySeed = dict[int, float]


@dataclass(frozen=True)
class Gain:
    """What a lever gains over the unchanged recipe: paired differences of mAP, one per seed.

    Attributes:
        mean: mean difference.
        within: half the width of the 95 % interval; infinite for a single seed.
    """

    mean: float
    within: float

    @property
    def separated(self) -> bool:
        """Whether the interval leaves out 0."""
        return abs(self.mean) > self.within

    def describe(self) -> str:
        """The statement in words."""
        if math.isinf(self.within):
            return "not separated: one seed shows no spread"
        if not self.separated:
            return "not separated"
        return f"separated: {'better' if self.mean > 0 else 'worse'}"


def compare(lever: BySeed, base: BySeed) -> Gain | None:
    """Compare a lever with the recipe on the seeds that both have; None if there are none."""
    differences = [lever[seed] - base[seed] for seed in sorted(lever.keys() & base.keys())]
    count = len(differences)
    if count < 2:
        return Gain(differences[0], math.inf) if differences else None
    error = statistics.stdev(differences) / math.sqrt(count)
    return Gain(
        statistics.mean(differences),
        float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * error,
    )


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        output = arguments.output or Path(temporary, "runs")
        data = arguments.data or draw(Path(temporary, "people"))
        if arguments.crops:
            data = first_crops(data, arguments.crops, output)
        found = {
            name: measure(name, changes, data, output, arguments)
            for name, changes in LEVERS
            if name in arguments.levers
        }
    print(table(found))
    report = {"data": arguments.data.name if arguments.data else "drawn", "map": found}
    report["separated"] = separated(found)
    report |= {key: getattr(arguments, key) for key in ("epochs", "iterations", "crops", "seeds")}
    print(json.dumps(report))


def parse() -> argparse.Namespace:
    names = [name for name, _ in LEVERS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="data set; default: a few drawn people")
    parser.add_argument("--backbone", help="default: the recipe's; resnet18 for drawn people")
    parser.add_argument("--weights", default="none", help="value of model.weights")
    parser.add_argument(
        "--recipe", type=Path, default=RECIPE, help="TOML file that the levers change"
    )
    parser.add_argument(
        "--levers",
        nargs="+",
        choices=names,
        metavar="LEVER",
        help=f"default: all that change the recipe, of {', '.join(names)}",
    )
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 1 2 3; 1 for drawn people")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=1, help="batches per epoch")
    parser.add_argument("--height", type=int, default=32, help="pixels")
    parser.add_argument("--width", type=int, default=32, help="pixels")
    parser.add_argument("--crops", type=int, default=0, help="crops per camera; 0: all")
    parser.add_argument("--output", type=Path, help="folder for the runs; default: a temporary one")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.seeds is None:
        arguments.seeds = [1, 2, 3] if arguments.data else [1]
    if arguments.data is None and arguments.backbone is None:
        # Random MobileNetV2 features are all alike; random ResNet-18 features form some clusters.
        arguments.backbone = "resnet18"
    arguments.levers = [BASE, *(arguments.levers or changing(arguments.recipe))]
    if "infomap" in arguments.levers and find_spec("infomap") is None:
        arguments.levers = [name for name in arguments.levers if name != "infomap"]
        print("Leaving out infomap: the package infomap is not installed.", file=sys.stderr)
    return arguments


def changing(recipe: Path) -> list[str]:
    """The levers that change this recipe."""
    unchanged = read_config(recipe, {})
    return [name for name, changes in LEVERS if read_config(recipe, changes) != unchanged]


def draw(folder: Path) -> Path:
    synthesize(folder, SyntheticOptions(identities=24, cameras=2, crops=3, height=64, width=32))
    return folder


def first_crops(data: Path, count: int, output: Path) -> Path:
    """Write a manifest of the first training crops per camera, unlabelled, and the test crops."""
    dataset = read_dataset(DataSource(data))
    taken: Counter[int] = Counter()
    chosen = []
    for sample in dataset.train:
        taken[sample.camera] += 1
        if taken[sample.camera] <= count:
            chosen.append(Sample(sample.path, UNKNOWN, sample.camera))
    splits = {"train": chosen, "query": dataset.query, "gallery": dataset.gallery}
    file = output / f"crops-{count}" / "manifest.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "camera", "identity", "split"])
        for split, samples in splits.items():
            for one in samples:
                camera = dataset.cameras[one.camera]
                writer.writerow([one.path.resolve(), camera, one.identity, split])
    return file


def measure(
    name: str, changes: dict[str, Any], data: Path, output: Path, arguments: argparse.Namespace
) -> BySeed:
    """Return one lever's cross-camera mAP after the last epoch, by seed, without failed seeds."""
    found = {}
    for seed in arguments.seeds:
        folder = output / f"{name}-{seed}"
        config = configure(changes, data, seed, arguments)
        with redirect_stdout(sys.stderr):  # stdout carries only the table and the JSON line
            print(f"== {folder.name}")
            try:
                found[seed] = trained_map(config, folder)
            except InvalidInput as error:  # such as fewer than two clusters; other levers may train
                print(f"{folder.name} could not be trained: {error}")
    return found


def configure(
    changes: dict[str, Any], data: Path, seed: int, arguments: argparse.Namespace
) -> TrainConfig:
    recipe = read_config(arguments.recipe, {})
    drop = arguments.epochs * recipe.schedule.step / recipe.schedule.epochs
    fixed: dict[str, Any] = {
        "data.path": str(data),
        "model.weights": arguments.weights,
        "model.height": arguments.height,
        "model.width": arguments.width,
        "schedule.epochs": arguments.epochs,
        "schedule.iterations": arguments.iterations,
        "schedule.step": max(1, round(drop)),  # the rate drops after the recipe's share of the run
        "evaluation.every": arguments.epochs,
        "seed": seed,
    }
    if arguments.backbone:
        fixed["model.backbone"] = arguments.backbone
    return read_config(arguments.recipe, fixed | changes)


def trained_map(config: TrainConfig, folder: Path) -> float:
    """Return the cross-camera mAP after the last epoch; reuse a run trained with this config."""
    result, wanted = folder / "result.json", json.loads(json.dumps(config.as_dict()))
    if result.is_file():
        known = json.loads(result.read_text(encoding="utf-8"))
        if known["config"] == wanted:
            return float(known["map"])
    checkpoint = run(config, folder, torch.device("cpu"), resume=True)
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    if PROTOCOL not in last["map"]:
        raise InvalidInput(f"{config.data.path} has no query and gallery to measure")
    found = round(float(last["map"][PROTOCOL]), 4)
    result.write_text(json.dumps({"map": found, "config": wanted}), encoding="utf-8")
    checkpoint.unlink()  # thirty networks and optimisers would take gigabytes
    return found


def separated(found: dict[str, BySeed]) -> dict[str, bool | None]:
    """Per lever, whether it is separated from the recipe; None if it cannot be compared."""
    gains = {name: compare(values, found[BASE]) for name, values in found.items() if name != BASE}
    return {
        name: None if gain is None or math.isinf(gain.within) else gain.separated
        for name, gain in gains.items()
    }


def table(found: dict[str, BySeed]) -> str:
    lines = [
        "| lever | runs | mAP | spread | gain | 95 % interval | from the recipe |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, by_seed in found.items():
        values = list(by_seed.values())
        cells = [name, str(len(values)), *(spread_of(values) if values else ("", ""))]
        gain = None if name == BASE else compare(by_seed, found[BASE])
        cells += ["", "", ""] if gain is None else gain_of(gain)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread_of(values: list[float]) -> tuple[str, str]:
    return percent(statistics.mean(values)), percent(max(values) - min(values))


def gain_of(gain: Gain) -> list[str]:
    interval = f"{percent(gain.mean - gain.within)} to {percent(gain.mean + gain.within)}"
    return [percent(gain.mean), "" if math.isinf(gain.within) else interval, gain.describe()]


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    main()
