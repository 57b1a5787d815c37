"""Decides which of the crops that arrived are those that a watch looks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from service.alerts.event import Sighting
from service.alerts.thresholds import threshold
from service.alerts.watch import Watch, WatchOrder
from service.embedding.shelf import ModelShelf
from service.errors import ModelMismatch, NotFound
from service.gallery.base import Crop, Filter, Hit, time_of
from service.gallery.protocol import Gallery, GalleryStore
from service.ingest.arrivals import Arrival


@dataclass(frozen=True, slots=True)
class Arrived:
    """Crops that arrived together and are still as they arrived.

    Attributes:
        gallery: that they were added to.
        added: when, in seconds since 1970-01-01 UTC.
        crops: N crops in the order of their times.
        rows: (N, D) float32, unit rows; row i belongs to crop i.
        nearest: of each crop, by what it is compared with: many watches compare with the same.
    """

    gallery: Gallery
    added: float
    crops: Sequence[Crop]
    rows: NDArray[np.float32]
    nearest: dict[tuple[str, Filter], list[Hit | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares crops that arrived with those that watches name.

    Attributes:
        store: the galleries.
        shelf: the models, whose calibration says what a match is.
    """

    store: GalleryStore
    shelf: ModelShelf

    def arrived(self, gallery: Gallery, arrival: Arrival) -> Arrived:
        """Look up what arrived; crops that were erased or replaced meanwhile are left out."""
        with gallery.changing():
            found = gallery.crops(Filter(crop_ids=frozenset(arrival.crop_ids)))
            # Old collections of Milvus do not know when a crop was added.
            crops = [crop for crop in found if crop.added in {arrival.added, None}]
            crops.sort(key=lambda crop: (time_of(crop), crop.crop_id))
            rows = gallery.embeddings([crop.crop_id for crop in crops])
        return Arrived(gallery, arrival.added, crops, rows)

    def threshold(self, order: WatchOrder) -> float:
        """From which cosine on a watch takes two crops for the same person.

        Raises:
            NotFound: its gallery does not exist.
            ModelMismatch: the service does not have its model.
            InvalidInput: the model's calibration does not say it.
        """
        if order.min_score is not None:
            return order.min_score
        model = self.shelf.open(self.store, order.of).model.manifest
        return threshold(None, order.false_alert_rate, model.calibration)

    def require_comparable(self, order: WatchOrder) -> float:
        """Check that new crops can be compared as a watch wants it; returns its threshold.

        Raises:
            NotFound: a gallery does not exist.
            ModelMismatch: the galleries have different models, or the service lacks their model.
            InvalidInput: the model's calibration does not say what a match is.
        """
        own, other = self.store.open(order.gallery), self.store.open(order.of)
        _require_one_model(own, other)
        return self.threshold(order)

    def sightings(self, watch: Watch, arrived: Arrived) -> list[Sighting]:
        """Find what a watch looks for among crops that arrived.

        Args:
            watch: of the gallery that they were added to.
            arrived: the crops.

        Returns:
            At most one per crop, and one per track, in the order of their times.

        Raises:
            NotFound: the other gallery does not exist, or nobody whom the watch names.
            ModelMismatch: it has another model, or the service lacks the model.
            InvalidInput: the model's calibration does not say what a match is.
        """
        order = watch.order
        places = [place for place, crop in enumerate(arrived.crops) if order.covers(crop)]
        if not places:
            return []
        crops = [arrived.crops[place] for place in places]
        nearest = self._nearest_of_all(order, arrived)
        hits = [nearest[place] for place in places]
        self._require_somebody(order, hits)
        least = self.threshold(order)
        unknown = order.watch_for == "unknown"
        matched = [hit is not None and hit.score >= least for hit in hits]
        found = [
            _sighting(watch, crop, hit)
            for crop, hit, is_match in zip(crops, hits, matched, strict=True)
            if is_match != unknown
        ]
        found = _one_per_track(found)
        return [one for one in found if not (unknown and self._knows_track(order, one, least))]

    def _knows_track(self, order: WatchOrder, one: Sighting, least: float) -> bool:
        """Whether any crop of a track that has been stored so far shows somebody known."""
        if one.track is None:
            return False
        gallery = self.store.open(order.gallery)
        cameras = None if one.camera is None else frozenset({one.camera})
        where = Filter(cameras=cameras, tracks=frozenset({one.track}))
        with gallery.changing():
            crops = [crop for crop in gallery.crops(where) if crop.camera == one.camera]
            rows = gallery.embeddings([crop.crop_id for crop in crops])
        hits = self._nearest(order, gallery, crops, rows)
        return any(hit is not None and hit.score >= least for hit in hits)

    def _require_somebody(self, order: WatchOrder, hits: Sequence[Hit | None]) -> None:
        named = order.watch_for in {"identities", "crops"}
        if named and not any(hits) and not self.store.open(order.of).count(order.compared):
            raise NotFound(f"no crop of gallery {order.of!r} is one that this watch names")

    def _nearest_of_all(self, order: WatchOrder, arrived: Arrived) -> list[Hit | None]:
        compared = (order.of, order.compared)
        if compared not in arrived.nearest:
            crops, rows = arrived.crops, arrived.rows
            arrived.nearest[compared] = self._nearest(order, arrived.gallery, crops, rows)
        return arrived.nearest[compared]

    def _nearest(
        self, order: WatchOrder, own: Gallery, crops: Sequence[Crop], rows: NDArray[np.float32]
    ) -> list[Hit | None]:
        """The nearest crop that each one is compared with, other than itself."""
        other = self.store.open(order.of)
        _require_one_model(own, other)
        found = other.query(rows, 2, order.compared)  # the second one if the first is itself
        itself = own.name == other.name
        return [
            next((hit for hit in hits if not (itself and hit.crop.crop_id == crop.crop_id)), None)
            for crop, hits in zip(crops, found, strict=True)
        ]


def is_lasting(error: Exception) -> bool:
    """Whether a watch cannot be judged until somebody changes something."""
    return isinstance(error, NotFound | ModelMismatch)


def _require_one_model(own: Gallery, other: Gallery) -> None:
    if own.model_sha256 != other.model_sha256:
        raise ModelMismatch(
            f"gallery {other.name!r} holds embeddings of model {other.model_sha256[:12]}, and "
            f"gallery {own.name!r} of {own.model_sha256[:12]}: their crops cannot be compared"
        )


def _sighting(watch: Watch, crop: Crop, hit: Hit | None) -> Sighting:
    order = watch.order
    person = None if order.watch_for == "unknown" or hit is None else hit.crop
    return Sighting(
        watch_id=watch.watch_id,
        gallery=order.gallery,
        of=order.of,
        crop_id=crop.crop_id,
        digest=crop.digest,
        camera=crop.camera,
        track=crop.track,
        time=time_of(crop),
        identity=None if person is None else person.identity,
        matched=None if person is None else person.crop_id,
        score=None if hit is None else hit.score,
        quiet_seconds=order.quiet_seconds,
        delivered=order.deliver_to is not None,
    )


def _one_per_track(found: Sequence[Sighting]) -> list[Sighting]:
    """Keep the sighting of each track with the best score, with the time of its first."""
    kept: dict[str, Sighting] = {}
    for one in found:
        before = kept.get(one.event_id)
        if before is None:
            kept[one.event_id] = one
        elif (one.score or -1.0) > (before.score or -1.0):
            kept[one.event_id] = replace(one, time=before.time)
    return list(kept.values())
