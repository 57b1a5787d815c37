"""All crops of a gallery that pass a filter, read in pages."""

from __future__ import annotations

from collections.abc import Iterator

from service.gallery.base import Crop, Filter, Gallery

_PAGE = 10_000


def crops_of(gallery: Gallery, where: Filter) -> Iterator[Crop]:
    """Crops that pass a filter, in the order of their ids.

    Args:
        gallery: whose.
        where: which.

    Yields:
        Each crop once; one that is added meanwhile may be missing.
    """
    cursor: str | None = None
    while True:
        page = gallery.page(where, _PAGE, cursor)
        yield from page.crops
        cursor = page.cursor
        if cursor is None:
            return
