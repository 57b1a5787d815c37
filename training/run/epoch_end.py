"""What happens at the end of an epoch: the checkpoint first, then everything that may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from training.core.checkpoint import SELECTED_NAME, Checkpoint, save_checkpoint
from training.core.config import TrainConfig
from training.core.distributed import World
from training.core.options import EvaluationOptions
from training.run.best_epoch import keep_if_best, tell_best_epochs
from training.run.log import EpochMetrics, RunLog
from training.run.measuring import Measured
from training.run.optional import UNWRITABLE, Once, Tell, attempt


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Ends epochs in an order that loses none.

    The checkpoint is saved first and contains the epoch's line for the log, not yet measured.
    Whatever fails afterwards, the epoch is kept, and a resumed run catches up on the rest.

    Attributes:
        run: the run's folder.
        log: the run's log.
        measure: measures the network as it is now.
        tell: takes messages for people.
    """

    run: Path
    log: RunLog
    measure: Callable[[], Measured]
    tell: Tell

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save, measure and log an epoch, and keep its network if it is the best so far.

        Args:
            checkpoint: of the epoch just finished, with its line.
        """
        save_checkpoint(self.run, checkpoint)
        self._log(checkpoint)
        self._keep_if_best(checkpoint)

    def catch_up(self, checkpoint: Checkpoint) -> None:
        """Do what an interrupted run did not get to after its last checkpoint.

        Args:
            checkpoint: the one that the run resumes from.
        """
        # Checkpoints of older versions have no line: those runs logged an epoch before saving it.
        if checkpoint.line and not self.log.holds(checkpoint.epoch):
            self._log(checkpoint)
        self._keep_if_best(checkpoint)

    def _log(self, checkpoint: Checkpoint) -> None:
        line, config = EpochMetrics.parse(checkpoint.line), checkpoint.config
        measured = Measured()
        try:
            if is_measured(checkpoint.epoch, config.schedule.epochs, config.evaluation):
                measured = self.measure()
        except Exception:
            # Without its line, a bug would stop every resumed run at the same place.
            self.log.write(line)
            raise
        self.log.write(measured.complete(line))
        for reason in measured.reasons:
            self.tell(reason)

    def _keep_if_best(self, checkpoint: Checkpoint) -> None:
        keep = partial(keep_if_best, self.run, checkpoint, self.log.lines)
        attempt(f"{SELECTED_NAME} cannot be written", keep, self.tell, UNWRITABLE)


@contextmanager
def end_epochs(
    output: Path,
    config: TrainConfig,
    saved: Checkpoint | None,
    measure: Callable[[], Measured],
    world: World,
) -> Iterator[EpochEnd | None]:
    """Open the run's log, catch up on an interrupted epoch, and compare the epochs at the end.

    Args:
        output: the run's folder.
        config: the run's config.
        saved: the checkpoint that the run resumes from; None for a new run.
        measure: measures the network as it is now.
        world: the run's processes.

    Yields:
        Ends epochs, in the first process; None in the others, which neither measure nor write.
    """
    if not world.first:
        yield None
        return
    tell = Once(tqdm.write)
    with RunLog(output, saved.epoch if saved else 0, config.schedule.epochs, tell) as log:
        end = EpochEnd(output, log, measure, tell)
        if saved:
            end.catch_up(saved)
        del saved  # it takes as much memory as the network and its optimiser
        yield end
    tell_best_epochs(output, config, tqdm.write)


def is_measured(finished: int, epochs: int, options: EvaluationOptions) -> bool:
    """Decide whether a run measures after an epoch.

    Args:
        finished: epochs finished, including this one.
        epochs: epochs of the run; the last one is always measured.
        options: of the run; ``every = 0`` means never.

    Returns:
        Whether it does.
    """
    return options.every > 0 and (finished == epochs or finished % options.every == 0)
