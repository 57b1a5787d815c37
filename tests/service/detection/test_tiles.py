"""The whole frame, and tiles that overlap and cover it."""

from __future__ import annotations

import numpy as np
import pytest

from service.detection.letterbox import Region
from service.detection.tiles import views
from service.errors import InvalidInput
from service.values.tiling import Grid


def test_without_tiles_the_whole_frame_is_one_view():
    (view,) = views(1920, 1080, Grid())
    assert view.region == Region(0, 0, 1920, 1080)
    assert not any(view.cut)


def test_two_by_two_computed_by_hand():
    # Tiles share 0.3 of a tile, so a tile is 1 / 1.7 of the frame: 1000 of 1700, 500 of 850.
    regions = [view.region for view in views(1700, 850, Grid(2, 2))]
    assert regions == [
        (0, 0, 1700, 850),
        (0, 0, 1000, 500),
        (700, 0, 1700, 500),
        (0, 350, 1000, 850),
        (700, 350, 1700, 850),
    ]


def test_the_sides_that_cut_through_the_frame():
    cuts = [view.cut for view in views(1700, 850, Grid(2, 2))]
    left, top, right, bottom = True, True, True, True
    assert cuts[1] == (False, False, right, bottom)
    assert cuts[2] == (left, False, False, bottom)
    assert cuts[3] == (False, top, right, False)
    assert cuts[4] == (left, top, False, False)


@pytest.mark.parametrize("grid", [Grid(2, 1), Grid(1, 3), Grid(3, 2), Grid(4, 4)])
@pytest.mark.parametrize("size", [(1920, 1080), (3, 5), (1, 1), (1001, 997)])
def test_tiles_cover_every_pixel_and_stay_inside(grid, size):
    width, height = size
    whole, *tiles = views(width, height, grid)
    assert len(tiles) == grid.tiles == grid.views - 1
    covered = np.zeros((height, width), dtype=bool)
    for view in tiles:
        left, top, right, bottom = view.region
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert whole.region == (0, 0, width, height)


@pytest.mark.parametrize("grid", [Grid(2, 2), Grid(3, 3), Grid(4, 4)])
def test_who_is_too_small_for_the_whole_frame_is_complete_on_a_tile(grid):
    width, height = 1920, 1080
    person = (30, 20 * 1920 // 416)  # 20 pixels high on the network's input
    tiles = [view.region for view in views(width, height, grid)[1:]]
    for x in range(0, width - person[0], 7):
        for y in range(0, height - person[1], 7):
            assert any(
                left <= x and top <= y and x + person[0] <= right and y + person[1] <= bottom
                for left, top, right, bottom in tiles
            ), (x, y)


@pytest.mark.parametrize(
    ("text", "grid"), [("1x1", Grid()), ("2x2", Grid(2, 2)), ("4x1", Grid(4, 1))]
)
def test_a_grid_is_read_as_columns_by_rows(text, grid):
    assert Grid.read(text) == grid


@pytest.mark.parametrize("text", ["", "2", "2x", "0x2", "5x1", "2X2", "2x2\n", "2 x 2", "²x2"])
def test_another_text_is_no_grid(text):
    with pytest.raises(InvalidInput, match="write COLUMNSxROWS, each 1 to 4, such as 2x2"):
        Grid.read(text)
