"""Which epoch's network is the result of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from training.checkpoint import SELECTED_NAME, Checkpoint, load_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.report import METRICS_NAME

Select = Literal["last", "validation", "test", "average"]
Line = Mapping[str, Any]


def read_metrics(run: Path, finished: int) -> list[Line]:
    """The lines of ``metrics.jsonl``.

    Args:
        run: the run's folder.
        finished: epochs to read; a later line is an interrupted try's, and may be torn.

    Returns:
        One mapping an epoch.
    """
    file = run / METRICS_NAME
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines[:finished]]


def score_epoch(line: Line, select: Select) -> float | None:
    """What an epoch is judged by.

    Args:
        line: of ``metrics.jsonl``.
        select: ``validation``: how well the cameras agree, without labels; ``test``: mean mAP over
            what was measured on query and gallery; else its number.

    Returns:
        The score; None where the epoch was not measured.
    """
    match select:
        case "last" | "average":
            return float(line["epoch"])
        case "validation":
            agreement: float | None = line["agreement"]
            return agreement
        case "test":
            return float(np.mean(list(line["map"].values()))) if line["map"] else None


def best_line(lines: Sequence[Line], select: Select) -> Line | None:
    """The best epoch, the earliest of equals.

    Args:
        lines: of ``metrics.jsonl``.
        select: what counts.

    Returns:
        Its line; None where no epoch was measured.
    """
    scored = [(score, line) for line in lines if (score := score_epoch(line, select)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def keep_selected(run: Path, checkpoint: Checkpoint) -> None:
    """Save the network of the epoch just finished if it is the best so far, or average it in.

    Called after the checkpoint is safe, and again when a run resumes from it: so a kill between the
    two files leaves nothing out.

    Args:
        run: the run's folder.
        checkpoint: of the epoch just finished.
    """
    match checkpoint.config.evaluation.select:
        case "last":
            return
        case "average":
            _average_in(run, checkpoint)
        case select:
            best = best_line(read_metrics(run, checkpoint.epoch), select)
            if best is not None and best["epoch"] == checkpoint.epoch:
                _save_selected(run, checkpoint)


def _save_selected(run: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(run, replace(checkpoint, optimiser={}, scheduler={}), SELECTED_NAME)


def _average_in(run: Path, checkpoint: Checkpoint) -> None:
    """Keep the mean of the networks after the last epochs (Izmailov et al., UAI 2018)."""
    config = checkpoint.config
    count = checkpoint.epoch - (config.schedule.epochs - config.evaluation.average)
    averaged = min(count, checkpoint.epoch)  # fewer epochs in the run than are to be averaged
    if averaged == 1:
        _save_selected(run, checkpoint)
    elif averaged > 1:
        mean = load_checkpoint(run / SELECTED_NAME)
        if mean.epoch < checkpoint.epoch:  # else it is in already: the run ended between the files
            network = {
                name: _move(mean.network[name], value, 1 / averaged)
                for name, value in checkpoint.network.items()
            }
            _save_selected(run, replace(checkpoint, network=network))


def _move(mean: Tensor, value: Tensor, share: float) -> Tensor:
    """Whole numbers, such as how many batches a layer saw, are not averaged."""
    return mean + share * (value.cpu() - mean) if value.is_floating_point() else value


def tell_selection(run: Path, config: TrainConfig, tell: Callable[[str], None]) -> None:
    """Show the first measured, the best and the last epoch side by side.

    Args:
        run: the run's folder.
        config: of the run.
        tell: takes messages for people.
    """
    select, lines = config.evaluation.select, read_metrics(run, config.schedule.epochs)
    measured = [line for line in lines if line["agreement"] is not None or line["map"]]
    if not measured:
        return
    rows = {
        "first measured": measured[0],
        "best by validation": best_line(lines, "validation"),
        "last": lines[-1],
    }
    if select == "test":
        rows["best by test data"] = best_line(lines, "test")
    for name, line in rows.items():
        if line is not None:
            tell(_describe(name, line))
    if select != "last" and (run / SELECTED_NAME).exists():
        tell(f"selected by {select}: {run / SELECTED_NAME}")


def _describe(name: str, line: Line) -> str:
    parts = [f"{name}: epoch {line['epoch']}"]
    if line["agreement"] is not None:
        parts.append(f"agreement {line['agreement']:.3f}")
    parts += [f"{protocol} mAP {100 * value:.1f}" for protocol, value in line["map"].items()]
    return " | ".join(parts)
