"""BMP and TIFF as cameras and converters write them; other variants are rejected."""

from __future__ import annotations

import resource
import struct
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.embedding.imaging import BACKGROUND, ImageLimits, decode
from service.errors import ImageTooLarge, InvalidImage, ReidError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int = 32, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),  # differences of neighbours
        ("TIFF", {"strip_size": 100}),
    ],
)
def test_every_pixel_arrives(kind, options):
    data = saved(Image.fromarray(noise()), kind, **options)
    np.testing.assert_array_equal(decode(data, 32, 16), noise())


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("L", 77, (77, 77, 77)), ("1", 1, WHITE), ("P", 0, (0, 0, 0)), ("RGB", RED, RED)],
)
def test_every_mode_has_its_colour(kind, mode, value, expected):
    pixels = decode(saved(Image.new(mode, (8, 16), value), kind), 16, 8)
    assert (pixels == expected).all()


def test_transparency_of_a_tiff_and_32_bits_of_a_bmp():
    clear = Image.new("RGBA", (8, 16), (10, 20, 30, 0))
    assert (decode(saved(clear, "TIFF"), 16, 8) == BACKGROUND).all()
    solid = Image.new("RGBA", (8, 16), (10, 20, 30, 255))
    for kind in ("BMP", "TIFF"):
        assert (decode(saved(solid, kind), 16, 8) == (10, 20, 30)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_tiff_is_applied_once(orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose members
    upright = Image.fromarray(noise())
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    data = saved(stored, "TIFF", tiffinfo={ORIENTATION: orientation})
    np.testing.assert_array_equal(decode(data, 32, 16), noise())


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_both_byte_orders(order):
    data = tiff(order)
    np.testing.assert_array_equal(decode(data, 16, 8), np.full((16, 8, 3), 9, np.uint8))


def tiff(order: str = "<", follow: int = 0, drop: tuple[int, ...] = (), **changes: int) -> bytes:
    """A plain grey TIFF of 8x16 pixels; an argument such as ``t256`` sets that tag."""
    pixels = b"\x09" * (8 * 16)
    tags = {256: 8, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: len(pixels)}
    tags |= {int(name[1:]): value for name, value in changes.items()}
    tags = {tag: value for tag, value in sorted(tags.items()) if tag not in drop}
    start = 8 + len(pixels)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    entries = b"".join(struct.pack(f"{order}HHLL", tag, 4, 1, tags[tag]) for tag in tags)
    count = struct.pack(f"{order}H", len(tags))
    return head + pixels + count + entries + struct.pack(f"{order}L", follow)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (tiff(follow=8), "several images"),
        (tiff(t322=16), "tiled"),
        (tiff(t259=7), "compressed by method 7"),
        (tiff(t259=34712), "compressed by method 34712"),
        (tiff(t258=32), "32"),
        (tiff(t339=3), "floating-point"),
        (tiff(t262=6), "colour type 6"),
        (tiff(t262=32803), "colour type 32803"),
        (tiff(t277=3, t284=2), "planar TIFF"),
        (tiff(t277=200), "200 samples"),
        (tiff(t278=0), "strips have 0 rows"),
        (tiff(t278=2**31 - 1), "strips have 2,147,483,647 rows"),
        (tiff(t279=10_000), "ends before its pixels"),
        (tiff(t273=10_000), "ends before its pixels"),
        (tiff(drop=(273,)), "strips do not match"),
        (tiff()[:100], "ends within its header"),
        (tiff()[:150], "ends within its header"),
        (b"II+\0" + tiff()[4:], "not a JPEG"),  # BigTIFF
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_tiff_variants_are_rejected_with_a_reason(data, said):
    with pytest.raises(InvalidImage, match=said):
        decode(data, 16, 8)


def test_a_tiff_of_several_pages_from_pillow():
    pages = [Image.new("RGB", (8, 16), RED)]
    data = saved(Image.new("RGB", (8, 16), BLUE), "TIFF", save_all=True, append_images=pages)
    with pytest.raises(InvalidImage, match="several images: save each"):
        decode(data, 16, 8)


def test_other_bmp_variants_are_rejected_with_a_reason():
    data = saved(Image.fromarray(noise()), "BMP")
    for place, form, value, said in (
        (14, "<L", 999, "unknown BMP variant"),
        (30, "<L", 1, "compressed"),  # runs of equal pixels
        (30, "<L", 4, "compressed"),  # a JPEG inside
        (28, "<H", 48, "48 bits"),
        (10, "<L", 60_000, "ends before"),
        (22, "<l", 2**31 - 1, "ends before"),
    ):
        changed = bytearray(data)
        struct.pack_into(form, changed, place, value)
        with pytest.raises(InvalidImage, match=said):
            decode(bytes(changed), 16, 8)
    for size in (2, 14, 20, 30, 54, len(data) - 1):
        with pytest.raises(InvalidImage, match="damaged"):
            decode(data[:size], 16, 8)


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_limits_are_checked_before_anything_is_decoded(kind):
    data = saved(Image.new("RGB", (100, 100)), kind)
    with pytest.raises(ImageTooLarge, match="100x100"):
        decode(data, 16, 8, limits=ImageLimits(max_pixels=9_999))
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode(data, 16, 8, limits=ImageLimits(max_bytes=1000))
    with pytest.raises(InvalidImage, match="at least 8"):
        decode(saved(Image.new("RGB", (7, 100)), kind), 16, 8)


def test_a_small_tiff_cannot_allocate_much_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (tiff(t278=65536), tiff(t256=60_000, t257=60_000), tiff(t257=2**31 - 1)):
        outcome_of(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def outcome_of(data: bytes) -> np.ndarray | ReidError:
    try:
        return decode(data, 16, 8)
    except ReidError as error:
        return error


SEEDS = [
    tiff(),
    saved(Image.fromarray(noise()), "TIFF", compression="tiff_lzw"),
    saved(Image.fromarray(noise()), "TIFF", compression="packbits"),
    saved(Image.fromarray(noise()), "BMP"),
    saved(Image.new("P", (16, 16)), "BMP"),
    saved(Image.fromarray(np.full((16, 16), 4000, np.uint16)), "TIFF"),
]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 3000) | st.none(),
)
def test_mutated_files_are_read_or_rejected(seed, changes, cut):
    body = bytearray(seed)
    for at, value in changes:
        body[at % len(body)] = value
    outcome = outcome_of(bytes(body[:cut]))
    if isinstance(outcome, ReidError):
        assert outcome.status in {413, 422}
    else:
        assert outcome.shape == (16, 8, 3)
