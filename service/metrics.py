"""The metrics of ``GET /metrics``.

Each app has its own registry, so two apps in one process do not add up their counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.access.rules import METHODS
from service.gallery.base import GalleryStats
from service.gallery.protocol import GalleryStore
from service.metric_labels import (
    OUTCOMES,
    PARTS,
    PROVIDERS,
    ROUTES,
    STAGES,
    STATES,
    STATUSES,
    TASKS,
    Bounded,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MOST_GALLERIES = 1000  # with their own series; the sizes of all others are added up
_OTHER_GALLERIES = "(others)"  # not a valid gallery name


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._galleries = CollectorRegistry()  # separate: not every caller may see their names
        self._add_requests()
        self._add_work()

    def _add_requests(self) -> None:
        self._requests = Bounded(
            Counter(
                "reid_requests",
                "Answered requests.",
                ["method", "route", "status"],
                registry=self.registry,
            ),
            *(METHODS, ROUTES, STATUSES),
        )
        self._request_seconds = Bounded(
            Histogram(
                "reid_request_seconds",
                "Time from the request's head to the end of its answer.",
                ["method", "route"],
                buckets=_SECONDS,
                registry=self.registry,
            ),
            *(METHODS, ROUTES),
        )
        self._stage_seconds = Bounded(
            Histogram(
                "reid_stage_seconds",
                "Time of one stage of a request; embed includes waiting for the network.",
                ["stage"],
                buckets=_SECONDS,
                registry=self.registry,
            ),
            STAGES,
        )

    def _add_work(self) -> None:
        registry = self.registry
        self.images = Bounded(
            Counter("reid_images", "Uploaded images, by outcome.", ["outcome"], registry=registry),
            OUTCOMES,
        )
        self.batch_images = Histogram(
            "reid_batch_images",
            "Images per run of the network.",
            buckets=_IMAGES,
            registry=registry,
        )
        self.queue_images = Gauge(
            "reid_queue_images", "Images waiting for the network.", registry=registry
        )
        self.jobs = Bounded(
            Gauge("reid_jobs", "Jobs that are waiting or running.", ["state"], registry=registry),
            STATES,
        )
        self.provider = Bounded(
            Gauge(
                "reid_provider",
                "1 for the provider in use, which runs the network or searches the galleries.",
                ["part", "provider"],
                registry=registry,
            ),
            *(PARTS, PROVIDERS),
        )
        self._background_failures = Bounded(
            Counter(
                "reid_background_failures",
                "Failures of background tasks. Each is logged, and the task continues.",
                ["task"],
                registry=registry,
            ),
            TASKS,
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request.

        Args:
            method: as the client wrote it.
            route: the template of the route that answered, such as ``/jobs/{job_id}``.
            status: of the answer; 499 if the client disconnected before it.
            seconds: from the request's head to the end of the answer.
        """
        self._requests.labels(method, route, status).inc()
        self._request_seconds.labels(method, route).observe(seconds)

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
        """Every metric in Prometheus' text format; the sizes of the galleries only if requested."""
        sizes = generate_latest(self._galleries) if galleries else b""
        return generate_latest(self.registry) + sizes


class _GallerySizes(Collector):
    def __init__(self, stats: Callable[[], list[GalleryStats]]) -> None:
        self._stats = stats

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [_gauge("crops"), _gauge("identities"), _gauge("bytes")]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        crops, identities, size = self.describe()
        galleries = sorted(self._stats(), key=lambda gallery: gallery.name)
        shown, others = galleries[:_MOST_GALLERIES], galleries[_MOST_GALLERIES:]
        groups = [(gallery.name, [gallery]) for gallery in shown]
        for name, group in [*groups, (_OTHER_GALLERIES, others)] if others else groups:
            crops.add_metric([name], sum(gallery.crops for gallery in group))
            identities.add_metric([name], sum(gallery.identities for gallery in group))
            size.add_metric([name], sum(gallery.bytes_on_disk for gallery in group))
        return [crops, identities, size]


def _gauge(what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"reid_gallery_{what}", f"{what} of a gallery", labels=["gallery"])
