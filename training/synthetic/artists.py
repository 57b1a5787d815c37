"""Who makes a picture: the flat one in milliseconds, or the one with bodies."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.synthetic.drawn.camera import Camera, build_camera
from training.synthetic.drawn.crop import draw_crop
from training.synthetic.drawn.person import FAMILY_SIZE, Person, draw_person, draw_stranger
from training.synthetic.options import SyntheticOptions
from training.synthetic.shots import Shot, Stream, random_stream

STORED_QUALITY = 95  # the camera's own compression is already in the pixels


class Artist(Protocol):
    """Makes the pictures of one data set."""

    def make(self, shot: Shot) -> bytes:
        """Make one picture.

        Args:
            shot: which; nothing else decides what it shows.

        Returns:
            The bytes of a JPEG file.
        """
        ...


@lru_cache(maxsize=2)
def artist_for(options: SyntheticOptions) -> Artist:
    """Choose the artist of a data set.

    Args:
        options: of the data set.

    Returns:
        The artist; what it builds once is kept in memory for the next picture.
    """
    match options.kind:
        case "drawn":
            return DrawnArtist(options)
        case "bodies":
            return BodiesArtist(options)


@dataclass(frozen=True, slots=True)
class DrawnArtist:
    """Draws flat people.

    Attributes:
        options: of the data set.
    """

    options: SyntheticOptions

    def make(self, shot: Shot) -> bytes:
        """See :class:`Artist`."""
        options = self.options
        rng = random_stream(options.seed, *shot.stream)
        camera = _drawn_cameras(options)[shot.camera]
        return draw_crop(self._person(shot), camera, rng, options.size, shot.miss)

    def _person(self, shot: Shot) -> Person | None:
        if shot.empty:
            return None
        if shot.identity > 0:
            return draw_identity(self.options.seed, shot.identity)
        return draw_stranger(random_stream(self.options.seed, *shot.stream, 1))


@lru_cache(maxsize=2)
def _drawn_cameras(options: SyntheticOptions) -> tuple[Camera, ...]:
    return tuple(
        build_camera(
            random_stream(options.seed, Stream.CAMERAS),
            random_stream(options.seed, Stream.CAMERA, index),
            index,
            options.size,
        )
        for index in range(options.cameras)
    )


@lru_cache(maxsize=4)
def draw_identity(seed: int, identity: int) -> Person:
    """Invent the flat person of an identity.

    Args:
        seed: the data set's seed.
        identity: from 1.

    Returns:
        The person, who does not depend on the rest of the data set.
    """
    family = random_stream(seed, Stream.FAMILY, (identity - 1) // FAMILY_SIZE)
    return draw_person(family, random_stream(seed, Stream.IDENTITY, identity))


@dataclass(frozen=True, slots=True)
class BodiesArtist:
    """Takes pictures of people in three dimensions; needs the extra ``people``.

    Attributes:
        options: of the data set.
    """

    options: SyntheticOptions

    def make(self, shot: Shot) -> bytes:
        """See :class:`Artist`."""
        # Only this artist needs the body model and Warp.
        from training.synthetic.bodies.shot import shoot  # noqa: PLC0415
        from training.synthetic.bodies.site import Site  # noqa: PLC0415
        from training.synthetic.bodies.wardrobe import draw_stranger  # noqa: PLC0415

        options = self.options
        site = Site(options.seed, options.cameras, options.knobs)
        if shot.empty:
            person = None
        elif shot.identity > 0:
            person = site.person(shot.identity)
        else:
            own = random_stream(options.seed, *shot.stream, 1)
            person = draw_stranger(own, options.knobs.people)
        rng = random_stream(options.seed, *shot.stream)
        picture = shoot(person, shot.camera, site, rng, options.size, shot.miss)
        return encode_jpeg(picture)


def encode_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Store what a camera made.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        The bytes of a JPEG file.
    """
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=STORED_QUALITY)
    return jpeg.getvalue()
