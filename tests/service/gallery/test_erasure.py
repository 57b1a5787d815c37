"""After an erasure, no trace of the crop is left in the data folder."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.disk import database
from service.machine.sqlite import connect

MODEL, OTHER = "a" * 64, "b" * 64
EVERYTHING = Filter()
_PIECE = 16


@pytest.fixture
def root(tmp_path):
    """The folder that the store fixture serves."""
    return tmp_path / "data"


def crops_of(numbers, rng):
    """Crops whose fields can all be searched for: no two share a text."""
    return [
        Crop(
            f"crop-{number:06d}-{rng.integers(1 << 60):015x}",
            identity=f"identity-{number:06d}",
            camera=f"c{number % 3}",
            timestamp=float(number),
            digest=f"{number:06d}{rng.integers(1 << 60):058x}",
        )
        for number in numbers
    ]


def picture_of(number, size, version=0):
    """Bytes that repeat their crop's id, so that every part of them identifies the crop."""
    return (b"<picture-%06d-%d>" % (number, version) * (size // 18 + 1))[:size]


def keys_of(gallery):
    """The key of each stored picture; without it, a picture's bytes on disk are noise."""
    with closing(connect(gallery.database.path, "ro")) as reader:
        return dict(reader.execute("SELECT crop_id, picture_key FROM crops").fetchall())


def found_keys(root, keys):
    """Crops whose picture's key is found."""
    stored = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    return {crop_id for crop_id, key in keys.items() if key in stored}


def plain_pictures(root):
    """Whether any part of an uploaded picture is found unencoded."""
    return any(b"<picture-" in path.read_bytes() for path in root.rglob("*") if path.is_file())


def traces(root, crops, rows):
    """Find traces of these crops: ids, identities, digests and pieces of embeddings."""
    stored = [path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()]
    found = []
    for crop, row in zip(crops, rows, strict=True):
        blob = row.tobytes()
        pieces = [text.encode() for text in (crop.crop_id, crop.identity, crop.digest)]
        pieces += [blob[at : at + _PIECE] for at in (0, len(blob) // 2, len(blob) - _PIECE)]
        found += [(crop.crop_id, piece) for piece in pieces if any(piece in one for one in stored)]
    return found


@pytest.mark.parametrize("size", [700, 9_000, 40_000])
def test_nothing_is_left_of_an_erased_crop(store, root, draw, size):
    """Crops are added, changed and deleted in many writes, so that pages are split and reused."""
    rng = np.random.default_rng(size)
    gallery = store.create("g", MODEL, 96, GalleryOptions(store_crops=True))
    crops, rows = crops_of(range(200), rng), draw(200, 96, seed=1)
    pictures = [picture_of(number, size) for number in range(200)]
    for start in rng.permutation(range(0, 200, 10)).tolist():
        part = slice(start, start + 10)
        gallery.upsert(crops[part], rows[part], pictures[part])
    rows = gallery.embeddings([crop.crop_id for crop in crops])
    again = [picture_of(number, size + 900, version=1) for number in range(100)]
    for start in rng.permutation(range(0, 100, 20)).tolist():
        part = slice(start, start + 20)
        gallery.upsert(crops[part], rows[part], again[part])
    keys = keys_of(gallery)
    gallery.relabel({crop.crop_id: "renamed" for crop in crops[100:130]}, "hand")
    deleted, kept = np.split(rng.permutation(200), [120])
    assert len(traces(root, [crops[kept[0]]], rows[kept[:1]])) > 3
    for part in np.array_split(deleted, 5):
        gallery.delete(Filter(crop_ids=frozenset(crops[number].crop_id for number in part)))
    assert traces(root, [crops[number] for number in deleted], rows[deleted]) == []
    assert found_keys(root, keys) == {crops[number].crop_id for number in kept}
    assert not plain_pictures(root)
    assert gallery.picture(crops[kept[0]].crop_id) == (again + pictures[100:])[kept[0]]
    gallery.delete(EVERYTHING)
    assert traces(root, crops, rows) == []
    assert found_keys(root, keys) == set()


def test_erasing_covers_kept_versions_and_reports_snapshots(store, root, draw):
    gallery = store.create("g", MODEL, 32, GalleryOptions(store_crops=True))
    rng = np.random.default_rng(0)
    crops, pictures = crops_of(range(3), rng), [picture_of(n, 5000) for n in range(3)]
    gallery.upsert(crops, draw(3, 32), pictures)
    rows = gallery.embeddings([crop.crop_id for crop in crops])
    other = store.begin_model("g", OTHER, 16)
    other.upsert(crops, draw(3, 16), pictures)
    others = other.embeddings([crop.crop_id for crop in crops])
    snapshot, keys = store.take_snapshot("g").snapshot_id, keys_of(gallery)
    receipt = gallery.delete(Filter(crop_ids=frozenset({crops[0].crop_id})))
    assert receipt.snapshots == (snapshot,)
    for embeddings in (rows, others):
        assert traces(root / "galleries", crops[:1], embeddings[:1]) == []
    assert found_keys(root / "galleries", keys) == {crops[1].crop_id, crops[2].crop_id}
    assert traces(root, crops[:1], rows[:1]) != []  # as the receipt reports
    store.delete_snapshot("g", snapshot)
    assert traces(root, crops[:1], rows[:1]) == []
    assert found_keys(root, keys) == {crops[1].crop_id, crops[2].crop_id}
    assert traces(root, crops[1:], others[1:]) != []


def test_the_log_is_emptied_once_a_reader_is_done(store, root, draw):
    """A running listing or snapshot may delay the erasure but not prevent it."""
    gallery = store.create("g", MODEL, 32)
    rng = np.random.default_rng(0)
    crops = crops_of(range(40), rng)
    gallery.upsert(crops, draw(40, 32))
    rows = gallery.embeddings([crop.crop_id for crop in crops])
    reader = connect(gallery.database.path, "ro")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM crops").fetchone()
    gallery.delete(Filter(crop_ids=frozenset(crop.crop_id for crop in crops[:20])))
    reader.close()
    gallery.compact()
    assert traces(root, crops[:20], rows[:20]) == []


def test_switching_store_crops_off_erases_stored_pictures(store, root, draw):
    gallery = store.create("g", MODEL, 32, GalleryOptions(store_crops=True))
    rng = np.random.default_rng(0)
    crops, pictures = crops_of(range(30), rng), [picture_of(n, 3000) for n in range(30)]
    gallery.upsert(crops, draw(30, 32), pictures)
    keys = keys_of(gallery)
    assert len(found_keys(root, keys)) == 30
    gallery.configure(GalleryOptions())
    assert found_keys(root, keys) == set()
    assert gallery.stats().pictures == 0


def test_an_erased_gallery_leaves_nothing(store, root, draw):
    gallery = store.create("g", MODEL, 32, GalleryOptions(store_crops=True))
    rng = np.random.default_rng(0)
    crops, rows = crops_of(range(3), rng), draw(3, 32)
    gallery.upsert(crops, rows, [picture_of(number, 500) for number in range(3)])
    keys = keys_of(gallery)
    store.delete("g")
    assert traces(root, crops, rows) == []
    assert found_keys(root, keys) == set()


def test_a_large_gallery_is_compacted_later(store, reopen, root, draw, monkeypatch):
    monkeypatch.setattr(database, "_FEW", 50)
    rng = np.random.default_rng(3)
    gallery = store.create("g", MODEL, 32)
    crops, rows = crops_of(range(300), rng), draw(300, 32)
    for start in rng.permutation(range(0, 300, 10)).tolist():
        gallery.upsert(crops[start : start + 10], rows[start : start + 10])
    rows = gallery.embeddings([crop.crop_id for crop in crops])
    deleted = rng.permutation(300)[:100]
    gallery.delete(Filter(crop_ids=frozenset(crops[number].crop_id for number in deleted)))
    with closing(connect(gallery.database.path, "ro")) as reader:
        assert reader.execute("SELECT unclean FROM gallery").fetchone() == (1,)
    store = reopen()  # the pending work is remembered
    store.tidy()
    assert traces(root, [crops[number] for number in deleted], rows[deleted]) == []
    gallery = store.open("g")
    assert gallery.stats().crops == 200
    gallery.upsert(crops, draw(300, 32))
    assert gallery.upsert([Crop("another")], draw(1, 32)) == 1
    assert reopen().open("g").stats().crops == 301
