"""A snapshot shows one moment, however busy the gallery is."""

from __future__ import annotations

import threading

import pytest

from service.errors import Conflict
from service.gallery.base import Crop, Filter, GalleryOptions

MODEL, OTHER = "a" * 64, "b" * 64
EVERYTHING = Filter()


def test_a_snapshot_holds_each_write_completely_or_not_at_all(store, draw):
    gallery = store.create("g", MODEL, 64)
    rows, stop, written = draw(40, 64), threading.Event(), []

    def write():
        while not stop.is_set():
            batch = len(written)
            crops = [Crop(f"{batch:04d}-{number:02d}", identity=str(batch)) for number in range(40)]
            gallery.upsert(crops, rows)
            gallery.delete(Filter(crop_ids=frozenset({crops[0].crop_id})))
            written.append(batch)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        taken = []
        for _ in range(5):
            before = len(written)
            taken.append((before, store.take_snapshot("g"), len(written)))
    finally:
        stop.set()
        thread.join()
    for number, (before, snapshot, after) in enumerate(taken):
        copy = store.restore("g", snapshot.snapshot_id, f"copy{number}")
        counts = {}
        for crop in copy.crops(EVERYTHING):
            counts[crop.identity] = counts.get(crop.identity, 0) + 1
        assert copy.stats().crops == snapshot.crops
        batches = sorted(map(int, counts))
        assert batches == list(range(len(batches)))
        assert before <= len(batches) <= after + 1
        # All batches but the last are complete; only the deletion of the last one may be missing.
        assert all(counts[str(batch)] == 39 for batch in batches[:-1])
        assert not batches or counts[str(batches[-1])] in {39, 40}


def test_restoring_keeps_the_present_options_and_drops_other_versions(store, reopen, draw):
    gallery = store.create("g", MODEL, 8, GalleryOptions(keep_for=1e9))
    gallery.upsert([Crop("a")], draw(1))
    snapshot = store.take_snapshot("g").snapshot_id
    gallery.configure(GalleryOptions(join=True))
    store.begin_model("g", OTHER, 4)
    restored = store.restore("g", snapshot, None)
    assert restored.options == GalleryOptions(join=True)
    assert store.kept_models("g") == []
    again = reopen()
    assert again.open("g").options == GalleryOptions(join=True)
    assert again.kept_models("g") == []
    assert again.restore("g", snapshot, "copy").options == GalleryOptions(keep_for=1e9)


def test_a_snapshot_of_a_dropped_model_needs_a_new_gallery(store, draw):
    store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
    snapshot = store.take_snapshot("g").snapshot_id
    store.begin_model("g", OTHER, 4)
    store.switch_model("g", OTHER, lambda *_: None)
    assert store.restore("g", snapshot, None).model_sha256 == MODEL  # it is still there
    store.begin_model("g", OTHER, 4)
    store.switch_model("g", OTHER, lambda *_: None)
    store.drop_model("g", MODEL)
    with pytest.raises(Conflict, match="no longer has"):
        store.restore("g", snapshot, None)
    assert store.open("g").model_sha256 == OTHER
    assert store.restore("g", snapshot, "old").stats().crops == 1


def test_a_damaged_gallery_is_restored(store, reopen, draw, tmp_path):
    gallery = store.create("g", MODEL, 8)
    gallery.upsert([Crop("a")], draw(1))
    snapshot, file = store.take_snapshot("g").snapshot_id, gallery.database.path
    store.close()
    file.write_bytes(b"nonsense" * 1000)
    store = reopen()
    assert store.stats() == []
    assert [one.snapshot_id for one in store.snapshots("g")] == [snapshot]
    assert store.restore("g", snapshot, None).stats().crops == 1
    assert [one.crops for one in reopen().stats()] == [1]


def test_remains_of_an_interrupted_snapshot_are_removed(store, reopen, tmp_path, draw):
    store.create("g", MODEL, 8).upsert([Crop("a")], draw(1))
    store.take_snapshot("g")
    folder = tmp_path / "data" / "snapshots" / "g"
    (folder / "20260101T000000000-abcd.sqlite3.new").write_bytes(b"half")
    store = reopen()
    assert len(list(folder.iterdir())) == len(store.snapshots("g")) == 1
