"""Cameras: ranges, variety, repeatability, the light and film of single pictures."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from training.synthetic.bodies.camera import (
    Camera,
    LightKind,
    draw_camera,
    vary_film,
    vary_light,
)
from training.synthetic.bodies.knobs import Knobs, PictureKnobs, SceneKnobs

COUNT = 120


def draw(index: int, knobs: Knobs | None = None) -> Camera:
    return draw_camera(np.random.default_rng((7, index)), knobs or Knobs(), index)


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    return [draw(index) for index in range(COUNT)]


def test_places_keep_the_knobs_ranges(cameras: list[Camera]) -> None:
    knobs = Knobs().scene
    for camera in cameras:
        place = camera.place
        assert knobs.height_low <= place.height <= knobs.height_high
        assert knobs.near <= place.near < place.far <= knobs.far
        assert abs(place.azimuth) < 0.5
        assert 0.2 < place.field < 2.2


@pytest.mark.parametrize(
    "knobs",
    [
        SceneKnobs(height_low=3.0, height_high=3.0),
        SceneKnobs(height_low=5.0, height_high=5.0),
        SceneKnobs(near=9.0, far=9.0),
        SceneKnobs(near=2.0, far=4.0),
        SceneKnobs(height_low=8.0, height_high=20.0, near=20.0, far=60.0),
    ],
)
def test_narrow_ranges_work(knobs: SceneKnobs) -> None:
    for index in range(10):
        place = draw(index, Knobs(scene=knobs)).place
        assert place.height >= knobs.height_low - 1e-9
        assert 0.0 < place.near <= place.far <= knobs.far + 1e-9


def test_heights_spread_over_few_cameras(cameras: list[Camera]) -> None:
    heights = np.array([camera.place.height for camera in cameras[:8] if not camera.indoors])
    assert np.ptp(heights) > 1.5


def test_far_people_are_seen_through_longer_lenses(cameras: list[Camera]) -> None:
    middle = [math.sqrt(camera.place.near * camera.place.far) for camera in cameras]
    focal = [camera.place.focal for camera in cameras]
    assert np.corrcoef(middle, focal)[0, 1] > 0.3


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_indoors_is_a_chance(share: float) -> None:
    knobs = Knobs(scene=SceneKnobs(indoors=share))
    for index in range(20):
        camera = draw(index, knobs)
        assert camera.indoors is bool(share)
        assert (camera.light.kind == LightKind.INDOOR) is camera.indoors


def test_all_kinds_of_light_occur(cameras: list[Camera]) -> None:
    assert {camera.light.kind for camera in cameras} == set(LightKind)


def test_light_gives_a_level_surface_about_one(cameras: list[Camera]) -> None:
    for camera in cameras:
        light = camera.light
        assert math.isclose(float(np.linalg.norm(light.sun)), 1.0, rel_tol=1e-5)
        assert light.sun[2] > 0.1
        total = float((light.sun_colour * light.sun[2] + light.sky_colour).mean())
        low, high = (0.3, 0.7) if light.kind == LightKind.NIGHT else (0.6, 1.3)
        assert low < total < high
        for colour in (light.sun_colour, light.sky_colour, light.ground_colour):
            assert colour.shape == (3,)
            assert colour.dtype == np.float32
            assert colour.min() > 0.0


def test_cameras_differ_in_colour_and_quality(cameras: list[Camera]) -> None:
    films = [camera.film for camera in cameras]
    ratio = np.array([film.white_balance[0] / film.white_balance[2] for film in films])
    assert 0.1 < np.log(ratio).std() < 0.5
    assert 0.15 < np.log([film.exposure for film in films]).std() < 0.5
    assert len({film.quality for film in films}) > 15
    assert np.percentile([film.resolution for film in films], 90) > 150
    assert np.percentile([film.resolution for film in films], 10) < 110
    for film in films:
        np.testing.assert_allclose(film.mixing.sum(axis=1), 1.0, atol=1e-5)


def test_colour_can_be_switched_off() -> None:
    knobs = Knobs(picture=PictureKnobs(colour=0.0, exposure=0.0))
    film = draw(3, knobs).film
    np.testing.assert_allclose(film.white_balance, 1.0, atol=1e-6)
    np.testing.assert_allclose(film.mixing, np.eye(3), atol=1e-6)
    assert (film.gamma, film.contrast, film.saturation, film.exposure, film.lift) == (
        2.2, 1.0, 1.0, 1.0, 0.0,
    )  # fmt: skip


def test_defects_can_be_switched_off() -> None:
    knobs = Knobs(picture=PictureKnobs(blur=0.0, motion=0.0, noise=0.0, compression=0.0))
    film = draw(3, knobs).film
    assert film.blur == film.motion == film.shot_noise == film.read_noise == 0.0
    assert film.quality >= 95


def test_the_same_seed_draws_the_same_camera() -> None:
    first, second = draw(5), draw(5)
    assert first.place == second.place
    assert first.street == second.street
    np.testing.assert_array_equal(first.light.sun, second.light.sun)
    np.testing.assert_array_equal(first.film.mixing, second.film.mixing)
    assert len({draw(index).street for index in range(20)}) == 20


@pytest.mark.parametrize("index", range(8))
def test_the_days_light_varies_about_the_usual(index: int) -> None:
    camera = draw(index)
    rng = np.random.default_rng(0)
    lights = [vary_light(camera.light, rng, SceneKnobs()) for _ in range(60)]
    totals = [float((one.sun_colour * one.sun[2] + one.sky_colour).mean()) for one in lights]
    assert np.std(totals) > 0.005
    assert min(totals) > 0.1
    for light in lights:
        assert light.kind == camera.light.kind
        assert math.isclose(float(np.linalg.norm(light.sun)), 1.0, rel_tol=1e-5)
        assert light.sun[2] > 0.0
        assert 0.0 < light.softness <= 0.8


def test_no_daylight_returns_the_usual_light() -> None:
    light = draw(1).light
    same = vary_light(light, np.random.default_rng(0), SceneKnobs(daylight=0.0))
    np.testing.assert_allclose(same.sun, light.sun, atol=1e-6)
    np.testing.assert_allclose(same.sun_colour, light.sun_colour, rtol=1e-6)
    np.testing.assert_allclose(same.sky_colour, light.sky_colour, rtol=1e-6)


def test_exposure_scales_how_pictures_differ() -> None:
    film = draw(2).film
    spreads = []
    for strength in (0.0, 1.0, 2.0):
        rng = np.random.default_rng(0)
        knobs = PictureKnobs(exposure=strength)
        exposures = [vary_film(film, rng, knobs).exposure for _ in range(80)]
        spreads.append(float(np.log(exposures).std()))
    assert spreads[0] < 1e-9
    assert 0.1 < spreads[1] < spreads[2]


def test_near_people_are_sharper() -> None:
    film = dataclasses.replace(draw(2).film, resolution=100.0)
    rng = np.random.default_rng(0)
    assert vary_film(film, rng, PictureKnobs(), nearness=2.0).resolution == 200.0
    assert vary_film(film, rng, PictureKnobs(), nearness=0.01).resolution >= 20.0
