"""One gallery in Milvus.

Only features that every Milvus since 2.3 and ``milvus-lite`` share are used: a VARCHAR key, a
FLOAT_VECTOR with an exact FLAT index by inner product, and scalar expressions. Differences from a
gallery on disk: an upsert is as atomic as Milvus makes one request, a relabelling rewrites whole
rows in batches, ``stats`` reads the metadata of all crops, and there are neither pictures nor
snapshots.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient
from typing_extensions import override

from service.errors import Unsupported
from service.gallery import rules
from service.gallery.base import (
    Absent,
    Crop,
    Filter,
    GalleryOptions,
    GalleryStats,
    Hit,
    Origin,
    Page,
    Receipt,
)
from service.gallery.milvus.collection import (
    FIELDS,
    CollectionName,
    check_options,
    crop_of,
    date_of,
    metadata_of,
    options_property,
    read_options,
)
from service.gallery.milvus.expressions import texts_of
from service.gallery.milvus.migration import RULES, TODAY, migrate_collection, one_of
from service.gallery.milvus.requests import CollectionRequests
from service.gallery.protocol import Gallery
from service.gallery.scoring import best_first, cosines
from service.gallery.unit_rows import unit_rows

_IN_RECEIPTS = ("crop_id", "identity", "camera", "digest")
_MOST_ROWS = 16384  # per search or batch, a limit of Milvus
_SPARE = 8
_MARGIN = 1e-5  # more than twice the rounding error of a float32 product
_DIGESTS_AT_ONCE = 1024  # per expression
_ROWS_RELABELLED = 1024  # per request, which includes their embeddings


class MilvusGallery(Gallery):
    """A gallery that is one collection of Milvus.

    Args:
        client: an open client.
        collection: an existing collection.
    """

    def __init__(self, client: MilvusClient, collection: CollectionName) -> None:
        self._header = collection
        self._writing = threading.RLock()  # two upserts must not both count an id as new
        self._requests = requests = CollectionRequests(client, collection)
        self._options = read_options(requests.properties)
        if requests.properties.get(RULES) != TODAY:
            stored = requests.scan(Filter(), requests.fields)
            migrate_collection(client, requests.collection, requests.fields, stored)

    @property
    @override
    def name(self) -> str:
        return self._header.name

    @property
    @override
    def model_sha256(self) -> str:
        return self._header.model_sha256

    @property
    @override
    def dimension(self) -> int:
        return self._requests.dimension

    @property
    @override
    def options(self) -> GalleryOptions:
        return self._options

    @override
    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the gallery's lock in this process; another service on Milvus may still write."""
        with self._writing:
            yield

    @override
    def configure(self, options: GalleryOptions) -> None:
        """Change the options, which are stored as a property of the collection."""
        check_options(options)
        if options.keep_for is not None and not self._requests.dated:
            raise Unsupported(
                f"gallery {self.name!r} was created by the first release and does not know when "
                "crops were added: create a new gallery and import the crops again"
            )
        with self._writing:
            self._requests.set_properties(options_property(options))
            self._options = options

    @override
    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id; pictures are not stored."""
        crops = [rules.checked_crop(crop) for crop in crops]
        vectors = unit_rows(
            embeddings,
            len(crops),
            self._requests.dimension,
            lambda row: f"crop {crops[row].crop_id!r}",
        )
        rules.check_pictures(pictures, len(crops))
        now = time.time()
        rows = [
            metadata_of(rules.with_time(crops[at], now), self._requests.fields)
            | {"embedding": vectors[at]}
            for at in rules.last_of_each(crops)
        ]
        if not rows:
            return 0
        same_ids = f"crop_id in {texts_of(row['crop_id'] for row in rows)}"
        with self._writing:
            known = self._requests.matching(same_ids, ["crop_id"])
            self._requests.upsert(rows)
        return len(rows) - len(known)

    @override
    def get(self, crop_id: str) -> Crop:
        return crop_of(self._requests.rows_of([crop_id], self._requests.fields)[0])

    @override
    def picture(self, crop_id: str) -> bytes:
        """Milvus stores no pictures. Raises Unsupported."""
        raise Unsupported(
            f"gallery {self.name!r} is in Milvus, which stores no pictures ({crop_id!r}): unset "
            "REID_MILVUS_URI to keep galleries in the data folder instead"
        )

    @override
    def pictured(self, where: Filter) -> set[str]:
        """Always empty: Milvus stores no pictures."""
        del where
        return set()

    @override
    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        crops: list[Crop] = []
        for batch in self._requests.scan(
            where, self._requests.fields, after, min(limit + 1, _MOST_ROWS)
        ):
            crops.extend(map(crop_of, batch))
            if len(crops) > limit:
                return Page(tuple(crops[:limit]), rules.encode_cursor(crops[limit - 1].crop_id))
        return Page(tuple(crops), None)

    @override
    def crops(self, where: Filter) -> list[Crop]:
        batches = self._requests.scan(where, self._requests.fields, batch_size=_MOST_ROWS)
        return [crop_of(row) for batch in batches for row in batch]

    @override
    def count(self, where: Filter) -> int:
        return self._requests.count(where)

    @override
    def absent(self, where: Filter) -> Absent:
        excluded = (where.not_camera, where.own_camera)
        cameras = set(where.cameras or ()) | {name for name in excluded if name is not None}
        return Absent(
            cameras=self._without_crop("camera", cameras),
            identities=self._without_crop("identity", where.identities or ()),
            crop_ids=self._without_crop("crop_id", where.crop_ids or ()),
            tracks=self._without_track(where.tracks or ()),
        )

    @override
    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities batch by batch, each batch all or none."""
        labels = rules.checked_labels(labels)

        def labelled(stored: Crop) -> Crop:
            return replace(stored, identity=labels[stored.crop_id], origin=origin)

        return self._redescribe(list(labels), labelled)

    @override
    def describe(self, crops: Sequence[Crop]) -> int:
        """Change the metadata of stored crops batch by batch, each batch all or none."""
        wanted = {crop.crop_id: crop for crop in map(rules.checked_crop, crops)}
        return self._redescribe(list(wanted), lambda stored: wanted[stored.crop_id])

    @override
    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        cameras, identities, crops = Counter[str](), set[str](), 0
        crop_ids, digests = set[str](), set[str]()
        with self._writing:
            for batch in list(
                self._requests.scan(where, ["crop_id", "identity", "camera", "digest"])
            ):
                if not dry_run:  # by a condition, since pymilvus does not escape ids=
                    self._requests.delete(one_of(row["crop_id"] for row in batch))
                crops += len(batch)
                cameras.update(row["camera"] for row in batch)
                identities.update(row["identity"] for row in batch)
                crop_ids.update(row["crop_id"] for row in batch)
                digests.update(row["digest"] for row in batch)
        cameras.pop("", None)
        names = frozenset(identities - {""})
        return Receipt(
            *(crops, 0, len(names), dict(sorted(cameras.items()))),
            crop_ids=frozenset(crop_ids),
            names=names,
            digests=frozenset(digests - {""}),
        )

    def holds(self, digests: Collection[str]) -> bool:
        """Whether a crop has one of these digests; Milvus scans all rows for it."""
        wanted = sorted(digests)
        for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
            some = texts_of(wanted[start : start + _DIGESTS_AT_ONCE])
            if self._requests.any_matches(f"digest in {some}"):
                return True
        return False

    @override
    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        rows = self._requests.rows_of(crop_ids, ["crop_id", "embedding"])
        return np.array([row["embedding"] for row in rows], np.float32).reshape(
            -1, self._requests.dimension
        )

    @override
    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Find the exact nearest crops by cosine, at most 16384 per query."""
        rules.check_count("top_k", top_k)
        queries = unit_rows(embeddings, None, self.dimension, lambda row: f"query {row}")
        answer: list[list[Hit]] = [[] for _ in queries]
        pending, fetch = list(range(len(queries))), min(top_k + _SPARE, _MOST_ROWS)
        while pending:
            undecided = []
            found = self._requests.search(queries[pending], fetch, where)
            for query, hits in zip(pending, found, strict=True):
                # A row that was not fetched may tie with the last hit and precede it by its id.
                cut = len(hits) == fetch < _MOST_ROWS
                if cut and hits[-1]["distance"] >= hits[top_k - 1]["distance"] - _MARGIN:
                    undecided.append(query)
                else:
                    answer[query] = _rank(queries[query], hits)[:top_k]
            pending, fetch = undecided, min(4 * fetch, _MOST_ROWS)
        return answer

    @override
    def scan_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        where: Filter,
        least: float = -1.0,
    ) -> None:
        """Milvus scores rows as they are stored. Raises Unsupported."""
        raise Unsupported(
            f"gallery {self.name!r}: Milvus scores embeddings as they are stored and cannot remove "
            "a camera's statistics; search without standardise, or keep galleries in the data "
            "folder"
        )

    @override
    def stats(self) -> GalleryStats:
        """Counts at this moment; the size on disk is reported as 0, since only Milvus knows it."""
        crops, identities, cameras = 0, set[str](), Counter[str]()
        dates: list[float] = []
        wanted = [
            "crop_id",
            "identity",
            "camera",
            "timed",
            "timestamp",
            *self._requests.fields[len(FIELDS) :],
        ]
        for batch in self._requests.scan(Filter(), wanted):
            crops += len(batch)
            identities.update(row["identity"] for row in batch)
            cameras.update(row["camera"] for row in batch)
            dates += [date for row in batch if (date := date_of(row)) is not None]
        cameras.pop("", None)
        return GalleryStats(
            name=self.name,
            model_sha256=self._header.model_sha256,
            dimension=self.dimension,
            created=self._header.created,
            crops=crops,
            identities=len(identities - {""}),
            cameras=dict(sorted(cameras.items())),
            bytes_on_disk=0,
            oldest=min(dates, default=None),
            **asdict(self._options),
        )

    def _redescribe(self, ids: Sequence[str], change: Callable[[Crop], Crop]) -> int:
        if not self._requests.dated:
            raise Unsupported(
                f"gallery {self.name!r} was created by the first release and does not know where "
                "an identity comes from: create a new gallery and import the crops again"
            )
        with self._writing:
            return sum(
                self._redescribe_batch(ids[at : at + _ROWS_RELABELLED], change)
                for at in range(0, len(ids), _ROWS_RELABELLED)
            )

    def _redescribe_batch(self, ids: Sequence[str], change: Callable[[Crop], Crop]) -> int:
        """Rewrite rows with changed metadata."""
        requests = self._requests
        rows = requests.matching(f"crop_id in {texts_of(ids)}", [*requests.fields, "embedding"])
        changed = [
            row | metadata_of(crop, requests.fields)
            for row in rows
            if (crop := rules.described(stored := crop_of(row), change(stored))) is not None
        ]
        if changed:
            requests.upsert(changed)
        return len(changed)

    def _without_track(self, names: Collection[str]) -> tuple[str, ...]:
        if "track" not in self._requests.fields:
            return tuple(sorted(names))
        return self._without_crop("track", names)

    def _without_crop(self, field: str, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            name
            for name in sorted(names)
            if not self._requests.any_matches(f"{field} in {texts_of([name])}")
        )


def _rank(query: NDArray[np.float32], hits: list[dict[str, Any]]) -> list[Hit]:
    if not hits:
        return []
    rows = np.array([hit["entity"]["embedding"] for hit in hits], np.float32)
    crops = [crop_of(hit["entity"]) for hit in hits]
    return best_first(map(Hit, crops, cosines(rows, query)))
