"""Which crops a folder holds, and what their names say of them."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.gallery.rules import check_crop
from service.timestamps import parse_timestamp

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_ID = 200
_FIELDS = ("crop_id", "identity", "camera", "timestamp")
_MARKET1501 = re.compile(r"(?P<identity>-1|\d+)_(?P<camera>c\d+)(s\d+)?(_|\.)")
_JUNK, _DISTRACTOR = "-1", re.compile(r"0+")


@dataclass(frozen=True, slots=True)
class CropFile:
    """An image file and what is known of the crop on it."""

    path: Path
    crop: Crop


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not indexed, and why; ``is_error`` where it should have been."""

    path: Path
    reason: str
    is_error: bool = False


def list_market1501(folder: Path) -> Iterator[CropFile | LeftOut]:
    """List a folder whose files may carry Market-1501 names, such as ``0002_c1s1_000451_03.jpg``.

    That one shows identity ``0002`` on camera ``c1``. Identity ``-1`` marks junk and is left out;
    identity ``0000`` marks a distractor, a person nobody knows, and is kept without identity. A
    file of any other name is kept without identity and camera.

    Args:
        folder: searched to its leaves, in the order of the relative paths.

    Yields:
        An entry an image file.
    """
    for path in _images(folder):
        found = _MARKET1501.match(path.name)
        if found is None:
            yield CropFile(path, Crop(crop_id_of(path, folder)))
        elif found["identity"] == _JUNK:
            yield LeftOut(path, "identity -1 marks junk")
        else:
            identity = None if _DISTRACTOR.fullmatch(found["identity"]) else found["identity"]
            yield CropFile(path, Crop(crop_id_of(path, folder), identity, found["camera"]))


def list_pattern(folder: Path, pattern: str) -> Iterator[CropFile | LeftOut]:
    r"""List a folder whose paths fit a regular expression.

    Args:
        folder: searched to its leaves, in the order of the relative paths.
        pattern: fits the relative path from its start; the groups ``identity``, ``camera``,
            ``timestamp`` and ``crop_id`` say what they take, all may be absent. An example:
            ``(?P<camera>[^/]+)/(?P<identity>\d+)``.

    Yields:
        An entry an image file; one that does not fit is left out.

    Raises:
        InvalidInput: not a regular expression, or a group of another name.
    """
    rule = _compile(pattern)
    for path in _images(folder):
        found = rule.match(path.relative_to(folder).as_posix())
        if found is None:
            yield LeftOut(path, f"its path does not fit {pattern!r}")
        else:
            yield _described(path, folder, found.groupdict())


def list_manifest(folder: Path, manifest: Path) -> Iterator[CropFile | LeftOut]:
    """List the rows of a manifest.

    Args:
        folder: paths are relative to it.
        manifest: a ``.csv`` file with a header or a ``.jsonl`` file; each row has ``path``, and may
            have ``crop_id``, ``identity``, ``camera`` and ``timestamp`` (seconds or ISO 8601).
            Other columns are ignored, empty values mean unknown.

    Yields:
        An entry a row.

    Raises:
        InvalidInput: the manifest cannot be read, or a row has no path.
    """
    for number, row in enumerate(_rows(manifest), start=1):
        if not isinstance(row, dict) or not row.get("path"):
            raise InvalidInput(f"{manifest}: row {number} has no path")
        yield _described(folder / str(row["path"]), folder, row)


def crop_id_of(path: Path, folder: Path) -> str:
    """The id of a file's crop: its relative path, made to fit the rules of ids.

    Args:
        path: a file.
        folder: where the listing started.

    Returns:
        1..200 printable characters. A path that is longer, or not printable, gives its end with
        ``_`` for what does not print, after sixteen digits of the path's SHA-256.
    """
    inside = path.is_relative_to(folder)
    relative = path.relative_to(folder).as_posix() if inside else path.as_posix()
    if len(relative) <= MAX_ID and relative.isprintable():
        return relative
    digest = hashlib.sha256(relative.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    printable = "".join(letter if letter.isprintable() else "_" for letter in relative)
    return f"{digest}/{printable[-(MAX_ID - len(digest) - 1) :]}"


def _images(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise InvalidInput(f"pattern {pattern!r}: {error}") from error
    unknown = sorted(set(rule.groupindex) - set(_FIELDS))
    if unknown:
        raise InvalidInput(
            f"pattern {pattern!r}: group {unknown[0]!r} is none of {', '.join(_FIELDS)}"
        )
    return rule


def _described(path: Path, folder: Path, row: dict[str, Any]) -> CropFile | LeftOut:
    known = {name: str(row[name]) for name in _FIELDS if row.get(name) not in (None, "")}
    try:
        moment = parse_timestamp(known["timestamp"]) if "timestamp" in known else None
    except ValueError as error:
        return LeftOut(path, f"timestamp: {error}", is_error=True)
    crop_id = known.get("crop_id") or crop_id_of(path, folder)
    crop = Crop(crop_id, known.get("identity"), known.get("camera"), moment)
    try:
        check_crop(crop)
    except InvalidInput as error:
        return LeftOut(path, str(error), is_error=True)
    return CropFile(path, crop)


def _rows(manifest: Path) -> Iterator[Any]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            match manifest.suffix.lower():
                case ".csv":
                    yield from csv.DictReader(file)
                case ".jsonl":
                    yield from (json.loads(line) for line in file if line.strip())
                case suffix:
                    raise InvalidInput(f"{manifest}: {suffix or 'no suffix'} is not .csv or .jsonl")
    except OSError as error:
        raise InvalidInput(f"{manifest}: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InvalidInput(f"{manifest}: {error}") from error
