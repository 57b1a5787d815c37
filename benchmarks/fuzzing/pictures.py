"""Drawn crops in every file format and colour mode, and ways to damage them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from random import Random
from typing import Any

from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

Spoil = Callable[[Random, bytes], bytes]

_SIDES = (0, 1, 7, 8, 4000, 4001, 16_383, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
_LARGEST = 11_000_000  # slightly more than the service accepts for one image
_BOMB = 60_000_000  # bytes that a compressed chunk unpacks to


def draw(width: int = 48, height: int = 96) -> Image.Image:
    """Draw a person in a few strokes."""
    picture = Image.new("RGB", (width, height), (90, 110, 130))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((width * 0.35, 4, width * 0.65, height * 0.2), fill=(220, 180, 150))
    pen.rectangle((width * 0.25, height * 0.2, width * 0.75, height * 0.6), fill=(180, 30, 40))
    pen.rectangle((width * 0.3, height * 0.6, width * 0.7, height * 0.98), fill=(30, 40, 120))
    return picture


@cache
def sound() -> tuple[bytes, ...]:
    """Return valid files; a few are in formats that the service does not read."""
    return tuple(save(picture, kind, **options) for picture, kind, options in _variants())


def _variants() -> Iterator[tuple[Image.Image, str, dict[str, Any]]]:
    person = draw()
    frames = {"save_all": True, "append_images": [draw(48, 96).rotate(180)] * 3}
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = _profile()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "drawn", zip=True)
    text.add_itxt("Title", "drawn", zip=True)
    for mode in ("RGB", "L", "CMYK"):
        yield person.convert(mode), "JPEG", {}
        yield person.convert(mode), "JPEG", {"progressive": True, "quality": 95}
    yield person, "JPEG", {"exif": exif, "icc_profile": profile, "restart_marker_blocks": 2}
    for mode in ("RGB", "RGBA", "P", "1", "L", "LA", "I;16"):
        yield person.convert("L" if mode == "I;16" else mode).convert(mode), "PNG", {}
    yield person, "PNG", {"pnginfo": text, "exif": exif, "icc_profile": profile}
    yield person, "PNG", frames
    for options in ({}, {"lossless": True}, {"exif": exif, "icc_profile": profile}, frames):
        yield person, "WEBP", options
    yield person.convert("RGBA"), "WEBP", {}
    for kind in ("GIF", "TIFF", "BMP", "PPM"):
        yield person, kind, frames if kind in {"GIF", "TIFF"} else {}


def _profile() -> bytes:
    """Return a colour profile that does not hold the time at which it was made."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + made[36:]


def save(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def spoiled(random: Random) -> bytes:
    """Return a picture file in which anything may be wrong, or nothing."""
    data = random.choice(sound())
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        data = random.choice(_SPOILS)(random, data)[:_LARGEST]
    return data


def _flip_bits(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 8, 64))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _spoil_head(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 3))):
        if changed:
            changed[random.randrange(min(64, len(changed)))] = random.choice(
                (0, 1, 0x7F, 0x80, 0xFF)
            )
    return bytes(changed)


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _repeat(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.choice((1, 16, 200, 5000))]
    return data[:start] + piece * random.choice((2, 3, 50)) + data[start:]


def _drop(random: Random, data: bytes) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 4, 64, 1000)) :]


def _append(random: Random, data: bytes) -> bytes:
    tails = (bytes(100_000), b"PK\x03\x04" + bytes(26), b"<script>alert(1)</script>", data)
    return data + random.choice(tails)


def _splice(random: Random, data: bytes) -> bytes:
    other = random.choice(sound())
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other)) :]


def _disguise(random: Random, data: bytes) -> bytes:
    heads = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"GIF89a",
        b"%PDF-",
    )
    return random.choice(heads) + data[random.choice((0, 3, 8, 12)) :]


def _resize_header(random: Random, data: bytes) -> bytes:
    width, height = random.choice(_SIDES), random.choice(_SIDES)
    if data.startswith(b"\x89PNG") and len(data) > 33:
        head = struct.pack(">II", width % 2**32, height % 2**32) + data[24:29]
        return data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]
    if data.startswith(b"\xff\xd8"):
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            at = data.find(marker)
            if at > 0:
                size = struct.pack(">HH", height % 2**16, width % 2**16)
                return data[: at + 5] + size + data[at + 9 :]
    if data[12:16] == b"VP8X":
        size = (width % 2**24).to_bytes(3, "little") + (height % 2**24).to_bytes(3, "little")
        return data[:24] + size + data[30:]
    return _spoil_head(random, data)


def _add_chunk(random: Random, data: bytes) -> bytes:
    """Add chunks that unpack into much, claim much, or are very many."""
    if not data.startswith(b"\x89PNG") or len(data) < 33:
        return _add_segment(random, data)
    bomb = _bomb()
    chunk = random.choice(
        (
            (b"zTXt", b"note\0\0" + bomb),
            (b"iTXt", b"note\0\x01\0\0\0" + bomb),
            (b"iCCP", b"profile\0\0" + bomb),
            (b"IDAT", bomb),
            (b"eXIf", _exif(random)),
            (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
            (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 0, 0, 1, 1, 0, 0)),
            (b"PLTE", bytes(random.choice((0, 1, 768, 770)))),
            (b"tRNS", bytes(random.choice((0, 2, 6, 300)))),
            (bytes(random.choices(range(65, 123), k=4)), bytes(10)),
        )
    )
    times = random.choice((1, 1, 2, 2000)) if len(chunk[1]) < 100 else random.choice((1, 2))
    return data[:33] + _png_chunk(*chunk) * times + data[33:]


def _add_segment(random: Random, data: bytes) -> bytes:
    if not data.startswith(b"\xff\xd8"):
        return _append(random, data)
    body = random.choice((b"Exif\0\0" + _exif(random), b"ICC_PROFILE\0\xff\xff" + bytes(500)))
    body = random.choice((body, b"JFIF\0" + bytes(9), b"Adobe\0\x64\0\0\0\0\x03", b"8BIM" * 40))
    kind = random.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xC4, 0xDB, 0xDD))
    segment = struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body
    return data[:2] + segment * random.choice((1, 1, 255, 3000)) + data[2:]


def _more_scans(random: Random, data: bytes) -> bytes:
    at = data.rfind(b"\xff\xda")
    if not data.startswith(b"\xff\xd8") or at < 0:
        return _repeat(random, data)
    return data[:at] + data[at:-2] * random.choice((2, 100, 3000)) + data[-2:]


def _exif(random: Random) -> bytes:
    """Return a directory that points at itself, claims too many entries, or has odd types."""
    order = random.choice(("<", ">"))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(
        order + "HHII",
        random.choice((0x0112, 0x8769, 0x8825, 0x014A, 0x02BC)),
        random.choice((0, 1, 2, 3, 5, 13, 99)),
        random.choice((1, 2**16, 2**31, 2**32 - 1)),
        random.choice((8, 0, 2**32 - 1, 7)),
    )
    count = random.choice((1, 2, 2000))
    directory = struct.pack(order + "H", random.choice((count, 65_535)))
    return mark + struct.pack(order + "I", 8) + directory + entry * count + bytes(4)


@cache
def _bomb() -> bytes:
    return zlib.compress(bytes(_BOMB), 9)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_SPOILS: tuple[Spoil, ...] = (
    *(_flip_bits, _flip_bits, _spoil_head, _truncate, _repeat, _drop, _append, _splice),
    *(_disguise, _resize_header, _add_chunk, _add_segment, _more_scans),
)
