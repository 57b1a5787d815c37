"""A gallery's way from one model to another, and back.

begin: a copy beside the gallery → embed what the copy lacks → compare → switch → drop the old one
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
"""A switch embeds no more crops than this itself: whoever asked for it waits meanwhile."""
_ROUNDS = 8
"""How often a switch catches up with those who write meanwhile before it gives up."""


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
        store, sha256 = self._local(), model.manifest.sha256
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
        """Every version of a gallery, the served one first. Raises NotFound."""
        served = self._store.open(gallery)
        names = {manifest.sha256: manifest.name for manifest in self._shelf.manifests()}
        versions = [_version(served, served, names)]
        if isinstance(self._store, DiskGalleryStore):
            versions += [_version(copy, served, names) for copy in self._store.kept_models(gallery)]
        return versions

    def switch(self, gallery: str, model_name: str, *, allow_missing: bool) -> None:
        """Serve a gallery by another of its versions, from one moment to the next.

        The version is brought up to date first, so nothing written meanwhile is lost; it is the
        way back, too. What must be embedded is embedded while writes go on; then, while they wait a
        moment, the rest is brought over. Should something have come that must be embedded, writes
        go on and it begins anew.

        Args:
            gallery: which gallery.
            model_name: the model of the version.
            allow_missing: leave crops behind that cannot be embedded, for want of a picture.

        Raises:
            NotFound: no such gallery, model or version.
            Conflict: it is served already, too much is missing, or crops are written faster than
                they can be embedded.
        """
        store = self._local()
        model = self._shelf.named(model_name)
        sha256 = model.manifest.sha256
        served = store.open(gallery)
        if served.model_sha256 == sha256:
            raise Conflict(f"gallery {gallery!r} is served by model {model_name!r} already")
        if sha256 not in {copy.model_sha256 for copy in store.kept_models(gallery)}:
            raise NotFound(f"gallery {gallery!r} has no version of model {model_name!r} yet")

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
            "wait until that is over, then switch"
        )

    def drop(self, gallery: str, sha256: str) -> None:
        """Delete a version that is not served. Raises NotFound, Conflict if it is served."""
        self._local().drop_model(gallery, sha256)

    def _local(self) -> DiskGalleryStore:
        if not isinstance(self._store, DiskGalleryStore):
            raise Unsupported(
                "galleries in Milvus keep no pictures, so they cannot be embedded by another "
                "model: create a gallery of that model and index the crops again"
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
    """Crops have come that must be embedded before the switch."""


class _CatchingUp:
    """Brings a version up to date for a switch: embedding first, without a lock, then the rest."""

    def __init__(self, following: Following, model_name: str, *, allow_missing: bool) -> None:
        self._following = following
        self._model_name = model_name
        self._allow_missing = allow_missing
        self._failed: set[tuple[str, str | None]] = set()  # crops by their digests

    def embed_late(self) -> None:
        """Embed what the version lacks, while writes go on.

        Raises:
            Conflict: that is too much for a switch.
        """
        served, copy = self._following.now()
        found = differences(served, copy)
        late = self._embeddable(served, found.to_embed)
        if len(late) > _LATE:
            raise Conflict(
                f"{len(late)} crops were added or changed since: start the change again, it embeds "
                "only those, then switch"
            )
        self._following.bring_over(found)
        for _ in self._following.embed(late, lambda crop, _: self._failed.add(_key(crop))):
            pass

    def finish(self, served: Gallery, copy: Gallery) -> None:
        """Bring over what needs no embedding, while nobody writes.

        Raises:
            Conflict: crops would be left behind, and nobody allowed it.
            _LateError: crops have come that must be embedded first.
        """
        if not (isinstance(served, DiskGallery) and isinstance(copy, DiskGallery)):
            raise TypeError("a switch needs galleries on this machine")
        found = differences(served, copy)
        if self._embeddable(served, found.to_embed):
            raise _LateError
        left = [crop.crop_id for crop in found.to_embed]
        if left and not self._allow_missing:
            raise Conflict(
                f"{len(left)} crops cannot be embedded by model {self._model_name!r}, such as "
                f"{left[0]!r}: they would be left behind; say so with allow_missing=true"
            )
        if left:  # what the copy may hold of them is of an older picture
            copy.delete(Filter(crop_ids=frozenset(left)))
        apply_known(served, copy, found)

    def _embeddable(self, served: DiskGallery, crops: Sequence[Crop]) -> list[Crop]:
        """Those crops whose picture is stored and was not tried in vain."""
        pictured = served.pictured(Filter(crop_ids=frozenset(crop.crop_id for crop in crops)))
        return [
            crop for crop in crops if crop.crop_id in pictured and _key(crop) not in self._failed
        ]


def _key(crop: Crop) -> tuple[str, str | None]:
    return crop.crop_id, crop.digest
