"""One gallery in Milvus: a collection, its rows and its filter expressions.

Only what every Milvus since 2.3 and ``milvus-lite`` share is used: a VARCHAR key, a FLOAT_VECTOR
with an exact FLAT index by inner product, and scalar expressions. What differs from the local
store: an upsert is as atomic as Milvus makes one request, and ``stats`` reads the metadata of all
crops.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException

from service.errors import NotFound, Unavailable
from service.gallery import rules
from service.gallery.base import Crop, Filter, GalleryStats, Hit, Page
from service.gallery.scoring import best_first, cosines

BYTES_OF_TEXT = 800
"""Of a text field: 200 characters in UTF-8."""
_MOST_ROWS = 16384  # of one search or one batch, a limit of Milvus
_SPARE = 8
_MARGIN = 1e-5  # more than twice the rounding of a float32 product
_FIELDS = ["crop_id", "identity", "camera", "timed", "timestamp", "digest"]
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
        self._writing = threading.Lock()  # so that two upserts do not both count an id as new
        with self._answering():
            client.load_collection(self._collection)
            fields = client.describe_collection(self._collection)["fields"]
        self._dimension = int(
            next(field["params"]["dim"] for field in fields if field["name"] == "embedding")
        )

    @property
    def name(self) -> str:
        """The gallery's name."""
        return self._header.name

    @property
    def model_sha256(self) -> str:
        """The model whose embeddings it holds."""
        return self._header.model_sha256

    def upsert(self, crops: Sequence[Crop], embeddings: NDArray[np.float32]) -> int:
        """Insert or replace crops by id.

        Args:
            crops: N crops; when an id occurs twice the last one wins.
            embeddings: (N, D) float32, unit rows; row i belongs to crop i.

        Returns:
            How many ids were new.

        Raises:
            InvalidInput: a crop or an embedding breaks its rule.
            Unavailable: Milvus refused the write.
        """
        for crop in crops:
            rules.check_crop(crop)
        vectors = rules.unit_rows(
            embeddings, len(crops), self._dimension, lambda row: f"crop {crops[row].crop_id!r}"
        )
        rows = [_to_row(crops[at], vectors[at]) for at in rules.last_of_each(crops)]
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
        """One crop.

        Args:
            crop_id: its id.

        Returns:
            The crop.

        Raises:
            NotFound: it is not in the gallery.
        """
        return _to_crop(self._rows_of([crop_id], _FIELDS)[0])

    def page(self, where: Filter, limit: int, cursor: str | None = None) -> Page:
        """Crops that pass the filter, in the order of their ids.

        Args:
            where: which crops to list.
            limit: at most this many, >= 1.
            cursor: of the page before; None for the first.

        Returns:
            The page.

        Raises:
            InvalidInput: a broken cursor, or a limit below one.
        """
        rules.check_count("limit", limit)
        after = "" if cursor is None else rules.decode_cursor(cursor)
        crops: list[Crop] = []
        for batch in self._scan(where, _FIELDS, after, min(limit + 1, _MOST_ROWS)):
            crops.extend(map(_to_crop, batch))
            if len(crops) > limit:
                return Page(tuple(crops[:limit]), rules.encode_cursor(crops[limit - 1].crop_id))
        return Page(tuple(crops), None)

    def delete(self, where: Filter) -> int:
        """Delete what passes the filter.

        Args:
            where: which crops; the empty filter deletes all.

        Returns:
            How many.

        Raises:
            Unavailable: Milvus refused the write.
        """
        deleted = 0
        with self._writing:
            for batch in list(self._scan(where, ["crop_id"])):
                with self._answering():
                    ids = [row["crop_id"] for row in batch]
                    self._client.delete(self._collection, ids=ids)
                deleted += len(batch)
        return deleted

    def embeddings(self, crop_ids: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of these crops.

        Args:
            crop_ids: N ids.

        Returns:
            (N, D) float32, unit rows, in this order.

        Raises:
            NotFound: an id is not in the gallery.
        """
        rows = self._rows_of(crop_ids, ["crop_id", "embedding"])
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, self._dimension)

    def query(self, embeddings: NDArray[np.float32], top_k: int, where: Filter) -> list[list[Hit]]:
        """Exact nearest crops by cosine.

        Args:
            embeddings: (Q, D) float32, unit rows.
            top_k: at most this many hits a row, 1..16384; more are not given.
            where: which crops take part.

        Returns:
            Q lists of hits, best first; ties in the order of crop ids.

        Raises:
            InvalidInput: wrong shape, a non-finite or non-unit row, top_k below one.
        """
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

    def stats(self) -> GalleryStats:
        """Counts at this moment; the size on disk is Milvus's own business and given as 0."""
        crops, identities, cameras = 0, set[str](), dict[str, int]()
        for batch in self._scan(Filter(), ["crop_id", "identity", "camera"]):
            crops += len(batch)
            identities.update(row["identity"] for row in batch)
            for row in batch:
                cameras[row["camera"]] = cameras.get(row["camera"], 0) + 1
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
        )

    def _search(
        self, queries: NDArray[np.float32], fetch: int, where: Filter
    ) -> list[list[dict[str, Any]]]:
        with self._answering():
            found = self._client.search(
                self._collection,
                data=list(queries),
                limit=fetch,
                filter=_expression(where),
                # Milvus scores equal rows differently, depending on where they stand: so the rows
                # come along and are scored here.
                output_fields=[*_FIELDS, "embedding"],
                search_params={"metric_type": "IP"},
            )
        return [list(hits) for hits in found]

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
        """Rows in the order of their ids, as an iterator of Milvus gives them."""
        parts = [_expression(where), f"crop_id > {_text(after)}"]
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


def _to_row(crop: Crop, vector: NDArray[np.float32]) -> dict[str, Any]:
    # Milvus before 2.5 has no null: an empty text, which no crop may have, stands for unknown.
    return {
        "crop_id": crop.crop_id,
        "identity": crop.identity or "",
        "camera": crop.camera or "",
        "timed": crop.timestamp is not None,
        "timestamp": crop.timestamp or 0.0,
        "digest": crop.digest or "",
        "embedding": vector,
    }


def _to_crop(row: dict[str, Any]) -> Crop:
    return Crop(
        crop_id=row["crop_id"],
        identity=row["identity"] or None,
        camera=row["camera"] or None,
        timestamp=float(row["timestamp"]) if row["timed"] else None,
        digest=row["digest"] or None,
    )


def _rank(query: NDArray[np.float32], hits: list[dict[str, Any]]) -> list[Hit]:
    if not hits:
        return []
    rows = np.array([hit["entity"]["embedding"] for hit in hits], np.float32)
    crops = [_to_crop(hit["entity"]) for hit in hits]
    return best_first(map(Hit, crops, cosines(rows, query)))


def _expression(where: Filter) -> str:
    parts = [
        f"{field} in {_texts(chosen)}"
        for field, chosen in (
            ("camera", where.cameras),
            ("identity", where.identities),
            ("crop_id", where.crop_ids),
        )
        if chosen is not None
    ]
    if where.not_camera is not None:
        parts.append(f"camera not in {_texts([where.not_camera])}")
    if where.since is not None:
        parts.append(f"timed == true and timestamp >= {_number(where.since)}")
    if where.until is not None:
        parts.append(f"timed == true and timestamp < {_number(where.until)}")
    return " and ".join(parts)


def _texts(texts: Iterable[str]) -> str:
    """A list in an expression, without what no crop can have and an expression cannot say."""
    return f"[{', '.join(_text(text) for text in texts if text and text.isprintable())}]"


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
