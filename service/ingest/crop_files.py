"""An image file together with the metadata of its crop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.gallery.rules import checked_crop
from service.ingest.picture_files import LeftOut
from service.ingest.reading import Reading, read_values
from service.values.names import MAX_NAME, fitting_id


@dataclass(frozen=True, slots=True)
class CropFile:
    """An image file and its crop.

    Attributes:
        path: the file.
        crop: the metadata of its crop.
        nameless: its name should contain an identity or a camera, but contains neither.
    """

    path: Path
    crop: Crop
    nameless: bool = False


Naming = Callable[[Path, Path], CropFile | LeftOut]
"""Reads the crop of a file from its path, relative to a folder."""


def crop_id_of(path: Path, folder: Path) -> str:
    """Make a crop id of a file's relative path.

    Args:
        path: the file.
        folder: the folder the path is relative to.

    Returns:
        The path in its normal form. If it is too long or not printable: sixteen digits of the
        path's SHA-256, and the end of the path with ``_`` for characters that are not printable.
    """
    inside = path.is_relative_to(folder)
    relative = path.relative_to(folder).as_posix() if inside else path.as_posix()
    if len(relative) > MAX_NAME or not relative.isprintable():
        # The same steps as in the migration of older galleries, so that importing the files again
        # finds their crops.
        digest = hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        printable = "".join(letter if letter.isprintable() else "_" for letter in relative)
        relative = f"{digest}/{printable[-(MAX_NAME - len(digest) - 1) :]}"
    return fitting_id(relative)


def described_row(
    row: Mapping[str, Any], number: int, path: Path, folder: Path, reading: Reading
) -> CropFile | LeftOut:
    """Read a file's crop from a row of a manifest.

    Args:
        row: values by column.
        number: position of the row, from 1, for messages.
        path: the file.
        folder: the folder its path is relative to, if the row has no crop_id.
        reading: how values are read.

    Returns:
        The file's crop, or which value in which row and column broke which rule.
    """
    entry = described(path, folder, row, reading)
    if isinstance(entry, LeftOut):
        return replace(entry, reason=f"row {number}, {entry.reason}")
    return entry


def described(
    path: Path,
    folder: Path,
    values: Mapping[str, Any],
    reading: Reading | None = None,
    where: str = "column",
) -> CropFile | LeftOut:
    """Read a file's crop from named values.

    Args:
        path: the file.
        folder: the folder its path is relative to, if the values have no crop_id.
        values: may contain ``crop_id``, ``identity``, ``camera``, ``track``, ``timestamp`` and
            ``zone``, see :func:`service.ingest.reading.read_values`; other names are ignored.
        reading: how times without a zone are read; collects remarks.
        where: what to call the place of a value in messages.

    Returns:
        The file's crop, or which value broke which rule.
    """
    reading = reading or Reading()
    try:
        known = read_values(values, reading, where)
        crop = Crop(
            known.crop_id or crop_id_of(path, folder),
            known.identity,
            known.camera,
            None if known.moment is None else known.moment.seconds,
            track=known.track,
        )
        checked = checked_crop(crop)
    except InvalidInput as error:
        return LeftOut(path, str(error), is_error=True)
    reading.remarks.note(known)
    return CropFile(path, checked)
