"""Paint head, hair and hat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from training.synthetic.drawn.brush import Brush
from training.synthetic.drawn.palette import RGB, tone
from training.synthetic.drawn.person import HairStyle, Hat, Person

if TYPE_CHECKING:
    from training.synthetic.drawn.pose import Point, Skeleton

RADIUS = 0.058
OBLONG = 1.22
JAW_TONE = 0.8
EYE = (40, 32, 32)


class HeadPainter:
    """Paints in head coordinates, (across, up) in head radii, as the camera sees them.

    Args:
        brush: the canvas.
        person: the person.
        bones: the pose.
    """

    def __init__(self, brush: Brush, person: Person, bones: Skeleton) -> None:
        self.brush, self.person, self.bones = brush, person, bones
        view = brush.view
        self.sine, self.cosine = math.sin(view.yaw), math.cos(view.yaw)
        self.radius = RADIUS * view.scale * view.widening(bones.head)
        self.x, self.y = view.project((0.0, bones.head, 0.012))

    def oval(self, centre: tuple[float, float], radii: tuple[float, float], colour: RGB) -> None:
        """Fill an ellipse given in head radii."""
        (across, up), (wide, high) = centre, radii
        position = self.x + across * self.radius, self.y - up * self.radius
        self.brush.oval(position, (wide * self.radius, high * self.radius), colour)

    def neck(self) -> None:
        """Paint the neck, down to the collar."""
        base, chin = (0.0, self.bones.shoulder + 0.01, 0.0), (0.0, self.bones.head - 0.02, 0.005)
        self.brush.limb((base, chin), (0.030, 0.028), tone(self.person.body.skin, 0.9))

    def falling_hair(self) -> None:
        """Paint hair below the skull: bob, long hair or a ponytail."""
        hair, shoulder, head = self.person.hair, self.bones.shoulder, self.bones.head
        colour = tone(hair.colour, 0.92)
        match hair.style:
            case HairStyle.BOB:
                self._strand((0.0, head, -0.008), (0.0, head - 0.065, -0.014), (0.062, 0.064))
            case HairStyle.LONG:
                self._strand((0.0, head, -0.010), (0.0, shoulder - 0.075, -0.045), (0.064, 0.058))
            case HairStyle.PONYTAIL:
                self._strand(
                    (0.0, head + 0.01, -0.070), (0.0, shoulder - 0.04, -0.085), (0.024, 0.016)
                )
            case HairStyle.BUN:
                x, y = self.brush.view.project((0.0, head + 0.045, -0.062))
                self.brush.oval((x, y), (0.5 * self.radius, 0.48 * self.radius), colour)
            case HairStyle.SHORT | HairStyle.BALD:
                pass

    def _strand(self, top: Point, bottom: Point, radii: tuple[float, float]) -> None:
        self.brush.limb((top, bottom), radii, tone(self.person.hair.colour, 0.92))

    def head(self) -> None:
        """Paint skull, face and hat."""
        skin, hair = self.person.body.skin, self.person.hair
        self.oval((0.0, 0.0), (1.0, OBLONG), tone(skin, JAW_TONE))
        self.oval((0.0, 0.0), (0.94, OBLONG - 0.06), skin)
        if hair.style is not HairStyle.BALD:
            short = hair.style is HairStyle.SHORT
            up, high = (0.22, 1.06) if short else (0.06, 1.24)
            self.oval((-0.16 * self.sine, up), (1.02, high), hair.colour)
        self._face()
        match hair.hat:
            case Hat.CAP:
                self._cap()
            case Hat.BEANIE:
                self._beanie()
            case Hat.NONE:
                pass

    def _face(self) -> None:
        """Paint a patch of skin that turns away with the head."""
        shown = min(1.0, max(0.0, (self.cosine + 0.45) / 1.45)) ** 0.75
        if shown < 0.1:
            return
        skin = self.person.body.skin
        across = 0.52 * self.sine * (1.35 - 0.5 * shown)
        self.oval((across, -0.20), (0.80 * shown, 0.92), skin)
        if abs(self.sine) > 0.6:
            self.oval((0.98 * math.copysign(1.0, self.sine), -0.12), (0.12, 0.14), skin)
        if self.person.hair.beard:
            self.oval((across, -0.74), (0.62 * shown, 0.40), self.person.hair.colour)
            self.oval((across, -0.42), (0.66 * shown, 0.26), skin)
        for angle in (-0.40, 0.40):
            if math.cos(self._turned(angle)) > 0.25:
                self.oval((0.86 * math.sin(self._turned(angle)), -0.02), (0.08, 0.08), EYE)

    def _turned(self, angle: float) -> float:
        return math.atan2(self.sine, self.cosine) + angle

    def _dome(self, brow: float, wide: float) -> None:
        """Paint the upper part of an ellipse over the skull, down to the brow."""
        colour = self.person.hair.hat_colour
        box = (
            self.x - wide * self.radius,
            self.y - (OBLONG + 0.14) * self.radius,
            self.x + wide * self.radius,
            self.y + (OBLONG + 0.14 - 2.0 * brow) * self.radius,
        )
        self.brush.draw.pieslice(box, 180.0, 360.0, fill=colour)

    def _cap(self) -> None:
        colour = self.person.hair.hat_colour
        self._dome(brow=0.25, wide=1.08)
        self.oval((0.0, 0.27), (1.08, 0.16), colour)
        if self.cosine > -0.5:
            wide = 0.55 + 0.35 * max(0.0, self.cosine)
            self.oval((0.95 * self.sine, 0.26), (wide, 0.17), tone(colour, 0.72))

    def _beanie(self) -> None:
        colour = self.person.hair.hat_colour
        self._dome(brow=0.2, wide=1.12)
        self.oval((0.0, 0.30), (1.12, 0.24), tone(colour, 0.84))
