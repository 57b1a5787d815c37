"""Keep decoded crops in GPU memory, main memory or on disk while a run uses them repeatedly."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.errors import InvalidInput
from training.core.config import TrainConfig
from training.core.distributed import World
from training.data.datasets import Sample
from training.data.images import Images, load_images

Keep = Literal["auto", "device", "host", "disk"]
Place = Literal["device", "host", "disk"]
# The network, its maps and the optimiser need the rest of the GPU; clustering needs main memory.
_SHARE_OF_DEVICE = 0.25
_SHARE_OF_HOST = 0.5


class Pixels:
    """Crops as uint8, returned by index on the device that processes them.

    Args:
        rows: (N, H, W, 3) uint8, in main memory or mapped from a file.
        device: where crops are returned.
        on_device: copy all crops there now.
    """

    def __init__(
        self, rows: NDArray[np.uint8], device: torch.device, *, on_device: bool = False
    ) -> None:
        tensor = torch.from_numpy(rows)
        self._rows = tensor.to(device) if on_device else tensor
        self._device = device

    def __len__(self) -> int:
        """Number of crops."""
        return len(self._rows)

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """Get some of the crops.

        Args:
            indices: (n,) int64.

        Returns:
            (n, H, W, 3) uint8 on the device.
        """
        index = torch.from_numpy(indices).to(self._rows.device)
        # Compare types, because "cuda" does not equal the "cuda:0" that its tensors report.
        if self._rows.device.type == self._device.type:
            return self._rows[index]
        # The GPU can copy from pinned memory while the host continues.
        pinned = torch.empty(
            (len(indices), *self._rows.shape[1:]), dtype=torch.uint8, pin_memory=True
        )
        torch.index_select(self._rows, 0, index, out=pinned)
        return pinned.to(self._device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Memory that is free, in bytes.

    Attributes:
        device: GPU memory; 0 if the network runs on the CPU.
        host: this process's share of main memory.
    """

    device: int
    host: int


def load_pixels(
    samples: Sequence[Sample], config: TrainConfig, world: World, folder: Path
) -> tuple[Images, Pixels]:
    """Decode a run's crops to the place that ``data.keep`` chooses.

    Crops on a GPU are first decoded to main memory or disk and stay there too, for measuring. A
    file on disk has no name, so it disappears with the process, however the process ends.

    Args:
        samples: N samples.
        config: the run's config.
        world: the run's processes; each keeps its own copy of the crops.
        folder: the run's folder, for a file.

    Returns:
        The images, and access to them by index.

    Raises:
        InvalidInput: a crop is unreadable, or there is no room.
    """
    model = config.model
    size = math.prod(_shape(len(samples), config))
    on_device = choose_place(size, config.data.keep, free_memory(world)) == "device"
    images = load_images(
        samples,
        model.height,
        model.width,
        skip_bad=config.data.skip_bad,
        out=host_room(len(samples), config, world, folder),
    )
    return images, Pixels(images.pixels, world.device, on_device=on_device)


def host_room(
    count: int, config: TrainConfig, world: World, folder: Path
) -> NDArray[np.uint8] | None:
    """Make room outside the GPU for crops that are decoded, as ``data.keep`` chooses.

    Args:
        count: number of crops.
        config: the run's config; ``device`` leaves the choice between memory and disk open.
        world: the run's processes.
        folder: the run's folder, for a file.

    Returns:
        (count, H, W, 3) uint8, mapped from a file without a name; None for main memory.

    Raises:
        InvalidInput: the disk has no room.
    """
    shape, keep = _shape(count, config), config.data.keep
    free = FreeMemory(0, free_memory(world).host)
    place = choose_place(math.prod(shape), "auto" if keep == "device" else keep, free)
    return _map_file(shape, folder) if place == "disk" else None


def _shape(count: int, config: TrainConfig) -> tuple[int, int, int, int]:
    return count, config.model.height, config.model.width, 3


def choose_place(size: int, keep: Keep, free: FreeMemory) -> Place:
    """Choose where crops are kept.

    Args:
        size: size of all crops in bytes.
        keep: the option; ``auto`` takes the first place with ample room.
        free: memory that is free.

    Returns:
        The place.

    Raises:
        InvalidInput: the option is ``device``, and the GPU has no room.
    """
    if keep == "device" and size >= free.device:
        raise InvalidInput(
            f"data.keep = 'device': {size / 1e9:.1f} GB of crops, {free.device / 1e9:.1f} GB of "
            "GPU memory free; use auto, host or disk"
        )
    if keep != "auto":
        return keep
    if size <= _SHARE_OF_DEVICE * free.device:
        return "device"
    return "host" if size <= _SHARE_OF_HOST * free.host else "disk"


def free_memory(world: World) -> FreeMemory:
    """Measure how much memory is free now.

    Args:
        world: the run's processes, which share main memory.

    Returns:
        The measurement.
    """
    on_device = torch.cuda.mem_get_info(world.device)[0] if world.device.type == "cuda" else 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return FreeMemory(on_device, _free_host_memory() // processes)


def _free_host_memory() -> int:
    """Available main memory, limited to what a container allows."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used = (
            Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
            for name in ("memory.max", "memory.current")
        )
        return free if limit == "max" else min(free, int(limit) - int(used))
    except OSError:  # not in a container
        return free


def _map_file(shape: tuple[int, ...], folder: Path) -> NDArray[np.uint8]:
    size, free = math.prod(shape), shutil.disk_usage(folder).free
    if size >= free:
        raise InvalidInput(
            f"data.keep = 'disk': {size / 1e9:.1f} GB of crops, "
            f"{free / 1e9:.1f} GB free for {folder}"
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)
