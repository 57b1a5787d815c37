"""Which crops a folder holds, and what their names say of them."""

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
    r"""How file names are read.

    Args:
        pattern: a regular expression that fits the relative path from its start; the groups
            ``identity``, ``camera``, ``timestamp``, ``zone`` and ``crop_id`` say what they take,
            all may be absent. An example: ``(?P<camera>[^/]+)/(?P<identity>\d+)``. Pieces of a
            time have groups of their own, see :mod:`service.ingest.path_times`. A file that does
            not fit is left out.
        layout: a built-in layout instead, see :mod:`service.ingest.name_layouts`. A file
            that does not fit is left out. Without both, Market-1501 names are read, and a file of
            any other name is kept without identity and camera.
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
    return _by_market1501 if pattern is None else by_pattern(pattern, reading or Reading())


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


def list_pattern(
    folder: Path, pattern: str, reading: Reading | None = None
) -> Iterator[CropFile | LeftOut]:
    """List a folder whose paths fit a regular expression.

    Args:
        folder: searched to its leaves, in the order of the relative paths.
        pattern: see :func:`naming_of`.
        reading: how times without a zone are read; takes notes.

    Yields:
        An entry a file; one that does not fit is left out.

    Raises:
        InvalidInput: not a regular expression, or a group of another name.
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
