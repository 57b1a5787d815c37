"""A write that runs out of memory at any point leaves every slot with its own crop."""

from __future__ import annotations

import linecache
import sqlite3
import sys
import tracemalloc
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from service.gallery import allocation
from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.disk import segments
from service.gallery.rows import live_rows, view
from service.gallery.rows.live_rows import LiveRows
from service.gallery.standardising import running

MODEL, OTHER = "a" * 64, "b" * 64
EVERYTHING = Filter()
# Statements that allocate no memory: locks, and the swap at the end.
_FREE = ("with ", "try:", "for crop_id in draft.going", "slots.pop(", "self._slots, self._room")
_FREE += ("self._running, self._now = draft",)
_MODULES = {module.__file__ for module in (allocation, live_rows, view, running, segments)}


def _line(frame):
    return frame.f_code.co_filename, frame.f_lineno


@contextmanager
def out_of_memory_at(step):
    """Fail at the step-th line that works on rows; yields a list that then names the line."""
    struck, left = [], [step]

    def trace(frame, event, _argument):
        if frame.f_code.co_filename not in _MODULES or struck:
            return None
        if event == "line" and not linecache.getline(*_line(frame)).lstrip().startswith(_FREE):
            left[0] -= 1
            if not left[0]:
                struck.append((frame.f_code.co_name, frame.f_lineno))
                raise MemoryError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield struck
    finally:
        sys.settrace(before)


def crops_of(names, identity=None, camera="c1"):
    return [Crop(name, identity, camera, added=1.0) for name in names]


def row_of(name, version=0):
    """The embedding of a crop; no two share it."""
    drawn = np.random.default_rng([version, *name.encode()]).standard_normal(8)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def rows_of(names, version=0):
    return np.stack([row_of(name, version) for name in names])


def seen(rows):
    """What queries see: the crop and embedding of each living slot, which its id must find."""
    shown = rows.now()
    found = {}
    for slot in np.flatnonzero(shown.alive).tolist():
        crop = shown.crops[slot]
        cameras = {code: name for name, code in shown.codes.cameras.items()}
        names = {code: name for name, code in shown.codes.identities.items()}
        assert cameras.get(int(shown.columns.cameras[slot])) == crop.camera
        assert names.get(int(shown.columns.identities[slot])) == crop.identity
        found[crop.crop_id] = (crop, shown.columns.vectors[slot].tobytes())
    assert len(found) == len(rows) == int(shown.alive.sum())
    for crop_id, (crop, vector) in found.items():
        shown, (slot,) = rows.find([crop_id])
        assert shown.crops[slot] is crop
        assert shown.columns.vectors[slot].tobytes() == vector
    return found


FIRST = [f"a{number}" for number in range(12)]
CHANGES = {
    "put": lambda rows: rows.put(crops_of(["new", "a3"]), rows_of(["new", "a3"], 1)),
    "put many": lambda rows: rows.put(
        crops_of([f"b{n}" for n in range(9)]), rows_of([f"b{n}" for n in range(9)])
    ),
    "replace all": lambda rows: rows.put(crops_of(FIRST, "eve"), rows_of(FIRST, 1)),
    "describe": lambda rows: rows.describe(crops_of(["a1", "a2"], "eve", "c9")),
    "remove": lambda rows: rows.remove(["a4", "a5", "gone"]),
    "remove most": lambda rows: rows.remove(FIRST[:9]),
}


def filled():
    rows = LiveRows(8)
    rows.put(crops_of(FIRST), rows_of(FIRST))
    rows.remove(["a0"])
    return rows


@pytest.mark.parametrize("change", CHANGES)
def test_a_write_is_seen_completely_or_not_at_all(change, monkeypatch):
    monkeypatch.setattr(live_rows, "_COMPACT_FROM", 5)
    before = seen(filled())
    whole = filled()
    CHANGES[change](whole)
    after = seen(whole)
    assert after != before
    places = set()
    for step in range(1, 10_000):
        rows = filled()
        with out_of_memory_at(step) as struck, suppress(MemoryError):
            CHANGES[change](rows)
        if not struck:
            break
        places.add(struck[0])
        assert seen(rows) in (before, after), struck
        # The next write ends up in the right slots, whatever the failed write left behind.
        rows.put(crops_of(["later", "a6"], "ann"), rows_of(["later", "a6"], 2))
        expected = (before if seen_without(rows, before) else after) | {
            crop.crop_id: (crop, row_of(crop.crop_id, 2).tobytes())
            for crop in crops_of(["later", "a6"], "ann")
        }
        assert seen(rows) == expected, struck
    else:
        raise AssertionError("the write never ended")
    assert len(places) > 10


def seen_without(rows, before):
    """Whether the failed write changed nothing, ignoring the crops added after it."""
    now = {key: value for key, value in seen(rows).items() if key not in {"later", "a6"}}
    return now == {key: value for key, value in before.items() if key not in {"later", "a6"}}


def stored(gallery):
    """Check that SQLite and memory hold the same crops, and return them."""
    served = gallery.crops(EVERYTHING)
    listed = gallery.page(EVERYTHING, 1000).crops
    assert [(c, c.origin, c.added) for c in served] == [(c, c.origin, c.added) for c in listed]
    read = gallery.database.load()
    assert read.sound.all()
    for place, crop in enumerate(read.crops):
        np.testing.assert_array_equal(gallery.embeddings([crop.crop_id])[0], read.embeddings[place])
    assert gallery.stats().crops == len(served)
    return {crop.crop_id: (crop, crop.origin) for crop in served}


GALLERY_CHANGES = {
    "upsert": lambda g: g.upsert(crops_of(["new", "a3"], "eve"), rows_of(["new", "a3"], 1)),
    "relabel": lambda g: g.relabel({"a1": "eve", "a2": None}, "hand"),
    "describe": lambda g: g.describe(crops_of(["a1"], "eve", "c9")),
    "delete": lambda g: g.delete(Filter(crop_ids=frozenset({"a4"}))),
}


@pytest.mark.parametrize("change", GALLERY_CHANGES)
def test_memory_and_file_agree_whatever_fails(store, change):
    gallery = store.create("g", MODEL, 8)
    for step in range(1, 1000, 4):
        gallery.delete(Filter(crop_ids=frozenset({"new", "later"})))
        gallery.upsert(crops_of(FIRST), rows_of(FIRST))
        before = stored(gallery)
        failed = False
        with out_of_memory_at(step) as struck:
            try:
                GALLERY_CHANGES[change](gallery)
            except MemoryError:
                failed = True
        after = stored(gallery)
        assert (after == before) == failed, struck  # a write that raises has changed nothing
        gallery.upsert(crops_of(["later"]), rows_of(["later"], 2))
        np.testing.assert_array_equal(gallery.embeddings(["later"])[0], row_of("later", 2))
        assert stored(gallery).keys() == {*after, "later"}
        if not struck:
            return
    raise AssertionError("the write never ended")


def test_an_erasure_succeeds_even_without_memory(store, monkeypatch):
    gallery = store.create("g", MODEL, 8, GalleryOptions(store_crops=True))
    gallery.upsert(crops_of(FIRST), rows_of(FIRST), [b"picture"] * len(FIRST))
    other = store.begin_model("g", OTHER, 8)
    other.upsert(crops_of(FIRST), rows_of(FIRST, 1), [b"picture"] * len(FIRST))

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(LiveRows, "removing", fail)
        assert gallery.delete(Filter(crop_ids=frozenset({"a4"}))).crops == 1
    for version in (gallery, other):
        assert "a4" not in stored(version)
        assert len(version.query(rows_of(["a4"]), 50, EVERYTHING)[0]) == len(FIRST) - 1


class Rooms(allocation.InMemory):
    """Counts the bytes of embeddings held at the same time, without unwritten ones."""

    def __init__(self):
        self.made = []

    def room_for(self, rows, dimension):
        room = super().room_for(rows, dimension)
        self.made.append(room)
        return room

    def written(self):
        """Bytes up to the last written row of each room."""
        return [
            room.strides[0] * (int(np.flatnonzero(room.any(axis=1)).max(initial=-1)) + 1)
            for room in self.made
        ]


@pytest.mark.parametrize("write", ["replace one by one", "replace all", "delete", "grow"])
def test_compacting_takes_at_most_2_2_times_the_living_rows(monkeypatch, write):
    """Old rows, new rows and temporary copies, counted to the byte."""
    # Statistics use at most this many rows in float64, whatever the size of the gallery.
    monkeypatch.setattr(running, "SAMPLE", 64)
    dimension, count = 512, 9_000
    names = [f"{number:05d}" for number in range(count)]
    vectors = np.full((count, dimension), 0.5, np.float32)
    rooms = Rooms()
    rows = LiveRows(dimension, rooms)
    rows.put(crops_of(names), vectors)
    row_bytes = 4 * dimension
    worst, moves, at = 0.0, 0, 0
    while moves < 2:
        generation, used = rows.now().generation, len(rows.now().alive)
        there = len(rows)
        match write:
            case "replace one by one":
                coming = names[at % count : at % count + 30]
            case "replace all":
                coming = names
            case "grow":
                coming = [*names[at % count : at % count + 20], f"more-{at}"]
            case _:
                coming = []
        batch, at = vectors[: len(coming)], at + 30
        before = {id(room) for room in rooms.made}
        tracemalloc.start()
        if write == "delete":
            rows.remove(names[at - 30 : at])
        else:
            rows.put(crops_of(coming), batch)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        fresh = sum(
            size
            for room, size in zip(rooms.made, rooms.written(), strict=True)
            if id(room) not in before
        )
        moved = rows.now().generation != generation
        moves += moved
        living = max(there, len(rows)) * row_bytes  # before or after the write
        if moved or fresh:
            # tracemalloc also counts some hundred bytes per crop beside the embeddings.
            assert peak < 0.2 * living, "something as large as the embeddings was copied"
            worst = max(worst, (used * row_bytes + fresh) / living)
        rooms.made = rooms.made[-1:]
        if write == "delete" and len(rows) < count // 2:
            break
    assert moves
    assert 1.9 < worst <= 2.2


def test_a_failed_checkpoint_restores_the_busy_timeout(store, monkeypatch):
    """A reader that blocks the checkpoint for a moment must not make the next write fail."""
    gallery = store.create("g", MODEL, 8)
    gallery.upsert(crops_of(FIRST), rows_of(FIRST))
    writer = gallery.database._writer

    class Failing:
        """A connection whose checkpoints fail."""

        def execute(self, statement, *args):
            if "wal_checkpoint" in statement:
                raise sqlite3.OperationalError("disk I/O error")
            return writer.execute(statement, *args)

        def __getattr__(self, name):
            return getattr(writer, name)

    (patience,) = writer.execute("PRAGMA busy_timeout").fetchone()
    monkeypatch.setattr(gallery.database, "_writer", Failing())
    gallery.delete(Filter(crop_ids=frozenset({"a1"})))
    assert writer.execute("PRAGMA busy_timeout").fetchone() == (patience,)
    assert "a1" not in stored(gallery)
