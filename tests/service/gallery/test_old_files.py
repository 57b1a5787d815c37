"""Files written by older releases, with their own SQL, are migrated at start."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from dataclasses import replace

import pytest

from service.gallery.base import Crop, Filter
from service.gallery.disk.store import DiskGalleryStore
from service.values.names import fitting_id

MODEL = "a" * 64
COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"
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
VERSION_2 = """
CREATE TABLE gallery (
    model_sha256 TEXT NOT NULL, dimension INTEGER NOT NULL, created REAL NOT NULL,
    store_crops INTEGER NOT NULL, keep_for REAL, joins INTEGER NOT NULL, unclean INTEGER NOT NULL
) STRICT;
CREATE TABLE crops (
    id INTEGER PRIMARY KEY, crop_id TEXT NOT NULL, identity TEXT, camera TEXT, timestamp REAL,
    digest TEXT, origin TEXT NOT NULL, added REAL, picture_key BLOB, crc32 INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX crop_ids ON crops (crop_id);
CREATE TABLE segments (id INTEGER PRIMARY KEY, vectors BLOB NOT NULL) STRICT;
CREATE TABLE pictures (crop INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
PRAGMA user_version = 2;
"""
VERSION_3 = VERSION_2.replace("user_version = 2", "user_version = 3")
ROWS = [
    # id, identity, camera, timestamp
    (DECOMPOSED, DECOMPOSED, " c1", 20261121.0),
    ("..", COMPOSED, "c1", 1_795_269_933_120.0),
    ("plain", "Ann", None, 1_795_269_933.0),
]


def write_version_1(folder, vectors):
    with closing(sqlite3.connect(folder / "gallery.sqlite3")) as database, database:
        database.executescript(VERSION_1)
        database.execute("INSERT INTO gallery VALUES (?, 8, 1.0)", [MODEL])
        for number, (row, vector) in enumerate(zip(ROWS, vectors, strict=True)):
            data = vector.tobytes()
            database.execute("INSERT INTO crops VALUES (?, ?, ?, ?, ?, 'd')", (number, *row))
            database.execute(
                "INSERT INTO embeddings VALUES (?, ?, ?)", (number, zlib.crc32(data), data)
            )


def write_version_2(folder, vectors, rows=ROWS, tables=VERSION_2):
    name = f"gallery-{MODEL[:12]}.sqlite3"
    (folder / "current").write_text(f"{name}\n")
    margin, room = bytes(16384), bytes(4 * 8 * 64 - vectors.nbytes)
    with closing(sqlite3.connect(folder / name)) as database, database:
        database.executescript("PRAGMA journal_mode = WAL;" + tables)
        database.execute("INSERT INTO gallery VALUES (?, 8, 1.0, 0, NULL, 0, 0)", [MODEL])
        for number, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
            database.execute(
                "INSERT INTO crops VALUES (?, ?, ?, ?, ?, 'd', 'given', 5.0, NULL, ?)",
                (number, *row, zlib.crc32(vector.tobytes())),
            )
        segment = margin + vectors.tobytes() + room
        database.execute("INSERT INTO segments VALUES (0, ?)", [segment])


@pytest.mark.parametrize("write", [write_version_1, write_version_2])
def test_an_old_file_keeps_every_crop_with_a_valid_name(tmp_path, draw, write):
    folder = tmp_path / "data" / "galleries" / "g"
    folder.mkdir(parents=True)
    vectors = draw(len(ROWS))
    write(folder, vectors)
    for _ in range(2):  # the second start finds nothing to migrate
        store = DiskGalleryStore(tmp_path / "data", device="cpu")
        try:
            gallery = store.open("g")
            found = {crop.crop_id: crop for crop in gallery.crops(EVERYTHING)}
            hits = gallery.query(vectors, 1, EVERYTHING)
        finally:
            store.close()
        ids = [COMPOSED, fitting_id(".."), "plain"]
        assert set(found) == set(ids)
        assert [hit.crop.crop_id for (hit,) in hits] == ids  # each keeps its embedding
        assert [found[one].identity for one in ids] == [COMPOSED, COMPOSED, "Ann"]
        assert [found[one].camera for one in ids] == ["c1", "c1", None]
        times = [found[one].timestamp for one in ids]
        assert times == [1_795_219_200.0, 1_795_269_933.12, 1_795_269_933.0]


def test_a_file_without_tracks_gets_them_and_so_does_an_old_snapshot(tmp_path, draw):
    folder, rows = tmp_path / "data" / "galleries" / "g", [("a", "Ann", "c1", 1.0)]
    folder.mkdir(parents=True)
    write_version_2(folder, draw(1), rows, VERSION_3)
    aged = tmp_path / "data" / "snapshots" / "g" / "20261121T083000000-abcd.sqlite3"
    aged.parent.mkdir(parents=True)
    with closing(sqlite3.connect(next(folder.glob("*.sqlite3")))) as database:
        database.execute("VACUUM INTO ?", [str(aged)])
    with closing(sqlite3.connect(aged)) as database, database:
        database.execute("PRAGMA user_version = 3")
        database.execute("CREATE TABLE snapshot (gallery TEXT, crops INTEGER, created REAL) STRICT")
        database.execute("INSERT INTO snapshot VALUES ('g', 1, 1.0)")
    known = Crop("a", "Ann", "c1", 1.0, "d")
    store = DiskGalleryStore(tmp_path / "data", device="cpu")
    try:
        gallery = store.open("g")
        assert gallery.get("a") == known
        gallery.upsert([Crop("b", camera="c1", track="7")], draw(1, seed=1))
        gallery.describe([replace(known, track="7")])
        gallery.delete(Filter(crop_ids=frozenset({"b"})))  # which compacts the table
        taken = store.take_snapshot("g").snapshot_id
        assert store.restore("g", aged.stem, "old").get("a") == known
        assert store.restore("g", taken, "new").get("a") == replace(known, track="7")
    finally:
        store.close()
    store = DiskGalleryStore(tmp_path / "data", device="cpu")
    try:
        assert store.open("g").crops(Filter(tracks=frozenset({"7"}))) == [replace(known, track="7")]
    finally:
        store.close()


def test_a_folder_without_a_gallery_name_is_ignored(tmp_path, caplog):
    galleries = tmp_path / "data" / "galleries"
    for name in ("lost+found", "Lobby", "a b"):
        (galleries / name).mkdir(parents=True)
        (galleries / name / "kept").write_text("x")
    store = DiskGalleryStore(tmp_path / "data", device="cpu")
    try:
        assert store.stats() == []
        created = store.create("lobby", MODEL, 8)
        assert created.name == "lobby"
    finally:
        store.close()
    assert caplog.text.count("is not a gallery name") == 3
    assert sorted(path.parent.name for path in galleries.glob("*/kept")) == [
        "Lobby",
        "a b",
        "lost+found",
    ]
