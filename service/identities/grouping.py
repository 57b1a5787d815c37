"""The job ``cluster``: groups the crops of a gallery into persons."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from service.api.identities import ClusterBody
from service.embedding.shelf import ModelShelf
from service.errors import InvalidInput, NotFound, Unavailable
from service.gallery.base import Crop, Filter
from service.gallery.filter_fields import filter_of, filter_time_warnings
from service.gallery.filter_warnings import warnings_of
from service.gallery.protocol import Gallery, GalleryStore
from service.identities.clustering import group_crops
from service.identities.corrections import Basis, Corrections, known_identities
from service.jobs.context import JobContext
from service.values.cluster_rule import ClusterRule

Float32s = NDArray[np.float32]

MAX_CROPS = 20_000
"""Most crops per clustering, the largest number measured: time grows with its square."""
_READ_AT_ONCE = 5_000
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class GroupingResult:
    """The result of a job.

    Attributes:
        persons: number of groups, including those around labelled crops.
        grouped: number of crops without a label that are in a group.
        outliers: number of crops without a label that are in no group.
        kept: number of crops whose identity was given or set by hand; none of them changed.
        changed: number of crops whose identity changed.
        standardised: whether any camera had enough crops to be standardised.
    """

    persons: int
    grouped: int
    outliers: int
    kept: int
    changed: int
    standardised: bool


def run(
    context: JobContext, store: GalleryStore, shelf: ModelShelf, corrections: Corrections
) -> None:
    """Group a gallery's crops; a second run groups them again.

    Args:
        context: the job; its spec is a :class:`ClusterBody`.
        store: the galleries.
        shelf: knows the threshold of the gallery's model.
        corrections: stores the groups, except for crops that were labelled meanwhile.

    Raises:
        ReidError: the gallery was deleted, holds too many crops, or cannot be written.
        Interrupted: the job was cancelled or the service is shutting down.
    """
    asked = ClusterBody.model_validate(context.spec)
    where = filter_of(asked)
    gallery, crops, embeddings, known = _read(context, store, where)
    context.expect(len(crops))
    rule = _rule_of(asked, threshold_of(shelf, gallery))
    context.raise_if_cancelled()
    grouping = group_crops(crops, embeddings, rule, known)
    context.raise_if_cancelled()
    basis = Basis.of(crops, known)
    with store.changing(context.gallery) as now:  # it may have another model by now
        changed = corrections.regroup(now, grouping.labels, basis)
    result = GroupingResult(
        persons=grouping.persons,
        grouped=grouping.grouped,
        outliers=grouping.outliers,
        kept=len(crops) - len(grouping.labels),
        changed=changed,
        standardised=grouping.standardised,
    )
    for outcome in ("grouped", "outliers", "kept"):
        context.count(outcome, getattr(result, outcome))
    odd = [*warnings_of(gallery, where), *filter_time_warnings(asked)]
    warnings = [asdict(warning) for warning in odd]
    context.finish(asdict(result) | ({"warnings": warnings} if warnings else {}))


def threshold_of(shelf: ModelShelf, gallery: Gallery) -> float | None:
    """The calibrated threshold of a gallery's model.

    Args:
        shelf: the models.
        gallery: the gallery.

    Returns:
        A cosine; None if the model is not calibrated or not on the shelf.
    """
    for manifest in shelf.manifests():
        if manifest.sha256 == gallery.model_sha256 and manifest.calibration is not None:
            return manifest.calibration.threshold
    return None


def _rule_of(asked: ClusterBody, threshold: float | None) -> ClusterRule:
    """The rule that a job requests; ``threshold`` is the model's, None if it is not calibrated."""
    least = threshold if asked.min_score is None else asked.min_score
    return ClusterRule(
        eps=asked.eps,
        min_samples=asked.min_samples,
        min_score=-1.0 if least is None else least,
        standardise=asked.standardise,
    )


def _read(
    context: JobContext, store: GalleryStore, where: Filter
) -> tuple[Gallery, list[Crop], Float32s, set[str]]:
    """Read the gallery, the crops that pass, their embeddings, and all identities.

    Crops and identities are from one moment. If a crop is deleted before its embedding is read, the
    reading starts over.
    """
    for _ in range(_ATTEMPTS):
        with store.changing(context.gallery) as gallery:
            crops, known = gallery.crops(where), known_identities(gallery)
        if len(crops) > MAX_CROPS:
            raise InvalidInput(
                f"{len(crops)} crops: at most {MAX_CROPS} can be grouped at once; choose cameras "
                "or a time window"
            )
        ids = [crop.crop_id for crop in crops]
        try:
            parts = [np.empty((0, 1), np.float32)] if not ids else []
            for start in range(0, len(ids), _READ_AT_ONCE):
                context.raise_if_cancelled()
                parts.append(gallery.embeddings(ids[start : start + _READ_AT_ONCE]))
        except NotFound:
            continue
        return gallery, crops, np.concatenate(parts), known
    raise Unavailable("crops are being deleted too fast to read them; try again", retry_after=60)
