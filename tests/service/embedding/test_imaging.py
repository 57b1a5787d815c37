"""Decoding: every kind of image gives defined pixels, everything else one error."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service.embedding.imaging import BACKGROUND, ImageLimits, decode
from service.errors import ImageTooLarge, InvalidImage, ReidError
from service.testing import encode, solid

ORIENTATION = 0x0112
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def quarters(height: int = 16, width: int = 8) -> np.ndarray:
    """Red and green above, blue and white below."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = WHITE
    return pixels


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_formats_give_contiguous_rgb_at_the_requested_size(kind):
    pixels = decode(solid((200, 100, 50), 40, 20, kind), 64, 32)
    assert pixels.shape == (64, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 3


def test_a_picture_at_model_size_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode(pixels), 64, 32), pixels)


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_resizing_is_pillows_antialiased_filter(resize):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize((32, 64), Image.Resampling[resize.upper()])
    np.testing.assert_array_equal(decode(encode(pixels), 64, 32, resize=resize), expected)


def test_the_two_filters_differ():
    data = encode(quarters())
    assert (decode(data, 64, 32) != decode(data, 64, 32, resize="bilinear")).any()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, 1)),
        (7, lambda p: p[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda p: np.rot90(p, -1)),
        (0, lambda p: p),
        (9, lambda p: p),
    ],
)
def test_exif_orientation_is_applied_once(kind, orientation, undo):
    upright = quarters(64, 32)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    if kind == "WEBP":
        options = {"lossless": True}
    pixels = decode(saved(stored, kind, exif=exif, **options), 64, 32)
    for row, column in [(8, 8), (8, 24), (56, 8), (56, 24)]:
        difference = pixels[row, column].astype(int) - upright[row, column]
        assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("exif", [b"Exif\x00\x00nonsense", b"Exif\x00\x00II*\x00\xff\xff\xff\xff"])
def test_damaged_exif_counts_as_upright(exif):
    pixels = decode(saved(Image.fromarray(quarters()), "JPEG", exif=exif), 16, 8)
    assert np.abs(pixels[1, 1].astype(int) - RED).max() < 60


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (8, 16), 77), (77, 77, 77)),
        (Image.new("1", (8, 16), 1), WHITE),
        (Image.fromarray(np.full((16, 8), 0x7F80, dtype=np.uint16)), (127, 127, 127)),
        (Image.fromarray(np.full((16, 8), 0xFFFF, dtype=np.uint16)), WHITE),
        (Image.new("P", (8, 16), 0), (0, 0, 0)),
        (Image.new("LA", (8, 16), (77, 255)), (77, 77, 77)),
        (Image.new("LA", (8, 16), (77, 0)), BACKGROUND),
        (Image.new("RGBA", (8, 16), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (8, 16), (10, 20, 30, 0)), BACKGROUND),
        (Image.new("RGBA", (8, 16), (10, 20, 30, 128)), (67, 68, 67)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else None,
)
def test_every_mode_has_a_defined_colour(picture, expected):
    pixels = decode(saved(picture), 16, 8)
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_a_palette_gives_its_colours():
    picture = Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    np.testing.assert_array_equal(decode(saved(picture), 16, 8), quarters())


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])])
def test_a_transparent_palette_entry_shows_the_background(transparency):
    picture = Image.new("P", (8, 16), 3)
    picture.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    pixels = decode(saved(picture, transparency=transparency), 16, 8)
    assert (pixels == BACKGROUND).all()


@pytest.mark.parametrize(("mode", "colour"), [("RGB", RED), ("L", 255)])
def test_a_transparent_colour_shows_the_background(mode, colour):
    pixels = decode(saved(Image.new(mode, (8, 16), colour), transparency=colour), 16, 8)
    assert (pixels == BACKGROUND).all()


def test_cmyk_jpeg():
    pixels = decode(saved(Image.new("CMYK", (8, 16), (0, 255, 255, 0)), "JPEG"), 16, 8)
    assert np.abs(pixels.astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_the_first_of_several_frames_is_used(kind):
    first, second = Image.new("RGB", (8, 16), RED), Image.new("RGB", (8, 16), BLUE)
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode(saved(first, kind, save_all=True, append_images=[second], **options), 16, 8)
    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_the_format_is_detected_from_the_content():
    with pytest.raises(InvalidImage, match="not a JPEG, PNG, WebP, BMP or TIFF"):
        decode(saved(Image.new("RGB", (8, 16)), "GIF"), 16, 8)


@pytest.mark.parametrize("kind", ["GIF", "PPM", "JPEG2000", "ICO", "TGA"])
def test_other_formats_are_refused(kind):
    with pytest.raises(InvalidImage):
        decode(saved(Image.new("RGB", (8, 16)), kind), 16, 8)


def test_an_empty_file():
    with pytest.raises(InvalidImage, match="0 bytes"):
        decode(b"", 64, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    data = encode(noise, kind)
    with pytest.raises(InvalidImage):
        decode(data[: int(len(data) * share)], 64, 32)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 100), (100, 7)])
def test_an_image_too_small_to_show_a_person(height, width):
    with pytest.raises(InvalidImage, match=f"{width}x{height} pixels: each side needs at least 8"):
        decode(solid(RED, height, width), 64, 32)


def test_the_smallest_side_can_be_lowered():
    assert decode(solid(RED, 1, 1), 64, 32, limits=ImageLimits(min_side=1)).shape == (64, 32, 3)


def test_bytes_are_counted_before_anything_else():
    with pytest.raises(ImageTooLarge, match="1,001 bytes: at most 1,000 are allowed"):
        decode(bytes(1001), 64, 32, limits=ImageLimits(max_bytes=1000))


def test_a_file_of_exactly_the_limits_passes():
    data = solid(RED, 100, 50)
    decode(data, 64, 32, limits=ImageLimits(max_bytes=len(data), max_pixels=5000))
    with pytest.raises(ImageTooLarge, match="50x100 pixels: at most 4,999 in total are allowed"):
        decode(data, 64, 32, limits=ImageLimits(max_pixels=4999))


@pytest.mark.parametrize("side", [4001, 10_000, 50_000, 2**31 - 1])
def test_a_header_that_claims_too_many_pixels(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooLarge):
            decode(png(side, side), 64, 32)


def test_a_webp_header_that_claims_too_many_pixels():
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\x00" + b"\xff\x3f\x00"
    with pytest.raises((ImageTooLarge, InvalidImage)):
        decode(b"RIFF" + struct.pack("<I", len(body)) + body, 64, 32)


def test_a_decompression_bomb_is_rejected_by_its_header():
    data = saved(Image.new("1", (10_000, 10_000)))
    assert len(data) < 20_000
    with pytest.raises(ImageTooLarge, match="10000x10000"):
        decode(data, 64, 32)


def test_pixels_beyond_the_stated_size_are_never_unpacked():
    rows = zlib.compress(bytes(50_000_000), 9)
    pixels = decode(png(8, 16, chunk(b"IDAT", rows)), 16, 8)
    assert (pixels == 0).all()


def test_text_chunks_that_unpack_to_much():
    text = chunk(b"zTXt", b"note\x00\x00" + zlib.compress(bytes(50_000_000), 9))
    rows = chunk(b"IDAT", zlib.compress(bytes(16 * (8 * 3 + 1))))
    with pytest.raises(InvalidImage):
        decode(png(8, 16, text, rows), 16, 8)


def progressive(scans: int) -> bytes:
    """A JPEG whose last scan is repeated until it has this many."""
    data = saved(Image.new("RGB", (64, 64), RED), "JPEG", progressive=True)
    start, end = data.rfind(b"\xff\xda"), len(data) - 2
    return data[:end] + data[start:end] * (scans - data.count(b"\xff\xda")) + data[end:]


@pytest.fixture
def unread(monkeypatch):
    """Fails if Pillow, which would take minutes, decodes the image."""

    def read(*_: object, **__: object) -> None:
        raise AssertionError("Pillow was asked")

    def forbid() -> None:
        monkeypatch.setattr(Image, "open", read)

    return forbid


def test_a_jpeg_with_many_scans_is_rejected_before_it_is_decoded(unread):
    assert decode(progressive(100), 16, 8).shape == (16, 8, 3)
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        decode(progressive(101), 16, 8)
    many = progressive(200_000)
    unread()
    with pytest.raises(InvalidImage, match="more than 100 scans"):
        decode(many, 16, 8)


def test_scan_markers_in_other_segments_do_not_count():
    data = saved(Image.fromarray(quarters()), "JPEG")
    note = b"\xff\xfe\x02\x02" + b"\xff\xda" * 256
    assert decode(data[:2] + note + data[2:] + b"\xff\xda" * 500, 16, 8).shape == (16, 8, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_with_millions_of_empty_parts_is_rejected_before_it_is_decoded(kind, unread):
    data = saved(Image.fromarray(quarters()), kind)
    empty = b"\xff\xfe\x00\x02" if kind == "JPEG" else chunk(b"teSt", b"")
    place = 2 if kind == "JPEG" else 33
    assert decode(data[:place] + empty * 5000 + data[place:], 16, 8).shape == (16, 8, 3)
    unread()
    with pytest.raises(InvalidImage, match="more than 10,000"):
        decode(data[:place] + empty * 700_000 + data[place:], 16, 8)


def test_limits_above_pillows_own_do_not_warn(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    decode(solid(RED, 16, 8), 16, 8)


def test_a_malformed_file_raises_no_warnings():
    info = PngImagePlugin.PngInfo()
    info.add(b"acTL", struct.pack(">II", 0, 0))
    data = saved(Image.fromarray(quarters()), pnginfo=info)
    np.testing.assert_array_equal(decode(data, 16, 8), quarters())


@pytest.mark.parametrize("data", [None, "text", bytearray(b"x"), 3])
def test_anything_but_bytes_is_a_programming_error(data):
    with pytest.raises(TypeError, match="not bytes"):
        decode(data, 64, 32)


@pytest.mark.parametrize(("height", "width"), [(0, 32), (64, -1)])
def test_an_impossible_size_is_a_programming_error(height, width):
    with pytest.raises(ValueError, match="both sides"):
        decode(solid(RED), height, width)


def outcome_of(data: bytes) -> np.ndarray | ReidError:
    try:
        return decode(data, 16, 8)
    except ReidError as error:
        return error


def assert_pixels_or_refusal(outcome: np.ndarray | ReidError) -> None:
    if isinstance(outcome, ReidError):
        assert outcome.status in {413, 422}
        assert str(outcome)
    else:
        assert outcome.shape == (16, 8, 3)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
@settings(max_examples=200, deadline=None)
def test_random_bytes_give_pixels_or_a_reid_error(data, start):
    assert_pixels_or_refusal(outcome_of(start + data))


SOUND = [solid(RED, 24, 16, kind) for kind in ("JPEG", "PNG", "WEBP")]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_valid_file_with_changed_bytes_gives_pixels_or_a_reid_error(data):
    content = bytearray(data.draw(st.sampled_from(SOUND)))
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=8)):
        content[place] = value
    assert_pixels_or_refusal(outcome_of(bytes(content)))
