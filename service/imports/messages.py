"""Messages from the process that reads an import to the service, which stores it.

They are JSON and bytes, not pickles, so that a reader taken over by a malicious file can only send
items. The service accepts no message that exceeds the limits.
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
from service.imports.items import Item, Picture, WholeFrame
from service.ingest.crop_names import LeftOut
from service.ingest.sent_embeddings import EmbeddedCrop, to_bytes

HEAD = struct.Struct(">II")
"""Precedes each message: the size of its JSON and of its content, in bytes."""

MAX_TEXT = 1 << 20
"""Most bytes of a message's JSON."""

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


Message: TypeAlias = Item | Expect | Done | Refused | OutOfMemory | Crashed


def encode(message: Message) -> bytes:
    """Encode a message, including its head."""
    words, content = _words(message)
    text = json.dumps(words, separators=(",", ":")).encode()
    return b"".join((HEAD.pack(len(text), len(content)), text, content))


def decode(text: bytes, content: bytes) -> Message:
    """Decode a message.

    Args:
        text: its JSON.
        content: the bytes that follow.

    Returns:
        The message.

    Raises:
        ValueError: it is not a message.
    """
    try:
        return _message(json.loads(text.decode()), content)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"an invalid message: {error}") from error


def _words(message: Message) -> tuple[list[Any], bytes]:
    content = b""
    match message:
        case Picture(name, crop, content):
            words = ["picture", name[:_LONGEST], *_crop_words(crop)]
        case WholeFrame(name, video_id, frame_id, seconds, camera, timestamp, content):
            ids = video_id, frame_id
            words = ["frame", name[:_LONGEST], *ids, seconds, camera, timestamp]
        case EmbeddedCrop(crop, embedding, name):
            words = ["ready", name[:_LONGEST], *_crop_words(crop)]
            content = to_bytes(embedding)
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
    return crop.crop_id, crop.identity, crop.camera, crop.timestamp, crop.track


def _message(words: Any, content: bytes) -> Message:
    message: Message
    match words:
        case ["picture", str(name), *crop]:
            message = Picture(name, _crop(crop), content)
        case ["frame", str(name), str(video_id), str(frame_id), float(seconds), camera, when]:
            taken = _name(camera), _time(when)
            message = WholeFrame(name, video_id, frame_id, seconds, *taken, content)
        case ["ready", str(name), *crop]:
            embedding = np.frombuffer(content, "<f4").astype(np.float32, copy=False)
            message = EmbeddedCrop(_crop(crop), embedding, name)
        case ["left", str(path), str(reason), bool(is_error), bool(is_other)]:
            message = LeftOut(Path(path), reason, is_error, is_other)
        case ["expect", int(total)]:
            message = Expect(total)
        case ["done", dict(result)]:
            message = Done(result)
        case ["refused", str(code), str(reason)]:
            message = Refused(_ERRORS.get(code, InvalidInput)(reason))
        case ["memory"]:
            message = OutOfMemory()
        case ["broken", str(trace)]:
            message = Crashed(trace)
        case _:
            raise ValueError("an invalid message")
    return message


def _crop(words: list[Any]) -> Crop:
    match words:
        case [str(crop_id), identity, camera, timestamp, track]:
            known = _name(identity), _name(camera), _time(timestamp)
            return Crop(crop_id, *known, track=_name(track))
    raise ValueError("an invalid crop")


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("an invalid name")


def _time(value: Any) -> float | None:
    return None if value is None else float(value)
