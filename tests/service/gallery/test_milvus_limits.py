"""Requests that Milvus cannot serve are refused with advice on what to do instead."""

from __future__ import annotations

import pytest

from service.errors import NotFound, Unsupported
from service.gallery.base import GalleryOptions

MODEL = "a" * 64

pytestmark = pytest.mark.slow


@pytest.fixture
def backend():
    """Milvus alone."""
    return "milvus"


def test_pictures_are_refused(store):
    with pytest.raises(Unsupported, match="REID_MILVUS_URI to keep galleries"):
        store.create("g", MODEL, 8, GalleryOptions(store_crops=True))
    gallery = store.create("g", MODEL, 8)
    with pytest.raises(Unsupported, match="REID_MILVUS_URI to keep galleries"):
        gallery.configure(GalleryOptions(store_crops=True))
    with pytest.raises(Unsupported, match="stores no pictures"):
        gallery.picture("a")
    assert gallery.options == GalleryOptions()


def test_snapshots_are_refused(store):
    store.create("g", MODEL, 8)
    assert store.snapshots("g") == []
    with pytest.raises(NotFound):
        store.snapshots("nowhere")
    for refused in (
        lambda: store.take_snapshot("g"),
        lambda: store.snapshot_file("g", "x"),
        lambda: store.restore("g", "x", None),
        lambda: store.delete_snapshot("g", "x"),
    ):
        with pytest.raises(Unsupported, match="milvus-backup"):
            refused()
