"""What can be asked of a gallery's SQLite file without loading it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from service.errors import NotFound
from service.gallery.base import Crop, Filter, Receipt
from service.gallery.disk.conditions import as_json, condition
from service.gallery.disk.pictures import veiled
from service.machine.sqlite import answering, connect

FIELDS = "crop_id, identity, camera, timestamp, digest, origin, added, track"

_PICTURE = """
SELECT data, picture_key FROM crops JOIN pictures ON pictures.crop = crops.id WHERE crop_id = ?
"""
_COUNTS = """
SELECT count(*), count(picture_key), count(DISTINCT identity),
    min(coalesce(timestamp, added)) FROM crops
"""


@dataclass(frozen=True, slots=True)
class MatchingCrops:
    """Crops that pass a filter, and the receipt for deleting them."""

    crop_ids: list[str]
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of crops, pictures and names in a gallery."""

    crops: int
    pictures: int
    identities: int
    oldest: float | None
    cameras: dict[str, int]


class GalleryReader:
    """Answers questions about one gallery's file; safe to use from several threads.

    Each question opens a connection of its own, so that it waits neither for a write nor for
    another question. Every method raises Unavailable if SQLite cannot read the file.

    Args:
        path: an existing gallery file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def pictured(self, where: Filter) -> set[str]:
        """Ids of the crops that pass the filter and have a stored picture."""
        expression, values = condition(where)
        statement = f"SELECT crop_id FROM crops WHERE {expression} AND picture_key IS NOT NULL"  # noqa: S608 - fixed texts, values are bound
        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            return {crop_id for (crop_id,) in reader.execute(statement, values)}

    def matching(self, where: Filter) -> MatchingCrops:
        """Find the crops that pass a filter, and what deleting them would remove."""
        expression, values = condition(where)
        statement = (
            "SELECT crop_id, identity, camera, digest, picture_key IS NOT NULL FROM crops "  # noqa: S608 - fixed texts, values are bound
            f"WHERE {expression}"
        )
        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            rows = reader.execute(statement, values).fetchall()
        names = frozenset(row[1] for row in rows if row[1] is not None)
        receipt = Receipt(
            crops=len(rows),
            pictures=sum(pictured for *_, pictured in rows),
            identities=len(names),
            cameras=dict(sorted(Counter(row[2] for row in rows if row[2] is not None).items())),
            crop_ids=frozenset(row[0] for row in rows),
            names=names,
            digests=frozenset(row[3] for row in rows if row[3] is not None),
        )
        return MatchingCrops([crop_id for crop_id, *_ in rows], receipt)

    def page(self, where: Filter, after: str, limit: int, hidden: Sequence[str]) -> list[Crop]:
        """List crops in the order of their ids.

        Args:
            where: which crops to list.
            after: only ids greater than this one; empty for the first page.
            limit: most crops.
            hidden: ids to leave out.
        """
        expression, values = condition(where)
        statement = (
            f"SELECT {FIELDS} FROM crops "  # noqa: S608 - fixed texts, values are bound
            f"WHERE {expression} AND crop_id > ? "
            "AND crop_id NOT IN (SELECT value FROM json_each(?)) ORDER BY crop_id LIMIT ?"
        )

        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            rows = reader.execute(statement, (*values, after, as_json(hidden), limit))
            return [Crop(*row) for row in rows]

    def picture(self, crop_id: str) -> bytes:
        """The stored picture of a crop. Raises NotFound if none is stored."""
        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            row = reader.execute(_PICTURE, [crop_id]).fetchone()
        if row is None:
            raise NotFound(f"no picture of crop {crop_id!r} is stored")
        return veiled(*row)

    def holds(self, digests: Collection[str]) -> bool:
        """Whether a crop has one of these digests."""
        statement = "SELECT 1 FROM crops WHERE digest IN (SELECT value FROM json_each(?)) LIMIT 1"
        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            return reader.execute(statement, [as_json(digests)]).fetchone() is not None

    def counts(self) -> Counts:
        """Count without loading anything."""
        with answering(self.path), closing(connect(self.path, "ro")) as reader:
            crops, pictures, identities, oldest = reader.execute(_COUNTS).fetchone()
            cameras = reader.execute(
                "SELECT camera, count(*) FROM crops WHERE camera IS NOT NULL GROUP BY camera "
                "ORDER BY camera"
            ).fetchall()
        return Counts(crops, pictures, identities, oldest, dict(cameras))
