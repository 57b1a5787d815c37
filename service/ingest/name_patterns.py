"""Read crops from paths by a pattern: a regular expression with named groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import regex  # type: ignore[import-untyped]  # ships no types

from service.errors import InvalidInput
from service.ingest.crop_files import CropFile, Naming, described
from service.ingest.path_times import PIECES, check_groups, time_of_groups
from service.ingest.picture_files import LeftOut
from service.ingest.reading import Reading

_GROUPS = ("crop_id", "identity", "camera", "track", "timestamp", "zone", *PIECES)
_MAX_PATTERN = 500
_MATCH_SECONDS = 1.0


def by_pattern(pattern: str, reading: Reading) -> Naming:
    """Make a reader of paths from a pattern.

    Args:
        pattern: a regular expression, see :func:`service.ingest.crop_names.naming_of`.
        reading: how times without a zone are read; collects remarks.

    Returns:
        The reader of names.

    Raises:
        InvalidInput: not a regular expression, a group with another name, or groups that together
            do not make a time.
    """
    rule = _compile(pattern)
    tells = {"identity", "camera"} & set(rule.groupindex)

    def read(path: Path, folder: Path) -> CropFile | LeftOut:
        relative = path.relative_to(folder).as_posix()
        try:
            found = rule.match(relative, timeout=_MATCH_SECONDS)
        except TimeoutError as error:
            raise InvalidInput(f"pattern {pattern!r}: takes too long on {relative!r}") from error
        if found is None:
            return LeftOut(path, f"its path does not match {pattern!r}")
        entry = _described_by(found.groupdict(), path, folder, reading)
        if isinstance(entry, LeftOut):
            return entry
        silent = entry.crop.identity is None and entry.crop.camera is None
        return replace(entry, nameless=bool(tells) and silent)

    return read


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
            f"pattern {pattern!r}: unknown group {unknown[0]!r}; allowed are {', '.join(_GROUPS)}"
        )
    try:
        check_groups(set(rule.groupindex))
    except InvalidInput as error:
        raise InvalidInput(f"pattern {pattern!r}: {error}") from error
    return rule


def _described_by(
    groups: Mapping[str, str | None], path: Path, folder: Path, reading: Reading
) -> CropFile | LeftOut:
    """Read a file's crop from the groups of a pattern."""
    try:
        timestamp = time_of_groups(groups)
    except ValueError as error:
        return LeftOut(path, f"the time in its path: {error}", is_error=True)
    return described(path, folder, {**groups, "timestamp": timestamp}, reading, "group")
