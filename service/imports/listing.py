"""Which members of an archive are crops, and of whom: by their names, or by a manifest inside."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from service.crop_names import SUFFIXES, CropFile, LeftOut, Naming
from service.errors import InvalidInput
from service.imports.items import Bounds, check_relative, refused
from service.imports.manifests import describe_row
from service.imports.rows import ndjson_rows

MANIFEST_NAME = "manifest.ndjson"
MAX_MANIFEST_BYTES = 64 << 20


class Listing:
    """Says of a member which crop it is.

    Args:
        naming: reads names, unless the archive starts with a manifest.
    """

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._rows: dict[str, CropFile] | None = None

    def take_manifest(self, data: bytes, bounds: Bounds) -> Iterator[LeftOut]:
        """Read the archive's own manifest; from here on only what it lists is a crop.

        Args:
            data: NDJSON with ``path``, and crop_id, identity, camera, timestamp where known.
            bounds: how many rows there may be.

        Yields:
            Rows that cannot be used.
        """
        self._rows = {}
        for number, row in enumerate(ndjson_rows(BytesIO(data)), start=1):
            bounds.check_items(number)
            entry = describe_row(row, number)
            if isinstance(entry, LeftOut):
                yield entry
            elif str(entry.path) in self._rows:
                yield refused(entry.path, "listed twice")
            else:
                self._rows[str(entry.path)] = entry

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
            return self._rows.pop(str(path), None) or LeftOut(path, "the manifest does not list it")
        if path.suffix.lower() not in SUFFIXES:
            return LeftOut(path, "not an image file")
        if path.name.startswith("._"):
            return LeftOut(path, "what macOS notes of a file")
        return self._naming(path, Path())

    def missing(self) -> Iterator[LeftOut]:
        """What the manifest lists and the archive does not have."""
        for name in self._rows or ():
            yield refused(name, "the archive does not hold it")
