"""Casting rays with NVIDIA Warp (Apache-2.0), on the CPU: what each ray hits, and what shades it.

Each solid keeps its own mesh and is placed by turning the ray instead, so that a street or a
passer-by is built once and used in many pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]

NOTHING = -1
SHADOW_REACH = 10.0  # metres; a low sun behind houses would leave whole squares dark


@dataclass(frozen=True, slots=True, eq=False)
class RayMesh:
    """A mesh ready for rays.

    Attributes:
        faces: (F, 3) int32 of the mesh.
        handle: Warp's mesh, with its search tree.
    """

    faces: Int32s
    handle: Any = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A mesh somewhere in the world.

    Attributes:
        mesh: what.
        x: metres.
        y: metres.
        yaw: turn to the left about the vertical axis, radians.
    """

    mesh: RayMesh
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What N rays hit.

    Attributes:
        solid: (N,) int32 index of the placed mesh, or -1.
        face: (N,) int32 face of that mesh.
        corners: (N, 3) float32 weights of the face's corners; they add up to 1.
        distance: (N,) float32, metres.
        lit: (N,) float32, 1 where the sun reaches the point, 0 in a shadow of something within
            :data:`SHADOW_REACH`.
        open: (N,) float32 share of the sky that nothing near covers (ambient occlusion).
    """

    solid: Int32s
    face: Int32s
    corners: Float32s
    distance: Float32s
    lit: Float32s
    open: Float32s


@dataclass(frozen=True, slots=True)
class Shadows:
    """What shades a point.

    Attributes:
        sun: unit direction to the sun.
        softness: angular radius of the sun, radians.
        rays: rays per point that look for things near it; 0 leaves creases unshaded.
    """

    sun: tuple[float, float, float]
    softness: float
    rays: int = 3


def build_mesh(vertices: Float32s, faces: Int32s) -> RayMesh:
    """Build a mesh for rays.

    Args:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32.

    Returns:
        The mesh.

    Raises:
        InvalidInput: Warp is not installed.
    """
    warp, _ = _kernel()
    points = warp.array(np.ascontiguousarray(vertices), dtype=warp.vec3, device="cpu")
    indices = warp.array(np.ascontiguousarray(faces).ravel(), dtype=warp.int32, device="cpu")
    return RayMesh(faces, warp.Mesh(points=points, indices=indices))


def cast(
    solids: list[Placed],
    origin: tuple[float, float, float],
    directions: Float32s,
    shadows: Shadows,
    seed: int,
) -> Hits:
    """Cast rays from one point.

    Args:
        solids: what can be hit; the first one is the street.
        origin: where the rays start, metres.
        directions: (N, 3) float32, unit length.
        shadows: the sun, and how carefully shade is sampled.
        seed: of the sampled directions to sun and sky; equal seeds give equal results.

    Returns:
        What they hit.
    """
    warp, kernel = _kernel()
    count = len(directions)
    handles = warp.array(
        [solid.mesh.handle.id for solid in solids], dtype=warp.uint64, device="cpu"
    )
    places = np.array(
        [(s.x, s.y, math.cos(s.yaw), math.sin(s.yaw)) for s in solids], dtype=np.float32
    )
    outputs = [
        warp.zeros(count, dtype=kind, device="cpu")
        for kind in (warp.int32, warp.int32, warp.vec2, float, float, float)
    ]
    inputs = [
        handles,
        warp.array(places, dtype=warp.vec4, device="cpu"),
        len(solids),
        warp.vec3(*origin),
        warp.array(np.ascontiguousarray(directions), dtype=warp.vec3, device="cpu"),
        warp.vec3(*shadows.sun),
        float(shadows.softness),
        shadows.rays,
        seed,
    ]
    warp.launch(kernel, count, inputs=inputs, outputs=outputs, device="cpu")
    solid, face, uv, distance, lit, sky = (output.numpy() for output in outputs)
    corners = np.stack([uv[:, 0], uv[:, 1], 1.0 - uv[:, 0] - uv[:, 1]], axis=1)
    return Hits(solid, face, corners.astype(np.float32), distance, lit, sky)


@lru_cache(maxsize=1)
def _kernel() -> tuple[Any, Any]:
    """Compile the kernel; the first time on a machine takes seconds."""
    warp = import_warp()
    from training.synthetic.bodies.ray_kernel import trace  # noqa: PLC0415 - needs Warp

    return warp, trace


def import_warp() -> Any:
    """Import Warp without its messages about the machine; anny would import it with them.

    Returns:
        The module.

    Raises:
        InvalidInput: Warp is not installed.
    """
    try:
        import warp  # noqa: PLC0415 - an extra; flat people do not need it
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "three-dimensional people need the extra 'people' (no module warp): "
            'pip install "hhcl-reid[training,people]"'
        ) from error
    warp.config.log_level = warp.LOG_ERROR
    warp.init()  # type: ignore[no-untyped-call]
    return warp
