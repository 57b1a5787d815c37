"""Which part of the outfit a point of the body is: skin, top, shoe, hair.

The same rules serve vertices, to push cloth out of the skin, and pixels, to paint them. Heights
are those of the neutral body, whose hip joint is 0, crown 0.76, eyes 0.65, chin 0.55, soles -0.87.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Chart, Float32s, Piece
from training.synthetic.bodies.person import (
    Bag,
    BagKind,
    BottomCut,
    HairStyle,
    HatKind,
    Person,
    Shoes,
    Top,
    TopCut,
)
from training.synthetic.bodies.places import Bools, Places

Parts = NDArray[np.int8]

WAIST = 0.06
CROTCH = -0.12
SKIRT_START = -0.08
SOLE_TOP, SOLE_TOP_AT_TOES = -0.85, -0.859
TOES = -0.13
HEAD = 0.47
ANKLE = -0.812
CALF = -0.7
INSTEP = -0.1  # trousers fall on the shoe, but leave its toe free
HIGH_BOOT = -0.7  # boots above this height are worn over trousers


class Part(IntEnum):
    """Parts of a dressed person."""

    SKIN = 0
    TOP = 1
    BOTTOM = 2
    SHOE = 3
    SOLE = 4
    SOCK = 5
    TIGHTS = 6
    HAIR = 7
    EYE = 8
    HAT = 9
    INNER = 10
    STRAP = 11
    BAG = 12
    THING = 13
    PHONE = 14
    BEARD = 15


def parts_of(chart: Chart, person: Person) -> Parts:
    """Tell for each point which part of the outfit it is.

    Args:
        chart: N points.
        person: the identity, which decides where hems, sleeves and hair end.

    Returns:
        (N,) int8, each a :class:`Part`.
    """
    return parts_at(Places.of(chart), person)


def parts_at(at: Places, person: Person) -> Parts:
    """Tell the parts of points whose columns are at hand; see :func:`parts_of`."""
    parts = np.zeros(len(at), np.int8)
    trunk = ~at.arm
    _mark_feet(parts, at, trunk, person)
    _mark_bottom(parts, at, trunk, person)
    _mark_top(parts, at, trunk, person.top)
    if person.bottom.cut is BottomCut.DRESS:
        parts[parts == Part.BOTTOM] = Part.TOP
    head = np.flatnonzero(trunk & (at.z > HEAD))
    parts[head] = _head_parts(parts[head], at.x[head], at.y[head], at.z[head], person)
    _mark_straps(parts, at, trunk, person.bag)
    parts[at.eye] = Part.EYE
    pieces = np.flatnonzero(at.piece > 0.5)
    if len(pieces):
        parts[pieces] = _piece_parts(at, pieces, person)
    return parts


def _mark_feet(parts: Parts, at: Places, trunk: Bools, person: Person) -> None:
    """Mark tights, socks, shoes and soles, each over what comes before."""
    shoes: Shoes = person.shoes
    if person.bottom.tights is not None:
        parts[trunk & (at.z <= WAIST)] = Part.TIGHTS
    else:
        parts[trunk & (at.z < shoes.sock_top)] = Part.SOCK
    parts[trunk & (at.z < shoes.boot)] = Part.SHOE
    low = at.z < SOLE_TOP
    parts[trunk & low & ((at.z < SOLE_TOP_AT_TOES) | (at.y > TOES))] = Part.SOLE


def _mark_bottom(parts: Parts, at: Places, trunk: Bools, person: Person) -> None:
    """Mark trousers and shorts, or what a skirt covers of the hips."""
    bottom, boot = person.bottom, person.shoes.boot
    below_waist = trunk & (at.z < WAIST)
    if bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}:
        parts[below_waist & (at.z > SKIRT_START)] = Part.BOTTOM
        return
    lowest = boot if boot > HIGH_BOOT else ANKLE
    legs = (at.along_leg < bottom.leg) & (at.z > lowest) & ((at.z > CALF) | (at.y > INSTEP))
    parts[below_waist & (legs | (at.z > CROTCH))] = Part.BOTTOM


def _mark_top(parts: Parts, at: Places, trunk: Bools, top: Top) -> None:
    """Mark the top with its sleeves, and the shirt that an open front shows."""
    edge = np.full(len(at), top.neckline)
    if top.v_neck > 0:
        fall = top.v_neck * np.clip(1.0 - np.abs(at.x) / 0.085, 0.0, 1.0)
        edge = top.neckline - fall * (at.y < -0.02)
    body = trunk & (at.z > top.hem) & (at.z < edge)
    if top.cut is TopCut.TANK:
        body &= (np.abs(at.x) < 0.13) | (at.z < 0.33)
    parts[body | (at.arm & (at.along_arm < top.sleeve) & (at.hand < 0.8))] = Part.TOP
    if top.opening > 0:
        width = top.opening * (1.15 - 0.9 * (at.z - 0.2))
        parts[body & (at.y < 0.0) & (np.abs(at.x) < width)] = Part.INNER


def _head_parts(parts: Parts, x: Float32s, y: Float32s, z: Float32s, person: Person) -> Parts:
    """Mark hair, beard and headwear on the points of the head and the neck."""
    parts = parts.copy()
    if person.hair.style is not HairStyle.BALD:
        hairline = np.interp(
            y,
            [-0.115, -0.085, -0.05, -0.025, 0.01, 0.05],
            [0.715, 0.70, 0.655, 0.63, 0.575, 0.55],
        )
        parts[(z > hairline) & (z > 0.53)] = Part.HAIR
    if person.hair.beard:
        parts[(parts == Part.SKIN) & (z > 0.53) & (z < 0.58) & (y < -0.05)] = Part.BEARD
    match person.hat.kind:
        case HatKind.CAP | HatKind.BRIMMED:
            parts[z > np.interp(y, [-0.12, 0.05], [0.695, 0.655])] = Part.HAT
        case HatKind.BEANIE:
            parts[z > np.interp(y, [-0.12, -0.02, 0.05], [0.692, 0.65, 0.62])] = Part.HAT
        case HatKind.HEADSCARF:
            face = ((x / 0.056) ** 2 + ((z - 0.625) / 0.077) ** 2 < 1.0) & (y < -0.04)
            parts[~face] = Part.HAT
        case HatKind.NONE:
            pass
    return parts


def _mark_straps(parts: Parts, at: Places, trunk: Bools, bag: Bag) -> None:
    """Mark a backpack's two straps or a shoulder bag's diagonal one."""
    match bag.kind:
        case BagKind.BACKPACK:
            strap = (np.abs(np.abs(at.x) - 0.10) < 0.018) & (at.y < 0.05) & (at.z > 0.18)
        case BagKind.SHOULDER:
            strap = np.abs(at.x * (bag.side * 0.8) + (at.z - 0.25) * 0.6) < 0.014
        case _:
            return
    parts[strap & trunk & ((parts == Part.TOP) | (parts == Part.INNER))] = Part.STRAP


def _piece_parts(at: Places, pieces: NDArray[np.int64], person: Person) -> Parts:
    """Tell the parts of points on added pieces."""
    scarf = person.hat.kind is HatKind.HEADSCARF
    table = np.full(max(Piece) + 1, Part.THING, np.int8)
    table[Piece.BAG] = Part.BAG
    table[Piece.HAIR] = Part.HAT if scarf else Part.HAIR
    table[Piece.BRIM] = Part.HAT
    table[Piece.PHONE] = Part.PHONE
    own = person.bottom.cut is BottomCut.SKIRT
    table[Piece.SKIRT] = Part.BOTTOM if own else Part.TOP
    kinds = np.rint(at.piece[pieces]).astype(np.int64)
    parts = table[kinds]
    trousers = person.bottom.cut is BottomCut.TROUSERS
    if person.top.opening > 0 and trousers:
        gap = person.top.opening * (1.33 - 0.4 * at.z[pieces])
        front = (kinds == Piece.SKIRT) & (at.y[pieces] < 0) & (np.abs(at.x[pieces]) < gap)
        parts[front] = np.where(at.z[pieces][front] > -0.06, Part.INNER, Part.BOTTOM)
    return parts


__all__ = ["Part", "Parts", "parts_at", "parts_of"]
