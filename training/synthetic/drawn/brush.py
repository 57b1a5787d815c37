"""Paint bodies: a view that projects, a brush that fills, a tube that clothes wrap around."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.synthetic.drawn.palette import RGB, tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL.ImageDraw import ImageDraw

    from training.synthetic.drawn.pose import Point

Pixel = tuple[float, float]
EDGE = 0.72
EDGE_WIDTH = 0.0045
HALF_TURN = (0.0, 0.52, 1.05, 1.57, 2.09, 2.62, 3.14)
AROUND = (-math.pi, math.pi)


@dataclass(frozen=True, slots=True)
class View:
    """How a camera sees a body: a weak perspective from slightly above.

    Attributes:
        yaw: rotation of the body in radians.
        tilt: downward tilt of the camera in radians.
        perspective: how much wider the head is drawn than the feet, as a share.
        lean: sideways shear of a camera that hangs askew.
        centre: pixel column of the body's axis at the floor.
        floor: pixel row of the floor under the body.
        scale: pixels per body height.
    """

    yaw: float
    tilt: float
    perspective: float
    lean: float
    centre: float
    floor: float
    scale: float

    def project(self, point: Point) -> Pixel:
        """Pixel of a point in body coordinates."""
        x, y, z = point
        across = x * math.cos(self.yaw) + z * math.sin(self.yaw)
        up = y * math.cos(self.tilt) - self._toward(x, z) * math.sin(self.tilt)
        across = across * self.widening(up) + self.lean * up
        up += 0.5 * self.perspective * (up * up - up)
        return self.centre + across * self.scale, self.floor - up * self.scale

    def depth(self, point: Point) -> float:
        """Nearness of a point: larger is nearer."""
        return self._toward(point[0], point[2])

    def widening(self, up: float) -> float:
        """Factor on widths at a height; 1 at half the body's height."""
        return 1.0 + self.perspective * (up - 0.5)

    def _toward(self, x: float, z: float) -> float:
        return z * math.cos(self.yaw) - x * math.sin(self.yaw)


@dataclass(frozen=True, slots=True)
class Ring:
    """Cross-section of a tube: an ellipse of half-width (x) and half-depth (z) around (x, z)."""

    y: float
    width: float
    depth: float
    x: float = 0.0
    z: float = 0.0

    def at(self, angle: float) -> Point:
        """Point on the ring; angle 0 is the front, pi/2 the person's left."""
        return (
            self.x + self.width * math.sin(angle),
            self.y,
            self.z + self.depth * math.cos(angle),
        )

    def facing(self, yaw: float) -> float:
        """Angle of the point whose normal points at the camera."""
        return math.atan2(-self.depth * math.sin(yaw), self.width * math.cos(yaw))


class Tube:
    """An upright body of elliptic rings: torso, skirt or hips.

    Args:
        rings: from top to bottom, at least two.
    """

    def __init__(self, *rings: Ring) -> None:
        self.rings = rings
        self.top = rings[0].y
        self.bottom = rings[-1].y

    def ring(self, y: float) -> Ring:
        """Cross-section at a height, interpolated between the rings around it."""
        for upper, lower in zip(self.rings, self.rings[1:], strict=False):
            if y >= lower.y:
                share = min(1.0, max(0.0, (y - lower.y) / (upper.y - lower.y)))
                return Ring(
                    y,
                    lower.width + share * (upper.width - lower.width),
                    lower.depth + share * (upper.depth - lower.depth),
                    lower.x,
                    lower.z,
                )
        return self.rings[-1]

    def heights(self, top: float, bottom: float) -> list[float]:
        """The two ends and every ring between them, from top to bottom."""
        return [top, *(ring.y for ring in self.rings if bottom < ring.y < top), bottom]


class Brush:
    """Fills shapes given in body coordinates on a canvas.

    Args:
        draw: the canvas.
        view: how the body is seen.
    """

    def __init__(self, draw: ImageDraw, view: View) -> None:
        self.draw = draw
        self.view = view
        self.edge = max(1, round(view.scale * EDGE_WIDTH))

    def polygon(self, pixels: list[Pixel], colour: RGB, *, edged: bool = True) -> None:
        """Fill a polygon, with a darker edge so that limbs of one colour stay distinct."""
        outline = tone(colour, EDGE) if edged else None
        self.draw.polygon(pixels, fill=colour, outline=outline, width=self.edge if edged else 1)

    def patch(self, points: Iterable[Point], colour: RGB) -> None:
        """Fill a flat polygon without an edge."""
        self.polygon([self.view.project(point) for point in points], colour, edged=False)

    def limb(self, joints: Sequence[Point], radii: Sequence[float], colour: RGB) -> None:
        """Fill a chain of tapering capsules with one edge around the whole chain.

        Args:
            joints: from one end to the other, at least two.
            radii: of each joint, in body heights.
            colour: the fill colour.
        """
        bones = list(zip(joints, joints[1:], radii, radii[1:], strict=False))
        for start, end, thick, thin in bones:
            self._capsule(start, end, (thick + EDGE_WIDTH, thin + EDGE_WIDTH), tone(colour, EDGE))
        for start, end, thick, thin in bones:
            self._capsule(start, end, (thick, thin), colour)

    def _capsule(self, start: Point, end: Point, radii: tuple[float, float], colour: RGB) -> None:
        (ax, ay), (bx, by) = self.view.project(start), self.view.project(end)
        along = math.atan2(by - ay, bx - ax)
        outline: list[Pixel] = []
        for x, y, height, radius, first in (
            (ax, ay, start[1], radii[0], along + 0.5 * math.pi),
            (bx, by, end[1], radii[1], along - 0.5 * math.pi),
        ):
            size = radius * self.view.scale * self.view.widening(height)
            outline += [
                (x + size * math.cos(first + turn), y + size * math.sin(first + turn))
                for turn in HALF_TURN
            ]
        self.polygon(outline, colour, edged=False)

    def bar(self, ends: tuple[Point, Point], radius: float, colour: RGB) -> None:
        """Fill a band across a limb: a capsule without its round ends."""
        (ax, ay), (bx, by) = (self.view.project(end) for end in ends)
        along = math.atan2(by - ay, bx - ax)
        size = radius * self.view.scale * self.view.widening(ends[0][1])
        dx, dy = -size * math.sin(along), size * math.cos(along)
        corners = [(ax + dx, ay + dy), (ax - dx, ay - dy), (bx - dx, by - dy), (bx + dx, by + dy)]
        self.polygon(corners, colour, edged=False)

    def oval(self, centre: Pixel, radii: Pixel, colour: RGB) -> None:
        """Fill an ellipse given in pixels."""
        (x, y), (across, up) = centre, radii
        if across >= 0.5 and up >= 0.5:
            self.draw.ellipse((x - across, y - up, x + across, y + up), fill=colour)

    def wrap(
        self,
        tube: Tube,
        heights: tuple[float, float],
        colour: RGB,
        angles: tuple[float, float] = AROUND,
        *,
        edged: bool = False,
    ) -> None:
        """Fill the visible part of a band around a tube.

        Args:
            tube: the tube under the band.
            heights: top and bottom of the band.
            colour: the fill colour.
            angles: start and end around the tube; all around by default.
            edged: draw a darker edge.
        """
        rings = [tube.ring(y) for y in tube.heights(*heights)]
        spans = [span for ring in rings if (span := self._visible(ring, angles))]
        if len(spans) < len(rings):
            return
        left = [ring.at(span[0]) for ring, span in zip(rings, spans, strict=True)]
        right = [ring.at(span[1]) for ring, span in zip(rings, spans, strict=True)]
        above = [rings[0].at(_between(spans[0], share)) for share in (0.25, 0.5, 0.75)]
        below = [rings[-1].at(_between(spans[-1], share)) for share in (0.75, 0.5, 0.25)]
        points = [*left[::-1], *above, *right, *below]
        self.polygon([self.view.project(point) for point in points], colour, edged=edged)

    def _visible(self, ring: Ring, angles: tuple[float, float]) -> tuple[float, float] | None:
        """The part of a range of angles that faces the camera, or None."""
        facing = ring.facing(self.view.yaw)
        if angles == AROUND:
            return facing - 0.5 * math.pi, facing + 0.5 * math.pi
        middle = 0.5 * (angles[0] + angles[1])
        turns = 2.0 * math.pi * round((facing - middle) / (2.0 * math.pi))
        low = max(angles[0] + turns, facing - 0.5 * math.pi)
        high = min(angles[1] + turns, facing + 0.5 * math.pi)
        return (low, high) if low < high else None


def _between(span: tuple[float, float], share: float) -> float:
    return span[0] + share * (span[1] - span[0])
