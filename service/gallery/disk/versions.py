"""What the versions of one gallery share: a database for each model, one of which is served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.gallery.base import Filter
from service.gallery.rows.nearest import Gpu
from service.machine.disk_reserve import Reserve

if TYPE_CHECKING:
    from service.gallery.disk.gallery import LocalGallery

_PICTURES_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """The surroundings of a gallery's versions.

    Attributes:
        folder: holds the databases; named like the gallery.
        gpu: runs unfiltered queries, None for the CPU.
        holding: ids of the snapshots that hold one of these crops.
        lock: held by whoever writes to any of them; one thread may take it twice. It belongs to
            the gallery's name, so that a switch or a restore does not let anybody in.
        reserve: room on the disk for erasing crops when nothing else is left.
        kept: versions beside the one that is served, by their model.
    """

    folder: Path
    gpu: Gpu | None
    holding: Callable[[Sequence[str]], tuple[str, ...]]
    reserve: Reserve
    lock: threading.RLock = field(default_factory=threading.RLock)
    kept: dict[str, LocalGallery] = field(default_factory=dict)


def bring_back_pictures(served: LocalGallery) -> int:
    """Give the served version pictures that it lost and another version still stores.

    Earlier releases lost the picture of a crop that was labelled between a change of model and its
    switch.

    Args:
        served: the version that is served; the caller keeps others from writing.

    Returns:
        How many came back.

    Raises:
        StorageFull: there is no room for them.
        Unavailable: a version cannot be read or written.
    """
    found, everything = 0, Filter()
    for version in served.versions.kept.values():
        lost = sorted(version.pictured(everything) - served.pictured(everything))
        for start in range(0, len(lost), _PICTURES_AT_ONCE):
            part = lost[start : start + _PICTURES_AT_ONCE]
            found += served.add_pictures({crop_id: version.picture(crop_id) for crop_id in part})
    return found
