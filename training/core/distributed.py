"""One process or several, started by ``torchrun``; only this module knows how many there are.

Every process makes the same random choices and holds the same labels. The processes share only the
forward and backward passes over crops, in contiguous parts. The first process alone clusters,
measures, writes files and prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from service.errors import InvalidInput, ReidError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run.

    Attributes:
        device: where this process's network is.
        rank: number of this process, from 0.
        count: number of processes.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process clusters, measures, writes files and prints."""
        return self.rank == 0

    def share(self, total: int, unit: int = 1) -> slice:
        """Compute this process's part of a sequence; parts are contiguous and nearly equal.

        Args:
            total: number of items, a multiple of ``unit``.
            unit: number of items that stay together, such as the crops of a cluster.

        Returns:
            The items of this process.
        """
        sizes = self.sizes(total, unit)
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def sizes(self, total: int, unit: int = 1) -> list[int]:
        """Compute the size of each process's part.

        Args:
            total: number of items, a multiple of ``unit``.
            unit: number of items that stay together.

        Returns:
            One size per process.
        """
        bounds = [rank * (total // unit) // self.count for rank in range(self.count + 1)]
        return [(high - low) * unit for low, high in pairwise(bounds)]

    def gather(self, own: Tensor, total: int, unit: int = 1) -> Tensor:
        """Collect all processes' rows in order; gradients reach only this process's own rows.

        Args:
            own: (n, ...), the rows that :meth:`share` gives; on the CPU or this process's device.
            total: N, number of rows of all processes.
            unit: as for :meth:`share`.

        Returns:
            (N, ...).
        """
        if self.count == 1:
            return own
        sizes = self.sizes(total, unit)
        # Backends exchange only equal shapes.
        padded = own.detach().new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        rows = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        rows[self.rank] = own
        return torch.cat(rows)

    def from_first(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the first process and give its result to all.

        Args:
            make: the function.
            *args: its arguments.
            **kwargs: its arguments.

        Returns:
            Its result; with several processes it must be picklable.

        Raises:
            InvalidInput: the function raised it.
        """
        if self.count == 1:
            return make(*args, **kwargs)
        made: list[T | None] = [None]
        with self.together():
            if self.first:
                made = [make(*args, **kwargs)]
        dist.broadcast_object_list(made, src=0)
        return made[0]  # type: ignore[return-value]  # the first process's, which is a T

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block in all processes; if it fails in one, the first reports why and all end.

        Raises:
            InvalidInput: in the first process, with the message of the lowest rank that failed.
        """
        if self.count == 1:
            yield
            return
        message: str | None = None
        try:
            yield
        except ReidError as error:
            message = str(error)
        messages: list[str | None] = [None] * self.count
        dist.all_gather_object(messages, message)
        told = next((text for text in messages if text is not None), None)
        if told is None:
            return
        if self.first:
            raise InvalidInput(told)
        # torchrun stops all processes when one exits: wait until the first has printed the message.
        with suppress(RuntimeError):
            dist.all_reduce(torch.zeros(1))
        raise SystemExit(2)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Make a network's gradients the mean over the processes.

        Args:
            network: on this process's device; it receives the first process's parameters.

        Returns:
            The network itself if there is one process, else a wrapper around it.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(
            network,
            device_ids=[self.device] if self.device.type == "cuda" else None,
        )

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the first one's buffers, because running statistics follow its group.

        Args:
            network: the unwrapped network, on this process's device.
        """
        if self.count == 1:
            return
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def speaks() -> bool:
    """Whether this process prints; for use before and after a world is open."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def open_world(device: torch.device) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, if any, and silence all but the first.

    Args:
        device: the kind asked for; with several GPUs, each process takes the one of its own number.

    Yields:
        The world.

    Raises:
        InvalidInput: more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield World(device)
        return
    cuda = device.type == "cuda"
    # The others wait while the first clusters and measures, which can exceed any default timeout.
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(days=1))
    world = World(device, dist.get_rank(), count)
    if cuda:
        world = World(_own_gpu(world), world.rank, count)
    with ExitStack() as stack:
        if not world.first:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield world
    dist.destroy_process_group()


def _own_gpu(world: World) -> torch.device:
    local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    with world.together():
        if local >= there:
            raise InvalidInput(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes for {there} GPUs: "
                f"give torchrun --nproc-per-node {there}, or --device cpu"
            )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
