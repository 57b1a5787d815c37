"""Which pictures a data set has, and what each is called, in the layout of Market-1501."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from training.synthetic.options import SyntheticOptions

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
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
    VIEWS = 7


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to make.

    Attributes:
        file: its path in the data set's folder.
        identity: from 1; 0 for somebody who is never searched for, -1 for a badly cropped one.
        camera: from 0.
        stream: key of its random stream.
        empty: nobody is in it.
        miss: how far the box misses the person, in shares of its width.
    """

    file: str
    identity: int
    camera: int
    stream: tuple[int, ...]
    empty: bool = False
    miss: float = 0.0


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """Open a random stream.

    Args:
        seed: the data set's seed.
        key: of the stream, beginning with a :class:`Stream`.

    Returns:
        The stream, at its start.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def list_shots(options: SyntheticOptions) -> Iterator[Shot]:
    """List every picture of a data set, person by person.

    Args:
        options: of the data set.

    Yields:
        The pictures; none depends on another.
    """
    for identity in range(1, options.identities + 1):
        for camera in cameras_of(options, identity):
            for crop in range(options.crops):
                folder = _folder_of(options, identity, crop)
                file = f"{folder}/{_name(identity, camera, crop)}"
                yield Shot(file, identity, camera, (Stream.CROP, identity, camera, crop))
    yield from _list_extras(options)


def cameras_of(options: SyntheticOptions, identity: int) -> list[int]:
    """List the cameras that see a person.

    Args:
        options: of the data set.
        identity: from 1.

    Returns:
        Cameras from 0, in ascending order.
    """
    if not options.views:
        return list(range(options.cameras))
    rng = random_stream(options.seed, Stream.VIEWS, identity)
    return sorted(map(int, rng.choice(options.cameras, options.views, replace=False)))


def _list_extras(options: SyntheticOptions) -> Iterator[Shot]:
    """Distractors, half of them empty streets, and people whom the box cuts in half."""
    for index in range(options.distractors):
        camera, stream = index % options.cameras, (Stream.DISTRACTOR, index)
        file = f"{GALLERY}/{_name(DISTRACTOR, camera, index)}"
        yield Shot(file, DISTRACTOR, camera, stream, empty=index % 2 == 1)
    for index in range(options.junk):
        camera, stream = index % options.cameras, (Stream.JUNK, index)
        file = f"{GALLERY}/{_name(JUNK, camera, index)}"
        yield Shot(file, JUNK, camera, stream, miss=0.5 if index % 2 else -0.5)


def count_shots(options: SyntheticOptions) -> int:
    """Count the pictures of a data set.

    Args:
        options: of the data set.

    Returns:
        How many there are.
    """
    people = options.identities * (options.views or options.cameras) * options.crops
    return people + options.distractors + options.junk


def _folder_of(options: SyntheticOptions, identity: int, crop: int) -> str:
    if identity <= options.train_identities:
        return TRAIN
    return QUERY if crop == 0 else GALLERY


def _name(identity: int, camera: int, frame: int) -> str:
    who = "-1" if identity == JUNK else f"{identity:04d}"
    return f"{who}_c{camera + 1}s1_{frame + 1:06d}_00.jpg"
