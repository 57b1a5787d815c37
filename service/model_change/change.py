"""A gallery's way from one model to another, and back.

begin: a copy beside the gallery → embed what the copy lacks → compare → switch → drop the old one
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from service.errors import Conflict, NotFound, ReidError, Unsupported
from service.gallery.base import Crop, Filter, Gallery, GalleryStore
from service.gallery.local import LocalGalleryStore
from service.intake import Embedding
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext
from service.model_change.comparison import compare
from service.model_change.differences import Differences, differences
from service.model_shelf import ModelShelf
from service.upload import Upload

_BATCH = 32
_LATE = 256
"""A switch embeds no more crops than this itself: writes wait meanwhile."""

Embed = Callable[[Sequence[Upload]], list[Embedding | ReidError]]
Failed = Callable[[str, str], object]


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A gallery's crops under one model.

    Attributes:
        sha256: the model.
        name: its name, None where the service does not have the model any more.
        served: whether this is the one that is searched.
        crops: crops it holds.
        behind: crops of the served version that it lacks or holds otherwise.
    """

    sha256: str
    name: str | None
    served: bool
    crops: int
    behind: int


class ModelChange:
    """Embeds galleries by other models, and switches them.

    Args:
        store: the galleries.
        shelf: the models.
        bridge: embeds from other threads.
    """

    def __init__(self, store: GalleryStore, shelf: ModelShelf, bridge: Bridge) -> None:
        self._store = store
        self._shelf = shelf
        self._bridge = bridge

    def check(self, gallery: str, model_name: str) -> None:
        """Refuse a change that cannot succeed, before a job is made of it.

        Raises:
            NotFound: no such gallery or model.
            Conflict: it is served already, or no picture is stored.
            Unsupported: the galleries are not on this machine.
        """
        store = self._local()
        stats = next((one for one in store.stats() if one.name == gallery), None)
        sha256 = self._shelf.named(model_name).manifest.sha256
        if stats is None or store.open(gallery).model_sha256 == sha256:
            store.open(gallery)  # says which galleries there are not
            raise Conflict(f"gallery {gallery!r} is served by model {model_name!r} already")
        if stats.crops and not stats.pictures:
            raise Conflict(
                f"gallery {gallery!r} stores no pictures: they cannot be embedded anew. Set "
                "store_crops, index the crops again, then change the model"
            )

    def run(self, context: JobContext) -> None:
        """Embed a gallery by another model, beside the one that is searched.

        Args:
            context: the job; its spec names the ``model``.
        """
        model = self._shelf.named(context.spec["model"])
        self.check(context.gallery, model.manifest.name)
        served = self._store.open(context.gallery)
        copy = self._local().begin_model(
            context.gallery, model.manifest.sha256, model.manifest.dimension
        )
        found = differences(served, copy)
        context.expect(len(found.to_embed))

        def embed(uploads: Sequence[Upload]) -> list[Embedding | ReidError]:
            context.raise_if_cancelled()
            return context.embed(uploads, model.intake)

        for embedded in _follow(served, copy, found, embed, context.fail):
            context.count("embedded", embedded)
        context.raise_if_cancelled()
        comparison = compare(served, copy)
        context.finish(
            {
                "model": model.manifest.name,
                "sha256": model.manifest.sha256,
                "behind": len(differences(served, copy)),
                "comparison": None if comparison is None else asdict(comparison),
            }
        )

    def versions(self, gallery: str) -> list[KeptVersion]:
        """Every version of a gallery, the served one first. Raises NotFound."""
        served = self._store.open(gallery)
        names = {manifest.sha256: manifest.name for manifest in self._shelf.manifests()}
        versions = [_version(served, served, names)]
        if isinstance(self._store, LocalGalleryStore):
            versions += [_version(copy, served, names) for copy in self._store.kept_models(gallery)]
        return versions

    def switch(self, gallery: str, model_name: str, *, allow_missing: bool) -> None:
        """Serve a gallery by another of its versions, from one moment to the next.

        The version is brought up to date first, so nothing written meanwhile is lost; it is the
        way back, too.

        Args:
            gallery: which gallery.
            model_name: the model of the version.
            allow_missing: leave crops behind that cannot be embedded, for want of a picture.

        Raises:
            NotFound: no such gallery, model or version.
            Conflict: it is served already, or too much is missing.
        """
        store = self._local()
        model = self._shelf.named(model_name)
        sha256 = model.manifest.sha256
        served = store.open(gallery)
        if served.model_sha256 == sha256:
            raise Conflict(f"gallery {gallery!r} is served by model {model_name!r} already")
        if sha256 not in {copy.model_sha256 for copy in store.kept_models(gallery)}:
            raise NotFound(f"gallery {gallery!r} has no version of model {model_name!r} yet")

        def embed(uploads: Sequence[Upload]) -> list[Embedding | ReidError]:
            return self._bridge.embed(uploads, time.sleep, model.intake)

        def catch_up(served: Gallery, copy: Gallery) -> None:
            left = _catch_up(served, copy, embed)
            if left and not allow_missing:
                raise Conflict(
                    f"{len(left)} crops cannot be embedded by model {model_name!r}, such as "
                    f"{left[0]!r}: they would be left behind; say so with allow_missing=true"
                )

        store.switch_model(gallery, sha256, catch_up)

    def drop(self, gallery: str, sha256: str) -> None:
        """Delete a version that is not served. Raises NotFound, Conflict if it is served."""
        self._local().drop_model(gallery, sha256)

    def _local(self) -> LocalGalleryStore:
        if not isinstance(self._store, LocalGalleryStore):
            raise Unsupported(
                "galleries in Milvus keep no pictures, so they cannot be embedded by another "
                "model: create a gallery of that model and index the crops again"
            )
        return self._store


def _version(copy: Gallery, served: Gallery, names: Mapping[str, str]) -> KeptVersion:
    return KeptVersion(
        sha256=copy.model_sha256,
        name=names.get(copy.model_sha256),
        served=copy is served,
        crops=copy.stats().crops,
        behind=0 if copy is served else len(differences(served, copy)),
    )


def _catch_up(served: Gallery, copy: Gallery, embed: Embed) -> list[str]:
    """Bring a copy up to date while writes wait; the ids it cannot hold."""
    found = differences(served, copy)
    if sum(_has_picture(served, crop) for crop in found.to_embed) > _LATE:
        raise Conflict(
            f"{len(found.to_embed)} crops were added or changed since: start the change again, it "
            "embeds only those, then switch"
        )
    left: list[str] = []
    for _ in _follow(served, copy, found, embed, lambda crop_id, _: left.append(crop_id)):
        pass
    return left


def _follow(
    served: Gallery, copy: Gallery, found: Differences, embed: Embed, failed: Failed
) -> Iterator[int]:
    """Do to the copy what it lacks; yields how many crops were embedded, batch by batch."""
    if found.to_delete:
        copy.delete(Filter(crop_ids=frozenset(found.to_delete)))
    for batch in _batches(found.to_rename):
        copy.upsert(batch, copy.embeddings([crop.crop_id for crop in batch]))
    for batch in _batches(found.to_embed):
        yield _embed_batch(served, copy, batch, embed, failed)


def _embed_batch(
    served: Gallery, copy: Gallery, batch: Sequence[Crop], embed: Embed, failed: Failed
) -> int:
    pictures = {crop: picture for crop in batch if (picture := _picture(served, crop, failed))}
    uploads = [Upload(crop.crop_id, picture) for crop, picture in pictures.items()]
    rows: dict[Crop, Embedding] = {}
    for crop, outcome in zip(pictures, embed(uploads) if uploads else (), strict=True):
        if isinstance(outcome, ReidError):
            failed(crop.crop_id, str(outcome))
        else:
            rows[crop] = outcome
    if rows:
        copy.upsert(list(rows), np.stack(list(rows.values())), [pictures[crop] for crop in rows])
    return len(rows)


def _picture(served: Gallery, crop: Crop, failed: Failed) -> bytes | None:
    try:
        return served.picture(crop.crop_id)
    except NotFound as error:
        failed(crop.crop_id, str(error))
        return None


def _has_picture(served: Gallery, crop: Crop) -> bool:
    return _picture(served, crop, lambda *_: None) is not None


def _batches(crops: Sequence[Crop]) -> Iterator[Sequence[Crop]]:
    for start in range(0, len(crops), _BATCH):
        yield crops[start : start + _BATCH]
