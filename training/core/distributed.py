"""One process or several, as ``torchrun`` starts them; everything a run says of it is here.

Every process draws the same choices and holds the same labels. Only forward and backward passes
over crops are shared, in contiguous parts; the first process alone clusters, measures, writes and
speaks.
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
        device: where this process's network lives.
        rank: number of this process, from 0.
        count: how many there are.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process clusters, measures, writes and speaks."""
        return self.rank == 0

    def share(self, total: int, unit: int = 1) -> slice:
        """This process's part of a sequence; parts are contiguous, in order and nearly equal.

        Args:
            total: items, a multiple of ``unit``.
            unit: items that stay together, such as the crops of a cluster.

        Returns:
            The items of this process.
        """
        sizes = self.sizes(total, unit)
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def sizes(self, total: int, unit: int = 1) -> list[int]:
        """How large each process's part is.

        Args:
            total: items, a multiple of ``unit``.
            unit: items that stay together.

        Returns:
            One size a process.
        """
        bounds = [rank * (total // unit) // self.count for rank in range(self.count + 1)]
        return [(high - low) * unit for low, high in pairwise(bounds)]

    def gather(self, own: Tensor, total: int, unit: int = 1) -> Tensor:
        """All processes' rows in order; a gradient reaches this process's own rows only.

        Args:
            own: (n, ...), the rows :meth:`share` names; on the CPU or this process's device.
            total: N, rows of all processes.
            unit: as for :meth:`share`.

        Returns:
            (N, ...).
        """
        if self.count == 1:
            return own
        sizes = self.sizes(total, unit)
        # Backends exchange equal shapes only.
        padded = own.detach().new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        rows = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        rows[self.rank] = own
        return torch.cat(rows)

    def from_first(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the first process makes, handed to all.

        Args:
            make: called in the first process only.
            *args: its arguments.
            **kwargs: its arguments.

        Returns:
            Its result; it must be picklable where there are several processes.

        Raises:
            InvalidInput: as ``make`` does.
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
        """Runs a block in all processes; if it fails in one, the first says why and all end.

        Raises:
            InvalidInput: in the first process, with the message of the lowest that failed.
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
        # torchrun ends all processes with the first that goes: this one waits until it has spoken.
        with suppress(RuntimeError):
            dist.all_reduce(torch.zeros(1))
        raise SystemExit(2)

    def wrap(self, network: nn.Module) -> nn.Module:
        """A network whose gradients are the mean over the processes.

        Args:
            network: on this process's device; its parameters become the first process's.

        Returns:
            The network itself for one process, else a wrapper around it.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(
            network,
            device_ids=[self.device] if self.device.type == "cuda" else None,
        )

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the first one's buffers: running statistics follow its first group.

        Args:
            network: the bare network, on this process's device.
        """
        if self.count == 1:
            return
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def speaks() -> bool:
    """Whether this process is the one that tells people, before or after a world is open."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def open_world(device: torch.device) -> Iterator[World]:
    """Join the processes ``torchrun`` started, or be alone; all but the first are mute inside.

    Args:
        device: the kind asked for; with several GPUs each process takes the one of its number.

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
    # Others wait while the first clusters and measures, which may take longer than any default.
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
