"""Optional steps of a run: if one fails for a known cause, that is reported and the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from training.data.entries import DataError

Tell = Callable[[str], None]
T = TypeVar("T")

UNMEASURABLE = (DataError, MemoryError, torch.OutOfMemoryError)
"""Why a measurement may fail: the data does not allow it, or it does not fit in memory."""

UNWRITABLE = (OSError,)
"""Why a file cannot be written: a full disk, a folder without write permission."""


def attempt(
    what: str, act: Callable[[], T], tell: Tell, causes: tuple[type[Exception], ...]
) -> T | None:
    """Try an optional step.

    Args:
        what: what failed, for the message.
        act: the step.
        tell: takes messages for people.
        causes: errors that the run survives. Any other error is a bug and is raised.

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
    """Passes each message on only once, because the same measurement may fail in every epoch.

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
