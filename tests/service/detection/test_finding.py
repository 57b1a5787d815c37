"""The shipped detector finds drawn people, as the plain reference does.

No photograph of a person is in this repository. Drawn figures are not what the network was trained
on, but it sees most of them; how well it sees people is on its card.
"""

from __future__ import annotations

import numpy as np
import pytest

from service.detection.frames import Frame, Person, persons_on, read_frame
from service.detection.letterbox import Region, fit
from service.detection.onnx_detector import LARGEST_RUN
from service.detection.tiles import View, views
from service.embedding.imaging import DEFAULT_LIMITS
from service.errors import InvalidImage
from service.testing import encode
from service.values.tiling import Grid

WHOLE = Grid()


def find(detector, data: bytes, grid: Grid = WHOLE, score: float = 0.4) -> list[Person]:
    frame = read_frame(data, grid, detector.manifest, DEFAULT_LIMITS)
    return persons_on(frame, detector.detect(np.stack(frame.pictures)), score, 0.5)


def overlap(person: Person, place: tuple[float, float, float, float]) -> float:
    """Intersection over union."""
    x, y, width, height = place
    across = min(person.left + person.width, x + width) - max(person.left, x)
    down = min(person.top + person.height, y + height) - max(person.top, y)
    common = max(0.0, across) * max(0.0, down)
    return common / (person.width * person.height + width * height - common)


def seen(persons: list[Person], places, least: float = 0.3) -> int:
    """How many of the places show a person; a crop is wider than its person."""
    return sum(any(overlap(person, place) > least for person in persons) for place in places)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_drawn_people_are_found_where_they_are(detector, group):
    persons = find(detector, group.file)
    assert seen(persons, group.places) >= 7
    assert len(persons) <= 9
    assert [p.score for p in persons] == sorted((p.score for p in persons), reverse=True)


@pytest.mark.parametrize("picture", ["group", "far_group", "noise"])
def test_persons_are_those_of_the_reference(reference, detector, request, picture):
    pixels = noise(300, 500) if picture == "noise" else request.getfixturevalue(picture).pixels
    boxes, scores = reference.persons(reference.session(detector_file(detector)), pixels)
    ours = find(detector, encode(pixels))
    assert len(ours) == len(boxes)
    for person, box, score in zip(ours, boxes, scores, strict=True):
        corners = (
            *(person.left, person.top),
            *(person.left + person.width, person.top + person.height),
        )
        np.testing.assert_allclose(corners, box, atol=0.11)
        assert person.score == pytest.approx(float(score), abs=1e-4)


def detector_file(detector) -> str:
    from .conftest import NANODET

    return str(NANODET / detector.manifest.file)


def test_a_batch_gives_what_each_picture_gives_alone(detector, group, far_group):
    images = [group.pixels, far_group.pixels, noise(416, 416)]
    pictures = [
        read_frame(encode(image), WHOLE, detector.manifest, DEFAULT_LIMITS).pictures[0]
        for image in images
    ]
    many = (pictures * LARGEST_RUN)[: LARGEST_RUN + 1]
    together = detector.detect(np.stack(many))
    for found, picture in zip(together, many, strict=True):
        (alone,) = detector.detect(picture[None])
        np.testing.assert_allclose(found, alone, atol=0.02)


def test_tiles_find_what_the_whole_frame_finds(detector, group):
    places = [(p.left, p.top, p.width, p.height) for p in find(detector, group.file)]
    persons = find(detector, group.file, Grid(2, 2))
    assert seen(persons, places, 0.5) == len(places)


def test_tiles_find_people_who_are_too_small_for_the_whole_frame(detector, far_group):
    whole = seen(find(detector, far_group.file), far_group.places)
    tiled = seen(find(detector, far_group.file, Grid(2, 2)), far_group.places)
    assert whole <= 5
    assert tiled >= 8


def test_a_higher_score_keeps_the_best(detector, group):
    persons = find(detector, group.file)
    least = persons[2].score
    assert find(detector, group.file, score=least + 1e-6) == persons[:2]


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_nobody_is_on_a_plain_frame(detector, colour):
    assert find(detector, encode(np.full((360, 640, 3), colour, dtype=np.uint8))) == []


def test_a_batch_of_another_size_is_a_mistake_of_the_caller(detector):
    with pytest.raises(ValueError, match=r"uint8 \(N, 416, 416, 3\)"):
        detector.detect(np.zeros((1, 400, 416, 3), dtype=np.uint8))


@pytest.mark.parametrize("data", [b"", b"not a picture", encode(noise(1, 1))])
def test_a_file_that_is_no_frame(detector, data):
    with pytest.raises(InvalidImage):
        read_frame(data, WHOLE, detector.manifest, DEFAULT_LIMITS)


def rows(*candidates: tuple[float, ...]) -> np.ndarray:
    return np.array(candidates, dtype=np.float32).reshape(-1, 5)


def frame_of(width: int, height: int, grid: Grid = WHOLE) -> Frame:
    seen = [(view, fit(view.region, 416, 416)) for view in views(width, height, grid)]
    return Frame(width, height, [], seen)


def test_boxes_are_clipped_to_the_frame_and_rounded():
    # 416x208: the border above is 104 rows.
    found = rows((-20, 100, 40.04, 204, 0.91239), (400, 300, 500, 330, 0.8))
    assert persons_on(frame_of(416, 208), [found], 0.4, 0.5) == [
        Person(0.0, 0.0, 40.0, 100.0, 0.9124),
        Person(400.0, 196.0, 16.0, 12.0, 0.8),
    ]


def test_a_box_beside_the_frame_is_none():
    found = rows((10, 10, 40, 90, 0.9))  # on the border above
    assert persons_on(frame_of(416, 208), [found], 0.4, 0.5) == []


def test_a_score_must_be_above_the_threshold():
    found = rows((0, 0, 10, 10, 0.4), (50, 50, 60, 60, 0.41))
    kept = persons_on(frame_of(416, 416), [found], float(np.float32(0.4)), 0.5)
    assert [person.left for person in kept] == [50.0]


def test_a_part_of_a_person_at_the_cut_of_a_tile_is_no_person():
    frame = frame_of(1664, 1664, Grid(2, 1))
    view, place = frame.seen[1]
    assert view == View(Region(0, 0, 979, 1664), (False, False, True, False))
    assert (place.left, place.width) == (85, 245)
    cut = rows((300, 100, 327, 200, 0.9))  # ends 3 pixels before the tile does, at 330
    nothing, complete = rows(), rows((300, 100, 325, 200, 0.9))
    assert persons_on(frame, [nothing, cut, nothing], 0.4, 0.5) == []
    assert len(persons_on(frame, [nothing, complete, nothing], 0.4, 0.5)) == 1


def test_who_is_on_two_tiles_is_one_person():
    frame = frame_of(416, 416, Grid(2, 2))
    (_, first), (_, second) = frame.seen[1], frame.seen[2]
    person = np.array([190, 60, 220, 140], dtype=np.float32)

    def on(place, score: float) -> np.ndarray:
        scale = place.width / (place.region.right - place.region.left)
        box = (person - np.array([place.region.left, place.region.top] * 2)) * scale
        return rows((*(box + [place.left, place.top] * 2), score))

    found = [rows(), on(first, 0.6), on(second, 0.7), rows(), rows()]
    (only,) = persons_on(frame, found, 0.4, 0.5)
    assert only.score == pytest.approx(0.7)
    assert (only.left, only.top) == pytest.approx((190, 60), abs=0.2)
