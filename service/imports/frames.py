"""What the process that reads an import tells the one that stores it.

Plain JSON and bytes, and no pickles: whoever took over the reader by a crafted file could still
only send items. The receiving side takes no frame that is larger than its bounds say.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from service.errors import (
    Conflict,
    Forbidden,
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    NotFound,
    ReidError,
    StorageFull,
    TooLarge,
    Unavailable,
)
from service.gallery.base import Crop
from service.imports.items import Item, Picture
from service.ingest.crop_names import LeftOut
from service.ingest.sent_embeddings import EmbeddedCrop

HEAD = struct.Struct(">II")
"""Before each frame: how many bytes its JSON has, and how many its content."""

MAX_TEXT = 1 << 20
"""Bytes of a frame's JSON."""

PLAIN, PARQUET = b"r", b"p"
"""What the service sends to have a reader forked, with its two descriptors."""

WANTED_HEAD = 4
"""Bytes before a request, which say how long it is."""

_LONGEST_TRACE = 20_000
_LONGEST = 1000  # letters of a name or a reason; a job keeps no more of them
_ERRORS: dict[str, type[ReidError]] = {
    error.code: error
    for error in (
        *(InvalidInput, InvalidImage, TooLarge, ImageTooLarge, Forbidden, NotFound, Conflict),
        *(Unavailable, StorageFull),
    )
}


@dataclass(frozen=True, slots=True)
class Expect:
    """How many items there will be."""

    total: int


@dataclass(frozen=True, slots=True)
class Done:
    """Everything was read; what the job answers of it."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot be read further; why."""

    error: ReidError


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Reading needs more memory than it may have."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The reader has a fault of its own; where."""

    trace: str


Frame: TypeAlias = Item | Expect | Done | Refused | OutOfMemory | Broken


def packed(frame: Frame) -> bytes:
    """A frame as bytes, its head included."""
    words, content = _words(frame)
    text = json.dumps(words, separators=(",", ":")).encode()
    return b"".join((HEAD.pack(len(text), len(content)), text, content))


def unpacked(text: bytes, content: bytes) -> Frame:
    """Read a frame.

    Args:
        text: its JSON.
        content: the bytes that follow.

    Returns:
        The frame.

    Raises:
        ValueError: it is none.
    """
    try:
        return _frame(json.loads(text), content)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"what is no frame: {error}") from error


def _words(frame: Frame) -> tuple[list[Any], bytes]:
    content = b""
    match frame:
        case Picture(name, crop, content):
            words = ["picture", name[:_LONGEST], *_crop_words(crop)]
        case EmbeddedCrop(crop, embedding, name):
            words = ["ready", name[:_LONGEST], *_crop_words(crop)]
            content = embedding.astype("<f4").tobytes()
        case LeftOut(path, reason, is_error, is_other):
            words = ["left", str(path)[:_LONGEST], reason[:_LONGEST], is_error, is_other]
        case Expect(total):
            words = ["expect", total]
        case Done(result):
            words = ["done", result]
        case Refused(error):
            words = ["refused", error.code, str(error)[:_LONGEST]]
        case OutOfMemory():
            words = ["memory"]
        case Broken(trace):
            words = ["broken", trace[-_LONGEST_TRACE:]]
    return words, content


def _crop_words(crop: Crop) -> tuple[Any, ...]:
    return crop.crop_id, crop.identity, crop.camera, crop.timestamp


def _frame(words: Any, content: bytes) -> Frame:
    frame: Frame
    match words:
        case ["picture", str(name), *crop]:
            frame = Picture(name, _crop(crop), content)
        case ["ready", str(name), *crop]:
            embedding = np.frombuffer(content, "<f4").astype(np.float32)
            frame = EmbeddedCrop(_crop(crop), embedding, name)
        case ["left", str(path), str(reason), bool(is_error), bool(is_other)]:
            frame = LeftOut(Path(path), reason, is_error, is_other)
        case ["expect", int(total)]:
            frame = Expect(total)
        case ["done", dict(result)]:
            frame = Done(result)
        case ["refused", str(code), str(message)]:
            frame = Refused(_ERRORS.get(code, InvalidInput)(message))
        case ["memory"]:
            frame = OutOfMemory()
        case ["broken", str(trace)]:
            frame = Broken(trace)
        case _:
            raise ValueError("what is no frame")
    return frame


def _crop(words: list[Any]) -> Crop:
    match words:
        case [str(crop_id), identity, camera, timestamp]:
            return Crop(crop_id, _name(identity), _name(camera), _time(timestamp))
    raise ValueError("what is no crop")


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("what is no name")


def _time(value: Any) -> float | None:
    return None if value is None else float(value)
