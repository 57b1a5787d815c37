"""Single changes of a gallery store, struck at each of their writes, and what is seen after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound
from service.gallery.base import Crop, Filter, GalleryOptions
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import Gallery

MODEL, OTHER_MODEL, DIMENSION = "a" * 64, "b" * 64, 64
GALLERY = "g"
CROPS = 24
EVERYTHING = 1000

Seen = dict[str, object]


def crop(number: int, version: int = 0) -> Crop:
    """A crop; a crop of another version replaces it."""
    return Crop(
        f"{number:03}",
        identity=f"p{(number + version) % 5}",
        camera=f"c{number % 3}",
        timestamp=float(number),
        digest=hashlib.sha256(picture(number, version)).hexdigest(),
    )


def picture(number: int, version: int = 0) -> bytes:
    """Bytes in place of an uploaded picture, larger than a page of SQLite."""
    return np.random.default_rng([number, version, 1]).bytes(5000)


def rows(numbers: range, version: int = 0) -> NDArray[np.float32]:
    """(N, D) float32 unit rows, different for every crop and version."""
    drawn = [np.random.default_rng([n, version]).standard_normal(DIMENSION) for n in numbers]
    return np.stack([row / np.linalg.norm(row) for row in drawn]).astype(np.float32)


def add(gallery: Gallery, numbers: range, version: int = 0) -> None:
    """Upsert crops with their pictures."""
    pictures = [picture(number, version) for number in numbers]
    gallery.upsert([crop(n, version) for n in numbers], rows(numbers, version), pictures)


def prepare(root: Path) -> None:
    """Create a data folder with one gallery, in the state after a clean stop."""
    store = DiskGalleryStore(root, device="cpu")
    add(store.create(GALLERY, MODEL, DIMENSION, GalleryOptions(store_crops=True)), range(CROPS))
    store.take_snapshot(GALLERY)
    store.open(GALLERY).delete(Filter(crop_ids=frozenset({"001"})))
    store.close()


@dataclass(frozen=True)
class Operation:
    """A change of the store; a refused change may be repeated.

    Attributes:
        name: for the report.
        act: makes the change.
        unconfirmed: a refused change may have been made, because its last step only makes the disk
            confirm it.
    """

    name: str
    act: Callable[[DiskGalleryStore], object]
    unconfirmed: bool = False


def _delete(store: DiskGalleryStore) -> object:
    return store.open(GALLERY).delete(Filter(cameras=frozenset({"c1"})))


def _relabel(store: DiskGalleryStore) -> object:
    return store.open(GALLERY).relabel({"000": "p9", "002": None, "005": "p9"}, "hand")


def _delete_snapshot(store: DiskGalleryStore) -> object:
    for record in store.snapshots(GALLERY):
        store.delete_snapshot(GALLERY, record.snapshot_id)
    return None


def _restore(store: DiskGalleryStore) -> object:
    return store.restore(GALLERY, store.snapshots(GALLERY)[0].snapshot_id, None)


def _restore_beside(store: DiskGalleryStore) -> object:
    return store.restore(GALLERY, store.snapshots(GALLERY)[0].snapshot_id, "beside")


def _change_model(store: DiskGalleryStore) -> object:
    """Add a version for another model, fill it and serve it."""

    def catch_up(served: Gallery, other: Gallery) -> None:
        ids = [one.crop_id for one in served.page(Filter(), EVERYTHING).crops]
        pictures = [served.picture(key) for key in ids]
        other.upsert([served.get(key) for key in ids], rows(range(len(ids)), version=2), pictures)

    store.begin_model(GALLERY, OTHER_MODEL, DIMENSION)
    return store.switch_model(GALLERY, OTHER_MODEL, catch_up)


def _delete_gallery(store: DiskGalleryStore) -> object:
    with suppress(NotFound):  # the first attempt removed it without confirmation
        return store.delete(GALLERY)
    return None


OPERATIONS = [
    Operation("upsert", lambda store: add(store.open(GALLERY), range(20, 30), version=1)),
    Operation("delete", _delete),
    Operation("relabel", _relabel),
    Operation("create", lambda store: store.create("new", MODEL, DIMENSION)),
    Operation("configure", lambda store: store.open(GALLERY).configure(GalleryOptions(keep_for=9))),
    Operation("delete-gallery", _delete_gallery, unconfirmed=True),
    Operation("snapshot", lambda store: store.take_snapshot(GALLERY)),
    Operation("restore", _restore),
    Operation("restore-beside", _restore_beside),
    Operation("delete-snapshot", _delete_snapshot, unconfirmed=True),
    Operation("change-model", _change_model),
]


def observe(store: DiskGalleryStore) -> Seen:
    """Everything a store serves: crops, embeddings, pictures, labels, options, snapshots.

    Raises:
        AssertionError: its answers contradict each other.
    """
    return {stats.name: _observe_gallery(store, stats.name) for stats in store.stats()}


def _observe_gallery(store: DiskGalleryStore, name: str) -> Seen:
    gallery = store.open(name)
    crops = gallery.page(Filter(), EVERYTHING).crops
    ids = [one.crop_id for one in crops]
    stats = gallery.stats()
    assert stats.crops == len(ids), f"{stats.crops} crops counted, {len(ids)} listed"
    assert not stats.damaged, f"{stats.damaged} crops are damaged"
    vectors = gallery.embeddings(ids) if ids else np.empty((0, DIMENSION), np.float32)
    _require_exact_search(gallery, ids, vectors)
    return {
        "crops": {
            one.crop_id: (one.identity, one.camera, one.timestamp, one.digest, one.origin)
            for one in crops
        },
        "embeddings": {key: row.tobytes() for key, row in zip(ids, vectors, strict=True)},
        "pictures": _pictures(gallery, ids, stats.pictures),
        "model": gallery.model_sha256,
        "options": gallery.options,
        "snapshots": sorted(record.crops for record in store.snapshots(name)),
    }


def _pictures(gallery: Gallery, ids: list[str], count: int) -> dict[str, bytes]:
    return {key: gallery.picture(key) for key in ids} if count else {}


def _require_exact_search(gallery: Gallery, ids: list[str], vectors: NDArray[np.float32]) -> None:
    query = rows(range(99, 100))
    (hits,) = gallery.query(query, EVERYTHING, Filter())
    scores = (query.astype(np.float64) @ vectors.astype(np.float64).T)[0]
    assert {hit.crop.crop_id for hit in hits} == set(ids), "the search finds other crops"
    exact = dict(zip(ids, scores, strict=True))
    assert all(abs(exact[hit.crop.crop_id] - hit.score) < 1e-6 for hit in hits), "a wrong score"
