"""Which crops a folder holds, and what their names say of them."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]  # ships no types

from service.errors import InvalidInput
from service.gallery.base import Crop
from service.gallery.rules import check_crop
from service.timestamps import parse_timestamp

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_ID = 200
_FIELDS = ("crop_id", "identity", "camera", "timestamp")
_MARKET1501 = regex.compile(r"(?P<identity>-1|\d+)_(?P<camera>c\d+)(s\d+)?(_|\.)")
_JUNK, _DISTRACTOR = "-1", regex.compile(r"0+")
_MAX_PATTERN = 500
_MATCH_SECONDS = 1.0


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


Naming = Callable[[Path, Path], CropFile | LeftOut]
"""Says of a file, and the folder its path counts from, which crop it is."""


def naming_of(pattern: str | None) -> Naming:
    r"""How file names are read.

    Args:
        pattern: a regular expression that fits the relative path from its start; the groups
            ``identity``, ``camera``, ``timestamp`` and ``crop_id`` say what they take, all may be
            absent. An example: ``(?P<camera>[^/]+)/(?P<identity>\d+)``. A file that does not fit is
            left out. None reads Market-1501 names, see :func:`list_market1501`.

    Returns:
        The reader of names.

    Raises:
        InvalidInput: not a regular expression, or a group of another name.
    """
    if pattern is None:
        return _by_market1501
    rule = _compile(pattern)

    def by_pattern(path: Path, folder: Path) -> CropFile | LeftOut:
        relative = path.relative_to(folder).as_posix()
        try:
            found = rule.match(relative, timeout=_MATCH_SECONDS)
        except TimeoutError as error:
            raise InvalidInput(f"pattern {pattern!r}: takes too long on {relative!r}") from error
        if found is None:
            return LeftOut(path, f"its path does not fit {pattern!r}")
        return described(path, folder, found.groupdict())

    return by_pattern


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
    return (_by_market1501(path, folder) for path in images_in(folder))


def _by_market1501(path: Path, folder: Path) -> CropFile | LeftOut:
    found = _MARKET1501.match(path.name)
    if found is None:
        return CropFile(path, Crop(crop_id_of(path, folder)))
    if found["identity"] == _JUNK:
        return LeftOut(path, "identity -1 marks junk")
    identity = None if _DISTRACTOR.fullmatch(found["identity"]) else found["identity"]
    return CropFile(path, Crop(crop_id_of(path, folder), identity, found["camera"]))


def list_pattern(folder: Path, pattern: str) -> Iterator[CropFile | LeftOut]:
    """List a folder whose paths fit a regular expression.

    Args:
        folder: searched to its leaves, in the order of the relative paths.
        pattern: see :func:`naming_of`.

    Yields:
        An entry an image file; one that does not fit is left out.

    Raises:
        InvalidInput: not a regular expression, or a group of another name.
    """
    naming = naming_of(pattern)
    return (naming(path, folder) for path in images_in(folder))


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
        yield described(folder / str(row["path"]), folder, row)


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


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, to its leaves, in the order of the paths.

    Raises:
        InvalidInput: there is no such folder.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _compile(pattern: str) -> regex.Pattern[str]:
    if len(pattern) > _MAX_PATTERN:
        raise InvalidInput(f"pattern of {len(pattern)} characters: at most {_MAX_PATTERN}")
    try:
        rule = regex.compile(pattern)
    except regex.error as error:
        raise InvalidInput(f"pattern {pattern!r}: {error}") from error
    unknown = sorted(set(rule.groupindex) - set(_FIELDS))
    if unknown:
        raise InvalidInput(
            f"pattern {pattern!r}: group {unknown[0]!r} is none of {', '.join(_FIELDS)}"
        )
    return rule


def described(path: Path, folder: Path, row: Mapping[str, Any]) -> CropFile | LeftOut:
    """Read what a row of a manifest, or the groups of a pattern, say of a file.

    Args:
        path: the file.
        folder: its path counts from here, where the row names no crop_id.
        row: may hold ``crop_id``, ``identity``, ``camera`` and ``timestamp`` (seconds or ISO 8601);
            empty values mean unknown, other names are ignored.

    Returns:
        The file's crop, or which value broke which rule.
    """
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
