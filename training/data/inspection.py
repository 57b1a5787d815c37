"""Inspect a data set: splits, cameras, picture sizes, unusable files, duplicates."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tqdm import tqdm

from service.embedding.imaging import decode
from service.errors import ReidError
from training.data.datasets import UNKNOWN, Dataset, Sample
from training.data.duplicates import Twins, find_twins, near_keys
from training.data.entries import Skipped

_HEIGHTS = (0, 64, 128, 192, 256, 384, 512)
_RATIOS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of some numbers."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Counts of one split.

    Attributes:
        crops: number of crops.
        identities: number of known identities, without distractors.
        of_camera: crops by camera name.
        per_identity: crops per identity; None if identities are unknown.
        per_camera: crops per camera, of cameras that have any.
        one_camera: number of identities that only one camera saw in this split.
        distractors: crops of identity 0 in a gallery in Market-1501's layout.
    """

    crops: int
    identities: int
    of_camera: dict[str, int]
    per_identity: Spread | None
    per_camera: Spread
    one_camera: int
    distractors: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """Sizes of the pictures.

    Attributes:
        height: in pixels.
        width: in pixels.
        ratio: height / width.
        heights: number of pictures by range of height.
        ratios: number of pictures by range of ratio.
    """

    height: Spread
    width: Spread
    ratio: Spread
    heights: dict[str, int]
    ratios: dict[str, int]


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that an inspection found.

    Attributes:
        name: the folder's own name.
        layout: how the data set was read.
        splits: the splits that have crops.
        left_out: number of files that the data set's own convention excludes, by reason.
        remarks: what else was ignored or may have been misread.
        skipped: files that broke a rule or cannot be read.
        files: the readable pictures, in the order of the indices in the groups of duplicates.
        pictures: their sizes; None if no picture is readable.
        same_bytes: copies of a file.
        same_pixels: different files with equal pixels; copies count once.
        near: pictures with nearly equal perceptual hashes; pixel-equal pictures count once.
    """

    name: str
    layout: str
    splits: dict[str, SplitCounts]
    left_out: dict[str, int]
    remarks: list[str]
    skipped: tuple[Skipped, ...]
    files: tuple[Path, ...]
    pictures: Pictures | None
    same_bytes: Twins
    same_pixels: Twins
    near: Twins


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What one look at a readable picture found."""

    path: Path
    split: str
    identity: tuple[bool, int] | None
    height: int
    width: int
    file_digest: bytes
    pixel_digest: bytes
    near_hash: NDArray[np.bool_]


def inspect_dataset(dataset: Dataset) -> Inspection:
    """Count crops and read every picture.

    Args:
        dataset: read with ``skip_bad``, so that unusable files are listed.

    Returns:
        The findings.
    """
    parts = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    splits = {name: samples for name, samples in parts.items() if samples}
    looks, unreadable = _look_at_all(splits)
    by_bytes = _twins(looks, [look.file_digest for look in looks])
    one_file = _first_of_each([look.file_digest for look in looks])
    by_pixels = _twins(looks, [looks[i].pixel_digest for i in one_file], one_file)
    one_view = _first_of_each([look.pixel_digest for look in looks])
    hashes = np.array([looks[i].near_hash for i in one_view], bool).reshape(-1, 64)
    keys = near_keys(hashes).tolist() if len(hashes) else []
    return Inspection(
        name=dataset.name,
        layout=dataset.layout,
        splits={name: _count(dataset, name, samples) for name, samples in splits.items()},
        left_out=dataset.left_out,
        remarks=dataset.remarks,
        skipped=(*dataset.skipped, *unreadable),
        files=tuple(look.path for look in looks),
        pictures=_describe_pictures(looks) if looks else None,
        same_bytes=by_bytes,
        same_pixels=by_pixels,
        near=_twins(looks, keys, one_view),
    )


def _first_of_each(keys: Sequence[bytes]) -> list[int]:
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    return list(first.values())


def _twins(
    looks: Sequence[_Look], keys: Sequence[bytes | int], of: Sequence[int] | None = None
) -> Twins:
    chosen = range(len(looks)) if of is None else of
    found = find_twins(keys, [looks[i].split for i in chosen], [looks[i].identity for i in chosen])
    groups = tuple(tuple(chosen[i] for i in group) for group in found.groups)
    return Twins(groups, found.across_splits, found.across_identities)


def _count(dataset: Dataset, split: str, samples: Sequence[Sample]) -> SplitCounts:
    distractors = _distractors(dataset, split)
    people = [s for s in samples if s.identity != UNKNOWN and (s.identity or not distractors)]
    cameras = Counter(sample.camera for sample in samples)
    seen = Counter(identity for identity, _ in {(s.identity, s.camera) for s in people})
    of_identity = Counter(sample.identity for sample in people)
    return SplitCounts(
        crops=len(samples),
        identities=len(of_identity),
        of_camera={name: cameras[index] for index, name in enumerate(dataset.cameras)},
        per_identity=_spread(list(of_identity.values())) if of_identity else None,
        per_camera=_spread(list(cameras.values())),
        one_camera=sum(count == 1 for count in seen.values()),
        distractors=distractors,
    )


def _distractors(dataset: Dataset, split: str) -> int:
    """Crops of identity 0, which is a person if a query shows it (MSMT17 renamed)."""
    if dataset.layout != "market1501" or split != "gallery":
        return 0
    if any(sample.identity == 0 for sample in dataset.query):
        return 0
    return sum(sample.identity == 0 for sample in dataset.gallery)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), float(np.median(values)), max(values))


def _look_at_all(
    splits: dict[str, tuple[Sample, ...]],
) -> tuple[list[_Look], list[Skipped]]:
    work = [(split, sample) for split, samples in splits.items() for sample in samples]

    def look(item: tuple[str, Sample]) -> _Look | Skipped:
        return _look(*item)

    looks: list[_Look] = []
    unreadable: list[Skipped] = []
    for found in _in_threads(look, work):
        match found:
            case _Look():
                looks.append(found)
            case Skipped():
                unreadable.append(found)
    return looks, unreadable


def _in_threads(
    look: Callable[[tuple[str, Sample]], _Look | Skipped], work: Sequence[tuple[str, Sample]]
) -> Iterator[_Look | Skipped]:
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        # disable=None: no progress bar unless the output is a terminal
        yield from tqdm(pool.map(look, work), "look", len(work), unit="crop", disable=None)


def _look(split: str, sample: Sample) -> _Look | Skipped:
    try:
        data = sample.path.read_bytes()
        height, width = _size(data)
        pixels = decode(data, height, width)
    except OSError as error:
        return Skipped(sample.path, error.strerror or str(error))
    except ReidError as error:
        return Skipped(sample.path, str(error))
    size = f"{height}x{width}:".encode()
    # Train and test may both number people from 0 (MSMT17).
    known = None if sample.identity == UNKNOWN else (split == "train", sample.identity)
    return _Look(
        path=sample.path,
        split=split,
        identity=known,
        height=height,
        width=width,
        file_digest=hashlib.blake2b(data).digest(),
        pixel_digest=hashlib.blake2b(size + pixels.tobytes()).digest(),
        near_hash=imagehash.phash(Image.fromarray(pixels)).hash.reshape(-1),
    )


def _size(data: bytes) -> tuple[int, int]:
    """Displayed height and width; 1, 1 for a damaged file, so that decoding reports the error."""
    try:
        with Image.open(BytesIO(data)) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in {5, 6, 7, 8}
    except Exception:  # noqa: BLE001 (Pillow raises a dozen types on damaged files)
        return 1, 1
    return (width, height) if turned else (height, width)


def _describe_pictures(looks: Sequence[_Look]) -> Pictures:
    heights = [look.height for look in looks]
    widths = [look.width for look in looks]
    ratios = [height / width for height, width in zip(heights, widths, strict=True)]
    return Pictures(
        height=_spread(heights),
        width=_spread(widths),
        ratio=_spread(ratios),
        heights=_histogram(heights, _HEIGHTS),
        ratios=_histogram(ratios, _RATIOS),
    )


def _histogram(values: Sequence[float], edges: Sequence[float]) -> dict[str, int]:
    """Count values by range; empty ranges are left out. A range includes its lower end."""
    counts = np.histogram(values, [*edges, np.inf])[0]
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]:g} and more")
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
