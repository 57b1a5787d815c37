"""Embeddings on disk: segments of rows, which are read as a whole and written row by row.

Place p is row p % R of segment p // R, with R rows per segment. A segment exists while at least one
of its places is taken; a free place holds zeros.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from service.gallery.disk.schema import ROWS_A_SEGMENT, SEGMENT_MARGIN

_INSERT = "INSERT OR REPLACE INTO segments (id, vectors) VALUES (?, ?)"
_READ = "SELECT vectors FROM segments WHERE id = ?"


@dataclass(slots=True)
class Places:
    """Which places are free.

    Attributes:
        free: free places below ``end``, descending.
        end: first place that was never taken.
    """

    free: list[int] = field(default_factory=list)
    end: int = 0

    @classmethod
    def beside(cls, taken: NDArray[np.int64]) -> Places:
        """All places except these, which must ascend."""
        if not len(taken):
            return cls()
        end = int(taken[-1]) + 1
        free = np.setdiff1d(np.arange(end), taken, assume_unique=True)
        return cls(free[::-1].tolist(), end)

    def next(self, count: int) -> list[int]:
        """The next ``count`` places, ascending; they stay free until :meth:`take`."""
        reused = self.free[len(self.free) - min(count, len(self.free)) :][::-1]
        return [*reused, *range(self.end, self.end + count - len(reused))]

    def take(self, count: int) -> None:
        """Take the places that :meth:`next` returned."""
        reused = min(count, len(self.free))
        del self.free[len(self.free) - reused :]
        self.end += count - reused

    def give_back(self, places: Sequence[int]) -> None:
        """Make places free again."""
        self.free = sorted([*self.free, *places], reverse=True)


def write_rows(
    writer: sqlite3.Connection, places: Sequence[int], rows: NDArray[np.float32]
) -> None:
    """Write embeddings, inside a transaction of the caller.

    Args:
        writer: the connection.
        places: N distinct places.
        rows: (N, D) float32.
    """
    order = np.argsort(places, kind="stable")
    ascending = np.asarray(places, np.int64)[order]
    data, width = rows[order].astype("<f4", copy=False), 4 * rows.shape[1]
    for segment, start, stop in _by_segment(ascending):
        inside = ascending[start:stop] - segment * ROWS_A_SEGMENT
        if not _is_whole(writer, segment, width):
            whole = np.zeros((ROWS_A_SEGMENT, rows.shape[1]), "<f4")
            whole[inside] = data[start:stop]
            writer.execute(_INSERT, (segment, bytes(SEGMENT_MARGIN) + whole.tobytes()))
            continue
        with writer.blobopen("segments", "vectors", segment) as blob:
            for first, count in _runs(inside):
                blob.seek(SEGMENT_MARGIN + first * width)
                at = start + int(np.searchsorted(inside, first))
                blob.write(data[at : at + count].tobytes())


def erase_rows(writer: sqlite3.Connection, places: Sequence[int], dimension: int) -> None:
    """Overwrite embeddings with zeros, inside a transaction of the caller.

    The crops at these places must already be deleted. A segment without other crops is removed.

    Args:
        writer: the connection.
        places: distinct places.
        dimension: D of the embeddings.
    """
    ascending = np.sort(np.asarray(places, np.int64))
    for segment, start, stop in _by_segment(ascending):
        first = segment * ROWS_A_SEGMENT
        others = writer.execute(
            "SELECT 1 FROM crops WHERE id BETWEEN ? AND ? LIMIT 1",
            (first, first + ROWS_A_SEGMENT - 1),
        ).fetchone()
        if others is None or not _is_whole(writer, segment, 4 * dimension):
            writer.execute("DELETE FROM segments WHERE id = ?", [segment])
            continue
        with writer.blobopen("segments", "vectors", segment) as blob:
            for row, count in _runs(ascending[start:stop] - first):
                blob.seek(SEGMENT_MARGIN + row * 4 * dimension)
                blob.write(bytes(count * 4 * dimension))


def read_rows(
    reader: sqlite3.Connection, places: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Read embeddings directly into an array.

    Args:
        reader: the connection.
        places: N ascending places.
        out: (N, D) float32, contiguous; row i receives place i, or zeros if its segment cannot be
            read.
    """
    dimension = out.shape[1]
    for segment, start, stop in _by_segment(places):
        vectors = _segment(reader, segment, dimension)
        if vectors is None:
            out[start:stop] = 0.0
        else:
            inside = places[start:stop] - segment * ROWS_A_SEGMENT
            whole = inside[-1] - inside[0] + 1 == len(inside)  # then a slice avoids a copy
            out[start:stop] = vectors[inside[0] : inside[-1] + 1] if whole else vectors[inside]


def sound_rows(rows: NDArray[np.float32], checksums: Sequence[int]) -> NDArray[np.bool_]:
    """Check which rows are unchanged since they were written.

    Args:
        rows: (N, D) float32, contiguous.
        checksums: N CRC-32 of their bytes.

    Returns:
        (N,) bool.
    """
    found = np.array(checksums_of(rows), np.int64)
    return np.equal(found, np.asarray(checksums, np.int64))


def checksums_of(rows: NDArray[np.float32]) -> list[int]:
    """CRC-32 of each row's bytes."""
    return [zlib.crc32(row) for row in rows.astype("<f4", copy=False)]


def _is_whole(reader: sqlite3.Connection, segment: int, width: int) -> bool:
    found = reader.execute("SELECT length(vectors) FROM segments WHERE id = ?", [segment])
    return bool(found.fetchone() == (SEGMENT_MARGIN + width * ROWS_A_SEGMENT,))


def _segment(
    reader: sqlite3.Connection, segment: int, dimension: int
) -> NDArray[np.float32] | None:
    try:
        found = reader.execute(_READ, [segment]).fetchone()
    except sqlite3.DatabaseError:  # damaged pages; other segments can still be read
        return None
    if found is None or len(found[0]) != SEGMENT_MARGIN + 4 * dimension * ROWS_A_SEGMENT:
        return None
    return np.frombuffer(found[0], "<f4", offset=SEGMENT_MARGIN).reshape(ROWS_A_SEGMENT, dimension)


def _by_segment(ascending: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Each segment with the start and the (exclusive) end of its places."""
    segments, starts = np.unique(ascending // ROWS_A_SEGMENT, return_index=True)
    bounds = [*starts.tolist(), len(ascending)]
    yield from zip(segments.tolist(), bounds[:-1], bounds[1:], strict=True)


def _runs(ascending: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and length of each run of consecutive numbers."""
    for _, run in groupby(enumerate(ascending.tolist()), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], len(members)
