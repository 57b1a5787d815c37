"""A file of the first release is converted when it is opened, and loses nothing."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest

from service.errors import StorageFull, Unavailable
from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.disk import conversion, folders
from service.gallery.disk.store import DiskGalleryStore

MODEL = "a" * 64
EVERYTHING = Filter()

VERSION_1 = """
CREATE TABLE gallery (
    model_sha256 TEXT NOT NULL, dimension INTEGER NOT NULL, created REAL NOT NULL
) STRICT;
CREATE TABLE crops (
    id INTEGER PRIMARY KEY, crop_id TEXT NOT NULL UNIQUE, identity TEXT, camera TEXT,
    timestamp REAL, digest TEXT
) STRICT;
CREATE TABLE embeddings (
    crop INTEGER PRIMARY KEY REFERENCES crops (id) ON DELETE CASCADE,
    crc32 INTEGER NOT NULL, vector BLOB NOT NULL
) STRICT;
PRAGMA user_version = 1;
"""


def crop(number):
    return Crop(f"{number:03d}", f"p{number % 7}", None if number % 3 else "c", float(number), "d")


@pytest.fixture
def old(tmp_path, draw):
    """A data folder of the first release after a kill: part of it is in the write-ahead log."""
    folder = tmp_path / "data" / "galleries" / "g"
    folder.mkdir(parents=True)
    rows = draw(150, 8)
    with closing(sqlite3.connect(folder / "gallery.sqlite3")) as connection:
        connection.executescript("PRAGMA journal_mode = WAL;" + VERSION_1)
        connection.execute("INSERT INTO gallery VALUES (?, 8, 12.5)", [MODEL])
        for number, row in enumerate(rows):
            one = crop(number)
            connection.execute(
                "INSERT INTO crops VALUES (?, ?, ?, ?, ?, ?)",
                (2 * number + 1, one.crop_id, one.identity, one.camera, one.timestamp, one.digest),
            )
            connection.execute(
                "INSERT INTO embeddings VALUES (?, ?, ?)",
                (2 * number + 1, zlib.crc32(row.tobytes()), row.tobytes()),
            )
        connection.commit()
    return folder, rows


def change(folder, statement):
    with closing(sqlite3.connect(folder / "gallery.sqlite3")) as connection, connection:
        connection.execute(statement)


def names(folder):
    return sorted(
        path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm"))
    )


def test_a_conversion_keeps_everything(old, reopen, oracle, draw, caplog):
    folder, rows = old
    oracle.upsert([crop(number) for number in range(150)], rows)
    with caplog.at_level(logging.INFO):
        gallery = reopen().open("g")
    assert "converting 150 crops" in caplog.text
    assert names(folder) == ["current", "gallery-aaaaaaaaaaaa.sqlite3"]
    assert gallery.stats().created == 12.5
    assert gallery.options == GalleryOptions()
    assert gallery.get("007").origin == "given"
    for again in (False, True):
        gallery = reopen().open("g") if again else gallery
        oracle.assert_answers(gallery, draw(4, 8, seed=1), 20, EVERYTHING)
        oracle.assert_answers(gallery, draw(1, 8, seed=2), 20, Filter(cameras=frozenset({"c"})))
        assert list(gallery.page(EVERYTHING, 500).crops) == oracle.listed(EVERYTHING)
        np.testing.assert_array_equal(gallery.embeddings(["000", "149"]), rows[[0, 149]])
    crops, more = [Crop("new"), crop(3)], draw(2, 8, seed=3)
    assert gallery.upsert(crops, more) == oracle.upsert(crops, more)
    oracle.assert_answers(reopen().open("g"), draw(4, 8, seed=4), 20, EVERYTHING)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE embeddings SET vector = zeroblob(32) WHERE crop = 5",
        "UPDATE embeddings SET vector = substr(vector, 1, 28) WHERE crop = 5",
        "UPDATE embeddings SET crc32 = crc32 + 1 WHERE crop = 5",
        "DELETE FROM embeddings WHERE crop = 5",
    ],
)
def test_a_damaged_embedding_stays_damaged(old, reopen, statement):
    change(old[0], statement)
    for _ in range(2):
        stats = reopen().open("g").stats()
        assert (stats.crops, stats.damaged) == (149, 1)


def test_an_interrupted_conversion_starts_over(old, reopen, monkeypatch):
    folder, _ = old

    def give_up(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folders, "serve_from", give_up)
        with pytest.raises(Unavailable, match="No space left"):
            reopen().open("g")
    assert (folder / "gallery.sqlite3").exists()
    # What a kill during the conversion leaves behind.
    (folder / "gallery.sqlite3.new").write_bytes(b"half")
    (folder / "gallery.sqlite3.new-wal").write_bytes(b"half")
    assert reopen().open("g").stats().crops == 150
    assert names(folder) == ["current", "gallery-aaaaaaaaaaaa.sqlite3"]


def test_without_room_the_old_file_is_unchanged(old, tmp_path, monkeypatch):
    def full(*_):
        raise StorageFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_copy", full)
        store = DiskGalleryStore(tmp_path / "data", device="cpu")
        with pytest.raises(Unavailable, match="full"):
            store.open("g")
        store.close()
    assert names(old[0]) == ["gallery.sqlite3"]
    store = DiskGalleryStore(tmp_path / "data", device="cpu")
    assert store.open("g").stats().crops == 150
    store.close()


def test_the_old_file_does_not_survive_a_crash_after_the_conversion(old, reopen):
    folder, _ = old
    before = (folder / "gallery.sqlite3").read_bytes()
    reopen().open("g").delete(Filter(crop_ids=frozenset({"007"})))
    (folder / "gallery.sqlite3").write_bytes(before)  # as a kill leaves it
    assert reopen().open("g").stats().crops == 149
    assert names(folder) == ["current", "gallery-aaaaaaaaaaaa.sqlite3"]
