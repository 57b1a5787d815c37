"""A folder of crops on this machine, listed as its owner means it: by a manifest or by names."""

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
from service.ingest.tally import Tally


@dataclass(frozen=True, slots=True)
class Wish:
    """How a folder is to be read; at most one of the three is given.

    Attributes:
        pattern: regular expression on the relative paths.
        layout: built-in layout of the names.
        manifest: file with a row a crop, whose paths count from the folder.
        reading: how times without a zone are read; takes notes.
    """

    pattern: str | None = None
    layout: str | None = None
    manifest: Path | None = None
    reading: Reading = field(default_factory=Reading)

    @property
    def asked(self) -> str | None:
        """What reads the names instead of a manifest that lies in the folder."""
        return "pattern" if self.pattern else "layout" if self.layout else None


def list_folder(folder: Path, wish: Wish, tally: Tally) -> Iterator[CropFile | LeftOut]:
    """List a folder.

    A manifest in the folder (``manifest.ndjson``, ``.jsonl``, ``.csv``, ``.parquet``) is used
    unless something else was asked for.

    Args:
        folder: searched to its leaves.
        wish: how to read it.
        tally: takes what has to be said.

    Yields:
        An entry a crop, and what is left out.

    Raises:
        InvalidInput: there is no such folder, its manifest cannot be used or is one of two, or the
            wish breaks a rule.
    """
    if wish.manifest is not None:
        yield from list_manifest(folder, wish.manifest, wish.reading)
        return
    naming = naming_of(wish.pattern, wish.layout, wish.reading)
    search = _search(folder)
    manifest = search.manifest() if wish.asked is None else None
    if manifest is not None:
        tally.note(f"{manifest} says what the pictures show")
        yield from _by_own_manifest(folder / manifest, folder, wish.reading)
        return
    if wish.asked is not None:
        for text in search.unused(wish.asked):
            tally.note(text)
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
    """An entry a row, then one for every other file of the folder."""
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
