"""Keeps a long-lived process with many threads from holding memory it has freed."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from two arenas.

    glibc gives threads up to eight arenas a processor. Pictures of changing sizes, decoded by
    changing threads, leave holes in each of them, and the process grows for hours without a leak.
    To be called before threads start; does nothing where the C library is another.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)
