"""Pieces that are added to a posed body: skirts, coat tails, hair, hats, bags, and things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.chart import Column, Piece
from training.synthetic.bodies.person import (
    BagKind,
    BottomCut,
    HairStyle,
    HatKind,
    Person,
    ThingKind,
    TopCut,
)
from training.synthetic.bodies.pose import Gesture, Pose
from training.synthetic.bodies.solids import (
    Float32s,
    Mesh,
    grid_faces,
    superellipsoid,
    tube,
    vector,
)

AROUND = 56
RINGS = 14
NEUTRAL_HEIGHT = 1.62
SLOWEST_GROWTH, FASTEST_GROWTH = 0.985, 0.022


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """A dressed body in its pose, before anything is added.

    Attributes:
        vertices: (V, 3) float32, metres, the root joint at 0.
        moves: (J, 3, 4) each bone's movement from the rest pose.
        joints: (J, 3) each bone's beginning in this pose.
        scale: height relative to the neutral body's.
    """

    vertices: Float32s
    moves: NDArray[np.float64]
    joints: NDArray[np.float64]
    scale: float

    def carried(self, bone: int, points: Float32s) -> Float32s:
        """Move points with a bone.

        Args:
            bone: index of the bone.
            points: (N, 3) in the rest pose of this body.

        Returns:
            (N, 3) float32.
        """
        move = self.moves[bone]
        moved = points @ move[:, :3].T + move[:, 3]
        return np.asarray(moved, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """One added piece.

    Attributes:
        mesh: vertices and faces.
        chart: (V, 3) float32 position that the piece is painted by.
        piece: what it is.
    """

    mesh: Mesh
    chart: Float32s
    piece: Piece


def add_pieces(person: Person, pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
    """Build everything that a person wears or has besides cloth on the skin.

    Args:
        person: who.
        pose: the moment; hands hold things.
        body: the posed body.
        model: the body model.

    Returns:
        The pieces.
    """
    pieces: list[Added] = []
    coat = person.top.cut is TopCut.COAT
    if person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS} or coat:
        pieces.append(_skirt(person, body, model))
    pieces += _on_head(person, body, model)
    pieces += _bag(person, body, model)
    pieces += _phones(pose, body, model)
    pieces += _thing(person, pose, body, model)
    return pieces


def _skirt(person: Person, body: PosedBody, model: BodyModel) -> Added:
    """A tube around waist and legs, ring by ring as wide as the legs need (support function)."""
    lowest = _skirt_length(person) * body.scale
    heights = np.linspace(0.08 * body.scale, -lowest, RINGS)
    angle = np.linspace(0.0, 2 * np.pi, AROUND, endpoint=False)
    outward = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    chart = model.chart
    trunk = body.vertices[(chart.column(Column.ARM) < 0.5) & (chart.column(Column.FOOT) < 0.5)]
    centres, radii = _rings(trunk, heights, outward)
    radii = _let_hang(radii, person)
    across = outward * radii[..., None]
    points = np.concatenate(
        [across + centres[:, None], np.broadcast_to(heights[:, None, None], (RINGS, AROUND, 1))], -1
    )
    flat = np.concatenate(
        [across, np.broadcast_to(heights[:, None, None] / body.scale, (RINGS, AROUND, 1))], -1
    )
    faces = grid_faces(RINGS, AROUND)[:, ::-1]  # from top to bottom
    mesh = points.reshape(-1, 3).astype(np.float32), np.ascontiguousarray(faces)
    return Added(mesh, flat.reshape(-1, 3).astype(np.float32), Piece.SKIRT)


def _skirt_length(person: Person) -> float:
    if person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}:
        return person.bottom.length
    return 0.25 + 0.4 * person.bottom.length


def _rings(
    trunk: Float32s, heights: NDArray[np.float64], outward: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(R, 2) centres and (R, A) radii of the smoothed hull of the legs at each height."""
    centres, radii = np.empty((len(heights), 2)), np.empty((len(heights), len(outward)))
    for ring, height in enumerate(heights):
        offset = np.abs(trunk[:, 2] - height)
        slice_ = trunk[offset < 0.035]
        if len(slice_) < 5:
            slice_ = trunk[offset <= np.partition(offset, 200)[200]]
        flat = slice_[:, :2]
        centres[ring] = (flat.max(0) + flat.min(0)) / 2
        radii[ring] = ((flat - centres[ring]) @ outward.T).max(0)
    centres = gaussian_filter1d(centres, 2.0, axis=0)
    radii = gaussian_filter1d(radii, 1.5, axis=1, mode="wrap")
    return centres, gaussian_filter(radii, (1.0, 0.0))


def _let_hang(radii: NDArray[np.float64], person: Person) -> NDArray[np.float64]:
    """Widen downwards, at most by 22 mm a ring: without the bound a stride makes a train."""
    bottom, coat = person.bottom, person.top.cut is TopCut.COAT
    share = np.linspace(0.0, 1.0, RINGS)
    angle = np.linspace(0.0, 2 * np.pi, AROUND, endpoint=False)
    extra = person.top.thickness if coat else 0.0  # grows over three rings, or it makes a shelf
    hung = np.empty_like(radii)
    for ring in range(RINGS):
        radius = radii[ring] + 0.012 + 0.12 * max(0.0, bottom.flare) * share[ring]
        radius = radius + extra * min(1.0, ring / 3.0)
        if ring:
            above = hung[ring - 1]
            radius = np.clip(radius, above * SLOWEST_GROWTH, above + FASTEST_GROWTH)
        hung[ring] = radius
    phase = float(person.seed % 628) / 100.0
    return hung * (1.0 + bottom.pleats * share[:, None] * np.sin(9.0 * angle + phase))


def _on_head(person: Person, body: PosedBody, model: BodyModel) -> list[Added]:
    head = model.bone("head")
    pieces = []
    for mesh, piece in (*_hair_solids(person), *_hat_solids(person)):
        # The solids fit the neutral head; another body's head is elsewhere.
        shift = _head_shift(body, model)
        moved = body.carried(head, mesh[0] + shift)
        pieces.append(Added((moved, mesh[1]), mesh[0], piece))
    return pieces


def _head_shift(body: PosedBody, model: BodyModel) -> Float32s:
    head = model.bone("head")
    turn = body.moves[head][:, :3]
    rest = turn.T @ (body.joints[head] - body.moves[head][:, 3])
    return np.asarray(rest - model.neutral.joints[head], dtype=np.float32)


def _hair_solids(person: Person) -> list[tuple[Mesh, Piece]]:
    length = person.hair.length
    covered = person.hat.kind is HatKind.HEADSCARF
    if covered:
        return []
    match person.hair.style:
        case HairStyle.LONG:
            points, faces = superellipsoid(
                (0.0, 0.015, 0.665 - 0.55 * length), (0.088, 0.062, 0.08 + 0.62 * length), 2.4
            )
            low = np.maximum(0.0, 0.60 - points[:, 2])
            points[:, 1] += 0.22 * low  # over the shoulders
            return [((points, faces), Piece.HAIR)]
        case HairStyle.BUN:
            ball = superellipsoid((0.0, 0.085, 0.71), (0.042, 0.042, 0.04), 2.0, 14, 8)
            return [(ball, Piece.HAIR)]
        case HairStyle.PONYTAIL:
            tail = superellipsoid(
                (0.0, 0.095, 0.64 - 0.3 * length), (0.03, 0.03, 0.05 + 0.5 * length), 2.0, 12, 9
            )
            return [(tail, Piece.HAIR)]
        case HairStyle.BALD | HairStyle.SHORT:
            return []


def _hat_solids(person: Person) -> list[tuple[Mesh, Piece]]:
    match person.hat.kind:
        case HatKind.CAP:
            points, faces = superellipsoid((0.0, -0.125, 0.698), (0.072, 0.085, 0.008), 2.0, 18, 7)
            points[:, 2] -= 0.15 * np.abs(points[:, 0])
            return [((points, faces), Piece.BRIM)]
        case HatKind.BRIMMED:
            brim = superellipsoid((0.0, -0.02, 0.70), (0.155, 0.165, 0.008), 2.0, 22, 7)
            return [(brim, Piece.BRIM)]
        case HatKind.NONE | HatKind.BEANIE | HatKind.HEADSCARF:
            return []


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


def _phones(pose: Pose, body: PosedBody, model: BodyModel) -> list[Added]:
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
