"""How many processors this process may use; a container may have fewer than its machine."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_LOWER = 10  # steps of priority; about a tenth of the share of a thread that did not give way


def available(root: Path = Path("/")) -> int:
    """Count the processors this process may use.

    The smaller of the scheduler's mask (``taskset``, cpusets) and the cgroup's quota
    (``docker run --cpus``), whose fractions count as a whole processor.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        At least 1.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Processors each cgroup above this process grants; those without a limit are left out."""
    for folder in _cgroups(root):
        limit = _words(folder / "cpu.max")  # version 2: "quota period", quota may be "max"
        if not limit:  # version 1: a negative quota is none
            limit = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(limit) == 2 and all(word.isdecimal() and int(word) for word in limit):
            yield int(limit[0]) / int(limit[1])


def _cgroups(root: Path) -> Iterator[Path]:
    """Folders of the cgroups this process belongs to, up to the roots."""
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
    except OSError:  # no such cgroup version here, or none at all
        return ""


def give_way() -> None:
    """Let the other threads go before this one, and those it starts, where processors are short.

    For threads that decode and compute: so the event loop keeps answering, refusing and taking
    probes while they use every processor. Linux has a priority for each thread; elsewhere this does
    nothing.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox may forbid it
            lower = min(os.getpriority(os.PRIO_PROCESS, 0) + _LOWER, 19)
            os.setpriority(os.PRIO_PROCESS, thread, lower)
