"""A receipt lists every snapshot that holds a crop, including snapshots in progress."""

from __future__ import annotations

import threading

import pytest

from service.errors import NotFound
from service.gallery.base import Crop, Filter
from service.gallery.disk import folders, snapshots

MODEL = "a" * 64
EVERYTHING = Filter()


@pytest.fixture
def gallery(store, draw):
    opened = store.create("g", MODEL, 8)
    opened.upsert([Crop("a"), Crop("b")], draw(2))
    return opened


def only(crop_id):
    return Filter(crop_ids=frozenset({crop_id}))


def before_it_is_finished(monkeypatch, happens):
    """Do something once, when a snapshot's file is complete but not renamed yet."""
    finish, left = folders.finish, [1]

    def finish_later(unfinished, finished):
        if left and "snapshots" in finished.parts:
            left.clear()
            happens()
        finish(unfinished, finished)

    monkeypatch.setattr(folders, "finish", finish_later)


def while_copying(monkeypatch, happens):
    """Do something once, in another thread, after a snapshot's moment."""
    copy, left = snapshots._copy, [1]

    def copy_later(*args):
        if left:
            left.clear()
            thread = threading.Thread(target=happens)
            thread.start()
            thread.join()
        copy(*args)

    monkeypatch.setattr(snapshots, "_copy", copy_later)


def test_a_snapshot_in_progress_is_listed(store, gallery, monkeypatch):
    receipts = []
    before_it_is_finished(monkeypatch, lambda: receipts.append(gallery.delete(only("a"))))
    snapshot = store.take_snapshot("g").snapshot_id
    assert receipts[0].crops == 1
    assert receipts[0].snapshots == (snapshot,)
    assert {crop.crop_id for crop in store.restore("g", snapshot, "copy").crops(EVERYTHING)} == {
        "a",
        "b",
    }


def test_a_snapshot_shows_the_moment_it_began(store, gallery, monkeypatch, draw):
    receipts = []

    def come_and_go():
        gallery.upsert([Crop("late")], draw(1))
        receipts.append(gallery.delete(only("late")))
        receipts.append(gallery.delete(only("b")))

    while_copying(monkeypatch, come_and_go)
    snapshot = store.take_snapshot("g").snapshot_id
    assert [receipt.snapshots for receipt in receipts] == [(), (snapshot,)]
    copy = store.restore("g", snapshot, "copy")
    assert [crop.crop_id for crop in copy.crops(EVERYTHING)] == ["a", "b"]


def test_crops_erased_before_are_not_in_a_snapshot(store, gallery):
    receipt = gallery.delete(only("a"))
    assert receipt.snapshots == ()
    snapshot = store.take_snapshot("g").snapshot_id
    assert gallery.delete(only("b")).snapshots == (snapshot,)
    store.delete_snapshot("g", snapshot)
    assert gallery.delete(only("a"), dry_run=True).snapshots == ()


def test_a_snapshot_is_discarded_if_its_gallery_is_deleted(store, gallery, monkeypatch, tmp_path):
    def delete():
        store.delete("g")
        for record in store.snapshots("g") if _there(store) else ():
            store.delete_snapshot("g", record.snapshot_id)

    while_copying(monkeypatch, delete)
    with pytest.raises(NotFound, match="deleted while it was copied"):
        store.take_snapshot("g")
    assert [path for path in (tmp_path / "data" / "snapshots").rglob("*") if path.is_file()] == []
    store.create("g", MODEL, 8)
    assert store.snapshots("g") == []


def _there(store):
    try:
        store.snapshots("g")
    except NotFound:
        return False
    return True


def test_two_snapshots_at_once_are_kept_apart(store, gallery, monkeypatch):
    found = []
    while_copying(monkeypatch, lambda: found.append(store.take_snapshot("g").snapshot_id))
    found.append(store.take_snapshot("g").snapshot_id)
    assert len(set(found)) == 2
    assert gallery.delete(only("a")).snapshots == tuple(sorted(found))


def test_a_failed_snapshot_is_forgotten(store, gallery, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folders, "finish", fail)
        with pytest.raises(Exception, match="No space left"):
            store.take_snapshot("g")
    assert gallery.delete(only("a")).snapshots == ()
    assert store.take_snapshot("g").crops == 1


def test_a_snapshot_succeeds_even_if_the_compaction_after_it_fails(store, gallery):
    database = type(gallery.database)
    compact, calls = database.compact, []

    def compact_once(self):
        calls.append(self)
        if len(calls) > 1:
            store.open("nowhere")
        compact(self)

    database.compact = compact_once
    try:
        record = store.take_snapshot("g")
    finally:
        database.compact = compact
    assert [one.snapshot_id for one in store.snapshots("g")] == [record.snapshot_id]
