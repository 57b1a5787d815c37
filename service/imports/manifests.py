"""Manifests: rows that name files of an import root, or bring their embeddings along."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from service.crop_names import CropFile, LeftOut, described
from service.errors import InvalidInput, ReidError
from service.gallery import rules
from service.imports.items import Bounds, Item, Items, Picture, Ready, check_relative, refused
from service.imports.roots import ImportRoots, read_image
from service.imports.rows import Format, Row, format_of, read_rows


def manifest_items(
    manifest: Path, format_: Format, roots: ImportRoots, bounds: Bounds, dimension: int
) -> Items:
    """Read a manifest whose paths are relative to an import root.

    Args:
        manifest: each row has ``path`` or ``embedding``, and may have ``crop_id``, ``identity``,
            ``camera`` and ``timestamp``.
        format_: how it is written.
        roots: where the files are.
        bounds: what the import may cost.
        dimension: length of the gallery's embeddings.

    Yields:
        An item a row.

    Raises:
        ReidError: the manifest as a whole cannot be used.
    """
    for number, row in _numbered(read_rows(manifest, format_), bounds):
        if not isinstance(row, InvalidInput) and row.get("embedding") not in (None, ""):
            yield _ready(row, number, dimension)
        else:
            yield _picture(row, number, roots, bounds)


def folder_manifest_items(
    folder: Path, manifest: Path, roots: ImportRoots, bounds: Bounds
) -> Items:
    """Read a manifest that lies on the server; its paths are relative to a folder.

    Args:
        folder: below a root.
        manifest: ``.csv``, ``.ndjson``, ``.jsonl`` or ``.parquet``.
        roots: where files may be.
        bounds: what the import may cost.

    Yields:
        An item a row.

    Raises:
        ReidError: the manifest as a whole cannot be used.
    """
    for number, row in _numbered(read_rows(manifest, format_of(manifest)), bounds):
        entry = describe_row(row, number)
        yield entry if isinstance(entry, LeftOut) else _read(entry, folder, roots, bounds)


def describe_row(row: Row, number: int) -> CropFile | LeftOut:
    """What a row says of the file it names.

    Args:
        row: with ``path``, which stays below the place it counts from.
        number: its position, from 1, for messages.

    Returns:
        The file and its crop, or what is wrong with the row.
    """
    if isinstance(row, InvalidInput):
        return refused(f"row {number}", row)
    name = row.get("path")
    if not isinstance(name, str) or not name:
        return refused(f"row {number}", "it has no path")
    try:
        check_relative(name)
    except InvalidInput as error:
        return refused(name, error)
    return described(Path(name), Path(), row)


def _numbered(rows: Iterator[Row], bounds: Bounds) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows, start=1):
        bounds.check_items(number)
        yield number, row


def _picture(row: Row, number: int, roots: ImportRoots, bounds: Bounds) -> Item:
    entry = describe_row(row, number)
    if isinstance(entry, LeftOut):
        return entry
    name = str(entry.path)
    try:
        return Picture(name, entry.crop, read_image(roots.file(name), bounds))
    except ReidError as error:
        return refused(name, error)


def _read(entry: CropFile, folder: Path, roots: ImportRoots, bounds: Bounds) -> Item:
    try:
        data = read_image(roots.own(folder / entry.path), bounds)
    except ReidError as error:
        return refused(entry.path, error)
    return Picture(str(entry.path), entry.crop, data)


def _ready(row: dict[str, Any], number: int, dimension: int) -> Item:
    name = str(row.get("crop_id") or row.get("path") or "")
    if not name:
        return refused(f"row {number}", "an embedding needs a crop_id")
    entry = described(Path(name), Path(), row)
    if isinstance(entry, LeftOut):
        return entry
    try:
        embedding = _embedding(row["embedding"], dimension)
        (checked,) = rules.unit_rows(embedding[None], 1, dimension, lambda _: f"crop {name!r}")
    except InvalidInput as error:
        return refused(name, error)
    return Ready(name, entry.crop, checked)


def _embedding(given: object, dimension: int) -> NDArray[np.float32]:
    """A list of numbers, its JSON text, or base64 of little-endian float32."""
    try:
        if isinstance(given, str):
            if given.lstrip().startswith("["):
                given = from_json(given)
            else:
                raw = base64.b64decode(given, validate=True)
                given = np.frombuffer(raw, dtype="<f4")
        embedding = np.asarray(given, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"embedding: {error}") from error
    if embedding.shape != (dimension,):
        raise InvalidInput(f"embedding has shape {embedding.shape}, must be ({dimension},)")
    return embedding
