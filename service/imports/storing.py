"""Store items in a gallery, batch by batch, and skip those that are already there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image

from service.embedding.encoded_image import EncodedImage
from service.embedding.shelf import Model, ModelShelf, OpenGallery
from service.errors import Conflict, ReidError, Unavailable
from service.gallery.protocol import GalleryStore
from service.imports.items import Picture, Storable
from service.ingest.arrivals import Arrivals
from service.ingest.crop_names import LeftOut
from service.ingest.joining import stored_crops
from service.ingest.sent_embeddings import EmbeddedCrop, to_bytes
from service.ingest.storing import (
    Coming,
    lacking_pictures,
    store_dated,
    unchanged,
    with_digest,
)
from service.jobs.bridge import BATCH
from service.jobs.context import JobContext

_JOINING = 256  # embeddings at a time, if they may join the groups of those stored before them
_READY = 1024  # otherwise; each batch costs a transaction
_READY_BYTES = 8 << 20
_BYTES = 32 << 20
_PARALLEL = 2  # one batch is embedded while another is stored and the next one is read


def store_items(
    context: JobContext,
    store: GalleryStore,
    shelf: ModelShelf,
    items: Iterator[Storable],
    arrivals: Arrivals,
) -> None:
    """Store items in the job's gallery.

    Safe to repeat: items that are already stored with the same bytes and metadata are only counted.

    Args:
        context: the job, which counts every item and notes why one failed.
        store: the galleries.
        shelf: the models.
        items: what to store; no crop_id occurs twice.
        arrivals: is told what was stored.

    Raises:
        ReidError: the source cannot be read any further, or the service cannot store.
        Interrupted: the job has to end; do not catch it.
    """
    first: Model | None = None
    under_way: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="import")
    try:
        batches = _Batches(context, items)
        for batch in batches:
            context.raise_if_cancelled()
            opened = shelf.open(store, context.gallery)
            batches.joining = opened.gallery.options.join
            first = first or opened.model
            if opened.model is not first and any(isinstance(item, EmbeddedCrop) for item in batch):
                raise Conflict(_switched(context.gallery))
            under_way.append(pool.submit(_store, context, _Target(store, opened, arrivals), batch))
            if len(under_way) > _PARALLEL:
                under_way.popleft().result()
        while under_way:
            under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _switched(gallery: str) -> str:
    return (
        f"gallery {gallery!r} was switched to another model during this import, whose embeddings "
        "come from the previous model: switch back, or import pictures"
    )


class _Batches:
    """Groups usable items into batches; counts the others.

    Attributes:
        joining: whether new crops may join groups; they then come in smaller batches.
    """

    def __init__(self, context: JobContext, items: Iterator[Storable]) -> None:
        self.joining = True  # until the gallery is known
        self._context = context
        self._items = items

    def __iter__(self) -> Iterator[list[Picture | EmbeddedCrop]]:
        batch: list[Picture | EmbeddedCrop] = []
        size = 0
        failure: ReidError | None = None
        try:
            for item in self._items:
                usable = _usable(self._context, item)
                if usable is None:
                    self._context.raise_if_cancelled()
                    continue
                batch.append(usable)
                size += len(usable.data) if isinstance(usable, Picture) else 0
                if len(batch) >= self._most(usable) or size >= _BYTES:
                    yield batch
                    batch, size = [], 0
        except ReidError as error:
            failure = error  # the items before it are sound
        if batch:
            yield batch
        if failure is not None:
            raise failure

    def _most(self, item: Picture | EmbeddedCrop) -> int:
        if isinstance(item, Picture):
            return BATCH
        if self.joining:
            return _JOINING
        return max(_JOINING, min(_READY, _READY_BYTES // max(item.embedding.nbytes, 1)))


def _usable(context: JobContext, item: Storable) -> Picture | EmbeddedCrop | None:
    if not isinstance(item, LeftOut):
        return item
    if item.is_error:
        context.fail(str(item.path), item.reason)
    else:
        context.count("left_out")
    return None


@dataclass(frozen=True, slots=True)
class _Target:
    """The gallery of an import, as a batch found it, and who is told what was stored."""

    store: GalleryStore
    opened: OpenGallery
    arrivals: Arrivals


def _store(context: JobContext, target: _Target, batch: Sequence[Picture | EmbeddedCrop]) -> None:
    context.raise_if_cancelled()
    _store_embedded(context, target, [item for item in batch if isinstance(item, EmbeddedCrop)])
    _store_pictures(context, target.opened, [item for item in batch if isinstance(item, Picture)])


def _store_pictures(context: JobContext, opened: OpenGallery, pictures: Sequence[Picture]) -> None:
    new = _new_pictures(context, opened, pictures)
    if not new:
        return
    try:
        _enrol(context, new)
    except Unavailable:
        context.raise_if_cancelled()
        _enrol(context, _embeddable(context, new))


def _new_pictures(
    context: JobContext, opened: OpenGallery, pictures: Sequence[Picture]
) -> list[Picture]:
    """The pictures to embed and store, with their digests; the others are counted."""
    if not pictures:
        return []
    sent = [replace(item, crop=with_digest(item.crop, item.data)) for item in pictures]
    crops = [item.crop for item in sent]
    crop_ids = {crop.crop_id for crop in crops}
    same = unchanged(crops, stored_crops(opened.gallery, crop_ids))
    same -= lacking_pictures(opened.gallery, crop_ids)
    _count_unchanged(context, len(same))
    return [item for item in sent if item.crop.crop_id not in same]


def _count_unchanged(context: JobContext, count: int) -> None:
    if count:
        context.count("unchanged", count)


def _enrol(context: JobContext, pictures: Sequence[Picture]) -> None:
    if not pictures:
        return
    uploads = [EncodedImage(picture.name, picture.data) for picture in pictures]
    enrolments = context.enrol(context.gallery, uploads, [picture.crop for picture in pictures])
    for picture, enrolment in zip(pictures, enrolments, strict=True):
        if enrolment.error is None:
            context.count(enrolment.status)
        else:
            context.fail(picture.name, str(enrolment.error))


def _embeddable(context: JobContext, pictures: Sequence[Picture]) -> list[Picture]:
    """Embed each picture separately, and leave out those on which the network fails.

    Raises:
        Unavailable: the network fails on a blank picture too, so the pictures are not the cause.
    """
    context.embed([EncodedImage("blank", _blank())])
    sound: list[Picture] = []
    for picture in pictures:
        try:
            context.embed([EncodedImage(picture.name, picture.data)])
            sound.append(picture)
        except Unavailable as error:
            context.raise_if_cancelled()
            context.fail(picture.name, str(error))
    return sound


def _blank() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def _store_embedded(context: JobContext, target: _Target, items: Sequence[EmbeddedCrop]) -> None:
    if not items:
        return
    model = target.opened.model
    sent = [with_digest(item.crop, to_bytes(item.embedding)) for item in items]
    with target.store.changing(context.gallery) as gallery:
        if gallery.model_sha256 != model.manifest.sha256:
            raise Conflict(_switched(context.gallery))
        known = stored_crops(gallery, {crop.crop_id for crop in sent})
        same = unchanged(sent, known)
        new = [place for place, crop in enumerate(sent) if crop.crop_id not in same]
        if new:
            rows = np.stack([items[place].embedding for place in new])
            crops = [sent[place] for place in new]
            store_dated(gallery, model, Coming(crops, rows), known, target.arrivals)
    _count_unchanged(context, len(same))
    outcomes = Counter("replaced" if sent[place].crop_id in known else "created" for place in new)
    for outcome, count in outcomes.items():
        context.count(outcome, count)
