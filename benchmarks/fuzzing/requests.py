"""HTTP uploads, damaged anywhere between the request line and the last boundary."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from fuzzing.pictures import sound, spoiled

_ROUTES = (
    ("POST", "/search"),
    ("POST", "/embed"),
    ("POST", "/detect"),
    ("PUT", "/galleries/default/crops/{}"),
    ("POST", "/galleries/default/crops"),
    ("POST", "/galleries/default/frames"),
)
_CROPS = 16  # crop ids, few enough to keep the gallery small
_VALUES = (
    *(b"", b"0", b"-1", b"1e309", b"nan", b"\x00", b"\xff\xfe", b"true", b"null", b"[]", b"{}"),
    *("é\u202e\U0001f600".encode(), b"a" * 300, b"9" * 400, b"../../etc/passwd", b"[" * 5000),
    *(b"2024-13-45T99:99", b"-62135596801", b"default", b'{"a":' * 500, b"%00", b"' OR 1=1 --"),
)
_FIELDS = (
    *(b"gallery", b"top_k", b"camera", b"cameras", b"since", b"until", b"min_score", b"rerank"),
    *(b"rerank_top", b"group_by", b"combine", b"exclude_same_camera", b"encoding", b"crops"),
    *(b"identity", b"timestamp", b"crop_ids", b"standardise", b"identity_score", b"unknown"),
    *(b"tiles", b"score", b"frames", b"boxes", b"dry_run", b"detect"),
)


@dataclass(frozen=True)
class Message:
    """A multipart message.

    Attributes:
        delimiter: the line that opens a part.
        kind: its Content-Type.
        body: all parts.
    """

    delimiter: bytes
    kind: bytes
    body: bytes


def request(random: Random) -> bytes:
    """Return one complete HTTP request."""
    method, path = random.choice(_ROUTES)
    crop_id = f"crop-{random.randrange(_CROPS)}"
    boundary = random.choice((b"x", b"-" * 40 + b"b0undary", b"x" * 70))
    delimiter = b"--" + boundary + b"\r\n"
    body = b"".join(delimiter + part + b"\r\n" for part in _parts(random, path, crop_id))
    body += b"--" + boundary + b"--\r\n"
    message = Message(delimiter, b"multipart/form-data; boundary=" + boundary, body)
    if random.random() < 0.35:
        message = random.choice(_SPOILS)(random, message)
    length = len(message.body)
    if random.random() < 0.02:
        length = max(0, length + random.choice((-10, -1, 1, 10)))
    head = [
        f"{method} {path.format(crop_id)} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Content-Type: " + message.kind,
        b"Content-Length: %d" % length,
    ]
    if random.random() < 0.05:
        head.append(random.choice(_HEADERS))
    return b"\r\n".join(head) + b"\r\n\r\n" + message.body


_HEADERS = (
    b"X-Request-ID: " + b"y" * 9000,
    b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Range: bytes=0-0",
    b"Accept: \xff\xfe",
    b"Authorization: Bearer " + b"\x80" * 50,
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Upgrade: websocket",
)


def _parts(random: Random, path: str, crop_id: str) -> list[bytes]:
    name = b"image" if "{" in path else b"images"
    count = random.choice((1, 1, 1, 1, 2, 5))
    pictures = [
        random.choice(sound()) if random.random() < 0.1 else spoiled(random) for _ in range(count)
    ]
    parts = [_file(random, name, data) for data in pictures]
    if path.endswith("/crops"):
        entries = [{"crop_id": f"{crop_id}-{index}", "camera": "c1"} for index in range(count)]
        parts.append(_field(b"crops", json.dumps(entries).encode()))
    if path.endswith("/frames"):
        parts += _about_frames(random, crop_id, count)
    while random.random() < 0.3:
        parts.append(_field(random.choice(_FIELDS), random.choice(_VALUES)))
    return parts


def _about_frames(random: Random, frame_id: str, count: int) -> list[bytes]:
    ids = [{"frame_id": f"{frame_id}-{index}"} for index in range(count)]
    fields = [_field(b"frames", json.dumps(ids).encode())]
    if random.random() < 0.5:  # the detector finds nobody on most of these pictures
        numbers = (0, 1, 9.5, 40, -3, 1e308)
        boxes = [
            [{side: random.choice(numbers) for side in ("x", "y", "width", "height")}]
            for _ in range(count)
        ]
        fields.append(_field(b"boxes", json.dumps(boxes).encode()))
    return fields


def _file(random: Random, name: bytes, data: bytes) -> bytes:
    names = (b"a.jpg", b"", b"../../x", b"\xff\xfe", "ü.png".encode(), b'a\\"b', b"n" * 3000)
    file = random.choice(names) if random.random() < 0.2 else b"a.jpg"
    kind = random.choice((b"image/jpeg", b"text/html", b"a/b; charset=nope", b"multipart/mixed"))
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + file + b'"\r\n'
    return head + b"Content-Type: " + kind + b"\r\n\r\n" + data


def _field(name: bytes, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value


def _truncate(random: Random, message: Message) -> Message:
    return replace(message, body=message.body[: random.randrange(len(message.body))])


def _garble(random: Random, message: Message) -> Message:
    changed = bytearray(message.body)
    for _ in range(8):  # mostly in the head of the first part
        changed[random.randrange(min(200, len(changed)))] = random.randrange(256)
    return replace(message, body=bytes(changed))


def _change_kind(random: Random, message: Message) -> Message:
    return replace(message, kind=random.choice(_KINDS))


def _change_line_ends(random: Random, message: Message) -> Message:
    end = random.choice((b"\n", b"\r", b"\r\n\r\n"))
    return replace(message, body=message.body.replace(b"\r\n", end))


def _drop_disposition(_random: Random, message: Message) -> Message:
    return replace(message, body=message.body.replace(b"Content-Disposition", b"X-Nothing"))


def _change_names(random: Random, message: Message) -> Message:
    name = random.choice((b"name*=", b"name", b"NAME=;"))
    return replace(message, body=message.body.replace(b"name=", name))


def _many_fields(random: Random, message: Message) -> Message:
    part = message.delimiter + _field(b"camera", b"c") + b"\r\n"
    return replace(message, body=part * random.choice((900, 1200, 5000)) + message.body)


def _many_files(random: Random, message: Message) -> Message:
    part = message.delimiter + _file(random, b"images", b"") + b"\r\n"
    return replace(message, body=part * random.choice((60, 100, 1200)) + message.body)


def _empty_parts(_random: Random, message: Message) -> Message:
    return replace(message, body=message.delimiter * 5000 + message.body)


def _long_header(random: Random, message: Message) -> Message:
    line = b"\r\nX-Long: " + b"y" * random.choice((4000, 100_000, 2_000_000)) + b"\r\n"
    return replace(message, body=message.body.replace(b"\r\n", line, 1))


def _many_headers(_random: Random, message: Message) -> Message:
    lines = b"\r\n" + b"A: b\r\n" * 3000 + b"\r\n"
    return replace(message, body=message.body.replace(b"\r\n\r\n", lines, 1))


def _nest(_random: Random, message: Message) -> Message:
    outer = message.delimiter + b"Content-Type: multipart/mixed; boundary=y\r\n"
    outer += b'Content-Disposition: form-data; name="images"\r\n\r\n'
    return replace(message, body=outer + message.body)


_SPOILS: tuple[Callable[[Random, Message], Message], ...] = (
    *(_truncate, _garble, _change_kind, _change_line_ends, _drop_disposition, _change_names),
    *(_many_fields, _many_files, _empty_parts, _long_header, _many_headers, _nest),
)
_KINDS = (
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"multipart/form-data; boundary=" + b"z" * 5000,
    b'multipart/form-data; boundary="x',
    b"multipart/form-data; boundary=x; charset=zlib_codec",
    b"multipart/form-data; boundary=x; charset=undefined",
    b"multipart/form-data; boundary=x; charset=utf-7",
    b"multipart/form-data; boundary=x; charset=idna",
    b"multipart/form-data; boundary=x; charset=" + b"q" * 500,
    b"multipart/form-data; boundary*=utf-8''x",
    b"application/x-www-form-urlencoded",
    b"application/json",
    b"text/plain",
    b"",
    b"\xff\xfe",
)
