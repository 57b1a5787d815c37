"""From the persons on each frame to the pictures to keep."""

from __future__ import annotations

from collections import Counter

import pytest

from service.tracking.keeping import Keeper, KeepingOptions, Sight
from service.tracking.thinning import Kept
from service.values.boxes import Box
from service.values.quality import Quality


def sight(item: str, x: float, score: float = 0.7, sharpness: float = 0.6) -> Sight[str]:
    box = Box(x, 50.0, 60.0, 160.0)
    return Sight(item, box, score, Quality(box.height, sharpness, 0.0, 0.0, score))


def walk(keeper: Keeper[str], fps: float, seconds: float, speed: float = 40.0) -> list[Kept[str]]:
    """Two persons who walk through a hall."""
    kept = []
    for number in range(round(fps * seconds)):
        time = number / fps
        persons = [sight(f"a{number}", 20 + speed * time), sight(f"b{number}", 900 - speed * time)]
        kept += keeper.see(time, persons)
    return kept + keeper.finish()


@pytest.mark.parametrize("fps", [1.0, 2.0, 10.0])
def test_the_best_few_pictures_of_each_person_are_kept_at_any_rate(fps):
    keeper: Keeper[str] = Keeper("hall-", KeepingOptions(fps))
    kept = walk(keeper, fps, 8.0)
    assert Counter(one.track for one in kept) == {"hall-1": 4, "hall-2": 4}
    assert {(one.track, one.item[0]) for one in kept} in (
        {("hall-1", "a"), ("hall-2", "b")},
        {("hall-1", "b"), ("hall-2", "a")},
    )
    assert len(kept) + keeper.dropped == 2 * round(8 * fps)
    assert len({one.item for one in kept}) == 8


def test_equal_frames_give_equal_pictures():
    runs = [
        [(one.track, one.item) for one in walk(Keeper("a-", KeepingOptions(2.0)), 2.0, 30.0, 9.0)]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 24  # three windows


def test_bad_pictures_and_false_alarms_are_dropped_and_counted():
    keeper: Keeper[str] = Keeper("a-", KeepingOptions(2.0))
    for number in range(4):
        doubtful = sight("doubtful", 300.0, score=0.35)
        blurred = sight("blurred", 600.0, sharpness=0.1)
        persons = [doubtful, blurred, *([sight("alarm", 900.0)] if number == 1 else [])]
        assert keeper.count(persons) == len(persons) - 1
        assert keeper.see(number / 2, persons) == []
    assert keeper.finish() == []
    assert keeper.dropped == 5


def test_a_score_of_the_caller_decides_who_counts():
    options = KeepingOptions(2.0, 0.8)
    assert (options.lowest, options.least) == (0.3, 0.8)
    assert KeepingOptions(2.0, 0.1).lowest == 0.1
    keeper: Keeper[str] = Keeper("a-", options)
    assert keeper.count([sight("a", 0.0, score=0.79), sight("b", 0.0, score=0.8)]) == 1
    assert KeepingOptions(2.0, 1.0).tracker.start == 1.0


def test_after_a_clock_is_set_back_everybody_is_new():
    keeper: Keeper[str] = Keeper("a-", KeepingOptions(2.0))
    kept = []
    for time in (100.0, 100.5, 101.0, 5.0, 5.5, 6.0):
        kept += keeper.see(time, [sight(str(time), 100.0)])
    kept += keeper.finish()
    assert {one.track for one in kept} == {"a-1", "a-2"}
    assert len(kept) + keeper.dropped == 6
