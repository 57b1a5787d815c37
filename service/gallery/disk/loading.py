"""Reading a whole gallery back from its SQLite file, as fast as memory and disk allow."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import IN_MEMORY, Allocation
from service.gallery.base import Crop
from service.gallery.disk import segments
from service.gallery.disk.reading import FIELDS
from service.machine.sqlite import answering, connect

_SPARE_ROWS = 1024
_ROWS_A_PART = 16_384


@dataclass(frozen=True, slots=True)
class Stored:
    """A gallery as read back from disk.

    Attributes:
        crops: all N crops, in the order of their places.
        embeddings: (M, D) float32, M >= N. Row i belongs to crop i; the rest is room to grow and
            takes no memory until it is used.
        sound: (N,) bool, False if the embedding is missing, truncated or altered.
        places: (N,) ascending places of the crops in the file.
        pictures: number of crops with a stored picture.
    """

    crops: list[Crop]
    embeddings: NDArray[np.float32]
    sound: NDArray[np.bool_]
    places: NDArray[np.int64]
    pictures: int


def load(path: Path, dimension: int, allocation: Allocation = IN_MEMORY) -> Stored:
    """Read everything back, verifying each embedding.

    Three steps run in parallel, part by part: the system provides memory, the file is read, and the
    embeddings are checked. Any of them can be the slowest.

    Args:
        path: the gallery's file.
        dimension: D of its embeddings.
        allocation: where the embeddings will live.

    Raises:
        StorageFull: the disk has no room for them.
        Unavailable: SQLite cannot read the file.
    """
    with (
        answering(path),
        closing(connect(path, "ro")) as reader,
        ThreadPoolExecutor(1) as memory,
        ThreadPoolExecutor(1) as disk,
    ):
        reader.execute("BEGIN")  # crops and embeddings must be from the same moment
        (count,) = reader.execute("SELECT count(*) FROM crops").fetchone()
        room = allocation.room_for(count + count // 4 + _SPARE_ROWS, dimension)
        embeddings, sound = room[:count], np.empty(count, np.bool_)
        parts = [slice(at, at + _ROWS_A_PART) for at in range(0, count, _ROWS_A_PART)]
        taken = [memory.submit(allocation.prepare, embeddings[part]) for part in parts]
        rows = reader.execute(
            f"SELECT id, crc32, picture_key IS NOT NULL, {FIELDS} FROM crops ORDER BY id"  # noqa: S608 - fixed texts
        ).fetchall()
        places = np.fromiter((row[0] for row in rows), np.int64, count)

        def read(part: slice, memory_taken: Future[None]) -> None:
            memory_taken.result()
            segments.read_rows(reader, places[part], embeddings[part])

        reading = [disk.submit(read, *both) for both in zip(parts, taken, strict=True)]
        crops = [Crop(*row[3:]) for row in rows]
        for part, ready in zip(parts, reading, strict=True):
            ready.result()
            checksums = [row[1] for row in rows[part]]
            sound[part] = segments.sound_rows(embeddings[part], checksums)
    embeddings[~sound] = 0.0
    return Stored(crops, room, sound, places, sum(row[2] for row in rows))
