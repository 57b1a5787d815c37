"""How data sets name their files: from a folder or a list to entries with identity and camera.

========== ============================================================================
Layout     What it looks like
========== ============================================================================
market1501 ``bounding_box_train/ query/ bounding_box_test/0002_c1s1_000451_03.jpg``;
           also DukeMTMC-reID, CUHK03 and MSMT17 renamed to this style
msmt17     ``list_train.txt list_val.txt list_query.txt list_gallery.txt`` beside the
           folders ``train/`` and ``test/``
folders    any tree of images whose paths fit a pattern, see :mod:`training.own_data`
manifest   a CSV or JSON-lines file with a row an image, see :mod:`training.own_data`
========== ============================================================================

A listing opens no image. It yields a :class:`Record` for a usable file, a :class:`Skipped` for one
that breaks a rule and a :class:`LeftOut` for one that the data set's own convention excludes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import InvalidInput

Layout = Literal["market1501", "msmt17", "folders", "manifest"]
Split = Literal["train", "query", "gallery"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

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
MANIFEST_NAMES = ("manifest.csv", "manifest.jsonl", "manifest.ndjson")


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


def describe_skipped(skipped: Sequence[Skipped]) -> list[str]:
    """A line a skipped file, and one with their number.

    Args:
        skipped: what was skipped.

    Returns:
        The lines; none where nothing was skipped.
    """
    lines = [f"skipped: {entry.path}: {entry.reason}" for entry in skipped]
    return [*lines, f"skipped in all: {len(lines)}"] if lines else []


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part by the data set's own convention."""

    reason: str


Entry = Record | Skipped | LeftOut

NOT_AN_IMAGE = LeftOut(f"not an image file ({' '.join(IMAGE_SUFFIXES)})")


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
    if pattern is not None:
        return "folders"
    if path.is_file() or any((path / name).is_file() for name in MANIFEST_NAMES):
        return "manifest"
    if any((path / folder).is_dir() for folder, _ in _MARKET_FOLDERS):
        return "market1501"
    if any((path / name).is_file() for name, _, _ in _MSMT17_LISTS):
        return "msmt17"
    raise DataError(
        f"{path}: no known layout; expected the folders of Market-1501 (bounding_box_train, query, "
        "bounding_box_test), the lists of MSMT17 (list_train.txt, ...), a manifest.csv, "
        "manifest.jsonl or manifest.ndjson, or a pattern such as '{camera}/{name}'"
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
        if not is_image(path):
            yield NOT_AN_IMAGE
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
        for line in read_text(root / list_name).splitlines():
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


def is_image(path: Path) -> bool:
    """Whether a file counts as a picture, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_text(file: Path) -> str:
    """A list's or manifest's text. Raises DataError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
