"""A finished street: its mesh, its colours at any point, its sky."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import Atlas
from training.synthetic.bodies.street.ground import Ground
from training.synthetic.bodies.street.sky import Sky
from training.synthetic.bodies.street.solids import Part

Float32s = NDArray[np.float32]
GROUND_FACES = 2
TINY = 1e-9
Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands; all but the ground can be left out of a picture.

    Attributes:
        kind: what it is.
        centre: x and y, metres.
        radius: of the circle that holds it, metres.
        angle: direction of its own x axis, radians from the world's.
        half: half its length along its own x and y axis, metres.
        first: its first face.
        last: one past its last face.
    """

    kind: str
    centre: tuple[float, float]
    radius: float
    angle: float
    half: tuple[float, float]
    first: int
    last: int

    def blocks(self, start: Spot, end: Spot, margin: float) -> bool:
        """Say whether the thing stands on a way over the ground.

        Args:
            start: x and y, metres.
            end: x and y, metres.
            margin: how close the way may come to the thing's box, metres.

        Returns:
            Whether the way comes closer.
        """
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        first, last = 0.0, 1.0
        for axis, half in (((cos, sin), self.half[0]), ((-sin, cos), self.half[1])):
            origin = sum((start[k] - self.centre[k]) * axis[k] for k in (0, 1))
            slope = sum((end[k] - start[k]) * axis[k] for k in (0, 1))
            slope = slope if abs(slope) > TINY else TINY
            cuts = sorted((side * (half + margin) - origin) / slope for side in (-1, 1))
            first, last = max(first, cuts[0]), min(last, cuts[1])
        return first < last


@dataclass(frozen=True, slots=True, eq=False)
class Street:
    """Everything around the people.

    People walk within ``open_radius`` of the origin; cameras hang on the side of positive x.

    Attributes:
        part: the mesh and its textures; the first two faces are the ground.
        places: the things, in the order of their faces.
        open_radius: radius of the area around the origin where only small things stand, metres.
        indoors: a hall rather than a street.
        atlas: the textures.
        ground: what lies on the ground.
        panorama: what is seen where nothing stands.
    """

    part: Part
    places: tuple[Place, ...]
    open_radius: float
    indoors: bool
    atlas: Atlas
    ground: Ground
    panorama: Sky

    @property
    def vertices(self) -> Float32s:
        """(V, 3) float32 world metres, z up."""
        return self.part.vertices

    @property
    def faces(self) -> NDArray[np.int32]:
        """(F, 3) int32 indices of vertices."""
        return self.part.faces

    def albedo(
        self,
        faces: NDArray[np.integer],
        points: Float32s,
        footprint: Float32s | None = None,
    ) -> Float32s:
        """Return the reflectance of surface points.

        Args:
            faces: (N,) the faces on which the points lie.
            points: (N, 3) float32 world metres.
            footprint: (N,) float32 metres of surface that a pixel covers (distance divided by the
                focal length); far textures are then averaged instead of glittering. None looks
                everything up at its finest.

        Returns:
            (N, 3) float32 linear reflectance, 0..1.
        """
        texture, tint = self.part.texture[faces], self.part.tint[faces]
        place = np.einsum("nij,nj->ni", self.part.frames[faces, :, :3], points)
        place += self.part.frames[faces, :, 3]
        flat = np.flatnonzero(faces < GROUND_FACES)
        texture[flat], place[flat], tint[flat] = self.ground.lay(points[flat])
        colours = self.atlas.look_up(texture, place, footprint) * tint
        return np.asarray(np.minimum(colours, 1.0), np.float32)

    def sky(self, directions: Float32s) -> Float32s:
        """Return the light from where nothing stands.

        Args:
            directions: (N, 3) float32 unit vectors away from the camera.

        Returns:
            (N, 3) float32, as a share of the sky's light: multiply by ``Light.sky_colour`` and,
            by day, some of the sun's.
        """
        return self.panorama.look(directions)
