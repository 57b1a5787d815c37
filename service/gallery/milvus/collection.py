"""A gallery's collection in Milvus: its name, its properties, and its rows as crops."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pymilvus import MilvusException

from service.errors import Unavailable, Unsupported
from service.gallery import rules
from service.gallery.base import Crop, GalleryOptions

BYTES_OF_TEXT = 800
"""Size of a text field: 200 characters in UTF-8."""
FIELDS = ["crop_id", "identity", "camera", "timed", "timestamp", "digest"]
LATER_FIELDS = ["origin", "added", "track"]
"""Fields that collections of earlier releases lack: the first one's lack all of them."""
_OPTIONS = "reid.options"
_COLLECTION = re.compile(r"reid_(?P<name>\w+)_(?P<model>[0-9a-f]{64})_(?P<created>\d+)")


@dataclass(frozen=True, slots=True)
class CollectionName:
    """The name of a collection, which describes its gallery: every Milvus keeps it.

    Attributes:
        name: the gallery's name.
        model_sha256: the model whose embeddings it holds.
        created: seconds since 1970-01-01 UTC, to the millisecond.
    """

    name: str
    model_sha256: str
    created: float

    def __str__(self) -> str:
        # Names of collections must not contain '-'.
        escaped = self.name.replace("_", "_u").replace("-", "_d")
        return f"reid_{escaped}_{self.model_sha256}_{round(self.created * 1000)}"

    @classmethod
    def parse(cls, collection: str) -> CollectionName | None:
        """Read a collection's name; None if it is not a gallery's."""
        found = _COLLECTION.fullmatch(collection)
        if found is None:
            return None
        name = found["name"].replace("_d", "-").replace("_u", "_")
        return cls(name, found["model"], int(found["created"]) / 1000)


def check_options(options: GalleryOptions) -> None:
    """Check the options of a gallery in Milvus.

    Raises:
        InvalidInput: an option breaks its rule.
        Unsupported: crops are to be stored.
    """
    rules.check_options(options)
    if options.store_crops:
        raise Unsupported(
            "store_crops: Milvus stores embeddings only; unset REID_MILVUS_URI to keep galleries "
            "in the data folder instead"
        )


def options_property(options: GalleryOptions) -> dict[str, str]:
    """The property of a collection that holds the options."""
    return {_OPTIONS: json.dumps(asdict(options))}


def read_options(properties: Mapping[str, Any]) -> GalleryOptions:
    """Read the options from a collection's properties."""
    stored = properties.get(_OPTIONS)
    return GalleryOptions() if stored is None else GalleryOptions(**json.loads(stored))


def date_of(row: dict[str, Any]) -> float | None:
    """The timestamp of a row's crop, or the time it was added if it has none."""
    return float(row["timestamp"]) if row["timed"] else _added(row)


def _added(row: dict[str, Any]) -> float | None:
    return float(row["added"]) if "added" in row else None


def crop_of(row: dict[str, Any]) -> Crop:
    """The crop of a row."""
    return Crop(
        crop_id=row["crop_id"],
        identity=row["identity"] or None,
        camera=row["camera"] or None,
        timestamp=float(row["timestamp"]) if row["timed"] else None,
        digest=row["digest"] or None,
        origin=row.get("origin", "given"),
        added=_added(row),
        track=row.get("track") or None,
    )


def metadata_of(crop: Crop, fields: Collection[str]) -> dict[str, Any]:
    """The fields of a crop's row, except its embedding.

    Args:
        crop: the crop.
        fields: those that the collection has.

    Raises:
        Unsupported: the crop has a track, and the collection has no field for it.
    """
    if crop.track is not None and "track" not in fields:
        raise Unsupported(
            f"crop {crop.crop_id!r}: track: its gallery was created in Milvus by an earlier "
            "release, which stored no tracks; create a new gallery and import the crops again, or "
            "leave track out"
        )
    # Milvus before 2.5 has no null. An empty text, which no crop may have, means unknown.
    values = {
        "crop_id": crop.crop_id,
        "identity": crop.identity or "",
        "camera": crop.camera or "",
        "timed": crop.timestamp is not None,
        "timestamp": crop.timestamp or 0.0,
        "digest": crop.digest or "",
        "origin": crop.origin,
        "added": crop.added,
        "track": crop.track or "",
    }
    return {name: value for name, value in values.items() if name in fields}


@contextmanager
def reachable() -> Iterator[None]:
    """Raise an error of Milvus as ``Unavailable``."""
    try:
        yield
    except MilvusException as error:
        raise Unavailable(f"Milvus: {error.message}") from error
