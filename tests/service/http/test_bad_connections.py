"""Clients that are slow, silent, gone, too many, or not HTTP do not harm other clients."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlsplit

import httpx
import pytest
from waiting import PATIENCE, always_set, wait_until

from service.testing import FakeEmbedder, solid

CROP = solid((200, 20, 20))
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
RECEIVE_SECONDS = 0.5  # of the service under attack


@pytest.fixture(scope="module")
def impatient(launch, tmp_path_factory):
    data = tmp_path_factory.mktemp("impatient")
    limits = {"max_requests": 4, "max_requests_per_client": 4}
    with launch(data, receive_seconds=RECEIVE_SECONDS, **limits) as service:
        yield service


@contextmanager
def connected(service) -> Iterator[socket.socket]:
    where = urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as client:
        yield client


def post(length: int, path: str = "/search") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    ).encode()


def begin(client: socket.socket, head: bytes) -> None:
    """Send a head, and wait until its request has a place and the service asks for its body."""
    client.sendall(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
    assert b"100 Continue" in client.recv(65536)


def read_to_the_end(client: socket.socket) -> bytes:
    """Read everything until the service closes the connection, which it must do."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def problem_in(answer: bytes) -> tuple[int, dict]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    return int(head.split()[1]), json.loads(body)


def assert_well(service) -> None:
    assert service.http.get("/readyz").status_code == 200
    assert service.search(("crop", CROP)).status_code == 200


def test_a_body_that_stops_gets_408_and_the_connection_ends(impatient):
    with connected(impatient) as client:
        client.sendall(post(10_000) + PART)
        status, problem = problem_in(read_to_the_end(client))
    assert (status, problem["code"]) == (408, "request_timeout")
    assert f"{len(PART)} bytes of the request body arrived" in problem["detail"]
    assert_well(impatient)


def test_a_body_that_trickles_gets_408_too(impatient):
    with connected(impatient) as client:
        client.sendall(post(1_000_000))
        # A service without a limit on the rate would read all of them.
        with pytest.raises(OSError):  # noqa: PT012 - which of the drops meets the closed door?
            for _ in range(200):
                client.sendall(b"x")
                time.sleep(0.1)
    assert_well(impatient)


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nHost: 127"])
def test_a_head_that_never_ends_ends_the_connection(impatient, begun):
    with connected(impatient) as client:
        client.sendall(begun)
        status, problem = problem_in(read_to_the_end(client))
    assert status == 408
    assert "no request came within 0.5 s" in problem["detail"]


def test_the_second_head_of_a_connection_is_limited_too(impatient):
    with connected(impatient) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /livez HTT")
        answers = b""
        while answers.count(b"HTTP/1.1") < 2:
            answers += client.recv(65536)
        assert client.recv(65536) == b""
    assert b"200 OK" in answers
    assert b"408 Request Timeout" in answers


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 80_000 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez SPDY/3\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: two\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nA\x00B: c\r\n\r\n", 400),
        (b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (
            b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
        ),
    ],
)
def test_requests_that_are_not_http_get_a_problem(impatient, request_, status, caplog):
    with connected(impatient) as client:
        client.sendall(request_)
        assert problem_in(read_to_the_end(client))[0] == status
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert_well(impatient)


def test_garbage_within_a_body_ends_the_request_quietly(impatient, caplog):
    head = post(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with connected(impatient) as client:
        client.sendall(head + b"5\r\n--x\r\n\r\n")
        time.sleep(0.1)
        client.sendall(b"zz\r\n")
        assert problem_in(read_to_the_end(client))[0] == 400
    time.sleep(2 * RECEIVE_SECONDS)  # by now the app has given up, too
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert_well(impatient)


def test_garbage_after_an_answer_ends_the_connection_quietly(impatient, caplog):
    head = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(impatient) as client:
        client.sendall(head)
        answer = client.recv(65536)
        assert b"404 Not Found" in answer
        client.sendall(b"zz\r\n")
        read_to_the_end(client)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert_well(impatient)


def test_a_client_that_does_not_read_does_not_keep_its_place(start):
    go_on = threading.Event()
    go_on.set()
    with start(
        FakeEmbedder(fault=lambda _image: go_on.wait(PATIENCE)),
        receive_seconds=RECEIVE_SECONDS,
        max_requests=2,
        max_requests_per_client=2,
        max_images=1000,
        max_queue=2000,
        max_queue_seconds=600,
    ) as service:
        files = [("images", ("a", CROP))] * 700
        body = httpx.Request("POST", service.url + "/embed", files=files)
        content = body.read()
        go_on.clear()
        with ExitStack() as stack, always_set(go_on):
            for _ in range(2):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                where = urlsplit(service.url)
                client.connect((where.hostname, where.port))
                head = (
                    f"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n"
                    f"Content-Type: {body.headers['Content-Type']}\r\n\r\n"
                )
                begin(client, head.encode())
                client.sendall(content)
            wait_until(lambda: service.http.get("/galleries").status_code == 503)
            go_on.set()  # both answers are being sent, and then aborted
            wait_until(lambda: service.http.get("/galleries").status_code != 503)


def test_silent_uploads_make_room_for_others(launch, tmp_path):
    def status_of(path: str) -> int:
        return service.http.get(path).status_code

    now = [0.0]
    limits = {"receive_seconds": 60, "max_requests": 3, "max_requests_per_client": 3}
    with launch(tmp_path, clock=lambda: now[0], **limits) as service, ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(3)]
        for client in slow:
            begin(client, post(10_000))
            client.sendall(PART)
        refused = service.http.get("/galleries")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert service.http.get("/livez").status_code == 200
        now[0] = 2.0
        wait_until(lambda: status_of("/galleries") == 200)
        with DefaultSelector() as selector:
            for client in slow:
                selector.register(client, EVENT_READ)
            ended = [key.fileobj for key, _ in selector.select(PATIENCE)]
        assert [problem_in(read_to_the_end(client))[0] for client in ended] == [408]
        for client in set(slow) - set(ended):
            client.sendall(b"still here")


def test_a_flood_of_silent_connections_locks_nobody_out(launch, tmp_path):
    with launch(tmp_path, max_requests=4) as service, ExitStack() as stack:
        flood = [stack.enter_context(connected(service)) for _ in range(300)]
        with httpx.Client(base_url=service.url, timeout=PATIENCE) as newcomer:
            assert newcomer.get("/livez").status_code == 200
            assert newcomer.post("/search", files={"images": ("a", CROP)}).status_code == 200
        assert flood[0].recv(1) == b""  # the oldest made room
        flood[-1].sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in flood[-1].recv(65536)


def temporary_files() -> int:
    """Unnamed files, as uploads use; they disappear with their last descriptor."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            count += str(descriptor.readlink()).endswith("(deleted)")
    return count


def test_an_upload_that_breaks_off_leaves_no_files(start, caplog):
    put = post(9_000_000, "/galleries/default/crops/one").replace(b"POST", b"PUT")
    with start() as service:
        before = temporary_files()
        for head, part in ((post(9_000_000), PART), (put, PART.replace(b"images", b"image"))):
            with connected(service) as client:
                client.sendall(head + part + bytes(3_000_000))
                wait_until(lambda: temporary_files() != before)
        wait_until(lambda: service.http.get("/metrics").text.count('status="499"') >= 2)
        assert service.crop_ids("default") == []
        # The listing and the garbage collector open files for a moment.
        wait_until(lambda: temporary_files() == before)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_disconnects_while_waiting_is_dropped(start):
    busy = FakeEmbedder(delay=2.0)
    with (
        start(busy, max_batch=1, max_queue_seconds=600) as service,
        ThreadPoolExecutor(3) as callers,
    ):
        running = callers.submit(service.search, ("a", CROP))
        body = PART + CROP + b"\r\n--x--\r\n"
        batcher = service.parts.shelf.running.batcher
        with ExitStack() as stack:
            for _ in range(5):
                client = stack.enter_context(connected(service))
                client.sendall(post(len(body)) + body)
            wait_until(lambda: batcher.stats().queued >= 3)
        wait_until(lambda: not batcher.stats().queued)
        assert running.result().status_code == 200
        # One client waited and five disconnected, so some images were never embedded.
        assert batcher.stats().images < 6
        assert 'status="499"' in service.http.get("/metrics").text


def test_an_image_that_the_embedder_fails_on_does_not_affect_the_others(start):
    def refuse_blue(image) -> None:
        if image[..., 2].mean() > 200:
            raise RuntimeError("secret")

    blue = solid((0, 0, 255))
    with start(FakeEmbedder(fault=refuse_blue), max_batch=64) as service:
        with ThreadPoolExecutor(8) as callers:
            good = [callers.submit(service.search, ("a", CROP)) for _ in range(20)]
            bad = [callers.submit(service.search, ("b", blue)) for _ in range(4)]
        assert [answer.result().status_code for answer in good] == [200] * 20
        assert [answer.result().status_code for answer in bad] == [503] * 4
        assert all("secret" not in answer.result().text for answer in bad)
