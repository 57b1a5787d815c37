"""Galleries of older releases: their names and times are migrated to the present rules at start."""

from __future__ import annotations

import hashlib
import io
import signal
import sqlite3
import subprocess
import sys
import tarfile
import textwrap
from contextlib import closing
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery.disk.migration import migrate, migrate_within
from service.gallery.disk.store import DiskGalleryStore
from service.testing import solid
from service.values.names import fitting_id, fitting_name, id_of, marked_id, name_of, normal_form

COMPOSED, DECOMPOSED = "Jos\u00e9", "Jose\u0301"
JULY = 1_784_898_000.0  # 2026


def colour(number):
    return solid((number, 255 - number, 7 * number % 256), kind="PNG")


def databases(tmp_path, pattern="galleries/g/gallery-*.sqlite3"):
    return sorted((tmp_path / "data").glob(pattern))


def age(path, rows):
    """Turn a database into one of the previous release with these rows as crops."""
    with closing(sqlite3.connect(path)) as database, database:
        for number, row in enumerate(rows):
            for column, value in row.items():
                database.execute(
                    f"UPDATE crops SET {column} = ? WHERE id = "
                    "(SELECT id FROM crops ORDER BY id LIMIT 1 OFFSET ?)",
                    (value, number),
                )
        database.execute("PRAGMA user_version = 2")


def stored(path, columns="crop_id, identity, camera, timestamp"):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT {columns} FROM crops ORDER BY id").fetchall()


@pytest.fixture
def old(start, tmp_path):
    """Fills a gallery ``g`` and turns it into one of the previous release."""

    def make(*rows):
        with start() as service:
            service.http.post("/galleries", json={"name": "g", "store_crops": True})
            entries = [{"crop_id": f"c{number:03}"} for number in range(len(rows))]
            images = [colour(number) for number in range(len(rows))]
            assert service.add("g", entries, *images).status_code == 200
        (path,) = databases(tmp_path)
        age(path, rows)
        return path

    return make


def test_erasing_a_person_erases_both_spellings_of_an_old_gallery(start, old):
    old({"identity": COMPOSED}, {"identity": DECOMPOSED}, {"identity": "Ann"})
    with start() as service:
        people = service.http.get("/galleries/g/identities").json()["identities"]
        assert {person["identity"]: person["crops"] for person in people} == {COMPOSED: 2, "Ann": 1}
        body = {"identities": [DECOMPOSED]}
        receipt = service.http.post("/galleries/g/crops/delete", json=body).json()
        assert (receipt["deleted"], service.crop_ids("g")) == (2, ["c002"])


def test_all_crops_of_an_old_gallery_remain_and_are_addressable(start, old):
    ids = [
        *(DECOMPOSED, COMPOSED, f" {COMPOSED}", "..", ".", "nas/../cam1/0001.jpg", "cam1/0001.jpg"),
        *("a//b", "/", "\\..\\", "x" * 199 + "/", "?#%41", "plain", "J\ufffdrgen", "\ufe0f"),
    ]
    old(*[{"crop_id": crop_id} for crop_id in ids])
    with start() as service:
        listed = service.http.get("/galleries/g/crops").json()["crops"]
        by_digest = {crop["digest"]: crop["crop_id"] for crop in listed}
        assert len(by_digest) == len({crop["crop_id"] for crop in listed}) == len(ids)
        for number, old_id in enumerate(ids):
            (found,) = service.search(
                (f"{number}.png", colour(number)), gallery="g", top_k=1
            ).json()["results"]
            crop_id = found["matches"][0]["crop_id"]
            path = quote(crop_id)
            assert service.http.get(f"/galleries/g/pictures/{path}").content == colour(number)
            if old_id in {COMPOSED, "cam1/0001.jpg", "?#%41", "plain"}:
                assert crop_id == old_id
            assert service.http.delete(f"/galleries/g/crops/{path}").json()["deleted"] == 1
        assert service.crop_ids("g") == []


def test_invalid_names_are_made_valid(start, old):
    path = old(
        {"identity": " Ann ", "camera": "c1\u00a0"},
        {"identity": "   ", "camera": "\u3164"},
        {"identity": "J\ufffdrgen"},
        {"identity": "J_rgen"},
        {"identity": "\u0958" * 150},  # its normal form is twice as long
    )
    with start():
        pass
    names = [identity for _, identity, _, _ in stored(path)]
    assert names[:2] == ["Ann", None]
    assert [camera for _, _, camera, _ in stored(path)][:2] == ["c1", None]
    assert len({*names}) == len(names)  # no person became another one
    assert all(name_of(name) == name for name in names if name is not None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (20261121.0, 1_795_219_200.0),  # the date, mistaken for seconds
        (20261121140533.0, 1_795_269_933.0),
        (202611211405.0, 1_795_269_900.0),
        (1_795_269_933_120.0, 1_795_269_933.12),  # milliseconds
        (1_795_269_933.12, 1_795_269_933.12),
        (2026.0, 2026.0),
        (0.0, 0.0),
        (-5.5, -5.5),
        (1e300, 1e300),
        (20261399.0, 20261399.0),
        (None, None),
    ],
)
def test_misread_times_are_corrected(start, old, before, after):
    path = old({"timestamp": before}, {"timestamp": JULY})
    with start() as service:
        assert service.crop_ids("g") == ["c000", "c001"]
    assert [timestamp for *_, timestamp in stored(path)] == [after, JULY]


def test_retention_uses_the_corrected_time(tmp_path, old):
    path = old({"timestamp": 20261121.0}, {"timestamp": 20261121.0})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE gallery SET keep_for = 1")
    store = DiskGalleryStore(tmp_path / "data", device="cpu")
    try:
        oldest = store.open("g").stats().oldest
    finally:
        store.close()
    assert oldest == 1_795_219_200.0


def test_it_happens_once(start, old, caplog):
    caplog.set_level("INFO", "service")
    path = old({"identity": DECOMPOSED})
    with start():
        pass
    assert "1 identities" in caplog.text
    assert DECOMPOSED not in caplog.text
    caplog.clear()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE crops SET identity = 'by hand, later '")
    with start():
        pass
    assert stored(path)[0][1] == "by hand, later "
    assert "names and times" not in caplog.text


def test_every_version_of_a_gallery_is_migrated_alike(tmp_path, start, old):
    path = old({"crop_id": "../a", "identity": DECOMPOSED}, {"crop_id": DECOMPOSED})
    kept = path.with_name("gallery-000000000000.sqlite3")
    with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(kept)) as other:
        one.backup(other)
        other.execute(f"UPDATE gallery SET model_sha256 = '{'0' * 64}'")
        other.commit()
    with start() as service:
        assert len(service.http.get("/galleries/g/model").json()["versions"]) == 2
    assert stored(kept) == stored(path)
    assert {crop_id for crop_id, *_ in stored(path)} == {fitting_id("../a"), COMPOSED}


def test_an_unreadable_version_does_not_affect_the_others(start, old, tmp_path):
    path = old({"identity": DECOMPOSED})
    path.with_name("gallery-000000000000.sqlite3").write_bytes(b"nonsense" * 1000)
    with start() as service:
        assert service.http.get("/galleries/g/crops").json()["crops"][0]["identity"] == COMPOSED


def test_an_old_snapshot_is_migrated_when_restored_and_listed_in_receipts(start, old, tmp_path):
    with start() as service:
        service.http.post("/galleries", json={"name": "g", "store_crops": True})
        entries = [{"crop_id": f"c{number}"} for number in range(3)]
        service.add("g", entries, *map(colour, range(3)))
        snapshot = service.http.post("/galleries/g/snapshots").json()["snapshot_id"]
    rows = [{"crop_id": DECOMPOSED, "identity": DECOMPOSED}, {"crop_id": "../b"}, {}]
    (live,), (copy,) = databases(tmp_path), databases(tmp_path, "snapshots/g/*.sqlite3")
    age(live, rows)
    age(copy, rows)
    before = copy.read_bytes()
    with start() as service:
        for crop_id in (COMPOSED, fitting_id("../b"), "c2"):
            receipt = service.http.delete(f"/galleries/g/crops/{quote(crop_id)}").json()
            assert (receipt["deleted"], receipt["snapshots"]) == (1, [snapshot])
        restored = service.http.post(f"/galleries/g/snapshots/{snapshot}/restore", json={})
        assert restored.status_code == 200, restored.text
        assert set(service.crop_ids("g")) == {COMPOSED, fitting_id("../b"), "c2"}
        assert service.crop_ids("g", identities=[COMPOSED]) == [COMPOSED]
        assert service.http.get(f"/galleries/g/pictures/{COMPOSED}").content == colour(0)
        into = {"into": "copy"}
        service.http.post(f"/galleries/g/snapshots/{snapshot}/restore", json=into)
        assert service.crop_ids("copy", identities=[DECOMPOSED]) == [COMPOSED]
    assert copy.read_bytes() == before  # the snapshot's file is unchanged


def id_of_the_release_before(path):
    if len(path) <= 200 and path.isprintable():
        return path
    digest = hashlib.sha256(path.encode()).hexdigest()[:16]
    return f"{digest}/{''.join(one if one.isprintable() else '_' for one in path)[-183:]}"


def test_importing_a_folder_again_finds_the_migrated_crops(start, old):
    paths = [
        *("plain.png", f"{DECOMPOSED}/1.png", f"{DECOMPOSED}/\u0645\u06cc\u200c\u062e.png"),
        *(
            "at 1.00\u202fPM.png",
            " blank.png",
            f"{'long/' * 50}1.png",
            "e\u0301" * 60 + "/" + "x" * 70 + ".png",
        ),
        *(f"{'a' * 30}/{'d' * 176}/1.png", "\x07/a.png"),
    ]
    old(*[{"crop_id": id_of_the_release_before(path)} for path in paths])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number, path in enumerate(paths):
            member = tarfile.TarInfo(path)
            member.size = len(colour(number))
            tar.addfile(member, io.BytesIO(colour(number)))
    with start() as service:
        before = service.crop_ids("g")
        answer = service.http.post(
            "/galleries/g/imports",
            content=buffer.getvalue(),
            headers={"Content-Type": "application/x-tar"},
        )
        job = service.ended(answer)
        assert (job["state"], job["counts"].get("unchanged")) == ("done", len(paths)), job
        assert service.crop_ids("g") == before


KILLED = """
import os, signal, sys
from pathlib import Path
from service.gallery.disk import migration

connect = migration.connect

def spied(path, mode):
    connection = connect(path, mode)
    if mode == "rw":
        connection.execute("PRAGMA cache_size = 1")  # changed pages reach the log before the end
        connection.set_trace_callback(die_at)
    return connection

def die_at(statement):
    if statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

migration.connect = spied
migration.migrate(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("at", "happened"),
    [
        ("UPDATE crops", False),
        ("UPDATE gallery", False),
        ("PRAGMA user_version", False),
        ("COMMIT", False),
        ("PRAGMA wal_checkpoint", True),
    ],
)
def test_a_kill_migrates_all_or_nothing(tmp_path, start, old, at, happened):
    path = old(*[{"crop_id": f"e\u0301{n}", "identity": f" {n}"} for n in range(60)])
    before = stored(path)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path), at]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    wanted = [(f"\u00e9{n}", str(n), None, None) for n in range(60)]
    assert stored(path) == (wanted if happened else before)
    migrate(path)
    assert stored(path) == wanted
    with start() as service:
        assert len(service.crop_ids("g", identities=["7"])) == 1


ANY = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("./\\ \u00a0\u200de\u0301"),
    max_size=220,
)


@given(text=ANY)
def test_every_stored_text_becomes_a_valid_id_and_name(text):
    for made in (fitting_id(text), marked_id(text)):
        assert id_of(made) == made == fitting_id(made)
    name = fitting_name(text)
    assert name is None or name_of(name) == name == fitting_name(name)
    assert fitting_name(text) == fitting_name(normal_form(text))


@given(
    ids=st.lists(
        ANY.filter(lambda text: text and "\x00" not in text), unique=True, min_size=1, max_size=8
    )
)
def test_no_two_crops_get_the_same_id(ids):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.executescript(
            "CREATE TABLE gallery (unclean INTEGER); INSERT INTO gallery VALUES (0);"
            "CREATE TABLE crops (id INTEGER PRIMARY KEY, crop_id TEXT UNIQUE, identity TEXT, "
            "camera TEXT, timestamp REAL) STRICT"
        )
        database.executemany("INSERT INTO crops (crop_id) VALUES (?)", [(one,) for one in ids])
        migrate_within(database)
        made = [row[0] for row in database.execute("SELECT crop_id FROM crops ORDER BY id")]
        assert len(set(made)) == len(ids)
        assert all(id_of(one) == one for one in made)
        kept = [one for one in ids if fitting_id(one) == one]
        assert [new for old, new in zip(ids, made, strict=True) if old in kept] == kept
        assert database.execute("PRAGMA user_version").fetchone() == (4,)
