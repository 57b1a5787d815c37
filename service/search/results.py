"""What a search answers: matches, and how sure each one is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from service.errors import ReidError
from service.gallery.base import Crop
from service.model.manifest import Calibration
from service.search.ranking import Candidate, Found, Ranking, group
from service.search.shots import Miss, Query, Shot


@dataclass(frozen=True, slots=True)
class Match:
    """A crop that reached ``min_score``.

    Attributes:
        rank: 1 is the best.
        crop: what the gallery knows of it.
        score: cosine with the query, -1..1.
        probability: that both show the same identity, where the model is calibrated and one
            picture makes the query.
        standardised_score: cosine of the standardised embeddings, where it ranked the match.
        rerank_distance: k-reciprocal distance, smaller is closer, where re-ranking was asked for
            and the crop was among the candidates.
        identity_score: the score of its identity, where grouping was asked for.
        group_size: crops of this identity that made the score: the found ones for ``best``, all
            that pass the filter for ``mean`` and ``top3``.
    """

    rank: int
    crop: Crop
    score: float
    probability: float | None
    standardised_score: float | None
    rerank_distance: float | None
    identity_score: float | None
    group_size: int | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Attributes:
        images: indices of the uploads that made the query.
        crop_ids: the stored crops that made it.
        status: ``unknown`` says that no crop reached ``min_score``; ``error`` that the picture
            could not be used.
        matches: best first.
        nearest: the best cosine there was, whether or not it reached ``min_score``.
        nearest_probability: that it means the same identity, known as a match's is.
        error: what is wrong with the picture.
        considered: crops that took part after the filters; None where the picture could not be
            used.
    """

    images: tuple[int, ...]
    crop_ids: tuple[str, ...]
    status: Literal["matched", "unknown", "error"]
    matches: tuple[Match, ...] = ()
    nearest: float | None = None
    nearest_probability: float | None = None
    error: ReidError | None = None
    considered: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What a cosine means: where matches begin, and how sure one is.

    Attributes:
        min_score: least cosine of a match; None lets everything match.
        calibration: the model's, where it has one.
    """

    min_score: float | None
    calibration: Calibration | None

    @classmethod
    def of(cls, min_score: float | None, calibration: Calibration | None) -> Line:
        """The line that was asked for, or else the model's threshold."""
        if min_score is not None or calibration is None:
            return cls(min_score, calibration)
        return cls(calibration.threshold, calibration)

    @property
    def least(self) -> float:
        """Least cosine of a match."""
        return -math.inf if self.min_score is None else self.min_score

    def probability(self, score: float) -> float | None:
        """That a cosine means the same identity, where the model is calibrated."""
        return None if self.calibration is None else self.calibration.probability(score)


@dataclass(frozen=True, slots=True)
class Answered:
    """One query, and what became of it.

    Attributes:
        query: what was searched for.
        found: what it found.
        candidates: the same in the order of the answer, re-ranked where that was asked for.
        considered: how many crops took part.
    """

    query: Query
    found: Found
    candidates: Sequence[Candidate]
    considered: int


def result_of(answered: Answered, line: Line, ranking: Ranking) -> SearchResult:
    """Draw the line, group, and number the matches of one query.

    Args:
        answered: the query and what it found.
        line: where matches begin.
        ranking: how many matches, and whether they are grouped.

    Returns:
        The result.
    """
    query, found = answered.query, answered.found
    if len(query.shots) > 1:
        line = replace(line, calibration=None)  # fitted on pairs of single crops: too sure here
    matching = [candidate for candidate in answered.candidates if candidate.hit.score >= line.least]
    if ranking.identity_score is not None:
        matching = group(matching, found, ranking.identity_score)
    matches = tuple(
        _match(rank, candidate, line)
        for rank, candidate in enumerate(matching[: ranking.top_k], start=1)
    )
    return SearchResult(
        images=tuple(shot.image for shot in query.shots if shot.image is not None),
        crop_ids=tuple(shot.crop_id for shot in query.shots if shot.crop_id is not None),
        status="matched" if matches else "unknown",
        matches=matches,
        nearest=found.nearest,
        nearest_probability=None if found.nearest is None else line.probability(found.nearest),
        considered=answered.considered,
    )


def _match(rank: int, candidate: Candidate, line: Line) -> Match:
    score = candidate.hit.score
    return Match(
        rank=rank,
        crop=candidate.hit.crop,
        score=score,
        probability=line.probability(score),
        standardised_score=candidate.hit.standardised,
        rerank_distance=candidate.rerank_distance,
        identity_score=candidate.identity_score,
        group_size=candidate.group_size,
    )


def failed(miss: Miss) -> SearchResult:
    """The result of a picture that cannot be searched for."""
    images = () if miss.image is None else (miss.image,)
    crop_ids = () if miss.crop_id is None else (miss.crop_id,)
    return SearchResult(images, crop_ids, "error", error=miss.error)


def in_order(
    asked: Sequence[Shot | Miss], answers: Sequence[SearchResult], *, combine: bool
) -> list[SearchResult]:
    """Answers and errors in the order of the request; the answer of all comes first."""
    if combine:
        return [*answers, *(failed(entry) for entry in asked if isinstance(entry, Miss))]
    waiting = iter(answers)
    return [failed(entry) if isinstance(entry, Miss) else next(waiting) for entry in asked]
