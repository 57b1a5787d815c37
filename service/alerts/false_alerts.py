"""From which score on a watch raises few false alerts, by what a gallery itself shows of strangers.

Two people in one camera's view at one time are two people, and so are two in the views of cameras
that lie far apart. Their tracks are compared as a watch compares: by the two most alike crops. The
scores tell, without a label, how alike strangers look to this model on these cameras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import TooLarge
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.gallery.tracks import Span, spans_of, track_of

MOST_CROPS = 100_000
_MOST_TRACKS = 2_000  # the latest; more would say the same
_MOST_PAIRS = 20_000
_CROPS_OF_A_TRACK = 4
_TAIL = 0.1  # share of the highest scores, to which the tail is fitted
LEAST_PAIRS = 300  # 30 in the tail
_RESAMPLES, _SEED = 200, 1
_INTERVAL = (0.05, 0.95)
_DAY = 86_400.0

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Question:
    """What a watch is to keep.

    Attributes:
        people: how many people it looks for, >= 1.
        rate: share of the tracks of other people that may raise an alert, above 0 and below 1.
        apart: cameras so far apart that nobody is in two of their views at one time.
        where: only tracks of these crops.
    """

    people: int
    rate: float
    apart: frozenset[str]
    where: Filter


@dataclass(frozen=True, slots=True)
class Strangers:
    """Tracks that are known to show two people, pair by pair.

    Attributes:
        tracks: T spans.
        pairs: (P, 2) places of tracks.
        scores: (P,) the best cosine of a crop of one and a crop of the other.
    """

    tracks: Sequence[Span]
    pairs: Int64s
    scores: Float64s

    @property
    def per_day(self) -> float | None:
        """How many tracks the cameras see in a day; None if all are of one moment."""
        if not self.tracks:
            return None
        first, last = (min(one.first for one in self.tracks), max(one.last for one in self.tracks))
        return None if last <= first else len(self.tracks) * _DAY / (last - first)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The score from which a watch keeps a rate of false alerts.

    Attributes:
        score: the estimate, a cosine of at most 1.
        low: 5 % of the estimates from resampled tracks are below it.
        high: 5 % of them are above it.
    """

    score: float
    low: float
    high: float


def strangers_in(gallery: Gallery, question: Question) -> Strangers:
    """Compare the tracks of a gallery that show two people.

    Args:
        gallery: the gallery.
        question: which tracks, and which cameras are far apart.

    Returns:
        The latest of them.

    Raises:
        TooLarge: too many crops pass the filter.
    """
    count = gallery.count(question.where)
    if count > MOST_CROPS:
        raise TooLarge(
            f"{count} crops pass the filter, and at most {MOST_CROPS} are read: give since, or "
            "cameras"
        )
    crops = gallery.crops(question.where)
    tracks = sorted(spans_of(crops), key=lambda one: (one.first, one.camera, one.track))
    tracks = tracks[-_MOST_TRACKS:]
    pairs = _met(tracks, question.apart)[-_MOST_PAIRS:]
    return Strangers(tracks, pairs, _scores(gallery, tracks, crops, pairs))


def estimate(strangers: Strangers, question: Question) -> Estimate | None:
    """Estimate the score from which a watch keeps a rate of false alerts.

    Of N people who are looked for, each resembles a stranger by chance, so that 1 - (1 - p)^N of
    the strangers' tracks raise an alert if a share p of all pairs scores as high. The share is read
    off the pairs, or beyond their highest tenth off an exponential tail fitted to it (peaks over a
    threshold: Coles, An Introduction to Statistical Modeling of Extreme Values, 2001, chapter 4).
    Cosines end at 1, so the true tail is shorter and the estimate rather too high.

    Args:
        strangers: of :func:`strangers_in`.
        question: how many people, and which rate.

    Returns:
        The estimate; None if there are fewer than :data:`LEAST_PAIRS` pairs.
    """
    if len(strangers.scores) < LEAST_PAIRS:
        return None
    share = -math.expm1(math.log1p(-question.rate) / question.people)
    order = np.argsort(-strangers.scores, kind="stable")
    scores, pairs = strangers.scores[order], strangers.pairs[order]
    generator = np.random.default_rng(_SEED)
    count = len(strangers.tracks)
    resampled = []
    for _ in range(_RESAMPLES):  # tracks, not pairs: the pairs of one track resemble each other
        drawn = np.bincount(generator.integers(count, size=count), minlength=count)
        weights = drawn[pairs].prod(axis=1).astype(float)
        if weights.any():
            resampled.append(_score_at(scores, weights, share))
    low, high = np.quantile(resampled, _INTERVAL)
    return Estimate(_score_at(scores, np.ones(len(scores)), share), float(low), float(high))


def _score_at(scores: Float64s, weights: Float64s, share: float) -> float:
    """The score that a share of the weighted pairs exceeds; the highest score comes first."""
    above = np.cumsum(weights) / weights.sum()
    # The first score at which at least a share is reached.
    reached, begin = (
        float(scores[min(int(np.searchsorted(above, part)), len(scores) - 1)])
        for part in (share, _TAIL)
    )
    if share >= _TAIL:
        return reached
    over = scores > begin
    # A resampled tail may have lost all its pairs.
    mean = np.average(scores[over] - begin, weights=weights[over]) if weights[over].any() else 0.0
    return min(1.0, begin + float(mean) * math.log(_TAIL / share))


def _met(tracks: Sequence[Span], apart: frozenset[str]) -> Int64s:
    """The pairs of tracks that show two people, in the order of the later one's beginning."""
    pairs: list[tuple[int, int]] = []
    present: list[int] = []
    for place, one in enumerate(tracks):
        present = [other for other in present if tracks[other].last >= one.first]
        pairs += [(other, place) for other in present if _are_two(tracks[other], one, apart)]
        present.append(place)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _are_two(one: Span, other: Span, apart: frozenset[str]) -> bool:
    """Whether tracks that overlap in time show two people."""
    if one.camera == other.camera:
        return one.meets(other)
    return one.camera in apart and other.camera in apart


def _scores(
    gallery: Gallery, tracks: Sequence[Span], crops: Sequence[Crop], pairs: Int64s
) -> Float64s:
    own: dict[tuple[str | None, str], list[str]] = {}
    for crop in crops:
        if (track := track_of(crop)) is not None:
            own.setdefault(track, []).append(crop.crop_id)
    rows = {
        place: gallery.embeddings(_spread(own[tracks[place].camera, tracks[place].track]))
        for place in np.unique(pairs).tolist()
    }
    return np.array([float((rows[one] @ rows[other].T).max()) for one, other in pairs.tolist()])


def _spread(crop_ids: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(crop_ids) - 1, min(len(crop_ids), _CROPS_OF_A_TRACK))
    return [crop_ids[place] for place in np.unique(places.astype(int)).tolist()]
