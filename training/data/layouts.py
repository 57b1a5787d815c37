"""Which layout a data set has, and listing folders whose file names follow a known convention.

========== ============================================================================
Layout     What it looks like
========== ============================================================================
market1501 ``bounding_box_train/ query/ bounding_box_test/0002_c1s1_000451_03.jpg``;
           also DukeMTMC-reID, CUHK03 and MSMT17 renamed to this style
msmt17     ``list_train.txt list_val.txt list_query.txt list_gallery.txt`` beside the
           folders ``train/`` and ``test/``
folders    any tree of images whose paths fit a pattern, such as ``{camera}/{name}``
manifest   a CSV, JSON-lines or Parquet file with one row per image
mars ...   any tree of images named in the style of a known data set: every layout of
           :mod:`service.ingest.name_layouts`, including ``market1501`` and ``msmt17``
           if the folders and lists above are missing
========== ============================================================================

:mod:`training.data.benchmark_sets` lists the first two, and
:mod:`training.data.folders_and_manifests` the next two. A listing opens no image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from service.errors import InvalidInput
from service.ingest.manifest_files import ManifestSearch
from service.ingest.name_layouts import LAYOUTS, Junk, LayoutName, Named, NameLayout, fitting
from service.ingest.picture_files import walk
from training.data.benchmark_sets import has_splits
from training.data.entries import (
    ONLY_CAMERA,
    DataError,
    Entry,
    LeftOut,
    Record,
    Skipped,
    Split,
    files_below,
)

Layout = Literal[LayoutName, "folders", "manifest"]

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
_LOOKED_AT = 200  # enough file names to recognise a layout


def detect_layout(path: Path, pattern: str | None = None) -> Layout:
    """Recognise a data set's layout by its files.

    Args:
        path: folder or manifest file.
        pattern: if given, the layout is ``folders``.

    Returns:
        The layout.

    Raises:
        DataError: the path does not exist, or no known layout fits.
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


def find_manifest(folder: Path, *, everywhere: bool = True) -> Path | None:
    """Find the manifest in a folder.

    Args:
        folder: the folder to search.
        everywhere: search its subfolders too.

    Returns:
        The manifest's path; None if there is none.

    Raises:
        DataError: there are two, or the one that is there cannot be used.
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
    """Name the layouts that the file names fit, so that the user can choose one."""
    names = (entry for entry in walk(folder) if isinstance(entry, Path))
    paths = [path.relative_to(folder).as_posix() for path in islice(names, _LOOKED_AT)]
    found: Iterable[str] = LAYOUTS
    for path in paths:
        found = fitting(path, found)
    if not paths or not (layouts := " or ".join(found)):
        return ""
    return f"; {paths[0]} and the others fit the layout {layouts}; choose it with --layout"


def list_named(root: Path, layout: NameLayout) -> Iterator[Entry]:
    """List a folder whose file names follow the convention of a known data set.

    Args:
        root: the folder, searched with its subfolders. A subfolder named after a part of a data set
            (``train``, ``bbox_test``, ``query``, ...) gives the split; everything else is train.
        layout: how to read the names.

    Yields:
        One entry per file.
    """
    for path in files_below(root):
        if not isinstance(path, Path):
            yield path
            continue
        name = path.relative_to(root).as_posix()
        match layout.read(name):
            case None:
                yield Skipped(path, f"name does not follow {layout.name}, such as {layout.example}")
            case Junk(reason):
                yield LeftOut(reason)
            case Named(identity, camera):
                yield Record(path, name, _split_of(name), identity, camera or ONLY_CAMERA)


def _split_of(name: str) -> Split:
    parts = name.split("/")[:-1]
    return next((_SPLIT_FOLDERS[part] for part in parts if part in _SPLIT_FOLDERS), "train")
