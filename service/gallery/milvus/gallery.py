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
from pymilvus import MilvusClient, MilvusException
from typing_extensions import override

from service.errors import NotFound, Unavailable, Unsupported
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
    StandardisedHits,
    StandardisedQuery,
)
from service.gallery.milvus.collection import (
    FIELDS,
    LATER_FIELDS,
    CollectionName,
    check_options,
    crop_of,
    date_of,
    metadata_of,
    options_property,
    reachable,
    read_options,
)
from service.gallery.milvus.expressions import expression, text_of, texts_of
from service.gallery.milvus.migration import RULES, TODAY, migrate_collection, one_of
from service.gallery.protocol import Gallery
from service.gallery.scoring import best_first, cosines
from service.gallery.unit_rows import unit_rows

_MOST_ROWS = 16384  # per search or batch, a limit of Milvus
_SPARE = 8
_MARGIN = 1e-5  # more than twice the rounding error of a float32 product
_DIGESTS_AT_ONCE = 1024  # per expression
_ROWS_RELABELLED = 1024  # per request, which includes their embeddings
# pymilvus puts the last id of a batch into its next expression without escaping these.
_UNESCAPED = frozenset('"\\')


class MilvusGallery(Gallery):
    """A gallery that is one collection of Milvus.

    Args:
        client: an open client.
        collection: an existing collection.
    """

    def __init__(self, client: MilvusClient, collection: CollectionName) -> None:
        self._client = client
        self._header = collection
        self._collection = str(collection)
        self._writing = threading.RLock()  # two upserts must not both count an id as new
        with self._answering():
            client.load_collection(self._collection)
            described = client.describe_collection(self._collection)
        fields = {field["name"]: field for field in described["fields"]}
        self._dimension = int(fields["embedding"]["params"]["dim"])
        self._dated = "added" in fields
        self._fields = [*FIELDS, *(LATER_FIELDS if self._dated else [])]
        properties = described.get("properties") or {}
        self._options = read_options(properties)
        if properties.get(RULES) != TODAY:
            stored = self._scan(Filter(), self._fields)
            migrate_collection(client, self._collection, self._fields, stored)

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
        return self._dimension

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
        if options.keep_for is not None and not self._dated:
            raise Unsupported(
                f"gallery {self.name!r} was created by the first release and does not know when "
                "crops were added: create a new gallery and import the crops again"
            )
        with self._writing, self._answering():
            self._client.alter_collection_properties(self._collection, options_property(options))
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
            embeddings, len(crops), self._dimension, lambda row: f"crop {crops[row].crop_id!r}"
        )
        rules.check_pictures(pictures, len(crops))
        now = time.time()
        rows = [
            self._to_row(rules.with_time(crops[at], now), vectors[at])
            for at in rules.last_of_each(crops)
        ]
        if not rows:
            return 0
        with self._writing, self._answering():
            known = self._client.query(
                self._collection,
                filter=f"crop_id in {texts_of(row['crop_id'] for row in rows)}",
                output_fields=["crop_id"],
            )
            self._client.upsert(self._collection, rows)
        return len(rows) - len(known)

    @override
    def get(self, crop_id: str) -> Crop:
        return crop_of(self._rows_of([crop_id], self._fields)[0])

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
        for batch in self._scan(where, self._fields, after, min(limit + 1, _MOST_ROWS)):
            crops.extend(map(crop_of, batch))
            if len(crops) > limit:
                return Page(tuple(crops[:limit]), rules.encode_cursor(crops[limit - 1].crop_id))
        return Page(tuple(crops), None)

    @override
    def crops(self, where: Filter) -> list[Crop]:
        batches = self._scan(where, self._fields, batch_size=_MOST_ROWS)
        return [crop_of(row) for batch in batches for row in batch]

    @override
    def count(self, where: Filter) -> int:
        with self._answering():
            (row,) = self._client.query(
                self._collection,
                filter=expression(where, dated=self._dated),
                output_fields=["count(*)"],
            )
        return int(row["count(*)"])

    @override
    def absent(self, where: Filter) -> Absent:
        excluded = (where.not_camera, where.own_camera)
        cameras = set(where.cameras or ()) | {name for name in excluded if name is not None}
        return Absent(
            cameras=self._without_crop("camera", cameras),
            identities=self._without_crop("identity", where.identities or ()),
            crop_ids=self._without_crop("crop_id", where.crop_ids or ()),
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
            for batch in list(self._scan(where, ["crop_id", "identity", "camera", "digest"])):
                if not dry_run:
                    with self._answering():
                        # Not with ids=, because pymilvus would not escape them.
                        gone = one_of(row["crop_id"] for row in batch)
                        self._client.delete(self._collection, filter=gone)
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
            with self._answering():
                found = self._client.query(
                    self._collection,
                    filter=f"digest in {some}",
                    output_fields=["crop_id"],
                    limit=1,
                )
            if found:
                return True
        return False

    @override
    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        rows = self._rows_of(crop_ids, ["crop_id", "embedding"])
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, self._dimension)

    @override
    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Find the exact nearest crops by cosine, at most 16384 per query."""
        rules.check_count("top_k", top_k)
        queries = unit_rows(embeddings, None, self._dimension, lambda row: f"query {row}")
        answer: list[list[Hit]] = [[] for _ in queries]
        pending, fetch = list(range(len(queries))), min(top_k + _SPARE, _MOST_ROWS)
        while pending:
            undecided = []
            found = self._search(queries[pending], fetch, where)
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
    def query_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        asked: StandardisedQuery,
    ) -> list[StandardisedHits] | None:
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
            *self._fields[len(FIELDS) :],
        ]
        for batch in self._scan(Filter(), wanted):
            crops += len(batch)
            identities.update(row["identity"] for row in batch)
            cameras.update(row["camera"] for row in batch)
            dates += [date for row in batch if (date := date_of(row)) is not None]
        cameras.pop("", None)
        return GalleryStats(
            name=self.name,
            model_sha256=self._header.model_sha256,
            dimension=self._dimension,
            created=self._header.created,
            crops=crops,
            identities=len(identities - {""}),
            cameras=dict(sorted(cameras.items())),
            bytes_on_disk=0,
            oldest=min(dates, default=None),
            **asdict(self._options),
        )

    def _redescribe(self, ids: Sequence[str], change: Callable[[Crop], Crop]) -> int:
        if not self._dated:
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
        with self._answering():
            rows = self._client.query(
                self._collection,
                filter=f"crop_id in {texts_of(ids)}",
                output_fields=[*self._fields, "embedding"],
            )
            changed = [
                row | metadata_of(crop, dated=self._dated)
                for row in rows
                if (crop := rules.described(stored := crop_of(row), change(stored))) is not None
            ]
            if changed:
                self._client.upsert(self._collection, changed)
        return len(changed)

    def _without_crop(self, field: str, names: Iterable[str]) -> tuple[str, ...]:
        with self._answering():
            return tuple(
                name
                for name in sorted(names)
                if not self._client.query(
                    self._collection,
                    filter=f"{field} in {texts_of([name])}",
                    output_fields=["crop_id"],
                    limit=1,
                )
            )

    def _search(
        self, queries: NDArray[np.float32], fetch: int, where: Filter
    ) -> list[list[dict[str, Any]]]:
        with self._answering():
            found = self._client.search(
                self._collection,
                data=list(queries),
                limit=fetch,
                filter=expression(where, dated=self._dated),
                # Milvus scores equal rows differently depending on their position, so the rows are
                # fetched and scored here.
                output_fields=[*self._fields, "embedding"],
                search_params={"metric_type": "IP"},
            )
        return [list(hits) for hits in found]

    def _to_row(self, crop: Crop, vector: NDArray[np.float32]) -> dict[str, Any]:
        return metadata_of(crop, dated=self._dated) | {"embedding": vector}

    def _rows_of(self, crop_ids: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        with self._answering():
            known = texts_of(crop_ids)
            found = self._client.query(
                self._collection, filter=f"crop_id in {known}", output_fields=fields
            )
        rows = {row["crop_id"]: row for row in found}
        for crop_id in crop_ids:
            if crop_id not in rows:
                raise NotFound(f"crop {crop_id!r} is not in the gallery")
        return [rows[crop_id] for crop_id in crop_ids]

    def _scan(
        self, where: Filter, fields: list[str], after: str = "", batch_size: int = 4096
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows that pass the filter, in the order of their ids."""
        following: str | None = after
        while following is not None:
            begin, following = following, None
            for batch in self._iterate(where, fields, begin, batch_size):
                yield batch
                last = str(batch[-1]["crop_id"])
                if not _UNESCAPED.isdisjoint(last):
                    following = last
                    break

    def _iterate(
        self, where: Filter, fields: list[str], after: str, batch_size: int
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows after an id, in the order of their ids, from one iterator of pymilvus."""
        parts = [expression(where, dated=self._dated), f"crop_id > {text_of(after)}"]
        with self._answering():
            rows = self._client.query_iterator(
                self._collection,
                filter=" and ".join(filter(None, parts)),
                output_fields=fields,
                batch_size=batch_size,
            )
            try:
                while batch := rows.next():
                    yield batch
            finally:
                rows.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except MilvusException as error:
            with reachable():
                exists = self._client.has_collection(self._collection)
            if not exists:
                raise NotFound(f"gallery {self.name!r} does not exist") from error
            raise Unavailable(f"gallery {self.name!r}: Milvus: {error.message}") from error


def _rank(query: NDArray[np.float32], hits: list[dict[str, Any]]) -> list[Hit]:
    if not hits:
        return []
    rows = np.array([hit["entity"]["embedding"] for hit in hits], np.float32)
    crops = [crop_of(hit["entity"]) for hit in hits]
    return best_first(map(Hit, crops, cosines(rows, query)))
