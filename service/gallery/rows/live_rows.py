"""The searchable rows of a gallery in memory, and how they follow its writes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.errors import NotFound, StorageFull
from service.gallery.allocation import IN_MEMORY, Allocation
from service.gallery.base import Crop, Filter, Origin
from service.gallery.components import Components
from service.gallery.rows.view import Codes, Columns, GalleryView
from service.gallery.rules import described
from service.gallery.standardising.cameras import Lengths, Standards
from service.gallery.standardising.running import RunningStandards

_GROWTH = 1.5
_COMPACT_FROM = 1024
_COMPACT_SHARE = 1 / 6  # then old and new columns together hold at most 2.2 times the living rows


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """The rows after a write that queries do not see yet; showing them needs no more memory.

    Attributes:
        now: what queries will read.
        room: the columns of ``now``, with room to grow.
        running: the statistics after the write.
        coming: slots of the added crops; of all crops if ``moved``.
        going: ids of the removed crops.
        moved: whether the living rows moved into new columns.
    """

    now: GalleryView
    room: Columns
    running: RunningStandards
    coming: Mapping[str, int] = field(default_factory=dict)
    going: Sequence[str] = ()
    moved: bool = False


class LiveRows:
    """The rows behind the views. One thread at a time changes them, any number of threads read.

    Rows are only appended; replacing or deleting a crop marks its old slot as dead. Removing a row
    from a flat index would shift every later row, a full pass per deletion, and would change what a
    running query reads, so queries and writes would have to wait for each other. Before dead slots
    reach a sixth of all slots, the living rows move into new columns with new codes.

    A write is drafted first (``putting``, ``describing``, ``removing``) and shown afterwards, so a
    draft that fails because memory runs out changes nothing.

    Args:
        dimension: D of the embeddings.
        allocation: where the embeddings live.
    """

    def __init__(self, dimension: int, allocation: Allocation = IN_MEMORY) -> None:
        self._dimension = dimension
        self._allocation = allocation
        self._room = Columns.empty(0, dimension)
        self._slots: dict[str, int] = {}
        self._lock = threading.Lock()  # held while the view is swapped, never during a search
        self._running = RunningStandards()
        nothing = np.empty(0, np.bool_)
        self._now = GalleryView(
            self._room, nothing, [], Codes(), 0, Standards(), Lengths(), Components()
        )

    def __contains__(self, crop_id: str) -> bool:
        return crop_id in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def now(self) -> GalleryView:
        """The present view."""
        return self._now

    def select(self, where: Filter) -> tuple[GalleryView, NDArray[np.bool_]]:
        """The present view, and which of its slots pass the filter."""
        with self._lock:
            view, chosen = self._now, None
            if where.crop_ids is not None:
                chosen = [self._slots[key] for key in where.crop_ids if key in self._slots]
        mask = view.masks.get(where)
        if mask is None:
            mask = view.passing(where, chosen)
            view.masks.clear()  # only one is kept, since a mask takes one byte per crop
            view.masks[where] = mask
        return view, mask

    def find(self, crop_ids: Sequence[str]) -> tuple[GalleryView, list[int]]:
        """The present view, and the slots of these crops. Raises NotFound."""
        with self._lock:
            try:
                return self._now, [self._slots[crop_id] for crop_id in crop_ids]
            except KeyError as error:
                raise NotFound(f"crop {error.args[0]!r} is not in the gallery") from None

    def load(
        self, crops: list[Crop], vectors: NDArray[np.float32], sound: NDArray[np.bool_]
    ) -> None:
        """Fill an empty gallery in one step.

        Args:
            crops: N crops with distinct ids.
            vectors: (M, D) float32, unit rows in the first N; the rest is room to grow.
            sound: (N,) bool, which crops can be searched.
        """
        count, now = len(crops), self._now
        columns = Columns.empty(0, self._dimension)._replace(
            vectors=vectors,
            cameras=np.empty(len(vectors), np.int32),
            identities=np.empty(len(vectors), np.int32),
            timestamps=np.empty(len(vectors), np.float64),
            dates=np.empty(len(vectors), np.float64),
            tracks=np.empty(len(vectors), np.int32),
            origins=np.empty(len(vectors), np.int8),
        )
        columns.describe(0, crops, now.codes)
        room, slots = columns, np.flatnonzero(sound)
        columns, running = room.first(count), RunningStandards()
        standards = running.follow(
            columns.vectors, columns.cameras, sound, added=slots, removed=slots[:0]
        )
        coming = {crops[slot].crop_id: slot for slot in slots.tolist()}
        fresh = replace(now, columns=columns, alive=sound, crops=crops, standards=standards)
        self.show(Draft(fresh, room, running, coming, moved=True))

    def put(self, crops: Sequence[Crop], vectors: NDArray[np.float32]) -> None:
        """Append crops; an existing crop is replaced.

        Args:
            crops: N crops with distinct ids.
            vectors: (N, D) float32, unit rows.
        """
        self.show(self.putting(crops, vectors))

    def remove(self, crop_ids: Sequence[str]) -> None:
        """Remove these crops; unknown ids are ignored."""
        self.show(self.removing(crop_ids))

    def describe(self, crops: Sequence[Crop]) -> None:
        """Change the metadata of crops; unknown ids are ignored."""
        self.show(self.describing(crops))

    def putting(self, crops: Sequence[Crop], vectors: NDArray[np.float32]) -> Draft:
        """Draft the change of :meth:`put`."""
        before, replaced = self._now, self._slots_of(crop.crop_id for crop in crops)
        start, total = len(before.alive), len(before.alive) + len(crops)
        alive = np.concatenate([before.alive, np.ones(len(crops), np.bool_)])
        alive[replaced] = False
        if self._should_move(alive):
            with suppress(StorageFull):  # then the dead slots stay until there is room
                return self._moved(np.flatnonzero(alive[:start]), crops, vectors)
        room = self._grown(total)
        room.vectors[start:total] = vectors
        room.describe(start, crops, before.codes)
        columns, running = room.first(total), self._running.copied()
        standards = running.follow(
            columns.vectors, columns.cameras, alive, added=np.arange(start, total), removed=replaced
        )
        # From ``start``, not from the end: a draft that was never shown may have left crops there.
        before.crops[start:] = crops
        now = replace(before, columns=columns, alive=alive, standards=standards)
        coming = {crop.crop_id: slot for slot, crop in enumerate(crops, start)}
        return Draft(now, room, running, coming)

    def removing(self, crop_ids: Sequence[str]) -> Draft:
        """Draft the change of :meth:`remove`."""
        before, removed = self._now, np.unique(self._slots_of(crop_ids))
        alive = before.alive.copy()
        alive[removed] = False
        if self._should_move(alive):
            with suppress(StorageFull):
                return self._moved(np.flatnonzero(alive), (), before.columns.vectors[:0])
        columns, running = before.columns, self._running.copied()
        standards = running.follow(
            columns.vectors, columns.cameras, alive, added=removed[:0], removed=removed
        )
        now = replace(before, alive=alive, standards=standards)
        return Draft(now, self._room, running, going=tuple(crop_ids))

    def describing(self, crops: Sequence[Crop]) -> Draft:
        """Draft the change of :meth:`describe`.

        Running queries keep the crops and codes they began with. Both are copied, which costs a few
        bytes per crop; embeddings are not.
        """
        before, stored = self._now, [crop for crop in crops if crop.crop_id in self._slots]
        slots = self._slots_of(crop.crop_id for crop in stored)
        changed = Columns.empty(len(stored), 0)
        changed.describe(0, stored, before.codes)
        room, listed = self._room, before.crops.copy()
        for slot, crop in zip(slots.tolist(), stored, strict=True):
            listed[slot] = crop
        for name in Columns._fields[1:]:  # all but the embeddings
            old, new = getattr(room, name), getattr(changed, name)
            if not np.array_equal(old[slots], new, equal_nan=True):
                column = old.copy()
                column[slots] = new
                room = room._replace(**{name: column})
        columns, running = room.first(len(before.alive)), self._running.copied()
        standards = _follow_moves(running, before, columns, slots)
        now = replace(before, columns=columns, crops=listed, standards=standards)
        return Draft(now, room, running)

    def show(self, draft: Draft) -> None:
        """Show the latest draft to queries, completely or not at all."""
        slots = dict(draft.coming) if draft.moved else self._slots
        stood = {key: slots[key] for key in draft.coming if key in slots}
        with self._lock:
            try:
                slots.update(draft.coming)
            except BaseException:
                _take_back(slots, draft.coming, stood)
                raise
            # None of this allocates memory, so none of it can fail.
            for crop_id in draft.going:
                slots.pop(crop_id, None)
            self._slots, self._room = slots, draft.room
            self._running, self._now = draft.running, draft.now

    def labelled(self, labels: Mapping[str, str | None], origin: Origin) -> list[Crop]:
        """Stored crops with these labels applied; unknown ids are ignored."""
        crops = self._now.crops
        return [
            replace(crops[slot], identity=identity, origin=origin)
            for crop_id, identity in labels.items()
            if (slot := self._slots.get(crop_id)) is not None
        ]

    def redescribed(self, crops: Iterable[Crop]) -> list[Crop]:
        """Stored crops with this metadata applied, only those that change.

        Args:
            crops: if an id occurs twice, the last one wins; see
                :func:`service.gallery.rules.described`.
        """
        wanted = {crop.crop_id: crop for crop in crops}
        found = (
            described(self._now.crops[slot], crop)
            for crop_id, crop in wanted.items()
            if (slot := self._slots.get(crop_id)) is not None
        )
        return [crop for crop in found if crop is not None]

    def _should_move(self, alive: NDArray[np.bool_]) -> bool:
        """Whether enough slots are dead to move the living ones."""
        dead = len(alive) - int(np.count_nonzero(alive))
        if dead < _COMPACT_FROM:
            return False
        return dead >= _COMPACT_SHARE * len(alive) or len(alive) > len(self._room.cameras)

    def _grown(self, slots: int) -> Columns:
        """Columns with room for this many slots, filled with the present rows."""
        used = len(self._now.alive)
        if slots <= len(self._room.cameras):
            return self._room
        room = self._empty(max(slots, int(used * _GROWTH)))
        room.fill(self._now.columns)
        return room

    def _moved(
        self, living: NDArray[np.int64], crops: Sequence[Crop], vectors: NDArray[np.float32]
    ) -> Draft:
        """Draft new columns with the living slots and the added crops."""
        before, count = self._now, len(living)
        total = count + len(crops)
        room = self._empty(max(int(total * _GROWTH), 1))
        # Any other mode would copy all rows first.
        np.take(before.columns.vectors, living, 0, out=room.vectors[:count], mode="clip")
        room.vectors[count:total] = vectors
        listed = [before.crops[slot] for slot in living.tolist()]
        listed.extend(crops)
        codes = Codes()
        room.describe(0, listed, codes)
        columns, running = room.first(total), RunningStandards()
        alive, slots = np.ones(total, np.bool_), np.arange(total)
        standards = running.follow(
            columns.vectors, columns.cameras, alive, added=slots, removed=slots[:0]
        )
        generation, components = before.generation + 1, before.components.moved(living)
        now = GalleryView(
            columns, alive, listed, codes, generation, standards, Lengths(), components
        )
        coming = {crop.crop_id: slot for slot, crop in enumerate(listed)}
        return Draft(now, room, running, coming, moved=True)

    def _empty(self, slots: int) -> Columns:
        return Columns.empty(slots, self._dimension, self._allocation)

    def _slots_of(self, crop_ids: Iterable[str]) -> NDArray[np.int64]:
        slots = [self._slots[crop_id] for crop_id in crop_ids if crop_id in self._slots]
        return np.array(slots, np.int64)


def _take_back(slots: dict[str, int], coming: Iterable[str], stood: Mapping[str, int]) -> None:
    """Undo an interrupted update; allocates no memory."""
    for crop_id in coming:
        if crop_id in stood:
            slots[crop_id] = stood[crop_id]
        else:
            slots.pop(crop_id, None)


def _follow_moves(
    running: RunningStandards, before: GalleryView, columns: Columns, slots: NDArray[np.int64]
) -> Standards:
    """Update the statistics for crops whose camera changed."""
    old, new = before.columns.cameras, columns.cameras
    moved = slots[old[slots] != new[slots]]
    if not len(moved):
        return running.now
    without = before.alive.copy()
    without[moved] = False
    running.follow(columns.vectors, old, without, added=moved[:0], removed=moved)
    return running.follow(columns.vectors, new, before.alive, added=moved, removed=moved[:0])
