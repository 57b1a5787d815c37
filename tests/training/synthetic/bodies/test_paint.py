"""Paint and folds: ranges, edges that folds must not move, seams that must not show."""

from dataclasses import replace

import numpy as np
import pytest

from training.synthetic.bodies.chart import Chart, Column, Piece
from training.synthetic.bodies.knobs import PeopleKnobs
from training.synthetic.bodies.paint import Surface, paint
from training.synthetic.bodies.parts import Part, parts_of
from training.synthetic.bodies.person import (
    BottomCut,
    PatternKind,
    Person,
    TopCut,
)
from training.synthetic.bodies.wardrobe import draw_stranger

WHITE, BLUE, RED = (0.7, 0.7, 0.7), (0.1, 0.15, 0.4), (0.5, 0.05, 0.05)


def barrel(count: int = 4000, low: float = -0.05, high: float = 0.45) -> Chart:
    """Points on an upright tube as wide as a trunk."""
    rng = np.random.default_rng(6)
    angle = rng.uniform(-np.pi, np.pi, count)
    values = np.zeros((count, len(Column)), np.float32)
    values[:, 0] = 0.165 * np.sin(angle)
    values[:, 1] = -0.02 - 0.1 * np.cos(angle)
    values[:, 2] = rng.uniform(low, high, count)
    return Chart(values)


def anywhere(count: int = 3000) -> Chart:
    """Points all over a body's bounding box, on every kind of piece."""
    rng = np.random.default_rng(7)
    values = rng.uniform(0.0, 1.0, (count, len(Column))).astype(np.float32)
    values[:, 0] -= 0.5
    values[:, 1] = 0.4 * values[:, 1] - 0.3
    values[:, 2] = 1.63 * values[:, 2] - 0.87
    values[:, Column.ALONG_ARM] = 4.0 * values[:, Column.ALONG_ARM] - 1.0
    values[:, Column.ALONG_LEG] = 3.0 * values[:, Column.ALONG_LEG] - 1.0
    values[:, Column.PIECE] = np.where(
        rng.random(count) < 0.7, 0, rng.integers(0, len(Piece), count)
    )
    return Chart(values)


def coloured(person: Person, chart: Chart) -> Surface:
    return paint(person, chart, parts_of(chart, person))


@pytest.fixture
def person() -> Person:
    """Somebody in a plain white tee and blue trousers."""
    drawn = draw_stranger(np.random.default_rng(8), PeopleKnobs(accessories=0.0))
    pattern = replace(drawn.top.pattern, kind=PatternKind.PLAIN, pitch=12.0, phase=0.0, duty=0.0)
    top = replace(
        drawn.top, cut=TopCut.TEE, sleeve=0.6, hem=-0.05, neckline=0.5, v_neck=0.0, opening=0.0,
        quilted=False, zip=False, colour=WHITE, accent=BLUE, third=RED, pattern=pattern,
    )  # fmt: skip
    bottom = replace(drawn.bottom, cut=BottomCut.TROUSERS, leg=1.95, colour=BLUE, denim=False)
    return replace(drawn, top=top, bottom=bottom, creases=0.5)


def with_pattern(person: Person, kind: PatternKind) -> Person:
    pattern = replace(person.top.pattern, kind=kind)
    return replace(person, top=replace(person.top, pattern=pattern))


def test_every_drawn_person_can_be_painted_everywhere() -> None:
    chart, rng = anywhere(), np.random.default_rng(9)
    for _ in range(60):
        surface = coloured(draw_stranger(rng, PeopleKnobs(accessories=2.0)), chart)
        assert surface.albedo.shape == surface.bump.shape == (len(chart), 3)
        assert surface.gloss.shape == (len(chart),)
        for values in (surface.albedo, surface.gloss, surface.bump):
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
        assert 0.0 <= surface.albedo.min() <= surface.albedo.max() <= 1.0
        assert 0.0 <= surface.gloss.min() <= surface.gloss.max() <= 1.0
        assert np.abs(surface.bump).max() < 3.0


def test_a_points_paint_does_not_depend_on_its_neighbours(person: Person) -> None:
    chart = anywhere(400)
    together = coloured(person, chart)
    half = coloured(person, Chart(chart.values[::2]))
    assert np.array_equal(together.albedo[::2], half.albedo)
    assert np.array_equal(together.bump[::2], half.bump)


def test_a_tee_has_its_colour(person: Person) -> None:
    surface = coloured(person, barrel(low=0.1))
    assert surface.albedo.mean(0) == pytest.approx(WHITE, rel=0.1)


@pytest.mark.parametrize("kind", [kind for kind in PatternKind if kind is not PatternKind.PLAIN])
def test_every_pattern_shows(person: Person, kind: PatternKind) -> None:
    flat = replace(person, creases=0.0)
    plain = coloured(flat, barrel(low=0.0)).albedo
    printed = coloured(with_pattern(flat, kind), barrel(low=0.0)).albedo
    changed = np.abs(plain - printed).max(1) > 0.05
    assert 0.01 < changed.mean() < 0.95


def test_emblems_are_on_the_chest_or_on_the_back(person: Person) -> None:
    chart = barrel(low=0.1)
    plain = coloured(person, chart).albedo
    for kind, sign in ((PatternKind.LOGO, -1), (PatternKind.BACK, 1)):
        changed = np.abs(plain - coloured(with_pattern(person, kind), chart).albedo).max(1) > 0.05
        assert (sign * chart.values[changed, 1] > -0.03).all()


def test_folds_move_no_stripe(person: Person) -> None:
    striped = with_pattern(person, PatternKind.STRIPES)
    chart = barrel(low=0.0)
    flat = coloured(replace(striped, creases=0.0), chart).albedo
    deep = coloured(replace(striped, creases=1.0), chart).albedo
    blue = flat[:, 2] > 1.5 * flat[:, 0]
    assert 0.2 < blue.mean() < 0.8
    assert np.array_equal(blue, deep[:, 2] > 1.5 * deep[:, 0])


def test_stripes_are_level(person: Person) -> None:
    chart = barrel(low=0.0)
    albedo = coloured(with_pattern(person, PatternKind.STRIPES), chart).albedo
    blue = albedo[:, 2] > 1.5 * albedo[:, 0]
    assert np.array_equal(blue, np.sin(2 * np.pi * 12.0 * chart.values[:, 2]) > 0.0)


def test_folds_deepen_with_creases_and_vanish_without(person: Person) -> None:
    chart = barrel()
    depths = [
        float(np.abs(coloured(replace(person, creases=creases), chart).bump).mean())
        for creases in (0.0, 0.3, 0.6, 1.0)
    ]
    assert depths[0] == 0.0
    assert depths == sorted(set(depths))


def test_only_cloth_folds(person: Person) -> None:
    chart = anywhere()
    parts = parts_of(chart, person)
    surface = paint(person, chart, parts)
    for part in (Part.SKIN, Part.HAIR, Part.SHOE, Part.SOLE, Part.EYE, Part.PHONE, Part.THING):
        assert not surface.bump[parts == part].any()
    assert surface.bump[parts == Part.TOP].any()
    assert surface.bump[parts == Part.BOTTOM].any()


def test_coats_fold_less_than_tees(person: Person) -> None:
    def depth(cut: TopCut) -> float:
        dressed = replace(person, top=replace(person.top, cut=cut))
        return float(np.abs(coloured(dressed, barrel(low=0.0)).bump).mean())

    assert depth(TopCut.COAT) < depth(TopCut.JACKET) < depth(TopCut.TEE)


def test_folds_have_no_seam_at_the_back(person: Person) -> None:
    heights = np.linspace(0.0, 0.4, 300, dtype=np.float32)
    values = np.zeros((2, len(heights), len(Column)), np.float32)
    values[:, :, 1], values[:, :, 2] = 0.09, heights
    values[0, :, 0], values[1, :, 0] = -0.0005, 0.0005
    left, right = (coloured(person, Chart(side)).bump for side in values)
    usual = coloured(person, Chart(values[0])).bump
    assert np.abs(left - right).mean() < 0.25 * np.abs(usual).mean()


def test_padded_jackets_have_level_rolls(person: Person) -> None:
    jacket = replace(person.top, cut=TopCut.JACKET, quilted=True)
    chart = barrel(low=0.0)
    surface = coloured(replace(person, top=jacket), chart)
    up = surface.bump[:, 2]
    phase = np.pi * (chart.values[:, 2] / 0.075 % 1.0)
    assert np.corrcoef(up, -np.cos(phase))[0, 1] > 0.7


def test_clothes_of_other_people_fold_otherwise(person: Person) -> None:
    one, other = (coloured(replace(person, seed=seed), barrel()).bump for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_faces_have_brows_and_lips() -> None:
    drawn = draw_stranger(np.random.default_rng(8), PeopleKnobs(accessories=0.0))
    hair = replace(drawn.hair, beard=False, colour=(0.02, 0.02, 0.02))
    person = replace(drawn, hair=hair, skin=(0.5, 0.35, 0.28))
    values = np.zeros((3, len(Column)), np.float32)
    values[:, :3] = [(0.0, -0.12, 0.62), (0.034, -0.11, 0.671), (0.0, -0.13, 0.587)]
    cheek, brow, lips = coloured(person, Chart(values)).albedo
    assert brow.sum() < 0.5 * cheek.sum()
    assert lips[1] / lips[0] < cheek[1] / cheek[0]
