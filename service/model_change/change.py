"""Moves a gallery from one model to another, and back.

Begin a version for the new model → embed what it lacks → compare → switch → drop the old version
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from service.embedding.encoded_image import EncodedImage
from service.embedding.intake import Embedding
from service.embedding.shelf import ModelShelf
from service.errors import Conflict, NotFound, ReidError, Unsupported
from service.gallery.base import Crop, Filter
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.store import DiskGalleryStore
from service.gallery.protocol import Gallery, GalleryStore
from service.jobs.bridge import Bridge
from service.jobs.context import JobContext
from service.model_change.comparison import compare
from service.model_change.differences import differences
from service.model_change.following import Following, apply_known

_LATE = 256
"""Most crops that a switch embeds itself, since its caller waits meanwhile."""
_ROUNDS = 8
"""How often a switch catches up with concurrent writes before it gives up."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """One version of a gallery.

    Attributes:
        sha256: its model.
        name: the model's name; None if the service no longer has the model.
        served: whether this version is searched.
        crops: number of crops it holds.
        behind: number of crops in which it differs from the served version.
    """

    sha256: str
    name: str | None
    served: bool
    crops: int
    behind: int


class ModelChange:
    """Embeds galleries with other models, and switches them.

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
        """Reject a change that cannot succeed, before it becomes a job.

        Raises:
            NotFound: there is no such gallery or model.
            Conflict: the gallery is already served by this model, or stores no pictures.
            Unsupported: the galleries are not on this machine.
        """
        store = self._disk_store()
        stats = next((one for one in store.stats() if one.name == gallery), None)
        sha256 = self._shelf.named(model_name).manifest.sha256
        if stats is None or store.open(gallery).model_sha256 == sha256:
            store.open(gallery)  # raises NotFound if there is no such gallery
            raise Conflict(f"gallery {gallery!r} is already served by model {model_name!r}")
        if stats.crops and not stats.pictures:
            raise Conflict(
                f"gallery {gallery!r} stores no pictures, so its crops cannot be embedded again. "
                "Set store_crops, index the crops again, then change the model"
            )

    def run(self, context: JobContext) -> None:
        """Embed a gallery with another model, beside the version that is searched.

        Args:
            context: the job; its spec names the ``model``.
        """
        model = self._shelf.named(context.spec["model"])
        self.check(context.gallery, model.manifest.name)
        store, sha256 = self._disk_store(), model.manifest.sha256
        store.begin_model(context.gallery, sha256, model.manifest.dimension)

        def embed(uploads: Sequence[EncodedImage]) -> list[Embedding | ReidError]:
            context.raise_if_cancelled()
            return context.embed(uploads, model.intake)

        following = Following(store, context.gallery, sha256, embed)
        found = following.lacks()
        context.expect(len(found.to_embed))
        following.bring_over(found)
        for batch in following.embed(
            found.to_embed, lambda crop, why: context.fail(crop.crop_id, why)
        ):
            context.count("embedded", batch.embedded)
            if batch.overtaken:
                context.count("overtaken", batch.overtaken)
        context.raise_if_cancelled()
        with following.pair() as (served, copy):
            pass
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
        """All versions of a gallery, the served one first. Raises NotFound."""
        served = self._store.open(gallery)
        names = {manifest.sha256: manifest.name for manifest in self._shelf.manifests()}
        versions = [_version(served, served, names)]
        if isinstance(self._store, DiskGalleryStore):
            versions += [_version(copy, served, names) for copy in self._store.kept_models(gallery)]
        return versions

    def switch(self, gallery: str, model_name: str, *, allow_missing: bool) -> None:
        """Serve another version of a gallery, atomically; this is also how to switch back.

        The version is brought up to date first, so that nothing written meanwhile is lost. Crops
        are embedded while writes continue. Then writes wait for a moment while the rest is copied.
        If crops that must be embedded have arrived by then, writes continue and the switch starts
        over.

        Args:
            gallery: the gallery.
            model_name: the model of the version.
            allow_missing: leave out crops that cannot be embedded because they have no picture.

        Raises:
            NotFound: there is no such gallery, model or version.
            Conflict: this version is already served, too many crops are missing, or crops are
                written faster than they can be embedded.
        """
        store = self._disk_store()
        model = self._shelf.named(model_name)
        sha256 = model.manifest.sha256
        served = store.open(gallery)
        if served.model_sha256 == sha256:
            raise Conflict(f"gallery {gallery!r} is already served by model {model_name!r}")
        if sha256 not in {copy.model_sha256 for copy in store.kept_models(gallery)}:
            raise NotFound(f"gallery {gallery!r} has no version for model {model_name!r} yet")

        def embed(uploads: Sequence[EncodedImage]) -> list[Embedding | ReidError]:
            return self._bridge.embed(uploads, time.sleep, model.intake, first=True)

        catching_up = _CatchingUp(
            Following(store, gallery, sha256, embed), model_name, allow_missing=allow_missing
        )
        with self._bridge.going_first():
            for _ in range(_ROUNDS):
                catching_up.embed_late()
                try:
                    store.switch_model(gallery, sha256, catching_up.finish)
                except _LateError:
                    continue
                return
        raise Conflict(
            f"crops are added to gallery {gallery!r} faster than model {model_name!r} embeds them: "
            "switch when fewer crops are added"
        )

    def drop(self, gallery: str, sha256: str) -> None:
        """Delete a version that is not served. Raises NotFound, Conflict if it is served."""
        self._disk_store().drop_model(gallery, sha256)

    def _disk_store(self) -> DiskGalleryStore:
        if not isinstance(self._store, DiskGalleryStore):
            raise Unsupported(
                "galleries in Milvus store no pictures, so they cannot be embedded with another "
                "model: create a gallery for that model and index the crops again"
            )
        return self._store


def _version(copy: Gallery, served: Gallery, names: Mapping[str, str]) -> KeptVersion:
    behind = 0
    if isinstance(copy, DiskGallery) and isinstance(served, DiskGallery) and copy is not served:
        behind = len(differences(served, copy))
    return KeptVersion(
        sha256=copy.model_sha256,
        name=names.get(copy.model_sha256),
        served=copy is served,
        crops=copy.stats().crops,
        behind=behind,
    )


class _LateError(Exception):
    """Crops were added that must be embedded before the switch."""


class _CatchingUp:
    """Brings a version up to date for a switch: embeds without a lock, then copies the rest."""

    def __init__(self, following: Following, model_name: str, *, allow_missing: bool) -> None:
        self._following = following
        self._model_name = model_name
        self._allow_missing = allow_missing
        self._failed: set[tuple[str, str | None]] = set()  # crops by their digests

    def embed_late(self) -> None:
        """Embed what the version lacks while writes continue.

        Raises:
            Conflict: that is too much for a switch.
        """
        served, copy = self._following.now()
        found = differences(served, copy)
        late = self._embeddable(served, found.to_embed)
        if len(late) > _LATE:
            raise Conflict(
                f"{len(late)} crops were added or changed meanwhile: start the change of model "
                "again, which embeds only these, then switch"
            )
        self._following.bring_over(found)
        for _ in self._following.embed(late, lambda crop, _: self._failed.add(_key(crop))):
            pass

    def finish(self, served: Gallery, copy: Gallery) -> None:
        """Copy what needs no embedding, while nobody writes.

        Raises:
            Conflict: crops would be left out without ``allow_missing``.
            _LateError: crops were added that must be embedded first.
        """
        if not (isinstance(served, DiskGallery) and isinstance(copy, DiskGallery)):
            raise TypeError("a switch needs galleries on this machine")
        found = differences(served, copy)
        if self._embeddable(served, found.to_embed):
            raise _LateError
        left = [crop.crop_id for crop in found.to_embed]
        if left and not self._allow_missing:
            raise Conflict(
                f"{len(left)} crops cannot be embedded with model {self._model_name!r}, such as "
                f"{left[0]!r}: to leave them out, send allow_missing=true"
            )
        if left:  # the copy may hold embeddings of their older pictures
            copy.delete(Filter(crop_ids=frozenset(left)))
        apply_known(served, copy, found)

    def _embeddable(self, served: DiskGallery, crops: Sequence[Crop]) -> list[Crop]:
        """The crops with a stored picture that has not failed yet."""
        pictured = served.pictured(Filter(crop_ids=frozenset(crop.crop_id for crop in crops)))
        return [
            crop for crop in crops if crop.crop_id in pictured and _key(crop) not in self._failed
        ]


def _key(crop: Crop) -> tuple[str, str | None]:
    return crop.crop_id, crop.digest
