"""The log of a run: one printed line per epoch, ``metrics.jsonl`` and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from service.machine.durable import replaced_file
from training.run.clusters import Clusters
from training.run.optional import UNWRITABLE, Tell, attempt

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_NAME = "metrics.jsonl"
_CANNOT = "{} cannot be written"


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One line of ``metrics.jsonl``; shares are 0..1.

    Attributes:
        epoch: from 1.
        loss: the epoch's mean loss.
        learning_rate: the epoch's learning rate.
        clusters: the pseudo-labels; None if the method makes none (SCL).
        agreement: cycle agreement of the cameras, without labels; None if not measured.
        verification: how well pairs are told apart that tracks and frames tell apart; None if too
            few are known.
        map: by protocol, if measured; None if the data does not allow the measurement.
        rank1: likewise.
    """

    epoch: int
    loss: float
    learning_rate: float
    clusters: Clusters | None
    agreement: float | None = None
    verification: float | None = None
    map: dict[str, float | None] = field(default_factory=dict)
    rank1: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """Rebuild a line from plain values.

        Args:
            tree: the line, as ``dataclasses.asdict`` gives it.

        Returns:
            The line.
        """
        clusters = tree["clusters"]
        return cls(**{**tree, "clusters": Clusters.parse(clusters) if clusters else None})

    def line(self, epochs: int) -> str:
        """Format the line that is printed."""
        c = self.clusters
        parts = [f"epoch {self.epoch:>3}/{epochs}"]
        if c is not None:
            parts.append(f"{c.clusters} clusters ({c.crossing:.0%} cross cameras)")
            parts.append(f"outliers {c.outliers:.1%}")
        parts.append(f"loss {self.loss:.3f}")
        if c is not None and c.nmi is not None and c.ari is not None:
            parts.append(f"NMI {c.nmi:.3f} ARI {c.ari:.3f}")
        if c is not None and c.across is not None:
            parts.append(c.across.line())
        if self.agreement is not None:
            parts.append(f"agreement {self.agreement:.3f}")
        if self.verification is not None:
            parts.append(f"verification {self.verification:.3f}")
        parts += [f"{name} mAP {100 * v:.1f}" for name, v in self.map.items() if v is not None]
        return " | ".join(parts)


class RunLog:
    """Logs each epoch for people and programs.

    No log file is worth a run: if one cannot be written, a message says so and training continues.

    Args:
        run: the run's folder, which must exist.
        finished: epochs already finished; lines of later epochs, from an interrupted run, are
            dropped.
        epochs: epochs of the whole run.
        tell: takes messages for people.
    """

    def __init__(self, run: Path, finished: int, epochs: int, tell: Tell = tqdm.write) -> None:
        self._epochs = epochs
        self._tell = tell
        self._file = run / METRICS_NAME
        self._lines = {line["epoch"]: line for line in read_lines(self._file, finished)}
        self._appendable = self._attempt(METRICS_NAME, self._rewrite)
        open_board = partial(_open_board, run / "tensorboard", finished)
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
        """Whether the log has an epoch's line.

        Args:
            epoch: number of the epoch, from 1.

        Returns:
            True if it has.
        """
        return epoch in self._lines

    def write(self, metrics: EpochMetrics) -> None:
        """Append an epoch's line, and print it.

        Args:
            metrics: the epoch's line.
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
        """Write all lines again, including those that could not be written before."""
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        with replaced_file(self._file, durable=False) as file:
            file.write(text.encode())


def read_lines(file: Path, finished: int) -> list[dict[str, Any]]:
    """Read the lines of finished epochs from ``metrics.jsonl``.

    Args:
        file: the run's file; may be missing.
        finished: number of finished epochs; a later line comes from an interrupted epoch and may
            be incomplete.

    Returns:
        One mapping per epoch.
    """
    try:
        texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line for text in texts if (line := _parse(text)) and line["epoch"] <= finished]


def _parse(text: str) -> dict[str, Any] | None:
    """A line as a mapping; None if it is incomplete."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("epoch"), int)
    return line if whole else None


def _open_board(folder: Path, finished: int) -> SummaryWriter:
    # TensorBoard takes a second to import, and errors in the options should not wait for it.
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

    return SummaryWriter(str(folder), purge_step=finished + 1)


def _draw(board: SummaryWriter, metrics: EpochMetrics) -> None:
    clusters = asdict(metrics.clusters) if metrics.clusters else {}
    across = clusters.pop("across", None) or {}
    partner = across.pop("partner", None) or {}
    scalars: dict[str, float | None] = {
        "loss": metrics.loss,
        "learning_rate": metrics.learning_rate,
        "agreement": metrics.agreement,
        "verification": metrics.verification,
    }
    scalars |= {f"clusters/{name}": value for name, value in clusters.items()}
    scalars |= {f"across_cameras/{name}": value for name, value in across.items()}
    scalars |= {f"across_cameras/partner@{k}": value for k, value in partner.items()}
    scalars |= {f"mAP/{name}": value for name, value in metrics.map.items()}
    scalars |= {f"rank-1/{name}": value for name, value in metrics.rank1.items()}
    for name, value in scalars.items():
        if value is not None:
            board.add_scalar(name, value, metrics.epoch)
    board.flush()
