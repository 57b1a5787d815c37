"""Read data sets: from folders, lists and manifests to samples with path, identity and camera.

The order of samples is fixed here once: sample i, image i, embedding i and pseudo-label i share the
index i everywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.ingest.crop_values import DOUBTFUL
from service.ingest.name_layouts import LAYOUTS
from training.data.benchmark_sets import has_splits, list_market1501, list_msmt17
from training.data.entries import DataError, Entry, LeftOut, Record, Skipped, Split
from training.data.folders_and_manifests import list_folders, list_manifest
from training.data.layouts import Layout, detect_layout, list_named

UNKNOWN = -1
"""``Sample.identity`` if the data set does not give one."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop. Sample i, embedding i and pseudo-label i share the index i everywhere.

    Attributes:
        path: the image file.
        identity: ground truth, or -1 if unknown; training reads it only to report NMI and ARI.
        camera: 0-based camera index.
        track: number of the track that it is of, or -1 if unknown.
        frame: number of the frame that it was cut from, or -1 if unknown; each camera's frames have
            numbers of their own.
    """

    path: Path
    identity: int
    camera: int
    track: int = UNKNOWN
    frame: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where a data set is and how to read it.

    Attributes:
        path: its folder, or a manifest file.
        layout: ``auto`` recognises it by the folder's files; any name of
            :mod:`service.ingest.name_layouts` reads file names by that convention.
        pattern: what paths look like, for the layout ``folders``: ``{camera}/{name}``.
        skip_bad: count and list files that break a rule, instead of stopping at the first.
        train_only: a benchmark's query and gallery may be empty.
    """

    path: Path
    layout: Layout | Literal["auto"] = "auto"
    pattern: str | None = None
    skip_bad: bool = False
    train_only: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set: three splits, each ordered by path relative to the root.

    Attributes:
        source: where it was read from.
        layout: how it was read.
        train: samples to train on.
        query: samples to search for.
        gallery: samples to search in; identity 0 may mark distractors (Market-1501).
        cameras: name of each camera index, over all splits.
        identities: name of each identity, over all splits; empty if the data set counts people
            instead of naming them: then ``Sample.identity`` is its own number.
        skipped: files that broke a rule; empty unless ``source.skip_bad``.
        left_out: number of files that are no pictures or that the data set's own convention
            excludes, by reason.
        ignored_columns: manifest columns that have no meaning here.
    """

    source: DataSource
    layout: Layout
    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]
    cameras: tuple[str, ...]
    identities: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    left_out: dict[str, int]
    ignored_columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's or manifest's own name."""
        return self.source.path.resolve().stem

    @property
    def summary(self) -> str:
        """One line for people: name, layout, and images and identities of each split."""
        parts = [
            f"{split} {_describe(samples)}"
            for split, samples in (
                ("train", self.train),
                ("query", self.query),
                ("gallery", self.gallery),
            )
            if samples
        ]
        parts.append(f"{len(self.cameras)} cameras")
        parts += [f"left out {count}: {reason}" for reason, count in self.left_out.items()]
        parts += [f"skipped {len(self.skipped)}"] * bool(self.skipped)
        return f"{self.name} ({self.layout}): " + ", ".join([*parts, *self.remarks])

    @property
    def remarks(self) -> list[str]:
        """What was ignored or may have been misread, one text each."""
        columns = ", ".join(self.ignored_columns)
        doubtful = ", ".join(sorted(DOUBTFUL & {*self.identities, *self.cameras}))
        found = {
            f"ignored columns without a meaning: {columns}": columns,
            f"names that programs write for a missing value: {doubtful}": doubtful,
        }
        return [text for text, said in found.items() if said]


def _describe(samples: Sequence[Sample]) -> str:
    known = {sample.identity for sample in samples} - {UNKNOWN}
    people = f"of {len(known)} identities" if known else "without identities"
    return f"{len(samples)} images {people}"


def read_dataset(source: DataSource) -> Dataset:
    """List a data set's samples without opening an image.

    Identities keep the data set's own numbers (Market-1501, MSMT17) or are numbered in the order of
    their sorted names. Cameras are numbered from 0 in the order of their sorted names.

    Args:
        source: where the data set is and how to read it.

    Returns:
        The data set.

    Raises:
        DataError: a folder or list is missing, a split that the layout requires has no usable
            image, layout and pattern do not match, or a file breaks a rule and
            ``source.skip_bad`` is off.
    """
    layout = _layout_of(source)
    ignored: set[str] = set()
    entries = _list_entries(source, layout, ignored)
    records, skipped, left_out = _sort_out(entries, source.skip_bad)
    cameras = _sorted_names(record.camera for record in records)
    identities = _sorted_names(r.identity for r in records if isinstance(r.identity, str))
    samples = _number(records, cameras, identities)
    dataset = Dataset(
        source=source,
        layout=layout,
        train=samples["train"],
        query=samples["query"],
        gallery=samples["gallery"],
        cameras=cameras,
        identities=identities,
        skipped=skipped,
        left_out=left_out,
        ignored_columns=tuple(sorted(ignored)),
    )
    _require_images(dataset)
    return dataset


def _layout_of(source: DataSource) -> Layout:
    found = detect_layout(source.path, source.pattern) if source.layout == "auto" else source.layout
    if (found == "folders") != (source.pattern is not None):
        raise DataError(
            f"{source.path}: layout {found} with pattern {source.pattern!r}; the layout folders "
            "needs a pattern and no other layout takes one"
        )
    return found


def _number(
    records: Sequence[Record], cameras: Sequence[str], identities: Sequence[str]
) -> dict[Split, tuple[Sample, ...]]:
    camera_of = {name: index for index, name in enumerate(cameras)}
    identity_of = {name: index for index, name in enumerate(identities)}
    track_of = _places((record.camera, record.track) for record in records)
    frame_of = _places((record.camera, record.frame) for record in records)
    samples: dict[Split, list[Sample]] = {"train": [], "query": [], "gallery": []}
    for record in records:
        match record.identity:
            case str(name):
                identity = identity_of[name]
            case int(number):
                identity = number
            case None:
                identity = UNKNOWN
        track = track_of.get((record.camera, record.track), UNKNOWN)
        frame = frame_of.get((record.camera, record.frame), UNKNOWN)
        sample = Sample(record.path, identity, camera_of[record.camera], track, frame)
        samples[record.split].append(sample)
    return {split: tuple(members) for split, members in samples.items()}


def _places(named: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str | None], int]:
    """Number a camera's tracks or frames over all cameras; one without a name has no number."""
    found = dict.fromkeys(place for place in named if place[1] is not None)
    return {place: number for number, place in enumerate(found)}


def _list_entries(source: DataSource, layout: Layout, ignored: set[str]) -> Iterator[Entry]:
    match layout:
        case "manifest":
            return list_manifest(source.path, ignored)
        case "folders":
            return list_folders(source.path, source.pattern or "")
        case "market1501" if has_splits(source.path, layout):
            return list_market1501(source.path)
        case "msmt17" if has_splits(source.path, layout):
            return list_msmt17(source.path)
        case name:
            return list_named(source.path, LAYOUTS[name])


def _sort_out(
    entries: Iterable[Entry], skip_bad: bool
) -> tuple[list[Record], tuple[Skipped, ...], dict[str, int]]:
    records: dict[tuple[Split, str], Record] = {}
    skipped: list[Skipped] = []
    left_out: Counter[str] = Counter()
    for entry in entries:
        match entry:
            case LeftOut(reason):
                left_out[reason] += 1
            case Skipped():
                skipped.append(entry)
            case Record(path, name, split) if (split, name) in records:
                skipped.append(Skipped(path, f"listed twice in {split}"))
            case Record(_, name, split):
                records[split, name] = entry
        if skipped and not skip_bad:
            raise DataError(f"{skipped[0].path}: {skipped[0].reason}")
    in_order = sorted(records.values(), key=lambda record: record.name)
    return in_order, tuple(skipped), dict(left_out)


def _sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, sorted with their digits read as numbers: c2 before c10."""
    return tuple(sorted(set(names), key=_natural_order))


def _natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"\d+|\D+", name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], name


def _require_images(dataset: Dataset) -> None:
    splits = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    if not has_splits(dataset.source.path, dataset.layout):
        splits = {"any split": dataset.train + dataset.query + dataset.gallery}
    elif dataset.source.train_only:
        splits = {"train": dataset.train}
    if empty := [name for name, samples in splits.items() if not samples]:
        seen = [f"{count} x {reason}" for reason, count in dataset.left_out.items()]
        seen += [f"{len(dataset.skipped)} skipped"] * bool(dataset.skipped)
        raise DataError(
            f"{dataset.source.path}: no usable image in {', '.join(empty)} as layout "
            f"{dataset.layout} ({'; '.join(seen) or 'nothing there'})"
        )
