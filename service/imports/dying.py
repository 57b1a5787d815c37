"""Let a process end with the one that forked it."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG


def die_with_parent(status: int) -> None:
    """End this process with its parent, because nothing else would end it then.

    Args:
        status: exit status if the parent has already ended.
    """
    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(status)
