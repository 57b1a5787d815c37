"""What the service counts, for ``GET /metrics``.

Every app owns its registry, so two apps in one process do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.artifact import Manifest
from service.embedder import Embedder
from service.gallery.base import GalleryStats, GalleryStore

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._galleries = CollectorRegistry()  # apart: their names are not for everybody
        self.requests = Counter(
            "reid_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "reid_request_seconds",
            "Time from the request's head to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stage_seconds = Histogram(
            "reid_stage_seconds",
            "Time of one stage of a request; embed includes waiting for the network.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "reid_images", "Uploaded images, by outcome.", ["outcome"], registry=self.registry
        )
        self.batch_images = Histogram(
            "reid_batch_images",
            "Images of one run of the network.",
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.queue_images = Gauge(
            "reid_queue_images", "Images waiting for the network.", registry=self.registry
        )
        self.jobs = Gauge("reid_jobs", "Jobs that wait or run.", ["state"], registry=self.registry)
        self.provider = Gauge(
            "reid_provider",
            "1 for the provider in use: where the network runs and where galleries are searched.",
            ["part", "provider"],
            registry=self.registry,
        )

        self._background_failures = Counter(
            "reid_background_failures",
            "Failures of background tasks; each was logged, and the task went on.",
            ["task"],
            registry=self.registry,
        )

    def count_failure(self, task: str) -> None:
        """Count one failure of a background task."""
        self._background_failures.labels(task).inc()

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Count one stage of one request."""
        self._stage_seconds.labels(stage).observe(seconds)

    def count_galleries(self, store: GalleryStore) -> None:
        """Report the sizes of this store's galleries at every scrape."""
        self._galleries.register(_GallerySizes(store.stats))

    def text(self, *, galleries: bool) -> bytes:
        """Every metric in Prometheus' text format, the sizes of the galleries where asked for."""
        sizes = generate_latest(self._galleries) if galleries else b""
        return generate_latest(self.registry) + sizes


class CountedEmbedder:
    """An embedder that reports the size of every batch it runs.

    Args:
        embedder: does the work.
        observe: called with the number of images before each run.
    """

    def __init__(self, embedder: Embedder, observe: Callable[[int], object]) -> None:
        self._embedder = embedder
        self._observe = observe

    @property
    def manifest(self) -> Manifest:
        """The model's manifest."""
        return self._embedder.manifest

    @property
    def provider(self) -> str:
        """Where the network runs."""
        return self._embedder.provider

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed a batch, as the wrapped embedder does."""
        self._observe(len(images))
        return self._embedder.embed(images)


class _GallerySizes(Collector):
    def __init__(self, stats: Callable[[], list[GalleryStats]]) -> None:
        self._stats = stats

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [_gauge("crops"), _gauge("identities"), _gauge("bytes")]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        crops, identities, size = self.describe()
        for gallery in self._stats():
            crops.add_metric([gallery.name], gallery.crops)
            identities.add_metric([gallery.name], gallery.identities)
            size.add_metric([gallery.name], gallery.bytes_on_disk)
        return [crops, identities, size]


def _gauge(what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"reid_gallery_{what}", f"{what} of a gallery", labels=["gallery"])
