"""Boxes on frames, and the ids of the crops that are cut out of them."""

from __future__ import annotations

import pytest

from service.values.boxes import Box
from service.values.frame_ids import MAX_FRAME_ID, MAX_PERSONS, crop_id_on, frame_id_of
from service.values.names import MAX_NAME, id_of


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        (Box(10, 5, 30, 80), (10, 5, 40, 85)),
        (Box(10.4, 5.6, 30, 80), (10, 5, 41, 86)),
        (Box(0.1, 0.1, 0.2, 0.2), (0, 0, 1, 1)),
        (Box(29.7, 0, 0.3 + 0.1 - 0.1, 1), (29, 0, 30, 1)),
        (Box(-1, -0.5, 200, 300), (0, 0, 160, 90)),
        (Box(159.96, 0, 1, 1), (160, 0, 160, 1)),
    ],
)
def test_the_pixels_that_a_box_touches(box, pixels):
    assert box.pixels(160, 90) == pixels


@pytest.mark.parametrize("frame_id", ["a", "c1/000451.jpg", "a/01", "é", "x" * MAX_FRAME_ID])
@pytest.mark.parametrize("number", [1, 99, 100, MAX_PERSONS])
def test_the_id_of_a_crop_names_its_frame_and_its_person(frame_id, number):
    crop_id = crop_id_on(frame_id_of(frame_id), number)
    assert id_of(crop_id) == crop_id
    assert len(crop_id) <= MAX_NAME
    frame, _, place = crop_id.rpartition("/")
    assert (frame, int(place)) == (frame_id, number)


@pytest.mark.parametrize("text", ["", "/a", "a/", "a//b", "..", "a/./b", "x" * (MAX_FRAME_ID + 1)])
def test_what_is_no_id_of_a_frame(text):
    with pytest.raises(ValueError, match="must"):
        frame_id_of(text)
