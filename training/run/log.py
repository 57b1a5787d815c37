"""What a run tells people: one line an epoch, ``metrics.jsonl`` and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training.core.pseudo_labels import seen_by_cameras
from training.data.samples import Sample
from training.run.optional import UNWRITABLE, Tell, attempt

Int64s = NDArray[np.int64]
METRICS_NAME = "metrics.jsonl"
_CANNOT = "{} cannot be written"


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
        map: by protocol, where measured; None where it was tried and the data does not allow it.
        rank1: likewise.
    """

    epoch: int
    loss: float
    learning_rate: float
    clusters: Clusters | None
    agreement: float | None = None
    map: dict[str, float | None] = field(default_factory=dict)
    rank1: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """Read a line back.

        Args:
            tree: the line, from ``dataclasses.asdict``.

        Returns:
            The line.
        """
        clusters = tree["clusters"]
        return cls(**{**tree, "clusters": Clusters(**clusters) if clusters else None})

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
        parts += [f"{name} mAP {100 * v:.1f}" for name, v in self.map.items() if v is not None]
        return " | ".join(parts)


class RunLog:
    """Writes each epoch where people and programs look for it.

    No file here is worth a run: one that cannot be written is named, and training continues.

    Args:
        run: the run's folder; exists.
        finished: epochs already done; lines of later ones, from an interrupted try, are dropped.
        epochs: of the whole run.
        tell: takes messages for people.
    """

    def __init__(self, run: Path, finished: int, epochs: int, tell: Tell = tqdm.write) -> None:
        self._epochs = epochs
        self._tell = tell
        self._file = run / METRICS_NAME
        self._lines = {line["epoch"]: line for line in read_lines(self._file, finished)}
        self._appendable = self._attempt(METRICS_NAME, self._rewrite)
        open_board = partial(SummaryWriter, str(run / "tensorboard"), purge_step=finished + 1)
        self._board = attempt(_CANNOT.format("tensorboard"), open_board, tell, UNWRITABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._attempt("tensorboard", self._board.close)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """One mapping per epoch, in order, whether or not the file could be written."""
        return [line for _, line in sorted(self._lines.items())]

    def holds(self, epoch: int) -> bool:
        """Whether an epoch has its line.

        Args:
            epoch: from 1.

        Returns:
            Whether it does.
        """
        return epoch in self._lines

    def write(self, metrics: EpochMetrics) -> None:
        """Append one epoch, and print its line.

        Args:
            metrics: of the epoch.
        """
        self._lines[metrics.epoch] = asdict(metrics)
        write = self._append if self._appendable else self._rewrite
        self._appendable = self._attempt(METRICS_NAME, write)
        if self._board is not None and not self._attempt(
            "tensorboard", partial(_draw, self._board, metrics)
        ):
            self._board = None
        self._tell(metrics.line(self._epochs))

    def _attempt(self, name: str, write: Callable[[], None]) -> bool:
        def done() -> bool:
            write()
            return True

        return attempt(_CANNOT.format(name), done, self._tell, UNWRITABLE) is not None

    def _append(self) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._lines[max(self._lines)]) + "\n")

    def _rewrite(self) -> None:
        """All lines anew: also those that an earlier failure kept out of the file."""
        unfinished = self._file.with_name(f"{METRICS_NAME}.unfinished")
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self._file)


def read_lines(file: Path, finished: int) -> list[dict[str, Any]]:
    """The lines of finished epochs in ``metrics.jsonl``.

    Args:
        file: of the run; may be absent.
        finished: epochs that count; a later line is of an interrupted try, and may be torn.

    Returns:
        One mapping per epoch.
    """
    try:
        texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line for text in texts if (line := _parse(text)) and line["epoch"] <= finished]


def _parse(text: str) -> dict[str, Any] | None:
    """A line; None if it is torn."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("epoch"), int)
    return line if whole else None


def _draw(board: SummaryWriter, metrics: EpochMetrics) -> None:
    clusters = asdict(metrics.clusters) if metrics.clusters else {}
    scalars: dict[str, float | None] = {
        "loss": metrics.loss,
        "learning_rate": metrics.learning_rate,
        "agreement": metrics.agreement,
    }
    scalars |= {f"clusters/{name}": value for name, value in clusters.items()}
    scalars |= {f"mAP/{name}": value for name, value in metrics.map.items()}
    scalars |= {f"rank-1/{name}": value for name, value in metrics.rank1.items()}
    for name, value in scalars.items():
        if value is not None:
            board.add_scalar(name, value, metrics.epoch)
    board.flush()
