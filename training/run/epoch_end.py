"""What an epoch leaves behind: its checkpoint first, then everything a run can do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.core.checkpoint import SELECTED_NAME, Checkpoint, save_checkpoint
from training.run.best_epoch import keep_selected
from training.run.log import EpochMetrics, RunLog
from training.run.measuring import Measured
from training.run.optional import UNWRITABLE, Tell, attempt


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Ends epochs in an order that loses none.

    The checkpoint comes first and carries the epoch's line for the log, not yet measured. Whatever
    happens afterwards, the epoch is kept, and a resumed run catches up on the rest.

    Attributes:
        run: the run's folder.
        log: of the run.
        measure: takes an epoch's number, from 1, and measures the network as it stands.
        tell: takes messages for people.
    """

    run: Path
    log: RunLog
    measure: Callable[[int], Measured]
    tell: Tell

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save, measure, log, and keep the best network.

        Args:
            checkpoint: of the epoch just finished, with its line.
        """
        save_checkpoint(self.run, checkpoint)
        self._log(checkpoint)
        self._select(checkpoint)

    def catch_up(self, checkpoint: Checkpoint) -> None:
        """Do what an interrupted run did not get to after its last checkpoint.

        Args:
            checkpoint: that the run resumes from.
        """
        # Checkpoints of older versions carry no line: those runs logged before they saved.
        if checkpoint.line and not self.log.holds(checkpoint.epoch):
            self._log(checkpoint)
        self._select(checkpoint)

    def _log(self, checkpoint: Checkpoint) -> None:
        line = EpochMetrics.parse(checkpoint.line)
        try:
            measured = self.measure(checkpoint.epoch)
        except Exception:
            # A mistake in the program would stop every resumed run at the same place.
            self.log.write(line)
            raise
        self.log.write(measured.complete(line))
        for reason in measured.reasons:
            self.tell(reason)

    def _select(self, checkpoint: Checkpoint) -> None:
        select = partial(keep_selected, self.run, checkpoint, self.log.lines)
        attempt(f"{SELECTED_NAME} cannot be written", select, self.tell, UNWRITABLE)
