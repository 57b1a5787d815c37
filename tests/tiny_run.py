"""Settings of training runs that take seconds, on the people that the tests draw."""

from __future__ import annotations

from collections.abc import Mapping

NETWORK: dict[str, object] = {
    "model.backbone": "resnet18",
    "model.weights": "none",
    "model.height": 64,
    "model.width": 32,
}

CLUSTERS: dict[str, object] = {
    "clustering.k1": 6,
    "clustering.k2": 2,
    "clustering.eps": 0.6,
    "clustering.min_samples": 2,
    "batch.clusters": 4,
    "batch.crops": 2,
}
"""HHCL's part; SCL refuses these options."""

TINY = NETWORK | CLUSTERS
"""HHCL's settings. A test adds how long it trains and when it measures."""

SMALLEST: dict[str, object] = {
    "model.backbone": "resnet18",
    "model.weights": "none",
    "model.height": 32,
    "model.width": 32,
    "batch.clusters": 4,
    "batch.crops": 2,
    "clustering.eps": 0.6,
    "evaluation.every": 1,
}
"""For benchmarks that train: what a recipe leaves open stays as the recipe has it."""

ONE_STEP: dict[str, object] = {
    "schedule.epochs": 1,
    "schedule.iterations": 1,
    "evaluation.every": 0,
}


def as_arguments(settings: Mapping[str, object]) -> list[str]:
    """Return the settings as arguments of the command line."""
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
