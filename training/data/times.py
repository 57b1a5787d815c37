"""When each crop of a manifest was taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from service.errors import InvalidInput
from service.ingest.crop_values import is_missing, read_path
from service.ingest.rows import Row, format_of, lines_and_rows
from service.values.timestamps import parse_timestamp
from training.data.entries import DataError
from training.data.folders_and_manifests import manifest_file


def read_times(path: Path) -> dict[Path, float]:
    """Read the column ``timestamp`` of a manifest, by the same rule as the service.

    Args:
        path: the manifest, or a folder with one.

    Returns:
        Seconds since 1970-01-01 UTC by the crop's file, as ``Sample.path`` names it; crops without
        a time are left out.

    Raises:
        DataError: there is no manifest or no such column, a time cannot be read, or a row has a
            ``zone``: write its offset into the time instead.
    """
    file = manifest_file(path)
    times: dict[Path, float] = {}
    try:
        for line, row in lines_and_rows(file, format_of(file), None, _require_times):
            name, seconds = _time_of(line, row)
            if name is not None and seconds is not None:
                times[file.parent / name] = seconds
    except InvalidInput as error:
        raise DataError(f"{file}: {error}") from error
    return times


def _time_of(line: int, row: Row) -> tuple[str | None, float | None]:
    """The path and time of a row. Raises InvalidInput."""
    if isinstance(row, InvalidInput):
        raise InvalidInput(f"line {line}: {row}") from row
    if not is_missing(row.get("zone")):
        raise InvalidInput(
            f"line {line}: column zone is not read here; write the offset into the time, such as "
            "2026-11-21T14:05:33+01:00"
        )
    given = row.get("timestamp")
    try:
        return read_path(row.get("path")), None if is_missing(given) else parse_timestamp(given)
    except ValueError as error:
        raise InvalidInput(f"line {line}: column timestamp: {error}") from error


def _require_times(columns: Collection[str], header: Sequence[str]) -> None:
    if missing := [name for name in ("path", "timestamp") if name not in columns]:
        raise InvalidInput(f"the header lacks {' and '.join(missing)}; it has {list(header)}")
