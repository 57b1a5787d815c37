"""Warnings about filters that are allowed but probably not intended.

A search with a mistyped camera answers ``unknown``, exactly as if nobody matched: only a warning
tells a typing error from a stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from service.gallery.base import Absent, Filter
from service.gallery.protocol import Gallery
from service.values import vocabulary

WarningCode = vocabulary.WarningCode
_SHOWN = 20
_NO_NAMES = Filter()


@dataclass(frozen=True, slots=True)
class FilterWarning:
    """One warning about a filter.

    Attributes:
        code: the kind of warning, for programs.
        field: the field of the request that caused it.
        values: the first twenty names that the gallery does not have.
        detail: a sentence for people.
    """

    code: WarningCode
    field: str
    values: tuple[str, ...]
    detail: str


def warnings_of(
    gallery: Gallery,
    where: Filter,
    *,
    ids_field: str = "crop_ids",
    own_cameras: frozenset[str] = frozenset(),
) -> list[FilterWarning]:
    """Compare a filter with what the gallery holds.

    Args:
        gallery: the gallery to filter.
        where: the filter.
        ids_field: the request's name for the filter's crop ids.
        own_cameras: cameras of queries whose own crops are excluded.

    Returns:
        Warnings in the order of the fields; none for a sensible filter.
    """
    absent = _absent(gallery, where, own_cameras)
    unknown: list[tuple[WarningCode, str, tuple[str, ...]]] = [
        ("unknown_camera", "cameras", _common(absent.cameras, where.cameras)),
        ("unknown_camera", "not_camera", _common(absent.cameras, _set_of(where.not_camera))),
        ("unknown_camera", "camera", _common(absent.cameras, own_cameras)),
        ("unknown_track", "tracks", absent.tracks),
        ("unknown_identity", "identities", absent.identities),
        ("unknown_crop", ids_field, absent.crop_ids),
    ]
    cameras = _cameras_of(gallery) if absent.cameras else ""
    return [
        *(
            FilterWarning(code, field, names[:_SHOWN], _unknown(gallery, field, names, cameras))
            for code, field, names in unknown
            if names
        ),
        *_prefix(gallery, where),
        *_windows(where),
        *_contradictions(where),
    ]


def _absent(gallery: Gallery, where: Filter, own_cameras: frozenset[str]) -> Absent:
    named = Filter(
        cameras=(where.cameras or frozenset()) | _set_of(where.not_camera) | own_cameras or None,
        tracks=where.tracks,
        identities=where.identities,
        crop_ids=where.crop_ids,
    )
    return Absent() if named == _NO_NAMES else gallery.absent(named)


def _unknown(gallery: Gallery, field: str, names: tuple[str, ...], cameras: str) -> str:
    listed, those = _listed(names), "these ids" if len(names) > 1 else "this id"
    match field:
        case "cameras":
            return f"No crop of gallery {gallery.name!r} has the camera {listed}; {cameras}."
        case "not_camera":
            return (
                f"not_camera excludes nothing: no crop of gallery {gallery.name!r} has the "
                f"camera {listed}; {cameras}."
            )
        case "camera":
            return (
                f"exclude_same_camera excludes nothing: no crop of gallery {gallery.name!r} has "
                f"the query's camera {listed}; {cameras}."
            )
        case "tracks":
            return f"No crop of gallery {gallery.name!r} has the track {listed}."
        case "identities":
            return f"No crop of gallery {gallery.name!r} has the identity {listed}."
        case _:
            return f"Gallery {gallery.name!r} has no crops with {those}: {listed}."


def _cameras_of(gallery: Gallery) -> str:
    cameras = tuple(gallery.stats().cameras)
    return f"its cameras are {_listed(cameras)}" if cameras else "none of its crops has a camera"


def _prefix(gallery: Gallery, where: Filter) -> Iterator[FilterWarning]:
    prefix = where.id_prefix
    if prefix is not None and not gallery.page(Filter(id_prefix=prefix), 1).crops:
        detail = f"Gallery {gallery.name!r} has no crop whose id begins with {prefix!r}."
        yield FilterWarning("unknown_prefix", "id_prefix", (prefix,), detail)


def _windows(where: Filter) -> Iterator[FilterWarning]:
    for since, until, first, last in (
        (where.since, where.until, "since", "until"),
        (where.added_since, where.added_until, "added_since", "added_until"),
    ):
        if since is not None and until is not None and since >= until:
            detail = (
                f"No crop can match: {first} ({_moment(since)}) must be before {last} "
                f"({_moment(until)})."
            )
            yield FilterWarning("empty_window", first, (), detail)


def _contradictions(where: Filter) -> Iterator[FilterWarning]:
    if where.has_identity is False and where.identities:
        detail = "No crop can match: identities requires an identity, has_identity excludes it."
        yield FilterWarning("contradiction", "has_identity", (), detail)
    if where.cameras and where.cameras == _set_of(where.not_camera):
        detail = f"No crop can match: not_camera excludes {where.not_camera!r}, the only camera."
        yield FilterWarning("contradiction", "not_camera", (), detail)


def _set_of(name: str | None) -> frozenset[str]:
    return frozenset() if name is None else frozenset({name})


def _common(names: tuple[str, ...], asked: Iterable[str] | None) -> tuple[str, ...]:
    wanted = frozenset(asked or ())
    return tuple(name for name in names if name in wanted)


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
