"""Which crops a folder holds, and what their names say of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]  # ships no types

from service.crop_values import read_path
from service.errors import InvalidInput
from service.gallery.base import Crop
from service.gallery.rules import checked_crop
from service.imports.rows import format_of, read_rows
from service.manifest_files import ManifestSearch
from service.name_layouts import LAYOUTS, Junk, Named, NameLayout
from service.names import fitting_id
from service.path_times import PIECES, check_groups, time_of_groups
from service.picture_files import LeftOut, walk
from service.reading import Reading, read_values

__all__ = [
    "CropFile",
    "LeftOut",
    "Naming",
    "crop_id_of",
    "described",
    "described_row",
    "list_manifest",
    "list_market1501",
    "list_names",
    "list_own_manifest",
    "list_pattern",
    "manifest_of",
    "naming_of",
]

_GROUPS = ("crop_id", "identity", "camera", "timestamp", "zone", *PIECES)
_DEFAULT = LAYOUTS["market1501"]
_MAX_PATTERN = 500
_MATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CropFile:
    """An image file and what is known of the crop on it."""

    path: Path
    crop: Crop
    nameless: bool = False
    """Whether its name should have told identity or camera and told neither."""


Naming = Callable[[Path, Path], CropFile | LeftOut]
"""Says of a file, and the folder its path counts from, which crop it is."""


def naming_of(
    pattern: str | None = None, layout: str | None = None, reading: Reading | None = None
) -> Naming:
    r"""How file names are read.

    Args:
        pattern: a regular expression that fits the relative path from its start; the groups
            ``identity``, ``camera``, ``timestamp``, ``zone`` and ``crop_id`` say what they take,
            all may be absent. An example: ``(?P<camera>[^/]+)/(?P<identity>\d+)``. Pieces of a
            time have groups of their own, see :mod:`service.path_times`. A file that does not fit
            is left out.
        layout: name of a built-in layout instead, see :mod:`service.name_layouts`. A file that
            does not fit is left out. Without both, Market-1501 names are read, and a file of any
            other name is kept without identity and camera.
        reading: how times without a zone are read; takes notes.

    Returns:
        The reader of names.

    Raises:
        InvalidInput: pattern and layout both, a layout nobody knows, not a regular expression, or
            a group of another name.
    """
    if pattern is not None and layout is not None:
        raise InvalidInput("pattern and layout exclude each other")
    if layout is not None:
        return _by_layout(_known_layout(layout))
    return _by_market1501 if pattern is None else _by_pattern(pattern, reading or Reading())


def _by_pattern(pattern: str, reading: Reading) -> Naming:
    rule = _compile(pattern)
    tells = {"identity", "camera"} & set(rule.groupindex)

    def read(path: Path, folder: Path) -> CropFile | LeftOut:
        relative = path.relative_to(folder).as_posix()
        try:
            found = rule.match(relative, timeout=_MATCH_SECONDS)
        except TimeoutError as error:
            raise InvalidInput(f"pattern {pattern!r}: takes too long on {relative!r}") from error
        if found is None:
            return LeftOut(path, f"its path does not fit {pattern!r}")
        entry = _described_by(found.groupdict(), path, folder, reading)
        if isinstance(entry, LeftOut):
            return entry
        silent = entry.crop.identity is None and entry.crop.camera is None
        return replace(entry, nameless=bool(tells) and silent)

    return read


def _by_layout(layout: NameLayout) -> Naming:
    def read(path: Path, folder: Path) -> CropFile | LeftOut:
        match layout.read(path.relative_to(folder).as_posix()):
            case None:
                reason = f"its path does not fit the layout {layout.name}, as {layout.example} does"
                return LeftOut(path, reason)
            case Junk(reason):
                return LeftOut(path, reason)
            case Named(identity, camera):
                return described(path, folder, {"identity": identity, "camera": camera})

    return read


def _by_market1501(path: Path, folder: Path) -> CropFile | LeftOut:
    if _DEFAULT.read(path.name) is None:
        entry = described(path, folder, {})
        return entry if isinstance(entry, LeftOut) else replace(entry, nameless=True)
    return _by_layout(_DEFAULT)(path, folder)


def _known_layout(name: str) -> NameLayout:
    if name not in LAYOUTS:
        raise InvalidInput(f"layout {name[:80]!r} is none of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def list_names(folder: Path, naming: Naming) -> Iterator[CropFile | LeftOut]:
    """List a folder by the names of its files.

    Args:
        folder: searched to its leaves, in the order of the relative paths. Links to folders are
            followed; hidden and generated folders are left out.
        naming: of :func:`naming_of`.

    Yields:
        An entry a file; a folder that is left out is one entry.

    Raises:
        InvalidInput: there is no such folder, or a pattern takes too long.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    for entry in walk(folder):
        yield entry if isinstance(entry, LeftOut) else naming(entry, folder)


def list_market1501(folder: Path) -> Iterator[CropFile | LeftOut]:
    """List a folder whose files may carry Market-1501 names, such as ``0002_c1s1_000451_03.jpg``.

    That one shows identity ``0002`` on camera ``c1``. Identity ``-1`` marks junk and is left out;
    identity ``0000`` marks a distractor, a person nobody knows, where the name has a sequence
    (``s1``) as Market-1501's own have, and is kept without identity. A file of any other name is
    kept without identity and camera.

    Args:
        folder: searched to its leaves, in the order of the relative paths.

    Yields:
        An entry a file.
    """
    return list_names(folder, naming_of())


def list_pattern(folder: Path, pattern: str) -> Iterator[CropFile | LeftOut]:
    """List a folder whose paths fit a regular expression.

    Args:
        folder: searched to its leaves, in the order of the relative paths.
        pattern: see :func:`naming_of`.

    Yields:
        An entry a file; one that does not fit is left out.

    Raises:
        InvalidInput: not a regular expression, or a group of another name.
    """
    return list_names(folder, naming_of(pattern))


def manifest_of(folder: Path) -> tuple[Path | None, InvalidInput | None]:
    """The manifest that lies in a folder.

    Args:
        folder: searched to its leaves.

    Returns:
        The file, None where there is none; and what keeps one from being used, None if nothing.

    Raises:
        InvalidInput: there is no such folder.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    search = ManifestSearch()
    for entry in walk(folder):
        path = entry.path if isinstance(entry, LeftOut) else entry
        search.see(path.relative_to(folder).as_posix())
    try:
        name = search.manifest()
    except InvalidInput as error:
        return folder / search.candidates[0], error
    return (None if name is None else folder / name), None


def list_own_manifest(manifest: Path, folder: Path) -> Iterator[CropFile | LeftOut]:
    """List a folder by the manifest that lies in it.

    Args:
        manifest: of :func:`manifest_of`; its paths count from its own folder.
        folder: what was asked for.

    Yields:
        An entry a row, then one for every other file of the folder.

    Raises:
        InvalidInput: the manifest cannot be read, or a row has no path.
    """
    listed = {manifest}
    for entry in list_manifest(manifest.parent, manifest):
        listed.add(Path(os.path.normpath(entry.path)))
        yield entry
    for other in walk(folder):
        if isinstance(other, LeftOut) and other.path not in listed:
            yield LeftOut(other.path, other.reason)
        elif isinstance(other, Path) and other not in listed:
            yield LeftOut(other, "the manifest does not list it")


def list_manifest(
    folder: Path, manifest: Path, reading: Reading | None = None
) -> Iterator[CropFile | LeftOut]:
    """List the rows of a manifest.

    Args:
        folder: paths are relative to it.
        manifest: a ``.csv`` file with a header, an ``.ndjson`` or ``.jsonl`` file, or a
            ``.parquet`` file; each row has ``path``, and may have ``crop_id``, ``identity``,
            ``camera``, ``timestamp`` and ``zone``. Empty values mean unknown.
        reading: how times without a zone are read; takes notes.

    Yields:
        An entry a row.

    Raises:
        InvalidInput: the manifest cannot be read, or a row has no path.
    """
    reading = reading or Reading()
    rows = read_rows(manifest, format_of(manifest), reading.remarks.ignored_columns)
    for number, row in enumerate(rows, start=1):
        if isinstance(row, InvalidInput):
            raise InvalidInput(f"{manifest}: row {number}: {row}")
        try:
            path = read_path(row.get("path"))
        except InvalidInput as error:
            raise InvalidInput(f"{manifest}: row {number}, {error}") from error
        if path is None:
            raise InvalidInput(f"{manifest}: row {number} has no path")
        yield described_row(row, number, folder / path, folder, reading)


def crop_id_of(path: Path, folder: Path) -> str:
    """The id of a file's crop: its relative path, made to fit the rules of ids.

    Args:
        path: a file.
        folder: where the listing started.

    Returns:
        The path's normal form where that is an id. A path that is longer, or holds what an id must
        not, gives its end with ``_`` for that, after sixteen digits of the path's SHA-256.
    """
    inside = path.is_relative_to(folder)
    return fitting_id(path.relative_to(folder).as_posix() if inside else path.as_posix())


def _compile(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > _MAX_PATTERN:
        raise InvalidInput(f"pattern of {len(pattern)} characters: at most {_MAX_PATTERN}")
    try:
        rule = regex.compile(pattern)
    except regex.error as error:
        raise InvalidInput(f"pattern {pattern!r}: {error}") from error
    unknown = sorted(set(rule.groupindex) - set(_GROUPS))
    if unknown:
        raise InvalidInput(
            f"pattern {pattern!r}: group {unknown[0]!r} is none of {', '.join(_GROUPS)}"
        )
    try:
        check_groups(set(rule.groupindex))
    except InvalidInput as error:
        raise InvalidInput(f"pattern {pattern!r}: {error}") from error
    return rule


def _described_by(
    groups: Mapping[str, str | None], path: Path, folder: Path, reading: Reading
) -> CropFile | LeftOut:
    """Read what the groups of a pattern say of a file."""
    try:
        timestamp = time_of_groups(groups)
    except ValueError as error:
        return LeftOut(path, f"the time in its path: {error}", is_error=True)
    return described(path, folder, {**groups, "timestamp": timestamp}, reading, "group")


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
            :func:`service.crop_values.read_values`; other names are ignored.
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
    reading.remarks.note(known.moment)
    return CropFile(path, checked)
