"""How similar clusters of different cameras are, as links see it.

Letters: C clusters, D dimensions, R and K clusters of two cameras.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
LinkScore = Literal["local-scaling", "sinkhorn", "consensus"]

SHARP = 0.02  # temperature at which the mass of a likely partner is about how often it is right
_SMOOTH = 0.05
_RIDGE = 0.1
_ROUNDS, _LINK_WEIGHT, _LINK_RIDGE = 2, 20.0, 3.0
_STEPS, _NEIGHBOURS, _CONSENSUS = 4, 20, 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two cameras.

    Attributes:
        rows: (R,) int64 clusters of the one camera.
        columns: (K,) int64 clusters of the other.
        similarity: (R, K) float64.
    """

    rows: Int64s
    columns: Int64s
    similarity: Float64s


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Clusters, each of one camera.

    Attributes:
        centres: (C, D) float64, not whitened.
        sizes: (C,) int64 number of crops.
        homes: (C,) int64 the camera of each.
        scatter: (D, D) float64, sum over crops of the products of their deviations.
    """

    centres: Float64s
    sizes: Int64s
    homes: Int64s
    scatter: Float64s

    @classmethod
    def gather(cls, embeddings: Float32s, cameras: Int64s, labels: Int64s) -> Clusters:
        """Gather clusters.

        Args:
            embeddings: (N, D) float32, standardised per camera.
            cameras: (N,) int64.
            labels: (N,) int64, 0..C-1, no outliers; a cluster has crops of one camera.

        Returns:
            The clusters.
        """
        centres = np.zeros((int(labels.max()) + 1, embeddings.shape[1]))
        np.add.at(centres, labels, embeddings)
        sizes = np.bincount(labels)
        centres /= sizes[:, None]
        deviation = embeddings - centres[labels]
        homes = cameras[np.unique(labels, return_index=True)[1]]
        return cls(centres, sizes, homes, deviation.T @ deviation)

    def linked(self, links: Sequence[tuple[Int64s, Int64s]], weight: float) -> Clusters:
        """Count what linked clusters differ by as variation inside a cluster.

        Args:
            links: clusters of one camera, and as many of another, that are one person each.
            weight: of this variation.

        Returns:
            The clusters with more scatter.
        """
        scatter = self.scatter
        for one, other in links:
            between = self.centres[one] - self.centres[other]
            joint = self.sizes[one] * self.sizes[other] / (self.sizes[one] + self.sizes[other])
            scatter = scatter + (between * weight * joint[:, None]).T @ between
        return replace(self, scatter=scatter)

    def whitened(self, ridge: float) -> Float64s:
        """Whiten the centroids: directions in which a person's crops differ count less.

        A triangular factor of the covariance does it in a seventh of the time of its axes, and
        turns the result, which no cosine sees.

        Args:
            ridge: share of the mean variance that is added to all, > 0; without it, directions
                without variation would outweigh all others.

        Returns:
            (C, D) float64, unit rows.
        """
        covariance = self.scatter / self.sizes.sum()
        variance = np.diagonal(covariance)
        np.fill_diagonal(covariance, variance + ridge * variance.mean() + 1e-12)
        factor = np.linalg.cholesky(covariance)
        white = solve_triangular(factor, self.centres.T, lower=True).T
        unit: Float64s = white / np.linalg.norm(white, axis=1, keepdims=True)
        return unit


def compare_cameras(
    embeddings: Float32s, cameras: Int64s, labels: Int64s, score: LinkScore
) -> Iterator[Comparison]:
    """Compare the clusters of each two cameras.

    Cosines of centroids, whitened by how crops vary inside a cluster (Hatch et al. 2006).
    ``consensus`` then asks both cameras' other clusters, since partners' neighbours should be
    partners, takes the better half of the links for right, and whitens by what their two sides
    differ by as well: by what changes from camera to camera.

    Args:
        embeddings: (N, D) float32, standardised per camera.
        cameras: (N,) int64.
        labels: (N,) int64, 0..C-1, no outliers; a cluster has crops of one camera.
        score: as in :attr:`training.core.options.ClusterOptions.link_score`.

    Yields:
        One comparison for each two cameras.
    """
    clusters = Clusters.gather(embeddings, cameras, labels)
    centre = clusters.whitened(_RIDGE)
    if score == "consensus":
        centre = _learn_from_links(clusters, centre)
    yield from _pairs(centre, clusters.homes)


def _learn_from_links(clusters: Clusters, centre: Float64s) -> Float64s:
    """Whiten by the likely links, found twice; (C, D) unit centroids."""
    first = [_agree(pair, centre) for pair in _pairs(centre, clusters.homes)]
    likely = first
    for last in [False] * (_ROUNDS - 1) + [True]:
        links = [_better_half(pair) for pair in likely]
        centre = clusters.linked(links, _LINK_WEIGHT).whitened(_LINK_RIDGE)
        if not last:
            again = (_agree(pair, centre) for pair in _pairs(centre, clusters.homes))
            # New links alone would only confirm the old ones, by which they were whitened.
            likely = [_blend(*both) for both in zip(first, again, strict=True)]
    return centre


def _pairs(centre: Float64s, homes: Int64s) -> Iterator[Comparison]:
    for one, other in combinations(np.unique(homes), 2):
        rows, columns = np.flatnonzero(homes == one), np.flatnonzero(homes == other)
        yield Comparison(rows, columns, centre[rows] @ centre[columns].T)


def _agree(pair: Comparison, centre: Float64s) -> Comparison:
    """Raise cosines where the nearest of the one cluster are partners of the other's nearest."""
    across, down = _nearest(centre[pair.rows]), _nearest(centre[pair.columns])
    cosine = similarity = pair.similarity
    for _ in range(_STEPS):
        said = across @ balance(similarity, rounds=20) @ down.T
        similarity = cosine + _CONSENSUS * cosine.std() / (said.std() + 1e-12) * said
    return replace(pair, similarity=similarity)


def _blend(one: Comparison, other: Comparison) -> Comparison:
    """Mean of two comparisons of the same clusters, in the scale of the first."""
    scale = one.similarity.std() / (other.similarity.std() + 1e-12)
    return replace(one, similarity=(one.similarity + scale * other.similarity) / 2)


def _nearest(centre: Float64s) -> Float64s:
    """(R, R) weights of each cluster's nearest in its own camera; rows sum to 1, or to 0."""
    cosine = centre @ centre.T
    np.fill_diagonal(cosine, -1.0)
    last = np.sort(cosine, axis=1)[:, -min(_NEIGHBOURS, len(cosine))]
    weight = np.where(cosine >= last[:, None], np.maximum(cosine, 0.0), 0.0)
    weights: Float64s = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    return weights


def _better_half(pair: Comparison) -> tuple[Int64s, Int64s]:
    plan = balance(pair.similarity)
    row, column = mutually_nearest(plan)
    best = np.argsort(-plan[row, column], kind="stable")[: (len(row) + 1) // 2]
    return pair.rows[row[best]], pair.columns[column[best]]


def mutually_nearest(similarity: Float64s) -> tuple[Int64s, Int64s]:
    """Find rows and columns that are each other's most similar.

    Args:
        similarity: (R, K) float64.

    Returns:
        (L,) int64 rows and (L,) int64 columns.
    """
    forward, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    row = np.flatnonzero(back[forward] == np.arange(len(forward)))
    return row, forward[row]


def make_fair(similarity: Float64s, score: LinkScore) -> Float64s:
    """Adjust similarities, so that a cluster in a crowded region is not the nearest of all others.

    Args:
        similarity: (R, K) float64.
        score: ``local-scaling`` (Conneau et al. 2018), or a balanced assignment (Cuturi 2013) for
            the others.

    Returns:
        (R, K) float64.
    """
    match score:
        case "local-scaling":
            return scale_locally(similarity)
        case "sinkhorn":
            return balance(similarity, _SMOOTH)
        case "consensus":
            return balance(similarity, SHARP)


def balance(similarity: Float64s, temperature: float = 0.03, rounds: int = 50) -> Float64s:
    """Scale rows and columns of exp(similarity / temperature) in turn until all sums are equal.

    Args:
        similarity: (R, K) float64.
        temperature: > 0; the lower, the more the plan decides.
        rounds: >= 1.

    Returns:
        (R, K) float64; columns sum to 1.
    """
    plan: Float64s = np.exp((similarity - similarity.max()) / temperature)
    for _ in range(rounds):
        plan /= plan.sum(axis=1, keepdims=True)
        plan /= plan.sum(axis=0, keepdims=True)
    return plan


def scale_locally(cosine: Float64s, neighbours: int = 10) -> Float64s:
    """Take from twice the cosine each side's mean cosine to its nearest neighbours.

    Args:
        cosine: (R, K) float64.
        neighbours: >= 1.

    Returns:
        (R, K) float64.
    """
    across = np.sort(cosine, axis=1)[:, -neighbours:].mean(axis=1)
    down = np.sort(cosine, axis=0)[-neighbours:].mean(axis=0)
    scaled: Float64s = 2 * cosine - across[:, None] - down
    return scaled
