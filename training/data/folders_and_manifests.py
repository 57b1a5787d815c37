"""List data sets that users arrange themselves: by a pattern of paths, or by a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from service.errors import InvalidInput
from service.ingest.crop_values import read_name, read_path
from service.ingest.rows import Format, Row, lines_and_rows
from training.data.entries import (
    IMAGE_SUFFIXES,
    ONLY_CAMERA,
    DataError,
    Entry,
    Record,
    Skipped,
    Split,
    files_below,
)
from training.data.layouts import find_manifest

_SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
_PATTERN_FIELDS = ("identity", "camera", "split", "name")


def list_folders(root: Path, pattern: str) -> Iterator[Entry]:
    """List every image below a folder whose relative path fits a pattern.

    Args:
        root: the folder; links to folders are followed, hidden and generated folders are left out.
        pattern: see :func:`compile_pattern`. Without ``{identity}`` the data set is unlabelled,
            without ``{camera}`` there is one camera, without ``{split}`` everything is train.

    Yields:
        One entry per file.

    Raises:
        DataError: the pattern breaks a rule.
    """
    rule = compile_pattern(pattern)
    for entry in files_below(root):
        yield _folder_file(root, entry, pattern, rule) if isinstance(entry, Path) else entry


def _folder_file(root: Path, path: Path, pattern: str, rule: re.Pattern[str]) -> Entry:
    relative = path.relative_to(root)
    found = rule.fullmatch(relative.with_suffix("").as_posix())
    if found is None:
        return Skipped(path, f"path does not fit the pattern {pattern!r}")
    try:
        return _named_record(path, relative.as_posix(), found.groupdict())
    except InvalidInput as error:
        return Skipped(path, str(error))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for relative paths without their extension.

    ``{identity}``, ``{camera}`` and ``{split}`` capture a value; ``{name}`` matches any other text.
    Each matches one or more characters within one path component, as few as possible. Everything
    else matches itself. Examples: ``{camera}/{name}``,
    ``{identity}/{camera}_{name}``, ``{split}/{identity}_{name}_{camera}``.

    Args:
        pattern: the pattern; ``{name}`` may occur several times, each other field once.

    Returns:
        A regular expression with the groups ``identity``, ``camera`` and ``split``.

    Raises:
        DataError: an unknown or repeated field, a stray brace, or an extension at the end.
    """
    expression, seen = "", set()
    for literal, field in re.findall(r"([^{}]+)|\{([^{}]*)\}|[{}]", pattern):
        if field == "name":
            expression += "[^/]+?"
        elif literal:
            expression += re.escape(literal)
        elif field in _PATTERN_FIELDS and field not in seen:
            expression += f"(?P<{field}>[^/]+?)"
            seen.add(field)
        else:
            raise DataError(
                f"pattern {pattern!r}: {field or 'a brace'!r} is not one of {_PATTERN_FIELDS}, "
                "each but 'name' at most once"
            )
    if not expression or pattern.lower().endswith(IMAGE_SUFFIXES):
        raise DataError(f"pattern {pattern!r}: must describe a path without its extension")
    return re.compile(expression)


def list_manifest(path: Path, ignored: set[str] | None = None) -> Iterator[Entry]:
    """List the rows of a manifest.

    A row has ``path`` (relative to the manifest's folder, or absolute) and ``camera``, and may have
    ``identity``, ``track``, ``frame`` (empty or -1: unknown) and ``split`` (train, query or
    gallery; empty: train). A track and a frame are a camera's own.
    Values mean the same as in the service, see :mod:`service.ingest.crop_values`.

    Args:
        path: a ``.csv`` file with a header, an ``.ndjson`` or ``.jsonl`` file with one object per
            line, a ``.parquet`` file, or a folder with such a file named ``manifest``.
        ignored: receives the names of columns that have no meaning here.

    Yields:
        One entry per row.

    Raises:
        DataError: the file is missing, its suffix is unknown, or it cannot be parsed.
    """
    file = manifest_file(path)
    format_ = _FORMATS.get(file.suffix.lower())
    if format_ is None:
        raise DataError(f"{file}: a manifest ends in .csv or .jsonl, .ndjson or .parquet")
    rows = lines_and_rows(file, format_, ignored, _require_columns)
    try:
        for number, (line, row) in enumerate(rows, start=1):
            yield _manifest_row(file, f"row {number}, line {line}", row)
    except DataError:
        raise
    except InvalidInput as error:
        raise DataError(f"{file}: {error}") from error


def _require_columns(columns: Collection[str], header: Sequence[str]) -> None:
    if missing := [name for name in ("path", "camera") if name not in columns]:
        raise InvalidInput(f"the header lacks {' and '.join(missing)}; it has {list(header)}")


def manifest_file(path: Path) -> Path:
    """Find the manifest, given its path or its folder. Raises DataError if there is none."""
    if not path.is_dir():
        return path
    found = find_manifest(path)
    if found is None:
        raise DataError(f"{path}: holds no manifest.csv, .jsonl, .ndjson or .parquet")
    return found


def _manifest_row(file: Path, where: str, row: Row) -> Entry:
    if isinstance(row, InvalidInput):
        raise DataError(f"{file}, {where}: {row}") from row
    where, path = f"{file.name}, {where}", file
    try:
        name = read_path(row.get("path"))
        path = file if name is None else file.parent / name
        if name is None or read_name("column camera", row.get("camera")) is None:
            return Skipped(path, f"{where}: path and camera must not be empty")
        record = _named_record(path, Path(name).as_posix(), row, "column ")
    except InvalidInput as error:
        return Skipped(path, f"{where}, {error}")
    return record if path.is_file() else Skipped(path, f"{where}: there is no such file")


def _named_record(path: Path, name: str, values: Mapping[str, Any], where: str = "") -> Record:
    """Make a record from the values of a row or a path. Raises InvalidInput."""
    split = read_name(f"{where}split", values.get("split")) or "train"
    if split not in _SPLITS:
        raise InvalidInput(f"{where}split {split!r} is not one of {', '.join(_SPLITS)}")
    camera = read_name(f"{where}camera", values.get("camera", ONLY_CAMERA))
    if camera is None:
        raise InvalidInput(f"{where}camera: {values['camera']!r} names no camera")
    columns = ("identity", "track", "frame")
    names = [read_name(f"{where}{column}", values.get(column)) for column in columns]
    identity, track, frame = names
    return Record(path, name, _SPLITS[split], identity, camera, track, frame)
