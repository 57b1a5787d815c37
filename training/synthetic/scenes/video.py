"""Join a camera's frames to a film: an AVI file of JPEG pictures (MJPEG).

The film holds the very bytes of the frames: nothing is compressed twice, equal scenes give equal
films, and no encoder is needed. The format is Microsoft's "AVI RIFF File Reference" (1992); every
common player and library reads it. Other formats: ``ffmpeg -i camera-01.avi camera-01.mp4``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from service.errors import InvalidInput
from service.machine.durable import replaced_file
from training.synthetic.scenes.folder import SCENE, VIDEO
from training.synthetic.unfinished import file_error

LARGEST = 2**32 - 2**20  # bytes; sizes in the file have 32 bits
HAS_INDEX = 0x10
KEY_FRAME = 0x10


def write_videos(folder: Path) -> list[Path]:
    """Write each camera's frames as ``FOLDER/camera-01.avi`` and so on.

    Films that are there already are left as they are.

    Args:
        folder: of finished scenes.

    Returns:
        The films.

    Raises:
        InvalidInput: the folder holds no scenes, cannot be written, or a film would be too large.
        StorageFull: the disk is full.
    """
    try:
        scene = json.loads((folder / SCENE).read_text(encoding="utf-8"))
        videos = {
            folder / each["name"]: folder / (each["name"] + VIDEO) for each in scene["cameras"]
        }
        for frames, video in videos.items():
            if not video.exists():
                _write(video, sorted(frames.glob("*.jpg")), scene["options"])
    except OSError as error:
        raise file_error(folder, error) from error
    return list(videos.values())


def _write(video: Path, frames: Sequence[Path], options: dict[str, int]) -> None:
    sizes = [frame.stat().st_size for frame in frames]
    padded = [size + size % 2 for size in sizes]
    movie = 4 + sum(8 + size for size in padded)
    total = 4 + _HEADER_BYTES + 8 + movie + 8 + 16 * len(frames)
    if total > LARGEST:
        raise InvalidInput(
            f"{video.name} would have {total / 1e9:.1f} GB, and an AVI file has at most "
            f"{LARGEST / 1e9:.1f} GB; film fewer seconds"
        )
    with replaced_file(video) as file:
        file.write(b"RIFF" + struct.pack("<I", total) + b"AVI ")
        file.write(_header(options, len(frames), max(sizes)))
        file.write(b"LIST" + struct.pack("<I", movie) + b"movi")
        for frame, size in zip(frames, sizes, strict=True):
            file.write(b"00dc" + struct.pack("<I", size) + frame.read_bytes() + bytes(size % 2))
        _write_index(file, sizes)


def _header(options: dict[str, int], frames: int, largest: int) -> bytes:
    """The list ``hdrl``: what the file and its only stream hold."""
    width, height, fps = options["width"], options["height"], options["fps"]
    rate = fps * largest
    whole = struct.pack(
        "<14I",
        1_000_000 // fps,
        rate,
        0,
        HAS_INDEX,
        frames,
        0,
        1,
        largest,
        width,
        height,
        0,
        0,
        0,
        0,
    )
    stream = struct.pack(
        "<4s4sIHHIIIIIIIIHHHH",
        *(b"vids", b"MJPG", 0, 0, 0, 0, 1, fps, 0, frames, largest, 2**32 - 1, 0),
        *(0, 0, width, height),
    )
    picture = struct.pack(
        "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 3 * width * height, 0, 0, 0, 0
    )
    strl = b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", picture)
    return _chunk(b"LIST", b"hdrl" + _chunk(b"avih", whole) + _chunk(b"LIST", strl))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


_HEADER_BYTES = len(_header({"width": 1, "height": 1, "fps": 1}, 1, 1))


def _write_index(file: BinaryIO, sizes: Sequence[int]) -> None:
    """Where each frame begins, from the word ``movi``."""
    file.write(b"idx1" + struct.pack("<I", 16 * len(sizes)))
    place = 4
    for size in sizes:
        file.write(struct.pack("<4sIII", b"00dc", KEY_FRAME, place, size))
        place += 8 + size + size % 2
