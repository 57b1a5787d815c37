"""Galleries in Milvus, for more crops than one machine should hold.

``milvus-lite`` syncs its log to disk only when it is closed, so use it for trials and tests only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pymilvus import DataType, MilvusClient
from typing_extensions import override

from service.errors import Conflict, NotFound, Unavailable, Unsupported
from service.gallery import rules
from service.gallery.base import DEFAULT_OPTIONS, GalleryOptions, GalleryStats, SnapshotRecord
from service.gallery.milvus.collection import (
    BYTES_OF_TEXT,
    CollectionName,
    check_options,
    options_property,
    reachable,
)
from service.gallery.milvus.gallery import MilvusGallery
from service.gallery.milvus.migration import RULES, TODAY
from service.gallery.protocol import GalleryStore


class MilvusGalleryStore(GalleryStore):
    """All galleries of one Milvus database.

    Args:
        uri: ``http://host:19530`` of a server, or a file's path for ``milvus-lite``.
        token: ``user:password`` or a key; empty if Milvus needs none.

    Raises:
        Unavailable: Milvus cannot be reached.
    """

    def __init__(self, uri: str, *, token: str = "") -> None:
        with reachable():
            self._client = MilvusClient(uri, token=token)
        self._open: dict[str, MilvusGallery] = {}
        self._lock = threading.Lock()

    @property
    @override
    def device(self) -> str:
        """Always ``milvus``: the server decides where it searches."""
        return "milvus"

    @override
    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> MilvusGallery:
        rules.check_name(name)
        rules.check_dimension(dimension)
        check_options(options)
        with self._lock:
            if self._find(name) is not None:
                raise Conflict(f"gallery {name!r} already exists")
            collection = CollectionName(name, model_sha256, round(time.time(), 3))
            with reachable():
                self._create(str(collection), dimension, options)
            return self._gallery(collection)

    @override
    def open(self, name: str) -> MilvusGallery:
        with self._lock:
            return self._gallery(self._require(name))

    @override
    @contextmanager
    def changing(self, name: str) -> Iterator[MilvusGallery]:
        """Hold the gallery's lock, in this process only. Raises NotFound."""
        gallery = self.open(name)
        with gallery.changing():
            yield gallery

    @override
    def stats(self) -> list[GalleryStats]:
        with self._lock:
            galleries = [self._gallery(collection) for collection in self._collections()]
        return [gallery.stats() for gallery in sorted(galleries, key=lambda one: one.name)]

    @override
    def delete(self, name: str) -> int:
        with self._lock:
            collection = self._require(name)
            gallery = self._gallery(collection)
        with gallery.changing():  # counting takes a while and must not block other galleries
            crops = gallery.stats().crops
            with self._lock, reachable():
                self._client.drop_collection(str(collection))
                self._open.pop(str(collection), None)
            return crops

    @override
    def holding(self, digests: Collection[str], but: str) -> list[str]:
        if not digests:
            return []
        with self._lock:
            others = [self._gallery(one) for one in self._collections() if one.name != but]
        return sorted(gallery.name for gallery in others if _may_hold(gallery, digests))

    @override
    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """Always empty: Milvus has backups of its own. Raises NotFound."""
        with self._lock:
            self._require(name)
        return []

    @override
    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    @override
    def snapshot_file(self, name: str, snapshot_id: str) -> Path:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    @override
    def restore(
        self,
        name: str,
        snapshot_id: str,
        into: str | None,
    ) -> MilvusGallery:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    @override
    def delete_snapshot(self, name: str, snapshot_id: str) -> None:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    @override
    def tidy(self) -> None:
        """Do nothing: Milvus compacts by itself."""

    @override
    def writable(self) -> bool:
        """Whether Milvus answers."""
        try:
            self._collections()
        except Unavailable:
            return False
        return True

    @override
    def close(self) -> None:
        """Close the connection."""
        with reachable():
            self._client.close()

    def _create(self, collection: str, dimension: int, options: GalleryOptions) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("crop_id", DataType.VARCHAR, is_primary=True, max_length=BYTES_OF_TEXT)
        for text in ("identity", "camera", "digest"):
            schema.add_field(text, DataType.VARCHAR, max_length=BYTES_OF_TEXT)
        schema.add_field("timed", DataType.BOOL)
        schema.add_field("timestamp", DataType.DOUBLE)
        schema.add_field("origin", DataType.VARCHAR, max_length=BYTES_OF_TEXT)
        schema.add_field("added", DataType.DOUBLE)
        schema.add_field("track", DataType.VARCHAR, max_length=BYTES_OF_TEXT)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="IP")
        # With Strong consistency, a request finds what earlier ones stored, on any replica.
        self._client.create_collection(
            collection, schema=schema, index_params=index, consistency_level="Strong"
        )
        chosen = {} if options == DEFAULT_OPTIONS else options_property(options)
        self._client.alter_collection_properties(collection, {RULES: TODAY, **chosen})

    def _collections(self) -> list[CollectionName]:
        with reachable():
            names = self._client.list_collections()
        return [found for name in names if (found := CollectionName.parse(name)) is not None]

    def _find(self, name: str) -> CollectionName | None:
        # Two services may have created the same gallery at the same moment: the older one counts.
        found = [one for one in self._collections() if one.name == name]
        return min(found, key=lambda one: one.created, default=None)

    def _require(self, name: str) -> CollectionName:
        found = self._find(name)
        if found is None:
            raise NotFound(f"gallery {name[:80]!r} does not exist")
        return found

    def _gallery(self, collection: CollectionName) -> MilvusGallery:
        key = str(collection)
        if key not in self._open:
            self._open[key] = MilvusGallery(self._client, collection)
        return self._open[key]


def _may_hold(gallery: MilvusGallery, digests: Collection[str]) -> bool:
    try:
        return gallery.holds(digests)
    except NotFound:
        return False
    except Unavailable:
        return True


def _no_snapshots(name: str) -> Unsupported:
    return Unsupported(
        f"gallery {name[:80]!r} is in Milvus, and this service takes no snapshots of Milvus: use "
        "milvus-backup, or keep galleries in the data folder"
    )
