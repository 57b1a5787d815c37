"""Parts of the outfit: where skin ends and cloth begins."""

from dataclasses import replace

import numpy as np
import pytest

from training.synthetic.bodies.chart import Chart, Column, Piece
from training.synthetic.bodies.knobs import PeopleKnobs
from training.synthetic.bodies.parts import Part, parts_of
from training.synthetic.bodies.person import (
    Bag,
    BagKind,
    BottomCut,
    Hair,
    HairStyle,
    Hat,
    HatKind,
    Person,
    TopCut,
)
from training.synthetic.bodies.wardrobe import draw_stranger

BLACK = (0.02, 0.02, 0.02)


@pytest.fixture
def person() -> Person:
    """Somebody in a tee and long trousers, with short hair and nothing else."""
    drawn = draw_stranger(np.random.default_rng(4), PeopleKnobs(accessories=0.0))
    top = replace(
        drawn.top, cut=TopCut.TEE, sleeve=0.6, hem=-0.05, neckline=0.5, v_neck=0.0, opening=0.0
    )
    bottom = replace(drawn.bottom, cut=BottomCut.TROUSERS, leg=1.95, tights=None)
    shoes = replace(drawn.shoes, boot=-0.79, sock_top=-0.7)
    hair = Hair(HairStyle.SHORT, BLACK, 0.1, 0.01, beard=False)
    return replace(drawn, top=top, bottom=bottom, shoes=shoes, hair=hair)


def part_at(person: Person, x: float = 0.0, y: float = 0.0, z: float = 0.0, **rest: float) -> Part:
    values = np.zeros((1, len(Column)), np.float32)
    values[0, :3] = x, y, z
    for name, value in rest.items():
        values[0, Column[name.upper()]] = value
    return Part(parts_of(Chart(values), person)[0])


CROWN = {"z": 0.75}
FACE = {"y": -0.12, "z": 0.62}
CHEST = {"y": -0.1, "z": 0.3}
THIGH = {"x": 0.1, "y": -0.08, "z": -0.3, "leg": 1.0, "along_leg": 0.7}
CALF = {"x": 0.15, "z": -0.6, "leg": 1.0, "along_leg": 1.5}
ANKLE = {"x": 0.17, "z": -0.785, "leg": 1.0, "along_leg": 1.97}
TOE = {"x": 0.17, "y": -0.17, "z": -0.84, "leg": 1.0, "foot": 1.0, "along_leg": 2.0}
SOLE = {"x": 0.17, "z": -0.865, "leg": 1.0, "foot": 1.0, "along_leg": 2.0}
UPPER_ARM = {"x": 0.25, "z": 0.33, "arm": 1.0, "along_arm": 0.5}
FOREARM = {"x": 0.4, "y": -0.1, "z": 0.18, "arm": 1.0, "along_arm": 1.5}
HAND = {"x": 0.48, "y": -0.25, "z": 0.06, "arm": 1.0, "hand": 1.0, "along_arm": 2.4}


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (CROWN, Part.HAIR),
        (FACE, Part.SKIN),
        (CHEST, Part.TOP),
        (THIGH, Part.BOTTOM),
        (CALF, Part.BOTTOM),
        (TOE, Part.SHOE),
        (SOLE, Part.SOLE),
        (UPPER_ARM, Part.TOP),
        (FOREARM, Part.SKIN),
        (HAND, Part.SKIN),
        ({"y": -0.11, "z": 0.65, "eye": 1.0}, Part.EYE),
    ],
)
def test_tee_and_trousers(person: Person, place: dict[str, float], part: Part) -> None:
    assert part_at(person, **place) is part


def test_sleeves_end_where_the_top_says(person: Person) -> None:
    long = replace(person, top=replace(person.top, sleeve=1.95))
    none = replace(person, top=replace(person.top, sleeve=-0.1))
    assert part_at(long, **FOREARM) is Part.TOP
    assert part_at(long, **HAND) is Part.SKIN
    assert part_at(none, **UPPER_ARM) is Part.SKIN


def test_shorts_show_socks_and_skin(person: Person) -> None:
    shorts = replace(person.bottom, cut=BottomCut.SHORTS, leg=0.8)
    dressed = replace(person, bottom=shorts)
    assert part_at(dressed, **THIGH) is Part.BOTTOM
    assert part_at(dressed, **CALF) is Part.SKIN
    assert part_at(dressed, **ANKLE) is Part.SOCK


def test_high_boots_are_worn_over_trousers_and_low_shoes_under_them(person: Person) -> None:
    booted = replace(person, shoes=replace(person.shoes, boot=-0.55))
    assert part_at(booted, **CALF) is Part.SHOE
    assert part_at(person, **ANKLE | {"along_leg": 1.94}) is Part.BOTTOM


def test_skirt_and_tights(person: Person) -> None:
    bottom = replace(person.bottom, cut=BottomCut.SKIRT, length=0.4, tights=BLACK)
    dressed = replace(person, bottom=bottom)
    assert part_at(dressed, **THIGH) is Part.TIGHTS
    assert part_at(dressed, y=-0.1, z=0.02) is Part.TOP
    assert part_at(dressed, z=-0.3, piece=Piece.SKIRT) is Part.BOTTOM


def test_a_dress_is_one_piece(person: Person) -> None:
    dressed = replace(person, bottom=replace(person.bottom, cut=BottomCut.DRESS))
    assert part_at(dressed, z=-0.06) is Part.TOP
    assert part_at(dressed, z=-0.3, piece=Piece.SKIRT) is Part.TOP


def test_a_coats_tail_is_top_and_its_gap_shows_trousers(person: Person) -> None:
    coat = replace(person, top=replace(person.top, cut=TopCut.COAT))
    tail = {"z": -0.3, "piece": Piece.SKIRT}
    assert part_at(coat, y=-0.15, **tail) is Part.TOP
    opened = replace(coat, top=replace(coat.top, opening=0.06))
    assert part_at(opened, y=-0.15, **tail) is Part.BOTTOM
    assert part_at(opened, y=0.15, **tail) is Part.TOP
    assert part_at(opened, **CHEST) is Part.INNER


def test_a_v_neck_shows_skin_at_the_front_only(person: Person) -> None:
    cut = replace(person, top=replace(person.top, v_neck=0.09))
    assert part_at(cut, y=-0.08, z=0.46) is Part.SKIN
    assert part_at(cut, y=0.05, z=0.46) is Part.TOP


@pytest.mark.parametrize("kind", [HatKind.CAP, HatKind.BEANIE, HatKind.BRIMMED, HatKind.HEADSCARF])
def test_headwear_covers_the_crown_but_not_the_face(person: Person, kind: HatKind) -> None:
    hatted = replace(person, hat=Hat(kind, BLACK))
    assert part_at(hatted, **CROWN) is Part.HAT
    assert part_at(hatted, **FACE) is Part.SKIN
    assert part_at(hatted, y=0.04, z=0.5) is (Part.HAT if kind is HatKind.HEADSCARF else Part.SKIN)


def test_bald_heads_are_skin_and_beards_are_beards(person: Person) -> None:
    bald = replace(person, hair=Hair(HairStyle.BALD, BLACK, 0.1, 0.01, beard=True))
    assert part_at(bald, **CROWN) is Part.SKIN
    assert part_at(bald, y=-0.1, z=0.56) is Part.BEARD


def test_straps_lie_on_cloth_only(person: Person) -> None:
    for kind, x, z in ((BagKind.BACKPACK, 0.1, 0.3), (BagKind.SHOULDER, 0.0, 0.25)):
        carrying = replace(person, bag=Bag(kind, BLACK, 1.0, 1))
        assert part_at(carrying, x=x, y=-0.1, z=z) is Part.STRAP
    bare = replace(person, bag=Bag(BagKind.BACKPACK, BLACK, 1.0, 1))
    assert part_at(bare, x=0.1, y=-0.1, z=0.53) is Part.SKIN


@pytest.mark.parametrize(
    ("piece", "part"),
    [
        (Piece.BAG, Part.BAG),
        (Piece.HAIR, Part.HAIR),
        (Piece.BRIM, Part.HAT),
        (Piece.THING, Part.THING),
        (Piece.PHONE, Part.PHONE),
    ],
)
def test_pieces_are_parts_wherever_they_are(person: Person, piece: Piece, part: Part) -> None:
    for z in (-0.86, 0.0, 0.3, 0.75):
        assert part_at(person, z=z, piece=piece) is part


def test_a_points_part_does_not_depend_on_its_neighbours(person: Person) -> None:
    rng = np.random.default_rng(5)
    values = rng.uniform(-1.0, 1.0, (500, len(Column))).astype(np.float32)
    values[:, Column.PIECE] = rng.integers(0, len(Piece), 500)
    together = parts_of(Chart(values), person)
    assert together.dtype == np.int8
    alone = [parts_of(Chart(values[index : index + 1]), person)[0] for index in range(500)]
    assert together.tolist() == alone


def test_no_points_have_no_parts(person: Person) -> None:
    assert parts_of(Chart(np.zeros((0, len(Column)), np.float32)), person).shape == (0,)
