"""List a folder of crops on this machine, by a manifest or by the names of its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import InvalidInput
from service.ingest.crop_names import CropFile, LeftOut, list_manifest, list_names, naming_of
from service.ingest.manifest_files import ManifestSearch
from service.ingest.picture_files import walk
from service.ingest.reading import Reading
from service.ingest.summary import ImportSummary


@dataclass(frozen=True, slots=True)
class HowToRead:
    """How to read a folder; at most one of pattern, layout and manifest is given.

    Attributes:
        pattern: regular expression on the relative paths.
        layout: built-in layout of the names.
        manifest: file with one row per crop, whose paths are relative to the folder.
        reading: how times without a zone are read; collects remarks.
    """

    pattern: str | None = None
    layout: str | None = None
    manifest: Path | None = None
    reading: Reading = field(default_factory=Reading)

    @property
    def asked(self) -> str | None:
        """What was asked for instead of a manifest in the folder."""
        return "pattern" if self.pattern else "layout" if self.layout else None


def list_folder(
    folder: Path, how: HowToRead, summary: ImportSummary
) -> Iterator[CropFile | LeftOut]:
    """List a folder.

    A manifest in the folder (``manifest.ndjson``, ``.jsonl``, ``.csv``, ``.parquet``) is used
    unless ``how`` names something else.

    Args:
        folder: read with its subfolders.
        how: how to read it.
        summary: collects what the user should know.

    Yields:
        One entry per crop, and what is left out.

    Raises:
        InvalidInput: there is no such folder, it has two manifests or one that cannot be used, or
            ``how`` breaks a rule.
    """
    if how.manifest is not None:
        yield from list_manifest(folder, how.manifest, how.reading)
        return
    naming = naming_of(how.pattern, how.layout, how.reading)
    search = _search(folder)
    manifest = search.manifest() if how.asked is None else None
    if manifest is not None:
        summary.note(f"{manifest} says what the pictures show")
        yield from _by_own_manifest(folder / manifest, folder, how.reading)
        return
    if how.asked is not None:
        for text in search.unused(how.asked):
            summary.note(text)
    yield from list_names(folder, naming)


def _search(folder: Path) -> ManifestSearch:
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    search = ManifestSearch()
    for entry in walk(folder):
        path = entry.path if isinstance(entry, LeftOut) else entry
        search.see(path.relative_to(folder).as_posix())
    return search


def _by_own_manifest(
    manifest: Path, folder: Path, reading: Reading
) -> Iterator[CropFile | LeftOut]:
    """One entry per row, then one for every other file of the folder."""
    listed = {manifest}
    for entry in list_manifest(manifest.parent, manifest, reading):
        path = Path(os.path.normpath(entry.path))
        listed |= {path, *path.parents}
        yield entry
    for other in walk(folder):
        if isinstance(other, LeftOut) and other.path not in listed:
            yield LeftOut(other.path, other.reason, is_other=other.is_other)
        elif isinstance(other, Path) and other not in listed:
            yield LeftOut(other, "the manifest does not list it")
