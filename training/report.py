"""What a run tells people: one line an epoch, ``metrics.jsonl`` and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.data import Sample
from training.memory import seen_by_cameras

Int64s = NDArray[np.int64]
METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Clusters:
    """How an epoch's pseudo-labels look, and how right they are where identities are known.

    Attributes:
        clusters: how many.
        outliers: share of crops in none.
        crossing: share of clusters with more than one camera.
        nmi: normalised mutual information with the identities, over crops in a cluster.
        ari: adjusted Rand index, likewise.
    """

    clusters: int
    outliers: float
    crossing: float
    nmi: float | None
    ari: float | None


def describe_clusters(labels: Int64s, samples: Sequence[Sample]) -> Clusters:
    """Count, and compare with identities; those are read here only, never by training.

    Args:
        labels: (N,) int64 pseudo-labels, -1 for an outlier.
        samples: the N crops.

    Returns:
        The description.
    """
    inside = labels >= 0
    cameras = np.array([sample.camera for sample in samples])
    identities = np.array([sample.identity for sample in samples])
    count = int(labels.max()) + 1
    crossing = (seen_by_cameras(labels, cameras).sum(axis=1) > 1).mean() if count else 0.0
    known = inside.any() and bool((identities >= 0).all())
    truth, found = identities[inside], labels[inside]
    return Clusters(
        clusters=count,
        outliers=float(1 - inside.mean()),
        crossing=float(crossing),
        nmi=float(normalized_mutual_info_score(truth, found)) if known else None,
        ari=float(adjusted_rand_score(truth, found)) if known else None,
    )


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``; shares are 0..1.

    Attributes:
        epoch: from 1.
        loss: mean of the epoch.
        learning_rate: of the epoch.
        clusters: the pseudo-labels; None where the method makes none (SCL).
        agreement: cycle agreement of the cameras, without labels; None if not measured.
        map: by protocol, where measured.
        rank1: by protocol, where measured.
    """

    epoch: int
    loss: float
    learning_rate: float
    clusters: Clusters | None
    agreement: float | None
    map: dict[str, float]
    rank1: dict[str, float]

    def line(self, epochs: int) -> str:
        """One line for people."""
        c = self.clusters
        parts = [f"epoch {self.epoch:>3}/{epochs}"]
        if c is not None:
            parts.append(f"{c.clusters} clusters ({c.crossing:.0%} cross cameras)")
            parts.append(f"outliers {c.outliers:.1%}")
        parts.append(f"loss {self.loss:.3f}")
        if c is not None and c.nmi is not None and c.ari is not None:
            parts.append(f"NMI {c.nmi:.3f} ARI {c.ari:.3f}")
        if self.agreement is not None:
            parts.append(f"agreement {self.agreement:.3f}")
        parts += [f"{name} mAP {100 * value:.1f}" for name, value in self.map.items()]
        return " | ".join(parts)


class RunLog:
    """Writes each epoch where people and programs look for it.

    Args:
        run: the run's folder; exists.
        finished: epochs already done; lines of later ones, from an interrupted try, are dropped.
        epochs: of the whole run.
    """

    def __init__(self, run: Path, finished: int, epochs: int) -> None:
        self._epochs = epochs
        self._file = run / METRICS_NAME
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        kept = [line for line in lines[:finished] if line]
        self._file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=finished + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._board.close()

    def write(self, metrics: EpochMetrics) -> None:
        """Append one epoch, and print its line.

        Args:
            metrics: of the epoch.
        """
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")
        clusters = asdict(metrics.clusters) if metrics.clusters else {}
        scalars = {"loss": metrics.loss, "learning_rate": metrics.learning_rate}
        scalars |= {f"clusters/{name}": v for name, v in clusters.items() if v is not None}
        if metrics.agreement is not None:
            scalars["agreement"] = metrics.agreement
        scalars |= {f"mAP/{name}": value for name, value in metrics.map.items()}
        scalars |= {f"rank-1/{name}": value for name, value in metrics.rank1.items()}
        for name, value in scalars.items():
            self._board.add_scalar(name, value, metrics.epoch)
        self._board.flush()
        tqdm.write(metrics.line(self._epochs))
