"""A dressed and posed person: one mesh with a chart, standing on the ground at the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthetic.bodies.body import BodyModel
from training.synthetic.bodies.chart import Chart, Column
from training.synthetic.bodies.dressing import DressedBody
from training.synthetic.bodies.garments import add_pieces
from training.synthetic.bodies.person import Person
from training.synthetic.bodies.pieces import NEUTRAL_HEIGHT, Added, PosedBody
from training.synthetic.bodies.pose import Pose, Stance, rotations_of
from training.synthetic.bodies.solids import Float32s, Int32s, vertex_normals


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A person at one moment.

    Attributes:
        person: who.
        vertices: (V, 3) float32, metres; z is 0 on the ground; faces -y.
        faces: (F, 3) int32.
        normals: (V, 3) float32, unit length.
        chart: where on the body each vertex lies.
        hips: (3,) float32, the middle between the hip joints, metres.
        sits: whether the legs are those of somebody who sits.
    """

    person: Person
    vertices: Float32s
    faces: Int32s
    normals: Float32s
    chart: Chart
    hips: Float32s
    sits: bool


def build_figure(dressed: DressedBody, pose: Pose, model: BodyModel) -> Figure:
    """Pose a dressed body and add what it wears and carries.

    Args:
        dressed: the body with clothes, in the rest pose.
        pose: the moment.
        model: the body model.

    Returns:
        The figure.
    """
    body = _pose(dressed, pose, model)
    added = add_pieces(dressed.person, pose, body, model)
    vertices, faces, chart = _join(body, added, dressed.chart, model)
    below = _below(body)
    standing = vertices - below
    hips = body.joints[[model.bone("upperleg01.L"), model.bone("upperleg01.R")]].mean(0) - below
    return Figure(
        person=dressed.person,
        vertices=standing,
        faces=faces,
        normals=vertex_normals(standing, faces),
        chart=chart,
        hips=hips.astype(np.float32),
        sits=pose.stance is Stance.SIT,
    )


def _pose(dressed: DressedBody, pose: Pose, model: BodyModel) -> PosedBody:
    moves = model.pose(dressed.rest, rotations_of(pose, model))
    joints = np.einsum("jik,jk->ji", moves[:, :, :3], dressed.rest.joints) + moves[:, :, 3]
    height = float(np.ptp(dressed.vertices[:, 2]))
    vertices = model.skin(dressed.vertices, moves)
    return PosedBody(vertices, moves, joints, height / NEUTRAL_HEIGHT)


def _join(
    body: PosedBody, added: list[Added], chart: Chart, model: BodyModel
) -> tuple[Float32s, Int32s, Chart]:
    vertices, faces, charts = [body.vertices], [model.faces], [chart.values]
    count = len(body.vertices)
    for piece in added:
        points, triangles = piece.mesh
        vertices.append(points)
        faces.append(triangles + np.int32(count))
        values = np.zeros((len(points), len(Column)), dtype=np.float32)
        values[:, :3], values[:, Column.PIECE] = piece.chart, piece.piece
        charts.append(values)
        count += len(points)
    return np.concatenate(vertices), np.concatenate(faces), Chart(np.concatenate(charts))


def _below(body: PosedBody) -> Float32s:
    """The point on the ground below the body's middle."""
    low, high = body.vertices.min(0), body.vertices.max(0)
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], dtype=np.float32)
