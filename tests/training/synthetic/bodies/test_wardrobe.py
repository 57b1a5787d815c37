"""Inventing people: groups, chances, colours and combinations of clothes."""

from collections import Counter
from dataclasses import astuple

import numpy as np
import pytest

from training.synthetic.bodies.knobs import PeopleKnobs
from training.synthetic.bodies.palette import contrast, saturation
from training.synthetic.bodies.person import (
    BagKind,
    BottomCut,
    HatKind,
    PatternKind,
    Person,
    ThingKind,
    TopCut,
)
from training.synthetic.bodies.wardrobe import (
    CHILD,
    GROUP_SIZE,
    draw_person,
    draw_stranger,
    shifted,
)

SKIRTS = {BottomCut.SKIRT, BottomCut.DRESS}


def draw_people(count: int, **knobs: float) -> list[Person]:
    return [
        draw_person(
            np.random.default_rng([1, index // GROUP_SIZE]),
            np.random.default_rng([2, index]),
            PeopleKnobs(**knobs),
        )
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return draw_people(1000)


def test_the_same_streams_give_the_same_person() -> None:
    assert draw_people(12) == draw_people(12)


def test_no_two_people_are_equal(people: list[Person]) -> None:
    assert len(set(people)) == len(people)


def test_strangers_are_people_too() -> None:
    rng = np.random.default_rng(3)
    strangers = [draw_stranger(rng, PeopleKnobs()) for _ in range(20)]
    assert len(set(strangers)) == 20


def test_groups_dress_alike_but_are_different_people() -> None:
    people = draw_people(40 * GROUP_SIZE, alike=1.0)
    for first in range(0, len(people), GROUP_SIZE):
        members = people[first : first + GROUP_SIZE]
        assert len({member.top.cut for member in members}) == 1
        assert len({member.top.pattern for member in members}) == 1
        assert len({member.shape for member in members}) == GROUP_SIZE
        assert len({member.skin for member in members}) == GROUP_SIZE
        assert contrast(members[0].top.colour, members[1].top.colour) < 0.25
        cuts = {member.bottom.cut for member in members if member.shape.maleness < 0.5}
        assert len(cuts) <= 1


def test_without_alike_groups_dress_differently() -> None:
    people = draw_people(40 * GROUP_SIZE, alike=0.0)
    same = [
        people[first].top.colour == people[first + 1].top.colour
        for first in range(0, len(people), GROUP_SIZE)
    ]
    assert not any(same)


@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_bodies_do_not_depend_on_how_many_dress_alike(alike: float) -> None:
    shapes = [person.shape for person in draw_people(20, alike=alike)]
    assert shapes == [person.shape for person in draw_people(20)]


def _colours(person: Person) -> list[tuple[float, float, float]]:
    top, bottom, shoes = person.top, person.bottom, person.shoes
    found = [person.skin, person.hair.colour, person.hat.colour, person.bag.colour]
    found += [top.colour, top.accent, top.third, top.inner, bottom.colour, person.thing.colour]
    found += [shoes.colour, shoes.sole, shoes.sock]
    return found + [each for each in (bottom.side, bottom.tights) if each is not None]


def test_all_colours_are_plain_floats_that_cloth_can_have(people: list[Person]) -> None:
    for person in people:
        for colour in _colours(person):
            assert len(colour) == 3
            assert all(type(channel) is float and 0.0 < channel < 0.85 for channel in colour)


def test_all_numbers_are_plain_and_shapes_lie_in_the_body_models_range(
    people: list[Person],
) -> None:
    for person in people:
        assert all(type(value) is float and 0.0 <= value <= 1.0 for value in astuple(person.shape))
        assert type(person.top.sleeve) is type(person.top.hem) is float
        assert 0.0 <= person.creases <= 1.0
        assert person.bag.side in {-1, 1}


def test_most_clothes_are_muted(people: list[Person]) -> None:
    def vivid(colours: list[tuple[float, float, float]]) -> float:
        return float(np.mean([saturation(colour) > 0.35 for colour in colours]))

    assert vivid([person.top.colour for person in people]) < 0.2
    assert vivid([person.bottom.colour for person in people]) < 0.08
    assert vivid([person.shoes.colour for person in people]) < 0.08
    assert vivid([person.shoes.sock for person in people]) < 0.05


def test_about_half_of_the_bottoms_and_a_third_of_the_tops_are_dark(people: list[Person]) -> None:
    bottoms = np.mean([max(person.bottom.colour) < 0.12 for person in people])
    tops = np.mean([max(person.top.colour) < 0.12 for person in people])
    assert 0.4 < bottoms < 0.75
    assert 0.25 < tops < 0.6


def test_everything_occurs(people: list[Person]) -> None:
    assert {person.top.cut for person in people} == set(TopCut)
    assert {person.bottom.cut for person in people} == set(BottomCut)
    assert {person.top.pattern.kind for person in people} == set(PatternKind)
    assert {person.hat.kind for person in people} == set(HatKind)
    assert {person.bag.kind for person in people} == set(BagKind)
    assert {person.thing.kind for person in people} == set(ThingKind)
    plain = Counter(person.top.pattern.kind for person in people)[PatternKind.PLAIN]
    assert 0.5 < plain / len(people) < 0.8


def test_combinations_are_plausible(people: list[Person]) -> None:
    for person in people:
        top, bottom, shoes = person.top, person.bottom, person.shoes
        if bottom.cut not in SKIRTS:
            assert bottom.tights is None
        if bottom.cut is BottomCut.SHORTS:
            assert top.cut is not TopCut.COAT
        if bottom.cut is BottomCut.DRESS:
            assert top.cut not in {TopCut.COAT, TopCut.JACKET, TopCut.HOODIE}
            assert bottom.colour == top.colour
        if shoes.boot > -0.7:
            assert bottom.cut in SKIRTS or bottom.thickness < 0.01
        if top.opening > 0:
            assert top.cut in {TopCut.JACKET, TopCut.COAT}
        if person.shape.maleness > 0.5:
            assert bottom.cut not in SKIRTS


def test_children_have_no_beard_and_push_no_pram(people: list[Person]) -> None:
    children = [person for person in people if person.shape.age < CHILD]
    assert 5 < len(children) < 80
    for child in children:
        assert not child.hair.beard
        assert child.thing.kind is ThingKind.NONE


def test_without_accessories_nobody_has_any() -> None:
    for person in draw_people(100, accessories=0.0):
        assert person.hat.kind is HatKind.NONE
        assert person.bag.kind is BagKind.NONE
        assert person.thing.kind is ThingKind.NONE


def test_accessories_scale_the_number_of_hats() -> None:
    def hats(factor: float) -> int:
        people = draw_people(300, accessories=factor)
        return sum(person.hat.kind is not HatKind.NONE for person in people)

    assert hats(0.5) < hats(1.0) < hats(2.5)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_creases_scale(factor: float) -> None:
    for usual, scaled in zip(draw_people(20), draw_people(20, creases=factor), strict=True):
        assert scaled.creases == pytest.approx(factor * usual.creases)


def test_without_shift_a_person_stays_the_same(people: list[Person]) -> None:
    rng = np.random.default_rng(1)
    assert all(shifted(person, rng, 0.0) is person for person in people[:50])


def test_with_shift_jackets_open_or_close_and_bags_change_sides(people: list[Person]) -> None:
    rng = np.random.default_rng(1)
    for person in people[:200]:
        other = shifted(person, rng, 1.0)
        if person.top.cut in {TopCut.JACKET, TopCut.COAT}:
            assert (other.top.opening == 0) != (person.top.opening == 0)
        else:
            assert other.top == person.top
        if person.bag.kind is not BagKind.NONE:
            assert other.bag.side == -person.bag.side
        assert (other.shape, other.skin, other.bottom) == (
            person.shape,
            person.skin,
            person.bottom,
        )
