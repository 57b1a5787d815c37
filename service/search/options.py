"""What a search asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from service.gallery.base import Filter
from service.model.manifest import Calibration
from service.search.cost import SearchCost
from service.search.multi_shot import IdentityScore
from service.search.shots import SentVector
from service.values.vocabulary import GroupBy


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search asks for.

    Attributes:
        gallery: name of the gallery.
        top_k: most matches per query: crops, or what ``group_by`` makes of them.
        where: which crops of the gallery may match.
        crop_ids: stored crops of the gallery to search for, in addition to the uploaded images.
        vectors: embeddings to search for, in place of uploaded images.
        model_sha256: the model that made the vectors, if the client says so.
        camera: the camera that took the uploaded images, if known; a stored crop has its own.
        exclude_same_camera: leave out crops from the query's own camera.
        min_score: smallest cosine of a match; None means the model's calibrated threshold, or no
            threshold if the model is not calibrated.
        rerank_top: how many of the nearest crops to re-rank by k-reciprocal neighbours; 0 disables
            re-ranking.
        group_by: return one match per crop, per identity, or per track, which is a camera and the
            name of a track.
        identity_score: what ranks an identity; tracks are ranked by their best crop.
        combine: all images show one person and make one query.
        standardise: rank by embeddings standardised per camera; None does so if the gallery can.
        tracks: names of stored tracks to search for; all crops of a track make one query.
    """

    gallery: str
    top_k: int
    where: Filter
    crop_ids: tuple[str, ...] = ()
    vectors: tuple[SentVector, ...] = ()
    model_sha256: str | None = None
    camera: str | None = None
    exclude_same_camera: bool = False
    min_score: float | None = None
    rerank_top: int = 0
    group_by: GroupBy = "none"
    identity_score: IdentityScore = "best"
    combine: bool = False
    standardise: bool | None = None
    tracks: tuple[str, ...] = ()

    @property
    def least(self) -> float:
        """Smallest cosine of a match; minus infinity without a threshold."""
        return -math.inf if self.min_score is None else self.min_score

    def with_threshold_of(self, calibration: Calibration | None) -> Self:
        """Fill in ``min_score`` from the model if the search does not set it.

        Args:
            calibration: the model's, if it has one.

        Returns:
            The same options, with the threshold that applies.
        """
        if self.min_score is not None or calibration is None:
            return self
        return replace(self, min_score=calibration.threshold)

    def cost(self, uploads: int) -> SearchCost:
        """What the search costs.

        Args:
            uploads: number of uploaded images.
        """
        asked = uploads + len(self.crop_ids) + len(self.vectors) + len(self.tracks)
        return SearchCost(
            queries=1 if self.combine else asked,
            top_k=self.top_k,
            rerank_top=self.rerank_top,
            grouped=self.group_by != "none",
        )
