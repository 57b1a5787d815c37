"""Trees, hedges, bushes, planters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.street.noise import linear, pick
from training.synthetic.bodies.street.scene import Scene
from training.synthetic.bodies.street.solids import Part, Point, blob, box, join, solid, tube
from training.synthetic.bodies.street.surfaces import STONES, Palette

Float32s = NDArray[np.float32]

GREENS: Palette = ((96, 122, 62), (80, 108, 58), (116, 134, 72), (72, 96, 64), (128, 128, 70))
AUTUMN: Palette = ((168, 130, 60), (150, 92, 50), (140, 110, 60))
BARKS: Palette = ((92, 82, 72), (116, 106, 94), (72, 62, 54), (150, 146, 136))
FLOWERS: Palette = ((190, 60, 80), (220, 190, 70), (210, 200, 205), (150, 80, 150))


def tree(scene: Scene) -> Part:
    """A tree: trunk, branches, a crown of clumps with loose leaves around."""
    rng = scene.rng
    palette = AUTUMN if rng.random() < 0.1 else GREENS
    green = pick(rng, palette, 0.12)
    height = rng.uniform(1.9, 3.4)
    spread = rng.uniform(0.9, 1.9)
    bark = scene.plain(pick(rng, BARKS))
    lean = rng.normal(0.0, 0.12, 2)
    top = (float(lean[0]), float(lean[1]), height + 0.4)
    parts = [
        tube([(0, 0, 0), (0.4 * top[0], 0.4 * top[1], height / 2), top], spread * 0.09, bark, 6)
    ]
    for _ in range(int(rng.integers(3, 5))):
        offset = np.array([top[0], top[1], height + 0.6 * spread])
        offset += rng.normal(0.0, 0.4 * spread, 3)
        size = spread * rng.uniform(0.45, 0.8)
        middle = (float(offset[0]), float(offset[1]), float(offset[2]))
        parts.append(blob(rng, (size, size, 0.8 * size), middle, scene.leaves(0.55 * green)))
        parts.append(foliage(scene, middle, (size, size, 0.8 * size), 50, green))
    return join(parts)


def bush(scene: Scene) -> Part:
    """A bush or shrub."""
    rng = scene.rng
    green = pick(rng, GREENS, 0.12)
    size = rng.uniform(0.3, 0.9)
    radii = (size, size, 0.8 * size)
    middle = (0.0, 0.0, 0.6 * size)
    body = blob(rng, radii, middle, scene.leaves(0.6 * green))
    return join([body, foliage(scene, middle, radii, 90, green)])


def hedge(scene: Scene, length: float) -> Part:
    """A hedge along x, behind its front at y = 0."""
    rng = scene.rng
    green = pick(rng, GREENS, 0.12)
    height, depth = rng.uniform(0.7, 2.2), rng.uniform(0.4, 0.9)
    core = box((length, depth, height), (0.0, depth / 2, 0.0), scene.leaves(0.7 * green))
    count = int(min(90, 12 * length))
    fringe = foliage(
        scene, (0, depth / 2, height / 2), (length / 2, depth / 2, height / 2), count, green
    )
    return join([core, fringe])


def planter(scene: Scene) -> Part:
    """A trough of stone, wood or metal with plants."""
    rng = scene.rng
    size = (rng.uniform(0.5, 1.6), rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.8))
    paint = scene.wood() if rng.random() < 0.3 else scene.plain(pick(rng, STONES))
    green = pick(rng, GREENS, 0.12)
    radii = (0.5 * size[0], 0.5 * size[1], 0.35)
    plants = foliage(scene, (0.0, 0.0, size[2] + 0.15), radii, 90, green)
    parts = [box(size, (0.0, 0.0, 0.0), paint, 1.08), plants]
    if rng.random() < 0.4:
        colour = pick(rng, FLOWERS)
        parts.append(foliage(scene, (0.0, 0.0, size[2] + 0.3), radii, 20, colour))
    return join(parts)


def foliage(scene: Scene, middle: Point, radii: Point, count: int, colour: Float32s) -> Part:
    """Loose leafy triangles in the outer half of an ellipsoid."""
    rng = scene.rng
    ways = rng.standard_normal((count, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    centres = ways * rng.uniform(0.75, 1.12, (count, 1)) * radii + middle
    centres[:, 2] = np.maximum(centres[:, 2], 0.1)
    size = 0.16 * math.sqrt(max(radii))
    corners = centres[:, None, :] + rng.normal(0.0, size, (count, 3, 3))
    corners[:, :, 2] = np.maximum(corners[:, :, 2], 0.02)
    faces = np.arange(3 * count).reshape(count, 3)
    part = solid(corners.reshape(-1, 3), faces, scene.leaves(colour))
    # Leaves above catch the sky, those below stand in the shade.
    high = (ways[:, 2:] + 1.0) / 2.0
    shade = (0.6 + 0.7 * high) * np.exp(rng.normal(0.0, 0.25, (count, 1)))
    tint = np.asarray(part.tint * shade, np.float32)
    return Part(part.vertices, part.faces, part.texture, part.frames, tint)


def trunk_green(scene: Scene) -> Part:
    """A potted palm or rubber plant, for halls."""
    pot = box((0.5, 0.5, 0.45), (0.0, 0.0, 0.0), scene.plain(pick(scene.rng, STONES)), 1.2)
    stem = tube([(0.0, 0.0, 0.4), (0.0, 0.0, 1.3)], 0.03, scene.plain(linear((90, 70, 50))))
    green = pick(scene.rng, GREENS, 0.1)
    return join([pot, stem, foliage(scene, (0.0, 0.0, 1.35), (0.5, 0.5, 0.55), 50, green)])
