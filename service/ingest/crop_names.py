"""List the crops of a folder, and read their metadata from file names or a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from service.errors import InvalidInput
from service.ingest.crop_files import CropFile, Naming, crop_id_of, described, described_row
from service.ingest.crop_values import read_path
from service.ingest.name_layouts import LAYOUTS, Junk, Named, NameLayout
from service.ingest.name_patterns import by_pattern
from service.ingest.picture_files import LeftOut, walk
from service.ingest.reading import Reading
from service.ingest.rows import format_of, read_rows

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
    "list_pattern",
    "naming_of",
]

_DEFAULT = LAYOUTS["market1501"]


def naming_of(
    pattern: str | None = None, layout: str | None = None, reading: Reading | None = None
) -> Naming:
    r"""Choose how file names are read.

    Args:
        pattern: a regular expression that matches the relative path from its start. Its groups
            ``identity``, ``camera``, ``track``, ``timestamp``, ``zone`` and ``crop_id`` are all
            optional.
            Example: ``(?P<camera>[^/]+)/(?P<identity>\d+)``. Parts of a time have their own
            groups, see :mod:`service.ingest.path_times`. Files that do not match are left out.
        layout: a built-in layout instead, see :mod:`service.ingest.name_layouts`. Files that do not
            match are left out. Without pattern and layout, Market-1501 names are read, and files
            with other names are kept without identity and camera.
        reading: how times without a zone are read; collects remarks.

    Returns:
        The reader of names.

    Raises:
        InvalidInput: both pattern and layout are given, the layout is unknown, the pattern is not a
            regular expression, or a group has another name.
    """
    if pattern is not None and layout is not None:
        raise InvalidInput("pattern and layout exclude each other")
    if layout is not None:
        return _by_layout(_known_layout(layout))
    return _by_market1501 if pattern is None else by_pattern(pattern, reading or Reading())


def _by_layout(layout: NameLayout) -> Naming:
    def read(path: Path, folder: Path) -> CropFile | LeftOut:
        match layout.read(path.relative_to(folder).as_posix()):
            case None:
                example = f"such as {layout.example}"
                reason = f"its path does not match the layout {layout.name}, {example}"
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
        raise InvalidInput(f"layout must be one of {', '.join(LAYOUTS)}, got {name[:80]!r}")
    return LAYOUTS[name]


def list_names(folder: Path, naming: Naming) -> Iterator[CropFile | LeftOut]:
    """List the crops of a folder by their file names.

    Args:
        folder: searched recursively, in the order of the relative paths. Links to folders are
            followed; hidden and generated folders are left out.
        naming: the answer of :func:`naming_of`.

    Yields:
        One entry per file, and one per folder that is left out.

    Raises:
        InvalidInput: the folder does not exist, or a pattern takes too long.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    for entry in walk(folder):
        yield entry if isinstance(entry, LeftOut) else naming(entry, folder)


def list_market1501(folder: Path) -> Iterator[CropFile | LeftOut]:
    """List a folder of files with Market-1501 names, such as ``0002_c1s1_000451_03.jpg``.

    This example shows identity ``0002`` on camera ``c1``. Identity ``-1`` marks junk, which is left
    out. Identity ``0000`` in a name with a sequence (``s1``), as Market-1501 writes it, marks a
    distractor: an unknown person, kept without identity. Files with other names are kept without
    identity and camera.

    Args:
        folder: searched recursively, in the order of the relative paths.

    Yields:
        One entry per file.
    """
    return list_names(folder, naming_of())


def list_pattern(
    folder: Path, pattern: str, reading: Reading | None = None
) -> Iterator[CropFile | LeftOut]:
    """List a folder whose paths match a regular expression.

    Args:
        folder: searched recursively, in the order of the relative paths.
        pattern: see :func:`naming_of`.
        reading: how times without a zone are read; collects remarks.

    Yields:
        One entry per file; those that do not match are left out.

    Raises:
        InvalidInput: not a regular expression, or a group has another name.
    """
    return list_names(folder, naming_of(pattern, reading=reading))


def list_manifest(
    folder: Path, manifest: Path, reading: Reading | None = None
) -> Iterator[CropFile | LeftOut]:
    """List the rows of a manifest.

    Args:
        folder: paths are relative to it.
        manifest: a ``.csv`` file with a header, an ``.ndjson`` or ``.jsonl`` file, or a
            ``.parquet`` file; each row has ``path``, and may have ``crop_id``, ``identity``,
            ``camera``, ``track``, ``timestamp`` and ``zone``. Empty values mean unknown.
        reading: how times without a zone are read; collects remarks.

    Yields:
        One entry per row.

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
