"""Exact nearest rows by the cosine of standardised embeddings, without storing those embeddings.

For a standardised query q and a row x of camera c, ``cos = (x·w - w·mean_c) / length(x)`` with
``w = q / deviation_c``, which takes one extra query per camera and one number per row. Rows are
gathered camera by camera and multiplied once, with the standardised and the plain queries together:
the threshold ``least`` applies to plain cosines, since the model is calibrated for those.

The product only finds candidates. Rows that may be among the best are then standardised one by one
and scored by :mod:`service.gallery.scoring`, so an answer is the same to the last bit alone or in a
batch, and equal rows tie exactly.

Letters: Q queries, N rows that may be found, D dimensions, S slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop, Hit, StandardisedHits, StandardisedQuery
from service.gallery.scoring import cosines
from service.gallery.standardising.cameras import Lengths, Standard, Standards

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

_MARGIN = 1e-5  # more than twice the rounding error of a float32 product of unit rows
_EPSILON = 1e-7  # rounding error of a float32
_ROWS_AT_ONCE = 512  # a gathered block of this size stays in the cache
_SCORES_AT_ONCE = 1 << 23
_FEW = 4  # up to this many queries are faster to multiply one by one
_NO_LENGTH = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class StandardisedRows:
    """The part of a gallery's view that a standardised query reads.

    Attributes:
        vectors: (S, D) float32, unit rows.
        cameras: (S,) int32, code of each row's camera, -1 if unknown.
        crops: the crop of each slot.
        camera_codes: code of each camera.
        standards: the statistics in force.
        lengths: lengths of the standardised rows.
    """

    vectors: Float32s
    cameras: NDArray[np.int32]
    crops: list[Crop]
    camera_codes: dict[str, int]
    standards: Standards
    lengths: Lengths

    def standard_of(self, camera: str | None) -> Standard | None:
        """The statistics that apply to a camera; None while no camera is standardised."""
        return self.standards.of(None if camera is None else self.camera_codes.get(camera))

    def standardised(self, slots: Slots) -> Float32s:
        """(N, D) float32 standardised rows of these slots, in their order."""
        rows = np.empty((len(slots), self.vectors.shape[1]), np.float32)
        for standard, places in self._places(slots):
            rows[places] = standard.apply(self.vectors[slots[places]])
        return rows

    def _places(self, slots: Slots) -> list[tuple[Standard, Slots]]:
        """Positions within ``slots``, grouped by the statistics that apply to them."""
        return list(self.standards.split(np.arange(len(slots)), self.cameras[slots]))


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    slots: Slots  # (N,)
    plain: Float32s  # (Q, N) cosines
    low: Float32s  # (Q, N) the standardised cosine is at least this
    high: Float32s  # (Q, N) and at most this


def nearest_standardised(
    rows: StandardisedRows,
    mask: NDArray[np.bool_],
    queries: Float32s,
    cameras: Sequence[str | None],
    asked: StandardisedQuery,
) -> list[StandardisedHits] | None:
    """Find the exact nearest crops by standardised cosine.

    Args:
        rows: the gallery at one moment.
        mask: (S,) bool, slots that may be found.
        queries: (Q, D) float32, unit rows, not standardised.
        cameras: the camera that took each query, None if unknown.
        asked: number of hits and minimum plain cosine.

    Returns:
        One answer per query; None while no camera is standardised.
    """
    if not rows.standards.in_force:
        return None
    found = np.flatnonzero(mask)
    standard = np.empty_like(queries)
    for place, camera in enumerate(cameras):
        standard[place] = _standardise_query(rows, queries[place], camera)
    step = max(1, _SCORES_AT_ONCE // max(1, len(found)))
    answers: list[StandardisedHits] = []
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scan = _scan(rows, found, queries[part], standard[part])
        answers += [
            _answer(rows, scan, place, query, own, asked)
            for place, (query, own) in enumerate(zip(queries[part], standard[part], strict=True))
        ]
    return answers


def _standardise_query(rows: StandardisedRows, query: Float32s, camera: str | None) -> Float32s:
    standard = rows.standard_of(camera)
    return query if standard is None else standard.apply(query[None])[0]


def _scan(rows: StandardisedRows, found: Slots, queries: Float32s, standard: Float32s) -> _Scan:
    """Both scores of every row, with an error bound for the standardised one."""
    groups = list(rows.standards.split(found, rows.cameras))
    slots = np.concatenate([np.empty(0, np.int64), *(own for _, own in groups)])
    plain, low, high = (np.empty((len(queries), len(slots)), np.float32) for _ in range(3))
    buffer = np.empty((_ROWS_AT_ONCE, rows.vectors.shape[1]), np.float32)
    end = 0
    for group, own in groups:
        weights = standard / group.deviation  # (Q, D) float64
        offset = (weights @ group.mean).astype(np.float32)[:, None]
        slack = _slack(weights, group)[:, None]
        both = np.concatenate([weights.astype(np.float32), queries])
        for first in range(0, len(own), _ROWS_AT_ONCE):
            some = own[first : first + _ROWS_AT_ONCE]
            start, end = end, end + len(some)
            block = _gather(rows.vectors, some, buffer)
            product = _product(both, block)
            length = np.maximum(rows.lengths.of(some, block, group), _NO_LENGTH)
            score, margin = (product[: len(queries)] - offset) / length, slack / length
            low[:, start:end], high[:, start:end] = score - margin, score + margin
            plain[:, start:end] = product[len(queries) :]
    return _Scan(slots, plain, low, high)


def _gather(vectors: Float32s, slots: Slots, buffer: Float32s) -> Float32s:
    """Rows of ascending slots; not copied if they are adjacent, as after an import by camera."""
    first, last = int(slots[0]), int(slots[-1])
    if last - first == len(slots) - 1:
        return vectors[first : last + 1]
    return np.take(vectors, slots, axis=0, out=buffer[: len(slots)], mode="clip")


def _product(queries: Float32s, block: Float32s) -> Float32s:
    if len(queries) > _FEW:
        return queries @ block.T
    return np.stack([block @ query for query in queries])


def _slack(weights: NDArray[np.float64], standard: Standard) -> Float32s:
    """(Q,) bound on a score's error, from product and length, multiplied by the row's length."""
    rounding = _EPSILON * np.linalg.norm(standard.mean / standard.deviation)
    slack: Float32s = (_MARGIN * np.linalg.norm(weights, axis=1) + rounding).astype(np.float32)
    return slack


def _answer(
    rows: StandardisedRows,
    scan: _Scan,
    place: int,
    query: Float32s,
    standard: Float32s,
    asked: StandardisedQuery,
) -> StandardisedHits:
    plain, low, high = scan.plain[place], scan.low[place], scan.high[place]
    passing = np.flatnonzero(_reaches(rows, scan.slots, plain, query, asked.least))
    top_k = min(asked.top_k, len(passing))
    best, hits = scan.slots[:0], list[Hit]()
    if top_k:
        least = np.partition(low[passing], -top_k)[-top_k]
        slots = scan.slots[passing[high[passing] >= least]]
        best, hits = _best(rows, slots, query, standard, top_k)
    return StandardisedHits(
        hits=tuple(hits),
        nearest=_largest_cosine(rows, scan.slots, plain, query),
        query=standard,
        rows=rows.standardised(best[: asked.rows]),
    )


def _reaches(
    rows: StandardisedRows, slots: Slots, plain: Float32s, query: Float32s, least: float
) -> NDArray[np.bool_]:
    """Which rows have an exact plain cosine of at least ``least``."""
    if least <= -1.0:
        return np.ones(len(slots), np.bool_)
    reached = plain >= least
    close = np.flatnonzero(np.abs(plain - least) <= _MARGIN)
    reached[close] = np.array(cosines(rows.vectors[slots[close]], query)) >= least
    return reached


def _largest_cosine(
    rows: StandardisedRows, slots: Slots, plain: Float32s, query: Float32s
) -> float | None:
    if not len(plain):
        return None
    close = np.flatnonzero(plain >= plain.max() - 2 * _MARGIN)
    return max(cosines(rows.vectors[slots[close]], query))


def _best(
    rows: StandardisedRows, slots: Slots, query: Float32s, standard: Float32s, top_k: int
) -> tuple[Slots, list[Hit]]:
    """The best of some slots, by exact standardised cosine; ties in the order of crop ids."""
    scores = _standardised_cosines(rows, slots, standard)
    order = _best_first(scores, [rows.crops[slot].crop_id for slot in slots.tolist()])[:top_k]
    best = slots[order]
    plain = cosines(rows.vectors[best], query)
    return best, [
        Hit(rows.crops[slot], plain[rank], scores[order[rank]])
        for rank, slot in enumerate(best.tolist())
    ]


def _standardised_cosines(rows: StandardisedRows, slots: Slots, standard: Float32s) -> list[float]:
    """Exact standardised cosines of some slots, computed block by block."""
    scores: list[float] = []
    for start in range(0, len(slots), _ROWS_AT_ONCE):
        scores += cosines(rows.standardised(slots[start : start + _ROWS_AT_ONCE]), standard)
    return scores


def _best_first(scores: list[float], crop_ids: list[str]) -> list[int]:
    """Positions by descending score; ties in the order of crop ids."""
    falling = -np.array(scores)
    order = np.argsort(falling, kind="stable")
    ranked: list[int] = order.tolist()
    tied = np.flatnonzero(np.diff(falling[order]) == 0)
    if len(tied):
        for run in np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1):
            part = slice(int(run[0]), int(run[-1]) + 2)
            ranked[part] = sorted(ranked[part], key=crop_ids.__getitem__)
    return ranked
