"""Opens the versions of a gallery from its folder."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from service.errors import ReidError
from service.gallery.base import Filter
from service.gallery.disk import folders
from service.gallery.disk.database import GalleryDatabase
from service.gallery.disk.gallery import DiskGallery
from service.gallery.disk.model_versions import ModelVersions

_PICTURES_AT_ONCE = 32
_log = logging.getLogger(__name__)


def open_version(path: Path, versions: ModelVersions[DiskGallery], *, served: bool) -> DiskGallery:
    """Open one version.

    Raises:
        Unavailable: its file cannot be read.
    """
    database = GalleryDatabase(path)
    try:
        return DiskGallery(database, versions, served=served)
    except BaseException:
        with suppress(ReidError):
            database.close()
        raise


def open_gallery(versions: ModelVersions[DiskGallery]) -> DiskGallery:
    """Open every version of a gallery; log those that cannot be read, and ignore them.

    Args:
        versions: what they share.

    Returns:
        The version that is served.

    Raises:
        Unavailable: the version that is served cannot be read.
    """
    folder = versions.folder
    served = open_version(folders.served_file(folder), versions, served=True)
    for path in folders.other_files(folder):
        try:
            kept = open_version(path, versions, served=False)
        except ReidError as error:
            _log.error("%s: this version cannot be opened: %s", path, error)
            continue
        if kept.model_sha256 in {served.model_sha256, *versions.kept}:
            _log.info("%s: removing what an interrupted change left behind", path)
            kept.end("deleted")
            folders.remove_database(path)
        else:
            versions.kept[kept.model_sha256] = kept
    try:
        if found := _bring_back_pictures(served):
            _log.info("gallery %r: %d lost pictures were restored", folder.name, found)
    except ReidError as error:  # the gallery can be served without them
        _log.warning("gallery %r: lost pictures were not restored: %s", folder.name, error)
    return served


def _bring_back_pictures(served: DiskGallery) -> int:
    """Restore pictures that the served version lost and another version still stores.

    Earlier releases lost the picture of a crop that was labelled between a change of model and the
    switch to it.

    Args:
        served: the version that is served; the caller keeps others from writing.

    Returns:
        Number of pictures restored.

    Raises:
        StorageFull: there is no room for them.
        Unavailable: a version cannot be read or written.
    """
    found, everything = 0, Filter()
    for version in served.versions.kept.values():
        lost = sorted(version.pictured(everything) - served.pictured(everything))
        for start in range(0, len(lost), _PICTURES_AT_ONCE):
            part = lost[start : start + _PICTURES_AT_ONCE]
            found += served.add_pictures({crop_id: version.picture(crop_id) for crop_id in part})
    return found
