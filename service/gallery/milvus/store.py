"""Galleries in Milvus, for more crops than one machine should hold.

``milvus-lite`` syncs its log to disk only when closed, so it is for trials and tests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pymilvus import DataType, MilvusClient

from service.errors import Conflict, NotFound, Unavailable, Unsupported
from service.gallery import rules
from service.gallery.base import DEFAULT_OPTIONS, GalleryOptions, GalleryStats, SnapshotRecord
from service.gallery.milvus.gallery import (
    BYTES_OF_TEXT,
    CollectionName,
    MilvusGallery,
    check_options,
    options_property,
    reachable,
)
from service.gallery.milvus.mending import RULES, TODAY


class MilvusGalleryStore:
    """All galleries of one Milvus database.

    Args:
        uri: ``http://host:19530`` of a server, or a file's path for ``milvus-lite``.
        token: ``user:password`` or a key, empty where Milvus asks for none.

    Raises:
        Unavailable: Milvus cannot be reached.
    """

    def __init__(self, uri: str, *, token: str = "") -> None:
        with reachable():
            self._client = MilvusClient(uri, token=token)
        self._open: dict[str, MilvusGallery] = {}
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        """``milvus``: the server decides where it searches."""
        return "milvus"

    def create(
        self,
        name: str,
        model_sha256: str,
        dimension: int,
        options: GalleryOptions = DEFAULT_OPTIONS,
    ) -> MilvusGallery:
        """Create a gallery; see :class:`service.gallery.base.GalleryStore`."""
        rules.check_name(name)
        rules.check_dimension(dimension)
        check_options(options)
        with self._lock:
            if self._find(name) is not None:
                raise Conflict(f"gallery {name!r} exists")
            collection = CollectionName(name, model_sha256, round(time.time(), 3))
            with reachable():
                self._create(str(collection), dimension, options)
            return self._gallery(collection)

    def open(self, name: str) -> MilvusGallery:
        """An existing gallery. Raises NotFound."""
        with self._lock:
            return self._gallery(self._require(name))

    @contextmanager
    def changing(self, name: str) -> Iterator[MilvusGallery]:
        """A gallery with its lock held, in this process. Raises NotFound."""
        gallery = self.open(name)
        with gallery.changing():
            yield gallery

    def stats(self) -> list[GalleryStats]:
        """Stats of every gallery, by name."""
        with self._lock:
            galleries = [self._gallery(collection) for collection in self._collections()]
        return [gallery.stats() for gallery in sorted(galleries, key=lambda one: one.name)]

    def delete(self, name: str) -> int:
        """Delete a gallery and everything in it; returns how many crops. Raises NotFound."""
        with self._lock:
            collection = self._require(name)
            gallery = self._gallery(collection)
        with gallery.changing():  # counting takes a while, and keeps nobody from other galleries
            crops = gallery.stats().crops
            with self._lock, reachable():
                self._client.drop_collection(str(collection))
                self._open.pop(str(collection), None)
            return crops

    def holding(self, digests: Collection[str], but: str) -> list[str]:
        """Other galleries that hold a crop with one of these digests, or cannot tell, by name."""
        if not digests:
            return []
        with self._lock:
            others = [self._gallery(one) for one in self._collections() if one.name != but]
        return sorted(gallery.name for gallery in others if _may_hold(gallery, digests))

    def snapshots(self, name: str) -> list[SnapshotRecord]:
        """None: Milvus has backups of its own. Raises NotFound."""
        with self._lock:
            self._require(name)
        return []

    def take_snapshot(self, name: str) -> SnapshotRecord:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    def snapshot_file(self, name: str, snapshot_id: str) -> Path:  # noqa: ARG002 - the protocol's
        """Raises Unsupported."""
        raise _no_snapshots(name)

    def restore(
        self,
        name: str,
        snapshot_id: str,  # noqa: ARG002 - the protocol's
        into: str | None,  # noqa: ARG002 - the protocol's
    ) -> MilvusGallery:
        """Raises Unsupported."""
        raise _no_snapshots(name)

    def delete_snapshot(self, name: str, snapshot_id: str) -> None:  # noqa: ARG002 - the protocol's
        """Raises Unsupported."""
        raise _no_snapshots(name)

    def tidy(self) -> None:
        """Milvus compacts by itself."""

    def writable(self) -> bool:
        """Whether a write would be accepted now: Milvus answers."""
        try:
            self._collections()
        except Unavailable:
            return False
        return True

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
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="IP")
        # Strong: what one request was told is stored, the next one finds, on any replica.
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
        # Two services may create the same gallery at the same moment: the older one counts.
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
        f"gallery {name[:80]!r} is kept in Milvus, of which this service takes no snapshots: use "
        "milvus-backup, or keep the galleries in the data folder"
    )
