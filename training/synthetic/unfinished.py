"""Folders that take long to make: made beside their place, by several processes, and resumable."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from service.errors import Conflict, InvalidInput, StorageFull
from service.machine.durable import UNFINISHED as STALE
from service.machine.durable import replaced_folder

T = TypeVar("T")

UNFINISHED = ".unfinished"
IN_FLIGHT = 4  # tasks per process; more would only delay an interruption


@dataclass(frozen=True, slots=True)
class FolderKind:
    """A kind of folder that a command of ours writes.

    Attributes:
        note: the file that marks it.
        entries: names of everything that it may contain.
        lacks: what to say of a folder that is not of this kind.
        other: what to say of one that is, but holds something else than is asked for.
    """

    note: str
    entries: frozenset[str]
    lacks: str
    other: str

    def check_free(self, out: Path, *, overwrite: bool) -> None:
        """Refuse a folder that holds something else.

        Args:
            out: the folder; may be missing.
            overwrite: whether another folder of this kind may be replaced.

        Raises:
            Conflict: it holds other files, or a folder of this kind that may not be replaced.
        """
        if out.exists() and not out.is_dir():
            raise Conflict(f"{out} exists and is not a folder")
        found = {entry.name for entry in out.iterdir()} if out.exists() else set()
        foreign = found - self.entries
        if found and (foreign or self.note not in found):
            raise Conflict(
                f"{out} contains {', '.join(sorted(foreign or found)[:3])} and {self.lacks}: "
                "choose another folder"
            )
        if found and not overwrite:
            raise Conflict(f"{out} already holds {self.other}")


def begin(out: Path, folders: Iterable[str], *, continues: Callable[[Path], bool]) -> Path:
    """Prepare the folder in which the files of another are collected until it is complete.

    Args:
        out: the folder that is to appear.
        folders: what is in it, as relative paths.
        continues: whether what an interrupted run left is wanted; anything else is removed.

    Returns:
        ``OUT.unfinished``, without files that were written only in part.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = out.with_name(out.name + UNFINISHED)
    if not continues(unfinished):
        shutil.rmtree(unfinished, ignore_errors=True)
    for folder in folders:
        (unfinished / folder).mkdir(parents=True, exist_ok=True)
    for stale in unfinished.rglob(f"*{STALE}"):
        stale.unlink()
    return unfinished


def finish(unfinished: Path, out: Path) -> None:
    """Let a complete folder take its place.

    Args:
        unfinished: from :func:`begin`.
        out: the folder; an older one is replaced.

    Raises:
        OSError: it cannot be moved.
    """
    with replaced_folder(out) as fresh:
        for entry in unfinished.iterdir():
            entry.rename(fresh / entry.name)
    unfinished.rmdir()


def share(work: Callable[[T], int], tasks: Iterable[T], processes: int) -> Iterator[int]:
    """Do tasks in one process or several.

    Args:
        work: does one task; for several processes, it and the tasks can be pickled.
        tasks: read as they are needed.
        processes: how many share the work.

    Yields:
        What ``work`` returned, as tasks end; sums of several tasks if several processes work.
    """
    if processes <= 1:
        yield from map(work, tasks)
        return
    # Each process builds its own body model and streets; forking would copy torch's threads.
    context = multiprocessing.get_context("spawn")
    queue = iter(tasks)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent) as pool:
        waiting: set[Future[int]] = set()
        try:
            while True:
                room = IN_FLIGHT * processes - len(waiting)
                waiting |= {pool.submit(work, task) for task in islice(queue, room)}
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield sum(future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Without it, processes would wait for work for ever after the parent is killed."""

    def wait_for_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_for_parent, daemon=True).start()


def file_error(folder: Path, error: OSError) -> StorageFull | InvalidInput:
    """Say what went wrong with a folder's files.

    Args:
        folder: the folder.
        error: the failure.

    Returns:
        StorageFull if the disk is full, or else InvalidInput.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"{folder}: {error.strerror}")
    return InvalidInput(f"{folder}: {error.strerror or error}")
