"""Messages from the process that reads an import to the service, which stores it.

They are JSON and bytes, not pickles, so that a reader taken over by a malicious file can only send
items. The service accepts no frame that exceeds the limits.
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
"""Precedes each frame: the size of its JSON and of its content, in bytes."""

MAX_TEXT = 1 << 20
"""Most bytes of a frame's JSON."""

PLAIN, PARQUET = b"r", b"p"
"""What the service sends with two descriptors to have a reader forked."""

REQUEST_HEAD = 4
"""Bytes that precede a request and state its length."""

_LONGEST_TRACE = 20_000
_LONGEST = 1000  # characters of a name or a reason; a job stores no more
_ERRORS: dict[str, type[ReidError]] = {
    error.code: error
    for error in (
        *(InvalidInput, InvalidImage, TooLarge, ImageTooLarge, Forbidden, NotFound, Conflict),
        *(Unavailable, StorageFull),
    )
}


@dataclass(frozen=True, slots=True)
class Expect:
    """The number of items to come."""

    total: int


@dataclass(frozen=True, slots=True)
class Done:
    """Everything was read; this is the reader's part of the job's result."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The import cannot be read any further, for this reason."""

    error: ReidError


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Reading needs more memory than allowed."""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The reader has a bug; this is its traceback."""

    trace: str


Frame: TypeAlias = Item | Expect | Done | Refused | OutOfMemory | Crashed


def packed(frame: Frame) -> bytes:
    """Encode a frame, including its head."""
    words, content = _words(frame)
    text = json.dumps(words, separators=(",", ":")).encode()
    return b"".join((HEAD.pack(len(text), len(content)), text, content))


def unpacked(text: bytes, content: bytes) -> Frame:
    """Decode a frame.

    Args:
        text: its JSON.
        content: the bytes that follow.

    Returns:
        The frame.

    Raises:
        ValueError: it is not a frame.
    """
    try:
        return _frame(json.loads(text), content)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"an invalid frame: {error}") from error


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
        case Crashed(trace):
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
            frame = Crashed(trace)
        case _:
            raise ValueError("an invalid frame")
    return frame


def _crop(words: list[Any]) -> Crop:
    match words:
        case [str(crop_id), identity, camera, timestamp]:
            return Crop(crop_id, _name(identity), _name(camera), _time(timestamp))
    raise ValueError("an invalid crop")


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("an invalid name")


def _time(value: Any) -> float | None:
    return None if value is None else float(value)
