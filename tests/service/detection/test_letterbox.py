"""A part of a frame keeps its shape on the network's input, and boxes find their way back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from service.detection.letterbox import Fit, Region, draw, fit


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        # 1920x1080 shrinks by 416 / 1920: 416x234, with 91 rows of border above.
        ((0, 0, 1920, 1080), (416, 234, 0, 91)),
        ((0, 0, 1080, 1920), (234, 416, 91, 0)),
        ((0, 0, 416, 416), (416, 416, 0, 0)),
        ((100, 50, 740, 530), (416, 312, 0, 52)),  # 640x480
        ((0, 0, 8, 8), (416, 416, 0, 0)),
        ((0, 0, 10_000, 1), (416, 1, 0, 207)),  # a line keeps one row
    ],
)
def test_where_a_region_lies(region, expected):
    width, height, left, top = expected
    place = fit(Region(*region), 416, 416)
    assert place == Fit(Region(*region), width=width, height=height, left=left, top=top)


def test_an_input_that_is_not_square():
    place = fit(Region(0, 0, 100, 100), 320, 640)
    assert (place.width, place.height, place.left, place.top) == (320, 320, 160, 0)


def test_a_box_computed_by_hand():
    place = fit(Region(0, 0, 1920, 1080), 416, 416)
    ours = np.array([[0, 91, 416, 325], [208, 91 + 117, 312, 91 + 234]], dtype=np.float32)
    expected = [[0, 0, 1920, 1080], [960, 540, 1440, 1080]]
    np.testing.assert_allclose(place.to_frame(ours), expected, atol=1e-3)


def test_a_box_of_a_tile_moves_with_the_tile():
    place = fit(Region(1000, 500, 1416, 916), 416, 416)
    box = np.array([[10, 20, 30, 40]], dtype=np.float32)
    np.testing.assert_allclose(place.to_frame(box), [[1010, 520, 1030, 540]])


@pytest.mark.parametrize("size", [(640, 480), (331, 997), (1024, 97), (8, 8)])
def test_boxes_return_to_where_they_were(size):
    place = fit(Region(0, 0, *size), 416, 416)
    box = np.array([[0.1, 0.2, 0.7, 0.9]]) * np.array([*size, *size])
    scale = np.array([place.width / size[0], place.height / size[1]] * 2)
    there = box * scale + np.array([place.left, place.top] * 2)
    np.testing.assert_allclose(place.to_frame(there.astype(np.float32)), box, atol=0.01)


def test_the_border_is_black_and_the_region_is_nothing_else():
    pixels = np.full((100, 200, 3), 50, dtype=np.uint8)
    pixels[:, 100:] = 200
    place = fit(Region(100, 0, 200, 50), 64, 64)  # the right half, 100x50
    drawn = draw(Image.fromarray(pixels), place, 64, 64)
    assert (place.width, place.height, place.top) == (64, 32, 16)
    assert drawn.shape == (64, 64, 3)
    assert (drawn[16:48, 1:] == 200).all()  # the first column is smoothed with its neighbour
    assert (drawn[:16] == 0).all()
    assert (drawn[48:] == 0).all()


@pytest.mark.parametrize("size", [(640, 480), (333, 517), (1920, 1080), (40, 90)])
def test_pixels_and_places_are_those_of_the_reference(reference, size):
    width, height = size
    frame = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    place = fit(Region(0, 0, width, height), 416, 416)
    picture, (scale_x, scale_y, left, top) = reference.fit(frame)
    np.testing.assert_array_equal(draw(Image.fromarray(frame), place, 416, 416), picture)
    assert (place.width / width, place.height / height) == (scale_x, scale_y)
    assert (place.left, place.top) == (left, top)
