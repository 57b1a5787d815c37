"""Streets: meshes, colours, what stands in the way, repeatability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.synthetic.bodies.knobs import SceneKnobs
from training.synthetic.bodies.street import Place, Street, build_street
from training.synthetic.bodies.street.atlas import AtlasBuilder
from training.synthetic.bodies.street.greenery import bush, hedge, planter, tree, trunk_green
from training.synthetic.bodies.street.indoors import INSIDE
from training.synthetic.bodies.street.masonry import Laid, lay
from training.synthetic.bodies.street.noise import clouds
from training.synthetic.bodies.street.outdoors import CHARACTERS, SMALL
from training.synthetic.bodies.street.scene import Row, Scene
from training.synthetic.bodies.street.sky import hall, open_sky
from training.synthetic.bodies.street.solids import Paint, box, join, panel, prism, tube

SEEDS = range(6)


@pytest.fixture(scope="module", params=[(seed, seed % 3 == 2) for seed in SEEDS])
def street(request: pytest.FixtureRequest) -> Street:
    seed, indoors = request.param
    return build_street(np.random.default_rng(seed), SceneKnobs(), indoors=indoors)


def points_on(street: Street, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random faces, and a random point on each."""
    rng = np.random.default_rng(seed)
    faces = rng.integers(0, len(street.faces), count)
    weights = rng.dirichlet(np.ones(3), count)
    corners = street.vertices[street.faces[faces]]
    return faces, np.einsum("nk,nkc->nc", weights, corners).astype(np.float32)


def test_a_street_is_a_mesh_of_limited_size(street: Street) -> None:
    assert street.vertices.dtype == np.float32
    assert street.vertices.shape[1:] == (3,)
    assert street.faces.dtype == np.int32
    assert street.faces.min() >= 0
    assert street.faces.max() < len(street.vertices)
    assert np.isfinite(street.vertices).all()
    assert street.vertices[:, 2].min() > -0.5
    assert 100 < len(street.faces) < 8200


def test_places_cover_all_faces_but_the_ground_once(street: Street) -> None:
    first = 2
    for place in street.places:
        assert place.first == first
        assert place.last > first
        first = place.last
    assert first == len(street.faces)


def test_things_lie_within_their_places(street: Street) -> None:
    for place in street.places:
        corners = street.vertices[street.faces[place.first : place.last]].reshape(-1, 3)
        away = np.linalg.norm(corners[:, :2] - place.centre, axis=1)
        assert away.max() <= place.radius + 1e-3
        assert math.isclose(place.radius, math.hypot(*place.half), rel_tol=1e-4)


def test_only_small_things_stand_in_the_open(street: Street) -> None:
    for place in street.places:
        if place.kind in {"house", "shop", "wall", "hall"}:
            assert np.hypot(*place.centre) > street.open_radius * 0.85


def test_nothing_hides_the_middle_from_the_cameras(street: Street) -> None:
    for azimuth in (-0.25, 0.0, 0.25):
        camera = (12.0 * math.cos(azimuth), 12.0 * math.sin(azimuth))

        assert not any(place.blocks((0.0, 0.0), camera, 0.5) for place in street.places)


def test_colours_are_reflectances_and_differ(street: Street) -> None:
    faces, points = points_on(street, 3000)
    colours = street.albedo(faces, points)
    assert colours.dtype == np.float32
    assert colours.shape == (3000, 3)
    assert colours.min() >= 0.0
    assert colours.max() <= 1.0
    assert 0.05 < colours.mean() < 0.6
    assert colours.std(axis=0).min() > 0.03


def test_colours_do_not_depend_on_the_other_points(street: Street) -> None:
    faces, points = points_on(street, 200)
    together = street.albedo(faces, points)
    alone = [street.albedo(faces[k : k + 1], points[k : k + 1]) for k in range(0, 200, 20)]
    np.testing.assert_array_equal(np.concatenate(alone), together[::20])


def test_no_points_have_no_colours(street: Street) -> None:
    none = street.albedo(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
    assert none.shape == (0, 3)


def test_far_ground_is_smoother(street: Street) -> None:
    rng = np.random.default_rng(3)
    points = np.zeros((4000, 3), np.float32)
    points[:, :2] = rng.uniform(-0.5, 0.5, (4000, 2))
    faces = np.zeros(4000, np.int64)
    fine = street.albedo(faces, points)
    coarse = street.albedo(faces, points, np.full(4000, 0.5, np.float32))
    assert coarse.std(axis=0).mean() < fine.std(axis=0).mean()
    np.testing.assert_allclose(coarse.mean(), fine.mean(), rtol=0.35)


def test_the_sky_is_seen_in_every_direction(street: Street) -> None:
    ways = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    light = street.sky(ways)
    assert light.shape == (500, 3)
    assert light.dtype == np.float32
    assert np.isfinite(light).all()
    assert light.min() >= 0.0


@pytest.mark.parametrize("indoors", [False, True])
def test_the_same_seed_builds_the_same_street(indoors: bool) -> None:
    first, second = (
        build_street(np.random.default_rng(9), SceneKnobs(), indoors=indoors) for _ in range(2)
    )
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.atlas.pixels, second.atlas.pixels)
    assert first.places == second.places
    faces, points = points_on(first, 500)
    np.testing.assert_array_equal(first.albedo(faces, points), second.albedo(faces, points))


def test_seeds_build_different_streets() -> None:
    streets = [
        build_street(np.random.default_rng(seed), SceneKnobs(), indoors=False) for seed in (1, 2)
    ]
    assert streets[0].places != streets[1].places


@pytest.mark.parametrize("indoors", [False, True])
def test_without_backdrop_there_is_a_ground_and_a_wall(indoors: bool) -> None:
    street = build_street(np.random.default_rng(4), SceneKnobs(backdrop=0.0), indoors=indoors)
    assert {place.kind for place in street.places} == {"wall"}
    assert street.ground.zones == ()


def test_more_backdrop_means_more_things() -> None:
    counts = [
        np.mean(
            [
                len(
                    build_street(
                        np.random.default_rng(s), SceneKnobs(backdrop=b), indoors=True
                    ).places
                )
                for s in range(4)
            ]
        )
        for b in (0.3, 1.0, 2.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


@pytest.mark.parametrize(
    ("start", "end", "margin", "blocked"),
    [
        ((-5.0, 0.0), (5.0, 0.0), 0.0, True),
        ((-5.0, 0.6), (5.0, 0.6), 0.0, False),
        ((-5.0, 0.6), (5.0, 0.6), 0.2, True),
        ((-5.0, 0.0), (-2.5, 0.0), 0.0, False),
        ((-5.0, 0.0), (-1.5, 0.0), 0.0, True),
        ((0.0, 0.0), (0.0, 0.0), 0.0, True),
        ((0.0, 3.0), (0.0, 1.0), 0.0, False),
        ((3.0, -3.0), (-3.0, 3.0), 0.0, True),
    ],
)
def test_what_stands_in_the_way(
    start: tuple[float, float], end: tuple[float, float], margin: float, blocked: bool
) -> None:
    # A wall 4 metres long and 1 metre thick about the origin; then the same scene turned.
    assert (
        Place("wall", (0.0, 0.0), 2.1, 0.0, (2.0, 0.5), 2, 4).blocks(start, end, margin) is blocked
    )
    turn = 0.7
    cos, sin = math.cos(turn), math.sin(turn)
    turned = [(x * cos - y * sin + 1.0, x * sin + y * cos) for x, y in (start, end)]
    place = Place("wall", (1.0, 0.0), 2.1, turn, (2.0, 0.5), 2, 4)
    assert place.blocks(turned[0], turned[1], margin) is blocked


def make_scene(seed: int = 0) -> Scene:
    return Scene(np.random.default_rng(seed), angle=math.pi, open_radius=8.0, variety=1.0)


@pytest.mark.parametrize("kind", sorted({*SMALL, *INSIDE}))
def test_every_thing_stands_on_the_ground(kind: str) -> None:
    make = SMALL.get(kind) or INSIDE[kind]
    for seed in range(3):
        part = make(make_scene(seed))
        assert len(part.faces) < 1500
        assert -0.4 < part.vertices[:, 2].min() < 0.45
        size = np.ptp(part.vertices, axis=0)
        assert 0.1 < size.max() < 9.0
        assert len(part.faces) == len(part.texture) == len(part.frames) == len(part.tint)


def test_characters_name_things_that_exist() -> None:
    for character in CHARACTERS.values():
        assert set(character.scattered) <= set(SMALL)
        assert set(character.before) <= set(SMALL)


@pytest.mark.parametrize("make", [tree, bush, planter, trunk_green])
def test_plants_are_green_or_brown_not_blue(make: object) -> None:
    assert callable(make)
    scene = make_scene(2)
    part = make(scene)
    leaves = part.texture == scene.leaves(np.ones(3, np.float32)).texture.index
    assert leaves.any()
    tint = part.tint[leaves].mean(axis=0)
    assert tint[2] < tint[:2].max()


def test_a_hedge_is_as_long_as_asked() -> None:
    part = hedge(make_scene(), 4.0)
    assert 3.8 < np.ptp(part.vertices[:, 0]) < 6.0


def test_moving_takes_the_texture_along() -> None:
    scene = make_scene()
    part = box((1.0, 2.0, 0.5), (0.0, 0.0, 0.0), scene.wood())
    moved = part.moved(3.0, -2.0, 0.5, 0.8)
    before = np.einsum("fij,fj->fi", part.frames[:, :, :3], part.vertices[part.faces[:, 0]])
    after = np.einsum("fij,fj->fi", moved.frames[:, :, :3], moved.vertices[moved.faces[:, 0]])
    np.testing.assert_allclose(
        before + part.frames[:, :, 3], after + moved.frames[:, :, 3], atol=1e-4
    )


def test_a_panel_shows_its_picture_once_and_upright() -> None:
    builder = AtlasBuilder()
    image = np.zeros((4, 8, 3), np.float32)
    image[0, 0] = (1.0, 0.0, 0.0)
    image[3, 7] = (0.0, 1.0, 0.0)
    paint = Paint(builder.add(image, 1.0), np.ones(3, np.float32))
    part = panel((1.0, 2.0, 0.0), (0.0, 8.0, 0.0), (0.0, 0.0, 4.0), paint)
    points = np.array([[1.0, 2.3, 3.7], [1.0, 9.7, 0.3], [1.0, 5.0, 2.0]], np.float32)
    place = points @ part.frames[0, :, :3].T + part.frames[0, :, 3]
    colours = builder.build().look_up(np.zeros(3, np.int64), place, None)
    np.testing.assert_allclose(colours, [[1, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_small_copies_keep_the_mean() -> None:
    builder = AtlasBuilder()
    image = np.random.default_rng(0).uniform(0.3, 0.5, (64, 64, 3)).astype(np.float32)
    texture = builder.add(image, 64.0)
    atlas = builder.build()
    places = np.random.default_rng(1).uniform(-3.0, 3.0, (500, 2)).astype(np.float32)
    indices = np.full(500, texture.index)
    coarse = atlas.look_up(indices, places, np.full(500, 1.0, np.float32))
    np.testing.assert_allclose(coarse.mean(axis=0), image.mean((0, 1)), atol=0.02)
    assert coarse.std() < 0.02


def test_bricks_repeat_without_a_seam() -> None:
    grey = np.full(3, 0.4, np.float32)
    laid = Laid((0.25, 0.125), (4, 4), 0.03, 0.5, grey, grey, 0.1 * grey, 0.0, 0.0)
    image = lay(np.random.default_rng(0), laid, 64.0)
    assert image.shape == (32, 64, 3)
    np.testing.assert_allclose(image[:8, :16], image[:8, 16:32], atol=1e-6)
    np.testing.assert_allclose(image[8:16], np.roll(image[:8], 8, axis=1), atol=1e-6)
    assert image.min() < 0.15
    assert image.max() > 0.39


def test_clouds_tile() -> None:
    noise = clouds(np.random.default_rng(0), (64, 48), 1.6)
    assert noise.shape == (64, 48)
    assert abs(float(noise.std()) - 1.0) < 1e-3
    step = np.abs(np.diff(noise, axis=0)).mean()
    assert np.abs(noise[0] - noise[-1]).mean() < 2.0 * step


@pytest.mark.parametrize("draw", [open_sky, hall])
def test_the_sky_is_continuous_all_round(draw: object) -> None:
    assert callable(draw)
    sky = draw(np.random.default_rng(0))
    angles = np.array([math.pi - 1e-4, -math.pi + 1e-4])
    ways = np.stack([np.cos(angles), np.sin(angles), np.full(2, 0.8)], 1) / math.hypot(1.0, 0.8)
    first, second = sky.look(ways.astype(np.float32))
    np.testing.assert_allclose(first, second, atol=0.02)


def test_solids_are_as_large_as_asked() -> None:
    paint = make_scene().plain(np.ones(3, np.float32))
    solids = [
        box((1.0, 1.0, 2.0), (0.0, 0.0, 0.0), paint),
        prism([(-0.5, 0.0), (0.5, 0.0), (0.5, 2.0), (-0.5, 2.0)], 1.0, (0.0, 0.0, 0.0), paint),
    ]
    for part in solids:
        np.testing.assert_allclose(np.ptp(part.vertices, axis=0), [1.0, 1.0, 2.0], atol=1e-6)
    bar = tube([(0.0, 0.0, 0.0), (0.0, 0.0, 3.0)], 0.1, paint, 12)
    assert np.allclose(np.hypot(bar.vertices[:, 0], bar.vertices[:, 1]), 0.1, atol=1e-6)
    assert join([*solids, bar]).faces.max() == 8 + 8 + 24 - 1


def test_a_row_puts_things_before_itself() -> None:
    # The far side: its front looks back to the people.
    ahead, aside, _ = Row(10.0, 0.0, -math.pi / 2, 8.0).at(2.0, 1.0)
    assert (round(ahead, 6), round(aside, 6)) == (9.0, -2.0)
    # The left side.
    ahead, aside, _ = Row(0.0, 6.0, 0.0, 8.0).at(2.0, 1.0)
    assert (round(ahead, 6), round(aside, 6)) == (2.0, 5.0)
