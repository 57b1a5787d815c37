"""How many processors this process may use, and how its threads share them."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LOWER = 10  # steps of priority: about a tenth of the time of a thread with normal priority


def available(root: Path = Path("/")) -> int:
    """Count the processors this process may use; a container may have fewer than its machine.

    The smaller of the scheduler's mask (``taskset``, cpusets) and the cgroup's quota
    (``docker run --cpus``, rounded up).

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        At least 1.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not available on this system
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The processors that each cgroup of this process grants, unless it has no limit."""
    for folder in _cgroups(root):
        limit = _words(folder / "cpu.max")  # version 2: "quota period", quota may be "max"
        if not limit:  # version 1: a negative quota means no limit
            limit = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(limit) == 2 and all(word.isdecimal() and int(word) for word in limit):
            yield int(limit[0]) / int(limit[1])


def _cgroups(root: Path) -> Iterator[Path]:
    """Folders of this process's cgroups, up to the roots."""
    mounts = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = mounts / "cpu" if controllers else mounts
        group = PurePosixPath(path.lstrip("/"))
        for ancestor in (group, *group.parents):
            yield mount / ancestor


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # this cgroup version is not in use
        return ""


def lower_priority() -> None:
    """Give this thread, and the threads it starts, a lower priority.

    For threads that decode and compute, so that the event loop keeps answering requests and probes
    while they use every processor. Only Linux has a priority per thread; elsewhere this does
    nothing.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid this
            lower = min(os.getpriority(os.PRIO_PROCESS, 0) + _LOWER, 19)
            os.setpriority(os.PRIO_PROCESS, thread, lower)


def one_thread_per_call() -> None:
    """Let NumPy and FAISS compute each call on the thread that makes it.

    :mod:`service.machine.shares` says why, and uses the other processors. Call this before either
    is imported. Variables that are set stay as they are.
    """
    for name in _THREADS:
        os.environ.setdefault(name, "1")
