"""A finished street: its mesh, its colours at any point, its sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.atlas import Atlas
from training.synthetic.bodies.street.ground import Ground
from training.synthetic.bodies.street.sky import Sky
from training.synthetic.bodies.street.solids import Part

Float32s = NDArray[np.float32]
GROUND_FACES = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands; all but the ground can be left out of a picture.

    Attributes:
        kind: what it is.
        centre: x and y, metres.
        radius: of the circle that holds it, metres.
        first: its first face.
        last: one past its last face.
    """

    kind: str
    centre: tuple[float, float]
    radius: float
    first: int
    last: int


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
        colours = np.empty((len(faces), 3), np.float32)
        flat = faces < GROUND_FACES
        for chosen, look in ((flat, self._on_ground), (~flat, self._on_things)):
            if chosen.any():
                size = None if footprint is None else footprint[chosen]
                colours[chosen] = look(faces[chosen], points[chosen], size)
        return np.clip(colours, 0.0, 1.0)

    def sky(self, directions: Float32s) -> Float32s:
        """Return the light from where nothing stands.

        Args:
            directions: (N, 3) float32 unit vectors away from the camera.

        Returns:
            (N, 3) float32, as a share of the sky's light: multiply by ``Light.sky_colour`` and,
            by day, some of the sun's.
        """
        return self.panorama.look(directions)

    def _on_things(
        self, faces: NDArray[np.integer], points: Float32s, footprint: Float32s | None
    ) -> Float32s:
        frames = self.part.frames[faces]
        place = (frames[:, :, :3] * points[:, None, :]).sum(axis=2) + frames[:, :, 3]
        colours = self.atlas.look_up(self.part.texture[faces], place, footprint)
        return colours * self.part.tint[faces]

    def _on_ground(
        self, faces: NDArray[np.integer], points: Float32s, footprint: Float32s | None
    ) -> Float32s:
        colours = np.empty((len(faces), 3), np.float32)
        for covered, texture, place, zone in self.ground.layers(points):
            rows = slice(None) if covered is None else covered
            size = None if footprint is None else footprint[rows]
            indices = np.full(len(place), texture.index, np.int64)
            painted = self.atlas.look_up(indices, place, size)
            if zone is not None:
                painted = colours[rows] * (1.0 - zone.cover) + painted * (zone.tint * zone.cover)
            colours[rows] = painted
        return colours * self.ground.stain(points)[:, None]
