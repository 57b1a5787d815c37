"""The parts of a frame that the network sees: the whole frame, and tiles of it.

On a large frame a person may be too small for the network's input. Tiles show the person larger.
They overlap, so that whoever is too small for the whole frame is complete on one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.detection.letterbox import Region
from service.values.tiling import Grid

OVERLAP = 0.3
"""Share of a tile that its neighbour shows too. In 4x4 tiles of a frame of 16:9 that is 5.4 % of
the frame's width, also from top to bottom; whoever is taller than 4.8 % of it (20 pixels of 416)
is found on the whole frame."""


@dataclass(frozen=True, slots=True)
class View:
    """A part of a frame.

    Attributes:
        region: where it lies.
        cut: which of its sides (left, top, right, bottom) cut through the frame.
    """

    region: Region
    cut: tuple[bool, bool, bool, bool]


def views(width: int, height: int, grid: Grid) -> list[View]:
    """The parts of a frame that the network sees.

    Args:
        width: of the frame, in pixels, >= 1.
        height: of the frame, in pixels, >= 1.
        grid: tiles in a row and in a column.

    Returns:
        The whole frame, then the tiles row by row; a grid of one tile adds none.
    """
    whole = View(Region(0, 0, width, height), (False,) * 4)
    if grid.tiles == 1:
        return [whole]
    across, down = _spans(width, grid.columns), _spans(height, grid.rows)
    tiles = [
        View(
            Region(left, top, right, bottom),
            (left > 0, top > 0, right < width, bottom < height),
        )
        for top, bottom in down
        for left, right in across
    ]
    return [whole, *tiles]


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """Begin and end of each of some overlapping parts of a length."""
    part = length / (count - (count - 1) * OVERLAP)
    starts = [round(number * part * (1.0 - OVERLAP)) for number in range(count)]
    size = max(1, min(length, round(part)))
    return [(min(start, length - size), min(start, length - size) + size) for start in starts]
