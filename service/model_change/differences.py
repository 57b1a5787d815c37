"""What a gallery's copy under another model lacks."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.gallery.base import Crop, Filter
from service.gallery.disk.gallery import DiskGallery

_EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class Differences:
    """What has to happen to the copy.

    Attributes:
        to_embed: crops it lacks, or whose picture has changed.
        to_describe: crops of which something else is known by now: identity, camera, time.
        to_picture: ids of crops whose picture it lacks although the served version stores it.
        to_delete: ids of crops that are gone.
    """

    to_embed: list[Crop] = field(default_factory=list)
    to_describe: list[Crop] = field(default_factory=list)
    to_picture: list[str] = field(default_factory=list)
    to_delete: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """How many crops differ."""
        known = {*self.to_picture, *(crop.crop_id for crop in self.to_describe)}
        return len(self.to_embed) + len(self.to_delete) + len(known)


def differences(
    served: DiskGallery, copy: DiskGallery, where: Filter = _EVERYTHING
) -> Differences:
    """Compare two versions of a gallery crop by crop.

    A crop whose embedding is damaged in the served version is not served, but nobody deleted it: it
    stays in the copy as it is.

    Args:
        served: the version that is searched.
        copy: the version of another model.
        where: which crops to compare; its ids alone make sense here.

    Returns:
        What the copy lacks.
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
