"""Crops take on the colours of their site's other cameras, and of no others."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core import transforms
from training.core.camera_colours import Palette, Target, colours_of, mix_palette, put_on
from training.core.config import read_config
from training.core.options import AugmentOptions
from training.core.pixels import Pixels
from training.core.transforms import Donors, apply_choices, augment, draw_choices
from training.hhcl import loop as hhcl
from training.scl import loop as scl

loops = {"hhcl": hhcl, "scl": scl}
CPU = torch.device("cpu")
PLAIN = AugmentOptions(flip=0.0, padding=0, erasing=0.0)
ALWAYS = AugmentOptions(flip=0.0, padding=0, erasing=0.0, camera_colours=1.0)
# Two sites: cameras 0 and 1, then 2, 3 and 4. Camera 4 took one crop.
CAMERAS = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4])
SITES = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])


def crops(count: int = 10) -> np.ndarray:
    """Noise with its own mean and covariance in each crop, far enough from black and white."""
    rng = np.random.default_rng(4)
    mixing = rng.normal(0, 2.5, (count, 3, 3)) + rng.uniform(10, 20, (count, 1, 3)) * np.eye(3)
    noise = rng.uniform(-1.5, 1.5, (count, 24 * 12, 3)) @ mixing
    values = noise + rng.uniform(90, 160, (count, 1, 3))
    return values.round().clip(0, 255).astype(np.uint8).reshape(count, 24, 12, 3)


def reference(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = image.reshape(-1, 3).astype(np.float64)
    return pixels.mean(axis=0), np.cov(pixels.T, bias=True)


@pytest.fixture
def palette() -> Palette:
    mixed = mix_palette(Pixels(crops(), CPU), CAMERAS, SITES, print)
    assert mixed is not None
    return mixed


def test_a_palette_holds_each_crops_mean_and_covariance(palette):
    for row, image in enumerate(crops()):
        mean, covariance = reference(image)
        np.testing.assert_allclose(palette.means[row], mean, rtol=1e-5)
        np.testing.assert_allclose(palette.covariances[row], covariance, rtol=1e-4, atol=1e-2)


def test_the_result_has_the_other_crops_mean_and_covariance(palette):
    order = np.roll(np.arange(10), 3)
    target = Target(np.full(10, True), palette.means[order], palette.covariances[order])
    found = put_on(torch.from_numpy(crops()), target).numpy()
    for image, donor in zip(found, order, strict=True):
        mean, covariance = reference(image)
        np.testing.assert_allclose(mean, palette.means[donor], atol=0.5)
        size = np.abs(palette.covariances[donor]).max()
        np.testing.assert_allclose(covariance, palette.covariances[donor], atol=0.06 * size)


def test_a_crops_own_colours_change_nothing(palette):
    target = Target(np.full(10, True), palette.means, palette.covariances)
    found = put_on(torch.from_numpy(crops()), target)
    np.testing.assert_allclose(found.numpy(), crops(), atol=0.01)


def test_the_map_is_the_least_change_of_colours(palette):
    """Its matrix is symmetric and positive, so no colour turns into its opposite."""
    source = torch.from_numpy(crops()[:1]).float()
    target = Target(np.array([True]), palette.means[7:8], palette.covariances[7:8])
    steps = torch.eye(3).reshape(3, 1, 1, 1, 3) * 4
    means, _ = colours_of(source)
    middle = means.reshape(1, 1, 1, 3)
    inside = put_on(source, target)
    # Put one pixel away from the mean along each axis; the statistics hardly notice.
    columns = []
    for step in steps:
        moved = source.clone()
        moved[0, 0, 0] = middle[0, 0, 0] + step[0, 0, 0]
        still = source.clone()
        still[0, 0, 0] = middle[0, 0, 0]
        columns.append((put_on(moved, target) - put_on(still, target))[0, 0, 0].numpy() / 4)
    matrix = np.array(columns)
    np.testing.assert_allclose(matrix, matrix.T, atol=0.05)
    assert np.linalg.eigvalsh((matrix + matrix.T) / 2).min() > 0
    assert inside.shape == source.shape


@pytest.mark.parametrize("value", [0, 120, 255])
def test_a_crop_of_one_colour_gets_the_others_mean_and_stays_one_colour(palette, value):
    flat = torch.full((1, 24, 12, 3), value, dtype=torch.uint8)
    target = Target(np.array([True]), palette.means[:1], palette.covariances[:1])
    found = put_on(flat, target)
    torch.testing.assert_close(found[0, 0, 0], torch.from_numpy(palette.means[0]))
    assert found.std(dim=(1, 2)).max() < 1e-3


def test_noise_on_one_colour_is_not_stretched_to_full_contrast(palette):
    rng = np.random.default_rng(0)
    noisy = torch.from_numpy(rng.normal(120, 0.5, (1, 24, 12, 3)))
    target = Target(np.array([True]), palette.means[:1], palette.covariances[:1])
    wanted = np.sqrt(np.linalg.eigvalsh(palette.covariances[0]).max())
    assert put_on(noisy, target).std(dim=(1, 2)).max() < wanted / 2


def test_colours_come_from_every_other_camera_of_the_site_and_no_other(palette):
    rng, batch = np.random.default_rng(1), np.repeat(np.arange(5), 200)
    target = palette.draw(batch, 1.0, rng)
    assert target.chosen.all()
    for camera, of_site in enumerate(([1], [0], [3, 4], [2, 4], [2, 3])):
        rows = {tuple(mean) for mean in target.means[batch == camera].tolist()}
        expected = palette.means[np.isin(CAMERAS, of_site)]
        assert rows == {tuple(mean) for mean in expected.tolist()}
    # Cameras are drawn first: the only crop of camera 4 is used as often as camera 2's two.
    single = (target.means[batch == 3] == palette.means[9]).all(axis=1)
    assert 0.4 < single.mean() < 0.6


def test_the_chance_is_kept(palette):
    for chance in (0.0, 0.3, 1.0):
        target = palette.draw(np.zeros(2000, dtype=np.int64), chance, np.random.default_rng(2))
        assert target.chosen.mean() == pytest.approx(chance, abs=0.04)


def test_crops_of_a_lone_camera_keep_their_colours_and_the_run_says_so(capsys):
    sites = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    palette = mix_palette(Pixels(crops(), CPU), CAMERAS, sites, print)
    told = capsys.readouterr().out
    assert "2 of 5 cameras have no other at their site" in told
    target = palette.draw(np.arange(5), 1.0, np.random.default_rng(0))
    assert target.chosen.tolist() == [False, False, True, True, True]
    images = torch.from_numpy(crops()[:5])
    found = put_on(images, target)
    assert torch.equal(found[:2], images[:2].float())
    assert (found[2:] != images[2:]).any()


@pytest.mark.parametrize(("cameras", "count"), [(CAMERAS, 5), (CAMERAS * 0, 1)])
def test_without_a_second_camera_the_option_does_nothing_and_the_run_says_so(
    cameras, count, capsys
):
    assert mix_palette(Pixels(crops(), CPU), cameras, cameras, print) is None
    assert f"{count} of {count} cameras have no other" in capsys.readouterr().out


def test_choices_are_made_for_the_batch_and_are_the_same_in_parts(palette):
    options = AugmentOptions(camera_colours=0.5, brightness=0.2)
    images, donors = torch.from_numpy(crops()), Donors(palette, CAMERAS)
    whole = augment(images, options, np.random.default_rng(3), donors)
    choices = draw_choices(10, (24, 12), options, np.random.default_rng(3), donors)
    parts = [apply_choices(images[r], choices.part(r)) for r in (slice(0, 4), slice(4, 10))]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert 0 < choices.target.chosen.sum() < 10


def test_off_changes_nothing_and_draws_nothing():
    images, first, second = torch.from_numpy(crops()), *map(np.random.default_rng, (6, 6))
    assert draw_choices(10, (24, 12), AugmentOptions(), first).target is None
    augment(images, AugmentOptions(), second)
    assert first.random() == second.random()


def test_the_padding_stays_black(palette):
    options = AugmentOptions(flip=0.0, padding=6, erasing=0.0, camera_colours=1.0)
    donors = Donors(palette, CAMERAS)
    out = augment(torch.from_numpy(crops()), options, np.random.default_rng(3), donors)
    black = augment(torch.zeros(1, 24, 12, 3, dtype=torch.uint8), PLAIN, np.random.default_rng(0))
    edges = (out == black[:, :, :1, :1]).all(dim=1)
    assert edges.any()
    plain = AugmentOptions(flip=0.0, padding=6, erasing=0.0)
    as_before = augment(torch.from_numpy(crops()), plain, np.random.default_rng(3))
    assert torch.equal(edges, (as_before == black[:, :, :1, :1]).all(dim=1))


@pytest.mark.parametrize("method", ["hhcl", "scl"])
def test_a_run_puts_on_the_colours_of_the_sites_other_camera(
    method, drawn, start_weights, monkeypatch, tmp_path
):
    seen = []

    def noting(images, target):
        seen.append(target)
        return put_on(images, target)

    monkeypatch.setattr(transforms, "put_on", noting)
    changes = {
        "method": method,
        "data.path": str(drawn),
        "model.backbone": "mobilenet_v2",
        "model.weights": start_weights,
        "model.height": 64,
        "model.width": 32,
        "augment.camera_colours": 0.5,
        "schedule.epochs": 1,
        "schedule.iterations": 2,
        "evaluation.every": 0,
    }
    of_method = {
        "hhcl": {"clustering.k1": 6, "clustering.min_samples": 2, "batch.clusters": 4},
        "scl": {
            "selective.positives": 2,
            "selective.negatives": 10,
            "selective.stripes": 8,
            "selective.global_size": 64,
            "selective.local_size": 8,
        },
    }
    config = read_config(None, changes | of_method[method])
    loops[method].run(config, tmp_path / "run", CPU)
    chosen = np.concatenate([target.chosen for target in seen])
    assert 0.3 < chosen.mean() < 0.7
