"""Read ``metrics.jsonl``, also of older versions, which measured less."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import InvalidInput
from training.run.log import METRICS_NAME


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of ``metrics.jsonl``; None means not measured. Shares are 0..1.

    Attributes:
        number: from 1.
        loss: mean loss.
        learning_rate: the epoch's learning rate.
        clusters: number of clusters.
        outliers: share of crops in no cluster.
        crossing: share of clusters with more than one camera.
        nmi: normalised mutual information of clusters and identities.
        ari: adjusted Rand index, likewise.
        across: named shares of how right clusters and embeddings are across cameras.
        agreement: cycle agreement of the cameras.
        verification: of pairs that tracks and frames tell apart.
        map: by protocol, or data set and protocol.
        rank1: likewise.
    """

    number: int
    loss: float | None
    learning_rate: float | None
    clusters: int | None
    outliers: float | None
    crossing: float | None
    nmi: float | None
    ari: float | None
    across: dict[str, float]
    agreement: float | None
    verification: float | None
    map: dict[str, float]
    rank1: dict[str, float]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An epoch with a column in the summary, and the column's title."""

    title: str
    epoch: Epoch


def read_history(run: Path) -> list[Epoch]:
    """Read every finished epoch of a run, in order.

    Args:
        run: the run's folder; the run may still be going on.

    Returns:
        At least one epoch.

    Raises:
        InvalidInput: the file is missing, has no finished epoch, or has a malformed line.
    """
    file = run / METRICS_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{run} holds no run that can be reported: {error}") from error
    # Text after the last newline is a line that is still being written.
    lines = text[: text.rfind("\n") + 1].splitlines()
    epochs = [_parse_line(file, number, line) for number, line in enumerate(lines, 1) if line]
    if not epochs:
        raise InvalidInput(f"{file}: no epoch is finished yet")
    return epochs


def _parse_line(file: Path, number: int, line: str) -> Epoch:
    try:
        tree: dict[str, Any] = json.loads(line)
        clusters: dict[str, Any] = tree.get("clusters") or {}
        return Epoch(
            number=int(tree["epoch"]),
            loss=_number(tree.get("loss")),
            learning_rate=_number(tree.get("learning_rate")),
            clusters=None if clusters.get("clusters") is None else int(clusters["clusters"]),
            outliers=_number(clusters.get("outliers")),
            crossing=_number(clusters.get("crossing")),
            nmi=_number(clusters.get("nmi")),
            ari=_number(clusters.get("ari")),
            across=_shares_across(clusters.get("across") or {}),
            agreement=_number(tree.get("agreement")),
            verification=_number(tree.get("verification")),
            map=_known(tree.get("map") or {}),
            rank1=_known(tree.get("rank1") or {}),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{file}: line {number} is not a valid epoch ({error!r})") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _shares_across(across: dict[str, Any]) -> dict[str, float]:
    partner = {f"partner@{k}": share for k, share in (across.get("partner") or {}).items()}
    pairs = {name: across.get(name) for name in ("precision", "recall")}
    return _known(pairs | partner)


def _known(shares: dict[str, Any]) -> dict[str, float]:
    """Without null, which marks measurements that the data did not allow."""
    return {str(name): float(share) for name, share in shares.items() if share is not None}


def choose_epochs(history: list[Epoch]) -> list[Chosen]:
    """Choose the first, the best and the last epoch.

    Args:
        history: at least one epoch.

    Returns:
        Two or three epochs; there is a best one only if agreement was measured.
    """
    measured = [(e.agreement, -e.number, e) for e in history if e.agreement is not None]
    best = [Chosen("best by agreement", max(measured)[2])] if measured else []
    return [Chosen("first", history[0]), *best, Chosen("last", history[-1])]
