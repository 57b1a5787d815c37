"""How a version of a gallery for another model differs from the served version."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.gallery.base import Crop, Filter
from service.gallery.disk.gallery import DiskGallery

_EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Differences:
    """What has to be done to bring the copy up to date.

    Attributes:
        to_embed: crops that it lacks, or whose picture has changed.
        to_describe: crops whose metadata has changed: identity, camera or time.
        to_picture: ids of crops whose picture only the served version stores.
        to_delete: ids of crops that were deleted.
    """

    to_embed: list[Crop] = field(default_factory=list)
    to_describe: list[Crop] = field(default_factory=list)
    to_picture: list[str] = field(default_factory=list)
    to_delete: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of crops that differ."""
        known = {*self.to_picture, *(crop.crop_id for crop in self.to_describe)}
        return len(self.to_embed) + len(self.to_delete) + len(known)


def differences(served: DiskGallery, copy: DiskGallery, where: Filter = _EVERYTHING) -> Differences:
    """Compare two versions of a gallery crop by crop.

    A crop whose embedding is damaged in the served version is not served, but it was not deleted
    either, so the copy keeps it.

    Args:
        served: the version that is served.
        copy: the version for another model.
        where: which crops to compare; only its crop ids are meaningful here.

    Returns:
        The differences.
    """
    found = Differences()
    theirs = {crop.crop_id: crop for crop in copy.crops(where)}
    lacking = served.pictured(where) - copy.pictured(where) if copy.options.store_crops else set()
    for new in served.crops(where):
        old = theirs.pop(new.crop_id, None)
        if old is None or old.digest != new.digest:
            found.to_embed.append(new)
            continue
        if (old, old.origin, old.added) != (new, new.origin, new.added):
            found.to_describe.append(new)
        if new.crop_id in lacking and new.digest is not None:
            found.to_picture.append(new.crop_id)
    found.to_delete.extend(theirs.keys() - served.damaged())
    found.to_delete.sort()
    return found
