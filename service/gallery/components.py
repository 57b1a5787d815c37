"""The principal components of a gallery's rows: short rows whose products bound cosines.

With an orthonormal basis of P of D dimensions, a row x is its components c plus a rest r that is
orthogonal to the basis. So ``x·q = c_x·c_q + r_x·r_q``, and by Cauchy and Schwarz the second
product is at most ``|r_x| |r_q|``. Embeddings of people vary in few directions: a tenth of the
dimensions leaves a rest of about 0.2, so most rows are ruled out by a tenth of the reading, and no
answer changes. This holds for any basis; only how much it saves depends on how well the basis fits.

Letters: Q queries, N rows, D dimensions, P components, S slots of the gallery, K slots whose
components are known.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.gallery.allocation import rows_at
from service.gallery.products import block_products
from service.machine.processors import lower_priority

Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]

FROM = 20_000
"""Rows from which on components are worth their memory."""
_SHARE = 10  # D / P
_FEWEST = 16  # components; below, a product of all dimensions costs as much
_SAMPLE = 8192
_POOR = 0.6  # mean rest from which on hardly any row would be ruled out
_LAG = 1024  # rows whose components may be missing: their cosines are computed
_GROWTH = 1.5
_REFIT = 2  # times more or fewer rows than a basis was fitted to
_ROWS_AT_ONCE = 4096
_SQUARE_ERROR = 4e-6  # relative, of the square of a rest, from float32 products and a float32 basis
_UNIT = 1e-3
_SLACK = 3e-5  # error of a product of components, from the same

_log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Components of the first slots of a gallery.

    Attributes:
        basis: (D, P) float32, orthonormal columns.
        rows: (K, P) float32 components.
        rests: (K,) float32, at least the length of what the components leave out.
        fitted_to: number of rows when the basis was computed.
    """

    basis: Float32s
    rows: Float32s
    rests: Float32s
    fitted_to: int

    def first(self, slots: Slots) -> Slots:
        """Those of (N,) ascending slots whose components are known."""
        return slots[: np.searchsorted(slots, len(self.rows))]

    def asked(self, queries: Float32s) -> tuple[Float32s, Float32s]:
        """(Q, P) components and (Q,) rests of queries, which are (Q, D) float32 of any length."""
        return _projected(queries, self.basis)

    def most(self, slots: Slots, components: Float32s, rests: Float32s) -> Float32s:
        """The most that cosines may be.

        Args:
            slots: (N,) ascending.
            components: (Q, P) float32, of the queries.
            rests: (Q,) float32, of the queries.

        Returns:
            (Q, N) float32; infinite for slots whose components are not known.
        """
        some = self.first(slots)
        most = np.full((len(components), len(slots)), np.inf, np.float32)
        known = most[:, : len(some)]
        np.multiply.outer(rests, self.rests[some], out=known)
        known += block_products(self.rows, some, components)
        known += _SLACK
        return most


class Components:
    """The components of one generation of rows; a thread of low priority computes them.

    Until they are there, and for the latest rows, queries multiply all dimensions.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Known | None = None
        self._room: tuple[Float32s, Float32s] | None = None
        self._working = False
        self._given_up_at = 0

    def of(self, vectors: Float32s) -> Known | None:
        """What is known of some rows; begins to compute what is missing.

        Args:
            vectors: (S, D) float32, unit rows of this generation; rows are only ever added.

        Returns:
            Components of the first rows; None if there are none, or they would not help.
        """
        if len(vectors) < FROM or vectors.shape[1] // _SHARE < _FEWEST:
            return None
        with self._lock:
            known = self._known
            behind = len(vectors) - (0 if known is None else len(known.rows))
            again = len(vectors) >= _GROWTH * self._given_up_at
            begin = behind > _LAG and again and not self._working
            self._working |= begin
        if begin:
            threading.Thread(
                target=self._work, args=(vectors,), name="components", daemon=True
            ).start()
        return known

    def moved(self, living: Slots) -> Components:
        """The components of the next generation, whose first rows are the living ones of this one.

        They follow the rows if the basis was fitted to about as many, and there is memory.
        Otherwise they are computed anew: an erasure must not fail for want of them.

        Args:
            living: (N,) ascending slots of this generation.
        """
        own, known = Components(), self._known
        if known is None or not _fits(known, len(living)):
            return own
        stays = known.first(living)
        try:
            own._known = replace(known, rows=known.rows[stays], rests=known.rests[stays])
        except MemoryError as error:
            _log.warning("components of %d rows are computed anew: %s", len(living), error)
        return own

    def follow(self, vectors: Float32s) -> None:
        """Compute what is missing, in this thread.

        Args:
            vectors: as of :meth:`of`.
        """
        known = self._known
        if known is None:
            sample = _sample(vectors)
            basis = _fitted(sample)
            known = Known(basis, *_projected(sample[:0], basis), len(vectors))
            if float(known.asked(sample)[1].mean()) > _POOR:
                self._given_up_at = len(vectors)
                return
        rows, rests = self._with_room(known, len(vectors))
        for start in range(len(known.rows), len(vectors), _ROWS_AT_ONCE):
            part = slice(start, min(start + _ROWS_AT_ONCE, len(vectors)))
            rows[part], rests[part] = _projected(vectors[part], known.basis)
        with self._lock:
            self._room = rows, rests
            self._known = replace(known, rows=rows[: len(vectors)], rests=rests[: len(vectors)])

    def _work(self, vectors: Float32s) -> None:
        try:
            lower_priority()
            with _one_at_a_time:
                self.follow(vectors)
        except (MemoryError, np.linalg.LinAlgError) as error:
            self._given_up_at = len(vectors)
            _log.warning("no components of %d rows, searches stay slower: %s", len(vectors), error)
        finally:
            with self._lock:
                self._working = False

    def _with_room(self, known: Known, count: int) -> tuple[Float32s, Float32s]:
        """Arrays with room for this many rows, filled with those that are known."""
        rows, rests = self._room or (known.rows, known.rests)
        if count <= len(rows):
            return rows, rests
        used = len(known.rows)
        size = count if not used else max(count, int(_GROWTH * used))
        more, longer = np.empty((size, rows.shape[1]), np.float32), np.empty(size, np.float32)
        more[:used], longer[:used] = rows[:used], rests[:used]
        return more, longer


def _fits(known: Known, rows: int) -> bool:
    """Whether a basis was computed from about as many rows as there are."""
    return known.fitted_to / _REFIT <= rows <= known.fitted_to * _REFIT


def _sample(vectors: Float32s) -> Float32s:
    """Unit rows from all over the gallery; damaged rows, which no query finds, are none."""
    step = -(-len(vectors) // _SAMPLE)
    rows = rows_at(vectors, np.arange(0, len(vectors), step))
    with np.errstate(all="ignore"):
        squared = np.einsum("nd,nd->n", rows, rows)
        sound: Float32s = rows[np.abs(squared - 1) < _UNIT]
    return sound


def _fitted(sample: Float32s) -> Float32s:
    """The directions in which a sample of rows is longest, as (D, P) orthonormal columns."""
    _, directions = np.linalg.eigh(sample.T @ sample)
    largest = directions[:, -(sample.shape[1] // _SHARE) :].astype(np.float64)
    basis: Float32s = np.linalg.qr(largest)[0].astype(np.float32)
    return np.ascontiguousarray(basis)


def _projected(rows: Float32s, basis: Float32s) -> tuple[Float32s, Float32s]:
    """Components of rows, and bounds of the lengths of their rests."""
    with np.errstate(all="ignore"):  # damaged rows may hold anything
        components = rows @ basis
        squares = np.einsum("nd,nd->n", rows, rows)
        left = np.maximum(squares - np.einsum("np,np->n", components, components), 0)
        return components, np.sqrt(left + _SQUARE_ERROR * squares)
