"""Which epoch's network is the result of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from training.checkpoint import SELECTED_NAME, Checkpoint, save_checkpoint
from training.config import TrainConfig
from training.report import METRICS_NAME

Select = Literal["last", "validation", "test"]
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
            what was measured on query and gallery; ``last``: its number.

    Returns:
        The score; None where the epoch was not measured.
    """
    match select:
        case "last":
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
    """Save the network of the epoch just finished if it is the best so far.

    Called after the checkpoint is safe, and again when a run resumes from it: so a kill between the
    two files leaves nothing out.

    Args:
        run: the run's folder.
        checkpoint: of the epoch just finished.
    """
    select = checkpoint.config.evaluation.select
    best = best_line(read_metrics(run, checkpoint.epoch), select)
    if select != "last" and best is not None and best["epoch"] == checkpoint.epoch:
        selected = replace(checkpoint, optimiser={}, scheduler={}, banks={})
        save_checkpoint(run, selected, SELECTED_NAME)


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
