"""What may join an identity as one: the arriving crops of a track, or a crop without one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.gallery.tracks import Span, Track, spans_of, track_of

_MOST_EARLIER = 100_000  # crops of the tracks of one camera that arrive; more are not looked at
_MOST_IN_A_MEAN = 256  # stored crops of a track that are read for its mean
_SAYS_MORE = ("hand", "given", "cluster", "join")


@dataclass(frozen=True, slots=True)
class Joiner:
    """Crops of one person that arrive together.

    Attributes:
        crops: those that arrive, by their places in the request.
        earlier: crops of the same track that are stored already, and stay.
        frames: numbers of the frames that the crops were cut out of, where known.
    """

    crops: dict[int, Crop]
    earlier: tuple[Crop, ...]
    frames: frozenset[int]

    @property
    def identity(self) -> str | None:
        """Who the track is known to show; None if that has to be judged."""
        known = [crop for crop in (*self.crops.values(), *self.earlier) if crop.identity]
        for origin in _SAYS_MORE:
            names = Counter(crop.identity for crop in known if crop.origin == origin)
            if names:
                return min(names, key=lambda name: (-names[name], name or ""))
        return None

    @property
    def is_nobody(self) -> bool:
        """Whether a person said that the track shows nobody known."""
        known = (*self.crops.values(), *self.earlier)
        return any(crop.origin == "hand" and crop.identity is None for crop in known)

    @property
    def is_due(self) -> bool:
        """Whether to judge whom it shows.

        A track is judged when it first arrives, and again whenever its crops have doubled: each
        look gives a stranger another chance to resemble somebody, and costs a query.
        """
        before = len(self.earlier)
        has_doubled = before.bit_length() < (before + len(self.crops)).bit_length()
        return has_doubled and self.identity is None and not self.is_nobody

    @property
    def nameless(self) -> list[int]:
        """The places of the arriving crops that may join an identity."""
        return [place for place, crop in self.crops.items() if is_nameless(crop)]

    @property
    def earlier_nameless(self) -> list[str]:
        """The ids of the stored crops that may join an identity."""
        return [crop.crop_id for crop in self.earlier if is_nameless(crop)]

    @property
    def span(self) -> Span | None:
        """When the track was in its camera's view, if that is known."""
        spans = spans_of((*self.crops.values(), *self.earlier))
        return spans[0] if spans else None

    def embedding(self, gallery: Gallery, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean of the crops' embeddings.

        Args:
            gallery: holds the earlier crops.
            rows: (N, D) float32, the embeddings of the request's crops.

        Returns:
            (D,) float32, of unit length.
        """
        own = rows[list(self.crops)]
        latest = [crop.crop_id for crop in self.earlier[-_MOST_IN_A_MEAN:]]
        if latest:
            own = np.concatenate([own, gallery.embeddings(latest)])
        mean = own.mean(axis=0)
        length = float(np.linalg.norm(mean))
        return np.asarray(mean / length if length > 1e-6 else own[0], np.float32)


def is_nameless(crop: Crop) -> bool:
    """Whether nobody said whom a crop shows."""
    return crop.identity is None and crop.origin != "hand"


def joiners_of(
    gallery: Gallery, crops: Sequence[Crop], frames: Sequence[int | None]
) -> list[Joiner]:
    """Gather the crops of a request that belong together.

    Args:
        gallery: may hold earlier crops of the same tracks.
        crops: N crops.
        frames: N numbers of the frames that they were cut out of, where known; or none.

    Returns:
        One joiner per track, and per crop without a track, if a crop of it may join an identity.
    """
    together: defaultdict[Track | int, dict[int, Crop]] = defaultdict(dict)
    for place, crop in enumerate(crops):
        together[track_of(crop) or place][place] = crop
    open_ones = {key: own for key, own in together.items() if any(map(is_nameless, own.values()))}
    earlier = _earlier(gallery, crops, [key for key in open_ones if not isinstance(key, int)])
    seen = frames or [None] * len(crops)
    return [
        Joiner(
            own,
            () if isinstance(key, int) else tuple(earlier.get(key, ())),
            frozenset(frame for place in own if (frame := seen[place]) is not None),
        )
        for key, own in open_ones.items()
    ]


def _earlier(
    gallery: Gallery, coming: Sequence[Crop], tracks: Sequence[Track]
) -> dict[Track, list[Crop]]:
    """The stored crops of some tracks, without those that are about to be replaced."""
    replaced, found = {crop.crop_id for crop in coming}, defaultdict[Track, list[Crop]](list)
    by_camera: defaultdict[str | None, set[str]] = defaultdict(set)
    for camera, name in tracks:
        by_camera[camera].add(name)
    for camera, names in by_camera.items():
        of_camera = None if camera is None else frozenset({camera})
        where = Filter(tracks=frozenset(names), cameras=of_camera)
        if gallery.count(where) > _MOST_EARLIER:
            continue
        for crop in gallery.crops(where):
            if crop.camera == camera and crop.crop_id not in replaced and crop.track is not None:
                found[camera, crop.track].append(crop)
    return found
