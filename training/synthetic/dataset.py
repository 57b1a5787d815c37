"""Draw a folder of people in the layout of Market-1501 (Zheng et al., ICCV 2015)."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from tqdm import tqdm

from service.errors import Conflict, InvalidInput, StorageFull
from service.machine.durable import replaced_folder
from training.synthetic.camera import Camera, build_camera
from training.synthetic.crop import draw_crop
from training.synthetic.options import SyntheticOptions
from training.synthetic.person import FAMILY_SIZE, Person, draw_person, draw_stranger

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
NOTE = "synthetic.json"
DISTRACTOR, JUNK = 0, -1


class Stream(IntEnum):
    """First key of every random stream, so that no two purposes share a stream."""

    FAMILY = 0
    IDENTITY = 1
    CAMERAS = 2
    CAMERA = 3
    CROP = 4
    DISTRACTOR = 5
    JUNK = 6


@dataclass(frozen=True, slots=True)
class SyntheticSummary:
    """Counts of what was written.

    Attributes:
        folder: the data set's folder.
        train_identities: number of people in train.
        test_identities: number of people in query and gallery.
        train: number of pictures in ``bounding_box_train``.
        query: number of pictures in ``query``.
        gallery: number of pictures in ``bounding_box_test``, with distractors and junk.
    """

    folder: Path
    train_identities: int
    test_identities: int
    train: int
    query: int
    gallery: int


@dataclass(frozen=True, slots=True)
class _Shot:
    """One file to draw."""

    file: str
    person: Person | None
    camera: int
    stream: tuple[int, ...]
    shift: float = 0.0


def synthesize(
    out: Path, options: SyntheticOptions, *, overwrite: bool = False
) -> SyntheticSummary:
    """Draw a data set; the folder appears only when it is complete.

    Args:
        out: folder to create; must be missing or empty.
        options: what to draw.
        overwrite: replace a data set that this function wrote before.

    Returns:
        What was written.

    Raises:
        Conflict: the folder is not empty, or contains files that this function did not write.
        InvalidInput: the folder cannot be written.
        StorageFull: the disk is full.
    """
    out = out.resolve()
    try:
        _check_free(out, overwrite)
        with replaced_folder(out) as fresh:
            _write(fresh, options)
            summary = _summarize(fresh, out, options)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(f"{out}: {error.strerror}") from error
        raise InvalidInput(f"{out}: {error.strerror or error}") from error
    return summary


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise Conflict(f"{out} exists and is not a folder")
    found = {entry.name for entry in out.iterdir()} if out.exists() else set()
    foreign = found - {TRAIN, QUERY, GALLERY, NOTE}
    if found and (foreign or NOTE not in found):
        raise Conflict(
            f"{out} contains {', '.join(sorted(foreign or found)[:3])} and is not a drawn data "
            "set: choose another folder"
        )
    if found and not overwrite:
        raise Conflict(f"{out} already holds a drawn data set; --overwrite replaces it")


def _write(folder: Path, options: SyntheticOptions) -> None:
    for name in (TRAIN, QUERY, GALLERY):
        (folder / name).mkdir(parents=True)
    cameras = _build_cameras(options)
    shots = _count(options)
    for shot in tqdm(_plan(options), total=shots, desc="draw", unit="crop", disable=None):
        rng = _rng(options.seed, *shot.stream)
        jpeg = draw_crop(shot.person, cameras[shot.camera], rng, options.size, shot.shift)
        (folder / shot.file).write_bytes(jpeg)
    note = json.dumps(asdict(options), indent=2)
    (folder / NOTE).write_text(note + "\n", encoding="utf-8")


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _build_cameras(options: SyntheticOptions) -> list[Camera]:
    return [
        build_camera(
            _rng(options.seed, Stream.CAMERAS),
            _rng(options.seed, Stream.CAMERA, index),
            index,
            options.size,
        )
        for index in range(options.cameras)
    ]


def draw_identity(seed: int, identity: int) -> Person:
    """Invent the person of an identity.

    Args:
        seed: the data set's seed.
        identity: from 1.

    Returns:
        The person, who does not depend on the rest of the data set.
    """
    family = _rng(seed, Stream.FAMILY, (identity - 1) // FAMILY_SIZE)
    return draw_person(family, _rng(seed, Stream.IDENTITY, identity))


def _plan(options: SyntheticOptions) -> Iterator[_Shot]:
    for identity in range(1, options.identities + 1):
        person = draw_identity(options.seed, identity)
        for camera in range(options.cameras):
            for crop in range(options.crops):
                folder = _folder_of(options, identity, crop)
                file = f"{folder}/{_name(identity, camera, crop)}"
                yield _Shot(file, person, camera, (Stream.CROP, identity, camera, crop))
    yield from _plan_extras(options)


def _plan_extras(options: SyntheticOptions) -> Iterator[_Shot]:
    """Distractors, half of them empty streets, and people whom the box cuts in half."""
    for index in range(options.distractors):
        camera, stream = index % options.cameras, (Stream.DISTRACTOR, index)
        person = None if index % 2 else draw_stranger(_rng(options.seed, *stream, 1))
        yield _Shot(f"{GALLERY}/{_name(DISTRACTOR, camera, index)}", person, camera, stream)
    for index in range(options.junk):
        camera, stream = index % options.cameras, (Stream.JUNK, index)
        person = draw_stranger(_rng(options.seed, *stream, 1))
        shift = 0.5 if index % 2 else -0.5
        yield _Shot(f"{GALLERY}/{_name(JUNK, camera, index)}", person, camera, stream, shift)


def _folder_of(options: SyntheticOptions, identity: int, crop: int) -> str:
    if identity <= options.train_identities:
        return TRAIN
    return QUERY if crop == 0 else GALLERY


def _name(identity: int, camera: int, frame: int) -> str:
    who = "-1" if identity == JUNK else f"{identity:04d}"
    return f"{who}_c{camera + 1}s1_{frame + 1:06d}_00.jpg"


def _count(options: SyntheticOptions) -> int:
    people = options.identities * options.cameras * options.crops
    return people + options.distractors + options.junk


def _summarize(written: Path, out: Path, options: SyntheticOptions) -> SyntheticSummary:
    train, query, gallery = (
        sum(1 for _ in (written / folder).iterdir()) for folder in (TRAIN, QUERY, GALLERY)
    )
    people = options.train_identities
    return SyntheticSummary(out, people, options.identities - people, train, query, gallery)
