"""Draw one epoch's clusters: their sizes, their cameras, and maps of the embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from training.page.figure import COLOURS, GREY, Figure, Missing, new_plot
from training.run.epoch_record import EpochRecord

TITLES = (
    "Cluster sizes",
    "Cameras of the clusters",
    "Map of embeddings, by camera",
    "Map of embeddings, by pseudo-label",
)

_MIX = 40  # clusters drawn as bars; more cannot be told apart
_NAMED = 7  # clusters with a colour of their own on the map
_FEWEST = 5  # crops; t-SNE needs a few


def draw_clusters(record: EpochRecord, cameras: list[str]) -> list[Figure | Missing]:
    """Draw a histogram of sizes, one bar per cluster, and two maps.

    Args:
        record: the epoch's record.
        cameras: name of each camera index; cameras beyond its end are named by their index.

    Returns:
        The figures, in the order of ``TITLES``.
    """
    names = [f"camera {name}" for name in cameras]
    names += [f"camera {i}" for i in range(len(names), int(record.cameras.max()) + 1)]
    if not (record.labels >= 0).any():
        reason = "no crop is in a cluster"
        return [*(Missing(title, reason) for title in TITLES[:2]), *_maps(record, names)]
    return [_sizes(record.labels), _camera_mix(record, names), *_maps(record, names)]


def _sizes(labels: NDArray[np.int64]) -> Figure:
    sizes = np.bincount(labels[labels >= 0])
    values, counts = np.unique(sizes[sizes > 0], return_counts=True)
    plot = new_plot("crops in the cluster", "clusters", bargap=0.05)
    plot.add_bar(x=values.tolist(), y=counts.tolist(), name="clusters")
    text = (
        f"{int(counts.sum())} clusters of {values[0]} to {values[-1]} crops, "
        f"median {np.median(sizes[sizes > 0]):g}; {int((labels < 0).sum())} of {len(labels)} crops "
        "are outliers."
    )
    return Figure("figure-cluster-sizes", TITLES[0], text, plot)


def _camera_mix(record: EpochRecord, names: list[str]) -> Figure:
    inside = record.labels >= 0
    mix = np.zeros((int(record.labels.max()) + 1, len(names)), np.int64)
    np.add.at(mix, (record.labels[inside], record.cameras[inside]), 1)
    largest = np.argsort(-mix.sum(axis=1), kind="stable")[:_MIX]
    plot = new_plot("cluster, largest first", "crops", barmode="stack", showlegend=True)
    plot.update_xaxes(type="category", showticklabels=False)
    for camera, name in enumerate(names):
        if mix[:, camera].any():
            labels = [f"cluster {label}" for label in largest]
            plot.add_bar(x=labels, y=mix[largest, camera].tolist(), name=name)
    seen = np.bincount((mix > 0).sum(axis=1))
    shares = ", ".join(f"{count} by {n}" for n, count in enumerate(seen) if n and count)
    text = f"The {len(largest)} largest clusters. Clusters by number of cameras: {shares}."
    return Figure("figure-camera-mix", TITLES[1], text, plot)


def _maps(record: EpochRecord, names: list[str]) -> list[Figure | Missing]:
    if len(record.drawn) < _FEWEST:
        reason = f"there are {len(record.drawn)} crops, and a map needs {_FEWEST}"
        return [Missing(title, reason) for title in TITLES[2:]]
    points = _project(record.embeddings.astype(np.float32))
    cameras, labels = record.cameras[record.drawn], record.labels[record.drawn]
    text = (
        f"t-SNE of {len(points)} crops: nearby points are similar; distances between groups mean "
        "little. "
    )
    by_camera = [(names[camera], cameras == camera) for camera in np.unique(cameras)]
    clusters = np.bincount(labels[labels >= 0], minlength=1)
    largest = [int(c) for c in np.argsort(-clusters, kind="stable")[:_NAMED] if clusters[c]]
    others = (labels >= 0) & ~np.isin(labels, largest)
    by_label = [("outliers", labels < 0), ("other clusters", others)]
    by_label += [(f"cluster {c}", labels == c) for c in largest]
    return [
        _map("figure-map-camera", TITLES[2], text + "Colours show cameras.", points, by_camera),
        _map(
            "figure-map-label",
            TITLES[3],
            text + f"Colours show the {len(largest)} largest of the clusters drawn.",
            points,
            by_label,
        ),
    ]


def _project(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, D) -> (M, 2) by t-SNE (van der Maaten and Hinton 2008) of 50 principal components."""
    few = PCA(min(50, *embeddings.shape), random_state=0).fit_transform(embeddings)
    perplexity = min(30.0, (len(few) - 1) / 3)
    points: NDArray[np.float32] = TSNE(
        perplexity=perplexity, init="pca", random_state=0
    ).fit_transform(few)
    return points


def _map(
    name: str,
    title: str,
    text: str,
    points: NDArray[np.float32],
    groups: list[tuple[str, NDArray[np.bool_]]],
) -> Figure:
    plot = new_plot("", "", height=460, showlegend=True)
    plot.update_xaxes(showticklabels=False)
    plot.update_yaxes(showticklabels=False, scaleanchor="x")
    colours = iter(COLOURS * (1 + len(groups) // len(COLOURS)))
    for group, members in groups:
        if not members.any():
            continue
        grey = group in {"outliers", "other clusters"}
        marker = {
            "size": 4 if grey else 6,
            "color": GREY if grey else next(colours),
            "opacity": 0.35 if group == "outliers" else 0.75,
            "symbol": "x-thin-open" if group == "outliers" else "circle",
        }
        x, y = points[members].round(2).T.tolist()
        plot.add_scatter(x=x, y=y, name=group, mode="markers", marker=marker, hoverinfo="name")
    return Figure(name, title, text, plot)
