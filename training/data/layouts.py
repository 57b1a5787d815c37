"""How data sets name their files: from a folder or a list to entries with identity and camera.

========== ============================================================================
Layout     What it looks like
========== ============================================================================
market1501 ``bounding_box_train/ query/ bounding_box_test/0002_c1s1_000451_03.jpg``;
           also DukeMTMC-reID, CUHK03 and MSMT17 renamed to this style
msmt17     ``list_train.txt list_val.txt list_query.txt list_gallery.txt`` beside the
           folders ``train/`` and ``test/``
folders    any tree of images whose paths fit a pattern, see :mod:`training.data.own_names`
manifest   a CSV, JSON-lines or Parquet file with a row an image, see :mod:`training.data.own_names`
mars ...   any tree of images named as a known data set names them: every layout of
           :mod:`service.ingest.name_layouts`, ``market1501`` and ``msmt17`` among them where the
           folders and lists above are missing
========== ============================================================================

A listing opens no image. It yields a :class:`Record` for a usable file, a :class:`Skipped` for one
that breaks a rule and a :class:`LeftOut` for one that the data set's own convention excludes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from service.errors import InvalidInput
from service.ingest.manifest_files import ManifestSearch
from service.ingest.name_layouts import LAYOUTS, Junk, LayoutName, Named, NameLayout, fitting
from service.ingest.picture_files import SUFFIXES, UNREAD, not_a_picture, walk
from service.ingest.picture_files import LeftOut as Unused

Layout = Literal[LayoutName, "folders", "manifest"]
Split = Literal["train", "query", "gallery"]

IMAGE_SUFFIXES = tuple(sorted(SUFFIXES))

_MARKET_FOLDERS: tuple[tuple[str, Split], ...] = (
    ("bounding_box_train", "train"),
    ("query", "query"),
    ("bounding_box_test", "gallery"),
)
_MARKET_NAME = re.compile(r"(-?\d+)_c(\d+)(s\d+)?")
_MSMT17_LISTS: tuple[tuple[str, str, Split], ...] = (
    ("list_train.txt", "train", "train"),
    ("list_val.txt", "train", "train"),
    ("list_query.txt", "test", "query"),
    ("list_gallery.txt", "test", "gallery"),
)
_MSMT17_NAME = re.compile(r"\d+_\d+_(\d+)_")
_WITH_SPLITS: tuple[Layout, ...] = ("market1501", "msmt17")
_SPLIT_FOLDERS: dict[str, Split] = {
    "bounding_box_train": "train",
    "bbox_train": "train",
    "train": "train",
    "mask_train_v2": "train",
    "query": "query",
    "probe": "query",
    "bounding_box_test": "gallery",
    "bbox_test": "gallery",
    "test": "gallery",
    "gallery": "gallery",
    "mask_test_v2": "gallery",
}
ONLY_CAMERA = "0"  # the camera of names that tell none
_LOOKED_AT = 200  # files that say which layout a folder may have


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
    if path.is_file():
        return "manifest"
    known = next((layout for layout in _WITH_SPLITS if has_splits(path, layout)), None)
    if find_manifest(path, everywhere=known is None) is not None:
        return "manifest"
    if known is not None:
        return known
    raise DataError(
        f"{path}: no known layout; expected the folders of Market-1501 (bounding_box_train, query, "
        "bounding_box_test), the lists of MSMT17 (list_train.txt, ...), a manifest.csv, .ndjson, "
        f".jsonl or .parquet, or a pattern such as '{{camera}}/{{name}}'{_hint(path)}"
    )


def has_splits(path: Path, layout: Layout) -> bool:
    """Whether a folder has the train, query and gallery of a layout, not only its names."""
    match layout:
        case "market1501":
            return any((path / folder).is_dir() for folder, _ in _MARKET_FOLDERS)
        case "msmt17":
            return any((path / name).is_file() for name, _, _ in _MSMT17_LISTS)
        case _:
            return False


def find_manifest(folder: Path, *, everywhere: bool = True) -> Path | None:
    """The manifest that lies in a folder.

    Args:
        folder: to search.
        everywhere: to its leaves instead of its own files only.

    Returns:
        Its file; None where there is none.

    Raises:
        DataError: there are two, or one that cannot be used.
    """
    search = ManifestSearch()
    files = walk(folder) if everywhere else folder.iterdir()
    for entry in files:
        path = entry if isinstance(entry, Path) else entry.path
        if everywhere or path.is_file():
            search.see(path.relative_to(folder).as_posix())
    try:
        name = search.manifest()
    except InvalidInput as error:
        raise DataError(f"{folder}: {error}") from error
    return None if name is None else folder / name


def _hint(folder: Path) -> str:
    """Which layouts the names fit, for whoever has to choose one."""
    names = (entry for entry in walk(folder) if isinstance(entry, Path))
    paths = [path.relative_to(folder).as_posix() for path in islice(names, _LOOKED_AT)]
    found: Iterable[str] = LAYOUTS
    for path in paths:
        found = fitting(path, found)
    layouts = " or ".join(found) if paths else ""
    return f"; {paths[0]} and the others fit the layout {layouts}: say so" if layouts else ""


def list_market1501(root: Path) -> Iterator[Entry]:
    """List a data set in the folders and names of Market-1501 (Zheng et al., ICCV 2015).

    Junk (identity -1) is left out everywhere. Identity 0000 marks distractors: they stay in the
    gallery and are left out of train. MSMT17 renamed to this style counts people from 0, so where
    a query shows 0000, or names have no sequence (``s1``), it is a person like any other.

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
            case Record(identity=0, split="train", path=path) if (
                not zero_is_a_person and _has_sequence(path)
            ):
                yield LeftOut("distractor (identity 0000) in train")
            case _:
                yield entry


def _market_folder(root: Path, folder: str, split: Split) -> Iterator[Entry]:
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder}: no such folder, which the layout market1501 needs")
    for path in sorted((root / folder).iterdir()):
        if (unused := unused_file(path)) is not None:
            yield unused
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


def unused_file(path: Path) -> LeftOut | None:
    """Why a file is not read as a picture, by its name; None where it is."""
    judged = not_a_picture(path.name)
    if judged is None:
        return None
    return NOT_AN_IMAGE if judged.is_other else LeftOut(judged.reason)


def files_below(root: Path) -> Iterator[Path | Skipped | LeftOut]:
    """Every file below a folder, as the service finds them.

    Links to folders are followed, wherever they lead; hidden and generated folders are left out.

    Args:
        root: the folder.

    Yields:
        A picture file, or why there is none; what is left out says an example of its kind.

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: No such file or directory, or not a folder")
    texts: dict[str, str] = {}
    for entry in walk(root):
        match entry:
            case Path():
                yield entry
            case Unused(is_other=True):
                yield NOT_AN_IMAGE
            case Unused(path, reason, is_error=True) if path.suffix.lower() not in UNREAD:
                yield Skipped(path, reason)
            case Unused(path, reason):
                example = path.relative_to(root).as_posix()
                yield LeftOut(texts.setdefault(reason, f"{reason}, such as {example}"))


def list_named(root: Path, layout: NameLayout) -> Iterator[Entry]:
    """List a folder whose files are named as a known data set names them.

    Args:
        root: searched to its leaves. Folders called as a part of a data set is (``train``,
            ``bbox_test``, ``query``, ...) say the split; all else is train.
        layout: how to read the names.

    Yields:
        An entry a file.
    """
    for path in files_below(root):
        if not isinstance(path, Path):
            yield path
            continue
        name = path.relative_to(root).as_posix()
        match layout.read(name):
            case None:
                yield Skipped(path, f"not named as {layout.name} is, such as {layout.example}")
            case Junk(reason):
                yield LeftOut(reason)
            case Named(identity, camera):
                yield Record(path, name, _split_of(name), identity, camera or ONLY_CAMERA)


def _split_of(name: str) -> Split:
    parts = name.split("/")[:-1]
    return next((_SPLIT_FOLDERS[part] for part in parts if part in _SPLIT_FOLDERS), "train")


def _has_sequence(path: Path) -> bool:
    found = _MARKET_NAME.match(path.name)
    return found is not None and found[3] is not None


def read_text(file: Path) -> str:
    """A list's or manifest's text. Raises DataError."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
