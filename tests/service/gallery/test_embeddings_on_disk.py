"""Embeddings in mapped files: every answer is the same, and a full disk loses nothing."""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_until

from service.errors import StorageFull, Unavailable
from service.gallery import allocation
from service.gallery.allocation import OnDisk
from service.gallery.base import Crop, Filter
from service.gallery.disk import catalogue
from service.gallery.disk import store as disk_store
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.rows import live_rows
from service.settings import Settings
from service.wiring import _open_store

MODEL, OTHER = "a" * 64, "b" * 64
DIMENSION = 16
EVERYTHING = Filter()
NAMES = [f"{number:04d}" for number in range(300)]


@pytest.fixture
def every_size(monkeypatch):
    """Also small galleries are in files, and few dead rows suffice to move the others."""
    monkeypatch.setattr(disk_store, "OnDisk", partial(OnDisk, from_bytes=0))
    monkeypatch.setattr(live_rows, "_COMPACT_FROM", 20)


@pytest.fixture
def opened(tmp_path):
    """Opens stores, and closes them in the end."""
    stores = []

    def open_store(embeddings, folder="data"):
        stores.append(DiskGalleryStore(tmp_path / folder, device="cpu", embeddings=embeddings))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def drawn(count, seed):
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def crops(names):
    return [Crop(name, None, f"c{int(name) % 3}", added=1.0) for name in names]


def written(store):
    """A gallery that grew, was replaced in part, erased in part, and compacted; and its change."""
    gallery = store.create("g", MODEL, DIMENSION)
    for start in range(0, 300, 60):
        gallery.upsert(crops(NAMES[start : start + 60]), drawn(60, start))
    gallery.upsert(crops(NAMES[:40]), drawn(40, 1))
    gallery.delete(Filter(crop_ids=frozenset(NAMES[200:280])))
    gallery.describe([Crop("0001", "ann", "c1")])
    coming = store.begin_model("g", OTHER, DIMENSION)
    coming.upsert(crops(NAMES[:40]), drawn(40, 2))
    return gallery, coming


def answers(gallery):
    where = (EVERYTHING, Filter(cameras=frozenset({"c1"})))
    return [
        [[(hit.crop, hit.score) for hit in own] for own in gallery.query(drawn(4, 9), top, one)]
        for one in where
        for top in (1, 20, 1000)
    ]


def mappings(folder: Path) -> dict[str, list[str]]:
    """The lines of this process's mapped files in a folder, by their first line."""
    found: dict[str, list[str]] = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if f" {folder}" in line:
            own = found.setdefault(line, [])
        elif "-" in line.split(" ", 1)[0]:
            own = []
        else:
            own.append(line)
    return {line: lines for line, lines in found.items() if line.endswith("(deleted)")}


def test_every_answer_is_the_same(opened, every_size):
    in_memory, on_disk = written(opened("memory", "m")), written(opened("disk", "d"))
    for one, other in zip(in_memory, on_disk, strict=True):
        assert answers(one) == answers(other)


def test_after_a_restart_too(opened, every_size):
    store = opened("disk")
    before = [answers(gallery) for gallery in written(store)]
    store.close()
    for embeddings in ("disk", "memory", "disk"):  # and a folder may change its place
        store = opened(embeddings)
        gallery = store.open("g")
        assert [answers(gallery), answers(gallery.versions.kept[OTHER])] == before
        store.close()


def test_the_files_have_no_name_and_take_no_anonymous_memory(opened, tmp_path, every_size):
    store = opened("disk")
    written(store)
    mapped = mappings(tmp_path)
    assert len(mapped) == 2, "one of each version"
    for lines in mapped.values():
        assert [line.split() for line in lines if line.startswith("Anonymous:")] == [
            ["Anonymous:", "0", "kB"]
        ]
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not {name for name in names if name.startswith("tmp")}
    store.close()
    assert mappings(tmp_path) == {}


def test_small_galleries_are_in_memory(opened, tmp_path):
    written(opened("disk"))
    assert mappings(tmp_path) == {}


@contextmanager
def full_disk():
    """Files find no room."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        yield


class Recorded(allocation._File):
    """A mapped file that notes what is read ahead."""

    def madvise(self, option, start, length):
        assert option == mmap.MADV_WILLNEED
        self.__dict__.setdefault("told", []).append((start, length))
        super().madvise(option, start, length)


@pytest.mark.parametrize("dimension", [16, 1000, 1280])
@pytest.mark.parametrize("slots", [[], [0], [399], [5, 5, 7, 300, 6, 299], range(0, 400, 3)])
def test_exactly_the_pages_of_the_rows_are_read_ahead(tmp_path, monkeypatch, dimension, slots):
    monkeypatch.setattr(allocation, "_File", Recorded)
    room = OnDisk(tmp_path, from_bytes=0).room_for(400, dimension)
    room[:] = np.arange(400)[:, None]
    rows = allocation.rows_at(room[:399] if 399 not in slots else room, np.array(slots, np.int64))
    assert (rows == np.array(slots, np.float32)[:, None]).all()
    file = allocation._owner(room)
    told = [
        page
        for start, length in file.__dict__.get("told", [])
        for page in range(start // mmap.PAGESIZE, -(-(start + length) // mmap.PAGESIZE))
    ]
    needed = {4 * dimension * slot + at for slot in slots for at in range(4 * dimension)}
    assert sorted(told) == sorted({byte // mmap.PAGESIZE for byte in needed})


def test_long_runs_are_left_to_the_system(tmp_path, monkeypatch):
    monkeypatch.setattr(allocation, "_File", Recorded)
    room = OnDisk(tmp_path, from_bytes=0).room_for(400, 1280)
    allocation.read_ahead(room, np.arange(300))
    assert "told" not in allocation._owner(room).__dict__


class TestFullDisk:
    @pytest.fixture
    def gallery(self, opened, every_size):
        gallery = opened("disk").create("g", MODEL, DIMENSION)
        gallery.upsert(crops(NAMES[:100]), drawn(100, 0))
        return gallery

    def test_a_write_without_room_changes_nothing(self, gallery):
        before, many = answers(gallery), [f"{number:04d}" for number in range(2000)]
        with full_disk(), pytest.raises(StorageFull):
            gallery.upsert(crops(many), drawn(2000, 1))
        assert answers(gallery) == before
        assert gallery.stats().crops == 100
        gallery.upsert(crops(many), drawn(2000, 1))
        assert gallery.stats().crops == 2000

    def test_a_write_that_needs_no_more_room_succeeds(self, gallery):
        with full_disk():  # 40 rows are dead then, enough to move the others
            gallery.upsert(crops(NAMES[:40]), drawn(40, 2))
            (found,) = gallery.query(drawn(40, 2)[:1], 1, EVERYTHING)
        assert found[0].crop.crop_id == "0000"

    def test_an_erasure_succeeds_and_compacts_later(self, gallery):
        generation = gallery._rows.now().generation
        with full_disk():
            assert gallery.delete(Filter(crop_ids=frozenset(NAMES[:60]))).crops == 60
            found = gallery.query(drawn(1, 0), 99, EVERYTHING)[0]
            assert {hit.crop.crop_id for hit in found} == {*NAMES[60:100]}
            assert gallery._rows.now().generation == generation
        gallery.delete(Filter(crop_ids=frozenset(NAMES[60:61])))
        assert gallery._rows.now().generation == generation + 1
        assert gallery.stats().crops == 39

    def test_a_gallery_without_room_at_the_start_is_served_once_there_is_some(
        self, opened, every_size, monkeypatch
    ):
        monkeypatch.setattr(catalogue, "_PAUSE_SECONDS", 0.0)
        store = opened("disk")
        before = answers(written(store)[0])
        store.close()
        with full_disk():
            store = opened("disk")
            with pytest.raises(Unavailable, match="No space left on device"):
                store.open("g")
        wait_until(lambda: store._catalogue.due("g"))
        assert answers(store.open("g")) == before


def test_a_setting_chooses(tmp_path):
    store = _open_store(Settings(data=tmp_path, embeddings="disk"))
    assert store._allocation == OnDisk(tmp_path)
    store.close()


def test_a_milvus_decides_itself(tmp_path):
    with pytest.raises(ValueError, match="in a Milvus, Milvus decides where embeddings live"):
        Settings(data=tmp_path, embeddings="disk", milvus_uri="http://host:19530")
