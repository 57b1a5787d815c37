"""Items into a gallery: batch by batch, skipping what is there already."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from service.embedding.encoded_image import EncodedImage
from service.embedding.shelf import Model, ModelShelf, OpenGallery
from service.errors import Conflict, ReidError, Unavailable
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery, GalleryStore
from service.imports.items import Items, Picture, Ready
from service.ingest.crop_names import LeftOut
from service.ingest.enroller import identified
from service.ingest.joining import keep_findings, stored_crops
from service.jobs.bridge import BATCH
from service.jobs.context import JobContext

_READY = 256
_BYTES = 32 << 20
_PARALLEL = 2  # one batch is embedded while another is stored and the next one read


def store_items(context: JobContext, store: GalleryStore, shelf: ModelShelf, items: Items) -> None:
    """Bring items into the job's gallery.

    Safe to repeat: what is there with the same bytes and metadata is only counted.

    Args:
        context: the job; every item is counted there, one that fails by itself with its reason.
        store: the galleries.
        shelf: the models.
        items: where they come from; no crop_id comes twice.

    Raises:
        ReidError: the source cannot be read further, or the service cannot store.
        Interrupted: let it pass.
    """
    first: Model | None = None
    under_way: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="import")
    try:
        for batch in _batches(context, items):
            context.raise_if_cancelled()
            opened = shelf.open(store, context.gallery)
            first = first or opened.model
            if opened.model is not first and any(isinstance(item, Ready) for item in batch):
                raise Conflict(_switched(context.gallery))
            under_way.append(pool.submit(_store, context, store, opened, batch))
            if len(under_way) > _PARALLEL:
                under_way.popleft().result()
        while under_way:
            under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _switched(gallery: str) -> str:
    return (
        f"gallery {gallery!r} was switched to another model while embeddings were imported, which "
        "belong to the model before: switch back, or import pictures"
    )


def _batches(context: JobContext, items: Items) -> Iterator[list[Picture | Ready]]:
    """Usable items in batches; the others are counted here."""
    batch: list[Picture | Ready] = []
    size = 0
    failure: ReidError | None = None
    try:
        for item in items:
            usable = _usable(context, item)
            if usable is None:
                context.raise_if_cancelled()
                continue
            batch.append(usable)
            size += len(usable.data) if isinstance(usable, Picture) else 0
            most = BATCH if isinstance(usable, Picture) else _READY
            if len(batch) >= most or size >= _BYTES:
                yield batch
                batch, size = [], 0
    except ReidError as error:
        failure = error  # what came before it is sound
    if batch:
        yield batch
    if failure is not None:
        raise failure


def _usable(context: JobContext, item: Picture | Ready | LeftOut) -> Picture | Ready | None:
    if not isinstance(item, LeftOut):
        return item
    if item.is_error:
        context.fail(str(item.path), item.reason)
    else:
        context.count("left_out")
    return None


def _store(
    context: JobContext,
    store: GalleryStore,
    opened: OpenGallery,
    batch: Sequence[Picture | Ready],
) -> None:
    context.raise_if_cancelled()
    known = stored_crops(opened.gallery, {item.crop.crop_id for item in batch})
    new = _changed(context, batch, known, _lacking(opened.gallery, batch))
    _store_ready(context, store, opened, [item for item in new if isinstance(item, Ready)])
    _store_pictures(context, [item for item in new if isinstance(item, Picture)])


def _lacking(gallery: Gallery, batch: Sequence[Picture | Ready]) -> set[str]:
    """Crops whose picture is to be stored and is not, though the crop may be."""
    if not gallery.options.store_crops:
        return set()
    sent = {item.crop.crop_id for item in batch if isinstance(item, Picture)}
    return sent - gallery.pictured(Filter(crop_ids=frozenset(sent)))


def _changed(
    context: JobContext,
    batch: Sequence[Picture | Ready],
    known: Mapping[str, Crop],
    lacking: Collection[str],
) -> list[Picture | Ready]:
    """What the gallery does not hold yet; the rest is counted.

    The items stay as they were sent: what the gallery found out of them is decided again when they
    are stored, and may be something else by then.
    """
    coming = [replace(item.crop, digest=_digest(item)) for item in batch]
    new: list[Picture | Ready] = []
    for item, sent, kept in zip(batch, coming, keep_findings(coming, known), strict=True):
        if kept == known.get(kept.crop_id) and kept.crop_id not in lacking:
            context.count("unchanged")
        else:
            new.append(replace(item, crop=sent))
    return new


def _digest(item: Picture | Ready) -> str:
    data = item.data if isinstance(item, Picture) else item.embedding.astype("<f4").tobytes()
    return hashlib.sha256(data).hexdigest()


def _store_pictures(context: JobContext, pictures: Sequence[Picture]) -> None:
    try:
        _enrol(context, pictures)
    except Unavailable:
        context.raise_if_cancelled()
        _enrol(context, _without_poison(context, pictures))


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


def _without_poison(context: JobContext, pictures: Sequence[Picture]) -> list[Picture]:
    """Find the pictures the network fails on, each by itself.

    Raises:
        Unavailable: it fails on any picture: it is not they that are at fault.
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


def _store_ready(
    context: JobContext, store: GalleryStore, opened: OpenGallery, ready: Sequence[Ready]
) -> None:
    if not ready:
        return
    rows = np.stack([item.embedding for item in ready])
    with store.changing(context.gallery) as gallery:
        if gallery.model_sha256 != opened.model.manifest.sha256:
            raise Conflict(_switched(context.gallery))
        known = stored_crops(gallery, {item.crop.crop_id for item in ready})
        crops = identified(gallery, opened.model, [item.crop for item in ready], rows, known)
        gallery.upsert(crops, rows)
    for item in ready:
        context.count("replaced" if item.crop.crop_id in known else "created")
