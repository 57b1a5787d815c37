"""What a gallery's copy under another model lacks."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.gallery.base import Crop, Filter, Gallery


@dataclass(frozen=True, slots=True)
class Differences:
    """What has to happen to the copy.

    Attributes:
        to_embed: crops it lacks, or whose picture has changed.
        to_rename: crops of which something else is known by now: identity, camera, time.
        to_delete: ids of crops that are gone.
    """

    to_embed: list[Crop] = field(default_factory=list)
    to_rename: list[Crop] = field(default_factory=list)
    to_delete: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.to_embed) + len(self.to_rename) + len(self.to_delete)


def differences(served: Gallery, copy: Gallery) -> Differences:
    """Compare two galleries crop by crop, as a merge of their listings.

    Args:
        served: the gallery as it is searched.
        copy: the same gallery under another model.

    Returns:
        What the copy lacks.
    """
    found = Differences()
    theirs = iter(copy.crops(Filter()))
    old = next(theirs, None)
    for new in served.crops(Filter()):
        while old is not None and old.crop_id < new.crop_id:
            found.to_delete.append(old.crop_id)
            old = next(theirs, None)
        if old is None or old.crop_id != new.crop_id:
            found.to_embed.append(new)
            continue
        if old.digest != new.digest:
            found.to_embed.append(new)
        elif (old, old.origin) != (new, new.origin):
            found.to_rename.append(new)
        old = next(theirs, None)
    if old is not None:
        found.to_delete.extend([old.crop_id, *(crop.crop_id for crop in theirs)])
    return found
