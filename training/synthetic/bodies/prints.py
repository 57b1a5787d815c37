"""Prints of tops: stripes, checks, blocks, emblems, all-over prints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.synthetic.bodies.chart import Float32s
from training.synthetic.bodies.fabric import blotches
from training.synthetic.bodies.parts import Part, Parts
from training.synthetic.bodies.person import Pattern, PatternKind, Top
from training.synthetic.bodies.places import Bools, Places, Wrap

SLEEVE_TOP, UPPER_ARM = 0.42, 0.28  # stripes of a sleeve continue those of the trunk
ARM_GIRTH = 0.3
BACK_EMBLEM = (0.0, 0.3, 0.12, 0.1)
GRID = 8

Indices = NDArray[np.int64]


def print_top(albedo: Float32s, at: Places, lie: Wrap, parts: Parts, top: Top) -> None:
    """Print the top's pattern on the points that belong to it.

    Args:
        albedo: (N, 3), changed in place.
        at: N points.
        lie: where they lie around their limb.
        parts: (N,) the part of each.
        top: colours and pattern.
    """
    if top.pattern.kind is PatternKind.PLAIN:
        return
    points = np.flatnonzero(parts == Part.TOP)
    arm = at.arm[points]
    x = np.where(arm, ARM_GIRTH * lie.around[points], at.x[points])
    height = np.where(arm, SLEEVE_TOP - UPPER_ARM * at.along_arm[points], at.z[points])
    colour = albedo[points]
    match top.pattern.kind:
        case PatternKind.STRIPES:
            colour[_striped(height, top.pattern)] = top.accent
        case PatternKind.PINSTRIPES:
            _mix(colour, top.accent, 0.5 * (_wave(x, top.pattern) > 0.55))
        case PatternKind.CHECKS:
            _mix(colour, top.accent, _checked(x, height, top.pattern))
        case PatternKind.BLOCK:
            colour[height < top.pattern.edge] = top.accent
        case PatternKind.RAGLAN:
            colour[arm | (np.abs(at.x[points]) > 0.15)] = top.accent
        case PatternKind.PRINT:
            _print_all_over(colour, at, points, top)
        case _:
            _print_emblem(colour, at, points, top)
    albedo[points] = colour


def _wave(place: Float32s, pattern: Pattern) -> Float32s:
    """Make a sine with the pattern's pitch and phase."""
    wave: Float32s = np.sin(2.0 * np.pi * pattern.pitch * place + pattern.phase)
    return wave


def _striped(height: Float32s, pattern: Pattern) -> Bools:
    """Tell which points lie on a stripe."""
    return _wave(height, pattern) > pattern.duty


def _checked(x: Float32s, height: Float32s, pattern: Pattern) -> Float32s:
    """Weigh the second colour of checks: half on one band, whole where two cross."""
    bands = (_wave(x, pattern) > 0.2).astype(np.float32) + (_wave(height, pattern) > 0.2)
    share: Float32s = 0.5 * bands
    return share


def _mix(colour: Float32s, accent: tuple[float, float, float], share: Float32s) -> None:
    """Mix an accent into a colour in place."""
    colour += share[:, None] * (np.array(accent, np.float32) - colour)


def _print_all_over(colour: Float32s, at: Places, points: Indices, top: Top) -> None:
    """Print flowers or camouflage: blotches in two colours."""
    fine = 2.2 if top.pattern.seed % 3 else 1.0
    noise = blotches(at, top.pattern.seed, fine)[points]
    colour[noise > 0.8] = top.accent
    colour[noise < -1.3] = top.third


def _print_emblem(colour: Float32s, at: Places, points: Indices, top: Top) -> None:
    """Print an emblem on the chest or the back: a disc, lines of text, a picture."""
    back = top.pattern.kind is PatternKind.BACK
    centre, height, half_width, half_height = BACK_EMBLEM if back else top.pattern.emblem
    across = (at.x[points] - centre) / half_width * (-1.0 if back else 1.0)
    up = (at.z[points] - height) / half_height
    side = at.y[points] > -0.02 if back else at.y[points] < -0.02
    inside = np.flatnonzero((np.abs(across) < 1) & (np.abs(up) < 1) & side & ~at.arm[points])
    first, second = _emblem(across[inside], up[inside], top.pattern.seed)
    colour[inside[first]] = top.accent
    colour[inside[second]] = top.third


def _emblem(across: Float32s, up: Float32s, seed: int) -> tuple[Bools, Bools]:
    """Draw an emblem on -1..1 by -1..1: where its first and its second colour are."""
    squares = np.random.default_rng(seed).random((GRID, GRID))
    column = np.clip((across + 1.0) * (GRID / 2), 0, GRID - 1).astype(np.int64)
    row = np.clip((up + 1.0) * (GRID / 2), 0, GRID - 1).astype(np.int64)
    radius = across * across + up * up
    match seed % 4:
        case 0:
            ring = radius < 1.0
            return ring, (radius < 0.45) & (squares[0, 0] > 0.3)
        case 1:
            lines = (row % 3 != 0) & (squares[row // 3, column] > 0.25)
            return lines, np.zeros_like(lines)
        case 2:
            frame = (np.abs(across) > 0.75) | (np.abs(up) > 0.75)
            return frame | (squares[row, column] > 0.6), squares[row, column] < 0.25
        case _:
            return np.ones_like(radius, bool), (squares[row, column] > 0.55) & (radius < 0.7)
