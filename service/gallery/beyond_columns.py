"""Conditions of a filter that need the crop itself, because no column in memory holds the value."""

from __future__ import annotations

from service.gallery.base import Crop, Filter

_HIGHEST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)  # no text that can be stored holds one


def reads_crops(where: Filter) -> bool:
    """Whether a filter has conditions that the columns cannot answer."""
    return (where.id_prefix, where.added_since, where.added_until) != (None, None, None)


def holds(crop: Crop, where: Filter) -> bool:
    """Whether a crop meets the conditions that the columns cannot answer.

    Args:
        crop: the crop.
        where: the filter; its other conditions are ignored.

    Returns:
        True if all of these conditions hold.
    """
    if where.id_prefix is not None and not crop.crop_id.startswith(where.id_prefix):
        return False
    if where.added_since is None and where.added_until is None:
        return True
    return (
        crop.added is not None
        and (where.added_since is None or crop.added >= where.added_since)
        and (where.added_until is None or crop.added < where.added_until)
    )


def end_of_prefix(prefix: str) -> str | None:
    """The first text that follows all texts with this prefix, in the order of code points.

    Args:
        prefix: any text.

    Returns:
        The text; None if nothing follows.
    """
    for at in range(len(prefix) - 1, -1, -1):
        after = ord(prefix[at]) + 1
        if _SURROGATES[0] <= after <= _SURROGATES[1]:
            after = _SURROGATES[1] + 1
        if after <= _HIGHEST:
            return prefix[:at] + chr(after)
    return None


def is_storable(text: str) -> bool:
    """Whether a text can be stored, which lone surrogates prevent."""
    return not any(_SURROGATES[0] <= ord(char) <= _SURROGATES[1] for char in text)
