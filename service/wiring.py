"""Build the parts of a running service and connect them."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Literal

from service.alerts.alerts import AlertRules, Alerts
from service.alerts.judge import Judge
from service.detection.detection import Detection
from service.detection.person_cutter import PersonCutter
from service.embedding.embedder import Embedder
from service.embedding.shelf import ModelShelf
from service.erasure.crops import Erasure
from service.erasure.retention import Retention
from service.errors import Conflict, ReidError, StorageFull, Unavailable
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import GalleryStore
from service.gallery.rules import model_mismatch
from service.identities.corrections import Corrections
from service.ingest.arrivals import Arrivals
from service.ingest.embedding_enroller import EmbeddingEnroller
from service.ingest.enroller import Enroller
from service.ingest.frame_enroller import FrameEnroller
from service.jobs.board import JobBoard
from service.jobs.bridge import Bridge
from service.machine.background import Repeating
from service.machine.executors import Executors
from service.metrics import Metrics
from service.model.manifest import Manifest
from service.model_change.change import ModelChange
from service.networks import open_shelf, prepare_detection
from service.readiness import Clock, Readiness
from service.runners import Runners
from service.search.searcher import Searcher
from service.settings import Settings
from service.values.addresses import AllowedAddresses
from service.values.broker import Broker

log = logging.getLogger(__name__)

DEFAULT_GALLERY = "default"


@dataclass(slots=True)
class Lifecycle:
    """The phase of the service: starting, ready or draining."""

    phase: Literal["starting", "ready", "draining"] = "starting"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that the routes use."""

    settings: Settings
    shelf: ModelShelf
    detection: Detection
    cutter: PersonCutter
    store: GalleryStore
    searcher: Searcher
    enroller: Enroller
    embedding_enroller: EmbeddingEnroller
    frame_enroller: FrameEnroller
    board: JobBoard
    alerts: Alerts
    erasure: Erasure
    corrections: Corrections
    model_change: ModelChange
    repeating: tuple[Repeating, ...]
    executors: Executors
    readiness: Readiness
    metrics: Metrics
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    @property
    def manifest(self) -> Manifest:
        """The model the service was started with."""
        return self.shelf.running.manifest

    @property
    def providers(self) -> dict[str, str]:
        """Where network and search run: ``cuda``, ``cpu`` or, for the search, ``milvus``."""
        return {"network": self.shelf.running.provider, "search": self.store.device}

    async def start(self) -> None:
        """Run the network once, create the default gallery if needed, and start the jobs."""
        await self.shelf.running.intake.probe()
        await self.executors.background.run(self._provide_default_gallery)
        await self.executors.background.run(self.board.start, asyncio.get_running_loop())
        await self.executors.background.run(self._start_alerts)
        for task in self.repeating:
            task.start()
        self.lifecycle.phase = "ready"

    async def check_ready(self) -> None:
        """Check that the service is ready, the network runs and the disk accepts writes.

        Raises:
            Unavailable: the service is starting or draining, which is reported at once; or the
                network or the disk failed within the last second.
        """
        if self.lifecycle.phase != "ready":
            raise Unavailable(f"the service is {self.lifecycle.phase}")
        await self.readiness.check()

    def admit_upload(self) -> None:
        """Reject an upload that would have to wait too long for every opened model.

        Raises:
            Overloaded: the queue of every model is too long.
            Unavailable: the service is shutting down.
        """
        refusals: list[Unavailable] = []
        for model in self.shelf.opened():
            try:
                model.intake.admit()
            except Unavailable as error:
                refusals.append(error)
            else:
                return
        raise refusals[0]

    async def close(self) -> None:
        """Finish the running work, then release threads and files, even if a step fails."""
        self.lifecycle.phase = "draining"
        async with AsyncExitStack() as closing:  # closes in reverse order
            closing.push_async_callback(self.executors.close)
            closing.push_async_callback(self.executors.background.run, self.store.close)
            closing.push_async_callback(self.shelf.close)
            closing.push_async_callback(self.executors.background.run, self.cutter.close)
            closing.push_async_callback(self.detection.close)
            closing.push_async_callback(self.executors.background.run, self.alerts.close)
            closing.push_async_callback(self.executors.background.run, self.board.close)
            for task in self.repeating:
                closing.push_async_callback(task.close)

    def _provide_default_gallery(self) -> None:
        try:
            self.store.create(DEFAULT_GALLERY, self.manifest.sha256, self.manifest.dimension)
        except Conflict:
            self._warn_of_other_models()
        except StorageFull as error:  # the stored galleries can still be searched
            log.warning("%s", error)

    def _start_alerts(self) -> None:
        try:
            self.alerts.start()
        except ReidError as error:  # searches must go on; the watches wait for the next start
            log.warning("watches are not judged: %s", error)

    def _warn_of_other_models(self) -> None:
        for gallery in self.store.stats():
            if gallery.model_sha256 not in {manifest.sha256 for manifest in self.shelf.manifests()}:
                mismatch = model_mismatch(gallery.name, gallery.model_sha256, self.manifest.sha256)
                log.warning("%s", mismatch)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is opened outside the process, and closed with the service: models and galleries."""

    shelf: ModelShelf
    detection: Detection
    cutter: PersonCutter
    store: GalleryStore


def open_parts(
    settings: Settings,
    embedder: Embedder | None = None,
    store: GalleryStore | None = None,
    clock: Clock = time.monotonic,
) -> Parts:
    """Open the model and the galleries and connect the parts.

    Args:
        settings: every setting.
        embedder: replaces the model that the settings name.
        store: replaces the data folder that the settings name.
        clock: monotonic, in seconds; times how long a readiness answer is reused.

    Returns:
        The parts, not started yet.

    Raises:
        ArtifactError: the model violates the contract.
        Unavailable: the device or the data folder cannot be used.
    """
    metrics = Metrics()
    executors = Executors(metrics.count_failure)
    shelf = open_shelf(settings, metrics, embedder)
    detecting = prepare_detection(settings, metrics, executors)
    opened = _Opened(shelf, *detecting, store or _open_store(settings))
    readiness = Readiness(partial(_look, opened, executors), clock)
    return _observed(_connect(settings, opened, executors, readiness, metrics))


def _connect(
    settings: Settings,
    opened: _Opened,
    executors: Executors,
    readiness: Readiness,
    metrics: Metrics,
) -> Parts:
    """Build every part from those that it works with."""
    shelf, store, cutter = opened.shelf, opened.store, opened.cutter
    arrivals = Arrivals()
    enroller = Enroller(store, shelf, executors, arrivals)
    alerts = _open_alerts(settings, Judge(store, shelf), arrivals, metrics)
    corrections = Corrections(alerts.renames.following)
    bridge = Bridge(shelf.running.intake, enroller, cutter, metrics.observe_stage)
    model_change = ModelChange(store, shelf, bridge)
    runners = Runners(settings, store, shelf, arrivals, corrections, model_change)
    board = _open_board(settings, runners, bridge, metrics)
    erasure = Erasure(store, board, alerts)
    return Parts(
        settings=settings,
        shelf=shelf,
        detection=opened.detection,
        cutter=cutter,
        store=store,
        searcher=Searcher(store, shelf, executors.reads, executors.heavy),
        enroller=enroller,
        embedding_enroller=EmbeddingEnroller(store, shelf, executors, arrivals),
        frame_enroller=FrameEnroller(cutter, enroller, settings.max_images),
        board=board,
        alerts=alerts,
        erasure=erasure,
        corrections=corrections,
        model_change=model_change,
        repeating=_repeating(settings, erasure, shelf, executors, metrics),
        executors=executors,
        readiness=readiness,
        metrics=metrics,
    )


def _open_board(settings: Settings, runners: Runners, bridge: Bridge, metrics: Metrics) -> JobBoard:
    report, most = metrics.count_failure, settings.max_kept_bytes
    return JobBoard(settings.data, runners.run, bridge, report, most)


def _open_alerts(settings: Settings, judge: Judge, arrivals: Arrivals, metrics: Metrics) -> Alerts:
    rules = AlertRules(
        settings.event_days, AllowedAddresses.read(settings.webhooks), _broker(settings)
    )
    return Alerts(settings.data, judge, arrivals, metrics.count_failure, rules)


def _broker(settings: Settings) -> Broker | None:
    """The broker that the settings name. Raises Unavailable without its extra."""
    if settings.mqtt is None:
        return None
    if find_spec("aiomqtt") is None:
        raise Unavailable(
            "REID_MQTT is set, but aiomqtt is not installed: pip install 'hhcl-reid[mqtt]'"
        )
    return Broker.read(settings.mqtt.get_secret_value())


def _observed(parts: Parts) -> Parts:
    """Make the metrics read the sizes of galleries and queues at every scrape."""
    metrics, shelf, board = parts.metrics, parts.shelf, parts.board
    metrics.count_galleries(parts.store)
    metrics.queue_images.set_function(
        lambda: (
            sum(model.batcher.stats().queued for model in shelf.opened()) + parts.detection.queued
        )
    )
    metrics.jobs.labels("queued").set_function(lambda: board.waiting)
    metrics.jobs.labels("running").set_function(lambda: board.running)
    for part, provider in parts.providers.items():
        metrics.provider.labels(part, provider).set(1)
    return parts


async def _look(opened: _Opened, executors: Executors) -> None:
    """Do what a request would do: run the network and check that the disk accepts writes."""
    await opened.shelf.running.intake.probe()
    if not await executors.bookkeeping.run(opened.store.writable):
        raise Unavailable("the data folder accepts no writes", retry_after=10)


def _repeating(
    settings: Settings, erasure: Erasure, shelf: ModelShelf, executors: Executors, metrics: Metrics
) -> tuple[Repeating, ...]:
    """The periodic tasks. A failure is counted, and the task continues."""
    pause, threads, report = settings.retention_seconds, executors.background, metrics.count_failure
    idle = settings.model_idle_seconds
    return (
        Repeating(
            "retention", Retention(erasure.store, report, erasure).run, pause, threads, report
        ),
        Repeating("tidy", erasure.store.tidy, pause, threads, report),
        Repeating("jobs", erasure.tidy_jobs, pause, threads, report),
        Repeating("events", erasure.tidy_alerts, pause, threads, report),
        Repeating("models", partial(shelf.rest, idle), min(pause, idle), threads, report),
    )


def _open_store(settings: Settings) -> GalleryStore:
    if settings.milvus_uri is None:
        return DiskGalleryStore(
            settings.data,
            device=settings.device,
            embeddings=settings.embeddings,
            idle_seconds=settings.model_idle_seconds,
        )
    try:
        from service.gallery.milvus.store import MilvusGalleryStore  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"REID_MILVUS_URI is {settings.milvus_uri}, but {error.name} is not installed: "
            "pip install 'hhcl-reid[milvus]'"
        ) from error
    return MilvusGalleryStore(settings.milvus_uri, token=settings.milvus_token.get_secret_value())
