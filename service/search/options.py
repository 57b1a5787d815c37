"""What a search asks for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from service.gallery.base import Filter
from service.gallery.filter_warnings import FilterWarning
from service.model.manifest import Manifest
from service.search.cost import SearchCost
from service.search.multi_shot import IdentityScore
from service.search.ranking import Ranking
from service.search.results import SearchResult


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search asks for.

    Attributes:
        gallery: name of the gallery.
        top_k: at most this many matches a query.
        where: which crops of the gallery take part.
        crop_ids: stored crops of the gallery that are searched for, beside the uploads.
        camera: which camera took the uploads, where known; a stored crop brings its own.
        exclude_same_camera: leave out crops of the query's own camera.
        min_score: least cosine of a match; None takes the model's calibrated threshold.
        rerank_top: re-rank this many of the nearest crops by k-reciprocal neighbours; 0 does not.
        identity_score: one match an identity, ranked by this score; None: one match a crop.
        combine: all pictures show one person and make one query.
        standardise: rank by embeddings standardised by their camera; None where the gallery can.
    """

    gallery: str
    top_k: int
    where: Filter
    crop_ids: tuple[str, ...] = ()
    camera: str | None = None
    exclude_same_camera: bool = False
    min_score: float | None = None
    rerank_top: int = 0
    identity_score: IdentityScore | None = None
    combine: bool = False
    standardise: bool | None = None

    def ranking(self, least: float) -> Ranking:
        """How candidates are found and ordered.

        Args:
            least: least cosine of a match.
        """
        return Ranking(self.top_k, least, self.rerank_top, self.identity_score, self.standardise)

    def cost(self, uploads: int) -> SearchCost:
        """What the search costs.

        Args:
            uploads: how many images come with it.
        """
        return SearchCost(
            queries=1 if self.combine else uploads + len(self.crop_ids),
            top_k=self.top_k,
            rerank_top=self.rerank_top,
            grouped=self.identity_score is not None,
        )


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The answer to a search.

    Attributes:
        model: the gallery's model, which embedded the uploads.
        min_score: the line that was drawn, None where none was.
        results: one a query, in order.
        warnings: what is odd about the filter.
    """

    model: Manifest
    min_score: float | None
    results: list[SearchResult]
    warnings: list[FilterWarning]
