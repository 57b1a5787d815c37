"""Collects the parts of a street while it is built."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import AtlasBuilder, Texture
from training.synthetic.bodies.street.solids import Paint, Part, join, turning
from training.synthetic.bodies.street.street import Place
from training.synthetic.bodies.street.surfaces import FINE, WALL, leaves, plain, planks

Float32s = NDArray[np.float32]


# Cameras hang within so many radians of the open side, as seen from the origin.
VIEW = 0.5
CLEAR = 1.5
SELDOM = 0.12
# Where cameras may hang, on the ground, and how much room their sight of the origin needs.
CAMERAS = tuple((16.0 * math.cos(way), 16.0 * math.sin(way)) for way in (-0.25, 0.0, 0.25))
MARGIN = 0.6
# Triangles after which nothing small or leafy is added.
LARGEST = 6800


@dataclass(frozen=True, slots=True)
class Row:
    """A line along which things stand; its front looks to the people.

    Attributes:
        ahead: of its middle, metres from the origin in the street's frame.
        aside: of its middle.
        angle: of its direction in that frame, radians; its back is to the left of it.
        length: metres.
    """

    ahead: float
    aside: float
    angle: float
    length: float

    def at(self, along: float, before: float = 0.0) -> tuple[float, float, float]:
        """Return ahead, aside and angle of a spot along the row, and so far before it."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return (
            self.ahead + along * cos + before * sin,
            self.aside + along * sin - before * cos,
            self.angle,
        )


@dataclass(slots=True)
class Scene:
    """A street in the making. Positions are in the street's frame: ahead is away from cameras.

    Attributes:
        rng: source of randomness.
        angle: direction of ahead, radians from the world's x axis.
        open_radius: where only small things may stand, metres around the origin.
        variety: factor on the number of things.
        atlas: the textures so far.
    """

    rng: np.random.Generator
    angle: float
    open_radius: float
    variety: float
    atlas: AtlasBuilder = field(default_factory=AtlasBuilder)
    _parts: list[Part] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _faces: int = 0
    _shared: dict[str, Texture] = field(default_factory=dict)

    def put(self, kind: str, part: Part, ahead: float, aside: float, angle: float = 0.0) -> None:
        """Put a thing somewhere, turned by an angle; not where it hides the middle from cameras."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = ahead * cos - aside * sin, ahead * sin + aside * cos
        moved = part.moved(x, y, 0.0, self.angle + angle)
        low, high = part.vertices[:, :2].min(axis=0), part.vertices[:, :2].max(axis=0)
        turn = turning(self.angle + angle)[:2, :2]
        middle = turn @ ((low + high) / 2.0) + [x, y]
        half = (high - low) / 2.0
        place = Place(
            kind,
            (float(middle[0]), float(middle[1])),
            float(np.linalg.norm(half)),
            self.angle + angle,
            (float(half[0]), float(half[1])),
            self._faces,
            self._faces + len(part.faces),
        )
        if not any(place.blocks((0.0, 0.0), end, MARGIN) for end in CAMERAS):
            self._places.append(place)
            self._add(moved)

    def random_spot(self) -> tuple[float, float]:
        """Return ahead and aside of a spot in the open, rarely just before the camera."""
        while True:
            distance = self.open_radius * math.sqrt(self.rng.uniform(0.03, 1.0))
            way = self.rng.uniform(-math.pi, math.pi)
            before_camera = abs(abs(way) - math.pi) < VIEW and distance > CLEAR
            if not before_camera or self.rng.random() < SELDOM:
                return distance * math.cos(way), distance * math.sin(way)

    def put_ground(self, part: Part) -> None:
        """Put the ground, before anything else."""
        self._add(part)

    def _add(self, part: Part) -> None:
        self._parts.append(part)
        self._faces += len(part.faces)

    @property
    def face_count(self) -> int:
        """How many triangles there are so far."""
        return self._faces

    @property
    def places(self) -> tuple[Place, ...]:
        """The things so far."""
        return tuple(self._places)

    def whole(self) -> Part:
        """Return everything as one part."""
        return join(self._parts)

    def texture(self, name: str, draw: Callable[[np.random.Generator], Float32s]) -> Texture:
        """Return a texture of the street, drawn on first use, 64 texels a metre."""
        if name not in self._shared:
            self._shared[name] = self.atlas.add(draw(self.rng), FINE)
        return self._shared[name]

    def picture(self, image: Float32s) -> Texture:
        """Add a picture of a wall, 32 texels a metre."""
        return self.atlas.add(image, WALL)

    def plain(self, colour: Float32s) -> Paint:
        """Return a plain paint."""
        return Paint(self.texture("plain", plain), colour)

    def wood(self, shade: float = 1.0) -> Paint:
        """Return wooden boards."""
        return Paint(self.texture("planks", planks), np.full(3, shade, np.float32))

    def leaves(self, colour: Float32s) -> Paint:
        """Return foliage."""
        return Paint(self.texture("leaves", leaves), colour)
