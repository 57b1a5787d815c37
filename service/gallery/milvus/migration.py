"""One-time migration of names and times that older releases stored in Milvus to the present rules.

A property of the collection records that it is done. Milvus has no transactions: a crash during the
migration loses no crop, and the next start repeats it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymilvus import MilvusClient, MilvusException

from service.values.names import fitting_id, fitting_name, marked_id
from service.values.timestamps import corrected

RULES = "reid.rules"
TODAY = "3"
_BATCH = 1024

_log = logging.getLogger(__name__)

Row = Mapping[str, Any]


def migrate_collection(
    client: MilvusClient, collection: str, fields: Sequence[str], batches: Iterable[Sequence[Row]]
) -> None:
    """Make names and times of a collection follow the present rules, as for galleries on disk.

    If Milvus refuses, a warning is logged and the migration is repeated at the next start.

    Args:
        client: an open client.
        collection: a loaded collection whose property :data:`RULES` is not :data:`TODAY`.
        fields: all fields except the embedding.
        batches: all rows with these fields.
    """
    try:
        changes = list(_changes(client, collection, batches))
        for at in range(0, len(changes), _BATCH):
            _replace(client, collection, fields, dict(changes[at : at + _BATCH]))
        client.alter_collection_properties(collection, {RULES: TODAY})
    except MilvusException as error:
        _log.warning("%s: names and times were not migrated: %s", collection, error.message)
        return
    if changes:
        _log.info("%s: names or times of %d crops were migrated", collection, len(changes))


def one_of(crop_ids: Iterable[str]) -> str:
    """An expression for these ids, whatever characters they contain."""
    return f"crop_id in [{', '.join(json.dumps(one, ensure_ascii=False) for one in crop_ids)}]"


def _changes(
    client: MilvusClient, collection: str, batches: Iterable[Sequence[Row]]
) -> Iterator[tuple[str, Row]]:
    """The old id and the new values of each crop that changes."""
    taken: set[str] = set()
    for row in (row for batch in batches for row in batch):
        new = {
            "crop_id": _new_id(client, collection, row["crop_id"], taken),
            # An empty text means unknown.
            "identity": fitting_name(row["identity"]) or "",
            "camera": fitting_name(row["camera"]) or "",
            "timestamp": corrected(row["timestamp"]) if row["timed"] else row["timestamp"],
        }
        if any(row[name] != value for name, value in new.items()):
            yield row["crop_id"], new


def _new_id(client: MilvusClient, collection: str, crop_id: str, taken: set[str]) -> str:
    fitting = fitting_id(crop_id)
    if fitting == crop_id:
        return crop_id
    if fitting in taken or _is_there(client, collection, fitting):
        fitting = marked_id(crop_id)
    while fitting in taken or _is_there(client, collection, fitting):
        fitting = marked_id(fitting)
    taken.add(fitting)
    return fitting


def _is_there(client: MilvusClient, collection: str, crop_id: str) -> bool:
    return bool(client.query(collection, filter=one_of([crop_id]), output_fields=["crop_id"]))


def _replace(
    client: MilvusClient, collection: str, fields: Sequence[str], changes: Mapping[str, Row]
) -> None:
    rows = client.query(collection, filter=one_of(changes), output_fields=[*fields, "embedding"])
    client.upsert(collection, [{**row, **changes[row["crop_id"]]} for row in rows])
    if moved := [old for old, new in changes.items() if new["crop_id"] != old]:
        client.delete(collection, filter=one_of(moved))
