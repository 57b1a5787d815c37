"""Which epoch's network is the result of a run: ``evaluation.select`` decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from training.core.checkpoint import (
    FILE_NAME,
    SELECTED_NAME,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from training.core.config import TrainConfig
from training.run.log import METRICS_NAME, read_lines

Select = Literal["last", "validation", "test"]
Line = Mapping[str, Any]


def read_metrics(run: Path, finished: int) -> list[Line]:
    """Read the lines of ``metrics.jsonl``.

    Args:
        run: the run's folder.
        finished: number of epochs to read; a later line comes from an interrupted epoch and may be
            incomplete.

    Returns:
        One mapping per epoch.
    """
    lines: list[Line] = [*read_lines(run / METRICS_NAME, finished)]
    return lines


def score_epoch(line: Line, select: Select) -> float | None:
    """Score an epoch, so that the best one can be found.

    Args:
        line: the epoch's line in ``metrics.jsonl``.
        select: ``validation`` scores how well the cameras agree, without labels; ``test`` the mAP
            on query and gallery under market1501, as the papers do, or its mean over several data
            sets; ``last`` the epoch's number.

    Returns:
        The score; None if the epoch was not measured or the data did not allow it.
    """
    match select:
        case "last":
            return float(line["epoch"])
        case "validation":
            agreement: float | None = line.get("agreement")
            return agreement
        case "test":
            known = _test_map(line)
            return float(np.mean(known)) if known else None


def _test_map(line: Line) -> list[float]:
    """The known figures that ``test`` selects by, one per data set."""
    known = _known_map(line)
    return [known[name] for name in known if name.split(" ")[-1] == "market1501"]


def _known_map(line: Line) -> dict[str, float]:
    return {name: value for name, value in line["map"].items() if value is not None}


def best_line(lines: Sequence[Line], select: Select) -> Line | None:
    """Find the best epoch; of equals, the earliest.

    Args:
        lines: the lines of ``metrics.jsonl``.
        select: how epochs are scored.

    Returns:
        Its line; None if no epoch was measured.
    """
    if select == "test":
        # A mean over fewer figures measures another test and cannot be compared.
        most = max((len(_test_map(line)) for line in lines), default=0)
        lines = [line for line in lines if len(_test_map(line)) == most]
    scored = [(score, line) for line in lines if (score := score_epoch(line, select)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def keep_if_best(run: Path, checkpoint: Checkpoint, lines: Sequence[Line] | None = None) -> None:
    """Save the network of the epoch just finished if it is the best so far.

    This is called once the checkpoint is saved, and again when a run resumes from it. So nothing is
    lost if the process is killed between writing the two files.

    Args:
        run: the run's folder.
        checkpoint: of the epoch just finished.
        lines: the lines of the epochs so far; read from ``metrics.jsonl`` by default.
    """
    select = checkpoint.config.evaluation.select
    if lines is None:
        lines = read_metrics(run, checkpoint.epoch)
    best = best_line(lines, select)
    if select != "last" and best is not None and best["epoch"] == checkpoint.epoch:
        selected = replace(checkpoint, optimiser={}, scheduler={}, banks={}, learning={})
        save_checkpoint(run, selected, SELECTED_NAME)


def tell_best_epochs(run: Path, config: TrainConfig, tell: Callable[[str], None]) -> None:
    """Print the first measured, the best and the last epoch side by side.

    Args:
        run: the run's folder.
        config: the run's config.
        tell: takes messages for people.
    """
    select, lines = config.evaluation.select, read_metrics(run, config.schedule.epochs)
    best = best_line(lines, select)
    if best is None and lines:
        tell(
            f"evaluation.select = {select!r}: no epoch was measured by it, so none was selected; "
            f"the result is the last epoch, {run / FILE_NAME}"
        )
    measured = [line for line in lines if line.get("agreement") is not None or _known_map(line)]
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
    if select != "last" and best is not None:
        _tell_selected(run / SELECTED_NAME, select, best["epoch"], tell)


def _tell_selected(file: Path, select: Select, best: int, tell: Callable[[str], None]) -> None:
    """Name the file of the best network, or say that it could not be written."""
    kept = load_checkpoint(file).epoch if file.exists() else None
    if kept == best:
        tell(f"selected by {select}: {file}")
    else:
        holds = "is missing" if kept is None else f"holds epoch {kept}"
        tell(f"selected by {select}: epoch {best}, but {file} {holds}: it could not be written")


def _describe(name: str, line: Line) -> str:
    parts = [f"{name}: epoch {line['epoch']}"]
    if line.get("agreement") is not None:
        parts.append(f"agreement {line['agreement']:.3f}")
    parts += [f"{protocol} mAP {100 * value:.1f}" for protocol, value in _known_map(line).items()]
    return " | ".join(parts)
