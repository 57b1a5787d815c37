"""Limit glibc's memory arenas, so that a long-running process returns memory it has freed."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from two arenas.

    glibc creates up to eight arenas per processor. Images of different sizes, decoded in different
    threads, fragment each of them, so the process grows for hours without a leak. Call this before
    threads start; it does nothing with another C library.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)
