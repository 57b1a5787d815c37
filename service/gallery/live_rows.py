"""A gallery in memory: rows that never change, and a moment of it that a query can hold on to."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound
from service.gallery.base import Crop, Filter, Origin
from service.gallery.running_standards import RunningStandards
from service.gallery.standardise import Lengths, Standards
from service.gallery.standardised_search import StandardisedRows

_UNKNOWN = -1
_GROWTH = 1.5
_COMPACT_FROM = 1024
_COMPACT_SHARE = 0.2


class Columns(NamedTuple):
    """What a query reads of each slot, one array a field.

    Attributes:
        vectors: (S, D) float32, unit rows.
        cameras: (S,) int32, a code for each camera, -1 where unknown.
        identities: (S,) int32, a code for each identity, -1 where unknown.
        timestamps: (S,) float64 seconds, NaN where unknown.
        dates: (S,) float64 seconds, the timestamp or where it is unknown the time the crop was
            added; NaN where neither is known.
    """

    vectors: NDArray[np.float32]
    cameras: NDArray[np.int32]
    identities: NDArray[np.int32]
    timestamps: NDArray[np.float64]
    dates: NDArray[np.float64]

    @classmethod
    def empty(cls, slots: int, dimension: int) -> Columns:
        """Room for so many slots."""
        return cls(
            np.empty((slots, dimension), np.float32),
            np.empty(slots, np.int32),
            np.empty(slots, np.int32),
            np.empty(slots, np.float64),
            np.empty(slots, np.float64),
        )

    def first(self, count: int) -> Columns:
        """The first slots, without a copy."""
        return Columns(
            self.vectors[:count],
            self.cameras[:count],
            self.identities[:count],
            self.timestamps[:count],
            self.dates[:count],
        )

    def fill(self, other: Columns) -> None:
        """Copy shorter columns to the start of these."""
        count = len(other.cameras)
        self.vectors[:count] = other.vectors
        self.cameras[:count] = other.cameras
        self.identities[:count] = other.identities
        self.timestamps[:count] = other.timestamps
        self.dates[:count] = other.dates


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A gallery at one moment, safe to read without a lock.

    Attributes:
        columns: S slots; a slot once written never changes, but for identities, of which a
            relabelling makes a new column.
        alive: (S,) bool, False where the crop was replaced or deleted since.
        crops: the crop of each slot; longer than S once the gallery has grown.
        camera_codes: code of each camera.
        identity_codes: code of each identity.
        generation: counts compactions; slots of two generations have nothing in common.
        standards: statistics of the cameras, in force at this moment.
        lengths: lengths of the standardised rows of this generation.
    """

    columns: Columns
    alive: NDArray[np.bool_]
    crops: list[Crop]
    camera_codes: dict[str, int]
    identity_codes: dict[str, int]
    generation: int
    standards: Standards
    lengths: Lengths

    @property
    def standardised(self) -> StandardisedRows:
        """What a query by standardised embeddings reads."""
        vectors, cameras = self.columns.vectors, self.columns.cameras
        return StandardisedRows(
            vectors, cameras, self.crops, self.camera_codes, self.standards, self.lengths
        )

    def passing(self, where: Filter, chosen: Sequence[int] | None) -> NDArray[np.bool_]:
        """Which slots a query may find.

        Args:
            where: the filter; ``crop_ids`` is answered by ``chosen``.
            chosen: slots of ``where.crop_ids``, None where it is not given.

        Returns:
            (S,) bool.
        """
        mask = self.alive
        if where.cameras is not None:
            mask = mask & _has_code(self.columns.cameras, where.cameras, self.camera_codes)
        if where.identities is not None:
            mask = mask & _has_code(self.columns.identities, where.identities, self.identity_codes)
        if where.not_camera is not None and where.not_camera in self.camera_codes:
            mask = mask & (self.columns.cameras != self.camera_codes[where.not_camera])
        if where.since is not None:
            mask = mask & (self.columns.timestamps >= where.since)
        if where.until is not None:
            mask = mask & (self.columns.timestamps < where.until)
        if where.has_identity is not None:
            mask = mask & ((self.columns.identities != _UNKNOWN) == where.has_identity)
        if where.expired_before is not None:
            mask = mask & (self.columns.dates < where.expired_before)
        if chosen is not None:
            among = np.zeros(len(mask), np.bool_)
            among[np.asarray(chosen, np.int64)] = True
            mask = mask & among
        return mask

    def count_cameras(self) -> dict[str, int]:
        """Crops of each camera, by its name."""
        counts = np.bincount(self.columns.cameras[self.alive] + 1, minlength=1)[1:]
        names = sorted((name, code) for name, code in tuple(self.camera_codes.items()))
        return {
            name: int(counts[code]) for name, code in names if code < len(counts) and counts[code]
        }

    def count_identities(self) -> int:
        """Distinct identities."""
        codes = self.columns.identities[self.alive]
        return len(np.unique(codes[codes != _UNKNOWN]))

    def oldest(self) -> float | None:
        """Least date of a crop, None where none has any."""
        dates = self.columns.dates[self.alive]
        least = np.fmin.reduce(dates, initial=np.inf)
        return float(least) if least < np.inf else None


class LiveRows:
    """The rows behind the snapshots. One thread changes them at a time, any number reads.

    Rows are only ever appended; replacing or deleting a crop marks its old slot dead. Removing a
    row from a flat index instead would shift every later row, a full pass for one deletion, and
    would change what a running query reads, so that queries and writes had to wait for each other.
    Once dead slots make up a fifth, the living move into fresh columns and the codes start anew.

    Args:
        dimension: D of the embeddings.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._room = Columns.empty(0, dimension)
        self._slots: dict[str, int] = {}
        self._lock = threading.Lock()  # held while a snapshot is swapped, never during a search
        self._running = RunningStandards()
        nothing = np.empty(0, np.bool_)
        self._now = Snapshot(
            self._room, nothing, [], {}, {}, generation=0, standards=Standards(), lengths=Lengths()
        )

    def __contains__(self, crop_id: str) -> bool:
        return crop_id in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def now(self) -> Snapshot:
        """The gallery as it is."""
        return self._now

    def select(self, where: Filter) -> tuple[Snapshot, NDArray[np.bool_]]:
        """The gallery as it is, and which of its slots pass the filter."""
        with self._lock:
            snapshot, chosen = self._now, None
            if where.crop_ids is not None:
                chosen = [self._slots[key] for key in where.crop_ids if key in self._slots]
        return snapshot, snapshot.passing(where, chosen)

    def find(self, crop_ids: Sequence[str]) -> tuple[Snapshot, list[int]]:
        """The gallery as it is, and the slots of these crops. Raises NotFound."""
        with self._lock:
            try:
                return self._now, [self._slots[crop_id] for crop_id in crop_ids]
            except KeyError as error:
                raise NotFound(f"crop {error.args[0]!r} is not in the gallery") from None

    def load(
        self, crops: list[Crop], vectors: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> None:
        """Fill an empty gallery at once.

        Args:
            crops: N crops with distinct ids.
            vectors: (M, D) float32, unit rows in the first N; the others are room to grow.
            sound: (N,) bool, which crops take part.
        """
        count, now = len(crops), self._now
        room = Columns(
            vectors,
            np.empty(len(vectors), np.int32),
            np.empty(len(vectors), np.int32),
            np.empty(len(vectors), np.float64),
            np.empty(len(vectors), np.float64),
        )
        room.cameras[:count] = _codes((crop.camera for crop in crops), now.camera_codes)
        room.identities[:count] = _codes((crop.identity for crop in crops), now.identity_codes)
        # An array of objects turns None into NaN by itself.
        room.timestamps[:count] = np.array([crop.timestamp for crop in crops], np.float64)
        room.dates[:count] = np.array([crop.added for crop in crops], np.float64)
        timed = ~np.isnan(room.timestamps[:count])
        room.dates[:count][timed] = room.timestamps[:count][timed]
        columns, slots = room.first(count), np.flatnonzero(sound)
        standards = self._running.follow(
            columns.vectors, columns.cameras, sound, added=slots, removed=slots[:0]
        )
        self._room = room
        self._slots = {crops[slot].crop_id: slot for slot in slots.tolist()}
        self._now = replace(now, columns=columns, alive=sound, crops=crops, standards=standards)

    def reserve(self, count: int) -> None:
        """Make room for more rows now, so that appending them cannot fail for want of memory."""
        used = len(self._now.alive)
        if used + count > len(self._room.cameras):
            room = Columns.empty(max(used + count, int(used * _GROWTH)), self._dimension)
            room.fill(self._now.columns)
            self._room = room

    def put(self, crops: Sequence[Crop], vectors: NDArray[np.float32]) -> None:
        """Append crops; one that is already there is replaced.

        Args:
            crops: N crops with distinct ids.
            vectors: (N, D) float32, unit rows.
        """
        self.reserve(len(crops))
        before = self._now
        start, total = len(before.alive), len(before.alive) + len(crops)
        self._room.vectors[start:total] = vectors
        for slot, crop in enumerate(crops, start):
            self._room.cameras[slot] = _code(crop.camera, before.camera_codes)
            self._room.identities[slot] = _code(crop.identity, before.identity_codes)
            self._room.timestamps[slot] = _number(crop.timestamp)
            self._room.dates[slot] = _number(
                crop.added if crop.timestamp is None else crop.timestamp
            )
        alive = np.concatenate([before.alive, np.ones(len(crops), np.bool_)])
        replaced = self._slots_of(crop.crop_id for crop in crops)
        alive[replaced] = False
        before.crops.extend(crops)
        columns = self._room.first(total)
        standards = self._running.follow(
            columns.vectors, columns.cameras, alive, added=np.arange(start, total), removed=replaced
        )
        with self._lock:
            self._slots.update((crop.crop_id, slot) for slot, crop in enumerate(crops, start))
            self._now = replace(before, columns=columns, alive=alive, standards=standards)
        self._compact_if_due()

    def differing(self, labels: Mapping[str, str | None], origin: Origin) -> dict[str, str | None]:
        """Those labels that would change a crop, in identity or origin."""
        crops = self._now.crops
        return {
            crop_id: identity
            for crop_id, identity in labels.items()
            if (slot := self._slots.get(crop_id)) is not None
            and (crops[slot].identity, crops[slot].origin) != (identity, origin)
        }

    def relabel(self, labels: Mapping[str, str | None], origin: Origin) -> None:
        """Set identities; one whose crop is not there is passed over.

        Running queries keep the crops and codes they began with: both are copied, which costs a
        few bytes a crop, while embeddings stay where they are.

        Args:
            labels: the new identity of each crop id.
            origin: where they come from.
        """
        before = self._now
        identities, crops = self._room.identities.copy(), before.crops.copy()
        for crop_id, identity in labels.items():
            slot = self._slots.get(crop_id)
            if slot is not None:
                identities[slot] = _code(identity, before.identity_codes)
                crops[slot] = replace(crops[slot], identity=identity, origin=origin)
        with self._lock:
            self._room = self._room._replace(identities=identities)
            self._now = replace(before, columns=self._room.first(len(before.alive)), crops=crops)

    def remove(self, crop_ids: Sequence[str]) -> None:
        """Forget these crops; one that is not there is passed over."""
        alive, columns = self._now.alive.copy(), self._now.columns
        removed = np.unique(self._slots_of(crop_ids))
        alive[removed] = False
        standards = self._running.follow(
            columns.vectors, columns.cameras, alive, added=removed[:0], removed=removed
        )
        with self._lock:
            for crop_id in crop_ids:
                self._slots.pop(crop_id, None)
            self._now = replace(self._now, alive=alive, standards=standards)
        self._compact_if_due()

    def _slots_of(self, crop_ids: Iterable[str]) -> NDArray[np.int64]:
        slots = [self._slots[crop_id] for crop_id in crop_ids if crop_id in self._slots]
        return np.array(slots, np.int64)

    def _compact_if_due(self) -> None:
        now = self._now
        dead = len(now.alive) - len(self._slots)
        if dead < _COMPACT_FROM or dead < _COMPACT_SHARE * len(now.alive):
            return
        living = np.flatnonzero(now.alive)
        fresh = LiveRows(self._dimension)
        fresh.put([now.crops[slot] for slot in living], now.columns.vectors[living])
        with self._lock:
            self._room, self._slots, self._running = fresh._room, fresh._slots, fresh._running
            self._now = replace(fresh.now(), generation=now.generation + 1)


def _code(label: str | None, codes: dict[str, int]) -> int:
    return _UNKNOWN if label is None else codes.setdefault(label, len(codes))


def _codes(labels: Iterable[str | None], codes: dict[str, int]) -> list[int]:
    code = codes.setdefault
    return [_UNKNOWN if label is None else code(label, len(codes)) for label in labels]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _has_code(
    column: NDArray[np.int32], labels: frozenset[str], codes: dict[str, int]
) -> NDArray[np.bool_]:
    return np.isin(column, [codes[label] for label in labels if label in codes])
