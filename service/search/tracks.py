"""Stored tracks as queries: all crops of one person's walk through one camera's view together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.errors import InvalidInput, NotFound, ReidError
from service.gallery.base import Crop, Filter
from service.gallery.protocol import Gallery
from service.search.shots import Miss, Query, Shot, combined

MAX_TRACK_CROPS = 1000
"""Most crops of one track that make a query."""


def track_queries(gallery: Gallery, names: Sequence[str], camera: str | None) -> list[Query | Miss]:
    """Make a query of each stored track: the mean of the embeddings of all its crops.

    Args:
        gallery: the gallery that holds them.
        names: N names of tracks.
        camera: the camera of these tracks; None if only one camera has a track of this name, or
            if the crops have no camera.

    Returns:
        N queries, or the reason why one is missing.
    """
    return [_query(gallery, name, camera) for name in names]


def track_crops(gallery: Gallery, name: str, camera: str | None) -> list[Crop]:
    """Find the crops of a stored track.

    Args:
        gallery: the gallery that holds it.
        name: of the track.
        camera: as of :func:`track_queries`.

    Returns:
        At least one crop, in the order of their ids.

    Raises:
        NotFound: there is no such track.
        InvalidInput: several cameras have one, or it has too many crops.
    """
    one = None if camera is None else frozenset({camera})
    where = Filter(tracks=frozenset({name}), cameras=one)
    if (count := gallery.count(where)) > MAX_TRACK_CROPS:
        which = "send the camera you mean, or " if camera is None else ""
        raise InvalidInput(
            f"track {name!r} has {count:,} crops: at most {MAX_TRACK_CROPS:,} can make one query; "
            f"{which}name some of them in crop_ids and set combine"
        )
    crops = gallery.crops(where)
    if not crops:
        of = "" if camera is None else f" of camera {camera!r}"
        raise NotFound(f"gallery {gallery.name!r} has no track {name!r}{of}")
    cameras = sorted({crop.camera or "" for crop in crops})
    if len(cameras) > 1:
        listed = ", ".join(repr(one) if one else "none" for one in cameras[:5])
        raise InvalidInput(
            f"track {name!r}: {len(cameras)} cameras have a track of this name ({listed}); send "
            "the one you mean as camera"
        )
    return crops


def _query(gallery: Gallery, name: str, camera: str | None) -> Query | Miss:
    try:
        crops = track_crops(gallery, name, camera)
        rows = gallery.embeddings([crop.crop_id for crop in crops])
        shots = [
            Shot(row, crop.camera, crop_id=crop.crop_id)
            for crop, row in zip(crops, rows, strict=True)
        ]
        return replace(combined(shots), track=name)
    except ReidError as error:
        if error.status >= 500:
            raise
        return Miss(error, f"track {name!r}", track=name)
