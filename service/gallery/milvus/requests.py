"""Requests to one collection of Milvus, with its errors raised as the service's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient, MilvusException

from service.errors import NotFound, Unavailable
from service.gallery.base import Filter
from service.gallery.milvus.collection import FIELDS, LATER_FIELDS, CollectionName, reachable
from service.gallery.milvus.expressions import expression, text_of, texts_of

# pymilvus puts the last id of a batch into its next expression without escaping these.
_UNESCAPED = frozenset('"\\')

Row = dict[str, Any]


class CollectionRequests:
    """Reads and writes the rows of one collection.

    Every method raises NotFound if the collection was dropped, and Unavailable if Milvus fails.

    Args:
        client: an open client.
        header: the name of an existing collection.

    Attributes:
        dimension: length of the embeddings.
        dated: whether the collection knows when crops were added.
        fields: all fields except the embedding.
        properties: the collection's properties when it was opened.
    """

    def __init__(self, client: MilvusClient, header: CollectionName) -> None:
        self._client = client
        self._gallery = header.name
        self.collection = str(header)
        with self.answering():
            client.load_collection(self.collection)
            described = client.describe_collection(self.collection)
        fields = {field["name"]: field for field in described["fields"]}
        self.dimension = int(fields["embedding"]["params"]["dim"])
        self.dated = "added" in fields
        self.fields = [*FIELDS, *(name for name in LATER_FIELDS if name in fields)]
        self.properties: dict[str, Any] = described.get("properties") or {}

    def matching(self, condition: str, fields: Sequence[str]) -> list[Row]:
        """All rows that meet a condition, with these fields."""
        with self.answering():
            return list(
                self._client.query(self.collection, filter=condition, output_fields=list(fields))
            )

    def any_matches(self, condition: str) -> bool:
        """Whether a row meets a condition."""
        with self.answering():
            found = self._client.query(
                self.collection, filter=condition, output_fields=["crop_id"], limit=1
            )
        return bool(found)

    def count(self, where: Filter) -> int:
        """Number of rows that pass a filter."""
        (row,) = self.matching(expression(where, self.fields), ["count(*)"])
        return int(row["count(*)"])

    def rows_of(self, crop_ids: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """The rows of these crops, in this order. Raises NotFound."""
        rows = {
            row["crop_id"]: row for row in self.matching(f"crop_id in {texts_of(crop_ids)}", fields)
        }
        for crop_id in crop_ids:
            if crop_id not in rows:
                raise NotFound(f"crop {crop_id!r} is not in the gallery")
        return [rows[crop_id] for crop_id in crop_ids]

    def search(self, queries: NDArray[np.float32], fetch: int, where: Filter) -> list[list[Row]]:
        """Search the rows that pass a filter, at most ``fetch`` hits per query."""
        with self.answering():
            found = self._client.search(
                self.collection,
                data=list(queries),
                limit=fetch,
                filter=expression(where, self.fields),
                # Milvus scores equal rows differently depending on their position, so the rows are
                # fetched and scored by the caller.
                output_fields=[*self.fields, "embedding"],
                search_params={"metric_type": "IP"},
            )
        return [list(hits) for hits in found]

    def scan(
        self, where: Filter, fields: Sequence[str], after: str = "", batch_size: int = 4096
    ) -> Iterator[list[Row]]:
        """Rows that pass a filter, after an id, in the order of their ids."""
        following: str | None = after
        while following is not None:
            begin, following = following, None
            for batch in self._iterate(where, fields, begin, batch_size):
                yield batch
                last = str(batch[-1]["crop_id"])
                if not _UNESCAPED.isdisjoint(last):
                    following = last
                    break

    def upsert(self, rows: list[Row]) -> None:
        """Insert or replace rows by id."""
        with self.answering():
            self._client.upsert(self.collection, rows)

    def delete(self, condition: str) -> None:
        """Delete the rows that meet a condition."""
        with self.answering():
            self._client.delete(self.collection, filter=condition)

    def set_properties(self, properties: dict[str, str]) -> None:
        """Set properties of the collection."""
        with self.answering():
            self._client.alter_collection_properties(self.collection, properties)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise errors of Milvus as errors of the service."""
        try:
            yield
        except MilvusException as error:
            with reachable():
                exists = self._client.has_collection(self.collection)
            if not exists:
                raise NotFound(f"gallery {self._gallery!r} does not exist") from error
            raise Unavailable(f"gallery {self._gallery!r}: Milvus: {error.message}") from error

    def _iterate(
        self, where: Filter, fields: Sequence[str], after: str, batch_size: int
    ) -> Iterator[list[Row]]:
        """Rows after an id, in the order of their ids, from one iterator of pymilvus."""
        parts = [expression(where, self.fields), f"crop_id > {text_of(after)}"]
        with self.answering():
            rows = self._client.query_iterator(
                self.collection,
                filter=" and ".join(filter(None, parts)),
                output_fields=list(fields),
                batch_size=batch_size,
            )
            try:
                while batch := rows.next():
                    yield batch
            finally:
                rows.close()
