"""Uploads as HTTP, with everything between the request line and the last boundary spoiled."""

from __future__ import annotations

import json
from random import Random

from fuzzing.pictures import sound, spoiled

_ROUTES = (
    ("POST", "/search"),
    ("POST", "/embed"),
    ("PUT", "/galleries/default/crops/{}"),
    ("POST", "/galleries/default/crops"),
)
_CROPS = 16  # ids that are written, so that the gallery stays small
_VALUES = (
    *(b"", b"0", b"-1", b"1e309", b"nan", b"\x00", b"\xff\xfe", b"true", b"null", b"[]", b"{}"),
    *("é\u202e\U0001f600".encode(), b"a" * 300, b"9" * 400, b"../../etc/passwd", b"[" * 5000),
    *(b"2024-13-45T99:99", b"-62135596801", b"default", b'{"a":' * 500, b"%00", b"' OR 1=1 --"),
)
_FIELDS = (
    *(b"gallery", b"top_k", b"camera", b"cameras", b"since", b"until", b"min_score", b"rerank"),
    *(b"rerank_top", b"group_by", b"combine", b"exclude_same_camera", b"encoding", b"crops"),
    *(b"identity", b"timestamp", b"crop_ids", b"standardise", b"identity_score", b"unknown"),
)


def request(random: Random) -> bytes:
    """One whole HTTP request."""
    method, path = random.choice(_ROUTES)
    crop_id = f"crop-{random.randrange(_CROPS)}"
    boundary = random.choice((b"x", b"-" * 40 + b"b0undary", b"x" * 70))
    parts = _parts(random, path, crop_id)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    body += b"--" + boundary + b"--\r\n"
    kind = b"multipart/form-data; boundary=" + boundary
    if random.random() < 0.35:
        body, kind = _spoil_body(random, body, kind, boundary)
    length = len(body)
    if random.random() < 0.02:
        length = max(0, length + random.choice((-10, -1, 1, 10)))
    head = [
        f"{method} {path.format(crop_id)} HTTP/1.1".encode(),
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Content-Type: " + kind,
        b"Content-Length: %d" % length,
    ]
    if random.random() < 0.05:
        head.append(random.choice(_HEADERS))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


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
    while random.random() < 0.3:
        parts.append(_field(random.choice(_FIELDS), random.choice(_VALUES)))
    return parts


def _file(random: Random, name: bytes, data: bytes) -> bytes:
    names = (b"a.jpg", b"", b"../../x", b"\xff\xfe", "ü.png".encode(), b'a\\"b', b"n" * 3000)
    file = random.choice(names) if random.random() < 0.2 else b"a.jpg"
    kind = random.choice((b"image/jpeg", b"text/html", b"a/b; charset=nope", b"multipart/mixed"))
    head = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + file + b'"\r\n'
    return head + b"Content-Type: " + kind + b"\r\n\r\n" + data


def _field(name: bytes, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value


def _spoil_body(random: Random, body: bytes, kind: bytes, boundary: bytes) -> tuple[bytes, bytes]:
    match random.randrange(12):
        case 0:
            return body[: random.randrange(len(body))], kind
        case 1:
            changed = bytearray(body)
            for _ in range(8):  # the head of the first part, most of the time
                changed[random.randrange(min(200, len(body)))] = random.randrange(256)
            return bytes(changed), kind
        case 2:
            return body, random.choice(_KINDS)
        case 3:
            return body.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\n\r\n"))), kind
        case 4:
            return body.replace(b"Content-Disposition", b"X-Nothing"), kind
        case 5:
            part = b"--" + boundary + b"\r\n" + _field(b"camera", b"c") + b"\r\n"
            return part * random.choice((900, 1200, 5000)) + body, kind
        case 6:
            part = b"--" + boundary + b"\r\n" + _file(random, b"images", b"") + b"\r\n"
            return part * random.choice((60, 100, 1200)) + body, kind
        case 7:
            line = b"X-Long: " + b"y" * random.choice((4000, 100_000, 2_000_000)) + b"\r\n"
            return body.replace(b"\r\n", b"\r\n" + line, 1), kind
        case 8:
            nested = b"--" + boundary + b"\r\nContent-Type: multipart/mixed; boundary=y\r\n"
            return nested + b'Content-Disposition: form-data; name="images"\r\n\r\n' + body, kind
        case 9:
            return body.replace(b"name=", random.choice((b"name*=", b"name", b"NAME=;"))), kind
        case 10:
            return body.replace(b"\r\n\r\n", b"\r\n" + b"A: b\r\n" * 3000 + b"\r\n", 1), kind
        case _:
            return (b"--" + boundary + b"\r\n") * 5000 + body, kind


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
