"""A dressed body in its pose, and a piece that is added to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Piece
from training.synthetic.bodies.solids import Float32s, Mesh

NEUTRAL_HEIGHT = 1.62


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
