"""Augmentation of batches against its stated rules."""

from __future__ import annotations

import colorsys
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.core.options import AugmentOptions
from training.core.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    apply_choices,
    augment,
    draw_choices,
    draw_erased_box,
    normalise,
)

PLAIN = {"flip": 0.0, "padding": 0, "erasing": 0.0}


def images(count: int = 8, height: int = 32, width: int = 16):
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def rng():
    return np.random.default_rng(3)


def pixels_of(normalised):
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (normalised.permute(0, 2, 3, 1) * std + mean) * 255


def test_with_everything_off_crops_are_only_normalised():
    torch.testing.assert_close(
        augment(images(), AugmentOptions(**PLAIN), rng()), normalise(images())
    )
    one = normalise(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8))[0, :, 0, 0]
    expected = [(1 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    np.testing.assert_allclose(one, expected, rtol=1e-5)


def test_mirroring():
    out = augment(images(), AugmentOptions(**PLAIN | {"flip": 1.0}), rng())
    torch.testing.assert_close(out, normalise(images()).flip(3))


def test_cropping_moves_within_black_padding():
    options = AugmentOptions(**PLAIN | {"padding": 3})
    moved = pixels_of(augment(images(), options, rng())).round().to(torch.uint8)
    padded = torch.nn.functional.pad(images(), (0, 0, 3, 3, 3, 3))
    places = set()
    for original, found in zip(padded, moved, strict=True):
        matches = [
            (top, left)
            for top in range(7)
            for left in range(7)
            if torch.equal(original[top : top + 32, left : left + 16], found)
        ]
        assert matches
        places.add(matches[0])
    assert len(places) > 1


def test_erasing_fills_with_the_mean_after_normalisation():
    options = AugmentOptions(**PLAIN | {"erasing": 1.0})
    out = augment(images(64), options, rng())
    changed = (out != normalise(images(64))).any(dim=1)
    share = changed.float().mean(dim=(1, 2))
    assert share.min() > 0.005
    assert share.max() <= 0.45
    filled = out.permute(0, 2, 3, 1)[changed]
    torch.testing.assert_close(filled, torch.tensor(IMAGENET_MEAN).expand_as(filled))


def test_erased_boxes_keep_area_and_aspect():
    source = rng()
    for _ in range(300):
        top, left, height, width = draw_erased_box(256, 128, source)
        assert 0 <= top <= 256 - height
        assert 0 <= left <= 128 - width
        assert 0.018 <= height * width / (256 * 128) <= 0.41
        assert 0.28 <= height / width <= 3.5


def test_half_of_the_images_are_erased_and_mirrored():
    options = AugmentOptions(**PLAIN | {"erasing": 0.5})
    out = augment(images(400), options, rng())
    share = (out != normalise(images(400))).any(dim=(1, 2, 3)).float().mean()
    assert 0.4 < share < 0.6


def test_greyscale_leaves_no_colour():
    options = AugmentOptions(**PLAIN | {"greyscale": 1.0})
    out = pixels_of(augment(images(), options, rng()))
    torch.testing.assert_close(out[..., 0], out[..., 2], atol=0.6, rtol=0)
    luma = images().float() @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(out[..., 1], luma, atol=0.6, rtol=0)


def test_brightness_scales_within_its_range():
    flat = torch.full((50, 4, 4, 3), 100, dtype=torch.uint8)
    options = AugmentOptions(**PLAIN | {"brightness": 0.3})
    values = pixels_of(augment(flat, options, rng()))[:, 0, 0, 0]
    assert 69.5 < values.min() < 85
    assert 115 < values.max() < 130.5


def test_contrast_keeps_the_mean_grey():
    options = AugmentOptions(**PLAIN | {"contrast": 0.2})
    source = images().clamp(60, 200)
    out = pixels_of(augment(source, options, rng()))
    torch.testing.assert_close(
        out.mean(dim=(1, 2, 3)), source.float().mean(dim=(1, 2, 3)), atol=4, rtol=0
    )
    assert (out.std(dim=(1, 2, 3)) != source.float().std(dim=(1, 2, 3))).all()


def test_a_hue_change_rotates_colours_and_keeps_luma():
    red = torch.tensor([180, 60, 60], dtype=torch.uint8).expand(40, 4, 4, 3)
    options = AugmentOptions(**PLAIN | {"hue": 0.1})
    out = pixels_of(augment(red, options, rng()))[:, 0, 0]
    # Colours rotated out of the RGB cube are clipped, hence the tolerance on luma.
    turned = [abs((colorsys.rgb_to_hsv(*(p / 255).tolist())[0] + 0.5) % 1 - 0.5) for p in out]
    assert max(turned) > 0.04
    assert max(turned) < 0.2
    luma = out @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma, torch.full((40,), 95.88), atol=3.0, rtol=0)


def test_the_same_seed_gives_the_same_augmentation():
    options = AugmentOptions(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, greyscale=0.1)
    torch.testing.assert_close(
        augment(images(), options, rng()), augment(images(), options, rng()), rtol=0, atol=0
    )


def one_by_one(image, row, choices):
    """The paper's transform of one image, step by step; channels first."""
    height, width, _ = image.shape
    padded = np.zeros((height + 20, width + 20, 3), np.uint8)
    padded[10:-10, 10:-10] = image
    top, left = choices.corners[row]
    cropped = padded[top : top + height, left : left + width]
    if choices.mirrored[row]:
        cropped = cropped[:, ::-1]
    out = ((cropped / 255.0 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    top, left, tall, wide = choices.erased[row]
    for channel in range(3):
        out[channel, top : top + tall, left : left + wide] = IMAGENET_MEAN[channel]
    return out


def test_a_batch_equals_its_images_one_by_one():
    source = images(32, 48, 24)
    choices = draw_choices(32, (48, 24), AugmentOptions(), rng())
    assert choices.mirrored.any()
    assert (choices.erased[:, 2] > 0).any()
    assert (choices.erased[:, 2] == 0).any()
    expected = [one_by_one(image.numpy(), row, choices) for row, image in enumerate(source)]
    found = augment(source, AugmentOptions(), rng())
    np.testing.assert_allclose(found, np.stack(expected), atol=2e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


def draw_reference_box(height, width, source):
    """Random erasing as in Zhong et al.: up to 100 tries of an area and an aspect."""
    for _ in range(100):
        area, aspect = source.uniform(0.02, 0.4) * height * width, source.uniform(0.3, 3.33)
        tall, wide = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if tall < height and wide < width:
            return source.randint(0, height - tall), source.randint(0, width - wide), tall, wide
    return None


def test_choices_for_a_batch_are_distributed_as_one_by_one():
    """Means of 4,000 draws; six standard errors of each are below the tolerance."""
    count, height, width = 4000, 256, 128
    choices = draw_choices(count, (height, width), AugmentOptions(), rng())
    source = random.Random(7)
    boxes = [draw_reference_box(height, width, source) for _ in range(count // 2)]
    expected = np.array([box for box in boxes if box is not None])
    found = choices.erased[choices.erased[:, 2] > 0]
    assert abs(len(found) / count - 0.5) < 0.05
    assert abs(choices.mirrored.mean() - 0.5) < 0.05
    assert choices.corners.min() == 0
    assert choices.corners.max() == 20
    assert np.abs(choices.corners.mean(axis=0) - 10).max() < 0.6
    for figure in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 2] / b[:, 3], lambda b: b[:, 0]):
        one, other = figure(expected), figure(found)
        assert abs(one.mean() - other.mean()) < 6 * (one.std() + other.std()) / len(other) ** 0.5


def test_nothing_is_erased_if_no_rectangle_fits():
    choices = draw_choices(20, (1, 40), AugmentOptions(erasing=1.0, padding=0), rng())
    assert not choices.erased.any()


def test_processes_that_share_a_batch_make_the_choices_of_a_single_process():
    options = AugmentOptions(brightness=0.3, contrast=0.3, hue=0.1)
    source = images(8)
    whole = augment(source, options, rng())
    choices = draw_choices(8, (32, 16), options, rng())
    halves = [
        apply_choices(source[part], choices.part(part)) for part in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(torch.cat(halves), whole, rtol=0, atol=0)
