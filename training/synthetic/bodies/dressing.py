"""Clothes as volume: the skin under them is smoothed and pushed out along its normals.

Smoothing wipes out anatomy and toes, which cloth hides. All of it happens in the rest pose, once
per person; the dressed body is then posed like a bare one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.body import BodyModel, RestBody, shape_body
from training.synthetic.bodies.chart import Chart, Column
from training.synthetic.bodies.parts import Part, parts_of
from training.synthetic.bodies.person import BottomCut, HatKind, Person, TopCut
from training.synthetic.bodies.solids import vertex_normals

Float32s = NDArray[np.float32]
Parts = NDArray[np.int8]

SMOOTHINGS = 14
HAIR_SMOOTHINGS = 6
CLOTH = (Part.TOP, Part.BOTTOM, Part.INNER, Part.STRAP)
SHOES = (Part.SHOE, Part.SOLE)


@dataclass(frozen=True, slots=True, eq=False)
class DressedBody:
    """A person's body with clothes, in the rest pose.

    Attributes:
        person: who.
        rest: the bare body.
        vertices: (V, 3) float32, metres: the surface of skin and cloth.
        chart: where on the neutral body each vertex lies, smoothed like the vertices: cloth slides
            over the skin when it is smoothed, and stripes would wave if their chart stayed.
    """

    person: Person
    rest: RestBody
    vertices: Float32s
    chart: Chart


def dress(person: Person, model: BodyModel) -> DressedBody:
    """Shape a person's body and dress it.

    Args:
        person: who.
        model: the body model.

    Returns:
        The dressed body, in the rest pose.
    """
    rest = shape_body(person.shape)
    parts = parts_of(model.chart, person)
    smooth = _smooth(rest.vertices, parts, model)
    thickness = _thickness(person, parts, model.chart)
    for _ in range(2):
        around = np.asarray(model.neighbours @ thickness, dtype=np.float32)
        thickness = np.float32(0.5) * (thickness + around)
    pushed = smooth + vertex_normals(smooth, model.faces) * thickness[:, None]
    values = model.chart.values.copy()
    values[:, :3] = _smooth(model.chart.position, parts, model)
    return DressedBody(person, rest, pushed.astype(np.float32), Chart(values))


def _smooth(vertices: Float32s, parts: Parts, model: BodyModel) -> Float32s:
    thick = np.isin(parts, (*CLOTH, *SHOES))[:, None]
    share = (0.7 * thick).astype(np.float32)
    share += np.float32(0.35) * (parts == Part.HAIR)[:, None]
    for step in range(SMOOTHINGS):
        moving = share if step < HAIR_SMOOTHINGS else share * thick
        vertices = np.asarray(
            vertices + moving * (model.neighbours @ vertices - vertices), dtype=np.float32
        )
    return vertices


def _thickness(person: Person, parts: Parts, chart: Chart) -> Float32s:
    """(V,) float32 distance of each vertex's cloth from the skin, metres."""
    depth = np.zeros(len(chart), dtype=np.float32)
    _add_top(depth, person, parts, chart)
    _add_bottom(depth, person, parts, chart)
    depth[parts == Part.SHOE] = 0.012
    depth[parts == Part.SOLE] = 0.010
    depth[parts == Part.HAIR] = person.hair.thickness
    depth[parts == Part.HAT] = 0.012 if person.hat.kind is HatKind.CAP else 0.022
    return depth


def _add_top(depth: Float32s, person: Person, parts: Parts, chart: Chart) -> None:
    top = person.top
    is_top = np.isin(parts, (Part.TOP, Part.STRAP))
    arm = chart.column(Column.ARM) > 0.5
    height, along = chart.position[:, 2], chart.column(Column.ALONG_ARM)
    depth[is_top] = top.thickness
    depth[parts == Part.INNER] = 0.006
    hem = np.exp(-(((height - top.hem) / 0.10) ** 2)) * ~arm
    cuff = 0.016 if top.sleeve < 1.4 else 0.004
    sleeve = ramp(top.sleeve - 0.5, top.sleeve, along) * arm * cuff
    depth += is_top * (0.6 * hem * top.thickness + sleeve).astype(np.float32)
    if top.cut is TopCut.HOODIE:
        back = np.exp(-(((height - 0.47) / 0.06) ** 2)) * (chart.position[:, 1] > 0.0) * ~arm
        depth += is_top * (0.05 * back).astype(np.float32)


def _add_bottom(depth: Float32s, person: Person, parts: Parts, chart: Chart) -> None:
    bottom = person.bottom
    is_bottom = parts == Part.BOTTOM
    along = chart.column(Column.ALONG_LEG)
    loose = 1.0 + 1.6 * max(0.0, bottom.flare) * ramp(0.4, 2.0, along)
    if bottom.cut is BottomCut.SHORTS:
        edge = ramp(max(0.1, bottom.leg - 0.6), bottom.leg + 0.01, along) * 0.018
    else:
        edge = 0.0 * along
    depth += is_bottom * (bottom.thickness * loose + edge).astype(np.float32)


def ramp(low: float, high: float, value: Float32s) -> Float32s:
    """Rise smoothly from 0 at ``low`` to 1 at ``high`` (smoothstep).

    Args:
        low: where the rise begins.
        high: where it ends.
        value: any shape.

    Returns:
        The same shape, 0..1.
    """
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share), dtype=np.float32)
