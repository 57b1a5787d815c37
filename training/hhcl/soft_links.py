"""Likely partners of each cluster in other cameras, with how likely they are.

A hard link decides that two clusters are one person, and half of all links are wrong. A soft link
keeps what the assignment between two cameras knows: each cluster's most likely partners.

Letters: Q views (a view is a cluster as one camera saw it), P partners, L left out, C clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.core.method_options import ClusterOptions
from training.core.pseudo_labels import split_by_camera
from training.hhcl.linking import parts_of_sites, standardise_cameras
from training.hhcl.similarity import SHARP, compare_cameras

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
NOBODY = -1
_LOOKALIKE = 5


@dataclass(frozen=True, slots=True, eq=False)
class SoftLinks:
    """Partners of each view, in the order of :func:`training.core.pseudo_labels.split_by_camera`.

    Attributes:
        partners: (Q, P) int64, the views that most likely show the same person; -1 fills up.
        masses: (Q, P) float32, how likely; 0 where there is no partner. The masses of a view sum
            to at most 1 for each other camera; what is missing is with the less likely and with
            nobody.
        left_out: (Q, L) int64, the views that are no negatives of the view; -1 fills up. It
            contains the partners.
        compared: (cameras, cameras) bool, which cameras were compared: those of one site.
        nobody: (E,) float32, for each view and other camera the mass of having no partner there.
    """

    partners: Int64s
    masses: Float32s
    left_out: Int64s
    compared: NDArray[np.bool_]
    nobody: Float32s

    def line(self) -> str:
        """Format the epoch's printed line."""
        soft = self.masses > 0
        if not len(self.nobody):
            return "soft links: no two cameras to compare"
        views = max(len(self.partners), 1)
        mass = float(self.masses.sum()) / max(int(soft.any(axis=1).sum()), 1)
        return (
            f"soft links: {int(soft.sum())} positives for {int(soft.any(axis=1).sum())} of {views} "
            f"views | mean mass {mass:.2f} | dustbin {float(self.nobody.mean()):.2f}"
        )


def link_softly(
    embeddings: Float32s,
    cameras: Int64s,
    labels: Int64s,
    options: ClusterOptions,
    sites: Int64s | None = None,
) -> SoftLinks:
    """Find each view's most likely partners in every other camera of its site.

    Similarities are those of :func:`training.hhcl.linking.link_cameras`, balanced with a row and a
    column for nobody. Views of one cluster are one person already: in a camera that its cluster
    has a view of, a view gets no partners.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64, 0-based.
        labels: (N,) int64 pseudo-labels, -1 for an outlier; a cluster may have several cameras.
        options: number of partners, number left out, similarity of nobody.
        sites: (N,) int64; views are never compared across sites. None: there is one site.

    Returns:
        The soft links.
    """
    clusters, homes, view = split_by_camera(labels, cameras)
    table = _Table.empty(len(clusters), int(cameras.max(initial=-1)) + 1, options)
    for own in parts_of_sites(sites, labels >= 0):
        here, local = np.unique(view[own], return_inverse=True)
        standard = standardise_cameras(embeddings[own], cameras[own])
        for pair in compare_cameras(standard, cameras[own], local, options.link_score):
            plan = balance_with_dustbin(pair.similarity, options.dustbin)
            one, other = here[pair.rows], here[pair.columns]
            same_cluster = clusters[one][:, None] == clusters[other]
            cameras_of_pair = int(homes[one[0]]), int(homes[other[0]])
            table.keep(one, other, plan[:-1], same_cluster, cameras_of_pair)
            table.keep(other, one, plan[:, :-1].T, same_cluster.T, cameras_of_pair[::-1])
    return table.links()


def balance_with_dustbin(
    similarity: Float64s, dustbin: float | None = None, temperature: float = SHARP
) -> Float64s:
    """Balance the similarities of two cameras' views, with room for views without a partner.

    Each row and column has mass 1. One more row and one more column stand for nobody, and have room
    for all mass (SuperGlue, Sarlin et al., CVPR 2020; balanced as by Cuturi, NeurIPS 2013).

    Args:
        similarity: (R, K) float64, of the one camera's views to the other's.
        dustbin: similarity of nobody; None takes :func:`similarity_of_nobody`.
        temperature: > 0; the lower, the more the plan decides.

    Returns:
        (R + 1, K + 1) float64; the last row and column are nobody's.
    """
    rows, columns = similarity.shape
    nobody = similarity_of_nobody(similarity) if dustbin is None else dustbin
    scores = np.pad(similarity, ((0, 1), (0, 1)), constant_values=nobody)
    plan: Float64s = np.exp((scores - scores.max()) / temperature)
    to_rows, to_columns = np.append(np.ones(rows), columns), np.append(np.ones(columns), rows)
    for _ in range(50):
        plan *= (to_rows / plan.sum(axis=1))[:, None]
        plan *= to_columns / plan.sum(axis=0)
    return plan


def similarity_of_nobody(similarity: Float64s) -> float:
    """Find how similar a view must be to be a partner rather than nobody.

    A view has one partner at most, so its fifth most similar is another person who looks alike. Who
    is no more similar than that is as likely nobody.

    Args:
        similarity: (R, K) float64, of one camera's views to another's.

    Returns:
        Mean similarity of the fifth most similar, of rows and of columns; of the least similar if
        there are fewer.
    """
    means = []
    for axis, count in ((1, similarity.shape[1]), (0, similarity.shape[0])):
        place = max(count - _LOOKALIKE, 0)
        means.append(np.partition(similarity, place, axis=axis).take(place, axis=axis).mean())
    return float(np.mean(means))


@dataclass(slots=True)
class _Table:
    """Collects links, one pair of cameras after another.

    Each other camera has its own columns.
    """

    partners: Int64s
    masses: Float32s
    left_out: Int64s
    compared: NDArray[np.bool_]
    nobody: list[Float64s]

    @classmethod
    def empty(cls, views: int, cameras: int, options: ClusterOptions) -> Self:
        others = max(cameras - 1, 0)
        shape = views, others, options.soft_partners
        return cls(
            np.full(shape, NOBODY),
            np.zeros(shape, np.float32),
            np.full((views, others, options.left_out), NOBODY),
            np.zeros((cameras, cameras), np.bool_),
            [],
        )

    def keep(
        self,
        one: Int64s,
        other: Int64s,
        plan: Float64s,
        same_cluster: NDArray[np.bool_],
        cameras: tuple[int, int],
    ) -> None:
        """Keep the partners that the views ``one`` have among ``other``; nobody comes last."""
        share = plan / plan.sum(axis=1, keepdims=True)
        best = np.argsort(-share[:, :-1], axis=1, kind="stable")[:, : self.left_out.shape[2]]
        soft = best[:, : self.partners.shape[2]]
        open_ = ~same_cluster.any(axis=1)
        home, away = cameras
        column = away - (away > home)
        self.left_out[one, column, : best.shape[1]] = other[best]
        self.partners[one[open_], column, : soft.shape[1]] = other[soft[open_]]
        self.masses[one[open_], column, : soft.shape[1]] = np.take_along_axis(share, soft, 1)[open_]
        self.compared[home, away] = True
        self.nobody.append(share[open_, -1])

    def links(self) -> SoftLinks:
        views, others, count = self.partners.shape
        return SoftLinks(
            self.partners.reshape(views, others * count),
            self.masses.reshape(views, others * count),
            self.left_out.reshape(views, others * self.left_out.shape[2]),
            self.compared,
            np.concatenate([*self.nobody, np.empty(0)]).astype(np.float32),
        )
