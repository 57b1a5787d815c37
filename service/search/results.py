"""What a search answers: matches, and how certain each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.errors import ReidError
from service.gallery.base import Crop
from service.gallery.filter_warnings import FilterWarning
from service.model.manifest import Calibration, Manifest
from service.search.options import SearchOptions
from service.search.ranking import Candidate, Found, group
from service.search.shots import Miss, Nobody, Picture, Query, Shot


@dataclass(frozen=True, slots=True)
class Match:
    """A crop that reached ``min_score``.

    Attributes:
        rank: 1 is the best.
        crop: what the gallery knows about it.
        score: cosine with the query, -1..1.
        probability: probability that both show the same identity; None if the model is not
            calibrated or several images make the query.
        standardised_score: cosine of the standardised embeddings, if the match was ranked by it.
        rerank_distance: k-reciprocal distance, smaller is closer; None if the crop was not
            re-ranked.
        identity_score: the score of its identity, if matches are grouped by it.
        group_size: how many crops of its identity or track count: the crops found for ``best``, all
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
        images: indices of the uploaded images that make the query.
        crop_ids: the stored crops that make it.
        status: ``unknown`` if no crop reached ``min_score``, ``nobody`` if nobody is on the image,
            ``error`` if it is unusable.
        matches: best first.
        nearest: the best cosine found, whether or not it reached ``min_score``.
        nearest_probability: the same as a probability; see :attr:`Match.probability`.
        error: what is wrong with the image.
        considered: number of crops searched, after the filters; None if the image is unusable.
        vectors: indices of the embeddings that make the query.
        track: name of the stored track whose crops make the query, or cannot make it.
    """

    images: tuple[int, ...]
    crop_ids: tuple[str, ...]
    status: Literal["matched", "unknown", "nobody", "error"]
    matches: tuple[Match, ...] = ()
    nearest: float | None = None
    nearest_probability: float | None = None
    error: ReidError | None = None
    considered: int | None = None
    vectors: tuple[int, ...] = ()
    track: str | None = None


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The answer to a search.

    Attributes:
        model: the gallery's model, which embedded the uploaded images.
        min_score: the threshold that was applied, or None.
        results: one per query, in the order of the request.
        warnings: filters that are probably mistakes.
    """

    model: Manifest
    min_score: float | None
    results: list[SearchResult]
    warnings: list[FilterWarning]


def result_of(
    query: Query,
    found: Found,
    candidates: Sequence[Candidate],
    considered: int,
    options: SearchOptions,
    calibration: Calibration | None,
) -> SearchResult:
    """Apply ``min_score``, group, and number the matches of one query.

    Args:
        query: what was searched for.
        found: what it found.
        candidates: the crops found in the order of the answer, re-ranked if requested.
        considered: number of crops searched.
        options: what is asked for, with the threshold that applies.
        calibration: turns cosines into probabilities; None if the model has none.

    Returns:
        The result.
    """
    if len(query.shots) > 1:
        calibration = None  # fitted on pairs of single crops: too confident for a mean of several
    matching = [candidate for candidate in candidates if candidate.hit.score >= options.least]
    if options.group_by != "none":
        matching = group(matching, found, options.group_by, options.identity_score)
    matches = tuple(
        _match(rank, candidate, calibration)
        for rank, candidate in enumerate(matching[: options.top_k], start=1)
    )
    return SearchResult(
        images=tuple(shot.image for shot in query.shots if shot.image is not None),
        crop_ids=tuple(shot.crop_id for shot in query.shots if shot.crop_id is not None),
        status="matched" if matches else "unknown",
        matches=matches,
        nearest=found.nearest,
        nearest_probability=_probability(found.nearest, calibration),
        considered=considered,
        vectors=tuple(shot.vector for shot in query.shots if shot.vector is not None),
        track=query.track,
    )


def _match(rank: int, candidate: Candidate, calibration: Calibration | None) -> Match:
    score = candidate.hit.score
    return Match(
        rank=rank,
        crop=candidate.hit.crop,
        score=score,
        probability=_probability(score, calibration),
        standardised_score=candidate.hit.standardised,
        rerank_distance=candidate.rerank_distance,
        identity_score=candidate.identity_score,
        group_size=candidate.group_size,
    )


def _probability(score: float | None, calibration: Calibration | None) -> float | None:
    if score is None or calibration is None:
        return None
    return calibration.probability(score)


def in_order(
    pictures: Sequence[Picture], results: Sequence[SearchResult], *, combine: bool
) -> list[SearchResult]:
    """Put results and errors in the order of the request.

    Args:
        pictures: every image, stored crop and stored track of the request.
        results: one per query.
        combine: there is one query; its result comes first, then the errors.

    Returns:
        One result per query, and per picture that makes none.
    """
    if combine:
        without = (entry for entry in pictures if not isinstance(entry, Shot | Query))
        return [*results, *map(_without_query, without)]
    answered = iter(results)
    return [
        next(answered) if isinstance(entry, Shot | Query) else _without_query(entry)
        for entry in pictures
    ]


def _without_query(entry: Miss | Nobody) -> SearchResult:
    return _failed(entry) if isinstance(entry, Miss) else SearchResult((entry.image,), (), "nobody")


def _failed(miss: Miss) -> SearchResult:
    images = () if miss.image is None else (miss.image,)
    crop_ids = () if miss.crop_id is None else (miss.crop_id,)
    return SearchResult(images, crop_ids, "error", error=miss.error, track=miss.track)
