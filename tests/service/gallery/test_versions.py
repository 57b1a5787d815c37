"""A gallery with versions for several models, one of which is served."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
import pytest
from waiting import always_set

from service.errors import Conflict, NotFound, Unavailable
from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.disk import folders
from service.gallery.disk.store import DiskGalleryStore

OLD, NEW = "a" * 64, "b" * 64
EVERYTHING = Filter()


@pytest.fixture
def folder(tmp_path):
    """The gallery's folder."""
    return tmp_path / "data" / "galleries" / "g"


@pytest.fixture
def filled(store, draw):
    """Ten crops with pictures under the old model."""
    gallery = store.create("g", OLD, 8, GalleryOptions(store_crops=True))
    gallery.upsert(
        [Crop(f"{n}") for n in range(10)], draw(10), [b"picture %d" % n for n in range(10)]
    )
    return store


def follow(served, other):
    """Bring a version of four dimensions up to date."""
    crops = served.page(EVERYTHING, 1000).crops
    gone = {crop.crop_id for crop in other.page(EVERYTHING, 1000).crops} - {
        crop.crop_id for crop in crops
    }
    other.delete(Filter(crop_ids=frozenset(gone)))
    rows = np.eye(4, dtype=np.float32)[np.arange(len(crops)) % 4]
    other.upsert(crops, rows, [served.picture(crop.crop_id) for crop in crops])


def ids(gallery):
    return [crop.crop_id for crop in gallery.page(EVERYTHING, 1000).crops]


def test_another_version_is_filled_without_being_listed(filled, reopen, draw):
    other = filled.begin_model("g", NEW, 4)
    assert (other.name, other.model_sha256, other.dimension) == ("g", NEW, 4)
    assert other.options.store_crops
    other.upsert([Crop("0")], np.eye(4, dtype=np.float32)[:1])
    assert filled.begin_model("g", NEW, 4) is other
    assert [stats.crops for stats in filled.stats()] == [10]
    assert filled.open("g").model_sha256 == OLD
    again = reopen()
    assert [one.model_sha256 for one in again.kept_models("g")] == [NEW]
    assert ids(again.begin_model("g", NEW, 4)) == ["0"]
    assert again.kept_models("g")[0].stats().crops == 1
    assert len(again.open("g").query(draw(1), 20, EVERYTHING)[0]) == 10


def test_a_switch_serves_the_other_version_and_keeps_the_first(filled, reopen, draw):
    before = filled.open("g")
    filled.begin_model("g", NEW, 4)
    served = filled.switch_model("g", NEW, follow)
    assert filled.open("g") is served
    for again in (False, True):
        store = reopen() if again else filled
        gallery = store.open("g")
        assert (gallery.model_sha256, len(ids(gallery))) == (NEW, 10)
        assert gallery.picture("3") == b"picture 3"
        assert len(gallery.query(np.eye(4, dtype=np.float32)[:1], 20, EVERYTHING)[0]) == 10
        (kept,) = store.kept_models("g")
        assert (kept.model_sha256, len(ids(kept)), kept.stats().crops) == (OLD, 10, 10)
        if not again:
            # A thread that began with the previous version may continue reading, but not write.
            assert len(before.query(draw(1), 20, EVERYTHING)[0]) == 10
            with pytest.raises(Unavailable, match="send the request again"):
                before.upsert([Crop("late")], draw(1))
    back = store.switch_model("g", OLD, lambda *_: None)
    assert (back.model_sha256, store.open("g")) == (OLD, back)
    assert len(reopen().open("g").query(draw(1), 20, EVERYTHING)[0]) == 10


def test_writes_wait_for_a_switch_and_none_is_lost(filled, draw):
    filled.begin_model("g", NEW, 4)
    entered, results = threading.Event(), []

    def write():
        entered.wait()
        try:
            results.append(filled.open("g").upsert([Crop("meanwhile")], draw(1)))
        except Unavailable as error:
            results.append(error)

    thread = threading.Thread(target=write)
    thread.start()

    def catch_up(served, other):
        entered.set()
        thread.join(0.2)
        assert results == []
        follow(served, other)

    with always_set(entered):
        filled.switch_model("g", NEW, catch_up)
    thread.join()
    assert isinstance(results[0], Unavailable)  # the client retries, with the new version
    assert ids(filled.open("g")) == [f"{n}" for n in range(10)]


@pytest.mark.parametrize("failing", ["catch_up", "disk"])
def test_a_failed_switch_changes_nothing(filled, reopen, monkeypatch, draw, failing):
    filled.begin_model("g", NEW, 4)

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        if failing == "disk":
            patched.setattr(folders, "serve_from", fail)
        with pytest.raises(Unavailable, match="Input/output"):
            filled.switch_model("g", NEW, fail if failing == "catch_up" else follow)
    assert filled.open("g").upsert([Crop("new")], draw(1)) == 1
    assert [one.model_sha256 for one in filled.kept_models("g")] == [NEW]
    assert reopen().open("g").model_sha256 == OLD


def test_crops_are_erased_from_every_version(filled, reopen):
    follow(filled.open("g"), filled.begin_model("g", NEW, 4))
    some = Filter(crop_ids=frozenset({"1", "2"}))
    assert filled.open("g").delete(some, dry_run=True).pictures == 2
    assert len(ids(filled.begin_model("g", NEW, 4))) == 10
    assert filled.open("g").delete(some).crops == 2
    for again in (False, True):
        store = reopen() if again else filled
        other = store.begin_model("g", NEW, 4)
        assert ids(other) == ids(store.open("g")) == ["0", *"3456789"]
        hits = other.query(np.eye(4, dtype=np.float32)[:1], 20, EVERYTHING)[0]
        assert {"1", "2"}.isdisjoint(hit.crop.crop_id for hit in hits)


def test_crops_that_a_switch_left_out_are_erased_too(filled, reopen, folder):
    def all_but_some(served, other):
        follow(served, other)
        other.delete(Filter(crop_ids=frozenset({"1", "2"})))

    filled.begin_model("g", NEW, 4)
    served = filled.switch_model("g", NEW, all_but_some)
    assert ids(filled.kept_models("g")[0]) == [f"{n}" for n in range(10)]
    served.delete(Filter(crop_ids=frozenset({"1", "3"})))
    for again in (False, True):
        store = reopen() if again else filled
        assert ids(store.open("g")) == ["0", *"456789"]
        assert ids(store.kept_models("g")[0]) == ["0", "2", *"456789"]


def test_options_are_shared(filled, reopen):
    follow(filled.open("g"), filled.begin_model("g", NEW, 4))
    filled.open("g").configure(GalleryOptions(keep_for=5.0))
    store = reopen()
    assert store.kept_models("g")[0].options == GalleryOptions(keep_for=5.0)
    assert store.kept_models("g")[0].stats().pictures == 0
    assert store.switch_model("g", NEW, lambda *_: None).options == GalleryOptions(keep_for=5.0)


def test_a_version_can_be_dropped(filled, reopen, folder):
    filled.begin_model("g", NEW, 4)
    with pytest.raises(Conflict, match="is served"):
        filled.drop_model("g", OLD)
    filled.drop_model("g", NEW)
    for drop in (
        lambda: filled.drop_model("g", NEW),
        lambda: filled.switch_model("g", NEW, follow),
    ):
        with pytest.raises(NotFound, match="no version"):
            drop()
    filled.close()
    assert sorted(path.name for path in folder.iterdir()) == [
        "current",
        "gallery-aaaaaaaaaaaa.sqlite3",
    ]
    assert reopen().kept_models("g") == []


def test_the_served_version_is_not_another_version(filled):
    with pytest.raises(Conflict, match="already"):
        filled.begin_model("g", OLD, 8)
    with pytest.raises(NotFound):
        filled.begin_model("nowhere", NEW, 4)


def test_models_with_the_same_prefix_do_not_collide(filled, reopen):
    twin = "a" * 63 + "b"
    filled.begin_model("g", twin, 4).upsert([Crop("x")], np.eye(4, dtype=np.float32)[:1])
    store = reopen()
    assert store.open("g").model_sha256 == OLD
    assert [one.model_sha256 for one in store.kept_models("g")] == [twin]


def test_a_broken_pointer_is_reported(filled, reopen, folder):
    filled.close()
    (folder / "current").write_text("../../lock\n")
    with pytest.raises(Unavailable, match="is not the name of a database"):
        reopen().open("g")


def in_memory(gallery):
    return gallery.memory.present is not None


@pytest.mark.parametrize(("idle_seconds", "kept"), [(0.0, False), (3600.0, True)])
def test_a_version_that_nobody_uses_leaves_memory_and_loses_nothing(tmp_path, idle_seconds, kept):
    with closing(DiskGalleryStore(tmp_path / "data", idle_seconds=idle_seconds)) as store:
        served = store.create("g", OLD, 4)
        served.upsert([Crop("a"), Crop("b")], np.eye(4, dtype=np.float32)[:2])
        other = store.begin_model("g", NEW, 4)
        other.upsert([Crop("a")], np.eye(4, dtype=np.float32)[:1])
        store.tidy()
        assert in_memory(served)
        assert in_memory(other) == kept
        assert other.query(np.eye(4, dtype=np.float32)[:1], 5, EVERYTHING)[0][0].crop.crop_id == "a"
        store.tidy()
        other.upsert([Crop("b")], np.eye(4, dtype=np.float32)[1:2])
        store.tidy()
        served.delete(Filter(crop_ids=frozenset({"a"})))
        assert ids(other) == ids(served) == ["b"]
        store.tidy()
        assert store.switch_model("g", NEW, lambda *_: None) is other
        store.tidy()
        assert in_memory(other)  # it is served now
        assert [one.crop.crop_id for one in other.query(np.eye(4)[1:2], 5, EVERYTHING)[0]] == ["b"]


def test_a_version_in_use_is_not_idle(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("service.gallery.disk.memory_copy.time.monotonic", lambda: clock[0])
    with closing(DiskGalleryStore(tmp_path / "data", idle_seconds=100.0)) as store:
        store.create("g", OLD, 4)
        other = store.begin_model("g", NEW, 4)
        other.upsert([Crop("a")], np.eye(4, dtype=np.float32)[:1])
        for clock[0] in (90.0, 180.0):
            other.query(np.eye(4, dtype=np.float32)[:1], 5, EVERYTHING)
            store.tidy()
            assert in_memory(other)
        for clock[0], here in ((279.0, True), (280.0, False)):
            store.tidy()
            assert in_memory(other) == here
