"""Skirts and coat tails: tubes that hang around waist and legs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.chart import Column, Piece
from training.synthetic.bodies.person import BottomCut, Person, TopCut
from training.synthetic.bodies.pieces import Added, PosedBody
from training.synthetic.bodies.solids import Float32s, grid_faces

AROUND = 56
RINGS = 14
SLOWEST_GROWTH, FASTEST_GROWTH = 0.985, 0.022


def skirts(person: Person, body: PosedBody, model: BodyModel) -> list[Added]:
    """Build the skirt of a skirt, a dress or a coat.

    It is a tube around waist and legs, ring by ring as wide as the legs need (support function).

    Args:
        person: who.
        body: the posed body.
        model: the body model.

    Returns:
        One piece, or none.
    """
    skirted = person.bottom.cut in {BottomCut.SKIRT, BottomCut.DRESS}
    if not skirted and person.top.cut is not TopCut.COAT:
        return []
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
    return [Added(mesh, flat.reshape(-1, 3).astype(np.float32), Piece.SKIRT)]


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
