"""How an epoch's pseudo-labels look, and how right they are where identities are known.

Training never reads identities; only the log and the report do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.core.pseudo_labels import seen_by_cameras
from training.data.datasets import Sample
from training.hhcl.linking import partner_ranks

Float32s = NDArray[np.float32]
Int64s = NDArray[np.int64]

RANKS = (1, 3, 5, 10)


@dataclass(frozen=True, slots=True)
class AcrossCameras:
    """How right pseudo-labels and embeddings are from one camera to another; shares are 0..1.

    Attributes:
        precision: of the pairs of crops in one cluster, from different cameras, those that show
            one person; None if there is no such pair.
        recall: of the pairs of crops of one person, from different cameras, those in one cluster;
            outliers are in none.
        partner: by k, how often a person of one camera is among the k most similar people of
            another that saw it too; the crops of a person in a camera are taken together, so the
            clusters do not matter. None if embeddings were not given.
    """

    precision: float | None
    recall: float
    partner: dict[str, float] | None = None

    def line(self) -> str:
        """Format the part of the epoch's printed line."""
        precision = "none" if self.precision is None else f"{self.precision:.1%}"
        partner = f" partner@5 {self.partner['5']:.1%}" if self.partner else ""
        return f"across cameras: precision {precision} recall {self.recall:.1%}{partner}"


@dataclass(frozen=True, slots=True)
class Clusters:
    """An epoch's pseudo-labels.

    Attributes:
        clusters: number of clusters.
        outliers: share of crops in no cluster.
        crossing: share of clusters with more than one camera.
        nmi: normalised mutual information with the identities, over crops in a cluster; None if
            identities are not known.
        ari: adjusted Rand index, likewise.
        across: from camera to camera; None if identities are not known, or nobody was seen by two
            cameras.
    """

    clusters: int
    outliers: float
    crossing: float
    nmi: float | None
    ari: float | None
    across: AcrossCameras | None = field(default=None)

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> Self:
        """Rebuild from plain values.

        Args:
            tree: as ``dataclasses.asdict`` gives it, also by an earlier version.

        Returns:
            The description.
        """
        across = tree.get("across")
        return cls(**{**tree, "across": AcrossCameras(**across) if across else None})


def describe_clusters(
    labels: Int64s,
    samples: Sequence[Sample],
    embeddings: Float32s | None = None,
    *,
    compared: bool = True,
) -> Clusters:
    """Count clusters, and compare them with identities, which training itself never reads.

    Args:
        labels: (N,) int64 pseudo-labels, -1 for an outlier.
        samples: the N crops.
        embeddings: (N, D) float32, unit rows, from which the labels were made.
        compared: False if the labels are the identities, so that a comparison would say nothing.

    Returns:
        The description.
    """
    inside = labels >= 0
    cameras = np.array([sample.camera for sample in samples])
    identities = np.array([sample.identity for sample in samples])
    count = int(labels.max()) + 1
    crossing = (seen_by_cameras(labels, cameras).sum(axis=1) > 1).mean() if count else 0.0
    known = compared and inside.any() and bool((identities >= 0).all())
    nmi, ari = _compare(identities[inside], labels[inside]) if known else (None, None)
    return Clusters(
        clusters=count,
        outliers=float(1 - inside.mean()),
        crossing=float(crossing),
        nmi=nmi,
        ari=ari,
        across=_look_across(labels, cameras, identities, embeddings) if known else None,
    )


def _compare(truth: Int64s, found: Int64s) -> tuple[float, float]:
    """NMI and ARI."""
    # scikit-learn takes a second to import, and many runs do not need it.
    from sklearn.metrics import (  # noqa: PLC0415
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    nmi, ari = normalized_mutual_info_score(truth, found), adjusted_rand_score(truth, found)
    return float(nmi), float(ari)


def _look_across(
    labels: Int64s, cameras: Int64s, identities: Int64s, embeddings: Float32s | None
) -> AcrossCameras | None:
    inside = labels >= 0
    same_person = _pairs_across(identities, cameras)
    if same_person == 0:
        return None
    both = np.unique(np.stack([labels, identities]), axis=1, return_inverse=True)[1]
    in_cluster = _pairs_across(labels[inside], cameras[inside])
    right = _pairs_across(both[inside], cameras[inside])
    return AcrossCameras(
        precision=right / in_cluster if in_cluster else None,
        recall=right / same_person,
        partner=None if embeddings is None else _partners(embeddings, cameras, identities),
    )


def _partners(embeddings: Float32s, cameras: Int64s, identities: Int64s) -> dict[str, float]:
    ranks = partner_ranks(embeddings, cameras, identities)
    return {str(k): float((ranks <= k).mean()) for k in RANKS}


def _pairs_across(groups: Int64s, cameras: Int64s) -> int:
    """Number of pairs of crops in one group that come from different cameras."""
    of_group = np.unique(groups, return_counts=True)[1]
    of_camera = np.unique(np.stack([groups, cameras]), axis=1, return_counts=True)[1]
    return int((of_group**2).sum() - (of_camera**2).sum()) // 2
