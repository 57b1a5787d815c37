"""The command in a card that repeats the model's run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from training.core.config import TrainConfig


def format_command(recipe: dict[str, Any]) -> str:
    """Format the command that repeats a run.

    Args:
        recipe: the run's whole config, as the manifest contains it.

    Returns:
        A shell command on several lines. It names only what differs from the defaults, which are
        the paper's recipe.
    """
    data, weights = recipe["data"], recipe["model"]["weights"]
    synthetic = data.get("synthetic", ())
    if synthetic and not data["path"]:
        lines = ["python -m training pretrain --output RUN"]
        lines += [f"--data {shlex.quote(folder)}" for folder in synthetic]
    else:
        lines = ["python -m training train --output RUN"]
        sites = [data["path"] or "DATA", *data.get("also", ())]
        lines += [f"--data {shlex.quote(site)}" for site in sites]
        lines += [f"--synthetic {shlex.quote(folder)}" for folder in synthetic]
    lines += [f"--weights {shlex.quote(weights)}"] * (weights != "default")
    lines += [
        f"--set {shlex.quote(f'{name}={_toml(value)}')}"
        for name, value in _changes(recipe)
        if name not in {"data.path", "data.also", "data.synthetic", "model.weights"}
    ]
    return " \\\n    ".join(lines)


def _changes(recipe: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted names and values that differ from the defaults, which are the paper's recipe."""
    for section, default in TrainConfig().as_dict().items():
        value = recipe.get(section, default)
        if not isinstance(default, dict):
            yield from [(section, value)] * (value != default)
            continue
        for name, plain in default.items():
            chosen = value.get(name, plain)
            yield from [(f"{section}.{name}", chosen)] * (chosen != plain)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
