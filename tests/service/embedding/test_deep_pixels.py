"""Images with more than eight bits per channel, for the service and training."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from service.embedding.imaging import decode
from training.data.datasets import DataSource, read_dataset
from training.data.images import load_images

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6


def people(bits: int, channels: int = 1) -> np.ndarray:
    """An image with every brightness of this many bits, black to white; (64, 32, C) uint16."""
    ramp = np.linspace(0, 2**bits - 1, 64 * 32 * channels).astype(np.uint16)
    return ramp.reshape(64, 32, channels)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, colour: int = GREY, stated: bytes = b"") -> bytes:
    """A 16-bit PNG, encoded here because Pillow writes only grey ones."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    significant = chunk(b"sBIT", stated) if stated else b""
    parts = [chunk(b"IHDR", header), significant, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def tiff(samples: np.ndarray, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(samples[..., 0]).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def colour_tiff(samples: np.ndarray, order: str = "<") -> bytes:
    """A 16-bit RGB TIFF, encoded here."""
    height, width, channels = samples.shape
    pixels = samples.astype(f"{order}u2").tobytes()
    start = 8 + len(pixels)
    end = start + 2 + 12 * 10 + 4
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, end), (259, 4, 1, 1)),
        *((262, 4, 1, 2), (273, 4, 1, 8), (277, 4, 1, channels), (278, 4, 1, height)),
        *((279, 4, 1, len(pixels)), (284, 4, 1, 1)),
    ]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    entries = b"".join(struct.pack(f"{order}HHLL", *tag) for tag in tags)
    count, bits = struct.pack(f"{order}H", 10), struct.pack(f"{order}{channels}H", *[16] * channels)
    return head + pixels + count + entries + bytes(4) + bits


def expected(samples: np.ndarray, bits: int) -> np.ndarray:
    return (samples.astype(int) * 256 >> bits).clip(0, 255)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("write", [png, tiff], ids=["PNG", "TIFF"])
def test_grey_samples_are_scaled_by_the_brightest(write, bits):
    samples = people(bits)
    pixels = decode(write(samples), 64, 32)
    assert np.abs(pixels - expected(samples, bits)).max() <= 1
    assert pixels.max() == 255


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_colours_are_scaled_together(bits):
    samples = people(bits, 3)
    samples[..., 2] //= 4
    for data in (png(samples, RGB), colour_tiff(samples), colour_tiff(samples, ">")):
        pixels = decode(data, 64, 32)
        assert np.abs(pixels - expected(samples, bits)).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", [GREY_ALPHA, RGBA])
def test_transparency_keeps_its_own_scale(kind, bits):
    channels = 2 if kind == GREY_ALPHA else 4
    samples = people(bits, channels)
    samples[..., -1] = 0xFFFF
    pixels = decode(png(samples, kind), 64, 32)
    assert np.abs(pixels - expected(samples[..., :-1], bits)).max() <= 1
    samples[..., -1] = 2**bits - 1  # or that of the colours
    assert np.abs(decode(png(samples, kind), 64, 32) - pixels.astype(int)).max() <= 1


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 13, 14, 15])
def test_a_png_is_scaled_by_the_bits_it_states(bits):
    dark = people(bits) // 2  # no sample shows the highest bit
    pixels = decode(png(dark, stated=bytes([bits])), 64, 32)
    assert np.abs(pixels - expected(dark, bits)).max() <= 1
    colours = people(bits, 3) // 2
    pixels = decode(png(colours, RGB, stated=bytes([bits] * 3)), 64, 32)
    assert np.abs(pixels - expected(colours, bits)).max() <= 1


def test_a_png_with_full_range_samples_is_not_scaled():
    scaled = people(12) << 4
    pixels = decode(png(scaled, stated=b"\x0c"), 64, 32)
    assert np.abs(pixels - expected(scaled, 16)).max() <= 1


def test_a_tiff_is_scaled_by_the_brightest_sample_it_states():
    samples = people(14) // 2
    pixels = decode(tiff(samples, tiffinfo={281: 2**14 - 1}), 64, 32)
    assert np.abs(pixels - expected(samples, 14)).max() <= 1


def test_dark_images_stay_usable():
    black = np.zeros((64, 32, 1), np.uint16)
    assert not decode(png(black), 64, 32).any()
    widened = (people(8) // 32 * 257).astype(np.uint16)  # eight bits, dark, widened to sixteen
    assert decode(png(widened), 64, 32).max() == 7
    stated = people(12)
    assert decode(png(stated, stated=b"\x10"), 64, 32).max() == 15  # states sixteen bits
    dim = people(16) // 8  # three stops darker than white, but not read as fewer bits
    assert np.abs(decode(png(dim), 64, 32) - expected(dim, 16)).max() <= 1
    dark = people(16) // 20  # brightened by one factor, without clipping
    pixels = decode(png(dark), 64, 32)[..., 0].astype(int)
    np.testing.assert_allclose(pixels, dark[..., 0] / 16, atol=1)


def test_damaged_bit_counts_are_ignored():
    samples = people(12)
    for stated in (b"\0", b"\xff", b"\x0c" * 40):
        assert decode(png(samples, stated=stated), 64, 32).shape == (64, 32, 3)


def test_16_bit_pngs_written_by_pillow_work():
    buffer, info = BytesIO(), PngImagePlugin.PngInfo()
    Image.fromarray(people(12)[..., 0]).save(buffer, "PNG", pnginfo=info)
    assert decode(buffer.getvalue(), 64, 32).max() == 255


def test_training_sees_the_same_pixels(tmp_path):
    for number, data in enumerate((png(people(12)), tiff(people(10)), png(people(12, 3), RGB))):
        suffix = ".tif" if number == 1 else ".png"
        (tmp_path / f"c1_{number}{suffix}").write_bytes(data)
    dataset = read_dataset(DataSource(tmp_path, pattern="{camera}_{name}"))
    pixels = load_images(dataset.train, 64, 32).pixels
    assert len(pixels) == 3
    assert (pixels.reshape(3, -1).max(axis=1) == 255).all()
    for sample, image in zip(dataset.train, pixels, strict=True):
        np.testing.assert_array_equal(image, decode(sample.path.read_bytes(), 64, 32))
