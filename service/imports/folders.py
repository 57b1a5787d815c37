"""Read a folder of this machine below an import root."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from service.errors import InvalidInput, ReidError
from service.imports.items import ImportLimits, Item, Items, Picture, refused
from service.imports.root_files import read_image
from service.imports.roots import ImportRoots, RootTree
from service.imports.videos import VideoReader
from service.ingest.crop_names import LeftOut, Naming
from service.ingest.manifest_files import ManifestSearch
from service.ingest.picture_files import is_video, walk
from service.ingest.summary import ImportSummary

FolderFile = Path | LeftOut


def folder_files(folder: Path, roots: ImportRoots, limits: ImportLimits) -> list[FolderFile]:
    """List a folder recursively.

    Args:
        folder: a folder below a root.
        roots: links to folders are followed as long as they stay in a root.
        limits: limits the number of files and folders.

    Returns:
        Image files, and what is left out and why.

    Raises:
        TooLarge: there are too many files and folders.
        InvalidInput: the folder no longer exists, or now leads out of the roots.
    """
    try:
        return list(walk(folder, RootTree(roots, limits)))
    except OSError as error:
        raise InvalidInput(f"the folder cannot be read: {error.strerror or error}") from error


def folder_manifest(folder: Path, files: list[FolderFile]) -> ManifestSearch:
    """Look for a manifest among the files of a folder."""
    search = ManifestSearch()
    for entry in files:
        path = entry.path if isinstance(entry, LeftOut) else entry
        search.see(path.relative_to(folder).as_posix())
    return search


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads the images and videos of folders.

    Attributes:
        naming: reads the names of images, relative to the folder.
        videos: reads videos.
        roots: no symbolic link may lead out of these.
        limits: limits of the import.
        summary: counts files whose names contain no metadata.
    """

    naming: Naming
    videos: VideoReader
    roots: ImportRoots
    limits: ImportLimits
    summary: ImportSummary

    def items(self, folder: Path, files: list[FolderFile]) -> Items:
        """Read a folder.

        Args:
            folder: a folder below a root.
            files: the answer of :func:`folder_files`.

        Yields:
            One item per image, and the frames of the videos.

        Raises:
            InvalidInput: a pattern takes too long.
        """
        for path in files:
            if isinstance(path, Path):
                yield self._image(path, folder)
                continue
            entry = replace(path, path=path.path.relative_to(folder))
            if is_video(entry):
                yield from self.videos.items(entry.path, partial(self.roots.open, path.path))
            elif entry.is_other:
                self.summary.leave_out(entry)
            else:
                yield entry

    def _image(self, path: Path, folder: Path) -> Item:
        relative = path.relative_to(folder)
        entry = self.naming(relative, Path())
        if isinstance(entry, LeftOut):
            return entry
        try:
            data = read_image(path, self.roots, self.limits)
        except ReidError as error:
            return refused(relative, error)
        if entry.nameless:
            self.summary.miss_names(str(relative))
        return Picture(str(relative), entry.crop, data)
