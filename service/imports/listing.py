"""Read the crops of an archive's members: by their names, or by a manifest inside the archive."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from service.errors import InvalidInput, TooLarge
from service.imports.items import ImportLimits, check_relative, refused
from service.imports.manifests import describe_row
from service.ingest.crop_names import CropFile, LeftOut, Naming
from service.ingest.manifest_files import ManifestSearch
from service.ingest.picture_files import not_a_picture
from service.ingest.reading import Reading
from service.ingest.rows import format_of, read_rows
from service.ingest.summary import ImportSummary

MAX_MANIFEST_BYTES = 64 << 20


class Listing:
    """Finds the crop of each member.

    Args:
        naming: reads names, unless the archive has a manifest.
        summary: counts members whose names contain no metadata.
        asked: what was requested instead of a manifest: ``pattern`` or ``layout``.
        reading: how the manifest's times without a zone are read; collects remarks.
    """

    def __init__(
        self,
        naming: Naming,
        summary: ImportSummary | None = None,
        asked: str | None = None,
        reading: Reading | None = None,
    ) -> None:
        self._naming = naming
        self._reading = Reading() if reading is None else reading
        self._summary = ImportSummary() if summary is None else summary
        self._asked = asked
        self._rows: dict[str, CropFile] | None = None
        self._folder = PurePosixPath()

    def choose_manifest(self, search: ManifestSearch) -> str | None:
        """Find the manifest to use.

        Args:
            search: has collected the names of all members.

        Returns:
            Its name; None if there is none, or if a pattern or a layout reads the names.

        Raises:
            InvalidInput: there are two, or one that cannot be used.
        """
        if self._asked is None:
            return search.manifest()
        for text in search.unused(self._asked):
            self._summary.note(text)
        return None

    def take_manifest(self, name: str, file: Path, limits: ImportLimits) -> Iterator[LeftOut]:
        """Read the archive's own manifest. After that, only members it lists are crops.

        Args:
            name: name of the member; paths in the manifest are relative to its folder.
            file: a copy of it, with ``path`` and optionally crop_id, identity, camera and timestamp
                in each row. The copy is removed after reading.
            limits: limits the number of rows.

        Yields:
            Rows that cannot be used.
        """
        self._rows = {}
        self._folder = PurePosixPath(name).parent
        try:
            ignored = self._reading.remarks.ignored_columns
            rows = read_rows(file, format_of(Path(name)), ignored)
            for number, row in enumerate(rows, start=1):
                limits.check_items(number)
                entry = self._take(describe_row(row, number, self._reading), self._rows)
                if entry is not None:
                    yield entry
        finally:
            file.unlink(missing_ok=True)

    def _take(self, entry: CropFile | LeftOut, rows: dict[str, CropFile]) -> LeftOut | None:
        """Add the entry of a row. Returns None, or why the row cannot be used."""
        if isinstance(entry, LeftOut):
            return entry
        key = _key(self._folder / entry.path.as_posix())
        if key in rows:
            return refused(entry.path, "listed twice")
        rows[key] = entry
        return None

    def describe(self, name: str) -> CropFile | LeftOut:
        """Find the crop of a member; call this once per member.

        Args:
            name: its name in the archive.

        Returns:
            The crop, or why the member is left out or rejected.
        """
        try:
            check_relative(name)
        except InvalidInput as error:
            return refused(name, error)
        path = Path(name)
        if self._rows is not None:
            listed = self._rows.pop(_key(PurePosixPath(name)), None)
            return listed or LeftOut(path, "the manifest does not list it")
        if (unread := not_a_picture(path.as_posix())) is not None:
            return unread
        entry = self._naming(path, Path())
        if isinstance(entry, CropFile) and entry.nameless:
            self._summary.miss_names(str(path))
        return entry

    def missing(self) -> Iterator[LeftOut]:
        """The entries of the manifest that are missing from the archive."""
        relative = f"; paths are relative to the manifest's folder, {self._folder}"
        reason = "it is not in the archive" + (relative if self._folder.parts else "")
        for entry in (self._rows or {}).values():
            yield refused(entry.path, reason)


def manifest_beside(archive: Path) -> Path:
    """The path of the copy of an archive's manifest."""
    return archive.with_name(f"{archive.name}-manifest")


def check_manifest_size(name: str, size: int) -> None:
    """Check the size of a manifest in an archive. Raises TooLarge."""
    if size > MAX_MANIFEST_BYTES:
        raise TooLarge(f"{name} has {size:,} bytes: at most {MAX_MANIFEST_BYTES:,}")


def _key(path: PurePosixPath) -> str:
    # Tools differ in whether an accent is a separate character.
    return unicodedata.normalize("NFC", str(path))
