"""What the filter fields of a request mean to a gallery."""

from __future__ import annotations

from service.api.filters import FilterFields
from service.gallery.base import Filter
from service.gallery.filter_warnings import FilterWarning
from service.gallery.time_warnings import time_warnings
from service.values.timestamps import Moment

_TIMES = ("since", "until", "added_since", "added_until")


def filter_of(fields: FilterFields) -> Filter:
    """Make a gallery's filter from a request's fields.

    Args:
        fields: as the API read them.

    Returns:
        The filter; a search adds the query's own camera itself.
    """
    return Filter(
        cameras=_frozen(fields.cameras),
        not_camera=fields.not_camera,
        tracks=_frozen(fields.tracks),
        identities=_frozen(fields.identities),
        has_identity=fields.has_identity,
        id_prefix=fields.id_prefix,
        since=_seconds(fields.since),
        until=_seconds(fields.until),
        added_since=_seconds(fields.added_since),
        added_until=_seconds(fields.added_until),
        crop_ids=_frozen(fields.ids),
    )


def filter_time_warnings(fields: FilterFields) -> list[FilterWarning]:
    """Warn about the times of a filter."""
    return time_warnings({name: getattr(fields, name) for name in _TIMES})


def _seconds(moment: Moment | None) -> float | None:
    return None if moment is None else moment.seconds


def _frozen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
