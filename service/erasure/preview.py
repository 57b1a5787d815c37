"""What a change of a gallery's options would erase at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.errors import Unconfirmed
from service.gallery.base import Crop, Filter, GalleryOptions, Receipt
from service.gallery.protocol import Gallery
from service.values.timestamps import stated


@dataclass(frozen=True, slots=True)
class ErasurePreview:
    """What a change of a gallery's options erases.

    Attributes:
        receipt: the crops that are past their time at once, and the pictures that go.
        oldest: the least time of such a crop, seconds since 1970-01-01 UTC; None without any.
        newest: the greatest one.
    """

    receipt: Receipt
    oldest: float | None = None
    newest: float | None = None

    def require_confirmed(self, keep_for: float | None, confirm: bool | int | None) -> None:
        """Make sure that somebody wants these crops erased.

        Args:
            keep_for: the time that dooms them, seconds.
            confirm: true, or the most crops that may be erased.

        Raises:
            Unconfirmed: nobody said so, or fewer were meant.
        """
        crops = self.receipt.crops
        if confirm is True or crops <= (confirm or 0):
            return
        times = [stated(time) for time in (self.oldest, self.newest) if time is not None]
        raise Unconfirmed(
            f"keep_for {keep_for} would erase {crops:,} crops for good within a minute or so, "
            f"from {' to '.join(times)}; to erase them, send confirm={crops} with the change",
            *(crops, self.oldest, self.newest),
        )


def preview_erasure(gallery: Gallery, options: GalleryOptions, now: float) -> ErasurePreview:
    """What a change of a gallery's options erases; nothing is changed.

    Args:
        gallery: as it is.
        options: as they are wanted. A ``keep_for`` that is no shorter than the gallery's erases
            nothing that would not go anyway.
        now: seconds since 1970-01-01 UTC.

    Returns:
        What would go.
    """
    before, keep_for = gallery.options, options.keep_for
    doomed = ErasurePreview(Receipt(0, 0, 0, {}))
    if keep_for is not None and (before.keep_for is None or keep_for < before.keep_for):
        where = Filter(expired_before=now - keep_for)
        times = [_time_of(crop) for crop in gallery.crops(where)]
        receipt = gallery.delete(where, dry_run=True)
        doomed = ErasurePreview(receipt, min(times, default=None), max(times, default=None))
    if before.store_crops and not options.store_crops:
        receipt = replace(doomed.receipt, pictures=gallery.stats().pictures)
        doomed = replace(doomed, receipt=receipt)
    return doomed


def _time_of(crop: Crop) -> float:
    """What a crop's age counts from; a crop without either is never past its time."""
    return crop.timestamp if crop.timestamp is not None else crop.added or 0.0
