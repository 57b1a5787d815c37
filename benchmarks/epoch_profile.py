"""Measure where the time of a training epoch goes, and how much of it is not the network's own.

A real run trains for some epochs while the calls of HHCL's loop are timed, each without the calls
inside it. The network's own passes are embedding all crops, and forward and backward passes of the
batches. Everything else (clustering, links, memory, augmentation, optimiser, checkpoint) is
overhead. Query and gallery are not measured.

::

    python benchmarks/epoch_profile.py --data FOLDER --weights models/hhcl-synthetic

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from ceiling import add_run_options, draw, options_of
from torch import Tensor

from service.cli.tables import table
from service.errors import InvalidInput
from training.commands.options import parse_set
from training.core.config import TrainConfig, read_config
from training.core.engine import Learner
from training.hhcl import loop
from training.hhcl.memories.memory import Memory
from training.run.epoch_end import EpochEnd

RECIPE = Path(__file__).resolve().parents[1] / "training/configs/hhcl-mobilenetv2.toml"
PASSES = ("embed all crops", "forward", "backward")
REST = "everything else"
CALLS: tuple[tuple[Any, str, str], ...] = (
    (loop, "train_one_epoch", REST),
    (loop, "embed_together", "embed all crops"),
    (loop, "_label", "cluster"),
    (loop, "gather_crops", "link softly"),
    (loop, "draw_choices", "augment"),
    (loop, "apply_choices", "augment"),
    (loop, "_embed", "forward"),
    (Tensor, "backward", "backward"),
    (Learner, "step", "optimiser and average"),
    (EpochEnd, "keep", "checkpoint"),
    (loop, "keep_record", "checkpoint"),
)
"""Whose attribute is timed, and as which part of the epoch."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds by part, each without the parts that were called meanwhile.

    Attributes:
        seconds: by part.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _running: list[str] = field(default_factory=list)
    _since: float = 0.0

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Count the block's time to a part, and stop the one around it meanwhile."""
        self._charge()
        self._running.append(part)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function; its time counts to a part."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.timing(part):
                return function(*arguments, **options)

        return call

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True, slots=True)
class TimedMemory:
    """A memory whose loss and update are timed."""

    memory: Memory
    watch: Stopwatch

    def loss(self, embeddings: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """The memory's loss."""
        with self.watch.timing("loss"):
            return self.memory.loss(embeddings, labels, cameras)

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """The memory's update."""
        with self.watch.timing("move the memory"):
            self.memory.update(embeddings, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_run_options(parser, RECIPE)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            config = configure(arguments, Path(temporary))
            with redirect_stdout(sys.stderr):
                seconds = profile(config, Path(temporary, "run"), arguments.device)
    except InvalidInput as error:
        sys.exit(f"error: {error}")
    print(describe(seconds))
    print(json.dumps(report(seconds, config, arguments.threads)))


def configure(arguments: argparse.Namespace, temporary: Path) -> TrainConfig:
    data = arguments.data or [draw(temporary / "people")]
    options = options_of(arguments, data, arguments.seed[0]) | {"evaluation.every": 0}
    return read_config(arguments.config, options | dict(map(parse_set, arguments.set)))


def profile(config: TrainConfig, output: Path, device: torch.device) -> dict[str, float]:
    """Train, and return the seconds of each part."""
    watch, build = Stopwatch(), loop.build_memory

    def build_timed(*arguments: Any) -> TimedMemory:
        with watch.timing("build the memory"):
            return TimedMemory(build(*arguments), watch)

    with ExitStack() as patches:
        for owner, name, part in CALLS:
            patches.enter_context(
                patch.object(owner, name, watch.timed(getattr(owner, name), part))
            )
        patches.enter_context(patch.object(loop, "build_memory", build_timed))
        loop.run(config, output, device)
    return watch.seconds


def outside(seconds: dict[str, float]) -> float:
    """The share of the time that is not the network's own."""
    return 1 - sum(seconds[part] for part in PASSES) / sum(seconds.values())


def describe(seconds: dict[str, float]) -> str:
    whole = sum(seconds.values())
    rows = [
        [part, f"{spent:.2f}", f"{spent / whole:.1%}"]
        for part, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    told = table(["part", "seconds", "share"], rows)
    return f"{told}\noutside the network's own passes: {outside(seconds):.1%}"


def report(seconds: dict[str, float], config: TrainConfig, threads: int) -> dict[str, Any]:
    return {
        "benchmark": "epoch_profile",
        "epochs": config.schedule.epochs,
        "iterations": config.schedule.iterations,
        "threads": threads,
        "seconds": {part: round(spent, 3) for part, spent in seconds.items()},
        "outside_passes": round(outside(seconds), 4),
    }


if __name__ == "__main__":
    main()
