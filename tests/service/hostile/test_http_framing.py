"""Ambiguous requests are rejected, and no answer repeats a foreign Host."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from service.access.rules import RULES
from service.http.middleware.headers import SecurityHeaders

HOST = b"Host: 127.0.0.1\r\n"
CHUNKS = b"\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def closed(launch, key_in, tmp_path_factory):
    """A service with keys, and one of the keys."""
    data = tmp_path_factory.mktemp("closed")
    with launch(data) as service:
        yield service, key_in(data, "admin")


def post(*headers: bytes, version: bytes = b"1.1") -> bytes:
    return b"POST /livez HTTP/" + version + b"\r\n" + HOST + b"".join(h + b"\r\n" for h in headers)


BODIES = {
    "a length and chunks": post(b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNKS,
    "chunks and a length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5") + CHUNKS,
    "case is no way round": post(b"CONTENT-LENGTH: 0", b"transfer-ENCODING: Chunked") + CHUNKS,
    "a length twice": post(b"Content-Length: 0", b"Content-Length: 0") + b"\r\n",
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 1") + b"\r\n",
    "a list of lengths": post(b"Content-Length: 0, 0") + b"\r\n",
    "a signed length": post(b"Content-Length: +1") + b"\r\nx",
    "a negative length": post(b"Content-Length: -1") + b"\r\n",
    "an empty length": post(b"Content-Length:") + b"\r\n",
    "a length in other digits": post("Content-Length: \u0661".encode()) + b"\r\nx",
    "a length in hexadecimal": post(b"Content-Length: 0x1") + b"\r\nx",
    "chunks in HTTP/1.0": post(b"Transfer-Encoding: chunked", version=b"1.0") + CHUNKS,
    "a space before the colon": post(b"Content-Length : 0") + b"\r\n",
    "a space before another": post(b"Transfer-Encoding : chunked") + CHUNKS,
    "a control character": post(b"Transfer-Encoding: \x0bchunked") + CHUNKS,
    "a folded line": post(b"X: a", b" b") + b"\r\n",
    "a folded encoding": post(b"Transfer-Encoding:", b" chunked") + CHUNKS,
    "a folded length": post(b"Content-Length:", b"\t0") + b"\r\n",
    "a bare LF": b"GET /livez HTTP/1.1\n" + HOST + b"\r\n",
    "bare LFs": b"GET /livez HTTP/1.1\nHost: 127.0.0.1\n\n",
    "a bare LF that hides a header": post(b"X: y\nContent-Length: 5") + b"\r\nabcde",
    "a bare CR": post(b"X: y\rContent-Length: 5") + b"\r\n",
    "a target without a slash": b"GET http://evil.example/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "an authority": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
}
UNKNOWN = {
    "two encodings": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 501),
    "a list of encodings": (post(b"Transfer-Encoding: identity, chunked"), 501),
    "another encoding": (post(b"Transfer-Encoding: xchunked"), 501),
    "a long method": (b"A" * 21 + b" /livez HTTP/1.1\r\n" + HOST, 501),
    "HTTP/2.0": (b"GET /livez HTTP/2.0\r\n" + HOST, 505),
    "HTTP/1.9 without Host": (b"GET /livez HTTP/1.9\r\n", 505),
    "many headers": (b"GET /livez HTTP/1.1\r\n" + HOST + b"a:\r\n" * 200, 431),
    "a large head that comes at once": (post(b"X: " + b"y" * 30_000), 431),
}


@pytest.mark.parametrize("case", BODIES)
def test_an_ambiguous_head_is_rejected_and_the_connection_ends(closed, dial, case):
    with dial(closed[0]) as line:
        line.send(BODIES[case])
        assert line.problem()[0] == 400
        assert line.ended()


@pytest.mark.parametrize("case", UNKNOWN)
def test_unsupported_http_is_rejected_and_the_connection_ends(closed, dial, case):
    head, status = UNKNOWN[case]
    with dial(closed[0]) as line:
        line.send(head + b"\r\n")
        assert line.problem()[0] == status
        assert line.ended()


def test_a_request_within_an_ambiguous_body_is_not_answered(closed, dial):
    hidden = b"GET /whoami HTTP/1.1\r\n" + HOST + b"\r\n"
    length = str(len(CHUNKS) - 2 + len(hidden)).encode()
    with dial(closed[0]) as line:
        head = post(b"Content-Length: " + length, b"Transfer-Encoding: chunked")
        line.send(head + CHUNKS + hidden)
        assert line.problem()[0] == 400
        assert line.ended()


@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "[::1", "::1]", "[::1]x", "a b", "a@localhost", "a/b", "a?b", "a#b", "a\\b"),
        *("a:b", "a:80:80", "a:123456", "a,b", '"a"', "<a>", "a%zz", "é", "a" * 300, "[x]", "[]"),
    ],
)
def test_an_unparsable_host_is_rejected_with_and_without_a_key(closed, dial, host, key):
    service, text = closed
    head = f"GET /galleries/default/crops/a HTTP/1.1\r\nHost: {host}\r\n"
    head += f"Authorization: Bearer {text}\r\n" if key else ""
    with dial(service) as line:
        line.send(head.encode() + b"\r\n")
        assert line.problem()[0] == 400
        assert line.ended()


@pytest.mark.parametrize("hosts", [[], ["a", "a"], ["a", "b"]])
def test_there_is_one_host(closed, dial, hosts):
    with dial(closed[0]) as line:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        line.send(f"GET /livez HTTP/1.1\r\n{lines}\r\n".encode())
        assert line.problem()[0] == 400
        assert line.ended()


@pytest.mark.parametrize(
    "host", ["localhost", "reid.example:8443", "10.0.0.7", "[::1]:8000", "my_service", "a:"]
)
def test_a_valid_host_is_answered(closed, host):
    service, _ = closed
    assert service.http.get("/livez", headers={"Host": host}).status_code == 200


def test_a_health_check_in_http_1_0_needs_no_host(closed, dial):
    with dial(closed[0]) as line:
        line.send(b"GET /livez HTTP/1.0\r\n\r\n")
        assert line.answer()[0] == 200


def variants(path: str) -> list[str]:
    names = {"{gallery}": "default", "{crop_id}": "a", "{job_id}": "a", "{key_id}": "0a"}
    names |= {"{snapshot_id}": "a", "{sha256}": "0" * 64}
    for name, value in names.items():
        path = path.replace(name, value)
    return [path, f"{path}/", f"/{path}", f"{path}//", f"{path}/.", f"{path}/..", f"/{path}/"]


def test_no_answer_repeats_a_foreign_host(closed, monkeypatch):
    monkeypatch.setattr("service.http.event_stream.LIFETIME", 0.0)  # a stream is read to its end
    service, text = closed
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    headers |= {"Authorization": f"Bearer {text}", "Forwarded": "host=evil.example"}
    paths = {variant for _, path in RULES for variant in variants(path)}
    paths |= set(variants("/web/app.js")) | set(variants("/docs/assets/swagger-ui.css"))
    for path, method in product(sorted(paths), ("GET", "HEAD", "OPTIONS")):
        if path.strip("/") == "docs/assets/swagger-ui-bundle.js":
            continue
        answer = service.http.request(method, f"{service.url}{path}", headers=headers)
        assert not 300 <= answer.status_code < 400, path
        assert b"evil.example" not in answer.content, path
        assert "evil.example" not in str(answer.headers), path


def test_a_location_is_a_path(closed):
    service, text = closed
    headers = {"Host": "evil.example", "Authorization": f"Bearer {text}"}
    made = service.http.post("/galleries", json={"name": "placed"}, headers=headers)
    grouped = service.http.post("/galleries/placed/cluster", json={}, headers=headers)
    for answer in (made, grouped):
        assert answer.is_success, answer.text
        assert answer.headers["Location"].startswith("/")
        assert not answer.headers["Location"].startswith("//")


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://evil.example/web/?a=b", "/web/?a=b"),
        ("//evil.example/web/", "/web/"),
        ("https://evil.example", "/"),
        ("/jobs/1", "/jobs/1"),
        ("///evil.example/", "/evil.example/"),
    ],
)
def test_a_redirect_stays_on_the_service(location, told):
    async def redirect(_scope, _receive, send) -> None:
        headers = [(b"location", location.encode())]
        await send({"type": "http.response.start", "status": 307, "headers": headers})

    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(SecurityHeaders(redirect)({"type": "http"}, send, send))
    assert dict(sent[0]["headers"])[b"location"] == told.encode()
