"""What the versions of one gallery share: a database per model, one of which is served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from service.gallery.allocation import Allocation
from service.gallery.rows.nearest import Gpu
from service.machine.disk_reserve import Reserve

Version = TypeVar("Version")


@dataclass(frozen=True, slots=True, eq=False)
class ModelVersions(Generic[Version]):
    """A gallery's versions, one per model, and what they share.

    Attributes:
        folder: holds the databases; its name is the gallery's.
        gpu: runs unfiltered queries; None for the CPU.
        allocation: where embeddings live while the gallery is served.
        holding: returns the ids of the snapshots that hold one of the given crops.
        lock: held by the thread that writes to any version; one thread may take it twice. It
            belongs to the gallery's name, so that a switch or a restore lets nobody in between.
        reserve: disk space kept for erasing crops when the disk is full.
        kept: the versions that are not served, by model.
    """

    folder: Path
    gpu: Gpu | None
    allocation: Allocation
    holding: Callable[[Sequence[str]], tuple[str, ...]]
    reserve: Reserve
    lock: threading.RLock = field(default_factory=threading.RLock)
    kept: dict[str, Version] = field(default_factory=dict)
