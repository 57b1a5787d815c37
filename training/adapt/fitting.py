"""Fit neighbourhood and radius of the pseudo-labels to the crops, without labels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.identities.dbscan import OUTLIER, find_dense
from service.machine.durable import replaced_file
from service.search.kreciprocal import jaccard_distance
from training.core.method_options import ClusterOptions
from training.hhcl.linking import standardise_cameras

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

FIT_NAME = "clustering.json"

_SIZES = ((3, 1, 2), (6, 2, 2), (8, 2, 2), (12, 3, 2), (20, 4, 3), (30, 6, 4))
_RADII = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
_FITTED = 10_000  # crops; more cameras take longer and rarely change the choice
_RATED = 2_000  # crops of a camera that are rated; all are clustered


@dataclass(frozen=True, slots=True)
class Asked:
    """Values that a user sets; None is fitted to the crops.

    Attributes:
        k1: number of k-reciprocal neighbours, including the crop itself.
        k2: number of crops that query expansion averages, including the crop itself.
        eps: DBSCAN's radius on the Jaccard distance.
        min_samples: number of crops within eps that make a crop a core crop.
    """

    k1: int | None = None
    k2: int | None = None
    eps: float | None = None
    min_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """A way to cluster, and what it makes of the crops it was fitted to.

    Attributes:
        k1: as in :class:`Asked`, and so are the next three.
        k2: see there.
        eps: see there.
        min_samples: see there.
        silhouette: mean over crops, -1..1.
        crops: number of crops.
        clusters: number of clusters inside cameras.
        outliers: share of the crops that are in no cluster.
    """

    k1: int
    k2: int
    eps: float
    min_samples: int
    silhouette: float
    crops: int
    clusters: int
    outliers: float

    def apply(self, options: ClusterOptions) -> ClusterOptions:
        """The options with this neighbourhood and radius."""
        return replace(options, k1=self.k1, k2=self.k2, eps=self.eps, min_samples=self.min_samples)

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"k1 {self.k1}, k2 {self.k2}, eps {self.eps:g}, min_samples {self.min_samples}: "
            f"{self.clusters} clusters and {self.outliers:.0%} outliers of {self.crops} crops "
            f"(silhouette {self.silhouette:.3f})"
        )


def choose_cameras(cameras: Int64s, seed: int) -> Int64s:
    """Choose the crops to fit to: whole cameras, since part of one has fewer crops of a person.

    Args:
        cameras: (N,) int64.
        seed: source of the random order of cameras.

    Returns:
        Indices of at least one camera's crops, ascending; of all crops if they are few.
    """
    names, counts = np.unique(cameras, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    taken = order[before < _FITTED]
    return np.flatnonzero(np.isin(cameras, names[taken]))


def fit_clustering(embeddings: Float32s, cameras: Int64s, asked: Asked) -> Fit:
    """Cluster every camera in several ways, and choose the one with the best mean silhouette.

    A crop's silhouette (Rousseeuw 1987) is ``(b - a) / max(a, b)``: a is its mean cosine distance
    to the other crops of its cluster, b that to the crops of the nearest other cluster. Merging
    people raises a, splitting one lowers b. An outlier counts 0, as a cluster of one would, so
    leaving crops out does not pay. Embeddings are rated standardised per camera, as linking
    compares them. If two ways are equally good, the smaller neighbourhood wins.

    Args:
        embeddings: (N, D) float32, unit rows.
        cameras: (N,) int64; a cluster never has crops of two cameras.
        asked: values that are not fitted.

    Returns:
        The best way.
    """
    ways = _ways(asked)
    standard = standardise_cameras(embeddings, cameras)
    rated = np.zeros((len(ways), 3))  # sum of silhouettes, clusters, outliers
    for camera in np.unique(cameras):
        own = np.flatnonzero(cameras == camera)
        rated += _rate_camera(embeddings[own], standard[own], ways)
    # Only outliers rate 0, but teach nothing.
    best = int(np.where(rated[:, 1] >= 2, rated[:, 0], -np.inf).argmax())
    silhouette, clusters, outliers = rated[best].tolist()
    k1, k2, min_samples, eps = ways[best]
    count = len(cameras)
    return Fit(
        k1=k1,
        k2=k2,
        eps=eps,
        min_samples=min_samples,
        silhouette=silhouette / count,
        crops=count,
        clusters=int(clusters),
        outliers=outliers / count,
    )


def _ways(asked: Asked) -> list[tuple[int, int, int, float]]:
    """k1, k2, min_samples and eps of every way to try."""
    sizes = _SIZES if asked.k1 is None else (_size_for(asked.k1),)
    radii = _RADII if asked.eps is None else (asked.eps,)
    return [
        (k1, asked.k2 or k2, asked.min_samples or min_samples, eps)
        for k1, k2, min_samples in sizes
        for eps in radii
    ]


def _size_for(k1: int) -> tuple[int, int, int]:
    """k2 and min_samples of the largest size up to ``k1``."""
    fitting = [size for size in _SIZES if size[0] <= k1] or [_SIZES[0]]
    return (k1, *fitting[-1][1:])


def _rate_camera(
    embeddings: Float32s, standard: Float32s, ways: list[tuple[int, int, int, float]]
) -> Float64s:
    """(W, 3) sum of silhouettes, clusters and outliers of one camera for every way."""
    count = len(embeddings)
    rows = np.linspace(0, count - 1, min(count, _RATED)).astype(np.int64)
    largest = max(eps for _, _, _, eps in ways)
    distances = {
        size: jaccard_distance(embeddings, k1=size[0], k2=size[1], within=largest)
        for size in {(k1, k2) for k1, k2, _, _ in ways}
    }
    rated = np.empty((len(ways), 3))
    for way, (k1, k2, min_samples, eps) in enumerate(ways):
        labels = find_dense(distances[k1, k2], eps, min_samples)
        mean = silhouettes(standard, labels, rows).mean()
        rated[way] = mean * count, labels.max() + 1, (labels == OUTLIER).sum()
    return rated


def silhouettes(embeddings: Float32s, labels: Int64s, rows: Int64s) -> Float64s:
    """Compute silhouettes by cosine distance.

    Args:
        embeddings: (N, D) float32, unit rows.
        labels: (N,) int64, 0..C-1 or -1 for an outlier.
        rows: (R,) int64, the crops whose silhouettes are computed, among all crops.

    Returns:
        (R,) float64; 0 for outliers and crops alone in their cluster, and if C < 2.
    """
    found = np.zeros(len(rows))
    size = np.bincount(labels[labels >= 0])
    if len(size) < 2:
        return found
    total = np.zeros((len(size), embeddings.shape[1]))
    np.add.at(total, labels[labels >= 0], embeddings[labels >= 0])
    part = np.flatnonzero(labels[rows] >= 0)
    part = part[size[labels[rows[part]]] > 1]
    own, each = labels[rows[part]], np.arange(len(part))
    summed = embeddings[rows[part]] @ total.astype(np.float32).T
    inside = 1.0 - (summed[each, own] - 1.0) / (size[own] - 1)  # the crop itself has cosine 1
    distance = 1.0 - summed / size
    distance[each, own] = np.inf
    outside = distance.min(axis=1)
    larger = np.maximum(np.maximum(inside, outside), 1e-12)
    found[part] = (outside - inside) / larger
    return found


def keep_fit(folder: Path, asked: Asked, fit: Fit) -> None:
    """Write what was asked for and chosen, so that a resumed adaptation uses the same."""
    text = json.dumps({"asked": asdict(asked), "chosen": asdict(fit)}, indent=2)
    with replaced_file(folder / FIT_NAME) as file:
        file.write(text.encode())


def kept_fit(folder: Path, asked: Asked) -> Fit | None:
    """Read what an earlier run of this adaptation chose.

    Args:
        folder: of the adaptation.
        asked: what this run asks for.

    Returns:
        The choice; None if there is none yet.

    Raises:
        InvalidInput: the earlier run was asked for other values, or judged rounds without a fit.
    """
    file = folder / FIT_NAME
    if not file.exists():
        if (folder / "ways").exists():
            raise InvalidInput(
                f"{folder} has rounds but no {FIT_NAME}: an earlier release started it, with "
                "another clustering; choose another --output"
            )
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept["asked"] != asdict(asked):
        raise InvalidInput(
            f"{folder} was started with {_told(kept['asked'])}; resume with the same"
        )
    return Fit(**kept["chosen"])


def _told(asked: dict[str, float | None]) -> str:
    names = [field.name for field in fields(Asked)]
    return ", ".join(f"{name} {'auto' if asked[name] is None else asked[name]}" for name in names)
