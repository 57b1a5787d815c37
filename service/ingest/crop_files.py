"""A picture file and what some values say of the crop on it."""

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
    """An image file and what is known of the crop on it."""

    path: Path
    crop: Crop
    nameless: bool = False
    """Whether its name should have told identity or camera and told neither."""


Naming = Callable[[Path, Path], CropFile | LeftOut]
"""Says of a file, and the folder its path counts from, which crop it is."""


def crop_id_of(path: Path, folder: Path) -> str:
    """The id of a file's crop: its relative path, made to fit the rules of ids.

    Args:
        path: a file.
        folder: where the listing started.

    Returns:
        The path in its normal form. A path that is longer than an id, or not printable, gives its
        end with ``_`` for what does not print, after sixteen digits of the path's SHA-256.
    """
    inside = path.is_relative_to(folder)
    relative = path.relative_to(folder).as_posix() if inside else path.as_posix()
    if len(relative) > MAX_NAME or not relative.isprintable():
        # In steps, as galleries of older releases were mended: importing again finds their crops.
        digest = hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        printable = "".join(letter if letter.isprintable() else "_" for letter in relative)
        relative = f"{digest}/{printable[-(MAX_NAME - len(digest) - 1) :]}"
    return fitting_id(relative)


def described_row(
    row: Mapping[str, Any], number: int, path: Path, folder: Path, reading: Reading
) -> CropFile | LeftOut:
    """Read what a row of a manifest says of a file.

    Args:
        row: its values by column.
        number: its position among the rows, from 1, for messages.
        path: the file.
        folder: its path counts from here, where the row names no crop_id.
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
    """Read what some values say of a file.

    Args:
        path: the file.
        folder: its path counts from here, where the values hold no crop_id.
        values: may hold ``crop_id``, ``identity``, ``camera``, ``timestamp`` and ``zone``, see
            :func:`service.ingest.crop_values.read_values`; other names are ignored.
        reading: how times without a zone are read; takes notes.
        where: what a value's place is called in messages.

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
        )
        checked = checked_crop(crop)
    except InvalidInput as error:
        return LeftOut(path, str(error), is_error=True)
    reading.remarks.note(known)
    return CropFile(path, checked)
