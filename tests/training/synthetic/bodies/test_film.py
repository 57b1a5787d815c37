"""Film: each step does what it says, on plain pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from service.errors import InvalidInput
from training.synthetic.bodies.camera import Film, draw_camera, vary_film
from training.synthetic.bodies.film import develop
from training.synthetic.bodies.knobs import Knobs, PictureKnobs

PERFECT = Film(
    exposure=1.0,
    white_balance=np.ones(3, np.float32),
    mixing=np.eye(3, dtype=np.float32),
    gamma=2.2,
    contrast=1.0,
    levels=0.0,
    saturation=1.0,
    lift=0.0,
    vignetting=0.0,
    blur=0.0,
    motion=0.0,
    shot_noise=0.0,
    read_noise=0.0,
    chroma_noise=0.0,
    quality=95,
    resolution=147.2,  # as fine as a crop 160 pixels high
    sharpening=0.0,
)


def grey(level: float = 0.2, height: int = 160, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), level, np.float32)


def edges() -> np.ndarray:
    """Stripes 10 pixels wide, across."""
    light = grey(0.05)
    light[:, (np.arange(80) // 10) % 2 == 0] = 0.5
    return light


def shoot(light: np.ndarray, seed: int = 0, **changes: object) -> np.ndarray:
    film = dataclasses.replace(PERFECT, **changes)  # type: ignore[arg-type]
    return develop(light, film, np.random.default_rng(seed), PictureKnobs()).astype(float)


def sharpness(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.mean(axis=2), axis=1)).max())


def test_middle_grey_is_shown_as_middle_grey() -> None:
    picture = shoot(grey())
    assert picture.shape == (160, 80, 3)
    assert 115 < picture.mean() < 145
    assert picture.std() < 1.5


def test_tones_rise_with_light_to_white() -> None:
    levels = [shoot(grey(level)).mean() for level in (0.0, 0.02, 0.1, 0.3, 0.8, 5.0)]
    assert levels == sorted(levels)
    assert levels[0] < 3
    assert levels[-1] > 252


def test_exposure_gamma_and_lift_brighten() -> None:
    usual = shoot(grey()).mean()
    assert shoot(grey(), exposure=1.5).mean() > usual + 10
    assert shoot(grey(), exposure=0.6).mean() < usual - 10
    assert shoot(grey(), gamma=2.8).mean() > usual + 10
    assert shoot(grey(0.0), lift=0.1).mean() == pytest.approx(25.5, abs=2)


def test_levels_stretch_a_dull_picture_from_black_to_white_but_no_plain_wall() -> None:
    dull = grey(0.08)
    dull[:, (np.arange(80) // 10) % 2 == 0] = 0.3
    dull += np.linspace(0.0, 0.05, 160, dtype=np.float32)[:, None, None]
    ranges = [np.ptp(shoot(dull, levels=share)) for share in (0.0, 0.5, 1.0)]
    assert ranges == sorted(ranges)
    stretched = shoot(dull, levels=1.0)
    assert np.quantile(stretched, (0.02, 0.98)) == pytest.approx((0.05 * 255, 0.9 * 255), abs=8)
    assert np.ptp(shoot(grey(), levels=1.0)) < 3


def test_white_balance_and_mixing_colour_grey_and_red() -> None:
    warm = shoot(grey(), white_balance=np.array([1.3, 1.0, 0.7], np.float32)).mean((0, 1))
    assert warm[0] > warm[1] + 8 > warm[2] + 16
    red = grey()
    red[:, :, 1:] = 0.05
    swapped = shoot(red, mixing=np.eye(3, dtype=np.float32)[[1, 0, 2]]).mean((0, 1))
    assert swapped[1] > swapped[0] + 40


def test_saturation_zero_is_grey() -> None:
    red = grey()
    red[:, :, 1:] = 0.05
    assert np.ptp(shoot(red, saturation=0.0).mean((0, 1))) < 2
    assert np.ptp(shoot(red, saturation=1.4).mean((0, 1))) > np.ptp(shoot(red).mean((0, 1)))


def test_contrast_spreads_tones() -> None:
    assert (
        shoot(edges(), contrast=1.3).std()
        > shoot(edges()).std()
        > shoot(edges(), contrast=0.7).std()
    )


@pytest.mark.parametrize("changes", [{"blur": 1.5}, {"motion": 6.0}, {"resolution": 60.0}])
def test_blur_motion_and_low_resolution_soften(changes: dict[str, float]) -> None:
    assert sharpness(shoot(edges(), **changes)) < 0.8 * sharpness(shoot(edges()))


def test_sharpening_leaves_halos() -> None:
    assert shoot(edges(), sharpening=1.0, blur=0.6).max() > shoot(edges(), blur=0.6).max() + 5


@pytest.mark.parametrize("noise", ["shot_noise", "read_noise", "chroma_noise"])
def test_noise_is_random_and_unbiased(noise: str) -> None:
    first, second = (shoot(grey(), seed, **{noise: 0.03}) for seed in (0, 1))
    assert first.std() > 2
    assert abs(first - second).mean() > 1
    assert first.mean() == pytest.approx(shoot(grey()).mean(), abs=3)


def test_compression_loses_detail() -> None:
    light = np.random.default_rng(0).uniform(0.1, 0.4, (160, 80, 3)).astype(np.float32)
    exact = shoot(light)
    assert abs(shoot(light, quality=20) - exact).mean() > 5


def test_low_resolution_can_be_switched_off() -> None:
    film = dataclasses.replace(PERFECT, resolution=40.0)
    rng = np.random.default_rng(0)
    poor = develop(edges(), film, rng, PictureKnobs()).astype(float)
    fine = develop(edges(), film, rng, PictureKnobs(low_resolution=0.0)).astype(float)
    assert sharpness(poor) < 0.6 * sharpness(fine)


def test_a_frame_darkens_to_its_corners() -> None:
    picture = shoot(grey(0.2, 90, 160), vignetting=0.6)
    assert picture[:10, :10].mean() < picture[40:50, 75:85].mean() - 20


def test_a_frame_keeps_its_size_and_its_peoples_resolution() -> None:
    light = np.random.default_rng(0).uniform(0.0, 0.6, (180, 320, 3)).astype(np.float32)
    film = dataclasses.replace(PERFECT, resolution=50.0)
    rng = np.random.default_rng(0)
    same = develop(light, film, rng, PictureKnobs(), person=50.0)
    halved = develop(light, film, rng, PictureKnobs(), person=100.0)
    assert same.shape == halved.shape == (180, 320, 3)
    assert halved.std() < same.std()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (16, 8), (161, 83), (40, 200)])
def test_any_size_is_kept(size: tuple[int, int]) -> None:
    for index in range(4):
        film = draw_camera(np.random.default_rng(index), Knobs(), index).film
        picture = develop(grey(0.3, *size), film, np.random.default_rng(0), PictureKnobs())
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8


@pytest.mark.parametrize("shape", [(160, 80), (160, 80, 4), (0, 80, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="light must be"):
        develop(np.zeros(shape, np.float32), PERFECT, np.random.default_rng(0), PictureKnobs())


def test_the_same_seed_develops_the_same_picture() -> None:
    knobs = Knobs()
    camera = draw_camera(np.random.default_rng(3), knobs, 3)

    def once() -> np.ndarray:
        rng = np.random.default_rng(8)
        return develop(edges(), vary_film(camera.film, rng, knobs.picture), rng, knobs.picture)

    np.testing.assert_array_equal(once(), once())


def test_the_light_stays_as_it_was() -> None:
    light = edges()
    before = light.copy()
    shoot(light, blur=1.0, sharpening=1.0, shot_noise=0.02, read_noise=0.01, chroma_noise=0.01)
    np.testing.assert_array_equal(light, before)
