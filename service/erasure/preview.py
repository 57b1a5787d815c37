"""A preview of what a change of a gallery's options would erase."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.errors import Unconfirmed
from service.gallery.base import Filter, GalleryOptions, Receipt, time_of
from service.gallery.protocol import Gallery
from service.values.timestamps import as_text


@dataclass(frozen=True, slots=True)
class ErasurePreview:
    """What a change of a gallery's options would erase.

    Attributes:
        receipt: the crops that would expire at once, and the pictures that would be removed.
        oldest: earliest time of such a crop, seconds since 1970-01-01 UTC; None if there is none.
        newest: latest time of such a crop.
    """

    receipt: Receipt
    oldest: float | None = None
    newest: float | None = None

    def require_confirmed(self, keep_for: float | None, confirm: bool | int | None) -> None:
        """Check that the caller confirmed the erasure of these crops.

        Args:
            keep_for: the new time to keep crops, in seconds.
            confirm: true, or the most crops that may be erased.

        Raises:
            Unconfirmed: it was not confirmed, or only for fewer crops.
        """
        crops = self.receipt.crops
        if confirm is True or crops <= (confirm or 0):
            return
        times = [as_text(time) for time in (self.oldest, self.newest) if time is not None]
        raise Unconfirmed(
            f"keep_for {keep_for} would permanently erase {crops:,} crops within a minute or so, "
            f"from {' to '.join(times)}; to erase them, send confirm={crops} with the change",
            *(crops, self.oldest, self.newest),
        )


def preview_erasure(gallery: Gallery, options: GalleryOptions, now: float) -> ErasurePreview:
    """Find what a change of a gallery's options would erase, without changing anything.

    Args:
        gallery: the gallery with its present options.
        options: the new options. A ``keep_for`` that is no shorter than the present one erases
            nothing extra.
        now: seconds since 1970-01-01 UTC.

    Returns:
        What would be erased.
    """
    before, keep_for = gallery.options, options.keep_for
    preview = ErasurePreview(Receipt(0, 0, 0, {}))
    if keep_for is not None and (before.keep_for is None or keep_for < before.keep_for):
        where = Filter(expired_before=now - keep_for)
        times = [time_of(crop) for crop in gallery.crops(where)]
        receipt = gallery.delete(where, dry_run=True)
        preview = ErasurePreview(receipt, min(times, default=None), max(times, default=None))
    if before.store_crops and not options.store_crops:
        receipt = replace(preview.receipt, pictures=gallery.stats().pictures)
        preview = replace(preview, receipt=receipt)
    return preview
