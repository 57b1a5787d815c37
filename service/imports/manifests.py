"""Read manifests whose rows name files of an import root, or contain embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import InvalidInput, ReidError
from service.imports.items import ImportLimits, Item, Items, Picture, check_relative, refused
from service.imports.root_files import read_image
from service.imports.roots import ImportRoots
from service.ingest.crop_names import CropFile, LeftOut, described_row
from service.ingest.crop_values import is_missing, read_id, read_path
from service.ingest.reading import Reading
from service.ingest.rows import Format, Row, format_of, read_rows
from service.ingest.sent_embeddings import EmbeddedCrop, check_embeddings, decode_embedding

_TOGETHER = 256  # embeddings that are checked as one array
_BYTES = 2 << 20  # of these
_HERE = Path()


@dataclass(frozen=True, slots=True)
class ManifestSource:
    """Where the files of a manifest are, and how its values are read.

    Attributes:
        roots: the folders that may be read.
        limits: limits of the import.
        reading: how times without a zone are read; collects remarks.
    """

    roots: ImportRoots
    limits: ImportLimits
    reading: Reading = field(default_factory=Reading)

    def rows(self, manifest: Path, format_: Format) -> Iterator[tuple[int, Row]]:
        """Yield the rows of a manifest with their positions, from 1. Raises ReidError."""
        rows = read_rows(manifest, format_, self.reading.remarks.ignored_columns)
        for number, row in enumerate(rows, start=1):
            self.limits.check_items(number)
            yield number, row


def manifest_items(
    manifest: Path, format_: Format, source: ManifestSource, dimension: int
) -> Items:
    """Read a manifest whose paths are relative to an import root.

    Args:
        manifest: each row has ``path`` or ``embedding``, and may have ``crop_id``, ``identity``,
            ``camera``, ``track``, ``timestamp`` and ``zone``.
        format_: its format.
        source: where the files are.
        dimension: length of the gallery's embeddings.

    Yields:
        One item per row.

    Raises:
        ReidError: the manifest as a whole cannot be used.
    """
    yield from checked_items(_unchecked(manifest, format_, source, dimension), dimension)


def checked_items(items: Items, dimension: int) -> Items:
    """Check the embeddings of items, many at a time.

    Args:
        items: in any order.
        dimension: length of the gallery's embeddings.

    Yields:
        The items in their order, embeddings scaled; one whose embedding breaks a rule is rejected.

    Raises:
        ReidError: the source of the items failed; the items before that are still yielded.
    """
    most = max(1, min(_TOGETHER, _BYTES // (4 * dimension)))
    waiting: list[EmbeddedCrop] = []
    failure: ReidError | MemoryError | None = None
    try:
        for item in items:
            fits = isinstance(item, EmbeddedCrop) and item.embedding.shape == (dimension,)
            if not fits or len(waiting) >= most:
                yield from _checked(waiting, dimension)
                waiting = []
            if isinstance(item, EmbeddedCrop) and fits:
                waiting.append(item)
            elif isinstance(item, EmbeddedCrop):
                yield from _checked([item], dimension)  # may be long, so it does not wait
            else:
                yield item
    except (ReidError, MemoryError) as error:
        failure = error  # the items before it are sound
    yield from _checked(waiting, dimension)
    if failure is not None:
        raise failure


def _checked(waiting: Sequence[EmbeddedCrop], dimension: int) -> Items:
    for given, checked in zip(waiting, check_embeddings(waiting, dimension), strict=True):
        yield refused(given.name, checked) if isinstance(checked, InvalidInput) else checked


def _unchecked(manifest: Path, format_: Format, source: ManifestSource, dimension: int) -> Items:
    """The items of a manifest, before their embeddings are checked."""
    for number, row in source.rows(manifest, format_):
        if not isinstance(row, InvalidInput) and not is_missing(row.get("embedding")):
            yield _embedded(row, number, dimension, source.reading)
        else:
            yield _picture(row, number, source)


def folder_manifest_items(folder: Path, manifest: Path, source: ManifestSource) -> Items:
    """Read a manifest on the server, whose paths are relative to a folder.

    Args:
        folder: a folder below a root.
        manifest: ``.csv``, ``.ndjson``, ``.jsonl`` or ``.parquet``.
        source: where the files are.

    Yields:
        One item per row.

    Raises:
        ReidError: the manifest as a whole cannot be used.
    """
    for number, row in source.rows(manifest, format_of(manifest)):
        entry = describe_row(row, number, source.reading)
        yield entry if isinstance(entry, LeftOut) else _read(entry, folder, source)


def describe_row(row: Row, number: int, reading: Reading | None = None) -> CropFile | LeftOut:
    """Read the file and the crop of a row.

    Args:
        row: has ``path``, which must stay beneath the folder it is relative to.
        number: position of the row, from 1, for messages.
        reading: how times without a zone are read; collects remarks.

    Returns:
        The file and its crop, or what is wrong with the row.
    """
    if isinstance(row, InvalidInput):
        return refused(f"row {number}", f"row {number}: {row}")
    try:
        name = read_path(row.get("path"))
    except InvalidInput as error:
        return refused(f"row {number}", f"row {number}, {error}")
    if name is None:
        return refused(f"row {number}", "the row has no path")
    try:
        check_relative(name)
    except InvalidInput as error:
        return refused(name, f"row {number}, column path: {error}")
    return described_row(row, number, Path(name), _HERE, reading or Reading())


def _picture(row: Row, number: int, source: ManifestSource) -> Item:
    entry = describe_row(row, number, source.reading)
    if isinstance(entry, LeftOut):
        return entry
    name = str(entry.path)
    try:
        return Picture(name, entry.crop, _image_of(name, source))
    except ReidError as error:
        return refused(name, error)


def _image_of(name: str, source: ManifestSource) -> bytes:
    return read_image(source.roots.file(name), source.roots, source.limits)


def _read(entry: CropFile, folder: Path, source: ManifestSource) -> Item:
    try:
        data = read_image(folder / entry.path, source.roots, source.limits)
    except ReidError as error:
        return refused(entry.path, error)
    return Picture(str(entry.path), entry.crop, data)


def _embedded(row: Mapping[str, Any], number: int, dimension: int, reading: Reading) -> Item:
    try:
        name = read_id("column crop_id", row.get("crop_id")) or read_path(row.get("path"))
    except InvalidInput as error:
        return refused(f"row {number}", f"row {number}, {error}")
    if not name:
        return refused(f"row {number}", "an embedding needs a crop_id")
    entry = described_row(row, number, Path(name), _HERE, reading)
    if isinstance(entry, LeftOut):
        return entry
    try:
        sent = decode_embedding(row["embedding"], dimension)
    except InvalidInput as error:
        return refused(name, error)
    return EmbeddedCrop(entry.crop, sent, name)
