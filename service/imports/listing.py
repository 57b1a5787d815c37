"""Which members of an archive are crops, and of whom: by their names, or by a manifest inside."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from service.errors import InvalidInput, TooLarge
from service.imports.items import Bounds, check_relative, refused
from service.imports.manifests import describe_row
from service.ingest.crop_names import CropFile, LeftOut, Naming
from service.ingest.manifest_files import ManifestSearch
from service.ingest.picture_files import not_a_picture
from service.ingest.reading import Reading
from service.ingest.rows import format_of, read_rows
from service.ingest.tally import Tally

MAX_MANIFEST_BYTES = 64 << 20


class Listing:
    """Says of a member which crop it is.

    Args:
        naming: reads names, unless the archive has a manifest.
        tally: takes the members whose names tell nothing.
        asked: what was asked for instead of a manifest: ``pattern`` or ``layout``.
        reading: how the manifest's times without a zone are read; takes notes.
    """

    def __init__(
        self,
        naming: Naming,
        tally: Tally | None = None,
        asked: str | None = None,
        reading: Reading | None = None,
    ) -> None:
        self._naming = naming
        self._reading = Reading() if reading is None else reading
        self._tally = Tally() if tally is None else tally
        self._asked = asked
        self._rows: dict[str, CropFile] | None = None
        self._folder = PurePosixPath()

    def choose_manifest(self, search: ManifestSearch) -> str | None:
        """Which member is the manifest to use.

        Args:
            search: has seen every member.

        Returns:
            Its name; None where there is none, or where something else says what names mean.

        Raises:
            InvalidInput: there are two, or one that cannot be used.
        """
        if self._asked is None:
            return search.manifest()
        for text in search.unused(self._asked):
            self._tally.note(text)
        return None

    def take_manifest(self, name: str, file: Path, bounds: Bounds) -> Iterator[LeftOut]:
        """Read the archive's own manifest; from here on only what it lists is a crop.

        Args:
            name: of the member; its paths count from its folder.
            file: its rows with ``path``, and crop_id, identity, camera, timestamp where known;
                removed once it is read.
            bounds: how many rows there may be.

        Yields:
            Rows that cannot be used.
        """
        self._rows = {}
        self._folder = PurePosixPath(name).parent
        try:
            ignored = self._reading.remarks.ignored_columns
            rows = read_rows(file, format_of(Path(name)), ignored)
            for number, row in enumerate(rows, start=1):
                bounds.check_items(number)
                entry = self._take(describe_row(row, number, self._reading), self._rows)
                if entry is not None:
                    yield entry
        finally:
            file.unlink(missing_ok=True)

    def _take(self, entry: CropFile | LeftOut, rows: dict[str, CropFile]) -> LeftOut | None:
        """Keep what a row lists; None, or why it cannot be."""
        if isinstance(entry, LeftOut):
            return entry
        key = _key(self._folder / entry.path.as_posix())
        if key in rows:
            return refused(entry.path, "listed twice")
        rows[key] = entry
        return None

    def describe(self, name: str) -> CropFile | LeftOut:
        """What a member is; each is asked for once.

        Args:
            name: as the archive has it.

        Returns:
            The crop, or why the member is left out or refused.
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
            self._tally.miss_names(str(path))
        return entry

    def missing(self) -> Iterator[LeftOut]:
        """What the manifest lists and the archive does not have."""
        counted = f": paths count from the manifest's folder, {self._folder}"
        reason = "the archive does not hold it" + (counted if self._folder.parts else "")
        for entry in (self._rows or {}).values():
            yield refused(entry.path, reason)


def manifest_beside(archive: Path) -> Path:
    """Where an archive's manifest is put down while it is read."""
    return archive.with_name(f"{archive.name}-manifest")


def check_manifest_size(name: str, size: int) -> None:
    """Accept the size of a manifest in an archive. Raises TooLarge."""
    if size > MAX_MANIFEST_BYTES:
        raise TooLarge(f"{name} has {size:,} bytes: at most {MAX_MANIFEST_BYTES:,}")


def _key(path: PurePosixPath) -> str:
    # One tool writes an accent as a letter of its own, another does not.
    return unicodedata.normalize("NFC", str(path))
