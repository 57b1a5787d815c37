"""Augmentation in batches against the rules it states."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the train extra is not installed")

from training.options import AugmentOptions
from training.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    augment,
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


def test_everything_off_only_normalises():
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


def test_erasing_fills_after_normalisation_with_the_mean_itself():
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


def test_hue_turns_and_keeps_luma():
    red = torch.tensor([180, 60, 60], dtype=torch.uint8).expand(40, 4, 4, 3)
    options = AugmentOptions(**PLAIN | {"hue": 0.1})
    out = pixels_of(augment(red, options, rng()))[:, 0, 0]
    # A turn that leaves the cube of colours is cut off at its face, hence the tolerance on luma.
    turned = [abs((colorsys.rgb_to_hsv(*(p / 255).tolist())[0] + 0.5) % 1 - 0.5) for p in out]
    assert max(turned) > 0.04
    assert max(turned) < 0.2
    luma = out @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luma, torch.full((40,), 95.88), atol=3.0, rtol=0)


def test_the_same_seed_does_the_same():
    options = AugmentOptions(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, greyscale=0.1)
    torch.testing.assert_close(
        augment(images(), options, rng()), augment(images(), options, rng()), rtol=0, atol=0
    )
