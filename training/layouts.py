"""How data sets name their files: from a folder or a list to entries with identity and camera.

========== ============================================================================
Layout     What it looks like
========== ============================================================================
market1501 ``bounding_box_train/ query/ bounding_box_test/0002_c1s1_000451_03.jpg``;
           also DukeMTMC-reID, CUHK03 and MSMT17 renamed to this style
msmt17     ``list_train.txt list_val.txt list_query.txt list_gallery.txt`` beside the
           folders ``train/`` and ``test/``
folders    any tree of images whose paths fit a pattern, see :func:`compile_pattern`
manifest   a CSV or JSON-lines file with a row an image, see :func:`list_manifest`
========== ============================================================================

A listing opens no image. It yields a :class:`Record` for a usable file, a :class:`Skipped` for one
that breaks a rule and a :class:`LeftOut` for one that the data set's own convention excludes.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from service.errors import InvalidInput

Layout = Literal["market1501", "msmt17", "folders", "manifest"]
Split = Literal["train", "query", "gallery"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
ONLY_CAMERA = "0"  # the camera of a pattern that names none

_MARKET_FOLDERS: tuple[tuple[str, Split], ...] = (
    ("bounding_box_train", "train"),
    ("query", "query"),
    ("bounding_box_test", "gallery"),
)
_MARKET_NAME = re.compile(r"(-?\d+)_c(\d+)")
_MSMT17_LISTS: tuple[tuple[str, str, Split], ...] = (
    ("list_train.txt", "train", "train"),
    ("list_val.txt", "train", "train"),
    ("list_query.txt", "test", "query"),
    ("list_gallery.txt", "test", "gallery"),
)
_MSMT17_NAME = re.compile(r"\d+_\d+_(\d+)_")
_MANIFEST_NAMES = ("manifest.csv", "manifest.jsonl")
_SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}
_PATTERN_FIELDS = ("identity", "camera", "split", "name")


class DataError(InvalidInput):
    """A data set breaks a rule; the message names the file and the rule."""

    code = "invalid_data"
    title = "Unusable data set"


@dataclass(frozen=True, slots=True)
class Record:
    """One usable file, as its name or its row describes it.

    Attributes:
        path: the image file.
        name: path relative to the data set's root, with forward slashes; fixes the order.
        split: which part of the data set it belongs to.
        identity: a number where the layout counts people, a text where it names them, None where
            it does not say.
        camera: the camera's name.
    """

    path: Path
    name: str
    split: Split
    identity: int | str | None
    camera: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that broke a rule, and which."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part by the data set's own convention."""

    reason: str


Entry = Record | Skipped | LeftOut


def detect_layout(path: Path, pattern: str | None = None) -> Layout:
    """Recognise a data set by what lies in it.

    Args:
        path: folder or manifest file.
        pattern: a pattern chooses the layout ``folders``.

    Returns:
        The layout.

    Raises:
        DataError: nothing known is there.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_file() or any((path / name).is_file() for name in _MANIFEST_NAMES):
        return "manifest"
    if pattern is not None:
        return "folders"
    if any((path / folder).is_dir() for folder, _ in _MARKET_FOLDERS):
        return "market1501"
    if any((path / name).is_file() for name, _, _ in _MSMT17_LISTS):
        return "msmt17"
    raise DataError(
        f"{path}: no known layout; expected the folders of Market-1501 (bounding_box_train, query, "
        "bounding_box_test), the lists of MSMT17 (list_train.txt, ...), a manifest.csv or "
        "manifest.jsonl, or a pattern such as '{camera}/{name}'"
    )


def list_market1501(root: Path) -> Iterator[Entry]:
    """List a data set in the folders and names of Market-1501 (Zheng et al., ICCV 2015).

    Junk (identity -1) is left out everywhere. Identity 0000 marks distractors: they stay in the
    gallery and are left out of train. MSMT17 renamed to this style counts people from 0, so where
    a query shows 0000 it is a person like any other.

    Args:
        root: folder with ``bounding_box_train``, ``query`` and ``bounding_box_test``.

    Yields:
        An entry a file.

    Raises:
        DataError: a folder is missing.
    """
    entries = [e for folder, split in _MARKET_FOLDERS for e in _market_folder(root, folder, split)]
    zero_is_a_person = any(
        isinstance(e, Record) and e.split == "query" and e.identity == 0 for e in entries
    )
    for entry in entries:
        match entry:
            case Record(identity=-1):
                yield LeftOut("junk (identity -1)")
            case Record(identity=0, split="train") if not zero_is_a_person:
                yield LeftOut("distractor (identity 0000) in train")
            case _:
                yield entry


def _market_folder(root: Path, folder: str, split: Split) -> Iterator[Entry]:
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder}: no such folder, which the layout market1501 needs")
    for path in sorted((root / folder).iterdir()):
        if not _is_image(path):
            yield _NOT_AN_IMAGE
        elif found := _MARKET_NAME.match(path.name):
            identity, camera = int(found[1]), str(int(found[2]))
            yield Record(path, f"{folder}/{path.name}", split, identity, camera)
        else:
            yield Skipped(path, "name does not begin with <identity>_c<camera>, as 0002_c1s1_...")


def list_msmt17(root: Path) -> Iterator[Entry]:
    """List MSMT17 (Wei et al., CVPR 2018) as its authors distribute it.

    ``list_train.txt`` and ``list_val.txt`` together are train. A line is ``<path> <identity>``; the
    camera is the third number of the name. Train and test count identities from 0 each: the same
    number in both is not the same person.

    Args:
        root: folder with the four lists and the folders ``train`` and ``test``; the masked second
            version's ``mask_train_v2`` and ``mask_test_v2`` serve as well.

    Yields:
        An entry a line.

    Raises:
        DataError: a list or a folder is missing.
    """
    for list_name, part, split in _MSMT17_LISTS:
        folder = next((name for name in (part, f"mask_{part}_v2") if (root / name).is_dir()), None)
        if folder is None:
            raise DataError(f"{root / part}: no such folder, which the layout msmt17 needs")
        for line in _read_text(root / list_name).splitlines():
            if line.strip():
                yield _msmt17_line(root, folder, split, line)


def _msmt17_line(root: Path, folder: str, split: Split, line: str) -> Entry:
    name, _, identity = line.strip().rpartition(" ")
    path = root / folder / name
    if not name or not identity.isdecimal():
        return Skipped(path, f"list line {line!r} is not '<path> <identity>'")
    found = _MSMT17_NAME.match(path.name)
    if found is None:
        return Skipped(path, "name is not <identity>_<index>_<camera>_..., as 0000_013_04_0303...")
    if not path.is_file():
        return Skipped(path, "listed, but there is no such file")
    return Record(path, f"{folder}/{name}", split, int(identity), str(int(found[1])))


def list_folders(root: Path, pattern: str) -> Iterator[Entry]:
    """List every image below a folder whose relative path fits a pattern.

    Args:
        root: the folder; links to folders are followed.
        pattern: see :func:`compile_pattern`; without ``{identity}`` the data set is unlabelled,
            without ``{camera}`` there is one camera, without ``{split}`` all is train.

    Yields:
        An entry a file.

    Raises:
        DataError: the pattern breaks a rule.
    """
    rule = compile_pattern(pattern)
    for folder, _, names in os.walk(root, followlinks=True):
        for path in (Path(folder, name) for name in names):
            yield _folder_file(root, path, pattern, rule) if _is_image(path) else _NOT_AN_IMAGE


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
    for name in _MANIFEST_NAMES:
        if (path / name).is_file():
            return path / name
    raise DataError(f"{path}: holds neither of {', '.join(_MANIFEST_NAMES)}")


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(_read_text(file).splitlines())
    columns = reader.fieldnames or ()
    if missing := [name for name in ("path", "camera") if name not in columns]:
        raise DataError(f"{file}: the header lacks {' and '.join(missing)}; it has {list(columns)}")
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not CSV: {error}") from error


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
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


_NOT_AN_IMAGE = LeftOut(f"not an image file ({' '.join(IMAGE_SUFFIXES)})")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
