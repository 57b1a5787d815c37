r"""Measure how much of its own ceiling a recipe reaches without labels.

The ceiling is what the recipe reaches if its clusters are always right: the same network, start,
crops, loss and number of batches, with the true identities as clusters. Both runs are measured on
query and gallery; the share is the mAP without labels divided by that with labels, after the last
epoch of each. If a recipe is far from its ceiling, better clusters would help it; at its ceiling,
only another network, start or loss would.

::

    python benchmarks/ceiling.py --data FOLDER --data ANOTHER --weights mobilenet_v2.pth \
        --set-labelled memory.negatives=all --seed 1 2 3 --output runs/ceiling
    python benchmarks/ceiling.py --data FOLDER --unlabelled runs/mine --output runs/ceiling

With labels nothing speaks against contrasting a crop with every other person, so a recipe with
``memory.negatives = "same-camera"`` may have its ceiling measured with ``all``.

``--output`` keeps the runs; the same command continues an interrupted one and trains nothing again.
``--unlabelled`` takes the measurements of a finished run instead of training one. The labelled
network is no model to ship: its checkpoint, manifest and card say ``identity labels: of real
people``, and so do those of every network that starts from it.

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from service.errors import InvalidInput
from training.commands.options import parse_set
from training.core.checkpoint import load_checkpoint
from training.core.config import TrainConfig, read_config
from training.export.model_folder import recipe_of
from training.hhcl.loop import run
from training.networks.provenance import REAL_PEOPLE
from training.run.log import METRICS_NAME, read_lines
from training.synthetic import SyntheticOptions, synthesize

RECIPE = Path(__file__).resolve().parents[1] / "training/configs/hhcl-hard-links.toml"
# Enough that the labelled run learns something, from random weights, within a minute for both.
DRAWN: dict[str, Any] = {
    "model.backbone": "resnet18",
    "model.weights": "none",
    "model.height": 64,
    "model.width": 32,
    "augment.padding": 2,
    "batch.clusters": 8,
    "schedule.epochs": 3,
    "schedule.iterations": 12,
    "evaluation.every": 1,
}


@dataclass(frozen=True)
class Curve:
    """A run's measurements.

    Attributes:
        config: the run's config.
        maps: mAP by epoch, and there by protocol (after the data set's name if there are several).
    """

    config: TrainConfig
    maps: dict[int, dict[str, float]]

    @property
    def last(self) -> dict[str, float]:
        """The mAP by protocol after the last epoch."""
        return self.maps[max(self.maps)]

    @property
    def batches(self) -> int:
        """Number of batches up to the last measured epoch."""
        return max(self.maps) * self.config.schedule.iterations


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            output = arguments.output or Path(temporary, "runs")
            data = arguments.data or [draw(Path(temporary, "people"))]
            labelled = train(arguments, data, output, labelled=True)
            unlabelled = [trained(arguments.unlabelled)] if arguments.unlabelled else []
            unlabelled = unlabelled or train(arguments, data, output, labelled=False)
        print(describe(unlabelled, labelled))
        print(json.dumps(report(unlabelled, labelled, [folder.name for folder in data])))
    except InvalidInput as error:
        sys.exit(f"error: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_run_options(parser, RECIPE)
    parser.add_argument(
        "--set-labelled",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="as --set, for the labelled run only",
    )
    parser.add_argument("--unlabelled", type=Path, help="folder of a finished run without labels")
    return parser.parse_args()


def add_run_options(parser: argparse.ArgumentParser, recipe: Path) -> None:
    """Add what any comparison of runs of one recipe asks for."""
    parser.add_argument("--data", type=Path, action="append", help="labelled data set, or several")
    parser.add_argument("--config", type=Path, default=recipe, help="TOML file of the recipe")
    parser.add_argument("--weights", help="value of model.weights; default: the recipe's")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--iterations", type=int, help="batches per epoch; default: the recipe's")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="or several")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--output", type=Path, help="folder for the runs; default: a temporary one")
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--threads", type=int, default=2)


def draw(folder: Path) -> Path:
    synthesize(folder, SyntheticOptions(identities=48, cameras=2, crops=3, height=64, width=32))
    return folder


def train(
    arguments: argparse.Namespace, data: list[Path], output: Path, *, labelled: bool
) -> list[Curve]:
    """Train the recipe with each seed, with or without labels."""
    kind = "labelled" if labelled else "unlabelled"
    configured = partial(configure, arguments, data, labelled=labelled)
    return train_each(arguments, output / kind, configured, true_identities=labelled)


def train_each(
    arguments: argparse.Namespace,
    kind: Path,
    configured: Callable[[int], TrainConfig],
    *,
    true_identities: bool = False,
) -> list[Curve]:
    """Train with each seed in a folder named after it, or continue or read what is there."""
    curves = []
    for seed in arguments.seed:
        folder, config = kind.with_name(f"{kind.name}-{seed}"), configured(seed)
        with redirect_stdout(sys.stderr):  # stdout carries only the tables and the JSON line
            print(f"== {folder.name}")
            run(config, folder, arguments.device, resume=True, true_identities=true_identities)
        curves.append(read_curve(folder, config))
    return curves


def configure(
    arguments: argparse.Namespace, data: list[Path], seed: int, *, labelled: bool
) -> TrainConfig:
    chosen = [*arguments.set, *(arguments.set_labelled if labelled else ())]
    options = options_of(arguments, data, seed)
    return read_config(arguments.config, options | dict(map(parse_set, chosen)))


def options_of(arguments: argparse.Namespace, data: list[Path], seed: int) -> dict[str, Any]:
    """What the arguments change of the recipe, but for ``--set``."""
    options: dict[str, Any] = {} if arguments.data else dict(DRAWN)
    named = {
        "model.weights": arguments.weights,
        "schedule.epochs": arguments.epochs,
        "schedule.iterations": arguments.iterations,
    }
    options |= {name: value for name, value in named.items() if value is not None}
    recipe = read_config(arguments.config, {}).schedule
    if (epochs := options.get("schedule.epochs")) is not None:
        # The rate drops after the recipe's share of the run.
        options["schedule.step"] = max(1, round(epochs * recipe.step / recipe.epochs))
    return options | {
        "data.path": str(data[0]),
        "data.also": tuple(map(str, data[1:])),
        "seed": seed,
    }


def trained(folder: Path) -> Curve:
    """Read the measurements of a run that was trained without labels."""
    checkpoint = load_checkpoint(folder)
    if checkpoint.identity_labels == REAL_PEOPLE:
        raise InvalidInput(f"--unlabelled {folder}: identity labels: {REAL_PEOPLE}")
    return read_curve(folder, checkpoint.config)


def read_curve(folder: Path, config: TrainConfig) -> Curve:
    lines = read_lines(folder / METRICS_NAME, sys.maxsize)
    measured = {
        line["epoch"]: {
            name: round(value, 4) for name, value in line["map"].items() if value is not None
        }
        for line in lines
    }
    maps = {epoch: values for epoch, values in measured.items() if values}
    if not maps:
        raise InvalidInput(
            f"{folder}: no epoch was measured; the data needs query and gallery, and "
            "evaluation.every must be at least 1"
        )
    return Curve(config, maps)


def describe(unlabelled: list[Curve], labelled: list[Curve]) -> str:
    """Format mAP in % per epoch, mean over seeds, and the shares after the last epoch."""
    names = protocols(unlabelled, labelled)
    columns = [f"{name}, {kind}" for name in names for kind in ("no labels", "labels")]
    rows = [["epoch", *columns]]
    for epoch in sorted({epoch for curve in (*unlabelled, *labelled) for epoch in curve.maps}):
        means = [mean(curves, epoch, name) for name in names for curves in (unlabelled, labelled)]
        rows.append([str(epoch), *("" if m is None else percent(m) for m in means)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"| {' | '.join(['---:'] * len(rows[0]))} |")
    for name in names:
        found = share(unlabelled, labelled, name)
        ends = f" ({percent(min(found.each))} to {percent(max(found.each))} over the pairs of runs)"
        lines.append(
            f"share of its own ceiling, {name}: {percent(found.whole)} %"
            + ends * (len(found.each) > 1)
        )
    differing = differences(unlabelled[0].config, labelled[0].config)
    lines.append(f"options that differ: {', '.join(differing) or 'none'}")
    return "\n".join(lines)


def protocols(unlabelled: list[Curve], labelled: list[Curve]) -> list[str]:
    """What both kinds of runs were measured by, after their last epochs."""
    names = [set(curve.last) for curve in (*unlabelled, *labelled)]
    if not (shared := set.intersection(*names)):
        told = "; ".join(", ".join(sorted(each)) for each in names)
        raise InvalidInput(f"the runs were measured by different protocols or data: {told}")
    return sorted(shared)


def mean(curves: list[Curve], epoch: int, name: str) -> float | None:
    """Mean over the runs that were measured after this epoch."""
    found = [curve.maps[epoch][name] for curve in curves if name in curve.maps.get(epoch, ())]
    return statistics.mean(found) if found else None


@dataclass(frozen=True)
class Share:
    """A share of the ceiling: of the means over seeds, and of each pair of runs."""

    whole: float
    each: list[float]


def share(unlabelled: list[Curve], labelled: list[Curve], name: str) -> Share:
    """Divide mAP without labels by mAP with labels, after the last epoch of each run.

    Runs are paired by seed; a single run without labels is paired with every run with them.
    """
    if any(curve.last[name] == 0 for curve in labelled):
        raise InvalidInput(f"{name}: the mAP with labels is 0, so it is no ceiling")
    reached = [curve.last[name] for curve in unlabelled]
    ceilings = [curve.last[name] for curve in labelled]
    if len(reached) == 1:
        reached *= len(ceilings)
    each = [low / high for low, high in zip(reached, ceilings, strict=True)]
    return Share(statistics.mean(reached) / statistics.mean(ceilings), each)


def differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Dotted names of the options that differ; of paths only the last part is compared."""
    flat = [
        {
            f"{section}.{name}": setting
            for section, tree in recipe_of(config).items()
            if isinstance(tree, dict)
            for name, setting in tree.items()
        }
        for config in (one, other)
    ]
    return [name for name in flat[0] if flat[0][name] != flat[1][name]]


def report(unlabelled: list[Curve], labelled: list[Curve], data: list[str]) -> dict[str, Any]:
    kinds = {"unlabelled": unlabelled, "labelled": labelled}
    found = {name: share(unlabelled, labelled, name) for name in protocols(unlabelled, labelled)}
    return {
        "data": data,
        "share_of_ceiling": {name: round(each.whole, 4) for name, each in found.items()},
        "share_by_run": {
            name: [round(one, 4) for one in each.each] for name, each in found.items()
        },
        "map": {
            kind: [{"seed": curve.config.seed, "map": curve.maps} for curve in curves]
            for kind, curves in kinds.items()
        },
        "batches": {kind: curves[0].batches for kind, curves in kinds.items()},
        "differing_options": differences(unlabelled[0].config, labelled[0].config),
    }


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
