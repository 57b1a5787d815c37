"""What is on a head: long hair, buns and ponytails, and the brims of hats."""

from __future__ import annotations

import numpy as np

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.chart import Piece
from training.synthetic.bodies.person import HairStyle, HatKind, Person
from training.synthetic.bodies.pieces import Added, PosedBody
from training.synthetic.bodies.solids import Float32s, Mesh, superellipsoid


def hair_and_hats(person: Person, body: PosedBody, model: BodyModel) -> list[Added]:
    """Build the hair that is more than skin paint, and the brim of a hat.

    Args:
        person: who.
        body: the posed body.
        model: the body model.

    Returns:
        The pieces.
    """
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
