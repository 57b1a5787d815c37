"""Steps a run can do without: a failure with a known cause is reported once, and it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from training.data.samples import DataError

Tell = Callable[[str], None]
T = TypeVar("T")

UNMEASURABLE = (DataError, MemoryError, torch.OutOfMemoryError)
"""Why a measurement may be impossible: the data does not allow it, or it does not fit in memory."""

UNWRITABLE = (OSError,)
"""Why a file may not be written: a full disk, a folder that is not writable."""


def attempt(
    what: str, act: Callable[[], T], tell: Tell, causes: tuple[type[Exception], ...]
) -> T | None:
    """Do an optional step.

    Args:
        what: the step, as people read it.
        act: the step.
        tell: takes messages for people.
        causes: errors that the run survives. Any other error is a mistake in the program and is
            raised.

    Returns:
        The step's result; None if it failed.
    """
    try:
        return act()
    except causes as error:
        reason = str(error) or type(error).__name__
        tell(f"{what}: {reason}. Training continues without it.")
        return None


@dataclass(frozen=True, slots=True)
class Once:
    """Passes each message on once: what cannot be measured fails in every measured epoch.

    Attributes:
        tell: takes messages for people.
    """

    tell: Tell
    _told: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> None:
        """Pass a message on if it is new.

        Args:
            text: the message.
        """
        if text not in self._told:
            self._told.add(text)
            self.tell(text)
