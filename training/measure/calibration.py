"""Calibrate cosines: the probability that a pair shows one person, and the service's threshold.

Genuine pairs show one identity, impostor pairs two. All pairs are across cameras, as in a search.
They must come from identities on which the network was not trained, or the scores are too good to
be true. The people in a data set's query and gallery are such identities.

Cosines are counted in steps of 1e-4. So memory use does not grow with the data, and the stated
rates hold exactly at the threshold, which is itself one of the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.model.manifest import Calibration
from training.data.datasets import Sample

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

_STEPS = 10_000  # steps between cosine 0 and 1
_COUNTERS = 2 * _STEPS + 1
_COSINES = np.round(np.arange(-_STEPS, _STEPS + 1) / _STEPS, 4)  # lower edge of each step
_BLOCK_ELEMENTS = 1 << 22  # cosines in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """Histograms of the cosines of genuine and impostor pairs.

    Attributes:
        genuine: (20001,) number of pairs of one identity whose cosine is at least
            -1 + i / 10,000 and less than one step above that.
        impostor: (20001,) the same for pairs of two identities.
    """

    genuine: Int64s
    impostor: Int64s

    def __add__(self, other: PairCounts) -> PairCounts:
        """Add the pairs of two histograms."""
        return PairCounts(self.genuine + other.genuine, self.impostor + other.impostor)


NO_PAIRS = PairCounts(np.zeros(_COUNTERS, np.int64), np.zeros(_COUNTERS, np.int64))


def count_pairs(
    query_embeddings: Float32s,
    query: Sequence[Sample],
    gallery_embeddings: Float32s,
    gallery: Sequence[Sample],
) -> PairCounts:
    """Count the cosines of all pairs of crops from different cameras.

    Query and gallery are pooled. Crops without identity are left out. At least one crop of a pair
    shows an identity of the query: whether two distractors are one person is unknown.

    Args:
        query_embeddings: (Q, D) float32, unit rows.
        query: Q samples; row i belongs to sample i.
        gallery_embeddings: (G, D) float32, unit rows.
        gallery: G samples; row i belongs to sample i.

    Returns:
        The counts.
    """
    embeddings = np.concatenate([query_embeddings, gallery_embeddings])  # (N, D)
    identities = np.array([sample.identity for sample in (*query, *gallery)])
    cameras = np.array([sample.camera for sample in (*query, *gallery)])
    searched = np.isin(identities, [sample.identity for sample in query])
    counts = NO_PAIRS
    rows = max(1, _BLOCK_ELEMENTS // max(1, len(embeddings)))
    for start in range(0, len(embeddings), rows):
        block = slice(start, start + rows)
        later = np.arange(len(embeddings)) > np.arange(start, start + rows)[:, None]
        later = later[: len(embeddings) - start]  # (rows, N): each pair once
        known = (identities[block, None] >= 0) & (identities >= 0)
        pairs = later & known & (searched[block, None] | searched)
        pairs &= cameras[block, None] != cameras
        same = identities[block, None] == identities
        cosines = embeddings[block] @ embeddings.T
        counts += PairCounts(
            count_cosines(cosines[pairs & same]), count_cosines(cosines[pairs & ~same])
        )
    return counts


def calibrate(pairs: PairCounts, data: str, *, false_match_rate: float = 0.01) -> Calibration:
    """Fit probability and threshold.

    The probability is Platt's (1999): a logistic curve over the cosine. His smoothed targets give a
    finite slope even if the cosines of genuine and impostor pairs do not overlap. Genuine and
    impostor pairs weigh half each, however many there are.

    Args:
        pairs: pairs of identities on which the network was not trained.
        data: where the pairs come from, in words.
        false_match_rate: share of impostor pairs that may reach the threshold, 0..1.

    Returns:
        The record for the manifest. Its threshold is the lowest step that meets the rate.

    Raises:
        InvalidInput: there are no genuine or no impostor pairs, genuine pairs do not score higher,
            or no threshold meets the rate.
    """
    genuine, impostor = _require_both(pairs, data)
    slope, intercept = _fit_platt(pairs)
    if not slope > 0:
        raise InvalidInput(
            f"cannot calibrate on {data}: impostor pairs score as high as genuine ones "
            f"(slope {slope:.3f})"
        )
    step, rate = _lowest_step(pairs.impostor, data, false_match_rate)
    return Calibration(
        slope=round(slope, 4),
        intercept=round(intercept, 4),
        threshold=float(_COSINES[step]),
        false_match_rate=rate,
        true_match_rate=float(_share_at_or_above(pairs.genuine)[step]),
        genuine_pairs=genuine,
        impostor_pairs=impostor,
        data=data,
    )


def calibrate_without_labels(
    impostor: Int64s, data: str, *, false_match_rate: float = 0.01
) -> Calibration:
    """Fit a threshold from pairs that are known to show two people.

    Nothing is known about genuine pairs, so there is no probability. We tried to estimate the
    genuine pairs as what all pairs across cameras have in excess of these (a mixture, fitted by
    EM): with one genuine pair in a hundred, as on CUHK03's test people, the fit found between a
    quarter and twenty times as many.

    Args:
        impostor: (20001,) counts of their cosines, from :func:`count_cosines`.
        data: where the pairs come from, in words.
        false_match_rate: share of them that may reach the threshold, 0..1.

    Returns:
        The record for the manifest, without slope, intercept and true match rate.

    Raises:
        InvalidInput: there are too few pairs for the rate, or no threshold meets it.
    """
    pairs = int(impostor.sum())
    if pairs * false_match_rate < 1:
        raise InvalidInput(
            f"cannot calibrate on {data}: {pairs:,} pairs that cannot match; a false match rate of "
            f"{false_match_rate:g} needs at least {_pairs_needed(false_match_rate)}"
        )
    step, rate = _lowest_step(impostor, data, false_match_rate)
    return Calibration(
        slope=None,
        intercept=None,
        threshold=float(_COSINES[step]),
        false_match_rate=rate,
        true_match_rate=None,
        genuine_pairs=0,
        impostor_pairs=pairs,
        data=data,
    )


def count_cosines(cosines: Float32s) -> Int64s:
    """Count cosines in steps of 1e-4.

    Args:
        cosines: (M,) float32, -1..1.

    Returns:
        (20001,) counts, as :class:`PairCounts` holds them.
    """
    # Add 1e-3 of a step, so that rounding does not move a cosine at a step to the step below.
    steps = np.floor((cosines.astype(np.float64) + 1) * _STEPS + 1e-3).astype(np.int64)
    return np.bincount(np.clip(steps, 0, _COUNTERS - 1), minlength=_COUNTERS)


def _pairs_needed(false_match_rate: float) -> str:
    return f"{math.ceil(1 / false_match_rate):,}" if false_match_rate else "a rate above 0"


def _lowest_step(impostor: Int64s, data: str, false_match_rate: float) -> tuple[int, float]:
    """The lowest step that few enough impostor pairs reach, and the share that does."""
    false_matches = _share_at_or_above(impostor)
    allowed = np.flatnonzero(false_matches <= false_match_rate)
    if not len(allowed):
        raise InvalidInput(
            f"cannot calibrate on {data}: {false_matches[-1]:.2%} of the impostor pairs have "
            f"cosine 1, {false_match_rate:.2%} may match"
        )
    return int(allowed[0]), float(false_matches[allowed[0]])


def _share_at_or_above(counts: Int64s) -> NDArray[np.float64]:
    at_or_above: NDArray[np.float64] = counts[::-1].cumsum()[::-1] / counts.sum()
    return at_or_above


def _fit_platt(pairs: PairCounts) -> tuple[float, float]:
    """Fit slope and intercept of the logistic curve."""
    # scikit-learn takes a second to import, and measuring without calibrating does not need it.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    genuine, impostor = pairs.genuine.sum(), pairs.impostor.sum()
    certain, doubtful = (genuine + 1) / (genuine + 2), 1 / (impostor + 2)  # Platt's t+ and t-
    shares = pairs.genuine / genuine, pairs.impostor / impostor
    same = certain * shares[0] + doubtful * shares[1]
    used = np.flatnonzero(same)
    other = (1 - certain) * shares[0] + (1 - doubtful) * shares[1]
    centres = np.minimum(_COSINES[used] + 0.5 / _STEPS, 1.0)
    curve = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
        np.tile(centres, 2)[:, None],
        np.repeat([1, 0], len(used)),
        sample_weight=np.concatenate([same[used], other[used]]),
    )
    return float(curve.coef_[0, 0]), float(curve.intercept_[0])


def _require_both(pairs: PairCounts, data: str) -> tuple[int, int]:
    genuine, impostor = int(pairs.genuine.sum()), int(pairs.impostor.sum())
    if not genuine or not impostor:
        raise InvalidInput(
            f"cannot calibrate on {data}: {genuine} genuine and {impostor} impostor pairs across "
            "cameras, need both"
        )
    return genuine, impostor
