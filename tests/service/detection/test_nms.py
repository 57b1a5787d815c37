"""Of boxes that overlap, the best stays."""

from __future__ import annotations

import numpy as np
import pytest

from service.detection.nms import suppress


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def kept(found: np.ndarray, scores: list[float], iou: float = 0.5) -> list[int]:
    return suppress(found, np.array(scores, dtype=np.float32), iou).tolist()


def test_no_box():
    assert kept(boxes(), []) == []


def test_boxes_apart_all_stay_the_best_first():
    assert kept(boxes((0, 0, 2, 2), (5, 5, 7, 7), (2, 0, 4, 2)), [0.5, 0.9, 0.7]) == [1, 2, 0]


@pytest.mark.parametrize(
    ("second", "stays"),
    [
        ((1, 0, 4, 2), True),  # shares 2 of 8: 0.25
        ((0, 0, 2, 4), True),  # shares 4 of 8: exactly 0.5, which is not more than it
        ((0, 0, 2, 3), False),  # shares 4 of 6: 0.67
        ((0, 0, 2, 2), False),
        ((0.5, 0.5, 1.0, 1.0), True),  # inside, and a sixteenth of it
    ],
)
def test_an_overlap_computed_by_hand(second, stays):
    found = boxes((0, 0, 2, 2), second)
    assert kept(found, [0.9, 0.8]) == ([0, 1] if stays else [0])


def test_a_box_that_was_dropped_drops_no_other():
    row = boxes((0, 0, 3, 1), (1, 0, 4, 1), (2, 0, 5, 1))  # neighbours share 2 of 4
    assert kept(row, [0.9, 0.8, 0.7], iou=0.4) == [0, 2]


def test_of_equal_scores_the_first_stays():
    assert kept(boxes((0, 0, 2, 2), (0, 0, 2, 2)), [0.5, 0.5]) == [0]


def test_boxes_without_an_area_harm_no_other():
    assert kept(boxes((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 2, 2)), [0.9, 0.8, 0.7]) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_random_boxes_as_the_definition_says(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 40, (60, 2))
    found = np.hstack([corners, corners + rng.uniform(1, 20, (60, 2))]).astype(np.float32)
    scores = rng.uniform(0, 1, 60).astype(np.float32)
    assert kept(found, scores.tolist()) == by_definition(found.astype(np.float64), scores)


def by_definition(found: np.ndarray, scores: np.ndarray) -> list[int]:
    chosen: list[int] = []
    for number in sorted(range(len(scores)), key=lambda number: -scores[number]):
        if all(overlap(found[number], found[other]) <= 0.5 for other in chosen):
            chosen.append(number)
    return chosen


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return width * height / (sum(areas) - width * height)
