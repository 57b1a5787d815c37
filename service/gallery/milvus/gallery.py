"""One gallery in Milvus: a collection, its rows and its filter expressions.

Only what every Milvus since 2.3 and ``milvus-lite`` share is used: a VARCHAR key, a FLOAT_VECTOR
with an exact FLAT index by inner product, and scalar expressions. What differs from the local
store: an upsert is as atomic as Milvus makes one request, a relabelling writes whole rows again in
batches, ``stats`` reads the metadata of all crops, and there are neither pictures nor snapshots.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException

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
from service.gallery.beyond_columns import end_of_prefix, is_storable
from service.gallery.milvus.mending import RULES, TODAY, mend_collection, one_of
from service.gallery.scoring import best_first, cosines
from service.values.names import is_name

BYTES_OF_TEXT = 800
"""Of a text field: 200 characters in UTF-8."""
_MOST_ROWS = 16384  # of one search or one batch, a limit of Milvus
_SPARE = 8
_MARGIN = 1e-5  # more than twice the rounding of a float32 product
_DIGESTS_AT_ONCE = 1024  # that are looked for in one expression
_ROWS_RELABELLED = 1024  # at once: they travel with their embeddings
_FIELDS = ["crop_id", "identity", "camera", "timed", "timestamp", "digest"]
_LATER_FIELDS = ["origin", "added"]  # collections of the first release lack them
_NO_CROP = "crop_id in []"
# pymilvus puts the last id of a batch into its next expression as it is, without escaping these.
_UNESCAPED = frozenset('"\\')
_OPTIONS = "reid.options"
_COLLECTION = re.compile(r"reid_(?P<name>\w+)_(?P<model>[0-9a-f]{64})_(?P<created>\d+)")


@dataclass(frozen=True, slots=True)
class CollectionName:
    """What a collection's name says of its gallery: no other field survives every Milvus.

    Attributes:
        name: the gallery's.
        model_sha256: the model whose embeddings it holds.
        created: seconds since 1970-01-01 UTC, to the millisecond.
    """

    name: str
    model_sha256: str
    created: float

    def __str__(self) -> str:
        # Collections may not have '-' in their names.
        escaped = self.name.replace("_", "_u").replace("-", "_d")
        return f"reid_{escaped}_{self.model_sha256}_{round(self.created * 1000)}"

    @classmethod
    def parse(cls, collection: str) -> CollectionName | None:
        """Read a collection's name; None for one that is no gallery."""
        found = _COLLECTION.fullmatch(collection)
        if found is None:
            return None
        name = found["name"].replace("_d", "-").replace("_u", "_")
        return cls(name, found["model"], int(found["created"]) / 1000)


class MilvusGallery:
    """One collection; its methods are those of :class:`service.gallery.base.Gallery`.

    Args:
        client: an open client.
        collection: which collection; must exist.
    """

    def __init__(self, client: MilvusClient, collection: CollectionName) -> None:
        self._client = client
        self._header = collection
        self._collection = str(collection)
        self._writing = threading.RLock()  # so that two upserts do not both count an id as new
        with self._answering():
            client.load_collection(self._collection)
            described = client.describe_collection(self._collection)
        fields = {field["name"]: field for field in described["fields"]}
        self._dimension = int(fields["embedding"]["params"]["dim"])
        self._dated = "added" in fields
        self._fields = [*_FIELDS, *(_LATER_FIELDS if self._dated else [])]
        properties = described.get("properties") or {}
        self._options = _read_options(properties)
        if properties.get(RULES) != TODAY:
            stored = self._scan(Filter(), self._fields)
            mend_collection(client, self._collection, self._fields, stored)

    @property
    def name(self) -> str:
        """The gallery's name."""
        return self._header.name

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        return self._header.model_sha256

    @property
    def dimension(self) -> int:
        """Length of its embeddings."""
        return self._dimension

    @property
    def options(self) -> GalleryOptions:
        """What its owner decided."""
        return self._options

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the gallery's lock in this process; another service on Milvus is not kept out."""
        with self._writing:
            yield

    def configure(self, options: GalleryOptions) -> None:
        """Change the options, which Milvus keeps among the collection's properties."""
        check_options(options)
        if options.keep_for is not None and not self._dated:
            raise Unsupported(
                f"gallery {self.name!r}: its collection is of the first release and does not know "
                "when crops were added: create a gallery anew and import the crops again"
            )
        with self._writing, self._answering():
            self._client.alter_collection_properties(self._collection, options_property(options))
            self._options = options

    def upsert(
        self,
        crops: Sequence[Crop],
        embeddings: NDArray[np.float32],
        pictures: Sequence[bytes] | None = None,
    ) -> int:
        """Insert or replace crops by id; pictures are not kept."""
        crops = [rules.checked_crop(crop) for crop in crops]
        vectors = rules.unit_rows(
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
                filter=f"crop_id in {_texts(row['crop_id'] for row in rows)}",
                output_fields=["crop_id"],
            )
            self._client.upsert(self._collection, rows)
        return len(rows) - len(known)

    def get(self, crop_id: str) -> Crop:
        """One crop. Raises NotFound."""
        return _to_crop(self._rows_of([crop_id], self._fields)[0])

    def picture(self, crop_id: str) -> bytes:
        """Milvus keeps no pictures. Raises Unsupported."""
        raise Unsupported(
            f"gallery {self.name!r} is kept in Milvus, which stores no pictures ({crop_id!r}): "
            "keep the galleries in the data folder instead, without REID_MILVUS_URI"
        )

    def pictured(self, where: Filter) -> set[str]:
        """None: Milvus keeps no pictures."""
        del where
        return set()

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids."""
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        crops: list[Crop] = []
        for batch in self._scan(where, self._fields, after, min(limit + 1, _MOST_ROWS)):
            crops.extend(map(_to_crop, batch))
            if len(crops) > limit:
                return Page(tuple(crops[:limit]), rules.encode_cursor(crops[limit - 1].crop_id))
        return Page(tuple(crops), None)

    def crops(self, where: Filter) -> list[Crop]:
        """Every crop that passes the filter, in the order of their ids."""
        batches = self._scan(where, self._fields, batch_size=_MOST_ROWS)
        return [_to_crop(row) for batch in batches for row in batch]

    def count(self, where: Filter) -> int:
        """How many crops pass the filter."""
        with self._answering():
            (row,) = self._client.query(
                self._collection,
                filter=_expression(where, dated=self._dated),
                output_fields=["count(*)"],
            )
        return int(row["count(*)"])

    def absent(self, where: Filter) -> Absent:
        """Which cameras, identities and crop ids of a filter no crop has: a question per name."""
        excluded = (where.not_camera, where.own_camera)
        cameras = set(where.cameras or ()) | {name for name in excluded if name is not None}
        return Absent(
            cameras=self._without_crop("camera", cameras),
            identities=self._without_crop("identity", where.identities or ()),
            crop_ids=self._without_crop("crop_id", where.crop_ids or ()),
        )

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> int:
        """Set identities, batch by batch: each batch all or none."""
        labels = rules.checked_labels(labels)

        def labelled(stored: Crop) -> Crop:
            return replace(stored, identity=labels[stored.crop_id], origin=origin)

        return self._redescribe(list(labels), labelled)

    def describe(self, crops: Sequence[Crop]) -> int:
        """Change what is known of stored crops, batch by batch: each batch all or none."""
        wanted = {crop.crop_id: crop for crop in map(rules.checked_crop, crops)}
        return self._redescribe(list(wanted), lambda stored: wanted[stored.crop_id])

    def delete(self, where: Filter, *, dry_run: bool = False) -> Receipt:
        """Delete what passes the filter, or only tell what that would be."""
        cameras, identities, crops = Counter[str](), set[str](), 0
        crop_ids, digests = set[str](), set[str]()
        with self._writing:
            for batch in list(self._scan(where, ["crop_id", "identity", "camera", "digest"])):
                if not dry_run:
                    with self._answering():
                        # Not by ids=: pymilvus would not escape them.
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
        """Whether a crop has one of these digests; Milvus looks through all rows for it."""
        wanted = sorted(digests)
        for start in range(0, len(wanted), _DIGESTS_AT_ONCE):
            some = _texts(wanted[start : start + _DIGESTS_AT_ONCE])
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

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of these crops, in this order. Raises NotFound."""
        rows = self._rows_of(crop_ids, ["crop_id", "embedding"])
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, self._dimension)

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine; ``top_k`` beyond 16384 is not given."""
        rules.check_count("top_k", top_k)
        queries = rules.unit_rows(embeddings, None, self._dimension, lambda row: f"query {row}")
        answer: list[list[Hit]] = [[] for _ in queries]
        pending, fetch = list(range(len(queries))), min(top_k + _SPARE, _MOST_ROWS)
        while pending:
            undecided = []
            found = self._search(queries[pending], fetch, where)
            for query, hits in zip(pending, found, strict=True):
                # Rows left out may tie with the last wanted one, and come first by their ids.
                cut = len(hits) == fetch < _MOST_ROWS
                if cut and hits[-1]["distance"] >= hits[top_k - 1]["distance"] - _MARGIN:
                    undecided.append(query)
                else:
                    answer[query] = _rank(queries[query], hits)[:top_k]
            pending, fetch = undecided, min(4 * fetch, _MOST_ROWS)
        return answer

    def query_standardised(
        self,
        embeddings: NDArray[np.float32],
        cameras: Sequence[str | None],
        asked: StandardisedQuery,
    ) -> list[StandardisedHits] | None:
        """Milvus scores rows as they are stored. Raises Unsupported."""
        del embeddings, cameras, asked  # the protocol's; Milvus is not asked
        raise Unsupported(
            f"gallery {self.name!r}: Milvus scores embeddings as they are stored and cannot take "
            "out a camera's statistics; search without standardise, or keep the gallery locally"
        )

    def stats(self) -> GalleryStats:
        """Counts at this moment; the size on disk is Milvus's own business and given as 0."""
        crops, identities, cameras = 0, set[str](), Counter[str]()
        dates: list[float] = []
        wanted = [
            "crop_id",
            "identity",
            "camera",
            "timed",
            "timestamp",
            *self._fields[len(_FIELDS) :],
        ]
        for batch in self._scan(Filter(), wanted):
            crops += len(batch)
            identities.update(row["identity"] for row in batch)
            cameras.update(row["camera"] for row in batch)
            dates += [date for row in batch if (date := _date_of(row)) is not None]
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
                f"gallery {self.name!r}: its collection is of the first release and cannot say "
                "where an identity comes from: create a gallery anew and import the crops again"
            )
        with self._writing:
            return sum(
                self._redescribe_batch(ids[at : at + _ROWS_RELABELLED], change)
                for at in range(0, len(ids), _ROWS_RELABELLED)
            )

    def _redescribe_batch(self, ids: Sequence[str], change: Callable[[Crop], Crop]) -> int:
        """Write rows again as they are, but for what is known of their crops."""
        with self._answering():
            rows = self._client.query(
                self._collection,
                filter=f"crop_id in {_texts(ids)}",
                output_fields=[*self._fields, "embedding"],
            )
            changed = [
                row | self._metadata(crop)
                for row in rows
                if (crop := rules.described(stored := _to_crop(row), change(stored))) is not None
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
                    filter=f"{field} in {_texts([name])}",
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
                filter=_expression(where, dated=self._dated),
                # Milvus scores equal rows differently, depending on where they stand: so the rows
                # come along and are scored here.
                output_fields=[*self._fields, "embedding"],
                search_params={"metric_type": "IP"},
            )
        return [list(hits) for hits in found]

    def _to_row(self, crop: Crop, vector: NDArray[np.float32]) -> dict[str, Any]:
        return self._metadata(crop) | {"embedding": vector}

    def _metadata(self, crop: Crop) -> dict[str, Any]:
        # Milvus before 2.5 has no null: an empty text, which no crop may have, stands for unknown.
        later = {"origin": crop.origin, "added": crop.added} if self._dated else {}
        return later | {
            "crop_id": crop.crop_id,
            "identity": crop.identity or "",
            "camera": crop.camera or "",
            "timed": crop.timestamp is not None,
            "timestamp": crop.timestamp or 0.0,
            "digest": crop.digest or "",
        }

    def _rows_of(self, crop_ids: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        with self._answering():
            known = _texts(crop_ids)
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
        """Rows in the order of their ids."""
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
        """Rows after an id, in the order of their ids, as one iterator of pymilvus gives them."""
        parts = [_expression(where, dated=self._dated), f"crop_id > {_text(after)}"]
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


def check_options(options: GalleryOptions) -> None:
    """Accept the options of a gallery in Milvus.

    Raises:
        InvalidInput: an option breaks its rule.
        Unsupported: crops are to be stored.
    """
    rules.check_options(options)
    if options.store_crops:
        raise Unsupported(
            "store_crops: Milvus keeps embeddings only; keep the galleries in the data folder "
            "instead, without REID_MILVUS_URI"
        )


def options_property(options: GalleryOptions) -> dict[str, str]:
    """The collection's property that holds the options."""
    return {_OPTIONS: json.dumps(asdict(options))}


def _read_options(properties: Mapping[str, Any]) -> GalleryOptions:
    stored = properties.get(_OPTIONS)
    return GalleryOptions() if stored is None else GalleryOptions(**json.loads(stored))


def _date_of(row: dict[str, Any]) -> float | None:
    return float(row["timestamp"]) if row["timed"] else _added(row)


def _added(row: dict[str, Any]) -> float | None:
    return float(row["added"]) if "added" in row else None


def _to_crop(row: dict[str, Any]) -> Crop:
    return Crop(
        crop_id=row["crop_id"],
        identity=row["identity"] or None,
        camera=row["camera"] or None,
        timestamp=float(row["timestamp"]) if row["timed"] else None,
        digest=row["digest"] or None,
        origin=row.get("origin", "given"),
        added=_added(row),
    )


def _rank(query: NDArray[np.float32], hits: list[dict[str, Any]]) -> list[Hit]:
    if not hits:
        return []
    rows = np.array([hit["entity"]["embedding"] for hit in hits], np.float32)
    crops = [_to_crop(hit["entity"]) for hit in hits]
    return best_first(map(Hit, crops, cosines(rows, query)))


def _expression(where: Filter, *, dated: bool) -> str:
    parts = [
        f"{field} in {_texts(chosen)}"
        for field, chosen in (
            ("camera", where.cameras),
            ("identity", where.identities),
            ("crop_id", where.crop_ids),
        )
        if chosen is not None
    ]
    excluded = [name for name in (where.not_camera, where.own_camera) if name is not None]
    if excluded:
        parts.append(f"camera not in {_texts(excluded)}")
    if where.since is not None:
        parts.append(f"timed == true and timestamp >= {_number(where.since)}")
    if where.until is not None:
        parts.append(f"timed == true and timestamp < {_number(where.until)}")
    if where.has_identity is not None:
        parts.append(f'identity {"!=" if where.has_identity else "=="} ""')
    if where.expired_before is not None:
        parts.append(_expired(_number(where.expired_before), dated=dated))
    if where.id_prefix is not None:
        parts.append(_beginning_with(where.id_prefix))
    for comparison, bound in ((">=", where.added_since), ("<", where.added_until)):
        if bound is not None:
            parts.append(f"added {comparison} {_number(bound)}" if dated else _NO_CROP)
    return " and ".join(parts)


def _beginning_with(prefix: str) -> str:
    """A range of ids: ``like`` would read some characters of the prefix as wildcards."""
    if not is_storable(prefix):
        return _NO_CROP
    end = end_of_prefix(prefix)
    return f"crop_id >= {_text(prefix)}" + ("" if end is None else f" and crop_id < {_text(end)}")


def _expired(bound: str, *, dated: bool) -> str:
    taken = f"(timed == true and timestamp < {bound})"
    return f"({taken} or (timed == false and added < {bound}))" if dated else taken


def _texts(texts: Iterable[str]) -> str:
    """A list in an expression, without what no crop can have and an expression cannot say."""
    return f"[{', '.join(_text(text) for text in texts if is_name(text))}]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    return repr(min(max(float(value), -1e300), 1e300))


@contextmanager
def reachable() -> Iterator[None]:
    """Turn a refusal by Milvus into ``Unavailable``."""
    try:
        yield
    except MilvusException as error:
        raise Unavailable(f"Milvus: {error.message}") from error
