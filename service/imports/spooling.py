"""Write an upload to disk in pieces: limited in size, never whole in memory, synced at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.errors import TooLarge
from service.machine.durable import disk_errors
from service.machine.executors import Threads

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Spooled:
    """A spooled upload.

    Attributes:
        size: its size in bytes.
        sha256: its SHA-256 in hexadecimal.
    """

    size: int
    sha256: str


async def spool(
    chunks: AsyncIterable[bytes],
    path: Path,
    most: int,
    threads: Threads,
    charge: Callable[[int], object] = int,
) -> Spooled:
    """Write an upload to a file, synced on return.

    Args:
        chunks: the body as it arrives.
        path: the file to write; must not exist.
        most: most bytes to accept.
        threads: write to the disk.
        charge: called with the number of bytes so far before they are written; raises to reject
            them.

    Returns:
        Size and digest.

    Raises:
        TooLarge: the body is too large.
        StorageFull: the disk is full.
    """
    with disk_errors(path):
        file = await threads.run(path.open, "xb")
        with file:
            writer = _Writer(file, most, charge)
            waiting: list[bytes] = []
            size = 0
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if size >= _CHUNK:
                    await threads.run(writer.write, waiting)
                    waiting, size = [], 0
            await threads.run(writer.finish, waiting)
    return Spooled(writer.size, writer.digest.hexdigest())


class _Writer:
    def __init__(self, file: BinaryIO, most: int, charge: Callable[[int], object]) -> None:
        self._file = file
        self._most = most
        self._charge = charge
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, chunks: Sequence[bytes]) -> None:
        self.size += sum(map(len, chunks))
        if self.size > self._most:
            raise TooLarge(f"the import exceeds {self._most:,} bytes")
        self._charge(self.size)
        for chunk in chunks:
            self.digest.update(chunk)
            self._file.write(chunk)

    def finish(self, chunks: Sequence[bytes]) -> None:
        self.write(chunks)
        self._file.flush()
        os.fsync(self._file.fileno())
