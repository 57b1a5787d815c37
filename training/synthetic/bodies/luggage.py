"""What a person carries, holds or pushes: bags, phones, umbrellas, suitcases, prams."""

from __future__ import annotations

import numpy as np

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.chart import Piece
from training.synthetic.bodies.person import BagKind, Person, ThingKind
from training.synthetic.bodies.pieces import Added, PosedBody
from training.synthetic.bodies.pose import Gesture, Pose
from training.synthetic.bodies.solids import Float32s, Mesh, superellipsoid, tube, vector


def things_carried(person: Person, pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
    """Build a person's bag, and what the hands hold.

    Args:
        person: who.
        pose: the moment; hands hold things.
        body: the posed body.
        model: the body model.

    Returns:
        The pieces.
    """
    return [
        *_bag(person, body, model),
        *_held(pose, body, model),
        *_thing(person, pose, body, model),
    ]


def _bag(person: Person, body: PosedBody, model: BodyModel) -> list[Added]:
    bag, size = person.bag, person.bag.size
    match bag.kind:
        case BagKind.BACKPACK:
            mesh = superellipsoid(
                (0.0, 0.05 + 0.09 * size + person.top.thickness, 0.27),
                (0.145 * size, 0.095 * size, 0.20 * size),
                4.5,
            )
            return [_hung(mesh, "spine02", body, model)]
        case BagKind.SHOULDER:
            mesh = superellipsoid(
                (bag.side * 0.235, -0.02, -0.08), (0.05, 0.13 * size, 0.10 * size), 5.0
            )
            return [_hung(mesh, "root", body, model)]
        case BagKind.HAND:
            hand = _hand(body, model, "L" if bag.side > 0 else "R")
            points, faces = superellipsoid(
                (0.0, 0.0, -0.17 * size - 0.02), (0.05, 0.15 * size, 0.13 * size), 6.0
            )
            moved = (points + hand).astype(np.float32)
            return [Added((moved, faces), points, Piece.BAG)]
        case BagKind.NONE:
            return []


def _hung(mesh: Mesh, bone: str, body: PosedBody, model: BodyModel) -> Added:
    scaled = (mesh[0] * np.float32(body.scale)).astype(np.float32)
    return Added((body.carried(model.bone(bone), scaled), mesh[1]), mesh[0], Piece.BAG)


def _hand(body: PosedBody, model: BodyModel, side: str) -> Float32s:
    return np.asarray(body.joints[model.bone(f"finger3-1.{side}")], dtype=np.float32)


def _held(pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
    pieces = []
    for side in ("L", "R"):
        if pose.gesture(side) in {Gesture.PHONE_AT_EAR, Gesture.LOOK_AT_PHONE}:
            points, faces = superellipsoid((0.0, 0.0, 0.02), (0.037, 0.008, 0.075), 8.0, 8, 6)
            moved = (points + _hand(body, model, side)).astype(np.float32)
            pieces.append(Added((moved, faces), points, Piece.PHONE))
        elif pose.gesture(side) is Gesture.CARRY:
            points, faces = superellipsoid((0.0, -0.03, 0.03), (0.15, 0.09, 0.11), 7.0, 12, 8)
            moved = (points + _hand(body, model, side)).astype(np.float32)
            pieces.append(Added((moved, faces), points, Piece.THING))
    return pieces


def _thing(person: Person, pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
    floor = float(body.vertices[:, 2].min())
    match person.thing.kind:
        case ThingKind.NONE:
            meshes = []
        case ThingKind.UMBRELLA:
            side = "L" if pose.left is Gesture.HOLD_UP else "R"
            meshes = _umbrella(_hand(body, model, side))
        case ThingKind.SUITCASE:
            side = "R" if person.bag.side > 0 else "L"
            meshes = _suitcase(_hand(body, model, side), floor)
        case ThingKind.PRAM:
            left, right = (_hand(body, model, side) for side in ("L", "R"))
            meshes = _pram(np.asarray((left + right) / 2, dtype=np.float32), floor)
    return [Added(mesh, mesh[0], Piece.THING) for mesh in meshes]


def _umbrella(hand: Float32s) -> list[Mesh]:
    top = hand + vector(0.0, 0.02, 0.75)
    points, faces = superellipsoid((0.0, 0.0, 0.0), (0.52, 0.52, 0.30), 2.0, 24, 14)
    points[:, 2] = np.where(points[:, 2] < 0.0, 0.25 * points[:, 2], points[:, 2])
    centre = top - vector(0.0, 0.0, 0.22)
    return [((points + centre).astype(np.float32), faces), tube(hand, top, 0.008)]


def _suitcase(hand: Float32s, floor: float) -> list[Mesh]:
    base = vector(hand[0], hand[1] + 0.28, floor + 0.36)
    centre = float(base[0]), float(base[1]), float(base[2])
    case = superellipsoid(centre, (0.20, 0.13, 0.33), 7.0)
    return [case, tube(hand, base + vector(0.0, 0.0, 0.3), 0.012)]


def _pram(grips: Float32s, floor: float) -> list[Mesh]:
    x, y = float(grips[0]), float(grips[1])
    tub = superellipsoid((x, y - 0.55, floor + 0.62), (0.22, 0.42, 0.20), 4.0)
    hood = superellipsoid((x, y - 0.38, floor + 0.85), (0.22, 0.24, 0.20), 2.6)
    ends = vector(x, y - 0.2, floor + 0.6)
    wheels = [
        superellipsoid((x + side, y - ahead, floor + 0.13), (0.03, 0.13, 0.13), 2.0, 12, 8)
        for side in (-0.2, 0.2)
        for ahead in (0.25, 0.85)
    ]
    return [tub, hood, tube(grips, ends, 0.014), *wheels]
