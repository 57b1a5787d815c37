"""The two benchmarks that come in folders and lists of their own: Market-1501 and MSMT17."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.data.entries import DataError, Entry, LeftOut, Record, Skipped, Split, unused_file

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


def has_splits(path: Path, layout: str) -> bool:
    """Whether a folder holds the train, query and gallery of a benchmark, not only its names."""
    match layout:
        case "market1501":
            return any((path / folder).is_dir() for folder, _ in _MARKET_FOLDERS)
        case "msmt17":
            return any((path / name).is_file() for name, _, _ in _MSMT17_LISTS)
        case _:
            return False


def list_market1501(root: Path) -> Iterator[Entry]:
    """List a data set in the folders and names of Market-1501 (Zheng et al., ICCV 2015).

    Junk (identity -1) is left out everywhere. Identity 0000 marks distractors: they stay in the
    gallery and are left out of train. MSMT17 renamed to this style counts people from 0. So if a
    query shows 0000, or names have no sequence (``s1``), 0000 is a person like any other.

    Args:
        root: folder with ``bounding_box_train``, ``query`` and ``bounding_box_test``.

    Yields:
        One entry per file.

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
    camera is the third number of the name. Train and test each count identities from 0, so the same
    number in both is not the same person.

    Args:
        root: folder with the four lists and the folders ``train`` and ``test``, or with the masked
            second version's ``mask_train_v2`` and ``mask_test_v2``.

    Yields:
        One entry per line.

    Raises:
        DataError: a list or a folder is missing.
    """
    for list_name, part, split in _MSMT17_LISTS:
        folder = next((name for name in (part, f"mask_{part}_v2") if (root / name).is_dir()), None)
        if folder is None:
            raise DataError(f"{root / part}: no such folder, which the layout msmt17 needs")
        for line in _read_list(root / list_name).splitlines():
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


def _has_sequence(path: Path) -> bool:
    found = _MARKET_NAME.match(path.name)
    return found is not None and found[3] is not None


def _read_list(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text") from error
