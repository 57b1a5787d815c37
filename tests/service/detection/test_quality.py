"""Blurred, cut off and covered people have a lower quality."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from service.detection.quality import covered, cut_off, measure, sharpness
from service.values.boxes import Box

WIDTH, HEIGHT = 640, 480


def boxes_of(frame) -> list[Box]:
    return [Box(*place) for place in frame.places]


def test_a_blurred_person_is_less_sharp(group):
    frame = Image.fromarray(group.pixels)
    blurs = [
        frame if not radius else frame.filter(ImageFilter.GaussianBlur(radius))
        for radius in (0, 2, 4, 8)
    ]
    measured = [measure(one, boxes_of(group), [0.8] * len(group.places)) for one in blurs]
    for person in zip(*measured, strict=True):
        values = [quality.sharpness for quality in person]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[3] + 0.3
    assert {quality.weakness for quality in measured[3]} == {"blurred"}


def test_sharpness_does_not_depend_on_contrast_or_brightness(group):
    luma = np.asarray(Image.fromarray(group.pixels).convert("L"))
    faint = (luma // 2 + 100).astype(np.uint8)
    assert sharpness(faint) == pytest.approx(sharpness(luma), abs=0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 3), (100, 40)])
def test_a_plain_picture_of_any_size_is_not_sharp(size):
    assert sharpness(np.full(size, 128, dtype=np.uint8)) == 0.0


def test_an_edge_is_sharp_and_a_ramp_is_not():
    step = np.repeat([[0] * 50 + [200] * 50], 100, axis=0).astype(np.uint8)
    ramp = np.repeat([np.arange(100) * 2], 100, axis=0).astype(np.uint8)
    both = step // 2 + step.T // 2
    assert sharpness(both) > 0.8
    assert sharpness(ramp // 2 + ramp.T // 2) < 0.2


@pytest.mark.parametrize(
    ("box", "share"),
    [
        (Box(300, 100, 80, 200), 0.0),
        (Box(300, 100, 150, 200), 0.0),  # wide, but not at an edge
        (Box(300, 380, 72, 100), 0.5),  # a person of this width is 200 high
        (Box(300, 0, 72, 50), 0.75),
        (Box(0, 100, 36, 200), 0.5),  # a person of this height is 72 wide
        (Box(604, 100, 36, 200), 0.5),
        (Box(300, 279, 72, 200), 0.0),  # stands at the edge, and is whole
    ],
)
def test_the_share_beyond_the_edge(box, share):
    assert cut_off(box, WIDTH, HEIGHT) == pytest.approx(share)


def test_who_stands_in_front_covers_who_stands_behind():
    behind, front, beside = Box(100, 50, 100, 200), Box(150, 100, 100, 200), Box(400, 0, 50, 400)
    shares = covered([behind, front, beside], [0.5, None, 0.5])
    assert shares == pytest.approx([0.5 * 0.75, 0.0, 0.0], abs=0.04)


def test_people_who_cover_the_same_part_count_once():
    behind, front = Box(0, 0, 100, 200), Box(0, 100, 100, 150)
    assert covered([behind, front, front], [0.5] * 3)[0] == pytest.approx(0.5, abs=0.04)


def test_a_box_with_a_low_score_covers_nobody():
    behind, front = Box(0, 0, 100, 200), Box(0, 100, 100, 150)
    assert covered([behind, front], [0.5, 0.39]) == [0.0, 0.0]


def test_a_crowd_covers_no_more_than_everything():
    rng = np.random.default_rng(1)
    crowd = [
        Box(x, y, 80, 200)
        for x, y in zip(rng.uniform(0, 50, 60), rng.uniform(0, 50, 60), strict=True)
    ]
    shares = covered(crowd, [0.5] * len(crowd))
    assert min(shares) == 0.0
    assert 0.9 < max(shares) <= 1.0


def test_nobody_has_no_quality():
    assert measure(Image.new("RGB", (100, 100)), [], []) == []


def test_a_box_of_no_pixel_is_not_sharp():
    (quality,) = measure(Image.new("RGB", (100, 100)), [Box(-5, -5, 2, 2)], [None])
    assert (quality.sharpness, quality.value) == (0.0, 0.0)
