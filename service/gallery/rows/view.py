"""A view of a gallery in memory: one moment of it, which a query can read without a lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import IN_MEMORY, Allocation
from service.gallery.base import Absent, Crop, Filter, Origin
from service.gallery.beyond_columns import holds, reads_crops
from service.gallery.components import Components
from service.gallery.standardising.cameras import Lengths, Standards
from service.gallery.standardising.rows import StandardisedRows

_UNKNOWN = -1
_ORIGINS: dict[str, int] = {origin: code for code, origin in enumerate(get_args(Origin))}


@dataclass(frozen=True, slots=True)
class Codes:
    """The numbers that stand for labels in columns; new labels are added to them.

    Attributes:
        cameras: code of each camera.
        identities: code of each identity.
        tracks: code of each name of a track, whatever its camera.
    """

    cameras: dict[str, int] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)
    tracks: dict[str, int] = field(default_factory=dict)


class Columns(NamedTuple):
    """What a query reads of each slot, one array per field.

    Attributes:
        vectors: (S, D) float32, unit rows.
        cameras: (S,) int32, a code per camera, -1 if unknown.
        identities: (S,) int32, a code per identity, -1 if unknown.
        timestamps: (S,) float64 seconds, NaN if unknown.
        dates: (S,) float64 seconds: the timestamp, or the time the crop was added if it has none;
            NaN if neither is known.
        tracks: (S,) int32, a code per name of a track, -1 if unknown.
        origins: (S,) int8, a code per source of an identity.
    """

    vectors: NDArray[np.float32]
    cameras: NDArray[np.int32]
    identities: NDArray[np.int32]
    timestamps: NDArray[np.float64]
    dates: NDArray[np.float64]
    tracks: NDArray[np.int32]
    origins: NDArray[np.int8]

    @classmethod
    def empty(cls, slots: int, dimension: int, allocation: Allocation = IN_MEMORY) -> Columns:
        """Room for this many slots; embeddings take memory only once they are written."""
        if slots and dimension:
            vectors = allocation.room_for(slots, dimension)
        else:
            vectors = np.empty((slots, dimension), np.float32)
        return cls(
            vectors,
            np.empty(slots, np.int32),
            np.empty(slots, np.int32),
            np.empty(slots, np.float64),
            np.empty(slots, np.float64),
            np.empty(slots, np.int32),
            np.empty(slots, np.int8),
        )

    def first(self, count: int) -> Columns:
        """The first ``count`` slots, without copying."""
        return Columns(
            self.vectors[:count],
            self.cameras[:count],
            self.identities[:count],
            self.timestamps[:count],
            self.dates[:count],
            self.tracks[:count],
            self.origins[:count],
        )

    def describe(self, start: int, crops: Sequence[Crop], codes: Codes) -> None:
        """Write the metadata of crops from slot ``start`` on; new labels get a code."""
        part = slice(start, start + len(crops))
        self.cameras[part] = _coded((crop.camera for crop in crops), codes.cameras)
        self.identities[part] = _coded((crop.identity for crop in crops), codes.identities)
        self.tracks[part] = _coded((crop.track for crop in crops), codes.tracks)
        self.origins[part] = [_ORIGINS[crop.origin] for crop in crops]
        # NumPy converts None to NaN.
        self.timestamps[part] = np.array([crop.timestamp for crop in crops], np.float64)
        self.dates[part] = np.array(
            [crop.added if crop.timestamp is None else crop.timestamp for crop in crops],
            np.float64,
        )

    def fill(self, other: Columns) -> None:
        """Copy shorter columns to the start of these columns."""
        count = len(other.cameras)
        self.vectors[:count] = other.vectors
        self.cameras[:count] = other.cameras
        self.identities[:count] = other.identities
        self.timestamps[:count] = other.timestamps
        self.dates[:count] = other.dates
        self.tracks[:count] = other.tracks
        self.origins[:count] = other.origins


@dataclass(frozen=True, slots=True)
class GalleryView:
    """A gallery at one moment, safe to read without a lock.

    Attributes:
        columns: S slots. A written slot never changes; a change of metadata makes new columns.
        alive: (S,) bool, False if the crop was replaced or deleted since.
        crops: the crop of each slot; longer than S once the gallery has grown.
        codes: of the labels in the columns.
        generation: number of compactions; slots of different generations are unrelated.
        standards: the camera statistics in force at this moment.
        lengths: lengths of the standardised rows of this generation.
        components: principal components of this generation.
        masks: the result of the latest filter, since a search uses the same filter several times.
    """

    columns: Columns
    alive: NDArray[np.bool_]
    crops: list[Crop]
    codes: Codes
    generation: int
    standards: Standards
    lengths: Lengths
    components: Components
    masks: dict[Filter, NDArray[np.bool_]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    @property
    def standardised(self) -> StandardisedRows:
        """What a query by standardised embeddings reads."""
        return StandardisedRows(
            self.columns.vectors,
            self.columns.cameras,
            self.columns.identities,
            self.crops,
            self.codes.cameras,
            self.codes.identities,
            self.standards,
            self.lengths,
            self.components,
        )

    def passing(self, where: Filter, chosen: Sequence[int] | None) -> NDArray[np.bool_]:
        """Which slots a query may find.

        Args:
            where: the filter; its ``crop_ids`` are given by ``chosen``.
            chosen: slots of ``where.crop_ids``; None if the filter has none.

        Returns:
            (S,) bool.
        """
        mask, columns, codes = self.alive, self.columns, self.codes
        for column, labels, known in (
            (columns.cameras, where.cameras, codes.cameras),
            (columns.tracks, where.tracks, codes.tracks),
            (columns.identities, where.identities, codes.identities),
            (columns.origins, where.origins, _ORIGINS),
        ):
            if labels is not None:
                mask = mask & _has_code(column, labels, known)
        for excluded in (where.not_camera, where.own_camera):
            if excluded is not None and excluded in codes.cameras:
                mask = mask & (columns.cameras != codes.cameras[excluded])
        if where.since is not None:
            mask = mask & (columns.timestamps >= where.since)
        if where.until is not None:
            mask = mask & (columns.timestamps < where.until)
        if where.has_identity is not None:
            mask = mask & ((columns.identities != _UNKNOWN) == where.has_identity)
        if where.expired_before is not None:
            mask = mask & (columns.dates < where.expired_before)
        if chosen is not None:
            among = np.zeros(len(mask), np.bool_)
            among[np.asarray(chosen, np.int64)] = True
            mask = mask & among
        return self._held_by_crops(mask, where) if reads_crops(where) else mask

    def absent(self, where: Filter) -> Absent:
        """Cameras, tracks and identities in a filter that no crop has."""
        cameras = set(where.cameras or ()) | {where.not_camera, where.own_camera}
        return Absent(
            cameras=self._without_crop(self.columns.cameras, cameras, self.codes.cameras),
            identities=self._without_crop(
                self.columns.identities, set(where.identities or ()), self.codes.identities
            ),
            tracks=self._without_crop(
                self.columns.tracks, set(where.tracks or ()), self.codes.tracks
            ),
        )

    def _without_crop(
        self, column: NDArray[np.int32], names: Iterable[str | None], codes: dict[str, int]
    ) -> tuple[str, ...]:
        """The names that no living crop has; codes of deleted crops remain for a while."""
        asked = sorted(name for name in names if name is not None)
        known = {name: codes[name] for name in asked if name in codes}
        used: set[int] = set()
        if known:
            of_living = column[self.alive]
            used.update(np.unique(of_living[np.isin(of_living, list(known.values()))]).tolist())
        return tuple(name for name in asked if known.get(name) not in used)

    def _held_by_crops(self, mask: NDArray[np.bool_], where: Filter) -> NDArray[np.bool_]:
        """The slots of a mask whose crops meet the conditions that columns cannot answer."""
        slots = np.flatnonzero(mask)
        kept = [slot for slot in slots.tolist() if holds(self.crops[slot], where)]
        passing = np.zeros(len(mask), np.bool_)
        passing[kept] = True
        return passing

    def count_cameras(self) -> dict[str, int]:
        """Number of crops per camera."""
        counts = np.bincount(self.columns.cameras[self.alive] + 1, minlength=1)[1:]
        names = sorted((name, code) for name, code in tuple(self.codes.cameras.items()))
        return {
            name: int(counts[code]) for name, code in names if code < len(counts) and counts[code]
        }

    def count_identities(self) -> int:
        """Number of distinct identities."""
        codes = self.columns.identities[self.alive]
        return len(np.unique(codes[codes != _UNKNOWN]))

    def oldest(self) -> float | None:
        """Earliest date of a crop; None if no crop has a date."""
        dates = self.columns.dates[self.alive]
        least = np.fmin.reduce(dates, initial=np.inf)
        return float(least) if least < np.inf else None


def _coded(labels: Iterable[str | None], codes: dict[str, int]) -> list[int]:
    code = codes.setdefault
    return [_UNKNOWN if label is None else code(label, len(codes)) for label in labels]


def _has_code(
    column: NDArray[np.int32] | NDArray[np.int8], labels: Collection[str], codes: dict[str, int]
) -> NDArray[np.bool_]:
    return np.isin(column, [codes[label] for label in labels if label in codes])
