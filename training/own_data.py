"""Data sets of one's own: folders whose paths fit a pattern, and manifests with a row an image."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn, get_args

from training.layouts import (
    IMAGE_SUFFIXES,
    MANIFEST_NAMES,
    NOT_AN_IMAGE,
    DataError,
    Entry,
    Record,
    Skipped,
    Split,
    is_image,
    read_text,
)

ONLY_CAMERA = "0"  # the camera of a pattern that names none

_SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}
_PATTERN_FIELDS = ("identity", "camera", "split", "name")


def list_folders(root: Path, pattern: str) -> Iterator[Entry]:
    """List every image below a folder whose relative path fits a pattern.

    Args:
        root: the folder; links to folders are followed.
        pattern: see :func:`compile_pattern`; without ``{identity}`` the data set is unlabelled,
            without ``{camera}`` there is one camera, without ``{split}`` all is train.

    Yields:
        An entry a file.

    Raises:
        DataError: the pattern breaks a rule, or a folder cannot be read.
    """
    rule = compile_pattern(pattern)
    for folder, _, names in os.walk(root, onerror=_refuse, followlinks=True):
        for path in (Path(folder, name) for name in names):
            yield _folder_file(root, path, pattern, rule) if is_image(path) else NOT_AN_IMAGE


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: {error.strerror}") from error


def _folder_file(root: Path, path: Path, pattern: str, rule: re.Pattern[str]) -> Entry:
    relative = path.relative_to(root)
    found = rule.fullmatch(relative.with_suffix("").as_posix())
    if found is None:
        return Skipped(path, f"path does not fit the pattern {pattern!r}")
    return _named_record(path, relative.as_posix(), found.groupdict())


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for relative paths without their extension.

    ``{identity}``, ``{camera}`` and ``{split}`` take a value, ``{name}`` takes what does not
    matter; each stands for one or more characters within one path component, as few as fit.
    Everything else stands for itself. Examples: ``{camera}/{name}``,
    ``{identity}/{camera}_{name}``, ``{split}/{identity}_{name}_{camera}``.

    Args:
        pattern: the pattern; ``{name}`` may occur several times, the others once.

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


def list_manifest(path: Path) -> Iterator[Entry]:
    """List the rows of a manifest.

    A row has ``path`` (relative to the manifest's folder, or absolute) and ``camera``, and may have
    ``identity`` (empty: unknown) and ``split`` (train, query or gallery; empty: train). Other
    columns are ignored.

    Args:
        path: a ``.csv`` file with a header, a ``.jsonl`` file with an object a line, or a folder
            that holds ``manifest.csv`` or ``manifest.jsonl``.

    Yields:
        An entry a row.

    Raises:
        DataError: no such file, an unknown suffix, or bytes that are not CSV or JSON lines.
    """
    file = manifest_file(path)
    read_rows = {".csv": _csv_rows, ".jsonl": _json_rows}.get(file.suffix.lower())
    if read_rows is None:
        raise DataError(f"{file}: a manifest ends in .csv or .jsonl")
    for line, row in read_rows(file):
        yield _manifest_row(file, line, row)


def manifest_file(path: Path) -> Path:
    """The manifest itself, given it or its folder. Raises DataError if the folder holds none."""
    if not path.is_dir():
        return path
    for name in MANIFEST_NAMES:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: holds neither of {', '.join(MANIFEST_NAMES)}")


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(StringIO(read_text(file), newline=""))
    columns = reader.fieldnames or ()
    if missing := [name for name in ("path", "camera") if name not in columns]:
        raise DataError(f"{file}: the header lacks {' and '.join(missing)}; it has {list(columns)}")
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not CSV: {error}") from error


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{file}, line {number}: {row!r} is not an object")
        yield number, row


def _manifest_row(file: Path, line: int, row: dict[str, Any]) -> Entry:
    values = {key: str(row[key]).strip() for key in row if key and row[key] is not None}
    name = values.get("path", "")
    path = file.parent / name
    where = f"{file.name}, line {line}"
    if not name or not values.get("camera"):
        return Skipped(path, f"{where}: path and camera must not be empty")
    if not path.is_file():
        return Skipped(path, f"{where}: there is no such file")
    return _named_record(path, Path(name).as_posix(), values)


def _named_record(path: Path, name: str, values: dict[str, str]) -> Entry:
    split = _SPLITS.get(values.get("split") or "train")
    if split is None:
        return Skipped(path, f"split {values['split']!r} is not one of {', '.join(_SPLITS)}")
    identity = values.get("identity")
    known = identity not in {None, "", "-1"}
    camera = values.get("camera", ONLY_CAMERA)
    return Record(path, name, split, identity if known else None, camera)
