"""Run import jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from service.access.caller import Caller
from service.detection.frame_intake import FrameOptions
from service.embedding.shelf import ModelShelf
from service.errors import InvalidInput, Unsupported
from service.gallery.protocol import GalleryStore
from service.imports.persons import LookingOptions, PersonFinder
from service.imports.reader import RECEIVED, ImportReader, ImportRequest, named_manifest, reading_of
from service.imports.root_files import discard_copies
from service.imports.roots import ImportRoots, roots_for
from service.imports.storing import store_items
from service.imports.subprocess_reader import (
    ForkServer,
    SubprocessReader,
    can_fork_readers,
    shared_fork_server,
)
from service.imports.videos import VideoRules
from service.ingest.arrivals import Arrivals
from service.ingest.crop_names import naming_of
from service.ingest.rows import format_of
from service.ingest.summary import summary_lines
from service.jobs.context import JobContext
from service.jobs.job import Order
from service.settings import Settings
from service.tracking.keeping import KeepingOptions
from service.values.tiling import Grid
from service.video.sampling import FPS, LEAST_FPS_OF_TRACKS

log = logging.getLogger(__name__)

__all__ = ["RECEIVED", "Importer", "check_folder", "looking_options", "unbound"]

_UNBOUND = "unbound"
_USED = ("created", "replaced", "unchanged", "frames", "failed")
_WITH_ROWS = frozenset({"ndjson", "csv", "parquet"})


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports folders, archives and manifests.

    Attributes:
        settings: every setting.
        store: the galleries.
        shelf: the models.
        arrivals: is told what was stored.
        fork_server: starts the processes that read imports.
    """

    settings: Settings
    store: GalleryStore
    shelf: ModelShelf
    arrivals: Arrivals
    fork_server: ForkServer = field(default_factory=shared_fork_server)

    def run(self, context: JobContext) -> None:
        """Run one import; safe to repeat from its start.

        Args:
            context: the job; its spec contains ``source`` and the other options of the import.

        Raises:
            InvalidInput: nothing could be imported.
        """
        expected = _Expected(context)
        reader = self._reader(context, expected)
        finder = PersonFinder(context, looking_options(context.spec), expected.add_persons)
        try:
            with closing(reader.items()) as items:  # closes its files in any case
                store_items(context, self.store, self.shelf, finder.pictures(items), self.arrivals)
        finally:
            discard_copies(context.folder)  # they contain personal data
        result = reader.result()
        context.finish(result)
        counts = context.progress.counts()
        if not any(counts.get(outcome) for outcome in _USED):
            raise InvalidInput("; ".join(("nothing could be imported", *summary_lines(result))))

    def _reader(self, context: JobContext, expected: _Expected) -> ImportReader | SubprocessReader:
        request = self._request(context)
        if can_fork_readers():
            return SubprocessReader(
                request, self.fork_server, expected.read, context.raise_if_cancelled
            )
        log.warning("this system reads imports in the service process, without a memory limit")
        return ImportReader(request, expected.read)

    def _request(self, context: JobContext) -> ImportRequest:
        order, settings = context.job.order, self.settings
        rows = order.spec["source"] in _WITH_ROWS
        return ImportRequest(
            spec=order.spec,
            gallery=order.gallery,
            # Checked again, because the settings may have changed since the job was accepted.
            bound=_bound(order),
            folder=str(context.folder),
            roots=_as_texts(settings),
            image_bytes=settings.max_image_bytes,
            unpacked_bytes=settings.max_import_bytes,
            dimension=self.store.open(context.gallery).dimension if rows else 0,
            memory_bytes=settings.import_memory_bytes,
            image_pixels=settings.max_image_pixels,
            no_videos=_why_no_videos(context),
        )


@dataclass(slots=True)
class _Expected:
    """The number of items of a job: those that are read, and the persons found on frames."""

    context: JobContext
    _items: int | None = None
    _persons: int = 0

    def read(self, items: int) -> None:
        self._items = items
        self.context.expect(items + self._persons)

    def add_persons(self, persons: int) -> None:
        self._persons += persons
        if self._items is not None:
            self.context.expect(self._items + self._persons)


def looking_options(spec: Mapping[str, Any]) -> LookingOptions:
    """How the videos of an import are looked at.

    Args:
        spec: ``fps``, ``tiles``, ``score`` and ``tracks`` are all optional.

    Returns:
        The options; persons are followed unless that is not wanted or cannot work.

    Raises:
        InvalidInput: persons are to be followed with too few frames.
    """
    score, tracks, fps = spec.get("score"), spec.get("tracks"), spec.get("fps") or FPS
    if tracks and fps < LEAST_FPS_OF_TRACKS:
        raise InvalidInput(
            f"tracks need fps of at least {LEAST_FPS_OF_TRACKS:g}, got {fps:g}: people leave their "
            "places between two frames"
        )
    frames = FrameOptions(Grid.read(spec.get("tiles") or "1x1"), score)
    if tracks is False or fps < LEAST_FPS_OF_TRACKS:
        return LookingOptions(frames)
    return LookingOptions(frames, KeepingOptions(fps, score))


def _why_no_videos(context: JobContext) -> str:
    try:
        context.require_detector()
    except Unsupported as error:
        return str(error)
    return ""


def check_folder(settings: Settings, order: Order) -> None:
    """Check that a server folder can be imported, before the job is created.

    Args:
        settings: every setting.
        order: an import with the source ``folder``.

    Raises:
        Forbidden: the caller is bound to galleries, and no folder is mapped to this gallery.
        InvalidInput: the folder, its manifest or the pattern cannot be used.
    """
    spec = order.spec
    with _roots(settings, order) as roots:
        roots.folder(spec["folder"])
        naming_of(spec.get("pattern"), spec.get("layout"))
        VideoRules.read(spec, reading_of(spec))
        looking_options(spec)
        if spec.get("manifest"):
            format_of(named_manifest(roots, spec))


def unbound(caller: Caller) -> dict[str, bool]:
    """The entry of an import's spec for a caller who may read the folders of every gallery.

    A job without this entry counts as one of a caller who is bound to galleries, unless it has no
    owner: without keys, everyone has full access.
    """
    return {_UNBOUND: True} if caller.key_id is not None and caller.galleries is None else {}


def _roots(settings: Settings, order: Order) -> ImportRoots:
    return roots_for(settings.import_roots, order.gallery, bound=_bound(order))


def _bound(order: Order) -> bool:
    return order.owner is not None and not order.spec.get(_UNBOUND, False)


def _as_texts(settings: Settings) -> list[str] | Mapping[str, list[str]]:
    roots = settings.import_roots
    if isinstance(roots, Mapping):
        return {name: [*map(str, paths)] for name, paths in roots.items()}
    return [*map(str, roots)]
